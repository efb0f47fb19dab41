"""What a reviewer would ask of predictions: one function a flag, and the sentence to paste.

A flag judges what the model knows, whichever space it predicts in. It is raised (True), not raised (False), or cannot
be told (None). A score that is no more than chance, or than its own library, is one in at least half of the sections; a
floor beats the model in more than half; a fault of the data is one in any of them.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.audit.summary import UNSEEN, headline
from helpers.labels import counted
from helpers.scores import paired
from helpers.targets import normalization

RECOGNIZED = 0.999  # correlation above which a given target is the same as one of ours
ALIKE = 0.01  # of a score: two that differ by less are printed alike, or nearly so
ABOVE_CEILING = 0.03  # ceilings of known truth are right to 0.02 in the median gene
SURE = 3  # standard errors of a gain: the best of up to 18 shifts is looked at
KEPT = 0.94  # mean r of residuals with what a conversion makes of a perfect prediction of the same genes

Verdict = tuple[bool | None, str]


class Evidence(NamedTuple):
    """What flags are judged by: the headline, a row a section, the target that was given, and what was said."""

    summary: Mapping
    by: pd.DataFrame
    target: tuple[dict | None, str]
    panel_chosen_on: str


class Flag(NamedTuple):
    """What may be wrong: a new flag is one more of FLAGS."""

    id: str  # in audit.json
    name: str  # on the card
    question: str  # of the card's checklist, that it answers
    judge: Callable[[Evidence], Verdict]
    advice: str  # where it is not clear


def flags(report: Mapping, panel_chosen_on: str) -> list[dict]:
    """Every flag of FLAGS: its id, `raised` (True, False, or None where it cannot be told), and what it says."""
    by = evidence_by_section(report, report["summary"]["space"])
    case = Evidence(report["summary"], by, target_in_words(report["targets"]), panel_chosen_on)
    return [dict(zip(("id", "raised", "says"), (flag.id, *flag.judge(case)), strict=True)) for flag in FLAGS]


def evidence_by_section(report: Mapping, space: str) -> pd.DataFrame:
    """The evidence of each section beside its score, skills and floors in the model's own space, as the card has them.

    A prediction that is the same everywhere has no score: `score` is 0 there, `pcc` NaN.
    """
    own = headline(report["scores"], space).set_index("section")[["pcc", "chance_95", "ceiling"]]
    table = report["evidence"].set_index("section").join(own)
    if len(report["skills"]):
        table = table.join(report["skills"].set_index("section").drop(columns="k"))
    for floor, rows in headline(report["floors"], space).groupby("floor"):
        table = table.join(rows.set_index("section")[["pcc", "chance_95"]].add_prefix(f"{floor}_"))
    return table.assign(score=table["pcc"].fillna(0.0))


# What the model knows -------------------------------------------------------------------------------------------


def no_composition(case: Evidence) -> Verdict:
    """Whether nothing is left of the score once the predicted library is divided out."""
    if unclear := not_converted(case):
        return None, unclear
    skill, chance = case.by["composition"], case.by["composition_chance_95"]
    return in_half(within := ~(skill > chance)), (
        f"composition skill {said(skill)} (95 % of chance {said(chance)}); within its chance {sections(within)}"
    )


def own_library(case: Evidence) -> Verdict:
    """Whether the score is no more than that of the model's own library, one composition in all spots."""
    if not normalization.TARGETS[case.summary["space"]].holds_depth:
        return None, f"predictions in {case.summary['space']} hold no library"
    if unclear := not_converted(case):
        return None, unclear
    alone = case.by["own_library"].fillna(0.0)
    # A score that is within chance is no more than anything.
    no_more = (case.by["score"] <= alone + ALIKE) | ~(case.by["pcc"] > case.by["chance_95"])
    return in_half(no_more), (
        f"PCC-{case.summary['k']} {said(case.by['pcc'])}; the library that it predicts, with one composition in all "
        f"spots, {said(case.by['own_library'])}{of_score(case.by['own_library'], case.by['pcc'])} (95 % of chance "
        f"{said(case.by['own_library_chance_95'])}); no more than that {sections(no_more)}"
    )


def beaten_by_nuclei(case: Evidence) -> Verdict:
    """Whether the nuclei, or the stain, score as much; depth was measured on the spot itself and decides nothing."""
    found = [beaten_by(case, floor) for floor in ("nuclei", "haematoxylin") if f"{floor}_pcc" in case.by]
    if not found:
        return None, "neither the nuclei nor an image was given"
    return any(raised for raised, _ in found), "; ".join(words for _, words in found)


def beaten_by_place(case: Evidence) -> Verdict:
    """Whether a smooth function of the place in the section, fitted on the other sections, scores as much."""
    return beaten_by(case, "place")


def beaten_by(case: Evidence, floor: str) -> Verdict:
    """Whether a floor scores as much as the model; of two that are within their chance neither beats the other."""
    alone, chance = case.by[f"{floor}_pcc"], case.by[f"{floor}_chance_95"]
    some_score = (alone > chance) | (case.by["pcc"] > case.by["chance_95"])
    beaten = some_score & (case.by["score"] <= alone + ALIKE)
    return in_most(beaten), (
        f"PCC-{case.summary['k']} {said(case.by['pcc'])}, {floor} alone {said(alone)}{of_score(alone, case.by['pcc'])} "
        f"(95 % of chance {said(chance)}, {floor} above it {sections(alone > chance)}); no more than {floor} "
        f"{sections(beaten)}"
    )


def chance(case: Evidence) -> Verdict:
    """Whether the score is within that of spatially randomized predictions."""
    within = ~(case.by["pcc"] > case.by["chance_95"])
    return in_half(within), (
        f"PCC-{case.summary['k']} {said(case.by['pcc'])}, 95 % of spatially randomized predictions reach "
        f"{said(case.by['chance_95'])}; within that {sections(within)}"
    )


# Faults of the data ---------------------------------------------------------------------------------------------


def misplaced(case: Evidence) -> Verdict:
    """Whether predictions score more, and above chance, when moved by one to three steps of the lattice."""
    known = case.by[case.by["shift_gain"].notna()]
    if not len(known):
        return None, "no shift can be scored: predictions are the same everywhere, or spots lie on no lattice"
    off = (known["shift_gain"] > SURE * known["shift_error"]) & (known["shift_pcc"] > known["chance_95"])
    best = known.loc[(known["shift_gain"] / known["shift_error"]).where(off, -np.inf).idxmax()] if off.any() else None
    best = known.loc[known["shift_gain"].idxmax()] if best is None else best
    return bool(off.any()), (
        f"moved by {counted(int(best['shift']), 'steps')} it gains {best['shift_gain']:+.3f} "
        f"(standard error {best['shift_error']:.3f}); better beside its spots {sections(off)}"
    )


def impossible(case: Evidence) -> Verdict:
    """Whether predictions equal the measurement, or know what only counting noise can say."""
    same, above = case.by["same_as"] != "", case.by["above_ceiling"] > ABOVE_CEILING
    words = f"the median gene lies {said(case.by['above_ceiling'], '+.3f')} from its noise ceiling"
    if same.any():
        words = f"predictions equal the measured {case.by.loc[same, 'same_as'].iloc[0]} {sections(same)}; {words}"
    return bool((same | above).any()), f"{words}; above it by more than {ABOVE_CEILING} {sections(above)}"


def space(case: Evidence) -> Verdict:
    """Whether the values of the predictions belie the space that they are said to be in."""
    doubts = case.by["doubts"][case.by["doubts"] != ""]
    return bool(len(doubts)), doubts.iloc[0] if len(doubts) else f"values are such as {case.summary['space']} has"


def not_umi(case: Evidence) -> Verdict:
    """Whether the counts are no numbers of molecules: ceilings, residuals and the twin rest on their noise."""
    reasons = case.by["not_umi"][case.by["not_umi"] != ""]
    says = f"counts of {counted(len(reasons), 'sections')}: {reasons.iloc[0]}" if len(reasons) else "counts may be UMI"
    return bool(len(reasons)), says


def few_genes(case: Evidence) -> Verdict:
    """Whether too few genes are predicted for their sum to stand for the library."""
    if not normalization.TARGETS[case.summary["space"]].holds_depth:
        return False, f"no library is summed from predictions in {case.summary['space']}"
    kept = case.by["kept_by_conversion"]
    return bool(~(kept.median() >= KEPT)), (
        f"{counted(case.summary['n_genes'], 'genes')}; were they predicted perfectly, residuals made of them would "
        f"correlate with the measured ones by {said(kept)} on average ({KEPT} is wanted)"
    )


def panel_leak(case: Evidence) -> Verdict:
    """Whether the held-out section took part in choosing the genes, as stated."""
    raised = {"all": True, "training": False, "unknown": None}[case.panel_chosen_on]
    return raised, f"genes chosen on: {case.panel_chosen_on}, as stated"


def smoothed_target(case: Evidence) -> Verdict:
    """Whether the target given is one that we know, averaged over neighbouring spots."""
    known, words = case.target
    return known and bool(known["smoothed"]), words


def panel_library(case: Evidence) -> Verdict:
    """Whether the target given divides by the sum over the panel, or the counts hold no other genes."""
    known, words = case.target
    if (alone := case.by["only_panel"].astype(bool)).any():
        return True, (
            f"the counts hold the predicted genes alone {sections(alone)}: libraries, residuals and ceilings are of "
            f"these; give the counts of all genes"
        )
    return known and known["library"] == "panel", words


def not_converted(case: Evidence) -> str:
    """Why a conversion to counts says nothing here, in words; "" where it does."""
    if space(case)[0]:
        return "the space is in doubt: nothing is made of the predictions before it is settled"
    return "too few genes to say which library is predicted" if few_genes(case)[0] else ""


def in_half(raised: pd.Series) -> bool:
    """Whether it is so in at least half of the sections."""
    return bool(raised.mean() >= 0.5)


def in_most(raised: pd.Series) -> bool:
    """Whether it is so in more than half of the sections: where as many say the other, neither has won."""
    return bool(raised.mean() > 0.5)


def sections(which: pd.Series) -> str:
    """In how many of the sections, in words."""
    return f"in {which.sum()} of {counted(len(which), 'sections')}"


def said(values: pd.Series, form: str = ".3f") -> str:
    """The median over sections in words; a prediction that is the same everywhere has none."""
    value = float(values.median()) if values.notna().any() else np.nan
    return "undefined (constant)" if np.isnan(value) else format(value, form)


def of_score(alone: pd.Series, score: pd.Series) -> str:
    """How near a flag that is clear may be: the share of a score that something else reaches, medians, in words."""
    known = alone.notna().any() and score.notna().any() and score.median() > 0
    return f", {alone.median() / score.median():.0%} of it" if known else ""


FLAGS: tuple[Flag, ...] = (
    Flag(
        "no_composition",
        "no composition",
        "Does the model know which genes are there, beside how many molecules?",
        no_composition,
        "call it a prediction of how many molecules a spot holds",
    ),
    Flag(
        "own_library",
        "no more than its own library",
        "Does it score more than the library that it predicts?",
        own_library,
        "report library and composition skill, not the score alone",
    ),
    Flag(
        "beaten_by_nuclei",
        "beaten by nuclei",
        "Does one number per spot, the count of nuclei, predict as well?",
        beaten_by_nuclei,
        "report the excess over this floor, not the score alone",
    ),
    Flag(
        "beaten_by_place",
        "beaten by place",
        "Does the place in the section predict as well?",
        beaten_by_place,
        "report the excess over this floor, for patients that were not trained on",
    ),
    Flag(
        "chance",
        "no better than chance",
        "Is the score above that of a spatially randomized prediction?",
        chance,
        "nothing else on this card says anything about such predictions",
    ),
    Flag(
        "misplaced",
        "better beside its spots",
        "Do the predictions lie on their spots?",
        misplaced,
        "check how spots, patches and rows of the table were joined",
    ),
    Flag(
        "impossible",
        "impossible",
        "Is the score one that counting noise allows?",
        impossible,
        "look for the test section in training, or its counts among the predictions",
    ),
    Flag(
        "space",
        "space in doubt",
        "Are the predictions in the space that is named?",
        space,
        "give --space as the predictions are, or undo their scaling",
    ),
    Flag(
        "not_umi",
        "counts not UMI",
        "Are the counts numbers of molecules?",
        not_umi,
        "give the raw counts of molecules",
    ),
    Flag(
        "few_genes",
        "too few genes",
        "Are there genes enough to divide by the library that they predict?",
        few_genes,
        "predict more genes, or score in a space that is free of the library",
    ),
    Flag(
        "panel_leak",
        "panel chosen with the test section",
        "Did the held-out section take part in choosing the genes?",
        panel_leak,
        "choose the genes from training sections, or say that the test section took part",
    ),
    Flag(
        "smoothed_target",
        "target smoothed",
        "Is the measured target smoothed or corrected with the test section's neighbours?",
        smoothed_target,
        "score against the counts as measured; smoothing lends a spot its neighbours' values",
    ),
    Flag(
        "panel_library",
        "library over the panel only",
        "Over which genes is the library size summed?",
        panel_library,
        "divide by all genes of a spot; the sum over a panel is itself biology",
    ),
)
# Questions of a reviewer, each with the flag that answers it; the first and the last are for the authors.
CHECKLIST = (
    ("Is it said which quantity is predicted: molecules per area, per cell, or composition?", None),
    *((flag.question, flag.id) for flag in FLAGS),
    ("Were other sections of the same patients trained on, and are sections treated as independent?", None),
)


def target_in_words(recognized: pd.DataFrame) -> tuple[dict | None, str]:
    """What the target that the model was scored against is, where it was given and is one that we know, in words."""
    if not len(recognized):
        return None, "the target that the model was scored against was not given"
    recognized = recognized.dropna(subset="correlation")
    if not len(recognized):
        return None, "the target that was given is the same in every spot"
    best = recognized.loc[recognized.groupby("section")["correlation"].idxmax()]
    first = best.sort_values("correlation").iloc[0].to_dict()
    library = {"all": ", divided by all genes of a spot", "panel": ", divided by the panel's sum", "none": ""}
    words = first["method"] + library[first["library"]] + ", smoothed over neighbours" * first["smoothed"]
    if first["correlation"] < RECOGNIZED:
        return None, f"the target is none that we know; the nearest is {words} (r {first['correlation']:.3f})"
    return first, f"the target is {words}"


# The sentence to paste ------------------------------------------------------------------------------------------


def sentence(summary: Mapping) -> str:
    """What to paste into a paper; every number computed, each score with its null and its ceiling."""
    patients = f" of {counted(summary['n_patients'], 'patients')}" if summary["n_patients"] else ""
    parts = [
        f"On {counted(summary['n_sections'], 'held-out sections')}{patients} ({counted(summary['n_spots'], 'spots')}, "
        f"{counted(summary['n_genes'], 'genes')}) the mean Pearson correlation of the {summary['k']} best predicted "
        f"genes is {score_in_words(summary['pcc'], summary['chance'], summary['ceiling'])} in the space of "
        f"{summary['space']}.",
        over_floors(summary),
    ]
    for skill, of in (("library", "how many molecules a spot holds"), ("composition", "which genes these are")):
        value = (summary[f"{skill}_skill{end}"] for end in ("", "_chance_95", "_ceiling"))
        parts.append(f"{skill.capitalize()} skill ({of}) is {score_in_words(*value)}.")
    return " ".join(parts)


def score_in_words(value: float | None, chance_95: float | None, ceiling: float | None) -> str:
    """A score in words, with the 95 % point of its chance and its noise ceiling, as far as they are known."""
    beside = [
        f"{what} {number:.2f}"
        for what, number in (("95 % of chance", chance_95), ("noise ceiling", ceiling))
        if number is not None
    ]
    return ("undefined" if value is None else f"{value:.2f}") + f" ({', '.join(beside)})" * bool(beside)


def over_floors(summary: Mapping) -> str:
    """The excess over nuclei and place in words, with how many patients or sections, and what these cannot test."""
    floors = [(floor, summary[f"excess_{floor}"]) for floor in UNSEEN]
    of = counted(summary["n_units"], summary["unit"])
    words = " and ".join(
        f"{signed(value)} over {floor} alone ({signed(summary[f'excess_{floor}_least'])} to "
        f"{signed(summary[f'excess_{floor}_most'])})"
        for floor, value in floors
        if value is not None
    )
    fitted = "fitted on the other sections" if summary["n_sections"] > 1 else "fitted on the rest of the section"
    if summary["unit"] == "patients" and summary["n_units"] > 1:
        fitted = "fitted on other patients, which flatters a model trained on others of the same one"
    said = f"No floor has a score in {of}"
    if words:
        said = f"Its excess is {words}, floors {fitted}, the median and range of {of}"
    if summary["unit"] == "sections":
        return f"{said}; patients are not known, so nothing is said of other patients."
    if summary["n_units"] < paired.MIN_PATIENTS:
        return f"{said}, too few for a test over patients."
    return f"{said}."


def signed(value: float) -> str:
    """A difference to two digits with its sign; nothing is less than nothing.

    >>> signed(-0.0006), signed(-0.12)
    ('+0.00', '-0.12')
    """
    return f"{round(value, 2) + 0.0:+.2f}"
