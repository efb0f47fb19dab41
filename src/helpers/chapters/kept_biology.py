"""What a target still knows of the tissue: regions that a pathologist drew, and the shares of cell types.

A target is a pair of names as an arm is, (size factor, transform); size factor `alone` marks the single numbers of a
spot, `as coded` published targets that are no arm. The table of `kept_table` is called `kept` elsewhere.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import eye_array
from tqdm.std import tqdm

from helpers import schema
from helpers.chapters.factorial import KEYS, Arm, arms_of, same_order
from helpers.cohort import regions, simulate
from helpers.labels import counted
from helpers.scores import biology, spatial
from helpers.targets import arms, normalization

MEASURES = {
    "separation": "separation of regions, balanced accuracy",
    "variance": "variance between regions, median gene",
    "domains": "domains, adjusted Rand index",
    "composition": "shares of cell types, median r",
}
SINGLE_NUMBERS = ("depth", "nuclei")
ALONE, CODED = "alone", "as coded"

# What is known besides the counts --------------------------------------------------------------------------------


class Labelled(NamedTuple):
    """Of one section: the region of each spot, how many rows of it had no place, and the shares of cell types."""

    regions: pd.Series | None = None
    n_without_place: int = 0
    shares: pd.DataFrame | None = None


def read_known(name: str, labels: str | None, proportions: str | None, truth: str | None) -> Labelled:
    """What is known of one section: from the truth of a simulation, or from files named by patterns with {section}."""
    if truth is not None:
        dominant, shares = regions.read_truth(f"{truth}/{name}.csv", list(simulate.CELL_TYPES))
        return Labelled(dominant, 0, shares)
    drawn = regions.read_labels(labels.format(section=name)) if labels else None
    shares = regions.read_proportions(proportions.format(section=name)) if proportions else None
    return Labelled(*(drawn or (None, 0)), shares)


def read_all_known(
    names: Iterable[str], labels: str | None, proportions: str | None, truth: str | None
) -> dict[str, Labelled]:
    """`read_known` of every section."""
    return {name: read_known(name, labels, proportions, truth) for name in names}


def usable_regions(
    known: Mapping[str, Labelled], sections: Mapping[str, AnnData]
) -> tuple[dict[str, pd.Series], pd.DataFrame]:
    """Region of each spot, in the sections that have two and spots enough, and how many spots are left out, and why.

    The table has a row for each labelled section: section, labels without a place, reasons of `regions.usable_labels`.
    """
    drawn, rows = {}, []
    for name, section in sections.items():
        if known[name].regions is not None:
            kept, left_out = regions.usable_labels(known[name].regions, section.obs_names)
            rows.append({"section": name, "labels without a place": known[name].n_without_place} | left_out)
            if kept.nunique() > 1 and len(kept) > 3 * biology.N_ALIKE:
                drawn[name] = kept
    columns = ["section", "labels without a place", "unlabelled", "undetermined", "rare"]
    return drawn, pd.DataFrame(rows, columns=columns)


def usable_shares(known: Mapping[str, Labelled], sections: Mapping[str, AnnData]) -> dict[str, pd.DataFrame]:
    """Shares of cell types, spots x types, of each section that has them; spots without counts are left out."""
    there = {name: known[name].shares for name in sections if known[name].shares is not None}
    return {
        name: shares.loc[shares.index.intersection(sections[name].obs_names, sort=False)]
        for name, shares in there.items()
    }


def regions_table(left_out: pd.DataFrame, drawn: Mapping[str, pd.Series]) -> pd.DataFrame:
    """The table of `usable_regions` with the regions that are used and their spots, as it is shown."""
    listed = {name: ", ".join(f"{r} {n}" for r, n in kept.value_counts().items()) for name, kept in drawn.items()}
    table = left_out.assign(regions=left_out["section"].map(listed).fillna("too few to compare"))
    return table.rename(columns={"rare": f"in a region under {regions.MIN_SPOTS} spots"})


# Targets ---------------------------------------------------------------------------------------------------------


def distinct_arms(sections: Mapping[str, AnnData], panels: Mapping[str, Sequence[str]]) -> dict[Arm, Arm]:
    """Of every arm the one that orders the spots alike in every gene and stands for it.

    It is asked of the smallest section, of those with nuclei where there are any: alike is a matter of formulas.
    """
    with_nuclei = [name for name, section in sections.items() if schema.has_cellularity(section)]
    one = min(with_nuclei or sections, key=lambda name: sections[name].n_obs)
    values = {arm: arms.arm(sections[one], *arm, panels[one]) for arm in arms_of(sections[one])}
    return same_order({arm: biology.unit_ranks(of_genes) for arm, of_genes in values.items()})


def log_of_one_added(counts: np.ndarray, library: np.ndarray, n_genes: int) -> np.ndarray:
    """ln((x + 1) / (genes + n_i)), ST-Net's target: one is added to each of `n_genes` genes before the division."""
    return np.log((counts + 1) / (n_genes + library)[:, None])


def neighbourhood_mean(values: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Mean of each gene over a spot and its up to eight neighbours, spots x genes; `lattice` in steps."""
    near = spatial.neighbours(lattice) + eye_array(len(lattice), format="csr")
    return near @ values / near.sum(axis=1)[:, None]


def published_targets(section: AnnData, panel: Sequence[str]) -> dict[str, np.ndarray]:
    """Targets of methods whose code does what no arm does, by method: spots x genes of the panel.

    ST-Net adds one before it divides; TRIPLEX takes log(CP10k + 1) of the panel and averages over 3 x 3 spots. The
    lines of their code are in the table of published targets.
    """
    counts = normalization.counts_of(section, panel)
    cp10k = 1e4 * counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    return {
        "ST-Net": log_of_one_added(counts, normalization.library_size(section), section.n_vars),
        "TRIPLEX": neighbourhood_mean(np.log1p(cp10k), section.obsm[schema.LATTICE]),
    }


def targets_of(section: AnnData, panel: Sequence[str], wanted: Sequence[Arm]) -> Iterator[tuple[Arm, np.ndarray]]:
    """The `wanted` arms that a section can have, published targets, and every single number: spots x genes, or x 1."""
    for arm in arms_of(section):
        if arm in wanted:
            yield arm, arms.arm(section, *arm, panel)
    for method, values in published_targets(section, panel).items():
        yield (CODED, method), values
    for what, number in schema.covariates(section).items():
        yield (ALONE, what), number[:, None]


# What they keep --------------------------------------------------------------------------------------------------


def turned_spots(lattice: np.ndarray, n_draws: int) -> np.ndarray:
    """Which spot's label each spot takes: its own, then those of the turned tissue; spots x (1 + draws)."""
    return np.column_stack([np.arange(len(lattice)), biology.turned_on_tissue(lattice, n_draws)])


def region_scores(values: np.ndarray, far: np.ndarray, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Separation, variance between regions and domains of one target; one number for each column of `codes`.

    `values` are spots x genes, `far` those of `biology.far_apart`, `codes` regions as 0, 1, ..., spots x draws.
    """
    found = biology.components(values)
    return {
        "separation": biology.separation(codes, biology.look_alikes(found, far), far),
        "variance": np.median(biology.variance_by_region(values, codes), axis=0),
        "domains": biology.domain_recovery(found, codes),
    }


def composition_scores(values: np.ndarray, far: np.ndarray, shares: np.ndarray) -> dict[str, np.ndarray]:
    """Agreement of one target with composition, median over cell types; `shares` are spots x types x draws."""
    alike = biology.look_alikes(biology.components(values), far)
    return {"composition": np.nanmedian(biology.composition_agreement(shares, alike), axis=0)}


def score_targets(
    section: AnnData, spots: pd.Index, panel: Sequence[str], wanted: Sequence[Arm], known: np.ndarray, scores: Callable
) -> list[tuple]:
    """Every target of one section by `scores`, a row a target and measure.

    `known` is of these spots, the real one first, then as turned; a row has KEYS, measure, value, chance (mean of the
    turned) and chance_95.
    """
    at = section.obs_names.get_indexer(spots)
    far = biology.far_apart(section.obsm[schema.LATTICE][at])
    rows = []
    for target, values in targets_of(section, panel, wanted):
        for measure, found in scores(values[at], far, known).items():
            row = found[0], found[1:].mean(), np.quantile(found[1:], 0.95)
            rows.append((section.uns["section"], *target, measure, *row))
    return rows


def kept_table(
    sections: Mapping[str, AnnData],
    panels: Mapping[str, Sequence[str]],
    drawn: Mapping[str, pd.Series],
    shares: Mapping[str, pd.DataFrame],
    wanted: Sequence[Arm],
    n_draws: int,
) -> pd.DataFrame:
    """What every target keeps of regions and composition, and by chance, in every section where they are known.

    Columns KEYS, measure, value, chance, chance_95.
    """
    rows = []
    for name, labels in tqdm(drawn.items(), "regions"):
        turned = turned_spots(sections[name][labels.index].obsm[schema.LATTICE], n_draws)
        codes = pd.factorize(labels, sort=True)[0][turned]
        rows += score_targets(sections[name], labels.index, panels[name], wanted, codes, region_scores)
    for name, table in tqdm(shares.items(), "composition"):
        turned = turned_spots(sections[name][table.index].obsm[schema.LATTICE], n_draws)
        maps = np.moveaxis(table.rank().to_numpy()[turned], 2, 1)
        rows += score_targets(sections[name], table.index, panels[name], wanted, maps, composition_scores)
    return pd.DataFrame(rows, columns=[*KEYS, "measure", "value", "chance", "chance_95"])


def is_of(table: pd.DataFrame, target: Arm) -> pd.Series:
    """Which rows are of this target. bool"""
    return (table["size_factor"] == target[0]) & (table["transform"] == target[1])


def of_target(kept: pd.DataFrame, measure: str, target: Arm) -> pd.DataFrame:
    """Value, chance and chance_95 of one target by one measure, indexed by section."""
    part = kept[(kept["measure"] == measure) & is_of(kept, target)]
    return part.set_index("section")[["value", "chance", "chance_95"]]


# In words --------------------------------------------------------------------------------------------------------


def evidence_sentence(n_drawn: int, n_shares: int, simulated: bool) -> str:
    """Where regions and shares of cell types come from, and what they are worth as evidence (Markdown)."""
    if simulated:
        return (
            "Regions are the truth of the simulation: the cell type that most of a spot's RNA comes from. "
            "So are the shares of cell types."
        )
    if not (n_drawn or n_shares):
        return (
            "**This cohort comes with neither regions nor proportions of cell types**: only the targets of published "
            "methods are placed here."
        )
    return (
        f"Regions were drawn on the image by a pathologist, without the counts, in {counted(n_drawn, 'sections')}. "
        f"Proportions of cell types, in {counted(n_shares, 'sections')}, were **estimated from the same counts**: "
        "they are no independent evidence."
    )


def rows_sentence(kept: pd.DataFrame, n_arms: int, n_draws: int) -> str:
    """What the table of `kept_table` holds (Markdown)."""
    return (
        f"{n_arms} arms that differ, {counted(len(kept), 'rows')}: "
        "{download}`frontier.csv <results/frontier.csv>`. "
        f"`chance` and `chance_95` are the mean and the 95 % point of {n_draws} turned maps, chance on this page the "
        "latter; size factor `alone` marks the single numbers, `as coded` published targets."
    )
