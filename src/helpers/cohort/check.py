"""A cohort before anything is computed: what was read of each section, what is missing, what is wrong.

`make check COHORT=...` runs it as a program; 01_data shows the same table.
"""

import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.cohort import images, sections
from helpers.schema import SPATIAL, patient_of

THUMBNAIL_PX = 1500  # longer side; a spot of a 7 mm section is about twenty pixels wide
ON_TISSUE = 0.1  # a spot is on glass where less of its disc is tissue: fat is mostly holes
SOURCES = ("user", "lattice", "embedded", "estimated")


def read(name: str, readers: Mapping, qc: Mapping) -> tuple[AnnData, dict]:
    """A section without spots that cannot be used, and its row in the table of sections.

    `readers` are arguments of `sections.read`, `qc` the rule of the config. Warnings are kept in the row. ValueError or
    FileNotFoundError name what is wrong: besides what `sections` refuses, swapped x and y, and spots off the tissue.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        whole = sections.read(name=name, **readers, embedded=images.embedded_mpp)
        image = whole.uns["image"]
        size = images.size(image) if image else None
        placed = _placed(whole, images.thumbnail(image, THUMBNAIL_PX), size) if image else None
        section = sections.drop_spots(whole, size, qc["min_spot_counts"])
    kept, reason = sections.quality(section, qc["min_spots"], qc["min_median_counts"])
    return section, {
        "section": name,
        "patient": patient_of(section),
        "kept": kept,
        "reason": reason,
        **_spots_lost(whole, section, placed, qc["min_spot_counts"]),
        **dict(zip(("width", "height"), size or (np.nan, np.nan), strict=True)),
        "mpp": section.uns["mpp"],
        "mpp_source": section.uns["mpp_source"],
        **{f"mpp_{source}": section.uns["mpp_by_source"].get(source, np.nan) for source in SOURCES},
        "median_total_counts": float(section.obs["total_counts"].median()),
        "image": image,
        "problem": "",
        "warnings": "; ".join(dict.fromkeys(str(warning.message) for warning in caught)),
    }


def _spots_lost(whole: AnnData, section: AnnData, placed: pd.Series | None, min_counts: int) -> dict[str, float]:
    """Spots of a section, those dropped of the `whole` by reason, and those beside the tissue; NaN without an image.

    `placed` says of each spot of the whole whether it lies on tissue, None where there is no image.
    """
    total = whole.obs["total_counts"]
    n_empty, n_few = int((total == 0).sum()), int((total < min_counts).sum())
    known = placed is not None
    return {
        "n_spots": section.n_obs,
        "n_spots_dropped": section.uns["n_spots_dropped"],
        "n_unpaired": whole.uns["n_spots_dropped"],
        "n_empty": n_empty,
        "n_shallow": n_few - n_empty,
        "n_outside": whole.n_obs - section.n_obs - n_few if known else np.nan,
        "n_off_tissue": int((~placed[section.obs_names]).sum()) if known else np.nan,
    }


def cohort(names: list[str], readers: Mapping, qc: Mapping, workers: int = 4) -> pd.DataFrame:
    """A row for each section, also for those that cannot be read: `problem` says why, "" where all is well."""
    with ProcessPoolExecutor(workers) as pool:
        return pd.DataFrame(pool.map(partial(_row, readers=readers, qc=qc), names))


def on_tissue(xy: np.ndarray, diameter: float, thumbnail: np.ndarray) -> np.ndarray:
    """Whether each disc (x, y of the centre and diameter, in pixels of the thumbnail) lies on tissue, and in the image.

    Tissue is darker than the glass around it by the triangle method (Zack 1977, doi 10.1177/25.7.70454).
    """
    from scipy.ndimage import gaussian_filter, uniform_filter
    from skimage.filters import threshold_triangle

    dark = gaussian_filter(255.0 - thumbnail.min(axis=2), 1)
    share = uniform_filter((dark > threshold_triangle(dark)).astype(float), max(1, round(diameter)))
    at = np.rint(xy).astype(int)
    inside = ((at >= 0) & (at < thumbnail.shape[1::-1])).all(axis=1)
    found = np.zeros(len(xy), bool)
    found[inside] = share[at[inside, 1], at[inside, 0]] >= ON_TISSUE
    return found


def _placed(section: AnnData, thumbnail: np.ndarray, size: tuple[int, int]) -> pd.Series:
    """Whether each spot, by name, lies on tissue; refused where x and y are swapped, or most spots lie elsewhere."""
    scale = thumbnail.shape[1] / size[0]
    diameter = section.uns["spot_um"] / section.uns["mpp"] * scale
    xy = section.obsm[SPATIAL] * scale
    placed, swapped = (on_tissue(at, diameter, thumbnail) for at in (xy, xy[:, ::-1]))
    n, n_off, n_swapped = len(xy), np.sum(~placed), np.sum(~swapped)
    off = f"section {section.uns['section']}: {n_off} of {n} spots lie off the tissue or the image"
    if n_off > n / 20 and n_swapped < n_off / 4:
        raise ValueError(f"{off}, with x and y exchanged {n_swapped}: they are swapped, exchange them in the files")
    if n_off > n / 2:
        raise ValueError(
            f"{off} {section.uns['image']} of {size[0]} x {size[1]} px; is it this section's, at full size?"
        )
    if n_off > n / 20:
        warnings.warn(f"{off}; look whether positions and image belong together", stacklevel=2)
    return pd.Series(placed, section.obs_names)


def _row(name: str, readers: Mapping, qc: Mapping) -> dict:
    try:
        return read(name, readers, qc)[1]
    except (ValueError, OSError) as error:
        return {"section": name, "kept": False, "image": "", "problem": str(error), "warnings": ""}
