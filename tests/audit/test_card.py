"""A report card is one file, shows every flag, and links each question to its answer."""

import numpy as np
import pandas as pd
import pytest

from helpers.audit import card
from helpers.audit.flags import FLAGS
from helpers.audit.summary import SKILLS

KEYS = {"section": "S1", "space": "log2", "k": 50}
SCORES = {"pcc": 0.6, "ceiling": 0.9, "chance": 0.1, "chance_95": 0.2, "p": 0.01, "n_undefined": 0}

SUMMARY = {"space": "log2", "n_sections": 1, "n_patients": None, "n_spots": 900, "n_genes": 300, "k": 50, "pcc": 0.6}
SUMMARY |= {"ceiling": 0.9, "chance": 0.2, "unit": "sections", "n_units": 1}
SUMMARY |= {f"{skill}_skill{end}": 0.5 for skill in SKILLS for end in ("", "_chance_95", "_ceiling")}
SUMMARY |= {f"excess_{floor}{end}": 0.1 for floor in ("nuclei", "place") for end in ("", "_least", "_most")}


@pytest.fixture
def report():
    floors = [{**KEYS, "floor": "nuclei", "pcc": 0.45}, {**KEYS, "floor": "depth", "pcc": 0.5}]
    kept = [
        {
            "section": "S1",
            "space": "log2",
            "given": g,
            "median_r": 0.4,
            "median_partial": p,
            "median_partial_chance_95": p / 2,
        }
        for g, p in (("depth", 0.2), ("both", 0.1))
    ]
    flags = [{"id": flag.id, "raised": flag.id == "chance", "says": f"{flag.id} & more"} for flag in FLAGS]
    return {
        "scores": pd.DataFrame([{**KEYS, **SCORES}, {**KEYS, **SCORES, "k": 10, "pcc": 0.7}]),
        "twin": pd.DataFrame([{**KEYS, **SCORES, "pcc": 0.3}]),
        "floors": pd.DataFrame(floors),
        "given": pd.DataFrame(kept),
        "skills": pd.DataFrame([{"section": "S1", "k": 50, "library": 0.7, "composition": np.nan}]),
        "remarks": ["section S1: <odd>"],
        "flags": flags,
        "summary": SUMMARY,
    }


def test_scores_stand_beside_floors_excess_and_twin(report):
    [row] = card.by_section(report, 50).to_dict("records")
    assert row["excess"] == pytest.approx(0.15) and row["depth"] == 0.5 and row["twin"] == 0.3


def test_partial_correlations_stand_beside_the_plain_one_each_with_its_chance(report):
    [row] = card.partial_by_section(report).to_dict("records")
    shown = {"given depth": 0.2, "95 % of chance, given depth": 0.1}
    shown |= {"given both": 0.1, "95 % of chance, given both": 0.05}
    assert row == {"section": "S1", "space": "log2", "plain": 0.4} | shown
    assert "no null" not in card.page(report, "T") and "<th>95 % of chance, given both</th>" in card.page(report, "T")


def test_the_page_is_whole_and_safe(report):
    page = card.page(report, "T & T")
    assert "T &amp; T" in page and "&lt;odd&gt;" in page and "chance &amp; more" in page
    advice = {flag.id: flag.advice for flag in FLAGS}
    assert advice["chance"] in page and advice["no_composition"] not in page
    assert all(f'id="{flag.id}"' in page and f'href="#{flag.id}"' in page for flag in FLAGS)
    assert 'src="data:image/png;base64,' in page and "<script" not in page
    assert "<td>0.700</td><td>–</td>" in page and "nan" not in page


def test_no_p_is_printed_as_zero_and_no_zero_has_a_sign(report):
    assert "<td>0.010</td>" in card.page(report, "T")
    report["scores"]["p"], report["floors"].loc[0, "pcc"] = 1 / 4097, 0.6002
    page = card.page(report, "T")
    assert "<td>&lt; 0.001</td>" in page and "0.000</td>" in page and "-0.000" not in page


def test_where_the_space_is_in_doubt_there_are_no_skills(report):
    assert "Not made while the space" in card.page(report | {"skills": pd.DataFrame()}, "T")


def test_what_a_file_says_is_escaped_everywhere(report):
    bad = "<script>alert(1)</script>"
    report["scores"]["section"] = report["twin"]["section"] = report["floors"]["section"] = bad
    report["flags"] = [{"id": flag.id, "raised": None, "says": bad} for flag in FLAGS]
    report["given"]["section"] = report["skills"]["section"] = bad
    assert "<script" not in card.page(report | {"remarks": [bad]}, bad)


def test_numbers_have_three_digits_and_what_is_missing_a_dash():
    assert [card.cell_text(cell) for cell in (0.12345, float("nan"), 12, "S1")] == ["0.123", "–", "12", "S1"]
