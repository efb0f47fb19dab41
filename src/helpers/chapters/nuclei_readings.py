"""Readings of the nuclei under the spots of one section: what else "nuclei under the spot" could have meant.

A table of readings has a row per spot and a column per reading (`labels.READINGS`). `section` is an AnnData with
nuclei and an image, `read` reads that image (`images.reader_of`), `found` are its nuclei, `nuclei` what the config says
of them.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import columns
from helpers.labels import counted, label
from helpers.schema import SPATIAL
from helpers.tissue import classical, haematoxylin, nuclei_files, patches

CONTRASTS = {"threshold_low": 0.8, "classical": 1.0, "threshold_high": 1.2}  # of the classical detector's threshold
DEFAULT = "disc"
QUARTILES = ["25%", "50%", "75%"]


def of_found_nuclei(section: AnnData, found: pd.DataFrame) -> pd.DataFrame:
    """The nuclei that page 2 found: number in the spot's disc, number in STEM's crop, area in the disc (um2)."""
    mpp = float(section.uns["mpp"])
    crop_um = patches.stem_crop(mpp, float(section.uns["spot_um"]))
    readings = {
        "disc": section.obs["n_nuclei"].to_numpy(),
        "crop": classical.count_in_squares(found, section.obsm[SPATIAL], mpp, crop_um),
        "area": section.obs["nuclei_area_um2"].to_numpy(),
    }
    return pd.DataFrame(readings, section.obs_names, dtype=float)


def of_stain(section: AnnData, read: Callable) -> pd.DataFrame:
    """Where nothing was counted: mean haematoxylin of the disc, of one as wide as STEM's crop, and less eosin."""
    spatial, mpp, spot_um = section.obsm[SPATIAL], float(section.uns["mpp"]), float(section.uns["spot_um"])
    nuclear = functools.partial(haematoxylin.nuclear_density, eosin=haematoxylin.EOSIN)
    readings = {
        "disc": section.obs["haematoxylin"].to_numpy(),
        "crop": haematoxylin.haematoxylin(read, spatial, mpp, patches.stem_crop(mpp, spot_um)),
        "less_eosin": haematoxylin.haematoxylin(read, spatial, mpp, spot_um, nuclear),
    }
    return pd.DataFrame(readings, section.obs_names, dtype=float)


def of_thresholds(section: AnnData, read: Callable, stain: float) -> pd.DataFrame:
    """Nuclei in the disc by the classical detector at a lower and a higher threshold.

    Unchanged too, last, where another back end found those of the section.
    """
    names = ["threshold_low", "threshold_high"] + ["classical"] * (section.uns["back_end"] != "classical")
    spatial, mpp, spot_um = section.obsm[SPATIAL], float(section.uns["mpp"]), float(section.uns["spot_um"])
    readings = {}
    for name in names:
        found = classical.detect_section(read, spatial, mpp, spot_um, stain, contrast=CONTRASTS[name])
        readings[name] = classical.count(found, spatial, mpp, spot_um)["n_nuclei"].to_numpy()
    return pd.DataFrame(readings, section.obs_names, dtype=float)


def of_other_sources(section: AnnData, nuclei: Mapping) -> pd.DataFrame:
    """Nuclei in the disc of a file beside the back end's own, where there is one, and the mean haematoxylin there."""
    readings, path = {}, nuclei_files.of_section(section, nuclei)
    if path and nuclei["back_end"] != "table":
        mpp = float(section.uns["mpp"])
        found = nuclei_files.read(path, mpp, section.uns.get("placement"))
        readings["table"] = classical.count(found, section.obsm[SPATIAL], mpp, float(section.uns["spot_um"]))[
            "n_nuclei"
        ]
    readings["haematoxylin"] = section.obs["haematoxylin"]
    return pd.DataFrame({name: np.asarray(values, float) for name, values in readings.items()}, section.obs_names)


def outlined(image: np.ndarray, mpp: float, stain: float) -> dict[float, list[np.ndarray]]:
    """Outlines that the classical detector draws on an image, by contrast, from the lowest threshold."""
    found = {contrast: classical.segment(image, mpp, stain, contrast=contrast) for contrast in CONTRASTS.values()}
    return {contrast: classical.outlines(labels) for contrast, labels in found.items()}


def in_long_form(readings: pd.DataFrame, section: str) -> pd.DataFrame:
    """A table of readings with a row per spot and reading: section, spot, reading, value."""
    long = readings.rename_axis("spot").reset_index().melt("spot", var_name="reading")
    return long.assign(section=section)[["section", "spot", "reading", "value"]]


def answer(compared: pd.DataFrame, section: str, n_spots: int) -> str:
    """How closely the other readings follow the default in this section; takes what `compare` returns, unlabelled.

    One that is constant follows nothing and is left out.
    """
    rho = compared["ρ with the default"].drop(DEFAULT).dropna().sort_values()
    if rho.empty:
        return f"In section {section} nothing else can be read in the place of the {label(DEFAULT)}."
    ends = f"{rho.iloc[0]:.2f} ({label(rho.index[0])})"
    if len(rho) > 1:
        ends += f" to {rho.iloc[-1]:.2f} ({label(rho.index[-1])})"
    return (
        f"In section {section} ({counted(n_spots, 'spots')}) {counted(len(rho), 'other readings')} can stand for the "
        f"{label(DEFAULT)}; Spearman's rho with it is {ends}. "
        "What each does to the conclusions over all sections is on [page 15](15_counting_and_conclusions.ipynb)."
    )


def compare(readings: pd.DataFrame, depth: np.ndarray) -> pd.DataFrame:
    """Quartiles of each reading over spots, and its Spearman's rho with the default and with depth."""
    table = readings.describe().T[QUARTILES]
    table["ρ with the default"] = columns.spearman(readings.to_numpy(), readings[DEFAULT].to_numpy())
    table["ρ with depth"] = columns.spearman(readings.to_numpy(), np.asarray(depth))
    return table
