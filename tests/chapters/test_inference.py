"""Inference: what is called under each kind of chance, scores beside their chance, and sentences that say so."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.chapters import inference
from helpers.schema import LATTICE, MEASURED, PREDICTED, SPATIAL
from helpers.scores import spatial

GRID = np.argwhere(np.ones((8, 8))).astype(float)
GENES = ["same", "noise", "constant"]


def section(seed=0, image=True):
    """A gene that is the depth, one that is noise, and one that never varies; depth is a gradient."""
    rng = np.random.default_rng(seed)
    depth = 100 + 10 * GRID[:, 0] + rng.random(len(GRID))
    made = AnnData(obs=pd.DataFrame({"total_counts": depth}, index=[f"s{i}" for i in range(len(GRID))]))
    made = AnnData(obs=made.obs, var=pd.DataFrame(index=GENES))
    made.layers["log2"] = np.column_stack([depth, rng.normal(size=len(GRID)), np.ones(len(GRID))])
    made.obsm[SPATIAL] = made.obsm[LATTICE] = GRID
    if image:
        made.obs["n_nuclei"] = rng.integers(0, 20, len(GRID))
    return made


# Genes ----------------------------------------------------------------------------------------------------------


def test_a_copy_has_the_least_p_and_a_constant_gene_none():
    made = section()
    tests, chance = inference.gene_tests(made.layers["log2"], made.obs["total_counts"].to_numpy(), n_draws=99)
    assert tests.loc[0, "rho"] == pytest.approx(1) and tests.loc[0, "p"] == 0.01
    assert tests.loc[2].isna().all()
    assert tests.loc[0, "q"] == pytest.approx(0.02)  # the least of two tests
    assert 0 < chance < 0.2


def test_where_no_gene_varies_there_is_no_chance_and_no_share():
    tests, chance = inference.gene_tests(np.ones((len(GRID), 2)), GRID[:, 0], n_draws=9)
    assert np.isnan(chance) and tests[["rho", "p", "q"]].isna().all(axis=None)
    assert np.isnan(inference.shares_called(tests)).all()


def test_smooth_maps_need_more_than_shuffled_spots_do():
    """A gradient in the other direction is unrelated, and half of a gradient of some angle is not much more."""
    tilted = (GRID @ [1, 0.25])[:, None]
    (shuffled, low), (smooth, high) = (
        inference.gene_tests(tilted, GRID[:, 1], basis, n_draws=199) for basis in (None, spatial.moran_basis(GRID))
    )
    assert shuffled["rho"][0] == pytest.approx(smooth["rho"][0])
    assert shuffled["p"][0] < smooth["p"][0] and low < high


def test_a_gene_at_the_level_is_called_by_p_and_not_by_q():
    tests = pd.DataFrame({"p": [0.05, 0.06, 0.001, np.nan], "q": [0.05, 0.06, 0.004, np.nan]})
    assert inference.shares_called(tests) == pytest.approx((2 / 3, 1 / 3))


def test_a_section_sums_up_its_genes():
    made = section()
    depth = made.obs["total_counts"].to_numpy(float)
    table, row = inference.section_tests(made, "log2", depth, inference.bases_of_nulls(GRID), n_draws=99)
    assert list(table["gene"]) == GENES and row["n_spots"] == len(GRID)
    assert table["n_effective"][0] < 30 < table["n_effective"][1]  # gradients repeat themselves, noise does not
    assert row["p_iid"] == (table["p_iid"].dropna() <= 0.05).mean()
    assert row["q_spatial"] == (table["q_spatial"].dropna() < 0.05).mean()


def test_a_section_without_an_image_is_tested_against_depth_only():
    genes, sections = inference.cohort_tests({"A": section(1), "B": section(2, image=False)}, ["log2"], n_draws=19)
    found = list(zip(sections["section"], sections["covariate"], strict=True))
    assert found == [("A", "nuclei"), ("A", "depth"), ("B", "depth")]
    assert len(genes) == 3 * len(GENES)
    same = genes[(genes["covariate"] == "depth") & (genes["gene"] == "same")]
    assert same["rho"].tolist() == pytest.approx([1, 1])


@pytest.fixture
def of_section():
    rows = [("A", 100, 20, 0.8, 0.2, 0.7, 0.1, 0.05, 0.15), ("B", 300, 30, 0.6, 0.4, 0.5, 0.3, 0.07, 0.25)]
    columns = ["section", "n_spots", "n_effective", "p_iid", "p_spatial", "q_iid", "q_spatial"]
    place = {"p_place": [0.1, 0.2], "q_place": 0.05, "chance_place": 0.1}
    table = pd.DataFrame(rows, columns=[*columns, "chance_iid", "chance_spatial"])
    table = table.assign(covariate="depth", target="log2", **place)
    others = inference.NULLS.keys() - {"iid", "spatial", "place"}
    return table.assign(**{f"{what}_{null}": 0.0 for what in ("p", "q", "chance") for null in others})


def test_each_share_has_a_row_under_its_name(of_section):
    long = inference.called_in_rows(of_section)
    assert len(long) == 2 * len(inference.CALLED) and set(long["called"]) == set(inference.CALLED.values())
    smooth = long[(long["called"] == "maps as smooth, q < 0.05") & (long["section"] == "B")]
    assert smooth["share"].item() == 0.3


def test_medians_are_over_sections(of_section):
    medians = inference.called_medians(of_section)
    assert medians.index.tolist() == [("depth", "log2(x + 1)")]
    brief = ("shuffled", "smooth", "given place")
    shown = medians[[f"{what}, {name}" for what in ("p", "q", "chance |ρ|") for name in brief]]
    assert shown.iloc[0].tolist() == pytest.approx([0.7, 0.3, 0.15, 0.6, 0.2, 0.05, 0.06, 0.2, 0.1])


def test_what_is_lost_is_said_of_medians(of_section):
    patients = {"A": "A", "B": "A"}
    text = inference.called_sentences(of_section, patients)
    assert "a right p calls 5%" in text
    assert (
        "- log2(x + 1) and depth, 2 sections of 1 patient: 70% of genes are called by shuffling, 30% by maps as smooth "
        "(57% fewer), " in text
    )
    assert "15% with place held fixed, 5% of these after the false discovery rate" in text
    nothing = of_section.assign(p_iid=0.0, p_spatial=0.0)
    assert "0% by maps as smooth (0% fewer)" in inference.called_sentences(nothing, patients)


def test_the_answer_is_by_the_strictest_chance_with_its_error_and_counts_folds_of_models(of_section):
    scores = pd.DataFrame({"backbone": ["stem", "ridge", "ridge", "nuclei"], "p_spatial": [0.2, 0.01, 0.01, 0.01]})
    text = inference.answer(of_section, scores.assign(k=50), {"A": "A", "B": "A"}, 0.31)
    assert text == (
        "Genes beyond maps as smooth, place held fixed, after the false discovery rate: with depth **5%** in "
        "log2(x + 1) (medians over 2 sections of 1 patient); on unrelated maps such a test at 5%, before that "
        "correction, errs in up to 31%. Folds whose PCC-50 is beyond maps as smooth: 0 of 1 of `stem` "
        "(a fold for each target), 2 of 2 of `ridge` (a fold for each target)."
    )


def test_the_least_section_is_named(of_section):
    text = inference.worth_sentences(of_section)
    assert text == "- log2(x + 1) with depth: 25 effective of 200 spots (medians), 15%; least 20 of 100, in A."


def test_the_opening_counts_images():
    text = inference.opening("Toy", {"A": section(), "B": section(image=False)}, 1)
    assert text == "This page shows: **Toy**, 2 sections, 1 with an image; patients: 1."


# Scores ---------------------------------------------------------------------------------------------------------


def prediction(measured, predicted, backbone="ridge", target="log2"):
    uns = {"section": "A", "split": "section", "backbone": backbone, "target": target, "seed": 0}
    layers = {MEASURED: measured, PREDICTED: predicted}
    return AnnData(layers=layers, obsm={SPATIAL: GRID}, shape=measured.shape, uns=uns)


@pytest.fixture
def gradients():
    angles = np.linspace(0, np.pi / 2, 4)
    return GRID @ np.array([np.cos(angles), np.sin(angles)])


def test_a_perfect_prediction_is_beyond_chance_and_k_is_no_more_than_the_genes(gradients):
    row = inference.score_row(prediction(gradients, gradients), k=50, n_draws=49)
    assert row["k"] == 4 and row["pcc"] == pytest.approx(1)
    assert row["p_iid"] == row["p_spatial"] == 0.02
    assert row["chance_iid"] < row["chance_spatial"] < 1


def test_pcc_is_over_the_k_best(gradients):
    noise = np.random.default_rng(0).normal(size=gradients.shape)
    mixed = np.column_stack([gradients[:, :2], noise[:, 2:]])
    assert inference.score_row(prediction(gradients, mixed), k=2, n_draws=9)["pcc"] == pytest.approx(1)
    assert inference.score_row(prediction(gradients, mixed), k=4, n_draws=9)["pcc"] < 0.8


def test_models_stand_before_floors_and_targets_in_order(gradients):
    fits = [("depth", "log2"), ("ridge", "log2"), ("stem", "log2"), ("ridge", "b")]
    made = (prediction(gradients, gradients, *fit) for fit in fits)
    table = inference.score_rows(made, ["b", "log2"], n_draws=9)
    found = list(zip(table["backbone"], table["target"], strict=True))
    assert found == [("stem", "log2"), ("ridge", "b"), ("ridge", "log2"), ("depth", "log2")]


@pytest.fixture
def scores():
    table = pd.DataFrame({"pcc": [0.5, 0.7], "p_iid": [0.05, 0.01], "p_spatial": [0.06, 0.01]})
    return table.assign(backbone="ridge", target="log2", k=50, chance_iid=[0.1, 0.2], chance_spatial=[0.3, 0.5])


def test_folds_beyond_chance_are_counted(scores):
    medians = inference.score_medians(scores)
    assert medians.loc[("ridge", "log2(x + 1)")].tolist() == [0.6, 0.15000000000000002, 0.4, "2 of 2", "1 of 2"]
    assert list(medians)[:2] == ["PCC-50", "chance, shuffled"]


def test_the_rise_of_chance_is_the_median_of_differences(scores):
    assert "by +0.25 in log2(x + 1) (medians)" in inference.chance_sentence(scores)
