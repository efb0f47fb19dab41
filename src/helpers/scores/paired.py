"""Is a difference over sections, or a correlation over spots, more than chance: paired tests and spatial nulls."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, norm, permutation_test, rankdata, t

MIN_PATIENTS = 5
ALL_FLIPS = 10_000  # up to so many sign patterns, all are tried


def finite(differences: np.ndarray) -> np.ndarray:
    """Differences as floats; ValueError unless all of them are finite.

    >>> finite([1, 2])
    array([1., 2.])
    """
    differences = np.asarray(differences, dtype=float)
    if not np.isfinite(differences).all():
        raise ValueError("a difference is not finite: leave that section out and count it before testing")
    return differences


def signed_rank_distribution(ranks: np.ndarray) -> np.ndarray:
    """Exact null probabilities of the signed-rank sum, for ranks that may be tied.

    Entry i is P(2 W = i): average ranks are multiples of a half, so doubled they are whole.

    >>> signed_rank_distribution([1, 2])  # the sum is 0, 1, 2 or 3
    array([0.25, 0.  , 0.25, 0.  , 0.25, 0.  , 0.25])
    """
    doubled = np.rint(2 * np.asarray(ranks)).astype(int)
    probability = np.zeros(doubled.sum() + 1)
    probability[0] = 1.0
    for rank in doubled:
        probability[rank:] = probability[rank:] / 2 + probability[: len(probability) - rank] / 2
        probability[:rank] /= 2
    return probability


def wilcoxon(differences: np.ndarray) -> dict:
    """Exact signed-rank test that paired differences centre on zero.

    Zeros are left out and `n` counts the rest; ties share average ranks and stay exact. `statistic` is the smaller
    rank sum, `p_one_sided` tests for differences above zero, `smallest_p` is the least two-sided p at this n.

    >>> wilcoxon([0.4, 0.3, 0.2, -0.1])["p_two_sided"]
    0.25
    """
    differences = finite(differences)
    differences = differences[differences != 0]
    n = len(differences)
    if n == 0:
        return {"n": 0, "statistic": 0.0, "p_one_sided": 1.0, "p_two_sided": 1.0, "smallest_p": 1.0}
    ranks = rankdata(np.abs(differences))
    below = ranks[differences < 0].sum()
    above = ranks.sum() - below
    distribution = signed_rank_distribution(ranks)
    # P(W+ >= above) = P(W- <= below): the distribution is symmetric.
    one_sided = distribution[: round(2 * below) + 1].sum()
    two_sided = min(1.0, 2 * distribution[: round(2 * min(below, above)) + 1].sum())
    return {
        "n": n,
        "statistic": float(min(below, above)),
        "p_one_sided": float(min(1.0, one_sided)),
        "p_two_sided": float(two_sided),
        "smallest_p": 2.0 ** (1 - n),
    }


def sign_flip(
    differences: np.ndarray, statistic: str = "mean", n_draws: int = 9_999, seed: int = 0
) -> dict[str, float]:
    """Two-sided permutation test flipping the signs of paired differences: p, n and the least p reachable.

    All 2^n patterns where they are at most 10,000 (p = hits / 2^n), else random ones (p = (1 + hits) / (draws + 1)).

    >>> sign_flip([0.1, 0.2, 0.3, 0.2, 0.1])
    {'p': 0.0625, 'n': 5, 'smallest_p': 0.0625}
    """
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic {statistic!r} is neither mean nor median")
    differences = finite(differences)
    n = len(differences)
    if n == 0:
        return {"p": np.nan, "n": 0, "smallest_p": np.nan}

    def size(values: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(getattr(np, statistic)(values, axis=axis))

    if n == 1:
        return {"p": 1.0, "n": 1, "smallest_p": 1.0}
    if 2**n <= ALL_FLIPS:
        settings = {"permutation_type": "samples", "alternative": "greater", "n_resamples": 2**n}
        p = permutation_test((differences,), size, **settings).pvalue
        return {"p": float(p), "n": n, "smallest_p": 2.0 ** (1 - n)}
    signs = np.random.default_rng(seed).choice([-1, 1], size=(n_draws, n))
    # The same sum in another order may differ in the last digit, and must still count as a hit.
    hits = int((size(signs * differences, 1) >= size(differences, 0) * (1 - 1e-9)).sum())
    return {"p": (1 + hits) / (n_draws + 1), "n": n, "smallest_p": 1 / (n_draws + 1)}


def test_deltas(differences: pd.DataFrame, n_draws: int = 9_999, seed: int = 0) -> pd.DataFrame:
    """Table 2: the tests of each backbone, split, ranking, definition and k over sections.

    Takes what `top_genes.differences` returns. `smallest_p` is the least permutation p at this number of sections.
    Sections where fewer than k genes could be ranked (NaN) are left out of `n_sections`.

    >>> fit = dict(backbone="ridge", split="section", ranking="same", definition="own_top_k", k=50)
    >>> deltas = pd.DataFrame({"delta": [0.1, 0.2, 0.3, 0.4, 0.5], "delta_panel": 0.2}).assign(**fit)
    >>> test_deltas(deltas)[["median_delta", "n_sections", "wilcoxon_p_one_sided", "permutation_p"]]
       median_delta  n_sections  wilcoxon_p_one_sided  permutation_p
    0           0.3           5               0.03125         0.0625
    """
    keys = ["backbone", "split", "ranking", "definition", "k"]
    rows = []
    for key, part in differences.dropna(subset="delta").groupby(keys, sort=False):
        delta = part["delta"].to_numpy()
        rank, flip = wilcoxon(delta), sign_flip(delta, n_draws=n_draws, seed=seed)
        medians = (np.median(delta), part["delta_panel"].median(), len(delta))
        tests = (rank["p_one_sided"], rank["p_two_sided"], flip["p"], flip["smallest_p"])
        rows.append((*key, *medians, *tests))
    values = ["median_delta", "delta_panel", "n_sections"]
    tests = ["wilcoxon_p_one_sided", "wilcoxon_p_two_sided", "permutation_p", "smallest_p"]
    return pd.DataFrame(rows, columns=[*keys, *values, *tests])


def over_patients(differences: np.ndarray, patients: np.ndarray) -> dict:
    """Exact tests on patient means: sections of one patient are not independent.

    `differences` and `patients` are per section. Returns n_patients, median, wilcoxon_p_two_sided, permutation_p,
    smallest_p and note; under five patients no p is given and the note says so.

    >>> over_patients([0.1, 0.3, 0.2, 0.2, 0.4, 0.1], list("AABCDE"))["permutation_p"]
    0.0625
    """
    means = pd.Series(finite(differences)).groupby(np.asarray(patients)).mean().to_numpy()
    n = len(means)
    row = {"n_patients": n, "median": float(np.median(means))}
    if n < MIN_PATIENTS:
        missing = dict.fromkeys(("wilcoxon_p_two_sided", "permutation_p", "smallest_p"), np.nan)
        return row | missing | {"note": f"n = {_patients(n)}: not estimable"}
    rank, flip = wilcoxon(means), sign_flip(means)
    tests = {"wilcoxon_p_two_sided": rank["p_two_sided"], "permutation_p": flip["p"]}
    return row | tests | {"smallest_p": flip["smallest_p"], "note": f"n = {_patients(n)}"}


def _patients(n: int) -> str:
    return f"{n} patient{'s' * (n != 1)}"


def bootstrap_patients(
    values: np.ndarray, patients: np.ndarray, level: float = 0.95, n_draws: int = 9_999, seed: int = 0
) -> dict:
    """Interval for the mean over patients, resampling patients with all their sections.

    `values` and `patients` are per section; a patient counts once, as the mean of its sections. Returns n_patients,
    mean, low, high and note; under five patients no interval is given and the note says so. Percentiles are expanded
    (Hesterberg 2015, doi 10.1080/00031305.2015.1089789): plain ones cover 85 % at five patients and 87 % at eight.

    >>> bootstrap_patients([0.1, 0.3, 0.2], list("AAB"))["note"]
    'n = 2 patients: not estimable'
    """
    means = pd.Series(finite(values)).groupby(np.asarray(patients)).mean().to_numpy()
    n = len(means)
    row = {"n_patients": n, "mean": float(means.mean()) if n else np.nan}
    if n < MIN_PATIENTS:
        return row | {"low": np.nan, "high": np.nan, "note": f"n = {_patients(n)}: not estimable"}
    draws = means[np.random.default_rng(seed).integers(n, size=(n_draws, n))].mean(axis=1)
    tail = norm.cdf(np.sqrt(n / (n - 1)) * t.ppf((1 - level) / 2, n - 1))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return row | {"low": float(low), "high": float(high), "note": f"n = {_patients(n)}"}


def variance_components(differences: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    """How far patients differ from each other, and sections of one patient: sd_patients, sd_sections.

    `differences` and `patients` are per section; the unit is that of the differences. Analysis of variance of one
    random effect, groups of any size (Searle, Casella & McCulloch 1992, doi 10.1002/9780470316856); a negative
    variance between patients is set to 0. ValueError where no patient, or only one, has a second section to tell the
    two apart.

    >>> variance_components([0.1, 0.1, 0.5, 0.5], list("AABB"))["sd_sections"]
    0.0
    """
    groups = pd.Series(finite(differences)).groupby(np.asarray(patients))
    sizes, n = groups.size(), len(differences)
    if not 1 < len(sizes) < n:
        raise ValueError(f"{n} sections of {len(sizes)} patients: give two patients or more, one with two sections")
    within = (groups.var(ddof=1).fillna(0) * (sizes - 1)).sum() / (n - len(sizes))
    between = (sizes * (groups.mean() - np.mean(differences)) ** 2).sum() / (len(sizes) - 1)
    size = (n - (sizes**2).sum() / n) / (len(sizes) - 1)
    return {"sd_patients": float(np.sqrt(max(0, (between - within) / size))), "sd_sections": float(np.sqrt(within))}


def power(
    effect: float,
    spread: Mapping[str, float],
    n_patients: int,
    n_sections: int = 1,
    unit: str = "patient",
    level: float = 0.05,
    n_draws: int = 4_000,
) -> float:
    """Share of cohorts in which the exact two-sided signed-rank test finds a mean difference of `effect`.

    Each cohort is drawn as effect + patient + section, both normal with the standard deviations sd_patients and
    sd_sections of `spread` (see `variance_components`), `n_sections` of each patient. The test is over patients' means,
    or over all sections with `unit` "section", which takes sections of one patient for independent; with `effect` 0
    this is the type-I error.

    >>> spread = {"sd_patients": 0.1, "sd_sections": 0.1}
    >>> power(0.5, spread, n_patients=5)  # of five patients no two-sided p is below 0.06
    0.0
    """
    if unit not in ("patient", "section"):
        raise ValueError(f"unit {unit!r} is neither patient nor section")
    rng = np.random.default_rng(0)
    patients = rng.normal(effect, spread["sd_patients"], (n_draws, n_patients, 1))
    sections = patients + rng.normal(0, spread["sd_sections"], (n_draws, n_patients, n_sections))
    drawn = sections.mean(axis=2) if unit == "patient" else sections.reshape(n_draws, -1)
    n = drawn.shape[1]
    below = (rankdata(np.abs(drawn), axis=1) * (drawn < 0)).sum(axis=1).astype(int)
    p = 2 * np.cumsum(signed_rank_distribution(np.arange(1, n + 1))[::2])  # of the smaller rank sum 0, 1, ...
    return float((p[np.minimum(below, n * (n + 1) // 2 - below)] <= level).mean())


def printed_p(printed: Iterable[float], sizes: Iterable[int] = (35, 36)) -> pd.DataFrame:
    """Which exact signed-rank tests without ties print a p-value, to two digits.

    One row for each printed p, number of sections and side that attains it: printed, n, alternative (`greater` or
    `two-sided`), statistic (the smaller rank sum W) and its exact p. No row means that no such test prints this p.

    >>> printed_p([6.9e-08], [35])[["alternative", "statistic"]].to_numpy().tolist()
    [['greater', 31]]
    """
    rows = []
    for n in sizes:
        below = np.cumsum(signed_rank_distribution(np.arange(1, n + 1))[::2])  # P(W <= w), w = 0, 1, ...
        for alternative, p in (("greater", below), ("two-sided", np.minimum(2 * below, 1))):
            for value in printed:
                found = np.flatnonzero([f"{possible:.1e}" == f"{value:.1e}" for possible in p])
                rows += [(value, n, alternative, w, p[w]) for w in found]
    table = pd.DataFrame(rows, columns=["printed", "n", "alternative", "statistic", "p"])
    return table.sort_values(["n", "alternative", "printed"], ignore_index=True)


def fdr(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q-values of many tests; an undefined p stays NaN and is no test.

    >>> fdr([0.01, np.nan, 0.04])
    array([0.02,  nan, 0.04])
    """
    p = np.asarray(p, float)
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    q[known] = false_discovery_control(p[known])
    return q
