"""The specification curve: one number under every way to compute it, and which of the choices moves it.

A table of specifications has a row each: `quantity`, one column a choice (missing where the choice does not apply to
the quantity), `value`, `paper`, and `ours`, true for the book's own reading.
Source: Simonsohn, Simmons & Nelson 2020, doi 10.1038/s41562-020-0912-z.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

OVER_SECTIONS = ("median", "mean", "median of patients")


def over_sections(by_section: pd.DataFrame, patients: pd.Series, how: str) -> pd.DataFrame:
    """One value from those of the sections, and how far it moves without one of them.

    `by_section` is specifications x sections, `patients` the patient of each section; `how` is of OVER_SECTIONS, the
    last one the median of patients' means. Columns value, low and high: least and most without one section, NaN where
    there is one section only. A section that has no value is left out.
    """
    if how not in OVER_SECTIONS:
        raise ValueError(f"summary {how!r} is not one of {', '.join(OVER_SECTIONS)}")

    def summary(table: pd.DataFrame) -> np.ndarray:
        if how == "median of patients":
            table = table.T.groupby(patients[table.columns].to_numpy()).mean().T
        return (table.mean(axis=1) if how == "mean" else table.median(axis=1)).to_numpy()

    without = [summary(by_section.drop(columns=section)) for section in by_section if by_section.shape[1] > 1]
    ends = (np.min(without, axis=0), np.max(without, axis=0)) if without else (np.nan, np.nan)
    return pd.DataFrame({"value": summary(by_section), "low": ends[0], "high": ends[1]}, index=by_section.index)


def describe(table: pd.DataFrame) -> pd.DataFrame:
    """Each quantity over its specifications: n, ours, least, median, most, paper, and the share at least as large."""
    rows = {}
    for quantity, part in table.dropna(subset="value").groupby("quantity", sort=False):
        value, paper = part["value"], part["paper"].iloc[0]
        row = {"n": len(part), "ours": value[part["ours"].astype(bool)].median(), "least": value.min()}
        row |= {"median": value.median(), "most": value.max(), "paper": paper}
        rows[quantity] = row | {"at_least_paper": (value >= paper).mean() if np.isfinite(paper) else np.nan}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity")


def influence(table: pd.DataFrame, choices: Sequence[str]) -> pd.DataFrame:
    """How much each choice moves each quantity: the largest difference between medians of its options.

    Quantities x choices; NaN where a quantity knows fewer than two options. The other choices are balanced where the
    table crosses all of them.
    """

    def moved(part: pd.DataFrame, choice: str) -> float:
        medians = part.groupby(choice)["value"].median().dropna()
        return medians.max() - medians.min() if len(medians) > 1 else np.nan

    groups = table.groupby("quantity", sort=False)
    return pd.DataFrame({choice: {q: moved(part, choice) for q, part in groups} for choice in choices})


def pairs(table: pd.DataFrame, first: str, second: str, choices: Sequence[str]) -> pd.DataFrame:
    """Values of two quantities side by side wherever they agree in every choice that applies to both.

    Columns: the choices of `second`, `first` and `second`. A quantity with fewer choices is paired more than once.
    """
    one, other = (table[table["quantity"] == quantity].dropna(axis=1, how="all") for quantity in (first, second))
    shared = [choice for choice in choices if choice in one and choice in other]
    kept = [choice for choice in choices if choice in other]
    one = one[[*shared, "value"]].rename(columns={"value": first})
    return other[[*kept, "value"]].rename(columns={"value": second}).merge(one, on=shared)
