"""The numbers of the answer, from made runs whose numbers are known."""

import pytest
from runs import reference_runs

from helpers.chapters import answer_numbers


@pytest.fixture
def found(tmp_path):
    return reference_runs(tmp_path)[1]


def test_the_table_sets_chance_ceiling_and_n_beside_each_number(found):
    table = answer_numbers.table(found[0])
    assert table.loc["PCC-50, ridge, one section held out", "log2"] == "0.80 (chance 0.30, ceiling 0.90)"
    assert table.loc["PCC-50, place alone, one section held out", "log2"] == "0.50 (chance 0.20)"
    assert table.loc["PCC-50, ridge, the patient unseen", "CP10k"] == "0.45 (chance 0.25)"
    assert table.loc["library skill, ridge", "log2"] == "0.80 (chance 0.40, ceiling 1.00)"
    first = table.iloc[0]
    assert (first["log2"], first["sections"], first["patients"]) == ("0.45 (chance 0.25)", "3", "2")
    assert first["the paper"] == "0.30 / 0.30"


def test_the_figure_has_a_row_a_patient_and_the_first_run_goes_before(found):
    drawn = answer_numbers.drawn_couplings(found[1])
    assert list(drawn["row"].unique()) == [
        "patient A\n2 sections, nuclei counted",
        "patient B\n1 section, nuclei counted",
    ]
    assert (drawn["plain"] == 0.4).all() and (drawn["given"] == 0.1).all() and (drawn["chance_given"] == 0.2).all()
    scores = answer_numbers.drawn_scores(found[0])
    assert set(scores["row"].str.partition(",\n")[2]) == {"all others in training", "patient unseen"}
    assert set(scores.loc[scores["row"] == "ridge,\npatient unseen", "value"]) == {0.7, 0.2}


def test_the_figure_sets_what_else_scores_below_what_ridge_scores(found):
    parts = answer_numbers.drawn_parts(found[0]).query("target == 'log2'")
    values = parts.groupby("row", sort=False)["value"].median()
    assert values.tolist() == [0.8, 0.7, 0.72, 0.1, 0.65] and values.index[1] == "its molecules alone"
    assert len(answer_numbers.drawn(*found)) == 4
