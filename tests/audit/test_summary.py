"""The headline of an audit: medians over sections, of the model's own space."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.audit import summary


def section(n, patient=None):
    made = AnnData(np.zeros((n, 1)))
    if patient is not None:
        made.uns["patient"] = patient
    return made


@pytest.fixture
def report():
    """Two sections, two spaces, k of 10 and 50; the second section scores higher."""
    rows = [
        {"section": s, "space": space, "k": k, "pcc": pcc + 0.1 * (k == 10), "ceiling": 0.9, "chance_95": 0.2}
        for s, pcc in (("S1", 0.4), ("S2", 0.6))
        for space in ("log2", "pearson_residual")
        for k in (10, 50)
    ]
    scores = pd.DataFrame(rows)
    given = [
        {"section": s, "space": "log2", "given": g, "median_partial": p, "median_partial_chance_95": p / 2}
        for s, p in (("S1", 0.1), ("S2", 0.3))
        for g in ("depth", "both")
    ]
    return {
        "scores": scores,
        "twin": scores.assign(pcc=scores["pcc"] / 2),
        "partial": pd.DataFrame({"gene": list("ab")}),
        "given": pd.DataFrame(given),
        "floors": pd.DataFrame([{"floor": "depth", "section": "S1", "space": "log2", "k": 50, "pcc": 0.5}]),
        "skills": pd.DataFrame({"library": [np.nan] * 2, "composition": [0.1, 0.3], "composition_chance_95": 0.2}),
        "excess": pd.DataFrame({"section": ["S1", "S2"], "patient": ["", ""], "excess_place": [0.1, np.nan]}),
    }


def test_medians_are_over_sections_at_the_k_of_the_headline(report):
    row = summary.summarize(report, {"S1": section(3, "A"), "S2": section(4, "A")}, "log2")
    assert row["k"] == 50 and row["pcc"] == pytest.approx(0.5) and row["twin"] == pytest.approx(0.25)
    assert (row["n_sections"], row["n_patients"], row["n_spots"], row["n_genes"]) == (2, 1, 7, 2)
    assert row["given_both"] == pytest.approx(0.2) and row["given_nuclei"] is None
    assert row["given_both_chance_95"] == pytest.approx(0.1) and row["given_nuclei_chance_95"] is None
    assert row["depth"] == 0.5 and row["nuclei"] is None
    assert row["library_skill"] is None and row["library_skill_chance_95"] is None  # no library in this space
    assert row["composition_skill"] == pytest.approx(0.2) == row["composition_skill_chance_95"]
    assert not any(isinstance(value, float) and np.isnan(value) for value in row.values())


def test_the_excess_is_over_patients_where_all_are_known():
    """Two sections of A, mean 0.2, and one of B, 0.6: the median over patients is 0.4, over sections 0.3."""
    table = pd.DataFrame({"section": list("abc"), "patient": list("AAB"), "excess_nuclei": [0.1, 0.3, 0.6]})
    row = summary.excess(table)
    assert (row["unit"], row["n_units"], row["excess_place"]) == ("patients", 2, None)
    assert [row[f"excess_nuclei{end}"] for end in ("", "_least", "_most")] == pytest.approx([0.4, 0.2, 0.6])
    unknown = summary.excess(table.assign(patient=["A", "A", ""]))
    assert (unknown["unit"], unknown["n_units"]) == ("sections", 3) and unknown["excess_nuclei"] == pytest.approx(0.3)


def test_patients_that_are_not_known_are_not_counted(report):
    assert summary.summarize(report, {"S1": section(3), "S2": section(4)}, "log2")["n_patients"] is None


def test_the_headline_is_at_the_k_nearest_to_fifty(report):
    few = report["scores"][report["scores"]["k"] == 10]
    assert set(summary.headline(report["scores"], "log2")["k"]) == {50}
    assert set(summary.headline(few, "log2")["k"]) == {10} and summary.headline(few, "counts").empty
