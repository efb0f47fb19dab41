"""Anyone's predictions -> a report card: what they score in every space, beside what one number per spot scores."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.spatial import cKDTree

from helpers import columns, schema
from helpers.audit import predictions
from helpers.audit.flags import flags
from helpers.audit.summary import FLOORS, summarize
from helpers.models import backbones
from helpers.scores import partial, predictability, spatial, top_genes
from helpers.targets import normalization, spaces, twins

KS = (10, 50, 200)
TARGETS = ("log2", "log1p_cp10k", "pearson_residual")
PANELS = ("training", "all", "unknown")


def assess(
    cohort: Mapping[str, AnnData],
    predicted: Mapping[str, pd.DataFrame],
    space: str,
    targets: Mapping[str, pd.DataFrame] | None = None,
    panel_chosen_on: str = "unknown",
    n_draws: int = 199,
    n_splits: int = 3,
    seed: int = 0,
) -> dict[str, pd.DataFrame | list | dict]:
    """Score predictions of held-out sections in every space, with floors, partial scores, nulls and flags.

    `cohort` holds sections: counts of all genes, coordinates and, where nuclei are known, `obs["n_nuclei"]`;
    `predicted` maps the same names to spots x genes; `space` is a key of `spaces.SPACES`; `targets` are what the model
    was scored against, where that is known. Returns the tables `scores`, `twin`, `partial`, `floors` and `targets`,
    and `remarks`, `summary` and `flags`. ValueError, naming the section, for what cannot be scored.
    """
    if space not in spaces.SPACES:
        raise ValueError(f"unknown space {space!r}; known: {', '.join(spaces.SPACES)}")
    if panel_chosen_on not in PANELS:
        raise ValueError(f"panel_chosen_on {panel_chosen_on!r} is not one of {', '.join(PANELS)}")
    held, tables, remarks = {}, {}, []
    for name, section in cohort.items():
        where = f"section {name}"
        tables[name], said = predictions.match(predicted[name], section.obs_names, section.var_names, where)
        held[name] = section[tables[name].index].copy()
        held[name].uns["section"] = name
        said += spaces.doubts(tables[name].to_numpy(), space, _counts(held[name], tables[name].columns))
        remarks += [f"{where}: {remark}" for remark in said]
    panel, said = one_panel(tables)
    remarks += said
    values = {name: table[panel].to_numpy() for name, table in tables.items()}

    judged = list(dict.fromkeys([space, *TARGETS]))
    measured = {s: {name: _measured(held[name], s, panel) for name in held} for s in judged}
    report: dict = {
        "scores": _stacked(
            _section_scores(held[n], values[n], panel, space, s, n_draws, n_splits, seed)
            for n, s in product(held, judged)
        ),
        "twin": _stacked(
            _twin_scores(held[n], values[n], panel, space, s, n_draws, seed) for n, s in product(held, judged)
        ),
        "partial": _stacked(_partial_scores(held[n], values[n], panel, space, s) for n, s in product(held, judged)),
        "floors": _stacked(_floor_scores(held, measured[s], f, n, s) for f, n, s in product(FLOORS, held, judged)),
        "targets": _stacked(recognize(held[name], targets[name], name) for name in held if targets is not None),
        "remarks": remarks,
    }
    report["summary"] = summarize(report, held, len(panel), space)
    report["flags"] = flags(report, panel_chosen_on)
    return report


# One section ----------------------------------------------------------------------------------------------------


def one_panel(predicted: Mapping[str, pd.DataFrame]) -> tuple[list[str], list[str]]:
    """The genes predicted in every section, in the order of the first, and a remark where others are left out."""
    tables = list(predicted.values())
    common = [gene for gene in tables[0].columns if all(gene in table for table in tables)]
    every = set().union(*(table.columns for table in tables))
    if not common:
        raise ValueError("no gene is predicted in every section; predict one panel everywhere, or audit sections apart")
    left_out = len(every) - len(common)
    return common, [f"{left_out} genes are not predicted in every section and are left out"] if left_out else []


def feature(section: AnnData, floor: str) -> np.ndarray | None:
    """The one number per spot of a floor, spots x 1; None where it is not known."""
    if floor == "depth":
        return np.log1p(normalization.library_size(section))[:, None]
    column = {"nuclei": "n_nuclei"}.get(floor, floor)
    return section.obs[[column]].to_numpy(float) if column in section.obs else None


def one_number(
    x: Mapping[str, np.ndarray], y: Mapping[str, np.ndarray], held_out: str, n_blocks: int = 5
) -> np.ndarray:
    """What a straight line on one number per spot predicts for a section, spots x genes.

    Fitted on the other sections; a section on its own is cut into blocks of consecutive spots, each predicted from
    the rest up to its level, which no correlation sees.
    """
    others = [name for name in x if name != held_out]
    if others:
        labels = np.repeat(others, [len(x[name]) for name in others])
        fit = (np.vstack([part[name] for name in others]) for part in (x, y))
        return backbones.line(*fit, labels, x[held_out])[0]
    out = np.empty_like(y[held_out])
    for block in np.array_split(np.arange(len(out)), n_blocks):
        rest = np.setdiff1d(np.arange(len(out)), block)
        fit = (part[held_out][rest] for part in (x, y))
        out[block] = backbones.line(*fit, np.full(len(rest), held_out), x[held_out][block])[0]
        # The mean of the rest is low where the block is high: left in, it would turn a trend against the floor.
        out[block] -= y[held_out][rest].mean(axis=0)
    return out


def recognize(section: AnnData, target: pd.DataFrame, name: str) -> pd.DataFrame:
    """Which normalization a given target is: its median correlation over genes with each that we know, best first.

    Columns section, method, library (all, panel, none), smoothed, correlation. Per-gene scaling does not matter.
    """
    given, _ = predictions.match(target, section.obs_names, section.var_names, f"target of section {name}")
    part = section[given.index]
    counts, share = _counts(part, given.columns), _share(part, given.columns)
    every, panel = normalization.library_size(part), counts.sum(axis=1)
    known = {
        ("log2", "none"): np.log2(counts + 1),
        ("log1p_cp10k", "all"): spaces.SPACES["log1p_cp10k"][0](counts, every, share),
        ("log1p_cp10k", "panel"): spaces.SPACES["log1p_cp10k"][0](counts, panel, share),
        ("pearson_residual", "all"): normalization.residuals(counts, every, share),
        ("pearson_residual", "panel"): normalization.residuals(counts, panel, counts.sum(0) / counts.sum()),
        ("counts", "none"): counts,
    }
    around = spatial.neighbours(lattice_steps(part)) + np.eye(len(part))
    around /= around.sum(axis=1, keepdims=True)
    rows = []
    for (method, library), values in known.items():
        for smoothed in (False, True):
            r = columns.pearson(given.to_numpy(), around @ values if smoothed else values)
            rows.append((name, method, library, smoothed, np.nanmedian(r) if np.isfinite(r).any() else np.nan))
    table = pd.DataFrame(rows, columns=["section", "method", "library", "smoothed", "correlation"])
    return table.sort_values("correlation", ascending=False, ignore_index=True)


def lattice_steps(section: AnnData) -> np.ndarray:
    """Spot positions in steps of the lattice: pixels over the median distance to the nearest spot."""
    xy = np.asarray(section.obsm[schema.SPATIAL], float)
    return xy / np.median(cKDTree(xy).query(xy, 2)[0][:, 1])


def _counts(section: AnnData, genes: Sequence[str]) -> np.ndarray:
    counts = section.layers[schema.COUNTS][:, section.var_names.get_indexer(genes)]
    return np.asarray(counts.todense() if sparse.issparse(counts) else counts, float)


def _share(section: AnnData, genes: Sequence[str]) -> np.ndarray:
    counts = section.layers[schema.COUNTS]
    return (np.asarray(counts.sum(0), float).ravel() / counts.sum())[section.var_names.get_indexer(genes)]


def _measured(section: AnnData, space: str, genes: Sequence[str]) -> np.ndarray:
    values = spaces.SPACES[space][0](
        _counts(section, genes), normalization.library_size(section), _share(section, genes)
    )
    return normalization.clip(values, space)


def _converted(section: AnnData, values: np.ndarray, panel: Sequence[str], source: str, space: str) -> np.ndarray:
    depth = float(np.median(normalization.library_size(section)))
    return spaces.convert(values, source, space, _share(section, panel), depth)


def _section_scores(
    section: AnnData, values: np.ndarray, panel: Sequence[str], source: str, space: str, n_draws, n_splits, seed
) -> pd.DataFrame:
    def target(counts) -> np.ndarray:
        return _measured(twins.as_twin(section, counts), space, panel)

    ceiling = predictability.noise_ceiling(section.layers[schema.COUNTS], target, seed, n_splits)
    predicted = _converted(section, values, panel, source, space)
    table = _at_ks(_measured(section, space, panel), predicted, section, n_draws, seed, ceiling)
    return table.assign(section=section.uns["section"], space=space)


def _twin_scores(
    section: AnnData, values: np.ndarray, panel: Sequence[str], source: str, space: str, n_draws, seed
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    twin = twins.as_twin(section, twins.depth_only(section.layers[schema.COUNTS], rng))
    predicted = _converted(section, values, panel, source, space)
    table = _at_ks(_measured(twin, space, panel), predicted, section, n_draws, seed)
    return table.assign(section=section.uns["section"], space=space)


def _partial_scores(
    section: AnnData, values: np.ndarray, panel: Sequence[str], source: str, space: str
) -> pd.DataFrame:
    """Per gene: Pearson's r and the partial r given nuclei, depth without that gene, and both."""
    depth = partial.depth_without(_counts(section, panel), normalization.library_size(section))
    given, nuclei = {"depth": [depth]}, feature(section, "nuclei")
    if nuclei is not None:
        given |= {"nuclei": [nuclei[:, 0]], "both": [depth, nuclei[:, 0]]}
    predicted = _converted(section, values, panel, source, space)
    table = partial.partial_scores(_measured(section, space, panel), predicted, list(panel), given)
    return table.assign(section=section.uns["section"], space=space)


def _floor_scores(
    held: Mapping[str, AnnData], measured: Mapping[str, np.ndarray], floor: str, name: str, space: str
) -> pd.DataFrame:
    known = {other: feature(section, floor) for other, section in held.items()}
    if any(value is None for value in known.values()):
        return pd.DataFrame()
    pcc = columns.pearson(measured[name], one_number(known, measured, name))
    table = pd.DataFrame([{"k": k, "pcc": _pcc_at(pcc, k)} for k in _ks(pcc)])
    return table.assign(floor=floor, section=name, space=space)


def _ks(pcc: np.ndarray) -> list[int]:
    return [k for k in KS if k <= len(pcc)] or [len(pcc)]


def _pcc_at(pcc: np.ndarray, k: int) -> float:
    """PCC-k over the genes that have a PCC, where these are fewer than k; NaN where none has."""
    return top_genes.pcc_at_k(pcc, min(k, int(np.isfinite(pcc).sum())))


def _at_ks(
    measured: np.ndarray, predicted: np.ndarray, section: AnnData, n_draws: int, seed: int, ceiling=None
) -> pd.DataFrame:
    """PCC-k with the mean ceiling of the same genes, and PCC-k of spatially randomized predictions: median and 95 %."""
    pcc = columns.pearson(measured, predicted)
    basis = spatial.moran_basis(section.obsm[schema.SPATIAL])
    _, drawn = spatial.null_correlations(measured, predicted, basis, n_draws=n_draws, seed=seed)
    rows = []
    for k in _ks(pcc):
        best, value = top_genes.top_k(pcc, k), _pcc_at(pcc, k)
        null = np.array([_pcc_at(draw, k) for draw in drawn.T])
        rows.append(
            {
                "k": k,
                "pcc": value,
                "ceiling": np.nan if ceiling is None else np.nanmean(ceiling[best]) if len(best) else np.nan,
                "chance": np.median(null),
                "chance_95": np.quantile(null, 0.95),
                "p": spatial.p_values(value, null, "greater").item(),
                "n_undefined": int(np.isnan(pcc).sum()),
            }
        )
    return pd.DataFrame(rows)


def _stacked(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
