"""What a reviewer would ask of predictions: one function a flag, and the sentence to paste."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.audit.summary import FLOORS, headline
from helpers.scores import paired

pass
RECOGNIZED = 0.999  # correlation above which a given target is the same as one of ours


def flags(report: Mapping, panel_chosen_on: str) -> list[dict]:
    """What a reviewer would ask, each raised (True), not raised (False) or not to be told from the input (None)."""
    summary, k = report["summary"], report["summary"]["k"]
    found = []

    def flag(name: str, raised: bool | None, evidence: str, advice: str) -> None:
        found.append({"flag": name, "raised": raised, "evidence": evidence, "advice": advice})

    def over(score: float, other: float) -> bool | None:
        return None if np.isnan([score, other]).any() else bool(score > other)

    known = {floor: summary[floor] for floor in FLOORS if summary[floor] is not None}
    oracle = {"depth": " (measured on the spot: an oracle)"}
    words = "; ".join(f"{floor} alone {value:.3f}{oracle.get(floor, '')}" for floor, value in known.items())
    flag(
        "beaten by one number per spot",
        over(max(known.values()), summary["pcc"]),
        f"PCC-{k} {summary['pcc']:.3f} in its own space; {words}"
        + ("" if "nuclei" in known else "; neither the nuclei nor an image was given"),
        "report the excess over these floors, not the score alone",
    )
    twin, own = (headline(report[table], summary["space"]).set_index("section") for table in ("twin", "scores"))
    skilled = twin["pcc"] > twin["chance_95"]
    flag(
        "skill on the depth-only twin",
        None if twin["pcc"].isna().all() else bool(skilled.mean() > 0.5),
        f"on counts redrawn so that spots differ in depth alone, PCC-{k} is {twin['pcc'].median():.3f} "
        f"(chance {twin['chance_95'].median():.3f}, on the real counts {own['pcc'].median():.3f}); above chance in "
        f"{skilled.sum()} of {len(skilled)} sections",
        "score in a space that is free of depth as well, and show this number",
    )
    above = own["pcc"] > own["chance_95"]
    flag(
        "no better than chance",
        None if own["pcc"].isna().all() else bool(above.mean() < 0.5),
        f"above 95 % of spatially randomized predictions in {above.sum()} of {len(own)} sections",
        "nothing else on this card says anything about such predictions",
    )
    flag(
        "panel chosen with the test section",
        {"all": True, "training": False, "unknown": None}[panel_chosen_on],
        f"genes chosen on: {panel_chosen_on}, as stated",
        "choose the genes from training sections, or say that the test section took part",
    )
    known, said = _target(report["targets"])
    flag(
        "target smoothed",
        known and known["smoothed"],
        said,
        "score against the counts as measured; smoothing lends a spot its neighbours' values",
    )
    flag(
        "library size over the panel only",
        known and known["library"] == "panel",
        said,
        "divide by all genes of a spot; the sum over a panel is itself biology",
    )
    undefined = int(own["n_undefined"].max())
    flag(
        "genes without a score",
        undefined > 0,
        f"up to {undefined} genes of a section are constant, in the prediction or as measured: no correlation",
        "say how many genes were left out, and why",
    )
    # Patients that are not known are no more than the sections.
    most = summary["n_patients"] or summary["n_sections"]
    flag(
        "too few patients for a test",
        True if most < paired.MIN_PATIENTS else False if summary["n_patients"] else None,
        f"sections: {summary['n_sections']}, patients: {summary['n_patients'] or 'not known'}",
        f"with fewer than {paired.MIN_PATIENTS} patients give the values of each section and no p",
    )
    return found


def _or_undefined(score: float) -> str:
    """A prediction of depth alone is constant once depth is divided out: it has no correlation."""
    return "undefined (constant)" if np.isnan(score) else f"{score:.2f}"


def _target(recognized: pd.DataFrame) -> tuple[dict | None, str]:
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
        f"{_or_undefined(summary['residual_pcc'])} in that of Pearson residuals."
    )
    if summary["nuclei"] is not None:
        parts.append(
            f"The number of nuclei alone reaches {summary['nuclei']:.2f}, an excess of "
            f"{summary['pcc'] - summary['nuclei']:+.2f}; "
            f"the median gene keeps a correlation of {summary['given_both']:.2f} given nuclei and depth."
        )
    else:
        parts.append(f"The median gene keeps a correlation of {summary['given_depth']:.2f} given sequencing depth.")
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
