"""Nuclei against drawn and annotated truth: found where they are, counted once, in um whatever the resolution."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import center_of_mass, gaussian_filter
from skimage.color import hed2rgb

from helpers import images, nuclei

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


def reader_of(image):
    """`read(centre, size_um, mpp)` over an array, white outside it, at the array's own resolution."""

    def read(centre, size_um, mpp):
        side = round(size_um / mpp)
        left, top = np.rint(np.asarray(centre) + 0.5 - side / 2).astype(int)
        region = np.full((side, side, 3), 255, np.uint8)
        y = np.arange(max(top, 0), min(top + side, image.shape[0]))
        x = np.arange(max(left, 0), min(left + side, image.shape[1]))
        if len(x) and len(y):
            region[np.ix_(y - top, x - left)] = image[np.ix_(y, x)]
        return region

    return read


@pytest.mark.parametrize("mpp", [0.25, 0.5, 0.688, 0.916])
def test_each_drawn_nucleus_is_found_once_at_its_centre_with_its_area(mpp):
    """Sizes are in um: the same tissue gives the same nuclei at each patient's resolution."""
    image, centres = drawn(mpp)
    found = nuclei.detect(image, mpp)
    assert nuclei.match(found[["x", "y"]], centres, 1.0, mpp)["matched"] == len(found) == len(centres)
    assert found["area_um2"].median() == pytest.approx(np.pi * RADIUS_UM**2, rel=0.25)


def test_coordinates_are_x_then_y():
    image, _ = drawn(0.5)
    image[:, 60:] = 255  # nuclei stay on the left only
    found = nuclei.detect(image, 0.5)
    assert found["x"].max() < 60 < found["y"].max()


def test_turning_the_image_turns_the_nuclei():
    image, _ = drawn(0.5)
    found, turned = nuclei.detect(image, 0.5), nuclei.detect(np.ascontiguousarray(image.transpose(1, 0, 2)), 0.5)
    assert nuclei.match(found[["x", "y"]], turned[["y", "x"]], 0.5, 0.5)["matched"] == len(found) == len(turned)


def test_paler_staining_does_not_change_the_count():
    """Thresholds follow the strength of the stain: a quarter of the optical density, the same nuclei."""
    image, centres = drawn(0.5, noise=0)
    pale = np.round(255 * (image / 255) ** 0.25).astype(np.uint8)
    assert nuclei.strength(pale) == pytest.approx(nuclei.strength(image) / 4, rel=0.1)
    assert len(nuclei.detect(pale, 0.5)) == len(centres)
    assert len(nuclei.detect(pale, 0.5, nuclei.strength(image))) == 0


def test_contrast_moves_the_threshold_and_one_is_the_default():
    """Faint nuclei between strong ones go first."""
    image = drawn(0.5, noise=0)[0].astype(float)
    faint = np.round(255 * (image / 255) ** 0.4)
    picture = np.concatenate([image, faint]).astype(np.uint8)
    n = {contrast: len(nuclei.detect(picture, 0.5, contrast=contrast)) for contrast in (0.5, 1.0, 4.0)}
    assert n[0.5] == 128 >= n[1.0] > n[4.0]
    assert len(nuclei.detect(picture, 0.5)) == n[1.0]


def test_segment_numbers_its_nuclei_without_gaps_and_detect_measures_them():
    image, _ = drawn(0.5)
    labels, found = nuclei.segment(image, 0.5), nuclei.detect(image, 0.5)
    assert labels.shape == image.shape[:2] and labels.dtype == np.int32
    assert set(np.unique(labels)) == set(range(len(found) + 1))
    assert (found["area_um2"] / 0.25).sum() == (labels > 0).sum()
    centre = np.array(center_of_mass(labels > 0, labels, range(1, len(found) + 1)))
    np.testing.assert_allclose(found[["y", "x"]], centre)


@pytest.mark.parametrize("noise", [0, 3])
def test_glass_has_no_nuclei(noise):
    glass = np.random.default_rng(0).normal(235, noise, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    found = nuclei.detect(glass, 0.688)
    assert list(found) == ["x", "y", "area_um2"] and len(found) == 0
    assert nuclei.count(found, [[50.0, 50.0]], 0.688).to_numpy().tolist() == [[0, 0]]


def test_eosin_alone_has_no_nuclei():
    stains = np.zeros((200, 200, 3))
    stains[..., 1] = 0.05 + 0.03 * np.sin(np.arange(200) / 8)
    assert len(nuclei.detect(np.round(255 * hed2rgb(stains)).astype(np.uint8), 0.688)) == 0


@pytest.mark.parametrize(
    "image",
    [np.zeros((9, 9)), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8), "he.jpg"],
)
def test_only_rgb_bytes_are_an_image(image):
    with pytest.raises(ValueError, match="RGB as uint8"):
        nuclei.detect(image, 0.5)


@pytest.mark.parametrize("mpp", [0, -0.5, 2.5, np.nan])
def test_a_pixel_size_at_which_no_nucleus_can_be_seen_is_refused(mpp):
    with pytest.raises(ValueError, match="mpp"):
        nuclei.detect(drawn(0.5)[0], mpp)


def test_count_takes_the_disc_and_its_border():
    """At 0.5 um/px a disc of 100 um has a radius of 100 px."""
    found = pd.DataFrame({"x": [0, 100, 101, 300.0], "y": [0, 0, 0, 0.0], "area_um2": [10, 20, 40, 80.0]})
    spatial = np.array([[0, 0], [300, 0], [900, 900.0]])
    table = nuclei.count(found, spatial, 0.5)
    assert table.to_dict("list") == {"n_nuclei": [2, 1, 0], "nuclei_area_um2": [30.0, 80.0, 0.0]}
    assert nuclei.count(found, spatial, 0.5, diameter_um=101)["n_nuclei"].tolist() == [3, 1, 0]


def test_no_nuclei_and_no_spots_are_counted_too():
    none = pd.DataFrame({"x": [], "y": [], "area_um2": []})
    assert nuclei.count(none, np.zeros((2, 2)), 0.5).to_numpy().tolist() == [[0, 0], [0, 0]]
    for no_spots in ([], np.empty((0, 2))):
        table = nuclei.count(none, no_spots, 0.5)
        assert list(table) == ["n_nuclei", "nuclei_area_um2"] and len(table) == 0


def test_sharpness_falls_with_blur_and_not_with_the_stain():
    image = drawn(0.5, per_side=17, noise=0)[0]
    blurred = np.round(gaussian_filter(image.astype(float), (3, 3, 0))).astype(np.uint8)
    pale = np.round(255 * (image / 255) ** 0.5).astype(np.uint8)
    sharp, soft, faint = (nuclei.sharpness(reader_of(each), [[101, 101]], 0.5)[0] for each in (image, blurred, pale))
    assert soft < 0.85 * sharp
    assert faint == pytest.approx(sharp, rel=0.1)


def test_haematoxylin_of_a_disc_is_that_of_its_pixels_alone():
    """The 6 is the optical density of scikit-image's darkest value, 10**-6."""
    stains = np.zeros((300, 300, 3))
    stains[..., 0] = 0.02
    y, x = np.indices((300, 300))
    stains[np.hypot(x - 149.5, y - 149.5) <= 50] += (0.05, 0, 0)  # a disc of 100 um at 1 um/px
    read = reader_of(np.round(255 * hed2rgb(stains)).astype(np.uint8))
    inside, outside = nuclei.haematoxylin(read, np.array([[149.5, 149.5], [50, 50]]), 1.0, 90.0)
    assert inside == pytest.approx(0.07 * 6, rel=0.03)
    assert outside == pytest.approx(0.02 * 6, rel=0.03)


def test_tiles_neither_lose_nor_double_a_nucleus(monkeypatch):
    """Borders cut through nuclei wherever the grid lies: the table is that of the image in one piece."""
    image = np.pad(drawn(0.5, per_side=14)[0], ((24, 24), (24, 24), (0, 0)), constant_values=255)
    spatial = np.array([[96, 96], [280, 100], [100, 280], [290, 290.0]])
    read, stain = reader_of(image), nuclei.strength(image)
    whole = nuclei.detect(image, 0.5, stain)
    for tile_um in (31, 50, 300):
        monkeypatch.setattr(nuclei, "TILE_UM", tile_um)
        found = nuclei.detect_section(read, spatial, 0.5, stain=stain)
        pairs = nuclei.match(found[["x", "y"]], whole[["x", "y"]], 0.01, 0.5)["matched"]
        assert pairs == len(found) == len(whole) == 14**2


def test_a_spot_far_from_the_others_gets_its_whole_square():
    image, centres = drawn(0.5, per_side=30)
    found = nuclei.detect_section(reader_of(image), np.array([[360, 360.0]]), 0.5, size_um=154.0)
    in_square = centres[(np.abs(centres - 360) <= 150).all(axis=1)]
    assert nuclei.match(found[["x", "y"]], in_square, 1.0, 0.5)["recall"] == 1


def test_match_is_one_to_one_within_the_radius():
    """Two found near one truth count once; the most pairs, not the nearest first: 0-4 must leave 3 to 7."""
    scores = nuclei.match([[0, 0], [3, 0], [50, 0]], [[4, 0], [7, 0]], radius_um=2, mpp=0.5)
    assert scores == {"matched": 2, "precision": 2 / 3, "recall": 1, "f1": 0.8, "count_error": 0.5}
    assert nuclei.match([[0, 0], [1, 0]], [[0, 0]], 6, 1)["matched"] == 1
    assert nuclei.match(np.empty((0, 2)), [[0, 0]], 6, 1)["f1"] == 0


def test_outlines_surround_each_nucleus():
    labels = np.zeros((20, 30), np.int32)
    labels[5:9, 10:20], labels[0:3, 0:3] = 1, 2
    wide, corner = nuclei.outlines(labels)
    assert (wide.min(axis=0).tolist(), wide.max(axis=0).tolist()) == ([9.5, 4.5], [19.5, 8.5])
    assert corner.min(axis=0).tolist() == [-0.5, -0.5]


def test_accuracy_of_a_tile_is_that_of_its_points():
    """At 0.5 um/px: half of a lattice found, as many in each disc of 100 um; then all of the left half only."""
    _, true = drawn(0.5, per_side=20)
    frame = pd.DataFrame(true, columns=["x", "y"]).assign(area_um2=30.0)
    half = frame.iloc[::2] + (3, 0, 0)  # 1.5 um off: found
    scores = nuclei.accuracy(half, true, 480, 0.5)
    assert (scores["n_true"], scores["n_found"], scores["precision"], scores["recall"]) == (400, 200, 1, 0.5)
    assert scores["count_error"] == 0.5
    left = nuclei.accuracy(frame[frame["x"] < 240], true[true[:, 0] < 240], 480, 0.5)
    assert left["f1"] == 1 and left["count_rho"] == pytest.approx(1)
    assert np.isnan(nuclei.accuracy(half, true, 190, 0.5)["count_rho"])  # a tile of 95 um holds no disc


@pytest.fixture(scope="module")
def tiles(monuseg_root):
    """um per pixel -> the 13 annotated tiles at that resolution, encoded as the cohort's JPEG."""
    made = {mpp: images.annotated_tiles(monuseg_root, mpp) for mpp in (0.5, 0.688)}
    assert len(made[0.688]) == 13
    return made


@pytest.mark.parametrize("mpp", [0.5, 0.688])
def test_annotated_nuclei_are_found_and_counted(tiles, mpp):
    rows = [
        nuclei.accuracy(nuclei.detect(image, mpp), truth, image.shape[1], mpp) for image, truth in tiles[mpp].values()
    ]
    table = pd.DataFrame(rows)
    assert table["f1"].mean() >= 0.82 and table["f1"].min() >= 0.74
    assert table["count_error"].mean() <= 0.105
    assert table["count_rho"].mean() >= 0.7


@pytest.mark.full
def test_the_defaults_are_not_fitted_to_the_tile_they_are_scored_on(tiles):
    """Leave one tile out: share of eosin, scale and contrast are chosen on 12 tiles and scored on the 13th."""
    table = nuclei.leave_one_tile_out(tiles[0.688], 0.688)
    assert table["f1"].mean() >= 0.82 and table["f1"].min() >= 0.72
    assert table["count_error"].mean() <= 0.1


def test_a_tile_has_no_say_in_its_own_setting(monkeypatch):
    """Three tiles want the low threshold, one the high one: it is scored with the low one all the same."""
    found = pd.DataFrame({"x": [10.0, 60.0], "y": [10.0, 60.0], "area_um2": [30.0, 30.0]})
    monkeypatch.setattr(nuclei, "SETTINGS", {"eosin": (0.3,), "scale_um": (2.4,), "contrast": (1.0, 2.0)})
    monkeypatch.setattr(nuclei, "detect", lambda *_, contrast, **__: found if contrast == 1 else found[:1])
    both, one = found[["x", "y"]].to_numpy(), found[["x", "y"]].to_numpy()[:1]
    image = drawn(0.5)[0]
    tiles = {"a": (image, both), "b": (image, both), "c": (image, both), "d": (image, one)}
    table = nuclei.leave_one_tile_out(tiles, 0.5)
    assert table["contrast"].tolist() == [1, 1, 1, 1]
    assert table["count_error"].tolist() == [0, 0, 0, 1]


def test_a_real_section_has_more_nuclei_where_more_molecules_were_captured(her2st_root):
    """C3, the paper's panel A: Spearman of nuclei and depth (its median over sections is 0.505)."""
    spots = pd.read_csv(her2st_root / "data/ST-spotfiles/C3_selection.tsv", sep="\t")
    spots.index = spots["x"].astype(str) + "x" + spots["y"].astype(str)
    depth = pd.read_csv(her2st_root / "data/ST-cnts/C3.tsv.gz", sep="\t", index_col=0).sum(axis=1)
    spatial = spots[["pixel_x", "pixel_y"]].to_numpy()
    [path] = (her2st_root / "data/ST-imgs/C/C3").glob("*.jpg")
    read = partial(images.region, images.open(path, 0.688))
    table = nuclei.count(nuclei.detect_section(read, spatial, 0.688), spatial, 0.688).set_index(spots.index)
    assert 20 < table["n_nuclei"].median() < 60
    assert 0.4 < table["n_nuclei"].corr(depth, method="spearman") < 0.8
