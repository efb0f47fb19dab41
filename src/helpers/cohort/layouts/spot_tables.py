"""Counts and spots of Spatial Transcriptomics as tables of text, joined by the names of the spots, `{x}x{y}`."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from helpers import schema
from helpers.cohort import tables, tenx
from helpers.cohort.layouts import raw
from helpers.gene_names import clean, symbols

VERSION = r"\.\d+$"  # of an id, after it


def read(counts_path: Path, spots_path: Path, gene_symbols: str | None) -> tuple[AnnData, pd.DataFrame, int]:
    """The spots that both files name, with counts and centres; their rows of the spot file, and how many were dropped.

    `gene_symbols` is a table of id and symbol, for counts of genes named by id.
    """
    spots = read_spots(spots_path)
    counts, names, genes = read_counts(counts_path, gene_symbols)
    common = raw.common(names, spots.index, counts_path, spots_path)
    n_dropped = len(names.union(spots.index)) - len(common)
    counts = sparse.csr_matrix(counts, dtype=np.float32)[names.get_indexer(common)]
    spots = spots.loc[common]
    return raw.section(counts, common, genes, spots[["pixel_x", "pixel_y"]]), spots, n_dropped


def read_counts(path: Path, gene_symbols: str | None = None) -> tuple[np.ndarray, pd.Index, pd.Index]:
    """Counts (spots x genes) of a table with spots below each other, names of its spots and symbols of its genes."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such count file; check the root and the section's name")
    table = tables.read(path)
    names, genes = clean(table.iloc[:, 0]), clean(table.columns[1:])
    schema.check_words(names, "spot", path)
    for twice, what in ((genes, "gene"), (names, "spot")):
        if twice.has_duplicates:
            raise ValueError(f"{path}: {what} {twice[twice.duplicated()][0]!r} occurs twice; keep one")
    text = table.dtypes.iloc[1:] == np.dtype(object)
    if text.any():
        column = genes[int(np.argmax(text))]
        raise ValueError(f"{path}: gene {column!r} holds text where counts are wanted; raw counts are whole numbers")
    values = table.iloc[:, 1:].to_numpy()
    if counters := [gene for gene in genes if gene.startswith("__")]:
        warnings.warn(f"{path}: {raw.listed(counters, 3)} of HTSeq are no genes and are left out", stacklevel=3)
        genes, values = genes[~genes.isin(counters)], values[:, ~genes.isin(counters)]
    schema.check_counts(values, str(path))
    if not values.any():
        raise ValueError(f"{path}: every count is zero; leave the section out of the config")
    _check_no_totals(values, names, genes, path)
    if gene_symbols is None:
        return values, names, symbols(genes, str(path))
    return values, names, symbols(genes, str(path), _beside(genes, Path(gene_symbols)), "symbol")


def read_spots(path: Path) -> pd.DataFrame:
    """The spots of a spot file that are `selected`, by name: x, y, new_x, new_y, pixel_x, pixel_y."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such spot file; check the root and the section's name")
    table = tables.read(path).rename(columns=str.lower)
    columns = ["x", "y", "new_x", "new_y", "pixel_x", "pixel_y"]
    missing = [column for column in columns if column not in table]
    if missing:
        have, wanted = ", ".join(table.columns), ", ".join(columns)
        raise ValueError(f"{path}: no column {', '.join(missing)}; a spot file has {wanted}, this has {have}")
    numbers = tables.whole_lines(table, columns, path)
    if (numbers[["x", "y"]] % 1 != 0).any(axis=None):
        raise ValueError(f"{path}: x or y is not a whole number; they name the spot, new_x and new_y place it")
    for chosen in {"selected", "in_tissue"} & set(table.columns):
        numbers = numbers[tenx.marked_spots(table.loc[numbers.index, chosen], f"{path}: {chosen}")]
        if not len(numbers):
            raise ValueError(f"{path}: {chosen} is 0 for all {len(table)} spots; select those on tissue first")
    numbers.index = numbers["x"].astype(int).astype(str) + "x" + numbers["y"].astype(int).astype(str)
    return tables.each_once(numbers, path)


def _beside(genes: pd.Index, path: Path) -> pd.DataFrame:
    """The symbols that a table of id and symbol gives genes, with or without the version of their id."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table; gene_symbols names one with the columns id and symbol")
    table = tables.read(path)
    if missing := {"id", "symbol"} - set(table.columns):
        raise ValueError(f"{path}: no column {' or '.join(sorted(missing))}; it has {raw.listed(table.columns)}")
    ids = clean(table["id"]).str.replace(VERSION, "", regex=True)
    known = pd.Series(clean(table["symbol"]), index=ids)
    found = known[~known.index.duplicated()].reindex(genes.str.replace(VERSION, "", regex=True))
    if found.isna().mean() > 0.5:
        raise ValueError(f"{path}: holds {found.notna().sum()} of {len(genes)} genes, not {genes[0]}; give their table")
    return pd.DataFrame({"symbol": found.to_numpy()})


def _check_no_totals(values: np.ndarray, names: pd.Index, genes: pd.Index, path: Path) -> None:
    """Refuse a row or column that is the sum of the others: it would double the library, or be a spot of its own."""
    for sums, which, what in ((values.sum(0), names, "row"), (values.sum(1), genes, "column")):
        across = values if what == "row" else values.T
        at = int(np.argmax(across.sum(1)))
        if len(across) > 2 and np.array_equal(2 * across[at], sums):
            raise ValueError(f"{path}: {what} {which[at]!r} is the sum of all others; take it out")
