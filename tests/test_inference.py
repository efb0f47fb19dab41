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


def test_pixels_instead_of_lattice_steps_are_refused():
    with pytest.raises(ValueError, match="array coordinates"):
        inference.moran_basis(290 * grid())


def test_moran_basis_is_orthonormal_and_centred():
    xy = grid()
    basis = inference.moran_basis(xy)
    assert basis.shape == (len(xy), len(xy) - 1)
    np.testing.assert_allclose(basis.T @ basis, np.eye(len(xy) - 1), atol=1e-10)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-10)


def moran_i(x, adjacency):
    z = x - x.mean(axis=0)
    return np.einsum("i...,ij,j...->...", z, adjacency, z) / (z**2).sum(axis=0) * len(z) / adjacency.sum()


def test_randomized_maps_keep_mean_variance_and_morans_i(rng):
    xy = grid()
    x = xy[:, 0] ** 1.5 + rng.normal(0, 2, len(xy))
    draws = inference.moran_randomize(x, inference.moran_basis(xy), n_draws=50)
    adjacency = inference.neighbours(xy)
    np.testing.assert_allclose(draws.mean(axis=0), x.mean())
    np.testing.assert_allclose(draws.var(axis=0), x.var())
    np.testing.assert_allclose(moran_i(draws, adjacency), moran_i(x, adjacency))
    assert moran_i(x, adjacency) > 0.5 > abs(moran_i(rng.permutation(x), adjacency))
    assert np.abs(scores.pearson(draws, np.tile(x[:, None], 50))).mean() < 0.5  # and are other maps
    np.testing.assert_array_equal(draws, inference.moran_randomize(x, inference.moran_basis(xy), n_draws=50))


def test_smooth_unrelated_maps_reject_at_about_the_nominal_rate(rng):
    xy = grid(18, 16)
    basis = inference.moran_basis(xy)
    smooth = np.linalg.cholesky(np.exp(-((cdist(xy, xy) / 3) ** 2)) + 0.3 * np.eye(len(xy)))
    rejected = {"moran": 0, "shuffle": 0}
    for seed in range(200):
        a, b = (smooth @ rng.normal(size=(len(xy), 2))).T
        observed = abs(scores.spearman(a[:, None], b)[0])
        maps = {"moran": inference.moran_randomize(b, basis, 99, seed)}
        maps["shuffle"] = rng.permuted(np.tile(b[:, None], 99), axis=0)
        for name, draws in maps.items():
            p = (1 + (np.abs(scores.spearman(draws, a)) >= observed).sum()) / 100
            rejected[name] += p <= 0.05
    assert rejected["moran"] / 200 < 0.12
    assert rejected["shuffle"] / 200 > 0.3
