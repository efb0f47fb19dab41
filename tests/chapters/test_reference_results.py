"""README's results, from made tables whose numbers are known."""

import shutil

import pandas as pd
import pytest

from helpers import store
from helpers.chapters import organs
from helpers.chapters import reference_results as results
from helpers.labels import TARGETS


def rows(columns, *values):
    return pd.DataFrame(list(values), columns=columns.split())


@pytest.fixture
def folder(tmp_path):
    """Two patients; ridge clears nuclei in one of them in log; STEM reaches half of ridge."""
    targets = list(TARGETS)
    without, others = {"ridge": 0.7, "nuclei": 0.6}, {"ridge": 0.2, "nuclei": 0.3}
    scores = {"ridge": 0.8, "stem": 0.4, "nuclei": 0.6, "place": 0.5}
    made = {
        "table1": rows(
            "metric target value chance_95 n_sections paper",
            *((m, t, 0.45, 0.25, 2, 0.3 if t != targets[2] else None) for m in results.COUPLINGS for t in targets),
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
            "section training n_own target backbone pcc_50 trained_on",
            *(("A1", "all other sections", 1, t, b, 0.99, "A2 B1") for t in targets for b in ("ridge", "nuclei")),
            *(("A1", "other patients only", 0, t, b, v, "B1") for t in targets for b, v in without.items()),
            *(("B1", "all other sections", 0, t, b, v, "A1 A2") for t in targets for b, v in others.items()),
        ),
        "cross_space": rows(
            "section split backbone trained_in scored_in chance_95",
            *((s, "section", "ridge", t, t, 0.3) for s in ("A1", "B1") for t in targets),
            ("A1", "section", "ridge", targets[0], targets[1], 0.9),
        ),
        "skills": rows(
            "section split backbone target library composition library_chance_95 composition_chance_95",
            *(("A1", "section", b, "log2", 0.8, 0.5, 0.4, 0.1) for b in ("ridge", "stem", "nuclei")),
        ),
        "fraction_of_ridge": rows(
            "split target fraction parameters spot_views",
            *(("section", t, 0.5, 1234, 38400) for t in targets[:2]),
        ),
        "frontier": rows(
            "section measure transform size_factor value",
            *(("A1", "separation", "log", f, v) for f, v in (("none", 0.6), ("total", 0.7))),
            *(("B1", "separation", "log", f, v) for f, v in (("none", 0.6), ("total", 0.5))),
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


def test_the_block_is_a_table_and_no_more_than_ten_sentences(folder):
    text = results.block(folder)
    assert "nan" not in text.replace("unrelated", "") and text.count("\n- ") <= 10
    assert "| 0.450 (chance 0.250) | 0.450 (chance 0.250) |" in text and "| 0.300, 0.300 |" in text
    assert "| PCC-50, ridge, one section held out, 2 sections | 0.800 (chance 0.300) | 0.800 (chance 0.300) |" in text
    assert "| PCC-50, place alone, one section held out, 2 sections | 0.500 | 0.500 | 0.500 |" in text
    assert "| library skill, ridge, 1 section | 0.800 (chance 0.400) |" in text


def test_unseen_patients_come_first_and_are_those_without_a_section_in_training(folder):
    text = results.block(folder)
    first = next(line for line in text.split("\n") if line.startswith("- "))
    assert "ridge clears nuclei alone in 1 of 2 patients in log and 1 as residuals" in first
    assert (
        "patient A 0.70 for 0.60, patient B 0.20 for 0.30" in first and "nothing about patients can be tested" in first
    )
    assert (
        "| PCC-50, ridge, the patient unseen, 2 sections | 0.450 |" in text
    )  # 0.7 and 0.2; 0.99 had the patient in training


def test_stem_stands_with_its_size_and_is_left_out_where_it_was_not_trained(folder):
    assert "1,234 parameters and 38,400 spot views" in results.block(folder)
    fractions = pd.read_csv(folder / "fraction_of_ridge.csv")
    fractions.iloc[:0].to_csv(folder / "fraction_of_ridge.csv", index=False)
    assert "STEM was not trained in this run." in results.block(folder)


def test_only_what_is_between_the_marks_is_written(folder, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{results.BEGIN}old\n{results.END}after\n")
    results.write(readme, folder)
    assert readme.read_text() == f"before\n{results.BEGIN}{results.block(folder)}{results.END}after\n"


def test_the_book_opens_with_the_same_numbers_and_links_to_their_pages(folder):
    words = results.of_book(f"before\n{results.BEGIN}{results.END}after\n", folder)
    assert (
        words.startswith("before\n|")
        and words.endswith("after\n")
        and "[](31_patients)" in words
        and "`31_patients`" not in words
    )
    assert words.split("- ", 1)[1].count("chance") == results.block(folder).split("- ", 1)[1].count("chance")


def test_patients_and_other_runs_stand_side_by_side(folder):
    shutil.copytree(folder, folder.parent / "mob")
    store.write_json({"cohort": "Bulb", "cellularity": "haematoxylin"}, folder.parent / "mob/provenance.json")
    [line] = [line for line in results.block(folder).split("\n") if "is left without depth" in line]
    assert "*Some tissue*, nuclei counted: patient A 0.40, 0.40, 0.10 (0 of 2)" in line
    assert "*Bulb*, mean haematoxylin: patient A 0.40, 0.40, 0.10 (0 of 2); patient B 0.40, 0.40, 0.10 (0 of 1)" in line
