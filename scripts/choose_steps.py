"""Choose the steps of STEM's profile `cpu` on inner splits of a built cohort; an hour on one core.

.venv/bin/python scripts/choose_steps.py build/her2st data/results/stem_recipe/inner_splits.csv
"""

import sys
from pathlib import Path

import pandas as pd

from helpers import schema, store
from helpers.chapters import inner_splits
from helpers.targets.panel import panel_of


def main(build: Path, table: Path) -> None:
    """Score every candidate on the sections with an image, each row printed when it is known."""
    read = (store.read_section(path) for path in sorted((build / "targets").glob("*.h5ad")))
    sections = {section.uns["section"]: section for section in read if schema.PATCH in section.obsm}
    whole = {name: store.read_section(build / f"sections/{name}.h5ad") for name in sections}
    panel = store.read_table(build / "results/panel.csv", ["panel", "gene"])
    rows = []
    panels = {name: panel_of(name, panel) for name in sections}
    for row in inner_splits.score_candidates(sections, whole, panels):
        rows.append(row)
        store.write_table(pd.DataFrame(rows), table)  # row by row: all of them take an hour
        print(row, flush=True)
    print(inner_splits.remark(pd.DataFrame(rows)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
