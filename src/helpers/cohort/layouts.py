"""Raw files of a section, as each kind of cohort lays them out: one reader a layout, and LAYOUTS.

A reader takes the cohort's folder and the name that the section's files bear, and returns a `RawSection`. What its
files do not say stays unknown there; `helpers.cohort.sections.read` makes a section of it.
"""

import gzip
import json
import re
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from helpers import schema
from helpers.schema import COUNTS, LATTICE, SPATIAL, SPOT_DIAMETER_UM, SPOT_PITCH_UM

IMAGES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".svs", ".ndpi", ".qptiff"}
VISIUM_SPOT_UM, VISIUM_PITCH_UM = 55.0, 100.0
# scalefactors_json.json gives the diameter of a theoretical spot of this size, which is not the 55 um that capture:
# https://software.10xgenomics.com/spatial-gene-expression/software/pipelines/1.3/output/images
SCALEFACTORS_SPOT_UM = 65.0
POSITIONS = ["barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"]
SYMBOLS = ["gene_name", "gene_names", "gene_symbol", "gene_symbols", "symbol", "feature_name"]  # usual columns of var
_GENE_ID = re.compile(r"ENS[A-Z]*G\d{6,}")


class RawSection(NamedTuple):
    """What the files of a section say."""

    spots: AnnData  # layers["counts"], obsm["spatial"], and obsm["lattice"] where the array is known
    patient: str = ""
    image: Path | None = None
    nuclei_file: Path | None = None
    n_spots_dropped: int = 0  # spots that one of two files lacks
    spot_um: float = np.nan
    pitch_um: float = np.nan
    mpp_estimated: float = np.nan  # by others, um per pixel


def her2st(root: Path, name: str) -> RawSection:
    """A section of the tree of almaan/her2st (Andersson et al. 2021, doi 10.1038/s41467-021-26271-2).

    Spots of the count file and of the spot file are joined by name, `{x}x{y}`. The image is the one in the section's
    folder, `ST-imgs/C/C3/`; the patient is the name's letter.
    """
    counts_path = root / "data" / "ST-cnts" / f"{name}.tsv.gz"
    spots_path = root / "data" / "ST-spotfiles" / f"{name}_selection.tsv"
    spots = _read_spots(spots_path)
    counts, names, genes = _read_counts(counts_path)
    common = _common(names, spots.index, counts_path, spots_path)
    n_dropped = len(names.union(spots.index)) - len(common)
    counts = sparse.csr_matrix(counts, dtype=np.float32)[names.get_indexer(common)]
    section = _section(counts, common, genes, spots.loc[common, ["pixel_x", "pixel_y"]])
    section.obsm[LATTICE] = spots.loc[common, ["new_x", "new_y"]].to_numpy(float)
    return RawSection(
        section,
        patient=name[0],
        image=only_file(root / "data" / "ST-imgs" / name[0] / name, "*", IMAGES),
        spot_um=SPOT_DIAMETER_UM,
        pitch_um=SPOT_PITCH_UM,
        mpp_estimated=_beside_her2st(root, name),
        n_spots_dropped=n_dropped,
    )


def hest(root: Path, name: str, counts_layer: str | None = None, gene_names: str | None = None) -> RawSection:
    """A section of HEST-1k as downloaded (Jaume et al. 2024, arXiv 2406.16192).

    `name` is a HEST id, or the `subseries` that one file of `metadata/` gives. `st/{id}.h5ad` holds counts and pixels,
    `metadata/{id}.json` spot, pitch and HEST's estimate of the pixel size, `wsis/{id}.tif` the image,
    `cellvit_seg/{id}_cellvit_seg.parquet` or `.geojson` nuclei.
    """
    name = _hest_id(root, name)
    section = h5ad(root / "st", name, counts_layer, gene_names).spots
    # HEST pads the names of spots, 010x013; elsewhere the same spot is 10x13.
    section.obs_names = section.obs_names.str.replace(r"^0*(\d+)x0*(\d+)$", r"\1x\2", regex=True)
    metadata = _read_json(root / "metadata" / f"{name}.json")
    nuclei = [root / "cellvit_seg" / f"{name}_cellvit_seg.{kind}" for kind in ("parquet", "geojson")]
    return RawSection(
        section,
        patient=re.sub("^Patient ", "", str(metadata.get("patient") or "")),
        image=only_file(root / "wsis", f"{name}.[a-zA-Z]*", IMAGES),
        nuclei_file=next((path for path in nuclei if path.is_file()), None),
        spot_um=_number(metadata.get("spot_diameter")),
        pitch_um=_number(metadata.get("inter_spot_dist")),
        mpp_estimated=_number(metadata.get("pixel_size_um_estimated")),
    )


def spaceranger(root: Path, name: str) -> RawSection:
    """A section of 10x Visium, `{name}/` or `{name}/outs/` as Space Ranger leaves it; only spots under tissue.

    Barcodes of the matrix and of `spatial/tissue_positions.csv` (`tissue_positions_list.csv` before version 2, without
    a header) are joined by name. The image is not among these files: the config's `images` says where it lies.
    """
    folder = next((path for path in (root / name / "outs", root / name) if path.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(f"{root / name}: no such folder; check the root and the section's name, or give ids")
    matrix_path = folder / "filtered_feature_bc_matrix.h5"
    section = _read_10x(matrix_path)
    path, spots = _read_positions(folder / "spatial")
    known = _common(section.obs_names, spots.index, matrix_path, path)
    if n_lost := section.n_obs - len(known):
        raise ValueError(f"{path}: {n_lost} of {section.n_obs} barcodes of {matrix_path} have no line; fetch it again")
    under_tissue = spots.index[spots["in_tissue"] == 1]
    common = _common(section.obs_names, under_tissue, matrix_path, path)
    n_dropped = len(section.obs_names.union(under_tissue)) - len(common)
    section, spots = section[common].copy(), spots.loc[common]
    section.obsm[SPATIAL] = spots[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(float)
    section.obsm[LATTICE], _ = _lattice(spots, section.obsm[SPATIAL])
    return RawSection(
        section,
        spot_um=VISIUM_SPOT_UM,
        pitch_um=VISIUM_PITCH_UM,
        mpp_estimated=_mpp_of_scalefactors(folder / "spatial" / "scalefactors_json.json"),
        n_spots_dropped=n_dropped,
    )


def h5ad(root: Path, name: str, counts_layer: str | None = None, gene_names: str | None = None) -> RawSection:
    """A section in one file, `{name}.h5ad`: raw counts in X, spot centres in `obsm["spatial"]`.

    `counts_layer` names another place of the counts, a layer or `raw`; `gene_names` the column of var with symbols.
    `obs["array_row"]` and `["array_col"]` are the lattice (hexagonal where their sums are all even, as in Visium),
    else names such as 10x13; `obs["in_tissue"]` leaves spots out, `obs["patient"]` names the patient. An image of the
    same name lies beside the file, or where the config's `images` says.
    """
    path = root / f"{name}.h5ad"
    found = _read_h5ad(path)
    if SPATIAL not in found.obsm:
        raise ValueError(
            f"{path}: no obsm['spatial'], it has {_listed(found.obsm)}; put each spot's centre there, x and y in "
            f"pixels of the full-resolution image (pxl_col_in_fullres, pxl_row_in_fullres)"
        )
    found = _counted(found, counts_layer, path)
    if "in_tissue" in found.obs:
        found = found[found.obs["in_tissue"].astype(int) == 1].copy()
    genes = _symbols(found.var, gene_names, path)
    section = _section(found.X, found.obs_names, genes, np.asarray(found.obsm[SPATIAL])[:, :2])
    visium = False
    if (spots := _array_coordinates(found.obs)) is not None:
        section.obsm[LATTICE], visium = _lattice(spots, section.obsm[SPATIAL])
    patients = found.obs["patient"].astype(str).unique() if "patient" in found.obs else []
    return RawSection(
        section,
        patient=patients[0] if len(patients) == 1 else "",
        image=only_file(root, f"{name}.[a-zA-Z]*", IMAGES),
        spot_um=VISIUM_SPOT_UM if visium else np.nan,
        pitch_um=VISIUM_PITCH_UM if visium else np.nan,
    )


LAYOUTS = {"her2st": her2st, "hest": hest, "spaceranger": spaceranger, "h5ad": h5ad}


def only_file(folder: Path, pattern: str, suffixes: set[str] | None = None) -> Path | None:
    """The one file of a kind that `pattern` finds below `folder`, None where there is none; ValueError for several."""
    found = sorted(path for path in folder.glob(pattern) if suffixes is None or path.suffix.lower() in suffixes)
    if len(found) > 1:
        raise ValueError(f"{folder}: {len(found)} images, one is wanted: {', '.join(path.name for path in found)}")
    return found[0] if found else None


def _section(counts, spots: pd.Index, genes: pd.Index, xy=None) -> AnnData:
    """Counts (spots x genes) under their names, with the centres of the spots, x and y in pixels, where given."""
    section = AnnData(obs=pd.DataFrame(index=spots), var=pd.DataFrame(index=genes))
    section.layers[COUNTS] = sparse.csr_matrix(counts, dtype=np.float32)
    if xy is not None:
        section.obsm[SPATIAL] = np.asarray(xy, float)
    return section


def _common(names: pd.Index, others: pd.Index, path: Path, other: Path) -> pd.Index:
    """Names in both files, in the order of the first; a few may lack a partner, not most."""
    common = names.intersection(others, sort=False)
    if len(common) < min(len(names), len(others)) / 2:
        raise ValueError(
            f"{path} and {other} have {len(common) or 'no'} spot{'s' * (len(common) > 1)} in common of {len(names)} "
            f"and {len(others)}: {_listed(names, 2)} against {_listed(others, 2)}; give the two files of one section"
        )
    return common


def _listed(names, n: int = 10) -> str:
    names = list(names)
    return ", ".join(map(str, names[:n])) + (", ..." if len(names) > n else "") if names else "nothing"


def _number(value) -> float:
    return float(pd.to_numeric(value, errors="coerce")) if value is not None else np.nan


# --- the her2st tree ---


def _read_counts(path: Path) -> tuple[np.ndarray, pd.Index, pd.Index]:
    try:
        with gzip.open(path, "rt") as file:
            genes = pd.Index(file.readline().rstrip("\n").split("\t")[1:])
            table = pd.read_csv(file, sep="\t", header=None, index_col=0, low_memory=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such count file; check the root and the section's name") from None
    except (
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
    ) as error:
        raise ValueError(f"{path}: not a whole gzip table ({error}); fetch the file again") from error
    if table.shape[1] != len(genes):
        raise ValueError(f"{path}: {len(genes)} genes in the header, {table.shape[1]} columns; fetch the file again")
    for names, what in ((genes, "gene"), (table.index, "spot")):
        if names.has_duplicates:
            raise ValueError(f"{path}: {what} {names[names.duplicated()][0]!r} occurs twice; keep one")
    if (table.dtypes == np.dtype(object)).any():
        column = genes[int(np.argmax(table.dtypes == np.dtype(object)))]
        raise ValueError(f"{path}: gene {column!r} holds text where counts are wanted; raw counts are whole numbers")
    values = table.to_numpy()
    schema.check_counts(values, str(path))
    if not values.any():
        raise ValueError(f"{path}: every count is zero; leave the section out of the config")
    return values, pd.Index(table.index.astype(str)), genes


def _read_spots(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such spot file; check the root and the section's name") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable spot file ({error}); fetch the file again") from error
    columns = ["x", "y", "new_x", "new_y", "pixel_x", "pixel_y"]
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; a spot file has {', '.join(columns)}")
    numbers = _whole_lines(table, columns, path, first_line=2)
    if (numbers[["x", "y"]] % 1 != 0).any(axis=None):
        raise ValueError(f"{path}: x or y is not a whole number; they name the spot, new_x and new_y place it")
    numbers.index = table["x"].astype(int).astype(str) + "x" + table["y"].astype(int).astype(str)
    return _each_once(numbers, path)


def _whole_lines(table: pd.DataFrame, columns: list[str], path: Path, first_line: int) -> pd.DataFrame:
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    # A number that lost its last digits is still a number: a column missing after it is what tells.
    damaged = numbers.isna().any(axis=1) | table.isna().any(axis=1)
    if damaged.any():
        line = int(np.argmax(damaged)) + first_line
        raise ValueError(f"{path}: line {line} is cut off or not a number; fetch the file again")
    return numbers


def _each_once(spots: pd.DataFrame, path: Path) -> pd.DataFrame:
    if spots.index.has_duplicates:
        raise ValueError(f"{path}: spot {spots.index[spots.index.duplicated()][0]!r} occurs twice; keep one")
    return spots


def _beside_her2st(root: Path, name: str) -> float:
    """HEST-1k's own estimate, where its metadata lies beside the tree: a second opinion, never the first."""
    path = root / "hest_metadata.csv"
    if not path.exists():
        return np.nan
    table = pd.read_csv(path).set_index("subseries")["pixel_size_um_estimated"]
    return float(table.get(name, np.nan))


# --- HEST-1k ---


def _hest_id(root: Path, name: str) -> str:
    if (root / "st" / f"{name}.h5ad").exists():
        return name
    subseries = {path.stem: _read_json(path).get("subseries") for path in sorted((root / "metadata").glob("*.json"))}
    ids = [key for key, value in subseries.items() if value == name]
    if len(ids) > 1:
        raise ValueError(f"{root}: {name} is the subseries of {_listed(ids)}; say which under ids in the config")
    if not ids:
        raise FileNotFoundError(
            f"{root / 'st' / name}.h5ad: no such file, and no file of {root / 'metadata'} has the subseries {name}; "
            f"check the root, give the HEST id under ids in the config, or fetch the files (make data)"
        )
    return ids[0]


# --- Space Ranger ---


def _read_10x(path: Path) -> AnnData:
    import scanpy

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such matrix; check the root and the section's name")
    with warnings.catch_warnings():
        # A few symbols name two genes. They are numbered here, as scanpy would have us do.
        warnings.filterwarnings("ignore", "Variable names are not unique", UserWarning)
        try:
            found = scanpy.read_10x_h5(path)
        except Exception as error:  # h5py and scanpy have errors of their own for each kind of damage
            raise ValueError(f"{path}: not a readable 10x matrix ({error}); fetch the file again") from error
    found.var_names_make_unique()
    return _section(found.X, found.obs_names, found.var_names)


def _mpp_of_scalefactors(path: Path) -> float:
    """um per pixel, from the diameter of a theoretical spot in pixels; NaN where the file is not there or silent."""
    diameter = _number(_read_json(path).get("spot_diameter_fullres")) if path.exists() else np.nan
    return SCALEFACTORS_SPOT_UM / (diameter or np.nan)


def _read_positions(folder: Path) -> tuple[Path, pd.DataFrame]:
    paths = [folder / name for name in ("tissue_positions.csv", "tissue_positions_list.csv")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{paths[0]}: no such file, nor {paths[1].name}; fetch the section's spatial folder")
    try:
        table = pd.read_csv(path, header=None, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable table of positions ({error}); fetch the file again") from error
    if table.shape[1] != len(POSITIONS):
        raise ValueError(f"{path}: {table.shape[1]} columns; a table of positions has {', '.join(POSITIONS)}")
    has_header = table.iloc[0, 0] == POSITIONS[0]
    table = table.iloc[int(has_header) :].set_axis(POSITIONS, axis=1).reset_index(drop=True)
    spots = _whole_lines(table, POSITIONS[1:], path, first_line=1 + has_header)
    return path, _each_once(spots.set_index(table["barcode"].rename(None)), path)


# --- h5ad ---


def _read_h5ad(path: Path) -> AnnData:
    import anndata

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the root and the section's name, or give ids")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(Variable|Observation) names are not unique", UserWarning)
            return anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata have errors of their own for each kind of damage
        raise ValueError(f"{path}: not a readable h5ad file ({error}); fetch or write it again") from error


def _counted(found: AnnData, counts_layer: str | None, path: Path) -> AnnData:
    """The object with raw counts in X, taken from where they are; refused where that place holds something else."""
    places = {"X": found.X, **found.layers} | ({"raw": found.raw.X} if found.raw is not None else {})
    places = {name: values for name, values in places.items() if values is not None}
    place = counts_layer or "X"
    whole = [name for name, values in places.items() if _are_counts(values)]
    if place not in whole:
        what = "holds normalized values where raw counts are wanted" if place in places else "is not in the file"
        there = f"they are in {_listed(whole)}: give counts_layer in the config"
        raise ValueError(f"{path}: {place} {what}; {there if whole else 'no layer has raw counts: write them there'}")
    if place == "raw":
        counted = found.raw.to_adata()
        counted.obsm = found.obsm
        return counted
    return AnnData(X=places[place], obs=found.obs, var=found.var, obsm={SPATIAL: found.obsm[SPATIAL]})


def _are_counts(values) -> bool:
    try:
        schema.check_counts(values, "")
    except ValueError:
        return False
    return values.sum() > 0


def _symbols(var: pd.DataFrame, gene_names: str | None, path: Path) -> pd.Index:
    """Gene symbols: of the column asked for, else the names, else, where those are Ensembl ids, of a usual column.

    A symbol of two genes is numbered, as scanpy does.
    """
    from anndata.utils import make_index_unique

    if gene_names and gene_names not in var:
        raise ValueError(f"{path}: var has no column {gene_names}; it has {_listed(var.columns)}")
    if gene_names is None and not _are_ids(var.index):
        return make_index_unique(var.index)
    column = gene_names or next((column for column in SYMBOLS if column in var and not _are_ids(var[column])), None)
    if column is None:
        raise ValueError(
            f"{path}: genes are named by id, {var.index[0]}; give gene_names in the config, the column of var that "
            f"holds their symbols; it has {_listed(var.columns)}"
        )
    return make_index_unique(pd.Index(var[column].astype(str)))


def _are_ids(names) -> bool:
    return pd.Series(names, dtype=str).str.fullmatch(_GENE_ID.pattern).mean() > 0.5


def _array_coordinates(obs: pd.DataFrame) -> pd.DataFrame | None:
    if {"array_row", "array_col"} <= set(obs.columns):
        return obs[["array_row", "array_col"]].astype(float)
    named = obs.index.to_series().str.extract(r"^(?P<array_row>\d+)x(?P<array_col>\d+)$")
    return None if named.isna().any(axis=None) else named.astype(float)


def _lattice(spots: pd.DataFrame, pixels: np.ndarray) -> tuple[np.ndarray, bool]:
    """Array coordinates in units of the pitch, x and y as in the image, and whether they are Visium's hexagons.

    Visium counts half steps along a row and puts every second row between: row and column are both even or both odd.
    """
    row, column = spots["array_row"].to_numpy(float), spots["array_col"].to_numpy(float)
    if len(spots) > 1 and ((row + column) % 2 == 0).all():
        return np.column_stack([column / 2, row * np.sqrt(3) / 2]), True
    # Some call the x of an array its row, as HEST does for Spatial Transcriptomics: the image tells.
    straight, crossed = (abs(np.cov(pixels[:, 0], axis)[0, 1]) for axis in (column, row)) if len(spots) > 1 else (1, 0)
    return np.column_stack([column, row] if straight >= crossed else [row, column]), False


# --- JSON ---


def _read_json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; fetch the section's files again") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a whole JSON file ({error}); fetch the file again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not a JSON object; fetch the file again")
    return found
