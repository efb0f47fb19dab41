"""What the explorer shows: the book's numbers of every gene and maps of its values, as scripts that a page loads.

A page that is opened from disk may load scripts and nothing else, so each file is one call of the function `explorer`
(book/vendor/explorer/explorer.js) with its name and JSON: `index`, a file for each cohort, one for each section with
maps. The first section, with which the page opens, stands in the file of this book's cohort. No number is computed
here but the chance of a single gene's score, which no other page has.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import store
from helpers.labels import counted, label, of_cells, of_patients
from helpers.models import backbones
from helpers.schema import MEASURED, PREDICTED, SPATIAL, cellularity
from helpers.scores import judge, spatial
from helpers.targets import normalization

# By the name of the table: its file in the results of a run, and the columns that are taken from it.
TABLES = {
    "associations": ("associations.csv.gz", ["section", "target", "gene", "rho_nuclei", "rho_depth"]),
    "tests": ("inference_genes.csv.gz", ["section", "covariate", "target", "gene", "p_spatial"]),
    "predictability": (
        "predictability.csv.gz",
        ["section", "split", "backbone", "seed", "target", "gene", "pcc", "ceiling"],
    ),
    "floors": ("floors_genes.csv.gz", ["section", "split", "backbone", "target", "gene", "pcc"]),
    "chances": ("score_chance.csv.gz", ["section", "split", "backbone", "seed", "target", "gene", "chance_95"]),
    "partial": ("partial_genes.csv.gz", ["section", "split", "backbone", "target", "given", "gene", "partial"]),
    "verdicts": ("genes.csv", ["backbone", "target", "gene", "verdict"]),
    "sections": ("sections.csv", ["section", "patient"]),
}
COUPLINGS = ["rho_nuclei", "p_nuclei", "rho_depth", "p_depth", "rho_nuclei_given_depth", "p_nuclei_given_depth"]
COUPLINGS += ["ceiling"]
SCORES = ["pcc", "chance_95", "partial_nuclei", "partial_depth", "partial_both"]
UNITS = {"n_nuclei": "nuclei per spot", "haematoxylin": "mean haematoxylin of a spot"}
OWN = "own"  # the cohort of this book, among committed runs
LEVELS = 255  # of a value on a map, between the least and the largest of its gene
BOX = (  # filled by the script; by hand, with no book around, the link says where to look
    "<link rel='stylesheet' href='explorer/explorer.css'><div id='explorer'></div>"
    "<p>The same <a href='explorer/index.html'>in a window of its own</a>: <code>explorer/index.html</code>, in the "
    "folder that this page leaves behind.</p>"
    # One after the other and not by the program: so they come before the theme's own scripts, which take a second.
    "<script src='explorer/explorer.js'></script><script src='explorer/own.js'></script>"
    "<script src='explorer/index.js'></script>"
)

Tables = Mapping[str, pd.DataFrame]


def models_of(folders: Iterable[str | Path], split: str, seed: int) -> list[AnnData]:
    """The predictions of models, not of floors, that are kept in these folders, of one split and seed."""
    files = (path for name in backbones.MODELS for path in store.prediction_files(folders, name))
    kept = map(store.read_section, files)
    return [held for held in kept if (held.uns["split"], held.uns["seed"]) == (split, seed)]


# Chance of a single gene's score --------------------------------------------------------------------------------


def chance_of_genes(predictions: Iterable[AnnData], n_draws: int = judge.N_DRAWS) -> pd.DataFrame:
    """The 95 % point of the null of every gene's PCC: that of predictions as smooth that lie elsewhere.

    Columns section, split, backbone, seed, target, gene, chance_95; NaN for a gene without a PCC.
    """
    tables, bases = [], {}
    for held in predictions:
        name = held.uns["section"]
        if name not in bases:
            bases[name] = judge.basis(held)
        layers = held.layers[MEASURED], held.layers[PREDICTED]
        drawn = spatial.null_correlations(*layers, bases[name], n_draws=n_draws)[1]
        keys = {key: held.uns[key] for key in ("section", "split", "backbone", "seed", "target")}
        chance = np.quantile(drawn, 0.95, axis=1)
        tables.append(pd.DataFrame(keys | {"gene": held.var_names, "chance_95": chance}))
    return pd.concat(tables, ignore_index=True)


# Numbers of a cohort --------------------------------------------------------------------------------------------


def read_run(folder: str | Path) -> dict[str, pd.DataFrame]:
    """The TABLES of a committed run; a table that it lacks is empty."""
    return {
        name: store.read_table(path, columns)
        if (path := Path(folder, file)).is_file()
        else pd.DataFrame(columns=columns)
        for name, (file, columns) in TABLES.items()
    }


def numbers_of(
    tables: Tables, measure: str, genes: Sequence[str] | None = None, split: str = "section", seed: int = 0
) -> dict:
    """What the explorer says of a cohort: names, and for each gene the numbers of the book's TABLES.

    `measure` is one of `schema.CELLULARITY`. Of `genes`, by default all, the lists of `couplings` (target, section,
    column) and of `scores` (backbone, target, section, column) hold a number each, None where there is none; those of
    `verdicts` (backbone, target) words. Predictions are those of one split and seed.
    """
    genes = list(dict.fromkeys(tables["associations"]["gene"]) if genes is None else genes)
    couplings, scores = _couplings(tables), _scores(tables, split, seed)
    fitted, patients = list(scores["backbone"].unique()), tables["sections"].set_index("section")["patient"].fillna("")
    return {
        "cells": of_cells("nuclei", measure),
        "unit": UNITS[measure],
        "genes": genes,
        "targets": {target: label(target) for target in couplings["target"].unique()},
        "models": [name for name in backbones.MODELS if name in fitted],
        "floors": {name: of_cells(label(name), measure) for name in backbones.FLOORS if name in fitted},
        # One that no file names ends in a question mark (`labels.patient`).
        "sections": {name: "" if str(patient).endswith("?") else str(patient) for name, patient in patients.items()},
        "couplings": _nested(couplings, ["target", "section"], COUPLINGS, genes),
        "scores": _nested(scores, ["backbone", "target", "section"], SCORES, genes),
        "verdicts": _verdicts(tables["verdicts"], genes, measure),
        "maps": [],
    }


def _couplings(tables: Tables) -> pd.DataFrame:
    """A row for every section, target and gene, with COUPLINGS as far as they are known."""
    of_gene = ["section", "target", "gene"]
    p = tables["tests"].pivot(index=of_gene, columns="covariate", values="p_spatial").add_prefix("p_")
    ceiling = tables["predictability"].drop_duplicates(of_gene).set_index(of_gene)["ceiling"]
    return tables["associations"].join(p, on=of_gene).join(ceiling, on=of_gene)


def _scores(tables: Tables, split: str, seed: int) -> pd.DataFrame:
    """A row for every section, backbone, target and gene, with SCORES as far as they are known."""
    of_score = ["section", "backbone", "target", "gene"]
    known, floors, chance, partial = (
        part[part["split"] == split]
        for part in (tables[name] for name in ("predictability", "floors", "chances", "partial"))
    )
    chance = chance[chance["seed"] == seed].set_index(of_score)["chance_95"]
    partial = partial.pivot(index=of_score, columns="given", values="partial").add_prefix("partial_")
    # Floors that are fitted apart from models have no seed.
    parts = [part for part in (known[known["seed"] == seed], floors) if len(part)]
    return pd.concat(parts, ignore_index=True).join(partial, on=of_score).join(chance, on=of_score)


def _nested(table: pd.DataFrame, keys: Sequence[str], columns: Sequence[str], genes: Sequence[str]) -> dict:
    """The numbers of every gene below the keys, then the column; a column without a number is left out."""
    if keys:
        parts = table.groupby(keys[0], sort=False)
        return {str(key): _nested(part, keys[1:], columns, genes) for key, part in parts}
    of_genes = table.set_index("gene").reindex(genes)
    known = [column for column in columns if column in of_genes and of_genes[column].notna().any()]
    return {column: numbers(of_genes[column]) for column in known}


def _verdicts(table: pd.DataFrame, genes: Sequence[str], measure: str) -> dict:
    """The verdict on every gene (26_genes), by backbone and target; "" where there is none."""
    found: dict = {}
    for (backbone, target), part in table.groupby(["backbone", "target"], sort=False):
        words = part.set_index("gene")["verdict"].reindex(genes).fillna("")
        found.setdefault(backbone, {})[target] = [of_cells(word, measure) for word in words]
    return found


def numbers(values: Iterable[float]) -> list[float | int | None]:
    """Numbers as tables hold them, to six digits; None where there is none.

    >>> numbers([0.12345678, 12.0, float("nan")])
    [0.123457, 12, None]
    """
    rounded = (float(f"{value:.6g}") for value in values)
    return [None if np.isnan(value) else int(value) if value.is_integer() else value for value in rounded]


# Maps of a section ----------------------------------------------------------------------------------------------


def maps_of(section: AnnData, predictions: Sequence[AnnData], targets: Sequence[str], genes: Sequence[str]) -> dict:
    """The spots of a section and what is mapped there: cellularity, depth, and every gene's targets and predictions.

    x and y are in um from the first spot; `measured` (by target) is what models are scored against, residuals clipped;
    `predicted` is by backbone and target. Both are `layer`s of those `genes` that were predicted here: where panels are
    chosen fold by fold, a section holds the genes of others too.
    """
    genes = [gene for gene in genes if all(gene in held.var_names for held in predictions)]
    at, xy = section.var_names.get_indexer(genes), np.asarray(section.obsm[SPATIAL], float)
    x, y = np.rint((xy - xy.min(axis=0)) * float(section.uns["mpp"])).astype(int).T.tolist()
    measured = {target: normalization.clip(section.layers[target], target)[:, at] for target in targets}
    predicted: dict = {}
    for held in predictions:
        values = held[section.obs_names, genes].layers[PREDICTED]
        predicted.setdefault(held.uns["backbone"], {})[held.uns["target"]] = layer(values)
    return {
        "spots": list(section.obs_names),
        "x": x,
        "y": y,
        "pitch": float(section.uns["pitch_um"]),
        "cells": numbers(cellularity(section)),
        "depth": numbers(section.obs["total_counts"]),
        "genes": genes,
        "measured": {target: layer(values) for target, values in measured.items()},
        "predicted": predicted,
    }


def layer(values: np.ndarray) -> dict:
    """Spots x genes as bytes, gene after gene: `codes` in base64, 0 for the `low` of a gene, LEVELS for its `high`."""
    low, high = values.min(axis=0), values.max(axis=0)
    codes = np.rint((values - low) / np.where(high > low, high - low, 1) * LEVELS).astype(np.uint8)
    text = base64.b64encode(np.ascontiguousarray(codes.T).tobytes()).decode()
    return {"low": numbers(low), "high": numbers(high), "codes": text}


# Files ----------------------------------------------------------------------------------------------------------


def script(name: str, content: object) -> str:
    """The file `<name>.js`: one call of explorer."""
    return f"explorer({json.dumps(name)}, {json.dumps(content, separators=(',', ':'), allow_nan=False)});\n"


def index(title: str, runs: Iterable[str | Path]) -> dict[str, str]:
    """The file that names the cohorts: this book's, then the committed runs."""
    committed = [[Path(run).name, f"{_about(run)['cohort']}, committed run"] for run in runs]
    return {"index.js": script("index", [[OWN, title], *committed])}


def committed_files(runs: Iterable[str | Path]) -> dict[str, str]:
    """A file for each committed run: its numbers. No value of a spot is committed, so there are no maps."""
    found = {Path(run).name: numbers_of(read_run(run), _about(run)["cellularity"]) for run in runs}
    return {f"{key}.js": script(key, numbers) for key, numbers in found.items()}


def own_files(
    tables: Tables, measure: str, sections: Mapping[str, AnnData], kept: Sequence[AnnData], max_mb: float
) -> tuple[list[str], dict[str, str]]:
    """The genes that are shown, and the files of this book's cohort: numbers, and the maps of each of `sections`.

    Sections hold their targets in layers; `kept` are the predictions of one split and seed. Of the panel's genes, in
    their order, as many as fit `max_mb`.
    """
    targets = list(tables["associations"]["target"].unique())
    split, seed = kept[0].uns["split"], kept[0].uns["seed"]

    def write(genes: Sequence[str]) -> dict[str, str]:
        numbers = numbers_of(tables, measure, genes, split, seed) | {"maps": list(sections)}
        files = {}
        for name, section in sections.items():
            predictions = [held for held in kept if held.uns["section"] == name]
            content = maps_of(section, predictions, targets, genes)
            files[f"{OWN}.{name}"] = script(f"{OWN}.{name}", content)
        first = files.pop(f"{OWN}.{next(iter(sections))}")
        files = {OWN: script(OWN, numbers) + first} | files
        return {f"{name}.js": text for name, text in files.items()}

    return fitting(list(dict.fromkeys(tables["associations"]["gene"])), write, max_mb)


def fitting(
    genes: list[str], write: Callable[[list[str]], dict[str, str]], max_mb: float
) -> tuple[list[str], dict[str, str]]:
    """The first genes, as many as keep the files that `write` makes of them within `max_mb`, and these files.

    One gene at least.
    """
    files = write(genes)
    while len(genes) > 1 and size_mb(files) > max_mb:
        genes = genes[: max(1, min(len(genes) - 1, int(len(genes) * max_mb / size_mb(files))))]
        files = write(genes)
    return genes, files


def size_mb(files: Mapping[str, str]) -> float:
    """Size of files of plain characters, in MB."""
    return sum(map(len, files.values())) / 1e6


def answer(tables: Tables, measure: str, level: float = 0.05) -> str:
    """How many genes of each target follow cells, depth, and cells with depth held fixed (Markdown).

    By the p of each gene against maps as smooth, medians over the sections that have cells.
    """
    couplings = _couplings(tables).dropna(subset="p_nuclei")
    followed = {"p_nuclei": "nuclei", "p_depth": "depth", "p_nuclei_given_depth": "nuclei with depth held fixed"}
    shares = couplings[list(followed)].le(level).groupby([couplings["target"], couplings["section"]], sort=False).mean()
    parts = [
        f"in {label(target)} " + ", ".join(f"{what} **{row[p]:.0%}**" for p, what in followed.items())
        for target, row in shares.groupby(level="target", sort=False).median().iterrows()
    ]
    patients = tables["sections"].set_index("section")["patient"]
    of = of_patients(couplings["section"], patients)
    said = (
        f"It depends on the gene and on the target. Share of {counted(couplings['gene'].nunique(), 'genes')} that "
        f"follow, beyond maps as smooth, {'; '.join(parts)} (each gene at p ≤ {level}, so {level:.0%} by chance; "
        f"medians over {of}). "
        "Choose a gene below."
    )
    return of_cells(said, measure)


def size_sentence(n_genes: int, n_panel: int, files: Mapping[str, str], n_sections: int) -> str:
    """How many genes of the panel are shown, with maps of how many sections, and what the files take."""
    fit = "" if n_genes == n_panel else "; `max_mb` decides how many genes fit"
    return (
        f"Shown are {n_genes} of {counted(n_panel, 'genes')} of the panel, with maps of "
        f"{counted(n_sections, 'sections')}: {size_mb(files):.1f} MB{fit}."
    )


def _about(run: str | Path) -> dict:
    return store.read_json(Path(run, "provenance.json"))
