"""How predictable genes are beside their ceiling and the floor of nuclei."""

import pandas as pd

from helpers.models import backbones

MODELS = backbones.MODELS


def trained(table: pd.DataFrame) -> list[str]:
    """The models among the backbones of a table, which are those that are no floors, in the order of all pages."""
    return [backbone for backbone in MODELS if backbone in set(table["backbone"])]


def beside_ceiling_and_floor(top: pd.DataFrame, k: int) -> pd.DataFrame:
    """PCC-k of each backbone and target, medians over sections: with its ceiling, and what it has beyond nuclei alone.

    `top` is that of `top_genes.top_genes` with one ranking. Indexed by backbone and target; columns pcc, ceiling,
    reached (the part of the ceiling) and excess over nuclei (NaN where that floor was not fitted).
    """
    medians = top[top["k"] == k].groupby(["backbone", "target"], sort=False)[["pcc", "ceiling"]].median()
    floor = medians["pcc"][medians.index.get_level_values("backbone") == "nuclei"].droplevel("backbone")
    medians["reached"] = medians["pcc"] / medians["ceiling"]
    medians["excess over nuclei"] = medians["pcc"] - floor.reindex(medians.index.get_level_values("target")).to_numpy()
    return medians
