"""The her2st tree: spots of two files joined by name."""

import pandas as pd
import pytest
import writers

from helpers.cohort.layouts import her2st


def changed_spots(root, change):
    path = root / "data/ST-spotfiles/A1_selection.tsv"
    change(pd.read_csv(path, sep="\t")).to_csv(path, sep="\t", index=False)


def test_spots_that_were_not_selected_are_left_out(truth, tmp_path):
    writers.her2st(truth, tmp_path)
    changed_spots(tmp_path, lambda t: t.assign(selected=[0, 0, *[1] * (len(t) - 2)]))
    raw = her2st.read(tmp_path, "A1")
    assert list(raw.spots.obs_names) == list(truth.obs_names[2:]) and raw.n_spots_dropped == 2
    changed_spots(tmp_path, lambda t: t.assign(selected=0))
    with pytest.raises(ValueError, match="A1_selection.tsv: selected is 0 for all"):
        her2st.read(tmp_path, "A1")


@pytest.mark.parametrize("column", ["Selected", "in_tissue"])
def test_the_column_that_leaves_spots_out_has_other_names(truth, tmp_path, column):
    writers.her2st(truth, tmp_path)
    left_out = [0, 0, *[1] * (truth.n_obs - 2)]
    changed_spots(tmp_path, lambda t: t.drop(columns="selected").rename(columns=str.upper).assign(**{column: left_out}))
    assert list(her2st.read(tmp_path, "A1").spots.obs_names) == list(truth.obs_names[2:])


def test_a_second_opinion_is_read_or_refused_by_name(truth, tmp_path):
    writers.her2st(truth, tmp_path)
    path = tmp_path / "hest_metadata.csv"
    path.write_text("subseries,pixel_size_um_estimated\nA1,0.7\n", "utf-16")
    assert her2st.read(tmp_path, "A1").mpp_estimated == 0.7
    path.write_text("id,pixel_size_um_estimated\nA1,0.7\n")
    with pytest.raises(ValueError, match="hest_metadata.csv: no column subseries; it has id"):
        her2st.read(tmp_path, "A1")
    path.write_text("subseries,pixel_size_um_estimated\nA1,0.7\nA1,0.9\n")
    with pytest.raises(ValueError, match="hest_metadata.csv: spot 'A1' occurs twice"):
        her2st.read(tmp_path, "A1")


def test_spots_of_another_section_are_refused_though_most_names_agree(truth, tmp_path):
    writers.her2st(truth, tmp_path)
    changed_spots(tmp_path, lambda t: t.assign(x=t["x"] + (t["x"] < t["x"].median()) * 50))
    with pytest.raises(ValueError, match=r"A1.tsv.gz and .*A1_selection.tsv have \d+ spots in common"):
        her2st.read(tmp_path, "A1")
