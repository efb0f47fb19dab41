"""Nuclei against drawn and annotated truth: found where they are, counted once, in um whatever the resolution."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import center_of_mass
from skimage.color import hed2rgb

from helpers.cohort import images
from helpers.tissue import classical, haematoxylin, tiles

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
    found = classical.detect(image, mpp)
    assert tiles.match(found[["x", "y"]], centres, 1.0, mpp)["matched"] == len(found) == len(centres)
    assert found["area_um2"].median() == pytest.approx(np.pi * RADIUS_UM**2, rel=0.25)


def test_coordinates_are_x_then_y():
    image, _ = drawn(0.5)
    image[:, 60:] = 255  # nuclei stay on the left only
    found = classical.detect(image, 0.5)
    assert found["x"].max() < 60 < found["y"].max()


def test_turning_the_image_turns_the_nuclei():
    image, _ = drawn(0.5)
    found, turned = classical.detect(image, 0.5), classical.detect(np.ascontiguousarray(image.transpose(1, 0, 2)), 0.5)
    assert tiles.match(found[["x", "y"]], turned[["y", "x"]], 0.5, 0.5)["matched"] == len(found) == len(turned)


def test_contrast_moves_the_threshold_and_one_is_the_default():
    """Faint nuclei between strong ones go first."""
    image = drawn(0.5, noise=0)[0].astype(float)
    faint = np.round(255 * (image / 255) ** 0.4)
    picture = np.concatenate([image, faint]).astype(np.uint8)
    n = {contrast: len(classical.detect(picture, 0.5, contrast=contrast)) for contrast in (0.5, 1.0, 4.0)}
    assert n[0.5] == 128 >= n[1.0] > n[4.0]
    assert len(classical.detect(picture, 0.5)) == n[1.0]


def test_segment_numbers_its_nuclei_without_gaps_and_detect_measures_them():
    image, _ = drawn(0.5)
    labels, found = classical.segment(image, 0.5), classical.detect(image, 0.5)
    assert labels.shape == image.shape[:2] and labels.dtype == np.int32
    assert set(np.unique(labels)) == set(range(len(found) + 1))
    assert (found["area_um2"] / 0.25).sum() == (labels > 0).sum()
    centre = np.array(center_of_mass(labels > 0, labels, range(1, len(found) + 1)))
    np.testing.assert_allclose(found[["y", "x"]], centre)


@pytest.mark.parametrize("noise", [0, 3])
def test_glass_has_no_nuclei(noise):
    glass = np.random.default_rng(0).normal(235, noise, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    found = classical.detect(glass, 0.688)
    assert list(found) == ["x", "y", "area_um2"] and len(found) == 0
    assert classical.count(found, [[50.0, 50.0]], 0.688, 100).to_numpy().tolist() == [[0, 0]]


def test_eosin_alone_has_no_nuclei():
    stains = np.zeros((200, 200, 3))
    stains[..., 1] = 0.05 + 0.03 * np.sin(np.arange(200) / 8)
    assert len(classical.detect(np.round(255 * hed2rgb(stains)).astype(np.uint8), 0.688)) == 0


@pytest.mark.parametrize(
    "image",
    [np.zeros((9, 9)), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8), "he.jpg"],
)
def test_only_rgb_bytes_are_an_image(image):
    with pytest.raises(ValueError, match="RGB as uint8"):
        classical.detect(image, 0.5)


@pytest.mark.parametrize("mpp", [0, -0.5, 2.5, np.nan])
def test_a_pixel_size_at_which_no_nucleus_can_be_seen_is_refused(mpp):
    with pytest.raises(ValueError, match="mpp"):
        classical.detect(drawn(0.5)[0], mpp)


def test_count_takes_the_disc_and_its_border():
    """At 0.5 um/px a disc of 100 um has a radius of 100 px."""
    found = pd.DataFrame({"x": [0, 100, 101, 300.0], "y": [0, 0, 0, 0.0], "area_um2": [10, 20, 40, 80.0]})
    spatial = np.array([[0, 0], [300, 0], [900, 900.0]])
    table = classical.count(found, spatial, 0.5, 100)
    assert table.to_dict("list") == {"n_nuclei": [2, 1, 0], "nuclei_area_um2": [30.0, 80.0, 0.0]}
    assert classical.count(found, spatial, 0.5, 101)["n_nuclei"].tolist() == [3, 1, 0]


def test_a_square_takes_the_corners_that_its_disc_leaves_out():
    """At 0.5 um/px half a square of 100 um is 100 px: (90, 90) lies in it and 127 px from the centre."""
    found = pd.DataFrame({"x": [0, 90, 101.0], "y": [0, 90, 0.0], "area_um2": 10.0})
    spatial = np.array([[0, 0], [500, 500.0]])
    assert classical.count_in_squares(found, spatial, 0.5, 100).tolist() == [2, 0]
    assert classical.count(found, spatial, 0.5, 100)["n_nuclei"].tolist() == [1, 0]


def test_the_fewest_the_median_and_the_most_are_typical():
    assert classical.typical_spots(np.array([7, 1, 9, 3, 3])).tolist() == [1, 4, 2]
    assert classical.typical_spots(np.array([5, 5])).tolist() == [0, 1, 1]


def test_no_nuclei_and_no_spots_are_counted_too():
    none = pd.DataFrame({"x": [], "y": [], "area_um2": []})
    assert classical.count(none, np.zeros((2, 2)), 0.5, 100).to_numpy().tolist() == [[0, 0], [0, 0]]
    for no_spots in ([], np.empty((0, 2))):
        table = classical.count(none, no_spots, 0.5, 100)
        assert list(table) == ["n_nuclei", "nuclei_area_um2"] and len(table) == 0


def test_tiles_neither_lose_nor_double_a_nucleus(monkeypatch):
    """Borders cut through nuclei wherever the grid lies: the table is that of the image in one piece."""
    image = np.pad(drawn(0.5, per_side=14)[0], ((24, 24), (24, 24), (0, 0)), constant_values=255)
    spatial = np.array([[96, 96], [280, 100], [100, 280], [290, 290.0]])
    read, stain = reader_of(image), haematoxylin.strength(image)
    whole = classical.detect(image, 0.5, stain)
    for tile_um in (31, 50, 300):
        monkeypatch.setattr(classical, "TILE_UM", tile_um)
        found = classical.detect_section(read, spatial, 0.5, stain=stain)
        pairs = tiles.match(found[["x", "y"]], whole[["x", "y"]], 0.01, 0.5)["matched"]
        assert pairs == len(found) == len(whole) == 14**2


def test_a_spot_far_from_the_others_gets_its_whole_square():
    image, centres = drawn(0.5, per_side=30)
    found = classical.detect_section(reader_of(image), np.array([[360, 360.0]]), 0.5, size_um=154.0)
    in_square = centres[(np.abs(centres - 360) <= 150).all(axis=1)]
    assert tiles.match(found[["x", "y"]], in_square, 1.0, 0.5)["recall"] == 1


def test_outlines_surround_each_nucleus():
    labels = np.zeros((20, 30), np.int32)
    labels[5:9, 10:20], labels[0:3, 0:3] = 1, 2
    wide, corner = classical.outlines(labels)
    assert (wide.min(axis=0).tolist(), wide.max(axis=0).tolist()) == ([9.5, 4.5], [19.5, 8.5])
    assert corner.min(axis=0).tolist() == [-0.5, -0.5]


def test_a_real_section_has_more_nuclei_where_more_molecules_were_captured(her2st_root):
    """C3, the paper's panel A: Spearman of nuclei and depth (its median over sections is 0.505)."""
    spots = pd.read_csv(her2st_root / "data/ST-spotfiles/C3_selection.tsv", sep="\t")
    spots.index = spots["x"].astype(str) + "x" + spots["y"].astype(str)
    depth = pd.read_csv(her2st_root / "data/ST-cnts/C3.tsv.gz", sep="\t", index_col=0).sum(axis=1)
    spatial = spots[["pixel_x", "pixel_y"]].to_numpy()
    [path] = (her2st_root / "data/ST-imgs/C/C3").glob("*.jpg")
    read = partial(images.region, images.open(path, 0.688))
    table = classical.count(classical.detect_section(read, spatial, 0.688), spatial, 0.688, 100).set_index(spots.index)
    assert 20 < table["n_nuclei"].median() < 60
    assert 0.4 < table["n_nuclei"].corr(depth, method="spearman") < 0.8
