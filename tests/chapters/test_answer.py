"""The answer, from made tables whose numbers are known."""

import shutil

import pandas as pd
import pytest

from helpers import store
from helpers.chapters import answer, organs
from helpers.labels import TARGETS


def rows(columns, *values):
    return pd.DataFrame(list(values), columns=columns.split())


@pytest.fixture
def folder(tmp_path):
    """Two patients; ridge clears nuclei in one of them in log; STEM reaches half of ridge."""
    targets = list(TARGETS)
    without, others = {"ridge": 0.7, "nuclei": 0.6, "place": 0.1}, {"ridge": 0.2, "nuclei": 0.3, "place": 0.1}
    scores = {"ridge": 0.8, "stem": 0.4, "nuclei": 0.6, "place": 0.5}
    made = {
        "table1": rows(
            "metric target value chance_95 n_sections paper",
            *((m, t, 0.45, 0.25, 2, 0.3 if t != targets[2] else None) for m in answer.COUPLINGS for t in targets),
            ("rho_nuclei_depth", None, 0.6, 0.3, 2, None),
        ),
        "sections": rows("section patient rho_nuclei_depth", *(("A1", "A", 0.5), ("A2", "A", 0.4), ("B1", "B", 0.6))),
        "associations": rows(
            "section target gene rho_nuclei rho_depth rho_nuclei_given_depth p_nuclei_given_depth p_depth_given_nuclei",
            *((s, t, g, 0.4, 0.6, 0.1, 0.5, 0.01) for s in ("A1", "A2", "B1") for t in targets for g in ("x", "y")),
        ),
        "coupling_chance": rows(
            "section target metric chance chance_95",
            *((s, t, m, 0.1, 0.2) for s in ("A1", "A2", "B1") for t in targets for m in organs.PARTS),
            *((s, None, "rho_nuclei_depth", 0, 0.3) for s in ("A1", "A2", "B1")),
        ),
        "floors": rows(
            "section split backbone target pcc_50",
            *((s, "section", b, t, v) for s in ("A1", "B1") for b, v in scores.items() for t in targets),
        ),
        "patients": rows(
            "section patient training n_own target backbone pcc_50 chance_95 trained_on",
            *(("A1", "A", "all other sections", 1, t, b, 0.99, 0.2, "A2 B1") for t in targets for b in without),
            *(("A1", "A", "other patients only", 0, t, b, v, 0.3, "B1") for t in targets for b, v in without.items()),
            *(("B1", "B", "all other sections", 0, t, b, v, 0.2, "A1 A2") for t in targets for b, v in others.items()),
        ),
        "cross_space": rows(
            "section split backbone trained_in scored_in chance_95 ceiling_50",
            *((s, "section", b, t, t, 0.3, 0.9) for s in ("A1", "B1") for b in scores if b != "place" for t in targets),
            ("A1", "section", "ridge", targets[0], targets[1], 0.9, 0.9),
        ),
        "skills": rows(
            "section split backbone target library library_chance_95 library_ceiling "
            "composition composition_chance_95 composition_ceiling",
            *(("A1", "section", b, "log2", 0.8, 0.4, 1.0, 0.5, 0.1, 0.9) for b in ("ridge", "stem", "nuclei")),
        ),
        "known_truth_ranks": rows(
            "section patient shrunk coupling truth report contested",
            *(("A1", "A", True, 0.5, "composition", r, 0.75) for r in (*targets, "composition")),
        ),
        "type_one_error": rows(
            "maps null rate",
            ("random fields", "spatial", 0.05),
            *(("rising to the middle", null, rate) for null, rate in (("spatial", 0.3), ("place", 0.05))),
            ("smooth in one half, noise in the other", "place", 0.13),
            *(("this cohort, as it lies", null, rate) for null in ("spatial", "place") for rate in (0.08, 0.31)),
        ),
    }
    folder = tmp_path / "cohort"
    for name, table in made.items():
        store.write_table(table, folder / f"{name}.csv{'.gz' * (name == 'associations')}")
    store.write_json({"cohort": "Some tissue"}, folder / "provenance.json")
    return folder


@pytest.fixture
def runs(folder):
    """The made run under the names of all three."""
    for name in answer.RUNS:
        shutil.copytree(folder, folder.parent / "runs" / name)
    for name, cohort in zip(answer.RUNS, ("Tumours", "Reduced", "Bulb"), strict=True):
        measure = "n_nuclei" if cohort == "Tumours" else "haematoxylin"
        store.write_json({"cohort": cohort, "cellularity": measure}, folder.parent / f"runs/{name}/provenance.json")
    return folder.parent / "runs"


@pytest.fixture
def found(runs):
    return answer.read(runs / "her2st"), answer.couplings([runs / name for name in answer.RUNS])


def test_readme_has_an_answer_a_figure_six_sentences_and_three_limits(runs):
    text = answer.block(runs)
    assert "nan" not in text and text.count("\n- ") == 6 + answer.N_LIMITS and "](data/results/answer.svg)" in text


def test_couplings_say_in_how_many_sections_they_are_above_chance(found):
    said = answer.coupled(answer.of_first(found[1]))
    assert "0.40 (3 of 3) in log, 0.40 (3 of 3) as CP10k" in said and "held fixed 0.10 (0 of 3)" in said
    assert "3 sections of 2 patients" in said


def test_patients_and_tissues_stand_side_by_side(found):
    said = answer.tissues(found[1])
    assert "counted: patient A 0.40, left 0.10 (0 of 2), patient B 0.40, left 0.10 (0 of 1); Reduced, mean" in said


def test_a_section_counts_where_ridge_is_above_both_floors(found):
    """Ridge has .8 where nuclei have .6 and place .5; of patients unseen it is above both in A1 alone."""
    said = answer.seen(found[0])
    assert (
        "above nuclei and place in 1 / 1 / 1 of 1 section of patient A and 1 / 1 / 1 of 1 section of patient B" in said
        and "STEM in 0 / 0 / 0" in said
        and "; 1 section had others of their patient" in said
    )
    said = answer.unseen(found[0])
    assert said.startswith("**Without the sections of the patient in training, in 1 / 1 / 1 of 2 sections, and of 2 ")
    assert "reduced pictures in 1 / 1 / 1 of 2 sections.**" in said and "chance of ridge 0.25 / 0.25 / 0.25" in said
    # .7 and .2; .99 had the patient in training
    assert "ridge 0.45 / 0.45 / 0.45; nuclei alone 0.45" in said and "2 patients nothing about patients" in said
    assert "1 to 2 sections of 1 patient" in said


def test_what_was_not_trained_is_not_named(found):
    tables = dict(found[0])
    assert "STEM" in answer.seen(tables) and "STEM" in answer.skills(tables)
    for name in ("floors", "skills"):
        tables[name] = tables[name][tables[name]["backbone"] != "stem"]
    assert not any(
        "STEM" in text for text in (answer.seen(tables), answer.skills(tables), answer.table(tables).to_csv())
    )


def test_the_table_sets_chance_ceiling_and_n_beside_each_number(found):
    table = answer.table(found[0])
    assert table.loc["PCC-50, ridge, one section held out", "log2"] == "0.80 (chance 0.30, ceiling 0.90)"
    assert table.loc["PCC-50, place alone, one section held out", "log2"] == "0.50 (chance 0.20)"
    assert table.loc["PCC-50, ridge, the patient unseen", "CP10k"] == "0.45 (chance 0.25)"
    assert table.loc["library skill, ridge", "log2"] == "0.80 (chance 0.40, ceiling 1.00)"
    first = table.iloc[0]
    assert (first["log2"], first["sections"], first["patients"]) == ("0.45 (chance 0.25)", "3", "2")
    assert first["the paper"] == "0.30 / 0.30"


def test_the_short_answer_tells_the_patients_in_which_depth_shares_most(found):
    tables, beside = found
    said = answer.short(tables, beside)
    assert "with depth in patient A (2 sections: 0.40, 0.10, 0.20), patient B (1 section: 0.40, 0.10, 0.20) (in" in said
    of_b = beside["patient"] == "B"
    half = beside.assign(**{organs.PARTS[1]: beside[organs.PARTS[1]].where(~of_b, 0.3)})
    assert "; not in patient B (1 section: 0.40, 0.30, 0.20) (in" in answer.short(tables, half)
    assert "1 / 1 / 1 of 2 sections of 2 patients in reduced pictures" in said


def test_limits_name_their_n_and_the_rates_of_the_null(found):
    first, _, nulls, *_ = answer.limits(*found)
    assert "2 sections of 2 patients, couplings on 2 patients or animals" in first
    assert "8% to 31% of cases, with place held fixed in 8% to 31%" in nulls


def test_patients_that_are_not_scored_are_set_beside_those_that_are(found):
    tables = dict(found[0])
    away = tables["associations"].query("section == 'B1'").assign(section="D1", rho_depth=-0.2)
    tables["associations"] = pd.concat([tables["associations"], away])
    tables["sections"] = pd.concat([tables["sections"], rows("section patient", ("D1", "D"))])
    assert "0.60 in the patients that are scored and 0.20 in the 1 others" in answer.limits(tables, found[1])[1]


def test_only_what_is_between_the_marks_is_written(runs, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{answer.BEGIN}old\n{answer.END}after\n")
    answer.write(readme, runs)
    assert readme.read_text() == f"before\n{answer.BEGIN}{answer.block(runs)}{answer.END}after\n"


def test_pages_that_are_named_become_links():
    assert answer.linked("see `24_patients`, `k`") == "see [](24_patients.ipynb), `k`"


def test_the_figure_has_a_row_a_patient_and_the_first_run_goes_before(found):
    drawn = answer.drawn_couplings(found[1])
    assert list(drawn["row"].unique()) == [
        "patient A\n2 sections, nuclei counted",
        "patient B\n1 section, nuclei counted",
    ]
    assert (drawn["plain"] == 0.4).all() and (drawn["given"] == 0.1).all() and (drawn["chance_given"] == 0.2).all()
    scores = answer.drawn_scores(found[0])
    assert set(scores["row"].str.partition(",\n")[2]) == {"all others in training", "patient unseen"}
    assert set(scores.loc[scores["row"] == "ridge,\npatient unseen", "value"]) == {0.7, 0.2}
