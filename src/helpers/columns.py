"""Columns of a matrix: ranks, and one correlation for each."""

import numpy as np
from scipy.stats import rankdata

# Correlations, one per column -----------------------------------------------------------------------------------


def ranks(X: np.ndarray) -> np.ndarray:
    """Average ranks of each column, from 1; columns with a NaN are NaN throughout."""
    return rankdata(X, axis=0, nan_policy="propagate")


def as_columns(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return values[:, None] if values.ndim == 1 else values


def standardized(X: np.ndarray) -> np.ndarray:
    """Columns centred and scaled to length one; constant columns NaN, also where only rounding makes them vary."""
    centred = X - X.mean(axis=0)
    length = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    constant = length <= 1e-12 * np.sqrt(len(X)) * np.abs(X).max(axis=0, initial=0)
    centred /= np.where(constant, np.nan, length)
    return centred


def spearman(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of every column of X with y.

    X is spots x genes; y is spots, giving one rho per gene, or spots x m, giving genes x m. NaN for constant columns.
    """
    y = np.asarray(y)
    if len(X) != len(y):
        raise ValueError(f"{len(X)} spots against {len(y)}: both sides of a correlation need the same spots")
    rho = standardized(ranks(X)).T @ standardized(ranks(as_columns(y)))
    return rho[:, 0] if y.ndim == 1 else rho


def pearson(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Pearson's r of each column of A with the same column of B; NaN where either is constant."""
    if np.shape(A) != np.shape(B):
        raise ValueError(f"shapes {np.shape(A)} and {np.shape(B)} differ: both need the same spots and genes")
    return np.einsum("ij,ij->j", standardized(as_columns(A)), standardized(as_columns(B)))
