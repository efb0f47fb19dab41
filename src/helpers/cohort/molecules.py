"""Whether counts are numbers of molecules: ceilings, residuals and every null of depth rest on their noise."""

import numpy as np
from scipy.sparse import coo_matrix

SAME_TOTAL = 0.01  # of the mean: counts of molecules differ by more between spots
MIN_SPOTS, MIN_GENES = 30, 20  # fewer say nothing of how genes vary
HIGHEST, MIDDLE = 20, (100, 300)  # genes by their mean, the highest first
# Of 36 published sections of ST, two of mouse brain and one of Visium, whole, and with 8 and 64 times fewer molecules,
# the variance of the median gene given depth is at least 0.95 of its mean, and variance over mean of the highest genes
# at least 1.04 times that of the middling ones. Rounded logs of the same counts, with and without scaling, have one
# below 0.84 or the other below 0.6.
LEAST_NOISE, LEAST_RATIO = 0.8, 0.7
CUT_OFF = 20  # values that are the largest of all: of those sections, thinned too, at most 6
# Of those sections, thinned too, no value stands too often by more than 3.1 standard errors. Of their rounded logs,
# with any factor to 1,000, as they are or scaled to 10,000, to a million or to the median spot, some value does by 16
# and more, but for logs of factor 1 or 2 as they are, which the rules above know; of counts times 1.5 rounded, too.
GROUPS, LEAST_VALUES, SURE, HIGHEST_VALUE = 10, 30, 6, 10_000


def why_not_umi(counts) -> str:
    """Why measured counts (spots x all genes) are no numbers of molecules, in words; "" where they may be."""
    values = np.asarray(counts.data if hasattr(counts, "nnz") else counts, float).ravel()
    total, whole = np.asarray(counts.sum(axis=1), float).ravel(), np.array_equal(values, np.rint(values))
    if np.ptp(total) < SAME_TOTAL * total.mean():
        return f"every spot has the same total, {total.mean():,.0f}: they were divided by depth"
    if not whole:
        return "they are not whole numbers"
    divisor = int(np.gcd.reduce(values.astype(np.int64)))
    if divisor > 1:
        return f"all are multiples of {divisor}"
    return _cut_off(values) or _too_even(counts, total) or _heaped(counts)


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


def _heaped(counts) -> str:
    """Whether a value stands more often than the next ones let molecules, which are drawn at random; in words.

    Of v molecules, drawn with whatever means, (v + 1) n(v + 1) / n(v) estimates the mean and never falls with v
    (Robbins 1956). Rounded logs and scaled counts leave gaps. Where depth was divided out the gaps differ between
    spots, so these are taken by the number of genes found: of every second gene, as it would shape the values counted.
    """
    found, (n_spots, n_genes) = coo_matrix(counts), counts.shape
    if n_spots < MIN_SPOTS:
        return ""
    counted, group = found.col % 2 == 1, np.empty(n_spots, int)
    n_found = np.bincount(found.row[~counted & (found.data > 0)], minlength=n_spots)
    for number, spots in enumerate(np.array_split(np.argsort(n_found, kind="stable"), GROUPS)):
        group[spots] = number
    for number in range(GROUPS):
        values = found.data[counted & (group[found.row] == number)].astype(np.int64)
        n = np.append(np.bincount(values[(values > 0) & (values < HIGHEST_VALUE)], minlength=2), 0).astype(float)
        n_of_group = int((group == number).sum())
        n[0] = n_of_group * (n_genes // 2) - (values > 0).sum()
        v = np.flatnonzero(n[1:-1] >= LEAST_VALUES) + 1
        before, after, most = n[v - 1], n[v + 1], (v + 1) / v
        sure = (n[v] - np.sqrt(most * before * after)) / np.sqrt(n[v] + most * (before + after) / 4)
        if len(v) and sure.max() > SURE:
            at = v[sure.argmax()]
            return (
                f"{n[at]:,.0f} values are {at} where {n[at - 1]:,.0f} are {at - 1} and {n[at + 1]:,.0f} are {at + 1}, "
                f"in {n_of_group} spots of like depth: were logs rounded, or counts scaled?"
            )
    return ""


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
