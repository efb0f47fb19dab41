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
    yield answer.answer(plt.figure(figsize=answer.SIZE), coupling, scores, ranks, reports)
    plt.close("all")


def test_each_panel_has_its_points_and_says_how_many_sections(axes):
    points = {
        panel: np.vstack([part.get_offsets() for part in ax.collections if isinstance(part, PathCollection)])
        for panel, ax in axes.items()
    }
    assert set(points["A"][:, 0].round(3)) >= {0.5, 0.1} and set(points["B"][:, 0].round(3)) >= {0.8, 0.6}
    assert set(points["C"][:, 0].round(3)) >= {0.9, 0.0}
    assert [ax.get_xlabel().endswith(f"({n} sections)") for ax, n in zip(axes.values(), (2, 2, 3), strict=True)] == [
        True
    ] * 3


def test_rows_are_named_and_the_first_is_on_top(axes):
    assert [label.get_text() for label in axes["B"].get_yticklabels()] == ["ridge", "nuclei"]
    assert axes["B"].get_ylim()[0] > axes["B"].get_ylim()[1]


def test_nothing_is_cut_off(axes):
    figure = axes["A"].figure
    figure.canvas.draw()
    whole = figure.bbox
    for ax in axes.values():
        for artist in (ax.title, ax._left_title, ax.xaxis.label, *ax.get_yticklabels()):
            box = artist.get_window_extent()
            assert whole.x0 <= box.x0 and box.x1 <= whole.x1
