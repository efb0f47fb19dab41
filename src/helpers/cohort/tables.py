"""Tables of text as people write them: one rule for header and body, at every door that takes one."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import unpacked

SEPARATORS = "\t,;"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
FETCH = "fetch the file again"
FEW = 100  # numbers, of which fewer tell nothing of how all are written
WIDE = 1000  # cells of a row, above which pandas spends its time on columns
# 1.024 beside 205, where no number begins with 0. and all have three digits behind the point: thousands.
_POINT = re.compile(r"(?<=;)\"?-?(\d+(?:\.\d+)+)\"?(?=;|$)", re.M)
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(\.\d{3})+")
_DECIMAL_COMMA = re.compile(r";\"?-?\d+,\d+\"?(;|$)", re.M)


def read(path: str | Path, fix: str = FETCH, columns: Sequence[str] = ()) -> pd.DataFrame:
    """A table under the names of its header, indexed by the lines of the file; its first column is text.

    See `parse`. A file whose name ends in .gz is unpacked. ValueError, ending in `fix`, for one that is no table, and
    for one that `unpacked` refuses.
    """
    path = Path(path)
    try:
        content = unpacked.gunzipped(path) if path.suffix == ".gz" else path.read_bytes()
        return parse(content, path, fix, columns)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: not a whole gzip table ({error}); {fix}") from error


def parse(content: bytes, where: str | Path, fix: str = FETCH, columns: Sequence[str] = ()) -> pd.DataFrame:
    """The same of the bytes of a file, named `where` in errors.

    UTF-8 or UTF-16, lines as any system ends them, comments (#) above the header. Cells are parted by tab, comma or
    semicolon, whichever the header has most of, else by blanks; quotes are taken off. Rows of one cell more than the
    header begin with a name of their own, as R writes them: that column is "". `columns` are those of a table that
    may lack a header: it does where its first line holds numbers behind a name.
    """
    try:
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not text in UTF-8 ({error}); {fix}") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    start = next((n for n, line in enumerate(text.split("\n"), 1) if line.strip() and not line.startswith("#")), 0)
    if not start:
        raise ValueError(f"{where}: an empty table; {fix}")
    names, separator = _cells(text.split("\n", start)[start - 1])
    if columns and all(_is_value(name) for name in names[1:]) and len(names) > 1:
        names, start = list(columns), start - 1
    if separator == ";" and (number := _of_thousands(text)):
        raise ValueError(f"{where}: {number} stands for thousands, beside numbers without a point; write them without")
    try:
        table = _body(text, start, separator)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{where}: no row below the header, {', '.join(names[:5])}; {fix}") from None
    except pd.errors.ParserError as error:
        raise ValueError(f"{where}: not a whole table ({str(error).strip()}); {fix}") from error
    if table.shape[1] == len(names) + 1:
        names = ["", *names]
    if table.shape[1] != len(names):
        raise ValueError(f"{where}: {len(names)} names in the header, {table.shape[1]} columns below it; {fix}")
    table.columns = names
    return table


def _cells(line: str) -> tuple[list[str], str]:
    """Cells of a header, without quotes and blanks around them, and what parts them."""
    cells = {separator: next(csv.reader([line], delimiter=separator)) for separator in SEPARATORS}
    separator = max(SEPARATORS, key=lambda one: len(cells[one]))
    if len(cells[separator]) == 1:
        separator = " "
        cells[" "] = next(csv.reader([line.strip()], delimiter=" ", skipinitialspace=True))
    return [cell.strip().strip("'") for cell in cells[separator]], separator


def _body(text: str, start: int, separator: str) -> pd.DataFrame:
    """Rows below the first `start` lines, indexed as an editor counts lines; empty ones are left out."""
    if (counts := _counts(text, start, separator)) is not None:
        return counts
    table = pd.read_csv(
        io.StringIO(text),
        sep=r"\s+" if separator == " " else separator,
        header=None,
        skiprows=start,
        skip_blank_lines=False,
        # Names may be "NA" or "nan"; only the other cells can be missing.
        converters={0: lambda cell: cell.strip().strip("'")},
        decimal="," if separator == ";" and _DECIMAL_COMMA.search(text) else ".",
        low_memory=False,
    )
    table.index += start + 1
    empty = table.index[table[0] == ""]
    return table.drop(index=empty[table.loc[empty, 1:].isna().all(axis=1)]) if len(empty) else table


def _counts(text: str, start: int, separator: str) -> pd.DataFrame | None:
    """What pandas reads of a wide table with whole numbers behind each name, in a third of its time; else None."""
    rows = text.split("\n")[start:]
    rows = rows[:-1] if rows and not rows[-1] else rows
    widths = {row.count(separator) for row in rows}
    if len(widths) != 1 or min(widths) < WIDE or '"' in text:
        return None
    names, rest = zip(*(row.split(separator, 1) for row in rows), strict=True)
    lines, columns = range(start + 1, start + 1 + len(rows)), range(1, 1 + min(widths))
    values = np.empty((len(lines), len(columns)), np.int64)
    for row, cells in zip(values, rest, strict=True):  # one at a time, which a processor's cache holds
        if (found := _whole_numbers(cells.encode(), separator.encode())) is None:
            return None
        row[:] = found
    table = pd.DataFrame(values, lines, columns)
    table.insert(0, 0, [name.strip().strip("'") for name in names])
    return table


def _whole_numbers(cells: bytes, separator: bytes) -> np.ndarray | None:
    """Numbers of one to nine digits; None where a cell is anything else. Most are 0: a digit of all cells at a time."""
    if cells.translate(None, b"0123456789" + separator):
        return None
    characters = np.frombuffer(cells, np.uint8)
    ends = np.append(np.flatnonzero(characters == ord(separator)), len(characters))
    n_digits = np.diff(ends, prepend=-1) - 1
    if not 1 <= n_digits.min() <= n_digits.max() <= 9:
        return None
    values = characters[ends - 1].astype(np.int64) - ord("0")
    for place in range(1, n_digits.max()):
        longer = np.flatnonzero(n_digits > place)
        values[longer] += 10**place * (characters[ends[longer] - 1 - place].astype(np.int64) - ord("0"))
    return values


def _of_thousands(text: str) -> str:
    """The first number that is written with points between thousands, where all with points are; else ""."""
    pointed = _POINT.findall(text)
    written_so = len(pointed) >= FEW and all(map(_THOUSANDS.fullmatch, pointed))
    return pointed[0] if written_so and re.search(r";\d{1,3}(?=;|$)", text, re.M) else ""


def _is_value(cell: str) -> bool:
    return cell.lower() in ("true", "false") or not pd.isna(pd.to_numeric(cell, errors="coerce"))


def whole_lines(table: pd.DataFrame, columns: Sequence[str], where: str | Path) -> pd.DataFrame:
    """These columns as numbers; ValueError names the first line that is cut off or holds text in one of them."""
    numbers = table[list(columns)].apply(pd.to_numeric, errors="coerce").astype(float)
    # A number that lost its last digits is still a number: a column missing after it is what tells, unless that
    # column has gaps elsewhere too.
    without_gaps = table.columns[table.iloc[:-1].notna().all()]
    wrong = numbers.join(table[without_gaps.difference(columns, sort=False)]).isna()
    if wrong.any(axis=None):
        line = wrong.any(axis=1).idxmax()
        column = wrong.columns[wrong.loc[line]][0]
        held = table.loc[line, column]
        held = "nothing" if pd.isna(held) or held == "" else repr(held)
        raise ValueError(
            f"{where}: line {line} is cut off or not a number, {column} holds {held}; write it, or {FETCH}"
        )
    return numbers


def each_once(spots: pd.DataFrame, where: str | Path) -> pd.DataFrame:
    """The table, where no spot stands in it twice; ValueError names one that does."""
    if spots.index.has_duplicates:
        raise ValueError(f"{where}: spot {spots.index[spots.index.duplicated()][0]!r} occurs twice; keep one")
    return spots
