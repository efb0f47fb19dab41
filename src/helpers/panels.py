"""One look for all figures: functions that draw tidy tables on a given axis and return it.

Colours and markers of the targets are the same everywhere and tell them apart for colour-blind eyes and in print.
Every panel says in its title how many sections, spots or genes it shows; chance levels and floors are grey or black.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from matplotlib.transforms import ScaledTranslation
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

TARGETS = {  # label, colour (Okabe & Ito 2008), marker
    "log2": ("log2(x + 1)", "#D55E00", "o"),
    "pearson_residual": ("Pearson residual", "#0072B2", "s"),
    "log1p_cp10k": ("log1p(CP10k)", "#009E73", "^"),
}
METRICS = {
    "median_abs_rho_nuclei": "median over genes of |ρ(target, nuclei)|",
    "share_coupled_nuclei": "share of genes with |ρ(target, nuclei)| > 0.3",
    "median_abs_rho_depth": "median over genes of |ρ(target, depth)|",
    "share_coupled_depth": "share of genes with |ρ(target, depth)| > 0.3",
    "rho_nuclei_depth": "ρ(nuclei, depth)",
    "median_delta": "Δ of the top k genes",
    "wilcoxon_p_one_sided": "one-sided Wilcoxon p",
    "wilcoxon_p_two_sided": "two-sided Wilcoxon p",
    "permutation_p": "sign-flip p",
}
READINGS = {  # of the nuclei under a spot
    "disc": "count in the spot's disc",
    "crop": "count in STEM's crop",
    "area": "nuclear area in the disc",
    "threshold_low": "classical, threshold −20 %",
    "threshold_high": "classical, threshold +20 %",
    "classical": "classical",
    "table": "nuclei given as a file",
    "haematoxylin": "mean haematoxylin in the disc",
}
ROWS = {  # backbones that are floors, and counts that are controls
    "nuclei": "nuclei alone",
    "depth": "measured depth (oracle)",
    "position": "place in the section",
    "real": "as measured",
    "depth_only": "depth-only twin",
    "equal_depth": "equal-depth twin",
}
TRAINED = {  # spaces besides targets, and predictions put together of two
    "counts": "counts",
    "library": "predicted library alone",
    "residual_library": "residual, predicted library",
    "residual_oracle": "residual, measured library\n(oracle)",
}
SIZE_FACTORS = {  # what counts of an arm are divided by; the last two see to depth in another way
    "none": "not divided",
    "total": "÷ all counts",
    "panel_total": "÷ panel's counts",
    "nuclei": "÷ nuclei",
    "spot": "within the spot",
    "corrected": "corrected log",
}
TRANSFORMS = {  # label, colour, marker
    "identity": ("as it is", "#E69F00", "v"),
    "sqrt": ("square root", "#009E73", "^"),
    "log": ("log", "#D55E00", "o"),
    "acosh": ("acosh", "#CC79A7", "D"),
    "pearson_residual": ("Pearson residual", "#0072B2", "s"),
    "clr": ("centred log-ratio", "#56B4E9", "P"),
    "rank": ("rank", "#117733", "X"),
    "depth_regressed_log": ("depth regressed out", "#332288", "<"),
    "nuclei_regressed_log": ("nuclei regressed out", "#999933", ">"),
    "thinned": ("thinned to equal depth", "#882255", "p"),
}
OTHER_TARGETS = (("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"))
FLOORS = {"nuclei": ("nuclei alone", "x"), "depth": ("depth alone", "+")}
SECTIONS = ("#332288", "#44AA99", "#DDCC77", "#CC6677", "#88CCEE", "#117733", "#AA4499", "#999933", "#882255")  # Tol
GREY = "#7F7F7F"
FEW = 9  # up to so many sections each has its colour and name


def style() -> None:
    """Set the look of every figure that follows; white ground, so that pages may be dark or light."""
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
    }
    sns.set_theme(style="ticks", font="DejaVu Sans", rc=rc)


def png(draw: Callable[[Axes], object], width: float, height: float) -> bytes:
    """A figure of one axis, width x height in inches, as the bytes of a PNG."""
    style()
    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure.subplots())
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=130)
        return file.getvalue()


def label(name: str) -> str:
    """How a target, metric, reading, floor, control or space is called; what is unknown keeps its name."""
    return TARGETS[name][0] if name in TARGETS else (METRICS | READINGS | ROWS | TRAINED).get(name, name)


def flags(skill: pd.DataFrame) -> str:
    """The remark (Markdown) that goes wherever scores are shown: which of them need no biology.

    `skill` is what `scores.twin_skill` returns.
    """
    raised = skill[skill["flagged"]]
    if raised.empty:
        return "No score shows skill in most sections where only depth varies ([controls](11_controls.ipynb))."
    by_backbone = raised.assign(name=raised["target"].map(label)).groupby("backbone", sort=False)["name"]
    listed = "; ".join(f"`{backbone}` in {', '.join(names)}" for backbone, names in by_backbone)
    return (
        ":::{note}\n⚑ Scores that show skill also on counts in which only depth varies, in more than half of the "
        f"sections: {listed}. Such a score alone is no evidence of biology ([controls](11_controls.ipynb)).\n:::"
    )


def looks(targets: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Label, colour and marker of each target, known ones first; a new one gets the next colour that is free."""
    new = [target for target in dict.fromkeys(targets) if target not in TARGETS]
    look = {target: TARGETS[target] for target in TARGETS if target in set(targets)}
    return look | {t: (t, *OTHER_TARGETS[i % len(OTHER_TARGETS)]) for i, t in enumerate(new)}


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n != 1 else f"1 {what.removesuffix('s')}"


def _legend(ax: Axes, handles: list, columns: int = 3) -> None:
    """Under the axis and its labels, at the same distance whatever its height: there it hides no point."""
    under = ax.transAxes + ScaledTranslation(0, -42 / 72, ax.figure.dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": under}
    ax.legend(handles=handles, ncol=columns, handletextpad=0.4, columnspacing=1.2, **place)


def _handle(label: str, colour: str, marker: str = "", line: str = "") -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle=line, label=label, markersize=6)


def _logarithmic(axis: Axis) -> None:
    """Label a log axis with plain numbers, also within one decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.7g}"))
    axis.set_minor_formatter(NullFormatter())


def _targets_on_x(ax: Axes, look: dict[str, tuple[str, str, str]]) -> None:
    ax.set_xticks(range(len(look)), [label.replace("Pearson ", "Pearson\n") for label, *_ in look.values()])
    ax.set_xlim(-0.5, len(look) - 0.5)


def _spread(n: int, width: float) -> np.ndarray:
    return np.linspace(-width, width, n) if n > 1 else np.zeros(n)


def depth_by_section(ax: Axes, spots: pd.DataFrame) -> Axes:
    """Total counts of the spots of each section, coloured by patient; `spots` has section, patient, total_counts."""
    import seaborn as sns

    patients = list(dict.fromkeys(spots["patient"]))
    colours = {patient: SECTIONS[i % len(SECTIONS)] for i, patient in enumerate(patients)}
    sns.boxplot(spots, x="section", y="total_counts", hue="patient", palette=colours, fliersize=1, linewidth=0.8, ax=ax)
    ax.set(yscale="log", xlabel="", ylabel="total counts per spot")
    _logarithmic(ax.yaxis)
    ax.tick_params(axis="x", rotation=90 if spots["section"].nunique() > 12 else 0)
    ax.set_title(f"Depth of {_count(spots['section'].nunique(), 'sections')}, {_count(len(spots), 'spots')}")
    _legend(ax, [_handle(patient, colours[patient], "s") for patient in patients], columns=8)
    return ax


# Figure 1 -------------------------------------------------------------------------------------------------------


def nuclei_and_depth(ax: Axes, spots: pd.DataFrame) -> Axes:
    """Panel A: depth against nuclei per spot, Spearman per section.

    `spots` has section, patient, n_nuclei, total_counts. Few sections are coloured and named each; many by patient,
    with the median rho of the patient's sections. Spots without counts have no place on the log axis and are left out.
    """
    spots = spots[spots["n_nuclei"].notna() & (spots["total_counts"] > 0)]
    columns = ["n_nuclei", "total_counts"]
    rho = spots.groupby(["patient", "section"])[columns].apply(lambda s: s.corr("spearman").iloc[0, 1])
    by = "section" if len(rho) <= FEW else "patient"
    handles = []
    for i, (name, part) in enumerate(spots.groupby(by)):
        colour = SECTIONS[i % len(SECTIONS)]
        # As pixels also in SVG: a cohort has thousands of spots.
        ax.scatter(part["n_nuclei"], part["total_counts"], s=7, color=colour, alpha=0.45, lw=0, rasterized=True)
        own = rho.xs(name, level=by)
        label = f"{name}  {own.iloc[0]:.2f}" if by == "section" else f"{name} ({len(own)})  {own.median():.2f}"
        handles.append(_handle(label, colour, "o"))
    ax.set(xlabel="nuclei per spot", ylabel="total counts per spot", yscale="log")
    _logarithmic(ax.yaxis)
    size = f"{_count(len(rho), 'sections')}, {_count(len(spots), 'spots')}"
    ax.set_title(f"Nuclei and depth, median ρ = {rho.median():.2f}\n{size}")
    _legend(ax, handles, columns=4 if by == "patient" else 3)
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
        ax.hlines(known.median(), i - 0.22, i + 0.22, color="black", lw=1.5, ls=(0, (2, 1)), zorder=3)
    _targets_on_x(ax, look)
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


_CHANCE = ("chance (median)", "black", "", (0, (2, 1)))
_MEDIAN = ("median of sections", GREY, "", "-")


def median_coupling(ax: Axes, summary: pd.DataFrame, what: str = "nuclei") -> Axes:
    """Panel B: median over genes of |rho| with nuclei (or `depth`), per section; takes `scores.section_summary`."""
    chance = f"chance_abs_rho_{what}"
    n = _per_section(ax, _with(summary, chance), f"median_abs_rho_{what}", chance)
    ax.set_ylabel(f"median |ρ(target, {what})|")
    ax.set_title(f"Coupling to {what}\nmedian over genes, {_count(n, 'sections')}")
    _legend(ax, [_handle(*_MEDIAN)] + ([_handle(*_CHANCE)] if chance in summary else []))
    return ax


def share_coupled(ax: Axes, summary: pd.DataFrame, what: str = "nuclei") -> Axes:
    """Panel C: share of genes with |rho| above 0.3, per section; takes `scores.section_summary`."""
    chance = f"chance_share_{what}"
    n = _per_section(ax, _with(summary, chance), f"share_coupled_{what}", chance)
    ax.set_ylim(-0.03, max(1.03, ax.get_ylim()[1]))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_ylabel(f"genes with |ρ({what})| > 0.3")
    ax.set_title(f"Genes coupled to {what}\n{_count(n, 'sections')}")
    _legend(ax, [_handle(*_MEDIAN)] + ([_handle(*_CHANCE)] if chance in summary else []))
    return ax


def _with(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table if column in table else table.assign(**{column: np.nan})


def _by_k(ax: Axes, table: pd.DataFrame, value: str) -> dict[tuple[str, int], float]:
    """Sections as points over k, targets side by side, medians as bars; where each target stands, by target and k."""
    look = looks(table["target"])
    ks = sorted(table["k"].unique())
    width = 0.8 / len(look)
    places = {}
    for i, (target, (_, colour, marker)) in enumerate(look.items()):
        for j, k in enumerate(ks):
            values = table.loc[(table["target"] == target) & (table["k"] == k), value].dropna()
            x = places[target, k] = j + (i - (len(look) - 1) / 2) * width
            around = x + _spread(len(values), 0.3 * width)
            ax.scatter(around, values, s=16, color=colour, marker=marker, alpha=0.55, lw=0)
            ax.hlines(values.median(), x - 0.4 * width, x + 0.4 * width, color=colour, lw=3)
    ax.set_xticks(range(len(ks)), [str(k) for k in ks])
    ax.set(xlim=(-0.5, len(ks) - 0.5), xlabel="k most predictable genes")
    for j in range(1, len(ks)):
        ax.axvline(j - 0.5, color="0.92", lw=1, zorder=0)
    return places


def _of(table: pd.DataFrame, backbone: str, split: str, ranking: str | None = None) -> pd.DataFrame:
    part = table[(table["backbone"] == backbone) & (table["split"] == split)]
    return part if ranking is None else part[part["ranking"] == ranking]


def _fitted(table: pd.DataFrame, backbone: str, split: str, ranking: str | None = None) -> pd.DataFrame:
    part = _of(table, backbone, split, ranking)
    if part.empty:
        held = ", ".join(sorted(set(table["backbone"] + " by " + table["split"]))) or "nothing"
        raise ValueError(f"no predictions of {backbone} by {split} to draw: the table holds {held}")
    return part


RANKED = {"same": "ranked on the same section", "nested": "ranked on the other sections"}


def predictability_top(
    ax: Axes, top: pd.DataFrame, backbone: str, split: str = "section", ranking: str = "same"
) -> Axes:
    """Panel D: mean PCC of the k most predictable genes, under its noise ceiling and above the one-feature floors.

    Takes `scores.top_genes`; floors are drawn for the backbones `nuclei` and `depth` that it holds (medians).
    """
    own = _fitted(top, backbone, split, ranking)
    places = _by_k(ax, own, "pcc")
    look = looks(own["target"])
    width = 0.32 / len(look)
    floors = [floor for floor in FLOORS if floor in set(top["backbone"])]
    for (target, k), x in places.items():
        ceiling = own.loc[(own["target"] == target) & (own["k"] == k), "ceiling"].median()
        ax.hlines(ceiling, x - width, x + width, color=look[target][1], lw=1.5, ls=(0, (2, 1)))
        for floor in floors:
            part = _of(top, floor, split, ranking)
            level = part.loc[(part["target"] == target) & (part["k"] == k), "pcc"].median()
            ax.plot(x, level, FLOORS[floor][1], color="black", ms=6, mew=1.5, zorder=4)
    ax.axhline(0, color=GREY, lw=0.8, zorder=0)
    ax.set_ylim(min(0, *ax.get_ylim()), 1.02)
    ax.set_ylabel("PCC, mean of the k genes")
    ax.set_title(f"Predictability, {backbone}, {_count(own['section'].nunique(), 'sections')}\n{RANKED[ranking]}")
    handles = [_handle(*parts) for parts in look.values()]
    handles.append(_handle("noise ceiling", GREY, line=(0, (2, 1))))
    _legend(ax, handles + [_handle(label, "black", marker) for label, marker in map(FLOORS.get, floors)])
    return ax


def predictability_by_rank(ax: Axes, ranked: pd.DataFrame, backbone: str, split: str = "section") -> Axes:
    """Panel D over the whole panel: PCC against the gene's rank, median and quartiles over sections.

    Takes `scores.pcc_by_rank`. Dashed: noise ceiling of the genes at that rank; dotted: the floor of nuclei alone.
    """
    own, floor = _fitted(ranked, backbone, split), _of(ranked, "nuclei", split)
    look = looks(own["target"])
    for target, (_, colour, _) in look.items():
        part = own[own["target"] == target].sort_values("rank")
        ax.plot(part["rank"], part["pcc"], color=colour, lw=2)
        ax.fill_between(part["rank"], part["low"], part["high"], color=colour, alpha=0.18, lw=0)
        smooth = part["ceiling"].rolling(max(1, len(part) // 15), center=True, min_periods=1).median()
        ax.plot(part["rank"], smooth, color=colour, lw=1.2, ls=(0, (4, 2)))
        below = floor[floor["target"] == target].sort_values("rank")
        ax.plot(below["rank"], below["pcc"], color=colour, lw=1.4, ls=":")
    ax.axhline(0, color=GREY, lw=0.8, zorder=0)
    n_genes, n = own["rank"].max(), own["n_sections"].max()
    ax.set(xlabel="rank of the gene in its section", ylabel="PCC", xlim=(1, n_genes))
    ax.set_ylim(top=1.02)
    ax.set_title(f"Predictability gene by gene, {backbone}\n{_count(n_genes, 'genes')}, {_count(n, 'sections')}")
    handles = [_handle(label, colour, line="-") for label, colour, _ in look.values()]
    handles.append(_handle("noise ceiling", GREY, line=(0, (4, 2))))
    _legend(ax, handles + ([_handle("nuclei alone", GREY, line=":")] if len(floor) else []))
    return ax


def top_gene_coupling(
    ax: Axes, top: pd.DataFrame, backbone: str, split: str = "section", ranking: str = "same"
) -> Axes:
    """Panel E: mean |rho| with nuclei of the k most predictable genes, with its chance; takes `scores.top_genes`."""
    own = _fitted(top, backbone, split, ranking).dropna(subset="abs_rho")
    places = _by_k(ax, own, "abs_rho")
    look = looks(own["target"])
    width = 0.4 / len(look)
    for (target, k), x in places.items():
        chance = own.loc[(own["target"] == target) & (own["k"] == k), "chance"].median()
        ax.hlines(chance, x - width, x + width, color=look[target][1], lw=1.4, ls=(0, (2, 1)), zorder=1)
    handles = [_handle(*parts) for parts in look.values()] + [_handle("chance, same genes", GREY, line=(0, (2, 1)))]
    ax.set_ylim(bottom=0)
    ax.set_ylabel("mean |ρ(target, nuclei)|")
    n = _count(own["section"].nunique(), "sections")
    ax.set_title(f"Coupling of the predictable genes, {backbone}\n{n}, {RANKED[ranking]}")
    _legend(ax, handles)
    return ax


def predictability_and_coupling(ax: Axes, couplings: pd.DataFrame, backbone: str, split: str = "section") -> Axes:
    """Panel F: per section, Spearman over genes of PCC and |rho| with nuclei, plain and given abundance.

    Takes `scores.couplings`; a line joins the two values of a section.
    """
    own = _fitted(couplings, backbone, split)
    look = looks(own["target"])
    for i, (target, (_, colour, marker)) in enumerate(look.items()):
        part = own[own["target"] == target]
        plain, given = part["coupling"], part["coupling_given_abundance"]
        ax.plot([i - 0.18, i + 0.18], [plain, given], color=GREY, lw=0.8, alpha=0.5, zorder=1)
        for x, values, face in ((i - 0.18, plain, colour), (i + 0.18, given, "white")):
            at = np.full(len(values), x)
            ax.scatter(at, values, s=30, facecolor=face, edgecolor=colour, marker=marker, alpha=0.85, zorder=2)
            ax.hlines(values.median(), x - 0.11, x + 0.11, color=colour, lw=3, zorder=3)
    ax.axhline(0, color="black", lw=1.2, ls=(0, (2, 1)), zorder=0)
    _targets_on_x(ax, look)
    ax.set_ylabel("ρ over genes (PCC, |ρ nuclei|)")
    n = _count(own["section"].nunique(), "sections")
    ax.set_title(f"Are predictable genes the coupled ones?\n{backbone}, {n}, {_count(own['n_genes'].max(), 'genes')}")
    hollow = Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="", label="given abundance")
    _legend(ax, [_handle("plain", GREY, "o"), hollow, _handle("none expected", "black", line=(0, (2, 1)))])
    return ax


def figure1(
    axes: Sequence[Axes],
    spots: pd.DataFrame,
    summary: pd.DataFrame,
    top: pd.DataFrame,
    couplings: pd.DataFrame,
    backbone: str,
    split: str = "section",
    ranking: str = "same",
) -> Sequence[Axes]:
    """The paper's Figure 1 on six axes, labelled A to F; tables as the six panels take them."""
    axes = np.asarray(axes).ravel()
    nuclei_and_depth(axes[0], spots)
    median_coupling(axes[1], summary)
    share_coupled(axes[2], summary)
    predictability_top(axes[3], top, backbone, split, ranking)
    top_gene_coupling(axes[4], top, backbone, split, ranking)
    predictability_and_coupling(axes[5], couplings, backbone, split)
    for letter, ax in zip("ABCDEF", axes, strict=True):
        ax.annotate(letter, (0, 1), (-46, 12), "axes fraction", "offset points", fontsize=17, fontweight="bold")
    return axes


# Beside Figure 1 ------------------------------------------------------------------------------------------------


def coupling_by_depth(ax: Axes, summary: pd.DataFrame, sections: pd.DataFrame, what: str = "depth") -> Axes:
    """Median |rho| of each section against its median depth: a normalization that leaks depth falls with it.

    Takes `scores.section_summary` and the sections' table with section and median_total_counts.
    """
    table = summary.merge(sections[["section", "median_total_counts"]], on="section")
    table = table.dropna(subset=f"median_abs_rho_{what}")
    look = looks(table["target"])
    for target, (_, colour, marker) in look.items():
        part = table[table["target"] == target]
        ax.scatter(part["median_total_counts"], part[f"median_abs_rho_{what}"], s=34, color=colour, marker=marker, lw=0)
    ax.set(xscale="log", xlabel="median total counts of the section", ylabel=f"median |ρ(target, {what})|")
    _logarithmic(ax.xaxis)
    ax.set_ylim(bottom=0)
    ax.set_title(f"Coupling to {what} by the section's depth\n{_count(table['section'].nunique(), 'sections')}")
    _legend(ax, [_handle(*parts) for parts in look.values()])
    return ax


def coupling_by_reading(ax: Axes, summary: pd.DataFrame) -> Axes:
    """Median |rho| with nuclei under each reading of them: a point a section, medians as bars, chance dashed.

    `summary` is `scores.section_summary` of each reading, with a column reading; the first one is drawn on top.
    """
    title = "Coupling under each reading of the nuclei\nmedian over genes"
    in_rows(ax, summary, "median_abs_rho_nuclei", "reading", title, "chance_abs_rho_nuclei")
    ax.set(xlabel="median |ρ(target, nuclei)|", ylabel="reading of the nuclei")
    ax.set_xlim(left=0)
    return ax


def in_rows(
    ax: Axes, table: pd.DataFrame, value: str, by: str, title: str, chance: str | None = None, level: str = "median"
) -> Axes:
    """`value` in a row for each `by`, the first on top: targets in their colours, a point a section, medians as bars.

    `table` has section and target besides; `chance` is a column drawn dashed (its median), `level` says which chance.
    """
    table = table.dropna(subset=value)
    rows, look = list(dict.fromkeys(table[by])), looks(table["target"])
    width = 0.8 / max(1, len(look))
    for (row, target), part in table.groupby([by, "target"], sort=False):
        _, colour, marker = look[target]
        y = rows.index(row) + (list(look).index(target) - (len(look) - 1) / 2) * width
        around = y + _spread(len(part), 0.3 * width)
        ax.scatter(part[value], around, s=24, color=colour, marker=marker, alpha=0.55, lw=0)
        ends = y - 0.45 * width, y + 0.45 * width
        ax.vlines(part[value].median(), *ends, color=colour, lw=3)
        if chance:
            ax.vlines(part[chance].median(), *ends, color=colour, lw=1.5, ls=(0, (2, 1)))
    ax.set_yticks(range(len(rows)), [label(row) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    for i in range(1, len(rows)):
        ax.axhline(i - 0.5, color="0.92", lw=1, zorder=0)
    ax.set_title(f"{title}, {_count(table['section'].nunique(), 'sections')}")
    handles = [*(_handle(*parts) for parts in look.values()), _handle(*_MEDIAN)]
    _legend(ax, handles + ([_handle(f"chance ({level})", GREY, line=(0, (2, 1)))] if chance else []))
    return ax


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
    ax.set_title(f"{title}, {_count(shares['section'].nunique(), 'sections')}")
    _legend(ax, [_handle(text, colour, "s") for text, colour in SHARES.values()])
    return ax


def arms_by_depth(ax: Axes, arms: pd.DataFrame) -> Axes:
    """Median |rho| with depth of each section against its median depth, a colour a transform, chance in grey.

    `arms` has size_factor (one), transform, section, median_total_counts, median_rho_depth and chance_rho_depth.
    """
    chance = arms.groupby("section").median(numeric_only=True)
    at = {"s": 14, "color": "0.7", "marker": "_", "zorder": 0}
    ax.scatter(chance["median_total_counts"], chance["chance_rho_depth"], **at)
    transforms = [transform for transform in TRANSFORMS if transform in set(arms["transform"])]
    for transform in transforms:
        part = arms[arms["transform"] == transform]
        at = {"s": 26, "color": TRANSFORMS[transform][1], "marker": TRANSFORMS[transform][2], "lw": 0, "alpha": 0.8}
        ax.scatter(part["median_total_counts"], part["median_rho_depth"], **at)
    ax.set(xscale="log", xlabel="median total counts of the section", ylabel="median |ρ(target, depth)|")
    _logarithmic(ax.xaxis)
    ax.set_title(f"{SIZE_FACTORS[arms['size_factor'].iloc[0]]}\n{_count(len(chance), 'sections')}")
    _legend(ax, [*(_handle(*TRANSFORMS[t]) for t in transforms), _handle("chance", "0.7", "_")], columns=2)
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
        ax.scatter(part[value], y + _spread(len(part), 0.22), s=16, color=colour, alpha=0.55, lw=0)
        ax.vlines(part[value].median(), y - 0.38, y + 0.38, color=colour, lw=3)
        for column, (_, shade, marker) in marks.items():
            ax.plot(part[column].median(), y, marker, color=shade, ms=6, mew=1.5)
        if y and size_factor != order[y - 1][0]:
            ax.axhline(y - 0.5, color="0.85", lw=1, zorder=0)
    ax.axvline(0, color=GREY, lw=0.8, zorder=0)
    ax.set_yticks(range(len(order)), [f"{SIZE_FACTORS[size]}, {TRANSFORMS[transform][0]}" for size, transform in order])
    ax.set(xlabel=name, ylim=(len(order) - 0.5, -0.5))
    ax.set_title(_count(arms["section"].nunique(), "sections"))
    _legend(ax, [_handle("median", GREY, "|"), *(_handle(*mark) for mark in marks.values())], columns=1)
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
    ax.set_title(_count(arms["section"].nunique(), "sections"))
    there = {*arms["size_factor"], *arms["transform"]}
    sizes = [_handle(text, colour[size], "s") for size, text in SIZE_FACTORS.items() if size in there]
    shapes = [_handle(name, GREY, marker) for t, (name, _, marker) in TRANSFORMS.items() if t in there]
    _legend(ax, [*sizes, *shapes, *(_handle(text, GREY, line=dashes) for text, (_, dashes) in levels.items())], 2)
    return ax


def gene_by_gene(ax: Axes, predictability: pd.DataFrame, x: str = "log2", y: str = "pearson_residual") -> Axes:
    """PCC of the same gene in two targets, medians over sections; `predictability` of one backbone and split."""
    table = predictability.groupby(["gene", "target"])["pcc"].median().unstack()[[x, y]].dropna()
    ends = [min(0, table.min(axis=None)) - 0.03, table.max(axis=None) + 0.03]
    ax.plot(ends, ends, color=GREY, lw=1, ls="--", zorder=0)
    ax.scatter(table[x], table[y], s=16, color="#444444", alpha=0.6, lw=0)
    look = looks([x, y])
    ax.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"PCC, {look[x][0]}", ylabel=f"PCC, {look[y][0]}")
    above = (table[y] > table[x]).mean()
    n = _count(predictability["section"].nunique(), "sections")
    ax.set_title(f"The same genes, {above:.0%} above the diagonal\n{_count(len(table), 'genes')}, {n}")
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
        window = max(5, len(part) // 12)
        running = part[["mean_count", "variance"]].rolling(window, center=True).median()
        ax.plot(running["mean_count"], running["variance"], color="white", lw=4)
        ax.plot(running["mean_count"], running["variance"], color=colour, lw=2)
    ax.axhline(1, color=GREY, lw=0.8, ls="--", zorder=0)
    ax.set(xscale="log", yscale="log", xlabel="mean count of the gene", ylabel="variance of the target")
    _logarithmic(ax.yaxis)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_title(f"Mean and variance\n{_count(moments['gene'].nunique(), 'genes')}")
    _legend(ax, [_handle(*parts) for parts in look.values()])
    return ax


def loss_curve(ax: Axes, losses: pd.DataFrame) -> Axes:
    """Training loss by step, a line per held-out section; `losses` has target, held_out, seed, step and loss."""
    look = looks(losses["target"])
    for (target, *_), part in losses.groupby(["target", "held_out", "seed"], sort=False):
        part = part.sort_values("step")
        ax.plot(part["step"], part["loss"], color=look[target][1], lw=1.2, alpha=0.7)
    ax.set(yscale="log", xlabel="training step", ylabel="loss")
    _logarithmic(ax.yaxis)
    ax.set_title(f"Training loss, {_count(losses['held_out'].nunique(), 'folds')}")
    _legend(ax, [_handle(label, colour, line="-") for label, colour, _ in look.values()])
    return ax


def agreement(ax: Axes, truth: np.ndarray, measured: np.ndarray, what: str) -> Axes:
    """Measured against true values with the line of equality, e.g. nuclei per spot of the toy cohort."""
    truth, measured = np.asarray(truth, float), np.asarray(measured, float)
    end = 1.05 * max(truth.max(), measured.max())
    ax.plot([0, end], [0, end], color=GREY, lw=1, ls="--", zorder=0)
    ax.scatter(truth, measured, s=12, color="#444444", alpha=0.4, lw=0)
    ax.set(xlim=(0, end), ylim=(0, end), aspect="equal", xlabel=f"true {what}", ylabel=f"measured {what}")
    error = measured.sum() / truth.sum() - 1
    r = np.corrcoef(truth, measured)[0, 1]
    ax.set_title(f"Measured against true, {_count(len(truth), 'spots')}\nr = {r:.2f}, in total {error:+.1%}")
    return ax


# STEM -----------------------------------------------------------------------------------------------------------


def nothing(ax: Axes, why: str) -> Axes:
    """In place of a figure that has nothing to show."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes)
    return ax


def stem_network(ax: Axes, n_genes: int, n_features: int, hidden_size: int, depth: int, n_heads: int) -> Axes:
    """The network as boxes: genes run along the top, the condition that steers them along the bottom."""
    data, own, learned = "white", "#E8E8E8", "#CFE3F2"  # what comes and goes, what is added up, what has weights
    boxes = {
        "values": (0.0, 2.7, 1.5, 1.2, f"noisy values\nof {n_genes:,} genes", data),
        "tokens": (2.0, 2.7, 1.7, 1.2, f"1 → {hidden_size} → {hidden_size}\n+ embedding\nof the gene", learned),
        "attention": (4.5, 2.7, 1.5, 1.2, f"attention\nof genes,\n{_count(n_heads, 'heads')}", learned),
        "mlp": (6.3, 2.7, 1.5, 1.2, f"{hidden_size} → {4 * hidden_size}\n→ {hidden_size}", learned),
        "head": (8.6, 2.7, 1.2, 1.2, f"head\n{hidden_size} → 2", learned),
        "answer": (10.3, 2.7, 1.5, 1.2, "noise (velocity)\nand variance\nof each gene", data),
        "patch": (0.0, 0.9, 1.5, 0.9, f"{n_features:,} features\nof the patch", data),
        "image": (2.0, 0.9, 1.7, 0.9, f"{n_features} → {n_features}\n→ {hidden_size}", learned),
        "step": (0.0, -0.4, 1.5, 0.9, "step t", data),
        "time": (2.0, -0.4, 1.7, 0.9, f"256 waves\n→ {hidden_size} → {hidden_size}", learned),
        "condition": (4.5, 0.25, 1.5, 0.9, f"condition:\nsum, {hidden_size}", own),
        "modulation": (6.3, 0.25, 3.5, 0.9, "shift, scale, gate of each block,\nshift, scale of the head", learned),
    }
    for x, y, width, height, text, colour in boxes.values():
        ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="black", lw=1))
        ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9)
    ax.add_patch(Rectangle((4.25, 2.4), 3.8, 1.8, fill=False, edgecolor=GREY, ls="--"))
    ax.text(4.25, 4.3, f"{_count(depth, 'blocks')}, each adds to its input", fontsize=9)
    chains = (("values", "tokens", "attention", "mlp", "head", "answer"), ("patch", "image"), ("step", "time"),
              ("image", "condition"), ("time", "condition"), ("condition", "modulation"))  # fmt: skip
    ways = [(boxes[a], boxes[b]) for chain in chains for a, b in zip(chain, chain[1:], strict=False)]
    ends = [((a[0] + a[2], a[1] + a[3] / 2), (b[0], b[1] + b[3] / 2)) for a, b in ways]
    ends += [((7.05, 1.15), (7.05, 2.4)), ((9.2, 1.15), (9.2, 2.7))]
    arrow = {"arrowstyle": "->", "lw": 1.2, "color": "black", "shrinkA": 0, "shrinkB": 0}
    for start, end in ends:
        ax.annotate("", end, start, arrowprops=arrow)
    ax.set(xlim=(-0.1, 11.9), ylim=(-0.5, 4.7))
    _bare(ax)
    ax.set_title(f"STEM of width {hidden_size}, {_count(n_genes, 'genes')}")
    return ax


LADDER = {
    "pcc": "PCC, mean over genes",
    "rvd": "relative variation distance",
    "rvd_expectation": "relative variation distance,\nexpectation of the samples",
}


def sampling_ladder(ax: Axes, ladder: pd.DataFrame, value: str) -> Axes:
    """What each sampler gives for its calls of the network: `value`, of `LADDER`, in `stem.ladder` on one target."""
    for i, ((sampler, starts), part) in enumerate(ladder.groupby(["sampler", "starts"], sort=False)):
        part = part.sort_values("network_calls")
        name = sampler if starts == "independent" else f"{sampler}, {starts}"
        look = {"color": SECTIONS[i % len(SECTIONS)], "marker": "os^DvP"[i % 6], "label": name}
        ax.plot(part["network_calls"], part[value], lw=1.2, ms=6, **look)
    ax.set(xscale="log", xlabel="calls of the network per spot", ylabel=LADDER[value])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda calls, _: f"{calls:,.0f}"))
    _legend(ax, ax.get_legend_handles_labels()[0])
    return ax


def pit_histogram(ax: Axes, histograms: pd.DataFrame) -> Axes:
    """Where measured values fall among their samples: thin, each fold; thick, their mean; dashed, drawn from the truth.

    `histograms` has target, held_out, seed and the columns of `calibration.pit_histogram`.
    """
    look = looks(histograms["target"])
    for (target, *_), part in histograms.groupby(["target", "held_out", "seed"], sort=False):
        ax.stairs(part["density"], [*part["low"], 1], color=look[target][1], lw=0.7, alpha=0.4)
    for target, (_, colour, _) in look.items():
        mean = histograms[histograms["target"] == target].groupby("low")["density"].mean()
        ax.stairs(mean, [*mean.index, 1], color=colour, lw=2.5)
    ax.axhline(1, color="black", lw=1.2, ls=(0, (2, 1)))
    ax.set(xlim=(0, 1), ylim=(0, None), xlabel="rank of the measured value among its samples", ylabel="density")
    ax.set_title(f"Measured among samples\n{_count(histograms['held_out'].nunique(), 'folds')}")
    _legend(ax, [_handle(label, colour, line="-") for label, colour, _ in look.values()])
    return ax


def interval_coverage(ax: Axes, coverage: pd.DataFrame) -> Axes:
    """Share of measured values inside central intervals of the samples, by section; dashed, what was promised.

    `coverage` has target, section, share (promised) and covered.
    """
    look = looks(coverage["target"])
    shares = sorted(coverage["share"].unique())
    width = 0.8 / len(look)
    for j, share in enumerate(shares):
        ax.hlines(share, j - 0.45, j + 0.45, color="black", lw=1.2, ls=(0, (2, 1)))
        for i, (target, (_, colour, marker)) in enumerate(look.items()):
            values = coverage.loc[(coverage["target"] == target) & (coverage["share"] == share), "covered"]
            x = j + (i - (len(look) - 1) / 2) * width
            around = x + _spread(len(values), 0.3 * width)
            ax.scatter(around, values, s=24, color=colour, marker=marker, alpha=0.7, lw=0)
            ax.hlines(values.median(), x - 0.4 * width, x + 0.4 * width, color=colour, lw=3)
    ax.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
    ax.set(xlim=(-0.5, len(shares) - 0.5), ylim=(0, 1.02))
    ax.set(xlabel="central interval of the samples", ylabel="measured values inside")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_title(f"Coverage of the samples\n{_count(coverage['section'].nunique(), 'sections')}")
    _legend(ax, [_handle(*parts) for parts in look.values()] + [_handle("promised", "black", line=(0, (2, 1)))])
    return ax


def gene_variation(ax: Axes, genes: pd.DataFrame, target: str, what: str = "variance") -> Axes:
    """Mean or variance over spots of each gene, ordered by the measured one; takes `calibration.by_gene`."""
    genes = genes.sort_values(f"{what}_measured")
    label, colour, marker = looks([target])[target]
    rank = np.arange(1, len(genes) + 1)
    hollow = {"facecolor": "white", "edgecolor": GREY, "s": 14, "lw": 0.7}
    if what == "variance":
        ax.scatter(rank, genes["variance_sampled"], marker=marker, **hollow)
        ax.set_yscale("log")
        _logarithmic(ax.yaxis)
    ax.scatter(rank, genes[f"{what}_predicted"], s=14, color=colour, marker=marker, lw=0)
    ax.plot(rank, genes[f"{what}_measured"], color="black", lw=2)
    ax.set(xlabel=f"rank of the gene by measured {what}", ylabel=f"{what} over spots")
    ax.set_title(f"{label}: {what}\n{_count(len(genes), 'genes')}")
    handles = [_handle("measured", "black", line="-"), _handle("predicted", colour, marker)]
    if what == "variance":
        handles.append(Line2D([], [], color=GREY, marker=marker, markerfacecolor="none", ls="", label="one sample"))
    _legend(ax, handles)
    return ax


# In space -------------------------------------------------------------------------------------------------------


def scale_bar(ax: Axes, mpp: float, um: float) -> Axes:
    """A bar of `um` micrometres in the lower right corner of an axis in pixels of `mpp` um."""
    label = f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"
    height = abs(np.subtract(*ax.get_ylim())) / 120
    bar = AnchoredSizeBar(ax.transData, um / mpp, label, "lower right", pad=0.3, sep=3, size_vertical=height)
    bar.patch.set(alpha=0.8, edgecolor="none")
    ax.add_artist(bar)
    return ax


def _bare(ax: Axes) -> None:
    ax.set(aspect="equal", xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def spot_map(
    ax: Axes,
    spatial: np.ndarray,
    values: np.ndarray,
    mpp: float,
    label: str,
    cmap: str = "viridis",
    limits: tuple[float, float] | None = None,
    diameter_um: float = 150.0,
) -> Axes:
    """Values at spots as they lie in the tissue, y downwards; NaN is grey.

    `spatial` is n x 2 in pixels of `mpp` um. Discs are drawn larger than the spot's 100 um, to be seen, and smaller
    than the lattice's 200 um. `limits` are those of the colours, else the 1st and 99th percentile.
    """
    values = np.asarray(values, float)
    known = np.isfinite(values)
    lowest, highest = limits or (np.percentile(values[known], [1, 99]) if known.any() else (0, 1))
    size = np.full(len(values), diameter_um / mpp)
    discs = EllipseCollection(size, size, np.zeros(len(values)), units="xy", offsets=spatial, cmap=cmap)
    discs.set(array=np.ma.masked_invalid(values), offset_transform=ax.transData, clim=(lowest, highest), lw=0)
    discs.cmap = discs.cmap.with_extremes(bad="0.85")
    ax.add_collection(discs)
    margin = 300 / mpp
    (left, top), (right, bottom) = spatial.min(axis=0) - margin, spatial.max(axis=0) + margin
    ax.set(xlim=(left, right), ylim=(bottom + 2 * margin, top))  # room for the scale bar below the tissue
    _bare(ax)
    ax.figure.colorbar(discs, cax=ax.inset_axes([1.02, 0.1, 0.035, 0.8]))
    ax.set_title(f"{label}\n{_count(len(values), 'spots')}")
    return scale_bar(ax, mpp, 1000)


def outlines_on_tissue(
    ax: Axes,
    image: np.ndarray,
    outlines: Sequence[np.ndarray],
    mpp: float,
    um: float = 50.0,
    disc_um: float | None = None,
    crop_um: float | None = None,
) -> Axes:
    """Outlines of nuclei (each k x 2, x and y in the image's pixels) on an RGB image of `mpp` um/px.

    `disc_um` and `crop_um` draw the disc of a spot in the middle of the image, and the square that describes it.
    """
    ax.imshow(image, interpolation="nearest")
    closed = [np.vstack([outline, outline[:1]]) for outline in outlines]
    ax.add_collection(LineCollection(closed, colors="#00E5FF", linewidths=1.1))
    height, width = image.shape[:2]
    middle = np.array([width - 1, height - 1]) / 2
    if disc_um is not None:
        ax.add_patch(Circle(middle, disc_um / mpp / 2, fill=False, edgecolor="#0033CC", lw=1.6))
    if crop_um is not None:
        side = crop_um / mpp
        ax.add_patch(Rectangle(middle - side / 2, side, side, fill=False, edgecolor="black", lw=1.0))
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    _bare(ax)
    ax.set_title(_count(len(outlines), "outlines"))
    return scale_bar(ax, mpp, um)


def spots_on_tissue(
    ax: Axes,
    image: np.ndarray,
    spatial: np.ndarray,
    mpp: float,
    crop_um: float | None = None,
    diameter_um: float = 100.0,
    um: float = 1000.0,
) -> Axes:
    """Spot discs, and the squares a model would see, on an image; `spatial` and `mpp` are in that image's pixels."""
    ax.imshow(image)
    size = np.full(len(spatial), diameter_um / mpp)
    place = {"offsets": spatial, "offset_transform": ax.transData, "facecolors": "none"}
    ax.add_collection(EllipseCollection(size, size, 0 * size, units="xy", edgecolors="#0033CC", lw=0.8, **place))
    if crop_um is not None:
        half = crop_um / mpp / 2
        corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
        squares = np.asarray(spatial)[:, None, :] + corners
        ax.add_collection(LineCollection(squares, colors="black", linewidths=0.5, alpha=0.6))
    # The spots and half a millimetre around them: the glass beside the tissue shows nothing.
    edge = np.array(image.shape[1::-1]) - 0.5
    left, top = np.maximum(np.min(spatial, axis=0) - 500 / mpp, -0.5)
    right, bottom = np.minimum(np.max(spatial, axis=0) + 500 / mpp, edge)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    _bare(ax)
    ax.set_title(_count(len(spatial), "spots"))
    return scale_bar(ax, mpp, um)


def scores_and_floors(ax: Axes, scores: pd.DataFrame, k: int) -> Axes:
    """PCC-k of an audited model in every space, a point a section, beside chance, ceiling and one number per spot.

    `scores` has section, space, pcc, ceiling, chance_95, twin, and those floors that are known.
    """
    marks = {  # column: label, colour, marker
        "pcc": ("model", "black", "o"),
        "nuclei": ("nuclei alone", SECTIONS[3], "x"),
        "haematoxylin": ("haematoxylin alone", SECTIONS[6], "1"),
        "depth": ("depth alone (oracle)", SECTIONS[4], "+"),
        "twin": ("model on the depth-only twin", SECTIONS[1], "v"),
        "ceiling": ("noise ceiling", GREY, "_"),
        "chance_95": ("95 % of chance", GREY, "."),
    }
    shown = {column: look for column, look in marks.items() if column in scores}
    spaces = list(dict.fromkeys(scores["space"]))
    offsets = dict(zip(shown, _spread(len(shown), 0.3), strict=True))
    for column, (_, colour, marker) in shown.items():
        at = scores["space"].map(spaces.index).to_numpy() + offsets[column]
        ax.plot(at, scores[column], marker, color=colour, alpha=0.8, markersize=7)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_xticks(range(len(spaces)), [label(space) for space in spaces])
    ax.set(ylabel=f"PCC-{k}", title=f"{_count(scores['section'].nunique(), 'sections')}, scored in every space")
    _legend(ax, [_handle(*look) for look in shown.values()], columns=3)
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
    ax.set_title(f"{title}, {_count(scores['section'].nunique(), 'sections')}")
    return ax


# How sure -------------------------------------------------------------------------------------------------------


def rejections(ax: Axes, table: pd.DataFrame, x: str, by: str, goal: float) -> Axes:
    """Share of tests that reject (column rate) along column `x`, a line for each value of `by`, `goal` dashed."""
    handles = []
    for i, (name, part) in enumerate(table.groupby(by, sort=False)):
        look = {"color": SECTIONS[i % len(SECTIONS)], "marker": "os^DvP"[i % 6]}
        ax.plot(part[x], part["rate"], lw=1.5, ms=6, **look)
        handles.append(_handle(str(name), line="-", colour=look["color"], marker=look["marker"]))
    ax.axhline(goal, color="black", lw=1.2, ls=(0, (2, 1)))
    ax.set(ylim=(0, None), ylabel="tests that reject")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _legend(ax, [*handles, _handle(f"{goal:.0%}", "black", line=(0, (2, 1)))])
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
    _logarithmic(ax.xaxis)
    _logarithmic(ax.yaxis)
    ax.set_title(_count(table["section"].nunique(), "sections"))
    _legend(ax, [*(_handle(*parts) for parts in look.values()), _handle("as many as spots", GREY, line="-")], columns=2)
    return ax


# Every reading --------------------------------------------------------------------------------------------------

CHOICES = {
    "nuclei": "nuclei",
    "panel": "panel",
    "library": "library size",
    "p_j": "$p_j$",
    "theta": "θ",
    "clip": "clipping",
    "genes": "over genes",
    "sections": "over sections",
    "definition": "definition",
    "ranking": "ranking",
    "backbone": "model",
    "split": "held out",
    "test": "test",
    "unit": "over",
}


def specification_curves(axes: np.ndarray, table: pd.DataFrame, quantities: Mapping[str, str]) -> np.ndarray:
    """Above, sorted estimates of each quantity; below, the choices behind them. Axes are 2 x quantities.

    `table` is of `specifications`, `quantities` maps the names in it to titles. Grey: without one section at a time,
    and chance; dashed: the paper; a diamond: the book's own reading. Below, the darker a field the more of the
    estimates above it made that choice; a choice that no quantity varies is left out.
    """
    shown = table[table["quantity"].isin(quantities)]
    options = {choice: list(dict.fromkeys(shown[choice].dropna())) for choice in CHOICES}
    rows = [(choice, option) for choice, found in options.items() if len(found) > 1 for option in found]
    for above, below, (quantity, title) in zip(*axes, quantities.items(), strict=True):
        part = shown[shown["quantity"] == quantity].sort_values("value", ignore_index=True)
        at = part.index.to_numpy()
        above.fill_between(at, part["low"], part["high"], color="0.85", lw=0, zorder=0)
        style = {"s": 4, "lw": 0, "rasterized": True}
        above.scatter(at, part["chance"], color=GREY, alpha=0.6, **style)
        above.scatter(at, part["value"], color="black", **style)
        above.axhline(part["paper"].iloc[0], color=SECTIONS[3], lw=1.5, ls=(0, (4, 2)))
        own = part[part["ours"].astype(bool)]
        above.plot(own.index, own["value"], "D", color=SECTIONS[0], markeredgecolor="white", ms=8)
        chosen = np.array([part[choice] == option for choice, option in rows], float)
        fields = np.array_split(chosen, min(len(part), 120), axis=1)
        edges = np.cumsum([0, *(field.shape[1] for field in fields)]) - 0.5
        shares = np.column_stack([field.mean(axis=1) for field in fields])
        below.pcolormesh(edges, np.arange(len(rows) + 1) - 0.5, shares, cmap="Greys", vmin=0, vmax=0.8, rasterized=True)
        for y, (one, another) in enumerate(pairwise(rows)):
            if one[0] != another[0]:
                below.axhline(y + 0.5, color="0.6", lw=0.8)
        below.set(ylim=(len(rows) - 0.5, -0.5), xlabel="readings, by their value")
        for axis in (above, below):
            axis.set_xlim(-0.5, len(part) - 0.5)
        above.tick_params(labelbottom=False)
        above.set_title(f"{title}\n{_count(len(part), 'readings')}")
    axes[1, 0].set_yticks(range(len(rows)), [f"{CHOICES[choice]}: {label(option)}" for choice, option in rows])
    axes[1, 0].tick_params(axis="y", labelsize=9)
    handles = [_handle("a reading", "black", "."), _handle("this book's", SECTIONS[0], "D")]
    handles += [_handle("the paper", SECTIONS[3], line=(0, (4, 2)))]
    handles += [_handle("chance", GREY, ".")] * bool(shown["chance"].notna().any())
    _legend(axes[1, 0], handles, columns=2)
    return axes


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
        handles.append(_handle(verdict, colour, marker))
    ax.set(xlabel="PCC, nuclei alone", ylabel="PCC, model", aspect="equal")
    ax.set_title(_count(len(genes), "genes"))
    _legend(ax, handles, columns=1)
    return ax
