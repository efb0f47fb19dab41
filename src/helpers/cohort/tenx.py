"""What files of 10x Genomics state: the matrix, the table of positions, and the scale factors of an image."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import gene_names, schema, unpacked
from helpers.cohort import tables

VISIUM_SPOT_UM, VISIUM_PITCH_UM = 55.0, 100.0
# scalefactors_json.json gives the diameter of a theoretical spot of this size, which is not the 55 um that capture:
# https://software.10xgenomics.com/spatial-gene-expression/software/pipelines/1.3/output/images
SCALEFACTORS_SPOT_UM = 65.0
POSITIONS = ["barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"]
# Seurat calls the same columns so, in pixels of the full-resolution image too.
SEURAT = dict(zip(("tissue", "row", "col", "imagerow", "imagecol"), POSITIONS[1:], strict=True))
FILES = [
    "tissue_positions.parquet",
    "tissue_positions.csv",
    "tissue_positions.csv.gz",
    "tissue_positions_list.csv",
    "tissue_positions_list.csv.gz",
]
_BIN = r"s_(\d{3})um_\d+_\d+(?:-\d+)?"  # Visium HD names its bins by their side


class Scales(NamedTuple):
    """What scale factors and names of spots state; NaN and None where they do not."""

    bin_um: float = np.nan  # side of the square bins of Visium HD
    mpp: float = np.nan  # um per pixel of the full-resolution image
    size: tuple[float, float] | None = None  # its width and height, in pixels


def read_matrix(path: Path) -> AnnData:
    """Gene expression of a 10x matrix, spots x genes, genes by symbol; ValueError where it cannot be read."""
    import scanpy

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such matrix; check the root and the section's name")
    unpacked.check(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Variable names are not unique", UserWarning)
        try:
            found = scanpy.read_10x_h5(path)
        except Exception as error:  # h5py and scanpy have errors of their own for each kind of damage
            fix = "write those of one genome" if "more than one genome" in str(error) else "fetch the file again"
            raise ValueError(f"{path}: not a readable 10x matrix ({error}); {fix}") from error
    if not found.n_vars:
        raise ValueError(f"{path}: it has no gene expression, only other features; give the matrix of genes")
    schema.check_words(found.obs_names, "spot", path)
    found.var_names = gene_names.symbols(found.var_names, str(path), found.var)
    return found


def read_positions(folder: Path) -> tuple[Path, pd.DataFrame]:
    """The table of positions in the folder, under the names of POSITIONS and by barcode, and its path.

    Columns are found by name, also by Seurat's; a table without a header has those of POSITIONS, as before Space
    Ranger 2. ValueError names file, line and the columns found.
    """
    path, *others = [folder / name for name in FILES if (folder / name).is_file()] or [None]
    if path is None:
        raise FileNotFoundError(f"{folder / FILES[1]}: no such file, nor {', '.join(FILES[2:])}, {FILES[0]}; fetch it")
    if others:
        warnings.warn(f"{path} is read, not {others[0].name} beside it; keep one", stacklevel=2)
    if path.suffix == ".parquet":
        unpacked.check(path)
        try:
            table = pd.read_parquet(path).reset_index()
        except Exception as error:  # pyarrow has errors of its own for each kind of damage
            raise ValueError(f"{path}: not a readable parquet file ({error}); fetch the file again") from error
        table.index += 1
    else:
        table = tables.read(path, columns=POSITIONS)
    table = table.rename(columns=lambda name: str(name).strip().lower()).rename(columns=SEURAT)
    if missing := [column for column in POSITIONS[1:] if column not in table]:
        have = ", ".join(map(str, table.columns))
        wanted = ", ".join(POSITIONS)
        raise ValueError(f"{path}: no column {', '.join(missing)}; a table of positions has {wanted}, this has {have}")
    barcodes = table["barcode" if "barcode" in table else table.columns[0]].astype(str)
    spots = tables.whole_lines(table, POSITIONS[1:], path)
    spots["in_tissue"] = flags(spots["in_tissue"], f"{path}: in_tissue")
    spots = tables.each_once(spots.set_index(barcodes.rename(None)), path)
    if not spots["in_tissue"].any():
        raise ValueError(f"{path}: in_tissue is 0 for all {len(spots)} spots; choose those under tissue first")
    return path, spots


def flags(column: pd.Series, where: str) -> pd.Series:
    """Which spots a column of 0 and 1, or of False and True, marks; ValueError for any other value."""
    numbers = column.astype(str).str.strip().str.lower().replace({"true": "1", "false": "0"})
    numbers = pd.to_numeric(numbers, errors="coerce")
    wrong = ~numbers.isin([0, 1])
    if wrong.any():
        first = column.index[wrong.to_numpy()][0]
        raise ValueError(f"{where} holds {column[wrong.to_numpy()].iloc[0]!s} at {first}; 0 and 1 are wanted")
    return numbers == 1


def under_tissue(matrix: pd.Index, spots: pd.DataFrame, files: tuple[Path, Path]) -> pd.Index:
    """The barcodes that count: those in_tissue, which Space Ranger's filtered matrix holds, and no others.

    A raw matrix holds every barcode of the positions instead. Bins of Visium HD without a molecule are in no matrix.
    ValueError, naming the `files` of matrix and positions, where the two disagree: they are of different sections.
    """
    tissue = spots.index[spots["in_tissue"]]
    beside, without = matrix.difference(tissue), tissue.difference(matrix)
    if lost := len(matrix.difference(spots.index)):
        raise ValueError(
            f"{files[1]}: {lost} of {len(matrix)} barcodes of {files[0]} have no line; fetch it again, or give the two "
            "files of one section"
        )
    if len(matrix) == len(spots):
        return tissue
    if len(beside) or len(without) and not matrix.str.fullmatch(_BIN).all():
        raise ValueError(
            f"{files[0]} and {files[1]} disagree: {len(beside)} of {len(matrix)} barcodes of the matrix are not "
            f"in_tissue, {len(without)} of {len(tissue)} that are have no counts. Space Ranger's agree exactly: give "
            f"the two files of one section, as Space Ranger wrote them"
        )
    return matrix


def scales(factors: Mapping, spots: pd.Index, pictures: Mapping | None = None) -> Scales:
    """What scale factors (scalefactors_json.json, or its copy in an h5ad) and the names of spots state.

    `pictures` are the sizes of reduced pictures, `hires` and `lowres`; their scale factors tell that of the whole one.
    A bin size that is stated twice, with two values, is warned of; the one of the scale factors is used.
    """
    named = spots.to_series().str.extract(f"^{_BIN}$")[0].dropna().unique()
    named = float(named[0]) if len(named) == 1 else np.nan
    bin_um, mpp, diameter = (
        number(factors.get(key)) for key in ("bin_size_um", "microns_per_pixel", "spot_diameter_fullres")
    )
    if bin_um != named and not np.isnan(bin_um + named):
        warnings.warn(f"bins of {bin_um:g} um by the scale factors, of {named:g} um by their names", stacklevel=2)
    bin_um = named if np.isnan(bin_um) else bin_um
    side = SCALEFACTORS_SPOT_UM if np.isnan(bin_um) else bin_um
    return Scales(
        bin_um,
        side / (diameter or np.nan) if np.isnan(mpp) else mpp,
        next(
            (
                (size[0] / scale, size[1] / scale)
                for kind in ("hires", "lowres")
                if (size := (pictures or {}).get(kind)) and (scale := number(factors.get(f"tissue_{kind}_scalef"))) > 0
            ),
            None,
        ),
    )


def number(value) -> float:
    """The value as a number; NaN where it is none."""
    return float(pd.to_numeric(value, errors="coerce")) if value is not None else np.nan
