"""Annotated tiles: how well a back end finds and counts nuclei that people drew."""

import io
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

from helpers.columns import spearman
from helpers.tissue.classical import count, detect
from helpers.tissue.haematoxylin import check_resolution, strength

# Annotated tiles ---------------------------------------------------------------------------------------------------

# Quantization tables of the her2st cohort's JPEGs in natural order; their colour is stored at half resolution.
LUMINANCE = (
    "12 8 13 21 26 32 34 17 8 9 12 20 27 23 12 12 13 12 16 26 23 12 12 12 21 20 26 23 12 12 12 12 "
    "26 27 23 12 12 12 12 12 32 23 12 12 12 12 12 12 34 12 12 12 12 12 12 12 17 12 12 12 12 12 12 12"
)
CHROMINANCE = (
    "13 13 17 27 20 20 17 17 13 14 17 14 14 12 12 12 17 17 14 14 12 12 12 12 27 14 14 12 12 12 12 12 "
    "20 14 12 12 12 12 12 12 20 12 12 12 12 12 12 12 17 12 12 12 12 12 12 12 17 12 12 12 12 12 12 12"
)
MONUSEG_MPP = 0.25


def annotated_tiles(folder: str | Path, mpp: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (RGB uint8 image, centroids n x 2 as x, y) of the MoNuSeg tiles in a folder, at `mpp` um per pixel.

    A tile is `<name>.png` at 0.25 um/px with its labels, `<name>_label.png`; it is resampled and encoded as the
    her2st cohort's JPEGs are, since detection on clean pixels would flatter. Kumar et al. 2020,
    doi 10.1109/TMI.2019.2947628. FileNotFoundError where the folder holds none.
    """
    from scipy.ndimage import center_of_mass

    tables = [[int(value) for value in table.split()] for table in (LUMINANCE, CHROMINANCE)]
    found = {}
    for path in sorted(Path(folder).glob("*_label.png")):
        name = path.stem.removesuffix("_label")
        labels = np.asarray(Image.open(path)).astype(np.int32)
        centroids = np.array(center_of_mass(labels > 0, labels, np.unique(labels)[1:]))[:, ::-1]
        tile = Image.open(path.with_name(f"{name}.png")).convert("RGB")
        small = tile.resize((round(MONUSEG_MPP * tile.width / mpp),) * 2, Image.Resampling.BICUBIC)
        small.save(encoded := io.BytesIO(), "JPEG", qtables=tables, subsampling="4:2:0")
        found[name] = np.asarray(Image.open(encoded)), (centroids + 0.5) * small.width / tile.width - 0.5
    if not found:
        raise FileNotFoundError(f"{folder}: no tile, that is no <name>.png with <name>_label.png; check MONUSEG_ROOT")
    return found


# Of validation.
MATCH_UM = 6.0  # a nucleus counts as found within this distance: its own radius, or little more
DISC_UM = 100.0  # of the discs laid on a tile, as wide as a spot of the her2st arrays
STEP_UM = 25.0  # between them
SETTINGS = {"eosin": (0.2, 0.3, 0.4), "scale_um": (2.2, 2.4, 2.6), "contrast": (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)}


def match(found: np.ndarray, truth: np.ndarray, radius_um: float, mpp: float) -> dict[str, float]:
    """Detection scores: matched, precision, recall, f1, count_error (|found - true| / true).

    `found` and `truth` are n x 2, in pixels of `mpp` um. `matched` is the largest number of pairs within
    `radius_um` in which each point stands once. A score without a denominator is NaN.
    """
    check_resolution(mpp)
    found, truth = (np.asarray(points, float).reshape(-1, 2) for points in (found, truth))
    matched = 0
    if len(found) and len(truth):
        near = cKDTree(found).sparse_distance_matrix(cKDTree(truth), radius_um / mpp, output_type="coo_matrix")
        graph = csr_matrix((np.ones(near.nnz), (near.row, near.col)), shape=near.shape)
        matched = int((maximum_bipartite_matching(graph) >= 0).sum())
    return {
        "matched": matched,
        "precision": matched / len(found) if len(found) else np.nan,
        "recall": matched / len(truth) if len(truth) else np.nan,
        "f1": 2 * matched / (len(found) + len(truth)) if len(found) + len(truth) else np.nan,
        "count_error": abs(len(found) - len(truth)) / len(truth) if len(truth) else np.nan,
    }


def accuracy(found: pd.DataFrame, truth: np.ndarray, width: int, mpp: float) -> dict[str, float]:
    """How well the nuclei of an annotated square tile are found and counted, one row of the validation table.

    `found` has x, y and area_um2, `truth` is n x 2, both in pixels of the tile, `width` of them wide, of `mpp` um.
    Returns n_true, n_found, the scores of `match` within `MATCH_UM`, and count_rho: Spearman's rho of found and
    true numbers in discs of `DISC_UM`, `STEP_UM` apart on the tile; NaN where fewer than three fit.
    """
    side = np.arange(DISC_UM / 2, width * mpp - DISC_UM / 2, STEP_UM) / mpp - 0.5
    discs = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    true = pd.DataFrame(truth, columns=["x", "y"]).assign(area_um2=0.0)
    counts = [count(nuclei, discs, mpp, DISC_UM)["n_nuclei"] for nuclei in (found, true)]
    scores = match(found[["x", "y"]], truth, MATCH_UM, mpp)
    return {
        "n_true": len(truth),
        "n_found": len(found),
        **{name: scores[name] for name in ("f1", "precision", "recall", "count_error")},
        "count_rho": float(spearman(*counts)[0]) if len(discs) > 2 else np.nan,
    }


def leave_one_tile_out(tiles: dict[str, tuple[np.ndarray, np.ndarray]], mpp: float) -> pd.DataFrame:
    """`accuracy` of each annotated tile under the setting that counts best on the other tiles, a row a tile.

    `tiles` gives name -> (RGB uint8 image, true centroids n x 2) at `mpp` um per pixel. The settings are the grid
    `SETTINGS`; the best has the lowest mean count error, as counts are what the study uses. The row names it. With
    the defaults chosen on all 13 MoNuSeg tiles (Kumar 2020, doi 10.1109/TMI.2019.2947628) this is what tells how far
    they are fitted to them: mean count error 0.097 at 0.688 um/px, and 0.117 where settings are chosen by F1, 0.106 by
    F1 less count error. Macenko's stain vectors, Vahadane's, per-seed logistic models, several scales and
    local normalization did no better there.
    """
    rows = []
    for name, (image, truth) in tiles.items():
        for eosin in SETTINGS["eosin"]:
            stain = strength(image, eosin)
            for scale_um, contrast in itertools.product(SETTINGS["scale_um"], SETTINGS["contrast"]):
                setting = {"eosin": eosin, "scale_um": scale_um, "contrast": contrast}
                found = detect(image, mpp, stain, **setting)
                rows.append({"tile": name} | setting | accuracy(found, truth, image.shape[1], mpp))
    table = pd.DataFrame(rows).set_index([*SETTINGS, "tile"])
    error = table["count_error"].unstack("tile")
    best = {name: error.drop(columns=name).mean(axis=1).idxmin() for name in tiles}
    chosen = table.loc[[(*setting, name) for name, setting in best.items()]].reset_index()
    return chosen[["tile", *chosen.columns.drop(["tile", *SETTINGS]), *SETTINGS]]
