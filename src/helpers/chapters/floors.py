"""Floors: what one number per spot, its place, or the training mean would score, and what a model adds to each.

Tables of genes have section, split, backbone, target, gene, pcc and rmse_over_sd; tables of scores have a row per
section, split, target and backbone, with PCC-k in columns `pcc_<k>` and the mean over all genes in `pcc_all`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import labels, schema
from helpers.chapters import stem_training
from helpers.models import backbones
from helpers.scores import paired, predictability, top_genes
from helpers.targets import normalization

FITTED_HERE = tuple(name for name in backbones.FLOORS if name not in backbones.FLOORS_BESIDE)
ORACLE = "depth"  # no image holds that number
KEYS = ["section", "split", "target", "backbone"]
COLUMNS = ["section", "split", "backbone", "seed", "target", "gene", "pcc", "rmse_over_sd"]
ALL = "pcc_all"

Sections = Mapping[str, AnnData]
Panels = Mapping[str, Sequence[str]]

# Fits -----------------------------------------------------------------------------------------------------------


def score_floor(sections: Sections, panels: Panels, floor: str, held_out: str, target: str, split: str) -> pd.DataFrame:
    """One floor fitted without a section and scored on it, gene by gene: COLUMNS."""
    held = backbones.predict(sections, held_out, target, floor, split, panels[held_out], normalization.clip)
    measured, predicted = held.layers[schema.MEASURED], held.layers[schema.PREDICTED]
    metadata = {"section": held_out, "split": split, "backbone": floor, "seed": 0, "target": target}
    return predictability.predictability(measured, predicted, panels[held_out]).assign(**metadata)[COLUMNS]


def score_floors(
    sections: Sections,
    panels: Panels,
    targets: Sequence[str],
    splits: Sequence[str],
    floors: Sequence[str] = FITTED_HERE,
) -> pd.DataFrame:
    """Floors fitted and scored on every section, target and split: COLUMNS."""
    fits = product(backbones.different(floors, sections), sections, targets, splits)
    return pd.concat([score_floor(sections, panels, *fit) for fit in fits], ignore_index=True)


def ridge_without_nuclei(
    sections: Sections, panels: Panels, targets: Sequence[str], split: str, k: int
) -> pd.DataFrame:
    """PCC-k of ridge with all features and without those of nuclei: section, target, with_nuclei, without_nuclei.

    Empty where no feature is of nuclei, as of published encoders.
    """
    columns = ["section", "target", "with_nuclei", "without_nuclei"]
    try:
        bare = {name: stem_training.without_nuclei(section) for name, section in sections.items()}
    except ValueError:
        return pd.DataFrame(columns=columns)
    rows = []
    for held_out, target in product(sections, targets):
        fits = (score_floor(part, panels, "ridge", held_out, target, split) for part in (sections, bare))
        rows.append((held_out, target, *(top_genes.pcc_at_k(fit["pcc"].to_numpy(), k) for fit in fits)))
    return pd.DataFrame(rows, columns=columns)


def ablation_sentence(table: pd.DataFrame, k: int) -> str:
    """What ridge loses without features of nuclei, target by target (Markdown); takes `ridge_without_nuclei`."""
    if table.empty:
        return "No feature of these patches describes a nucleus: there is nothing to leave out."
    change = (table["without_nuclei"] - table["with_nuclei"]).groupby(table["target"], sort=False)
    parts = [
        f"{labels.label(target)} {part.median():+z.3f} ({part.min():+z.3f} to {part.max():+z.3f})"
        for target, part in change
    ]
    n = labels.counted(table["section"].nunique(), "sections")
    return (
        f"What PCC-{k} of `ridge` changes by without the features of nuclei, each section against itself, median and "
        f"range over {n}: {'; '.join(parts)}."
    )


def training_mean(sections: Sections, panels: Panels, targets: Sequence[str], splits: Sequence[str]) -> pd.DataFrame:
    """The error of a constant, each gene's mean over the training spots: KEYS and rmse_over_sd, median over genes."""
    rows = []
    for held_out, target, split in product(sections, targets, splits):
        names = [*backbones.training_sections(sections, held_out, split), held_out]
        spots = [sections[name][:, panels[held_out]].layers[target] for name in names]
        *training, measured = (normalization.clip(values, target) for values in spots)
        constant = np.vstack(training).mean(axis=0)
        error = predictability.predictability(measured, np.tile(constant, (len(measured), 1)), panels[held_out])
        rows.append((held_out, split, target, "training mean", error["rmse_over_sd"].median()))
    return pd.DataFrame(rows, columns=[*KEYS, "rmse_over_sd"])


# Scores ---------------------------------------------------------------------------------------------------------


def models_first(table: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """Rows by backbone, models before floors, then by target in the order given; rows of both keep their order."""
    rank = {name: i for i, name in enumerate([*backbones.MODELS, *backbones.FLOORS, *targets])}
    by = ["backbone", "target"]
    return table.sort_values(by, key=lambda names: names.map(rank), kind="stable", ignore_index=True)


def means_over_seeds(tables: Sequence[pd.DataFrame], targets: Sequence[str]) -> pd.DataFrame:
    """Tables of genes with seeds in one: means over seeds, models first."""
    keys = ["section", "split", "backbone", "target", "gene"]
    genes = pd.concat(tables, ignore_index=True)
    return models_first(genes.groupby(keys, sort=False)[["pcc", "rmse_over_sd"]].mean().reset_index(), targets)


def score_table(genes: pd.DataFrame, ks: Iterable[int]) -> pd.DataFrame:
    """PCC-k of each k and the mean over all genes, of every section, split, target and backbone."""
    table = {f"pcc_{k}": top_genes.pcc_by(genes, KEYS, k) for k in ks}
    return pd.DataFrame(table | {ALL: genes.groupby(KEYS, sort=False)["pcc"].mean()}).reset_index()


def columns_of(ks: Iterable[int]) -> dict[str, str]:
    """The columns of scores, with the name that each has in a table."""
    return {f"pcc_{k}": f"PCC-{k}" for k in ks} | {ALL: "all genes"}


def headline_score(scores: pd.DataFrame, k: int) -> tuple[str, str]:
    """Column and name of the score to speak of: PCC-k, or the mean over the panel where it has fewer than k genes."""
    has_k = scores[f"pcc_{k}"].notna().any()
    return (f"pcc_{k}", f"PCC-{k}") if has_k else (ALL, "mean PCC of the panel")


def score_medians(scores: pd.DataFrame, controls: pd.DataFrame, split: str, ks: Iterable[int]) -> pd.DataFrame:
    """Medians over the sections of a split, and in how many sections a score shows skill on the depth-only twin.

    `controls` is the table of 09_controls. Columns that no score has are left out.
    """
    columns = list(columns_of(ks))
    groups = scores[scores["split"] == split].groupby(["backbone", "target"], sort=False)
    table = groups[columns].median().dropna(axis=1, how="all")
    skill = predictability.twin_skill(controls, split).set_index(["backbone", "target"])
    flagged = skill["n_flagged"].astype(str) + " of " + skill["n_sections"].astype(str)
    table["skill on depth-only twin"] = flagged.reindex(table.index)
    return table


def error_medians(genes: pd.DataFrame, constant: pd.DataFrame, split: str) -> pd.DataFrame:
    """Median rmse_over_sd, over genes and then over sections: backbones and training mean x targets."""
    error = genes.groupby(KEYS, sort=False)["rmse_over_sd"].median().reset_index()
    error = pd.concat([error, constant], ignore_index=True)
    return error[error["split"] == split].groupby(["backbone", "target"], sort=False)["rmse_over_sd"].median().unstack()


# Excess ---------------------------------------------------------------------------------------------------------


def excess(scores: pd.DataFrame) -> pd.DataFrame:
    """Every model less every floor, on the same section, split and target: columns of scores, and floor.

    Sections that lack one of the two are left out.
    """
    wide = scores.set_index(KEYS)
    models, floors = (
        [name for name in known if name in set(scores["backbone"])] for known in (backbones.MODELS, backbones.FLOORS)
    )
    parts = []
    for model, floor in product(models, floors):
        one, other = (wide.xs(name, level="backbone") for name in (model, floor))
        part = one.sub(other).dropna(how="all").reset_index()
        parts.append(part.assign(backbone=model, floor=floor))
    return pd.concat(parts, ignore_index=True)


def excess_by_k(over: pd.DataFrame, floor: str, split: str, ks: Iterable[int]) -> pd.DataFrame:
    """The excess over one floor in long form: section, backbone, target, genes (how many of the best), excess."""
    part = over[(over["floor"] == floor) & (over["split"] == split)]
    names = {f"pcc_{k}": f"best {k}" for k in ks} | {ALL: "all genes"}
    long = part.melt(["section", "backbone", "target"], list(names), "genes", "excess").dropna(subset="excess")
    return long.assign(genes=long["genes"].map(names))


def excess_intervals(over: pd.DataFrame, score: str, patient_of: Mapping[str, str]) -> pd.DataFrame:
    """Excess over each floor over sections, and its interval over patients by `paired.bootstrap_patients`.

    `over` is what `excess` returns, `score` one of its columns. Columns backbone, split, target, floor, score, median,
    least and least_in (the section), n_sections, and those of the interval.
    """
    keys, rows = ["backbone", "split", "target", "floor"], []
    for key, part in over.dropna(subset=score).groupby(keys, sort=False):
        values = part.set_index("section")[score]
        numbers = {"score": score, "median": values.median(), "least": values.min(), "least_in": values.idxmin()}
        interval = paired.bootstrap_patients(values.to_numpy(), values.index.map(patient_of).to_numpy())
        rows.append(dict(zip(keys, key, strict=True)) | numbers | {"n_sections": len(values)} | interval)
    return pd.DataFrame(rows)


# Sentences ------------------------------------------------------------------------------------------------------


def excess_sentence(intervals: pd.DataFrame, floor: str, name: str) -> str:
    """Excess of each model over one floor, a line a model and target; `name` is that of `headline_score`."""
    lines = []
    for row in intervals[intervals["floor"] == floor].itertuples():
        interval = row.note
        if np.isfinite(row.low):
            patients = labels.counted(row.n_patients, "patients")
            interval = f"95 % interval {row.low:+.2f} to {row.high:+.2f} over {patients}"
        lines.append(
            f"- `{row.backbone}`, {labels.label(row.target)}, one {row.split} held out: **{row.median:+.2f}** "
            f"(median of {labels.counted(row.n_sections, 'sections')}, the least {row.least:+.2f}, in {row.least_in}); "
            f"mean over patients {row.mean:+.2f}, {interval}."
        )
    return f"In {name}:\n\n" + "\n".join(lines)


def answer(over: pd.DataFrame, score: str, split: str, patient_of: Mapping[str, str], name: str) -> str:
    """In how many sections each model is above every floor in each target, and by how much above the nearest.

    The oracle is no floor here. `over` is what `excess` returns, `score` one of its columns, which is called `name`;
    the nearest floor is that of the smallest median excess over sections.
    """
    honest = over[(over["split"] == split) & (over["floor"] != ORACLE)].dropna(subset=score)
    parts, n_above, n_all = [], 0, 0
    for (backbone, target), part in honest.groupby(["backbone", "target"], sort=False):
        wide = part.pivot(index="section", columns="floor", values=score)
        nearest, above = wide.median().idxmin(), wide.min(axis=1) > 0
        n_above, n_all = n_above + above.sum(), n_all + len(above)
        below = ", ".join(f"{section} of {labels.patient(patient_of[section])}" for section in above.index[~above])
        where = f"; not in {below}" if below else ""
        median = f"median **{wide[nearest].median():+.2f}** over {labels.FLOORS.get(nearest, nearest)}"
        parts.append(f"`{backbone}` in {labels.label(target)} {above.sum()} of {len(above)} ({median}{where})")
    most = "all" if n_above == n_all else "most" if 2 * n_above > n_all else "half or fewer"
    others = ", others of its patient not" * (split == "section")
    return (
        f"**Above every floor in {most} sections**: {', '.join(parts)}. {name} less that of the nearest floor, one "
        f"{split} held out{others}, {labels.of_patients(honest['section'], patient_of)}; a floor is what nuclei, their "
        "stain or place alone predict, without the oracle of measured depth. No null of these differences is drawn."
    )


def only_section_sentence(over: pd.DataFrame, score: str, split: str, patient_of: Mapping[str, str]) -> str:
    """Excess over nuclei where the held-out section is the only one of its patient."""
    patients = list(patient_of.values())
    alone = [name for name, patient in patient_of.items() if patients.count(patient) == 1]
    if not alone:
        return (
            "Every patient has several sections here. How much that helps is seen when all sections of a patient are "
            "held out at once."
        )
    there = over[over["section"].isin(alone) & (over["floor"] == "nuclei") & (over["split"] == split)]
    there = there.dropna(subset=score)
    parts = [
        f"{section}, `{backbone}` in {labels.label(target)} {value:+.2f}"
        for section, backbone, target, value in there[["section", "backbone", "target", score]].to_numpy()
    ]
    return (
        f"Training held no other section of the patient of {', '.join(alone)}. Excess over nuclei there: "
        f"{'; '.join(parts)}. Such a section may differ in depth and stain too: a hint, no test."
    )
