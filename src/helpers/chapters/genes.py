"""What to trust of each gene: is it predicted beyond nuclei and depth, in which patients, and how sure is that."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import combine_pvalues

VERDICTS = ("beyond nuclei and depth", "beyond nuclei, not depth", "predicted, not beyond nuclei", "not predicted")
UNDEFINED = "undefined"


def of_patient(observed: Sequence[np.ndarray], null: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the sections of one patient and its null: genes, genes x draws.

    Serial sections repeat each other, so the null is that of sections that all go the same way: sorted draws are
    averaged, and the mean of n sections is no surer than one. Takes what `inference.null_correlations` returns of each
    section; one where a gene is constant (NaN) does not count for it.
    """
    stacked, drawn = np.stack(observed), np.stack([np.sort(draws, axis=1) for draws in null])
    known = np.isfinite(stacked)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, stacked, 0).sum(axis=0) / n
        return mean, np.where(known[:, :, None], drawn, 0).sum(axis=0) / n[:, None]


def combined_p(p: np.ndarray) -> np.ndarray:
    """One p for each gene from those of independent patients, genes x patients, by Fisher's method; NaN is no test."""
    p = np.asarray(p, float)
    combined, known = np.full(len(p), np.nan), np.isfinite(p).any(axis=1)
    combined[known] = combine_pvalues(p[known], method="fisher", axis=1, nan_policy="omit").pvalue
    return combined


def verdicts(q: Mapping[str, np.ndarray], level: float = 0.05) -> np.ndarray:
    """In words, from q-values of each gene under the keys plain, nuclei and both.

    The tests go in this order and end with the first that fails: only what is predicted can be predicted beyond nuclei,
    and only that beyond depth as well.
    """
    plain, nuclei, both = (np.asarray(q[given], float) <= level for given in ("plain", "nuclei", "both"))
    steps = [plain & nuclei & both, plain & nuclei, plain, np.isfinite(q["plain"])]
    return np.select(steps, VERDICTS, UNDEFINED)
