"""The ledger: each number meets the paper's of its meaning, a note says why they differ, and p says what it can be."""

import numpy as np
import pandas as pd
import pytest

from helpers.chapters import ledger

PUBLISHED = pd.DataFrame(
    [
        ("median_abs_rho_nuclei", "log2", np.nan, 0.337),
        ("median_abs_rho_nuclei", "pearson_residual", np.nan, 0.085),
        ("rho_nuclei_depth", np.nan, np.nan, 0.505),
        ("wilcoxon_p", np.nan, 10, 2.9e-7),
        ("wilcoxon_p", np.nan, 20, 7.1e-7),
    ],
    columns=["metric", "target", "k", "value"],
)


@pytest.fixture
def table1():
    metrics = ["median_abs_rho_nuclei"] * 3 + ["rho_nuclei_depth"]
    table = pd.DataFrame({"metric": metrics, "target": ["log2", "pearson_residual", "log1p_cp10k", None]})
    return table.assign(value=[0.45, 0.12, 0.13, 0.6], paper=[0.337, 0.085, np.nan, 0.505], n_sections=5, cohort="toy")


@pytest.fixture
def table2():
    """One published row of ridge, and rows of another ranking, definition, split and backbone."""
    table = pd.DataFrame({"backbone": ["ridge"] * 4 + ["nuclei"], "k": 10, "n_sections": 5, "smallest_p": 0.0625})
    table["ranking"] = ["same", "nested", "same", "same", "same"]
    table["definition"] = ["own_top_k", "own_top_k", "log_top_k", "own_top_k", "own_top_k"]
    table["split"] = ["section", "section", "section", "patient", "section"]
    return table.assign(
        median_delta=[0.3, 0.1, 0.1, 0.1, 0.1], wilcoxon_p_one_sided=0.03125, permutation_p=0.0625, paper_delta=0.257,
        paper_wilcoxon_p=2.9e-7, paper_permutation_p=2e-4,
    )  # fmt: skip


@pytest.fixture
def sections():
    return pd.DataFrame({"section": list("abc"), "patient": ["A", "A", "B"], "rho_nuclei_depth": [0.1, 0.2, np.nan]})


# --- rows ---


def test_numbers_that_the_paper_does_not_print_have_no_row(table1):
    found = ledger.table1_rows(table1)
    assert found["quantity"].tolist() == [
        "median_abs_rho_nuclei, log2",
        "median_abs_rho_nuclei, pearson_residual",
        "rho_nuclei_depth",
    ]


def test_the_panel_difference_is_that_of_two_medians_on_both_sides(table1):
    found = ledger.panel_difference(ledger.table1_rows(table1)).iloc[0]
    assert found["paper"] == pytest.approx(0.252) and found["value"] == pytest.approx(0.33)
    assert (found["n"], found["cohort"]) == (5, "toy")


def test_the_paper_is_compared_with_its_own_reading_only(table2):
    found = ledger.table2_rows(table2, "toy").set_index("quantity")
    assert found.index.tolist() == [
        "median_delta, k = 10, ridge",
        "wilcoxon_p_one_sided, k = 10, ridge",
        "permutation_p, k = 10, ridge",
    ]
    assert found["value"].tolist() == [0.3, 0.03125, 0.0625] and found["paper"].tolist() == [0.257, 2.9e-7, 2e-4]
    np.testing.assert_array_equal(found["smallest_p"], [np.nan, 2**-5, 0.0625])


ROW = {"quantity": "rho_nuclei_depth", "paper": 0.3, "value": 0.4, "n": 5.0, "smallest_p": np.nan}


@pytest.mark.parametrize(("value", "far"), [(0.39, False), (0.41, True), (0.21, False), (0.19, True)])
def test_a_number_off_by_more_than_a_third_carries_the_cohorts_reason(value, far):
    found = ledger.note(pd.Series(ROW | {"value": value}), 2, "simulated")
    assert found == "5 sections of 2 patients, 35 of 8 in the paper" + "; simulated" * far


def test_a_p_is_noted_with_the_least_that_it_can_be_and_delta_with_its_reading():
    p = pd.Series(ROW | {"quantity": "permutation_p, k = 10, ridge", "smallest_p": 0.0625, "n": 1})
    assert ledger.note(p, 2, "simulated") == "p depends on n: over 1 section none below 0.062 can be reached"
    delta = pd.Series(ROW | {"quantity": "median_delta, k = 10, ridge", "value": 0.3, "n": 1})
    assert ledger.note(delta, 1, "simulated") == (
        "each target ranks its own genes, on the same section; 1 section of 1 patient, 35 of 8 in the paper"
    )


def test_the_ledger_counts_patients_with_nuclei(table1, table2, sections):
    found = ledger.ledger_rows(table1, table2, sections, "simulated")
    assert list(found) == ledger.COLUMNS and len(found) == 3 + 1 + 3
    assert found["note"].str.contains("of 1 patient,").sum() == 3 + 1 + 1
    assert found["note"].notna().all() and set(found["cohort"]) == {"toy"}


# --- what is shown ---


RANGES = pd.DataFrame(
    {"least": [0.1, 0.2], "most": [0.6, 0.6], "chance": [0.05, np.nan]},
    index=["median_abs_rho_nuclei, log2", "median_delta, k = 10"],
)


@pytest.mark.parametrize(
    ("value", "least", "most", "verdict"),
    [
        (0.39, 0.35, 0.45, "within a third"),
        (0.41, 0.2, 0.5, "another reading"),
        (0.41, 0.35, 0.5, "off"),
        (0.41, np.nan, np.nan, "off"),
    ],
)
def test_a_number_is_the_papers_or_another_reading_is_or_none(value, least, most, verdict):
    assert ledger.verdict(0.3, value, least, most) == verdict


def test_the_picture_has_each_number_of_one_cohort_once_with_readings_and_without_p(table1, table2, sections):
    rows = ledger.ledger_rows(table1, table2, sections, "simulated")
    other = rows.assign(cohort="real", value=0.9)
    found = ledger.drawn(pd.concat([other, rows]), "toy", RANGES)
    assert list(found["of"]) == ["log2(x + 1)", "Pearson residual", "difference", "", "k = 10, ridge"]
    assert found["metric"].nunique() == 3 and found["value"].max() < 0.9
    first, last = found.iloc[0], found.iloc[-1]
    assert (first["least"], first["most"], first["chance"]) == (0.1, 0.6, 0.05)
    assert (last["least"], last["most"]) == (0.2, 0.6) and found["least"].notna().sum() == 2
    assert list(found["verdict"]) == ["another reading", "off", "within a third", "within a third", "within a third"]


def test_each_note_stands_once_below_the_picture_and_what_all_share_has_no_mark(table1, table2, sections):
    rows = ledger.ledger_rows(table1, table2, sections, "simulated")
    marks = ledger.footnotes(rows)
    assert list(marks.values()) == ["simulated", "each target ranks its own genes, on the same section"]
    shown = ledger.drawn(rows, "toy", RANGES)
    assert list(shown["marks"]) == ["¹", "¹", "", "", "²"]
    text = ledger.notes_shown(rows, "toy")
    assert text.startswith("**toy**: 5 sections of 1 patient, 35 of 8 in the paper.\n\n¹ Simulated.\n\n² Each target")
    assert text.count("35 of 8") == 1


def test_p_values_are_told_in_a_sentence_a_test(table1, table2, sections):
    rows = ledger.ledger_rows(table1, table2, sections, "simulated")
    assert ledger.p_remark(rows) == (
        "one-sided Wilcoxon p: 2.9e-07 in the paper, 0.031 here; p depends on n: over 5 sections none below 0.031 can "
        "be reached. sign-flip p: 0.0002 in the paper, 0.062 here; p depends on n: over 5 sections none below 0.062 "
        "can be reached."
    )


def test_the_reference_run_is_named_by_its_commit():
    provenance = {"cohort": "real", "date": "2026-01-02", "commit": "0123456789abcdef"}
    found = ledger.reference_remark(provenance | {"versions": {"torch": "2", "scanpy": "1", "numpy": "3"}})
    assert found == "real: the committed reference run of 2026-01-02, commit `0123456789ab`, with torch 2 and scanpy 1."


def test_ranges_are_of_estimates_and_say_whether_the_paper_is_within():
    quantities = ["rho_nuclei_depth", "rho_nuclei_depth", "median_delta, k = 10, ridge", "wilcoxon_p, k = 10, ridge"]
    curve = pd.DataFrame({"quantity": quantities, "value": [0.4, 0.6, 0.1, 0.03], "paper": [0.505, 0.505, 0.257, 1e-7]})
    ranges = ledger.paper_ranges(curve.assign(ours=True, chance=[0.1, 0.2, np.nan, np.nan]))
    assert ranges["within"].to_dict() == {"rho_nuclei_depth": True, "median_delta, k = 10, ridge": False}
    remark = ledger.ranges_remark(ranges)
    assert remark.endswith("within our range for 1 of 2 numbers; it is of 35 sections of 8 patients.")
    assert ranges["chance"].tolist()[0] == pytest.approx(0.15)


# --- why the coupling is what it is ---


def test_the_product_is_told_section_by_section_and_over_patients(sections):
    rows = [("a", "log2", 0.6, -0.4), ("a", "log2", -0.8, 0.2), ("b", "log2", 0.5, 0.3), ("c", "log2", 0.9, np.nan)]
    rows += [("a", "pearson_residual", 0.0, 0.0)]
    associations = pd.DataFrame(rows, columns=["section", "target", "rho_depth", "rho_nuclei"])
    factors = ledger.coupling_factors(associations, sections)
    np.testing.assert_allclose(factors, [[0.7, 0.3, 0.1], [0.5, 0.3, 0.2], [0.9, np.nan, np.nan]])
    found = ledger.product_remark(factors, {"a": "A", "b": "A", "c": "C"}, PUBLISHED)
    assert "product for observed: a 0.07 for 0.30; b 0.10 for 0.30; off by 0.20 to 0.23, most in a." in found
    assert f"the product is {0.75 * 0.505:.3f} in the median of 2 patients, 0.303 (A) to {0.9 * 0.505:.3f} (C)" in found


# --- what test the paper ran ---


def test_a_p_of_three_sections_is_a_number_of_eighths():
    assert ledger.nearest_attainable(0.2, 3, 1) == 0.25  # of 1, 2, 3, 5, ... eighths, by their logarithms
    assert ledger.nearest_attainable(1e-9, 3, 1) == 1 / 8 and ledger.nearest_attainable(1e-9, 3, 2) == 2 / 8


def test_the_papers_p_fit_one_sided_over_35_or_two_sided_over_36():
    found = ledger.attainable_p(PUBLISHED)
    assert found.index.tolist() == [10, 20] and found["paper"].tolist() == [2.9e-7, 7.1e-7]
    for test in ("n = 35, one-sided", "n = 36, two-sided"):
        assert [f"{p:.1e}" for p in found[test]] == ["2.9e-07", "7.1e-07"]
    assert f"{found['n = 35, two-sided'].iloc[1]:.1e}" != "7.1e-07"


def test_training_is_told_in_fractions_of_ridge():
    table = pd.DataFrame({"split": ["patient"], "target": "log2", "stem": 0.4, "ridge": 0.5, "fraction": 0.8})
    assert ledger.training_remark(table, 20).split("\n\n")[1] == (
        "- log2(x + 1), leave one patient out: STEM reached 80% of ridge's median PCC-20 (0.40 of 0.50)."
    )
    assert ledger.training_remark(table[:0], 20) == "This run trained ridge only."
