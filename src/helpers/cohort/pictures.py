"""Pictures of a section that are not the full-resolution image: reduced, turned, black or drawn on in parts.

A placement is a 2 x 3 array [[xx, xy, x0], [yx, yy, y0]] that takes full-resolution pixels to those of a picture:
x' = xx x + xy y + x0, y' = yx x + yy y + y0. Once a section is placed, all its lengths are in pixels of the picture.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from anndata import AnnData
from scipy import ndimage

from helpers.cohort import images, tables
from helpers.schema import SPATIAL

COLUMNS = ["xx", "xy", "x0", "yx", "yy", "y0"]
SIMILAR = 0.02  # by which the scales of a placement along two directions may differ
BLACK = 25  # of 255 in each colour: nothing that lets light through is as dark
SPECK = 2  # pixels; black less than twice as wide is a dark nucleus
RIM = 3  # pixels around black, in which it is mixed with what is beside it
MASKED = 0.05  # of a disc: more of it masked moves its mean stain by as much
AS_COARSE = 0.95  # a picture whose pixels are this part of those asked for is left as it is


def scaled_placement(scale: float) -> np.ndarray:
    """The placement on a picture reduced by a scale factor, as Space Ranger states it."""
    return np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]])


def read_placements(path: Path) -> dict[str, np.ndarray]:
    """Placements by section, from a table of section and COLUMNS; ValueError names file and line."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table of placements; correct placements, or the root, in the config")
    table = tables.read(path)
    if missing := [column for column in ["section", *COLUMNS] if column not in table]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; a placement is section, {', '.join(COLUMNS)}")
    numbers = tables.each_once(tables.whole_lines(table, COLUMNS, path).set_index(table["section"].astype(str)), path)
    return {name: numbers.loc[name].to_numpy(float).reshape(2, 3) for name in numbers.index}


def scale_of(placement: np.ndarray, where: str) -> float:
    """Pixels of the picture in one of full resolution; ValueError for a placement that shears or stretches."""
    larger, smaller = np.linalg.svd(placement[:, :2], compute_uv=False)
    if not larger <= (1 + SIMILAR) * smaller:
        raise ValueError(
            f"{where}: the placement scales by {larger:.4g} along one direction and by {smaller:.4g} across it; a "
            f"picture is scaled, turned or mirrored as a whole: correct its line in the table of placements"
        )
    return float(np.sqrt(larger * smaller))


def move_spots(section: AnnData, placement: np.ndarray) -> None:
    """Express a section in pixels of the picture: spots, pixel sizes, the size of the image.

    `uns["placement"]` keeps the way there from the pixels in which the section was read, over several steps.
    """
    scale = scale_of(placement, f"section {section.uns['section']}")
    section.obsm[SPATIAL] = section.obsm[SPATIAL] @ placement[:, :2].T + placement[:, 2]
    section.uns["mpp"] /= scale
    section.uns["mpp_by_source"] = {source: mpp / scale for source, mpp in section.uns["mpp_by_source"].items()}
    if "image_size" in section.uns:
        section.uns["image_size"] = section.uns["image_size"] * scale
    before = np.vstack([section.uns.get("placement", np.eye(2, 3)), [0, 0, 1]])
    section.uns["placement"] = np.vstack([placement, [0, 0, 1]])[:2] @ before


def reduce(picture: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture (RGB) with `factor` times as many pixels along each side, and the placement on it."""
    size = np.array(picture.shape[1::-1])
    new = np.rint(size * factor).astype(int)
    exact = new / size
    # The middle of pixel 0 is at 0.
    return images.reduced(picture, tuple(new)), np.column_stack([np.diag(exact), (exact - 1) / 2])


def masked(picture: np.ndarray, rectangles: Sequence[Sequence[float]] = (), scale: float = 1.0) -> np.ndarray:
    """Where a picture (RGB) shows no tissue as it was: black parts with their rim, and rectangles. Bool (h, w).

    `rectangles` are left, top, right, bottom in pixels of the whole picture, of which `scale` are one pixel here. Black
    specks are dark nuclei and stay.
    """
    square = np.ones((3, 3), bool)
    found = ndimage.binary_erosion((picture <= BLACK).all(axis=2), square, SPECK, border_value=1)
    found = ndimage.binary_dilation(found, square, SPECK + RIM)
    for left, top, right, bottom in np.rint(np.asarray(rectangles, float).reshape(-1, 4) * scale).astype(int):
        found[top:bottom, left:right] = True
    return found


def prepare(section: AnnData, path: Path) -> None:
    """Write the picture of a section to `path` as everything else is to see it, and place the section on it.

    Reduced to pixels of `uns["picture_mpp"]` um where they are finer, and white where it is `masked`; a section whose
    config asks for neither keeps its own.
    """
    asked, rectangles = section.uns.get("picture_mpp", 0.0), section.uns.get("masks", ())
    if not section.uns["image"] or not (asked or len(rectangles)):
        return
    picture = np.array(images.whole(section.uns["image"]))
    reduced = section.uns["mpp"] / asked if section.uns["mpp"] < AS_COARSE * asked else 1.0
    if reduced < 1:
        picture, placement = reduce(picture, reduced)
        move_spots(section, placement)
    picture[masked(picture, rectangles, reduced)] = 255
    images.write(picture, path)
    section.uns["image"] = str(path)
