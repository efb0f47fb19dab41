"""Lines, marks and arrows lie where the tables say; every panel names what it shows."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn import every
from matplotlib import pyplot as plt

from helpers.figures import known_truth

NAMED = {"guess": "a guess", "nuclei": "all but\nthe library"}
REPORTS = {"log2": "PCC-50, log", "composition": "composition skill"}
SKILLS = (0.0, 0.3, 0.6, 0.9, 1.0)


@pytest.fixture
def table():
    """Log scores are library skills, composition skill is true; two sections a little apart."""
    models = every(section=["A1", "B1"], report=list(REPORTS), library_skill=SKILLS, composition_skill=(0.0, 0.5, 1.0))
    named = every(section=["A1", "B1"], report=list(REPORTS), model=list(NAMED))
    named["library_skill"], named["composition_skill"] = (
        named["model"].map(m) for m in ({"guess": 0.8, "nuclei": 0.5}, {"guess": 0.1, "nuclei": 1.0})
    )
    out = pd.concat([models.assign(model=""), named], ignore_index=True)
    out["true_composition"] = out["composition_skill"]
    out["value"] = out["library_skill"].where(out["report"] == "log2", out["composition_skill"])
    out["value"] += 0.06 * (out["section"] == "B1")
    return out


@pytest.fixture
def ranked():
    out = every(section=["A1", "A2", "B1"], coupling=[0.0, 1.0], report=[*REPORTS, "library"])
    return out.assign(patient=out["section"].str[0], contested=np.where(out["report"] == "log2", 0.9, 0.1))


def test_lines_are_medians_named_at_their_ends_without_two_on_top_of_each_other(ax, table):
    known_truth.end_labels(known_truth.fan(ax, table, "composition", NAMED, (0.02, 0.98)), "library skill")
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in lines] == ["1", "0.9", "0.6", "0.3", "0"]
    for line in lines:
        np.testing.assert_allclose(line.get_xydata(), [(0, 0.03), (0.5, 0.53), (1, 1.03)])
    heights = sorted(text.xy[1] for text in ax.texts if text.get_text() in {line.get_label() for line in lines})
    assert min(np.diff(heights)) > 0.06


def test_an_arrow_leads_from_one_named_model_to_the_other_and_their_scores_are_written(ax, table):
    known_truth.fan(ax, table, "log2", NAMED, (0.3, 0.2))
    arrow = next(text for text in ax.texts if getattr(text, "arrow_patch", None))
    np.testing.assert_allclose([arrow.xyann, arrow.xy], [(0.1, 0.83), (1, 0.53)])
    words = [text.get_text() for text in ax.texts]
    assert {"0.83", "0.53", "a guess", "all but", "the library"} <= set(words)


def test_each_report_has_a_row_and_each_coupling_its_place_in_it(ax, ranked):
    known_truth.truth_sided_with(ax, ranked, REPORTS)
    assert [text.get_text() for text in ax.get_yticklabels()] == list(REPORTS.values())
    clouds = [c.get_offsets() for c in ax.collections if isinstance(c, matplotlib.collections.PathCollection)]
    assert [len(cloud) for cloud in clouds] == [3] * 4  # the library's row was not asked for
    for cloud in clouds:
        row = round(cloud[:, 1].mean())
        np.testing.assert_allclose(cloud[:, 0], (0.9, 0.1)[row])
    assert len({round(cloud[:, 1].mean(), 2) for cloud in clouds}) == 4
    assert "3 sections of 2 patients" in ax.get_xlabel()


def test_the_whole_has_three_panels_with_letters(table, ranked):
    figure = plt.figure(figsize=(7.8, 7), layout="constrained")
    axes = known_truth.ranking(figure, table, ranked, NAMED, REPORTS)
    figure.canvas.draw()
    assert list(axes) == ["A", "B", "C"]
    assert [axes[panel].get_ylabel() for panel in "AB"] == list(REPORTS.values())
    plt.close(figure)


def test_a_ladder_has_a_colour_a_report_and_a_style_a_line(ax):
    lines = every(report=["log2", "composition"], line=["ridge", "floor"], x=[1, 8, 64])
    lines["y"] = 1 / lines["x"] + 0.1 * (lines["line"] == "floor")
    known_truth.scores_on_ladder(ax, lines, "factor")
    drawn = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert [line.get_color() for line in drawn] == [
        known_truth.REPORTS[r] for r in ("log2", "log2", *2 * ["composition"])
    ]
    np.testing.assert_allclose(drawn[1].get_xydata(), [(1, 1.1), (8, 0.225), (64, 0.115625)])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "8", "64"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "log2(x + 1)",
        "composition skill",
        "ridge",
        "strongest floor",
    ]
