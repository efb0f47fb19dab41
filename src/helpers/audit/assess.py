"""Anyone's predictions -> their scores in every space, beside what one number per spot scores, with nulls and flags."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.spatial import cKDTree

from helpers import columns, schema
from helpers.audit import predictions
from helpers.audit.flags import flags
from helpers.audit.summary import FLOORS, summarize
from helpers.models import backbones
from helpers.scores import judge, spatial
from helpers.targets import normalization, spaces, twins

KS = (10, 50, 200)
TARGETS = ("log2", "log1p_cp10k", "pearson_residual")
PANELS = ("training", "all", "unknown")


class Audited(NamedTuple):
    """The predictions of one section."""

    section: AnnData  # its spots that were predicted, all genes
    genes: list[str]  # that were predicted
    predicted: np.ndarray  # spots x genes
    space: str  # that they are in
    spots: np.ndarray  # `judge.basis` of the section


def assess(
    cohort: Mapping[str, AnnData],
    predicted: Mapping[str, pd.DataFrame],
    space: str,
    targets: Mapping[str, pd.DataFrame] | None = None,
    panel_chosen_on: str = "unknown",
    n_draws: int = judge.N_DRAWS,
    n_splits: int = judge.N_SPLITS,
) -> dict[str, pd.DataFrame | list | dict]:
    """Score predictions of held-out sections in every space, with floors, partial scores, nulls and flags.

    `cohort` holds sections: counts of all genes, coordinates and, where nuclei are known, `obs["n_nuclei"]`;
    `predicted` maps the same names to spots x genes; `space` is a key of `normalization.TARGETS`; `targets` are what
    the model was scored against, where that is known. Returns the tables `scores`, `twin`, `partial`, `skills`,
    `floors` and `targets`, and `remarks`, `summary` and `flags`. ValueError, naming the section, for what cannot be
    scored.
    """
    normalization.named(normalization.TARGETS, "space", space)
    if panel_chosen_on not in PANELS:
        raise ValueError(f"panel_chosen_on {panel_chosen_on!r} is not one of {', '.join(PANELS)}")
    audited, remarks = matched(cohort, predicted, space)
    judged = list(dict.fromkeys([space, *TARGETS]))
    given = {name: targets[name] for name in audited if targets is not None}
    report: dict = {
        "scores": stacked(score(one, s, n_draws, n_splits) for one, s in product(audited.values(), judged)),
        "twin": stacked(score_on_twin(one, s, n_draws) for one, s in product(audited.values(), judged)),
        "partial": stacked(partial_scores(one, s) for one, s in product(audited.values(), judged)),
        "skills": stacked(skills(one, n_draws) for one in audited.values()),
        "floors": stacked(score_floors(audited, s, floor) for s, floor in product(judged, FLOORS)),
        "targets": stacked(recognize(audited[name].section, table, name) for name, table in given.items()),
        "remarks": remarks,
    }
    report["summary"] = summarize(report, {name: one.section for name, one in audited.items()}, space)
    report["flags"] = flags(report, panel_chosen_on)
    return report


def matched(
    cohort: Mapping[str, AnnData], predicted: Mapping[str, pd.DataFrame], space: str
) -> tuple[dict[str, Audited], list[str]]:
    """Predictions beside their sections, on the spots and genes that both have, and remarks on what does not fit."""
    tables, sections, remarks = {}, {}, []
    for name, section in cohort.items():
        where = f"section {name}"
        tables[name], found = predictions.match(predicted[name], section.obs_names, section.var_names, where)
        sections[name] = section[tables[name].index].copy()
        sections[name].uns["section"] = name
        counts = normalization.counts_of(sections[name], tables[name].columns)
        found += spaces.doubts(tables[name].to_numpy(), space, counts)
        remarks += [f"{where}: {remark}" for remark in found]
    panel, left_out = one_panel(tables)
    audited = {
        name: Audited(section, panel, tables[name][panel].to_numpy(), space, judge.basis(section))
        for name, section in sections.items()
    }
    return audited, remarks + left_out


def one_panel(predicted: Mapping[str, pd.DataFrame]) -> tuple[list[str], list[str]]:
    """The genes predicted in every section, in the order of the first, and a remark where others are left out."""
    tables = list(predicted.values())
    common = [gene for gene in tables[0].columns if all(gene in table for table in tables)]
    every = set().union(*(table.columns for table in tables))
    if not common:
        raise ValueError("no gene is predicted in every section; predict one panel everywhere, or audit sections apart")
    left_out = len(every) - len(common)
    return common, [f"{left_out} genes are not predicted in every section and are left out"] if left_out else []


# One section, one space: a table with columns section and space ----------------------------------------------------


def score(one: Audited, space: str, n_draws: int, n_splits: int) -> pd.DataFrame:
    """`judge.pcc` at each of KS that the panel has genes for, with the noise ceiling."""
    ceiling = judge.ceilings(one.section, space, one.genes, n_splits)
    return at_ks(one, space, judge.measured(one.section, space, one.genes), n_draws, ceiling)


def score_on_twin(one: Audited, space: str, n_draws: int) -> pd.DataFrame:
    """The same against counts redrawn so that spots differ in depth alone (`twins.depth_only`)."""
    counts = twins.depth_only(one.section.layers[schema.COUNTS], np.random.default_rng(0))
    twin = twins.as_twin(one.section, counts)
    return at_ks(one, space, judge.measured(twin, space, one.genes), n_draws)


def at_ks(
    one: Audited, space: str, measured: np.ndarray, n_draws: int, ceiling: np.ndarray | None = None
) -> pd.DataFrame:
    """`judge.pcc` of the predictions, taken to the space, against measured values of the same spots: a row a k."""
    predicted = judge.in_space(one.predicted, one.space, space, one.section, one.genes)
    ks = judge.best_ks(KS, len(one.genes))
    rows = [{"k": k} | judge.pcc(measured, predicted, one.spots, k, n_draws, ceiling) for k in ks]
    return pd.DataFrame(rows).assign(section=one.section.uns["section"], space=space)


def partial_scores(one: Audited, space: str) -> pd.DataFrame:
    """`judge.given` of every gene: plain, and given nuclei, depth, and both."""
    predicted = judge.in_space(one.predicted, one.space, space, one.section, one.genes)
    held = judge.covariates(one.section, space, one.genes)
    table = judge.given(judge.measured(one.section, space, one.genes), predicted, one.genes, held)
    return table.assign(section=one.section.uns["section"], space=space)


def skills(one: Audited, n_draws: int) -> pd.DataFrame:
    """What the predictions know of the library, and of the composition once their own library is divided out."""
    k = judge.best_ks((50,), len(one.genes))[0]
    known = one.predicted, one.space, one.section, one.genes, one.spots
    return pd.DataFrame([{"section": one.section.uns["section"], "k": k} | judge.skills(*known, k, n_draws)])


def score_floors(audited: Mapping[str, Audited], space: str, floor: str) -> pd.DataFrame:
    """What one number per spot scores in each section, fitted on the others; nothing where a section lacks it."""
    sections = {name: one.section for name, one in audited.items()}
    features = {name: feature(section, floor) for name, section in sections.items()}
    if any(values is None for values in features.values()):
        return pd.DataFrame()
    genes = next(iter(audited.values())).genes
    measured = {name: judge.measured(section, space, genes) for name, section in sections.items()}
    rows = []
    for name in sections:
        pcc = columns.pearson(measured[name], judge.floor(features, measured, name))
        rows += [
            {"k": k, "pcc": judge.pcc_at_k(pcc, k), "floor": floor, "section": name, "space": space}
            for k in judge.best_ks(KS, len(genes))
        ]
    return pd.DataFrame(rows)


def feature(section: AnnData, floor: str) -> np.ndarray | None:
    """The one number per spot of a floor, spots x 1; None where it is not known."""
    if floor == "depth":
        return np.log1p(normalization.library_size(section))[:, None]
    try:
        return np.asarray(backbones.BACKBONES[floor].look(section), float)
    except KeyError:
        return None


def recognize(section: AnnData, target: pd.DataFrame, name: str) -> pd.DataFrame:
    """Which normalization a given target is: its median correlation over genes with each that we know, best first.

    Columns section, method, library (all, panel, none), smoothed, correlation. Per-gene scaling does not matter.
    """
    given, _ = predictions.match(target, section.obs_names, section.var_names, f"target of section {name}")
    part = section[given.index]
    around = spatial.neighbours(lattice_steps(part)) + np.eye(len(part))
    around /= around.sum(axis=1, keepdims=True)
    rows = []
    for (method, library), values in known_targets(part, given.columns).items():
        for smoothed in (False, True):
            r = columns.pearson(given.to_numpy(), around @ values if smoothed else values)
            rows.append((name, method, library, smoothed, np.nanmedian(r) if np.isfinite(r).any() else np.nan))
    table = pd.DataFrame(rows, columns=["section", "method", "library", "smoothed", "correlation"])
    return table.sort_values("correlation", ascending=False, ignore_index=True)


def known_targets(section: AnnData, genes: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
    """Targets by name and by what the library sums over: all genes, the panel, or none where it does not matter."""
    counts, share = normalization.counts_of(section, genes), judge.levels(section, genes)[0]
    every, panel = normalization.library_size(section), counts.sum(axis=1)
    found = {}
    for name, target in normalization.TARGETS.items():
        if target.holds_depth:
            found[name, "none"] = target.values(counts, every, share)
        else:
            found[name, "all"] = target.values(counts, every, share)
            found[name, "panel"] = target.values(counts, panel, counts.sum(0) / counts.sum())
    return found


def lattice_steps(section: AnnData) -> np.ndarray:
    """Spot positions in steps of the lattice: pixels over the median distance to the nearest spot."""
    xy = np.asarray(section.obsm[schema.SPATIAL], float)
    return xy / np.median(cKDTree(xy).query(xy, 2)[0][:, 1])


def stacked(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other, without the empty ones."""
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
