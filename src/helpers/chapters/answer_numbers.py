"""The numbers of the committed reference runs that the answer gives: its table, and what its figure draws.

All is made from the tables of `data/results/`, no number is typed; `Tables` are those that `read` reads, by name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import labels, store
from helpers.chapters import organs, refits
from helpers.chapters.patients import ALL, AWAY
from helpers.scores.coupling import COUPLED, GIVEN_DEPTH
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL

SHOWN = (LOG, RESIDUAL, LOG_CP10K)
SHORT = {LOG: "log2", RESIDUAL: "Pearson residual", LOG_CP10K: "CP10k"}
COUPLINGS = {
    "median_abs_rho_nuclei": "median over genes of |ρ(target, nuclei)|",
    "share_coupled_nuclei": f"share of genes with |ρ(target, nuclei)| > {COUPLED}",
    GIVEN_DEPTH: "median over genes of |ρ(target, nuclei given depth)|",
}
MODELS = {
    "ridge": "ridge",
    "stem": "STEM (small)",
    "nuclei": labels.FLOORS["nuclei"],
    "place": labels.FLOORS["place"],
}
FLOORS = ("nuclei", "place")
COUPLING = 0.5  # of library and nuclei, in the simulation that is quoted
RUNS = ("her2st", "her2st_lowres", "mob")  # of README; scores are of the first, and of patients unseen of the second
REDUCED, REFITS = "patients of the second run", "fits of STEM a second time"
READ = ("table1", "sections", "floors", "patients", "skills", "known_truth_ranks", "type_one_error", "cross_space")
READ += ("controls", "partial")
Tables = Mapping[str, pd.DataFrame]


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of a reference run that the answer is made from, by name, and tables of the folders beside it."""
    of_run = {name: store.read_table(folder / f"{name}.csv") for name in READ}
    of_run["associations"] = store.read_table(folder / "associations.csv.gz", ["section", "target", "rho_depth"])
    of_run[REFITS] = store.read_table(folder.parent / "stem_refits/scores.csv", refits.COLUMNS)
    return of_run | {REDUCED: store.read_table(folder.parent / RUNS[1] / "patients.csv")}


def couplings_of_runs(runs: Sequence[Path]) -> pd.DataFrame:
    """`organs.side_by_side` of reference runs, the one that scores are taken from first."""
    return organs.side_by_side(runs, SHOWN)


# Scores ---------------------------------------------------------------------------------------------------------------


def seen_scores(tables: Tables) -> pd.DataFrame:
    """PCC-50 with one section held out, backbone x target: medians over sections."""
    part = tables["floors"].query("split == 'section'")
    return part.groupby(["backbone", "target"])["pcc_50"].median().unstack("target").reindex(columns=SHOWN)


def unseen_scores(tables: Tables) -> pd.DataFrame:
    """The same as `seen_scores` without the patient in training."""
    return (
        by_unseen_section(tables["patients"])
        .groupby(["backbone", "target"])
        .median()
        .unstack("target")
        .reindex(columns=SHOWN)
    )


def chances(fits: pd.DataFrame) -> pd.DataFrame:
    """The 95 % point of the null of PCC-50, backbone x target: medians over sections; NaN where none was drawn."""
    return fits.groupby(["backbone", "target"])["chance_95"].median().unstack("target").reindex(columns=SHOWN)


def by_unseen_section(fits: pd.DataFrame) -> pd.Series:
    """PCC-50 of every section without its patient in training, by target, backbone and section.

    Of a patient with one section that is training on all others; means over the sets that were drawn.
    """
    of_others = without_patient(fits)
    return of_others.groupby(["target", "backbone", "section"], sort=False)["pcc_50"].mean()


def without_patient(fits: pd.DataFrame) -> pd.DataFrame:
    """Fits that no section of the patient trained: on other patients only, or on all others of a patient with one."""
    alone = ~fits["section"].isin(fits.loc[fits["training"] == AWAY, "section"])
    return fits[(fits["n_own"] == 0) & ((fits["training"] == AWAY) | (alone & (fits["training"] == ALL)))]


def n_patients_of(tables: Tables, sections: Sequence[str]) -> int:
    """Of how many patients these sections of the first run are."""
    return tables["sections"].set_index("section")["patient"].astype(str)[list(sections)].nunique()


# Table ----------------------------------------------------------------------------------------------------------------


def table(tables: Tables) -> pd.DataFrame:
    """Medians over sections by target: couplings beside the paper's, scores and skills, each with chance and ceiling.

    Rows are quantities, columns the targets of SHOWN and then n, patients and the paper's numbers; text.
    """
    rows = [*_rows_of_couplings(tables), *_rows_of_scores(tables), *_rows_of_skills(tables)]
    return pd.DataFrame(rows).set_index("median over sections").fillna("")


def _row(words: str, tables: Tables, sections: Sequence[str], cells: Sequence[str], paper: str = "") -> dict[str, str]:
    named = dict(zip((SHORT[target] for target in SHOWN), cells, strict=True))
    n = {"sections": str(len(set(sections))), "patients": str(n_patients_of(tables, list(set(sections))))}
    return {"median over sections": words.replace("`", "")} | named | n | {"the paper": paper}


def _cells(values: pd.Series, chance: pd.Series | None = None, ceiling: pd.Series | None = None) -> list[str]:
    beside = {"chance": chance, "ceiling": ceiling}
    cells = []
    for target in SHOWN:
        numbers = {name: part.get(target, np.nan) for name, part in beside.items() if part is not None}
        more = ", ".join(f"{name} {number:.2f}" for name, number in numbers.items() if np.isfinite(number))
        value = values.get(target, np.nan)
        cells.append("" if np.isnan(value) else f"{value:.2f}" + (f" ({more})" if more else ""))
    return cells


def _rows_of_couplings(tables: Tables) -> list[dict[str, str]]:
    known = tables["sections"].dropna(subset="rho_nuclei_depth")["section"]
    rows = []
    for metric, words in COUPLINGS.items():
        of_metric = tables["table1"]["metric"] == metric
        part = tables["table1"][of_metric].dropna(subset="target").set_index("target")
        paper = [f"{value:.2f}" for value in part["paper"].reindex(SHOWN[:2]) if np.isfinite(value)]
        cells = _cells(part["value"], part["chance_95"])
        rows.append(_row(words, tables, known, cells, " / ".join(paper)))
    return rows


def _rows_of_scores(tables: Tables) -> list[dict[str, str]]:
    """PCC-50 of models and floors with one section held out, and with its whole patient."""
    scores, away = tables["floors"].query("split == 'section'"), without_patient(tables["patients"])
    kept = tables["cross_space"].query("split == 'section' and trained_in == scored_in")
    beside = kept.groupby(["backbone", "scored_in"])[["chance_95", "ceiling_50"]].median()
    of_place = chances(tables["patients"].query("training == @ALL"))
    rows = []
    for backbone in (name for name in MODELS if name in seen_scores(tables).index):
        if backbone in beside.index:
            null = beside.loc[backbone, "chance_95"], beside.loc[backbone, "ceiling_50"]
        else:
            null = of_place.loc[backbone], None
        cells = _cells(seen_scores(tables).loc[backbone], *null)
        rows.append(_row(f"PCC-50, {MODELS[backbone]}, one section held out", tables, scores["section"], cells))
    for backbone in ("ridge", *FLOORS):
        cells = _cells(unseen_scores(tables).loc[backbone], chances(away).loc[backbone])
        rows.append(_row(f"PCC-50, {MODELS[backbone]}, the patient unseen", tables, away["section"], cells))
    return rows


def _rows_of_skills(tables: Tables) -> list[dict[str, str]]:
    rows = []
    for backbone in (name for name in MODELS if name != "place"):
        part = tables["skills"].query("backbone == @backbone and split == 'section'")
        middle = part.groupby("target").median(numeric_only=True)
        for skill in ("library", "composition") if len(part) else ():
            cells = _cells(*(middle[f"{skill}{end}"] for end in ("", "_chance_95", "_ceiling")))
            rows.append(_row(f"{skill} skill, {MODELS[backbone]}", tables, part["section"], cells))
    return rows


# Figure ---------------------------------------------------------------------------------------------------------------


def drawn(tables: Tables, beside: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """The tables that the figure draws, panel by panel."""
    return drawn_parts(tables), drawn_couplings(beside), drawn_scores(tables), quoted_ranks(tables)


def quoted_ranks(tables: Tables) -> pd.DataFrame:
    """The rows of known truth that are quoted and drawn: section, patient, report and contested."""
    return tables["known_truth_ranks"].query("shrunk and coupling == @COUPLING and truth == 'composition'")


def drawn_parts(tables: Tables) -> pd.DataFrame:
    """What ridge scores, and what else does: target, row, section, value, chance_95."""
    spaces = tables["cross_space"].query("split == 'section'").rename(columns={"scored_in": "target"})
    own, ridge = spaces["trained_in"] == spaces["target"], spaces["backbone"] == "ridge"
    of_ridge = "split == 'section' and backbone == 'ridge'"
    left = tables["partial"].query(f"{of_ridge} and given == 'both'")
    parts = {
        "ridge": spaces[own & ridge],
        "its molecules alone": spaces[(spaces["trained_in"] == "library") & ridge],
        "ridge, where only\ndepth varies": tables["controls"].query(f"{of_ridge} and twin == 'depth_only'"),
        "ridge, nuclei and\ndepth held fixed": left.rename(
            columns={"partial": "pcc_50", "partial_chance_95": "chance_95"}
        ),
        "measured depth": spaces[own & (spaces["backbone"] == "depth")],
    }
    table = pd.concat([part.assign(row=row) for row, part in parts.items()]).rename(columns={"pcc_50": "value"})
    kept = table["target"].isin(SHOWN) & table["value"].notna()
    return table.loc[kept, ["target", "row", "section", "value", "chance_95"]].reset_index(drop=True)


def drawn_scores(tables: Tables) -> pd.DataFrame:
    """PCC-50 of ridge and floors by section: target, row (who, trained on what), section, value, chance_95."""
    away = without_patient(tables["patients"])
    parts = {"all others in training": tables["patients"].query("training == @ALL"), "patient unseen": away}
    rows = []
    for words, fits in parts.items():
        means = fits.groupby(["target", "backbone", "section"], sort=False)[["pcc_50", "chance_95"]].mean()
        means = means.reset_index().rename(columns={"pcc_50": "value"})
        for backbone in ("ridge", *FLOORS):
            one = means[means["backbone"] == backbone]
            rows.append(one.assign(row=f"{MODELS[backbone]},\n{words}"))
    return pd.concat(rows, ignore_index=True)


def drawn_couplings(beside: pd.DataFrame) -> pd.DataFrame:
    """What targets follow, patient by patient: target, section, patient, row (with its measure), plain, given,
    and the chance of either, chance_plain and chance_given.

    Of a patient in several runs the first is drawn.
    """
    plain, given = organs.PARTS
    runs = beside.groupby("patient", sort=False)["cohort"].transform("first")
    first = beside[beside["cohort"] == runs]
    n = first.groupby("patient")["section"].transform("nunique")
    names = [
        f"{labels.patient(patient)}\n{labels.counted(count, 'sections')}, {measure}"
        for patient, count, measure in zip(first["patient"], n, first["measure"], strict=True)
    ]
    return pd.DataFrame(
        {
            "row": names,
            "patient": first["patient"],
            "section": first["section"],
            "target": first["target"],
            "plain": first[plain],
            "given": first[given],
            "chance_plain": first[f"chance_95_{plain}"],
            "chance_given": first[f"chance_95_{given}"],
        }
    )
