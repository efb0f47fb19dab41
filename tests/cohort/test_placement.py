"""Spots that were mirrored, turned, moved or laid on another image are doubted; spots in place are not."""

import re

import numpy as np
import pytest
from anndata import AnnData
from scipy.ndimage import gaussian_filter

from helpers.cohort import images, placement, sections

SIZE, STEP = (1000, 800), 50


def made(seed, follows=1.0):
    """A section whose depth follows the stain of an image without symmetry, and that image."""
    rng = np.random.default_rng(seed)
    stain = gaussian_filter(rng.normal(size=SIZE[::-1]), 45)
    stain = 60 + 120 * (stain - stain.min()) / np.ptp(stain)
    image = np.stack([255 - stain, np.full_like(stain, 100), np.full_like(stain, 160)], axis=-1)
    image[:20], image[-20:] = 240, 240
    x, y = (one.ravel() for one in np.meshgrid(np.arange(75, 950, STEP), np.arange(75, 750, STEP)))
    depth = follows * stain[y, x] + rng.normal(0, 10, len(x))
    section = AnnData(obsm={"spatial": np.column_stack([x, y]).astype(float)}, shape=(len(x), 0))
    section.obs["total_counts"] = depth - depth.min() + 100
    return section, image.astype(np.uint8)


def see(section, image):
    return placement.view(section, image, SIZE)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("follows", [1.0, -1.0, 0.0], ids=["dark is deep", "dark is shallow", "nothing follows"])
def test_spots_in_place_raise_no_doubt(seed, follows):
    section, image = made(seed, follows)
    assert placement.doubt(see(section, image)) == ""


@pytest.mark.parametrize(("factor", "doubted"), [(1.0, False), (0.6, False), (0.45, True), (0.1, True)])
def test_places_in_pixels_of_a_reduced_picture_are_doubted_also_where_depth_follows_nothing(factor, doubted):
    section, image = made(0, follows=0.0)
    section.obsm["spatial"] *= factor
    said = placement.doubt(see(section, image))
    assert said.startswith("all spots lie within the first 4") == (factor == 0.45)
    assert ("or of a reduced one, or in um" in said) == doubted


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("move", "words"),
    [
        (lambda xy: np.column_stack([SIZE[0] - 1 - xy[:, 0], xy[:, 1]]), "mirrored left to right"),
        (lambda xy: np.column_stack([xy[:, 0], SIZE[1] - 1 - xy[:, 1]]), "mirrored top to bottom"),
        (lambda xy: np.array(SIZE) - 1 - xy, "turned by 180 degrees"),
    ],
)
def test_spots_that_were_mirrored_or_turned_are_doubted_with_the_numbers(seed, move, words):
    section, image = made(seed)
    section.obsm["spatial"] = move(section.obsm["spatial"])
    said = placement.doubt(see(section, image))
    assert re.search(rf"better with the spots {words}: rank correlation 0\.[89]\d for", said)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("times", [1.25, 1.5, 2])
def test_a_picture_that_is_too_large_is_doubted_where_depth_follows_the_stain(seed, times):
    section, image = made(seed)
    section.obsm["spatial"] /= times
    assert f"with the spots {times} times as far from the corner, as if the picture" in placement.doubt(
        see(section, image)
    )


def test_a_real_picture_that_is_too_large_is_doubted_also_where_all_spots_lie_on_tissue(her2st_root):
    section = sections.read("her2st", her2st_root, "B4")
    size, thumbnail = images.size(section.uns["image"]), np.array(images.thumbnail(section.uns["image"], 1500))
    assert placement.doubt(placement.view(section, thumbnail, size)) == ""
    section.obsm["spatial"] = section.obsm["spatial"] / 1.5
    assert "1.5 times as far from the corner" in placement.doubt(placement.view(section, thumbnail, size))


def test_spots_that_were_moved_are_doubted():
    section, image = made(1)
    section.obsm["spatial"] = section.obsm["spatial"] - [2 * STEP, 0]
    assert "moved by 100, 0 px" in placement.doubt(see(section, image))


def test_exchanged_images_are_doubted_and_right_ones_are_not():
    (one, image), (two, other) = made(0), made(1)
    assert placement.doubts_of_others({"A1": see(one, image), "A2": see(two, other)}) == {}
    said = placement.doubts_of_others({"A1": see(one, other), "A2": see(two, image)})
    assert "better in the image of A2" in said["A1"] and "better in the image of A1" in said["A2"]


def test_a_picture_cut_to_the_tissue_is_tissue():
    """The highest peak of its histogram is then no glass; nuclei alone are darker than that."""
    rng = np.random.default_rng(0)
    picture = np.repeat(rng.normal(150, 4, (200, 200, 1)), 3, axis=2)
    picture[::10, ::10] = 60
    picture[:, :10] = rng.normal(240, 1, (200, 10, 1))
    share = placement.tissue_share(gaussian_filter(picture, (1, 1, 0)).clip(0, 255).astype(np.uint8), 5)
    assert share[:, 20:].min() > 0.9 and share[:, :5].max() < 0.1
    assert placement.tissue_share(np.full((50, 50, 3), 200, np.uint8), 5).max() == 0


def test_a_picture_is_read_at_x_and_y_and_has_nothing_outside():
    picture = np.arange(6.0).reshape(2, 3)
    found = placement.at(picture, np.array([[2, 0], [0.4, 1.2], [3, 0], [-1, 0]]))
    np.testing.assert_array_equal(found, [2, 3, np.nan, np.nan])


@pytest.mark.parametrize("follows", [1.0, -1.0])
def test_shuffled_spots_are_doubted_without_an_image_and_lattice(follows):
    section, _ = made(0, follows)
    assert placement.scattered(section) == ""
    rng = np.random.default_rng(0)
    section.obsm["spatial"] += rng.uniform(-20, 20, (section.n_obs, 2))  # on no lattice
    assert placement.scattered(section) == ""
    section.obsm["spatial"] = rng.permutation(section.obsm["spatial"])
    said = placement.scattered(section)
    assert "as if spots were shuffled; check that positions and counts" in said and re.search(r"of -?0\.[01]\d ", said)


def test_few_spots_and_one_depth_say_nothing_of_shuffling():
    section, _ = made(0, 0.0)
    assert placement.scattered(section) and placement.scattered(section[:90].copy()) == ""
    section.obs["total_counts"] = 100.0
    assert placement.scattered(section) == ""


@pytest.mark.parametrize("name", ["A1", "C4", "F3"])
def test_spots_of_a_real_section_are_not_shuffled_until_they_are(her2st_root, name):
    section = sections.read("her2st", her2st_root, name)
    assert placement.scattered(section) == ""
    section.obsm["spatial"] = np.random.default_rng(0).permutation(section.obsm["spatial"])
    assert "as if spots were shuffled" in placement.scattered(section)


def test_spots_off_the_tissue_are_counted_and_told_whether_x_and_y_are_swapped():
    section, image = made(0)
    glass = np.full_like(image, 240)
    glass[50:350, 400:950] = image[50:350, 400:950]
    x, y = section.obsm["spatial"].T
    on = section[(x > 420) & (x < 930) & (y > 70) & (y < 330)].copy()
    assert placement.off_tissue(see(on, glass)) == ""
    found = placement.off_tissue(see(section, glass))
    assert re.fullmatch(r"\d+ of 252 spots lie off the tissue or the image; look whether positions and .*", found)
    on.obsm["spatial"] = on.obsm["spatial"][:, ::-1].copy()
    found = placement.off_tissue(see(on, glass))
    assert re.fullmatch(r"(\d+) of \1 spots lie off .*, with x and y exchanged 0: they are swapped, .*", found)
