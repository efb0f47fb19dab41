"""Backbones: known answers are recovered, and nothing of the held-out section reaches what is fitted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.models import backbones
from helpers.models.stem import network, recipes, sampling

GENES = ["up", "down", "mixed", "constant"]
MAP = np.random.default_rng(9).normal(size=(5, 3))


def section(name, n=60, seed=0, noise=0.1, shift=0.0):
    """Genes that are a linear map of five features; `up` and `down` also follow the nuclei; one gene never varies."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 5)) * [1, 10, 0.1, 1, 1] + 3
    values = (features - 3) / [1, 10, 0.1, 1, 1] @ MAP
    nuclei = rng.integers(1, 40, n)
    values[:, :2] += np.outer(nuclei, [0.5, -0.5])
    values += shift + noise * rng.normal(size=values.shape)
    obs = pd.DataFrame(
        {"section": name, "patient": name[0], "n_nuclei": nuclei, "total_counts": 100.0 * nuclei},
        index=[f"{i}x1" for i in range(n)],
    )
    adata = AnnData(obs=obs, var=pd.DataFrame(index=GENES))
    adata.layers["log2"] = np.column_stack([values, np.ones(n)])
    adata.obs["haematoxylin"] = 0.01 * nuclei
    adata.obsm["spatial"] = rng.uniform(0, 1000, (n, 2))
    adata.obsm["lattice"] = adata.obsm["spatial"] / 100
    adata.obsm["patch"] = np.column_stack([features, nuclei]).astype(np.float32)
    return adata


@pytest.fixture
def cohort():
    return {name: section(name, seed=i) for i, name in enumerate(["A1", "A2", "B1"])}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(recipes.PROFILES, "tiny", replace(recipes.PROFILES["quick"], steps=20, n_samples=2, calls=3))
    return "tiny"


def pcc(prediction, gene):
    part = prediction[:, gene]
    return np.corrcoef(part.layers["measured"].ravel(), part.layers["predicted"].ravel())[0, 1]


def test_ridge_recovers_a_linear_map(cohort):
    prediction = backbones.predict(cohort, "B1", "log2", "ridge")
    assert min(pcc(prediction, gene) for gene in GENES[:3]) > 0.99
    np.testing.assert_allclose(prediction.layers["predicted"][:, 3], 1, atol=1e-6)


def test_ridge_on_one_section_is_scikit_learns(cohort):
    x, y, new = cohort["A1"].obsm["patch"].astype(float), cohort["A1"].layers["log2"], cohort["B1"].obsm["patch"]
    predicted, info = backbones.ridge(x, y, np.repeat("A1", len(x)), new)
    reference = make_pipeline(StandardScaler(), Ridge(info["alpha"])).fit(x, y).predict(new.astype(float))
    np.testing.assert_allclose(predicted, reference, rtol=1e-6)


def test_noise_asks_for_a_larger_penalty():
    alphas = []
    for noise in (0.1, 30.0):
        noisy = {name: section(name, seed=i, noise=noise) for i, name in enumerate(["A1", "A2", "B1"])}
        alphas.append(backbones.predict(noisy, "B1", "log2", "ridge").uns["info"]["alpha"])
    assert alphas[0] < 10 <= 100 < alphas[1]


@pytest.mark.parametrize("shape", backbones.SHAPES)
def test_a_floor_is_least_squares_on_the_shape_that_the_held_out_section_follows(shape):
    cohort = {name: section(name, seed=i) for i, name in enumerate(["A1", "A2", "B1"])}
    rng = np.random.default_rng(0)
    x = {name: backbones.SHAPES[shape](one.obs["n_nuclei"].to_numpy(float)) for name, one in cohort.items()}
    for name, one in cohort.items():
        one.layers["log2"] = np.outer(x[name], np.where(np.arange(one.n_vars) % 2, -1.0, 1.0))
        one.layers["log2"] += 0.05 * np.ptp(x[name]) * rng.normal(size=one.shape)
    prediction = backbones.predict(cohort, "B1", "log2", "nuclei")
    seen = np.concatenate([x["A1"] - x["A1"].mean(), x["A2"] - x["A2"].mean()])
    y = np.vstack([cohort[name].layers["log2"] - cohort[name].layers["log2"].mean(0) for name in ("A1", "A2")])
    slope = np.linalg.lstsq(seen[:, None], y, rcond=None)[0]
    expected = np.outer(x["B1"] - np.concatenate([x["A1"], x["A2"]]).mean(), slope)
    found = prediction.layers["predicted"]
    np.testing.assert_allclose(found - found.mean(0), expected - expected.mean(0), atol=1e-4)


def test_of_its_shapes_a_floor_has_the_one_that_scores_highest(cohort):
    scored = backbones.predict(cohort, "B1", "log2", "nuclei").layers
    x, y = (np.concatenate([get(cohort[name]) for name in ("A1", "A2")]) for get in (_nuclei, _target))
    labels = np.repeat(["A1", "A2"], [cohort[name].n_obs for name in ("A1", "A2")])
    candidates, _ = backbones.curve(x[:, None].astype(float), y, labels, _nuclei(cohort["B1"])[:, None].astype(float))
    scores = [backbones.mean_pcc(scored["measured"], candidate) for candidate in candidates]
    assert len(set(np.round(scores, 6))) == len(backbones.SHAPES)
    np.testing.assert_allclose(scored["predicted"], candidates[int(np.argmax(scores))], rtol=1e-5, atol=1e-5)


def test_the_strongest_is_chosen_by_the_score_that_is_printed():
    """PCC-50: one shape is good for every gene, the other better for the 50 best and useless for the rest."""
    rng = np.random.default_rng(0)
    measured, noise = rng.normal(size=(2, 200, 120))
    everywhere, at_its_best = measured + noise, measured + 0.5 * noise
    at_its_best[:, 50:] = noise[:, 50:]
    assert backbones.mean_pcc(measured, everywhere) > backbones.mean_pcc(measured, at_its_best)
    np.testing.assert_array_equal(backbones.strongest(np.stack([everywhere, at_its_best]), measured), at_its_best)


def test_the_strongest_of_one_prediction_is_itself():
    predicted = np.random.default_rng(0).normal(size=(6, 2))
    assert backbones.strongest(predicted, -predicted) is predicted
    np.testing.assert_array_equal(backbones.strongest(np.stack([-predicted, predicted]), 3 * predicted), predicted)


def test_differences_between_sections_are_not_taken_for_effects():
    cohort = {name: section(name, seed=i, shift=50.0 * i) for i, name in enumerate(["A1", "B1", "C1"])}
    for i, name in enumerate(("A1", "B1")):  # the section with more nuclei has more of `down`; each spot has less
        cohort[name].obs["n_nuclei"] += 40 * i
    pooled = np.polyfit(*(np.concatenate([get(cohort[n]) for n in ("A1", "B1")]) for get in (_nuclei, _down)), 1)
    assert pooled[0] > 0
    prediction = backbones.predict(cohort, "C1", "log2", "nuclei")
    assert np.corrcoef(_nuclei(prediction), prediction.layers["predicted"][:, 1])[0, 1] < 0


def _nuclei(adata):
    return adata.obs["n_nuclei"].to_numpy()


def _target(adata):
    return adata.layers["log2"]


def _down(adata):
    return adata.layers["log2"][:, 1]


@pytest.mark.parametrize("backbone", ["ridge", "place", "stem"])
def test_nothing_measured_on_the_held_out_section_reaches_the_fit(cohort, tiny, backbone):
    before = backbones.predict(cohort, "B1", "log2", backbone, profile=tiny)
    cohort["B1"].layers["log2"] = 100 * np.random.default_rng(5).normal(size=cohort["B1"].shape)
    cohort["B1"].obs["total_counts"] *= 7
    after = backbones.predict(cohort, "B1", "log2", backbone, profile=tiny)
    np.testing.assert_array_equal(after.layers["predicted"], before.layers["predicted"])
    assert not np.array_equal(after.layers["measured"], before.layers["measured"])
    for name, value in before.uns["info"].items():
        np.testing.assert_equal(after.uns["info"][name], value)


@pytest.mark.parametrize("backbone", ["ridge", "stem"])
def test_each_spot_is_predicted_on_its_own_features_alone(cohort, tiny, backbone):
    before = backbones.predict(cohort, "B1", "log2", backbone, profile=tiny)
    cohort["B1"].obsm["patch"][1:] *= 100
    after = backbones.predict(cohort, "B1", "log2", backbone, profile=tiny)
    np.testing.assert_allclose(after.layers["predicted"][0], before.layers["predicted"][0], rtol=1e-4)
    assert not np.allclose(after.layers["predicted"][1:], before.layers["predicted"][1:])


def test_depth_is_an_oracle(cohort):
    before = backbones.predict(cohort, "B1", "log2", "depth")
    cohort["B1"].obs["total_counts"] = cohort["B1"].obs["total_counts"].to_numpy()[::-1]
    cohort["B1"].layers["log2"] = cohort["B1"].layers["log2"][::-1]  # its shape is the one that fits these
    after = backbones.predict(cohort, "B1", "log2", "depth")
    np.testing.assert_allclose(after.layers["predicted"], before.layers["predicted"][::-1])
    assert pcc(before, "up") > 0.7 and pcc(before, "down") > 0.7


def test_the_same_seed_gives_the_same_prediction(cohort, tiny):
    one, same, other = (backbones.predict(cohort, "B1", "log2", "stem", seed=s, profile=tiny) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.layers["predicted"], same.layers["predicted"])
    assert not np.array_equal(one.layers["predicted"], other.layers["predicted"])
    assert one.uns["info"]["loss"].shape[1] == 3


def test_a_patient_held_out_takes_its_other_sections_along(cohort):
    assert backbones.training_sections(cohort, "A1", "section") == ["A2", "B1"]
    assert backbones.training_sections(cohort, "A1", "patient") == ["B1"]
    assert backbones.predict(cohort, "A1", "log2", split="patient").uns["trained_on"] == ["B1"]


def test_samples_are_kept_beside_their_mean(cohort, tiny):
    """In pairs with opposite noise their mean is good and their scatter is not: those kept are independent."""
    prediction = backbones.predict(cohort, "B1", "log2", "stem", profile=tiny, n_samples=20)
    samples = prediction.uns["info"]["samples"]
    assert samples.shape == (10, *prediction.shape)
    apart = (samples - samples.mean(0))[:, :, 0]
    assert abs(np.corrcoef(apart[:5].ravel(), apart[5:].ravel())[0, 1]) < 0.3
    alike = backbones.predict(cohort, "B1", "log2", "stem", profile=tiny, sampler="sde", antithetic=False)
    np.testing.assert_allclose(alike.uns["info"]["samples"].mean(0), alike.layers["predicted"], rtol=1e-5)


def test_the_mean_in_one_call_has_samples_only_where_they_are_to_be_kept(cohort, tiny):
    kept, none = (
        backbones.predict(cohort, "B1", "log2", "stem", profile=tiny, keep_samples=keep) for keep in (True, False)
    )
    assert "samples" not in none.uns["info"] and kept.uns["info"]["samples"].std() > 0
    np.testing.assert_array_equal(kept.layers["predicted"], none.layers["predicted"])


def test_a_kept_model_gives_the_samples_of_its_fit(cohort, tiny, tmp_path):
    path = tmp_path / "weights.pt"
    prediction = backbones.predict(cohort, "B1", "log2", "stem", profile=tiny, weights=path, n_samples=4)
    again = sampling.sample(network.read_tensors(path), cohort["B1"].obsm["patch"])
    np.testing.assert_allclose(again.mean(0), prediction.layers["predicted"], rtol=1e-5)


def test_a_fit_goes_on_from_its_checkpoint_and_refuses_that_of_another_fold(cohort, tiny, tmp_path):
    given = {"profile": tiny, "checkpoint": tmp_path / "fit.pt"}
    first = backbones.predict(cohort, "B1", "log2", "stem", **given)
    again = backbones.predict(cohort, "B1", "log2", "stem", **given)
    np.testing.assert_array_equal(again.layers["predicted"], first.layers["predicted"])
    refused(cohort, "fit.pt: checkpoint of another fit", held_out="A1", backbone="stem", **given)


def test_stem_learns_from_turned_and_mirrored_patches_where_all_have_them(cohort, tiny):
    changes = {"profile": tiny, "augment": True}
    plain = backbones.predict(cohort, "B1", "log2", "stem", **changes).layers["predicted"]
    for name in ("A1", "A2"):
        cohort[name].obsm["patch_augmented"] = np.repeat(cohort[name].obsm["patch"][:, None], 8, axis=1)
        cohort[name].obsm["patch_augmented"][:, 1:] += 5
    augmented = backbones.predict(cohort, "B1", "log2", "stem", **changes).layers["predicted"]
    assert not np.allclose(augmented, plain)
    del cohort["A2"].obsm["patch_augmented"]
    again = backbones.predict(cohort, "B1", "log2", "stem", **changes).layers["predicted"]
    np.testing.assert_array_equal(again, plain)


def test_targets_are_prepared_section_by_section(cohort):
    sizes = []

    def clip(values, target):
        sizes.append((target, len(values)))
        return np.clip(values, -1, 1)

    cohort["A2"] = cohort["A2"][:30].copy()
    prediction = backbones.predict(cohort, "B1", "log2", prepare=clip)
    assert sizes == [("log2", 60), ("log2", 30), ("log2", 60)]
    assert np.abs(prediction.layers["measured"]).max() == 1


def test_the_panel_sets_which_genes_and_in_which_order(cohort):
    prediction = backbones.predict(cohort, "B1", "log2", genes=["mixed", "up"])
    assert list(prediction.var_names) == ["mixed", "up"]
    np.testing.assert_allclose(prediction.layers["measured"], cohort["B1"].layers["log2"][:, [2, 0]], rtol=1e-6)
    assert pcc(prediction, "up") > 0.99


@pytest.mark.parametrize("backbone", list(backbones.BACKBONES))
def test_a_prediction_says_what_it_is_and_survives_a_file(cohort, tiny, backbone, tmp_path):
    prediction = backbones.predict(cohort, "B1", "log2", backbone, profile=tiny, seed=3)
    prediction.write_h5ad(tmp_path / "prediction.h5ad")
    read = read_h5ad(tmp_path / "prediction.h5ad")
    assert (read.uns["backbone"], read.uns["target"], read.uns["held_out"]) == (backbone, "log2", "B1")
    assert (read.uns["split"], read.uns["seed"], list(read.obs_names)) == ("section", 3, list(cohort["B1"].obs_names))
    assert np.isfinite(read.layers["predicted"]).all()
    assert list(read.obsm) == ["lattice", "spatial"]


def test_training_spots_too_few_to_choose_a_penalty_still_give_numbers(cohort):
    for sections in ({"A1": cohort["A1"][:1], "B1": cohort["B1"]}, {**cohort, "A1": cohort["A1"][:1]}):
        assert np.isfinite(backbones.predict(sections, "B1", "log2").layers["predicted"]).all()


def refused(cohort, says, **choices):
    with pytest.raises(ValueError, match=says):
        backbones.predict(cohort, **{"held_out": "B1", "target": "log2"} | choices)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"backbone": "unet"}, "unknown backbone 'unet': choose one of stem, ridge"),
        ({"split": "spot"}, "unknown split 'spot'"),
        ({"held_out": "C9"}, "section C9 is not among A1, A2, B1"),
        ({"target": "tpm"}, r"section A1: no layers\['tpm'\]"),
        ({"genes": ["up", "ERBB2"]}, "section A1: no gene ERBB2"),
    ],
)
def test_unknown_names_are_refused(cohort, choices, says):
    refused(cohort, says, **choices)


@pytest.mark.parametrize("backbone", ["ridge", "nuclei", "stem"])
def test_a_setting_that_no_backbone_takes_is_refused_by_name(cohort, backbone):
    says = "no backbone takes precison, stepz: choose from seed, profile, .*, checkpoint, .*, steps"
    refused(cohort, says, backbone=backbone, stepz=3, precison="float32", steps=4)


def test_settings_of_another_backbone_change_nothing(cohort):
    plain, told = (backbones.predict(cohort, "B1", "log2", **settings) for settings in ({}, {"steps": 3, "seed": 2}))
    np.testing.assert_array_equal(plain.layers["predicted"], told.layers["predicted"])
    assert (plain.uns["seed"], told.uns["seed"], plain.uns["profile"]) == (0, 2, "quick")


def test_another_model_is_one_entry(cohort, monkeypatch):
    """The mean of the training spots, or a multiple of it, for every spot."""

    def mean(x, y, sections, x_new, times=1):
        return np.tile(times * y.mean(axis=0), (len(x_new), 1)), {"n_spots": len(y)}

    monkeypatch.setitem(backbones.BACKBONES, "mean", backbones.Backbone(backbones.cells, mean, ("times",)))
    once, twice = (backbones.predict(cohort, "B1", "log2", "mean", times=times) for times in (1, 2))
    measured = np.vstack([cohort[name].layers["log2"] for name in ("A1", "A2")])
    np.testing.assert_allclose(once.layers["predicted"], np.tile(measured.mean(axis=0), (60, 1)), rtol=1e-5)
    np.testing.assert_allclose(twice.layers["predicted"], 2 * once.layers["predicted"], rtol=1e-5)
    assert (once.uns["backbone"], once.uns["info"]) == ("mean", {"n_spots": 120})


def test_floors_oracles_and_costly_fits_are_named_by_the_registry():
    named = {what: {n for n, b in backbones.BACKBONES.items() if getattr(b, what)} for what in ("oracle", "costly")}
    assert set(backbones.FLOORS) == {"nuclei", "haematoxylin", "place", "depth"}
    assert named == {"oracle": {"depth"}, "costly": {"stem"}}
    assert backbones.FLOORS_BESIDE == ("nuclei", "depth") and backbones.WITHOUT_IMAGE == ("place", "depth")


def test_a_held_out_section_that_is_in_training_is_refused(cohort):
    refused({**cohort, "A3": cohort["B1"].copy()}, "section B1 is held out and yet in training, as A3")
    part = cohort["B1"][:20].copy()
    refused({**cohort, "A3": part}, "section B1 is held out and yet in training, as A3")


def test_sections_that_cannot_be_used_are_named(cohort):
    refused({"B1": cohort["B1"]}, "section B1: no spot of another section")
    refused({**cohort, "A2": cohort["A2"][:, :2]}, "section A2: no gene mixed")
    for slot, backbone in (("patch", "ridge"), ("n_nuclei", "nuclei")):
        bare = cohort["A2"].copy()
        del (bare.obsm if slot == "patch" else bare.obs)[slot]
        bare.obs = bare.obs.drop(columns="haematoxylin")
        refused({**cohort, "A2": bare}, f"section A2: {backbone} needs .*{slot}", backbone=backbone)
    stained = cohort["A2"].copy()
    del stained.obs["n_nuclei"]
    refused(
        {**cohort, "A2": stained}, "two measures of cellularity: n_nuclei in .*; haematoxylin in A2", backbone="nuclei"
    )
    for slot in ("layers", "obsm"):
        holed = cohort["A2"].copy()
        getattr(holed, slot)["log2" if slot == "layers" else "patch"][3, 1] = np.nan
        refused({**cohort, "A2": holed}, "section A2: .* missing or infinite")
    narrow = cohort["A2"].copy()
    narrow.obsm["patch"] = narrow.obsm["patch"][:, :3]
    refused({**cohort, "A2": narrow}, "different numbers of features .*'A2': 3")


def test_place_alone_predicts_what_is_smooth_and_alike_in_all_sections_wherever_they_lie(cohort):
    rng = np.random.default_rng(3)
    for adata in cohort.values():
        adata.obsm["spatial"] = rng.uniform(0, 20, (adata.n_obs, 2))
        x, y = adata.obsm["spatial"].T
        adata.layers["log2"][:, 0] = np.sin(x / 5) * y + 0.1 * rng.normal(size=len(x))
        adata.layers["log2"][:, 1] = rng.normal(size=len(x))
    prediction = backbones.predict(cohort, "B1", "log2", "place")
    assert pcc(prediction, "up") > 0.9 > 0.4 > abs(pcc(prediction, "down"))
    cohort["B1"].obsm["spatial"] = 3 * cohort["B1"].obsm["spatial"] + 100
    moved = backbones.predict(cohort, "B1", "log2", "place")
    np.testing.assert_allclose(moved.layers["predicted"], prediction.layers["predicted"], rtol=1e-5)


def test_place_holds_every_cubic_of_x_and_y_whatever_the_unit_and_the_origin(cohort):
    x, y = cohort["A1"].obsm["spatial"].T
    basis = np.column_stack([np.ones(len(x)), backbones.place(cohort["A1"])])
    cubic = x**2 * y - 3 * y**2 + 5
    assert np.linalg.lstsq(basis, cubic, rcond=None)[1].item() < 1e-12 * (cubic**2).sum()


def test_the_stain_alone_is_a_floor_too(cohort):
    stain, nuclei = (backbones.predict(cohort, "B1", "log2", floor) for floor in ("haematoxylin", "nuclei"))
    np.testing.assert_allclose(stain.layers["predicted"], nuclei.layers["predicted"], rtol=1e-5)


@pytest.mark.parametrize("sections", [["B", "A", "B", "C", "A", "A", "C"], ["A"] * 7, ["A"] * 3])
def test_inner_folds_are_those_of_scikit_learn(sections):
    from sklearn.model_selection import KFold, LeaveOneGroupOut

    x = np.zeros((len(sections), 2))
    known = LeaveOneGroupOut().split(x, groups=sections) if len(set(sections)) > 1 else KFold(min(5, len(x))).split(x)
    for ours, theirs in zip(backbones.inner_folds(x, np.array(sections)), known, strict=True):
        for rows, wanted in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(rows, wanted)
    assert backbones.inner_folds(x[:1], np.array(["A"])) == []


def test_of_many_sections_neighbours_by_name_are_left_out_together():
    """As many folds however many sections, so that time does not grow with their square."""
    sections = np.array([f"{letter}{number}" for letter in "ABCDEFGHIJKL" for number in (1, 2)])
    folds = backbones.inner_folds(np.zeros((24, 2)), sections)
    assert len(folds) == backbones.N_FOLDS and sections[folds[0][1]].tolist() == ["A1", "A2", "B1"]
    assert sorted(np.concatenate([check for _, check in folds])) == list(range(24))


def test_a_feature_that_varies_in_one_section_alone_says_nothing_where_that_is_left_out():
    """Sums of the other sections come from a difference, whose rounding must not be taken for the feature."""
    rng = np.random.default_rng(0)
    sections = np.repeat(list("ABC"), 301)
    x, y = rng.normal(size=(903, 20)), rng.normal(size=(903, 2))
    others = sections != "C"
    x[others, 2:] = 1e3 / 3
    left = backbones._sums(x, y, sections) - backbones._sums(x[~others], y[~others], sections[~others])
    known = backbones._linear(backbones._sums(x[others, :2], y[others], sections[others]), x[~others, :2], [1.0])
    np.testing.assert_allclose(backbones._linear(left, x[~others], [1.0]), known, rtol=1e-6)
