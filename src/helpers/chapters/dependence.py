"""What each target keeps of nuclei and depth, how predictable a gene can be, and the tables of sections and spots.

`made` maps a section's name to its AnnData with targets in layers, genes of its panel alone.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import columns, schema
from helpers.chapters.data import spots_of
from helpers.cohort import images
from helpers.labels import counted, label, of_patients
from helpers.scores import coupling, judge, spatial
from helpers.tissue import haematoxylin

Sections = Mapping[str, AnnData]

MOVED_UM = 50.0  # by which a picture placed by eye, or by the outline of the tissue, may be off
SECTION_COLUMNS = [
    *("patient", "kept", "reason", "n_spots", "n_spots_dropped", "n_shallow", "mpp", "mpp_source"),
    *("median_n_nuclei", "median_total_counts", "rho_nuclei_depth"),
]
SPOT_COLUMNS = ["section", "patient", "n_nuclei", "nuclei_area_um2", "haematoxylin", "total_counts"]


# Associations ---------------------------------------------------------------------------------------------------


def associate(section: AnnData, targets: Sequence[str], n_maps: int) -> tuple[pd.DataFrame, dict[str, dict]]:
    """`coupling.associations` of a section's targets with its depth, and with its nuclei where they are known.

    Also, by target, the draws of each metric of Table 1 under `n_maps` maps of nuclei randomized in space; by "" those
    of the correlation of nuclei with depth. Two more columns hold what either leaves of the other, as p against maps as
    smooth: p_nuclei_given_depth, and p_depth_given_nuclei.
    """
    layers = {target: section.layers[target] for target in targets}
    depth = section.obs["total_counts"].to_numpy()
    if not schema.has_cellularity(section):
        return coupling.associations(layers, section.var_names, depth), {}
    nuclei, spots = schema.cellularity(section), judge.basis(section)
    drawn = {t: spatial.null_correlations(X, nuclei, spots, rank=True, n_draws=n_maps)[1] for t, X in layers.items()}
    table, nulls = coupling.associations(layers, section.var_names, depth, nuclei, drawn), {}
    for target, X in layers.items():
        rho, given = spatial.null_correlations(*coupling.left_of_both(X, nuclei, depth), spots, n_draws=n_maps)
        of_depth = spatial.null_correlations(*coupling.left_of_both(X, depth, nuclei), spots, n_draws=n_maps)
        rows = table["target"] == target
        table.loc[rows, "p_nuclei_given_depth"] = spatial.p_values(rho, given)
        table.loc[rows, "p_depth_given_nuclei"] = spatial.p_values(*of_depth)
        nulls[target] = dict(zip(coupling.METRICS, coupling.metrics_of(drawn[target]), strict=True))
        nulls[target][coupling.GIVEN_DEPTH] = coupling.metrics_of(given)[0]
    of_depth = spatial.null_correlations(depth.astype(float), nuclei, spots, rank=True, n_draws=n_maps)[1]
    return table, nulls | {"": {coupling.OF_NUCLEI_AND_DEPTH: of_depth[0]}}


def associate_sections(made: Sections, targets: Sequence[str], n_maps: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`associate` of every section, in one table with a column section, and the `coupling.chance_table` of them all."""
    tables, nulls = {}, {}
    for name, section in made.items():
        tables[name], null = associate(section, targets, n_maps)
        nulls |= {(name, target): draws for target, draws in null.items()}
    patients = {name: section.obs["patient"].iloc[0] for name, section in made.items()}
    names = ["section", *dict.fromkeys(name for table in tables.values() for name in table)]
    # In pandas to come, a column of which a section knows nothing decides what the others hold.
    known = {name: table.dropna(axis=1, how="all") for name, table in tables.items()}
    table = pd.concat(known, names=["section"]).reset_index("section").reset_index(drop=True)
    return table.reindex(columns=names), coupling.chance_table(nulls, patients)


def describe_undefined(associations: pd.DataFrame) -> str:
    """How many pairs of gene and section have no correlation, by target."""
    by_target = associations["rho_depth"].isna().groupby(associations["target"], sort=False)
    listed = ", ".join(
        f"{part.sum()} of {counted(len(part), 'pairs')} of gene and section for {label(target)}"
        for target, part in by_target
    )
    return (
        f"A gene that is constant in a section has no correlation there and is left out of its medians: {listed}. "
        "[associations.csv.gz](results/associations.csv.gz)"
    )


def moved_couplings(made: Sections, targets: Sequence[str], um: float = MOVED_UM) -> pd.DataFrame:
    """How far the place of a reduced or turned picture decides its coupling, a row a section.

    Median over genes of |rho| of each target with the stain of the discs: in place, and its range over eight directions
    in which the picture is moved by `um`. Sections on their full-resolution image have no row.
    """
    rows = []
    for name, section in made.items():
        if "placement" not in section.uns or schema.measure(section.obs) != "haematoxylin":
            continue
        read, mpp, spot_um = images.reader_of(section), float(section.uns["mpp"]), float(section.uns["spot_um"])
        turns = np.arange(8) * np.pi / 4
        steps = um / mpp * np.column_stack([np.cos(turns), np.sin(turns)])
        moved = [haematoxylin.haematoxylin(read, section.obsm[schema.SPATIAL] + step, mpp, spot_um) for step in steps]
        row = {"section": name}
        for target in targets:
            here, *there = (
                np.nanmedian(np.abs(columns.spearman(section.layers[target], stain)))
                for stain in (schema.cellularity(section), *moved)
            )
            row[label(target)] = f"{here:.3f} ({min(there):.3f} to {max(there):.3f})"
        rows.append(row)
    return pd.DataFrame(rows)


# Noise ceilings -------------------------------------------------------------------------------------------------


def ceilings_of_sections(
    sections: Iterable[AnnData], panels: Mapping[str, Sequence[str]], targets: Sequence[str], n_splits: int
) -> pd.DataFrame:
    """The noise ceiling of every gene of each section's panel in each target: section, target, gene, ceiling.

    `sections` hold the counts of all genes, and may be read one by one.
    """
    tables = []
    for section in sections:
        name = section.uns["section"]
        for target in targets:
            ceiling = judge.ceilings(section, target, panels[name], n_splits)
            part = pd.DataFrame({"section": name, "target": target, "gene": panels[name], "ceiling": ceiling})
            tables.append(part)
    return pd.concat(tables, ignore_index=True)


# The answer -----------------------------------------------------------------------------------------------------


def answer(summary: pd.DataFrame, chances: pd.DataFrame, ceilings: pd.DataFrame, patients: Mapping[str, str]) -> str:
    """How closely the median gene of each target follows depth and nuclei, and how predictable it can be at all.

    `summary` is that of `coupling.section_summary`, `chances` its `coupling.chance_table`; medians over sections, for
    nuclei over those that have them. Nobody drew a null for depth.
    """
    null = chances[(chances["section"] == coupling.MEDIAN) & (chances["metric"] == coupling.METRICS[0])]
    high = null.set_index("target")["chance_95"]
    known = summary.dropna(subset=coupling.METRICS[0])
    of_depth = summary.groupby("target", sort=False)["median_abs_rho_depth"].median()
    of_nuclei = known.groupby("target", sort=False)[coupling.METRICS[0]].median()
    highest = ceilings.groupby("target", sort=False)["ceiling"].median()
    most, least = (label(name) for name in (of_depth.idxmax(), of_depth.idxmin()))
    verdict = f"**{most} follows depth most, {least} least.** " if most != least else ""
    sentences = [
        f"{verdict}Median over genes of |rho| with depth: "
        + ", ".join(f"{label(target)} **{rho:.2f}**" for target, rho in of_depth.items())
        + f" (medians over {of_patients(summary['section'], patients)}; no null was drawn)",
        "Noise ceiling of the median gene: "
        + ", ".join(f"{label(target)} {ceiling:.2f}" for target, ceiling in highest.items())
        + f" (genes of {of_patients(ceilings.dropna()['section'], patients)}; a bound has no null, "
        "and this one supposes Poisson counts: it is too high where genes vary more, [page 27](27_known_truth.ipynb))",
    ]
    if len(known):
        listed = ", ".join(f"{label(target)} **{rho:.2f}** ({high[target]:.2f})" for target, rho in of_nuclei.items())
        sizes = of_patients(known["section"], patients)
        sentences.insert(1, f"With nuclei, and the 95 % point of chance: {listed} ({sizes})")
    return ". ".join(sentences) + "."


# Sections and spots ---------------------------------------------------------------------------------------------


def with_dependence(table: pd.DataFrame, made: Sections) -> pd.DataFrame:
    """The table of sections with the median cellularity of spots and its Spearman's rho with depth; NaN where unknown.

    ValueError for sections of two measures.
    """
    measure = schema.common_measure(made) or "n_nuclei"
    table = table.set_index("section").assign(median_n_nuclei=np.nan, rho_nuclei_depth=np.nan)
    for name, section in with_nuclei(made).items():
        nuclei = schema.cellularity(section)
        table.loc[name, "median_n_nuclei"] = np.median(nuclei)
        table.loc[name, "rho_nuclei_depth"] = columns.spearman(section.obs[["total_counts"]].to_numpy(), nuclei)[0]
    return table[SECTION_COLUMNS].rename(columns={"median_n_nuclei": f"median_{measure}"}).reset_index()


def with_nuclei(made: Sections) -> dict[str, AnnData]:
    """The sections whose nuclei are known."""
    return {name: section for name, section in made.items() if schema.has_cellularity(section)}


def spots_with_nuclei(made: Sections) -> pd.DataFrame:
    """The spots of the sections whose nuclei are known: spot and SPOT_COLUMNS; no row where none are."""
    known = with_nuclei(made)
    spots = spots_of(known.values()) if known else pd.DataFrame(columns=["spot", *SPOT_COLUMNS])
    return spots[[column for column in ["spot", *SPOT_COLUMNS] if column in spots]]
