"""What all figures share: style, colours and markers, axes and legends, and the one form that many have (`in_rows`).

A figure is a function that draws a tidy table on a given axis and returns the axis. Colours and markers of the targets
are the same everywhere and tell them apart for colour-blind eyes and in print. Every panel says in its title how many
sections, spots or genes it shows; chance levels and floors are grey or black.
"""

import io
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from helpers import labels, store
from helpers.labels import counted, label

TARGETS = {  # label, colour (Okabe & Ito 2008), marker
    "log2": (labels.TARGETS["log2"], "#D55E00", "o"),
    "pearson_residual": (labels.TARGETS["pearson_residual"], "#0072B2", "s"),
    "log1p_cp10k": (labels.TARGETS["log1p_cp10k"], "#009E73", "^"),
}
TRANSFORMS = {  # label, colour, marker
    "identity": (labels.TRANSFORMS["identity"], "#E69F00", "v"),
    "sqrt": (labels.TRANSFORMS["sqrt"], "#009E73", "^"),
    "log": (labels.TRANSFORMS["log"], "#D55E00", "o"),
    "acosh": (labels.TRANSFORMS["acosh"], "#CC79A7", "D"),
    "pearson_residual": (labels.TRANSFORMS["pearson_residual"], "#0072B2", "s"),
    "clr": (labels.TRANSFORMS["clr"], "#56B4E9", "P"),
    "rank": (labels.TRANSFORMS["rank"], "#117733", "X"),
    "depth_regressed_log": (labels.TRANSFORMS["depth_regressed_log"], "#332288", "<"),
    "nuclei_regressed_log": (labels.TRANSFORMS["nuclei_regressed_log"], "#999933", ">"),
    "thinned": (labels.TRANSFORMS["thinned"], "#882255", "p"),
}
OTHER_TARGETS = ("#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#332288", "#661100")  # colours of new ones
OTHER_MARKERS = "DvPX<>ph"  # one more than colours: both are the same again after 56 targets
FLOORS = {"nuclei": (labels.FLOORS["nuclei"], "x"), "depth": (labels.FLOORS["depth"], "+")}
SECTIONS = ("#332288", "#44AA99", "#DDCC77", "#CC6677", "#88CCEE", "#117733", "#AA4499", "#999933", "#882255")  # Tol
MARKERS = "os^DvP"
GREY, DARK, PALE = "#7F7F7F", "#444444", "0.92"  # references, points of one kind, lines between groups
DASHES, LONG_DASHES = (0, (2, 1)), (0, (4, 2))
MEDIAN = ("median of sections", GREY, "", "-")
HIGH = "chance (95 % point)"
CHANCE = ("mean of the null", "black", "", DASHES)
FEW = 9  # up to so many sections each has its colour and name


def use(cellularity: str | None = None) -> None:
    """Set the look of every figure that follows, and what it calls cellularity; white ground, for light and dark pages.

    `cellularity` is one of `schema.CELLULARITY`; its name stays as it was where it is not given.
    """
    import seaborn as sns

    rc = {
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "figure.dpi": 110,
        "savefig.dpi": 160,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.labelsize": 11,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "helpers",  # names of clip paths and markers, drawn at random otherwise
    }
    if cellularity:
        labels.measured_by(cellularity)
    sns.set_theme(style="ticks", font="DejaVu Sans", rc=rc)


def png(draw: Callable[[Axes], object], width: float, height: float) -> bytes:
    """A figure of one axis, width x height in inches, as the bytes of a PNG."""
    use()
    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure.subplots())
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=130)
        return file.getvalue()


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure, by the name's ending; the same figure gives the same bytes, so an SVG holds no date."""
    with store.atomic(path) as partial:
        figure.savefig(partial, metadata={"Date": None} if partial.suffix == ".svg" else None)


def looks(targets: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Label, colour and marker of each target, known ones first; a new one gets the next colour and marker."""
    new = [target for target in dict.fromkeys(targets) if target not in TARGETS]
    look = {target: TARGETS[target] for target in TARGETS if target in set(targets)}
    free = zip(cycle(OTHER_TARGETS), cycle(OTHER_MARKERS), strict=True)
    return look | {target: (label(target), *pair) for target, pair in zip(new, free, strict=False)}


def legend(ax: Axes, handles: list, columns: int = 3) -> None:
    """Under the axis and its labels, at the same distance whatever its height: there it hides no point."""
    under = ax.transAxes + ScaledTranslation(0, -42 / 72, ax.figure.dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": under}
    ax.legend(handles=handles, ncol=columns, handletextpad=0.4, columnspacing=1.2, **place)


def one_legend(figure: Figure) -> None:
    """One legend below a figure in place of those of its axes, which repeat each other; each entry once."""
    entries = {}
    for ax in figure.axes:
        if (own := ax.get_legend()) is not None:
            entries |= {text.get_text(): line for text, line in zip(own.texts, own.legend_handles, strict=True)}
            own.remove()
    place = {"loc": "outside lower center", "handletextpad": 0.4, "columnspacing": 1.2}
    if entries:
        figure.legend(entries.values(), entries.keys(), ncol=4, **place)


def handle(label: str, colour: str, marker: str = "", line: str | tuple = "") -> Line2D:
    """An entry of a legend: a marker, a line, or both."""
    return Line2D([], [], color=colour, marker=marker, linestyle=line, label=labels.of_cells(label), markersize=6)


def logarithmic(axis: Axis) -> None:
    """Label a log axis with plain numbers, also within one decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.7g}"))
    axis.set_minor_formatter(NullFormatter())


def targets_on_x(ax: Axes, look: dict[str, tuple[str, str, str]]) -> None:
    """One column a target (of `looks`), named under the axis."""
    ax.set_xticks(range(len(look)), [label.replace("Pearson ", "Pearson\n") for label, *_ in look.values()])
    ax.set_xlim(-0.5, len(look) - 0.5)


def name_ends(ax: Axes) -> None:
    """Say above an axis of contested pairs what its ends and its middle are: by which skill a score ranks."""
    look = {"transform": ax.get_xaxis_transform(), "fontsize": 9, "color": "0.25", "va": "bottom"}
    for x, words, side in ((0, "by composition", "left"), (0.5, "a coin", "center"), (1, "by library", "right")):
        ax.text(x, 1.0, words, ha=side, **look)


def nothing(ax: Axes, why: str) -> Axes:
    """In place of a figure that has nothing to show: why that is."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes)
    return ax


def side_by_side(n: int, width: float = 0.8) -> tuple[np.ndarray, float]:
    """Where n targets stand around a tick so that they share `width` of the distance to the next, and what each has."""
    each = width / max(1, n)
    return (np.arange(n) - (n - 1) / 2) * each, each


def spread_out(n: int, width: float) -> np.ndarray:
    """Places of n points from -width to width, so that they do not hide each other; a single one at 0."""
    return np.linspace(-width, width, n) if n > 1 else np.zeros(n)


def in_rows(
    ax: Axes,
    table: pd.DataFrame,
    value: str,
    by: str,
    title: str,
    chance: str | None = None,
    level: str = "mean of the null",
) -> Axes:
    """`value` in a row for each `by`, the first on top: targets in their colours, a point a section, medians as bars.

    `table` has section and target besides; `chance` is a column drawn dashed (its median), `level` says
    what of the null.
    """
    table = table.dropna(subset=value)
    rows, look = list(dict.fromkeys(table[by])), looks(table["target"])
    offsets, width = side_by_side(len(look))
    for (row, target), part in table.groupby([by, "target"], sort=False):
        _, colour, marker = look[target]
        y = rows.index(row) + offsets[list(look).index(target)]
        around = y + spread_out(len(part), 0.3 * width)
        ax.scatter(part[value], around, s=24, color=colour, marker=marker, alpha=0.55, lw=0)
        ends = y - 0.45 * width, y + 0.45 * width
        ax.vlines(part[value].median(), *ends, color=colour, lw=3)
        if chance:
            ax.vlines(part[chance].median(), *ends, color=colour, lw=1.5, ls=DASHES)
    called = labels.FLOORS if by == "backbone" else {}  # the stain is a reading of the nuclei too
    ax.set_yticks(range(len(rows)), [labels.of_cells(called.get(row, label(row))) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    for i in range(1, len(rows)):
        ax.axhline(i - 0.5, color=PALE, lw=1, zorder=0)
    ax.set_title(f"{title}, {counted(table['section'].nunique(), 'sections')}")
    handles = [*(handle(*parts) for parts in look.values()), handle(*MEDIAN)]
    legend(ax, handles + ([handle(level, GREY, line=DASHES)] if chance else []))
    return ax
