"""Targets: METHODS maps a name to a function of a section that returns spots x genes; `arm` crosses what they mix.

Kernels work on arrays; each method takes the section (library sizes and gene shares come from all of its genes) and
the genes wanted back, all of them by default.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from anndata import AnnData
from scipy import sparse

from helpers.schema import COUNTS

THETA = 100.0


def log2(section: AnnData, genes: Sequence[str] | None = None) -> np.ndarray:
    """STEM's own target, log2(x + 1) of raw counts (paper, Eq. 1). Spots x genes."""
    return np.log2(counts_of(section, genes) + 1)


def log1p_cp10k(section: AnnData, genes: Sequence[str] | None = None, size: float = 1e4) -> np.ndarray:
    """log(x / n_i * 10,000 + 1), the depth-scaled log that the paper leaves out; n_i over all genes. Spots x genes."""
    library = library_size(section)
    scale = np.divide(size, library, out=np.zeros_like(library), where=library > 0)
    return np.log1p(counts_of(section, genes) * scale[:, None])


def pearson_residual(section: AnnData, genes: Sequence[str] | None = None, theta: float = THETA) -> np.ndarray:
    """Analytic Pearson residuals, not clipped. Spots x genes.

    mu_ij = n_i p_j, with n_i the spot's total over all genes and p_j the gene's share of the section's counts.
    Source: paper, Eq. 2; Lause 2021, doi 10.1186/s13059-021-02451-7.
    """
    counts = section.layers[COUNTS]
    share = np.asarray(counts.sum(0), float).ravel() / counts.sum()
    columns = _positions(section, genes)
    return residuals(counts_of(section, genes), library_size(section), share[columns], theta)


METHODS = {"log2": log2, "pearson_residual": pearson_residual, "log1p_cp10k": log1p_cp10k}


def residuals(counts: np.ndarray, library: np.ndarray, share: np.ndarray, theta: float = THETA) -> np.ndarray:
    """(x - mu) / sqrt(mu + mu^2 / theta) with mu = outer(library, share); the root is at least 1e-8. Spots x genes."""
    mu = np.outer(library, share)
    return (counts - mu) / np.maximum(np.sqrt(mu + mu**2 / theta), 1e-8)


def clip(values: np.ndarray, method: str) -> np.ndarray:
    """The target as models see it: residuals within +-sqrt(number of spots), as in Lause 2021; others as they are."""
    if method != "pearson_residual":
        return values
    limit = np.sqrt(len(values))
    return np.clip(values, -limit, limit)


def library_size(section: AnnData) -> np.ndarray:
    """Total counts of each spot over all genes of the section. (spots,)"""
    return np.asarray(section.layers[COUNTS].sum(1), float).ravel()


def get(method: str):
    """The function of METHODS of that name."""
    return named(METHODS, "method", method)


def named(known: Mapping, what: str, name: str):
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}")
    return known[name]


def _positions(section: AnnData, genes: Sequence[str] | None) -> np.ndarray:
    if genes is None:
        return np.arange(section.n_vars)
    positions = section.var_names.get_indexer(genes)
    if (positions < 0).any():
        absent = [gene for gene, position in zip(genes, positions, strict=True) if position < 0]
        raise ValueError(
            f"section {section.uns.get('section', '')}: no gene {', '.join(absent[:5])}"
            f"{' and others' if len(absent) > 5 else ''}; choose the panel from all sections that use it"
        )
    return positions


def counts_of(section: AnnData, genes: Sequence[str] | None) -> np.ndarray:
    columns = section.layers[COUNTS][:, _positions(section, genes)]
    return np.asarray(columns.todense() if sparse.issparse(columns) else columns, float)
