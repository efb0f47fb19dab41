"""Twin of helpers/tissue/tiles.py."""

import numpy as np
import pandas as pd
import pytest
from skimage.color import hed2rgb

from helpers.tissue import classical
from helpers.tissue.tiles import accuracy, annotated_tiles, leave_one_tile_out, match

RADIUS_UM = 3.5
SPACING_UM = 12.0


def drawn(mpp, per_side=8, noise=0.01):
    """A lattice of round nuclei on eosin, `SPACING_UM` apart: image and centres in pixels."""
    side = round(per_side * SPACING_UM / mpp)
    at = (np.arange(per_side) + 0.5) * SPACING_UM / mpp - 0.5
    off = ((np.arange(side) + 0.5) * mpp) % SPACING_UM - SPACING_UM / 2
    distance = np.hypot(off[:, None], off)
    stains = np.zeros((side, side, 3))
    stains[..., 0] = 0.02 + 0.1 / (1 + np.exp((distance - RADIUS_UM) / 0.3))
    stains[..., 1] = 0.05
    rgb = hed2rgb(stains) + np.random.default_rng(0).normal(0, noise, (side, side, 3))
    centres = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    return np.round(255 * rgb.clip(0, 1)).astype(np.uint8), centres


def test_match_is_one_to_one_within_the_radius():
    """Two found near one truth count once; the most pairs, not the nearest first: 0-4 must leave 3 to 7."""
    scores = match([[0, 0], [3, 0], [50, 0]], [[4, 0], [7, 0]], radius_um=2, mpp=0.5)
    assert scores == {"matched": 2, "precision": 2 / 3, "recall": 1, "f1": 0.8, "count_error": 0.5}
    assert match([[0, 0], [1, 0]], [[0, 0]], 6, 1)["matched"] == 1
    assert match(np.empty((0, 2)), [[0, 0]], 6, 1)["f1"] == 0


def test_accuracy_of_a_tile_is_that_of_its_points():
    """At 0.5 um/px: half of a lattice found, as many in each disc of 100 um; then all of the left half only."""
    _, true = drawn(0.5, per_side=20)
    frame = pd.DataFrame(true, columns=["x", "y"]).assign(area_um2=30.0)
    half = frame.iloc[::2] + (3, 0, 0)  # 1.5 um off: found
    scores = accuracy(half, true, 480, 0.5)
    assert (scores["n_true"], scores["n_found"], scores["precision"], scores["recall"]) == (400, 200, 1, 0.5)
    assert scores["count_error"] == 0.5
    left = accuracy(frame[frame["x"] < 240], true[true[:, 0] < 240], 480, 0.5)
    assert left["f1"] == 1 and left["count_rho"] == pytest.approx(1)
    assert np.isnan(accuracy(half, true, 190, 0.5)["count_rho"])  # a tile of 95 um holds no disc


@pytest.fixture(scope="module")
def tiles(monuseg_root):
    """um per pixel -> the 13 annotated tiles at that resolution, encoded as the cohort's JPEG."""
    made = {mpp: annotated_tiles(monuseg_root, mpp) for mpp in (0.5, 0.688)}
    assert len(made[0.688]) == 13
    return made


@pytest.mark.parametrize("mpp", [0.5, 0.688])
def test_annotated_nuclei_are_found_and_counted(tiles, mpp):
    rows = [accuracy(classical.detect(image, mpp), truth, image.shape[1], mpp) for image, truth in tiles[mpp].values()]
    table = pd.DataFrame(rows)
    assert table["f1"].mean() >= 0.82 and table["f1"].min() >= 0.74
    assert table["count_error"].mean() <= 0.105
    assert table["count_rho"].mean() >= 0.7


@pytest.mark.full
def test_the_defaults_are_not_fitted_to_the_tile_they_are_scored_on(tiles):
    """Leave one tile out: share of eosin, scale and contrast are chosen on 12 tiles and scored on the 13th."""
    table = leave_one_tile_out(tiles[0.688], 0.688)
    assert table["f1"].mean() >= 0.82 and table["f1"].min() >= 0.72
    assert table["count_error"].mean() <= 0.1


def test_a_tile_has_no_say_in_its_own_setting(monkeypatch):
    """Three tiles want the low threshold, one the high one: it is scored with the low one all the same."""
    found = pd.DataFrame({"x": [10.0, 60.0], "y": [10.0, 60.0], "area_um2": [30.0, 30.0]})
    monkeypatch.setattr("helpers.tissue.tiles.SETTINGS", {"eosin": (0.3,), "scale_um": (2.4,), "contrast": (1.0, 2.0)})
    monkeypatch.setattr("helpers.tissue.tiles.detect", lambda *_, contrast, **__: found if contrast == 1 else found[:1])
    both, one = found[["x", "y"]].to_numpy(), found[["x", "y"]].to_numpy()[:1]
    image = drawn(0.5)[0]
    four = {"a": (image, both), "b": (image, both), "c": (image, both), "d": (image, one)}
    table = leave_one_tile_out(four, 0.5)
    assert table["contrast"].tolist() == [1, 1, 1, 1]
    assert table["count_error"].tolist() == [0, 0, 0, 1]
