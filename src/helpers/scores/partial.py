"""What a prediction knows of each gene beyond what was captured: partial and semi-partial scores, shares of R2.

Covariates are per spot (nuclei), or per spot and gene (what depth says of that gene). Adjusting for what the gene
itself drives, or for what both biology and capture drive, takes biology away too: a partial score is a lower bound.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
import pandas as pd

from helpers.columns import unit

LEFT = "left"
NOTHING = 1e-5  # a column of length one that shrinks below this was rounding: predictions are stored as float32


def partial_scores(
    measured: np.ndarray,
    predicted: np.ndarray,
    genes: Sequence[str],
    given: Mapping[str, Sequence[np.ndarray]],
    rank: bool = False,
) -> pd.DataFrame:
    """Correlation of measured with predicted, gene by gene, given each set of covariates.

    `measured` and `predicted` are spots x genes; `given` maps a name to arrays of spots or spots x genes, entered as
    they are (take the log of a count for Pearson), or by their ranks with `rank`. Columns given, gene, n_spots and

    - r; partial: covariates taken out of both sides; semi_partial: out of the prediction only;
    - shares of the variance of the measured gene, that add up to R2 of prediction and covariates together:
      unique (the prediction alone, semi_partial squared), capture_only (covariates alone), shared (either; negative
      where one hides the other).

    NaN where the measured or predicted gene is constant, and in partial and semi_partial where covariates leave
    nothing of it; a covariate that is constant, or explained by those before it, takes nothing out.
    ValueError where shapes differ, or spots are too few for the covariates.
    Source: regression commonality analysis, Nimon & Reio 2011, doi 10.1177/1534484311411077.
    """
    if np.shape(measured) != np.shape(predicted) or np.shape(measured)[1] != len(genes):
        raise ValueError(
            f"measured {np.shape(measured)}, predicted {np.shape(predicted)} and {len(genes)} genes differ: "
            "both need the same spots and genes"
        )
    x, y = unit(measured, rank), unit(predicted, rank)
    tables = []
    for name, covariates in given.items():
        if len(x) < len(covariates) + 3:
            raise ValueError(f"{len(x)} spots are too few to take {len(covariates)} covariates out ({name})")
        directions = _directions([unit(covariate, rank) for covariate in covariates])
        gene = {"given": name, "gene": list(genes), "n_spots": len(x)}
        tables.append(pd.DataFrame(gene | _commonality(x, y, directions)))
    return pd.concat(tables, ignore_index=True)


def _commonality(x: np.ndarray, y: np.ndarray, directions: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The columns of `partial_scores` from unit columns of both sides and what is taken out of them."""
    r, left_x, left_y = _dot(x, y), _left(x, directions), _left(y, directions)
    lengths = np.sqrt(_dot(left_x, left_x)), np.sqrt(_dot(left_y, left_y))
    length_x, length_y = (np.where(length > NOTHING, length, np.nan) for length in lengths)
    joint = _dot(left_x, left_y)
    # What covariates say entirely, a prediction adds nothing to: 0, where its correlation is undefined.
    unique = np.where(lengths[1] > NOTHING, (joint / length_y) ** 2, 0 * r)
    return {
        "r": r,
        "partial": joint / (length_x * length_y),
        "semi_partial": joint / length_y,
        "unique": unique,
        "shared": r**2 - unique,
        "capture_only": 1 - lengths[0] ** 2 - (r**2 - unique),
    }


def left_over(values: np.ndarray, covariates: Sequence[np.ndarray], rank: bool = False) -> np.ndarray:
    """What covariates leave of each column, for a null of partial scores: spots x genes, 0 where nothing is left.

    Covariates and `rank` as in `partial_scores`: the correlation of what is left of both sides is the partial one.
    """
    left = _left(unit(values, rank), _directions([unit(covariate, rank) for covariate in covariates]))
    return np.where(np.sqrt(_dot(left, left)) > NOTHING, left, 0)


def pieces(values: np.ndarray, given: Mapping[str, Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    """Unit columns as a sum of orthogonal pieces: what each set of covariates says given those before it, and LEFT.

    `values` is spots x genes; `given` as in `partial_scores`, in the order in which it is taken out. The products of a
    piece with unit columns of a prediction are that piece's part of r; the parts add up to r.
    """
    left, found = unit(values), {}
    directions = iter(_directions([unit(covariate) for covariates in given.values() for covariate in covariates]))
    for name, covariates in given.items():
        before, left = left, _left(left, islice(directions, len(covariates)))
        found[name] = before - left
    return found | {LEFT: left}


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->j", a, b)


def _left(x: np.ndarray, directions: Iterable[np.ndarray]) -> np.ndarray:
    for direction in directions:
        x = x - direction * (direction * x).sum(axis=0)
    return x


def _directions(covariates: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Orthonormal columns that span the covariates, gene by gene (Gram-Schmidt); zeros where one adds nothing."""
    found = []
    for covariate in covariates:
        # A second pass takes out what rounding left of nearly collinear covariates.
        left = _left(_left(np.nan_to_num(covariate), found), found)
        length = np.sqrt(_dot(left, left))
        found.append(np.where(length > NOTHING, left / np.where(length > NOTHING, length, 1), 0))
    return found
