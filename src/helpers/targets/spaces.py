"""Predictions taken from one space to another.

A space is what a model predicts: counts, or counts normalized one way or another. Nothing measured on a spot enters a
conversion, unless a library is handed over, so a prediction never gains what the model did not know.
"""

import numpy as np

from helpers.targets.normalization import TARGETS, named


def convert(values: np.ndarray, source: str, target: str, share: np.ndarray, depth: float | np.ndarray) -> np.ndarray:
    """Predictions (spots x genes) of one space as predictions of another, by way of counts.

    `share` is each gene's share of the section's counts, over all genes, and each gene's predicted counts are scaled to
    it: no correlation sees the level of a gene, but depth leaks into a residual whose level is off.
    A space that holds depth says how many molecules it expects in a spot (`library`). One that does not is given
    `depth`: the section's median count, so it stays as ignorant as it is, or a library for each spot, from elsewhere.
    """
    given, wanted = (named(TARGETS, "space", space) for space in (source, target))
    values, share = np.asarray(values, float), np.asarray(share, float)
    if source == target:
        return values
    depths = np.broadcast_to(np.asarray(depth, float), len(values))
    counts = _as_counts(values, source, depths, share)
    if given.holds_depth:
        depths = _library(counts, share)
    # A prediction that is constant in the target space must not vary by rounding alone: that would have a correlation.
    return np.round(wanted.values(counts, depths, share), 9)


def library(values: np.ndarray, space: str, share: np.ndarray) -> np.ndarray:
    """Molecules that predictions (spots x genes) expect in each spot over all genes; `share` as for `convert`.

    ValueError for a space that does not hold depth.
    """
    if not named(TARGETS, "space", space).holds_depth:
        holding = ", ".join(name for name, target in TARGETS.items() if target.holds_depth)
        raise ValueError(f"{space} does not say how many molecules a spot has; {holding} do")
    share = np.asarray(share, float)
    return _library(_as_counts(np.asarray(values, float), space, np.ones(len(values)), share), share)


def _as_counts(values: np.ndarray, space: str, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Predicted counts, none below 0, each gene scaled to its share of their sum."""
    counts = np.maximum(TARGETS[space].counts(values, library, share), 0)
    total = counts.sum(axis=0)
    scale = np.divide(share, total, out=np.zeros_like(share), where=total > 0)
    return counts * scale * (total.sum() / share.sum())


def _library(counts: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The sum of each spot's predicted counts over the genes' summed share, at least 1."""
    return np.maximum(counts.sum(axis=1) / share.sum(), 1.0)


def doubts(values: np.ndarray, space: str, counts: np.ndarray) -> list[str]:
    """Reasons to doubt that predictions (spots x genes) are in the space they are said to be in.

    `counts` are the measured ones of the same spots and genes. Judged by values alone, before anything is made of
    them: by sign, range, whole numbers, and a spread of one in every gene. Logs of one base or size factor for those
    of another are not told apart: a model of deeper sections, or a shrunken one, looks the same.
    """
    found, mean, spread = [], np.mean(values, axis=0), np.std(values, axis=0)
    said = f"predictions said to be {space}"
    quarter, largest, negative = np.quantile(values, 0.25), np.max(values), np.mean(values < 0)
    if space != "counts" and np.array_equal(values, np.rint(values)) and np.ptp(values) > 0:
        found.append(f"{said} are all whole numbers: are they counts?")
    if np.mean(np.abs(spread - 1) < 0.01) > 0.9 and np.mean(np.abs(mean) < 0.01) > 0.9:
        found.append(f"{said} have mean 0 and standard deviation 1 in every gene: are they z-scores?")
    if TARGETS[space].centred:
        if quarter > 0:
            found.append(f"{said} are hardly negative, as residuals are in most spots: are they logs or counts?")
        return found
    # A line may say less than nothing of a rare gene or a shallow section, but is not centred at 0 for many genes.
    if negative > 0.05 and np.mean(mean < spread / 4) > 0.25:
        found.append(f"{negative:.0%} of the {said} are negative: residuals or z-scores?")
    highest = np.percentile(TARGETS[space].values(counts, *_whole(counts)), 99.9)
    if largest > (10 if space == "counts" else 2) * highest + 1:
        found.append(f"the largest of the {said}, {largest:.3g}, is far above what is measured, {highest:.3g}")
    return found


def _whole(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = np.maximum(counts.sum(axis=1), 1.0)
    return total, counts.sum(axis=0) / total.sum()
