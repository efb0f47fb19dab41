"""What scores and gaps are made of, part by part: tidy table -> axis."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from helpers.figures.look import DARK, GREY, MARKERS, PALE, SECTIONS, handle, legend, spread
from helpers.labels import counted

COLOURS = {  # Okabe & Ito 2008, and greys for what is no part of a score
    "library": "#D55E00",
    "nuclei given library": "#F0E442",
    "place": "#56B4E9",
    "composition": "#0072B2",
    "rest": "#CC79A7",
    "not predicted": "#E8E8E8",
    "counting noise": "#A0A0A0",
}


def stacked(ax: Axes, scores: pd.DataFrame, title: str) -> Axes:
    """Parts of the score of each section, stacked to 1, the first section on top; a line where the score ends.

    `scores` has section, part and value of one prediction each; a part below 0 lies left of it.
    """
    wide = scores.pivot_table("value", "section", "part", sort=False)[list(COLOURS)]
    end = np.zeros(len(wide))
    for part, colour in COLOURS.items():
        width = wide[part].to_numpy()
        hatch = "//" if part == "counting noise" else None
        ax.barh(
            range(len(wide)),
            width,
            left=np.where(width < 0, 0, end),
            color=colour,
            edgecolor="white",
            height=0.75,
            hatch=hatch,
            lw=0.5,
        )
        end += np.maximum(width, 0)
    score = wide.drop(columns=["not predicted", "counting noise"]).sum(axis=1)
    ax.vlines(score, np.arange(len(wide)) - 0.42, np.arange(len(wide)) + 0.42, color="black", lw=2)
    ax.set_yticks(range(len(wide)), wide.index)
    ax.invert_yaxis()
    ax.axvline(0, color=GREY, lw=0.8)
    ax.set(xlabel="part of 1", xlim=(min(0, 1.05 * wide.min(axis=None)), 1.02))
    ax.set_title(f"{title}, {counted(len(wide), 'sections')}")
    return ax


def parts_legend(ax: Axes) -> None:
    """Under an axis of `stacked`."""
    patches = [
        Patch(facecolor=colour, edgecolor="white", label=part, hatch="//" if part == "counting noise" else None)
        for part, colour in COLOURS.items()
    ]
    legend(ax, [*patches, handle("PCC", "black", "|")], columns=4)


def gaps(ax: Axes, table: pd.DataFrame, parts: Sequence[str], names: Mapping[str, str]) -> Axes:
    """Parts of the gap of each section, in a row each, a colour a backbone; bars are means over sections.

    `table` has section, backbone, part and value; the last row is the whole.
    """
    whole = table.groupby(["backbone", "section"], sort=False)["value"].sum().reset_index().assign(part="whole gap")
    table, rows = pd.concat([table, whole]), [*parts, "whole gap"]
    backbones = list(dict.fromkeys(table["backbone"]))
    offsets = spread(len(backbones), 0.2)
    for (backbone, part), points in table.groupby(["backbone", "part"], sort=False):
        i = backbones.index(backbone)
        y = rows.index(part) + offsets[i]
        ax.scatter(
            points["value"],
            y + spread(len(points), 0.1),
            s=24,
            color=SECTIONS[3 * i],
            marker=MARKERS[i],
            alpha=0.6,
            lw=0,
        )
        ax.vlines(points["value"].mean(), y - 0.16, y + 0.16, color=SECTIONS[3 * i], lw=3)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    for i in range(1, len(rows)):
        ax.axhline(i - 0.5, color=PALE if i < len(parts) else DARK, lw=1, zorder=0)
    ax.axvline(0, color=GREY, lw=0.8)
    ax.set(xlabel="part of the gap, log less residual")
    ax.set_title(counted(table["section"].nunique(), "sections"))
    handles = [handle(names.get(name, name), SECTIONS[3 * i], MARKERS[i]) for i, name in enumerate(backbones)]
    legend(ax, [*handles, handle("mean of sections", GREY, "", "-")])
    return ax
