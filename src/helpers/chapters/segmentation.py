"""Nuclei under the spots of one section: found by a back end, counted, and shown on the tissue.

`section` is an AnnData with an image, `read` reads that image (`images.reader_of`), `nuclei` is what the config says
of them (back_end, and model, weights or table). Lengths are in um, outlines k x 2, x and y in pixels.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.labels import counted, span
from helpers.schema import SPATIAL, cellularity
from helpers.tissue import classical, haematoxylin, hovernet, nuclei_files, patches

STAIN = "haematoxylin"  # the back end that counts nothing
BACK_ENDS = ("classical", "hovernet", "table", STAIN)
OVERVIEW_MPP = 8.0  # um per pixel
OVERVIEW_MARGIN_UM = 600.0  # in all, around the outermost spots
POINT_AREA_UM2 = 10.0  # drawn for a nucleus of unknown area


# What counts as one spot ----------------------------------------------------------------------------------------


def widths(scales_um: Sequence[float | str], mpp: float, spot_um: float) -> dict[str, float]:
    """Widths of what counts as one spot: its disc, the smallest patch that is wider, the crop of the published STEM."""
    crop = patches.stem_crop(mpp, spot_um)
    wider = [um for um in scales_um if um != patches.STEM and um > spot_um]
    return {
        "disc of the spot": spot_um,
        "patch of this study": min(wider, default=crop),
        "crop of the published STEM": crop,
    }


def nuclei_by_width(section: AnnData, found: pd.DataFrame, widths_um: Mapping[str, float]) -> pd.DataFrame:
    """Nuclei in the disc of a spot, the first of `widths_um`, and in squares of the others: medians, and disc's share.

    The share is that of all nuclei in a square, over spots, that the discs hold too. Only widths where none is counted.
    """
    mpp = float(section.uns["mpp"])
    table = pd.DataFrame({"width, µm": widths_um, "width, pixels": {name: um / mpp for name, um in widths_um.items()}})
    if section.uns["back_end"] == STAIN:
        return table
    n = section.obs["n_nuclei"].to_numpy()
    squares = list(widths_um.values())[1:]
    inside = [n, *(classical.count_in_squares(found, section.obsm[SPATIAL], mpp, um) for um in squares)]
    table["nuclei, median per spot"] = [np.median(each) for each in inside]
    table["of these under the disc"] = [n.sum() / max(each.sum(), 1) for each in inside]
    return table


# Back ends ------------------------------------------------------------------------------------------------------


def describe_back_end(section: AnnData, nuclei: Mapping) -> str:
    """Which back end finds the nuclei, from which weights or file; ValueError for one unknown, or without its file."""
    back_end, model = nuclei["back_end"], nuclei.get("model", hovernet.MODEL)
    if back_end not in BACK_ENDS:
        raise ValueError(f"unknown back end {back_end!r} of nuclei; known: {', '.join(BACK_ENDS)}")
    if back_end == STAIN:
        return f"No nucleus is counted: **`{STAIN}`** takes the mean haematoxylin of a spot's disc for its cellularity."
    if back_end == "table":
        source = f"Read from `{Path(_needed_file(section, nuclei)).name}`."
    elif back_end == "hovernet":
        trained_on, licence = hovernet.LICENCES[model]
        source = (
            f"Model `{model}`, weights from {'a local file' if nuclei.get('weights') else 'tiatoolbox, by download'}. "
            f"The weights that tiatoolbox offers for it were trained on {trained_on} and are under **{licence}**."
        )
    else:
        source = "No weights are used."
    return f"Nuclei are found by **`{back_end}`**. {source}"


def detect(section: AnnData, read: Callable, nuclei: Mapping, size_um: float, stain: float) -> pd.DataFrame:
    """Nuclei in the squares of `size_um` around the spots, by the config's back end: x, y, area_um2, and what it knows.

    `stain` is the section's `haematoxylin.section_strength`. A table gives all of its nuclei, wherever they lie. None
    where the stain alone is measured. ValueError for a picture too coarse to find any in.
    """
    spatial, mpp = section.obsm[SPATIAL], float(section.uns["mpp"])
    if nuclei["back_end"] == STAIN:
        return pd.DataFrame(columns=["x", "y", "area_um2"], dtype=float)
    if nuclei["back_end"] == "table":
        return nuclei_files.read(_needed_file(section, nuclei), mpp, section.uns.get("placement"))
    haematoxylin.check_resolution(mpp)
    if nuclei["back_end"] == "hovernet":
        engine = hovernet.engine(nuclei.get("model", hovernet.MODEL), nuclei.get("weights"))
        return hovernet.detect_section(read, spatial, mpp, engine, size_um)
    return classical.detect_section(read, spatial, mpp, size_um, stain)


def warn_of(section: AnnData, found: pd.DataFrame) -> str:
    """Warn where nuclei cannot be those of the section; the same warnings as boxes of Markdown, "" without any."""
    spatial, mpp, spot_um = section.obsm[SPATIAL], float(section.uns["mpp"]), float(section.uns["spot_um"])
    messages = nuclei_files.quality_warnings(found, spatial, mpp, spot_um)
    for message in messages:
        warnings.warn(f"section {section.uns['section']}: {message}", stacklevel=2)
    return "".join(f"```{{warning}}\n{message}\n```\n" for message in messages)


def _needed_file(section: AnnData, nuclei: Mapping) -> str:
    if path := nuclei_files.of_section(section, nuclei):
        return path
    name = section.uns["section"]
    raise ValueError(f"section {name}: no file of nuclei is known; give nuclei: table in the config, with {{section}}")


# From nuclei to spots -------------------------------------------------------------------------------------------


def with_counted_nuclei(section: AnnData, found: pd.DataFrame, read: Callable, back_end: str) -> AnnData:
    """The section with what lies in the disc of each spot: n_nuclei, nuclei_area_um2 and mean haematoxylin in obs.

    The stain alone where nothing was counted.
    """
    spatial, mpp, spot_um = section.obsm[SPATIAL], float(section.uns["mpp"]), float(section.uns["spot_um"])
    section = section.copy()
    per_spot = classical.count(found, spatial, mpp, spot_um)
    for column in per_spot if back_end != STAIN else ():
        section.obs[column] = per_spot[column].to_numpy()
    section.obs["haematoxylin"] = haematoxylin.haematoxylin(read, spatial, mpp, spot_um)
    section.uns["back_end"] = back_end
    return section


def answer(section: AnnData, found: pd.DataFrame) -> str:
    """How many nuclei lie under a spot and in a mm2 of its disc, and how large they are; or how dark discs are."""
    where = f"In section {section.uns['section']}"
    if section.uns["back_end"] == STAIN:
        low, middle, high = section.obs["haematoxylin"].quantile([0, 0.5, 1])
        return (
            f"No nucleus is counted. {where} the mean haematoxylin of a disc has a median of **{middle:.3f}** over "
            f"{counted(section.n_obs, 'spots')} (optical density, from {low:.3f} to {high:.3f})."
        )
    n, area = section.obs["n_nuclei"], found["area_um2"].dropna().median()
    per_mm2 = 1 / (np.pi * (float(section.uns["spot_um"]) / 2000) ** 2)
    size = "Their area is not known."
    if not np.isnan(area):
        width = 2 * np.sqrt(area / np.pi)
        size = (
            f"Their median area is {area:.0f} µm², as of a disc {width:.1f} µm wide; one may be a fragment or a nest."
        )
    return (
        f"{where} a median of **{n.median():.0f}** nuclear outlines lies under a spot "
        f"({counted(section.n_obs, 'spots')}, {span(n.min(), n.max(), '.0f')}), or **{n.median() * per_mm2:,.0f} per "
        f"mm²**, in a picture of {float(section.uns['mpp']):.3f} µm per pixel. {size}"
    )


# To look at -----------------------------------------------------------------------------------------------------


class CloseUp(NamedTuple):
    """Tissue around one spot."""

    title: str  # the spot and its nuclei
    image: np.ndarray  # RGB uint8
    outlines: list[np.ndarray]  # in pixels of the image


def close_ups(section: AnnData, found: pd.DataFrame, read: Callable, side_um: float, stain: float) -> list[CloseUp]:
    """Squares of `side_um` around the spots with the fewest, the median and the most cells, with outlines of nuclei."""
    mpp, shown = float(section.uns["mpp"]), []
    for spot in classical.typical_spots(cellularity(section)):
        centre = section.obsm[SPATIAL][spot]
        image = read(tuple(centre), side_um, mpp)
        if section.uns["back_end"] == "classical":
            outlines = classical.outlines(classical.segment(image, mpp, stain))
        else:
            outlines = outlines_within(found, centre, len(image), mpp)
        held = cellularity(section)[spot]
        if section.uns["back_end"] == STAIN:
            what = f"haematoxylin {held:.3f}"
        else:
            what = f"{counted(int(held), 'nuclei')} in the circle, {len(outlines)} in view"
        title = f"{section.obs_names[spot]}: {what}"
        shown.append(CloseUp(title, image, outlines))
    return shown


def outlines_within(found: pd.DataFrame, centre: np.ndarray, side: int, mpp: float) -> list[np.ndarray]:
    """Outlines of the nuclei in a square of `side` pixels around a centre, in the pixels of that square.

    Circles of its area stand for a nucleus without an outline, small ones where that is unknown too.
    """
    near = found[(np.abs(found[["x", "y"]] - centre) < side / 2).all(axis=1)].fillna({"area_um2": POINT_AREA_UM2})
    corner = np.rint(centre + 0.5 - side / 2)
    return [shape - corner for shape in nuclei_files.shapes(near, mpp)]


def overview(section: AnnData, read: Callable, mpp: float = OVERVIEW_MPP) -> tuple[np.ndarray, np.ndarray]:
    """The whole section at `mpp` um per pixel, as RGB, and x and y of the spots in its pixels."""
    spatial, native = section.obsm[SPATIAL], float(section.uns["mpp"])
    centre = (spatial.max(axis=0) + spatial.min(axis=0)) / 2
    extent_um = float(np.ptp(spatial, axis=0).max() * native + OVERVIEW_MARGIN_UM)
    corner = centre - extent_um / native / 2
    return read(tuple(centre), extent_um, mpp), (spatial - corner) * native / mpp
