"""A section that was read, written again as each kind of cohort lays out its files."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import tifffile
from anndata import AnnData
from PIL import Image
from scipy import sparse

from helpers.schema import COUNTS, SPATIAL


def her2st(section: AnnData, root: Path) -> None:
    name = section.uns["section"]
    counts = pd.DataFrame(section.layers[COUNTS].toarray().astype(int), section.obs_names, section.var_names)
    for folder in ("ST-cnts", "ST-spotfiles", f"ST-imgs/{name[0]}/{name}"):
        (root / "data" / folder).mkdir(parents=True, exist_ok=True)
    counts.to_csv(root / f"data/ST-cnts/{name}.tsv.gz", sep="\t")
    spots = array(section).assign(selected=1)
    spots[["new_x", "new_y"]] = section.obsm["lattice"]
    spots[["pixel_x", "pixel_y"]] = section.obsm[SPATIAL]
    order = ["x", "y", "new_x", "new_y", "pixel_x", "pixel_y", "selected"]
    spots[order].to_csv(root / f"data/ST-spotfiles/{name}_selection.tsv", sep="\t", index=False)
    image(section, root / f"data/ST-imgs/{name[0]}/{name}/he.jpg")


def hest(section: AnnData, root: Path, name: str) -> None:
    """As downloaded: x of the array is called its row, names of spots are padded with zeros, the TIFF is a pyramid."""
    spots = array(section)
    padded = [f"{x:03d}x{y:03d}" for x, y in spots.to_numpy()]
    obs = pd.DataFrame(
        {"in_tissue": True, "array_row": spots["x"].to_numpy(), "array_col": spots["y"].to_numpy()}, padded
    )
    h5ad(section, root / "st", name, obs)
    about = {
        "id": name,
        "subseries": section.uns["section"],
        "patient": f"Patient {section.obs['patient'].iloc[0]}",
        "spot_diameter": section.uns["spot_um"],
        "inter_spot_dist": section.uns["pitch_um"],
        "pixel_size_um_estimated": section.uns["mpp"] * 1.02,
        "magnification": "20x",
    }
    (root / "metadata").mkdir(exist_ok=True)
    (root / "metadata" / f"{name}.json").write_text(json.dumps(about))
    pyramid(section, root / "wsis" / f"{name}.tif")
    nuclei = root / "cellvit_seg" / f"{name}_cellvit_seg.parquet"
    nuclei.parent.mkdir(exist_ok=True)
    nuclei.write_bytes(b"nuclei")


def spaceranger(section: AnnData, root: Path, name: str, *, outs: bool = True, header: bool = True) -> None:
    """As Space Ranger leaves it, version 2 or, without a header, version 1; with spots that lie beside the tissue."""
    folder = root / name / ("outs" if outs else "")
    (folder / "spatial").mkdir(parents=True)
    barcodes = [f"{spot.replace('x', 'A')}-1" for spot in section.obs_names]
    matrix_10x(folder / "filtered_feature_bc_matrix.h5", section.layers[COUNTS], barcodes, section.var_names)
    spots = array(section)
    x, y = section.obsm[SPATIAL].T
    table = pd.DataFrame({"barcode": barcodes, "in_tissue": 1, "array_row": spots["y"], "array_col": spots["x"]})
    table = table.assign(pxl_row_in_fullres=y, pxl_col_in_fullres=x)
    beside = table.iloc[:3].assign(barcode=["B1-1", "B2-1", "B3-1"], in_tissue=0)
    file = "tissue_positions.csv" if header else "tissue_positions_list.csv"
    pd.concat([beside, table.iloc[::-1]]).to_csv(folder / "spatial" / file, index=False, header=header)
    scale = {"spot_diameter_fullres": 65 / section.uns["mpp"], "tissue_hires_scalef": 0.1}
    (folder / "spatial" / "scalefactors_json.json").write_text(json.dumps(scale))
    image(section, root / "images" / f"{name}.jpg")


def plain(section: AnnData, root: Path, name: str) -> None:
    """An h5ad file and an image beside it."""
    spots = array(section)
    obs = pd.DataFrame({"array_row": spots["y"], "array_col": spots["x"]})
    h5ad(section, root, name, obs.assign(patient=str(section.obs["patient"].iloc[0])))
    pyramid(section, root / f"{name}.tif")


def h5ad(section: AnnData, folder: Path, name: str, obs: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made = AnnData(X=section.layers[COUNTS], obs=obs, var=pd.DataFrame(index=section.var_names))
    made.obsm[SPATIAL] = section.obsm[SPATIAL]
    made.write_h5ad(folder / f"{name}.h5ad")


def array(section: AnnData) -> pd.DataFrame:
    return section.obs_names.to_series().str.extract(r"(?P<x>\d+)x(?P<y>\d+)").astype(int)


def image(section: AnnData, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(Path(section.uns["image"]).read_bytes())


def pyramid(section: AnnData, path: Path) -> None:
    """A tiled TIFF of three levels that says how large its pixels are."""
    pixels = np.asarray(Image.open(section.uns["image"]).convert("RGB"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        for level in range(3):
            per_cm = 1e4 / section.uns["mpp"] / 2**level
            file.write(
                np.ascontiguousarray(pixels[:: 2**level, :: 2**level]),
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                subfiletype=int(level > 0),
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
            )


def matrix_10x(path: Path, counts: sparse.csr_matrix, barcodes, genes) -> None:
    """Version 3 of the format: features x barcodes, column by column, which is our rows."""
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix["barcodes"] = np.array(barcodes, "S")
        matrix["data"], matrix["indices"], matrix["indptr"] = counts.data.astype("i4"), counts.indices, counts.indptr
        matrix["shape"] = counts.shape[::-1]
        features = matrix.create_group("features")
        features["name"] = np.array(genes, "S")
        features["id"] = np.array([f"ENSG{k:011d}" for k in range(len(genes))], "S")
        features["feature_type"] = np.array(["Gene Expression"] * len(genes), "S")
        features["genome"] = np.array(["GRCh38"] * len(genes), "S")


def visium(mpp=0.5, angle=0.0, mirrored=False, n=12):
    """Positions of an array as Space Ranger writes them: 100 um between neighbours, turned and mirrored."""
    row, half = np.divmod(np.arange(n * n), n)
    column = 2 * half + row % 2
    um = np.column_stack([column * 50.0, row * 50.0 * np.sqrt(3)]) * [-1 if mirrored else 1, 1]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = (um @ turn.T / mpp + 5000).T
    spots = {"array_row": row, "array_col": column, "pxl_row_in_fullres": y, "pxl_col_in_fullres": x}
    return pd.DataFrame({"barcode": [f"A{k:04d}-1" for k in range(n * n)], "in_tissue": 1} | spots)


def visium_files(root, spots, genes=tuple(f"G{k}" for k in range(20))):
    (root / "A1/spatial").mkdir(parents=True)
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(3, (len(spots), 20)))
    matrix_10x(root / "A1/filtered_feature_bc_matrix.h5", counts, spots["barcode"], genes)
    spots.to_csv(root / "A1/spatial/tissue_positions.csv", index=False)


# How each layout is written, and what a user then states: (section, root) -> options of `sections.read`.

ST = {"spot_um": 100, "pitch_um": 200}


def hest_by_id(section: AnnData, root: Path) -> dict:
    hest(section, root, "SPA154")
    return {"ids": {"A1": "SPA154"}}


def spaceranger_2(section: AnnData, root: Path) -> dict:
    spaceranger(section, root, "A1")
    return ST | {"images": "images/{section}.jpg", "patients": {"A1": "A"}}


def spaceranger_1(section: AnnData, root: Path) -> dict:
    spaceranger(section, root, "V10S21-1_A1", outs=False, header=False)
    return ST | {"ids": {"A1": "V10S21-1_A1"}, "images": "images/*{section}.jpg", "patients": {"A1": "A"}}


def plain_a1(section: AnnData, root: Path) -> dict:
    plain(section, root, "A1")
    return ST


LAYOUTS = {
    "her2st": lambda section, root: her2st(section, root) or {},
    "hest by id": hest_by_id,
    "hest by subseries": lambda section, root: hest(section, root, "SPA154") or {},
    "spaceranger": spaceranger_2,
    "spaceranger 1": spaceranger_1,
    "h5ad": plain_a1,
}
