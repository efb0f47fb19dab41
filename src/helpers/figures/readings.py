"""Readings of one model: what its number is, by what is counted."""

import pandas as pd
from matplotlib.axes import Axes

from helpers.figures.style import DARK, GREY, PALE, TARGETS, handle, legend, spread_out
from helpers.labels import counted, label


def dots(ax: Axes, table: pd.DataFrame) -> Axes:
    """A row a reading, in the order of the table; a point a section, bars medians, marks for floors and chance.

    `table` has reading, section, ridge, nuclei, training mean and chance_95; a reading begins with its target's label.
    """
    rows = list(dict.fromkeys(table["reading"]))
    for y, reading in enumerate(rows):
        part = table[table["reading"] == reading]
        colour = next((c for name, c, _ in TARGETS.values() if reading.startswith(name)), DARK)
        ax.scatter(part["ridge"], y + spread_out(len(part), 0.15), s=22, color=colour, alpha=0.55, lw=0)
        ax.vlines(part["ridge"].median(), y - 0.32, y + 0.32, color=colour, lw=3)
        ax.plot(part["nuclei"].median(), y, "x", color="0.2", ms=6)
        ax.plot(part["training mean"].dropna().median(), y, "o", mfc="white", mec="0.2", ms=6)
        ax.vlines(part["chance_95"].median(), y - 0.32, y + 0.32, color="black", lw=1.5)
    for y in range(1, len(rows)):
        ax.axhline(y - 0.5, color=PALE, lw=1, zorder=0)
    ax.set_yticks(range(len(rows)), [reading.replace(", ", ",\n", 1) for reading in rows])
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="r")
    n = table.loc[table["section"] != "all", "section"].nunique()
    ax.set_title(f"ridge, {counted(n, 'sections')}")
    mean = handle("training mean", "0.2", "o")
    mean.set_markerfacecolor("white")
    chance = handle("chance (95 % point)", "black", line="-")
    legend(ax, [handle("median", GREY, line="-"), handle(label("nuclei"), "0.2", "x"), mean, chance], columns=4)
    return ax
