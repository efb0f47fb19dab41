"""Targets: what models predict of counts, and the way back to counts. TARGETS is the one list of them.

Kernels work on arrays: counts (spots x genes), library (the total of each spot over all genes of its section) and share
(each gene's share of the section's counts). `target` takes a section and the genes wanted back, all of them by default.
To add a target, write its two kernels and enter them in TARGETS: configs, the audit and every page then know its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from helpers.schema import COUNTS

if TYPE_CHECKING:
    from anndata import AnnData

THETA = 100.0
CP10K = 1e4
LOG, RESIDUAL, LOG_CP10K = "log2", "pearson_residual", "log1p_cp10k"  # of TARGETS
OF_PAPER = (LOG, RESIDUAL)


class Target(NamedTuple):
    """Kernels to and from counts, (counts or values, library, share) -> spots x genes, and what follows from them."""

    values: Callable
    counts: Callable
    holds_depth: bool = False  # its values say how many molecules a spot has
    clipped: bool = False  # models see it within +-sqrt(number of spots)
    centred: bool = False  # every gene's values lie around 0


def unchanged(values: np.ndarray, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Counts as they are.

    >>> unchanged([[0, 3]], [100], [0.1, 0.2])
    [[0, 3]]
    """
    return values


def log2(counts: np.ndarray, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    """STEM's own target, log2(x + 1) of raw counts (paper, Eq. 1).

    >>> log2(np.array([[0, 1, 3]]), [100], [0.1, 0.2, 0.3])
    array([[0., 1., 2.]])
    """
    return np.log2(counts + 1)


def log1p(counts: np.ndarray, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    """log(x + 1) of raw counts.

    >>> log1p(np.array([[0, 1]]), [100], [0.1, 0.2]).round(3)
    array([[0.   , 0.693]])
    """
    return np.log1p(counts)


def log1p_cp10k(counts: np.ndarray, library: np.ndarray, share: np.ndarray, size: float = CP10K) -> np.ndarray:
    """log(x / n_i * 10,000 + 1), the depth-scaled log that the paper leaves out; 0 in a spot without a count.

    >>> log1p_cp10k(np.array([[1, 3], [2, 6]]), [100, 200], [0.1, 0.2]).round(3)  # twice the depth
    array([[4.615, 5.707],
           [4.615, 5.707]])
    """
    library = np.asarray(library, float)
    scale = np.divide(size, library, out=np.zeros_like(library), where=library > 0)
    return np.log1p(counts * scale[:, None])


def residuals(counts: np.ndarray, library: np.ndarray, share: np.ndarray, theta: float = THETA) -> np.ndarray:
    """Analytic Pearson residuals, not clipped: (x - mu) / sqrt(mu + mu^2 / theta) with mu_ij = n_i p_j.

    The root is at least 1e-8. Source: paper, Eq. 2; Lause 2021, doi 10.1186/s13059-021-02451-7.

    >>> residuals(np.array([[10, 30]]), [100], [0.1, 0.2]).round(3)
    array([[0.   , 2.041]])
    """
    mu = np.outer(library, share)
    return (counts - mu) / np.maximum(np.sqrt(mu + mu**2 / theta), 1e-8)


def from_log2(values: np.ndarray, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Counts of `log2`.

    >>> from_log2(np.array([[0.0, 1.0, 2.0]]), [100], [0.1, 0.2, 0.3]).round(6)
    array([[0., 1., 3.]])
    """
    return np.expm1(values * np.log(2))


def from_log1p(values: np.ndarray, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Counts of `log1p`.

    >>> from_log1p(np.log([[1.0, 2.0]]), [100], [0.1, 0.2]).round(6)
    array([[0., 1.]])
    """
    return np.expm1(values)


def from_log1p_cp10k(values: np.ndarray, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Counts of `log1p_cp10k` in spots of the given library.

    >>> from_log1p_cp10k(log1p_cp10k(np.array([[1, 3]]), [100], [0.1, 0.2]), [100], [0.1, 0.2]).round(6)
    array([[1., 3.]])
    """
    return np.expm1(values) / CP10K * np.asarray(library, float)[:, None]


def from_residuals(values: np.ndarray, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Counts of `residuals` in spots of the given library.

    >>> from_residuals(np.array([[0.0, 2.041]]), [100], [0.1, 0.2]).round(2)
    array([[10., 30.]])
    """
    mu = np.outer(library, share)
    return mu + values * np.sqrt(mu + mu**2 / THETA)


TARGETS: dict[str, Target] = {
    LOG: Target(log2, from_log2, holds_depth=True),
    RESIDUAL: Target(residuals, from_residuals, clipped=True, centred=True),
    LOG_CP10K: Target(log1p_cp10k, from_log1p_cp10k),
    "log1p": Target(log1p, from_log1p, holds_depth=True),
    "counts": Target(unchanged, unchanged, holds_depth=True),
}


def target(section: AnnData, name: str, genes: Sequence[str] | None = None, **settings: float) -> np.ndarray:
    """A target of TARGETS of a section, not clipped: spots x genes. `settings` go to its kernel, as theta.

    Library sizes and gene shares come from all genes of the section. ValueError for an unknown target or gene.

    >>> from anndata import AnnData
    >>> section = AnnData(shape=(2, 2), layers={COUNTS: np.array([[0, 1], [3, 7]])})
    >>> target(section, "log2")
    array([[0., 1.],
           [2., 3.]])
    """
    counts = section.layers[COUNTS]
    share = np.asarray(counts.sum(0), float).ravel() / counts.sum()
    kernel = named(TARGETS, "target", name).values
    return kernel(counts_of(section, genes), library_size(section), share[_positions(section, genes)], **settings)


def get(name: str) -> Callable:
    """`target` of one name: a function of a section and genes.

    >>> from anndata import AnnData
    >>> get("log2")(AnnData(shape=(1, 2), layers={COUNTS: np.array([[0, 1]])}))
    array([[0., 1.]])
    """
    named(TARGETS, "target", name)
    return lambda section, genes=None, **settings: target(section, name, genes, **settings)


def clip(values: np.ndarray, name: str) -> np.ndarray:
    """A target as models see it: residuals within +-sqrt(number of spots), as in Lause 2021; others as they are.

    >>> clip(np.array([[-3.0], [1.0], [2.0], [5.0]]), "pearson_residual").T
    array([[-2.,  1.,  2.,  2.]])
    """
    if not named(TARGETS, "target", name).clipped:
        return values
    limit = np.sqrt(len(values))
    return np.clip(values, -limit, limit)


def library_size(section: AnnData) -> np.ndarray:
    """Total counts of each spot over all genes of the section. (spots,)

    ValueError where the section has lost genes since `total_counts` was summed: a library of the panel alone would
    pass for one of all genes.

    >>> from anndata import AnnData
    >>> library_size(AnnData(shape=(2, 2), layers={COUNTS: np.array([[0, 1], [3, 7]])}))
    array([ 1., 10.])
    """
    total = summed_counts(section)
    if "total_counts" in section.obs and not np.allclose(total, section.obs["total_counts"]):
        raise ValueError(
            f"section {section.uns.get('section', '')}: the counts of its {section.n_vars} genes do not add up to "
            "total_counts: give the section with all its genes, as 01_data leaves it"
        )
    return total


def summed_counts(section: AnnData) -> np.ndarray:
    """The counts of each spot, added up. (spots,)"""
    return np.asarray(section.layers[COUNTS].sum(1), float).ravel()


def named(known: Mapping, what: str, name: str):
    """The entry of that name; ValueError lists the known ones.

    >>> named({"log2": 1}, "target", "tpm")
    Traceback (most recent call last):
    ValueError: unknown target 'tpm'; known: log2
    """
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


def counts_of(section: AnnData, genes: Sequence[str] | None = None) -> np.ndarray:
    """Raw counts of the genes asked, in their order, dense: spots x genes. ValueError names a gene that is not there.

    >>> from anndata import AnnData
    >>> counts_of(AnnData(shape=(2, 2), layers={COUNTS: np.array([[0, 1], [3, 7]])}), ["1"])
    array([[1.],
           [7.]])
    """
    columns = section.layers[COUNTS][:, _positions(section, genes)]
    return np.asarray(columns.todense() if hasattr(columns, "nnz") else columns, float)
