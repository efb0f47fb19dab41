"""Patches of a section: sizes worked out by hand, features joined by spot, and refusals that are the encoders' own."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.chapters import patches
from helpers.schema import PATCH, PATCH_AUGMENTED
from helpers.tissue import encoders
from helpers.tissue.patches import Encoding, file_hash

MPP = 0.5


def section_of(**uns):
    uns = {"section": "A1", "mpp": MPP, "spot_um": 100.0, "pitch_um": 200.0, "image": "a1.jpg"} | uns
    spatial = np.array([[1000.0, 1000], [2000, 1000], [3000, 1000]])
    obs = pd.DataFrame({"n_nuclei": [9, 4, 7]}, index=["1x1", "1x2", "1x3"])
    return AnnData(np.zeros((3, 1), np.float32), obs=obs, obsm={"spatial": spatial}, uns=uns)


def test_a_patch_is_measured_in_um_in_pixels_and_in_spots():
    """A disc of 100 um has an area of 7,854 um2."""
    sides = patches.sides_of(section_of(), "morphology", [200, "stem"])
    table = patches.areas(sides, MPP, 100.0)
    assert table["scale"].tolist() == ["200um", "stem"]
    assert table["side, µm"].tolist() == [200, 112]
    assert table["side, pixels of the image"].tolist() == [400, 224]
    assert table["area, in spots"].to_numpy() == pytest.approx([40_000 / 7853.98, 12_544 / 7853.98], rel=1e-5)
    assert patches.areas({"200um": 200.0}, MPP, 50.0)["area, in spots"][0] == pytest.approx(40_000 / 1963.5, rel=1e-5)


def test_a_table_says_nothing_of_the_tissue_it_describes():
    assert patches.sides_of(section_of(), "table", [200]) == {}
    assert patches.areas({}, MPP, 100.0).empty
    [view] = patches.views(section_of(pitch_um=150.0), lambda *asked: asked, {})
    assert view.side_um == 150


def test_the_median_spot_is_shown_at_every_scale_never_finer_than_the_image():
    small, large = patches.views(section_of(), lambda *asked: asked, {"100um": 100.0, "896um": 896.0})
    assert small.image == ((3000, 1000), 100, MPP)
    assert large.image == ((3000, 1000), 896, 2.0) and large.mpp == 2.0


def test_features_of_a_table_are_joined_by_the_name_of_the_spot(tmp_path):
    pd.DataFrame({"spot": ["1x3", "1x1", "1x2"], "f": [3.0, 1.0, 2.0]}).to_parquet(tmp_path / "t.parquet")
    values, names = patches.features_of(section_of(), None, Encoding("table", {}), str(tmp_path / "t.parquet"), "")
    assert values[:, 0].tolist() == [1, 2, 3] and names == ["f"]


def test_features_are_made_of_the_section_s_own_image(monkeypatch):
    encoding, section = Encoding("morphology", {"200um": 200.0}), section_of()
    monkeypatch.setattr(patches.patches, "cached", lambda *asked: asked)
    cache, image, _, spatial, mpp, asked = patches.features_of(section, None, encoding, None, "cache")
    assert (cache, image, mpp, asked) == ("cache", "a1.jpg", MPP, encoding)
    np.testing.assert_array_equal(spatial, section.obsm["spatial"])


def test_an_encoder_is_named_with_the_fingerprint_of_its_weights(tmp_path):
    (tmp_path / "uni.bin").write_bytes(b"weights")
    table = patches.used_encoders(Encoding("morphology+uni", {}, {"uni": tmp_path / "uni.bin"}))
    assert table["encoder"].tolist() == ["morphology", "uni"]
    assert table["input, pixels"].tolist() == [
        "1 µm each, or as wide as the image's",
        encoders.ENCODERS["uni"]["pixels"],
    ]
    assert table["their sha256"].tolist() == ["", file_hash(tmp_path / "uni.bin")[:16]]
    assert patches.used_encoders(Encoding("table", {})).empty
    with pytest.raises(ValueError, match="unknown encoder 'uni9'"):
        patches.used_encoders(Encoding("uni9", {}))


def test_the_patch_as_it_is_comes_first_among_its_turns():
    features = np.arange(3 * 8 * 2, dtype=np.float32).reshape(3, 8, 2)
    section = section_of()
    made = patches.with_features(section, features, ["a", "b"])
    np.testing.assert_array_equal(made.obsm[PATCH], features[:, 0])
    np.testing.assert_array_equal(made.obsm[PATCH_AUGMENTED], features)
    plain = patches.with_features(section, features[:, 0], ["a", "b"])
    assert PATCH_AUGMENTED not in plain.obsm and list(plain.uns["patch_names"]) == ["a", "b"]
    assert not section.obsm.keys() - {"spatial"}


def test_features_are_counted_and_some_named():
    said = patches.answer(["a"], Encoding("table", {}))
    assert said == "The tissue of a spot is described by 1 number, from a table, such as `a`."
    names, sides = [f"f{i}" for i in range(1000)], {"200um": 200.0, "stem": 154.1}
    assert patches.answer(names, Encoding("morphology", sides, augmented=True)).startswith(
        "The tissue of a spot is described by 1,000 numbers, by `morphology` from squares of 200, 154 µm around it, "
        "such as `f0`, `f1`, `f2`, `f3`, `f4`. Each square is also"
    )


def test_the_first_component_follows_what_most_features_share_whatever_their_units():
    rng = np.random.default_rng(0)
    tissue, other = rng.normal(size=(2, 60))
    features = np.column_stack([tissue, 1000 * tissue, -tissue, other])
    scores, shares = patches.principal_components(features)
    assert abs(np.corrcoef(scores[:, 0], tissue)[0, 1]) > 0.99
    assert shares[0] == pytest.approx(0.75, abs=0.05) and shares.sum() == pytest.approx(1)
