"""Inference: the paper's printed p values, exact distributions by enumeration, what a spatial null keeps."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.scores import paired


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
    test = paired.wilcoxon(with_negative_ranks(35, *ranks))
    assert (test["n"], test["statistic"]) == (35, sum(ranks))
    assert f"{test['p_one_sided']:.1e}" == p
    assert f"{test['p_two_sided']:.1e}" != p


def test_the_papers_p_values_two_sided_need_36_sections():
    found = set()
    for w in range(60):
        ranks = (w,) if w <= 36 else (w - 36, 36)
        differences = with_negative_ranks(36, *ranks) if w else np.arange(1.0, 37)
        found.add(f"{paired.wilcoxon(differences)['p_two_sided']:.1e}")
    assert set(PRINTED) <= found


def test_wilcoxon_is_scipys_without_ties(rng):
    for n in (1, 2, 8, 20):
        differences = rng.normal(0.3, 1, n)
        test = paired.wilcoxon(differences)
        for p, alternative in (("p_one_sided", "greater"), ("p_two_sided", "two-sided")):
            expected = stats.wilcoxon(differences, method="exact", alternative=alternative).pvalue
            assert test[p] == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_with_ties_and_zeros_is_the_enumeration():
    differences = np.array([0.0, 1, 1, -1, 2, 2, 3, -3, 4, 0])
    ranks = stats.rankdata(np.abs(differences[differences != 0]))
    sums = np.array([np.dot(signs, ranks) for signs in product([0, 1], repeat=len(ranks))])
    above = ranks[differences[differences != 0] > 0].sum()
    test = paired.wilcoxon(differences)
    assert test["n"] == 8
    assert test["p_one_sided"] == pytest.approx((sums >= above).mean())
    assert test["p_two_sided"] == pytest.approx(2 * (sums >= above).mean())
    assert test["statistic"] == ranks.sum() - above


def test_wilcoxon_is_symmetric_and_bounded(rng):
    differences = rng.normal(0.5, 1, 12)
    one, other = paired.wilcoxon(differences), paired.wilcoxon(-differences)
    assert one["p_two_sided"] == pytest.approx(other["p_two_sided"])
    assert other["p_one_sided"] > 0.5 > one["p_one_sided"]
    assert paired.wilcoxon(np.array([1.0, -1.0]))["p_two_sided"] == 1.0


def test_eight_patients_cannot_go_below_the_smallest_p():
    test = paired.wilcoxon(np.arange(1.0, 9))
    assert test["p_two_sided"] == test["smallest_p"] == 2 / 2**8


@pytest.mark.parametrize("test", [paired.wilcoxon, paired.sign_flip])
def test_paired_tests_refuse_missing_values_and_bear_none(test):
    with pytest.raises(ValueError, match="not finite"):
        test(np.array([1.0, np.nan]))
    assert test(np.array([]))["n"] == 0


def test_all_differences_zero_are_no_evidence():
    assert paired.wilcoxon(np.zeros(5))["p_two_sided"] == 1
    assert paired.sign_flip(np.zeros(5))["p"] == 1


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_sign_flip_of_few_is_the_enumeration(rng, statistic):
    differences = rng.normal(0.5, 1, 7)
    centre = getattr(np, statistic)
    flips = [abs(centre(differences * signs)) for signs in product([-1, 1], repeat=7)]
    hits = sum(flip >= abs(centre(differences)) - 1e-12 for flip in flips)
    assert paired.sign_flip(differences, statistic) == {"p": hits / 2**7, "n": 7, "smallest_p": 2 / 2**7}


@pytest.mark.parametrize("n", [5, 8, 12])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_sign_flip_counts_hits_among_all_patterns_ties_included(rng, n, statistic):
    """Rounded differences: many patterns come to the same mean, in another order of summing."""
    differences = rng.normal(0.3, 1, n).round(1)
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    centre = getattr(np, statistic)
    hits = (np.abs(centre(signs * differences, axis=1)) >= abs(centre(differences)) * (1 - 1e-9)).sum()
    test = paired.sign_flip(differences, statistic)
    assert test == {"p": hits / 2**n, "n": n, "smallest_p": 2.0 ** (1 - n)}
    assert paired.sign_flip(-differences, statistic) == test


def test_a_single_difference_is_no_evidence():
    assert paired.sign_flip([0.3]) == {"p": 1.0, "n": 1, "smallest_p": 1.0}


def test_sign_flip_of_one_sign_reaches_the_smallest_p():
    for n in (5, 13, 35):
        test = paired.sign_flip(0.1 * np.arange(1, n + 1))
        assert test["p"] == test["smallest_p"]
    assert test["p"] == 1e-4  # what the paper prints at n = 35


def test_sign_flip_on_many_agrees_with_the_t_test(rng):
    differences = rng.normal(0.35, 1, 40)
    assert paired.sign_flip(differences)["p"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)


def test_table_of_tests_counts_sections_with_a_value():
    table = pd.DataFrame({"section": list("abcdef"), "delta": [0.1, 0.2, 0.3, 0.4, 0.5, np.nan]})
    table = table.assign(backbone="ridge", split="section", ranking="same", definition="own_top_k", k=10)
    row = paired.test_deltas(table.assign(delta_panel=0.25)).iloc[0]
    assert (row["n_sections"], row["median_delta"], row["delta_panel"]) == (5, 0.3, 0.25)
    assert row["wilcoxon_p_one_sided"] == 1 / 32
    assert row["wilcoxon_p_two_sided"] == row["permutation_p"] == row["smallest_p"] == 1 / 16


def test_patients_are_the_units_and_few_are_not_estimable():
    few = paired.over_patients(np.array([0.1, 0.2, 0.6]), np.array(["B", "B", "C"]))
    assert few["note"] == "n = 2 patients: not estimable"
    assert np.isnan(few["permutation_p"])
    assert few["median"] == pytest.approx((0.15 + 0.6) / 2)
    many = paired.over_patients(np.linspace(0.1, 0.5, 36), np.arange(36) % 8)
    assert many["wilcoxon_p_two_sided"] == many["permutation_p"] == many["smallest_p"] == 2 / 2**8


# Many genes, few patients ----------------------------------------------------------------------------------------


def test_q_values_leave_out_what_was_no_test():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.5])
    q = paired.fdr(p)
    np.testing.assert_allclose(q[[0, 2, 3, 4]], stats.false_discovery_control(p[[0, 2, 3, 4]]))
    np.testing.assert_allclose(q[[0, 2, 3]], [0.04, 0.16 / 3, 0.16 / 3])  # p n / rank, from the largest down
    assert np.isnan(q[1])
    assert np.isnan(paired.fdr([np.nan, np.nan])).all()


def test_an_interval_needs_five_patients():
    few = paired.bootstrap_patients(np.array([0.1, 0.2, 0.6]), np.array(["B", "B", "C"]))
    assert few["note"] == "n = 2 patients: not estimable"
    assert np.isnan([few["low"], few["high"]]).all()
    assert few["mean"] == pytest.approx((0.15 + 0.6) / 2)


def test_the_interval_is_about_patients_not_sections(rng):
    """Sections that repeat their patient narrow nothing, and the t interval of patient means is near."""
    means = rng.normal(0.2, 0.1, 8)
    once = paired.bootstrap_patients(means, np.arange(8))
    assert paired.bootstrap_patients(np.repeat(means, 6), np.repeat(np.arange(8), 6)) == pytest.approx(once)
    low, high = stats.t.interval(0.95, 7, means.mean(), stats.sem(means))
    assert once["low"] == pytest.approx(low, abs=0.02)
    assert once["high"] == pytest.approx(high, abs=0.02)


@pytest.mark.parametrize("n", [5, 8])
def test_nineteen_of_twenty_intervals_hold_the_truth(rng, n):
    found = [paired.bootstrap_patients(rng.normal(size=n), np.arange(n), n_draws=999, seed=k) for k in range(400)]
    assert 0.9 < np.mean([row["low"] < 0 < row["high"] for row in found]) < 0.98


def test_what_the_printed_p_values_reveal():
    """The paper's four p of Table 2 have an exact test in common only one-sided at 35 sections, two-sided at 36."""
    table = paired.printed_p([float(p) for p in PRINTED], (34, 35, 36))
    attained = table.groupby(["n", "alternative"])["printed"].nunique()
    assert set(attained.index[attained == 4]) == {(35, "greater"), (36, "two-sided")}
    row = table[(table["n"] == 35) & (table["alternative"] == "greater")].set_index("printed")
    assert row["statistic"].to_dict() == {float(p): sum(ranks) for p, ranks in PRINTED.items()}
    expected = paired.wilcoxon(with_negative_ranks(35, 31))["p_one_sided"]
    assert row.loc[6.9e-8, "p"] == pytest.approx(expected, rel=1e-12)


# Power -----------------------------------------------------------------------------------------------------------


def test_variance_between_patients_is_what_sections_of_one_patient_do_not_explain(rng):
    patients = np.repeat(np.arange(6), 4)
    differences = rng.normal(size=24) + np.repeat(rng.normal(0, 2, 6), 4)
    found = paired.variance_components(differences, patients)
    groups = differences.reshape(6, 4)
    within = groups.var(axis=1, ddof=1).mean()
    assert found["sd_sections"] == pytest.approx(np.sqrt(within))
    excess = (stats.f_oneway(*groups).statistic - 1) * within / 4
    assert found["sd_patients"] == pytest.approx(np.sqrt(excess))
    assert paired.variance_components([0.1, 0.3, 0.1, 0.3], list("AABB"))["sd_patients"] == 0
    for few in (list("AAAA"), list("ABCD")):
        with pytest.raises(ValueError, match="two patients or more, one with two sections"):
            paired.variance_components([0.1, 0.2, 0.3, 0.4], few)


def test_variance_components_are_unbiased_where_patients_have_unlike_numbers_of_sections(rng):
    patients = np.repeat(np.arange(8), [6, 6, 6, 6, 3, 3, 3, 1])
    drawn = rng.normal(0, 0.2, (400, 8))[:, patients] + rng.normal(0, 0.1, (400, len(patients)))
    found = pd.DataFrame([paired.variance_components(row, patients) for row in drawn])
    assert (found**2).mean().to_dict() == pytest.approx({"sd_patients": 0.04, "sd_sections": 0.01}, rel=0.1)


def spread(patients, sections):
    return {"sd_patients": patients, "sd_sections": sections}


def test_power_over_patients_is_the_formula_where_one_is_known():
    """Six patients must all have one sign; five cannot reach 0.05 whatever the effect; without one, the exact level."""
    sd = np.hypot(0.1, 0.2 / np.sqrt(4))
    chance = stats.norm.cdf(0.2 / sd)
    assert paired.power(0.2, spread(0.1, 0.2), 6, 4) == pytest.approx(chance**6 + (1 - chance) ** 6, abs=0.03)
    assert paired.power(9, spread(0.1, 0.1), 5, 6) == 0
    attained = max(p for p in 2 * np.cumsum(paired.signed_rank_distribution(np.arange(1, 9))) if p <= 0.05)
    assert paired.power(0, spread(0.1, 0.1), 8, 3) == pytest.approx(attained, abs=0.012)


def test_power_is_the_share_of_tests_that_reject(rng):
    drawn = rng.normal(0.3, 0.5, (300, 9))
    rejected = np.mean([paired.wilcoxon(row)["p_two_sided"] <= 0.05 for row in drawn])
    assert paired.power(0.3, spread(0.3, 0.4), 9) == pytest.approx(rejected, abs=0.08)


def test_sections_taken_for_independent_reject_too_often_where_patients_differ():
    assert paired.power(0, spread(0.2, 0.1), 8, 4, unit="section") > 0.25
    assert paired.power(0, spread(0.0, 0.1), 8, 4, unit="section") == pytest.approx(0.05, abs=0.012)
    with pytest.raises(ValueError, match="neither patient nor section"):
        paired.power(0, spread(0.2, 0.1), 8, unit="spot")
