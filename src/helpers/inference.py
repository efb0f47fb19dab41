"""Is a difference over sections, or a correlation over spots, more than chance: paired tests and spatial nulls."""

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from scipy.stats import rankdata

MIN_PATIENTS = 5
ALL_FLIPS = 10_000  # up to so many sign patterns, all are tried


def _clean(differences: np.ndarray) -> np.ndarray:
    differences = np.asarray(differences, dtype=float)
    if not np.isfinite(differences).all():
        raise ValueError("a difference is not finite: leave that section out and count it before testing")
    return differences


def signed_rank_distribution(ranks: np.ndarray) -> np.ndarray:
    """Exact null probabilities of the signed-rank sum, for ranks that may be tied.

    Entry i is P(2 W = i): average ranks are multiples of a half, so doubled they are whole.
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
    """
    differences = _clean(differences)
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
    """
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic {statistic!r} is neither mean nor median")
    differences = _clean(differences)
    n = len(differences)
    if n == 0:
        return {"p": np.nan, "n": 0, "smallest_p": np.nan}
    exhaustive = 2**n <= ALL_FLIPS
    if exhaustive:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], size=(n_draws, n))
    centre = getattr(np, statistic)
    observed = abs(centre(differences))
    # The same sum in another order may differ in the last digit, and must still count as a hit.
    hits = int((np.abs(centre(signs * differences, axis=1)) >= observed * (1 - 1e-9)).sum())
    if exhaustive:
        return {"p": hits / 2**n, "n": n, "smallest_p": 2.0 ** (1 - n)}
    return {"p": (1 + hits) / (n_draws + 1), "n": n, "smallest_p": 1 / (n_draws + 1)}


def test_deltas(differences: pd.DataFrame, n_draws: int = 9_999, seed: int = 0) -> pd.DataFrame:
    """Table 2: the tests of each backbone, split, ranking, definition and k over sections.

    Takes what `scores.differences` returns. `smallest_p` is the least permutation p at this number of sections.
    Sections where fewer than k genes could be ranked (NaN) are left out of `n_sections`.
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
    """
    means = pd.Series(_clean(differences)).groupby(np.asarray(patients)).mean().to_numpy()
    n = len(means)
    row = {"n_patients": n, "median": float(np.median(means))}
    if n < MIN_PATIENTS:
        missing = dict.fromkeys(("wilcoxon_p_two_sided", "permutation_p", "smallest_p"), np.nan)
        return row | missing | {"note": f"n = {n} patients: not estimable"}
    rank, flip = wilcoxon(means), sign_flip(means)
    tests = {"wilcoxon_p_two_sided": rank["p_two_sided"], "permutation_p": flip["p"]}
    return row | tests | {"smallest_p": flip["smallest_p"], "note": f"n = {n} patients"}


# Spatial null ---------------------------------------------------------------------------------------------------


def neighbours(xy: np.ndarray, radius: float = 1.7) -> np.ndarray:
    """Adjacency (n x n, 0 or 1) of spots at most `radius` apart; on a square lattice of unit step the 8 around.

    `xy` is in lattice steps; measured ones jitter, so the radius lies midway between a diagonal and a double step.
    Raises ValueError where no two spots touch, as happens with pixels.
    """
    pairs = cKDTree(xy).query_pairs(radius, output_type="ndarray")
    if len(pairs) == 0:
        raise ValueError(
            f"no two of {len(xy)} spots lie within {radius} lattice steps: "
            "give array coordinates, not pixels, of a section with more than scattered spots"
        )
    adjacency = np.zeros((len(xy), len(xy)))
    adjacency[pairs[:, 0], pairs[:, 1]] = adjacency[pairs[:, 1], pairs[:, 0]] = 1.0
    return adjacency


def moran_basis(xy: np.ndarray, radius: float = 1.7) -> np.ndarray:
    """Moran's eigenvector maps of a section: n x (n - 1), orthonormal, each of mean zero; for every variable on it.

    Eigenvectors of the doubly centred adjacency. Dray, Legendre & Peres-Neto 2006, doi 10.1016/j.ecolmodel.2006.02.015.
    """
    adjacency = neighbours(xy, radius)
    n = len(adjacency)
    centred = adjacency - adjacency.mean(axis=0) - adjacency.mean(axis=1)[:, None] + adjacency.mean()
    # The constant map has eigenvalue 0, as others may: lifted above all of them, it can be told apart and dropped.
    lift = 2 * adjacency.sum(axis=1).max() + 1
    return np.linalg.eigh(centred + lift / n)[1][:, :-1]


def moran_randomize(x: np.ndarray, basis: np.ndarray, n_draws: int = 199, seed: int = 0) -> np.ndarray:
    """Maps that keep the mean, the variance and Moran's I of x, and nothing else of it: n x draws.

    Random signs on the coefficients of x in `moran_basis` (the singleton procedure of Moran spectral randomization,
    Wagner & Dray 2015, doi 10.1111/2041-210X.12407). On smooth unrelated maps a nominal 5 % test rejects 7-11 %,
    where shuffling spots rejects about half.
    """
    x = _clean(x)
    if len(x) != len(basis):
        raise ValueError(f"{len(x)} values on a basis of {len(basis)} spots")
    coefficients = basis.T @ (x - x.mean())
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(len(coefficients), n_draws))
    return x.mean() + basis @ (coefficients[:, None] * signs)
