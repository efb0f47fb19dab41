"""What STEM scores at about its published size, fold by fold: whether a small network is what holds it back.

`scripts/published_size.py` makes the committed tables; it needs a GPU.
"""

import pandas as pd

from helpers import labels
from helpers.targets.normalization import RESIDUAL

NAMES = {"pcc": "PCC-50", "composition": "composition skill"}
COLUMNS = ["model", "target", "held_out", "patient", "steps", "seed", "step", "spot_views"]
COLUMNS += [score + column for score in NAMES for column in ("", "_chance_95")]
LARGE = "published size"
SAME = (RESIDUAL, "pcc")  # as the composition skill
SCORED = [LARGE, "chance, 95 %", "STEM as elsewhere", "ridge"]  # columns of `beside` that are scores
APART = "trainings apart"
CHOSEN_ON = "C3"  # how many steps the short training has was read off the scores of this fold: it is not counted
PARAMETERS, VIEWS = 35.7, 64  # of STEM as published, in millions


def in_short(scores: pd.DataFrame) -> pd.DataFrame:
    """The shortest training, which every fold has: a row a fold, target, model and seed, its score at the end."""
    short = scores[scores["steps"] == scores["steps"].min()]
    ended = short["model"].ne(LARGE) | short["step"].eq(short["steps"])
    return short[ended].reset_index(drop=True)


def longest(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of the longest training."""
    return scores[scores["steps"] == scores["steps"].max()].reset_index(drop=True)


def remark(scores: pd.DataFrame, parameters: int) -> str:
    """What was trained, in how many folds it scores more than ridge, and how far two trainings lie apart (Markdown)."""
    short, table = in_short(scores), beside(scores)
    folds, large = short.drop_duplicates("held_out"), short[short["model"] == LARGE]
    above = [
        f"{row['above ridge']} in {row['score']} of {row['target']} ({row['over ridge']})"
        for _, row in table.iterrows()
    ]
    apart = [f"{row[APART]:.3f} in {row['score']} of {row['target']}" for _, row in table.iterrows()]
    n_trainings = labels.counted(large["seed"].nunique(), "trainings")
    return (
        f"{labels.of_patients(folds['held_out'], folds.set_index('held_out')['patient'])} "
        f"({', '.join(folds['held_out'])}) were held out in turn, with {n_trainings} of each in each target, of "
        f"different first weights and draws, at about the published size ({parameters / 1e6:.1f} million parameters, "
        f"published {PARAMETERS} million) and on {large['spot_views'].iloc[0]:,.0f} spot views (published {VIEWS} "
        f"million). Every training scores more than ridge in {', '.join(above)}; in brackets the least and the highest "
        f"difference of their mean. Two trainings of a fold lie apart by at most {', '.join(apart)}. How many steps it "
        f"takes was read off the scores of {CHOSEN_ON} in a longer training, so {CHOSEN_ON} is not counted here; other "
        "sections of its tumour may still gain from it. Two patients cannot say what holds in others."
    )


def beside(scores: pd.DataFrame) -> pd.DataFrame:
    """Medians over folds of the large network, its chance, the small one and ridge, and in how many it is higher.

    A fold of the large network is the mean of its trainings, and higher where each of them is. Without the fold that a
    choice was made on. A row for each target and score; of residuals they are one number.
    """
    short, rows = in_short(scores).query("held_out != @CHOSEN_ON"), []
    for target, score in _kinds(short):
        of_target = short[short["target"] == target]
        large = of_target[of_target["model"] == LARGE].groupby("held_out")
        by = of_target.pivot_table(index="held_out", columns="model", values=score)
        by["chance"] = large[f"{score}_chance_95"].mean()
        least, highest = large[score].min(), large[score].max()
        above = {name: f"{(least > by[name]).sum()} of {len(by)}" for name in ("chance", "stem", "ridge")}
        middle, less = by.median(), by[LARGE] - by["ridge"]
        rows.append(
            {"target": labels.label(target), "score": NAMES[score], LARGE: middle[LARGE]}
            | {"chance, 95 %": middle["chance"], "STEM as elsewhere": middle["stem"], "ridge": middle["ridge"]}
            | {"above chance": above["chance"], "above STEM": above["stem"], "above ridge": above["ridge"]}
            | {"over ridge": labels.span(less.min(), less.max(), "+.3f"), APART: (highest - least).max()}
        )
    return pd.DataFrame(rows)


def longer(scores: pd.DataFrame) -> pd.DataFrame:
    """What more steps do, a row for each longer training, target and score: first, highest and last of its scores."""
    more = scores[(scores["steps"] > scores["steps"].min()) & (scores["model"] == LARGE)]
    rows = []
    for held_out, fold in more.groupby("held_out"):
        for target, score in _kinds(fold):
            curve = fold[fold["target"] == target].set_index("spot_views")[score].sort_index()
            of = {"held out": held_out, "target": labels.label(target), "score": NAMES[score]}
            ends = {"first": curve.iloc[0], "highest": curve.max(), "last": curve.iloc[-1]}
            rows.append(of | ends | {"spot views of first and last": f"{curve.index[0]:,.0f}, {curve.index[-1]:,.0f}"})
    return pd.DataFrame(rows)


def _kinds(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """Targets with their scores; of residuals the two scores are the same number."""
    return [(target, score) for target in scores["target"].unique() for score in NAMES if (target, score) != SAME]
