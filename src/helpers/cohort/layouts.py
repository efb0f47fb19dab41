"""Raw files of a section, as each kind of cohort lays them out: one reader a layout, and LAYOUTS.

A reader takes the cohort's folder and the name that the section's files bear, and returns a `RawSection`. What its
files do not say stays unknown there; `helpers.cohort.sections.read` makes a section of it.
"""

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from helpers import schema
from helpers.cohort import images, tables, tenx
from helpers.gene_names import clean, symbols
from helpers.schema import COUNTS, LATTICE, SPATIAL, SPOT_DIAMETER_UM, SPOT_PITCH_UM

STAGGERED_PITCH_UM = 141.0  # of arrays of Spatial Transcriptomics with 2,000 spots
VERSION = r"\.\d+$"  # of an id, after it
UNPAIRED = 0.05  # of the spots of the shorter of two files: of 36 published sections none lacks more than 2 %


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
    image_size: tuple[float, float] | None = None  # width and height in pixels of the image that spots were placed on
    bin_um: float = np.nan  # side of the square bins that the spots are, of Visium HD
    pictures: Mapping[Path, float] = {}  # reduced pictures, and how many of their pixels are one of full resolution


def her2st(root: Path, name: str, gene_symbols: str | None = None) -> RawSection:
    """A section of the tree of almaan/her2st (Andersson et al. 2021, doi 10.1038/s41467-021-26271-2).

    Spots of the count file and of the spot file are joined by name, `{x}x{y}`; of a spot file with a column `selected`
    those that it marks. The image is the one in the section's folder, `ST-imgs/C/C3/`, the patient the name's letter.
    `gene_symbols` is a table of id and symbol, for counts of genes named by id.
    """
    counts_path = root / "data" / "ST-cnts" / f"{name}.tsv.gz"
    spots_path = root / "data" / "ST-spotfiles" / f"{name}_selection.tsv"
    spots = _read_spots(spots_path)
    counts, names, genes = _read_counts(counts_path, gene_symbols)
    common = _common(names, spots.index, counts_path, spots_path)
    n_dropped = len(names.union(spots.index)) - len(common)
    counts = sparse.csr_matrix(counts, dtype=np.float32)[names.get_indexer(common)]
    section = _section(counts, common, genes, spots.loc[common, ["pixel_x", "pixel_y"]])
    section.obsm[LATTICE] = spots.loc[common, ["new_x", "new_y"]].to_numpy(float)
    return RawSection(
        section,
        patient=name[0],
        image=only_file(root / "data" / "ST-imgs" / name[0] / name, "*", images.SUFFIXES),
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
        patient=_hest_patient(root, metadata),
        image=only_file(root / "wsis", f"{name}.[a-zA-Z]*", images.SUFFIXES),
        nuclei_file=next((path for path in nuclei if path.is_file()), None),
        spot_um=tenx.number(metadata.get("spot_diameter")),
        pitch_um=tenx.number(metadata.get("inter_spot_dist")),
        mpp_estimated=tenx.number(metadata.get("pixel_size_um_estimated")),
        image_size=_hest_size(metadata),
    )


def spaceranger(root: Path, name: str) -> RawSection:
    """A section of 10x Visium, `{name}/` or `{name}/outs/` as Space Ranger leaves it; only spots under tissue.

    Barcodes of the matrix and of `spatial/tissue_positions` (.parquet, .csv, or `_list.csv` before version 2, without
    a header; also beside the matrix) are joined by name. Bins of Visium HD are spots as wide as they are apart. The
    image is not among these files: the config's `images` says where it lies; that may be one of Space Ranger's own
    reduced pictures, as `{section}/outs/spatial/tissue_hires_image.png`.
    """
    folder = next((path for path in (root / name / "outs", root / name) if path.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(f"{root / name}: no such folder; check the root and the section's name, or give ids")
    beside = folder / "spatial" if (folder / "spatial").is_dir() else folder  # archives often hold one flat folder
    matrix_path = folder / "filtered_feature_bc_matrix.h5"
    section = tenx.read_matrix(matrix_path)
    section = _section(section.X, section.obs_names, section.var_names)
    path, spots = tenx.read_positions(beside)
    _common(section.obs_names, spots.index, matrix_path, path)
    common = tenx.under_tissue(section.obs_names, spots, (matrix_path, path))
    n_dropped = int(spots["in_tissue"].sum()) - len(common)
    section, spots = section[common].copy(), spots.loc[common]
    section.obsm[SPATIAL] = spots[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(float)
    factors = beside / "scalefactors_json.json"
    factors = _read_json(factors) if factors.exists() else {}
    reduced = {kind: beside / f"tissue_{kind}_image.png" for kind in ("hires", "lowres")}
    scales = tenx.scales(factors, common, _size(reduced["hires"]))
    pictures = {path: tenx.number(factors.get(f"tissue_{kind}_scalef")) for kind, path in reduced.items()}
    return _on_array(section, spots, scales)._replace(n_spots_dropped=n_dropped, pictures=pictures)


def stutility(root: Path, name: str, gene_symbols: str | None = None) -> RawSection:
    """A section of an array of Spatial Transcriptomics with 2,000 spots, as STUtility keeps it.

    `{name}.tsv.gz` holds counts of spots x genes, `alignment_table_{name}.tsv` the place of each spot and whether it is
    `selected`, `{name}.jpg` the picture they are placed on. Every second row lies between those beside it; the pixels
    tell how far apart rows and columns are. Nearest spots are 141 um apart, as STUtility's code says. Their width is
    not stated: 100 um is that of the array before (Stahl et al. 2016, doi 10.1126/science.aaf2403).
    `gene_symbols` as in `her2st`.
    """
    counts_path, spots_path = root / f"{name}.tsv.gz", root / f"alignment_table_{name}.tsv"
    spots = _read_spots(spots_path)
    counts, names, genes = _read_counts(counts_path, gene_symbols)
    common = _common(names, spots.index, counts_path, spots_path)
    n_dropped = len(names.union(spots.index)) - len(common)
    counts = sparse.csr_matrix(counts, dtype=np.float32)[names.get_indexer(common)]
    spots = spots.loc[common]
    pixels = spots[["pixel_x", "pixel_y"]].to_numpy(float)
    section = _section(counts, common, genes, pixels)
    section.obsm[LATTICE] = _staggered(spots[["new_x", "new_y"]].to_numpy(float), pixels)
    return RawSection(
        section,
        image=only_file(root, f"{name}.[a-zA-Z]*", images.SUFFIXES),
        spot_um=SPOT_DIAMETER_UM,
        pitch_um=STAGGERED_PITCH_UM,
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
    patient, scales = _one_patient(found.obs, path), _scales_within(found)
    found = _counted(found, counts_layer, path)
    if "in_tissue" in found.obs:
        found = found[tenx.flags(found.obs["in_tissue"], f"{path}: obs['in_tissue']").to_numpy()].copy()
    genes = symbols(found.var_names, str(path), found.var, gene_names)
    section = _section(found.X, found.obs_names, genes, np.asarray(found.obsm[SPATIAL])[:, :2])
    image = only_file(root, f"{name}.[a-zA-Z]*", images.SUFFIXES)
    return _on_array(section, _array_coordinates(found.obs, path), scales)._replace(patient=patient, image=image)


LAYOUTS = {"her2st": her2st, "hest": hest, "spaceranger": spaceranger, "stutility": stutility, "h5ad": h5ad}


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


def _on_array(section: AnnData, spots: pd.DataFrame | None, scales: tenx.Scales) -> RawSection:
    """The section on its array, `spots` by array_row and array_col, with the lengths that bins or Visium's array have.

    Bins of Visium HD are stated; an array of hexagons is taken for Visium's, of any other nothing is known.
    """
    spot_um = pitch_um = scales.bin_um
    if spots is not None:
        section.obsm[LATTICE], hexagons = _lattice(spots, section.obsm[SPATIAL], square=not np.isnan(scales.bin_um))
        if hexagons:
            spot_um, pitch_um = tenx.VISIUM_SPOT_UM, tenx.VISIUM_PITCH_UM
    return RawSection(
        section,
        spot_um=spot_um,
        pitch_um=pitch_um,
        mpp_estimated=scales.mpp,
        image_size=scales.size,
        bin_um=scales.bin_um,
    )


def _common(names: pd.Index, others: pd.Index, path: Path, other: Path) -> pd.Index:
    """Names in both files, in the order of the first; of the shorter file a few may lack a partner (UNPAIRED)."""
    common, least = names.intersection(others, sort=False), min(len(names), len(others))
    if len(common) < least - max(3, UNPAIRED * least) or not len(common):
        raise ValueError(
            f"{path} and {other} have {len(common) or 'no'} spot{'s' * (len(common) > 1)} in common of {len(names)} "
            f"and {len(others)}: {_listed(names.difference(others, sort=False), 2)} against "
            f"{_listed(others.difference(names, sort=False), 2)}; give the two files of one section"
        )
    return common


def _listed(names, n: int = 10) -> str:
    names = list(names)
    return ", ".join(map(str, names[:n])) + (", ..." if len(names) > n else "") if names else "nothing"


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture that may be there; one that cannot be read says nothing."""
    with suppress(ValueError, OSError):
        return images.size(path)


# --- the her2st tree ---


def _read_counts(path: Path, gene_symbols: str | None = None) -> tuple[np.ndarray, pd.Index, pd.Index]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such count file; check the root and the section's name")
    table = tables.read(path)
    names, genes = clean(table.iloc[:, 0]), clean(table.columns[1:])
    for twice, what in ((genes, "gene"), (names, "spot")):
        if twice.has_duplicates:
            raise ValueError(f"{path}: {what} {twice[twice.duplicated()][0]!r} occurs twice; keep one")
    text = table.dtypes.iloc[1:] == np.dtype(object)
    if text.any():
        column = genes[int(np.argmax(text))]
        raise ValueError(f"{path}: gene {column!r} holds text where counts are wanted; raw counts are whole numbers")
    values = table.iloc[:, 1:].to_numpy()
    if counters := [gene for gene in genes if gene.startswith("__")]:
        warnings.warn(f"{path}: {_listed(counters, 3)} of HTSeq are no genes and are left out", stacklevel=3)
        genes, values = genes[~genes.isin(counters)], values[:, ~genes.isin(counters)]
    schema.check_counts(values, str(path))
    if not values.any():
        raise ValueError(f"{path}: every count is zero; leave the section out of the config")
    _check_no_totals(values, names, genes, path)
    if gene_symbols is None:
        return values, names, symbols(genes, str(path))
    return values, names, symbols(genes, str(path), _beside(genes, Path(gene_symbols)), "symbol")


def _beside(genes: pd.Index, path: Path) -> pd.DataFrame:
    """The symbols that a table of id and symbol gives genes, with or without the version of their id."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table; gene_symbols names one with the columns id and symbol")
    table = tables.read(path)
    if missing := {"id", "symbol"} - set(table.columns):
        raise ValueError(f"{path}: no column {' or '.join(sorted(missing))}; it has {_listed(table.columns)}")
    ids = clean(table["id"]).str.replace(VERSION, "", regex=True)
    known = pd.Series(clean(table["symbol"]), index=ids)
    found = known[~known.index.duplicated()].reindex(genes.str.replace(VERSION, "", regex=True))
    if found.isna().mean() > 0.5:
        raise ValueError(f"{path}: holds {found.notna().sum()} of {len(genes)} genes, not {genes[0]}; give their table")
    return pd.DataFrame({"symbol": found.to_numpy()})


def _check_no_totals(values: np.ndarray, names: pd.Index, genes: pd.Index, path: Path) -> None:
    """Refuse a row or column that is the sum of the others: it would double the library, or be a spot of its own."""
    for sums, which, what in ((values.sum(0), names, "row"), (values.sum(1), genes, "column")):
        across = values if what == "row" else values.T
        at = int(np.argmax(across.sum(1)))
        if len(across) > 2 and np.array_equal(2 * across[at], sums):
            raise ValueError(f"{path}: {what} {which[at]!r} is the sum of all others; take it out")


def _read_spots(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such spot file; check the root and the section's name")
    table = tables.read(path)
    columns = ["x", "y", "new_x", "new_y", "pixel_x", "pixel_y"]
    missing = [column for column in columns if column not in table]
    if missing:
        have, wanted = ", ".join(table.columns), ", ".join(columns)
        raise ValueError(f"{path}: no column {', '.join(missing)}; a spot file has {wanted}, this has {have}")
    numbers = tables.whole_lines(table, columns, path)
    if (numbers[["x", "y"]] % 1 != 0).any(axis=None):
        raise ValueError(f"{path}: x or y is not a whole number; they name the spot, new_x and new_y place it")
    if "selected" in table:
        numbers = numbers[tenx.flags(table["selected"], f"{path}: selected")]
        if not len(numbers):
            raise ValueError(f"{path}: selected is 0 for all {len(table)} spots; select those on tissue first")
    numbers.index = numbers["x"].astype(int).astype(str) + "x" + numbers["y"].astype(int).astype(str)
    return tables.each_once(numbers, path)


def _beside_her2st(root: Path, name: str) -> float:
    """HEST-1k's own estimate, where its metadata lies beside the tree: a second opinion, never the first."""
    path = root / "hest_metadata.csv"
    if not path.exists():
        return np.nan
    table = pd.read_csv(path).set_index("subseries")["pixel_size_um_estimated"]
    return tenx.number(table.get(name))


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


def _hest_patient(root: Path, metadata: Mapping) -> str:
    """The patient as the metadata name them, with the study where another study has a patient of the same name.

    Names are local to a study: Patient 1 of two publications is two people.
    """
    patient, studies = schema.patient_name(metadata.get("patient")), set()
    for path in (root / "metadata").glob("*.json") if patient else ():
        with suppress(ValueError):  # damaged metadata of another section are that section's problem
            other = _read_json(path)
            studies |= {_study(other)} if schema.patient_name(other.get("patient")) == patient else set()
    return f"{patient} of {_study(metadata) or 'an unnamed study'}" if len(studies) > 1 else patient


def _study(metadata: Mapping) -> str:
    return next((str(metadata[key]) for key in ("dataset_title", "study_link") if metadata.get(key)), "")


def _hest_size(metadata: Mapping) -> tuple[float, float] | None:
    size = tuple(tenx.number(metadata.get(key)) for key in ("fullres_px_width", "fullres_px_height"))
    return size if min(size) > 0 else None


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


def _one_patient(obs: pd.DataFrame, path: Path) -> str:
    """The patient of all spots; unknown where none is named, and, with a warning, where several are."""
    patients = {schema.patient_name(value) for value in obs.get("patient", pd.Series(dtype=str)).unique()} - {""}
    if len(patients) > 1:
        warnings.warn(f"{path}: spots of {len(patients)} patients, {_listed(sorted(patients), 3)}", stacklevel=2)
    return patients.pop() if len(patients) == 1 else ""


def _scales_within(found: AnnData) -> tenx.Scales:
    """What the scale factors say that scanpy keeps in uns, of one picture.

    A diameter alone says nothing: who wrote it, in um of a real spot or of Space Ranger's, is not known.
    """
    kept = found.uns.get(SPATIAL)
    kept = next(iter(kept.values())) if isinstance(kept, Mapping) and len(kept) == 1 else {}
    kept = kept if isinstance(kept, Mapping) else {}
    factors = {key: value for key, value in kept.get("scalefactors", {}).items() if key != "spot_diameter_fullres"}
    hires = kept.get("images", {}).get("hires")
    return tenx.scales(factors, found.obs_names, None if hires is None else np.shape(hires)[1::-1])


def _array_coordinates(obs: pd.DataFrame, path: Path) -> pd.DataFrame | None:
    """array_row and array_col of each spot, as obs or the names of spots have them."""
    if {"array_row", "array_col"} <= set(obs.columns):
        numbers = obs[["array_row", "array_col"]].apply(pd.to_numeric, errors="coerce").astype(float)
        if numbers.isna().any(axis=None):
            spot = numbers.index[numbers.isna().any(axis=1)][0]
            raise ValueError(f"{path}: spot {spot} has no number as obs['array_row'] or ['array_col']; write them")
        return numbers
    for pattern in (r"^(?P<array_row>\d+)x(?P<array_col>\d+)$", r"^s_\d{3}um_(?P<array_row>\d+)_(?P<array_col>\d+)"):
        named = obs.index.to_series().str.extract(pattern)
        if len(named) and not named.isna().any(axis=None):
            return named.astype(float)
    return None


def _lattice(spots: pd.DataFrame, pixels: np.ndarray, square: bool = False) -> tuple[np.ndarray, bool]:
    """Array coordinates in units of the pitch, x and y as in the image, and whether they are Visium's hexagons.

    Visium counts half steps along a row and puts every second row between: row and column are both even or both odd.
    So are every second of `square` bins.
    """
    row, column = spots["array_row"].to_numpy(float), spots["array_col"].to_numpy(float)
    if not square and len(spots) > 1 and ((row + column) % 2 == 0).all():
        return np.column_stack([column / 2, row * np.sqrt(3) / 2]), True
    # Some call the x of an array its row, as HEST does for Spatial Transcriptomics: the image tells.
    straight, crossed = (abs(np.cov(pixels[:, 0], axis)[0, 1]) for axis in (column, row)) if len(spots) > 1 else (1, 0)
    return np.column_stack([column, row] if straight >= crossed else [row, column]), False


def _staggered(array: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Array coordinates, x and y, in units of the distance to the nearest spot: one step in x and one in y.

    A step in y is as long, in steps of x, as the pixels say.
    """
    steps = np.array([np.polyfit(array[:, i], pixels[:, i], 1)[0] for i in range(2)])
    return array * steps / np.hypot(*steps)


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
