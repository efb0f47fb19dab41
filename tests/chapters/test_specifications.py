"""Specifications: medians over sections and patients, and which choice moves a number most."""

import numpy as np
import pandas as pd
import pytest

from helpers.chapters import specifications
from helpers.targets.normalization import LOG, RESIDUAL

SECTIONS = pd.DataFrame([[1.0, 2.0, 3.0, 10.0], [4.0, np.nan, 4.0, 6.0]], columns=["A1", "A2", "A3", "B1"])
PATIENTS = pd.Series(list("AAAB"), index=SECTIONS.columns)


@pytest.mark.parametrize(
    ("how", "value", "low", "high"),
    [
        ("median", [2.5, 4], [2, 4], [3, 5]),
        ("mean", [4, 14 / 3], [2, 4], [5, 5]),
        ("median of patients", [6, 5], [2, 4], [6.25, 5]),
    ],
)
def test_a_summary_says_how_far_one_section_moves_it(how, value, low, high):
    found = specifications.over_sections(SECTIONS, PATIENTS, how)
    np.testing.assert_allclose(found[["value", "low", "high"]].T, [value, low, high])


def test_one_section_alone_cannot_be_left_out():
    found = specifications.over_sections(SECTIONS[["A1"]], PATIENTS, "median")
    assert found["value"].tolist()[0] == 1 and found[["low", "high"]].isna().all(axis=None)


def test_an_unknown_summary_is_named():
    with pytest.raises(ValueError, match="mode"):
        specifications.over_sections(SECTIONS, PATIENTS, "mode")


@pytest.fixture
def table():
    """log knows one choice; residual knows another one besides, which moves it tenfold."""
    log = pd.DataFrame({"quantity": "log", "nuclei": ["disc", "crop"], "value": [0.5, 0.3], "paper": 0.4})
    crossed = pd.MultiIndex.from_product([["disc", "crop"], ["10", "inf"]], names=["nuclei", "theta"])
    residual = crossed.to_frame(index=False).assign(quantity="residual", value=[0.10, 0.20, 0.11, 0.40], paper=0.2)
    table = pd.concat([log, residual], ignore_index=True)
    return table.assign(ours=(table["nuclei"] == "disc") & (table["theta"] != "inf"))


def test_each_quantity_is_described_beside_the_paper(table):
    found = specifications.describe(table).loc["residual"].to_dict()
    assert found == pytest.approx(
        {"n": 4, "ours": 0.10, "least": 0.10, "median": 0.155, "most": 0.40, "paper": 0.2, "at_least_paper": 0.5}
    )


def test_the_choice_that_moves_a_number_most_is_found(table):
    found = specifications.influence(table, ["nuclei", "theta"])
    assert found.loc["log", "nuclei"] == pytest.approx(0.2) and np.isnan(found.loc["log", "theta"])
    assert found.loc["residual"].to_dict() == pytest.approx({"nuclei": 0.255 - 0.15, "theta": 0.3 - 0.105})


def test_quantities_are_paired_where_their_shared_choices_agree(table):
    found = specifications.pairs(table, "log", "residual", ["nuclei", "theta"])
    assert len(found) == 4 and set(found.columns) == {"nuclei", "theta", "log", "residual"}
    assert (found["log"] > found["residual"]).tolist() == [True, True, True, False]


# Over sections, and beside the paper ----------------------------------------------------------------------------


def test_summaries_over_sections_stand_below_each_other_with_their_chance():
    table = pd.DataFrame({"quantity": "q", "theta": [None] * 3 + ["10"] * 3, "section": ["A1", "A2", "B1"] * 2})
    table = table.assign(value=[1.0, 2, 6, 0, 0, 3], chance=[0.1, 0.2, 0.9] * 2)
    patients = pd.Series({"A1": "A", "A2": "A", "B1": "B"})
    found = specifications.every_summary(table, ["quantity", "theta"], patients).set_index(["sections", "theta"])
    assert found["value"].to_dict() == pytest.approx(
        {("median", ""): 2, ("median", "10"): 0, ("mean", ""): 3, ("mean", "10"): 1}
        | {("median of patients", ""): 3.75, ("median of patients", "10"): 1.5}
    )
    assert found.loc[("median", ""), ["low", "high", "chance"]].tolist() == pytest.approx([1.5, 4, 0.2])


def test_what_does_not_apply_is_missing_once_tables_are_joined():
    one = pd.DataFrame({"quantity": ["a"], "theta": [""], "value": [1.0]})
    found = specifications.joined([one, pd.DataFrame({"quantity": ["b"], "test": ["one-sided"], "value": [0.5]})])
    assert found["theta"].isna().all() and found["test"].tolist()[1] == "one-sided"


@pytest.mark.parametrize(("panels", "name"), [(["all"], "all sections"), (["A1", "B1"], "without the section")])
def test_the_runs_own_panel_is_known_by_whose_it_is(panels, name):
    assert specifications.own_panel(pd.DataFrame({"panel": panels})) == name


def readings(**columns):
    """A table of specifications in which a choice that is not given does not apply."""
    table = pd.DataFrame(columns)
    missing = [choice for choice in specifications.CHOICES if choice not in table]
    return table.reindex(columns=[*table.columns, *missing])


def test_stem_is_the_books_own_model_where_it_was_trained():
    table = readings(backbone=["ridge", "stem"], split=["patient", "patient"])
    own = specifications.own_choices(table, "all sections", 100)
    assert (own["backbone"], own["split"], own["theta"]) == ("stem", "patient", "100")
    assert specifications.own_choices(table[:1], "all sections", 100)["backbone"] == "ridge"


def test_the_books_own_reading_agrees_in_every_choice_that_applies():
    own = specifications.own_choices(readings(backbone=["ridge"], split=["section"]), "all sections", 100)
    table = readings(
        quantity=["residual", "residual", "p, k = 10", "p, k = 10", "p, k = 10", "p, k = 10"],
        theta=["100", "10", None, None, None, None],
        clip=["none", "none", "clipped", "none", "clipped", "clipped"],
        test=[None, None, "one-sided", "one-sided", "of the mean", "of the median"],
    )
    assert specifications.is_own(table, own).tolist() == [True, False, True, False, True, False]


def test_the_papers_number_stands_beside_every_reading_of_its_quantity():
    own = specifications.own_choices(readings(backbone=["ridge"], split=["section"]), "all sections", 100)
    table = readings(quantity=["median, log2", "delta, k = 10"], value=[0.1, 0.2], low=0.0, high=1.0, chance=0.0)
    paper = pd.DataFrame({"metric": ["median", "rho"], "target": ["log2", None], "k": np.nan, "value": [0.337, 0.64]})
    found = specifications.specification_table(table, paper, own, {"all kept": {}})
    assert found["paper"].tolist()[0] == 0.337 and np.isnan(found["paper"].tolist()[1])
    assert list(found.columns[-6:]) == ["value", "low", "high", "chance", "paper", "ours"]


def test_numbers_of_the_books_tables_are_those_of_its_own_choices():
    own = {"backbone": "ridge", "split": "section", "ranking": "same", "definition": "own_top_k"}
    second = pd.DataFrame(
        [own | {"k": 10, "median_delta": 0.2}, own | {"ranking": "nested", "k": 10, "median_delta": 9}]
    )
    first = pd.DataFrame({"metric": ["median", "rho"], "target": ["log2", None], "value": [0.1, 0.5]})
    found = specifications.book_values(first, second, own).set_index("quantity")["value"]
    assert found.to_dict() == {"median, log2": 0.1, "rho": 0.5, "median_delta, k = 10": 0.2}


def test_the_share_of_small_p_is_taken_of_the_readings_of_each_test():
    table = pd.DataFrame({"quantity": ["a"] * 4 + ["b", "c"], "value": [0.05, 0.01, 0.2, 0.9, 0.5, 0.01]})
    assert specifications.at_most(table, ["a", "b"]).to_dict() == {"a": 0.5, "b": 0}


# In words -------------------------------------------------------------------------------------------------------


def test_a_test_s_quantity_is_named_as_a_p():
    assert specifications.p_label("wilcoxon_p, k = 50") == "wilcoxon p, k = 50"


def test_the_page_says_how_far_it_is_from_the_tables():
    table = pd.DataFrame({"quantity": ["a", "a", "b"], "value": [0.5, 0.9, 0.2], "ours": [True, False, True]})
    printed = pd.DataFrame({"quantity": ["a", "b", "c"], "value": [0.5, 0.21, 1.0]})
    found = specifications.agreement_sentence(table, printed)
    assert found.startswith("3 rows.") and "its 2 numbers" in found and found.endswith("at most 1e-02.")


@pytest.fixture
def of_targets(table):
    """The table as one of the paper's two targets, of two sections: in B log lies lower and leads less often."""
    log, residual = (f"median_abs_rho_nuclei, {target}" for target in (LOG, RESIDUAL))
    table = readings(**table.replace({"quantity": {"log": log, "residual": residual}}).to_dict("list"), chance=0.1)
    moved = table["quantity"] == log
    parts = [table.assign(section=name, value=table["value"] + by * moved) for name, by in (("A", 0.2), ("B", -0.25))]
    return table, pd.concat(parts)


def test_signs_are_counted_over_pairs_and_in_each_section(of_targets):
    found = specifications.sign_sentences(*of_targets, ["median_abs_rho_nuclei"])
    assert found == (
        "- median over genes of |ρ(target, nuclei)|, over sections: log above residual in **3 of 4** different pairs "
        "of values, among 4 pairs of readings that agree in what both share; the difference lies between -0.100 and "
        "0.400. Section by section log lies above the residual under every reading in 1 of 2 sections (B under 2 of 4)."
    )


def test_the_answer_has_ranges_null_paper_and_the_strongest_choice(of_targets):
    found = specifications.answer(*of_targets, "2 sections of 2 patients", 50)
    assert found.startswith("Over all readings of 2 sections of 2 patients: median over genes of |ρ(target, nuclei)|, ")
    assert (
        "**0.30 to 0.50** (paper 0.400, mean of the null, median over readings, 0.10), moved most, by 0.20, by the "
        'choice "nuclei"; ' in found
    )
    assert (
        "**0.10 to 0.40** (paper 0.200, mean of the null, median over readings, 0.10), moved most, by 0.20, by the "
        'choice "θ". ' in found
    )
    assert found.endswith("under every reading in 1 of 2 sections (B under 2 of 4).")


def test_the_choice_that_moves_most_is_named_with_its_ends(table):
    table = table.replace({"quantity": {"log": "median_delta, k = 20"}})
    moved = specifications.influence(table, ["nuclei", "theta"])
    found = specifications.strongest_choices(table, moved, [10, 50])
    assert found == "- residual: **θ**, from 10 (0.105) to inf (0.300)."
    assert len(specifications.strongest_choices(table, moved, [20]).splitlines()) == 2
    assert specifications.strongest_choices(table, moved[:0], [20]) == ""


def test_the_reading_nearest_to_the_paper_is_spelled_out():
    table = readings(
        quantity=f"median_abs_rho_nuclei, {RESIDUAL}",
        p_j=["section", "section", "cohort"],
        theta=["100", "10", "10"],
        value=[0.12, 0.08, 0.3],
        paper=0.085,
    )
    found = specifications.share_sentence(table)
    assert "$p_j$ of the section 0.100 (0.080 to 0.120); $p_j$ of the cohort 0.300 (0.300 to 0.300)." in found
    assert found.endswith("The paper prints 0.085; nearest to it comes 0.080 ($p_j$: section, θ: 10).")


def test_readings_of_a_difference_above_zero_are_counted():
    table = pd.DataFrame({"quantity": "median_delta, k = 10", "definition": ["a", "a", "b"], "value": [0.2, -0.1, 0.3]})
    found = specifications.delta_sentences(pd.concat([table, table[2:]]), [10])
    assert found == (
        "- k = 10: above zero in **2 of 3** different values of 4 readings; medians, by the genes that are compared: "
        "a 0.050, b 0.300."
    )
    assert specifications.delta_sentences(table, []) == ""


def test_the_least_p_follows_from_the_number_of_sections():
    five = specifications.tests_sentence(5, over_patients=False)
    assert five.startswith("Over 5 sections") and "below 0.031 one-sided and 0.062 two-sided" in five
    assert "under 5 patients there is no test over patients." in five
    assert specifications.tests_sentence(1, over_patients=True).startswith("Over 1 section the exact tests")
    assert "patients are tested as well." in specifications.tests_sentence(35, over_patients=True)
