"""Nuclei from the haematoxylin of H&E: where they are, how large, how many under each spot."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, gaussian_laplace
from scipy.spatial import cKDTree

from helpers.tissue.haematoxylin import EOSIN, UNSTAINED, check_resolution, nuclear_density, section_strength, strength

SCALE_UM = 2.4  # sigma of the Laplacian of Gaussian: it answers most to discs of radius 3.4 um
CONTRAST = 0.135  # least answer of a seed, in units of the stain's strength
EDGE = 0.25  # a nucleus ends where the answer falls below this share of its seed's
FAINT = 0.25  # and where the density, smoothed over 1 um, falls below this share of the strength
APART_UM = 2.0  # least distance between seeds
SMALLEST_UM2 = 3.0  # specks
TILE_UM = 300.0  # the fastest: smaller ones overlap more, larger ones cover more that is under no spot
MARGIN_UM = 20.0  # twice the reach of the filters


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
    from skimage.feature import peak_local_max  # an audit of counted nuclei does without scikit-image
    from skimage.segmentation import watershed

    check_resolution(mpp)
    nuclear = nuclear_density(image, eosin)
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
    check_resolution(mpp)
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


def count(nuclei: pd.DataFrame, spatial: np.ndarray, mpp: float, diameter_um: float) -> pd.DataFrame:
    """Nuclei with their centroid in each spot's disc: n_nuclei, nuclei_area_um2 (their summed area), a row a spot.

    `nuclei` has x, y (full-resolution pixels) and area_um2; `spatial`, n x 2, is in the same pixels, of `mpp` um.
    """
    spatial = np.asarray(spatial, float).reshape(-1, 2)
    inside = cKDTree(nuclei[["x", "y"]].to_numpy(float)).query_ball_point(spatial, diameter_um / 2 / mpp)
    area = nuclei["area_um2"].to_numpy()
    return pd.DataFrame(
        {
            "n_nuclei": np.array([len(rows) for rows in inside], int),
            "nuclei_area_um2": np.array([area[rows].sum() for rows in inside], float),
        }
    )


def count_in_squares(nuclei: pd.DataFrame, spatial: np.ndarray, mpp: float, side_um: float) -> np.ndarray:
    """Nuclei with their centroid in the square of `side_um` around each spot, n values; arguments as in `count`."""
    tree = cKDTree(nuclei[["x", "y"]].to_numpy(float))
    return tree.query_ball_point(spatial, side_um / 2 / mpp, p=np.inf, return_length=True)


def typical_spots(n_nuclei: np.ndarray) -> np.ndarray:
    """Positions of the spots with the fewest, the median and the most nuclei; equal spots are ranked as they stand."""
    order = np.argsort(n_nuclei, kind="stable")
    return order[[0, len(order) // 2, -1]]


def outlines(labels: np.ndarray) -> list[np.ndarray]:
    """Outline of each nucleus of a label image, k x 2 points x, y in its pixels, for drawing."""
    from skimage.measure import find_contours, regionprops

    found = []
    for nucleus in regionprops(labels):
        top, left = nucleus.bbox[:2]
        contour = max(find_contours(np.pad(nucleus.image, 1).astype(float), 0.5), key=len)
        found.append(contour[:, ::-1] + (left - 1, top - 1))
    return found
