"""The panel: which genes are predicted, chosen from statistics of every kept section."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.gene_names import left_out_of_panels
from helpers.schema import COUNTS

N_HIGHLY_VARIABLE = 2000


def gene_statistics(section: AnnData, n_highly_variable: int = N_HIGHLY_VARIABLE) -> pd.DataFrame:
    """What a section has to say about each gene: `highly_variable` and the sums that pooling needs.

    Returns a table indexed by gene: highly_variable (scanpy's default flavour on log1p of depth-scaled counts),
    n_spots, total, total_of_squares (raw counts).
    """
    import scanpy as sc

    counts = section.layers[COUNTS]
    scaled = AnnData(counts.copy(), var=section.var[[]])
    sc.pp.normalize_total(scaled)
    sc.pp.log1p(scaled)
    sc.pp.highly_variable_genes(scaled, n_top_genes=min(n_highly_variable, section.n_vars))
    return pd.DataFrame(
        {
            "highly_variable": scaled.var["highly_variable"].to_numpy(),
            "n_spots": section.n_obs,
            "total": np.asarray(counts.sum(0), float).ravel(),
            "total_of_squares": np.asarray(counts.multiply(counts).sum(0), float).ravel(),
        },
        index=section.var_names,
    )


def choose_panel(statistics: Mapping[str, pd.DataFrame], size: int, exclude: Sequence[str] = ()) -> list[str]:
    """The `size` genes that are both abundant and variable, over all sections of `statistics` but `exclude`.

    Candidates are present in every section, highly variable in at least one, and no mitochondrial or ribosomal
    protein genes. Only the presence of a gene is asked of the excluded sections too: what was not measured there cannot
    be predicted. Of these the smallest rank(mean) + rank(sd) of raw counts pooled over spots, ties by name.
    `statistics` maps a section to its `gene_statistics`. ValueError where no section or too few candidates are left.
    """
    used = [table for name, table in statistics.items() if name not in exclude]
    if not used:
        raise ValueError("no section is left to choose a panel from; keep at least one section in training")
    common = sorted(set.intersection(*(set(table.index) for table in statistics.values())))
    used = [table.loc[common] for table in used]
    n_spots = sum(table["n_spots"] for table in used)
    mean = sum(table["total"] for table in used) / n_spots
    variance = sum(table["total_of_squares"] for table in used) / n_spots - mean**2
    excluded = left_out_of_panels(mean.index).to_numpy()
    candidate = np.any([table["highly_variable"] for table in used], axis=0) & ~excluded
    mean, variance = mean[candidate], variance[candidate]
    if len(mean) < size:
        raise ValueError(f"a panel of {size} genes is wanted but {len(mean)} are candidates; lower panel.size")
    score = mean.rank(ascending=False) + variance.rank(ascending=False)
    order = sorted(score.index, key=lambda gene: (score[gene], gene))
    return order[:size]


def panel_of(section: str, panels: pd.DataFrame) -> list[str]:
    """The genes of a section's panel: its own, chosen without it, or the one of all sections.

    `panels` has panel (a section's name, or `all`) and gene, as 06_normalization writes it; else ValueError.
    """
    own = panels.loc[panels["panel"].isin(["all", section]), "gene"]
    if own.empty:
        raise ValueError(f"section {section}: no panel of its own and none of all sections; run 06_normalization again")
    return list(own)


def panel_hash(genes: Sequence[str]) -> str:
    """Twelve hexadecimal digits that name a panel, whatever the order of its genes."""
    return hashlib.sha256("\n".join(sorted(genes)).encode()).hexdigest()[:12]
