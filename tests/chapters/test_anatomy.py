"""Anatomy: parts sum to the whole, are what they are called where that is known, and are recovered on known truth."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.chapters import anatomy
from helpers.chapters.anatomy import COMPOSITION, GAP, GENES, LIBRARY, NOISE, NOT_PREDICTED, NUCLEI, PARTS, PLACE, REST
from helpers.columns import pearson
from helpers.schema import COUNTS, LATTICE, SPATIAL
from helpers.scores import judge, top_genes
from helpers.targets.normalization import LOG, RESIDUAL

N_GENES, K = 12, 5
GENE_NAMES = [f"gene{i}" for i in range(N_GENES)]


def lattice(shape):
    """Spots of a round section, and of one that is long and lacks a corner."""
    xy = np.argwhere(np.ones({"round": (16, 16), "long": (22, 11)}[shape])).astype(float)
    if shape == "round":
        return xy[np.linalg.norm(xy - 7.5, axis=1) < 7.9]
    return xy[(xy[:, 0] > 8) | (xy[:, 1] > 4)]


def tissue(shape, median, seed=0):
    """Places of spots, and depths that follow nuclei, as they do in tissue, and capture."""
    rng, xy = np.random.default_rng(seed), lattice(shape)
    wave = np.sin(xy @ [0.25, 0.15])
    nuclei = rng.poisson(np.exp(3 + 0.4 * wave)).astype(float)
    depth = np.exp(0.7 * np.log1p(nuclei) + 0.3 * np.cos(xy @ [0.1, 0.3]) + 0.3 * rng.normal(size=len(xy)))
    return xy, median * depth / np.median(depth), nuclei


@pytest.fixture(scope="module")
def section():
    truth = anatomy.known_section(*tissue("long", 3000), n_genes=N_GENES)
    made = truth.draw(np.random.default_rng(1))
    made.obs["patient"], made.uns["section"] = "A", "A1"
    made.obsm[LATTICE] = made.obsm[SPATIAL]
    return made, {target: truth.values(truth.believed, target) for target in (LOG, RESIDUAL)}


def by_gene(section, target, predicted, ceiling=0.9):
    pieces = anatomy.take_apart(section, GENE_NAMES, target, predicted)
    return anatomy.of_genes(pieces, predicted, np.full(N_GENES, ceiling))


@pytest.mark.parametrize("target", [LOG, RESIDUAL])
def test_parts_sum_to_r_to_pcc_k_and_to_one(section, target):
    made, predicted = section
    table = by_gene(made, target, predicted[target])
    r = pearson(judge.measured(made, target, GENE_NAMES), predicted[target])
    np.testing.assert_allclose(table[list(PARTS)].sum(axis=1), r)
    score = anatomy.of_score(table, anatomy.best(table, K))
    assert score[list(PARTS)].sum() == pytest.approx(top_genes.pcc_at_k(r, K))
    assert score.sum() == pytest.approx(1)
    assert list(score.index) == list(anatomy.TO_ONE)


@pytest.mark.parametrize(("shape", "depth"), [("round", 650), ("long", 9500)])
def test_parts_are_recovered_on_known_truth(shape, depth):
    """A shallow and a deep section; every part of both scores and of the gap, ceilings among them."""
    for length in (0.7, 2.0):
        found = anatomy.recovered(anatomy.known_section(*tissue(shape, depth), length), k=50)
        assert len(found) == 2 * len(anatomy.TO_ONE) + len(GAP)
        assert (found["found"] - found["true"]).abs().max() < 0.03
        true = found.set_index(["of", "part"])["true"]
        assert true[LOG, LIBRARY] > 0.2 > true[RESIDUAL, LIBRARY] + 0.1  # there was something to be told apart
        assert true[RESIDUAL, COMPOSITION] > true[LOG, COMPOSITION] > 0.01


def test_smooth_composition_counts_as_place_and_nothing_is_lost():
    found = anatomy.recovered(anatomy.known_section(*tissue("round", 3000), length=3.0), k=50).set_index(["of", "part"])
    assert found.loc[(RESIDUAL, PLACE), "true"] > found.loc[(RESIDUAL, PLACE), "made"] + 0.1
    both = found.loc[RESIDUAL].loc[[PLACE, COMPOSITION]].sum()
    assert both["true"] == pytest.approx(both["made"], abs=0.01)


def test_without_noise_the_true_parts_leave_nothing_to_the_rest():
    truth = anatomy.known_section(*tissue("long", 3000), n_genes=N_GENES)
    for target in (LOG, RESIDUAL):
        given = truth.given(target)
        rest = anatomy.in_parts(truth.values(truth.expected, target), given)[REST]
        np.testing.assert_allclose(rest, 0, atol=1e-9)


def test_nuclei_alone_are_library_and_nuclei(section):
    made, _ = section
    for target in (LOG, RESIDUAL):
        predicted = np.outer(made.obs["n_nuclei"], np.linspace(0.5, 1, N_GENES)) + 1
        table = by_gene(made, target, predicted)
        np.testing.assert_allclose(table[[PLACE, COMPOSITION, REST]], 0, atol=1e-7)
        assert table[[LIBRARY, NUCLEI]].abs().max(axis=None) > 0.1


def test_guessed_depth_is_library_alone(section):
    made, _ = section
    table = anatomy.guessed_depth({"A1": made}, {"A1": GENE_NAMES}, K)
    wide = table.pivot(index="error", columns="part", values="value")
    assert wide[LIBRARY].is_monotonic_decreasing and wide[LIBRARY].min() > 0.3
    assert wide.drop(columns=LIBRARY).abs().max(axis=None) < 0.03
    text = anatomy.control_sentence(table.assign(value=np.where(table["part"] == LIBRARY, 0.5, 0.1)))
    assert "mean over 1 section, it scores 0.90 with an error of 0%" in text and "further than 0.10 from 0" in text


def test_a_prediction_loses_its_library_and_nothing_else(section):
    made, predicted = section
    kept = anatomy.own_composition(predicted[RESIDUAL], RESIDUAL, made, GENE_NAMES)
    np.testing.assert_array_equal(kept, predicted[RESIDUAL])
    library = np.exp(np.random.default_rng(0).normal(5, 1, made.n_obs))
    alone = np.log2(1 + np.outer(library, np.linspace(0.1, 1, N_GENES)))
    np.testing.assert_allclose(np.ptp(anatomy.own_composition(alone, LOG, made, GENE_NAMES), axis=0), 0, atol=1e-8)
    assert (by_gene(made, RESIDUAL, predicted[RESIDUAL])[REST].abs() < 1e-9).all()


# The gap --------------------------------------------------------------------------------------------------------


def genes_of(seed, ceiling):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.uniform(0, 0.2, (N_GENES, len(PARTS))), columns=PARTS).assign(ceiling=ceiling)


def gap(first, second):
    return anatomy.of_gap(first, second, [anatomy.best(side, K) for side in (first, second)])


def test_parts_of_a_gap_sum_to_it_and_change_sign_with_its_direction():
    first, second = genes_of(0, np.linspace(0.7, 1, N_GENES)), genes_of(1, np.linspace(0.9, 0.5, N_GENES))
    scores = [top_genes.pcc_at_k(side[list(PARTS)].sum(axis=1).to_numpy(), K) for side in (first, second)]
    found = gap(first, second)
    assert set(found.index) == set(GAP)
    assert found.sum() == pytest.approx(scores[0] - scores[1])
    np.testing.assert_allclose(gap(second, first)[found.index], -found)
    np.testing.assert_allclose(gap(first, first), 0, atol=1e-12)


def test_a_gap_of_ceilings_alone_is_counting_noise_and_one_of_a_part_is_that_part():
    first = genes_of(0, 0.9)
    lower = first * 2 / 3  # the same share of a lower ceiling
    found = gap(first, lower)
    assert found[NOISE] == pytest.approx(found.sum()) and found[NOISE] > 0.1
    less = first.assign(**{COMPOSITION: first[COMPOSITION] - 0.05})
    found = gap(first, less)
    assert found[COMPOSITION] == pytest.approx(0.05) == found.sum()


def test_each_target_having_its_own_genes_is_a_part():
    first = genes_of(0, 0.9)
    second = first.iloc[::-1].reset_index(drop=True)  # equal scores of other genes
    found = gap(first, second)
    assert found.sum() == pytest.approx(0, abs=1e-12) == found[GENES]
    second = pd.concat([first[:1], first[:1], first[:1], *([0.5 * first[:1]] * (N_GENES - 3))], ignore_index=True)
    assert gap(first, second.assign(ceiling=0.9))[GENES] != pytest.approx(0, abs=0.01)


# Chance ---------------------------------------------------------------------------------------------------------


def test_chance_is_that_of_parts_and_holds_for_maps_that_know_nothing(section):
    made, predicted = section
    spots = judge.basis(made)
    pieces = anatomy.take_apart(made, GENE_NAMES, RESIDUAL, predicted[RESIDUAL])
    found = anatomy.chance(pieces, predicted[RESIDUAL], spots, K, n_draws=500)
    assert set(found) == {LIBRARY, NUCLEI, PLACE, COMPOSITION} and all(0 < value < 0.5 for value in found.values())
    knows = anatomy.of_score(by_gene(made, RESIDUAL, predicted[RESIDUAL]), np.arange(N_GENES))
    assert knows[COMPOSITION] > found[COMPOSITION]
    noise = np.random.default_rng(0).normal(size=predicted[RESIDUAL].shape)
    pieces = anatomy.take_apart(made, GENE_NAMES, RESIDUAL, noise)
    table = anatomy.of_genes(pieces, noise, 0.9)
    score = anatomy.of_score(table, anatomy.best(table, K))
    found = anatomy.chance(pieces, noise, spots, K, n_draws=500)
    assert all(score[part] < 1.5 * value for part, value in found.items())


def test_a_gene_without_a_correlation_is_left_out_and_a_prediction_without_any_has_no_chance(section):
    made, predicted = section
    values = predicted[LOG].copy()
    values[:, 0] = 1
    pieces = anatomy.take_apart(made, GENE_NAMES, LOG, values)
    table = anatomy.of_genes(pieces, values, 0.9)
    assert table.loc[0, list(PARTS)].isna().all() and 0 not in anatomy.best(table, N_GENES)
    spots = judge.basis(made)
    assert np.isfinite(list(anatomy.chance(pieces, values, spots, K, n_draws=50).values())).all()
    assert np.isnan(list(anatomy.chance(pieces, np.ones_like(values), spots, K, n_draws=50).values())).all()


# Tables and sentences -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables(section):
    made, predicted = section
    ceilings = pd.DataFrame({"section": "A1", "gene": GENE_NAMES * 2, "target": [LOG] * N_GENES + [RESIDUAL] * N_GENES})
    frames = {t: pd.DataFrame(v, index=made.obs_names, columns=GENE_NAMES) for t, v in predicted.items()}
    fits = {
        ("A1", "section", "nuclei", 0, tuple(GENE_NAMES)): {LOG: frames[LOG]},
        ("A1", "section", "ridge", 0, tuple(GENE_NAMES)): frames,
        ("A1", "section", "ridge", 1, tuple(GENE_NAMES)): {target: -frame for target, frame in frames.items()},
    }
    return anatomy.score_fits(fits, {"A1": made}, ceilings.assign(ceiling=0.9), K, n_draws=50)


def test_tables_have_a_row_for_each_part_with_models_first_and_seeds_in_one(tables):
    scores, gaps = tables
    assert list(dict.fromkeys(scores["backbone"])) == ["ridge", "nuclei"] and set(scores["patient"]) == {"A"}
    assert len(scores) == 3 * len(anatomy.TO_ONE) and len(gaps) == len(GAP)
    of = scores[scores["backbone"] == "ridge"].groupby("target")["value"].sum()
    np.testing.assert_allclose(of, 1)
    pcc = scores[scores["part"].isin(PARTS)].groupby(["backbone", "target"])["value"].sum()
    assert gaps["value"].sum() == pytest.approx(pcc["ridge", LOG] - pcc["ridge", RESIDUAL])
    wide = anatomy.parts_by_section(scores)
    assert wide.index.tolist()[:2] == [("ridge", LOG, "A1"), ("ridge", LOG, "mean")]
    assert wide.loc[("ridge", LOG, "mean"), "PCC"] == pytest.approx(pcc["ridge", LOG])


def test_no_fit_in_both_targets_has_no_gap():
    scores, gaps = anatomy.score_fits({}, {}, pd.DataFrame(), K)
    assert scores.empty and gaps.empty
    assert anatomy.gap_sentences(gaps, K).startswith("No model was trained both")


def rows(values, **keys):
    tables = [
        pd.DataFrame(
            {"section": f"{patient}1", "patient": patient, "part": list(values), "value": list(values.values())}
        )
        for patient in "BC"
    ]
    return pd.concat(tables, ignore_index=True).assign(split="section", backbone="ridge", **keys)


def test_a_score_is_said_in_its_parts_with_chance_sections_and_patients():
    values = dict(zip(anatomy.TO_ONE, (0.5, -0.001, 0.1, 0.05, 0.0, 0.25, 0.1), strict=True))
    table = rows(values, target=LOG, chance_95=0.2)
    table.loc[(table["section"] == "C1") & (table["part"] == COMPOSITION), "chance_95"] = 0.0
    text = anatomy.score_sentences(table, 50)
    assert text.startswith("Means over 2 sections of 2 patients (B, C); in brackets the 95 % point of chance.")
    assert "PCC-50 **0.65** is library 0.50 [0.20], nuclei given library 0.00 [0.20], place 0.10 [0.20]" in text
    assert "composition left 0.05 [0.10] and rest 0.00. To 1 it lacks 0.25 that was not predicted and 0.10" in text
    assert text.endswith("Composition is above chance in 1 of 2 sections.")


def test_the_answer_has_library_and_composition_of_scores_and_gap():
    values = dict(zip(anatomy.TO_ONE, (0.5, -0.001, 0.1, 0.05, 0.0, 0.25, 0.1), strict=True))
    scores = rows(values, target=LOG, chance_95=0.2)
    gaps = rows(dict(zip(GAP, (0.1, 0.3, 0.0, -0.05, -0.1, 0.0, -0.05), strict=True)))
    text = anatomy.answer(scores, gaps, 50)
    assert text.startswith(
        "**Furthest above its chance is library in log2(x + 1) (0.50 of 0.65, chance 0.20).** PCC-50, means"
    )
    assert "over 2 sections of 2 patients (B, C), in brackets the 95 % point of chance: " in text
    assert (
        "with `ridge` **0.65** in log2(x + 1), of it library 0.50 [0.20], composition left 0.05 [0.20]; of the" in text
    )
    assert "of the gap of **0.20**, counting noise 0.10, library 0.30, composition left -0.10. With" in text
    assert "gap of" not in anatomy.answer(scores, gaps[:0], 50)


def test_a_gap_is_said_in_its_parts_and_by_patient():
    table = rows(dict(zip(GAP, (0.1, 0.3, 0.0, -0.05, -0.1, 0.0, -0.05), strict=True)))
    table.loc[table["section"] == "C1", "value"] *= 2
    text = anatomy.gap_sentences(table, 50)
    assert "means over 2 sections of 2 patients (B, C): the gap in PCC-50 is **0.30** (sections 0.20 to 0.40" in text
    assert "patients B 0.20, C 0.40), of which counting noise 0.15, library 0.45" in text and "-0.00" not in text


def test_known_truth_is_made_on_the_shallowest_and_the_deepest_section_and_said_with_its_error():
    sections = {}
    for name, depth in {"A1": 2000, "B1": 400, "C1": 6000}.items():
        xy, expected, nuclei = tissue("long", depth)
        obs = pd.DataFrame({"n_nuclei": nuclei}, index=[f"{i}" for i in range(len(xy))])
        counts = csr_matrix(np.rint(expected)[:, None])
        sections[name] = AnnData(obs=obs, layers={COUNTS: counts}, shape=counts.shape)
        sections[name].obsm[LATTICE] = xy
    table = anatomy.recovered_sections(sections, K, lengths=(2.0,))
    assert list(dict.fromkeys(table["section"])) == ["B1", "C1"] and set(table["length"]) == {2.0}
    table = table.assign(found=0.3, true=0.29, made=0.58)
    table.loc[table["part"] == NOISE, "found"] = 0.31
    text = anatomy.known_sentences(table)
    assert "36 parts of scores and of gaps lie at most **0.010** from the true ones, counting noise 0.020." in text
    assert "- over 2 lattice steps: a part of 0.29 in log2(x + 1) and of 0.29 as a residual; place took 50%" in text
    assert NOT_PREDICTED in set(table["part"])
