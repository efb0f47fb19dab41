"""The sentences of the answer, from made runs whose numbers are known."""

import pandas as pd
import pytest
from runs import reference_runs, rows

from helpers.chapters import answer, answer_numbers, organs


@pytest.fixture
def made(tmp_path):
    return reference_runs(tmp_path)


@pytest.fixture
def runs(made):
    return made[0]


@pytest.fixture
def found(made):
    return made[1]


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
        "STEM" in text for text in (answer.seen(tables), answer.skills(tables), answer_numbers.table(tables).to_csv())
    )


def test_the_short_answer_tells_the_patients_in_which_depth_shares_most(found):
    tables, beside = found
    said = answer.short(tables, beside)
    fell = "from 0.40 (0.20) to 0.10 (0.20) in patient"
    assert (
        said.startswith("In 2 of 2 patients or animals the median gene's |ρ|") and f": {fell} A, {fell} B (in" in said
    )
    of_b = beside["patient"] == "B"
    half = beside.assign(**{organs.PARTS[1]: beside[organs.PARTS[1]].where(~of_b, 0.3)})
    said_of_half = answer.short(tables, half)
    assert said_of_half.startswith("In 1 of 2 patients") and "to 0.30 (0.20) in patient B" in said_of_half
    assert "1 / 1 / 1 of 2 sections of 2 patients in reduced pictures" in said


def test_limits_name_their_n_and_the_rates_of_the_null(found):
    first, fits, _, nulls, *_ = answer.limits(*found)
    assert "2 sections of 2 patients, couplings on 2 patients or animals" in first
    assert "8% to 31% of cases, with place held fixed in 8% to 31%" in nulls
    assert "1 fit trained again on another machine moved by up to 0.01" in fits


def test_patients_that_are_not_scored_are_set_beside_those_that_are(found):
    tables = dict(found[0])
    away = tables["associations"].query("section == 'B1'").assign(section="D1", rho_depth=-0.2)
    tables["associations"] = pd.concat([tables["associations"], away])
    tables["sections"] = pd.concat([tables["sections"], rows("section patient", ("D1", "D"))])
    assert "0.60 in the patients that are scored and 0.20 in the 1 others" in answer.limits(tables, found[1])[2]


def test_only_what_is_between_the_marks_is_written(runs, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{answer.BEGIN}old\n{answer.END}after\n")
    answer.write(readme, runs)
    assert readme.read_text() == f"before\n{answer.BEGIN}{answer.block(runs)}{answer.END}after\n"


def test_pages_that_are_named_become_links():
    assert answer.linked("see `24_patients`, `k`") == "see [](24_patients.ipynb), `k`"
