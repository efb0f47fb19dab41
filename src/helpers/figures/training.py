"""STEM's training and its samples: tidy table -> axis."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter

from helpers.figures.style import (
    DASHES,
    GREY,
    HIGH,
    MARKERS,
    SECTIONS,
    handle,
    legend,
    logarithmic,
    looks,
    side_by_side,
    spread_out,
)
from helpers.labels import counted, label


def loss_curve(ax: Axes, losses: pd.DataFrame) -> Axes:
    """Training loss by step, a line per held-out section; `losses` has target, held_out, seed, step and loss."""
    look = looks(losses["target"])
    for (target, *_), part in losses.groupby(["target", "held_out", "seed"], sort=False):
        part = part.sort_values("step")
        ax.plot(part["step"], part["loss"], color=look[target][1], lw=1.2, alpha=0.7)
    ax.set(yscale="log", xlabel="training step", ylabel="loss")
    logarithmic(ax.yaxis)
    ax.set_title(f"Training loss, {counted(losses['held_out'].nunique(), 'folds')}")
    legend(ax, [handle(label, colour, line="-") for label, colour, _ in look.values()])
    return ax


OVER_STEPS = {"pcc": "PCC-50", "composition": "composition skill"}


def scores_over_steps(ax: Axes, scores: pd.DataFrame, value: str) -> Axes:
    """A score of one fold against the spot views trained on, a line for each target; dashed, ridge on the same fold.

    `scores` has model, target, held_out, spot_views and the column `value`, of OVER_STEPS.
    """
    look = looks(scores["target"])
    for target, (_, colour, marker) in look.items():
        part = scores[scores["target"] == target]
        curve = part[part["spot_views"].notna() & ~part["model"].isin(["ridge", "stem"])].sort_values("spot_views")
        ax.plot(curve["spot_views"] / 1000, curve[value], color=colour, marker=marker, lw=1.2, ms=5)
        ax.axhline(part.loc[part["model"] == "ridge", value].item(), color=colour, lw=1.2, ls=DASHES)
    ax.set(xscale="log", xlabel="spot views trained on (thousands)", ylabel=OVER_STEPS[value])
    ax.set_title(f"{counted(scores['held_out'].nunique(), 'folds')}, {', '.join(scores['held_out'].unique())} held out")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda views, _: f"{views:,.0f}"))
    curves = [handle(label, colour, marker=marker, line="-") for label, colour, marker in look.values()]
    legend(ax, [*curves, handle("ridge", GREY, line=DASHES)])
    return ax


SIZES = {"published size": "published size", "stem": "small network", "ridge": "ridge"}


def scores_by_fold(ax: Axes, scores: pd.DataFrame, target: str, value: str) -> Axes:
    """A score of each held-out section in one target, a marker a training; dashes, chance of the published size.

    `scores` has model (of SIZES), target, held_out, the column `value` (of OVER_STEPS) and `<value>_chance_95`.
    """
    part = scores[scores["target"] == target].set_index("held_out")
    folds = list(part.index.unique())
    looks_of = {model: (SIZES[model], SECTIONS[i], MARKERS[i]) for i, model in enumerate(SIZES)}
    offsets, _ = side_by_side(len(SIZES), 0.5)
    for offset, (model, (_, colour, marker)) in zip(offsets, looks_of.items(), strict=True):
        y = part.loc[part["model"] == model, value]
        ax.scatter([folds.index(fold) + offset for fold in y.index], y, s=30, color=colour, marker=marker, lw=0)
    large = part[part["model"] == "published size"]
    chance = large[f"{value}_chance_95"].groupby(level=0).mean().reindex(folds)
    ax.hlines(chance, np.arange(len(folds)) - 0.35, np.arange(len(folds)) + 0.35, color="black", lw=1.2, ls=DASHES)
    ax.set_xticks(range(len(folds)), folds)
    ax.set(xlim=(-0.5, len(folds) - 0.5), ylim=(0, None), xlabel="held-out section", ylabel=OVER_STEPS[value])
    ax.set_title(f"{label(target)}\n{counted(len(folds), 'folds')}")
    legend(ax, [handle(*parts) for parts in looks_of.values()] + [handle(HIGH, "black", line=DASHES)], 2)
    return ax


LADDER = {
    "pcc": "PCC, mean over genes",
    "rvd": "relative variation distance",
    "rvd_expectation": "relative variation distance,\nexpectation of the samples",
}


def sampling_ladder(ax: Axes, ladder: pd.DataFrame, value: str) -> Axes:
    """What each sampler gives for its calls of the network: `value`, of LADDER, in `sampler_ladder` on one target."""
    for i, ((sampler, starts), part) in enumerate(ladder.groupby(["sampler", "starts"], sort=False)):
        part = part.sort_values("network_calls")
        name = sampler if starts == "independent" else f"{sampler}, {starts}"
        look = {"color": SECTIONS[i % len(SECTIONS)], "marker": MARKERS[i % len(MARKERS)], "label": name}
        ax.plot(part["network_calls"], part[value], lw=1.2, ms=6, **look)
    ax.set(xscale="log", xlabel="calls of the network per spot", ylabel=LADDER[value])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda calls, _: f"{calls:,.0f}"))
    legend(ax, ax.get_legend_handles_labels()[0])
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
    ax.axhline(1, color="black", lw=1.2, ls=DASHES)
    ax.set(xlim=(0, 1), ylim=(0, None), xlabel="rank of the measured value among its samples", ylabel="density")
    ax.set_title(f"Measured among samples\n{counted(histograms['held_out'].nunique(), 'folds')}")
    legend(ax, [handle(label, colour, line="-") for label, colour, _ in look.values()])
    return ax


def interval_coverage(ax: Axes, coverage: pd.DataFrame) -> Axes:
    """Share of measured values inside central intervals of the samples, by section; dashed, what was promised.

    `coverage` has target, section, share (promised) and covered.
    """
    look = looks(coverage["target"])
    shares = sorted(coverage["share"].unique())
    offsets, width = side_by_side(len(look))
    for j, share in enumerate(shares):
        ax.hlines(share, j - 0.45, j + 0.45, color="black", lw=1.2, ls=DASHES)
        for i, (target, (_, colour, marker)) in enumerate(look.items()):
            values = coverage.loc[(coverage["target"] == target) & (coverage["share"] == share), "covered"]
            x = j + offsets[i]
            around = x + spread_out(len(values), 0.3 * width)
            ax.scatter(around, values, s=24, color=colour, marker=marker, alpha=0.7, lw=0)
            ax.hlines(values.median(), x - 0.4 * width, x + 0.4 * width, color=colour, lw=3)
    ax.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
    ax.set(xlim=(-0.5, len(shares) - 0.5), ylim=(0, 1.02))
    ax.set(xlabel="central interval of the samples", ylabel="measured values inside")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_title(f"Coverage of the samples\n{counted(coverage['section'].nunique(), 'sections')}")
    legend(ax, [handle(*parts) for parts in look.values()] + [handle("promised", "black", line=DASHES)])
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
        logarithmic(ax.yaxis)
    ax.scatter(rank, genes[f"{what}_predicted"], s=14, color=colour, marker=marker, lw=0)
    ax.plot(rank, genes[f"{what}_measured"], color="black", lw=2)
    ax.set(xlabel=f"rank of the gene by measured {what}", ylabel=f"{what} over spots")
    ax.set_title(f"{label}: {what}\n{counted(len(genes), 'genes')}")
    handles = [handle("measured", "black", line="-"), handle("predicted", colour, marker)]
    if what == "variance":
        handles.append(Line2D([], [], color=GREY, marker=marker, markerfacecolor="none", ls="", label="one sample"))
    legend(ax, handles)
    return ax
