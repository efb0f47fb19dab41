"""Specifications: medians over sections and patients, what one section moves, and which choice moves a number most."""

import numpy as np
import pandas as pd
import pytest

from helpers.chapters import specifications

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
