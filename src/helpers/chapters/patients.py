"""Training with and without sections of the held-out section's patient, at equal size: sets, fits, and differences.

Sections are AnnData by name, with their patient, counts, totals and a layer for each target. A fit is a row with
section (held out), patient, training, draw, trained_on (names), target, backbone, its scores, and chance_95: the 95 %
point of PCC-k of predictions as smooth that lie elsewhere, of the first draw of the trainings in `WITH_CHANCE`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData
from tqdm.std import tqdm

from helpers.columns import pearson
from helpers.models import backbones
from helpers.schema import COUNTS, MEASURED, PREDICTED, patients_of
from helpers.scores import judge, top_genes
from helpers.targets import normalization

ALL, OWN, AWAY = "all other sections", "own patient too", "other patients only"
EQUAL = {kind: f"{kind}, at equal depth" for kind in (OWN, AWAY)}
TRAININGS = (ALL, OWN, AWAY, *EQUAL.values())
WITH_CHANCE = (ALL, AWAY)
BACKBONES = ("ridge", *backbones.FLOORS)
N_DRAWS = 5  # sets of equal size
N_PAIRS = 3  # of single sections
TRIES = 200

Sections = Mapping[str, AnnData]
Training = tuple[str, int, dict[str, AnnData]]  # kind, draw, sections


def clip_targets(sections: Sections, targets: Sequence[str]) -> None:
    """Set the targets to what models see, each with the limit of its whole section, whichever spots train later."""
    for section, target in product(sections.values(), targets):
        section.layers[target] = normalization.clip(section.layers[target], target)


# What is trained on ---------------------------------------------------------------------------------------------


def split_by_patient(held_out: str, sections: Sections) -> tuple[list[str], list[str]]:
    """The other sections of the held-out one's patient, and those of other patients."""
    patient = patients_of(sections)
    own = [name for name in sections if patient[name] == patient[held_out] and name != held_out]
    return own, [name for name in sections if patient[name] != patient[held_out]]


def with_own(
    own: Sequence[str], away: Sequence[str], rng: np.random.Generator, n_draws: int = N_DRAWS
) -> list[tuple[str, ...]]:
    """Sets as large as `away`, drawn from both, each with a section of `own`; fewer than `n_draws` where few exist."""
    drawn = (tuple(sorted(rng.permutation([*own, *away])[: len(away)])) for _ in range(TRIES))
    return [names for names in dict.fromkeys(drawn) if set(names) & set(own)][:n_draws]


def with_fewer_spots(training: Sections, n_spots: int, rng: np.random.Generator) -> dict[str, AnnData]:
    """The training sections with `n_spots` of their spots in all, drawn at random; sections without one are gone."""
    sizes = [section.n_obs for section in training.values()]
    kept = np.isin(np.arange(sum(sizes)), rng.choice(sum(sizes), n_spots, replace=False))
    parts = zip(training, np.split(kept, np.cumsum(sizes)[:-1]), strict=True)
    return {name: training[name][part].copy() for name, part in parts if part.any()}


def shallower(section: AnnData, keep: float, targets: Sequence[str], rng: np.random.Generator) -> AnnData:
    """Each molecule kept with probability `keep`, and the targets made of what is left.

    The section may hold a panel only: molecules of all other genes, the rest of `obs["total_counts"]`, go the same
    way. The counts themselves stay as they were.
    """
    counts, total = section.layers[COUNTS].toarray().astype(int), section.obs["total_counts"].to_numpy(int)
    left = rng.binomial(counts, keep)
    library = left.sum(axis=1) + rng.binomial(total - counts.sum(axis=1), keep)
    made = section.copy()
    for target in targets:
        kernel = normalization.named(normalization.TARGETS, "target", target).values
        values = kernel(left, library.astype(float), left.sum(axis=0) / library.sum())
        made.layers[target] = normalization.clip(values, target)
    return made


def median_depth(sections: Sections, names: Sequence[str]) -> float:
    """Median counts of a spot over the sections named, in the precision of the totals: draws follow from it."""
    return np.median(np.concatenate([sections[name].obs["total_counts"] for name in names]))


def trainings(
    held_out: str, sections: Sections, targets: Sequence[str], rng: np.random.Generator
) -> Iterator[Training]:
    """Every training of a section, in the order of `TRAININGS` within a draw; the first holds all other sections.

    The others are thinned to the same number of spots, in as many draws as there are sets with the own patient; at
    equal depth the deeper of the two loses molecules until its median spot is as shallow as the other's.
    """
    own, away = split_by_patient(held_out, sections)
    yield ALL, 0, {name: sections[name] for name in [*own, *away]}
    sets = with_own(own, away, rng) if own and away else []
    n_spots = min((sum(sections[name].n_obs for name in names) for names in [away, *sets]), default=0)
    for draw, names in enumerate(sets):
        both = {OWN: names, AWAY: away}
        depth = min(median_depth(sections, chosen) for chosen in both.values())
        for kind, chosen in both.items():
            yield kind, draw, with_fewer_spots({name: sections[name] for name in chosen}, n_spots, rng)
            keep = depth / median_depth(sections, chosen)
            equal = {name: shallower(sections[name], keep, targets, rng) for name in chosen}
            yield EQUAL[kind], draw, with_fewer_spots(equal, n_spots, rng)


def one_section_trainings(
    held_out: str, sections: Sections, rng: np.random.Generator, n_draws: int = N_PAIRS
) -> Iterator[Training]:
    """Single sections, one of the patient and one of another, in pairs thinned to as many spots."""
    own, away = (rng.permutation(names) for names in split_by_patient(held_out, sections))
    for draw, pair in enumerate(zip(own[:n_draws], away[:n_draws], strict=False)):
        n_spots = min(sections[name].n_obs for name in pair)
        for kind, name in zip((OWN, AWAY), pair, strict=True):
            yield kind, draw, with_fewer_spots({name: sections[name]}, n_spots, rng)


# Fits -----------------------------------------------------------------------------------------------------------


def columns_of(k: int) -> dict[str, int | None]:
    """Columns of scores and how many of the best genes each is over; None is all genes."""
    return {"pcc_10": 10, f"pcc_{k}": k, "pcc_all": None}


def score(held: AnnData, k: int, spots: np.ndarray | None = None) -> dict[str, float]:
    """PCC-k of a prediction and the mean over all genes, in `columns_of(k)`; with `spots` also chance_95 of PCC-k.

    `spots` is the `judge.basis` of the section.
    """
    measured, predicted = held.layers[MEASURED], held.layers[PREDICTED]
    pcc = pearson(measured, predicted)
    found = {c: np.nanmean(pcc) if n is None else top_genes.pcc_at_k(pcc, n) for c, n in columns_of(k).items()}
    return found if spots is None else found | {"chance_95": judge.pcc(measured, predicted, spots, k)["chance_95"]}


def fit_rows(
    training: Training,
    held_out: str,
    sections: Sections,
    panel: Sequence[str],
    fitted: Sequence[tuple[str, str]],
    k: int,
    spots: np.ndarray | None = None,
) -> list[dict]:
    """A row for each target and backbone `fitted` on one training, with n_own and n_spots besides.

    n_own counts the sections trained on of the held-out one's patient; `spots` as in `score`.
    """
    kind, draw, parts = training
    patient = patients_of(sections)
    row = {"section": held_out, "patient": patient[held_out], "training": kind, "draw": draw}
    row["trained_on"] = " ".join(parts)
    row["n_own"] = sum(patient[name] == patient[held_out] for name in parts)
    row["n_spots"] = sum(part.n_obs for part in parts.values())
    together = {**parts, held_out: sections[held_out]}
    # Ridge and floors have no chance in them, so one fit of each is enough.
    return [
        row
        | {"target": target, "backbone": backbone}
        | score(backbones.predict(together, held_out, target, backbone, genes=panel), k, spots)
        for target, backbone in fitted
    ]


def fits(
    sections: Sections,
    panels: Mapping[str, Sequence[str]],
    targets: Sequence[str],
    k: int,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Ridge and every floor on each of `trainings` of each section, and ridge alone at equal depth: a row a fit.

    `panels` holds the genes to predict in each section.
    """
    floors, rows = backbones.different(BACKBONES, sections), []
    for held_out in tqdm(sections, "patients", disable=not progress):
        spots = judge.basis(sections[held_out])
        for training in trainings(held_out, sections, targets, np.random.default_rng(seed)):
            kind, draw, _ = training
            fitted = [*product(targets, BACKBONES[:1] if kind in EQUAL.values() else floors)]
            chance = spots if kind in WITH_CHANCE and draw == 0 else None
            rows += fit_rows(training, held_out, sections, panels[held_out], fitted, k, chance)
    return pd.DataFrame(rows)


def one_section_fits(
    sections: Sections,
    panels: Mapping[str, Sequence[str]],
    targets: Sequence[str],
    k: int,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """What needs no image, on each of `one_section_trainings` of each section: a row a fit."""
    rows = []
    for held_out in tqdm(sections, "one section each", disable=not progress):
        for training in one_section_trainings(held_out, sections, np.random.default_rng(seed)):
            fitted = [*product(targets, backbones.WITHOUT_IMAGE)]
            rows += fit_rows(training, held_out, sections, panels[held_out], fitted, k)
    columns = ["section", "patient", "training", "draw", "trained_on", "target", "backbone", *columns_of(k)]
    return pd.DataFrame(rows, columns=columns)
