"""A cohort before anything is computed: what was read of each section, what is missing, what is wrong.

`make check COHORT=...` runs it as a program; 01_data shows the same table.
"""

import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.ndimage import uniform_filter

from helpers.cohort import images, molecules, pictures, placement, sections
from helpers.schema import COUNTS, SPATIAL, patient_of

THUMBNAIL_PX = 1500  # longer side; a spot of a 7 mm section is about twenty pixels wide
SAME_SIZE = 0.01  # a picture reduced to 2,000 px gives the size of the whole one to a thousandth
MIN_PLACED = 30  # fewer spots say nothing of their place
ENDED = "reading it ended the process, most likely for want of memory; leave it out, or give it a machine of more"
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
        thumbnail = np.array(images.thumbnail(image, THUMBNAIL_PX)) if image else None
        masked = _masked(whole, thumbnail, size) if image else None
        placed = _placed(whole, thumbnail, size) if image else None
        section = sections.drop_spots(whole, size, qc["min_spot_counts"], masked)
        seen = _seen(whole, thumbnail, size) if image else None
        doubts = molecules.why_not_umi(section.layers[COUNTS]), placement.scattered(section)
        said = [f"counts: {doubts[0]}; give the raw counts of molecules"] if doubts[0] else []
        for words in filter(None, [*said, doubts[1], sections.too_many(section.n_obs)]):
            warnings.warn(f"section {name}: {words}", stacklevel=2)
    kept, reason = sections.quality(section, qc["min_spots"], qc["min_median_counts"])
    return section, {
        "section": name,
        "patient": patient_of(section),
        "kept": kept,
        "reason": reason,
        **_spots_lost(whole, section, placed, masked, qc["min_spot_counts"]),
        **picture_of(section, size),
        "median_total_counts": float(section.obs["total_counts"].median()),
        "image": image,
        "problem": "",
        "warnings": "; ".join(dict.fromkeys(str(warning.message) for warning in caught)),
        "seen": seen,
        "signature": signature(section),
    }


def _seen(section: AnnData, thumbnail: np.ndarray, size: tuple[int, int]) -> placement.View | None:
    """How the image shows the section; warned of where spots seem placed otherwise, or on an image of another size."""
    where = f"section {section.uns['section']}"
    if words := other_size(section, size):
        warnings.warn(f"{where}: {words}", stacklevel=3)
    if section.n_obs < MIN_PLACED:
        return None
    seen = placement.view(section, thumbnail, size)
    if words := placement.doubt(seen):
        warnings.warn(f"{where}: {words}", stacklevel=3)
    return seen


def other_size(section: AnnData, size: tuple[int, int]) -> str:
    """Whether the files place spots on an image of another size than this one, in words; "" where they do not."""
    stated = section.uns.get("image_size")
    if stated is None or np.abs(np.array(size) / stated - 1).max() <= SAME_SIZE:
        return ""
    return (
        f"the image has {size[0]} x {size[1]} px, its files place spots on one of {stated[0]:.0f} x "
        f"{stated[1]:.0f} px; give that one"
    )


def signature(section: AnnData) -> frozenset:
    """What tells the spots of a section from any other, whatever they and their genes are called, in any order."""
    counts = section.layers[COUNTS]
    sums = (counts.sum(1), counts.getnnz(1), counts.multiply(counts).sum(1))
    return frozenset(zip(*(np.asarray(one).ravel().tolist() for one in sums), strict=True))


def links_out(root: str | Path) -> list[Path]:
    """Links below a root that lead out of it: what they point at is read and shown as if it were of the cohort."""
    root = Path(root)
    links = (path for path in sorted(root.rglob("*")) if path.is_symlink())
    return [path for path in links if not path.resolve().is_relative_to(root.resolve())]


def same_data(signatures: Mapping[str, frozenset]) -> dict[str, str]:
    """By section, in words, an earlier one with the counts of most of its spots: the same data under two names."""
    found = {}
    for name, other in combinations(signatures, 2):
        share = len(signatures[name] & signatures[other]) / max(1, min(len(signatures[name]), len(signatures[other])))
        if share > 0.5:
            found.setdefault(
                other, f"{share:.0%} of its spots have the counts of those of {name}: the same data under two names"
            )
    return found


def table(rows: Iterable[Mapping]) -> pd.DataFrame:
    """Rows of `read` as the table of sections, with the warnings that only other sections give."""
    rows = [dict(row) for row in rows]
    seen = {row["section"]: view for row in rows if (view := row.pop("seen", None)) is not None}
    signatures = {row["section"]: known for row in rows if (known := row.pop("signature", None))}
    for warned in (placement.doubts_of_others(seen), same_data(signatures)):
        for row in rows:
            if words := warned.get(row["section"]):
                row["warnings"] = "; ".join(filter(None, [row["warnings"], f"section {row['section']}: {words}"]))
    return pd.DataFrame(rows)


def picture_of(section: AnnData, size: tuple[int, int] | None) -> dict:
    """Columns of a section's row about its picture of this size: width and height, and its pixel size by source."""
    return {
        **dict(zip(("width", "height"), size or (np.nan, np.nan), strict=True)),
        "mpp": section.uns["mpp"],
        "mpp_source": section.uns["mpp_source"],
        **{f"mpp_{source}": section.uns["mpp_by_source"].get(source, np.nan) for source in SOURCES},
    }


def _spots_lost(
    whole: AnnData, section: AnnData, placed: pd.Series | None, masked: np.ndarray | None, min_counts: int
) -> dict[str, float]:
    """Spots of a section, those dropped of the `whole` by reason, and those beside the tissue; NaN without an image.

    `placed` and `masked` say of each spot of the whole whether it lies on tissue and whether on a masked part, None
    where there is no image.
    """
    total = whole.obs["total_counts"].to_numpy()
    n_empty, n_few = int((total == 0).sum()), int((total < min_counts).sum())
    known = placed is not None
    n_masked = int((masked & (total >= min_counts)).sum()) if known else 0
    return {
        "n_spots": section.n_obs,
        "n_spots_dropped": section.uns["n_spots_dropped"],
        "n_unpaired": whole.uns["n_spots_dropped"],
        "n_empty": n_empty,
        "n_shallow": n_few - n_empty,
        "n_outside": whole.n_obs - section.n_obs - n_few - n_masked if known else np.nan,
        "n_masked": n_masked if known else np.nan,
        "n_off_tissue": int((~placed[section.obs_names]).sum()) if known else np.nan,
    }


def cohort(names: list[str], readers: Mapping, qc: Mapping, workers: int = 4) -> pd.DataFrame:
    """A row for each section, also for those that cannot be read: `problem` says why, "" where all is well."""
    with ProcessPoolExecutor(workers) as pool:
        tasks = {name: pool.submit(_row, name, readers, qc) for name in names}
        rows = {name: _result(task) for name, task in tasks.items()}
    for name in (name for name, row in rows.items() if row is None):  # one of these took the others with it
        with ProcessPoolExecutor(1) as alone:
            rows[name] = _result(alone.submit(_row, name, readers, qc)) or _problem(name, ENDED)
    return table(rows.values())


def _result(task: Future) -> dict | None:
    """The row that a process made; None where the process came to an end, as for want of memory."""
    try:
        return task.result()
    except BrokenExecutor:
        return None


def on_tissue(xy: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Whether discs around x, y lie on tissue and in the image; `share` of tissue is `placement.tissue_share`."""
    return np.nan_to_num(placement.at(share, xy)) >= placement.ON_TISSUE


def _masked(section: AnnData, thumbnail: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whether more of each spot's disc than `pictures.MASKED` shows no tissue as it was; the spots are named.

    In the thumbnail these parts are made white, so that black is not taken for tissue. Outside the picture: no.
    """
    scale = thumbnail.shape[1] / size[0]
    parts = pictures.masked(thumbnail, section.uns.get("masks", ()), scale)
    thumbnail[parts] = 255
    diameter = section.uns["spot_um"] / section.uns["mpp"] * scale
    share = placement.at(uniform_filter(parts.astype(float), max(1, round(diameter))), section.obsm[SPATIAL] * scale)
    found = np.nan_to_num(share) > pictures.MASKED
    if found.any():
        named = ", ".join(section.obs_names[found])
        warnings.warn(f"section {section.uns['section']}: the picture is black or masked under {named}", stacklevel=2)
    return found


def _placed(section: AnnData, thumbnail: np.ndarray, size: tuple[int, int]) -> pd.Series:
    """Whether each spot, by name, lies on tissue; refused where x and y are swapped, or most spots lie elsewhere."""
    scale = thumbnail.shape[1] / size[0]
    diameter = section.uns["spot_um"] / section.uns["mpp"] * scale
    xy = section.obsm[SPATIAL] * scale
    share = placement.tissue_share(thumbnail, diameter)
    placed, swapped = (on_tissue(at, share) for at in (xy, xy[:, ::-1]))
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
        return _problem(name, str(error))
    except Exception as error:  # of a library; one section must not hide the others
        return _problem(name, f"{type(error).__name__}: {error}; is each of its files whole, and of its layout?")


def _problem(name: str, words: str) -> dict:
    words = " ".join(words.split())  # one line
    return {"section": name, "kept": False, "image": "", "problem": words, "warnings": ""}
