"""What a packed file takes in memory, told before it is read: a small one may hold more than the machine has."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

SETTING = "MEMORY_GB"  # environment variable with another limit
LIMIT_GB = 4.0
TEXT = 5  # bytes in memory for a byte of text: the text itself, twice, and eight bytes for each "0,"
PIECE = 2**20


class Foreign(ValueError):
    """A file that would read another one."""


def check_size(path: str | Path) -> None:
    """Refuse a packed file, by the ending of its name, that takes more memory than MEMORY_GB, default 4 GB.

    ValueError too for an HDF5 file that would read other files. What is missing or damaged is left to its reader.
    """
    path, most = Path(path), limit()
    try:
        n_bytes = SIZES[path.suffix](path) if path.suffix in SIZES else 0
    except Foreign:
        raise
    except Exception:  # of a damaged file, which its reader names
        return
    if n_bytes > most:
        raise _too_large(path, n_bytes)


def gunzipped(path: Path) -> bytes:
    """The bytes of a gzip file, refused as `check_size` does once they are too many; errors of gzip pass."""
    pieces, n_bytes, most = [], 0, limit()
    with gzip.open(path) as file:
        while piece := file.read(PIECE):
            pieces.append(piece)
            n_bytes += TEXT * len(piece)
            if n_bytes > most:
                raise _too_large(path, n_bytes)
    return b"".join(pieces)


def _too_large(path: Path, n_bytes: float) -> ValueError:
    return ValueError(
        f"{path}: takes {n_bytes / 1e9:.1f} GB of memory or more, {limit() / 1e9:g} GB are allowed; give less of it, "
        f"or set the environment variable {SETTING} to what your machine has"
    )


def limit() -> float:
    """The bytes that one file may take in memory; ValueError where MEMORY_GB is no number."""
    said = os.environ.get(SETTING) or LIMIT_GB
    try:
        return float(said) * 1e9
    except ValueError:
        raise ValueError(f"{SETTING}={said}: a number of GB is wanted") from None


def _gzip(path: Path) -> int:
    """Unpacked in pieces, up to the limit: what the file says of its own size need not be true."""
    n_bytes = 0
    with gzip.open(path) as file:
        while n_bytes <= limit() and (piece := file.read(PIECE)):
            n_bytes += TEXT * len(piece)
    return n_bytes


def _zip(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _parquet(path: Path) -> int:
    from pyarrow import parquet

    known = parquet.read_metadata(path)
    groups = sum(known.row_group(i).total_byte_size for i in range(known.num_row_groups))
    return max(groups, 8 * known.num_rows * known.num_columns)


def _hdf5(path: Path) -> int:
    """Also what no chunk holds counts: it is read as zeros."""
    import h5py

    sizes, foreign = [], []

    def see_link(name: str, link) -> None:
        if isinstance(link, h5py.ExternalLink):
            foreign.append(name)

    def see_item(name: str, item) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(item.size * item.dtype.itemsize if item.shape else 0)
            if item.external or item.is_virtual:
                foreign.append(name)

    with h5py.File(path) as file:
        file.visititems_links(see_link)
        file.visititems(see_item)
    if foreign:
        raise Foreign(f"{path}: {foreign[0]} lies in another file; write it into this one")
    return sum(sizes)


SIZES = {
    ".gz": _gzip,
    **dict.fromkeys((".npz", ".zip", ".pt"), _zip),
    ".parquet": _parquet,
    **dict.fromkeys((".h5", ".h5ad"), _hdf5),
}
