"""Counting against annotated tiles, and the places of a cohort where it is hardest, each spot at its own size."""

import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.ndimage import gaussian_filter

from helpers import store
from helpers.chapters import counting_accuracy
from helpers.chapters.counting_accuracy import ALL, OTHERS, Place
from helpers.cohort import images
from helpers.tissue import classical, haematoxylin, tiles

MPP = 0.5


@pytest.fixture
def scored():
    """Two tiles under settings of the others, and the same two, better, under settings of all."""
    table = pd.DataFrame({"tile": ["a", "b", "a", "b"], "chosen_on": [OTHERS, OTHERS, ALL, ALL]})
    table = table.assign(back_end="classical", mpp=0.688, n_true=100, n_found=[80, 130, 95, 105])
    scores = dict.fromkeys(counting_accuracy.SCORES, [0.7, 0.8, 0.95, 0.6])
    return table.assign(**scores)[counting_accuracy.COLUMNS]


def test_scores_are_read_where_the_tiles_are_not_at_hand(scored, tmp_path):
    store.write_table(scored, tmp_path / "tiles.csv")
    pd.testing.assert_frame_equal(counting_accuracy.tile_scores(None, tmp_path / "tiles.csv"), scored)
    store.write_table(scored.drop(columns="f1"), tmp_path / "tiles.csv")
    with pytest.raises(ValueError, match="no column f1"):
        counting_accuracy.tile_scores(None, tmp_path / "tiles.csv")
    with pytest.raises(FileNotFoundError, match="no tile"):
        counting_accuracy.tile_scores(tmp_path, tmp_path / "tiles.csv")


def test_each_tile_is_scored_with_settings_of_the_others_and_with_the_defaults(monkeypatch):
    monkeypatch.setattr(tiles, "SETTINGS", {"eosin": (0.3,), "scale_um": (2.4,), "contrast": (1.0, 1.1)})
    monkeypatch.setattr(tiles, "strength", lambda *_: 0.0)
    monkeypatch.setattr(classical, "strength", lambda *_: 0.0)
    glass = np.full((300, 300, 3), 240, np.uint8)
    centres = np.array([[50, 50.0], [200, 200.0]])
    table = counting_accuracy.score_tiles({"a": (glass, centres), "b": (glass, centres[:1])}, MPP)
    assert table.columns.tolist() == counting_accuracy.COLUMNS
    assert table[["tile", "chosen_on"]].to_numpy().tolist() == [["a", OTHERS], ["b", OTHERS], ["a", ALL], ["b", ALL]]
    assert table["n_true"].tolist() == [2, 1, 2, 1]
    assert table["recall"].tolist() == [0, 0, 0, 0]


def test_a_mean_stands_in_its_interval_and_one_tile_has_none():
    text = counting_accuracy.interval(pd.Series([0.2, 0.4, 0.6, 0.8]))
    mean, low, high = (float(number) for number in re.findall(r"\d\.\d{3}", text))
    assert text == f"{mean:.3f} ({low:.3f} to {high:.3f})"
    assert mean == 0.5 and 0.2 <= low < mean < high <= 0.8
    assert counting_accuracy.interval(pd.Series([0.5, 0.5])) == "0.500 (0.500 to 0.500)"
    assert counting_accuracy.interval(pd.Series([0.5])) == "0.500"


def test_settings_that_saw_the_tile_stand_apart(scored):
    table = counting_accuracy.summarize(scored)
    assert table.columns.tolist() == ["back end", "chosen on", *counting_accuracy.SCORES.values()]
    assert table["chosen on"].tolist() == [OTHERS, ALL]
    assert table["F1"].str.startswith(("0.750", "0.775")).all()
    assert counting_accuracy.on_unseen(scored)["f1"].tolist() == [0.7, 0.8]


def test_bias_and_the_worst_tile_are_of_settings_chosen_elsewhere(scored):
    said = counting_accuracy.describe_bias(scored)
    assert said.startswith("The count is too low on 1 of 2 tiles and too high on 1. The worst")
    assert "The worst tile by F1 is a (0.70)" in said
    assert counting_accuracy.worst_tile(scored)["tile"] == "a"


def test_the_answer_is_of_tiles_that_did_not_choose_the_settings(scored):
    table = scored.assign(count_error=[0.2, 0.3, 0.05, 0.05], count_rho=[0.8, 0.9, 1, 1])
    said = counting_accuracy.answer(table)
    assert said.startswith(
        "On 2 tiles whose nuclei were all outlined by hand (of 2 patients, none of this cohort, 0 of breast, 0 of a "
        "frozen section) the number of nuclear outlines is off by **25%** in the mean (by tile -20% to +30%), with an "
        "F1 of **0.75** (0.70 to 0.80); in discs of 100 µm it follows the true one with a rho of **0.85** "
    )
    assert "number of nuclear outlines is off by **20%**" in counting_accuracy.answer(table[::2])


def test_patients_organ_and_fixation_of_tiles_are_read_from_their_barcodes():
    names = ["TCGA-E2-A1B5-01Z-00-DX1", "TCGA-E2-A1B5-01Z-00-DX2", "TCGA-NH-A8F7-01A-01-TS1"]
    said = counting_accuracy.describe_tiles(pd.DataFrame({"tile": names, "f1": [0.9, 0.8, 0.7]}))
    assert said == "of 2 patients, none of this cohort, 2 of breast, 1 of a frozen section, which has the lowest F1"
    other = counting_accuracy.describe_tiles(pd.DataFrame({"tile": names, "f1": [0.6, 0.8, 0.7]}))
    assert other.endswith("1 of a frozen section")


def test_places_are_drawn_at_the_pixels_of_their_pictures():
    places = [Place("darkest", 0.0, "A1", None, [], mpp, 100.0) for mpp in (0.5, 0.688)]
    assert counting_accuracy.describe_places(places) == "Drawn as they are, at 0.500 to 0.688 µm per pixel."
    assert counting_accuracy.describe_places([]).startswith("No nuclei are counted in this cohort")


def test_the_source_of_the_scores_is_named():
    assert counting_accuracy.describe_source(True).startswith("The tiles were scored while this page was made. {down")
    assert "committed with their provenance" in counting_accuracy.describe_source(False)


# --- hard places ---


def section_of(spot_um, asked, monkeypatch):
    """Three spots: the first dark, the others more and more blurred, the last with few nuclei.

    The reader adds the sizes that it is asked for to `asked`.
    """
    noise = np.random.default_rng(0).integers(120, 250, (400, 400))
    blurred = {1000: 0.5, 2000: 2.0, 3000: 6.0}  # sigma in pixels, by x of the spot

    def read(centre, size_um, mpp):
        asked.append(size_um)
        side = round(size_um / mpp)
        tissue = gaussian_filter(noise.astype(float), blurred[centre[0]])[:side, :side]
        return np.rint(tissue).astype(np.uint8)[..., None].repeat(3, axis=2)

    monkeypatch.setattr(images, "reader_of", lambda section: read)
    monkeypatch.setattr(haematoxylin, "strength", lambda _: 0.5)
    obs = {"n_nuclei": [9, 30, 5], "haematoxylin": [0.9, 0.2, 0.1]}
    return AnnData(
        np.zeros((3, 1), np.float32),
        obs=pd.DataFrame(obs, index=["1x1", "1x2", "1x3"]),
        obsm={"spatial": np.array([[1000.0, 1000], [2000, 1000], [3000, 1000]])},
        uns={"section": "A1", "mpp": MPP, "spot_um": spot_um},
    )


@pytest.mark.parametrize("spot_um", [100.0, 55.0])
def test_the_tissue_shown_and_judged_is_as_wide_as_the_section_s_own_spots(spot_um, monkeypatch):
    asked = []
    places = counting_accuracy.hard_places(section_of(spot_um, asked, monkeypatch))
    assert [place.spot_um for place in places] == [spot_um] * 2
    assert {place.image.shape[0] for place in places} == {round(1.6 * spot_um / MPP)}
    # the focus of each spot, and the strength of the section's stain, from squares of one size for all
    assert asked.count(spot_um) == 3 + 3 * (spot_um == 100)


def test_the_darkest_and_the_blurriest_of_the_dense_are_chosen(monkeypatch):
    """The third spot is the blurriest of all, but few nuclei lie there."""
    dark, blurred = counting_accuracy.hard_places(section_of(100.0, [], monkeypatch))
    assert (dark.kind, dark.value, dark.title) == ("darkest", -0.9, "A1 1x1, darkest: 9 in the circle")
    assert (blurred.kind, blurred.title) == ("blurriest", "A1 1x2, blurriest: 30 in the circle")


def test_the_hardest_of_each_kind_are_kept_over_sections(monkeypatch):
    def places(section):
        return [Place(kind, value, section, None, [], MPP, 100.0) for kind, value in made[section]]

    made = {
        "A1": [("darkest", -0.5), ("blurriest", 0.3)],
        "A2": [("darkest", -0.9), ("blurriest", 0.2)],
        "A3": [("darkest", -0.7), ("blurriest", 0.1)],
    }
    monkeypatch.setattr(counting_accuracy, "hard_places", places)
    found = counting_accuracy.hardest_places(made, most=2)
    assert [(place.kind, place.title) for place in found] == [
        ("darkest", "A2"),
        ("darkest", "A3"),
        ("blurriest", "A3"),
        ("blurriest", "A2"),
    ]
