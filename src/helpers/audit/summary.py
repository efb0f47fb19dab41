"""The numbers of an audit's headline; None where one is not known, so that no sentence holds a NaN."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.models.backbones import FLOORS
from helpers.schema import patients_of
from helpers.targets.normalization import RESIDUAL

K = 50  # of the flags
UNSEEN = ("nuclei", "place")  # floors of the headline, as if the patient were unseen
SKILLS = ("library", "composition")


def summarize(report: Mapping, sections: Mapping[str, AnnData], space: str) -> dict:
    """The numbers of the headline: medians over sections in the model's own space; None where nothing is known."""
    own = headline(report["scores"], space)
    row = {
        "space": space,
        "n_sections": len(sections),
        "n_patients": len(set(patients_of(sections).values()) - {""}) or None,
        "n_spots": int(sum(section.n_obs for section in sections.values())),
        "n_genes": report["partial"]["gene"].nunique(),
        "k": int(own["k"].iloc[0]),
        "pcc": median(own, "pcc"),
        "ceiling": median(own, "ceiling"),
        "chance": median(own, "chance_95"),
    }
    floors = report["floors"]
    for floor in FLOORS:
        row[floor] = median(headline(floors[floors["floor"] == floor], space) if len(floors) else floors, "pcc")
    left = report["given"].query("space == @space")
    for given in ("nuclei", "depth", "both"):
        of = left[left["given"] == given]
        row[f"given_{given}"] = median(of, "median_partial")
        row[f"given_{given}_chance_95"] = median(of, "median_partial_chance_95")
    for skill in SKILLS:
        row[f"{skill}_skill"] = median(report["skills"], skill)
        row[f"{skill}_skill_chance_95"] = median(report["skills"], f"{skill}_chance_95")
        row[f"{skill}_skill_ceiling"] = median(report["skills"], f"{skill}_ceiling")
    row["residual_pcc"] = median(headline(report["scores"], RESIDUAL), "pcc")
    row["twin"] = median(headline(report["twin"], space), "pcc")
    return row | excess(report["excess"])


def excess(table: pd.DataFrame) -> dict:
    """Excess over floors, over patients where all are known (mean of a patient's sections), else over sections.

    `table` has a row a section: patient, and excess_<floor> for the floors that are known. The median over `n_units`
    of `unit`, and the least and the largest of them; None where there is none.
    """
    unit = "patients" if (table["patient"] != "").all() else "sections"
    by = table.groupby("patient") if unit == "patients" else table.groupby("section")
    row = {"unit": unit, "n_units": by.ngroups}
    for floor in UNSEEN:
        name = f"excess_{floor}"
        values = by[name].mean().dropna() if name in table else pd.Series(dtype=float)
        row |= {name: none_for_nan(values.median()), f"{name}_least": none_for_nan(values.min())}
        row |= {f"{name}_most": none_for_nan(values.max())}
    return row


def none_for_nan(value: float) -> float | None:
    """The number, None for NaN."""
    return None if np.isnan(value) else float(value)


def median(table: pd.DataFrame, column: str) -> float | None:
    """The median of a column over those that have a value; None where none has."""
    values = table[column].dropna() if column in table else []
    return float(values.median()) if len(values) else None


def headline(table: pd.DataFrame, space: str) -> pd.DataFrame:
    """Rows of one space, at the k nearest to 50."""
    part = table[table["space"] == space] if len(table) else table
    return part[part["k"] == headline_k(part["k"].unique())] if len(part) else part


def headline_k(ks) -> int:
    """The k nearest to 50."""
    return min(ks, key=lambda k: abs(k - K))
