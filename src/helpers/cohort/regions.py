"""What is known of spots besides their counts: regions drawn by a pathologist, proportions of cell types, or the truth.

Every reader takes one section's file and gives a table by the spot's name; None where the cohort has no such file.
"""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import schema, unpacked
from helpers.cohort import tables

UNDETERMINED = "undetermined"  # the pathologist's own word for a spot that is no one region's
MIN_SPOTS = 10  # a region of fewer spots is described by nobody


def read_labels(path: str | Path) -> tuple[pd.Series, int] | None:
    """The region of each spot, as in `ST-pat/lbl` of almaan/her2st, and the number of rows that have no coordinates.

    Columns x, y, label; the spot is round(x) "x" round(y). ValueError names what is missing or occurs twice.
    """
    table = _read(path)
    if table is None:
        return None
    if missing := [column for column in ("x", "y", "label") if column not in table]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; a file of regions has x, y and label")
    table = table.replace("", np.nan).assign(**table[["x", "y"]].apply(pd.to_numeric, errors="coerce"))
    placed = table.dropna(subset=["x", "y", "label"])
    xy = placed[["x", "y"]].round().astype(int).astype(str)
    labels = pd.Series(placed["label"].to_numpy(str), index=xy["x"] + "x" + xy["y"], name="label")
    schema.check_words(labels.unique(), "region", path)
    return tables.each_once(labels, path), len(table) - len(placed)


def read_proportions(path: str | Path) -> pd.DataFrame | None:
    """Proportions of cell types, spots x types, from a tab-separated table whose first column names the spot.

    The table may lie in an archive, `major.zip/major/A1-proportion.tsv`. ValueError where a cell is no number.
    """
    table = _read(path)
    if table is None:
        return None
    table = table.set_index(table.columns[0])
    schema.check_words(table.columns, "cell type", path)
    numbers = table.apply(pd.to_numeric, errors="coerce")
    if not np.isfinite(numbers.to_numpy()).all():
        raise ValueError(f"{path}: a proportion is missing or not a number; fetch the file again")
    numbers.index = numbers.index.astype(str)
    return tables.each_once(numbers.rename_axis(None), path)


def read_truth(path: str | Path, types: list[str]) -> tuple[pd.Series, pd.DataFrame]:
    """A simulated section: the cell type that most RNA of a spot comes from, and the shares of these types."""
    shares = pd.read_csv(path, index_col="spot")[types]
    return shares.idxmax(axis=1).rename("label"), shares


def usable_labels(labels: pd.Series, spots: pd.Index, min_spots: int = MIN_SPOTS) -> tuple[pd.Series, dict[str, int]]:
    """The labels of those `spots` that have a determined one, and how many spots are left out, by reason.

    Reasons: `unlabelled`, `undetermined`, and `rare` for regions of fewer than `min_spots` of these spots.
    """
    labels = labels.reindex(spots)
    rare = labels.map(labels.value_counts()) < min_spots
    undetermined = labels == UNDETERMINED
    reasons = {"unlabelled": labels.isna(), "undetermined": undetermined, "rare": rare & ~undetermined}
    return labels[~np.any(list(reasons.values()), axis=0)], {why: int(which.sum()) for why, which in reasons.items()}


def _read(path: str | Path) -> pd.DataFrame | None:
    archive, inside, member = str(path).partition(".zip/")
    if not inside:
        return tables.read(path) if Path(path).is_file() else None
    if not Path(f"{archive}.zip").is_file():
        return None
    unpacked.check_size(f"{archive}.zip")
    try:
        with zipfile.ZipFile(f"{archive}.zip") as files:
            content = files.read(member) if member in files.namelist() else None
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a whole archive ({error}); {tables.FETCH}") from error
    return None if content is None else tables.parse(content, path)
