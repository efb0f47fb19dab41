"""How good and how sure: measured beside true, scores beside floors and nulls, readings, genes: table -> axis."""

from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from helpers.figures.style import DARK, DASHES, GREY, MARKERS, SECTIONS, handle, legend, logarithmic, looks, spread_out
from helpers.labels import CHOICES, FLOORS, counted, label, of_cells

SHARES = {  # of the variance of the measured gene: label, colour
    "unique": ("the prediction alone", "#332288"),
    "shared": ("either", "#88CCEE"),
    "capture_only": ("nuclei and depth alone", "#DDDDDD"),
}


def commonality(ax: Axes, shares: pd.DataFrame, title: str) -> Axes:
    """What explains the measured genes, in stacked bars: mean `SHARES` of each backbone and target, over genes.

    `shares` has backbone, target, section and a column for each of `SHARES`; the mean over sections is drawn, a share
    that is negative (one hides the other) to the left of zero.
    """
    mean = shares.groupby(["backbone", "target"], sort=False)[list(SHARES)].mean()
    look, end = looks(shares["target"]), np.zeros(len(mean))
    for share, (_, colour) in SHARES.items():
        width = mean[share].to_numpy()
        ax.barh(range(len(mean)), width, left=np.where(width < 0, 0, end), color=colour, edgecolor="white", height=0.75)
        end += np.maximum(width, 0)
    ax.set_yticks(range(len(mean)), [f"{label(backbone)}, {look[target][0]}" for backbone, target in mean.index])
    ax.invert_yaxis()
    ax.axvline(0, color=GREY, lw=0.8)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("share of the variance of the measured gene, mean over genes")
    ax.set_title(f"{title}, {counted(shares['section'].nunique(), 'sections')}")
    legend(ax, [handle(text, colour, "s") for text, colour in SHARES.values()])
    return ax


def agreement(ax: Axes, truth: np.ndarray, measured: np.ndarray, what: str) -> Axes:
    """Measured against true values with the line of equality, e.g. nuclei per spot of the toy cohort."""
    truth, measured = np.asarray(truth, float), np.asarray(measured, float)
    end = 1.05 * max(truth.max(), measured.max())
    ax.plot([0, end], [0, end], color=GREY, lw=1, ls="--", zorder=0)
    ax.scatter(truth, measured, s=12, color=DARK, alpha=0.4, lw=0)
    ax.set(xlim=(0, end), ylim=(0, end), aspect="equal", xlabel=f"true {what}", ylabel=f"measured {what}")
    error = measured.sum() / truth.sum() - 1
    r = np.corrcoef(truth, measured)[0, 1]
    ax.set_title(f"Measured against true, {counted(len(truth), 'spots')}\nr = {r:.2f}, in total {error:+.1%}")
    return ax


def stain_by_pixel(ax: Axes, table: pd.DataFrame) -> Axes:
    """How closely the stain of a disc follows its nuclei, over pixel sizes, a line a section.

    `table` has section, mpp and rho.
    """
    for (name, part), colour in zip(table.groupby("section", sort=False), cycle(SECTIONS), strict=False):
        ax.plot(part["mpp"], part["rho"], "o-", color=colour, label=name, ms=5)
    ax.set(xscale="log", xlabel="µm per pixel", ylabel="ρ(mean haematoxylin, nuclei)", ylim=(0, 1))
    logarithmic(ax.xaxis)
    ax.set_title(f"The stain for the count, {counted(table['section'].nunique(), 'sections')}")
    ax.legend(ncols=3, loc="lower left")
    return ax


def scores_and_floors(ax: Axes, scores: pd.DataFrame, k: int) -> Axes:
    """PCC-k of an audited model in every space, a point a section, beside chance, ceiling and one number per spot.

    `scores` has section, space, pcc, ceiling, chance_95, twin, and those floors that are known.
    """
    marks = {  # column: label, colour, marker
        "pcc": ("model", "black", "o"),
        "nuclei": (FLOORS["nuclei"], SECTIONS[3], "x"),
        "haematoxylin": (FLOORS["haematoxylin"], SECTIONS[6], "1"),
        "place": (FLOORS["place"], SECTIONS[5], "2"),
        "depth": (FLOORS["depth"], SECTIONS[4], "+"),
        "twin": ("model on the depth-only twin", SECTIONS[1], "v"),
        "ceiling": ("noise ceiling", GREY, "_"),
        "chance_95": ("95 % of chance", GREY, "."),
    }
    shown = {column: look for column, look in marks.items() if column in scores}
    spaces = list(dict.fromkeys(scores["space"]))
    offsets = dict(zip(shown, spread_out(len(shown), 0.3), strict=True))
    for column, (_, colour, marker) in shown.items():
        at = scores["space"].map(spaces.index).to_numpy() + offsets[column]
        ax.plot(at, scores[column], marker, color=colour, alpha=0.8, markersize=7)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_xticks(range(len(spaces)), [label(space) for space in spaces])
    ax.set(ylabel=f"PCC-{k}", title=f"{counted(scores['section'].nunique(), 'sections')}, scored in every space")
    legend(ax, [handle(*look) for look in shown.values()], columns=3)
    return ax


def score_matrix(ax: Axes, scores: pd.DataFrame, value: str, ceiling: str, title: str) -> Axes:
    """Scores by the space trained in (rows) and scored in (columns): medians over sections, and shares of the ceiling.

    `scores` has trained_in, scored_in, section, `value`, `ceiling` and chance_95. A cell at or below chance says so;
    one without a score, because the predictions do not vary there, is left empty.
    """
    import seaborn as sns

    cells = scores.groupby(["trained_in", "scored_in"], sort=False)[[value, ceiling, "chance_95"]].median()
    share = cells[value] / cells[ceiling]
    below = np.where(cells[value] > cells["chance_95"], share.map("{:.0%}".format), "chance")
    text = cells[value].map("{:.2f}".format).where(cells[value].notna(), "")
    words = text.where(text == "", text + "\n" + below)
    rows, columns = (list(dict.fromkeys(scores[which])) for which in ("trained_in", "scored_in"))
    wide, words = (series.unstack().reindex(index=rows, columns=columns) for series in (share, words))
    look = {"cmap": "Blues", "vmin": 0, "vmax": 1, "linewidths": 1, "annot_kws": {"fontsize": 10}}
    bar = {"label": "share of the ceiling", "format": PercentFormatter(1)}
    sns.heatmap(wide.astype(float), annot=words.fillna(""), fmt="", cbar_kws=bar, ax=ax, **look)
    ax.set_xticks(np.arange(len(columns)) + 0.5, list(map(label, columns)), rotation=0)
    ax.set_yticks(np.arange(len(rows)) + 0.5, list(map(label, rows)), rotation=0)
    ax.set(xlabel="scored in", ylabel="trained in")
    ax.set_title(f"{title}, {counted(scores['section'].nunique(), 'sections')}")
    return ax


# How sure -------------------------------------------------------------------------------------------------------


def rejections(ax: Axes, table: pd.DataFrame, x: str, by: str, goal: float) -> Axes:
    """Share of tests that reject (column rate) along column `x`, a line for each value of `by`, `goal` dashed."""
    handles = []
    for i, (name, part) in enumerate(table.groupby(by, sort=False)):
        look = {"color": SECTIONS[i % len(SECTIONS)], "marker": MARKERS[i % len(MARKERS)]}
        ax.plot(part[x], part["rate"], lw=1.5, ms=6, **look)
        handles.append(handle(str(name), line="-", colour=look["color"], marker=look["marker"]))
    ax.axhline(goal, color="black", lw=1.2, ls=DASHES)
    ax.set(ylim=(0, None), ylabel="tests that reject")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    legend(ax, [*handles, handle(f"{goal:.0%}", "black", line=DASHES)])
    return ax


def effective_spots(ax: Axes, table: pd.DataFrame) -> Axes:
    """Independent spots that a section is worth against the spots that it has, a colour a target; the line is equality.

    `table` has section, target, n_spots and n_effective.
    """
    look = looks(table["target"])
    for target, (_, colour, marker) in look.items():
        part = table[table["target"] == target]
        ax.scatter(part["n_spots"], part["n_effective"], s=30, color=colour, marker=marker, alpha=0.75, lw=0)
    ends = [0.9 * table["n_spots"].min(), 1.1 * table["n_spots"].max()]
    ax.plot(ends, ends, color=GREY, lw=1)
    ax.set(xscale="log", yscale="log", xlabel="spots", ylabel="effective spots")
    logarithmic(ax.xaxis)
    logarithmic(ax.yaxis)
    ax.set_title(counted(table["section"].nunique(), "sections"))
    legend(ax, [*(handle(*parts) for parts in look.values()), handle("as many as spots", GREY, line="-")], columns=2)
    return ax


# Every reading --------------------------------------------------------------------------------------------------

MOST_FIELDS = 120  # along the curve: more would be narrower than a pixel
PAPER_LINE = (0, (4, 2))


def specification_curves(axes: np.ndarray, table: pd.DataFrame, quantities: Mapping[str, str]) -> np.ndarray:
    """Above, sorted estimates of each quantity; below, the choices behind them. Axes are 2 x quantities.

    `table` is of `specifications`, `quantities` maps the names in it to titles. Grey: without one section at a time,
    and the mean of the null; dashed: the paper; a diamond: the book's own reading. Below, the darker a field the more
    of the estimates above it made that choice; a choice that no quantity varies is left out.
    """
    shown = table[table["quantity"].isin(quantities)]
    options = {choice: list(dict.fromkeys(shown[choice].dropna())) for choice in CHOICES}
    rows = [(choice, option) for choice, found in options.items() if len(found) > 1 for option in found]
    for above, below, (quantity, title) in zip(*axes, quantities.items(), strict=True):
        part = shown[shown["quantity"] == quantity].sort_values("value", ignore_index=True)
        estimates(above, part)
        choices_behind(below, part, rows)
        above.set_title(f"{title}\n{counted(len(part), 'readings')}")
    names = [f"{CHOICES[choice]}: {label(option)}" for choice, option in rows]
    axes[1, 0].set_yticks(range(len(rows)), names)
    axes[1, 0].tick_params(axis="y", labelsize=9)
    handles = [handle("a reading", "black", "."), handle("this book's", SECTIONS[0], "D")]
    handles += [handle("the paper", SECTIONS[3], line=PAPER_LINE)]
    handles += [handle("mean of the null", GREY, ".")] * bool(shown["chance"].notna().any())
    legend(axes[1, 0], handles, columns=2)
    return axes


def estimates(ax: Axes, part: pd.DataFrame) -> Axes:
    """One quantity under every reading, in the table's order: value, its span without one section, chance, paper."""
    at = part.index.to_numpy()
    ax.fill_between(at, part["low"], part["high"], color="0.85", lw=0, zorder=0)
    style = {"s": 4, "lw": 0, "rasterized": True}
    ax.scatter(at, part["chance"], color=GREY, alpha=0.6, **style)
    ax.scatter(at, part["value"], color="black", **style)
    ax.axhline(part["paper"].iloc[0], color=SECTIONS[3], lw=1.5, ls=PAPER_LINE)
    own = part[part["ours"].astype(bool)]
    ax.plot(own.index, own["value"], "D", color=SECTIONS[0], markeredgecolor="white", ms=8)
    ax.set_xlim(-0.5, len(part) - 0.5)
    ax.tick_params(labelbottom=False)
    return ax


def choices_behind(ax: Axes, part: pd.DataFrame, rows: Sequence[tuple[str, str]]) -> Axes:
    """Which choice and option (`rows`) each reading took, a column a reading; a line parts the choices."""
    edges, shares = option_shares(part, rows)
    at = np.arange(len(rows) + 1) - 0.5
    ax.pcolormesh(edges, at, shares, cmap="Greys", vmin=0, vmax=0.8, rasterized=True)
    for y, ((choice, _), (following, _)) in enumerate(pairwise(rows)):
        if choice != following:
            ax.axhline(y + 0.5, color="0.6", lw=0.8)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlim=(-0.5, len(part) - 0.5), xlabel="readings, by their value")
    return ax


def paper_and_ours(ax: Axes, table: pd.DataFrame, verdicts: Sequence[str], title: str) -> Axes:
    """Numbers of the paper beside ours, a line each below the name of its metric, with a verdict on the right.

    `table` has metric, of, paper, value, least, most, chance, verdict (one of `verdicts`) and marks; a bar is drawn
    from least to most, where these are known. Words stand within the axis, left and right of the numbers.
    """
    numbers = table[["paper", "value", "least", "most", "chance"]]
    low, high = min(0, numbers.min(axis=None)), numbers.max(axis=None)
    left, right = low - 1.3 * (high - low), high + 0.14 * (high - low)
    words, y = {"va": "center", "fontsize": 9}, 0
    for metric, part in table.groupby("metric", sort=False):
        ax.text(left, y, metric, fontweight="bold", **words)
        for row in part.itertuples():
            y += 1
            colour = SECTIONS[(1, 2, 3)[verdicts.index(row.verdict)]]
            ax.plot([row.least, row.most], [y, y], color="0.85", lw=7, solid_capstyle="butt", zorder=0)
            ax.plot([row.paper, row.value], [y, y], color=colour, lw=1.5)
            ax.plot(row.chance, y, "|", color=GREY, ms=9)
            ax.plot(row.value, y, "o", color=colour, markeredgecolor="black", ms=7)
            ax.plot(row.paper, y, "D", color="black", ms=5)
            ax.text(left, y, row.of, **words)
            ax.text(right, y, f"{row.paper:.2f}  {row.value:.2f}  {row.verdict}{row.marks}", **words)
        y += 1
    ax.text(right, -1, "paper, ours", **words)
    ax.set(xlim=(left, high + 1.9 * (high - low)), ylim=(y - 0.4, -1.5), yticks=[], xticks=[0, 0.5])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.set_title(title)
    handles = [handle("the paper", "black", "D"), handle("ours", GREY, "o"), handle("readings", "0.85", "s")]
    legend(ax, [*handles, handle("mean of the null", GREY, "|")], columns=2)
    return ax


def option_shares(
    part: pd.DataFrame, rows: Sequence[tuple[str, str]], most: int = MOST_FIELDS
) -> tuple[np.ndarray, np.ndarray]:
    """Share of neighbouring readings that took each option: edges of at most `most` fields, and rows x fields."""
    chosen = np.array([part[choice] == option for choice, option in rows], float)
    fields = np.array_split(chosen, min(len(part), most), axis=1)
    edges = np.cumsum([0, *(field.shape[1] for field in fields)]) - 0.5
    return edges, np.column_stack([field.mean(axis=1) for field in fields])


def gene_verdicts(ax: Axes, genes: pd.DataFrame, verdicts: Sequence[str]) -> Axes:
    """PCC of a model against that of nuclei alone, a point a gene in the colour of its verdict, in their order.

    `genes` has pcc, pcc_nuclei_alone and verdict; the line is equality.
    """
    at = genes[["pcc_nuclei_alone", "pcc"]]
    ends = [at.min(axis=None) - 0.03, at.max(axis=None) + 0.03]
    ax.plot(ends, ends, color=GREY, lw=1, ls="--", zorder=0)
    handles = []
    for i, verdict in enumerate(verdicts):
        part = genes[genes["verdict"] == verdict]
        colour, marker = (SECTIONS[0], SECTIONS[4], SECTIONS[2], "0.6", "0.3")[i % 5], "os^xD"[i % 5]
        ax.scatter(part["pcc_nuclei_alone"], part["pcc"], s=18, color=colour, marker=marker, alpha=0.8, lw=1)
        handles.append(handle(verdict, colour, marker))
    ax.set(xlabel=of_cells("PCC, nuclei alone"), ylabel="PCC, model", aspect="equal")
    ax.set_title(counted(len(genes), "genes"))
    legend(ax, handles, columns=1)
    return ax
