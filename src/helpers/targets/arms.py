"""Arms: a size factor crossed with a transform, so that what targets mix can be told apart."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from anndata import AnnData
from scipy.stats import rankdata

from helpers.schema import cellularity, measure
from helpers.targets.normalization import THETA, counts_of, library_size, named, residuals

LEAST_STAIN = 0.05  # as one nucleus is to the twenty of a usual spot

# The factorial: what a spot is divided by, and what is done then ---------------------------------------------------


def arm(
    section: AnnData,
    size_factor: str,
    transform: str,
    genes: Sequence[str] | None = None,
    theta: float = THETA,
    share: np.ndarray | None = None,
) -> np.ndarray:
    """One arm of the factorial: a name of SIZE_FACTORS crossed with one of TRANSFORMS. Spots x genes.

    Transforms work on x / n_i * mean(n), n_i the spot's size; only the residual takes n_i into its mean instead.
    `theta` is the dispersion of acosh and residual (inf: Poisson); `share` is the p_j of the residual, counts of each
    gene asked per unit of size, taken from another section or the cohort, by default from this section.
    A spot of size 0 has captured nothing of what it is divided by and is 0 in every gene, as in `log1p_cp10k`.
    """
    kernel = named(TRANSFORMS, "transform", transform)
    size_of = named(SIZE_FACTORS, "size factor", size_factor)
    counts = counts_of(section, genes)
    return kernel(counts, size_of(section, counts), section=section, theta=theta, share=share)


def nuclei(section: AnnData) -> np.ndarray:
    """Nuclei of each spot, at least 1, or their stain, at least `LEAST_STAIN` of the section's median. (spots,)

    RNA under a spot without a nucleus is that of cells cut beside theirs: one cell, not none. Leaving such spots out
    (4 of B4's 283, none in C) would compare arms on different spots.
    """
    cells = cellularity(section)
    return np.maximum(cells, 1 if measure(section.obs) == "n_nuclei" else LEAST_STAIN * np.median(cells))


SIZE_FACTORS = {
    "none": lambda section, counts: np.ones(len(counts)),
    "total": lambda section, counts: library_size(section),
    "panel_total": lambda section, counts: counts.sum(axis=1),  # over the genes asked: Eq. 2 read literally
    "nuclei": lambda section, counts: nuclei(section),
}


def scaled(counts: np.ndarray, size: np.ndarray) -> np.ndarray:
    """x / n_i * mean(n): counts as they would be in a spot of average size; 0 where n_i is 0. Spots x genes."""
    # Divided first: equal ratios of whole numbers are then equal floats, and stay ties in a rank correlation.
    size = size[:, None]
    return np.divide(counts, size, out=np.zeros(counts.shape), where=size > 0) * size.mean()


def identity(counts: np.ndarray, size: np.ndarray, **_) -> np.ndarray:
    """Scaled counts as they are. Here and below counts are spots x genes, sizes one a spot, and so are values."""
    return scaled(counts, size)


def sqrt(counts: np.ndarray, size: np.ndarray, **_) -> np.ndarray:
    """Square root of scaled counts: stabilizes the variance of Poisson counts."""
    return np.sqrt(scaled(counts, size))


def log(counts: np.ndarray, size: np.ndarray, **_) -> np.ndarray:
    """log(y + 1) of scaled counts y; without a size factor the paper's Eq. 1 in natural units."""
    return np.log1p(scaled(counts, size))


def acosh(counts: np.ndarray, size: np.ndarray, theta: float = THETA, **_) -> np.ndarray:
    """sqrt(theta) acosh(2 y / theta + 1) of scaled counts y: stabilizes the variance of mu + mu^2 / theta.

    2 sqrt(y) at theta = inf. Source: Ahlmann-Eltze & Huber 2023, doi 10.1038/s41592-023-01814-1, Eq. 1.
    """
    y = scaled(counts, size)
    return 2 * np.sqrt(y) if np.isinf(theta) else np.sqrt(theta) * np.arccosh(2 * y / theta + 1)


def sized_residual(
    counts: np.ndarray, size: np.ndarray, theta: float = THETA, share: np.ndarray | None = None, **_
) -> np.ndarray:
    """Pearson residuals, not clipped, with any size in the place of n_i in Eq. 2: mu_ij = n_i p_j."""
    if share is None:
        share = counts.sum(axis=0) / max(size.sum(), 1)
    return residuals(counts, size, share, theta)


def clr(counts: np.ndarray, size: np.ndarray, **_) -> np.ndarray:
    """Centred log-ratio: log(y + 1) less its mean over the genes asked, spot by spot."""
    values = log(counts, size)
    return values - values.mean(axis=1, keepdims=True)


def rank(counts: np.ndarray, size: np.ndarray, **_) -> np.ndarray:
    """Rank of each gene among the genes asked within its spot, from 0 to 1, ties averaged; no size matters to it."""
    return rankdata(scaled(counts, size), axis=1) / counts.shape[1]


def regressed(values: np.ndarray, covariate: np.ndarray) -> np.ndarray:
    """Residuals of each column's least-squares line on log(covariate + 1), one covariate a spot."""
    design = np.column_stack([np.ones(len(values)), np.log1p(covariate)])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def depth_regressed_log(counts: np.ndarray, size: np.ndarray, section: AnnData, **_) -> np.ndarray:
    """log(y + 1) with its line on the log of the spot's total, over all genes, taken out."""
    return regressed(log(counts, size), library_size(section))


def nuclei_regressed_log(counts: np.ndarray, size: np.ndarray, section: AnnData, **_) -> np.ndarray:
    """log(y + 1) with its line on the log of the spot's nuclei taken out."""
    return regressed(log(counts, size), nuclei(section))


TRANSFORMS = {
    "identity": identity,
    "sqrt": sqrt,
    "log": log,
    "acosh": acosh,
    "pearson_residual": sized_residual,
    "clr": clr,
    "rank": rank,
    "depth_regressed_log": depth_regressed_log,
    "nuclei_regressed_log": nuclei_regressed_log,
}
# Five transforms are crossed with every size; the others see to depth themselves and stand alone. Thinning to equal
# depth acts on counts (`twins.equal_depth`): its arm is ("none", "log") of the thinned section.
CROSSED, ALONE = tuple(TRANSFORMS)[:5], tuple(TRANSFORMS)[5:]
ARMS = (*product(SIZE_FACTORS, CROSSED), *(("none", transform) for transform in ALONE))
