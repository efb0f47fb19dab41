"""The tree of the her2st repository: HER2-positive breast tumours on arrays of Spatial Transcriptomics."""

from pathlib import Path

import numpy as np

from helpers.cohort import images, tables, tenx
from helpers.cohort.layouts import raw, spot_tables
from helpers.cohort.layouts.raw import RawSection
from helpers.schema import LATTICE, SPOT_DIAMETER_UM, SPOT_PITCH_UM


def read(root: Path, name: str, gene_symbols: str | None = None) -> RawSection:
    """A section of the tree of almaan/her2st (Andersson et al. 2021, doi 10.1038/s41467-021-26271-2).

    Spots of the count file and of the spot file are joined by name, `{x}x{y}`; of a spot file with a column `selected`
    those that it marks. The image is the one in the section's folder, `ST-imgs/C/C3/`, the patient the name's letter.
    `gene_symbols` is a table of id and symbol, for counts of genes named by id.
    """
    counts_path = root / "data" / "ST-cnts" / f"{name}.tsv.gz"
    spots_path = root / "data" / "ST-spotfiles" / f"{name}_selection.tsv"
    section, spots, n_dropped = spot_tables.read(counts_path, spots_path, gene_symbols)
    section.obsm[LATTICE] = spots[["new_x", "new_y"]].to_numpy(float)
    return RawSection(
        section,
        patient=name[0],
        image=raw.only_file(root / "data" / "ST-imgs" / name[0] / name, "*", images.SUFFIXES),
        spot_um=SPOT_DIAMETER_UM,
        pitch_um=SPOT_PITCH_UM,
        mpp_estimated=_estimated_by_hest(root, name),
        n_spots_dropped=n_dropped,
    )


def _estimated_by_hest(root: Path, name: str) -> float:
    """HEST-1k's own estimate, where its metadata lies beside the tree: a second opinion, never the first."""
    path = root / "hest_metadata.csv"
    if not path.exists():
        return np.nan
    table = tables.read(path)
    if missing := {"subseries", "pixel_size_um_estimated"} - set(table.columns):
        raise ValueError(f"{path}: no column {' or '.join(sorted(missing))}; it has {raw.listed(table.columns)}")
    known = tables.each_once(table.set_index("subseries"), path)["pixel_size_um_estimated"]
    return tenx.number(known.get(name))
