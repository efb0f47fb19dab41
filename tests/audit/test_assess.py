"""An audit tells a model that knows composition from one that knows only how many molecules a spot holds."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers import schema
from helpers.audit import assess as of_assess
from helpers.audit import flags

SIDE, GENES = 14, [f"G{i}" for i in range(60)]
XY = np.stack(np.meshgrid(range(SIDE), range(SIDE)), axis=-1).reshape(-1, 2).astype(float)
SPOTS = [f"{x:.0f}x{y:.0f}" for x, y in XY]


def truth(seed):
    """Nuclei of a spot, and expected composition: half of the genes follow a wave, half the opposite one."""
    rng = np.random.default_rng(seed)
    nuclei = np.round(12 + 8 * np.sin(XY[:, 0] / 2 + seed) + rng.normal(0, 1, len(XY))).clip(1)
    wave = np.exp(np.outer(np.cos(XY[:, 1] / 2 - seed), np.repeat([0.5, -0.5], 30)))
    composition = wave * rng.lognormal(0, 0.3, 60)
    return nuclei, composition / composition.sum(axis=1, keepdims=True)


def section(seed, patient=""):
    nuclei, composition = truth(seed)
    counts = np.random.default_rng(seed + 100).poisson(nuclei[:, None] * 60 * composition)
    made = AnnData(obs=pd.DataFrame(index=SPOTS), var=pd.DataFrame(index=GENES))
    made.layers[schema.COUNTS] = csr_matrix(counts.astype(np.float32))
    made.obsm[schema.SPATIAL] = XY * 290
    made.obs["n_nuclei"] = nuclei
    made.uns["patient"] = patient
    return made


def table(values):
    return pd.DataFrame(values, SPOTS, GENES)


def knows_composition_alone(seed):
    return table(np.log1p(1e4 * truth(seed)[1]))


@pytest.fixture(scope="module")
def cohort():
    return {f"S{seed}": section(seed) for seed in range(3)}


def raised(report):
    return {flag["flag"]: flag["raised"] for flag in report["flags"]}


def assess(cohort, model, space, **more):
    predicted = {name: model(int(name[1:])) for name in cohort}
    return of_assess.assess(cohort, predicted, space, n_draws=49, n_splits=1, **more)


def test_noise_is_no_better_than_chance(cohort):
    report = assess(cohort, lambda seed: table(np.random.default_rng(seed).normal(5, 1, (len(SPOTS), 60))), "log2")
    assert raised(report)["no better than chance"]


def test_a_perfect_model_reaches_its_ceiling_and_the_best_k_are_best(cohort):
    scores = assess(cohort, knows_composition_alone, "log1p_cp10k")["scores"]
    own = scores[scores["space"] == "log1p_cp10k"]
    nearly_all = own[own["k"] == 50].mean(numeric_only=True)
    assert nearly_all["pcc"] == pytest.approx(nearly_all["ceiling"], abs=0.05)  # it knows all there is to know
    assert set(own["k"]) == {10, 50}
    assert (own.query("k == 10")["pcc"].to_numpy() >= own.query("k == 50")["pcc"].to_numpy()).all()


def test_a_gene_without_counts_leaves_the_score_of_the_others(cohort):
    """A panel of 50, one gene never captured in one section: the score is that of 49."""
    silent = {name: made.copy() for name, made in cohort.items()}
    counts = silent["S0"].layers[schema.COUNTS].tolil()
    counts[:, 0] = 0
    silent["S0"].layers[schema.COUNTS] = counts.tocsr()
    predicted = {name: knows_composition_alone(int(name[1:])).iloc[:, :50] for name in silent}
    report = of_assess.assess(silent, predicted, "log1p_cp10k", n_draws=19, n_splits=1)
    assert report["scores"]["pcc"].notna().all() and report["scores"]["n_undefined"].max() == 1
    assert "nan" not in flags.sentence(report["summary"])


def test_without_nuclei_the_depth_floor_remains(cohort):
    blind = {name: made.copy() for name, made in cohort.items()}
    for made in blind.values():
        del made.obs["n_nuclei"]
    report = assess(blind, knows_composition_alone, "log1p_cp10k")
    assert set(report["floors"]["floor"]) == {"depth"} and report["summary"]["nuclei"] is None
    assert "given sequencing depth" in flags.sentence(report["summary"])


def test_genes_that_only_some_sections_have_are_left_out_with_a_word(cohort):
    predicted = {name: knows_composition_alone(int(name[1:])) for name in cohort}
    predicted["S0"] = predicted["S0"].drop(columns="G7")
    report = of_assess.assess(cohort, predicted, "log1p_cp10k", n_draws=19, n_splits=1)
    assert report["summary"]["n_genes"] == 59
    assert "1 genes are not predicted in every section and are left out" in report["remarks"]
