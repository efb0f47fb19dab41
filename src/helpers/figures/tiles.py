"""Scores of annotated tiles."""

import pandas as pd
from matplotlib.axes import Axes

from helpers.figures.style import SECTIONS


def tile_scores(ax: Axes, scores: pd.DataFrame, score: str, name: str) -> Axes:
    """One score of every tile, tiles by their mean F1 upwards, back ends in colours with their means dashed.

    `scores` has a row per tile and back end: tile, back_end, f1 and `score`.
    """
    order = scores.groupby("tile")["f1"].mean().sort_values().index
    for colour, (back_end, part) in zip(SECTIONS, scores.groupby("back_end", sort=False), strict=False):
        values = part.set_index("tile")[score].reindex(order)
        ax.plot(values, range(len(order)), "o", color=colour, label=back_end)
        ax.axvline(values.mean(), color=colour, lw=1, ls="--")
    ax.set(xlabel=name, yticks=range(len(order)), yticklabels=order)
    return ax
