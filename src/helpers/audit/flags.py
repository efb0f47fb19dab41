"""What a reviewer would ask of predictions: one function a flag, and the sentence to paste."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.audit.summary import FLOORS, headline
from helpers.scores import paired

RECOGNIZED = 0.999  # correlation above which a given target is the same as one of ours


class Evidence(NamedTuple):
    """What flags are judged by: the headline, its rows by section on real counts and on the twin, and what was said."""

    summary: Mapping
    own: pd.DataFrame
    twin: pd.DataFrame
    target: tuple[dict | None, str]
    panel_chosen_on: str


def flags(report: Mapping, panel_chosen_on: str) -> list[dict]:
    """Every flag: its name, raised (True), not raised (False) or not to be told (None), the evidence and an advice."""
    summary = report["summary"]
    own, twin = (headline(report[table], summary["space"]).set_index("section") for table in ("scores", "twin"))
    evidence = Evidence(summary, own, twin, target_in_words(report["targets"]), panel_chosen_on)
    return [
        dict(zip(("flag", "raised", "evidence", "advice"), (name, *of(evidence), advice), strict=True))
        for name, of, advice in FLAGS
    ]


def beaten_by_one_number(case: Evidence) -> tuple[bool | None, str]:
    """Whether nuclei, stain or depth alone score more than the model."""
    summary = case.summary
    known = {floor: summary[floor] for floor in FLOORS if summary[floor] is not None}
    oracle = {"depth": " (measured on the spot: an oracle)"}
    alone = "; ".join(f"{floor} alone {value:.3f}{oracle.get(floor, '')}" for floor, value in known.items())
    missing = "" if "nuclei" in known else "; neither the nuclei nor an image was given"
    scores = [*known.values(), summary["pcc"]]
    raised = None if np.isnan(scores).any() else bool(max(known.values()) > summary["pcc"])
    return raised, f"PCC-{summary['k']} {summary['pcc']:.3f} in its own space; {alone}{missing}"


def skill_on_twin(case: Evidence) -> tuple[bool | None, str]:
    """Whether it scores above chance where spots differ in depth alone, in more than half of the sections."""
    twin, skilled = case.twin, case.twin["pcc"] > case.twin["chance_95"]
    return (
        None if twin["pcc"].isna().all() else bool(skilled.mean() > 0.5),
        f"on counts redrawn so that spots differ in depth alone, PCC-{case.summary['k']} is "
        f"{twin['pcc'].median():.3f} (chance {twin['chance_95'].median():.3f}, on the real counts "
        f"{case.own['pcc'].median():.3f}); above chance in "
        f"{skilled.sum()} of {len(skilled)} sections",
    )


def no_better_than_chance(case: Evidence) -> tuple[bool | None, str]:
    """Whether it scores above chance in fewer than half of the sections."""
    above = case.own["pcc"] > case.own["chance_95"]
    return (
        None if case.own["pcc"].isna().all() else bool(above.mean() < 0.5),
        f"above 95 % of spatially randomized predictions in {above.sum()} of {len(above)} sections",
    )


def panel_chosen_with_test(case: Evidence) -> tuple[bool | None, str]:
    """Whether the held-out section took part in choosing the genes, as stated."""
    raised = {"all": True, "training": False, "unknown": None}[case.panel_chosen_on]
    return raised, f"genes chosen on: {case.panel_chosen_on}, as stated"


def target_smoothed(case: Evidence) -> tuple[bool | None, str]:
    """Whether the target given is one that we know, averaged over neighbouring spots."""
    known, words = case.target
    return known and known["smoothed"], words


def library_of_panel(case: Evidence) -> tuple[bool | None, str]:
    """Whether the target given divides by the sum over the panel."""
    known, words = case.target
    return known and known["library"] == "panel", words


def genes_without_score(case: Evidence) -> tuple[bool | None, str]:
    """Whether some gene has no correlation."""
    n = int(case.own["n_undefined"].max())
    return n > 0, f"up to {n} genes of a section are constant, in the prediction or as measured: no correlation"


def too_few_patients(case: Evidence) -> tuple[bool | None, str]:
    """Whether patients are too few for a test; patients that are not known are no more than the sections."""
    n_patients, n_sections = case.summary["n_patients"], case.summary["n_sections"]
    raised = True if (n_patients or n_sections) < paired.MIN_PATIENTS else False if n_patients else None
    return raised, f"sections: {n_sections}, patients: {n_patients or 'not known'}"


# Name, function, advice where it is raised or open. A new flag is one entry here.
FLAGS: tuple[tuple[str, Callable[[Evidence], tuple[bool | None, str]], str], ...] = (
    (
        "beaten by one number per spot",
        beaten_by_one_number,
        "report the excess over these floors, not the score alone",
    ),
    (
        "skill on the depth-only twin",
        skill_on_twin,
        "score in a space that is free of depth as well, and show this number",
    ),
    (
        "no better than chance",
        no_better_than_chance,
        "nothing else on this card says anything about such predictions",
    ),
    (
        "panel chosen with the test section",
        panel_chosen_with_test,
        "choose the genes from training sections, or say that the test section took part",
    ),
    (
        "target smoothed",
        target_smoothed,
        "score against the counts as measured; smoothing lends a spot its neighbours' values",
    ),
    (
        "library size over the panel only",
        library_of_panel,
        "divide by all genes of a spot; the sum over a panel is itself biology",
    ),
    (
        "genes without a score",
        genes_without_score,
        "say how many genes were left out, and why",
    ),
    (
        "too few patients for a test",
        too_few_patients,
        f"with fewer than {paired.MIN_PATIENTS} patients give the values of each section and no p",
    ),
)


def or_undefined(score: float) -> str:
    """A score in words: a prediction of depth alone is constant once depth is divided out, and has none."""
    return "undefined (constant)" if np.isnan(score) else f"{score:.2f}"


def what_is_left(partial: float) -> str:
    """A partial correlation in words; it is undefined where the covariates say all that the prediction does."""
    return "nothing" if np.isnan(partial) else f"a correlation of {partial:.2f}"


def target_in_words(recognized: pd.DataFrame) -> tuple[dict | None, str]:
    """What the target that the model was scored against is, where it was given and is one that we know, in words."""
    if not len(recognized):
        return None, "the target that the model was scored against was not given"
    best = recognized.loc[recognized.groupby("section")["correlation"].idxmax()]
    first = best.sort_values("correlation").iloc[0].to_dict()
    library = {"all": ", divided by all genes of a spot", "panel": ", divided by the panel's sum", "none": ""}
    words = first["method"] + library[first["library"]] + ", smoothed over neighbours" * first["smoothed"]
    if first["correlation"] < RECOGNIZED:
        return None, f"the target is none that we know; the nearest is {words} (r {first['correlation']:.3f})"
    return first, f"the target is {words}"


def sentence(summary: Mapping) -> str:
    """What to paste into a paper; every number computed."""
    k, parts = summary["k"], []
    parts.append(
        f"On {summary['n_sections']} held-out section{'s' * (summary['n_sections'] > 1)} "
        f"({summary['n_spots']:,} spots, {summary['n_genes']} genes) the mean Pearson correlation of the {k} best "
        f"predicted genes is {summary['pcc']:.2f} in the space of {summary['space']} "
        f"({summary['pcc'] / summary['ceiling']:.0%} of the noise ceiling) and "
        f"{or_undefined(summary['residual_pcc'])} in that of Pearson residuals."
    )
    if summary["nuclei"] is not None:
        parts.append(
            f"The number of nuclei alone reaches {summary['nuclei']:.2f}, an excess of "
            f"{summary['pcc'] - summary['nuclei']:+.2f}; "
            f"the median gene keeps {what_is_left(summary['given_both'])} given nuclei and depth."
        )
    else:
        parts.append(f"The median gene keeps {what_is_left(summary['given_depth'])} given sequencing depth.")
    parts.append(f"On counts in which spots differ in depth alone it reaches {summary['twin']:.2f}.")
    return " ".join(parts)


CHECKLIST = [  # question of a reviewer, flag that answers it
    ("Is it said which quantity is predicted: molecules per area, per cell, or composition?", None),
    ("Does one number per spot, the count of nuclei or the depth, predict as well?", "beaten by one number per spot"),
    ("Would the score vanish if spots differed in depth alone?", "skill on the depth-only twin"),
    ("Is the score above that of a spatially randomized prediction?", "no better than chance"),
    ("Did the held-out section take part in choosing the genes?", "panel chosen with the test section"),
    ("Is the measured target smoothed or corrected with the test section's neighbours?", "target smoothed"),
    ("Over which genes is the library size summed?", "library size over the panel only"),
    ("How many genes have no score?", "genes without a score"),
    ("Are sections of one patient treated as independent?", "too few patients for a test"),
]
