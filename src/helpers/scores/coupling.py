"""How the targets of a section follow nuclei and depth: arrays in, tidy tables out; Table 1."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.columns import medians, pearson, spearman
from helpers.scores.partial import left_over

COUPLED = 0.3  # |rho| above which the paper calls a gene coupled to nuclei
METRICS = ("median_abs_rho_nuclei", "share_coupled_nuclei")  # over genes, of Table 1 and panels B and C
GIVEN_DEPTH = "median_abs_rho_nuclei_given_depth"  # the direct test: what is left of the first once depth is held fixed
OF_NUCLEI_AND_DEPTH = "rho_nuclei_depth"  # panel A
MEDIAN = "median over sections"

# One section ----------------------------------------------------------------------------------------------------


def associations(
    targets: Mapping[str, np.ndarray],
    genes: Sequence[str],
    depth: np.ndarray,
    nuclei: np.ndarray | None = None,
    drawn: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """How each gene of each target follows nuclei and depth within one section, and nuclei given depth.

    `targets` maps names to spots x genes; `depth` and `nuclei` are per spot (no nuclei: NaN); `drawn` maps names to
    genes x draws, the rho of random maps as smooth as the nuclei (`spatial.null_correlations`). Returns target, gene,
    rho_nuclei, rho_depth, rho_nuclei_given_depth (partial, of ranks) and chance_mean, the mean of |rho| over the draws;
    NaN, like rho, for a constant gene. ValueError where a target does not have a column a gene.
    """
    tables = []
    for target, X in targets.items():
        if X.shape[1] != len(genes):
            raise ValueError(f"target {target} has {X.shape[1]} columns for {len(genes)} genes")
        undefined = np.full(len(genes), np.nan)
        table = pd.DataFrame({"target": target, "gene": list(genes)})
        table["rho_nuclei"] = undefined if nuclei is None else spearman(X, nuclei)
        table["rho_depth"] = spearman(X, depth)
        left = None if nuclei is None else given_depth(X, nuclei, depth)
        table["rho_nuclei_given_depth"] = undefined if left is None else pearson(left[0], left[1] + 0 * left[0])
        table["chance_mean"] = undefined if drawn is None else np.abs(drawn[target]).mean(axis=1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def given_depth(X: np.ndarray, nuclei: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What depth leaves of the ranks of genes (spots x genes) and of nuclei (spots x 1)."""
    return left_of_both(X, nuclei, depth)


def left_of_both(X: np.ndarray, covariate: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What one number per spot leaves of the ranks of genes (spots x genes) and of another number (spots x 1)."""
    fixed = [np.asarray(fixed, float)]
    return left_over(X, fixed, rank=True), left_over(np.asarray(covariate, float), fixed, rank=True)


def metrics_of(rho: np.ndarray) -> np.ndarray:
    """METRICS of the rho of genes (first axis), for each of the draws where there are several: 2, or 2 x draws.

    Genes without a rho are left out; NaN where none has one.

    >>> metrics_of(np.array([-0.5, 0.1, 0.2, np.nan])).round(3)
    array([0.2  , 0.333])
    """
    rho = np.abs(rho[np.isfinite(rho).reshape(len(rho), -1).all(axis=1)])
    if not len(rho):
        return np.full((2, *rho.shape[1:]), np.nan)
    return np.stack([medians(rho), (rho > COUPLED).mean(axis=0)])


def chance_table(
    nulls: Mapping[tuple[str, str], Mapping[str, np.ndarray]], patients: Mapping[str, str], seed: int = 0
) -> pd.DataFrame:
    """The null of each metric in each section, and of its median over sections: mean and 95 % point.

    `nulls` maps (section, target) to metrics, and these to their draws under random maps. Sections of one patient
    repeat each other, so that their draws are taken to go the same way (sorted), and those of patients to be
    independent.
    Columns section (MEDIAN in the last rows), target, metric, chance, chance_95.
    """
    rng, orders, alike, rows = np.random.default_rng(seed), {}, {}, []
    for (section, target), metrics in nulls.items():
        for metric, draws in metrics.items():
            rows.append((section, target, metric, draws.mean(), np.quantile(draws, 0.95)))
            key = patients[section], len(draws)
            order = orders.setdefault(key, rng.permutation(len(draws)))
            alike.setdefault((target, metric), []).append(np.sort(draws)[order])
    for (target, metric), draws in alike.items():
        known = [null for null in draws if np.isfinite(null).all()]
        median = np.median(known, axis=0) if known else np.array([np.nan])
        rows.append((MEDIAN, target, metric, median.mean(), np.quantile(median, 0.95)))
    return pd.DataFrame(rows, columns=["section", "target", "metric", "chance", "chance_95"])


# Tidy tables: `associations` with a section column; `predictability` with section, split, backbone, seed, target ------


def section_summary(associations: pd.DataFrame, chances: pd.DataFrame | None = None) -> pd.DataFrame:
    """Per section and target, over genes: what panels B and C draw.

    Columns section, target, n_genes, n_undefined (constant genes), and for nuclei and depth the median |rho| and the
    share of |rho| above 0.3; with `chances` (`chance_table`) each of METRICS has its chance_ and chance_95_ beside it.
    """
    rows = []
    for (section, target), part in associations.groupby(["section", "target"], sort=False):
        row = {"section": section, "target": target, "n_genes": part["rho_depth"].notna().sum()}
        row["n_undefined"] = len(part) - row["n_genes"]
        for what in ("nuclei", "depth"):
            rho = part[f"rho_{what}"].to_numpy()
            row[f"median_abs_rho_{what}"], row[f"share_coupled_{what}"] = metrics_of(rho)
        if "rho_nuclei_given_depth" in part:
            row[GIVEN_DEPTH] = metrics_of(part["rho_nuclei_given_depth"].to_numpy())[0]
        rows.append(row)
    summary = pd.DataFrame(rows)
    if chances is None:
        return summary
    wide = chances.pivot(index=["section", "target"], columns="metric", values=["chance", "chance_95"])
    wide.columns = [f"{chance}_{metric}" for chance, metric in wide.columns]
    return summary.merge(wide.reset_index(), how="left", on=["section", "target"])


def table1(associations: pd.DataFrame, chances: pd.DataFrame, sections: pd.DataFrame, cohort: str) -> pd.DataFrame:
    """Table 1 of the paper: medians over the sections kept, each with its null and its number of sections.

    `chances` is the `chance_table` of these sections, `sections` has section, kept and rho_nuclei_depth. Metrics:
    METRICS, GIVEN_DEPTH where it is known, the same for depth, and rho_nuclei_depth, whose target is empty; NaN where
    there is no null.
    """
    kept = sections[sections["kept"].astype(bool)]
    summary = section_summary(associations[associations["section"].isin(kept["section"])])
    null = chances[chances["section"] == MEDIAN].fillna({"target": ""})
    null = null.set_index(["metric", "target"])[["chance", "chance_95"]]

    def beside(metric: str, target: str) -> tuple[float, float]:
        return tuple(null.loc[(metric, target)]) if (metric, target) in null.index else (np.nan, np.nan)

    rows = []
    metrics = (*METRICS, GIVEN_DEPTH, "median_abs_rho_depth", "share_coupled_depth")
    for metric in (metric for metric in metrics if metric in summary):
        for target, part in summary.groupby("target", sort=False):
            known = part[metric].dropna()
            value = known.median() if len(known) else np.nan
            rows.append((metric, target, value, *beside(metric, target), len(known)))
    rho = kept["rho_nuclei_depth"]
    rows.append((OF_NUCLEI_AND_DEPTH, "", rho.median(), *beside(OF_NUCLEI_AND_DEPTH, ""), rho.notna().sum()))
    table = pd.DataFrame(rows, columns=["metric", "target", "value", "chance", "chance_95", "n_sections"])
    table.insert(0, "cohort", cohort)
    return table


def drop_one(values: pd.Series) -> pd.DataFrame:
    """Whether one section carries a median: dropped, median of the others. `values` is indexed by section."""
    rows = [("none", values.median())] + [(section, values.drop(section).median()) for section in values.index]
    return pd.DataFrame(rows, columns=["dropped", "median"])
