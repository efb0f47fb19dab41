"""What scores and gaps are made of, part by part: tidy table -> axis."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from helpers.figures.style import DARK, GREY, MARKERS, PALE, SECTIONS, handle, legend, side_by_side, spread_out
from helpers.labels import counted, of_cells

PCC = {  # parts of a score: colour (Okabe & Ito 2008)
    "library": "#D55E00",
    "nuclei given library": "#F0E442",
    "place": "#56B4E9",
    "composition left": "#0072B2",
    "rest": "#CC79A7",
}
LACKING = {"not predicted": "#E8E8E8", "counting noise": "#A0A0A0"}  # what a score lacks of 1
WHOLE = "whole gap"


def stacked(ax: Axes, scores: pd.DataFrame, title: str) -> Axes:
    """Parts of the score of each section, stacked to 1, the first section on top; a black line where the score ends.

    `scores` has section, part and value; a part below 0 lies left of it.
    """
    wide = scores.pivot_table("value", "section", "part", sort=False)
    at, end = np.arange(len(wide)), np.zeros(len(wide))
    for part, colour in (PCC | LACKING).items():
        width = wide[part].to_numpy()
        ax.barh(at, width, left=np.where(width < 0, 0, end), color=colour, edgecolor="white", lw=0.5, height=0.75)
        end += np.maximum(width, 0)
    ax.vlines(wide[list(PCC)].sum(axis=1), at - 0.45, at + 0.45, color="black", lw=2)
    ax.set_yticks(at, wide.index)
    ax.set_ylim(len(wide) - 0.5, -0.5)
    ax.axvline(0, color=GREY, lw=0.8)
    ax.set(xlabel="parts of 1", ylabel="section", title=f"{title}, {counted(len(wide), 'sections')}")
    return ax


def stacked_legend(ax: Axes) -> None:
    """The parts of `stacked`, under an axis."""
    parts = {of_cells(part): colour for part, colour in (PCC | LACKING).items()}
    patches = [Patch(facecolor=colour, edgecolor="white", label=part) for part, colour in parts.items()]
    legend(ax, [*patches, handle("PCC", "black", "|")], columns=4)


def gaps(ax: Axes, table: pd.DataFrame, parts: Sequence[str]) -> Axes:
    """Parts of the gap in a row each and their sum in the last, a point a section, a colour a backbone, means as bars.

    `table` has section, backbone, part and value.
    """
    whole = table.groupby(["backbone", "section"], sort=False)["value"].sum().reset_index().assign(part=WHOLE)
    table, rows = pd.concat([table, whole]), [*parts, WHOLE]
    look = dict(zip(dict.fromkeys(table["backbone"]), zip(SECTIONS[::3], MARKERS, strict=False), strict=False))
    offsets, width = side_by_side(len(look))
    for (backbone, part), points in table.groupby(["backbone", "part"], sort=False):
        colour, marker = look[backbone]
        y = rows.index(part) + offsets[list(look).index(backbone)]
        around = y + spread_out(len(points), 0.3 * width)
        ax.scatter(points["value"], around, s=24, color=colour, marker=marker, alpha=0.55, lw=0)
        ax.vlines(points["value"].mean(), y - 0.45 * width, y + 0.45 * width, color=colour, lw=3)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    for i in range(1, len(rows)):
        ax.axhline(i - 0.5, color=PALE if i < len(parts) else DARK, lw=1, zorder=0)
    ax.axvline(0, color=GREY, lw=0.8)
    ax.set(xlabel="PCC, log less residual", ylabel="part", title=counted(table["section"].nunique(), "sections"))
    handles = [handle(backbone, *style) for backbone, style in look.items()]
    legend(ax, [*handles, handle("mean of sections", GREY, "", "-")])
    return ax
