"""Measured against predicted, target against nuclei and depth: arrays in, tidy tables out.

A gene that is constant in a section has no correlation: NaN, never 0. Medians leave it out and say how many they kept.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import rankdata

LOG, RESIDUAL = "log2", "pearson_residual"
KS = (10, 20, 50, 200)
COUPLED = 0.3  # |rho| above which the paper calls a gene coupled to nuclei
TRAINING_GAP = 0.1
LEAST_RELIABLE = 0.05  # below, a correlation is divided by next to nothing
DEFINITIONS = ("own_top_k", "log_top_k", "residual_top_k")
RANKINGS = ("same", "nested")
FIT = ["backbone", "split"]  # what identifies a fitted predictor once its seeds are averaged


# Correlations, one per column -----------------------------------------------------------------------------------


def ranks(X: np.ndarray) -> np.ndarray:
    """Average ranks of each column, from 1; columns with a NaN are NaN throughout."""
    return rankdata(X, axis=0, nan_policy="propagate")


def _columns(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return values[:, None] if values.ndim == 1 else values


def _standardized(X: np.ndarray) -> np.ndarray:
    """Columns centred and scaled to length one; constant columns NaN, also where only rounding makes them vary."""
    centred = X - X.mean(axis=0)
    length = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    constant = length <= 1e-12 * np.sqrt(len(X)) * np.abs(X).max(axis=0, initial=0)
    centred /= np.where(constant, np.nan, length)
    return centred


def spearman(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of every column of X with y.

    X is spots x genes; y is spots, giving one rho per gene, or spots x m, giving genes x m. NaN for constant columns.
    """
    y = np.asarray(y)
    if len(X) != len(y):
        raise ValueError(f"{len(X)} spots against {len(y)}: both sides of a correlation need the same spots")
    rho = _standardized(ranks(X)).T @ _standardized(ranks(_columns(y)))
    return rho[:, 0] if y.ndim == 1 else rho


def pearson(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Pearson's r of each column of A with the same column of B; NaN where either is constant."""
    if np.shape(A) != np.shape(B):
        raise ValueError(f"shapes {np.shape(A)} and {np.shape(B)} differ: both need the same spots and genes")
    return np.einsum("ij,ij->j", _standardized(_columns(A)), _standardized(_columns(B)))


def disattenuate(
    rho: np.ndarray, reliability_x: np.ndarray | float, reliability_y: np.ndarray | float = 1.0
) -> np.ndarray:
    """The correlation without measurement error: rho / sqrt(reliability_x * reliability_y); arrays broadcast.

    A reliability is the share of a variable's variance that is not error. NaN where one is unknown or below
    `LEAST_RELIABLE`; what sampling takes beyond 1 is set to 1; ValueError for a reliability outside 0 to 1. Holds
    where errors depend neither on each other nor on what is measured, and for ranks as an approximation.
    Spearman 1904, doi 10.2307/1412159.
    """
    reliabilities = [np.asarray(value, float) for value in (reliability_x, reliability_y)]
    for values in reliabilities:
        if ((values < 0) | (values > 1 + 1e-9)).any():
            raise ValueError(f"reliabilities span {np.nanmin(values):.3g} to {np.nanmax(values):.3g}: give 0 to 1")
    x, y = (np.where(values >= LEAST_RELIABLE, values, np.nan) for values in reliabilities)
    return np.clip(np.asarray(rho, float) / np.sqrt(x * y), -1, 1)


# One section ----------------------------------------------------------------------------------------------------


def associations(
    targets: Mapping[str, np.ndarray],
    genes: Sequence[str],
    depth: np.ndarray,
    nuclei: np.ndarray | None = None,
    nuclei_draws: np.ndarray | None = None,
    reliability_nuclei: float = 1.0,
    reliability_genes: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """How each gene of each target follows nuclei and depth within one section.

    `targets` maps names to spots x genes; `depth` and `nuclei` are per spot (no nuclei: NaN); `nuclei_draws` is
    spots x draws of spatially randomized nuclei. Returns target, gene, rho_nuclei, rho_depth, chance_nuclei (median
    |rho| over draws), chance_mean (the mean, for panels that average over genes) and chance_share (share of draws with
    |rho| above 0.3); NaN, like rho, for a constant gene. Given reliabilities (those of the genes by target), rho with
    nuclei and its chance are corrected by `disattenuate`.
    """
    tables = []
    for target, X in targets.items():
        if X.shape[1] != len(genes):
            raise ValueError(f"target {target} has {X.shape[1]} columns for {len(genes)} genes")
        undefined = np.full(len(genes), np.nan)
        table = pd.DataFrame({"target": target, "gene": list(genes)})
        reliability = reliability_nuclei, 1.0 if reliability_genes is None else _columns(reliability_genes[target])
        rho = undefined if nuclei is None else spearman(X, nuclei)
        table["rho_nuclei"] = disattenuate(_columns(rho), *reliability)[:, 0]
        table["rho_depth"] = spearman(X, depth)
        chance = undefined[:, None] if nuclei_draws is None else np.abs(spearman(X, nuclei_draws))
        chance = disattenuate(chance, *reliability)
        table["chance_nuclei"] = np.median(chance, axis=1)
        table["chance_mean"] = chance.mean(axis=1)
        table["chance_share"] = np.where(np.isnan(chance), np.nan, chance > COUPLED).mean(axis=1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def predictability(
    measured: np.ndarray, predicted: np.ndarray, genes: Sequence[str], ceiling: np.ndarray | None = None
) -> pd.DataFrame:
    """Pearson r and RMSE of each gene on a held-out section.

    Both arrays are spots x genes in the target's units. `rmse_over_sd` divides by the measured standard deviation:
    the only RMSE to compare between targets. Raises ValueError for a prediction that is not finite, as that is a
    failed fit and no constant gene.
    """
    bad = ~np.isfinite(predicted).all(axis=0)
    if bad.any():
        first = list(genes)[int(np.flatnonzero(bad)[0])]
        raise ValueError(f"predictions are not finite for {bad.sum()} genes, first {first}: the fit has failed")
    rmse = np.sqrt(np.mean((np.asarray(predicted, float) - measured) ** 2, axis=0))
    sd = np.std(measured, axis=0, dtype=float)
    return pd.DataFrame(
        {
            "gene": list(genes),
            "n_spots": len(measured),
            "pcc": pearson(measured, predicted),
            "ceiling": np.nan if ceiling is None else ceiling,
            "rmse": rmse,
            "rmse_over_sd": np.divide(rmse, sd, out=np.full_like(rmse, np.nan), where=sd > 0),
        }
    )


def halve(counts: csr_matrix, rng: np.random.Generator) -> tuple[csr_matrix, csr_matrix]:
    """Each molecule goes to one of two halves by a fair coin; the halves add up to the counts."""
    first = counts.copy()
    first.data = rng.binomial(counts.data.astype(np.int64), 0.5).astype(counts.dtype)
    second = counts.copy()
    second.data = counts.data - first.data
    return first, second


def noise_ceiling(
    counts: csr_matrix, transform: Callable[[csr_matrix], np.ndarray], seed: int = 0, n_splits: int = 10
) -> np.ndarray:
    """The highest PCC that a perfect prediction of each gene could reach, given counting noise.

    `counts` is spots x all genes; `transform` takes such a matrix to spots x panel genes in the target. Split-half
    correlation, averaged over splits, Spearman-Brown to full depth, square root. A gene whose halves do not agree
    (mean r below 0) has nothing to predict: 0. NaN where no split gives the gene two varying halves.
    """
    rng = np.random.default_rng(seed)
    halves = np.stack([pearson(*map(transform, halve(counts, rng))) for _ in range(n_splits)])
    defined = np.isfinite(halves)
    total = np.where(defined, halves, 0).sum(axis=0)
    r = np.divide(total, defined.sum(axis=0), out=np.full(len(total), np.nan), where=defined.any(axis=0))
    r = np.maximum(r, 0)
    return np.sqrt(2 * r / (1 + r))


# The k most predictable genes -----------------------------------------------------------------------------------


def top_k(pcc: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k largest PCC, largest first, ties in the given order, NaN never; fewer if fewer are defined."""
    order = np.argsort(-np.asarray(pcc, float), kind="stable")
    return order[: min(k, np.isfinite(pcc).sum())]


def pcc_at_k(pcc: np.ndarray, k: int) -> float:
    """Mean of the k largest PCC; NaN where fewer than k are defined."""
    return _mean_at(pcc, top_k(pcc, k), k)


def _mean_at(values: np.ndarray, chosen: np.ndarray, k: int) -> float:
    values = np.asarray(values, float)[chosen]
    # A gene ranked on other sections may be constant in this one: left out, like everywhere.
    return float(np.nanmean(values)) if len(chosen) == k and np.isfinite(values).any() else np.nan


def delta_k(
    rho_log: np.ndarray,
    rho_res: np.ndarray,
    pcc_log: np.ndarray,
    pcc_res: np.ndarray,
    k: int,
    definition: str = "own_top_k",
) -> float:
    """Mean |rho| with nuclei over the top k genes in log space, less that in residual space.

    `own_top_k` ranks each space by its own PCC; `log_top_k` and `residual_top_k` take the same genes in both.
    Arrays are per gene, in one order. NaN where fewer than k genes are ranked.
    """
    if definition not in DEFINITIONS:
        raise ValueError(f"definition {definition!r} is not one of {', '.join(DEFINITIONS)}")
    in_log = top_k(pcc_res if definition == "residual_top_k" else pcc_log, k)
    in_res = top_k(pcc_log if definition == "log_top_k" else pcc_res, k)
    return _mean_at(np.abs(rho_log), in_log, k) - _mean_at(np.abs(rho_res), in_res, k)


# Tidy tables: `associations` with a section column; `predictability` with section, split, backbone, seed, target ------


def _median(values: pd.Series) -> float:
    """Median of what is known; NaN, without a warning, where nothing is."""
    known = values.dropna()
    return float(known.median()) if len(known) else np.nan


def section_summary(associations: pd.DataFrame) -> pd.DataFrame:
    """Per section and target, over genes: what panels B and C draw.

    Columns section, target, n_genes, n_undefined (constant genes), and for nuclei and depth the median |rho| and the
    share of |rho| above 0.3, with `chance_abs_rho_nuclei` and `chance_share_nuclei` beside the nuclei's.
    """
    rows = []
    for (section, target), part in associations.groupby(["section", "target"], sort=False):
        row = {"section": section, "target": target, "n_genes": part["rho_depth"].notna().sum()}
        row["n_undefined"] = len(part) - row["n_genes"]
        for what in ("nuclei", "depth"):
            rho = part[f"rho_{what}"].abs().dropna()
            row[f"median_abs_rho_{what}"] = _median(rho)
            row[f"share_coupled_{what}"] = (rho > COUPLED).mean() if len(rho) else np.nan
        row["chance_abs_rho_nuclei"] = _median(part["chance_nuclei"])
        row["chance_share_nuclei"] = part["chance_share"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def table1(associations: pd.DataFrame, sections: pd.DataFrame, cohort: str) -> pd.DataFrame:
    """Table 1 of the paper: medians over the sections kept, each with its chance level and its number of sections.

    `sections` has section, kept and rho_nuclei_depth. Metrics: median_abs_rho_nuclei, share_coupled_nuclei, the same
    for depth, and rho_nuclei_depth, whose target is empty and whose chance is 0 because it keeps its sign.
    """
    kept = sections[sections["kept"].astype(bool)]
    summary = section_summary(associations[associations["section"].isin(kept["section"])])
    chances = {
        "median_abs_rho_nuclei": "chance_abs_rho_nuclei",
        "share_coupled_nuclei": "chance_share_nuclei",
        "median_abs_rho_depth": None,
        "share_coupled_depth": None,
    }
    rows = []
    for metric, chance in chances.items():
        for target, part in summary.groupby("target", sort=False):
            level = _median(part[chance]) if chance else np.nan
            rows.append((metric, target, _median(part[metric]), level, part[metric].notna().sum()))
    rho = kept["rho_nuclei_depth"]
    rows.append(("rho_nuclei_depth", "", rho.median(), 0.0, rho.notna().sum()))
    table = pd.DataFrame(rows, columns=["metric", "target", "value", "chance", "n_sections"])
    table.insert(0, "cohort", cohort)
    return table


def over_seeds(predictability: pd.DataFrame) -> pd.DataFrame:
    """Predictability averaged over seeds: one row per backbone, split, target, section and gene."""
    keys = [*FIT, "target", "section", "gene"]
    return predictability.groupby(keys, sort=False)[["pcc", "ceiling"]].mean().reset_index()


def _ranking_pcc(pcc: pd.DataFrame, ranking: str) -> pd.DataFrame:
    """PCC that ranks the genes of each section (genes x sections): its own, or the mean over the others."""
    if ranking == "same":
        return pcc
    if ranking != "nested":
        raise ValueError(f"ranking {ranking!r} is not one of {', '.join(RANKINGS)}")
    # A gene that has no PCC in the section, constant or outside its panel, cannot be one of its best.
    others = [pcc.drop(columns=section).mean(axis=1).where(pcc[section].notna()) for section in pcc.columns]
    return pd.concat(others, axis=1, keys=pcc.columns)


def _genes_by_section(table: pd.DataFrame, value: str) -> pd.DataFrame:
    return table.pivot(index="gene", columns="section", values=value)


def top_genes(
    associations: pd.DataFrame,
    predictability: pd.DataFrame,
    ks: Sequence[int] = KS,
    rankings: Sequence[str] = RANKINGS,
) -> pd.DataFrame:
    """The k best genes of each section and target: what panels D and E draw.

    Columns backbone, split, target, ranking, k, section, pcc (with ranking `same`: PCC-k), ceiling, abs_rho (NaN
    without nuclei) and its chance level, each the mean over the k genes. k above the panel's size are left out.
    """
    rows = []
    for (backbone, split, target), part in over_seeds(predictability).groupby([*FIT, "target"], sort=False):
        pcc, ceiling = _genes_by_section(part, "pcc"), _genes_by_section(part, "ceiling")
        known = associations[associations["target"] == target]
        rho, chance = (
            _genes_by_section(known, column).abs().reindex(index=pcc.index, columns=pcc.columns)
            for column in ("rho_nuclei", "chance_mean")
        )
        for ranking in rankings:
            by = _ranking_pcc(pcc, ranking)
            for k in [k for k in ks if k <= len(pcc)]:
                for section in pcc:
                    best = top_k(by[section], k)
                    means = [_mean_at(table[section], best, k) for table in (pcc, ceiling, rho, chance)]
                    rows.append((backbone, split, target, ranking, k, section, *means))
    columns = [*FIT, "target", "ranking", "k", "section", "pcc", "ceiling", "abs_rho", "chance"]
    return pd.DataFrame(rows, columns=columns)


def differences(
    associations: pd.DataFrame,
    predictability: pd.DataFrame,
    ks: Sequence[int] = KS,
    log: str = LOG,
    residual: str = RESIDUAL,
) -> pd.DataFrame:
    """Delta_k of each section under every ranking and definition, for table 2.

    Columns backbone, split, ranking, definition, k, section, delta, delta_panel (all genes of the panel, no
    selection). Sections need nuclei and a prediction in both targets; k above the panel's size are left out.
    """
    rho = {t: _genes_by_section(associations[associations["target"] == t], "rho_nuclei") for t in (log, residual)}
    rows = []
    for (backbone, split), part in over_seeds(predictability).groupby(FIT, sort=False):
        pcc = {t: _genes_by_section(part[part["target"] == t], "pcc") for t in (log, residual)}
        genes = pcc[log].index.intersection(pcc[residual].index)
        sections = [s for s in pcc[log] if s in pcc[residual] and s in rho[log] and rho[log][s].notna().any()]
        for ranking in RANKINGS:
            by = {t: _ranking_pcc(pcc[t], ranking) for t in pcc}
            for section in sections:
                values = [table[t].loc[genes, section].to_numpy() for table in (rho, by) for t in (log, residual)]
                panel = np.nanmean(np.abs(values[0])) - np.nanmean(np.abs(values[1]))
                for definition in DEFINITIONS:
                    for k in [k for k in ks if k <= len(genes)]:
                        delta = delta_k(*values, k, definition)
                        rows.append((backbone, split, ranking, definition, k, section, delta, panel))
    columns = [*FIT, "ranking", "definition", "k", "section", "delta", "delta_panel"]
    return pd.DataFrame(rows, columns=columns)


def pcc_by_rank(predictability: pd.DataFrame) -> pd.DataFrame:
    """PCC against a gene's rank in its own section: the whole panel, where PCC-k shows the best k.

    Columns backbone, split, target, rank (1 is best), and over sections: pcc (median), low and high (quartiles),
    ceiling (median of the genes at that rank), n_sections.
    """
    table = over_seeds(predictability).dropna(subset="pcc")
    by = [*FIT, "target"]
    table["rank"] = table.groupby([*by, "section"])["pcc"].rank(ascending=False, method="first").astype(int)
    groups = table.groupby([*by, "rank"], sort=False)
    quartiles = groups["pcc"].quantile([0.25, 0.5, 0.75]).unstack()
    quartiles.columns = ["low", "pcc", "high"]
    quartiles["ceiling"] = groups["ceiling"].median()
    quartiles["n_sections"] = groups.size()
    return quartiles.reset_index().sort_values([*by, "rank"], ignore_index=True)


def coupling(pcc: np.ndarray, abs_rho: np.ndarray, given: np.ndarray | None = None) -> float:
    """Spearman's rho over genes of predictability and |rho| with nuclei, plain or given other gene properties.

    `given` is genes x covariates; the partial rank correlation is that of the residuals of ranks regressed on the
    covariates' ranks. Genes with any NaN are left out; NaN where too few are left.
    """
    columns = [_columns(pcc), _columns(abs_rho)] + ([] if given is None else [_columns(given)])
    table = np.concatenate(columns, axis=1)
    table = table[np.isfinite(table).all(axis=1)]
    if len(table) < table.shape[1] + 2:
        return np.nan
    ranked = ranks(table)
    design = np.column_stack([np.ones(len(ranked)), ranked[:, 2:]])
    residuals = ranked[:, :2] - design @ np.linalg.lstsq(design, ranked[:, :2], rcond=None)[0]
    # A side that the covariates explain entirely is left with rounding only.
    if (residuals.std(axis=0) < 1e-9 * len(ranked)).any():
        return np.nan
    return float(pearson(residuals[:, :1], residuals[:, 1:])[0])


def couplings(associations: pd.DataFrame, predictability: pd.DataFrame, abundance: pd.DataFrame) -> pd.DataFrame:
    """Panel F: per section and target, whether the predictable genes are the nuclei-dependent ones.

    `abundance` has section, gene and log_mean_count. Columns backbone, split, target, section, n_genes, coupling,
    coupling_given_abundance (partial, given log mean count) and coupling_given_both (also given the noise ceiling).
    """
    table = over_seeds(predictability).merge(associations, on=["section", "target", "gene"])
    table = table.merge(abundance, on=["section", "gene"])
    rows = []
    for keys, part in table.groupby([*FIT, "target", "section"], sort=False):
        pcc, rho = part["pcc"].to_numpy(), part["rho_nuclei"].abs().to_numpy()
        given = part[["log_mean_count", "ceiling"]].to_numpy()
        n = (np.isfinite(pcc) & np.isfinite(rho)).sum()
        rows.append((*keys, n, coupling(pcc, rho), coupling(pcc, rho, given[:, :1]), coupling(pcc, rho, given)))
    values = ["n_genes", "coupling", "coupling_given_abundance", "coupling_given_both"]
    return pd.DataFrame(rows, columns=[*FIT, "target", "section", *values])


def training_gap(fractions: pd.DataFrame) -> float:
    """How far the fractions of ridge's score that STEM reached differ between targets.

    `fractions` has split and fraction; 0 where there is nothing to compare. Above `TRAINING_GAP` a difference between
    targets may be one of training.
    """
    by_split = fractions.groupby("split")["fraction"]
    return float((by_split.max() - by_split.min()).max()) if len(fractions) else 0.0


def twin_skill(controls: pd.DataFrame, split: str) -> pd.DataFrame:
    """In how many sections a score shows skill where only depth varies, per backbone and target.

    `controls` holds a row per section, twin and score, with `flagged`. Columns backbone, target, n_flagged,
    n_sections, and flagged: in more than half of the sections, where chance alone flags one in twenty.
    """
    part = controls[(controls["twin"] == "depth_only") & (controls["split"] == split)]
    table = part.groupby(["backbone", "target"], sort=False)["flagged"].agg(n_flagged="sum", n_sections="size")
    return table.assign(flagged=table["n_flagged"] > table["n_sections"] / 2).reset_index()


def drop_one(values: pd.Series) -> pd.DataFrame:
    """Whether one section carries a median: dropped, median of the others. `values` is indexed by section."""
    rows = [("none", values.median())] + [(section, values.drop(section).median()) for section in values.index]
    return pd.DataFrame(rows, columns=["dropped", "median"])
