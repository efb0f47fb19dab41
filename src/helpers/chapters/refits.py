"""How far scores of STEM move when the same fits are trained again elsewhere: what no comparison of two fits can see.

`scripts/refits.py` makes the committed table from two reference runs, each made on a machine of its own.
"""

import pandas as pd

from helpers import labels
from helpers.targets.normalization import RESIDUAL

FIT = ["section", "target", "arm"]
NAMES = {"pcc_50": "PCC-50", "composition": "composition skill"}
COLUMNS = [*FIT, "score", "first", "second"]


def moved(scores: pd.DataFrame) -> pd.DataFrame:
    """The distance of the two scores of each fit: `scores` (COLUMNS) with `moved`, of residuals one score alone."""
    twice = (scores["target"] == RESIDUAL) & (scores["score"] == "composition")  # the same number as PCC-50
    return scores[~twice].assign(moved=lambda table: (table["second"] - table["first"]).abs())


def answer(scores: pd.DataFrame) -> str:
    """How far either score moved, in the median fit and at most, in a clause."""
    by = moved(scores).groupby("score", sort=False)["moved"].agg(["median", "max", "size"]).loc[list(NAMES)]
    parts = [
        f"{NAMES[row.Index]} of {labels.counted(row.size, 'fits')} by a median of {row.median:.2f} and at most "
        f"{row.max:.2f}"
        for row in by.itertuples()
    ]
    return f"trained again on another machine, it moved in {' and in '.join(parts)}"


def remark(scores: pd.DataFrame) -> str:
    """What was trained twice, and how far it lies apart (Markdown)."""
    table = moved(scores)
    fits = labels.counted(len(table.drop_duplicates(FIT)), "fits")
    sections = labels.counted(scores["section"].nunique(), "sections")
    parts = []
    for (target, score), part in table.groupby(["target", "score"], sort=False):
        far = part.loc[part["moved"].idxmax()]
        ends = f"{far['section']}, `{far['arm']}`, {far['first']:.3f} and {far['second']:.3f}"
        parts.append(
            f"- {NAMES[score]} of {labels.label(target)}: median {part['moved'].median():.3f}, "
            f"at most {part['moved'].max():.3f} ({ends})."
        )
    lines = "\n".join(parts)
    return (
        f"{fits} of the HER2 cohort, with {sections} held out in turn, were trained again with the same code, data and "
        f"seeds on another machine. Between the two the same score moved:\n\n{lines}\n\n"
        "So a smaller difference between two fits says nothing of their recipes or targets. Composition is learned "
        "last (see the steps above); PCC-50 of log does not show whether it was."
    )
