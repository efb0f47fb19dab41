"""Arrays of Spatial Transcriptomics with 2,000 spots, as the R package STUtility keeps its examples."""

from pathlib import Path

from helpers.cohort import images
from helpers.cohort.layouts import arrays, raw, spot_tables
from helpers.cohort.layouts.raw import RawSection
from helpers.schema import LATTICE, SPATIAL, SPOT_DIAMETER_UM

PITCH_UM = 141.0


def read(root: Path, name: str, gene_symbols: str | None = None) -> RawSection:
    """A section of an array of Spatial Transcriptomics with 2,000 spots, as STUtility keeps it.

    `{name}.tsv.gz` holds counts of spots x genes, `alignment_table_{name}.tsv` the place of each spot and whether it is
    `selected`, `{name}.jpg` the picture they are placed on. Every second row lies between those beside it; the pixels
    tell how far apart rows and columns are. Nearest spots are 141 um apart, as STUtility's code says. Their width is
    not stated: 100 um is that of the array before (Stahl et al. 2016, doi 10.1126/science.aaf2403).
    `gene_symbols` as in `her2st`.
    """
    counts_path, spots_path = root / f"{name}.tsv.gz", root / f"alignment_table_{name}.tsv"
    section, spots, n_dropped = spot_tables.read(counts_path, spots_path, gene_symbols)
    section.obsm[LATTICE] = arrays.staggered(spots[["new_x", "new_y"]].to_numpy(float), section.obsm[SPATIAL])
    return RawSection(
        section,
        image=raw.only_file(root, f"{name}.[a-zA-Z]*", images.SUFFIXES),
        spot_um=SPOT_DIAMETER_UM,
        pitch_um=PITCH_UM,
        n_spots_dropped=n_dropped,
    )
