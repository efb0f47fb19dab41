"""STEM's network, its training and its samples: tidy table -> axis."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, PercentFormatter

from helpers.figures.look import GREY, SECTIONS, handle, legend, logarithmic, looks, spread
from helpers.figures.maps import bare
from helpers.labels import counted


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


def stem_network(ax: Axes, n_genes: int, n_features: int, hidden_size: int, depth: int, n_heads: int) -> Axes:
    """The network as boxes: genes run along the top, the condition that steers them along the bottom."""
    data, own, learned = "white", "#E8E8E8", "#CFE3F2"  # what comes and goes, what is added up, what has weights
    boxes = {
        "values": (0.0, 2.7, 1.5, 1.2, f"noisy values\nof {n_genes:,} genes", data),
        "tokens": (2.0, 2.7, 1.7, 1.2, f"1 → {hidden_size} → {hidden_size}\n+ embedding\nof the gene", learned),
        "attention": (4.5, 2.7, 1.5, 1.2, f"attention\nof genes,\n{counted(n_heads, 'heads')}", learned),
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
    ax.text(4.25, 4.3, f"{counted(depth, 'blocks')}, each adds to its input", fontsize=9)
    chains = (("values", "tokens", "attention", "mlp", "head", "answer"), ("patch", "image"), ("step", "time"),
              ("image", "condition"), ("time", "condition"), ("condition", "modulation"))  # fmt: skip
    ways = [(boxes[a], boxes[b]) for chain in chains for a, b in zip(chain, chain[1:], strict=False)]
    ends = [((a[0] + a[2], a[1] + a[3] / 2), (b[0], b[1] + b[3] / 2)) for a, b in ways]
    ends += [((7.05, 1.15), (7.05, 2.4)), ((9.2, 1.15), (9.2, 2.7))]
    arrow = {"arrowstyle": "->", "lw": 1.2, "color": "black", "shrinkA": 0, "shrinkB": 0}
    for start, end in ends:
        ax.annotate("", end, start, arrowprops=arrow)
    ax.set(xlim=(-0.1, 11.9), ylim=(-0.5, 4.7))
    bare(ax)
    ax.set_title(f"STEM of width {hidden_size}, {counted(n_genes, 'genes')}")
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
    ax.axhline(1, color="black", lw=1.2, ls=(0, (2, 1)))
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
    width = 0.8 / len(look)
    for j, share in enumerate(shares):
        ax.hlines(share, j - 0.45, j + 0.45, color="black", lw=1.2, ls=(0, (2, 1)))
        for i, (target, (_, colour, marker)) in enumerate(look.items()):
            values = coverage.loc[(coverage["target"] == target) & (coverage["share"] == share), "covered"]
            x = j + (i - (len(look) - 1) / 2) * width
            around = x + spread(len(values), 0.3 * width)
            ax.scatter(around, values, s=24, color=colour, marker=marker, alpha=0.7, lw=0)
            ax.hlines(values.median(), x - 0.4 * width, x + 0.4 * width, color=colour, lw=3)
    ax.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
    ax.set(xlim=(-0.5, len(shares) - 0.5), ylim=(0, 1.02))
    ax.set(xlabel="central interval of the samples", ylabel="measured values inside")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_title(f"Coverage of the samples\n{counted(coverage['section'].nunique(), 'sections')}")
    legend(ax, [handle(*parts) for parts in look.values()] + [handle("promised", "black", line=(0, (2, 1)))])
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
