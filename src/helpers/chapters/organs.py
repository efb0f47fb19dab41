"""Which cellularity is biology: patients and organs side by side, from the committed tables of their reference runs.

A gene that follows the cells of a spot may follow nothing but the depth that they bring. Held fixed in turn, depth and
cellularity tell the two apart as far as ranks can.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from helpers import labels, store
from helpers.scores import coupling

Q = 0.05
FOLLOWS = ("both", "cells beyond depth", "depth beyond cells", "neither")
MEASURES = {"n_nuclei": "nuclei counted", "haematoxylin": "mean haematoxylin"}
PARTS = ("median_abs_rho_nuclei", coupling.GIVEN_DEPTH)


def followers(associations: pd.DataFrame) -> pd.DataFrame:
    """What each gene follows in each section: one of FOLLOWS, in a column `follows`.

    `associations` has section, target, p_nuclei_given_depth and p_depth_given_nuclei. A p counts where its q, among the
    genes of the section and target (Benjamini and Hochberg 1995), is at most Q; rows without a p are left out.
    """
    known = associations.dropna(subset=["p_nuclei_given_depth", "p_depth_given_nuclei"]).copy()
    by_section = known.groupby(["section", "target"], sort=False)
    cells, depth = (
        by_section[f"p_{part}"].transform(false_discovery_control) <= Q
        for part in ("nuclei_given_depth", "depth_given_nuclei")
    )
    known["follows"] = np.select([cells & depth, cells, depth], FOLLOWS[:3], FOLLOWS[3])
    return known


def side_by_side(folders: Iterable[str | Path], targets: Sequence[str]) -> pd.DataFrame:
    """A row for each section of several reference runs and target: what it keeps of cellularity, and given depth.

    `folders` hold associations, coupling_chance, sections and provenance. Columns cohort, measure, patient, section,
    target, n_genes, rho_nuclei_depth and both PARTS, each with chance_95_ beside it, and the share of genes of each of
    FOLLOWS.
    """
    tables = []
    for folder in map(Path, folders):
        about, sections = store.read_json(folder / "provenance.json"), store.read_table(folder / "sections.csv")
        genes = store.read_table(folder / "associations.csv.gz").dropna(subset="rho_nuclei")
        chances = store.read_table(folder / "coupling_chance.csv")
        summary = coupling.section_summary(genes, chances)
        shares = followers(genes).groupby(["section", "target"])["follows"].value_counts(normalize=True)
        shares = shares.unstack("follows").reindex(columns=FOLLOWS).fillna(0.0).reset_index()
        of_depth = chances[chances["metric"] == coupling.OF_NUCLEI_AND_DEPTH].set_index("section")["chance_95"]
        table = summary.merge(shares, on=["section", "target"]).merge(
            sections[["section", "patient", "rho_nuclei_depth"]], on="section"
        )
        table["chance_95_rho_nuclei_depth"] = table["section"].map(of_depth)
        tables.append(table.assign(cohort=about["cohort"], measure=MEASURES[about.get("cellularity", "n_nuclei")]))
    every = pd.concat(tables, ignore_index=True)
    every = every[every["target"].isin(targets)]
    wanted = ["cohort", "measure", "patient", "section", "target", "n_genes"]
    wanted += [f"{chance}{name}" for name in ("rho_nuclei_depth", *PARTS) for chance in ("", "chance_95_")]
    return every[[*wanted, *FOLLOWS]]


def remark(table: pd.DataFrame) -> str:
    """Of each cohort and patient, what each target keeps of cellularity and how much of it without depth (Markdown)."""
    lines = []
    for (cohort, measure, patient), part in table.groupby(["cohort", "measure", "patient"], sort=False):
        parts = []
        for target, rows in part.groupby("target", sort=False):
            above = [int((rows[name] > rows[f"chance_95_{name}"]).sum()) for name in PARTS]
            parts.append(
                f"{labels.label(target)} {rows[PARTS[0]].median():.3f} (above chance in {above[0]}), "
                f"given depth {rows[PARTS[1]].median():.3f} ({above[1]})"
            )
        n = labels.counted(part["section"].nunique(), "sections")
        lines.append(f"- {cohort}, {labels.patient(patient)}, {n}, {measure}: {'; '.join(parts)}.")
    return (
        "Median over genes of |rho(target, cellularity)|, medians over the sections of a patient; in brackets the "
        "number of sections above the 95 % point of maps as smooth:\n\n" + "\n".join(lines)
    )
