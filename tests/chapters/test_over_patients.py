"""Tests over sections and over patients: what each is of, what printed p values allow, and how tests are shown."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.chapters import over_patients
from helpers.scores import paired

PATIENTS = pd.Series({f"{patient}{i}": patient for patient in "ABCDEF" for i in (1, 2)})
RISING = pd.Series(np.arange(1.0, 13), PATIENTS.index)  # by section; all above zero

# Differences of sections ----------------------------------------------------------------------------------------


def test_a_simulated_difference_is_log_less_the_other():
    """Log genes follow the nuclei up or down, those of the other target do not."""
    nuclei = np.array([1.0, 2, 3, 4])
    follows, apart = np.column_stack([nuclei, -nuclei]), np.column_stack([[1.0, -1, -1, 1]] * 2)
    section = AnnData(obs=pd.DataFrame({"n_nuclei": nuclei}, list("abcd")), layers={"log2": follows, "other": apart})
    assert over_patients.simulated_difference({"A1": section}, "other").to_dict() == pytest.approx({"A1": 1})


def test_differences_leave_sections_without_nuclei_out():
    rows = [("A", "log2", 0.5, 0.4), ("A", "b", -0.2, 0.1), ("B", "log2", np.nan, 0.3), ("B", "b", np.nan, 0.1)]
    table = pd.DataFrame(rows, columns=["section", "target", "rho_nuclei", "rho_depth"])
    table = table.assign(gene="g")
    found = over_patients.median_differences(table, ["b"])
    assert found["nuclei", "b"].to_dict() == pytest.approx({"A": 0.3})
    assert found["depth", "b"].to_dict() == pytest.approx({"A": 0.3, "B": 0.2})


# Tests ----------------------------------------------------------------------------------------------------------


def test_sections_and_patients_that_agree_reach_the_least_p():
    row = over_patients.tested(RISING, PATIENTS)
    assert (row["n_sections"], row["n_patients"]) == (12, 6)
    assert row["wilcoxon_p"] == row["smallest_p"] == 2 / 2**12
    assert row["wilcoxon_p_patients"] == row["smallest_p_patients"] == 2 / 2**6
    assert row["median"] == row["mean"] == 6.5 and row["low"] < 6.5 < row["high"]


def test_a_copy_of_every_section_is_no_new_patient():
    twice = pd.concat([RISING, RISING.add_suffix("x")])
    of = pd.concat([PATIENTS, PATIENTS.add_suffix("x")])
    one, two = over_patients.tested(RISING, PATIENTS), over_patients.tested(twice, of)
    assert two["wilcoxon_p"] < one["wilcoxon_p"]
    same = ["wilcoxon_p_patients", "sign_flip_p_patients", "mean", "low", "high"]
    assert [two[name] for name in same] == pytest.approx([one[name] for name in same])


def test_few_patients_have_no_p_and_nan_is_no_section():
    row = over_patients.tested(RISING.iloc[:4].where(lambda values: values != 2), PATIENTS)
    assert row["n_sections"] == 3 and row["note"] == "n = 2 patients: not estimable"
    assert np.isnan([row["wilcoxon_p_patients"], row["low"]]).all()


@pytest.fixture
def delta():
    rows = [
        ("ridge", "section", "nested", "own_top_k", k, section, value + k / 1000)
        for k in (10, 50, 200)
        for section, value in RISING.items()
    ]
    table = pd.DataFrame(rows, columns=[*over_patients.FITS, "section", "delta"])
    return table.assign(delta=table["delta"].where(table["k"] < 200))


def test_delta_is_tested_in_each_reading_that_has_it(delta):
    tests = over_patients.delta_tests(delta, PATIENTS)
    assert tests["k"].tolist() == [10, 50] and tests["n_sections"].tolist() == [12, 12]
    assert tests["median"].tolist() == pytest.approx([6.51, 6.55])
    nothing = over_patients.delta_tests(delta[delta["k"] == 200], PATIENTS)
    assert nothing.empty and list(nothing) == list(tests)
    assert over_patients.shown_deltas(nothing).empty


def test_the_largest_k_that_is_tested_is_shown(delta):
    tests = over_patients.delta_tests(delta, PATIENTS)
    assert over_patients.shown_deltas(tests, 100)["Δ, k = 50"].tolist() == ["+6.550"]
    assert over_patients.shown_deltas(tests, 49)["Δ, k = 10"].tolist() == ["+6.510"]


@pytest.fixture
def tests():
    found = {("nuclei", "pearson_residual"): RISING, ("depth", "pearson_residual"): RISING.iloc[:2]}
    found["nuclei", "log1p_cp10k"] = RISING.iloc[:0]
    return over_patients.difference_tests(found, PATIENTS)


def test_a_difference_without_sections_has_no_test(tests):
    assert tests["quantity"].tolist() == ["nuclei", "depth"] and set(tests["cohort"]) == {"this"}


def test_a_p_at_its_least_is_marked():
    assert over_patients.p_text(0.031, 0.03) == "0.031"
    assert over_patients.p_text(0.03125, 0.03125) == "0.031 (least)"
    assert over_patients.p_text(np.nan, np.nan) == ""


def test_tests_are_shown_as_text(tests):
    table = over_patients.shown(tests)
    assert table.loc[0, ["log less", "median", "Wilcoxon p"]].tolist() == [
        "Pearson residual",
        "+6.500",
        "0.00049 (least)",
    ]
    assert table["p over patients"].tolist() == ["0.031 (least)", "not estimable"]


def test_patients_have_an_interval_or_a_note(tests):
    first, second, *_ = over_patients.patients_sentences(tests).splitlines()
    assert first.startswith("- nuclei, log less Pearson residual: +6.50 over patients, 95 % interval +")
    assert first.endswith("p = 0.031, where 0.031 is the least that 6 patients can give.")
    assert second == "- depth, log less Pearson residual: n = 1 patient: not estimable."
    text = over_patients.answer(tests)
    assert text.startswith("Log less Pearson residual: coupling to nuclei, +6.50 over patients, 95 % interval +")
    assert text.endswith("6 patients can give; coupling to depth, n = 1 patient: not estimable.")


def test_simulated_patients_are_those_of_their_sections(monkeypatch):
    made = {f"{p}{i}": AnnData(obs=pd.DataFrame({"patient": [p]}, ["s"])) for p in "AB" for i in (1, 2)}
    monkeypatch.setattr(over_patients, "simulated_difference", lambda cohort, other: pd.Series(1.0, list(cohort)))
    tests = over_patients.simulated_tests({1.0: made, 0.0: made}, ["b", "c"])
    assert tests["quantity"].tolist() == [name for name in over_patients.QUANTITIES.values() for _ in "bc"]
    assert set(tests["n_patients"]) == {2} and set(tests["n_sections"]) == {4}


# What printed p values say --------------------------------------------------------------------------------------


@pytest.mark.parametrize("w", range(22))
def test_how_many_sections_make_a_rank_sum_is_that_of_all_their_sets(w):
    ranks = range(1, 7)
    sizes = [n for n in range(7) if any(sum(chosen) == w for chosen in combinations(ranks, n))]
    assert over_patients.sections_against(w, 6) == (min(sizes), max(sizes))


def printed(n=12, sums=(3, 5)):
    """Two-sided p to two digits of tests over n sections with these rank sums, for k = 10, 20."""
    rows = []
    for k, w in zip((10, 20), sums, strict=True):
        differences = np.arange(1.0, n + 1)
        differences[w - 1] *= -1
        rows.append((k, float(f"{paired.wilcoxon(differences)['p_two_sided']:.1e}")))
    return pd.Series(*list(zip(*rows, strict=True)))


def test_the_test_that_prints_all_p_is_found():
    whole, partly = over_patients.tests_that_print(printed(), sizes=(12, 13))
    assert whole[0] == "- two-sided over 12 sections (k = 10: W = 3, 1 to 2 sections; k = 20: W = 5, 1 to 2 sections)"
    assert any(text.startswith("one-sided over 12 sections it prints") for text in partly)
    assert len(whole) + len(partly) == 4


def test_the_papers_tests_are_told_from_its_table():
    metrics = {"wilcoxon_p": [2.9e-7, 7.1e-7, 6.9e-8, 6.0e-9], "permutation_p": [2e-4, 1e-4, 1e-4, 1e-4]}
    rows = [(metric, k, p) for metric, of in metrics.items() for k, p in zip((10, 20, 50, 200), of, strict=True)]
    published = pd.DataFrame([*rows, ("median_abs_rho_nuclei", np.nan, 0.3)], columns=["metric", "k", "value"])
    text = over_patients.printed_sentences(published)
    assert "All 4 Wilcoxon p" in text and "- one-sided over 35 sections" in text
    assert "2.0e-04 at k = 10, says that 1 of them" in text
    assert f"at most {1 - (1 - 2 * 2.9e-7) ** 9999:.1%} of such runs" in text and "0.0078 two-sided" in text
