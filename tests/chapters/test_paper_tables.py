"""Tables: the paper's number stands beside ours of its meaning, patients count once, one section is left out."""

import numpy as np
import pandas as pd
import pytest

from helpers.chapters import paper_tables
from helpers.scores import paired

PUBLISHED = pd.DataFrame(
    [
        (1, "share", "log2", np.nan, 0.68),
        (1, "rho_nuclei_depth", np.nan, np.nan, 0.505),
        (2, "median_delta", np.nan, 10, 0.257),
        (2, "wilcoxon_p", np.nan, 10, 2.9e-7),
        (2, "permutation_p", np.nan, 10, 2e-4),
    ],
    columns=["table", "metric", "target", "k", "value"],
)


def deltas(values, ranking="same", definition="own_top_k", backbone="ridge", k=50):
    """A difference a section: A1, A2, ... in the order given."""
    table = pd.DataFrame({"section": [f"A{i + 1}" for i in range(len(values))], "delta": values, "delta_panel": 0.2})
    return table.assign(ranking=ranking, definition=definition, backbone=backbone, k=k, split="section")


# --- beside the paper ---


def test_a_metric_of_no_target_meets_its_number_and_an_unprinted_one_stays_empty():
    ours = pd.DataFrame({"metric": ["share", "share", "rho_nuclei_depth"], "target": ["log2", "cp10k", None]})
    found = paper_tables.beside_table1(ours.assign(value=[0.9, 0.1, 0.6]), PUBLISHED)
    np.testing.assert_array_equal(found["paper"], [0.68, np.nan, 0.505])
    assert found["target"].tolist() == ["log2", "cp10k", ""] and found["value"].tolist() == [0.9, 0.1, 0.6]


def test_the_papers_tests_stand_last_beside_their_k():
    ours = pd.DataFrame({"k": [20, 10, 10], "backbone": list("abc"), "smallest_p": 0.1})
    found = paper_tables.beside_table2(ours, PUBLISHED)
    assert list(found)[-3:] == ["paper_delta", "paper_wilcoxon_p", "paper_permutation_p"]
    np.testing.assert_array_equal(found["paper_delta"], [np.nan, 0.257, 0.257])
    assert found["backbone"].tolist() == list("abc")


def test_the_published_reading_is_one_definition_and_one_ranking():
    four = [deltas([0.1], r, d) for r in ("same", "nested") for d in ("own_top_k", "log_top_k")]
    table = pd.concat(four, ignore_index=True)
    assert paper_tables.as_published(table).index.tolist() == [0]
    assert paper_tables.as_published(table, "nested").index.tolist() == [2]


def test_what_choosing_genes_adds_keeps_its_sign_and_floors_are_not_named():
    part = pd.concat([deltas([0.0]), deltas([0.0], backbone="nuclei"), deltas([0.0], backbone="stem")])
    sections = pd.concat([deltas([0.1, 0.3]), deltas([0.1, 0.3], backbone="stem"), deltas([0.0, 0.0], "nested")])
    patients = {"A1": "A", "A2": "A"}
    found = paper_tables.selection_remark(part.assign(median_delta=[0.15, 0.4, 0.25]), sections, patients, 50).split(
        "\n"
    )
    assert [line[:9] for line in found] == ["- `ridge`", "- `stem`,"]
    assert "0.150, against 0.200" in found[0] and "adds -0.050, and" in found[0] and "adds +0.050, and" in found[1]
    assert all(line.endswith("adds in 1 of 2 sections of 1 patient.") for line in found)
    assert paper_tables.selection_remark(part.assign(median_delta=0.1), sections, patients, 20) == ""


@pytest.mark.parametrize(
    ("names", "said"), [("AABC", "too few patients for a test over them."), ("ABCDE", "p = 0.062 ")]
)
def test_the_answer_has_both_nulls_and_no_test_over_few_patients(names, said):
    first = pd.DataFrame({"metric": "median_abs_rho_nuclei", "target": ["log2", "pearson_residual", "log1p_cp10k"]})
    first = first.assign(value=[0.45, 0.12, 0.3], chance=[0.14, 0.07, 0.1], chance_95=[0.27, 0.09, 0.2])
    table = deltas([0.3]).assign(median_delta=0.33)
    values = [0.1, 0.2, 0.3, 0.4, 0.5][: len(names)]
    patients = pd.Series(list(names), index=[f"A{i + 1}" for i in range(len(names))])
    tests = paper_tables.delta_over_patients(deltas(values, "nested"), patients, 50)
    text = paper_tables.answer(first, table, tests, "4 sections of 3 patients", 50)
    assert "**0.45** in log2(x + 1) (95 % point of its null 0.27) and **0.12** in Pearson residual (95 %" in text
    assert "over 4 sections of 3 patients; maps as smooth as the nuclei give a difference of 0.07 in the mean." in text
    assert "are +0.33 with `ridge`, one section held out (all genes +0.20); " in text and said in text
    assert "Over the" not in paper_tables.answer(first, table, tests, "", 200)


# --- over patients ---


def test_sections_of_one_patient_count_once():
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.9]
    delta = pd.concat([deltas(values, "nested"), deltas(values, "same", backbone="stem")])
    patients = pd.Series(list("ABCDEE"), index=[f"A{i}" for i in range(1, 7)])
    found = paper_tables.delta_over_patients(delta, patients, 50)
    assert len(found) == 1
    row = found.iloc[0]
    assert (row["n_patients"], row["n_sections"]) == (5, 6)
    assert row["median"] == pytest.approx(0.3)
    assert row["wilcoxon_p_two_sided"] == pytest.approx(2 / 2**5) and row["sections_p"] == pytest.approx(2 / 2**6)


def test_a_section_without_a_difference_is_no_section_of_the_test():
    patients = pd.Series("A", index=["A1", "A2", "A3"])
    row = paper_tables.delta_over_patients(deltas([0.1, np.nan, 0.3], "nested"), patients, 50).iloc[0]
    assert row["n_sections"] == 2 and row["sections_smallest_p"] == paired.wilcoxon([0.1, 0.3])["smallest_p"]


def test_too_few_patients_get_their_note_in_the_place_of_p():
    patients = pd.Series("A", index=["A1"])
    one = paper_tables.patients_remark(paper_tables.delta_over_patients(deltas([0.25], "nested"), patients, 50), 50)
    assert "nested, k = 50: n = 1 patient: not estimable; two-sided p = 1 over 1 section," in one
    many = pd.Series(list("ABCDE"), index=[f"A{i}" for i in range(1, 6)])
    found = paper_tables.patients_remark(
        paper_tables.delta_over_patients(deltas([0.1, 0.2, 0.3, 0.4, 0.5], "nested"), many, 50), 50
    )
    assert "median of 5 patient means 0.300; p = 0.062 over patients, smallest reachable 0.062; " in found


def test_a_panel_with_fewer_genes_than_k_says_so():
    patients = pd.Series("A", index=["A1"])
    assert paper_tables.patients_remark(
        paper_tables.delta_over_patients(deltas([0.25], "nested"), patients, 200), 200
    ) == ("No k of 200 in a panel this small.")


# --- without one section ---


def test_each_median_is_that_of_the_other_sections():
    summary = pd.DataFrame({"section": ["A1", "A2", "A3"], "target": "log2"})
    summary["median_abs_rho_nuclei"] = [0.1, 0.5, np.nan]
    delta = pd.concat([deltas([1.0, 2.0, 9.0]), deltas([5.0], "nested")])
    found = paper_tables.without_each_section(summary, delta)
    coupling, delta = (part.set_index("dropped")["median"] for _, part in found.groupby("quantity", sort=False))
    assert coupling.to_dict() == pytest.approx({"none": 0.3, "A1": 0.5, "A2": 0.1})  # no image of A3
    assert delta.to_dict() == {"none": 2.0, "A1": 5.5, "A2": 5.0, "A3": 1.5}
    assert [name.split(",")[-1] for name in found["quantity"].unique()] == [" log2(x + 1)", " one section held out"]


def test_the_median_of_all_lies_between_the_ends():
    dropped = pd.DataFrame({"quantity": "q", "dropped": ["none", "A1", "A2"], "median": [2.0, 3.0, 1.0]})
    found = paper_tables.least_and_most(dropped).loc["q"].to_dict()
    assert found == {"all sections": 2.0, "least without one": 1.0, "most without one": 3.0}


def test_sections_left_out_are_named_with_their_reason():
    sections = pd.DataFrame({"section": ["A1", "A2"], "kept": [True, False], "reason": ["", "11 spots"]})
    qc = {"min_spots": 50, "min_median_counts": 300, "min_spot_counts": 100}
    assert paper_tables.left_out_remark(sections, qc).endswith("a median of 300) leaves out A2 (11 spots).")
    assert paper_tables.left_out_remark(sections[:1], qc).endswith("leaves out no section.")
