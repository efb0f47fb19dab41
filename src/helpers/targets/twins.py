"""Twins of a section with a known answer: counts in which only depth varies, and counts in which depth does not.

Counts are spots x genes, sparse; totals are kept exactly. `as_twin` puts them in the place of a section's own.
"""

from itertools import pairwise

import numpy as np
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.schema import COUNTS


def depth_only(counts: csr_matrix, rng: np.random.Generator) -> csr_matrix:
    """Each spot redrawn as multinomial(its total, average composition of the section): the negative control.

    Every spot has the same expected composition, so whatever still follows nuclei, depth or a prediction does so by
    the number of molecules alone. Spots x genes, each total as it was. ValueError where no spot has a
    count.
    """
    share = np.asarray(counts.sum(axis=0), float).ravel()
    if not share.any():
        raise ValueError("no spot has a count: there is no composition to draw from")
    totals = np.asarray(counts.sum(axis=1)).ravel().astype(np.int64)
    drawn = (rng.multinomial(total, share / share.sum()) for total in totals)
    return _from_rows([(np.flatnonzero(row), row[row > 0]) for row in drawn], counts)


def equal_depth(counts: csr_matrix, depth: int, rng: np.random.Generator) -> tuple[csr_matrix, np.ndarray]:
    """Each spot thinned to `depth` molecules, drawn without replacement: the positive control. Counts and spots kept.

    Composition stays as it was measured, so whatever still follows depth does so by composition. A spot of fewer
    molecules would keep its depth and is dropped: the second value marks the spots that the first holds (bool, all
    spots). The lower the depth, the more spots and the fewer molecules are left. ValueError where none is.
    """
    totals = np.asarray(counts.sum(axis=1)).ravel()
    kept = totals >= depth
    if depth < 1 or not kept.any():
        raise ValueError(
            f"no spot can be thinned to {depth} counts, the deepest has {totals.max():.0f}: lower the depth"
        )

    def thin(genes: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        drawn = rng.multivariate_hypergeometric(row.astype(np.int64), depth, method="count")
        return genes[drawn > 0], drawn[drawn > 0]

    rows = csr_matrix(counts)[kept]
    return _from_rows([thin(rows.indices[a:b], rows.data[a:b]) for a, b in pairwise(rows.indptr)], counts), kept


def as_twin(section: AnnData, counts: csr_matrix, kept: np.ndarray | None = None) -> AnnData:
    """The section with other counts, and with the totals that go with them; `kept` marks the spots they are of.

    Coordinates, nuclei and features stay. Layers of targets do not: they are made of the counts. ValueError where the
    shape of the counts is not that of the spots kept and the genes.
    """
    spots = section if kept is None else section[kept]
    if counts.shape != spots.shape:
        raise ValueError(
            f"section {section.uns.get('section', '')}: counts {counts.shape} for {spots.shape} spots, genes"
        )
    twin = AnnData(obs=spots.obs.copy(), var=spots.var.copy(), uns=dict(spots.uns), layers={COUNTS: counts})
    twin.obsm = {slot: values.copy() for slot, values in spots.obsm.items()}
    twin.obs["total_counts"] = np.asarray(counts.sum(axis=1)).ravel()
    return twin


def _from_rows(rows: list[tuple[np.ndarray, np.ndarray]], like: csr_matrix) -> csr_matrix:
    """A sparse matrix from the genes and counts of each spot."""
    ends = np.cumsum([0, *(len(genes) for genes, _ in rows)])
    genes, values = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return csr_matrix((values.astype(like.dtype), genes, ends), shape=(len(rows), like.shape[1]))
