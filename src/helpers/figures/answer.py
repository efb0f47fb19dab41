"""The figure of the first page: of what scores are made, what targets follow, floors, and what scores rank by."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from helpers.figures.style import DASHES, GREY, PALE, TARGETS, handle, looks, name_ends, side_by_side, spread_out
from helpers.labels import counted

SIZE = 5.6, 11.2  # inches: on a page as wide as here, on a phone still to be read
TITLES = {
    "A": "What ridge scores, and what else does",
    "B": "What a target follows",
    "C": "What a model scores, and floors",
    "D": "What a score ranks models by",
}


def answer(figure: Figure, *tables: pd.DataFrame, reports: Mapping[str, str]) -> dict:
    """Axes one under the other, by letter: A and C `scored`, B `followed`, D `ranked_by`, each of its table."""
    heights = [table["row"].nunique() + 1.6 for table in tables[:3]] + [0.7 * len(reports) + 1.2]
    axes = dict(zip(TITLES, figure.subplots(4, 1, height_ratios=heights), strict=True))
    parts, coupling, scores, ranks = tables
    scored(axes["A"], parts)
    followed(axes["B"], coupling)
    scored(axes["C"], scores)
    ranked_by(axes["D"], ranks, reports)
    for (panel, title), table in zip(TITLES.items(), tables, strict=True):
        # Above D stand the words on its ends.
        axes[panel].set_title(rf"$\bf{{{panel}}}$   {title}", pad=18 if panel == "D" else None)
        n = counted(table["section"].nunique(), "sections")
        axes[panel].set_xlabel(f"{axes[panel].get_xlabel()} ({n})", loc="right")  # as wide as the rows' names leave
    hollow = handle("with depth held fixed", GREY, "o")
    hollow.set_markerfacecolor("white")
    targets = [handle(words, colour, marker) for words, colour, marker in looks(coupling["target"]).values()]
    chance = handle("chance (95 % point; in B of the hollow)", "black", "|")
    keys = [*targets, hollow, handle("median of sections", GREY, "|"), chance]
    figure.legend(handles=keys, ncols=2, loc="outside lower center", handletextpad=0.4, columnspacing=1.2)
    return axes


def followed(ax: Axes, table: pd.DataFrame) -> Axes:
    """The median gene's |rho| with cells, a row a patient: filled as it is, hollow with depth held fixed.

    `table` has row, section, target, plain, given and the chance of given, chance_given.
    """
    for y, colour, marker, part in _lines(ax, table):
        around = y + spread_out(len(part), 0.08)
        ax.scatter(part["plain"], around, s=26, color=colour, marker=marker, alpha=0.75, lw=0, clip_on=False)
        ax.scatter(part["given"], around, s=26, ec=colour, fc="white", marker=marker, lw=1.1, clip_on=False)
        ax.vlines(part["chance_given"].median(), y - 0.13, y + 0.13, color="black", lw=1.5)
    ax.set(xlim=(0, None), xlabel="|ρ(target, cells)| of the median gene")
    return ax


def scored(ax: Axes, table: pd.DataFrame) -> Axes:
    """PCC-50 in rows, a point a section, bars medians, black lines chance: row, section, target, value, chance_95."""
    for y, colour, marker, part in _lines(ax, table):
        ax.scatter(part["value"], y + spread_out(len(part), 0.08), s=22, color=colour, marker=marker, alpha=0.6, lw=0)
        ax.vlines(part["value"].median(), y - 0.13, y + 0.13, color=colour, lw=3)
        ax.vlines(part["chance_95"].median(), y - 0.13, y + 0.13, color="black", lw=1.5)
    ax.axvline(0, color=PALE, lw=1, zorder=0)
    ax.set_xlabel("PCC-50")
    return ax


def ranked_by(ax: Axes, ranks: pd.DataFrame, reports: Mapping[str, str]) -> Axes:
    """Share of contested pairs that each report ranks by the library, a point a section: report, section, contested."""
    for x in (0, 0.5, 1):
        ax.axvline(x, color=GREY if x == 0.5 else PALE, lw=1, ls=DASHES if x == 0.5 else "-", zorder=0)
    for y, report in enumerate(reports):
        values = ranks.loc[ranks["report"] == report, "contested"]
        colour = TARGETS[report][1] if report in TARGETS else "#332288"
        ax.scatter(values, y + spread_out(len(values), 0.22), s=14, color=colour, alpha=0.4, lw=0, clip_on=False)
        ax.vlines(values.median(), y - 0.3, y + 0.3, color=colour, lw=3, clip_on=False)
    ax.set_yticks(range(len(reports)), list(reports.values()))
    ax.set(xlim=(-0.02, 1.02), ylim=(len(reports) - 0.45, -0.55))
    name_ends(ax)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("model pairs ranked by library skill")
    return ax


def _lines(ax: Axes, table: pd.DataFrame) -> Sequence[tuple[float, str, str, pd.DataFrame]]:
    """Where each row and target lies, its colour, marker and part of the table; the axis gets the rows' names."""
    rows, targets = list(dict.fromkeys(table["row"])), [name for name in TARGETS if name in set(table["target"])]
    offsets, _ = side_by_side(len(targets))
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    for i in range(1, len(rows)):
        ax.axhline(i - 0.5, color=PALE, lw=1, zorder=0)
    found = []
    for (row, target), part in table.groupby(["row", "target"], sort=False):
        _, colour, marker = TARGETS[target]
        found.append((rows.index(row) + offsets[targets.index(target)], colour, marker, part))
    return found
