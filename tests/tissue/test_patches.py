"""Patch features: the same tissue gives the same numbers, however it is turned or scanned."""

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit
from skimage.measure import regionprops

from helpers.tissue import encoders, patches

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


# --- around spots ---


def mean_colour(batch, mpp):
    return batch.mean(axis=(1, 2)), ["red", "green", "blue"]


def corner(batch, mpp):
    return batch[:, 0, :1, 0].astype(float), ["corner"]


@pytest.fixture
def slide():
    """`read` of a slide that remembers what it was asked for; the grey of a patch is the spot's x, its corner is 7."""

    def read(centre, size_um, mpp):
        read.asked.append((size_um, mpp))
        side = round(size_um / mpp)
        patch = np.full((side, side, 3), centre[0], np.uint8)
        patch[0, 0] = 7
        return patch

    read.asked = []
    return read


@pytest.fixture
def spatial():
    return np.column_stack([np.arange(40), np.zeros(40)])


@pytest.fixture
def published(monkeypatch):
    """`uni` and `conch` without weights: each gives the side of what it is shown and the patch's grey."""
    monkeypatch.setattr(encoders, "load", lambda name, weights: name)

    def embed(name, network, batch):
        assert network == name
        width = encoders.ENCODERS[name]["width"]
        return np.repeat([[batch.shape[1], patch[5, 5, 0]] for patch in batch], width // 2, axis=1)

    monkeypatch.setattr(encoders, "embed", embed)


def test_a_new_encoder_is_one_entry(monkeypatch, slide, spatial):
    monkeypatch.setitem(patches.ENCODERS, "corner", corner)
    values, names = patches.embed(slide, spatial, "corner", {"100um": 100, "800um": 800}, mpp=0.7)
    assert names == ["100um:corner", "800um:corner"]
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.full((40, 2), 7))
    assert set(slide.asked) == {(100, 1.0), (800, 800 / 224)}


def test_two_encoders_stand_side_by_side_and_read_once(published, slide, spatial):
    values, names = patches.embed(slide, spatial, "uni+conch", {"112um": 112}, mpp=0.1)
    assert values.shape == (40, 1536)
    assert [names[0], names[1023], names[1024], names[-1]] == [
        "112um:uni_0", "112um:uni_1023", "112um:conch_0", "112um:conch_511"
    ]  # fmt: skip
    np.testing.assert_array_equal(values[:, 1023], np.arange(40))
    assert slide.asked == [(112, 0.25)] * 40
    assert set(values[:, 0]) == {448}


def test_a_patch_is_never_read_finer_than_the_image(published, slide, spatial):
    patches.embed(slide, spatial, "uni", {"112um": 112}, mpp=0.688)
    assert set(slide.asked) == {(112, 0.688)}


@pytest.mark.parametrize(
    ("mpp", "spot_um", "side"),
    [
        (0.688, 100, 224 * 0.688),
        (0.916, 100, 224 * 0.916),
        (0.25, 100, 100),
        (0.2497, 55, 224 * 0.2497),
        (0.2, 55, 274 * 0.2),
    ],
)
def test_the_published_crop_is_224_pixels_or_the_spot(mpp, spot_um, side):
    assert patches.sides(["stem", 112], mpp, spot_um) == {"stem": pytest.approx(side), "112um": 112}


def test_the_published_crop_is_cut_pixel_by_pixel(published, slide, spatial):
    mpp = 0.6879999652788327
    patches.embed(slide, spatial, "uni+conch", patches.sides(["stem"], mpp, 100), mpp)
    assert set(slide.asked) == {(224 * mpp, mpp)}


def test_turns_are_those_of_the_published_augmentation():
    patch = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    image = Image.fromarray(patch[1])
    expected = [image, *(image.transpose(which) for which in sorted(Image.Transpose))]
    turned = patches.turned(patch)
    assert len(turned) == len(expected) == 8
    for found, wanted in zip(turned, expected, strict=True):
        np.testing.assert_array_equal(found[1], np.asarray(wanted))


def test_augmented_features_begin_with_the_plain_ones(monkeypatch, slide, spatial):
    monkeypatch.setitem(patches.ENCODERS, "corner", corner)
    monkeypatch.setitem(patches.ENCODERS, "mean_colour", mean_colour)
    asked = (slide, spatial, "corner+mean_colour", {"20um": 20, "40um": 40}, 1.0)
    plain, names = patches.embed(*asked)
    augmented, same = patches.embed(*asked, augmented=True)
    assert augmented.shape == (40, 8, 8)
    assert same == names
    np.testing.assert_array_equal(augmented[:, 0], plain)
    # only the transpose along the main diagonal leaves the corner where it is
    np.testing.assert_array_equal((augmented[9, :, 0] == 7), [True, *[False] * 5, True, False])


def test_features_that_are_not_finite_are_refused(monkeypatch, slide):
    monkeypatch.setitem(patches.ENCODERS, "broken", lambda batch, mpp: (np.full((len(batch), 1), np.nan), ["x"]))
    with pytest.raises(ValueError, match="'broken' gave features that are not finite"):
        patches.embed(slide, np.zeros((2, 2)), "broken", {"100um": 100}, 1.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoder": "uni9"}, "unknown encoder 'uni9': choose one of morphology, uni, .*joined by +"),
        ({"encoder": "uni+"}, "unknown encoder ''"),
        ({"encoder": "table"}, "unknown encoder 'table'"),
        ({"sides": {}}, "patches of {} um"),
        ({"sides": {"4um": 4}}, "patches of {'4um': 4} um"),
        ({"sides": {"100um": np.nan}}, "patches of"),
        ({"mpp": np.nan}, "patches of"),
        ({"spatial": np.zeros((3, 3))}, "spatial must hold"),
        ({"spatial": np.array([[1, np.nan]])}, "spatial must hold"),
    ],
)
def test_what_cannot_be_embedded_is_refused(change, says):
    asked = {"read": None, "spatial": np.zeros((1, 2)), "encoder": "morphology", "sides": {"100um": 100}, "mpp": 1.0}
    with pytest.raises(ValueError, match=says):
        patches.embed(**asked | change)


def test_a_scale_is_um_or_the_published_crop():
    with pytest.raises(ValueError, match="unknown scale 'steem': give um, or 'stem'"):
        patches.sides(["steem"], 0.5, 100)


# --- kept by content ---


@pytest.fixture
def kept(monkeypatch, slide, spatial, tmp_path):
    """Encode through the cache; returns features and whether the slide was read."""
    monkeypatch.setitem(patches.ENCODERS, "mean_colour", mean_colour)
    (tmp_path / "slide.jpg").write_bytes(b"pixels")

    def encode(image="slide.jpg", encoder="mean_colour", mpp=0.7, **change):
        slide.asked.clear()
        asked = {"spatial": spatial, "sides": {"100um": 100.0}} | change
        at = asked.pop("spatial")
        encoding = patches.Encoding(encoder, **asked)
        features, names = patches.cached(tmp_path / "cache", tmp_path / image, slide, at, mpp, encoding)
        assert len(names) == features.shape[-1]
        return features, bool(slide.asked)

    return encode


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_same_is_encoded_once(kept, tmp_path):
    first, read = kept()
    assert read
    (tmp_path / "copy.jpg").write_bytes(b"pixels")
    for image in ("slide.jpg", "copy.jpg"):
        again, read = kept(image)
        assert not read
        np.testing.assert_array_equal(first, again)
    assert len(files(tmp_path / "cache")) == 1


def test_whatever_decides_the_features_is_in_the_name(kept, published, spatial, tmp_path):
    (tmp_path / "other.jpg").write_bytes(b"other pixels")
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    for change in (
        {},
        {"image": "other.jpg"},
        {"mpp": 0.71},
        {"spatial": spatial + 1},
        {"sides": {"100um": 101.0}},
        {"augmented": True},
        {"encoder": "mean_colour+mean_colour"},
        {"encoder": "uni", "weights": {"uni": tmp_path / "a"}},
        {"encoder": "uni", "weights": {"uni": tmp_path / "b"}},
        {"encoder": "uni2", "weights": {"uni2": tmp_path / "b"}},
    ):
        assert kept(**change)[1], change
        assert not kept(**change)[1], change
    (tmp_path / "a").write_bytes(b"weights of another training")
    assert kept(encoder="uni", weights={"uni": tmp_path / "a"})[1]


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-30], lambda content: b"", lambda content: content.replace(content[200:240], b"0" * 40)],
)
def test_a_damaged_file_is_made_anew_with_a_warning(kept, damage, tmp_path):
    first, _ = kept()
    path = next((tmp_path / "cache").iterdir())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=f"{path.name}: damaged"):
        again, read = kept()
    assert read
    np.testing.assert_array_equal(first, again)
    assert not kept()[1]


def test_a_half_written_file_is_never_left(kept, monkeypatch, tmp_path):
    def killed(path, **content):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(np, "savez", killed)
        kept()
    assert files(tmp_path / "cache") == []
    assert kept()[1]
