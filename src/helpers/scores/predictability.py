"""Measured against predicted, target against nuclei and depth: arrays in, tidy tables out.

A gene that is constant in a section has no correlation: NaN, never 0. Medians leave it out and say how many they kept.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from helpers.columns import pearson

TRAINING_GAP = 0.1


def predictability(
    measured: np.ndarray, predicted: np.ndarray, genes: Sequence[str], ceiling: np.ndarray | None = None
) -> pd.DataFrame:
    """Pearson r and RMSE of each gene on a held-out section.

    Both arrays are spots x genes in the target's units. `rmse_over_sd` divides by the measured standard deviation:
    the only RMSE to compare between targets. Raises ValueError for a prediction that is not finite, as that is a
    failed fit and no constant gene.
    """
    bad = ~np.isfinite(predicted).all(axis=0)
    if bad.any():
        first = list(genes)[int(np.flatnonzero(bad)[0])]
        raise ValueError(f"predictions are not finite for {bad.sum()} genes, first {first}: the fit has failed")
    rmse = np.sqrt(np.mean((np.asarray(predicted, float) - measured) ** 2, axis=0))
    sd = np.std(measured, axis=0, dtype=float)
    return pd.DataFrame(
        {
            "gene": list(genes),
            "n_spots": len(measured),
            "pcc": pearson(measured, predicted),
            "ceiling": np.nan if ceiling is None else ceiling,
            "rmse": rmse,
            "rmse_over_sd": np.divide(rmse, sd, out=np.full_like(rmse, np.nan), where=sd > 0),
        }
    )


def thinned(counts: csr_matrix, share: float, rng: np.random.Generator) -> csr_matrix:
    """Each molecule kept with probability `share`, whatever spot and gene it is of: a shallower measurement.

    Entries that come to 0 stay stored, so that the two can be subtracted.
    """
    kept = counts.copy()
    kept.data = rng.binomial(counts.data.astype(np.int64), share).astype(counts.dtype)
    return kept


def halve(counts: csr_matrix, rng: np.random.Generator) -> tuple[csr_matrix, csr_matrix]:
    """Each molecule goes to one of two halves by a fair coin; the halves add up to the counts."""
    first, second = thinned(counts, 0.5, rng), counts.copy()
    second.data = counts.data - first.data
    return first, second


def noise_ceiling(
    counts: csr_matrix, transform: Callable[[csr_matrix], np.ndarray], seed: int = 0, n_splits: int = 10
) -> np.ndarray:
    """The highest PCC that a perfect prediction of each gene could reach, given counting noise.

    `counts` is spots x all genes; `transform` takes such a matrix to spots x panel genes in the target. Split-half
    correlation, averaged over splits, Spearman-Brown to full depth, square root. A gene whose halves do not agree
    (mean r below 0) has nothing to predict: 0. NaN where no split gives the gene two varying halves.
    """
    rng = np.random.default_rng(seed)
    halves = np.stack([pearson(*map(transform, halve(counts, rng))) for _ in range(n_splits)])
    defined = np.isfinite(halves)
    total = np.where(defined, halves, 0).sum(axis=0)
    r = np.divide(total, defined.sum(axis=0), out=np.full(len(total), np.nan), where=defined.any(axis=0))
    r = np.maximum(r, 0)
    return np.sqrt(2 * r / (1 + r))


def training_gap(fractions: pd.DataFrame) -> float:
    """How far the fractions of ridge's score that STEM reached differ between targets.

    `fractions` has split and fraction; 0 where there is nothing to compare. Above `TRAINING_GAP` a difference between
    targets may be one of training.
    """
    by_split = fractions.groupby("split")["fraction"]
    return float((by_split.max() - by_split.min()).max()) if len(fractions) else 0.0


def twin_skill(controls: pd.DataFrame, split: str) -> pd.DataFrame:
    """In how many sections a score shows skill where only depth varies, per backbone and target.

    `controls` holds a row per section, twin and score, with `flagged`. Columns backbone, target, n_flagged,
    n_sections, and flagged: in more than half of the sections, where chance alone flags one in twenty.
    """
    part = controls[(controls["twin"] == "depth_only") & (controls["split"] == split)]
    table = part.groupby(["backbone", "target"], sort=False)["flagged"].agg(n_flagged="sum", n_sections="size")
    return table.assign(flagged=table["n_flagged"] > table["n_sections"] / 2).reset_index()
