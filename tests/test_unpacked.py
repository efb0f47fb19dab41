"""A small file that takes more memory than is allowed is refused before it is read, by every kind of packing."""

import gzip
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import unpacked
from helpers.audit import predictions
from helpers.cohort import regions, tables, tenx
from helpers.cohort.layouts import h5ad
from helpers.tissue import encoders, nuclei_files

N = 2_000_000  # numbers, 16 MB; the limit is set to 10 MB


def packed_table(path):
    path.write_bytes(gzip.compress(b"spot,gene\n" + b"0,0\n" * (N // 2)))


def packed_arrays(path):
    np.savez_compressed(path, pred=np.zeros((N // 2, 2)))


def packed_columns(path):
    pd.DataFrame({"x": np.zeros(N), "y": 0.0}).to_parquet(path)


def empty_chunks(path):
    """A few kB: what was never written is read as zeros."""
    with h5py.File(path, "w") as file:
        file.create_dataset("X", (N, 1000), "f4", chunks=(1000, 1000))


def packed_member(path):
    with zipfile.ZipFile(path.parent, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.name, b"spot\tB cells\n" + b"0\t0\n" * (4 * N))


DOORS = [
    (predictions.read, "p.csv.gz", packed_table),
    (predictions.read, "p.npz", packed_arrays),
    (predictions.read, "p.parquet", packed_columns),
    (predictions.read, "p.h5ad", empty_chunks),
    (tables.read, "t.tsv.gz", packed_table),
    (lambda path: h5ad.read(path.parent, path.stem), "A1.h5ad", empty_chunks),
    (tenx.read_matrix, "m.h5", empty_chunks),
    (lambda path: tenx.read_positions(path.parent), "tissue_positions.parquet", packed_columns),
    (lambda path: nuclei_files.read(path, 0.5), "n.parquet", packed_columns),
    (lambda path: encoders.table(path, ["a"], np.zeros((1, 2))), "f.h5", empty_chunks),
    (lambda path: encoders.table(path, ["a"], np.zeros((1, 2))), "f.parquet", packed_columns),
    (regions.read_proportions, "types.zip/A1.tsv", packed_member),
]


@pytest.mark.parametrize(
    ("read", "name", "pack"), DOORS, ids=[f"{number}-{door[1]}" for number, door in enumerate(DOORS)]
)
def test_each_door_refuses_what_expands_without_bound(tmp_path, monkeypatch, read, name, pack):
    path = tmp_path / name
    pack(path)
    monkeypatch.setenv("MEMORY_GB", "0.01")
    refused = r"takes [\d.]+ GB of memory or more, 0.01 GB are allowed; .* MEMORY_GB"
    with pytest.raises(ValueError, match=rf"{name.partition('/')[0]}: {refused}"):
        read(path)


def test_the_limit_can_be_raised_and_has_to_be_a_number(tmp_path, monkeypatch):
    path = tmp_path / "p.npz"
    packed_arrays(path)
    unpacked.check_size(path)
    monkeypatch.setenv("MEMORY_GB", "0.017")
    unpacked.check_size(path)
    monkeypatch.setenv("MEMORY_GB", "much")
    with pytest.raises(ValueError, match="MEMORY_GB=much: a number"):
        unpacked.check_size(path)


def test_what_is_small_missing_or_damaged_is_left_to_its_reader(tmp_path):
    for name in ("a.csv.gz", "a.npz", "a.parquet", "a.h5ad", "a.csv"):
        unpacked.check_size(tmp_path / name)
        (tmp_path / name).write_bytes(b"\x1f\x8b nonsense")
        unpacked.check_size(tmp_path / name)
    AnnData(np.eye(3)).write_h5ad(tmp_path / "good.h5ad")
    unpacked.check_size(tmp_path / "good.h5ad")


def linked(file):
    file["X"] = h5py.ExternalLink("/etc/other.h5", "/X")


def outside(file):
    file.create_dataset("X", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "X", (4,))
    file.create_virtual_dataset("X", layout)


@pytest.mark.parametrize("write", [linked, outside, virtual])
def test_an_hdf5_file_that_reads_another_file_is_refused(tmp_path, write):
    with h5py.File(tmp_path / "p.h5ad", "w") as file:
        write(file)
    with pytest.raises(ValueError, match="p.h5ad: X lies in another file; write it into this one"):
        predictions.read(tmp_path / "p.h5ad")
