"""Where a measured value falls among the samples of a fit: kept with each prediction, as its samples are not.

`measured` is spots x genes, `samples` samples x spots x genes, drawn independently.
"""

import numpy as np


def pit(measured: np.ndarray, samples: np.ndarray, seed: int = 0) -> np.ndarray:
    """Where each measured value falls among its samples, spots x genes in (0, 1): the probability integral transform.

    A rank, with chance deciding within a gap and among ties, so that values drawn as the samples were are exactly
    uniform however few the samples. Low: the samples lie above. Gneiting et al. 2007,
    doi 10.1111/j.1467-9868.2007.00587.x; for ties Czado et al. 2009, doi 10.1111/j.1541-0420.2009.01191.x.
    ValueError for shapes that do not match and values that are not finite.
    """
    measured, samples = np.asarray(measured), np.asarray(samples)
    if samples.ndim != 3 or not len(samples) or samples.shape[1:] != measured.shape:
        raise ValueError(f"samples of shape {samples.shape} for values of shape {measured.shape}: give samples of each")
    if not (np.isfinite(measured).all() and np.isfinite(samples).all()):
        raise ValueError("measured values or samples are not finite: drop these spots, or fit again")
    below, ties = (samples < measured).sum(axis=0), (samples == measured).sum(axis=0)
    chance = np.random.default_rng(seed).uniform(size=measured.shape)
    return (below + chance * (ties + 1)) / (len(samples) + 1)


def within(values: np.ndarray) -> np.ndarray:
    """Values (..., spots, genes) without each gene's level in the section: its mean over spots, and over samples.

    What is left of a calibration is that of the scatter; PCC is blind to the level in the same way.
    """
    return values - values.mean(axis=tuple(range(values.ndim - 1)))
