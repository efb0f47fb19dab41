"""Anyone's predictions: read from a file, matched to a section by the names of spots and genes."""

import difflib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import schema, unpacked
from helpers.cohort import tables
from helpers.cohort.layouts import h5ad, raw
from helpers.gene_names import clean, warn_of_dates

X = "X"  # the place in an h5ad file that is no layer
MIN_SPOTS = 20  # fewer give a correlation whose standard error exceeds 0.22


def read(path: str | Path, layer: str = "") -> pd.DataFrame:
    """Read predictions, spots x genes, both by name.

    `.csv`, `.tsv` (also `.gz`) and `.parquet`: the first column, or the index, holds the spots; `.h5ad`: `layer`, or
    X where there is no other; `.npz`: one two-dimensional array beside `spots` and `genes`. ValueError for a file of
    another kind, one that would run code when loaded, and values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raw.refuse_zarr(path)
        raise FileNotFoundError(f"{path}: no such file of predictions; check the pattern and the section's name")
    kind = next((ending for ending in READERS if path.name.endswith(ending)), None)
    if kind is None:
        raise ValueError(
            f"{path}: predictions are read from {', '.join(READERS)}; pickles, .pt and .npy run code or lack names"
        )
    if layer and kind != ".h5ad":
        raise ValueError(f"{path}: only h5ad files have layers; leave --layer out")
    unpacked.check_size(path)
    table = _read_h5ad(path, layer) if kind == ".h5ad" else READERS[kind](path)
    if not table.size:
        raise ValueError(f"{path}: {len(table)} spots x {table.shape[1]} genes; write spots x genes with names")
    for names, what in ((table.index, "spot"), (table.columns, "gene")):
        schema.check_words(names, what, path)
        if names.has_duplicates:
            raise ValueError(f"{path}: {what} {names[names.duplicated()][0]!r} occurs twice; keep one")
    warn_of_dates(table.columns, str(path))
    if kinds := {kind.name for kind in table.dtypes if getattr(kind, "kind", "") in "bcmM"}:
        raise ValueError(f"{path}: predictions are {', '.join(sorted(kinds))} values; write them as plain real numbers")
    try:
        table = table.astype(float)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: some predictions are text ({error}); the first column alone holds names") from error
    _check_finite(table, path)
    return table


def _check_finite(table: pd.DataFrame, path: Path) -> None:
    bad = ~np.isfinite(table.to_numpy())
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{path}: {bad.sum()} predictions are missing or infinite, first spot {table.index[row]}, gene "
            f"{table.columns[column]}; a failed fit is not scored, leave these genes out"
        )


def read_named(path: Path) -> pd.DataFrame:
    """A table of text with a header (`tables.read`), indexed by its first column."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the pattern and the section's name")
    table = tables.read(path, "write spots x genes with names")
    return _named(table.set_index(table.columns[0]))


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow has errors of its own for each kind of damage
        raise ValueError(f"{path}: not a readable parquet file ({error}); write it again") from error
    if isinstance(table.index, pd.RangeIndex):
        table = table.set_index(table.columns[0])
    return _named(table)


def _read_h5ad(path: Path, layer: str = "") -> pd.DataFrame:
    """The layer, or X; ValueError where several places may hold the predictions and none was named."""
    found = h5ad.opened(path)
    places = ([X] if found.X is not None else []) + list(found.layers)
    if layer and layer not in places:
        raise ValueError(f"{path}: no layer {layer}; it has {', '.join(places) or 'none'}")
    if not places:
        raise ValueError(f"{path}: it has neither X nor a layer; write the predictions into X, spots x genes")
    if not layer and len(places) > 1:
        raise ValueError(
            f"{path}: predictions may be {' or '.join(places)}; say which by --layer (of targets by --target-layer)"
        )
    layer = layer or places[0]
    return _named(found.to_df(None if layer == X else layer))


def _read_npz(path: Path) -> pd.DataFrame:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # numpy and zipfile have errors of their own for each kind of damage
        raise ValueError(
            f"{path}: not an archive of plain arrays ({error}); save names as str arrays, not as objects"
        ) from error
    tables = [name for name, array in arrays.items() if array.ndim == 2]
    if len(tables) != 1 or not {"spots", "genes"} <= set(arrays):
        raise ValueError(f"{path}: holds {', '.join(arrays)}; one table of two dimensions, spots and genes are wanted")
    values = arrays[tables[0]]
    if values.shape != (len(arrays["spots"]), len(arrays["genes"])):
        raise ValueError(
            f"{path}: {tables[0]} is {values.shape} for {len(arrays['spots'])} spots and {len(arrays['genes'])} genes; "
            f"write spots x genes"
        )
    return _named(pd.DataFrame(values, arrays["spots"], arrays["genes"]))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_axis(clean(table.index), axis=0).set_axis(clean(table.columns), axis=1)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": read_named,
    ".csv.gz": read_named,
    ".tsv": read_named,
    ".tsv.gz": read_named,
    ".parquet": _read_parquet,
    ".h5ad": _read_h5ad,
    ".npz": _read_npz,
}


# Names ----------------------------------------------------------------------------------------------------------


def match(table: pd.DataFrame, spots: pd.Index, genes: pd.Index, where: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """The predictions of the section's own spots and genes, in the section's order, and remarks on what was left out.

    ValueError with the first names of both sides, and a guess at the reason, when too few match.
    """
    for ours, theirs, what in ((spots, table.index, "spot"), (genes, table.columns, "gene")):
        least = MIN_SPOTS if what == "spot" else 1
        n_common = len(ours.intersection(theirs))
        # Where all names of one side match, the names are right and spots are few.
        if n_common < max(min(least, len(ours), len(theirs)), 1):
            raise ValueError(
                f"{where}: {n_common} {what}s match; predicted: {_first(theirs)}; counts: {_first(ours)}. "
                f"{_guess(table, spots, genes, what)}"
            )
    kept_spots, kept_genes = spots[spots.isin(table.index)], genes[genes.isin(table.columns)]
    if len(kept_spots) < MIN_SPOTS:
        raise ValueError(f"{where}: {len(kept_spots)} spots; at least {MIN_SPOTS} are needed for a correlation")
    remarks = [
        f"{n} of {len(names)} {what} have no partner and are left out"
        for n, names, what in (
            (len(table.index) - len(kept_spots), table.index, "predicted spots"),
            (len(spots) - len(kept_spots), spots, "measured spots"),
            (len(table.columns) - len(kept_genes), table.columns, "predicted genes"),
        )
        if n
    ]
    return table.loc[kept_spots, kept_genes], remarks


def _first(names: pd.Index) -> str:
    return ", ".join(map(repr, names[:5]))


def _guess(table: pd.DataFrame, spots: pd.Index, genes: pd.Index, what: str) -> str:
    """What most likely keeps names from matching, in words that say what to do."""
    ours, theirs = (spots, table.index) if what == "spot" else (genes, table.columns)
    if len(genes.intersection(table.index)) or len(spots.intersection(table.columns)):
        return "Rows look like genes: transpose the table, spots x genes is wanted"
    if what == "gene" and theirs.str.match(r"ENS[A-Z]*G\d+").mean() > 0.5 > ours.str.match(r"ENS[A-Z]*G\d+").mean():
        return "The predictions name genes by Ensembl id: use symbols, as the counts do"
    if what == "gene" and len(ours.str.upper().intersection(theirs.str.upper())):
        return "Names differ in upper and lower case: use the spelling of the counts"
    if what == "spot" and pd.to_numeric(theirs, errors="coerce").notna().all():
        return "The predictions number their spots: write the spots' names in the first column"
    for name in theirs[~theirs.isin(ours)][:5]:
        close = [own for own in ours if own in name or name in own] or difflib.get_close_matches(name, ours, 1)
        if close:
            return f"{name!r} may be {close[0]!r}: take off what was put before or behind the names"
    return "Is it this section's file?"
