"""The numbers of an audit's headline."""

from collections.abc import Mapping

import pandas as pd
from anndata import AnnData

from helpers.schema import patients_of

K = 50  # of the flags
FLOORS = ("nuclei", "haematoxylin", "depth")


def summarize(report: Mapping, sections: Mapping[str, AnnData], space: str) -> dict:
    """The numbers of the headline: medians over sections in the model's own space; None where nothing is known."""
    own = headline(report["scores"], space)
    k = int(own["k"].iloc[0])
    patients = set(patients_of(sections).values())
    row = {
        "space": space,
        "n_sections": len(sections),
        "n_patients": len(patients - {""}) or None,
        "n_spots": int(sum(section.n_obs for section in sections.values())),
        "n_genes": report["partial"]["gene"].nunique(),
        "k": k,
        "pcc": own["pcc"].median(),
        "ceiling": own["ceiling"].median(),
        "chance": own["chance_95"].median(),
    }
    floors = report["floors"]
    for floor in FLOORS:
        part = headline(floors[floors["floor"] == floor], space) if len(floors) else floors
        row[floor] = part["pcc"].median() if len(part) else None
    left = report["partial"].query("space == @space").groupby(["given", "section"])["partial"].median()
    for given in ("nuclei", "depth", "both"):
        row[f"given_{given}"] = left[given].median() if given in left else None
    row["library_skill"] = report["skills"]["library"].median()
    row["composition_skill"] = report["skills"]["composition"].median()
    row["composition_skill_chance_95"] = report["skills"]["composition_chance_95"].median()
    row["residual_pcc"] = headline(report["scores"], "pearson_residual")["pcc"].dropna().median()
    row["twin"] = headline(report["twin"], space)["pcc"].median()
    return row


def headline(table: pd.DataFrame, space: str) -> pd.DataFrame:
    """Rows of one space, at the k nearest to 50."""
    part = table[table["space"] == space]
    return part[part["k"] == min(part["k"].unique(), key=lambda k: abs(k - K))] if len(part) else part
