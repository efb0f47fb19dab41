"""Readings are drawn in their order, with every mark where its number is."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection

from helpers.figures import readings, style


def test_a_row_a_reading_with_its_points_and_marks():
    style.use()
    columns = ["reading", "section", "ridge", "nuclei", "training mean", "chance_95"]
    rows = [("log2(x + 1), a", "A1", 0.5, 0.4, np.nan, 0.2), ("log2(x + 1), a", "A2", 0.7, 0.4, np.nan, 0.2)]
    table = pd.DataFrame([*rows, ("Pearson residual, b", "all", 0.3, 0.1, 0.05, 0.1)], columns=columns)
    ax = readings.dots(plt.figure().subplots(), table)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["log2(x + 1),\na", "Pearson residual,\nb"]
    points = np.vstack([part.get_offsets() for part in ax.collections if isinstance(part, PathCollection)])
    assert set(points[:, 0]) == {0.5, 0.7, 0.3} and ax.get_title(loc="left") == "ridge, 2 sections"
    marks = {line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("x", "o")}
    assert {0.4, 0.1, 0.05} <= {round(float(mark), 3) for mark in marks if np.isfinite(mark)}
    plt.close("all")
