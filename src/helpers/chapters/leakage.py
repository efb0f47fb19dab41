"""How much of a score is knowing the patient: differences between trainings with and without sections of the patient.

Takes the tables of fits of `chapters.patients`. Where a function takes `value`, that is the column of scores shown.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.chapters.patients import (
    ALL,
    AWAY,
    EQUAL,
    OWN,
    TRAININGS,
    columns_of,
    median_depth,
)
from helpers.labels import counted, label, of_patients
from helpers.models.backbones import WITHOUT_IMAGE
from helpers.schema import has_cellularity, patients_of
from helpers.scores import paired

KEYS = ["section", "backbone", "target"]


def opening(cohort: str, sections: Mapping[str, AnnData]) -> str:
    """Which cohort the page shows, in Markdown."""
    patient = patients_of(sections)
    with_image = [name for name, section in sections.items() if has_cellularity(section)]
    return (
        f"This page shows: **{cohort}**, {len(sections)} sections, {len(with_image)} of them with an image; patients: "
        f"{len(set(patient.values()))}, {len({patient[name] for name in with_image})} of them with an image."
    )


# Which sections can be compared ---------------------------------------------------------------------------------


def comparable(fits: pd.DataFrame) -> list[str]:
    """Sections that were predicted both with their own patient in training and without."""
    return list(fits.loc[fits["training"] == OWN, "section"].unique())


def left_out(fits: pd.DataFrame) -> list[str]:
    """Sections that cannot be compared: no other section is of the same patient, or none of another."""
    return [name for name in fits["section"].unique() if name not in comparable(fits)]


def patients_compared(fits: pd.DataFrame) -> list[str]:
    """The patients of the sections that can be compared."""
    return sorted(fits.loc[fits["section"].isin(comparable(fits)), "patient"].unique())


def comparable_sentence(fits: pd.DataFrame) -> str:
    """Which sections can be compared, and which cannot and why, in Markdown."""
    kept, others = comparable(fits), left_out(fits)
    text = f"**{len(kept)} of {len(kept) + len(others)}** sections can be compared"
    text += f": {', '.join(kept)}, of {counted(len(patients_compared(fits)), 'patients')}. " if kept else ". "
    if others:
        text += (
            f"Not {', '.join(others)}: for {'them' if len(others) > 1 else 'it'} training holds no other section of "
            "the same patient, or none of another. "
        )
    return text + "{download}`Every fit <results/patients.csv>`."


def training_sizes(fits: pd.DataFrame, sections: Mapping[str, AnnData]) -> pd.DataFrame:
    """The first draw of each training but those at equal depth, as shown: how many sections, spots and counts."""
    first = fits[(fits["draw"] == 0) & ~fits["training"].isin(EQUAL.values())]
    first = first.drop_duplicates(["section", "training"])
    names = first["trained_on"].str.split()
    return pd.DataFrame(
        {
            "held out": first["section"],
            "training": first["training"],
            "sections": names.str.len(),
            "of the same patient": first["n_own"],
            "spots": first["n_spots"],
            "median counts of a training spot": [f"{median_depth(sections, of):,.0f}" for of in names],
        }
    )


# With and without the patient -----------------------------------------------------------------------------------


def metric(fits: pd.DataFrame, k: int) -> tuple[str, str]:
    """The column of scores to show and what it is called: PCC-k, or the mean of a panel that has fewer genes."""
    column = f"pcc_{k}"
    return (column, f"PCC-{k}") if fits[column].notna().any() else ("pcc_all", "mean PCC of the panel")


def over_draws(fits: pd.DataFrame, k: int) -> pd.DataFrame:
    """Scores averaged over draws, indexed by section, backbone, target and training."""
    return fits.groupby([*KEYS, "training"], sort=False)[list(columns_of(k))].mean()


def of_comparable(fits: pd.DataFrame, k: int) -> pd.DataFrame:
    """`over_draws` of the sections that can be compared."""
    means = over_draws(fits, k)
    return means[means.index.get_level_values("section").isin(comparable(fits))]


def difference(compared: pd.DataFrame, own: str = OWN, away: str = AWAY) -> pd.DataFrame:
    """Scores of one training less those of another, of every section, backbone and target that has both."""
    kinds = compared.index.get_level_values("training")
    with_it, without = (compared[kinds == kind].droplevel("training") for kind in (own, away))
    return (with_it - without).dropna(how="all").reset_index()


def of_ridge(compared: pd.DataFrame) -> pd.DataFrame:
    """The scores of ridge by training, in the order of `TRAININGS`; long names on two lines."""
    ridge = compared[compared.index.get_level_values("backbone") == "ridge"].reset_index()
    order = {kind: i for i, kind in enumerate(TRAININGS)}
    ridge = ridge.sort_values("training", key=lambda kinds: kinds.map(order), kind="stable")
    return ridge.assign(training=ridge["training"].str.replace(", at", ",\nat"))


def gap_sentence(
    compared: pd.DataFrame, patient: Mapping[str, str], target: str, value: str, backbone: str = "ridge"
) -> str:
    """Scores with and without the own patient in one target, their difference and its tests: a line, in Markdown."""
    gap, equal = difference(compared), difference(compared, *EQUAL.values())
    part = gap[(gap["backbone"] == backbone) & (gap["target"] == target)].set_index("section")[value].dropna()
    same = equal.loc[(equal["backbone"] == backbone) & (equal["target"] == target), value].median()
    levels = ["backbone", "target", "training"]
    own, away, full = (compared[value].xs((backbone, target, kind), level=levels).median() for kind in (OWN, AWAY, ALL))
    test, over = paired.wilcoxon(part.to_numpy()), paired.over_patients(part.to_numpy(), part.index.map(patient))
    p = f"p = {over['wilcoxon_p_two_sided']:.2g}, " if np.isfinite(over["permutation_p"]) else ""
    return (
        f"- {label(target)}: {away:.2f} from other patients only, {own:.2f} with the own one, {full:.2f} from all "
        f"other sections; gap **{part.median():+.2f}** (median; {part.min():+.2f} to {part.max():+.2f}), above zero in "
        f"{(part > 0).sum()} of {len(part)} sections; at equal depth **{same:+.2f}**. Over sections taken for "
        f"independent p = {test['p_two_sided']:.2g}, where the smallest possible is {test['smallest_p']:.2g}; "
        f"over patients: {p}{over['note']}."
    )


def strangers_sentence(fits: pd.DataFrame, targets: Sequence[str], value: str, k: int) -> str:
    """What ridge scores on sections without another one of their patient, a sentence each; empty where none is."""
    everywhere = fits[fits["training"] == ALL].groupby("section", sort=False)["n_own"].max()
    means = over_draws(fits, k)[value]
    text = ""
    for name in everywhere.index[everywhere == 0]:
        scores = [
            f"{means[name, 'ridge', target, ALL]:.2f} (nuclei alone {means[name, 'nuclei', target, ALL]:.2f}) in "
            f"{label(target)}"
            for target in targets
        ]
        text += f" For {name} every training is one on other patients: ridge {', '.join(scores)}."
    return text


def ridge_sentences(fits: pd.DataFrame, targets: Sequence[str], k: int) -> str:
    """What ridge gains from the own patient, a line for each target, and what it does on strangers, in Markdown."""
    value, what = metric(fits, k)
    patient = fits.drop_duplicates("section").set_index("section")["patient"]
    compared = of_comparable(fits, k)
    lines = [gap_sentence(compared, patient, target, value) for target in targets] if len(compared) else []
    lines = lines or ["- No section can be compared."]
    return f"`ridge`, {what}:\n\n" + "\n".join(lines) + "\n\n" + strangers_sentence(fits, targets, value, k)


def comparison_sentence(compared: pd.DataFrame, targets: Sequence[str], value: str, what: str) -> str:
    """Whether the patient changes what the study compares: the first target less the second, and ridge less nuclei.

    In Markdown; `what` is the name of the metric.
    """
    if compared.empty or len(targets) < 2:
        return "Nothing can be compared: no section, or one target alone."
    by_target = compared[value].xs("ridge", level="backbone").unstack("target")
    gaps = (by_target[targets[0]] - by_target[targets[1]]).groupby("training").median()
    apart = {kind: gaps[kind] for kind in (OWN, AWAY)}
    wide = compared[value].unstack("backbone")
    excess = (wide["ridge"] - wide["nuclei"]).groupby(["target", "training"]).median()
    over = {(t, kind): excess[t, kind] for t, kind in product(targets, (OWN, AWAY))}
    return (
        f"Medians of the sections' differences. Does it change what the study compares? "
        f"{label(targets[0])} less {label(targets[1])}, {what} of ridge: "
        f"{apart[OWN]:+.2f} with the own patient in training, {apart[AWAY]:+.2f} without. "
        "Excess of ridge over nuclei alone: "
        + ", ".join(f"{label(t)} {over[t, OWN]:+.2f} with and {over[t, AWAY]:+.2f} without" for t in targets)
        + "."
    )


# One section each -----------------------------------------------------------------------------------------------


def one_section_gaps(fits: pd.DataFrame, value: str) -> pd.DataFrame:
    """Scores from a section of the own patient and from one of another, and their gap, means over draws.

    Columns patient, section, backbone, target, the two trainings, gap.
    """
    means = fits.groupby(["patient", *KEYS, "training"], sort=False)[value].mean().unstack()
    means = means.reindex(columns=[OWN, AWAY]).rename_axis(columns=None)
    return means.assign(gap=means[OWN] - means[AWAY]).reset_index()


def of_place(gaps: pd.DataFrame) -> pd.DataFrame:
    """The gaps of place alone, each patient under its name."""
    place = gaps[gaps["backbone"] == "place"]
    return place.assign(patient="patient " + place["patient"])


def one_section_sentence(gaps: pd.DataFrame, backbone: str, target: str) -> str:
    """The gap of one floor and target over all sections and patients: a line, in Markdown."""
    part = gaps[(gaps["backbone"] == backbone) & (gaps["target"] == target)]
    values, patients = part["gap"].to_numpy(), part["patient"].to_numpy()
    test, interval = paired.over_patients(values, patients), paired.bootstrap_patients(values, patients)
    tests = test["note"]
    if np.isfinite(interval["low"]):
        tests = (
            f"mean over patients {interval['mean']:+.3f}, 95 % interval {interval['low']:+.3f} to "
            f"{interval['high']:+.3f}, p = {test['wilcoxon_p_two_sided']:.2g}, where the smallest possible is "
            f"{test['smallest_p']:.2g}; {test['note']}"
        )
    return (
        f"- {label(backbone)}, {label(target)}: {part[OWN].median():.2f} from the own patient, "
        f"{part[AWAY].median():.2f} from another, gap **{part['gap'].median():+.3f}** "
        f"(median of {len(part)} sections); {tests}."
    )


def one_section_sentences(gaps: pd.DataFrame, targets: Sequence[str]) -> str:
    """`one_section_sentence` of what needs no image, in every target, in Markdown."""
    none = ["No patient has another section to train on."]
    lines = [one_section_sentence(gaps, *both) for both in product(WITHOUT_IMAGE, targets)] if len(gaps) else none
    return "\n".join(lines) + "\n\n{download}`Every fit on one section <results/patients_one_section.csv>`."


def answer(fits: pd.DataFrame, gaps: pd.DataFrame, targets: Sequence[str], k: int) -> str:
    """What ridge, and place alone on one section, gain from the own patient, target by target (Markdown).

    `fits` are those at equal size, `gaps` is what `one_section_gaps` returns.
    """
    value, what = metric(fits, k)
    ridge = difference(of_comparable(fits, k)).query("backbone == 'ridge'")
    said = "No section of this cohort can be compared: training holds none of its patient, or none of another."
    if len(ridge):
        patient = dict(zip(fits["section"], fits["patient"], strict=True))
        said = (
            f"{what} of `ridge` with the own patient in training less that with other patients only{_others(fits)}, at "
            f"equal size, medians over {of_patients(ridge['section'], patient)}: {_gaps(ridge, targets, value)}; "
            f"{_tested(ridge.assign(patient=ridge['section'].map(patient)), value)}."
        )
    place = gaps[gaps["backbone"] == "place"]
    if len(place):
        patient = dict(zip(place["section"], place["patient"], strict=True))
        said += (
            " Place alone, trained on one section of the own patient less one of another, medians over "
            f"{of_patients(place['section'], patient)}: {_gaps(place, targets, 'gap')}; {_tested(place, 'gap')}."
        )
    return said


def _others(fits: pd.DataFrame) -> str:
    """The one section that every training on other patients is, where it is one."""
    of = fits[(fits["training"] == AWAY) & fits["section"].isin(comparable(fits))]
    names = {name for trained_on in of["trained_on"] for name in trained_on.split()}
    return f", which is {names.pop()} alone" if len(names) == 1 else ""


def _tested(table: pd.DataFrame, value: str) -> str:
    """The least certain of the targets' tests over patients, or that there are too few; 0 is what no memory gives."""
    parts = [part.dropna(subset=value) for _, part in table.groupby("target", sort=False)]
    tests = [paired.over_patients(part[value].to_numpy(), part["patient"].to_numpy()) for part in parts]
    highest = max(test["wilcoxon_p_two_sided"] for test in tests)
    return (
        f"against no gap, over patients, {'' if pd.isna(highest) else f'p at most {highest:.2g}, '}{tests[0]['note']}"
    )


def _gaps(table: pd.DataFrame, targets: Sequence[str], value: str) -> str:
    """The median gap of each target, and in how many sections it is above zero."""
    parts = []
    for target in (name for name in targets if name in set(table["target"])):
        gap = table.loc[table["target"] == target, value].dropna()
        median = f"{round(gap.median(), 2) + 0:+.2f}"
        parts.append(f"**{median}** in {label(target)} (above zero in {(gap > 0).sum()} of {len(gap)})")
    return ", ".join(parts)


# Limits ---------------------------------------------------------------------------------------------------------


def limits(fits: pd.DataFrame) -> str:
    """What these sections cannot say, a line each, in Markdown."""
    of, others = patients_compared(fits), left_out(fits)
    away = fits[fits["training"] == AWAY].drop_duplicates("section").set_index("section")["trained_on"]
    alone = away[away.str.split().str.len() == 1]
    lines = []
    if len(of) < paired.MIN_PATIENTS:
        lines.append(
            f"- {counted(len(of), 'patients')} with an image can be compared: no statement about patients can be "
            "tested on ridge."
        )
    if len(alone):
        lines.append(
            f"- For {', '.join(alone.index)} all training on other patients is one section, "
            f"{' and '.join(sorted(alone.unique()))}: a gap there is that section's, in stain, tissue and quality, as "
            "much as a stranger's."
        )
    if others:
        lines.append(f"- {', '.join(others)}: leakage through sections of the same patient cannot be shown.")
    return "\n".join(lines)
