"""Patches of one section: how much tissue they show, by which encoders they are described, and what the features see.

`section` is an AnnData with nuclei and an image, `read` reads that image (`images.reader_of`), `sides` are sides of the
patches in um by the scale's label (`tissue.patches.sides`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from helpers.labels import counted
from helpers.schema import PATCH, PATCH_AUGMENTED, SPATIAL, cellularity
from helpers.tissue import classical, encoders, patches

TABLE = "table"  # the encoder of features made elsewhere
VIEW_PIXELS = 448  # most of a side that is drawn


def sides_of(section: AnnData, encoder: str, scales_um: Sequence[float | str]) -> dict[str, float]:
    """Sides of the section's patches; none known where the features come from a table."""
    if encoder == TABLE:
        return {}
    return patches.sides(scales_um, float(section.uns["mpp"]), float(section.uns["spot_um"]))


def areas(sides: Mapping[str, float], mpp: float, spot_um: float) -> pd.DataFrame:
    """How much tissue a patch of each scale covers: side in um and in pixels of the image, area in discs of a spot."""
    table = pd.DataFrame({"scale": list(sides), "side, µm": list(sides.values())})
    table["side, pixels of the image"] = table["side, µm"] / mpp
    table["area, in spots"] = table["side, µm"] ** 2 / (np.pi * spot_um**2 / 4)
    return table


class TissueSquare(NamedTuple):
    """A square of tissue."""

    side_um: float
    image: np.ndarray  # RGB uint8
    mpp: float  # um per pixel of this image


def views(section: AnnData, read: Callable, sides: Mapping[str, float]) -> list[TissueSquare]:
    """Tissue around the spot with the median number of nuclei at each scale; where none is known, a spot's distance."""
    centre = tuple(section.obsm[SPATIAL][classical.typical_spots(cellularity(section))[1]])
    found = []
    for side in list(sides.values()) or [float(section.uns["pitch_um"])]:
        mpp = max(float(section.uns["mpp"]), side / VIEW_PIXELS)
        found.append(TissueSquare(side, read(centre, side, mpp), mpp))
    return found


def features_of(
    section: AnnData, read: Callable, encoding: patches.Encoding, table: str | None, cache: str
) -> patches.Features:
    """Features of the patch around every spot and their names: from a table, else encoded, and kept in `cache`."""
    if encoding.encoder == TABLE:
        return encoders.table(table, section.obs_names, section.obsm[SPATIAL])
    mpp = float(section.uns["mpp"])
    return patches.cached(cache, section.uns["image"], read, section.obsm[SPATIAL], mpp, encoding)


def used_encoders(encoding: patches.Encoding) -> pd.DataFrame:
    """The encoders, a row each, with their input and the weights that were used; empty for a table of features."""
    rows = []
    for name in patches.parts(encoding.encoder) if encoding.encoder != TABLE else []:
        row = {
            "encoder": name,
            "input, pixels": "1 µm each, or as wide as the image's",
            "weights": "none",
            "their sha256": "",
        }
        if settings := encoders.ENCODERS.get(name):
            file = encoders.weights_file(name, (encoding.weights or {}).get(name))
            row |= {"input, pixels": settings["pixels"], "weights": settings.get("hub") or settings["package"]}
            row["their sha256"] = patches.file_hash(file)[:16]
        rows.append(row)
    return pd.DataFrame(rows, columns=["encoder", "input, pixels", "weights", "their sha256"])


def with_features(section: AnnData, features: np.ndarray, names: Sequence[str]) -> AnnData:
    """The section with features of its patches in obsm, and of the turned ones where they were made, and their names.

    `features` is spots x features, or spots x 8 x features, the patch as it is first.
    """
    section = section.copy()
    if features.ndim == 3:
        section.obsm[PATCH_AUGMENTED] = features
        features = features[:, 0]
    section.obsm[PATCH] = features
    section.uns["patch_names"] = np.array(names)
    return section


def answer(names: Sequence[str], encoding: patches.Encoding) -> str:
    """How many features describe a spot, which encoder made them of which squares, what some are called."""
    listed = ", ".join(f"`{name}`" for name in names[:5])
    widths = ", ".join(f"{um:.0f}" for um in encoding.sides.values())
    made = f"by `{encoding.encoder}` from squares of {widths} µm around it" if widths else "from a table"
    each = " Each square is also described as the seven others it becomes when turned or mirrored."
    return (
        f"The tissue of a spot is described by {counted(len(names), 'numbers')}, {made}, such as {listed}."
        f"{each * encoding.augmented}"
    )


def principal_components(features: np.ndarray, n: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Where spots lie along the `n` directions in which standardized features vary most, and their shares of variance.

    Spots x n, and n.
    """
    scaled = StandardScaler().fit_transform(features)
    pca = PCA(n, random_state=0).fit(scaled)
    return pca.transform(scaled), pca.explained_variance_ratio_
