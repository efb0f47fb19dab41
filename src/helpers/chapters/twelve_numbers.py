"""One model, twelve numbers: how far a mean PCC moves by genes, target, and what is averaged, the model being one.

A reading says what the number is of: target, genes, whether labels were smoothed, and over what r is taken: the spots
of a section, those of all sections together, or the genes of a spot.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import labels
from helpers.columns import pearson
from helpers.models import backbones
from helpers.schema import COUNTS, LATTICE, MEASURED, PREDICTED
from helpers.scores import judge, spatial, top_genes
from helpers.targets import normalization
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL

SECTION, POOLED, SPOT = "spots of a section", "spots of all sections", "genes of a spot"
PANEL, ABUNDANT, ALL = "panel", "785 most abundant", "all genes"
N_ABUNDANT = 785  # genes that several papers on this cohort score
MODEL, NUCLEI, MEAN = "ridge", "nuclei", "training mean"
N_DRAWS = 99  # of whole predictions; where r is within a section its null has those of `judge`

Sections = Mapping[str, AnnData]


class Reading(NamedTuple):
    """One way to make the number: what it is called, and the choices behind it."""

    target: str
    genes: str = PANEL
    best: int | None = None  # of so many best genes; None is of all
    over: str = SECTION
    smoothed: bool = False


def readings(k: int) -> list[Reading]:
    """The twelve, that of the book's headline first."""
    return [
        *(Reading(target, best=k) for target in (LOG, LOG_CP10K, RESIDUAL)),
        *(Reading(target) for target in (LOG, LOG_CP10K, RESIDUAL)),
        Reading(LOG, ABUNDANT),
        Reading(LOG, ALL),
        Reading(LOG, ALL, best=k),
        Reading(LOG, smoothed=True),
        Reading(LOG, over=POOLED),
        Reading(LOG, over=SPOT),
    ]


def words(reading: Reading) -> str:
    """What a reading is of."""
    genes = {PANEL: "panel", ABUNDANT: ABUNDANT, ALL: ALL}[reading.genes]
    parts = [f"best {reading.best} of {genes}" if reading.best else f"mean of {genes}"]
    parts += ["smoothed labels"] * reading.smoothed
    parts += [f"over {reading.over}"] * (reading.over != SECTION)
    return f"{labels.label(reading.target)}, {', '.join(parts)}"


# Fits -----------------------------------------------------------------------------------------------------------


def genes_of_reading(sections: Sections, panel: Sequence[str], chosen: str) -> list[str]:
    """The genes of a reading: the panel, or of those counted in every section the most abundant, or all."""
    if chosen == PANEL:
        return list(panel)
    shared = set.intersection(*(set(section.var_names) for section in sections.values()))
    counted = [_counts_by_gene(section).reindex(sorted(shared)) for section in sections.values()]
    total = pd.concat(counted, axis=1)
    total = total[(total > 0).all(axis=1)].sum(axis=1).sort_values(ascending=False, kind="stable")
    return list(total.index[: N_ABUNDANT if chosen == ABUNDANT else None])


def _counts_by_gene(section: AnnData) -> pd.Series:
    return pd.Series(np.asarray(section.layers[COUNTS].sum(axis=0), float).ravel(), section.var_names)


def smooth(values: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Mean of each spot and those that touch it (spots x genes), as some pipelines smooth labels before training."""
    around = spatial.neighbours(lattice) + np.eye(len(values))
    return (around @ values) / around.sum(axis=1, keepdims=True)


def with_target(section: AnnData, target: str, genes: Sequence[str], smoothed: bool) -> AnnData:
    """A section of some genes with a target of these, clipped, and smoothed if asked."""
    values = normalization.clip(normalization.target(section, target, list(genes)), target)
    made = section[:, list(genes)].copy()
    made.layers[target] = smooth(values, np.asarray(section.obsm[LATTICE], float)) if smoothed else values
    return made


def fits(sections: Sections, panels: Mapping[str, Sequence[str]], reading: Reading) -> Iterator[dict[str, np.ndarray]]:
    """Each section as measured, and as predicted by ridge, nuclei alone and the mean of training: spots x genes.

    More genes are fitted with the penalty that the panel chose: the model is one.
    """
    for held_out in sections:
        genes = genes_of_reading(sections, panels[held_out], reading.genes)
        given = {} if reading.genes == PANEL else {"alpha": _penalty(sections, panels[held_out], held_out, reading)}
        made = {n: with_target(s, reading.target, genes, reading.smoothed) for n, s in sections.items()}
        found = {}
        for backbone in (MODEL, NUCLEI):
            held = backbones.predict(made, held_out, reading.target, backbone, genes=genes, **given)
            layers = {MEASURED: held.layers[MEASURED], backbone: held.layers[PREDICTED]}
            found |= {name: values.astype(np.float32) for name, values in layers.items()}  # as predictions are kept
        training = np.vstack([made[name].layers[reading.target] for name in sections if name != held_out])
        yield found | {MEAN: np.broadcast_to(training.mean(axis=0), found[MEASURED].shape)}


def _penalty(sections: Sections, panel: Sequence[str], held_out: str, reading: Reading) -> float:
    made = {n: with_target(s, reading.target, panel, reading.smoothed) for n, s in sections.items()}
    return backbones.predict(made, held_out, reading.target, MODEL, genes=panel).uns["info"]["alpha"]


# Scores ---------------------------------------------------------------------------------------------------------


def statistic(measured: Sequence[np.ndarray], predicted: Sequence[np.ndarray], reading: Reading) -> np.ndarray:
    """The reading of one or several sections, a value each; one value over the spots of all."""
    if reading.over == POOLED:
        measured, predicted = [np.vstack(measured)], [np.vstack(predicted)]
    pairs = zip(measured, predicted, strict=True)
    r = [pearson(*((a.T, b.T) if reading.over == SPOT else (a, b))) for a, b in pairs]
    return np.array([top_genes.pcc_at_k(one, reading.best) if reading.best else _mean(one) for one in r])


def _mean(r: np.ndarray) -> float:
    """Mean of the r that are defined; NaN where none is, as of a constant."""
    return float(np.nanmean(r)) if np.isfinite(r).any() else np.nan


def chances(
    measured: Sequence[np.ndarray], predicted: Sequence[np.ndarray], bases: Sequence[np.ndarray], reading: Reading
) -> np.ndarray:
    """The 95 % point of a reading's null, a value each as of `statistic`: predictions as smooth that lie elsewhere."""
    if reading.over == SECTION:
        parts = zip(measured, predicted, bases, strict=True)
        n = [reading.best or part.shape[1] for part in measured]
        return np.array([judge.pcc(*part, k)["chance_95"] for part, k in zip(parts, n, strict=True)])
    drawn = [
        statistic(measured, [_elsewhere(p, b, seed) for p, b in zip(predicted, bases, strict=True)], reading)
        for seed in range(N_DRAWS)
    ]
    return np.quantile(drawn, 0.95, axis=0)


def _elsewhere(predicted: np.ndarray, basis: np.ndarray, seed: int) -> np.ndarray:
    """A prediction with each gene's mean, variance and smoothness, at random otherwise; genes stay together."""
    mean = predicted.mean(axis=0)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], basis.shape[1])
    return mean + basis @ (signs[:, None] * (basis.T @ (predicted - mean)))


def score(sections: Sections, panels: Mapping[str, Sequence[str]], k: int) -> pd.DataFrame:
    """Every reading: reading (words), over, section ("all" where pooled), ridge, nuclei, training mean, chance_95."""
    bases, tables = [judge.basis(section) for section in sections.values()], []
    kept: dict[tuple, list[dict[str, np.ndarray]]] = {}
    few = len(genes_of_reading(sections, [], ALL)) <= N_ABUNDANT
    for reading in (one for one in readings(k) if not (few and one.genes == ABUNDANT)):
        key = reading.target, reading.genes, reading.smoothed
        if key not in kept:
            kept = {key: list(fits(sections, panels, reading))} | {
                old: fitted for old, fitted in kept.items() if old[1] == PANEL
            }
        found = {name: [fit[name] for fit in kept[key]] for name in (MEASURED, MODEL, NUCLEI, MEAN)}
        columns = {name: statistic(found[MEASURED], found[name], reading) for name in (MODEL, NUCLEI, MEAN)}
        columns["chance_95"] = chances(found[MEASURED], found[MODEL], bases, reading)
        names = ["all"] if reading.over == POOLED else list(sections)
        tables.append(pd.DataFrame({"reading": words(reading), "over": reading.over, "section": names} | columns))
    return pd.concat(tables, ignore_index=True)


# In words -------------------------------------------------------------------------------------------------------


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """Medians over sections of each reading, in the order of the table."""
    return table.groupby("reading", sort=False)[[MODEL, NUCLEI, MEAN, "chance_95"]].median()


def answer(table: pd.DataFrame, patients: Mapping[str, str]) -> str:
    """How far the number of one model moves, and what the highest is worth (Markdown)."""
    middle = medians(table)
    low, high = middle[MODEL].idxmin(), middle[MODEL].idxmax()
    within = middle.drop(table.loc[table["over"] == SPOT, "reading"].unique())
    sizes = labels.of_patients(table.loc[table["section"] != "all", "section"], patients)
    first = middle.index[0]
    spot = middle.loc[table.loc[table["over"] == SPOT, "reading"].iloc[0]]
    return (
        f"One ridge, {sizes}: its number is {middle.loc[low, MODEL]:.2f} ({low}) to {middle.loc[high, MODEL]:.2f} "
        f"({high}); the book's headline is {middle.loc[first, MODEL]:.2f} ({first}). Over the genes of a spot the mean "
        f"of the training spots, which sees no image, has {spot[MEAN]:.2f} where ridge has {spot[MODEL]:.2f}. Of the "
        f"other {len(within)} readings ridge is above nuclei alone in {int((within[MODEL] > within[NUCLEI]).sum())}, "
        f"above the 95 % point of chance in {int((within[MODEL] > within['chance_95']).sum())} (medians)."
    )
