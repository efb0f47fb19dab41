"""What the files of a section say, and what every reader of a layout needs: files found, names joined, JSON read."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from helpers.schema import COUNTS, SPATIAL

ZARR = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
UNPAIRED = 0.05  # of the spots of the shorter of two files: of 36 published sections none lacks more than 2 %


class RawSection(NamedTuple):
    """What the files of a section say."""

    spots: AnnData  # layers["counts"], obsm["spatial"], and obsm["lattice"] where the array is known
    patient: str = ""
    image: Path | None = None
    nuclei_file: Path | None = None
    n_spots_dropped: int = 0  # spots that one of two files lacks
    spot_um: float = np.nan
    pitch_um: float = np.nan
    mpp_estimated: float = np.nan  # by others, um per pixel
    image_size: tuple[float, float] | None = None  # width and height in pixels of the image that spots were placed on
    bin_um: float = np.nan  # side of the square bins that the spots are, of Visium HD
    pictures: Mapping[Path, float] = {}  # reduced pictures, and how many of their pixels are one of full resolution


def section(counts, spots: pd.Index, genes: pd.Index, xy=None) -> AnnData:
    """Counts (spots x genes) under their names, with the centres of the spots, x and y in pixels, where given."""
    section = AnnData(obs=pd.DataFrame(index=spots), var=pd.DataFrame(index=genes))
    section.layers[COUNTS] = sparse.csr_matrix(counts, dtype=np.float32)
    if xy is not None:
        section.obsm[SPATIAL] = np.asarray(xy, float)
    return section


def common(names: pd.Index, others: pd.Index, path: Path, other: Path) -> pd.Index:
    """Names in both files, in the order of the first; of the shorter file a few may lack a partner (UNPAIRED)."""
    common, least = names.intersection(others, sort=False), min(len(names), len(others))
    if len(common) < least - max(3, UNPAIRED * least) or not len(common):
        raise ValueError(
            f"{path} and {other} have {len(common) or 'no'} spot{'s' * (len(common) > 1)} in common of {len(names)} "
            f"and {len(others)}: {listed(names.difference(others, sort=False), 2)} against "
            f"{listed(others.difference(names, sort=False), 2)}; give the two files of one section"
        )
    return common


def only_file(folder: Path, pattern: str, suffixes: set[str] | None = None) -> Path | None:
    """The one file of a kind that `pattern` finds below `folder`, None where there is none; ValueError for several."""
    found = [path for path in folder.glob(pattern) if not path.name.startswith(".")]  # ._x.jpg is macOS's own
    found = sorted(path for path in found if suffixes is None or path.suffix.lower() in suffixes)
    if len(found) > 1:
        raise ValueError(f"{folder}: {len(found)} images, one is wanted: {', '.join(path.name for path in found)}")
    return found[0] if found else None


def refuse_zarr(*folders: Path) -> None:
    """Refuse folders of Zarr by name, as SpatialData and AnnData write them."""
    for folder in folders:
        if folder.is_dir() and any((folder / one).exists() for one in ZARR):
            raise ValueError(
                f"{folder}: a folder of Zarr (SpatialData, AnnData) is not read; write its table as one file, "
                "table.write_h5ad(...), with each spot's centre in obsm['spatial'] in pixels of the image"
            )


def read_json(path: Path) -> dict:
    """The object that a JSON file holds; an error names the file where it is missing, damaged or no object."""
    try:
        found = json.loads(path.read_bytes())  # which tells how its text is encoded
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; fetch the section's files again") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a whole JSON file ({error}); fetch the file again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not a JSON object; fetch the file again")
    return found


def listed(names: Iterable, n: int = 10) -> str:
    """The first `n` names in words, "nothing" where there is none."""
    names = list(names)
    return ", ".join(map(str, names[:n])) + (", ..." if len(names) > n else "") if names else "nothing"
