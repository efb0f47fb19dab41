"""How the targets of a section follow nuclei and depth: arrays in, tidy tables out; Table 1."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.columns import as_columns, spearman

LOG, RESIDUAL = "log2", "pearson_residual"
COUPLED = 0.3  # |rho| above which the paper calls a gene coupled to nuclei
LEAST_RELIABLE = 0.05  # below, a correlation is divided by next to nothing


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
        reliability = reliability_nuclei, 1.0 if reliability_genes is None else as_columns(reliability_genes[target])
        rho = undefined if nuclei is None else spearman(X, nuclei)
        table["rho_nuclei"] = disattenuate(as_columns(rho), *reliability)[:, 0]
        table["rho_depth"] = spearman(X, depth)
        chance = undefined[:, None] if nuclei_draws is None else np.abs(spearman(X, nuclei_draws))
        chance = disattenuate(chance, *reliability)
        table["chance_nuclei"] = np.median(chance, axis=1)
        table["chance_mean"] = chance.mean(axis=1)
        table["chance_share"] = np.where(np.isnan(chance), np.nan, chance > COUPLED).mean(axis=1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


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


def drop_one(values: pd.Series) -> pd.DataFrame:
    """Whether one section carries a median: dropped, median of the others. `values` is indexed by section."""
    rows = [("none", values.median())] + [(section, values.drop(section).median()) for section in values.index]
    return pd.DataFrame(rows, columns=["dropped", "median"])
