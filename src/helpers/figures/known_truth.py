"""Scores of models whose skills are known: what a score is worth beside the truth, and which truth it ranks by."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from helpers.figures.style import DASHES, GREY, PALE, TARGETS, handle, legend, name_ends, spread_out
from helpers.labels import counted, label, of_cells

SKILLS = ("#440154", "#3B528B", "#21918C", "#4DAF4A", "#B5A300")  # of libraries, best first: viridis, its yellow darker
REPORTS = {target: colour for target, (_, colour, _) in TARGETS.items()}
REPORTS |= {"composition": "#332288", "library": "#882255"}
MARKS = (("*", 210), ("D", 60))  # marker and size of the two models that have a name
COUPLINGS = "osD"
SMALL = 9  # points
APART = 0.065  # of an axis from 0 to 1: a line of small words


def ranking(
    figure: Figure, table: pd.DataFrame, ranked: pd.DataFrame, named: Mapping[str, str], reports: Mapping[str, str]
) -> dict[str, Axes]:
    """Log scores and composition skill against the truth (A, B: `fan`), what scores rank by (C: `truth_sided_with`).

    A and B show the `table` of one coupling, C all in `ranked`; `named` and `reports` say how models and reports are
    called. The axes by letter.
    """
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.25, 1])
    axes = dict(zip("ABC", [*upper.subplots(1, 2), lower.subplots()], strict=True))
    end_labels(fan(axes["A"], table, "log2", named, (0.34, 0.15)), "library\nskill")
    fan(axes["B"], table, "composition", named, (0.02, 0.98))
    for panel, report in (("A", "log2"), ("B", "composition")):
        axes[panel].set_ylabel(reports[report])
    truth_sided_with(axes["C"], ranked, reports)
    axes["A"].set_title(r"$\bf{A}$   PCC in log against the truth")
    axes["B"].set_title(r"$\bf{B}$   Composition skill against the truth")
    title = "One model knows more of the composition, the other of the library: which is put first?"
    lower.suptitle(rf"$\bf{{C}}$   {title}", x=0.075, ha="left", fontsize=axes["A"].title.get_fontsize())
    return axes


def fan(ax: Axes, table: pd.DataFrame, report: str, named: Mapping[str, str], at: tuple[float, float]) -> Axes:
    """A report against the true composition skill: a line for each library skill, medians over sections and quartiles.

    `table` has section, model, library_skill, composition_skill, true_composition, report and value, of one coupling.
    An arrow leads from the first of two `named` models to the second; their words and scores stand `at` a place.
    """
    part = table[table["report"] == report]
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, ls=(0, (1, 2)), zorder=0)
    lines = list(part[part["model"] == ""].groupby("library_skill"))
    for (skill, line), colour in zip(reversed(lines), SKILLS, strict=True):
        groups = line.groupby("composition_skill")[["true_composition", "value"]]
        x, y = groups.median().to_numpy().T
        low, high = (groups.quantile(q)["value"] for q in (0.25, 0.75))
        ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        ax.plot(x, y, color=colour, lw=2, marker="o", ms=5, mec="white", mew=0.8, label=f"{skill:g}", clip_on=False)
    places = [part.loc[part["model"] == name, ["true_composition", "value"]].median() for name in named]
    look = {"color": "black", "ec": "white", "lw": 1, "zorder": 5, "clip_on": False}
    for i, ((marker, size), place, words) in enumerate(zip(MARKS, places, named.values(), strict=True)):
        ax.scatter(*place, s=size, marker=marker, **look)
        x, y = at[0], at[1] - 1.3 * i * APART
        ax.scatter(x, y, s=0.7 * size, marker=marker, **look)
        ax.text(x + 0.05, y, f"{place['value']:.2f}", fontsize=SMALL, fontweight="bold", va="center")
        first, *more = words.splitlines()
        ax.text(x + 0.2, y, first, fontsize=SMALL, va="center")
        ax.text(x + 0.2, y - APART, "\n".join(more), fontsize=SMALL, va="center")
    arrow = {
        "arrowstyle": "-|>,head_width=0.3,head_length=0.6",
        "shrinkA": 9,
        "shrinkB": 7,
        "color": "black",
        "lw": 1.6,
    }
    ax.annotate("", places[1], places[0], arrowprops=arrow | {"connectionstyle": "arc3,rad=-0.1"}, zorder=4)
    ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xlabel="true composition skill")
    return ax


def end_labels(ax: Axes, title: str) -> Axes:
    """Name the lines of a `fan` at their right ends, in their colours, no two on top of each other."""
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    places = np.array([line.get_ydata()[-1] for line in lines])
    order = np.argsort(places)
    for low, high in zip(order[:-1], order[1:], strict=True):
        places[high] = max(places[high], places[low] + APART)
    look = {"va": "center", "fontsize": SMALL, "annotation_clip": False}
    for line, y in zip(lines, places, strict=True):
        ax.annotate(line.get_label(), (1.07, y), color=line.get_color(), fontweight="bold", **look)
    ax.annotate(title, (1.07, places.max() + 1.8 * APART), color="0.25", **look)
    return ax


def truth_sided_with(ax: Axes, table: pd.DataFrame, reports: Mapping[str, str]) -> Axes:
    """Which truth each report ranks by where the two disagree: a point a section, bars medians, a row a coupling.

    `table` has section, patient, coupling, report and contested, the share ranked against composition; `reports` names
    the rows, the first on top.
    """
    couplings = sorted(table["coupling"].unique())
    offsets = spread_out(len(couplings), 0.25)
    for x in (0, 0.5, 1):
        ax.axvline(x, color=GREY if x == 0.5 else PALE, lw=1, ls=DASHES if x == 0.5 else "-", zorder=0)
    for (report, coupling), part in table[table["report"].isin(list(reports))].groupby(["report", "coupling"]):
        i, colour = couplings.index(coupling), REPORTS[report]
        y = list(reports).index(report) + offsets[i]
        look = {"s": 18, "marker": COUPLINGS[i], "color": colour, "alpha": 0.3, "lw": 0, "clip_on": False}
        ax.scatter(part["contested"], y + spread_out(len(part), 0.05), **look)
        ax.vlines(part["contested"].median(), y - 0.1, y + 0.1, color=colour, lw=3, zorder=3, clip_on=False)
    ax.set_yticks(range(len(reports)), list(reports.values()))
    ax.set(xlim=(-0.02, 1.02), ylim=(len(reports) - 0.45, -0.55))
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.spines["left"].set_visible(False)
    n = counted(table["section"].nunique(), "sections"), counted(table["patient"].nunique(), "patients")
    ax.set_xlabel(f"pairs ranked by the library, a point a section: {' of '.join(n)}")
    name_ends(ax)
    handles = [handle(f"{coupling:g}", "0.3", marker) for coupling, marker in zip(couplings, COUPLINGS, strict=False)]
    where = {"loc": "center", "bbox_to_anchor": (0.77, 0.4), "title_fontsize": SMALL, "alignment": "left"}
    title = of_cells("r(library, nuclei), from the top")
    ax.legend(handles=handles, title=title, ncols=len(handles), handletextpad=0.1, **where)
    return ax


RUNGS = {"factor": "molecules counted, one in", "mpp": "µm per pixel"}
LADDER = {  # line: label, marker, style
    "ridge": ("ridge", "o", "-"),
    "shared": ("ridge, features that all pictures have", "", "-."),
    "floor": ("strongest floor", "", DASHES),
    "chance": ("95 % point of chance", "", (0, (1, 2))),
}


def scores_on_ladder(ax: Axes, lines: pd.DataFrame, by: str) -> Axes:
    """Scores over the rungs of a ladder (`by`, of RUNGS), a colour a report, a style a line of LADDER.

    `lines` has report, line, x and y.
    """
    for (report, line), part in lines.groupby(["report", "line"], sort=False):
        _, marker, style = LADDER[line]
        part = part.sort_values("x")
        look = {"color": REPORTS[report], "marker": marker, "ls": style, "lw": 1.6 if marker else 1.1, "ms": 5}
        ax.plot(part["x"], part["y"], **look)
    ax.axhline(0, color=PALE, lw=1, zorder=0)
    rungs = sorted(lines["x"].unique())
    ax.set(xscale="log", xlabel=RUNGS[by])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(rungs, [f"{round(rung, 1):g}" for rung in rungs])
    names = {report: label(report) if report in TARGETS else f"{report} skill" for report in lines["report"]}
    reports = [handle(name, REPORTS[report], line="-") for report, name in names.items()]
    used = [
        handle(words, "0.3", marker, style)
        for line, (words, marker, style) in LADDER.items()
        if line in set(lines["line"])
    ]
    legend(ax, reports + used, columns=2)
    return ax
