"""How often each kind of chance calls maps coupled that have nothing to do with each other.

Tables of rates have maps (what was tried), null, n_pairs and rate; length for random fields, target for genes.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations, product

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.spatial.distance import cdist

from helpers.chapters.inference import BRIEF, LEVEL, NULLS, gene_tests, shares_called
from helpers.labels import label
from helpers.schema import LATTICE, patients_of
from helpers.scores import judge, spatial
from helpers.scores.coupling import LOG

LENGTHS = (0, 1, 2, 4, 8)  # spots over which the correlation of a field falls to 1/e; 0 is noise
ACCEPTED = (0.03, 0.07)  # rates of a test at 5 % that pass
MIRRORS = ((True, False), (False, True), (True, True))  # left and right, up and down, both
AS_IT_IS = (False, False)
SIMULATED, MIRRORED, LYING = "simulated tissue", "this cohort, mirrored", "this cohort, as it lies"
COLUMNS = ["maps", "target", "length", "null", "n_pairs", "rate", "standard_error", "rate_after_fdr"]
COLUMNS += ["rho", "rho_standard_error"]

# Random fields --------------------------------------------------------------------------------------------------


def fields(xy: np.ndarray, length: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random fields on spots, spots x n: mean 0, sd 1, correlation exp(-distance / length); length 0 is noise.

    `xy` and `length` are in the same unit.
    """
    covariance = np.exp(-cdist(xy, xy) / length) if length else np.eye(len(xy))
    return np.linalg.cholesky(covariance) @ rng.normal(size=(len(xy), n))


def rates_of_fields(
    lengths: Sequence[float] = LENGTHS, n_maps: int = 100, lattice: tuple[int, int] = (16, 14)
) -> pd.DataFrame:
    """Rates of both nulls on unrelated random fields of each length, every one of `n_maps` against as many others."""
    xy = np.array(list(product(range(lattice[0]), range(lattice[1]))), float)
    bases = {"iid": None, "spatial": spatial.moran_basis(xy)}
    rows = []
    for length in lengths:
        X, Y = np.hsplit(fields(xy, length, 2 * n_maps, np.random.default_rng(length)), 2)
        for null, basis in bases.items():
            rate = spatial.type_one_error(X, Y, basis, rank=True, level=LEVEL)
            rows.append(("random fields", length, null, n_maps**2, rate))
    return pd.DataFrame(rows, columns=["maps", "length", "null", "n_pairs", "rate"])


def fields_sentence(rates: pd.DataFrame) -> str:
    """What both nulls do on random fields, and whether maps as smooth stay within `ACCEPTED`, in Markdown."""
    by_length = rates.pivot(index="length", columns="null", values="rate")
    shuffled, smooth = by_length["iid"], by_length["spatial"]
    outside = smooth.index[~smooth.between(*ACCEPTED)]
    return (
        f"Shuffling errs in {shuffled.min():.0%} of cases on noise and in up to **{shuffled.max():.0%}** on smooth "
        f"fields. Maps as smooth err in **{smooth.min():.1%} to {smooth.max():.1%}**, "
        + (
            f"outside 3 to 7 % at length {', '.join(map(str, outside))}."
            if len(outside)
            else "at every length between 3 and 7 %."
        )
    )


# Genes of one section against a covariate of another patient's --------------------------------------------------


def places(section: AnnData, mirror: tuple[bool, bool] = AS_IT_IS) -> pd.MultiIndex:
    """Whole lattice places (x, y) of the spots, mirrored within the section in x, in y or in both."""
    at = np.rint(section.obsm[LATTICE]).astype(int)
    return pd.MultiIndex.from_arrays(np.where(mirror, at.min(axis=0) + at.max(axis=0) - at, at).T)


def shared_places(
    one: AnnData, other: AnnData, mirror: tuple[bool, bool] = AS_IT_IS, least: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two sections that lie in the same places once `other` is mirrored, in one order.

    Empty where fewer than `least` do, or where two spots of a section have one place.
    """
    at = places(one), places(other, mirror)
    shared = at[0].intersection(at[1])
    if len(shared) < least or not all(place.is_unique for place in at):
        return np.array([], int), np.array([], int)
    return at[0].get_indexer(shared), at[1].get_indexer(shared)


def unrelated(
    cohort: Mapping[str, AnnData],
    covariate: str,
    targets: Sequence[str],
    mirrored: bool = False,
    n_pairs: int = 100,
    n_draws: int = 199,
) -> pd.DataFrame:
    """Genes of one section tested against a covariate of another patient's, on the places that both have.

    Up to `n_pairs` ordered pairs of sections are drawn; `mirrored` lays the other section on the first in one of
    `MIRRORS`. A row for each pair, target and null: target, null, rate (share called by p), rate_after_fdr (by q), rho
    (mean over genes).
    """
    patient = patients_of(cohort)
    pairs = [pair for pair in permutations(cohort, 2) if patient[pair[0]] != patient[pair[1]]]
    rows = []
    for i in np.random.default_rng(0).permutation(len(pairs))[:n_pairs]:
        one, other = (cohort[name] for name in pairs[i])
        own, others = shared_places(one, other, MIRRORS[i % 3] if mirrored else AS_IT_IS)
        if len(own):
            y = other.obs[covariate].to_numpy(float)[others]
            bases = {"iid": None, "spatial": judge.basis(one[own])}
            for target, null in product(targets, NULLS):
                tests, _ = gene_tests(one.layers[target][own], y, bases[null], n_draws)
                rows.append((target, null, *shares_called(tests), np.nanmean(tests["rho"])))
    return pd.DataFrame(rows, columns=["target", "null", "rate", "rate_after_fdr", "rho"])


def mean_rates(trials: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Means over pairs of the tables of `unrelated`, by maps (their keys), target and null, with standard errors.

    Columns maps, target, null, rate, rate_after_fdr, rho, n_pairs, standard_error (of rate) and rho_standard_error;
    trials without a pair are left out. Standard errors count pairs, whichever sections they share.
    """
    tried = pd.concat([table.assign(maps=maps) for maps, table in trials.items() if len(table)]).dropna(subset="rate")
    groups = tried.groupby(["maps", "target", "null"], sort=False)
    means = groups[["rate", "rate_after_fdr", "rho"]].mean()
    means = means.join(groups["rate"].agg(n_pairs="size", standard_error="sem"))
    return means.join(groups["rho"].sem().rename("rho_standard_error")).reset_index()


def shown(means: pd.DataFrame) -> pd.DataFrame:
    """Rates with their standard errors by maps and target, and rates after a false discovery rate, as text."""
    wide = means.pivot(index=["maps", "target"], columns="null", values=["rate", "standard_error", "rate_after_fdr"])
    wide = wide.reindex(pd.MultiIndex.from_frame(means[["maps", "target"]].drop_duplicates()))
    table = {}
    for null, name in BRIEF.items():
        with_error = zip(wide["rate", null], wide["standard_error", null], strict=True)
        table[f"{name}, p ≤ 0.05"] = [f"{rate:.1%} ± {error:.1%}" for rate, error in with_error]
    for null, name in BRIEF.items():
        table[f"{name}, q < 0.05"] = wide["rate_after_fdr", null].map("{:.1%}".format).to_numpy()
    return pd.DataFrame(table, wide.index).rename(index=label, level="target").rename_axis(index=[None, None])


def rates_sentences(means: pd.DataFrame) -> str:
    """What both nulls do on each kind of maps, from the target called least to that called most, in Markdown."""
    lines = []
    for maps, part in means.groupby("maps", sort=False):
        shuffled, smooth = (part.loc[part["null"] == null, "rate"] for null in NULLS)
        lines.append(
            f"- {maps} ({part['n_pairs'].max():.0f} pairs): shuffling calls {shuffled.min():.0%} to "
            f"{shuffled.max():.0%} of the genes, maps as smooth {smooth.min():.1%} to {smooth.max():.1%}, by target."
        )
    return "\n".join(lines) + "\n\n{download}`Every rate <results/type_one_error.csv>`."


def array_sentence(means: pd.DataFrame, target: str = LOG) -> str:
    """Whether sections of different patients share something by their place on the array, in Markdown.

    They do where maps as smooth call the target more often as sections lie than mirrored, and its mean rho lies more
    than two standard errors from zero.
    """
    smooth = means[(means["null"] == "spatial") & (means["target"] == target)].set_index("maps")
    if LYING not in smooth.index:
        return "No two patients have enough places in common to try this on the cohort."
    lies = smooth.loc[LYING]
    more = MIRRORED in smooth.index and lies["rate"] > smooth.loc[MIRRORED, "rate"]
    if not (more and abs(lies["rho"]) > 2 * lies["rho_standard_error"]):
        return "Sections of different patients share nothing to speak of by their place on the array here."
    return (
        f"Sections of different patients do share something as they lie: {label(target)} is called in "
        f"{lies['rate']:.0%} there and in {smooth.loc[MIRRORED, 'rate']:.1%} mirrored, and its mean rho with the depth "
        f"of another patient is {lies['rho']:+.3f} (standard error {lies['rho_standard_error']:.3f}). Depth goes with "
        "the place on the array, whichever patient's tissue lies there, and so a coupling to depth is in part one to "
        "the place."
    )
