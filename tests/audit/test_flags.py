"""Twin of helpers/audit/flags.py."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers import schema
from helpers.audit import assess as of_assess
from helpers.audit.flags import RECOGNIZED, sentence
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


def knows_depth_alone(seed):
    nuclei, _ = truth(seed)
    return table(np.log2(1 + np.outer(nuclei * 60, np.full(60, 1 / 60))))


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


def test_a_model_that_knows_depth_alone_is_flagged(cohort):
    report = assess(cohort, knows_depth_alone, "log2")
    flags, summary = raised(report), report["summary"]
    assert flags["beaten by one number per spot"] and flags["skill on the depth-only twin"]
    assert summary["twin"] > 0.5 and np.isnan(summary["given_both"])  # it is a function of the nuclei
    without_depth = report["scores"].query("space == 'pearson_residual' and k == 50")
    # A prediction of depth alone is constant once depth is divided out: it may have no score at all.
    assert not (without_depth["pcc"] > without_depth["chance_95"] + 0.05).any()


def test_a_score_that_does_not_exist_is_said_to_be_undefined(cohort):
    summary = assess(cohort, knows_depth_alone, "log2")["summary"] | {"residual_pcc": np.nan}
    assert "undefined (constant) in that of Pearson residuals" in sentence(summary)


def test_nothing_that_is_left_is_said_in_words(cohort):
    said = sentence(assess(cohort, knows_depth_alone, "log2")["summary"])
    assert "the median gene keeps nothing given nuclei and depth" in said and "nan" not in said


def test_a_model_that_knows_composition_alone_is_not(cohort):
    report = assess(cohort, knows_composition_alone, "log1p_cp10k")
    flags = raised(report)
    assert not flags["beaten by one number per spot"]
    assert not flags["skill on the depth-only twin"] and not flags["no better than chance"]
    assert report["summary"]["given_both"] > 0.5


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
    assert first["correlation"] > RECOGNIZED


def test_flags_on_the_target_are_open_where_it_is_not_given(cohort):
    flags = raised(assess(cohort, knows_composition_alone, "log1p_cp10k"))
    assert flags["target smoothed"] is None and flags["library size over the panel only"] is None
    assert flags["panel chosen with the test section"] is None


def test_one_section_is_scored_against_floors_of_its_own_and_tested_by_nothing():
    report = assess({"S1": section(1)}, knows_composition_alone, "log1p_cp10k", panel_chosen_on="training")
    flags = raised(report)
    assert flags["too few patients for a test"] and flags["panel chosen with the test section"] is False
    assert report["floors"]["pcc"].notna().all()


def test_patients_are_counted_where_they_are_known():
    five = {f"S{i}": section(i, patient="AB"[i % 2]) for i in range(5)}
    flags = raised(assess(five, knows_composition_alone, "log1p_cp10k"))
    assert flags["too few patients for a test"]
    unknown = {f"S{i}": section(i) for i in range(5)}
    assert raised(assess(unknown, knows_composition_alone, "log1p_cp10k"))["too few patients for a test"] is None
