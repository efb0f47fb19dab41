"""Files of the study: each is written to a temporary name and moved into place, and checked when read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with what a cell begins that a spreadsheet runs


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved onto it when the block ends well and removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name ends as the final one does: pandas and others choose the format and compression by it.
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_section(section: AnnData, path: str | Path) -> None:
    """Write an AnnData, compressed."""
    with atomic(path) as partial:
        section.write_h5ad(partial, compression="lzf")


def read_section(path: str | Path) -> AnnData:
    """Read an AnnData; a missing or damaged file is named."""
    import anndata  # takes a second, and pages that draw read tables only

    path = _existing(path)
    try:
        return anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a readable h5ad file ({error}); remove it and run the notebook again") from error


def prediction_files(folders: Iterable[str | Path], backbone: str = "*") -> list[Path]:
    """Files of predictions, <backbone>.<target>.<seed>.h5ad: by folder in the order given, by name within one."""
    return [path for folder in folders for path in sorted(Path(folder).glob(f"{backbone}.*.h5ad"))]


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV (`.csv`, `.csv.gz`) or parquet, by the name's ending.

    In a CSV a text that a spreadsheet would run as a formula gets an apostrophe in front; `read_table` takes it off.
    """
    with atomic(path) as partial:
        table = table if partial.suffix == ".parquet" else _without_formulas(table)
        if partial.suffix == ".parquet":
            table.to_parquet(partial, index=False)
        elif partial.suffix == ".gz":
            # A fixed time stamp: the same table gives the same bytes.
            table.to_csv(partial, index=False, float_format="%.6g", compression={"method": "gzip", "mtime": 1})
        else:
            table.to_csv(partial, index=False, float_format="%.6g")


def read_table(path: str | Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table written by `write_table`; a missing or damaged file or a missing column is named."""
    path = _existing(path)
    try:
        # "NA" and the like may be names of genes or sections; only an empty cell is missing.
        table = (
            pd.read_parquet(path)
            if path.suffix == ".parquet"
            else _with_formulas(pd.read_csv(path, keep_default_na=False, na_values=[""]))
        )
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable table ({error}); remove it and run the notebook again") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    return table


def _without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    changed = {}
    for name in table.select_dtypes(["object", "string", "category"]):
        words = table[name].astype(str)
        first = words.str.startswith(FORMULA)
        if first.any():
            runs = first & pd.to_numeric(words.where(first), errors="coerce").isna()
            changed[name] = table[name].astype(object).where(~runs, "'" + words)
    return table.assign(**changed).rename(columns=_name_without_formula)


def _name_without_formula(name):
    return f"'{name}" if isinstance(name, str) and name.startswith(FORMULA) else name


def _with_formulas(table: pd.DataFrame) -> pd.DataFrame:
    quoted = tuple(f"'{sign}" for sign in FORMULA)
    changed = {}
    for name in table.select_dtypes("object"):
        words = table[name].astype(str)  # also of True and False with a gap, which are objects
        marked = words.str.startswith(quoted)
        if marked.any():
            changed[name] = table[name].where(~marked, words.str[1:])
    return table.assign(**changed).rename(columns=lambda name: name[1:] if name.startswith(quoted) else name)


def read_tables(paths: Iterable[str | Path], columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read tables of the same columns and stack them; empty ones only lend their columns."""
    tables = [read_table(path, columns) for path in paths]
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def write_json(content: dict, path: str | Path) -> None:
    """Write a small mapping as JSON."""
    with atomic(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def write_text(content: str, path: str | Path) -> None:
    """Write a page, or other text."""
    with atomic(path) as partial:
        partial.write_text(content)


def read_json(path: str | Path) -> dict:
    """Read a mapping written by `write_json`."""
    return json.loads(_existing(path).read_text())


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; run the notebook or rule that writes it first")
    return path
