"""Regions and proportions are read by the spot's name, and what is left out is counted."""

import zipfile

import pandas as pd
import pytest

from helpers.cohort import regions

LINES = ["Row.names\tx\ty\tpixel_x\tpixel_y\tlabel", "1\t9.02\t20.994\t1002\t1761\tinvasive cancer"]


def labels_file(tmp_path, *lines):
    path = tmp_path / "A1_labeled_coordinates.tsv"
    path.write_text("\n".join([*LINES, *lines]) + "\n")
    return path


def test_a_spot_is_named_by_rounded_coordinates_and_rows_without_any_are_counted(tmp_path):
    path = labels_file(tmp_path, "2\t\t\t1003\t1001\tadipose tissue", "3\t8.6\t7.4\t1003\t1001\tundetermined")
    labels, n_unplaced = regions.read_labels(path)
    assert labels.to_dict() == {"9x21": "invasive cancer", "9x7": "undetermined"}
    assert n_unplaced == 1


def test_a_file_of_regions_that_is_not_there_is_no_error_but_a_wrong_one_is(tmp_path):
    assert regions.read_labels(tmp_path / "A2_labeled_coordinates.tsv") is None
    with pytest.raises(ValueError, match="'9x21' occurs twice"):
        regions.read_labels(labels_file(tmp_path, "2\t9.1\t21.2\t1003\t1001\tadipose tissue"))
    (tmp_path / "odd.tsv").write_text("x\ty\n1\t2\n")
    with pytest.raises(ValueError, match="no column label"):
        regions.read_labels(tmp_path / "odd.tsv")


def test_what_is_left_out_is_counted_by_its_reason():
    labels = pd.Series(["tumour"] * 4 + ["fat"] * 2 + ["undetermined"] * 3 + ["tumour"], index=[*"abcdefghij"])
    kept, left_out = regions.usable_labels(labels, pd.Index([*"abcdefghi", "z"]), min_spots=3)
    assert list(kept.index) == [*"abcd"]
    assert left_out == {"unlabelled": 1, "undetermined": 3, "rare": 2}


def test_proportions_are_read_from_an_archive_or_a_table(tmp_path):
    table = "\tB-cells\tEpithelial\n10x13\t0.25\t0.75\n10x14\t1\t0\n"
    (tmp_path / "A1.tsv").write_text(table)
    with zipfile.ZipFile(tmp_path / "major.zip", "w") as archive:
        archive.writestr("major/A1-proportion.tsv", table)
    packed = regions.read_proportions(f"{tmp_path}/major.zip/major/A1-proportion.tsv")
    pd.testing.assert_frame_equal(packed, regions.read_proportions(tmp_path / "A1.tsv"))
    assert packed.loc["10x13", "Epithelial"] == 0.75
    assert regions.read_proportions(f"{tmp_path}/major.zip/major/A2-proportion.tsv") is None
    assert regions.read_proportions(f"{tmp_path}/minor.zip/major/A1-proportion.tsv") is None


def test_damaged_proportions_are_refused_by_name(tmp_path):
    (tmp_path / "A1.tsv").write_text("\tB-cells\n10x13\thigh\n")
    with pytest.raises(ValueError, match="A1.tsv: a proportion is missing or not a number"):
        regions.read_proportions(tmp_path / "A1.tsv")
    (tmp_path / "major.zip").write_bytes(b"PK half of it")
    with pytest.raises(ValueError, match="major.zip"):
        regions.read_proportions(f"{tmp_path}/major.zip/major/A1-proportion.tsv")


def test_truth_of_the_toy_names_the_type_that_gives_most_rna(tmp_path):
    (tmp_path / "A1.csv").write_text("spot,n_nuclei_true,tumour,stroma,ambient\n1x1,5,0.2,0.5,0.3\n1x2,9,0.8,0.1,0.1\n")
    labels, shares = regions.read_truth(tmp_path / "A1.csv", ["tumour", "stroma"])
    assert labels.to_dict() == {"1x1": "stroma", "1x2": "tumour"}
    assert list(shares) == ["tumour", "stroma"]


def test_every_labelled_section_of_her2st_finds_its_spots(her2st_root):
    folder, n_unplaced = her2st_root / "data/ST-pat/lbl", 0
    for name in ("A1", "B1", "C1", "D1", "E1", "F1", "G2", "H1"):
        labels, missing = regions.read_labels(folder / f"{name}_labeled_coordinates.tsv")
        n_unplaced += missing
        spots = pd.read_csv(her2st_root / f"data/ST-spotfiles/{name}_selection.tsv", sep="\t")[["x", "y"]].astype(str)
        assert labels.index.isin(spots["x"] + "x" + spots["y"]).mean() > 0.98, name
        proportions = regions.read_proportions(
            f"{her2st_root}/res/ST-deconv/props/major.zip/major/{name}-proportion.tsv"
        )
        assert proportions.sum(axis=1).between(0.999, 1.001).all()
    assert n_unplaced == 9
