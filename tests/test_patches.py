"""Patch features: the same tissue gives the same numbers, however it is turned or scanned."""

import numpy as np
import pytest
from scipy.special import expit
from skimage.measure import regionprops

from helpers import patches

HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])


def tissue(nuclei_um, mpp, size_um=200, radius_um=4.0, elongation=1.0):
    """H&E of pale stroma with one nucleus at each (x, y) in um, drawn from stain vectors at any pixel size."""
    at = (np.arange(round(size_um / mpp)) + 0.5) * mpp
    haematoxylin = np.full((len(at), len(at)), 0.1)
    for x, y in nuclei_um:
        distance = np.hypot((at[None, :] - x) / elongation, (at[:, None] - y) * elongation)
        haematoxylin += 0.9 * expit(4 * (radius_um - distance))
    density = haematoxylin[..., None] * HAEMATOXYLIN + 0.2 * EOSIN
    return np.rint(255 * np.exp(-density)).astype(np.uint8)


def scattered(n, size_um=200, apart_um=14, seed=0):
    """`n` places, at least `apart_um` apart."""
    rng, places = np.random.default_rng(seed), []
    while len(places) < n:
        place = rng.uniform(8, size_um - 8, 2)
        if all(np.hypot(*(place - other)) > apart_um for other in places):
            places.append(place)
    return np.array(places)


def describe(patch, mpp=1.0):
    values, names = patches.morphology(patch[None], mpp)
    return dict(zip(names, values[0], strict=True))


def test_turning_and_mirroring_a_patch_changes_nothing():
    rng = np.random.default_rng(0)
    patch = tissue(scattered(40), 1.0, elongation=1.3).astype(int) + rng.integers(-12, 12, (200, 200, 3))
    patch = np.clip(patch, 0, 255).astype(np.uint8)
    turned = [np.rot90(side, k) for side in (patch, patch[:, ::-1]) for k in range(4)]
    values, _ = patches.morphology(np.stack(turned), 1.0)
    assert np.ptp(values[0]) > 100
    np.testing.assert_allclose(values, np.tile(values[0], (8, 1)), rtol=0.01, atol=0.002)


def test_the_density_of_nuclei_is_the_density_drawn():
    found = [describe(tissue(scattered(n), 1.0))["nuclei_per_mm2"] for n in (0, 5, 20, 60)]
    np.testing.assert_allclose(found, np.array([0, 5, 20, 60]) / 0.04, rtol=0.05)


@pytest.mark.parametrize("mpp", [0.5, 0.688, 0.916])
def test_the_same_tissue_at_another_pixel_size_is_described_alike(mpp):
    places = scattered(40)
    here, reference = describe(tissue(places, mpp), mpp), describe(tissue(places, 0.8), 0.8)
    for name in (
        "haematoxylin_mean",
        "eosin_mean",
        "nuclei_per_mm2",
        "nuclei_neighbour_um_mean",
        "nuclei_darkness_mean",
    ):
        assert here[name] == pytest.approx(reference[name], rel=0.05), name
    for name in ("nuclei_area_mean", "haematoxylin_band_4um", "haematoxylin_band_8um", "nuclei_area_share"):
        assert here[name] == pytest.approx(reference[name], rel=0.15), name


def test_larger_and_longer_nuclei_are_told_apart():
    small, large = (describe(tissue(scattered(20, apart_um=25), 1.0, radius_um=r)) for r in (3.0, 6.0))
    assert large["nuclei_area_mean"] > 1.5 * small["nuclei_area_mean"]
    spindle = describe(tissue(scattered(20, apart_um=25), 1.0, elongation=1.6))
    assert spindle["nuclei_eccentricity_mean"] > 0.85 > 0.6 > small["nuclei_eccentricity_mean"]
    assert spindle["nuclei_alignment"] > 0.9 > 0.7 > small["nuclei_alignment"]


def test_shapes_agree_with_regionprops():
    y, x = np.mgrid[:60, :60]
    labels = np.zeros((60, 60), int)
    labels[((x - 15) / 9) ** 2 + ((y - 20) / 5) ** 2 < 1] = 1
    labels[35:50, 30:36] = 2
    labels[44:50, 30:50] = 2
    haematoxylin = np.random.default_rng(0).random(labels.shape).astype(np.float32)
    shape = patches._shapes(labels, haematoxylin, 1.0)
    reference = regionprops(labels, haematoxylin)
    np.testing.assert_allclose(shape["area"], [r.area for r in reference])
    np.testing.assert_allclose(shape["eccentricity"], [r.eccentricity for r in reference], rtol=5e-3)
    np.testing.assert_allclose(shape["darkness"], [r.intensity_mean for r in reference], rtol=1e-5)
    centres = np.array([r.centroid for r in reference])
    np.testing.assert_allclose(shape["neighbour_um"], np.hypot(*(centres[0] - centres[1])))
    assert shape["fill"][0] == pytest.approx(1, abs=0.03)
    assert shape["fill"][1] < 0.85


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_patch_without_nuclei_has_none_and_nothing_missing(level):
    row = describe(np.full((100, 100, 3), level, np.uint8))
    assert np.isfinite(list(row.values())).all()
    assert not any(value for name, value in row.items() if name.startswith("nuclei"))


@pytest.mark.parametrize(
    "patch",
    [np.zeros((2, 64, 64), np.uint8), np.zeros((2, 64, 64, 3)), np.zeros((2, 64, 64, 4), np.uint8)],
    ids=["grey", "float", "alpha"],
)
def test_anything_but_8_bit_rgb_is_refused(patch):
    with pytest.raises(ValueError, match="patches must be uint8"):
        patches.morphology(patch, 1.0)


def mean_colour(batch, mpp):
    return batch.mean(axis=(1, 2)), ["red", "green", "blue"]


def test_a_new_encoder_is_one_entry(monkeypatch):
    monkeypatch.setitem(patches.ENCODERS, "mean_colour", mean_colour)
    asked = []

    def read(centre, size_um, mpp):
        asked.append((size_um, mpp))
        side = round(size_um / mpp)
        return np.full((side, side, 3), centre[0], np.uint8)

    spatial = np.column_stack([np.arange(40), np.zeros(40)])
    values, names = patches.embed(read, spatial, "mean_colour", scales_um=(100, 800), mpp=1.0, max_pixels=200)
    assert names == [f"{um}um:{colour}" for um in (100, 800) for colour in ("red", "green", "blue")]
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.repeat(np.arange(40)[:, None], 6, axis=1))
    assert set(asked) == {(100, 1.0), (800, 4.0)}


def test_features_that_are_not_finite_are_refused(monkeypatch):
    monkeypatch.setitem(patches.ENCODERS, "broken", lambda batch, mpp: (np.full((len(batch), 1), np.nan), ["x"]))
    with pytest.raises(ValueError, match="'broken' gave features that are not finite"):
        patches.embed(lambda *_: np.zeros((100, 100, 3), np.uint8), np.zeros((2, 2)), "broken")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoder": "uni9"}, "unknown encoder 'uni9': choose one of morphology"),
        ({"scales_um": ()}, "scales_um"),
        ({"scales_um": (4,)}, "scales_um"),
        ({"spatial": np.zeros((3, 3))}, "spatial must hold"),
        ({"spatial": np.array([[1, np.nan]])}, "spatial must hold"),
    ],
)
def test_what_cannot_be_embedded_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        patches.embed(**{"read": None, "spatial": np.zeros((1, 2))} | change)
