"""One answer to each question about a prediction, for every chapter and for the audit.

How high does it score (PCC-k), how high could it (the noise ceiling of the same genes), how high by chance (the same
statistic of predictions as smooth that lie elsewhere), how high without a model (floors), what is left given nuclei and
depth, and what does it know of the library and of the composition.

Arrays are spots x genes. Spots lie where `obsm["spatial"]` says, in every null; measured values are float32, as
predictions are kept.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import columns
from helpers.models import backbones
from helpers.schema import COUNTS, SPATIAL, cellularity, has_cellularity
from helpers.scores import partial, predictability, spatial, top_genes
from helpers.scores.spatial import N_DRAWS
from helpers.targets import normalization, spaces, twins

N_DRAWS_GIVEN = 1000  # of the null of a partial score, which costs more
N_SPLITS = 5  # of a noise ceiling
GIVEN_SCORES = ["r", "partial", "semi_partial", "partial_rank"]
GIVEN_SHARES = ["unique", "shared", "capture_only"]  # of the variance of the measured gene
GIVEN_CLAIMS = ["partial", "median_partial", "median_partial_rank", "unique"]  # that have a null: `given_chance`


# What was measured ----------------------------------------------------------------------------------------------


def measured(section: AnnData, target: str, genes: Sequence[str]) -> np.ndarray:
    """A target of a section as models see it and are scored against: clipped, float32."""
    values = normalization.target(section, target, list(genes))
    return normalization.clip(values, target).astype(np.float32)


def levels(section: AnnData, genes: Sequence[str]) -> tuple[np.ndarray, float]:
    """Each gene's share of the section's counts, and the section's median count of a spot: what a conversion knows."""
    total = np.asarray(section.layers[COUNTS].sum(axis=0), float).ravel()
    share = (total / total.sum())[section.var_names.get_indexer(genes)]
    return share, float(np.median(normalization.library_size(section)))


def in_space(values: np.ndarray, source: str, target: str, section: AnnData, genes: Sequence[str]) -> np.ndarray:
    """Predictions of one space (spots x genes) as those of another; nothing measured on a spot enters.

    `spaces.convert` is told the `levels` of the section; ValueError for a space that it does not know.
    """
    return spaces.convert(values, source, target, *levels(section, genes))


def ceilings(section: AnnData, target: str, genes: Sequence[str], n_splits: int = N_SPLITS) -> np.ndarray:
    """The noise ceiling of each gene in a target, for a prediction that is perfect (`predictability.noise_ceiling`)."""
    return ceilings_in([target], section, genes, n_splits)[target]


def ceilings_in(
    targets: Sequence[str], section: AnnData, genes: Sequence[str], n_splits: int = N_SPLITS
) -> dict[str, np.ndarray]:
    """`ceilings` in each of several targets, of the same halves: to draw them costs more than all that follows."""

    def transform(counts) -> np.ndarray:
        half = twins.as_twin(section, counts)
        return np.hstack([normalization.clip(normalization.target(half, each, list(genes)), each) for each in targets])

    every = predictability.noise_ceiling(section.layers[COUNTS], transform, n_splits=n_splits)
    return dict(zip(targets, np.split(every, len(targets)), strict=True))


# Scores ---------------------------------------------------------------------------------------------------------


def basis(section: AnnData) -> spatial.Basis:
    """The `moran_basis` of a section's spots, for every null on it."""
    return basis_at(section.obsm[SPATIAL])


def basis_at(xy: np.ndarray, place: bool = False) -> spatial.Basis:
    """The `moran_basis` of spots at `xy`, n x 2; with `place` that of what place leaves."""
    return _basis(np.asarray(xy, float).tobytes(), place)


@lru_cache(maxsize=4)
def _basis(xy: bytes, place: bool) -> spatial.Basis:
    """`basis_at`, kept: sections are asked for theirs again and again, and it costs more than a score."""
    xy = np.frombuffer(xy).reshape(-1, 2)
    return spatial.moran_basis(xy, fixed=spatial.place_and_border(xy) if place else None)


def pcc(
    values: np.ndarray,
    predicted: np.ndarray,
    spots: spatial.Basis | None,
    k: int,
    n_draws: int = N_DRAWS,
    ceiling: np.ndarray | None = None,
) -> dict[str, float]:
    """PCC-k of a prediction with its ceiling and its null: pcc, ceiling, chance, chance_95, p, n_undefined.

    `values` were measured, `spots` is the `basis` of the section (None: spots are shuffled, which is no null for smooth
    maps). The ceiling is the mean over the same k genes; the null is PCC-k of randomized predictions, each draw with
    its own best genes: median, 95 % point and one-sided p.
    n_undefined counts genes without a correlation.
    """
    r, drawn = spatial.null_correlations(values, predicted, spots, n_draws=n_draws)
    value, null = top_genes.pcc_at_k(r, k), _best_of_draws(drawn[np.isfinite(r)], k if len(r) >= k else 0)
    best = top_genes.top_k(r, k)
    return {
        "pcc": value,
        "ceiling": np.nan if ceiling is None else top_genes.mean_at(ceiling, best),
        "chance": float(np.median(null)),
        "chance_95": float(np.quantile(null, 0.95)),
        "p": spatial.p_values(value, null, "greater").item(),
        "n_undefined": int(np.isnan(r).sum()),
    }


def _best_of_draws(drawn: np.ndarray, k: int) -> np.ndarray:
    """`top_genes.pcc_at_k` of every draw: genes that have a correlation x draws."""
    n, means = len(drawn), np.full(drawn.shape[1], np.nan, drawn.dtype)
    k = min(k, n)
    for start in range(0, drawn.shape[1] if k else 0, 256):  # draws in rows and few at a time stay in the cache
        draws = slice(start, start + 256)
        best = np.partition(np.ascontiguousarray(drawn[:, draws].T), n - k, axis=1)[:, n - k :]
        means[draws] = np.ascontiguousarray(best.T).mean(axis=0)
    return means


def best_ks(ks: Sequence[int], n_genes: int) -> list[int]:
    """Those of the k that a panel has genes for; the whole panel where it has fewer than each."""
    return [k for k in ks if k <= n_genes] or [n_genes]


# Without a model ------------------------------------------------------------------------------------------------


def floor(name: str, features: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray], held_out: str) -> np.ndarray:
    """What the floor of that name, fitted on the other sections, predicts of the held-out one; spots x genes, float32.

    `features`, what it looks at (spots x features), and `values` (spots x genes) are by section. A section on its own
    is cut into five blocks of consecutive spots, each predicted from the rest up to its level, which no correlation
    sees. Of a floor's shapes the one of `backbones.strongest`.
    """
    fit, others = backbones.BACKBONES[name].fit, [section for section in features if section != held_out]
    if others:
        labels = np.repeat(others, [len(features[section]) for section in others])
        x, y = (np.vstack([part[section] for section in others]) for part in (features, values))
        predicted = fit(x, y, labels, features[held_out])[0]
        return backbones.strongest(predicted, values[held_out]).astype(np.float32)
    x, y = features[held_out], values[held_out].astype(float)
    parts = []
    for block in np.array_split(np.arange(len(y)), 5):
        rest = np.setdiff1d(np.arange(len(y)), block)
        predicted, _ = fit(x[rest], y[rest], np.full(len(rest), held_out), x[block])
        # The mean of the rest is low where the block is high: left in, it would turn a trend against the floor.
        parts.append(predicted - y[rest].mean(axis=0))
    return backbones.strongest(np.concatenate(parts, axis=-2), y).astype(np.float32)


# Given nuclei and depth -----------------------------------------------------------------------------------------


def held_fixed(
    target: str, total: np.ndarray, share: np.ndarray, nuclei: np.ndarray | None
) -> dict[str, list[np.ndarray]]:
    """What is held fixed in a partial score of a target, by name: depth and, where nuclei are known, nuclei and both.

    `total` and `nuclei` are per spot, `share` is each gene's share of the section's counts. Depth enters as what it
    alone says of each gene in that target (the target of the expected counts, total x share), and as a log, as
    composition may follow it too. The total holds the gene itself: of all molecules of a spot the gene's are a binomial
    draw, which owes nothing more to depth. Nuclei enter as a count and as a log; ranks see both as one.
    """
    total = np.asarray(total, float)
    expected = normalization.TARGETS[target].values(np.outer(total, share), total, np.asarray(share, float))
    depth = [expected, np.log(np.maximum(total, 1.0))]
    if nuclei is None:
        return {"depth": depth}
    nuclei = np.asarray(nuclei, float)
    of_nuclei = [nuclei, np.log1p(nuclei)]
    return {"nuclei": of_nuclei, "depth": depth, "both": [*of_nuclei, *depth]}


def covariate_sets(section: AnnData, target: str, genes: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """What is held fixed on a section, by name: nuclei, depth and both (`held_fixed`), nuclei where `obs` has them."""
    nuclei = cellularity(section) if has_cellularity(section) else None
    return held_fixed(target, normalization.library_size(section), levels(section, genes)[0], nuclei)


def given(
    values: np.ndarray, predicted: np.ndarray, genes: Sequence[str], held: Mapping[str, Sequence[np.ndarray]]
) -> pd.DataFrame:
    """`partial.partial_scores` of every gene given each set of covariates, and partial_rank, the same of ranks.

    `values` and `predicted` are spots x genes, `held` is of `covariate_sets`.
    """
    table = partial.partial_scores(values, predicted, list(genes), held)
    ranked = partial.partial_scores(values, predicted, list(genes), held, rank=True)
    return table.assign(partial_rank=ranked["partial"])


def summarize_given(by_gene: pd.DataFrame, k: int) -> pd.Series:
    """One row of what `given` returns for one set of covariates: means over the k best genes by plain r, and medians.

    The scores of the k best (all, where the panel has fewer), the same with median_ before them over all genes, the
    mean shares unique, shared and capture_only. Squares, these are above 0 by chance too. The part of what is explained
    that is unique has no null of its own: of what noise explains all is its own.
    """
    best = by_gene[GIVEN_SCORES].iloc[top_genes.top_k(by_gene["r"].to_numpy(), min(k, len(by_gene)))].mean()
    return pd.concat([best, by_gene[GIVEN_SCORES].median().add_prefix("median_"), by_gene[GIVEN_SHARES].mean()])


def given_chance(
    values: np.ndarray,
    predicted: np.ndarray,
    covariates: Sequence[np.ndarray],
    spots: spatial.Basis,
    k: int,
    n_draws: int = N_DRAWS_GIVEN,
) -> dict[str, float]:
    """95 % points of GIVEN_CLAIMS of `summarize_given`, where nothing is known beyond the covariates.

    What the covariates leave of the prediction is randomized in space (`basis` of the section); each draw chooses its
    own best genes by the plain r that goes with it, as the score did.
    """
    left, ranked = (
        [partial.left_over(side, covariates, rank) for side in (values, predicted)] for rank in (False, True)
    )
    r, drawn = spatial.null_correlations(*left, spots, n_draws=n_draws)
    known = np.isfinite(r)
    if not known.any():
        return {f"{name}_chance_95": np.nan for name in GIVEN_CLAIMS}
    of_measured, of_predicted = (np.sqrt(np.einsum("ij,ij->j", side, side))[:, None] for side in left)
    scored = columns.pearson(values, predicted)
    plain = scored[:, None] + of_measured * of_predicted * (drawn - r[:, None])
    best = np.argpartition(plain[known], -min(k, known.sum()), axis=0)[-min(k, known.sum()) :]
    of_ranks, drawn_ranks = spatial.null_correlations(*ranked, spots, n_draws=n_draws)
    drawn_ranks = drawn_ranks[np.isfinite(of_ranks)]
    draws = {
        "partial": np.take_along_axis(drawn[known], best, axis=0).mean(axis=0),
        "median_partial": np.median(drawn[known], axis=0),
        # Of a prediction that follows depth by a curve nothing is left of the ranks.
        "median_partial_rank": np.median(drawn_ranks, axis=0) if len(drawn_ranks) else [np.nan],
        # Of a gene of which nothing is left to the prediction it owns nothing.
        "unique": ((of_measured * drawn)[known] ** 2).sum(axis=0) / np.isfinite(scored).sum(),
    }
    return {f"{name}_chance_95": float(np.quantile(null, 0.95)) for name, null in draws.items()}


# Two numbers instead of one -------------------------------------------------------------------------------------


def skills(
    predicted: np.ndarray,
    space: str,
    section: AnnData,
    genes: Sequence[str],
    spots: spatial.Basis,
    k: int,
    n_draws: int = N_DRAWS,
) -> dict[str, float]:
    """Library skill and composition skill of a prediction, each with its chance (95 % point of the null) and ceiling.

    `library` is Pearson's r over spots of the log library that the prediction expects with that measured; NaN where the
    space holds no library, or where the prediction expects the same everywhere. `composition` is PCC-k as Pearson
    residuals, the prediction's own library divided out; NaN where nothing is left, as of a prediction that knows only
    how many molecules a spot has. Beside each stand `<name>_chance_95` and `<name>_ceiling`.
    """
    target = normalization.RESIDUAL
    composition = pcc(
        measured(section, target, genes),
        in_space(predicted, space, target, section, genes),
        spots,
        k,
        n_draws,
        ceilings(section, target, genes),
    )
    return library_skill(predicted, space, section, genes, spots, n_draws) | {
        "composition": composition["pcc"],
        "composition_chance_95": composition["chance_95"],
        "composition_ceiling": composition["ceiling"],
    }


def library_skill(
    predicted: np.ndarray,
    space: str,
    section: AnnData,
    genes: Sequence[str],
    spots: spatial.Basis,
    n_draws: int = N_DRAWS,
) -> dict[str, float]:
    """The first half of `skills`: library, library_chance_95 and library_ceiling."""
    total, found = normalization.library_size(section), {"library": np.nan, "library_chance_95": np.nan}
    if normalization.TARGETS[space].holds_depth:
        expected = spaces.library(predicted, space, levels(section, genes)[0])
        logs = (np.log(np.maximum(library, 1.0)) for library in (total, expected))
        r, drawn = spatial.null_correlations(*logs, spots, n_draws=n_draws)
        found = {"library": float(r[0]), "library_chance_95": float(np.quantile(drawn, 0.95))}
    # Halves of each spot's molecules, as for the ceiling of a gene; a library is counted so well that one split does.
    half = np.random.default_rng(0).binomial(total.astype(np.int64), 0.5)
    r = float(columns.pearson(*(np.log(np.maximum(part, 1.0))[:, None] for part in (half, total - half)))[0])
    return found | {"library_ceiling": float(np.sqrt(2 * max(r, 0) / (1 + max(r, 0))))}
