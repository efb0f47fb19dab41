"""Where cellularity, depth and targets are high: the regions that a pathologist drew, or rings, side by side.

Everything is a rank within the section, from 0 to 1, so that cells, molecules and targets stand on one axis.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.spatial import ConvexHull
from scipy.stats import rankdata

from helpers.labels import counted, label, of_cells
from helpers.schema import LATTICE, cellularity, covariates, has_cellularity
from helpers.scores import coupling, spatial
from helpers.targets import normalization

CALLED = {"nuclei": "nuclei per spot", "depth": "total counts"}
RINGS = ("outermost quarter", "second quarter", "third quarter", "innermost quarter")
WHOLE = "all regions"
LITTLE = 0.05  # of a median rank
LEAST = 30  # spots of a region, below which a rank correlation has a standard error of more than 0.18


def rings(section: AnnData) -> pd.Series:
    """Quarters of the spots by their distance from the convex hull of all: regions of a tissue on which none are drawn.

    Nothing that was measured enters. They follow the layers of a round organ as the olfactory bulb, roughly.
    """
    xy = np.asarray(section.obsm[LATTICE], float)
    sides = ConvexHull(xy).equations
    inside = -(xy @ sides[:, :2].T + sides[:, 2]).max(axis=1)
    quarter = (rankdata(inside, method="ordinal") - 1) * len(RINGS) // len(xy)
    return pd.Series(np.array(RINGS)[quarter], index=section.obs_names, name="label")


def profile(section: AnnData, regions: pd.Series, panel: Sequence[str], targets: Sequence[str]) -> pd.DataFrame:
    """Ranks of the spots of one section, a row for each spot and quantity: region, what and value.

    Quantities are CALLED (nuclei where cellularity is known), and of each target the mean over the panel's genes of a
    spot's rank. `regions` names the region of those spots that have one.
    """
    known = covariates(section)
    numbers = {called: known[name] for name, called in CALLED.items() if name in known}
    for target in targets:
        ranks = rankdata(normalization.get(target)(section, panel), axis=0)
        numbers[target] = ranks.mean(axis=1)
    places = section.obs_names.get_indexer(regions.index)
    tables = [
        pd.DataFrame({"region": regions.to_numpy(), "what": name, "value": _share(values)[places]})
        for name, values in numbers.items()
    ]
    return pd.concat(tables, ignore_index=True)


def coupled_within(section: AnnData, regions: pd.Series, panel: Sequence[str], targets: Sequence[str]) -> pd.DataFrame:
    """How closely targets follow cellularity among the spots of each region, and among all that have a region.

    Columns target, region (WHOLE first), n_spots, rho (median over genes of |Spearman's rho|) and chance_95, the 95 %
    point of the same with maps as smooth; no row for a region of fewer than LEAST spots or without cellularity.
    """
    places, rows = section.obs_names.get_indexer(regions.index), []
    if not has_cellularity(section):
        return pd.DataFrame(columns=["target", "region", "n_spots", "rho", "chance_95"])
    cells, lattice = cellularity(section), section.obsm[LATTICE]
    parts = {WHOLE: places} | {name: places[regions.to_numpy() == name] for name in pd.unique(regions)}
    parts = {name: spots for name, spots in parts.items() if len(spots) >= LEAST}
    bases = {name: spatial.moran_basis(lattice[spots]) for name, spots in parts.items()}
    for target in targets:
        values = normalization.get(target)(section, panel)
        for name, spots in parts.items():
            both = values[spots], cells[spots]
            rho, drawn = spatial.null_correlations(*both, bases[name], rank=True, n_draws=spatial.N_DRAWS)
            chance = np.quantile(coupling.metrics_of(drawn)[0], 0.95)
            rows.append((target, name, len(spots), coupling.metrics_of(rho)[0], chance))
    return pd.DataFrame(rows, columns=["target", "region", "n_spots", "rho", "chance_95"])


def _share(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, the lowest, to 1."""
    return (rankdata(values) - 1) / max(1, len(values) - 1)


def section_to_show(
    sections: Mapping[str, AnnData], example: str, drawn: Mapping[str, pd.Series]
) -> tuple[str, pd.Series]:
    """The section to show and its regions: the example's, else the first that are drawn, else rings of the example."""
    name = example if example in drawn else next(iter(drawn), example)
    return name, drawn[name] if name in drawn else rings(sections[name])


def sentence(table: pd.DataFrame, name: str) -> str:
    """Whether the densest region of a section is the deepest, in the median of its spots (Markdown)."""
    median = table.groupby(["what", "region"], sort=False)["value"].median().unstack("region")
    n_spots = table[table["what"] == CALLED["depth"]].groupby("region").size()
    called = {region: f"{region} ({counted(n, 'spots')})" for region, n in n_spots.items()}
    highest = median.idxmax(axis=1)
    deep = highest[CALLED["depth"]]
    said = f"Of {counted(len(n_spots), 'regions')} of {name}, medians of spots, {called[deep]} is the deepest"
    if CALLED["nuclei"] in highest:
        dense = highest[CALLED["nuclei"]]
        said += " and has most nuclei" if dense == deep else f", and {called[dense]} has most nuclei"
    return of_cells(f"{said}: one section, and no test.")


def zeros_sentence(section: AnnData, regions: pd.Series, panel: Sequence[str], name: str) -> str:
    """How far the ranks of zeros alone place a region as Pearson residual: the region that they move most (Markdown).

    A log gives every zero of a gene one rank. The residual of a zero, -sqrt(mu / (1 + mu / theta)), is the nearer to 0
    the shallower its spot; small in each gene, this adds up in a mean over genes.
    """
    counts, values = normalization.counts_of(section, panel), normalization.get(normalization.RESIDUAL)(section, panel)
    places = section.obs_names.get_indexer(regions.index)
    found = {}
    for way, ranked in (("as it is", values), ("alike", np.where(counts == 0, values.min() - 1, values))):
        found[way] = pd.Series(_share(rankdata(ranked, axis=0).mean(axis=1))[places], regions.index)
    medians = pd.DataFrame(found).groupby(regions).median()
    moved = (medians["as it is"] - medians["alike"]).abs()
    if moved.max() < LITTLE:
        return f"Were all zeros of a gene one rank as residuals too, no region of {name} would move by {LITTLE}."
    region = moved.idxmax()
    own = (counts[places][regions.to_numpy() == region] == 0).mean()
    return (
        f"As {label(normalization.RESIDUAL)} {region} of {name} stands at {medians.loc[region, 'as it is']:.2f}, and "
        f"at **{medians.loc[region, 'alike']:.2f}** were all zeros of a gene one rank, as they are in a log: no region "
        f"moves further. {own:.0%} of its counts are zero, of the section's {(counts == 0).mean():.0%}; the residual "
        "of a zero is the nearer to 0 the shallower the spot, which adds up in a mean over genes. What moves is due "
        "to genes not seen, and is no expression."
    )


def within_sentence(table: pd.DataFrame, name: str) -> str:
    """What is left of a section's coupling within its regions (Markdown); takes `coupled_within`."""
    if table.empty:
        return ""
    lines = []
    for target, part in table.groupby("target", sort=False):
        listed = ", ".join(
            f"{row.region} {row.rho:.3f} ({row.chance_95:.3f}; {counted(row.n_spots, 'spots')})"
            for row in part.itertuples()
        )
        inside = part[part["region"] != WHOLE]
        above = int((inside["rho"] > inside["chance_95"]).sum())
        lines.append(f"- {label(target)}: {listed}; above chance in {above} of {counted(len(inside), 'regions')}.")
    return of_cells(
        f"Median over genes of |rho(target, nuclei)| in {name}, in brackets the 95 % point of maps as smooth and the "
        "number of spots:\n\n" + "\n".join(lines)
    )
