"""The slots of a section's AnnData, and the checks at every door.

A section grows along the notebooks: counts and coordinates (01_data), nuclei (02_segmentation), patch features
(05_patches), targets of the panel (06_normalization), predictions (08_stem_training). Everything joins by spot name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

COUNTS = "counts"  # layers: raw integer counts, spots x genes, CSR
SPATIAL = "spatial"  # obsm: x, y of the spot centre, full-resolution pixels
LATTICE = "lattice"  # obsm: x, y of the spot centre, in units of the distance between neighbours (uns["pitch_um"])
PATCH = "patch"  # obsm: features of the patch around the spot
PATCH_AUGMENTED = "patch_augmented"  # obsm: spots x 8 x features, the patch turned and mirrored; the first as it is
MEASURED, PREDICTED = "measured", "predicted"  # layers of a prediction
# and, if it drew samples: where the measured value falls among them, also once levels are set right, and their sd
PIT, PIT_WITHIN, SPREAD = "pit", "pit_within", "spread"
# A row per nucleus: centroid in full-resolution pixels; type and probability are missing where a back end gives none.
NUCLEI_COLUMNS = ("section", "x", "y", "area_um2", "type", "probability", "back_end")
# uns of a section: section, image and nuclei_file (paths, "" where there is none), spot_um and pitch_um (diameter and
# distance of spots), mpp with mpp_source and mpp_by_source (um per full-resolution pixel), n_spots_dropped.
# obs: how many cells a spot holds, by whichever is there first: nuclei counted in its disc, or, where a pixel is too
# coarse to tell them, the mean haematoxylin of the disc. Tables call either one nuclei.
CELLULARITY = ("n_nuclei", "haematoxylin")
SPOT_DIAMETER_UM = 100.0  # of the her2st arrays; a section's own are uns["spot_um"] and uns["pitch_um"]
SPOT_PITCH_UM = 200.0

MPP_RANGE = 0.05, 20.0  # um; an objective of 100x, and an overview in which a spot is five pixels wide

_NO_PATIENT = {"", "NAN", "NONE", "NA", "N/A", "<NA>", "NULL", "UNKNOWN", "NOT AVAILABLE", "-", "?"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# What a page (HTML, MyST) or a figure (mathtext) takes for more than words.
_MARKUP = re.compile(r"[\x00-\x1f\x7f]|<[A-Za-z/!?]|`|\]\(|\$")


def check_name(name: str) -> str:
    """Return `name` if it can name a section, hence a file: letters, digits, `_`, `.`, `-`; else ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a section's name: use letters, digits, '_', '.' and '-' only, no folder")
    return name


def markup(words: str) -> str:
    """What in some words a page would obey and not show, "" where nothing is.

    >>> [markup(words) for words in ("E(spl)m8-HLH", "DCIS, < 2 mm", "<b>", "two\\nlines", "[x](y)")]
    ['', '', '<b', '\\n', '](']
    """
    found = _MARKUP.search(words)
    return found[0] if found else ""


def check_words(names: Iterable, what: str, where: str | Path) -> None:
    """Refuse names, as of a `what` in the file `where`, that hold `markup`: they stand on pages and in figures."""
    for name in map(str, names):
        if found := markup(name):
            raise ValueError(f"{where}: {what} {name!r} holds {found!r}, which a page would not show; rename it")


def check_section(section: AnnData) -> AnnData:
    """Return `section` if it has names, raw counts, coordinates and a pixel size; else say what is wrong with it."""
    name = section.uns.get("section", "unnamed section")

    def refuse(what: str, fix: str):
        raise ValueError(f"section {name}: {what}; {fix}")

    for names, what in ((section.obs_names, "spot"), (section.var_names, "gene")):
        if not names.is_unique:
            twice = names[names.duplicated()][0]
            refuse(f"{what} {twice!r} occurs twice", f"keep one row or column per {what}")
    if COUNTS not in section.layers:
        refuse("no layers['counts']", "put the raw counts there")
    check_counts(section.layers[COUNTS], f"section {name}")
    for slot in (SPATIAL, LATTICE):
        if slot not in section.obsm:
            refuse(f"no obsm[{slot!r}]", "give each spot's centre")
        xy = np.asarray(section.obsm[slot])
        if xy.shape != (section.n_obs, 2) or not np.isfinite(xy).all():
            refuse(f"obsm[{slot!r}] is not {section.n_obs} finite pairs", "give each spot's centre as x, y")
    check_mpp(section.uns.get("mpp", np.nan), f"section {name}")
    spot_um, pitch_um = (float(section.uns.get(key, np.nan)) for key in ("spot_um", "pitch_um"))
    if not 0 < spot_um <= pitch_um < np.inf:
        refuse(f"spots of {spot_um} um at {pitch_um} um from each other are not plausible", "set spot_um and pitch_um")
    for column in ("section", "patient", "total_counts"):
        if column not in section.obs:
            refuse(f"no obs[{column!r}]", "read it with helpers.cohort.sections.read")
    return section


def check_counts(counts, where: str) -> None:
    """Refuse anything but raw counts: numbers that are missing, negative or not whole, named by `where`."""
    # Only a sparse matrix has nnz; its numbers are its data.
    values = counts.data if hasattr(counts, "nnz") else np.asarray(counts)
    if values.dtype.kind not in "iuf":
        held = "complex numbers" if values.dtype.kind == "c" else "text"
        raise ValueError(f"{where}: the counts hold {held} where numbers are wanted; check the columns")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{where}: some counts are missing (NaN) or infinite; write 0 where nothing was captured")
    if (values < 0).any():
        raise ValueError(f"{where}: some counts are negative; raw counts are wanted, not a normalized matrix")
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise ValueError(f"{where}: some counts are not whole numbers; raw counts are wanted, not a normalized matrix")


def check_mpp(mpp: float, where: str) -> None:
    """Refuse a pixel size, in um, that no image of tissue has, named by `where`."""
    if not MPP_RANGE[0] <= float(mpp) <= MPP_RANGE[1]:
        raise ValueError(
            f"{where}: pixel size {mpp} um is not plausible; set mpp in the config, {MPP_RANGE[0]} to {MPP_RANGE[1]} um"
        )


def measure(spots: pd.DataFrame) -> str:
    """The column of `spots` (obs, or a table of spots) that measures cellularity; "" where none does."""
    return next((column for column in CELLULARITY if column in spots), "")


def has_cellularity(section: AnnData) -> bool:
    """Whether something measures how many cells each spot holds: 02_segmentation, or a table that was given."""
    return measure(section.obs) != ""


def cellularity(section: AnnData) -> np.ndarray:
    """How many cells each spot holds, by the section's `measure`; ValueError where nothing measures it."""
    if not has_cellularity(section):
        raise ValueError(f"section {section.uns.get('section', '')}: no obs['n_nuclei']; run 02_segmentation")
    return section.obs[measure(section.obs)].to_numpy(float)


def covariates(section: AnnData) -> dict[str, np.ndarray]:
    """The numbers of a spot that a target may follow, by name: `depth`, and `nuclei` where cellularity is known."""
    depth = {"depth": section.obs["total_counts"].to_numpy(float)}
    return depth | ({"nuclei": cellularity(section)} if has_cellularity(section) else {})


def common_measure(sections: Mapping[str, AnnData]) -> str:
    """The one measure of cellularity of these sections, "" where none has any.

    ValueError where nuclei are counted in some and haematoxylin is measured in others: no median may mix the two.
    """
    by_measure: dict[str, list[str]] = {}
    for name, section in sections.items():
        by_measure.setdefault(measure(section.obs), []).append(name)
    by_measure.pop("", None)
    if len(by_measure) > 1:
        listed = "; ".join(f"{column} in {', '.join(names)}" for column, names in by_measure.items())
        raise ValueError(f"two measures of cellularity: {listed}; give nuclei: {{back_end: haematoxylin}} for all")
    return next(iter(by_measure), "")


def patient_name(value) -> str:
    """One spelling of a patient's name, "" where there is none: no value, a blank, or a word for it.

    >>> [patient_name(value) for value in ("Patient 1", " patient  1", 1.0, "a", float("nan"), "None", " ")]
    ['1', '1', '1', 'A', '', '', '']
    """
    words = "" if value is None else " ".join(str(value).upper().split())
    name = re.sub(r"^PATIENT[ _-]*(?=\w)|\.0$", "", words)
    return "" if name in _NO_PATIENT else name


def patient_of(section: AnnData) -> str:
    """The patient of a section, by its spots or as a whole; "" where it is not known."""
    of_spots = section.obs.get("patient", [])
    name = str(of_spots.iloc[0] if len(of_spots) else section.uns.get("patient", ""))
    return name if patient_name(name) else ""


def patients_of(sections: Mapping[str, AnnData]) -> dict[str, str]:
    """The patient of each section."""
    return {name: patient_of(section) for name, section in sections.items()}
