"""An audit tells a model that knows composition from one that knows only how many molecules a spot holds."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers import schema
from helpers.audit import assess as of_assess
from helpers.audit import flags
from helpers.scores import spatial
from helpers.targets import normalization

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
    return {flag["id"]: flag["raised"] for flag in report["flags"]}


def assess(cohort, model, space, **more):
    predicted = {name: model(int(name[1:])) for name in cohort}
    return of_assess.assess(cohort, predicted, space, n_draws=49, n_splits=1, **more)


def test_noise_is_no_better_than_chance(cohort):
    report = assess(cohort, lambda seed: table(np.random.default_rng(seed).normal(5, 1, (len(SPOTS), 60))), "log2")
    assert raised(report)["chance"]


def test_a_perfect_model_reaches_its_ceiling_and_the_best_k_are_best(cohort):
    scores = assess(cohort, knows_composition_alone, "log1p_cp10k")["scores"]
    own = scores[scores["space"] == "log1p_cp10k"]
    nearly_all = own[own["k"] == 50].mean(numeric_only=True)
    assert nearly_all["pcc"] == pytest.approx(nearly_all["ceiling"], abs=0.05)  # it knows all there is to know
    assert set(own["k"]) == {10, 50} and own.query("k == 10")["chance_95"].isna().all()  # a null for the headline
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
    assert any(remark.startswith("section S0: 1 genes are constant") for remark in report["remarks"])
    assert "nan" not in flags.sentence(report["summary"])


def test_without_nuclei_the_depth_floor_remains(cohort):
    blind = {name: made.copy() for name, made in cohort.items()}
    for made in blind.values():
        del made.obs["n_nuclei"]
    report = assess(blind, knows_composition_alone, "log1p_cp10k")
    assert set(report["floors"]["floor"]) == {"place", "depth"} and report["summary"]["nuclei"] is None
    assert raised(report)["beaten_by_nuclei"] is None and "nuclei" not in flags.sentence(report["summary"])


def test_floors_of_the_headline_are_fitted_without_the_patient():
    """Two patients: in B the nuclei lie upside down, so what A taught of them scores below zero there."""
    cohort = {f"S{seed}": section(seed, patient="AAB"[seed]) for seed in range(3)}
    cohort["S2"].obs["n_nuclei"] = cohort["S2"].obs["n_nuclei"].max() - cohort["S2"].obs["n_nuclei"]
    report = assess(cohort, knows_composition_alone, "counts")
    excess = report["excess"].set_index("section")
    assert (excess["nuclei"] < 0.1).all() and (excess["excess_nuclei"] == excess["pcc"] - excess["nuclei"]).all()
    assert (report["summary"]["unit"], report["summary"]["n_units"]) == ("patients", 2)
    of_sections = report["floors"].query("floor == 'nuclei' and space == 'counts' and k == 50").set_index("section")
    assert of_sections.loc["S2", "pcc"] == pytest.approx(excess.loc["S2", "nuclei"])  # B has no other section
    assert of_sections.loc["S0", "pcc"] != pytest.approx(excess.loc["S0", "nuclei"])


def test_a_floor_that_decides_a_flag_has_its_chance_at_the_k_of_the_headline(cohort):
    floors = assess(cohort, knows_composition_alone, "log2")["floors"].query("space == 'log2'")
    known = floors.groupby(["floor", "k"])["chance_95"].agg(lambda chance: chance.notna().all())
    assert known["nuclei", 50] and known["place", 50] and not known["nuclei", 10] and not known["depth", 50]


def test_counts_that_are_not_whole_are_rounded_with_a_word(cohort):
    divided = {name: made.copy() for name, made in cohort.items()}
    for made in divided.values():
        counts = made.layers[schema.COUNTS].toarray()
        made.layers[schema.COUNTS] = csr_matrix(1e6 * counts / counts.sum(axis=1, keepdims=True))
    report = assess(divided, knows_composition_alone, "log1p_cp10k")
    assert raised(report)["not_umi"] and any("divided by depth" in remark for remark in report["remarks"])


def test_the_flags_judge_the_numbers_that_the_tables_hold(cohort):
    report = assess(cohort, knows_composition_alone, "log1p_cp10k")
    by = flags.evidence_by_section(report, "log1p_cp10k")
    own = report["scores"].query("space == 'log1p_cp10k' and k == 50").set_index("section")
    assert by["pcc"].equals(own["pcc"]) and by["composition"].tolist() == report["skills"]["composition"].tolist()


@pytest.mark.parametrize(
    ("method", "library", "smoothed"),
    [
        ("log2", "none", False),
        ("log1p_cp10k", "all", False),
        ("log1p_cp10k", "panel", False),
        ("log1p_cp10k", "panel", True),
        ("pearson_residual", "all", False),
    ],
)
def test_what_a_target_is_can_be_told_from_its_values(method, library, smoothed):
    """Also after each gene is z-scored, as models are often trained."""
    made, panel = section(1), GENES[:25]
    part = made[:, panel].copy() if library == "panel" else made
    values = pd.DataFrame(normalization.target(part, method, panel), SPOTS, panel)
    if smoothed:
        around = spatial.neighbours(XY) + np.eye(len(XY))
        values = (around / around.sum(1, keepdims=True)) @ values.set_axis(range(len(values)))
        values.index = SPOTS
    first = of_assess.recognize(made, (values - values.mean()) / values.std(), "S1").iloc[0]
    assert (first["method"], first["library"], first["smoothed"]) == (method, library, smoothed)
    assert first["correlation"] > flags.RECOGNIZED


def test_genes_that_only_some_sections_have_are_left_out_with_a_word(cohort):
    predicted = {name: knows_composition_alone(int(name[1:])) for name in cohort}
    predicted["S0"] = predicted["S0"].drop(columns="G7")
    report = of_assess.assess(cohort, predicted, "log1p_cp10k", n_draws=19, n_splits=1)
    assert report["summary"]["n_genes"] == 59
    assert "1 genes are not predicted in every section and are left out" in report["remarks"]
