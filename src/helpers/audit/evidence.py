"""What flags are judged by: of one section, in the model's own space, numbers that say what the model knows.

Every score here is PCC-k over the k of the headline. NaN where there is nothing to score.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from anndata import AnnData
from scipy.spatial import cKDTree

from helpers import columns, schema
from helpers.cohort.placement import blocks
from helpers.scores import judge, top_genes
from helpers.scores.spatial import Basis
from helpers.targets import normalization, spaces

STEPS = (1, 2, 3)  # of a lattice, by which predictions may lie beside their spots
NEAR = 0.4  # of a step: a spot that lies so near to where another would lie is that one
NO_OTHERS = 0.95  # share of the measured genes


class Audited(NamedTuple):
    """The predictions of one section."""

    section: AnnData  # its spots that were predicted, all genes
    genes: list[str]  # that were predicted
    predicted: np.ndarray  # spots x genes
    space: str  # that they are said to be in
    spots: Basis  # `judge.basis` of the section
    doubts: list[str]  # of the space
    not_umi: str  # why the counts are no molecules; "" where they may be


def evidence(one: Audited, k: int, ceiling: np.ndarray, n_draws: int = judge.N_DRAWS) -> dict:
    """A row of what a section says; `ceiling` is the noise ceiling of each gene in the model's own space."""
    measured = judge.measured(one.section, one.space, one.genes)
    excess = columns.pearson(measured, one.predicted) - ceiling
    return (
        {
            "section": one.section.uns["section"],
            "above_ceiling": float(np.nanmedian(excess)) if np.isfinite(excess).any() else np.nan,
            "same_as": same_as(one),
            "kept_by_conversion": kept_by_conversion(one),
            "doubts": "; ".join(one.doubts),
            "not_umi": one.not_umi,
            "only_panel": only_panel(one),
        }
        | own_library(one, k, n_draws)
        | best_shift(one, measured, k)
    )


# What the model knows -------------------------------------------------------------------------------------------


def own_library(one: Audited, k: int, n_draws: int = judge.N_DRAWS) -> dict[str, float]:
    """What the library that predictions expect scores in their own space, with one composition in all spots.

    own_library, and own_library_chance_95, the 95 % point of its null (`judge.pcc`). NaN where the space holds no
    library, or is in doubt.
    """
    target, names = normalization.TARGETS[one.space], ("own_library", "own_library_chance_95")
    if not target.holds_depth or one.doubts:
        return dict.fromkeys(names, np.nan)
    share = judge.levels(one.section, one.genes)[0]
    library = spaces.library(one.predicted, one.space, share)
    alone = target.values(np.outer(library, share), library, share)
    found = judge.pcc(judge.measured(one.section, one.space, one.genes), alone, one.spots, k, n_draws)
    return dict(zip(names, (found["pcc"], found["chance_95"]), strict=True))


def same_as(one: Audited) -> str:
    """The name of the target that predictions equal but for a gene's level and scale; "" where they equal none."""
    for name in normalization.TARGETS:
        r = columns.pearson(judge.measured(one.section, name, one.genes), one.predicted)
        if np.isfinite(r).any() and np.nanmedian(r) > 0.9999:
            return name
    return ""


def kept_by_conversion(one: Audited) -> float:
    """Mean r of residuals with what a perfect prediction of these genes alone says of them; 1 without a library.

    A space that holds a library has it summed over the predicted genes: few of them are a poor library.
    """
    if not normalization.TARGETS[one.space].holds_depth:
        return 1.0
    target, perfect = normalization.RESIDUAL, normalization.counts_of(one.section, one.genes)
    converted = judge.in_space(perfect, "counts", target, one.section, one.genes)
    r = columns.pearson(judge.measured(one.section, target, one.genes), converted)
    return float(np.nanmean(r)) if np.isfinite(r).any() else np.nan


# Where the predictions lie --------------------------------------------------------------------------------------


def best_shift(one: Audited, measured: np.ndarray, k: int) -> dict:
    """Of all shifts by STEPS along the lattice the one that scores most above the same spots unshifted.

    shift (steps), shift_pcc, shift_gain and shift_error, the standard error of the gain: a jackknife over nine blocks
    of the section, as spots are not independent. NaN where predictions do not vary, or too few spots have a partner.
    """

    def scores(here: np.ndarray, there: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """In place and moved, x rows of kept."""
        r = (correlations(measured[here], one.predicted[spots], kept) for spots in (here, there))
        return np.array([[top_genes.pcc_at_k(row, k) for row in rows] for rows in r])

    steps = lattice_steps(one.section)
    found = [(scores(*spots, np.ones((1, len(spots[0])))), step, *spots) for step, *spots in partners(steps)]
    found = [row for row in found if np.isfinite(row[0]).all()]
    if not found:
        return {"shift": 0, "shift_pcc": np.nan, "shift_gain": np.nan, "shift_error": np.nan}
    best, step, here, there = max(found, key=lambda row: row[0][1] - row[0][0])
    block = blocks(steps)[here]
    left_out = scores(here, there, np.array([block != b for b in np.unique(block)], float))
    gain = left_out[1] - left_out[0]
    error = np.sqrt((1 - 1 / len(gain)) * ((gain - gain.mean()) ** 2).sum())
    moved = {"shift_pcc": float(best[1, 0]), "shift_gain": float(best[1, 0] - best[0, 0])}
    return {"shift": step} | moved | {"shift_error": float(error)}


def partners(steps: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """For every direction and number of steps: the number, spots, and the spots that lie there from them.

    `steps` are positions in lattice steps; shifts that leave a partner to fewer than half of the spots are left out.
    """
    tree = cKDTree(steps)
    for direction, step in product(directions(steps), STEPS):
        distance, there = tree.query(steps + step * direction)
        here = np.flatnonzero(distance < NEAR)
        if 2 * len(here) >= len(steps):
            yield step, here, there[here]


def directions(steps: np.ndarray) -> np.ndarray:
    """Unit vectors along the lattice, four of a square or six of a hexagonal one, however it is turned; n x 2.

    >>> directions(np.argwhere(np.ones((4, 4)))).round().astype(int).tolist()
    [[1, 0], [0, 1], [-1, 0], [0, -1]]
    """
    pairs = cKDTree(steps).query_pairs(1.3, output_type="ndarray")
    along = steps[pairs[:, 1]] - steps[pairs[:, 0]]
    angle = np.arctan2(along[:, 1], along[:, 0])
    # Of the two orders, angles between neighbours repeat with one, and cancel in the other.
    order, phase = max(((m, np.exp(1j * m * angle).mean()) for m in (4, 6)), key=lambda found: abs(found[1]))
    turns = (np.angle(phase) + 2 * np.pi * np.arange(order)) / order
    return np.column_stack([np.cos(turns), np.sin(turns)])


def lattice_steps(section: AnnData) -> np.ndarray:
    """Spot positions in steps of the lattice: pixels over the median distance to the nearest spot."""
    xy = np.asarray(section.obsm[schema.SPATIAL], float)
    return xy / np.median(cKDTree(xy).query(xy, 2)[0][:, 1])


def correlations(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's r of each column of x with that of y, among the spots of each row of `weights` (0 or 1); rows x genes.

    >>> correlations(np.c_[[1.0, 2, 3, 9]], np.c_[[2.0, 4, 6, 0]], np.array([[1.0, 1, 1, 0]]))
    array([[1.]])
    """
    # Constant columns become NaN here, and sums of centred columns of length one lose no digits.
    x, y = columns.unit(x), columns.unit(y)
    n = weights.sum(axis=1, keepdims=True)
    of_x, of_y = weights @ x / n, weights @ y / n
    cross, var_x, var_y = weights @ (x * y) / n, weights @ x**2 / n - of_x**2, weights @ y**2 / n - of_y**2
    with np.errstate(invalid="ignore"):
        length = np.sqrt(var_x * var_y)
    return np.divide(cross - of_x * of_y, length, out=np.full_like(length, np.nan), where=length > 1e-12)


# Counts ---------------------------------------------------------------------------------------------------------


def only_panel(one: Audited) -> bool:
    """Whether the counts hold hardly a gene that was not predicted: their library is that of a panel.

    Twenty genes or fewer are no panel.
    """
    return len(one.genes) > 20 and len(one.genes) > NO_OTHERS * one.section.n_vars
