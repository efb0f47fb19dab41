"""How many patients would settle a difference: the spread of sections and patients, and the power of a test over both.

A table of powers has effect (true difference), n_patients, n_sections (of each), unit (patient or section) and rate.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import pandas as pd

from helpers.chapters.inference import LEVEL
from helpers.labels import counted
from helpers.scores import paired

ENOUGH = 0.8
EFFECTS = (0.05, 0.1, 0.15)
PATIENTS = range(3, 31)
MANY_SECTIONS = 12  # of one patient


class Spread(NamedTuple):
    """How far patients and sections of one patient differ (standard deviations), and what that was seen on."""

    sd_patients: float
    sd_sections: float
    n_total: int  # sections
    n_patients: int
    n_sections: int  # of a patient, median
    source: str


def estimable(difference: pd.Series, patients: pd.Series) -> bool:
    """Whether a cohort can tell its patients' spread: enough of them, one with two sections."""
    of = patients[difference.index]
    return bool(of.nunique() >= paired.MIN_PATIENTS and of.duplicated().any())


def spread_of(difference: pd.Series, patients: pd.Series, source: str) -> Spread:
    """The spread of differences by section, as `paired.variance_components` tells it; `source` names the cohort."""
    of = patients[difference.index]
    found = paired.variance_components(difference.to_numpy(), of.to_numpy())
    n_sections = round(of.value_counts().median())
    return Spread(**found, n_total=len(of), n_patients=of.nunique(), n_sections=n_sections, source=source)


def observed_spread(own: pd.Series, patients: pd.Series, simulated: pd.Series, simulated_patients: pd.Series) -> Spread:
    """The spread of a cohort's own differences where they can tell it, else that of simulated ones."""
    if estimable(own, patients):
        return spread_of(own, patients, "the patients of this cohort in the coupling to depth")
    source = "simulated patients in the coupling to nuclei, more alike than real ones may be"
    return spread_of(simulated, simulated_patients, source)


def powers(
    spread: Spread,
    effects: Sequence[float],
    n_patients: Sequence[int],
    n_sections: Sequence[int],
    units: Sequence[str] = ("patient",),
) -> pd.DataFrame:
    """`paired.power` at every combination of a true difference, patients, sections of each, and unit tested."""
    rows = []
    sd = {"sd_patients": spread.sd_patients, "sd_sections": spread.sd_sections}
    for effect, patients, sections, unit in product(effects, n_patients, n_sections, units):
        rate = paired.power(effect, sd, n_patients=patients, n_sections=sections, unit=unit, level=LEVEL)
        rows.append((effect, patients, sections, unit, rate))
    return pd.DataFrame(rows, columns=["effect", "n_patients", "n_sections", "unit", "rate"])


def patients_needed(settled: pd.DataFrame) -> pd.DataFrame:
    """Least number of patients whose test has a power of 80 %, effects x sections of each; NaN where none has."""
    enough = settled[settled["rate"] >= ENOUGH].groupby(["effect", "n_sections"])["n_patients"].min().unstack()
    return enough.reindex(index=settled["effect"].unique(), columns=sorted(settled["n_sections"].unique()))


def shown(needed: pd.DataFrame, most: int = PATIENTS[-1]) -> pd.DataFrame:
    """`patients_needed` as text; `most` is the largest number that was tried."""
    text = needed.map(lambda n: f"more than {most}" if pd.isna(n) else f"{n:.0f}")
    columns = {n: f"{counted(n, 'sections')} each" for n in needed}
    return text.rename(columns=columns, index="{:.3g}".format).rename_axis(index="true difference", columns=None)


def spread_sentences(spread: Spread, mistaken: pd.DataFrame) -> str:
    """Whose spread it is, and what a test over sections does with it, in Markdown.

    `mistaken` is what `powers` returns for no difference at all, over both units.
    """
    wrong = mistaken.set_index("unit")["rate"]
    five, six = (2 * 0.5**n for n in (5, 6))
    return (
        f"Patients needed for a power of 80 %. The spread is that of {spread.source} "
        f"({spread.n_total} sections of {spread.n_patients} patients): standard deviation {spread.sd_patients:.3f} "
        f"between patients, {spread.sd_sections:.3f} between sections of one. More sections of a patient do not stand "
        "in for patients: they average only the second. "
        "Under six patients no difference, however large, reaches p ≤ 0.05 two-sided: the least is "
        f"{five:.4f} with five and {six:.3f} with six. "
        f"Were there no difference at all, a test over the {spread.n_patients * spread.n_sections} sections of "
        f"{spread.n_patients} such patients would find one in **{wrong['section']:.0%}** of cohorts, "
        f"and a test over patients in {wrong['patient']:.0%}."
    )


def settled_sentence(
    difference: float, needed: float, seen: pd.DataFrame, source: str, most: int = PATIENTS[-1]
) -> str:
    """How many patients would settle the paper's difference, and what this cohort sees of it, in Markdown.

    `needed` is NaN where more than `most` are; `seen` holds this cohort's test of the same difference, as
    `over_patients.tested` returns it, or no row; `source` is that of the spread.
    """
    patients = f"more than {most}" if pd.isna(needed) else f"{needed:.0f}"
    here = ""
    if len(seen):
        test = seen.iloc[0]
        here = (
            f". In this cohort the mean over {counted(int(test['n_patients']), 'patients')} is {test['mean']:.3f} "
            f"(median of {counted(int(test['n_sections']), 'sections')} {test['median']:.3f})"
        )
    least = next(n for n in PATIENTS if paired.wilcoxon(range(1, n + 1))["p_two_sided"] <= LEVEL)
    return (
        f"To find the paper's difference in the coupling to nuclei, {difference:.3f}, with a power of {ENOUGH:.0%} "
        f"takes {patients} patients, if their spread is that of {source}{here}. "
        f"The test is over patients, one number each; under {least} of them it cannot reject at {LEVEL:.0%}."
    )
