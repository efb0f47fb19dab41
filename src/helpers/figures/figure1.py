"""Figure 1 of the paper, panel by panel, and what stands beside its panels: tidy table -> axis."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from helpers.figures.style import (
    CHANCE,
    DARK,
    DASHES,
    FEW,
    FLOORS,
    GREY,
    HIGH,
    LONG_DASHES,
    MEDIAN,
    PALE,
    SECTIONS,
    handle,
    legend,
    logarithmic,
    looks,
    nothing,
    side_by_side,
    spread_out,
    targets_on_x,
)
from helpers.labels import counted, of_cells
from helpers.schema import measure

UPRIGHT = 12  # names of more sections than that stand upright
SMOOTH = 15  # the ceiling is smoothed over so small a part of the genes
RANKED = {"same": "ranked on the same section", "nested": "ranked on the other sections"}

# Panels A to C --------------------------------------------------------------------------------------------------


def depth_by_section(ax: Axes, spots: pd.DataFrame) -> Axes:
    """Total counts of the spots of each section, coloured by patient; `spots` has section, patient, total_counts."""
    import seaborn as sns

    patients = list(dict.fromkeys(spots["patient"]))
    colours = {patient: SECTIONS[i % len(SECTIONS)] for i, patient in enumerate(patients)}
    sns.boxplot(spots, x="section", y="total_counts", hue="patient", palette=colours, fliersize=1, linewidth=0.8, ax=ax)
    ax.set(yscale="log", xlabel="", ylabel="total counts per spot")
    logarithmic(ax.yaxis)
    ax.tick_params(axis="x", rotation=90 if spots["section"].nunique() > UPRIGHT else 0)
    ax.set_title(f"Depth of {counted(spots['section'].nunique(), 'sections')}, {counted(len(spots), 'spots')}")
    legend(ax, [handle(patient, colours[patient], "s") for patient in patients], columns=8)
    return ax


def nuclei_and_depth(ax: Axes, spots: pd.DataFrame) -> Axes:
    """Panel A: depth against nuclei per spot, Spearman per section.

    `spots` has section, patient, total_counts and n_nuclei, or haematoxylin. Few sections are coloured and named each;
    many by patient, with the median rho of the patient's sections. Spots without counts have no place on the log axis.
    """
    cells = measure(spots)
    spots = spots[spots[cells].notna() & (spots["total_counts"] > 0)]
    columns = [cells, "total_counts"]
    rho = spots.groupby(["patient", "section"])[columns].apply(lambda s: s.corr("spearman").iloc[0, 1])
    by = "section" if len(rho) <= FEW else "patient"
    handles = []
    for i, (name, part) in enumerate(spots.groupby(by)):
        colour = SECTIONS[i % len(SECTIONS)]
        # As pixels also in SVG: a cohort has thousands of spots.
        ax.scatter(part[cells], part["total_counts"], s=7, color=colour, alpha=0.45, lw=0, rasterized=True)
        own = rho.xs(name, level=by)
        label = f"{name}  {own.iloc[0]:.2f}" if by == "section" else f"{name} ({len(own)})  {own.median():.2f}"
        handles.append(handle(label, colour, "o"))
    ax.set(xlabel=of_cells("nuclei per spot"), ylabel="total counts per spot", yscale="log")
    logarithmic(ax.yaxis)
    size = f"{counted(len(rho), 'sections')}, {counted(len(spots), 'spots')}"
    ax.set_title(of_cells("Nuclei and depth") + f", median ρ = {rho.median():.2f}\n{size}")
    legend(ax, handles, columns=4 if by == "patient" else 3)
    title = "section  ρ" if by == "section" else "patient (sections)  median ρ"
    ax.get_legend().set_title(title, prop={"size": 9})
    return ax


def _per_section(ax: Axes, summary: pd.DataFrame, value: str, chance: str) -> int:
    """Targets side by side, lines joining a section, medians as bars, chance dashed; returns the number of sections."""
    wide = summary.pivot(index="section", columns="target", values=value).dropna(how="all")
    levels = summary.pivot(index="section", columns="target", values=chance)
    look = looks(summary["target"])
    x = np.arange(len(look))
    for _, row in wide[list(look)].iterrows():
        ax.plot(x, row, color=GREY, lw=0.8, alpha=0.5, zorder=1)
    for i, (target, (_, colour, marker)) in enumerate(look.items()):
        values = wide[target].dropna()
        ax.scatter(np.full(len(values), i), values, s=30, color=colour, marker=marker, alpha=0.75, lw=0, zorder=2)
        known = levels[target].dropna()
        ax.hlines(values.median(), i - 0.22, i + 0.22, color=colour, lw=3, zorder=3)
        ax.hlines(known.median(), i - 0.22, i + 0.22, color="black", lw=1.5, ls=DASHES, zorder=3)
    targets_on_x(ax, look)
    ax.set_ylim(bottom=0)
    if 0 < len(wide) <= FEW:
        _name(ax, wide[next(iter(look))].dropna())
    return len(wide)


def _name(ax: Axes, values: pd.Series) -> None:
    """Names of sections left of their points in the first column, moved apart where they would touch."""
    gap = 0.05 * abs(np.subtract(*ax.get_ylim()))
    height = -np.inf
    for section, value in values.sort_values().items():
        height = max(value, height + gap)
        place = {"xytext": (-0.26, height), "textcoords": "data", "va": "center", "ha": "right", "fontsize": 8}
        ax.annotate(section, (-0.04, value), arrowprops={"arrowstyle": "-", "color": "0.75", "lw": 0.6}, **place)
    ax.set_ylim(top=max(ax.get_ylim()[1], height + gap))


def median_coupling(ax: Axes, summary: pd.DataFrame, what: str = "nuclei") -> Axes:
    """Panel B: median over genes of |rho| with nuclei (or `depth`), per section; takes `coupling.section_summary`."""
    chance = f"chance_median_abs_rho_{what}"
    n = _per_section(ax, _with(summary, chance), f"median_abs_rho_{what}", chance)
    ax.set_ylabel(of_cells(f"median |ρ(target, {what})|"))
    ax.set_title(of_cells(f"Coupling to {what}\nmedian over genes, {counted(n, 'sections')}"))
    legend(ax, _median_and_chance(chance in summary))
    return ax


def share_coupled(ax: Axes, summary: pd.DataFrame, threshold: float = 0.3) -> Axes:
    """Panel C: share of genes with |rho| above `threshold`, per section; takes `coupling.section_summary`."""
    chance = "chance_share_coupled_nuclei"
    n = _per_section(ax, _with(summary, chance), "share_coupled_nuclei", chance)
    ax.set_ylim(-0.03, max(1.03, ax.get_ylim()[1]))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_ylabel(of_cells(f"genes with |ρ(nuclei)| > {threshold:g}"))
    ax.set_title(of_cells(f"Genes coupled to nuclei\n{counted(n, 'sections')}"))
    legend(ax, _median_and_chance(chance in summary))
    return ax


def _median_and_chance(chance: bool) -> list[Line2D]:
    return [handle(*MEDIAN)] + ([handle(*CHANCE)] if chance else [])


def _with(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table with that column, NaN where it has none."""
    return table if column in table else table.assign(**{column: np.nan})


# Panels D to F --------------------------------------------------------------------------------------------------


def _by_k(ax: Axes, table: pd.DataFrame, value: str) -> dict[tuple[str, int], float]:
    """Sections as points over k, targets side by side, medians as bars; where each target stands, by target and k."""
    look = looks(table["target"])
    ks = sorted(table["k"].unique())
    offsets, width = side_by_side(len(look))
    places = {}
    for i, (target, (_, colour, marker)) in enumerate(look.items()):
        for j, k in enumerate(ks):
            values = table.loc[(table["target"] == target) & (table["k"] == k), value].dropna()
            x = places[target, k] = j + offsets[i]
            around = x + spread_out(len(values), 0.3 * width)
            ax.scatter(around, values, s=16, color=colour, marker=marker, alpha=0.55, lw=0)
            ax.hlines(values.median(), x - 0.4 * width, x + 0.4 * width, color=colour, lw=3)
    ax.set_xticks(range(len(ks)), [str(k) for k in ks])
    ax.set(xlim=(-0.5, len(ks) - 0.5), xlabel="k most predictable genes")
    for j in range(1, len(ks)):
        ax.axvline(j - 0.5, color=PALE, lw=1, zorder=0)
    return places


def _of(table: pd.DataFrame, backbone: str, split: str, ranking: str | None = None) -> pd.DataFrame:
    """Rows of one backbone, split and, where it is given, ranking."""
    part = table[(table["backbone"] == backbone) & (table["split"] == split)]
    return part if ranking is None else part[part["ranking"] == ranking]


def _fitted(table: pd.DataFrame, backbone: str, split: str, ranking: str | None = None) -> pd.DataFrame:
    """The same of a backbone that must be there; ValueError says what the table holds."""
    part = _of(table, backbone, split, ranking)
    if part.empty:
        held = ", ".join(sorted(set(table["backbone"] + " by " + table["split"]))) or "nothing"
        raise ValueError(f"no predictions of {backbone} by {split} to draw: the table holds {held}")
    return part


def predictability_top(
    ax: Axes, top: pd.DataFrame, backbone: str, split: str = "section", ranking: str = "same"
) -> Axes:
    """Panel D: mean PCC of the k most predictable genes, under its noise ceiling and above the one-feature floors.

    Takes `top_genes.top_genes`; floors are drawn for the backbones `nuclei` and `depth` that it holds (medians).
    """
    own = _fitted(top, backbone, split, ranking)
    places = _by_k(ax, own, "pcc")
    look = looks(own["target"])
    width = 0.32 / len(look)
    floors = [floor for floor in FLOORS if floor in set(top["backbone"])]
    for (target, k), x in places.items():
        ceiling = own.loc[(own["target"] == target) & (own["k"] == k), "ceiling"].median()
        ax.hlines(ceiling, x - width, x + width, color=look[target][1], lw=1.5, ls=DASHES)
        for floor in floors:
            part = _of(top, floor, split, ranking)
            level = part.loc[(part["target"] == target) & (part["k"] == k), "pcc"].median()
            ax.plot(x, level, FLOORS[floor][1], color="black", ms=6, mew=1.5, zorder=4)
    ax.axhline(0, color=GREY, lw=0.8, zorder=0)
    ax.set_ylim(min(0, *ax.get_ylim()), 1.02)
    ax.set_ylabel("PCC, mean of the k genes")
    ax.set_title(f"Predictability, {backbone}, {counted(own['section'].nunique(), 'sections')}\n{RANKED[ranking]}")
    handles = [handle(*parts) for parts in look.values()]
    handles.append(handle("noise ceiling", GREY, line=DASHES))
    legend(ax, handles + [handle(label, "black", marker) for label, marker in map(FLOORS.get, floors)])
    return ax


def predictability_by_rank(ax: Axes, ranked: pd.DataFrame, backbone: str, split: str = "section") -> Axes:
    """Panel D over the whole panel: PCC against the gene's rank, median and quartiles over sections.

    Takes `top_genes.pcc_by_rank`. Dashed: noise ceiling of the genes at that rank; dotted: the floor of nuclei alone.
    """
    own, floor = _fitted(ranked, backbone, split), _of(ranked, "nuclei", split)
    look = looks(own["target"])
    for target, (_, colour, _) in look.items():
        part = own[own["target"] == target].sort_values("rank")
        ax.plot(part["rank"], part["pcc"], color=colour, lw=2)
        ax.fill_between(part["rank"], part["low"], part["high"], color=colour, alpha=0.18, lw=0)
        smooth = part["ceiling"].rolling(max(1, len(part) // SMOOTH), center=True, min_periods=1).median()
        ax.plot(part["rank"], smooth, color=colour, lw=1.2, ls=LONG_DASHES)
        below = floor[floor["target"] == target].sort_values("rank")
        ax.plot(below["rank"], below["pcc"], color=colour, lw=1.4, ls=":")
    ax.axhline(0, color=GREY, lw=0.8, zorder=0)
    n_genes, n = own["rank"].max(), own["n_sections"].max()
    ax.set(xlabel="rank of the gene in its section", ylabel="PCC", xlim=(1, n_genes))
    ax.set_ylim(top=1.02)
    ax.set_title(f"Predictability gene by gene, {backbone}\n{counted(n_genes, 'genes')}, {counted(n, 'sections')}")
    handles = [handle(label, colour, line="-") for label, colour, _ in look.values()]
    handles.append(handle("noise ceiling", GREY, line=LONG_DASHES))
    legend(ax, handles + ([handle("nuclei alone", GREY, line=":")] if len(floor) else []))
    return ax


def gene_by_gene(ax: Axes, predictability: pd.DataFrame, x: str = "log2", y: str = "pearson_residual") -> Axes:
    """PCC of the same gene in two targets, medians over sections; `predictability` of one backbone and split."""
    table = predictability.groupby(["gene", "target"])["pcc"].median().unstack().reindex(columns=[x, y]).dropna()
    if table.empty:
        return nothing(ax, "no gene was predicted in both")
    ends = [min(0, table.min(axis=None)) - 0.03, table.max(axis=None) + 0.03]
    ax.plot(ends, ends, color=GREY, lw=1, ls="--", zorder=0)
    ax.scatter(table[x], table[y], s=16, color=DARK, alpha=0.6, lw=0)
    look = looks([x, y])
    ax.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"PCC, {look[x][0]}", ylabel=f"PCC, {look[y][0]}")
    above = (table[y] > table[x]).mean()
    n = counted(predictability["section"].nunique(), "sections")
    ax.set_title(f"The same genes, {above:.0%} above the diagonal\n{counted(len(table), 'genes')}, {n}")
    return ax


def top_gene_coupling(ax: Axes, top: pd.DataFrame, backbone: str, split: str = "section") -> Axes:
    """Panel E: mean |rho| with nuclei of the k most predictable genes, with its chance; takes `top_genes.top_genes`."""
    own = _fitted(top, backbone, split, "same").dropna(subset="abs_rho")
    places = _by_k(ax, own, "abs_rho")
    look = looks(own["target"])
    width = 0.4 / len(look)
    for (target, k), x in places.items():
        chance = own.loc[(own["target"] == target) & (own["k"] == k), "chance"].median()
        ax.hlines(chance, x - width, x + width, color=look[target][1], lw=1.4, ls=DASHES, zorder=1)
    handles = [handle(*parts) for parts in look.values()] + [handle("mean of the null, same genes", GREY, line=DASHES)]
    ax.set_ylim(bottom=0)
    ax.set_ylabel(of_cells("mean |ρ(target, nuclei)|"))
    n = counted(own["section"].nunique(), "sections")
    ax.set_title(f"Coupling of the predictable genes, {backbone}\n{n}, {RANKED['same']}")
    legend(ax, handles)
    return ax


def predictability_and_coupling(ax: Axes, couplings: pd.DataFrame, backbone: str, split: str = "section") -> Axes:
    """Panel F: per section, Spearman over genes of PCC and |rho| with nuclei, plain and given abundance.

    Takes `top_genes.couplings`, with chance_95 where the null is known; a line joins the two values of a section.
    Nuclei alone, where they are among the backbones, stand beside: the coupling of a prediction that knows no more.
    """
    own, floor = _fitted(couplings, backbone, split), couplings.query("backbone == 'nuclei' and split == @split")
    own = _with(own, "chance_95")
    look = looks(own["target"])
    for i, (target, (_, colour, marker)) in enumerate(look.items()):
        part = own[own["target"] == target]
        plain, given = part["coupling"], part["coupling_given_abundance"]
        ax.plot([i - 0.18, i + 0.18], [plain, given], color=GREY, lw=0.8, alpha=0.5, zorder=1)
        for x, values, face in ((i - 0.18, plain, colour), (i + 0.18, given, "white")):
            at = np.full(len(values), x)
            ax.scatter(at, values, s=30, facecolor=face, edgecolor=colour, marker=marker, alpha=0.85, zorder=2)
            ax.hlines(values.median(), x - 0.11, x + 0.11, color=colour, lw=3, zorder=3)
        ax.hlines(part["chance_95"].median(), i - 0.32, i - 0.04, color="black", lw=1.5, ls=DASHES, zorder=3)
        alone = floor.loc[floor["target"] == target, "coupling"]
        ax.hlines(alone.median(), i - 0.32, i - 0.04, color="black", lw=1.2, ls=":", zorder=3)
    ax.axhline(0, color=GREY, lw=0.8, zorder=0)
    targets_on_x(ax, look)
    ax.set_ylabel(of_cells("ρ over genes (PCC, |ρ nuclei|)"))
    n = counted(own["section"].nunique(), "sections")
    ax.set_title(f"Are predictable genes the coupled ones?\n{backbone}, {n}, {counted(own['n_genes'].max(), 'genes')}")
    hollow = Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="", label="given abundance")
    lines = [handle(HIGH, "black", line=DASHES), handle("nuclei alone", "black", line=":")]
    legend(ax, [handle("plain", GREY, "o"), hollow, *lines])
    return ax


# All six --------------------------------------------------------------------------------------------------------


def figure1(
    axes: Sequence[Axes],
    spots: pd.DataFrame,
    summary: pd.DataFrame,
    top: pd.DataFrame,
    couplings: pd.DataFrame,
    backbone: str,
    split: str = "section",
) -> Sequence[Axes]:
    """The paper's Figure 1 on six axes, labelled A to F; tables as the six panels take them.

    Genes are ranked on the very section, as published.
    """
    axes = np.asarray(axes).ravel()
    nuclei_and_depth(axes[0], spots)
    median_coupling(axes[1], summary)
    share_coupled(axes[2], summary)
    predictability_top(axes[3], top, backbone, split)
    top_gene_coupling(axes[4], top, backbone, split)
    predictability_and_coupling(axes[5], couplings, backbone, split)
    for letter, ax in zip("ABCDEF", axes, strict=True):
        ax.annotate(letter, (0, 1), (-46, 12), "axes fraction", "offset points", fontsize=17, fontweight="bold")
    return axes
