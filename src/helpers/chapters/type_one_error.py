"""How often each kind of chance calls maps coupled that have nothing to do with each other.

Tables of rates have maps (what was tried), null, n_pairs and rate; length for random fields, target for genes.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations, product

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.spatial.distance import cdist

from helpers.chapters.inference import LEVEL, NULLS, Null, bases_of_nulls, gene_tests, shares_called
from helpers.labels import label, span
from helpers.schema import LATTICE, SPATIAL, patients_of
from helpers.scores import spatial
from helpers.targets.normalization import LOG

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

    `xy` and `length` are in the same unit; a section larger than EXACT lies on whole places of a lattice.
    """
    if len(xy) > spatial.EXACT:
        return _fields_by_fourier(xy.astype(int) - xy.min(axis=0).astype(int), length, n, rng)
    covariance = np.exp(-cdist(xy, xy) / length) if length else np.eye(len(xy))
    return np.linalg.cholesky(covariance) @ rng.normal(size=(len(xy), n))


def _fields_by_fourier(xy: np.ndarray, length: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """`fields` as filtered noise on a torus of twice the width: no square matrix (Dietrich & Newsam 1997)."""
    width = 2 * (xy.max(axis=0) + 1)
    along = [np.minimum(np.arange(w), w - np.arange(w)) for w in width]
    away = np.hypot(*np.meshgrid(*along, indexing="ij"))
    covariance = np.exp(-away / length) if length else np.where(away == 0, 1.0, 0.0)
    root = np.sqrt(np.maximum(np.fft.fft2(covariance).real, 0))
    drawn = [np.fft.ifft2(np.fft.fft2(rng.normal(size=width)) * root).real[tuple(xy.T)] for _ in range(n)]
    return np.transpose(drawn)


def outline(lattice: tuple[int, int] = (18, 16)) -> np.ndarray:
    """Places of spots in an oval with a hole, as tissue has them, in steps: spots x 2."""
    xy = np.array(list(product(range(lattice[0]), range(lattice[1]))), float)
    from_middle = (xy - np.divide(lattice, 2) + 0.5) / np.divide(lattice, 2)
    inside, hole = (from_middle**2).sum(axis=1) < 1, ((from_middle - 0.3) ** 2).sum(axis=1) < 0.04
    return xy[inside & ~hole]


def radial(xy: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Maps, spots x n, that rise or fall from the border to the middle, each in its own way, and are uneven besides."""
    depth = spatial.place_and_border(xy)[:, 2] / spatial.place_and_border(xy)[:, 2].max()
    profiles = [rng.choice([-1, 1]) * rng.uniform(1, 4) * depth ** rng.uniform(0.5, 2) for _ in range(n)]
    return np.transpose(profiles) + fields(xy, 2, n, rng)


def half_rough(xy: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Maps that are smooth in one half of the section, the same in all, and noise in the other."""
    left = (xy[:, 0] < xy[:, 0].mean())[:, None]
    return np.where(left, fields(xy, 8, n, rng), rng.normal(size=(len(xy), n)))


def regional(xy: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Maps, spots x n, of three to six regions, others in each, each with a level of its own, and uneven besides."""
    maps = []
    for _ in range(n):
        centres = xy[rng.choice(len(xy), rng.integers(3, 7), replace=False)]
        maps.append(1.5 * rng.normal(size=len(centres))[cdist(xy, centres).argmin(axis=1)])
    return np.transpose(maps) + fields(xy, 1, n, rng)


def trend(xy: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Gradients of any direction, and noise: spots x n."""
    return (xy - xy.mean(axis=0)) / xy.std() @ rng.normal(size=(2, n)) + rng.normal(size=(len(xy), n))


FAMILIES = {
    "rising to the middle": radial,
    "smooth in one half, noise in the other": half_rough,
    "regions": regional,
    "gradient and noise": trend,
}


def rates_of_pairs(X: np.ndarray, Y: np.ndarray, xy: np.ndarray, n_draws: int = 499) -> dict[str, float]:
    """How often each of NULLS calls maps related, every column of X against every one of Y (spots x maps)."""
    bases = bases_of_nulls(xy).items()
    return {null: spatial.type_one_error(X, Y, basis, True, LEVEL, n_draws) for null, basis in bases}


def rates_of_fields(
    lengths: Sequence[float] = LENGTHS, n_maps: int = 100, lattice: tuple[int, int] = (18, 16)
) -> pd.DataFrame:
    """Rates of every null on unrelated maps, every one of `n_maps` against as many others of the same kind.

    Random fields of each length, and FAMILIES, of which length is NaN.
    """
    xy, tried = outline(lattice), {}
    for length in lengths:
        tried["random fields", length] = fields(xy, length, 2 * n_maps, np.random.default_rng(length))
    for name, made in FAMILIES.items():
        tried[name, np.nan] = made(xy, 2 * n_maps, np.random.default_rng(0))
    rows = []
    for (maps, length), drawn in tried.items():
        rates = rates_of_pairs(*np.hsplit(drawn, 2), xy)
        rows += [(maps, length, null, n_maps**2, rate) for null, rate in rates.items()]
    return pd.DataFrame(rows, columns=["maps", "length", "null", "n_pairs", "rate"])


def nulls_in(rates: pd.DataFrame) -> dict[str, Null]:
    """Those of NULLS that a table of rates has rows of: an older run has none of a null that is new."""
    return {null: kind for null, kind in NULLS.items() if null in set(rates["null"])}


def ranges(rates: pd.DataFrame) -> str:
    """From the least to the greatest rate of each null, in words; `rates` has null and rate, a share."""
    ends = rates.groupby("null")["rate"].agg(["min", "max"]).reindex(nulls_in(rates))
    return ", ".join(f"{NULLS[null].by} **{span(low, high, '.1%')}**" for null, low, high in ends.itertuples())


def fields_sentence(rates: pd.DataFrame) -> str:
    """What every null does on random fields and on other maps, and which are outside `ACCEPTED`, in Markdown."""
    known = rates[rates["length"].notna()]
    lines = [f"Of unrelated random fields are called {ranges(known)}."]
    for maps, part in rates[rates["length"].isna()].groupby("maps", sort=False):
        rate = part.set_index("null")["rate"]
        lines.append(f"- {maps}: {', '.join(f'{kind.by} {rate[null]:.1%}' for null, kind in nulls_in(part).items())}.")
    return "\n".join([lines[0], "", *lines[1:]])


def worst_sentence(rates: pd.DataFrame, means: pd.DataFrame) -> str:
    """How far off a test at 5 % may be, of all maps that were tried, in Markdown: it goes wherever p stand.

    `rates` is of `rates_of_fields`, `means` of `mean_rates`.
    """
    every = pd.concat([rates, means], ignore_index=True)
    every = every.assign(what=every["maps"].where(every["length"].isna(), "random fields"))
    parts = []
    for null, kind in nulls_in(every).items():
        if kind.basis is None:
            continue
        part = every[every["null"] == null]
        worst, outside = part.loc[part["rate"].idxmax()], part[part["rate"] > ACCEPTED[1]]
        named = ", ".join(dict.fromkeys(outside["what"])) or "none"
        parts.append(f"**{kind.name}** at most {worst['rate']:.0%} ({worst['what']}; above {ACCEPTED[1]:.0%}: {named})")
    return f"A test at 5 % calls unrelated maps related more often than it says: {'; '.join(parts)}."


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
    n_pairs: int = 60,
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
            bases = bases_of_nulls(one.obsm[SPATIAL][own])
            for target, null in product(targets, NULLS):
                tests, _ = gene_tests(one.layers[target][own], y, bases[null], n_draws)
                rows.append((target, null, *shares_called(tests), tests["rho"].mean()))
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
    for null, kind in nulls_in(means).items():
        with_error = zip(wide["rate", null], wide["standard_error", null], strict=True)
        table[f"{kind.brief}, p ≤ 0.05"] = [f"{rate:.1%} ± {error:.1%}" for rate, error in with_error]
    for null, kind in nulls_in(means).items():
        table[f"{kind.brief}, q < 0.05"] = wide["rate_after_fdr", null].map("{:.1%}".format).to_numpy()
    return pd.DataFrame(table, wide.index).rename(index=label, level="target").rename_axis(index=[None, None])


def rates_sentences(means: pd.DataFrame) -> str:
    """What every null does on each kind of maps, from the target called least to that called most, in Markdown."""
    lines = []
    for maps, part in means.groupby("maps", sort=False):
        lines.append(
            f"- {maps} ({part['n_pairs'].max():.0f} pairs): of the genes are called {ranges(part)}, by target."
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
