"""The figure of the first page shows the numbers that it is given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from helpers.figures import answer, style

TARGETS = ("log2", "pearson_residual")


@pytest.fixture
def axes():
    style.use()
    coupling = pd.DataFrame(
        [
            {
                "row": "patient A\n2 sections, mean haematoxylin",
                "section": s,
                "target": t,
                "plain": 0.5,
                "given": 0.1,
                "chance_given": 0.2,
            }
            for s in ("A1", "A2")
            for t in TARGETS
        ]
    )
    scores = pd.DataFrame(
        [
            {"row": row, "section": s, "target": t, "value": v, "chance_95": 0.3}
            for row, v in (("ridge", 0.8), ("nuclei", 0.6))
            for s in ("A1", "A2")
            for t in TARGETS
        ]
    )
    reports = {"log2": "PCC in log", "composition": "composition skill"}
    ranks = pd.DataFrame(
        [{"report": r, "section": s, "contested": v} for r, v in (("log2", 0.9), ("composition", 0.0)) for s in "ABC"]
    )
    parts = scores.assign(value=scores["value"] - 0.2)
    yield answer.answer(plt.figure(figsize=answer.SIZE), parts, coupling, scores, ranks, reports=reports)
    plt.close("all")


def test_each_panel_has_its_points_and_says_how_many_sections(axes):
    points = {
        panel: np.vstack([part.get_offsets() for part in ax.collections if isinstance(part, PathCollection)])
        for panel, ax in axes.items()
    }
    drawn = {"A": {0.6, 0.4}, "B": {0.5, 0.1}, "C": {0.8, 0.6}, "D": {0.9, 0.0}}
    assert all(set(points[panel][:, 0].round(3)) >= known for panel, known in drawn.items())
    numbers = zip(axes.values(), (2, 2, 2, 3), strict=True)
    assert all(ax.get_xlabel().endswith(f"({n} sections)") for ax, n in numbers)


def test_rows_are_named_and_the_first_is_on_top(axes):
    assert [label.get_text() for label in axes["C"].get_yticklabels()] == ["ridge", "nuclei"]
    assert axes["C"].get_ylim()[0] > axes["C"].get_ylim()[1]


def test_nothing_is_cut_off(axes):
    figure = axes["A"].figure
    figure.canvas.draw()
    whole = figure.bbox
    for ax in axes.values():
        for artist in (ax.title, ax._left_title, ax.xaxis.label, *ax.get_yticklabels()):
            box = artist.get_window_extent()
            assert whole.x0 <= box.x0 and box.x1 <= whole.x1
