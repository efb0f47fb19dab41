"""Anyone's predictions -> a report card: what they score in every space, beside what one number per spot scores.

The one place, beside notebooks and `check`, where siblings meet. `python -m helpers.audit --help` says how to run it.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import typer
from anndata import AnnData
from scipy import sparse
from scipy.spatial import cKDTree

from helpers import (
    backbones,
    cohorts,
    controls,
    images,
    inference,
    layouts,
    normalization,
    nuclei_files,
    partial,
    predictions,
    report_card,
    schema,
    scores,
    sections,
    spaces,
    store,
)
from helpers import (
    nuclei as detection,
)

KS = (10, 50, 200)
K = 50  # of the flags
TARGETS = ("log2", "log1p_cp10k", "pearson_residual")
FLOORS = ("nuclei", "haematoxylin", "depth")
RECOGNIZED = 0.999  # correlation above which a given target is the same as one of ours
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
    around = inference.neighbours(lattice_steps(part)) + np.eye(len(part))
    around /= around.sum(axis=1, keepdims=True)
    rows = []
    for (method, library), values in known.items():
        for smoothed in (False, True):
            r = scores.pearson(given.to_numpy(), around @ values if smoothed else values)
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
        return _measured(controls.as_twin(section, counts), space, panel)

    ceiling = scores.noise_ceiling(section.layers[schema.COUNTS], target, seed, n_splits)
    predicted = _converted(section, values, panel, source, space)
    table = _at_ks(_measured(section, space, panel), predicted, section, n_draws, seed, ceiling)
    return table.assign(section=section.uns["section"], space=space)


def _twin_scores(
    section: AnnData, values: np.ndarray, panel: Sequence[str], source: str, space: str, n_draws, seed
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    twin = controls.as_twin(section, controls.depth_only(section.layers[schema.COUNTS], rng))
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
    pcc = scores.pearson(measured[name], one_number(known, measured, name))
    table = pd.DataFrame([{"k": k, "pcc": _pcc_at(pcc, k)} for k in _ks(pcc)])
    return table.assign(floor=floor, section=name, space=space)


def _ks(pcc: np.ndarray) -> list[int]:
    return [k for k in KS if k <= len(pcc)] or [len(pcc)]


def _pcc_at(pcc: np.ndarray, k: int) -> float:
    """PCC-k over the genes that have a PCC, where these are fewer than k; NaN where none has."""
    return scores.pcc_at_k(pcc, min(k, int(np.isfinite(pcc).sum())))


def _at_ks(
    measured: np.ndarray, predicted: np.ndarray, section: AnnData, n_draws: int, seed: int, ceiling=None
) -> pd.DataFrame:
    """PCC-k with the mean ceiling of the same genes, and PCC-k of spatially randomized predictions: median and 95 %."""
    pcc = scores.pearson(measured, predicted)
    basis = inference.moran_basis(section.obsm[schema.SPATIAL])
    _, drawn = inference.null_correlations(measured, predicted, basis, n_draws=n_draws, seed=seed)
    rows = []
    for k in _ks(pcc):
        best, value = scores.top_k(pcc, k), _pcc_at(pcc, k)
        null = np.array([_pcc_at(draw, k) for draw in drawn.T])
        rows.append(
            {
                "k": k,
                "pcc": value,
                "ceiling": np.nan if ceiling is None else np.nanmean(ceiling[best]) if len(best) else np.nan,
                "chance": np.median(null),
                "chance_95": np.quantile(null, 0.95),
                "p": inference.p_values(value, null, "greater").item(),
                "n_undefined": int(np.isnan(pcc).sum()),
            }
        )
    return pd.DataFrame(rows)


def _stacked(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


# The whole cohort -----------------------------------------------------------------------------------------------


def summarize(report: Mapping, held: Mapping[str, AnnData], n_genes: int, space: str) -> dict:
    """The numbers of the headline: medians over sections in the model's own space."""
    own = _headline(report["scores"], space)
    k = int(own["k"].iloc[0])
    patients = {_patient(section) for section in held.values()}
    row = {
        "space": space,
        "n_sections": len(held),
        "n_patients": len(patients - {""}) or None,
        "n_spots": int(sum(section.n_obs for section in held.values())),
        "n_genes": n_genes,
        "k": k,
        "pcc": own["pcc"].median(),
        "ceiling": own["ceiling"].median(),
        "chance": own["chance_95"].median(),
    }
    floors = report["floors"]
    for floor in FLOORS:
        part = _headline(floors[floors["floor"] == floor], space) if len(floors) else floors
        row[floor] = part["pcc"].median() if len(part) else None
    left = report["partial"].query("space == @space").groupby(["given", "section"])["partial"].median()
    for given in ("nuclei", "depth", "both"):
        row[f"given_{given}"] = left[given].median() if given in left else None
    row["residual_pcc"] = _headline(report["scores"], "pearson_residual")["pcc"].dropna().median()
    row["twin"] = _headline(report["twin"], space)["pcc"].median()
    return row


def _patient(section: AnnData) -> str:
    return str(section.obs["patient"].iloc[0] if "patient" in section.obs else section.uns.get("patient", ""))


def _headline(table: pd.DataFrame, space: str) -> pd.DataFrame:
    """Rows of one space, at the k nearest to 50."""
    part = table[table["space"] == space]
    return part[part["k"] == min(part["k"].unique(), key=lambda k: abs(k - K))] if len(part) else part


def flags(report: Mapping, panel_chosen_on: str) -> list[dict]:
    """What a reviewer would ask, each raised (True), not raised (False) or not to be told from the input (None)."""
    summary, k = report["summary"], report["summary"]["k"]
    found = []

    def flag(name: str, raised: bool | None, evidence: str, advice: str) -> None:
        found.append({"flag": name, "raised": raised, "evidence": evidence, "advice": advice})

    def over(score: float, other: float) -> bool | None:
        return None if np.isnan([score, other]).any() else bool(score > other)

    known = {floor: summary[floor] for floor in FLOORS if summary[floor] is not None}
    oracle = {"depth": " (measured on the spot: an oracle)"}
    words = "; ".join(f"{floor} alone {value:.3f}{oracle.get(floor, '')}" for floor, value in known.items())
    flag(
        "beaten by one number per spot",
        over(max(known.values()), summary["pcc"]),
        f"PCC-{k} {summary['pcc']:.3f} in its own space; {words}"
        + ("" if "nuclei" in known else "; neither the nuclei nor an image was given"),
        "report the excess over these floors, not the score alone",
    )
    twin, own = (_headline(report[table], summary["space"]).set_index("section") for table in ("twin", "scores"))
    skilled = twin["pcc"] > twin["chance_95"]
    flag(
        "skill on the depth-only twin",
        None if twin["pcc"].isna().all() else bool(skilled.mean() > 0.5),
        f"on counts redrawn so that spots differ in depth alone, PCC-{k} is {twin['pcc'].median():.3f} "
        f"(chance {twin['chance_95'].median():.3f}, on the real counts {own['pcc'].median():.3f}); above chance in "
        f"{skilled.sum()} of {len(skilled)} sections",
        "score in a space that is free of depth as well, and show this number",
    )
    above = own["pcc"] > own["chance_95"]
    flag(
        "no better than chance",
        None if own["pcc"].isna().all() else bool(above.mean() < 0.5),
        f"above 95 % of spatially randomized predictions in {above.sum()} of {len(own)} sections",
        "nothing else on this card says anything about such predictions",
    )
    flag(
        "panel chosen with the test section",
        {"all": True, "training": False, "unknown": None}[panel_chosen_on],
        f"genes chosen on: {panel_chosen_on}, as stated",
        "choose the genes from training sections, or say that the test section took part",
    )
    known, said = _target(report["targets"])
    flag(
        "target smoothed",
        known and known["smoothed"],
        said,
        "score against the counts as measured; smoothing lends a spot its neighbours' values",
    )
    flag(
        "library size over the panel only",
        known and known["library"] == "panel",
        said,
        "divide by all genes of a spot; the sum over a panel is itself biology",
    )
    undefined = int(own["n_undefined"].max())
    flag(
        "genes without a score",
        undefined > 0,
        f"up to {undefined} genes of a section are constant, in the prediction or as measured: no correlation",
        "say how many genes were left out, and why",
    )
    # Patients that are not known are no more than the sections.
    most = summary["n_patients"] or summary["n_sections"]
    flag(
        "too few patients for a test",
        True if most < inference.MIN_PATIENTS else False if summary["n_patients"] else None,
        f"sections: {summary['n_sections']}, patients: {summary['n_patients'] or 'not known'}",
        f"with fewer than {inference.MIN_PATIENTS} patients give the values of each section and no p",
    )
    return found


def _or_undefined(score: float) -> str:
    """A prediction of depth alone is constant once depth is divided out: it has no correlation."""
    return "undefined (constant)" if np.isnan(score) else f"{score:.2f}"


def _target(recognized: pd.DataFrame) -> tuple[dict | None, str]:
    """What the target that the model was scored against is, where it was given and is one that we know, in words."""
    if not len(recognized):
        return None, "the target that the model was scored against was not given"
    best = recognized.loc[recognized.groupby("section")["correlation"].idxmax()]
    first = best.sort_values("correlation").iloc[0].to_dict()
    library = {"all": ", divided by all genes of a spot", "panel": ", divided by the panel's sum", "none": ""}
    words = first["method"] + library[first["library"]] + ", smoothed over neighbours" * first["smoothed"]
    if first["correlation"] < RECOGNIZED:
        return None, f"the target is none that we know; the nearest is {words} (r {first['correlation']:.3f})"
    return first, f"the target is {words}"


def sentence(summary: Mapping) -> str:
    """What to paste into a paper; every number computed."""
    k, parts = summary["k"], []
    parts.append(
        f"On {summary['n_sections']} held-out section{'s' * (summary['n_sections'] > 1)} "
        f"({summary['n_spots']:,} spots, {summary['n_genes']} genes) the mean Pearson correlation of the {k} best "
        f"predicted genes is {summary['pcc']:.2f} in the space of {summary['space']} "
        f"({summary['pcc'] / summary['ceiling']:.0%} of the noise ceiling) and "
        f"{_or_undefined(summary['residual_pcc'])} in that of Pearson residuals."
    )
    if summary["nuclei"] is not None:
        parts.append(
            f"The number of nuclei alone reaches {summary['nuclei']:.2f}, an excess of "
            f"{summary['pcc'] - summary['nuclei']:+.2f}; "
            f"the median gene keeps a correlation of {summary['given_both']:.2f} given nuclei and depth."
        )
    else:
        parts.append(f"The median gene keeps a correlation of {summary['given_depth']:.2f} given sequencing depth.")
    parts.append(f"On counts in which spots differ in depth alone it reaches {summary['twin']:.2f}.")
    return " ".join(parts)


CHECKLIST = [  # question of a reviewer, flag that answers it
    ("Is it said which quantity is predicted: molecules per area, per cell, or composition?", None),
    ("Does one number per spot, the count of nuclei or the depth, predict as well?", "beaten by one number per spot"),
    ("Would the score vanish if spots differed in depth alone?", "skill on the depth-only twin"),
    ("Is the score above that of a spatially randomized prediction?", "no better than chance"),
    ("Did the held-out section take part in choosing the genes?", "panel chosen with the test section"),
    ("Is the measured target smoothed or corrected with the test section's neighbours?", "target smoothed"),
    ("Over which genes is the library size summed?", "library size over the panel only"),
    ("How many genes have no score?", "genes without a score"),
    ("Are sections of one patient treated as independent?", "too few patients for a test"),
]


# From the command line -------------------------------------------------------------------------------------------


def read_section(pattern: str, name: str, counts_layer: str | None, gene_names: str | None) -> AnnData:
    """A section from an h5ad file named by a pattern with {section}."""
    path = Path(pattern.format(section=name))
    if path.suffix != ".h5ad":
        raise ValueError(f"{path}: counts are read from .h5ad; for another layout give a config as --cohort")
    return layouts.h5ad(path.parent, path.stem, counts_layer, gene_names)


def add_nuclei(section: AnnData, path: Path) -> None:
    """Put `n_nuclei` into obs: from a table with a row a spot (spot, n_nuclei), or from a file of nuclei."""
    if path.suffix in (".csv", ".gz", ".tsv"):
        table = predictions.read_named(path)
        if "n_nuclei" not in table:
            raise ValueError(f"{path}: no column n_nuclei; it has {', '.join(table.columns)}; spots stand in the first")
        if table.index.has_duplicates:
            raise ValueError(f"{path}: spot {table.index[table.index.duplicated()][0]!r} occurs twice; keep one")
        table = table["n_nuclei"].astype(float)
        if missing := len(section.obs_names.difference(table.index)):
            raise ValueError(f"{path}: no row for {missing} of {section.n_obs} spots; give each spot's n_nuclei")
        section.obs["n_nuclei"] = table.reindex(section.obs_names).to_numpy(float)
        return
    mpp, spot_um = section.uns.get("mpp", np.nan), section.uns.get("spot_um", np.nan)
    if not (mpp > 0 and spot_um > 0):
        raise ValueError(
            f"{path}: discs of unknown width; give the counts by --cohort, or nuclei as a table of spot and n_nuclei"
        )
    found = nuclei_files.read(path, mpp)
    section.obs["n_nuclei"] = detection.count(found, section.obsm[schema.SPATIAL], mpp, spot_um)["n_nuclei"].to_numpy()


def add_image(section: AnnData, path: Path, mpp: float | None = None, spot_um: float | None = None) -> None:
    """Put `n_nuclei`, unless known, and `haematoxylin` of each spot's disc into obs, from the H&E image.

    `mpp` (um per pixel) and `spot_um` (diameter) are what the user says; else the section's, else what the file says.
    """
    mpp = mpp or section.uns.get("mpp") or images.embedded_mpp(path)
    spot_um = spot_um or section.uns.get("spot_um", np.nan)
    for value, option in ((mpp, "--mpp, um per pixel"), (spot_um, "--spot-um, the diameter of a spot in um")):
        if not (value and value > 0):
            raise ValueError(f"{path}: discs of unknown width; give {option}")
    spatial, reader = section.obsm[schema.SPATIAL], images.open(path, mpp)

    def read(*region) -> np.ndarray:
        return images.region(reader, *region)

    section.obs["haematoxylin"] = detection.haematoxylin(read, spatial, mpp, spot_um)
    if "n_nuclei" not in section.obs:
        found = detection.detect_section(read, spatial, mpp, spot_um)
        section.obs["n_nuclei"] = detection.count(found, spatial, mpp, spot_um)["n_nuclei"].to_numpy()


def named_by(pattern: str) -> dict[str, Path]:
    """The files that a pattern with {section} names, by section."""
    if pattern.count("{section}") != 1:
        raise ValueError(f"{pattern}: say where the section's name stands, as in predictions/{{section}}.csv")
    before, after = pattern.split("{section}")
    folder = Path(before) if before.endswith("/") else Path(before).parent
    start = "" if before.endswith("/") else Path(before).name
    names = {path: str(path.relative_to(folder)) for path in sorted(folder.glob(f"{start}*{after}"))}
    if not names:
        raise FileNotFoundError(f"{pattern}: no such file; {{section}} stands for the name of a section")
    return {name[len(start) : len(name) - len(after)]: path for path, name in names.items()}


def main(
    predicted: Annotated[str, typer.Option("--predictions", help="predictions/{section}.csv, .parquet, .h5ad or .npz")],
    space: Annotated[str, typer.Option(help=f"what was predicted: {', '.join(spaces.SPACES)}")],
    counts: Annotated[str, typer.Option(help="raw counts of all genes, counts/{section}.h5ad")] = "",
    cohort: Annotated[str, typer.Option(help="or a config that names the cohort, config/her2st.yaml")] = "",
    counts_layer: Annotated[str, typer.Option(help="layer of the h5ad that holds raw counts")] = "",
    gene_names: Annotated[str, typer.Option(help="column of the h5ad's var that holds symbols")] = "",
    nuclei: Annotated[
        str, typer.Option(help="nuclei/{section}.csv (spot, n_nuclei), or GeoJSON, parquet of nuclei")
    ] = "",
    image: Annotated[
        str, typer.Option(help="H&E, images/{section}.jpg: nuclei are counted in it; of a --cohort: its own")
    ] = "",
    mpp: Annotated[float | None, typer.Option(help="um per pixel, where neither cohort nor image says it")] = None,
    spot_um: Annotated[float | None, typer.Option(help="diameter of a spot in um, where the counts do not say")] = None,
    target: Annotated[str, typer.Option(help="what the model was scored against, targets/{section}.csv")] = "",
    panel_chosen_on: Annotated[Literal["training", "all", "unknown"], typer.Option()] = "unknown",
    title: Annotated[str, typer.Option(help="name of the model and cohort")] = "Predicted expression",
    out: Annotated[Path, typer.Option(help="folder of audit.html and audit.json")] = Path("audit"),
    draws: Annotated[int, typer.Option(help="spatially randomized predictions behind each chance level")] = 199,
) -> None:
    """Audit predictions of gene expression from H&E: a report card (HTML) and its numbers (JSON)."""
    try:
        files = named_by(predicted)
        known = {name: predictions.read(path) for name, path in files.items()}
        if bool(counts) == bool(cohort):
            raise ValueError("give the counts one way: --counts pattern of h5ad files, or --cohort config")
        if cohort:
            readers = cohorts.readers(cohorts.load(cohort))
            read = {name: sections.read(name=name, **readers, embedded=images.embedded_mpp) for name in known}
        else:
            read = {name: read_section(counts, name, counts_layer or None, gene_names or None) for name in known}
        for name, section in read.items() if nuclei else ():
            add_nuclei(section, Path(nuclei.format(section=name)))
        for name, section in read.items():
            if path := image.format(section=name) or (cohort and section.uns["image"]):
                add_image(section, Path(path), mpp, spot_um)
        targets = {name: predictions.read(target.format(section=name)) for name in known} if target else None
        report = assess(read, known, space, targets, panel_chosen_on, draws)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    write(report, out, title)
    print(sentence(report["summary"]))
    for flag in report["flags"]:
        if flag["raised"]:
            print(f"- {flag['flag']}: {flag['evidence']}")
    print(f"The report card: {(out / 'audit.html').resolve()}")


def plain(report: Mapping) -> dict:
    """The report as JSON can hold it: tables as lists of rows."""
    tables = {key: value for key, value in report.items() if isinstance(value, pd.DataFrame)}
    summary = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in report["summary"].items()}
    return (
        dict(report)
        | {"summary": summary}
        | {key: json.loads(table.to_json(orient="records", double_precision=5)) for key, table in tables.items()}
    )


def write(report: Mapping, folder: Path, title: str) -> None:
    """Leave audit.html, which needs nothing else, and audit.json, which holds every number of it."""
    said = sentence(report["summary"])
    store.write_json({"title": title, "sentence": said} | plain(report), folder / "audit.json")
    with store.atomic(folder / "audit.html") as partial_page:
        partial_page.write_text(report_card.page(report, title, said, CHECKLIST))


if __name__ == "__main__":
    program = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    program.command()(main)
    program()
