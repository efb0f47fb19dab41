"""Nuclei from the haematoxylin of H&E: where they are, how large, how many under each spot."""

import itertools
import logging
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, gaussian_laplace
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree
from scipy.stats import spearmanr
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.measure import find_contours, regionprops
from skimage.segmentation import watershed

# Of segment: chosen on the MoNuSeg tiles (see leave_one_tile_out).
EOSIN = 0.3  # share of the eosin density taken off: red cells and dense stroma leak into haematoxylin
SCALE_UM = 2.4  # sigma of the Laplacian of Gaussian: it answers most to discs of radius 3.4 um
CONTRAST = 0.135  # least answer of a seed, in units of the stain's strength
EDGE = 0.25  # a nucleus ends where the answer falls below this share of its seed's
FAINT = 0.25  # and where the density, smoothed over 1 um, falls below this share of the strength
APART_UM = 2.0  # least distance between seeds
SMALLEST_UM2 = 3.0  # specks
UNSTAINED = 0.15  # a strength below this is glass and noise
MAX_MPP = 2.0

# Of sections.
SPOT_UM = 100.0
TILE_UM = 300.0  # the fastest: smaller ones overlap more, larger ones cover more that is under no spot
MARGIN_UM = 20.0  # twice the reach of the filters

# Of validation.
MATCH_UM = 6.0  # a nucleus counts as found within this distance: its own radius, or little more
STEP_UM = 25.0  # between the discs laid on a tile
SETTINGS = {"eosin": (0.2, 0.3, 0.4), "scale_um": (2.2, 2.4, 2.6), "contrast": (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)}


def density(image: np.ndarray) -> np.ndarray:
    """Haematoxylin optical density (log10) of each pixel, float32 (h, w), at least 0.

    `image` is RGB uint8 (h, w, 3); anything else is a ValueError. Ruifrok and Johnston's fixed H&E vectors, 2001.
    """
    return _stains(image)[..., 0]


def _stains(image: np.ndarray) -> np.ndarray:
    _check_image(image)
    # scikit-image divides optical densities by that of its darkest value, 1e-6.
    return rgb2hed(image.astype(np.float32) / 255).astype(np.float32) * 6


def _nuclear(image: np.ndarray, eosin: float) -> np.ndarray:
    stains = _stains(image)
    return np.maximum(stains[..., 0] - eosin * stains[..., 1], 0)


def strength(image: np.ndarray, eosin: float = EOSIN) -> float:
    """How dark the nuclei of `image` are: the nuclear density that thresholds are relative to; 0 on glass.

    Nuclear density is that of haematoxylin less `eosin` times that of eosin, at least 0.

    `image` is RGB uint8 (h, w, 3), or several regions of a section one above the other. The larger of two values
    over tiatoolbox's tissue mask: the 95th percentile, and the mean above Otsu's threshold, which holds where
    fewer than one pixel in twenty is nuclear.
    """
    with _root_logger_kept():
        from tiatoolbox.utils.misc import get_luminosity_tissue_mask
    try:
        stained = _nuclear(image, eosin)[get_luminosity_tissue_mask(image, threshold=0.8)]
    except ValueError:  # its way of saying that there is no tissue
        return 0.0
    if stained.min() == stained.max():
        return 0.0
    return float(max(np.percentile(stained, 95), stained[stained > threshold_otsu(stained)].mean()))


def segment(
    image: np.ndarray,
    mpp: float,
    stain: float | None = None,
    contrast: float = 1.0,
    scale_um: float = SCALE_UM,
    eosin: float = EOSIN,
) -> np.ndarray:
    """Label image of nuclei, int32 (h, w), numbered from 1, 0 between them.

    `image` is RGB uint8 (h, w, 3) at `mpp` um per pixel, `stain` the `strength` to judge it by: the image's own
    unless given, as it should be for regions of one section; `contrast` raises or lowers the threshold of the
    seeds. Seeds are maxima of the Laplacian of Gaussian, of sigma `scale_um`, of the nuclear density (see
    `strength`), grown by watershed down to `EDGE` and `FAINT`. An image paler than `UNSTAINED` has no nuclei.
    ValueError for another kind of image, mpp not above 0 or above 2.
    """
    _check_mpp(mpp)
    nuclear = _nuclear(image, eosin)
    stain = strength(image, eosin) if stain is None else stain
    if stain < UNSTAINED:
        return np.zeros(nuclear.shape, np.int32)
    nuclear /= stain
    scale = scale_um / mpp
    blob = -gaussian_laplace(nuclear, scale) * scale**2
    peaks = peak_local_max(
        blob, min_distance=max(1, round(APART_UM / mpp)), threshold_abs=contrast * CONTRAST, exclude_border=False
    )
    seeds = np.zeros(blob.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-blob, seeds, mask=(blob > 0) & (gaussian_filter(nuclear, 1 / mpp) > FAINT))
    edge = np.concatenate([[0], EDGE * blob[tuple(peaks.T)]])
    labels[blob < edge[labels]] = 0
    large = np.bincount(labels.ravel(), minlength=len(edge)) >= SMALLEST_UM2 / mpp**2
    large[0] = False
    return (np.cumsum(large) * large).astype(np.int32)[labels]


def detect(image: np.ndarray, mpp: float, stain: float | None = None, **how: float) -> pd.DataFrame:
    """Nuclei of an image: x, y of the centroid in pixels of that image, area_um2.

    Arguments, those after `stain` included, and errors are those of `segment`.
    """
    labels = segment(image, mpp, stain, **how)
    row, column = np.nonzero(labels)
    label = labels[row, column] - 1
    area = np.bincount(label)  # labels are numbered without gaps, so none is 0
    return pd.DataFrame(
        {
            "x": np.bincount(label, column) / area,
            "y": np.bincount(label, row) / area,
            "area_um2": area * mpp**2,
        }
    )


def section_strength(read: Callable, spatial: np.ndarray, mpp: float) -> float:
    """The `strength` of a section, from the regions under 32 spots spread over it.

    `read(centre, size_um, mpp)` gives a region as RGB uint8, `spatial` is n x 2: x, y of the spots in
    full-resolution pixels, `mpp` um per pixel.
    """
    _check_mpp(mpp)
    spatial = np.asarray(spatial, float)
    chosen = spatial[np.unique(np.linspace(0, len(spatial) - 1, 32).round().astype(int))]
    return strength(np.concatenate([read(tuple(centre), SPOT_UM, mpp) for centre in chosen]))


def detect_section(
    read: Callable,
    spatial: np.ndarray,
    mpp: float,
    size_um: float = 154.0,
    stain: float | None = None,
    contrast: float = 1.0,
) -> pd.DataFrame:
    """Nuclei under the spots of a section, each once: x, y in full-resolution pixels, area_um2.

    Covers at least the squares of `size_um` um around the spots. `read(centre, size_um, mpp)` gives a region as
    RGB uint8, `spatial` is n x 2: x, y of the spots in full-resolution pixels, `mpp` um per pixel. All
    regions are judged by one strength, `section_strength` unless given, and one `contrast` (see `segment`).
    Reads square tiles that overlap by more than a nucleus and keeps the nuclei whose centroid lies in a tile's
    own part.
    """
    _check_mpp(mpp)
    stain = section_strength(read, spatial, mpp) if stain is None else stain
    side, margin = round(TILE_UM / mpp), round(MARGIN_UM / mpp)

    def own_nuclei(corner: np.ndarray) -> pd.DataFrame:
        tile = read(tuple(corner + (side - 1) / 2), (side + 2 * margin) * mpp, mpp)
        found = detect(tile, mpp, stain, contrast=contrast)
        inside = found[["x", "y"]].to_numpy() - margin
        found[["x", "y"]] = inside + corner
        return found[((inside >= 0) & (inside < side)).all(axis=1)]

    with ThreadPoolExecutor(2) as pool:
        return pd.concat(pool.map(own_nuclei, _tiles(spatial, side, size_um / 2 / mpp)), ignore_index=True)


def _tiles(spatial: np.ndarray, side: int, reach: float) -> np.ndarray:
    """Corners of the tiles of one grid that the squares of half-width `reach` around the spots touch."""
    spans = np.floor((np.asarray(spatial, float)[:, :, None] + [-reach, reach]) / side).astype(int)
    touched = {
        (column, row)
        for (left, right), (top, bottom) in spans.tolist()
        for column in range(left, right + 1)
        for row in range(top, bottom + 1)
    }
    return np.array(sorted(touched)) * side


def count(nuclei: pd.DataFrame, spatial: np.ndarray, mpp: float, diameter_um: float = SPOT_UM) -> pd.DataFrame:
    """Nuclei with their centroid in each spot's disc: n_nuclei, nuclei_area_um2 (their summed area), a row a spot.

    `nuclei` has x, y (full-resolution pixels) and area_um2; `spatial`, n x 2, is in the same pixels, of `mpp` um.
    """
    _check_mpp(mpp)
    spatial = np.asarray(spatial, float).reshape(-1, 2)
    inside = cKDTree(nuclei[["x", "y"]].to_numpy(float)).query_ball_point(spatial, diameter_um / 2 / mpp)
    area = nuclei["area_um2"].to_numpy()
    return pd.DataFrame(
        {
            "n_nuclei": np.array([len(rows) for rows in inside], int),
            "nuclei_area_um2": np.array([area[rows].sum() for rows in inside], float),
        }
    )


def sharpness(read: Callable, spatial: np.ndarray, mpp: float, size_um: float = SPOT_UM) -> np.ndarray:
    """Focus of the square of `size_um` around each spot, n values: lower is blurrier, whatever the stain's strength.

    The share of the haematoxylin `density`'s spread that a blur of 1.5 um takes away; arguments as in
    `section_strength`. NaN where the square is plain.
    """
    _check_mpp(mpp)

    def share(centre: np.ndarray) -> float:
        region = density(read(tuple(centre), size_um, mpp))
        return (region - gaussian_filter(region, 1.5 / mpp)).std() / region.std() if region.std() else np.nan

    with ThreadPoolExecutor(2) as pool:
        return np.array(list(pool.map(share, np.asarray(spatial, float))), float)


def haematoxylin(read: Callable, spatial: np.ndarray, mpp: float, diameter_um: float = SPOT_UM) -> np.ndarray:
    """Mean haematoxylin `density` in each spot's disc, n values; arguments as in `section_strength`."""
    _check_mpp(mpp)
    side = round(diameter_um / mpp)
    offset = np.arange(side) - (side - 1) / 2
    disc = offset[:, None] ** 2 + offset**2 <= (diameter_um / mpp / 2) ** 2

    def mean(centre: np.ndarray) -> float:
        return density(read(tuple(centre), diameter_um, mpp))[disc].mean()

    with ThreadPoolExecutor(2) as pool:
        return np.array(list(pool.map(mean, np.asarray(spatial, float))), float)


def outlines(labels: np.ndarray) -> list[np.ndarray]:
    """Outline of each nucleus of a label image, k x 2 points x, y in its pixels, for drawing."""
    found = []
    for nucleus in regionprops(labels):
        top, left = nucleus.bbox[:2]
        contour = max(find_contours(np.pad(nucleus.image, 1).astype(float), 0.5), key=len)
        found.append(contour[:, ::-1] + (left - 1, top - 1))
    return found


def match(found: np.ndarray, truth: np.ndarray, radius_um: float, mpp: float) -> dict[str, float]:
    """Detection scores: matched, precision, recall, f1, count_error (|found - true| / true).

    `found` and `truth` are n x 2, in pixels of `mpp` um. `matched` is the largest number of pairs within
    `radius_um` in which each point stands once. A score without a denominator is NaN.
    """
    _check_mpp(mpp)
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
    true numbers in discs of a spot's size, `STEP_UM` apart on the tile; NaN where fewer than three fit.
    """
    side = np.arange(SPOT_UM / 2, width * mpp - SPOT_UM / 2, STEP_UM) / mpp - 0.5
    discs = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    true = pd.DataFrame(truth, columns=["x", "y"]).assign(area_um2=0.0)
    counts = [count(nuclei, discs, mpp)["n_nuclei"] for nuclei in (found, true)]
    spread = len(discs) > 2 and min(each.nunique() for each in counts) > 1
    scores = match(found[["x", "y"]], truth, MATCH_UM, mpp)
    return {
        "n_true": len(truth),
        "n_found": len(found),
        **{name: scores[name] for name in ("f1", "precision", "recall", "count_error")},
        "count_rho": float(spearmanr(*counts).statistic) if spread else np.nan,
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


def _check_image(image) -> None:
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"the image is {what}: give RGB as uint8 of shape (height, width, 3)")


def _check_mpp(mpp: float) -> None:
    if not 0 < mpp <= MAX_MPP:
        raise ValueError(f"mpp is {mpp}: nuclei need a pixel size above 0 and at most {MAX_MPP} um per pixel")


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    # On import tiatoolbox hangs handlers on the root logger and diverts warnings to it.
    root = logging.getLogger()
    handlers, level, show = root.handlers[:], root.level, warnings.showwarning
    try:
        yield
    finally:
        root.handlers[:], warnings.showwarning = handlers, show
        root.setLevel(level)
