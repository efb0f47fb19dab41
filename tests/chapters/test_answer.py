"""The sentences of the answer, from made runs whose numbers are known."""

import pandas as pd
import pytest
from runs import reference_runs, rows

from helpers.chapters import answer, answer_numbers


@pytest.fixture
def made(tmp_path):
    return reference_runs(tmp_path)


@pytest.fixture
def runs(made):
    return made[0]


@pytest.fixture
def found(made):
    return made[1]


def test_readme_has_an_answer_in_five_lines_a_figure_and_three_limits(runs):
    text = answer.block(runs)
    assert "nan" not in text and text.count("\n- ") == 5 + answer.N_LIMITS and "](data/results/answer.svg)" in text


def test_six_sentences_are_said(found):
    said = answer.sentences(*found)
    assert len(said) == 6 and "nan" not in "".join(said)


def test_couplings_say_in_how_many_sections_they_are_above_chance(found):
    said = answer.coupled(answer.of_first(found[1]))
    assert "0.40 (3 of 3) in log, 0.40 (3 of 3) as CP10k" in said and "held fixed 0.10 (0 of 3)" in said
    assert "3 sections of 2 patients" in said


def test_patients_and_tissues_stand_side_by_side(found):
    said = answer.tissues(found[1])
    of_each = "patient {} 0.40, left 0.10 (0 of {}), residual 0.40"
    assert f"counted: {of_each.format('A', 2)}, {of_each.format('B', 1)}; Reduced, mean" in said


def test_a_section_counts_where_ridge_is_above_both_floors(found):
    """Ridge has .8 where nuclei have .6 and place .5; of patients unseen it is above both in A1 alone."""
    said = answer.seen(found[0])
    assert (
        "above nuclei and place in 1 / 1 / 1 of 1 section of patient A and 1 / 1 / 1 of 1 section of patient B" in said
        and "STEM in 0 / 0 / 0" in said
        and "; 1 section had others of their patient" in said
    )
    said = answer.unseen(found[0])
    assert "ridge is above nuclei and place in 1 / 1 / 1 of 2 sections**" in said
    assert "In 2 sections of 2 patients in reduced pictures" in said and "above in 1 / 1 / 1, by" in said
    assert "chance of ridge 0.25 / 0.25 / 0.25" in said
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


def test_the_answer_gives_both_models_beside_chance(found):
    said = answer.short(found[0])
    for words in (
        "ridge / STEM (small), medians over 2 sections of 2 patients, 1 of them of patient A",
        "In log a model scores 0.80 / 0.40 (chance 0.30, ceiling 0.90). The number of molecules",
        "everywhere, scores 0.70 (chance 0.90)",
        "score 0.80 / 0.40 in log (chance 0.30;",
        "score 0.72 in log (chance 0.30, above it in 1), 0.72 in residuals",
        "0.10 of 0.80 / 0.40 in log (chance 0.05), 0.35 of 0.80 / 0.40 in residuals",
        "oracle, scores 0.65 (chance 0.30, above it in 2 of 2",
        "section scores 0.50 (chance 0.20;",
        "nuclei and place in 1 / 1 / 1 of 2 sections (log / Pearson residual / CP10k)",
        "scores 0.45 in residuals (chance 0.25); with all other sections in training it is in 2 / 2 / 2",
    ):
        assert words in said


def test_the_verdict_follows_from_what_molecules_reach(found):
    tables = dict(found[0])
    assert answer.short(tables).startswith(
        "**In log counts mostly: the number of molecules alone reaches 87% / 175% of a score, and 12% / 25% is left "
        "with nuclei and depth held fixed. In Pearson residuals 44% / 87% is left.**"
    )
    spaces = tables["cross_space"]
    less = spaces["pcc_50"].where(spaces["trained_in"] != "library", 0.3)
    assert answer.short(tables | {"cross_space": spaces.assign(pcc_50=less)}).startswith(
        "**In log counts in part: the number of molecules alone reaches 37% / 75% of a score, "
    )


def test_a_run_of_ridge_alone_is_answered_by_ridge(found):
    tables = dict(found[0])
    for name in ("cross_space", "controls", "partial", "floors", "skills"):
        tables[name] = tables[name][tables[name]["backbone"] != "stem"]
    said = answer.short(tables)
    assert (
        "nan" not in said
        and "STEM" not in said
        and "In log a model scores 0.80 (chance 0.30, ceiling 0.90). The" in said
    )


def test_limits_name_their_n_and_the_rates_of_the_null(found):
    first, _, fits, *_, nulls = answer.limits(*found)[:-2]
    assert "2 sections of 2 patients, couplings on 2 patients or animals" in first
    assert "8% to 31% of cases, with place held fixed in 8% to 31%" in nulls
    assert "in PCC-50 of 1 fit by a median of 0.01 and at most 0.01 and in composition" in fits


def test_patients_that_are_not_scored_are_set_beside_those_that_are(found):
    tables = dict(found[0])
    away = tables["associations"].query("section == 'B1'").assign(section="D1", rho_depth=-0.2)
    tables["associations"] = pd.concat([tables["associations"], away])
    tables["sections"] = pd.concat([tables["sections"], rows("section patient", ("D1", "D"))])
    assert "0.60 in the patients that are scored and 0.20 in the 1 others" in answer.limits(tables, found[1])[3]


def test_only_what_is_between_the_marks_is_written(runs, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{answer.BEGIN}old\n{answer.END}after\n")
    answer.write(readme, runs)
    assert readme.read_text() == f"before\n{answer.BEGIN}{answer.block(runs)}{answer.END}after\n"


def test_pages_that_are_named_become_links():
    assert answer.linked("see `24_patients`, `k`") == "see [](24_patients.ipynb), `k`"
