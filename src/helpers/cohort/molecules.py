"""Whether counts are numbers of molecules: ceilings, residuals and every null of depth rest on their noise."""

import numpy as np

SAME_TOTAL = 0.01  # of the mean: counts of molecules differ by more between spots
MIN_SPOTS, MIN_GENES = 30, 20  # fewer say nothing of how genes vary
HIGHEST, MIDDLE = 20, (100, 300)  # genes by their mean, the highest first
# Of 36 published sections of ST, two of mouse brain and one of Visium, whole, and with 8 and 64 times fewer molecules,
# the variance of the median gene given depth is at least 0.95 of its mean, and variance over mean of the highest genes
# at least 1.04 times that of the middling ones. Rounded logs of the same counts, with and without scaling, have one
# below 0.84 or the other below 0.6.
LEAST_NOISE, LEAST_RATIO = 0.8, 0.7
CUT_OFF = 20  # values that are the largest of all: of those sections, thinned too, at most 6


def why_not_umi(counts) -> str:
    """Why measured counts (spots x all genes) are no numbers of molecules, in words; "" where they may be."""
    values = np.asarray(counts.data if hasattr(counts, "nnz") else counts, float).ravel()
    total, whole = np.asarray(counts.sum(axis=1), float).ravel(), np.array_equal(values, np.rint(values))
    if np.ptp(total) < SAME_TOTAL * total.mean():
        return f"every spot has the same total, {total.mean():,.0f}: they were divided by depth"
    if not whole:
        return "they are not whole numbers"
    divisor = int(np.gcd.reduce(values.astype(np.int64)))
    return f"all are multiples of {divisor}" if divisor > 1 else _cut_off(values) or _too_even(counts, total)


def _cut_off(values: np.ndarray) -> str:
    """Whether many counts are the largest of all, where few come near it: a type or a rule held no more; in words."""
    most = values.max(initial=0)
    at, below = int((values == most).sum()), int((values == most - 1).sum())
    if most < 3 or at < CUT_OFF or at < 2 * below:
        return ""
    return f"{at:,} values are the largest, {most:.0f}, and {below:,} are one less: were they cut off there?"


def _too_even(counts, total: np.ndarray) -> str:
    """Whether genes vary less than molecules, which are drawn at random, can; in words, "" where they do not.

    Drawn molecules of a spot's total vary as their mean, whatever was captured, and more where composition differs.
    Rounded logs do not, and the highest of them vary least.
    """
    mean = np.asarray(counts.mean(axis=0), float).ravel()
    order = np.argsort(-mean, kind="stable")[: int((mean > 0).sum())]
    if len(total) < MIN_SPOTS or len(order) < MIN_GENES:
        return ""
    high, middle = _noise(counts, total, order[:HIGHEST]), _noise(counts, total, order[slice(*MIDDLE)])
    least = min(high[0], middle[0])
    if least < LEAST_NOISE:
        says = f"the variance of the median gene given depth is {least:.2f} of its mean, of molecules 1 or more"
    elif high[1] < LEAST_RATIO * middle[1]:
        says = f"the highest genes vary {high[1]:.2f} times their mean, those of the middle {middle[1]:.2f} times"
    else:
        return ""
    return f"{says}, and the largest value is {counts.max():.0f}: were logs rounded, or values smoothed?"


def _noise(counts, total: np.ndarray, genes: np.ndarray) -> tuple[float, float]:
    """Variance over mean of the median of these genes, given the total of a spot, and plain.

    Without a gene what raises no doubt.
    """
    if not len(genes):
        return np.inf, 0.0
    values = counts[:, genes]
    values = np.asarray(values.toarray() if hasattr(values, "nnz") else values, float)
    share = values.sum(axis=0) / total.sum()
    drawn = (total.sum() * share * (1 - share)) * (1 - 1 / len(total))
    given = ((values - np.outer(total, share)) ** 2).sum(axis=0) / drawn
    return float(np.median(given)), float(np.median(values.var(axis=0) / values.mean(axis=0)))
