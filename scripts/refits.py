"""What the same fits of STEM score when they are trained again elsewhere, from two commits of the reference run.

python scripts/refits.py 3c842d3 479e071
"""

import io
import json
import subprocess
from pathlib import Path

import pandas as pd
import typer

from helpers import store
from helpers.models.stem.recipes import PROFILE

RUN, OUT = "data/results/her2st", Path("data/results/stem_refits")
FIT = ["section", "target", "arm", "score"]
FOLD = ["section", "target"]


def main(first: str, second: str) -> None:
    """Write scores.csv (a row a fit and score, of either run) and provenance.json."""
    both = pd.concat({"first": _scores(first), "second": _scores(second)}, axis=1, join="inner")
    store.write_table(both.reset_index(), OUT / "scores.csv")
    about = [json.loads(_committed(commit, "provenance.json")) for commit in (first, second)]
    commits = [run["commit"] for run in about]
    differs = f"STEM with one section held out, fitted at {commits[0]} and again at {commits[1]} on another machine"
    store.write_json(about[1] | {"differs": f"{differs}; made by scripts/refits.py"}, OUT / "provenance.json")


def _committed(commit: str, name: str) -> str:
    return subprocess.run(["git", "show", f"{commit}:{RUN}/{name}"], check=True, capture_output=True, text=True).stdout


def _scores(commit: str) -> pd.Series:
    """PCC-50 and composition skill of every fit of STEM, by FIT."""
    tables = (pd.read_csv(io.StringIO(_committed(commit, f"{name}.csv"))) for name in ("inference_scores", "skills"))
    pcc, skills = (table.query("backbone == 'stem' and split == 'section'").set_index(FOLD) for table in tables)
    own = pd.DataFrame({"pcc_50": pcc["pcc"], "composition": skills["composition"]})
    arms = pd.read_csv(io.StringIO(_committed(commit, "arms.csv"))).query("arm != @PROFILE")
    fits = pd.concat([own.assign(arm=PROFILE).reset_index(), arms])[[*FOLD, "arm", *own]]
    scores = fits.melt([*FOLD, "arm"], var_name="score").set_index(FIT)["value"]
    return scores.sort_index()


if __name__ == "__main__":
    typer.run(main)
