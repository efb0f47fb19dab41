"""One answer to each question: what stands in a chapter's table is what the audit computes."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers import columns, schema
from helpers.models import backbones
from helpers.scores import judge, partial, spatial, top_genes
from helpers.targets import normalization

SIDE, N = 12, 60
XY = np.stack(np.meshgrid(range(SIDE), range(SIDE)), axis=-1).reshape(-1, 2).astype(float)
GENES = [f"G{i}" for i in range(N)]


def made(seed, nuclei=True):
    """Depth follows nuclei along x; half of the genes follow a wave along y, half the opposite one."""
    rng = np.random.default_rng(seed)
    n = np.round(12 + 8 * np.sin(XY[:, 0] / 2 + seed)).clip(1)
    wave = np.exp(np.outer(np.cos(XY[:, 1] / 2 - seed), np.repeat([0.5, -0.5], N // 2))) * rng.lognormal(0, 0.3, N)
    counts = rng.poisson(60 * n[:, None] * wave / wave.sum(axis=1, keepdims=True))
    section = AnnData(obs=pd.DataFrame(index=[f"{x:.0f}x{y:.0f}" for x, y in XY]), var=pd.DataFrame(index=GENES))
    section.layers[schema.COUNTS] = csr_matrix(counts.astype(np.float32))
    # Measured places jitter; on a perfect square several maps of a basis are as smooth, and their choice arbitrary.
    section.obsm[schema.SPATIAL] = XY * 290 + rng.normal(0, 9, XY.shape)
    section.obsm[schema.LATTICE] = XY
    section.obs["total_counts"], section.obs["section"], section.obs["patient"] = counts.sum(1), f"S{seed}", f"P{seed}"
    if nuclei:
        section.obs["n_nuclei"] = n
    section.uns["section"] = f"S{seed}"
    return section


@pytest.fixture(scope="module")
def section():
    return made(0)


# --- scores ---


def test_the_ceiling_is_that_of_the_genes_scored_and_the_null_that_of_the_statistic(section):
    rng = np.random.default_rng(1)
    values, spots = judge.measured(section, "log2", GENES), judge.basis(section)
    predicted, ceiling = values + rng.normal(0, 2, values.shape), rng.uniform(size=N)
    found = judge.pcc(values, predicted, spots, 7, 399, ceiling)
    r = columns.pearson(values, predicted)
    best = np.argsort(-r)[:7]
    assert found["pcc"] == pytest.approx(r[best].mean()) and found["ceiling"] == pytest.approx(ceiling[best].mean())
    _, drawn = spatial.null_correlations(values, predicted, spots, n_draws=399)
    null = np.sort(drawn, axis=0)[-7:].mean(axis=0)
    assert found["chance"] == pytest.approx(np.median(null)) and found["chance_95"] == pytest.approx(
        np.quantile(null, 0.95)
    )
    assert found["p"] == (1 + (null >= found["pcc"]).sum()) / 400


def test_spots_lie_where_their_coordinates_say_in_any_unit(section):
    moved = section.copy()
    moved.obsm[schema.SPATIAL] = section.obsm[schema.SPATIAL] * 0.5
    values = judge.measured(section, "log2", GENES)
    one, other = (judge.pcc(values, values[::-1], judge.basis(s), 5, 19) for s in (section, moved))
    assert one["pcc"] == pytest.approx(other["pcc"]) and one["chance_95"] == pytest.approx(other["chance_95"], rel=1e-6)


@pytest.mark.parametrize(("n_genes", "ks"), [(300, [10, 50, 200]), (60, [10, 50]), (5, [5])])
def test_a_panel_is_asked_for_no_more_genes_than_it_has(n_genes, ks):
    assert judge.best_ks((10, 50, 200), n_genes) == ks


def test_measured_values_are_clipped_and_kept_as_predictions_are(section):
    deep = section.copy()
    counts = section.layers[schema.COUNTS].toarray()
    counts[0, 0] = 5000
    deep.layers[schema.COUNTS] = csr_matrix(counts)
    deep.obs["total_counts"] = counts.sum(axis=1)
    values = judge.measured(deep, "pearson_residual", GENES)
    assert values.dtype == np.float32 and values.max() == pytest.approx(np.sqrt(len(XY)))


def test_a_perfect_prediction_stays_within_its_ceiling(section):
    wave = np.exp(np.outer(np.cos(XY[:, 1] / 2), np.repeat([0.5, -0.5], N // 2)))
    expected = np.log1p(1e4 * wave / wave.sum(axis=1, keepdims=True))
    found = judge.pcc(
        judge.measured(section, "log1p_cp10k", GENES),
        expected,
        judge.basis(section),
        50,
        19,
        judge.ceilings(section, "log1p_cp10k", GENES),
    )
    assert found["pcc"] == pytest.approx(found["ceiling"], abs=0.06)


# --- floors ---


def test_a_trend_across_a_section_on_its_own_is_not_turned_against_its_floor():
    x = np.random.default_rng(0).normal(size=(100, 1))
    y = np.linspace(0, 3, 100)[:, None] + 0.5 * x
    predicted = judge.floor("nuclei", {"a": x}, {"a": y}, "a")
    assert np.corrcoef(predicted[:, 0], y[:, 0])[0, 1] > 0.3


def test_a_floor_never_sees_the_spots_it_predicts():
    x, y = np.arange(50.0)[:, None], np.zeros((50, 1))
    y[:10] = 1e6  # only the first block is unlike the rest
    assert np.abs(judge.floor("nuclei", {"a": x}, {"a": y}, "a")[:10]).max() < 1e-6


def test_a_floor_is_never_lower_than_one_of_its_shapes():
    rng = np.random.default_rng(1)
    x = {name: rng.gamma(2.0, 20.0, size=(80, 1)) for name in "ab"}
    y = {"a": np.log1p(x["a"]), "b": x["b"]}  # the one to learn from bends, the one that is scored does not
    y = {name: values + 0.1 * values.std() * rng.normal(size=values.shape) for name, values in y.items()}
    found = np.corrcoef(judge.floor("nuclei", x, y, "b")[:, 0], y["b"][:, 0])[0, 1]
    assert found == pytest.approx(np.corrcoef(x["b"][:, 0], y["b"][:, 0])[0, 1], abs=1e-5)


@pytest.mark.parametrize("target", ["log2", "pearson_residual"])
def test_a_floor_is_the_backbone_of_that_name(target):
    sections = {f"S{seed}": made(seed) for seed in range(3)}
    for section in sections.values():
        section.layers[target] = normalization.target(section, target)
    fold = backbones.predict(sections, "S1", target, "nuclei", prepare=normalization.clip)
    features = {name: section.obs[["n_nuclei"]].to_numpy(float) for name, section in sections.items()}
    values = {name: judge.measured(section, target, GENES) for name, section in sections.items()}
    np.testing.assert_allclose(
        judge.floor("nuclei", features, values, "S1"), fold.layers[schema.PREDICTED], rtol=1e-5, atol=1e-6
    )


# --- given nuclei and depth ---


def test_depth_is_held_fixed_as_what_it_says_of_each_gene_in_the_target(section):
    known = judge.covariate_sets(section, "log2", ["G3", "G7"])
    n, counts = section.obs["n_nuclei"].to_numpy(), section.layers[schema.COUNTS].toarray()
    np.testing.assert_array_equal(known["nuclei"], [n, np.log1p(n)])
    share = counts.sum(axis=0)[[3, 7]] / counts.sum()
    np.testing.assert_allclose(known["depth"][0], np.log2(1 + np.outer(counts.sum(axis=1), share)))
    np.testing.assert_allclose(known["depth"][1], np.log(counts.sum(axis=1)))
    assert len(known["both"]) == 4
    assert set(judge.covariate_sets(made(0, nuclei=False), "log2", GENES)) == {"depth"}
    for scaled in ("pearson_residual", "log1p_cp10k"):  # depth alone says the same of every spot
        assert np.ptp(judge.covariate_sets(section, scaled, GENES)["depth"][0], axis=0).max() < 1e-9


def test_a_log_of_nuclei_changes_no_rank_correlation(section):
    values, n = judge.measured(section, "log2", GENES), section.obs["n_nuclei"].to_numpy()
    twice = partial.left_over(values, judge.covariate_sets(section, "log2", GENES)["nuclei"], rank=True)
    np.testing.assert_allclose(twice, partial.left_over(values, [n], rank=True), atol=1e-12)


def test_what_is_left_is_summed_up_over_the_best_genes_and_over_all(section):
    values, held = judge.measured(section, "log2", GENES), judge.covariate_sets(section, "log2", GENES)
    by_gene = judge.given(values, values + np.random.default_rng(0).normal(0, 3, values.shape), GENES, held)
    table = by_gene[by_gene["given"] == "both"]
    row = judge.summarize_given(table, 9)
    best = table.nlargest(9, "r")
    for name in judge.GIVEN_SCORES:
        assert row[name] == pytest.approx(best[name].mean())
        assert row[f"median_{name}"] == pytest.approx(table[name].median())
    assert row["unique"] == pytest.approx(table["unique"].mean())


def of_depth(section, error, rng):
    known = section.obs["total_counts"].to_numpy() * np.exp(rng.normal(0, error, section.n_obs))
    return np.log2(1 + np.outer(known, judge.levels(section, GENES)[0]))


def test_what_knows_depth_alone_keeps_no_more_than_chance_and_composition_does(section):
    """Of twenty guesses of depth one in twenty may pass; a wave in composition that is half noise does."""
    rng, spots = np.random.default_rng(0), judge.basis(section)
    values, held = judge.measured(section, "log2", GENES), judge.covariate_sets(section, "log2", GENES)["depth"]
    passed = {"median_partial": 0, "partial": 0, "unique": 0}
    for _ in range(20):
        predicted = of_depth(section, 0.4, rng)
        row = judge.summarize_given(judge.given(values, predicted, GENES, {"depth": held}), 20)
        chance = judge.given_chance(values, predicted, held, spots, 20, 199)
        for name in passed:
            passed[name] += row[name] > chance[f"{name}_chance_95"]
    assert max(passed.values()) <= 3
    wave = np.where(np.arange(N) < N // 2, 1, -1) * np.cos(XY[:, 1] / 2)[:, None]
    knows = of_depth(section, 0.4, rng) + wave + rng.normal(0, 1, values.shape)
    row = judge.summarize_given(judge.given(values, knows, GENES, {"depth": held}), 20)
    chance = judge.given_chance(values, knows, held, spots, 20, 199)
    for name in judge.GIVEN_CLAIMS:
        assert row[name] > max(chance[f"{name}_chance_95"], 0.3 if name != "unique" else 0.05)  # a square


def test_a_null_holds_what_the_covariates_leave_of_no_gene(section):
    """A gene of which depth says all counts, with nothing of its own, in the unique share and in its null."""
    values, held = judge.measured(section, "log2", GENES), judge.covariate_sets(section, "log2", GENES)["depth"]
    rng, spots = np.random.default_rng(0), judge.basis(section)
    predicted = of_depth(section, 0, rng)
    predicted[:, 0] = rng.normal(size=section.n_obs)
    row = judge.summarize_given(judge.given(values, predicted, GENES, {"depth": held}), 20)
    chance = judge.given_chance(values, predicted, held, spots, 20, 199)
    assert 0 < row["unique"] < 0.1 / len(GENES) and 0 < chance["unique_chance_95"] < 0.1 / len(GENES)


def test_where_depth_says_all_there_is_no_chance_to_tell(section):
    values, held = judge.measured(section, "log2", GENES), judge.covariate_sets(section, "log2", GENES)["depth"]
    found = judge.given_chance(
        values, of_depth(section, 0, np.random.default_rng(0)), held, judge.basis(section), 20, 9
    )
    assert len(found) == len(judge.GIVEN_CLAIMS) and np.isnan(list(found.values())).all()


# --- two numbers instead of one ---


def test_a_prediction_of_depth_alone_has_library_skill_and_no_composition(section):
    depth = section.obs["total_counts"].to_numpy()
    predicted = np.log2(1 + np.outer(depth, judge.levels(section, GENES)[0]))
    found = judge.skills(predicted, "log2", section, GENES, judge.basis(section), 50, 199)
    assert found["library"] == pytest.approx(1, abs=1e-3) and found["library_chance_95"] < 0.9
    assert np.isnan(found["composition"]) and 0.9 < found["library_ceiling"] < 1


def test_a_prediction_of_composition_alone_has_no_library(section):
    values = judge.measured(section, "log1p_cp10k", GENES)
    found = judge.skills(values, "log1p_cp10k", section, GENES, judge.basis(section), 10, 199)
    assert np.isnan(found["library"]) and np.isnan(found["library_chance_95"]) and found["library_ceiling"] > 0.9
    assert found["composition"] > 0.9 > found["composition_ceiling"] > found["composition_chance_95"]


def test_both_skills_do_not_depend_on_what_a_log_prediction_says_of_levels(section):
    values = judge.measured(section, "log2", GENES).astype(float)
    shifted = np.log2(1 + (2**values - 1) * np.linspace(0.5, 3, N))
    spots = judge.basis(section)
    one, other = (judge.skills(v, "log2", section, GENES, spots, 10, 19) for v in (values, shifted))
    assert one["library"] == pytest.approx(other["library"], abs=1e-9)
    assert one["composition"] == pytest.approx(other["composition"], abs=1e-3)


@pytest.mark.parametrize("dropped", [[], [3, 8]])
def test_the_null_of_a_score_is_the_score_of_every_draw(section, dropped):
    rng, spots = np.random.default_rng(0), judge.basis(section)
    values, predicted = rng.normal(size=(2, len(XY), N))
    predicted[:, dropped] = 1
    _, drawn = spatial.null_correlations(values, predicted, spots, n_draws=39)
    null = [top_genes.pcc_at_k(draw, 7) for draw in drawn.T]
    found = judge.pcc(values, predicted, spots, 7, 39)
    assert found["chance"] == pytest.approx(np.median(null)) and found["n_undefined"] == len(dropped)


def test_levels_are_shares_of_all_genes_and_the_median_count():
    small = AnnData(
        var=pd.DataFrame(index=["a", "b", "c"]), layers={schema.COUNTS: csr_matrix([[1.0, 2, 1], [3, 0, 1]])}
    )
    share, depth = judge.levels(small, ["c", "a"])
    assert share.tolist() == [0.25, 0.5] and depth == 4
