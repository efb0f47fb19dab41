"""Panel F: the abundance of a gene, and how far predictable genes follow any map as smooth as the nuclei."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import columns
from helpers.labels import TARGETS, label, of_patients
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


def answer(coupled: pd.DataFrame, models: Sequence[str], patients: Mapping[str, str]) -> str:
    """In how many sections predictable genes are the coupled ones beyond chance, by target and model (Markdown).

    The same of a prediction by nuclei alone stands beside: what is that high takes no other knowledge.

    `coupled` is what `with_null` returns, of one split; `patients` the patient of each section.
    """
    coupled = coupled.dropna(subset=["coupling", "chance_95"])
    known, alone = (coupled[coupled["backbone"].isin(names)] for names in (models, ["nuclei"]))
    lines = []
    for target, fits in sorted(known.groupby("target"), key=lambda part: [*TARGETS, part[0]].index(part[0])):
        words = []
        for backbone, part in fits.groupby("backbone", sort=False):
            value, high, given = part[["coupling", "chance_95", "coupling_given_abundance"]].median()
            n_above = (part["coupling"] > part["chance_95"]).sum()
            words.append(f"**{n_above}** with `{backbone}` (rho {value:.2f}, chance {high:.2f}; {given:.2f})")
        floor = alone.loc[(alone["target"] == target) & alone["section"].isin(fits["section"]), "coupling"]
        beside = f", where {label('nuclei')} have rho **{floor.median():.2f}**" if len(floor) else ""
        lines.append(f"in {label(target)} in {' and '.join(words)}{beside}")
    return (
        f"Of {of_patients(known['section'], patients)}, genes that are predicted well follow nuclei beyond chance, the "
        f"95 % point of maps as smooth, {'; '.join(lines)}. In brackets the median rho over genes, its chance, and "
        "rho given abundance, which has no null."
    )
