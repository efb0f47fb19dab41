"""The frontier: arms that can be compared, those that no other beats, and what each step costs."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.chapters import frontier
from helpers.chapters.factorial import KEYS
from helpers.chapters.published_methods import RHO

LOG, DIVIDED, RESIDUAL = frontier.STEPS.values()
SECTIONS = ("A1", "A2", "B1", "C1", "D1", "E1")


def rows(target, values, measure="separation", chance=0.3, chance_95=0.5):
    """What one target keeps in the first sections, by one measure."""
    of = {"section": SECTIONS[: len(values)], "size_factor": target[0], "transform": target[1], "measure": measure}
    return pd.DataFrame({**of, "value": values, "chance": chance, "chance_95": chance_95})


@pytest.fixture
def kept():
    """Dividing costs separation everywhere but in E1, the more the more depth tells; the residual brings 0.1 back."""
    log = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    divided = log - [0.3, 0.25, 0.2, 0.15, 0.1, -0.1]
    tables = [rows(LOG, log), rows(DIVIDED, divided), rows(RESIDUAL, divided + 0.1)]
    return pd.concat([*tables, rows(("alone", "depth"), [0.9, 0.8, 0.7, 0.6, 0.5, 0.3])], ignore_index=True)


@pytest.fixture
def coupling():
    made = [
        (name, *arm, rho, np.nan) for name in SECTIONS for arm, rho in ((LOG, 0.5), (DIVIDED, 0.2), (RESIDUAL, 0.1))
    ]
    return pd.DataFrame(made, columns=[*KEYS, *RHO])


@pytest.fixture
def sections():
    def section(name, depth):
        return AnnData(obs=pd.DataFrame({"patient": name[0], "total_counts": [depth, depth + 2.0]}, index=["1", "2"]))

    return {name: section(name, 100.0 * i) for i, name in enumerate(SECTIONS)}


# Arms ------------------------------------------------------------------------------------------------------------


def test_single_numbers_are_no_arms_and_arms_that_see_to_depth_themselves_stand_apart(kept):
    kept = pd.concat([kept, rows(("none", "rank"), [0.5])], ignore_index=True)
    coupling = pd.DataFrame([("A1", *LOG, 0.5, 0.4), ("A1", "none", "rank", 0.1, 0.2)], columns=[*KEYS, *RHO])
    both = frontier.beside_coupling(kept, coupling)
    assert both["size_factor"].tolist() == ["none", "spot"] and both["value_separation"].tolist() == [0.9, 0.5]
    assert {"chance_separation", "chance_95_separation"} < set(both)


def test_a_measure_counts_where_some_section_has_coupling_as_well(kept, coupling):
    both = frontier.beside_coupling(kept, coupling)
    assert frontier.measured_beside(both, "depth", ["separation", "composition"]) == ["separation"]
    assert frontier.measured_beside(both, "nuclei", ["separation"]) == []


def test_an_arm_that_a_section_lacks_is_not_compared(kept, coupling):
    both = frontier.beside_coupling(kept, coupling)
    whole = frontier.with_measure(both, "separation", "depth")
    assert len(whole) == 3 * 6 and list(whole.columns[-2:]) == ["median_rho_depth", "value_separation"]
    lacking = frontier.with_measure(
        both.drop(index=both.index[both["transform"] == "pearson_residual"][0]), "separation", "depth"
    )
    assert set(lacking["transform"]) == {"log"} and len(lacking) == 2 * 6
    assert frontier.with_measure(both, "composition", "depth").empty


def test_levels_are_those_of_the_sections_that_are_shown(kept):
    kept.loc[kept["section"] == "A1", "chance"] = 0.9
    found = frontier.reference_levels(kept, "separation", "depth", ["A1"])
    assert found == {"mean of the null": 0.9, "depth alone": 0.9}
    assert frontier.reference_levels(kept, "separation", "depth", SECTIONS) == pytest.approx(
        {"mean of the null": 0.3, "depth alone": 0.65}
    )


def test_no_arm_beats_those_on_the_frontier():
    """b is beaten by a; c and d are the same, and neither beats the other."""
    medians = pd.DataFrame({"x": [0.2, 0.3, 0.1, 0.1, 0.5], "y": [0.7, 0.6, 0.5, 0.5, 0.9]}, index=list("abcde"))
    assert frontier.undominated(medians).index.tolist() == ["c", "d", "a", "e"]


def test_the_frontier_does_not_change_with_the_scale_of_either_axis():
    medians = pd.DataFrame(np.random.default_rng(0).uniform(size=(20, 2)), columns=["x", "y"])
    found, other = frontier.undominated(medians), frontier.undominated(medians**3)
    assert found.index.tolist() == other.index.tolist() and found["y"].is_monotonic_increasing


# Steps -----------------------------------------------------------------------------------------------------------


def test_a_step_is_counted_over_sections_and_tested_over_patients(kept, sections):
    patients = {name: name[0] for name in SECTIONS}
    found = frontier.step_change(kept, "separation", "log", "log ÷ all counts", patients)
    assert found["median change"] == pytest.approx(-0.175) and found["more / less"] == "1 / 5"
    assert found["over patients"] == "p = 0.188 (n = 5 patients)"  # rank sum 1 or 2, ties: 3 of 16, two-sided
    few = frontier.step_change(
        kept[kept["section"].isin(["A1", "B1"])], "separation", "log", "log ÷ all counts", patients
    )
    assert few["over patients"].startswith("no test (n = 2 patients")


def test_every_measure_walks_two_steps_and_none_leaves_an_empty_table(kept, sections):
    found = frontier.step_changes(kept, ["separation"], sections)
    assert found["step"].tolist() == ["log → log ÷ all counts", "log ÷ all counts → Pearson residual"]
    assert found["median change"].tolist() == pytest.approx([-0.175, 0.1])
    assert "median change" in frontier.step_changes(kept, [], sections)


def test_separation_stands_beside_depth_alone_and_depth(kept, sections):
    found = frontier.separation_by_section(kept.iloc[::-1], sections)
    assert found.index.tolist() == list(SECTIONS)
    assert list(found) == [*frontier.STEPS, "depth alone", "mean of the null", "median counts"]
    assert found.loc["B1"].tolist() == pytest.approx([0.7, 0.5, 0.6, 0.7, 0.3, 201])


# In words --------------------------------------------------------------------------------------------------------


def test_the_frontier_is_listed_by_measure(kept, coupling):
    found = frontier.frontier_sentence(frontier.beside_coupling(kept, coupling), ["separation"])
    assert "Pearson residual (÷ all counts) 0.10 → 0.60, log (not divided) 0.50 → 0.65" in found
    assert "log (÷ all counts)" not in found
    assert frontier.frontier_sentence(pd.DataFrame(), []) == frontier.NOTHING


def test_the_answer_has_what_is_kept_at_the_three_stops_and_the_coupling_of_the_same_sections(kept, coupling):
    coupling.loc[coupling["section"] == "E1", "median_rho_depth"] = 0.9
    some, patients = kept[kept["section"] != "E1"], {name: name[0] for name in kept["section"]}
    coupling["chance_rho_depth"] = 0.07
    found = frontier.answer(some, coupling, ["separation"], patients, simulated=True, with_nuclei=SECTIONS)
    assert "5 sections of 4 patients: log **0.70** (chance 0.50, above it in 4; coupling" in found
    assert "above it in 2; coupling 0.20, mean of its null 0.07), Pearson residual **0.60** (" in found
    assert "Coupling to depth is 0.50 as log (mean of its null 0.07) and 0.10 as Pearson residual" in found
    assert frontier.answer(kept, coupling, [], patients, True, []).endswith("this cohort cannot say.")


def test_the_residual_is_set_against_the_logs_of_the_same_section():
    """Medians differ by +0.05 where each section but one loses."""
    log, residual = [0.0, 0.1, 0.5, 0.6, 0.7, 0.8], [-0.1, 0.0, 0.4, 0.8, 0.6, 0.7]
    kept = pd.concat([rows(LOG, log), rows(DIVIDED, residual), rows(RESIDUAL, residual)])
    patients = {name: name[0] for name in SECTIONS}
    found = frontier.residual_against_logs(kept, ["separation"], patients, simulated=False)
    assert found.startswith("- separation of regions: **-0.100** against log (higher in 1 of 6 sections; p = ")
    assert found.endswith("**+0.000** against log ÷ all counts (higher in 0 of 6 sections; p = 1).")
    few = kept[kept["section"] < "C"]
    assert "too few patients" in frontier.residual_against_logs(few, ["separation"], patients, simulated=False)
    assert frontier.verdict(few, ["separation"], patients, simulated=False).startswith(
        "**Too few patients for a test**"
    )


@pytest.mark.parametrize(("shift", "side"), [(0.1, "more"), (-0.1, "less")])
def test_six_patients_that_agree_tell_the_residual_from_the_log_until_p_is_times_two_measures(shift, side):
    log = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    steps = ((LOG, 0), (DIVIDED, 0), (RESIDUAL, shift))
    measures = ["separation", "domains"]
    kept = pd.concat([rows(arm, log + more, measure) for arm, more in steps for measure in measures])
    patients = {name: name for name in SECTIONS}
    found = frontier.verdict(kept, measures[:1], patients, simulated=True)
    assert found.startswith(
        f"**The Pearson residual keeps {side} than the log by separation of regions**, of 1 measure ("
    )
    both = frontier.verdict(kept, measures, patients, simulated=False)
    assert both.startswith("**No loss of tissue is shown, and none is excluded**") and "a pathologist drew" in both
    assert both.endswith("in any of 2 measures of regions that a pathologist drew (6 sections of 6 patients; "
                         "signed-rank test over patients, p corrected, times 2 measures).")  # fmt: skip
    assert "p = 0.031, corrected 0.062" in frontier.residual_against_logs(kept, measures, patients, simulated=False)


def test_shares_from_the_same_counts_are_listed_and_no_verdict_rests_on_them():
    kept = pd.concat([rows(arm, np.arange(6.0), "composition") for arm in (LOG, DIVIDED, RESIDUAL)])
    patients = {name: name for name in SECTIONS}
    ways = (kept, ["composition"], patients)
    assert frontier.verdict(*ways, simulated=False).startswith("**This cohort cannot say**")
    assert frontier.verdict(*ways, simulated=True).startswith("**No loss of tissue is shown")
    assert "counts, no evidence: **+0.000**" in frontier.residual_against_logs(*ways, simulated=False)
    assert "estimated" not in frontier.residual_against_logs(*ways, simulated=True)


def test_sections_with_regions_and_without_nuclei_are_counted(kept):
    assert frontier.both_known(kept, SECTIONS) == frontier.both_known(kept[:0], []) == ""
    assert frontier.both_known(kept, ["Z1"]).startswith("Nuclei are counted in none of the 6 sections with regions")
    assert frontier.both_known(kept, ["A1"]).endswith("is not seen in the others.")


def test_sections_in_which_one_number_tells_regions_are_named(kept):
    found = frontier.single_numbers_sentence(kept, ["separation", "composition"], most=2)
    assert found == (
        "- depth alone, separation of regions, balanced accuracy: median 0.65, mean of its null 0.30; "
        "above chance in 4 of 6 sections: A1, A2 and others."
    )
    one = kept[kept["section"] == "E1"]
    assert frontier.single_numbers_sentence(one, ["separation"]).endswith("in 0 of 1 section.")
    assert frontier.single_numbers_sentence(kept[:0], ["separation"]) == frontier.NOTHING


def test_where_dividing_costs_most_is_told_by_what_depth_knows(kept, sections):
    found = frontier.dividing_sentence(frontier.separation_by_section(kept, sections))
    assert "raises it by more than 0.05 in 1 of 6 sections (E1)" in found
    assert "lowers it by more than 0.05 in 5 (A1, A2, B1, C1, D1)" in found
    assert "what depth alone knows above the mean of its null: -1.00;" in found


def test_too_few_sections_say_nothing_of_where_dividing_costs_most(kept, sections):
    table = frontier.separation_by_section(kept[kept["section"].isin(["A1"])], sections)
    found = frontier.dividing_sentence(table)
    assert "in 0 of 1 section (none)" in found and found.endswith("Too few sections to say where dividing costs most.")
    assert frontier.dividing_sentence(pd.DataFrame()) == "No section of this cohort has regions."
