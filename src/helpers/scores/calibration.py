"""Samples against what was measured: do they cover it, and do they vary as it does?

Arrays in, tidy tables out. `measured` is spots x genes, `samples` samples x spots x genes, drawn independently.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

SHARES = (0.5, 0.9)  # central intervals whose coverage is told


def pit_histogram(pit: np.ndarray, bins: int = 20) -> pd.DataFrame:
    """Columns low, high, density: 1 everywhere where samples are drawn from the truth.

    U-shaped: samples too close together; a hump: too far apart; a slope: too high or too low.
    """
    density, edges = np.histogram(pit, bins, (0, 1), density=True)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "density": density})


def coverage(histogram: pd.DataFrame, share: float) -> float:
    """Share of measured values in the central interval that should hold `share` of them; its ends are edges of bins."""
    held, centre = (
        histogram["density"] * (histogram["high"] - histogram["low"]),
        histogram[["low", "high"]].mean(axis=1),
    )
    return float(held[(centre - 0.5).abs() < share / 2].sum())


def by_gene(
    genes: Sequence[str], measured: np.ndarray, predicted: np.ndarray, spread: np.ndarray, n_samples: float
) -> pd.DataFrame:
    """Per gene of one section, over its spots: what the gene variation curves draw.

    All arrays are spots x genes; `spread` is the standard deviation (n - 1) of a spot's samples, `n_samples` the number
    of independent ones that the prediction averages (inf where noise cancels in pairs). Columns gene, mean_measured,
    mean_predicted, variance_measured, variance_predicted (of the prediction, which is a mean) and variance_sampled (of
    one sample: of the prediction plus what its mean took off the variance within spots).
    """
    table = pd.DataFrame({"gene": list(genes)})
    for name, values in (("measured", measured), ("predicted", predicted)):
        table[f"mean_{name}"] = np.mean(values, axis=0, dtype=float)
        table[f"variance_{name}"] = np.var(values, axis=0, dtype=float)
    within = np.mean(np.square(spread), axis=0, dtype=float)
    table["variance_sampled"] = table["variance_predicted"] + (1 - 1 / n_samples) * within
    return table


def rvd(variance_measured: np.ndarray, variance_predicted: np.ndarray) -> float:
    """Relative variation distance: mean over genes of (predicted - measured)^2 / measured^2, both variances over spots.

    0 is best, 1 is what a constant gives. Genes that do not vary are left out; NaN where none does. Zhu et al. 2025,
    arXiv 2501.15598, whose code takes the variance of the mean over samples.
    """
    measured, predicted = np.asarray(variance_measured, float), np.asarray(variance_predicted, float)
    varies = measured > 0
    return float(np.mean((predicted[varies] / measured[varies] - 1) ** 2)) if varies.any() else np.nan


def variance_of_expectation(samples: np.ndarray) -> np.ndarray:
    """Variance over spots of what the samples of each spot scatter around, per gene: their noise does not add to it.

    The mean covariance over spots of two samples; unbiased, so it may fall below 0. NaN for fewer than two samples.
    """
    n = len(samples)
    if n < 2:
        return np.full(samples.shape[-1], np.nan)
    return (n**2 * samples.mean(axis=0).var(axis=0) - samples.var(axis=1).sum(axis=0)) / (n * (n - 1))
