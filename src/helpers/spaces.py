"""Predictions taken from one space to another.

A space is what a model predicts: counts, or counts normalized one way or another. Nothing measured on a spot enters a
conversion, so a prediction never gains what the model did not know.
"""

from collections.abc import Callable

import numpy as np

from helpers.normalization import THETA, residuals

CP10K = 1e4


def _log(base: float) -> tuple[Callable, Callable]:
    return lambda x, n, p: np.log1p(x) / np.log(base), lambda v, n, p: np.expm1(v * np.log(base))


def _from_residuals(values: np.ndarray, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    mu = np.outer(library, share)
    return mu + values * np.sqrt(mu + mu**2 / THETA)


# Space -> (counts, library, gene shares -> values; values, library, gene shares -> counts).
SPACES: dict[str, tuple[Callable, Callable]] = {
    "counts": (lambda x, n, p: x, lambda v, n, p: v),
    "log2": _log(2.0),
    "log1p": _log(np.e),
    "log1p_cp10k": (
        lambda x, n, p: np.log1p(CP10K * x / np.maximum(n, 1e-12)[:, None]),
        lambda v, n, p: np.expm1(v) / CP10K * n[:, None],
    ),
    "pearson_residual": (residuals, _from_residuals),
}
HOLD_DEPTH = ("counts", "log2", "log1p")


def convert(values: np.ndarray, source: str, target: str, share: np.ndarray, depth: float) -> np.ndarray:
    """Predictions (spots x genes) of one space as predictions of another, by way of counts.

    `share` is each gene's share of the section's counts, over all genes; `depth` the section's median count per spot.
    A space that holds depth says how many molecules it expects in a spot: the sum of its predicted counts over the
    genes' summed share. One that does not is given `depth` for every spot, so it stays as ignorant as it is.
    """
    for space in (source, target):
        if space not in SPACES:
            raise ValueError(f"unknown space {space!r}; known: {', '.join(SPACES)}")
    values, share = np.asarray(values, float), np.asarray(share, float)
    if source == target:
        return values
    library = np.full(len(values), float(depth))
    counts = np.maximum(SPACES[source][1](values, library, share), 0)
    if source in HOLD_DEPTH:
        library = np.maximum(counts.sum(axis=1) / share.sum(), 1.0)
    # A prediction that is constant in the target space must not vary by rounding alone: that would have a correlation.
    return np.round(SPACES[target][0](counts, library, share), 9)


def doubts(values: np.ndarray, space: str, counts: np.ndarray) -> list[str]:
    """Reasons to doubt that predictions (spots x genes) are in the space they are said to be in.

    `counts` are the measured ones of the same spots and genes. A guess by range and by whole numbers: a remark, not a
    verdict.
    """
    found, largest = [], float(np.max(values))
    whole = np.array_equal(values, np.rint(values)) and np.ptp(values) > 0
    if whole and space != "counts":
        found.append(f"predictions said to be {space} are all whole numbers: are they counts?")
    if space != "pearson_residual" and np.min(values) < -0.5 * np.std(values) and np.mean(values < 0) > 0.05:
        share = np.mean(values < 0)
        found.append(f"{share:.0%} of the predictions said to be {space} are negative: residuals or z-scores?")
    if space == "pearson_residual" and np.min(values) >= 0:
        found.append("no predicted residual is negative: are they logs or counts?")
    highest = np.percentile(SPACES[space][0](counts, *_whole(counts)), 99.9) if space in SPACES else np.inf
    if space in SPACES and space != "pearson_residual" and largest > 3 * highest + 1:
        found.append(f"the largest prediction, {largest:.3g}, is far above what {space} reaches here, {highest:.3g}")
    return found


def _whole(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = np.maximum(counts.sum(axis=1), 1.0)
    return total, counts.sum(axis=0) / total.sum()
