"""What targets keep of nuclei and depth: tidy table -> axis."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from helpers.figures.style import (
    CHANCE,
    GREY,
    SECTIONS,
    TRANSFORMS,
    handle,
    in_rows,
    legend,
    logarithmic,
    looks,
    nothing,
    spread_out,
)
from helpers.labels import SIZE_FACTORS, counted, label, of_cells

SMOOTH, FEWEST = 12, 5  # a running median takes so small a part of the genes, and no fewer genes than that


def coupling_by_depth(ax: Axes, summary: pd.DataFrame, sections: pd.DataFrame, what: str = "depth") -> Axes:
    """Median |rho| of each section against its median depth: a normalization that leaks depth falls with it.

    Takes `coupling.section_summary` and the sections' table with section and median_total_counts.
    """
    table = summary.merge(sections[["section", "median_total_counts"]], on="section")
    table = table.dropna(subset=f"median_abs_rho_{what}")
    look = looks(table["target"])
    for target, (_, colour, marker) in look.items():
        part = table[table["target"] == target]
        ax.scatter(part["median_total_counts"], part[f"median_abs_rho_{what}"], s=34, color=colour, marker=marker, lw=0)
    ax.set(xscale="log", xlabel="median total counts of the section", ylabel=of_cells(f"median |ρ(target, {what})|"))
    logarithmic(ax.xaxis)
    ax.set_ylim(bottom=0)
    ax.set_title(f"Coupling to {what} by the section's depth\n{counted(table['section'].nunique(), 'sections')}")
    legend(ax, [handle(*parts) for parts in look.values()])
    return ax


def coupling_by_reading(ax: Axes, summary: pd.DataFrame) -> Axes:
    """Median |rho| with nuclei under each reading of them: a point a section, medians as bars, chance dashed.

    `summary` is `coupling.section_summary` of each reading, with a column reading; the first one is drawn on top.
    """
    title = of_cells("Coupling under each reading of the nuclei\nmedian over genes")
    in_rows(ax, summary, "median_abs_rho_nuclei", "reading", title, "chance_median_abs_rho_nuclei")
    ax.set(xlabel=of_cells("median |ρ(target, nuclei)|"), ylabel=of_cells("reading of the nuclei"))
    ax.set_xlim(left=0)
    return ax


def kept_by_section(ax: Axes, table: pd.DataFrame) -> Axes:
    """What one target keeps of cellularity, a row a section, and with depth held fixed; `organs.side_by_side`.

    Filled, with cellularity; open, given depth; grey bars to the 95 % point of each one's null.
    """
    table, rows = table.reset_index(drop=True), range(len(table))
    colours = dict(zip(table["cohort"].unique(), SECTIONS, strict=False))
    parts = {"median_abs_rho_nuclei": (0.17, None), "median_abs_rho_nuclei_given_depth": (-0.17, "white")}
    for name, (offset, face) in parts.items():
        at, colour = [row + offset for row in rows], table["cohort"].map(colours)
        ax.barh(at, table[f"chance_95_{name}"], height=0.3, color="0.88", zorder=0)
        ax.scatter(table[name], at, s=34, color=face or colour, edgecolor=colour, lw=1.2)
    ax.set_yticks(rows, [f"{row.section} ({row.patient})" for row in table.itertuples()])
    ax.set_ylim(len(table) - 0.5, -0.5)  # not inverted: panels share the axis
    ax.set(xlabel="median over genes of |ρ(target, cellularity)|", xlim=(0, None))
    ax.set_title(counted(len(table), "sections"))
    measures = table.groupby("cohort")["measure"].first()
    legend(ax, [handle(f"{name}, {measures[name]}", colour, "o") for name, colour in colours.items()], columns=1)
    return ax


def regions(ax: Axes, table: pd.DataFrame, name: str) -> Axes:
    """Ranks of cellularity, depth and targets in the regions of one section: boxes, a colour a region.

    `table` has region, what and value (`region_profile.profile`); regions stand from the densest to the emptiest.
    """
    import seaborn as sns

    first = table[table["what"] == table["what"].iloc[0]].groupby("region")["value"].median()
    order = list(first.sort_values(ascending=False).index)
    sns.boxplot(
        table, x="what", y="value", hue="region", hue_order=order, palette=SECTIONS[: len(order)], fliersize=1,
        linewidth=0.8, ax=ax,
    )  # fmt: skip
    ax.set_xticks(range(table["what"].nunique()), [label(what) for what in table["what"].unique()])
    ax.set(xlabel="", ylabel="rank within the section, 0 to 1")
    n = table.groupby("region").size() // table["what"].nunique()
    ax.set_title(f"Regions of {name}, {counted(int(n.sum()), 'spots')}")
    legend(ax, [handle(f"{region} ({n[region]})", SECTIONS[i], "s") for i, region in enumerate(order)], columns=2)
    return ax


def arms_by_depth(ax: Axes, arms: pd.DataFrame) -> Axes:
    """Median |rho| with depth of each section against its median depth, a colour a transform, chance in grey.

    `arms` has size_factor (one), transform, section, median_total_counts, median_rho_depth and chance_rho_depth; a word
    stands where it has no rows, as of nuclei in a cohort without images.
    """
    if arms.empty:
        return nothing(ax, "no section of this cohort\nhas what these arms need")
    chance = arms.groupby("section").median(numeric_only=True)
    at = {"s": 14, "color": "0.7", "marker": "_", "zorder": 0}
    ax.scatter(chance["median_total_counts"], chance["chance_rho_depth"], **at)
    transforms = [transform for transform in TRANSFORMS if transform in set(arms["transform"])]
    for transform in transforms:
        part = arms[arms["transform"] == transform]
        at = {"s": 26, "color": TRANSFORMS[transform][1], "marker": TRANSFORMS[transform][2], "lw": 0, "alpha": 0.8}
        ax.scatter(part["median_total_counts"], part["median_rho_depth"], **at)
    ax.set(xscale="log", xlabel="median total counts of the section", ylabel="median |ρ(target, depth)|")
    logarithmic(ax.xaxis)
    ax.set_title(f"{SIZE_FACTORS[arms['size_factor'].iloc[0]]}\n{counted(len(chance), 'sections')}")
    legend(ax, [*(handle(*TRANSFORMS[t]) for t in transforms), handle("mean of the null", "0.7", "_")], columns=2)
    return ax


def by_arm(ax: Axes, arms: pd.DataFrame, value: str, name: str, marks: Mapping[str, tuple[str, str, str]] = {}) -> Axes:
    """`value`, called `name`, of every arm, from the top in the table's order: a point a section, medians as bars.

    `arms` has size_factor, transform, section, `value`, and the columns of `marks`, drawn as medians in the label,
    colour and marker given there. Grey lines part the size factors.
    """
    order = list(dict.fromkeys(zip(arms["size_factor"], arms["transform"], strict=True)))
    for y, (size_factor, transform) in enumerate(order):
        part = arms[(arms["size_factor"] == size_factor) & (arms["transform"] == transform)]
        colour = TRANSFORMS[transform][1]
        ax.scatter(part[value], y + spread_out(len(part), 0.22), s=16, color=colour, alpha=0.55, lw=0)
        ax.vlines(part[value].median(), y - 0.38, y + 0.38, color=colour, lw=3)
        for column, (_, shade, marker) in marks.items():
            ax.plot(part[column].median(), y, marker, color=shade, ms=6, mew=1.5)
        if y and size_factor != order[y - 1][0]:
            ax.axhline(y - 0.5, color="0.85", lw=1, zorder=0)
    ax.axvline(0, color=GREY, lw=0.8, zorder=0)
    ax.set_yticks(range(len(order)), [f"{SIZE_FACTORS[size]}, {TRANSFORMS[transform][0]}" for size, transform in order])
    ax.set(xlabel=name, ylim=(len(order) - 0.5, -0.5))
    ax.set_title(counted(arms["section"].nunique(), "sections"))
    legend(ax, [handle("median", GREY, "|"), *(handle(*mark) for mark in marks.values())], columns=1)
    return ax


def frontier(ax: Axes, arms: pd.DataFrame, x: str, y: str, levels: Mapping[str, tuple[float, tuple]] = {}) -> Axes:
    """`y` against `x`, colours what counts are divided by, markers what is done then: faint sections, large medians.

    `arms` has size_factor, transform, section, `x` and `y`; `levels` are named horizontal lines: value and dashes.
    """
    colour = dict(zip(SIZE_FACTORS, SECTIONS, strict=False))
    arms = arms.dropna(subset=[x, y])
    for (size_factor, transform), part in arms.groupby(["size_factor", "transform"], sort=False):
        at = {"color": colour[size_factor], "marker": TRANSFORMS[transform][2]}
        ax.scatter(part[x], part[y], s=16, alpha=0.25, lw=0, **at)
        ax.scatter(part[x].median(), part[y].median(), s=95, edgecolor="white", lw=1, zorder=3, **at)
    for value, dashes in levels.values():
        ax.axhline(value, color=GREY, lw=1.3, ls=dashes, zorder=0)
    ax.set_xlim(left=0)
    ax.set_title(counted(arms["section"].nunique(), "sections"))
    there = {*arms["size_factor"], *arms["transform"]}
    sizes = [handle(text, colour[size], "s") for size, text in SIZE_FACTORS.items() if size in there]
    shapes = [handle(name, GREY, marker) for t, (name, _, marker) in TRANSFORMS.items() if t in there]
    legend(ax, [*sizes, *shapes, *(handle(text, GREY, line=dashes) for text, (_, dashes) in levels.items())], 2)
    return ax


def kept_by_coupling(ax: Axes, arms: pd.DataFrame, what: str, name: str, levels: Mapping[str, float]) -> Axes:
    """What arms keep of the tissue, called `name`, against their coupling to `what`; a word where none has both.

    The last two columns of `arms` are coupling and what is kept; `levels` are those of `frontier`, the null dashed.
    """
    if arms.empty:
        return nothing(ax, f"no section of this cohort has both\n{what} and what this needs")
    lines = {text: (value, CHANCE[-1] if text == CHANCE[0] else "-") for text, value in levels.items()}
    frontier(ax, arms, *arms.columns[-2:], lines)
    ax.set(xlabel=of_cells(f"coupling: median |ρ(target, {what})|"), ylabel=name)
    return ax


def mean_variance(ax: Axes, moments: pd.DataFrame) -> Axes:
    """Variance of each target against the gene's mean count; a stabilized target lies flat.

    `moments` has target, gene, mean_count and variance; the line is a running median over genes.
    """
    look = looks(moments["target"])
    for target, (_, colour, marker) in look.items():
        part = moments[(moments["target"] == target) & (moments["mean_count"] > 0) & (moments["variance"] > 0)]
        part = part.sort_values("mean_count")
        style = {"color": colour, "marker": marker, "lw": 0, "rasterized": True}
        ax.scatter(part["mean_count"], part["variance"], s=12, alpha=0.4, **style)
        window = max(FEWEST, len(part) // SMOOTH)
        running = part[["mean_count", "variance"]].rolling(window, center=True).median()
        ax.plot(running["mean_count"], running["variance"], color="white", lw=4)
        ax.plot(running["mean_count"], running["variance"], color=colour, lw=2)
    ax.axhline(1, color=GREY, lw=0.8, ls="--", zorder=0)
    ax.set(xscale="log", yscale="log", xlabel="mean count of the gene", ylabel="variance of the target")
    logarithmic(ax.xaxis)
    logarithmic(ax.yaxis)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_title(f"Mean and variance\n{counted(moments['gene'].nunique(), 'genes')}")
    legend(ax, [handle(*parts) for parts in look.values()])
    return ax
