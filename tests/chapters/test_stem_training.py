"""A fold: what models see, what they are scored against, what is kept of samples, and what lies on disk afterwards."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import schema, store
from helpers.chapters import stem_training
from helpers.models import backbones

GENES = ["a", "b", "c"]


def section(name, seed):
    """20 spots whose residuals reach far beyond the square root of 20."""
    rng = np.random.default_rng(seed)
    made = AnnData(
        obs=pd.DataFrame({"section": name}, [f"{i}x{seed}" for i in range(20)]), var=pd.DataFrame(index=GENES)
    )
    made.obsm[schema.PATCH] = rng.normal(size=(20, 4))
    made.obsm[schema.SPATIAL] = rng.uniform(size=(20, 2))
    made.layers["pearson_residual"] = 5 * made.obsm[schema.PATCH][:, :3] + rng.normal(size=(20, 3))
    made.uns |= {"mpp": 0.7, "pitch_um": 100.0}
    return made


@pytest.fixture
def sections():
    return {name: section(name, seed) for seed, name in enumerate(("A1", "B1", "B2"))}


def test_models_see_clipped_residuals_and_are_scored_against_the_same(sections):
    raw = sections["A1"].layers["pearson_residual"]
    clipped = np.clip(raw, -np.sqrt(20), np.sqrt(20))
    assert (raw != clipped).any()
    found = stem_training.fit_and_predict(sections, "A1", "ridge", "pearson_residual", 0)
    np.testing.assert_allclose(found.layers[schema.MEASURED], clipped, rtol=1e-6)
    for one in sections.values():  # what lies beyond the limit is never seen
        one.layers["pearson_residual"] = np.clip(one.layers["pearson_residual"], -np.sqrt(20), np.sqrt(20))
    again = stem_training.fit_and_predict(sections, "A1", "ridge", "pearson_residual", 0)
    np.testing.assert_array_equal(found.layers[schema.PREDICTED], again.layers[schema.PREDICTED])
    assert (found.uns["mpp"], found.uns["pitch_um"]) == (0.7, 100)  # for maps


def test_an_arm_sees_the_target_as_it_is_and_is_scored_as_all_others(sections, monkeypatch):
    seen = {}

    def fit(x, y, labels, x_new, **settings):
        seen.update(settings, y=y)
        return np.zeros((len(x_new), 3)), {}

    monkeypatch.setitem(backbones.BACKBONES, "stem", replace(backbones.BACKBONES["stem"], fit=fit))
    found = stem_training.fit_and_predict(sections, "A1", "stem", "pearson_residual", 0, stem_arm="standardized")
    unclipped = np.vstack([sections[name].layers["pearson_residual"] for name in ("B1", "B2")])
    np.testing.assert_array_equal(seen["y"], unclipped)
    assert seen["scaling"] == "standardized"
    assert np.abs(found.layers[schema.MEASURED]).max() == pytest.approx(np.sqrt(20))


def test_an_arm_is_another_seed_or_sees_no_nuclei(sections, monkeypatch):
    seen = {}

    def fit(x, y, labels, x_new, **settings):
        seen.update(settings, x=x)
        return np.zeros((len(x_new), 3)), {}

    monkeypatch.setitem(backbones.BACKBONES, "stem", replace(backbones.BACKBONES["stem"], fit=fit))
    for name, one in sections.items():
        one.uns["section"] = name
        one.uns["patch_names"] = np.array(["a:od", "a:nuclei_per_mm2", "b:od", "b:nuclei_area_sd"])
    found = stem_training.fit_and_predict(sections, "A1", "stem", "pearson_residual", 0, stem_arm="seed_2")
    assert (seen["seed"], found.uns["seed"], found.uns["arm"], seen["x"].shape[1]) == (2, 2, "seed_2", 4)
    stem_training.fit_and_predict(sections, "A1", "stem", "pearson_residual", 0, stem_arm="without_nuclei")
    np.testing.assert_array_equal(seen["x"], np.vstack([sections[n].obsm["patch"][:, [0, 2]] for n in ("B1", "B2")]))
    sections["A1"].uns["patch_names"] = np.array(["uni:0", "uni:1", "uni:2", "uni:3"])
    with pytest.raises(ValueError, match="section A1: no feature is of nuclei; leave out the arm without_nuclei"):
        stem_training.without_nuclei(sections["A1"])


def test_of_samples_is_kept_how_they_scatter():
    """Measured values one below all samples: ranks in the lowest of three gaps, and in the middle once levels agree."""
    measured = np.array([[0.0], [10.0]])
    samples = np.stack([measured + 1, measured + 3])
    prediction = AnnData(obs=pd.DataFrame(index=["s", "t"]), var=pd.DataFrame(index=["a"]))
    prediction.layers[schema.MEASURED] = measured
    stem_training.keep_scatter(prediction, samples)
    assert (prediction.layers[schema.PIT] < 1 / 3).all()
    centred = prediction.layers[schema.PIT_WITHIN]
    assert ((centred > 1 / 3) & (centred < 2 / 3)).all()
    np.testing.assert_allclose(prediction.layers[schema.SPREAD], np.sqrt(2))


def test_every_fit_is_on_disk_as_soon_as_it_is_done(sections, tmp_path, monkeypatch):
    def fit(x, y, labels, x_new, weights, checkpoint, **settings):
        assert checkpoint == str(tmp_path / "checkpoints/stem.pearson_residual.1.pt")
        with store.atomic(weights) as partial:
            partial.write_bytes(b"weights")
        return np.zeros((len(x_new), 3)), {"samples": np.random.default_rng(0).normal(size=(2, len(x_new), 3))}

    def fits():
        yield "ridge", "pearson_residual", 0
        assert (tmp_path / "predictions/ridge.pearson_residual.0.h5ad").exists()
        yield "stem", "pearson_residual", 1

    monkeypatch.setitem(backbones.BACKBONES, "stem", replace(backbones.BACKBONES["stem"], fit=fit))
    folders = tmp_path / "predictions", tmp_path / "checkpoints"
    done = stem_training.fit_all(sections, "A1", fits(), *folders, genes=GENES)
    assert [one.uns["backbone"] for one in done] == ["ridge", "stem"]
    names = {path.name for path in folders[0].iterdir()}
    assert names == {"ridge.pearson_residual.0.h5ad", "stem.pearson_residual.1.h5ad", "stem.pearson_residual.1.pt"}
    kept = store.read_section(folders[0] / "stem.pearson_residual.1.h5ad")
    assert "samples" not in kept.uns["info"]
    assert {schema.PIT, schema.PIT_WITHIN, schema.SPREAD} < set(kept.layers)


def made(**uns):
    return AnnData(obs=pd.DataFrame(index=["s"]), uns={"split": "section", "held_out": "A1", **uns})


def test_the_answer_is_of_the_first_backbone_and_of_all_its_targets():
    """One gene follows the measured values, one opposes them and one is constant, which has no r: the median is 0."""
    measured = np.array([[0.0, 0, 0], [1, 1, 0], [2, 2, 0]])

    def predicted(backbone, target, signs):
        one = AnnData(obs=pd.DataFrame(index=list("stu")), var=pd.DataFrame(index=GENES))
        one.layers[schema.MEASURED], one.layers[schema.PREDICTED] = measured, measured * signs
        one.uns |= {"backbone": backbone, "target": target, "section": "A1"}
        return one

    fits = [predicted("ridge", "log2", [1, -1, 1]), predicted("ridge", "pearson_residual", [2, 3, 1])]
    patients = {"A1": "A", "A2": "A", "B1": "B"}
    said = stem_training.answer([*fits, predicted("nuclei", "log2", [1, 1, 1])], 1200, ["A2", "B1"], patients)
    assert said.startswith(
        "What `ridge` predicts of the median gene follows its measured values with a Pearson's r of **0.00** in "
        "log2(x + 1), **1.00** in Pearson residual: 3 genes at 3 spots of A1, trained on 1,200 spots of 2 other "
        "sections, 1 of the same patient. STEM was not trained here"
    )
    assert "of 1 other section, 0 of" in stem_training.answer(fits[:1], 20, ["B1"], patients)
    assert "not trained" not in stem_training.answer([predicted("stem", "log2", [1, 2, 3])], 20, ["B1"], patients)


def test_loss_curves_are_those_of_fits_that_have_one():
    loss = np.array([[1, 0.5, 0.1], [2, 0.4, 0.2]])
    stem = made(backbone="stem", target="log2", seed=3, info={"loss": loss})
    ridge = made(backbone="ridge", target="log2", seed=3, info={"alpha": 1.0})
    curves = stem_training.loss_curves([ridge, stem])
    assert curves["mse"].tolist() == [0.5, 0.4] and set(curves["backbone"]) == {"stem"} and set(curves["seed"]) == {3}
    nothing = stem_training.loss_curves([ridge])
    assert nothing.empty and list(nothing) == list(curves)
