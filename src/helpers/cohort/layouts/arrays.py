"""Where a spot stands on its array: rows and columns to a lattice in units of the distance between neighbours."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.cohort import tenx
from helpers.cohort.layouts.raw import RawSection
from helpers.schema import LATTICE, SPATIAL


def on_array(section: AnnData, spots: pd.DataFrame | None, scales: tenx.Scales) -> RawSection:
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


def coordinates(obs: pd.DataFrame, path: Path) -> pd.DataFrame | None:
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


def staggered(array: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Array coordinates, x and y, in units of the distance to the nearest spot: one step in x and one in y.

    A step in y is as long, in steps of x, as the pixels say.
    """
    steps = np.array([np.polyfit(array[:, i], pixels[:, i], 1)[0] for i in range(2)])
    return array * steps / np.hypot(*steps)


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
