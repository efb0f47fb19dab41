"""The k most predictable genes: PCC-k, their coupling to nuclei, and Delta_k. Tidy tables in, tidy tables out."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.columns import as_columns, pearson, ranks
from helpers.targets.normalization import LOG, RESIDUAL

KS = (10, 20, 50, 200)
DEFINITIONS = ("own_top_k", "log_top_k", "residual_top_k")
RANKINGS = ("same", "nested")
FIT = ["backbone", "split"]  # what identifies a fitted predictor once its seeds are averaged


# The k most predictable genes -----------------------------------------------------------------------------------


def top_k(pcc: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k largest PCC, one a gene, largest first, ties in order, NaN never; fewer if so few exist."""
    order = np.argsort(-np.asarray(pcc, float), kind="stable")
    return order[: min(k, np.isfinite(pcc).sum())]


def pcc_at_k(pcc: np.ndarray, k: int) -> float:
    """Mean of the k largest PCC of genes, or of all that are defined; NaN for a panel of fewer than k."""
    return mean_at(pcc, top_k(pcc, k)) if len(pcc) >= k else np.nan


def pcc_by(genes: pd.DataFrame, keys: Sequence[str], k: int) -> pd.Series:
    """PCC-k of each group of genes, of which `keys` names the columns."""
    return genes.groupby(keys, sort=False)["pcc"].agg(lambda pcc: pcc_at_k(pcc.to_numpy(), k))


def mean_at(values: np.ndarray, chosen: np.ndarray) -> float:
    """Mean of the values at the chosen positions; NaN where none of them is defined."""
    values = np.asarray(values, float)[chosen]
    # A gene ranked on other sections may be constant in this one: left out, like everywhere.
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


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
    Arrays are per gene, in one order. NaN where no gene is ranked.
    """
    if definition not in DEFINITIONS:
        raise ValueError(f"definition {definition!r} is not one of {', '.join(DEFINITIONS)}")
    in_log = top_k(pcc_res if definition == "residual_top_k" else pcc_log, k)
    in_res = top_k(pcc_log if definition == "log_top_k" else pcc_res, k)
    return mean_at(np.abs(rho_log), in_log) - mean_at(np.abs(rho_res), in_res)


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
                    means = [mean_at(table[section], best) for table in (pcc, ceiling, rho, chance)]
                    rows.append((backbone, split, target, ranking, k, section, *means))
    columns = [*FIT, "target", "ranking", "k", "section", "pcc", "ceiling", "abs_rho", "chance"]
    return pd.DataFrame(rows, columns=columns)


def differences(
    associations: pd.DataFrame,
    predictability: pd.DataFrame,
    ks: Sequence[int] = KS,
) -> pd.DataFrame:
    """Delta_k of each section under every ranking and definition, for table 2.

    Columns backbone, split, ranking, definition, k, section, delta, delta_panel (all genes of the panel, no
    selection). Sections need nuclei and a prediction in both targets; k above the panel's size are left out.
    """
    rho = {t: _genes_by_section(associations[associations["target"] == t], "rho_nuclei") for t in (LOG, RESIDUAL)}
    rows = []
    for (backbone, split), part in over_seeds(predictability).groupby(FIT, sort=False):
        pcc = {t: _genes_by_section(part[part["target"] == t], "pcc") for t in (LOG, RESIDUAL)}
        genes = pcc[LOG].index.intersection(pcc[RESIDUAL].index)
        sections = [s for s in pcc[LOG] if s in pcc[RESIDUAL] and s in rho[LOG] and rho[LOG][s].notna().any()]
        for ranking in RANKINGS:
            by = {t: _ranking_pcc(pcc[t], ranking) for t in pcc}
            for section in sections:
                values = [table[t].loc[genes, section].to_numpy() for table in (rho, by) for t in (LOG, RESIDUAL)]
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
    columns = [as_columns(pcc), as_columns(abs_rho)] + ([] if given is None else [as_columns(given)])
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
