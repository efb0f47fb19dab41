"""Table 1 under every way to compute it: every reading of the nuclei, spots, panel and target, section by section."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData
from tqdm.std import tqdm

from helpers import columns
from helpers.scores import coupling, judge, spatial
from helpers.targets import normalization
from helpers.targets.normalization import LOG, RESIDUAL
from helpers.targets.panel import choose_panel, gene_statistics

OF_COUPLINGS = ("nuclei", "spots", "panel", "library", "p_j", "theta", "clip", "genes")
ALL_SPOTS = "all kept"
DEEP = 500  # counts of a spot: more than QC asks for, so that it can be read on the spots that were kept
FEWEST_SPOTS = 20  # of a section: fewer give a correlation whose standard error exceeds 0.22
OTHER_THETAS = (10.0, np.inf)  # infinite: Poisson

# What can be chosen ---------------------------------------------------------------------------------------------


def possible_panels(
    statistics: Mapping[str, pd.DataFrame], with_image: Sequence[str], size: int, section: str
) -> dict[str, list[str]]:
    """The panel of one section under each reading: from all sections, without this one, from those with an image.

    `statistics` are those of `targets.panel.gene_statistics`, by section.
    """
    found = {"all sections": choose_panel(statistics, size)}
    found["without the section"] = choose_panel(statistics, size, [section])
    if len(with_image) < len(statistics):
        found["sections with image"] = choose_panel({name: statistics[name] for name in with_image}, size)
    return found


def pooled(cohort: Sequence[str], with_image: Sequence[str], section: str) -> dict[str, list[str]]:
    """Sections that may give a gene its share p_j: the section itself, the cohort, those that train a model for it."""
    found = {"section": [section], "cohort": list(cohort)}
    if len(with_image) > 1:
        found["training sections"] = [other for other in with_image if other != section]
    return found


def gene_shares(totals: Sequence[pd.Series], panel: Sequence[str], of_panel: bool) -> np.ndarray:
    """p_j: counts of each gene of the panel per count, of all genes or `of_panel`, pooled over sections. (genes,)

    `totals` are the counts of every gene, one series a section; a gene that a section lacks has no count there.
    """
    counts = sum(total.reindex(panel, fill_value=0).to_numpy() for total in totals)
    return counts / (counts.sum() if of_panel else sum(total.sum() for total in totals))


def quantities(table: pd.DataFrame) -> pd.Series:
    """Name of the quantity of each row: its metric, and the target or the k that it is of, where there is one."""
    table = table.reindex(columns=["metric", "target", "k"]).astype(object)
    parts = table["target"].where(table["target"].notna(), table["k"].map("k = {:.0f}".format, na_action="ignore"))
    return table["metric"] + (", " + parts).fillna("")


def dispersions(own: float) -> dict[str, float]:
    """Dispersions by name, the book's own first."""
    return {f"{theta:g}": float(theta) for theta in (own, *OTHER_THETAS)}


def complete_readings(readings: pd.DataFrame) -> list[str]:
    """Readings of the nuclei that every section has, in the table's order; it has section and reading."""
    sections_of = readings.groupby("reading", sort=False)["section"].nunique()
    return list(sections_of.index[sections_of == readings["section"].nunique()])


def nuclei_of(readings: pd.DataFrame, sections: Mapping[str, AnnData]) -> dict[str, pd.DataFrame]:
    """Nuclei under every complete reading, spots x readings, of each section that the table knows, in its order.

    `readings` has section, spot, reading and value.
    """
    names = complete_readings(readings)
    return {
        section: part.pivot(index="spot", columns="reading", values="value").loc[sections[section].obs_names, names]
        for section, part in readings.groupby("section", sort=False)
    }


def spots_by_reading(sections: Mapping[str, AnnData], names: Iterable[str]) -> dict[str, dict[str, pd.Index]]:
    """Spots of each named section under each reading: all that were kept, and those that reach `DEEP` counts.

    The second is no reading where it leaves out no spot, or leaves a section too few.
    """
    kept = {name: sections[name].obs_names for name in names}
    deep = {name: spots[normalization.library_size(sections[name]) >= DEEP] for name, spots in kept.items()}
    enough = all(len(spots) >= FEWEST_SPOTS for spots in deep.values())
    fewer = any(len(spots) < len(kept[name]) for name, spots in deep.items())
    return {ALL_SPOTS: kept} | ({f"{DEEP} counts": deep} if enough and fewer else {})


def by_spots(spots: Mapping[str, Mapping[str, pd.Index]], section: str) -> list[tuple[pd.Index, list[str]]]:
    """The different sets of spots of a section among `spots_by_reading`, each with the readings that it stands for."""
    found = {}
    for reading, of_section in spots.items():
        read = of_section[section]
        found.setdefault(len(read), (read, []))[1].append(reading)  # of two readings one lies within the other
    return list(found.values())


# Table 1 --------------------------------------------------------------------------------------------------------


def every_target(
    section: AnnData, panel: Sequence[str], totals: Mapping[str, Sequence[pd.Series]], thetas: Mapping[str, float]
) -> Iterator[tuple[dict, np.ndarray]]:
    """Both targets under every reading, spots x genes, each after what was chosen for it.

    `totals` are the counts of every gene in each of the sections that may give p_j, by the name of that choice.
    """
    counts = normalization.counts_of(section, panel)
    yield {"target": LOG}, np.log2(counts + 1)
    libraries = {"all genes": normalization.library_size(section), "panel": counts.sum(axis=1)}
    for (library, n), whose, theta in product(libraries.items(), totals, thetas):
        share = gene_shares(totals[whose], panel, library == "panel")
        values = normalization.residuals(counts, n, share, thetas[theta])
        chosen = {"target": RESIDUAL, "library": library, "p_j": whose, "theta": theta}
        yield chosen | {"clip": "none"}, values
        yield chosen | {"clip": "clipped"}, normalization.clip(values, RESIDUAL)


def summaries_over_genes(rho: np.ndarray, drawn: np.ndarray) -> list[dict]:
    """Metrics of the genes of one section, each with the mean of its null; a gene that is constant is left out.

    `rho` is per gene, `drawn` genes x random maps. Keys metric, genes (how they are summarized), value and chance.
    """
    (median, share), null = coupling.metrics_of(rho), coupling.metrics_of(drawn).mean(axis=1)
    found = [
        ("median_abs_rho_nuclei", "median", median, null[0]),
        ("median_abs_rho_nuclei", "mean", np.nanmean(np.abs(rho)), np.nanmean(np.abs(drawn))),
        ("share_coupled_nuclei", None, share, null[1]),
    ]
    return [dict(zip(("metric", "genes", "value", "chance"), row, strict=True)) for row in found]


def target_couplings(
    section: AnnData,
    panels: Mapping[str, Sequence[str]],
    nuclei: pd.DataFrame,
    totals: Mapping[str, Sequence[pd.Series]],
    thetas: Mapping[str, float],
) -> list[dict]:
    """Coupling of every reading of both targets to every reading of the nuclei in one section, a row each.

    `nuclei` are spots x readings; `panels` and `totals` are those of `possible_panels` and `every_target`. Targets are
    those of the whole section, read on the spots of `nuclei`.
    """
    at, spots, rows = section.obs_names.get_indexer(nuclei.index), judge.basis(section[nuclei.index]), []
    ranked = {reading: columns.unit(nuclei[reading].to_numpy(), rank=True) for reading in nuclei}
    for kind, panel in panels.items():
        for choice, values in every_target(section, panel, totals, thetas):
            X = columns.unit(values[at], rank=True)  # ranks once, for all readings of the nuclei
            for reading, y in ranked.items():
                rho, drawn = spatial.null_correlations(X, y, spots, n_draws=spatial.N_DRAWS_OF_MEAN)
                row = {"section": section.uns["section"], "panel": kind, "nuclei": reading, **choice}
                rows += [row | found for found in summaries_over_genes(rho, drawn)]
    return rows


def depth_couplings(section: AnnData, panels: Mapping[str, Sequence[str]], nuclei: pd.DataFrame) -> list[dict]:
    """Correlation of every reading of the nuclei with depth, over all genes and over each panel, a row each.

    Read on the spots of `nuclei`.
    """
    section = section[nuclei.index]
    depths = {(None, "all genes"): normalization.library_size(section)}
    depths |= {(kind, "panel"): normalization.counts_of(section, panel).sum(axis=1) for kind, panel in panels.items()}
    rho = columns.spearman(nuclei.to_numpy(), np.column_stack(list(depths.values())))
    rows = []
    for (i, reading), (j, (kind, library)) in product(enumerate(nuclei), enumerate(depths)):
        row = {"section": section.uns["section"], "panel": kind, "nuclei": reading, "library": library}
        rows.append(row | {"metric": "rho_nuclei_depth", "value": rho[i, j], "chance": 0.0})
    return rows


def every_coupling(
    sections: Mapping[str, AnnData],
    nuclei: Mapping[str, pd.DataFrame],
    spots: Mapping[str, Mapping[str, pd.Index]],
    size: int,
    thetas: Mapping[str, float],
) -> pd.DataFrame:
    """Every number of Table 1 in every section that has nuclei, under every reading.

    `nuclei` are spots x readings, by section, `spots` is `spots_by_reading` of them; panels have `size` genes. Columns
    quantity, section, those of OF_COUPLINGS, value, chance.
    """
    statistics = {name: gene_statistics(section) for name, section in sections.items()}
    panels = {name: possible_panels(statistics, list(nuclei), size, name) for name in nuclei}
    rows = []
    for name in tqdm(nuclei, "sections"):
        shared = pooled(list(sections), list(nuclei), name)
        totals = {whose: [statistics[other]["total"] for other in names] for whose, names in shared.items()}
        for read, stands_for in by_spots(spots, name):
            given = (sections[name], panels[name], nuclei[name].loc[read])
            found = target_couplings(*given, totals, thetas) + depth_couplings(*given)
            rows += [row | {"spots": reading} for reading in stands_for for row in found]
    table = pd.DataFrame(rows)
    return table.assign(quantity=quantities(table))
