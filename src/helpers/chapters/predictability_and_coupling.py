"""Panel F: the abundance of a gene, and how far predictable genes follow any map as smooth as the nuclei."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import columns
from helpers.labels import counted, label
from helpers.schema import cellularity, has_cellularity
from helpers.scores import judge, spatial

FIT = ["backbone", "split", "target", "section"]


def log_abundance(moments: pd.DataFrame) -> pd.DataFrame:
    """Log mean count of each gene in each section, NaN for a gene without counts.

    `moments` has section, gene and mean_count, the same in every target. Columns section, gene, log_mean_count.
    """
    table = moments.drop_duplicates(["section", "gene"])[["section", "gene", "mean_count"]]
    table["log_mean_count"] = np.log(table["mean_count"].where(table["mean_count"] > 0))
    return table[["section", "gene", "log_mean_count"]]


def null_of_section(section: AnnData, predicted: pd.DataFrame, n_draws: int) -> pd.DataFrame:
    """The null of panel F in one section: mean and 95 % point, for every fit.

    As predictable a gene, and random maps as smooth as the nuclei in their place. `predicted` has backbone, split,
    target, section, gene and pcc, of this section; columns FIT, chance and chance_95.
    """
    spots, nuclei, rows = judge.basis(section), cellularity(section), []
    for target, fits in predicted.groupby("target", sort=False):
        drawn = spatial.null_correlations(section.layers[target], nuclei, spots, rank=True, n_draws=n_draws)[1]
        drawn = pd.DataFrame(np.abs(drawn), index=section.var_names)
        ranked: dict[tuple, np.ndarray] = {}  # by the genes that have both numbers, as a rule all of them
        for keys, part in fits.groupby(FIT, sort=False):
            pcc = part.groupby("gene")["pcc"].mean()
            genes = tuple(pcc.index[pcc.notna() & drawn[0].reindex(pcc.index).notna()])
            if genes not in ranked:
                ranked[genes] = columns.unit(drawn.loc[list(genes)].to_numpy(), rank=True)
            null = columns.unit(pcc[list(genes)].to_numpy(), rank=True)[:, 0] @ ranked[genes]
            rows.append((*keys, null.mean(), np.quantile(null, 0.95)))
    return pd.DataFrame(rows, columns=[*FIT, "chance", "chance_95"])


def with_null(
    coupled: pd.DataFrame, predicted: pd.DataFrame, made: Mapping[str, AnnData], n_draws: int
) -> pd.DataFrame:
    """`top_genes.couplings` with the null of each: columns chance and chance_95; sections with nuclei have one."""
    parts = dict(list(predicted.groupby("section", sort=False)))
    there = [name for name in made if has_cellularity(made[name]) and name in parts]
    null = pd.concat([null_of_section(made[name], parts[name], n_draws) for name in there])
    return coupled.merge(null, how="left", on=FIT)


def coupling_sentences(coupled: pd.DataFrame, models: Sequence[str]) -> str:
    """Panel F of each model beside its null and beside nuclei alone, medians over sections (Markdown).

    `coupled` is what `with_null` returns, of one split.
    """
    floor = coupled[coupled["backbone"] == "nuclei"].groupby("target")["coupling"].median()
    lines = []
    for (backbone, target), part in coupled.groupby(["backbone", "target"], sort=False):
        if backbone in models:
            known = part.dropna(subset=["coupling", "chance_95"])
            value, mean, high = known[["coupling", "chance", "chance_95"]].median()
            n_above = (known["coupling"] > known["chance_95"]).sum()
            lines.append(
                f"- `{backbone}`, {label(target)}: **{value:.2f}** (null: mean {mean:.2f}, 95 % point {high:.2f}; "
                f"above it in {n_above} of {counted(len(known), 'sections')}); a prediction by nuclei alone "
                f"{floor[target]:.2f}."
            )
    return "\n".join(lines)
