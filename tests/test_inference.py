"""Inference: the paper's printed p values, exact distributions by enumeration, what a spatial null keeps."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from helpers import inference, scores


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def with_negative_ranks(n, *ranks):
    differences = np.arange(1.0, n + 1)
    differences[np.array(ranks) - 1] *= -1
    return differences


# Table 2 of the paper, k = 10, 20, 50, 200: p to both digits, one-sided at n = 35 with these rank sums.
PRINTED = {"2.9e-07": (6, 35), "7.1e-07": (13, 35), "6.9e-08": (31,), "6.0e-09": (17,)}


@pytest.mark.parametrize(("p", "ranks"), PRINTED.items())
def test_the_papers_p_values_are_one_sided_at_35_sections(p, ranks):
    test = inference.wilcoxon(with_negative_ranks(35, *ranks))
    assert (test["n"], test["statistic"]) == (35, sum(ranks))
    assert f"{test['p_one_sided']:.1e}" == p
    assert f"{test['p_two_sided']:.1e}" != p


def test_the_papers_p_values_two_sided_need_36_sections():
    found = set()
    for w in range(60):
        ranks = (w,) if w <= 36 else (w - 36, 36)
        differences = with_negative_ranks(36, *ranks) if w else np.arange(1.0, 37)
        found.add(f"{inference.wilcoxon(differences)['p_two_sided']:.1e}")
    assert set(PRINTED) <= found


def test_wilcoxon_is_scipys_without_ties(rng):
    for n in (1, 2, 8, 20):
        differences = rng.normal(0.3, 1, n)
        test = inference.wilcoxon(differences)
        for p, alternative in (("p_one_sided", "greater"), ("p_two_sided", "two-sided")):
            expected = stats.wilcoxon(differences, method="exact", alternative=alternative).pvalue
            assert test[p] == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_with_ties_and_zeros_is_the_enumeration():
    differences = np.array([0.0, 1, 1, -1, 2, 2, 3, -3, 4, 0])
    ranks = stats.rankdata(np.abs(differences[differences != 0]))
    sums = np.array([np.dot(signs, ranks) for signs in product([0, 1], repeat=len(ranks))])
    above = ranks[differences[differences != 0] > 0].sum()
    test = inference.wilcoxon(differences)
    assert test["n"] == 8
    assert test["p_one_sided"] == pytest.approx((sums >= above).mean())
    assert test["p_two_sided"] == pytest.approx(2 * (sums >= above).mean())
    assert test["statistic"] == ranks.sum() - above


def test_wilcoxon_is_symmetric_and_bounded(rng):
    differences = rng.normal(0.5, 1, 12)
    one, other = inference.wilcoxon(differences), inference.wilcoxon(-differences)
    assert one["p_two_sided"] == pytest.approx(other["p_two_sided"])
    assert other["p_one_sided"] > 0.5 > one["p_one_sided"]
    assert inference.wilcoxon(np.array([1.0, -1.0]))["p_two_sided"] == 1.0


def test_eight_patients_cannot_go_below_the_smallest_p():
    test = inference.wilcoxon(np.arange(1.0, 9))
    assert test["p_two_sided"] == test["smallest_p"] == 2 / 2**8


@pytest.mark.parametrize("test", [inference.wilcoxon, inference.sign_flip])
def test_paired_tests_refuse_missing_values_and_bear_none(test):
    with pytest.raises(ValueError, match="not finite"):
        test(np.array([1.0, np.nan]))
    assert test(np.array([]))["n"] == 0


def test_all_differences_zero_are_no_evidence():
    assert inference.wilcoxon(np.zeros(5))["p_two_sided"] == 1
    assert inference.sign_flip(np.zeros(5))["p"] == 1


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_sign_flip_of_few_is_the_enumeration(rng, statistic):
    differences = rng.normal(0.5, 1, 7)
    centre = getattr(np, statistic)
    flips = [abs(centre(differences * signs)) for signs in product([-1, 1], repeat=7)]
    hits = sum(flip >= abs(centre(differences)) - 1e-12 for flip in flips)
    assert inference.sign_flip(differences, statistic) == {"p": hits / 2**7, "n": 7, "smallest_p": 2 / 2**7}


def test_sign_flip_of_one_sign_reaches_the_smallest_p():
    for n in (5, 13, 35):
        test = inference.sign_flip(0.1 * np.arange(1, n + 1))
        assert test["p"] == test["smallest_p"]
    assert test["p"] == 1e-4  # what the paper prints at n = 35


def test_sign_flip_on_many_agrees_with_the_t_test(rng):
    differences = rng.normal(0.35, 1, 40)
    assert inference.sign_flip(differences)["p"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)


def test_table_of_tests_counts_sections_with_a_value():
    table = pd.DataFrame({"section": list("abcdef"), "delta": [0.1, 0.2, 0.3, 0.4, 0.5, np.nan]})
    table = table.assign(backbone="ridge", split="section", ranking="same", definition="own_top_k", k=10)
    row = inference.test_deltas(table.assign(delta_panel=0.25)).iloc[0]
    assert (row["n_sections"], row["median_delta"], row["delta_panel"]) == (5, 0.3, 0.25)
    assert row["wilcoxon_p_one_sided"] == 1 / 32
    assert row["wilcoxon_p_two_sided"] == row["permutation_p"] == row["smallest_p"] == 1 / 16


def test_patients_are_the_units_and_few_are_not_estimable():
    few = inference.over_patients(np.array([0.1, 0.2, 0.6]), np.array(["B", "B", "C"]))
    assert few["note"] == "n = 2 patients: not estimable"
    assert np.isnan(few["permutation_p"])
    assert few["median"] == pytest.approx((0.15 + 0.6) / 2)
    many = inference.over_patients(np.linspace(0.1, 0.5, 36), np.arange(36) % 8)
    assert many["wilcoxon_p_two_sided"] == many["permutation_p"] == many["smallest_p"] == 2 / 2**8


def grid(width=14, height=12, drop=20):
    """A tissue-like outline: a lattice with a corner cut and one spot far from all others."""
    xy = np.array([(x, y) for x in range(width) for y in range(height)], float)[drop:]
    return np.vstack([xy, [[width + 5, height + 5]]])


def test_inner_spots_have_eight_neighbours_also_when_they_jitter(rng):
    xy = np.array([(x, y) for x in range(5) for y in range(5)], float)
    for lattice in (xy, xy + rng.uniform(-0.08, 0.08, xy.shape)):
        degree = inference.neighbours(lattice).sum(axis=0).reshape(5, 5)
        assert (degree[1:-1, 1:-1] == 8).all()
        assert degree[0, 0] == 3
        assert degree[0, 2] == 5
    assert inference.neighbours(grid())[-1].sum() == 0


def test_neighbours_are_sought_in_lattice_steps_and_distances_in_any_unit():
    xy = grid()
    with pytest.raises(ValueError, match="array coordinates"):
        inference.moran_basis(290 * xy, weights="neighbours")
    x = xy @ [1.0, 0.3] + np.sin(xy[:, 1])
    draws = inference.moran_randomize(x, inference.moran_basis(xy), 5)
    np.testing.assert_allclose(inference.moran_randomize(x, inference.moran_basis(290 * xy), 5), draws, atol=1e-8)
    with pytest.raises(ValueError, match="weights 'knn' are neither distance nor neighbours"):
        inference.moran_basis(xy, weights="knn")


@pytest.mark.parametrize("weights", ["distance", "neighbours"])
def test_moran_basis_is_orthonormal_and_centred(weights):
    xy = grid()
    basis = inference.moran_basis(xy, weights=weights)
    assert basis.shape == (len(xy), len(xy) - 1)
    np.testing.assert_allclose(basis.T @ basis, np.eye(len(xy) - 1), atol=1e-10)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-10)


# Covariance of a map over distance in lattice steps: short, middle and long range.
RANGES = {
    "exponential 1": lambda d: np.exp(-d),
    "exponential 8": lambda d: np.exp(-d / 8),
    "gaussian 3 and noise": lambda d: np.exp(-((d / 3) ** 2)) + 0.4 * (d == 0),
    "gaussian 10 and noise": lambda d: np.exp(-((d / 10) ** 2)) + 0.4 * (d == 0),
}


def moran_i(x, matrix):
    z = x - x.mean(axis=0)
    return np.einsum("i...,ij,j...->...", z, matrix, z) / (z**2).sum(axis=0) * len(z) / matrix.sum()


@pytest.mark.parametrize("weights", ["distance", "neighbours"])
def test_randomized_maps_keep_mean_variance_and_morans_i(rng, weights):
    xy = grid()
    x = np.linalg.cholesky(RANGES["gaussian 3 and noise"](cdist(xy, xy))) @ rng.normal(size=len(xy))
    basis = inference.moran_basis(xy, weights=weights)
    draws = inference.moran_randomize(x, basis, n_draws=50)
    matrix = inference.neighbours(xy) if weights == "neighbours" else 1 - cdist(xy, xy) / cdist(xy, xy).max()
    np.testing.assert_allclose(draws.mean(axis=0), x.mean())
    np.testing.assert_allclose(draws.var(axis=0), x.var())
    np.testing.assert_allclose(moran_i(draws, matrix), moran_i(x, matrix))
    adjacency = inference.neighbours(xy)
    assert moran_i(draws, adjacency).mean() == pytest.approx(moran_i(x, adjacency), abs=0.1)
    assert moran_i(x, adjacency) > 0.4 > 0.1 > abs(moran_i(rng.permutation(x), adjacency))
    assert np.abs(scores.pearson(draws, np.tile(x[:, None], 50))).mean() < 0.5  # and are other maps
    np.testing.assert_array_equal(draws, inference.moran_randomize(x, basis, n_draws=50))


@pytest.fixture(scope="module")
def lattice():
    xy = grid(18, 16)
    return xy, inference.moran_basis(xy), inference.moran_basis(xy, weights="neighbours")


@pytest.mark.parametrize("covariance", RANGES.values(), ids=RANGES)
@pytest.mark.parametrize("skewed", [False, True])
def test_a_nominal_5_percent_test_of_unrelated_maps_rejects_3_to_7(rng, lattice, covariance, skewed):
    xy, distance, neighbours = lattice
    fields = np.linalg.cholesky(covariance(cdist(xy, xy))) @ rng.normal(size=(len(xy), 140))
    X, Y = np.hsplit(np.exp(fields) if skewed else fields, 2)
    for rank in (False, True):
        assert 0.03 < inference.type_one_error(X, Y, distance, rank, n_draws=99) < 0.07
    long = covariance(8) > 0.3
    assert inference.type_one_error(X, Y[:, :20], rank=True, n_draws=99) > (0.5 if long else 0.1)
    if long:
        assert inference.type_one_error(X, Y, neighbours, rank=True, n_draws=99) > 0.1


def test_ranks_are_randomized_and_not_ranked_afterwards(rng, lattice):
    """Exponentials of smooth maps: draws of the values are less skewed than the map, and their ranks other maps."""
    xy, basis, _ = lattice
    fields = np.linalg.cholesky(RANGES["gaussian 3 and noise"](cdist(xy, xy))) @ rng.normal(size=(len(xy), 100))
    X, Y = np.hsplit(np.exp(fields), 2)
    observed = scores.spearman(X, Y)

    def rejected(prepare):
        draws = [inference.moran_randomize(prepare(y), basis, 99, k) for k, y in enumerate(Y.T)]
        p = [inference.p_values(observed[:, k], scores.spearman(X, draw)) for k, draw in enumerate(draws)]
        return (np.array(p) <= 0.05).mean()

    assert rejected(lambda y: y) > 0.08
    assert rejected(stats.rankdata) < 0.07


def test_null_correlations_are_those_of_maps_drawn_one_by_one(rng, lattice):
    xy, basis, _ = lattice
    X, y = rng.poisson(2, (len(xy), 6)) + xy[:, :1], xy[:, 1] + rng.normal(size=len(xy))
    for rank in (False, True):
        ranked = stats.rankdata if rank else np.asarray
        correlate = stats.spearmanr if rank else stats.pearsonr
        observed, null = inference.null_correlations(X, y, basis, rank, n_draws=20, seed=3)
        np.testing.assert_allclose(observed, [correlate(x, y).statistic for x in X.T])
        draws = inference.moran_randomize(ranked(y), basis, 20, seed=3)
        np.testing.assert_allclose(null, [[stats.pearsonr(ranked(x), draw)[0] for draw in draws.T] for x in X.T])


def test_predictions_are_paired_with_their_gene_and_randomized_alike(rng, lattice):
    xy, basis, _ = lattice
    measured, predicted = rng.normal(size=(2, len(xy), 4)) + xy[:, :1] / 5
    observed, null = inference.null_correlations(measured, predicted, basis, n_draws=20, seed=1)
    np.testing.assert_allclose(observed, scores.pearson(measured, predicted))
    for gene in range(4):
        alone = inference.null_correlations(measured[:, gene], predicted[:, gene], basis, n_draws=20, seed=1)
        np.testing.assert_allclose(null[[gene]], alone[1])


@pytest.mark.parametrize("columns", [1, 3])
def test_without_a_basis_spots_are_shuffled(rng, columns):
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, columns))
    observed, null = inference.null_correlations(X, Y, rank=True, n_draws=4_000)
    assert null.shape == (3, 4_000)
    np.testing.assert_allclose(null.std(axis=1), 1 / np.sqrt(39), rtol=0.05)  # of Spearman's rho without ties
    expected = [stats.spearmanr(X[:, j], Y[:, j % columns]).pvalue for j in range(3)]
    np.testing.assert_allclose(inference.p_values(observed, null), expected, atol=0.03)


def test_constant_maps_have_no_null_and_missing_values_are_refused(lattice):
    xy, basis, _ = lattice
    X = np.column_stack([xy[:, 0], np.full(len(xy), 0.1)])
    observed, null = inference.null_correlations(X, xy[:, 1], basis, rank=True, n_draws=9)
    assert np.isnan(observed[1])
    assert np.isnan(null[1]).all()
    np.testing.assert_array_equal(np.isnan(inference.p_values(observed, null)), [False, True])
    with pytest.raises(ValueError, match="not finite"):
        inference.null_correlations(np.where(X == 3, np.nan, X), xy[:, 1], basis)
    with pytest.raises(ValueError, match="values on a basis of"):
        inference.null_correlations(X[1:], xy[1:, 1], basis)


def test_p_values_by_hand():
    null = np.array([[-3.0, 1, 2, 0], [-3, 1, 2, 0]])
    np.testing.assert_allclose(inference.p_values([2, -2.5], null), [3 / 5, 2 / 5])
    np.testing.assert_allclose(inference.p_values([2, -2.5], null, "greater"), [2 / 5, 4 / 5])
    assert inference.p_values(0.5, np.zeros(99)) == 0.01
    with pytest.raises(ValueError, match="neither two-sided nor greater"):
        inference.p_values(0.5, null, "less")


def test_effective_n_is_the_number_of_spots_for_noise_and_far_less_for_smooth_maps(rng, lattice):
    xy, basis, _ = lattice
    n = len(xy)
    noise = rng.normal(size=(n, 100))
    assert np.median(inference.effective_n(noise, noise[:, ::-1], basis)) == pytest.approx(n, rel=0.1)
    smooth = np.linalg.cholesky(RANGES["exponential 8"](cdist(xy, xy))) @ rng.normal(size=(n, 100))
    X, y = smooth[:, 1:], smooth[:, 0]
    assert np.median(inference.effective_n(X, y, basis, rank=True)) < n / 5
    null = inference.null_correlations(X, y, basis, rank=True)[1]
    np.testing.assert_allclose(inference.effective_n(X, y, basis, rank=True), 1 + 1 / null.var(axis=1), rtol=0.2)


# Many genes, few patients ----------------------------------------------------------------------------------------


def test_q_values_leave_out_what_was_no_test():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.5])
    q = inference.fdr(p)
    np.testing.assert_allclose(q[[0, 2, 3, 4]], stats.false_discovery_control(p[[0, 2, 3, 4]]))
    np.testing.assert_allclose(q[[0, 2, 3]], [0.04, 0.16 / 3, 0.16 / 3])  # p n / rank, from the largest down
    assert np.isnan(q[1])
    assert np.isnan(inference.fdr([np.nan, np.nan])).all()


def test_an_interval_needs_five_patients():
    few = inference.bootstrap_patients(np.array([0.1, 0.2, 0.6]), np.array(["B", "B", "C"]))
    assert few["note"] == "n = 2 patients: not estimable"
    assert np.isnan([few["low"], few["high"]]).all()
    assert few["mean"] == pytest.approx((0.15 + 0.6) / 2)


def test_the_interval_is_about_patients_not_sections(rng):
    """Sections that repeat their patient narrow nothing, and the t interval of patient means is near."""
    means = rng.normal(0.2, 0.1, 8)
    once = inference.bootstrap_patients(means, np.arange(8))
    assert inference.bootstrap_patients(np.repeat(means, 6), np.repeat(np.arange(8), 6)) == pytest.approx(once)
    low, high = stats.t.interval(0.95, 7, means.mean(), stats.sem(means))
    assert once["low"] == pytest.approx(low, abs=0.02)
    assert once["high"] == pytest.approx(high, abs=0.02)


@pytest.mark.parametrize("n", [5, 8])
def test_nineteen_of_twenty_intervals_hold_the_truth(rng, n):
    found = [inference.bootstrap_patients(rng.normal(size=n), np.arange(n), n_draws=999, seed=k) for k in range(400)]
    assert 0.9 < np.mean([row["low"] < 0 < row["high"] for row in found]) < 0.98


def test_what_the_printed_p_values_reveal():
    """The paper's four p of Table 2 have an exact test in common only one-sided at 35 sections, two-sided at 36."""
    table = inference.printed_p([float(p) for p in PRINTED], (34, 35, 36))
    attained = table.groupby(["n", "alternative"])["printed"].nunique()
    assert set(attained.index[attained == 4]) == {(35, "greater"), (36, "two-sided")}
    row = table[(table["n"] == 35) & (table["alternative"] == "greater")].set_index("printed")
    assert row["statistic"].to_dict() == {float(p): sum(ranks) for p, ranks in PRINTED.items()}
    expected = inference.wilcoxon(with_negative_ranks(35, 31))["p_one_sided"]
    assert row.loc[6.9e-8, "p"] == pytest.approx(expected, rel=1e-12)


# Power -----------------------------------------------------------------------------------------------------------


def test_variance_between_patients_is_what_sections_of_one_patient_do_not_explain(rng):
    patients = np.repeat(np.arange(6), 4)
    differences = rng.normal(size=24) + np.repeat(rng.normal(0, 2, 6), 4)
    found = inference.variance_components(differences, patients)
    groups = differences.reshape(6, 4)
    within = groups.var(axis=1, ddof=1).mean()
    assert found["sd_sections"] == pytest.approx(np.sqrt(within))
    excess = (stats.f_oneway(*groups).statistic - 1) * within / 4
    assert found["sd_patients"] == pytest.approx(np.sqrt(excess))
    assert inference.variance_components([0.1, 0.3, 0.1, 0.3], list("AABB"))["sd_patients"] == 0
    for few in (list("AAAA"), list("ABCD")):
        with pytest.raises(ValueError, match="two patients or more, one with two sections"):
            inference.variance_components([0.1, 0.2, 0.3, 0.4], few)


def test_variance_components_are_unbiased_where_patients_have_unlike_numbers_of_sections(rng):
    patients = np.repeat(np.arange(8), [6, 6, 6, 6, 3, 3, 3, 1])
    drawn = rng.normal(0, 0.2, (400, 8))[:, patients] + rng.normal(0, 0.1, (400, len(patients)))
    found = pd.DataFrame([inference.variance_components(row, patients) for row in drawn])
    assert (found**2).mean().to_dict() == pytest.approx({"sd_patients": 0.04, "sd_sections": 0.01}, rel=0.1)


def test_power_over_patients_is_the_formula_where_one_is_known():
    """Six patients must all have one sign; five cannot reach 0.05 whatever the effect; without one, the exact level."""
    sd = np.hypot(0.1, 0.2 / np.sqrt(4))
    chance = stats.norm.cdf(0.2 / sd)
    assert inference.power(0.2, 0.1, 0.2, 6, 4) == pytest.approx(chance**6 + (1 - chance) ** 6, abs=0.03)
    assert inference.power(9, 0.1, 0.1, 5, 6) == 0
    attained = max(p for p in 2 * np.cumsum(inference.signed_rank_distribution(np.arange(1, 9))) if p <= 0.05)
    assert inference.power(0, 0.1, 0.1, 8, 3) == pytest.approx(attained, abs=0.012)


def test_power_is_the_share_of_tests_that_reject(rng):
    drawn = rng.normal(0.3, 0.5, (300, 9))
    rejected = np.mean([inference.wilcoxon(row)["p_two_sided"] <= 0.05 for row in drawn])
    assert inference.power(0.3, 0.3, 0.4, 9) == pytest.approx(rejected, abs=0.08)


def test_sections_taken_for_independent_reject_too_often_where_patients_differ():
    assert inference.power(0, 0.2, 0.1, 8, 4, unit="section") > 0.25
    assert inference.power(0, 0.0, 0.1, 8, 4, unit="section") == pytest.approx(0.05, abs=0.012)
    with pytest.raises(ValueError, match="neither patient nor section"):
        inference.power(0, 0.2, 0.1, 8, unit="spot")
