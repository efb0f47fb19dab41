"""A report card is one file, shows every flag, and links each question to its answer."""

import pandas as pd
import pytest

from helpers.audit import card

KEYS = {"section": "S1", "space": "log2", "k": 50}
SCORES = {"pcc": 0.6, "ceiling": 0.9, "chance": 0.1, "chance_95": 0.2, "p": 0.01, "n_undefined": 0}


@pytest.fixture
def report():
    floors = [{**KEYS, "floor": "nuclei", "pcc": 0.45}, {**KEYS, "floor": "depth", "pcc": 0.5}]
    kept = [
        {"section": "S1", "space": "log2", "given": g, "r": 0.4, "partial": p}
        for g, p in (("depth", 0.2), ("both", 0.1))
    ]
    flags = [{"flag": "a < b", "raised": True, "evidence": "x & y", "advice": "do z"}]
    flags += [{"flag": "quiet", "raised": False, "evidence": "", "advice": "never shown"}]
    return {
        "scores": pd.DataFrame([{**KEYS, **SCORES}, {**KEYS, **SCORES, "k": 10, "pcc": 0.7}]),
        "twin": pd.DataFrame([{**KEYS, **SCORES, "pcc": 0.3}]),
        "floors": pd.DataFrame(floors),
        "partial": pd.DataFrame(kept),
        "remarks": ["section S1: <odd>"],
        "flags": flags,
        "summary": {"k": 50},
    }


def test_scores_stand_beside_floors_excess_and_twin(report):
    [row] = card.by_section(report, 50).to_dict("records")
    assert row["excess"] == pytest.approx(0.15) and row["depth"] == 0.5 and row["twin"] == 0.3


def test_partial_correlations_stand_beside_the_plain_one(report):
    [row] = card.partial_by_section(report).to_dict("records")
    assert row == {"section": "S1", "space": "log2", "plain": 0.4, "given both": 0.1, "given depth": 0.2}


def test_the_page_is_whole_and_safe(report):
    page = card.page(report, "T & T", "One sentence.", [("Is a below b?", "a < b"), ("Said?", None)])
    assert "T &amp; T" in page and "&lt;odd&gt;" in page and "x &amp; y" in page
    assert "do z" in page and "never shown" not in page
    assert "href='#a-&lt;-b'" in page and "id='a-&lt;-b'" in page
    assert "src='data:image/png;base64," in page and "<script" not in page
