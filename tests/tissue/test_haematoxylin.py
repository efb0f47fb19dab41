"""Twin of helpers/tissue/haematoxylin.py."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.color import hed2rgb

from helpers.tissue import classical, haematoxylin

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


def test_paler_staining_does_not_change_the_count():
    """Thresholds follow the strength of the stain: a quarter of the optical density, the same nuclei."""
    image, centres = drawn(0.5, noise=0)
    pale = np.round(255 * (image / 255) ** 0.25).astype(np.uint8)
    assert haematoxylin.strength(pale) == pytest.approx(haematoxylin.strength(image) / 4, rel=0.1)
    assert len(classical.detect(pale, 0.5)) == len(centres)
    assert len(classical.detect(pale, 0.5, haematoxylin.strength(image))) == 0


def test_sharpness_falls_with_blur_and_not_with_the_stain():
    image = drawn(0.5, per_side=17, noise=0)[0]
    blurred = np.round(gaussian_filter(image.astype(float), (3, 3, 0))).astype(np.uint8)
    pale = np.round(255 * (image / 255) ** 0.5).astype(np.uint8)
    sharp, soft, faint = (
        haematoxylin.sharpness(reader_of(each), [[101, 101]], 0.5, 100)[0] for each in (image, blurred, pale)
    )
    assert soft < 0.85 * sharp
    assert faint == pytest.approx(sharp, rel=0.1)


def test_haematoxylin_of_a_disc_is_that_of_its_pixels_alone():
    """The 6 is the optical density of scikit-image's darkest value, 10**-6."""
    stains = np.zeros((300, 300, 3))
    stains[..., 0] = 0.02
    y, x = np.indices((300, 300))
    stains[np.hypot(x - 149.5, y - 149.5) <= 50] += (0.05, 0, 0)  # a disc of 100 um at 1 um/px
    read = reader_of(np.round(255 * hed2rgb(stains)).astype(np.uint8))
    inside, outside = haematoxylin.haematoxylin(read, np.array([[149.5, 149.5], [50, 50]]), 1.0, 90.0)
    assert inside == pytest.approx(0.07 * 6, rel=0.03)
    assert outside == pytest.approx(0.02 * 6, rel=0.03)
