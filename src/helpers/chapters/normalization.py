"""Panel and targets of a cohort: chosen and made from the counts of every section, and how their variance behaves.

`sections` map a section's name to its AnnData with raw counts of all genes, `made` to what `with_targets` gives.
"""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import columns, schema, store
from helpers.gene_names import left_out_of_panels
from helpers.labels import counted, label, of_patients, span
from helpers.schema import COUNTS
from helpers.targets import twins
from helpers.targets.normalization import TARGETS, THETA, target
from helpers.targets.panel import choose_panel, gene_statistics, panel_hash

EXAMPLES = ("ERBB2", "GNAS", "CD74")  # genes to show, the first that is in the panel
STABLE = 0.2  # |rho| of variance and mean up to which a target counts as stabilized
MAPS = {"n_nuclei": "Nuclei per spot", "haematoxylin": "Mean haematoxylin"}

Sections = Mapping[str, AnnData]
Panels = Mapping[str, Sequence[str]]


# Panel ----------------------------------------------------------------------------------------------------------


def choose_panels(sections: Sections, size: int, choose: str) -> dict[str, list[str]]:
    """The panel of all sections under `all`, or with `choose` "fold" one for each section, chosen without it.

    ValueError for another `choose`.
    """
    if choose not in ("all", "fold"):
        raise ValueError(f"panel_choose {choose!r} is neither 'all' nor 'fold'")
    statistics = {name: gene_statistics(section) for name, section in sections.items()}
    held_out = {"all": ()} if choose == "all" else {name: (name,) for name in sections}
    return {name: choose_panel(statistics, size, without) for name, without in held_out.items()}


def panel_rows(panels: Panels) -> pd.DataFrame:
    """A row per panel and gene, best gene first: panel, rank, gene, and the panel's hash."""
    rows = [
        (name, rank, gene, panel_hash(panel)) for name, panel in panels.items() for rank, gene in enumerate(panel, 1)
    ]
    return pd.DataFrame(rows, columns=["panel", "rank", "gene", "hash"])


def genes_of_panels(panels: Panels) -> list[str]:
    """Every gene that some panel has, by name."""
    return sorted(set().union(*panels.values()))


def describe_panels(panels: Panels, n_sections: int) -> str:
    """How many panels of how many genes there are, and with which genes the first begins."""
    first = next(iter(panels.values()))
    which = "One panel" if len(panels) == 1 else f"{len(panels)} panels, one for each held-out section,"
    return (
        f"{which} of {counted(len(first), 'genes')}, from {counted(n_sections, 'sections')}. "
        f"The first (fingerprint `{panel_hash(first)}`) begins with {', '.join(first[:8])}. "
        "{download}`The panel <results/panel.csv>`."
    )


def describe_left_out(sections: Sections) -> str:
    """How many genes of all sections are no candidates for a panel, whatever their counts."""
    common = sorted(set.intersection(*(set(section.var_names) for section in sections.values())))
    n = int(left_out_of_panels(common).sum())
    if not n:
        return "No gene is called mitochondrial or of a ribosomal protein: look whether the names are symbols."
    return (
        f"{counted(n, 'genes')} of {len(common):,}, mitochondrial or of ribosomal proteins by their names, "
        f"{'is' if n == 1 else 'are'} no candidate{'s' * (n > 1)}."
    )


# Targets --------------------------------------------------------------------------------------------------------


def with_targets(section: AnnData, wanted: Sequence[str], targets: Sequence[str], theta: float = THETA) -> AnnData:
    """The section with the genes wanted alone, and a layer for each target; library sizes are those of all genes.

    `theta` is the overdispersion, of targets whose kernel takes one.
    """
    made = section[:, list(wanted)].copy()
    for name in targets:
        settings = {"theta": theta} if "theta" in signature(TARGETS[name].values).parameters else {}
        made.layers[name] = target(section, name, wanted, **settings)
    return made


def write_targets(
    sections: Sections, wanted: Sequence[str], targets: Sequence[str], folder: str | Path, theta: float = THETA
) -> dict[str, AnnData]:
    """`with_targets` of every section, each also written to `<section>.h5ad` in the folder."""
    made = {name: with_targets(section, wanted, targets, theta) for name, section in sections.items()}
    for name, section in made.items():
        store.write_section(section, Path(folder) / f"{name}.h5ad")
    return made


def moments(made: Sections, targets: Sequence[str]) -> pd.DataFrame:
    """Mean count and variance of every gene of every section in each target: section, target, gene, both."""
    tables = []
    for name, section in made.items():
        mean = section.layers[COUNTS].toarray().mean(axis=0)
        for one in targets:
            known = {"section": name, "target": one, "gene": section.var_names, "mean_count": mean}
            tables.append(pd.DataFrame(known | {"variance": section.layers[one].var(axis=0)}))
    return pd.concat(tables, ignore_index=True)


def twin_moments(
    sections: Sections, wanted: Sequence[str], targets: Sequence[str], theta: float = THETA
) -> pd.DataFrame:
    """`moments` of the depth-only twins: what counting alone makes of the variance, with one composition everywhere."""
    rng = np.random.default_rng(0)
    tables = []
    for name, section in sections.items():
        twin = twins.as_twin(section, twins.depth_only(section.layers[COUNTS], rng))
        tables.append(moments({name: with_targets(twin, wanted, targets, theta)}, targets))
    return pd.concat(tables, ignore_index=True)


def variance_follows_mean(moment_table: pd.DataFrame) -> pd.Series:
    """Spearman's rho, over genes, of variance and mean count, by target and section; takes what `moments` returns."""
    by_section = moment_table.groupby(["target", "section"], sort=False)
    return pd.Series({keys: columns.spearman(part[["variance"]], part["mean_count"])[0] for keys, part in by_section})


def answer(moment_table: pd.DataFrame, twin_table: pd.DataFrame, patients: Mapping[str, str]) -> str:
    """Whether the variance of a gene still follows its mean count in each target, beside what counting alone gives.

    Takes what `moments` and `twin_moments` return.
    """
    rho, null = variance_follows_mean(moment_table), variance_follows_mean(twin_table).groupby(level=0).median()
    median, size = rho.groupby(level=0, sort=False).median(), rho.abs().groupby(level=0, sort=False).median()
    listed = ", ".join(
        f"{label(target)} **{part.median():z.2f}** ({span(part.min(), part.max())}; {null[target]:z.2f})"
        for target, part in rho.groupby(level=0, sort=False)
    )
    level = size.index[size <= STABLE]
    verdict = f"**Stabilized: {', '.join(map(label, level))}**" if len(level) else "**No target is stabilized here**"
    nearest = median.abs().idxmin()
    mixed = ""
    if size[nearest] > STABLE and rho[nearest].min() < 0 < rho[nearest].max():
        mixed = f" {label(nearest)} is nearest 0 because its sections differ in sign: median |rho| {size[nearest]:.2f}."
    sections = rho.index.get_level_values(1)
    return (
        f"{verdict}. Spearman's rho of the variance of a gene with its mean count, 0 if stabilized: {listed}.{mixed} "
        f"{counted(moment_table['gene'].nunique(), 'genes')}, {of_patients(sections, patients)}: medians, in brackets "
        "the range and the null, depth-only twins, in which counts vary by counting and depth alone."
    )


# One gene -------------------------------------------------------------------------------------------------------


def example_gene(known: Sequence[str], gene: str | None = None) -> str:
    """The gene to show: the one asked for, else the first of EXAMPLES among the `known`, else the first of these.

    ValueError where the gene asked for is not known.
    """
    if gene is not None and gene not in known:
        raise ValueError(f"gene {gene!r} is not in the panel, which has {', '.join(list(known)[:8])} and others")
    return gene or next((name for name in EXAMPLES if name in known), known[0])


def maps(section: AnnData, gene: str, targets: Sequence[str]) -> dict[str, np.ndarray]:
    """By title, what to draw of each spot: its nuclei where they are known, its depth, and one gene in every target."""
    of_cells = MAPS.get(schema.measure(section.obs))
    found = {of_cells: schema.cellularity(section)} if of_cells else {}
    found |= {"Total counts": section.obs["total_counts"].to_numpy()}
    return found | {label(one): np.asarray(section[:, gene].layers[one]).ravel() for one in targets}
