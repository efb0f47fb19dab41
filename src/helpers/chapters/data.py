"""Sections: the raw files of a cohort read one after another, and what is to say of them.

The table of sections has a row each, with the columns of `cohort.check.read`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from anndata import AnnData

from helpers import store
from helpers.cohort import check, downloads, images, pictures, simulate
from helpers.labels import counted, span

NOMINAL_MPP = 0.5  # um per pixel that a scan "at 20x" is taken to have


# Files ----------------------------------------------------------------------------------------------------------


def provide_raw_files(root: str | Path, simulation: Mapping | None = None, manifest: str | Path | None = None) -> None:
    """Write the raw files of a simulated cohort, or download those of a manifest; without either they are there.

    `simulation` holds arguments of `simulate.write_cohort`, `manifest` is a table of path and git_blob_sha1.
    """
    if simulation is not None:
        simulate.write_cohort(root, **simulation)
    elif manifest is not None:
        downloads.fetch_her2st(root, store.read_table(manifest, ["path", "git_blob_sha1"]))


def write_sections(paths: Iterable[str | Path], readers: Mapping, qc: Mapping) -> pd.DataFrame:
    """Read each section, named as its path is, and write it there, one in memory at a time; the table of sections.

    A picture that has to be reduced or masked is written beside it.

    `readers` are arguments of `sections.read`, `qc` the rule by which a section is kept.
    """
    rows = []
    for path in paths:
        section, row = check.read(Path(path).stem, readers, qc)
        pictures.prepare(section, Path(path).with_suffix(".png"))
        store.write_section(section, path)
        image = section.uns["image"]
        rows.append(row | {"image": image} | check.picture_of(section, images.size(image) if image else None))
    return check.table(rows).drop(columns="problem")


def spots_of(sections: Iterable[AnnData], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The spots of all sections, a row each: `spot`, its name, and these columns of obs, all unless given."""
    tables = [section.obs if columns is None else section.obs[list(columns)] for section in sections]
    return pd.concat([table.rename_axis("spot").reset_index() for table in tables], ignore_index=True)


# Sentences, from the table of sections --------------------------------------------------------------------------


def answer(table: pd.DataFrame) -> str:
    """What was measured, where, and how large a pixel is: sections, patients, spots, images, pixels and depth."""
    n_images, depth = int((table["image"] != "").sum()), table.set_index("section")["median_total_counts"]
    ends = f" ({depth.idxmin()}) to {depth.max():,.0f} ({depth.idxmax()})" if len(depth) > 1 else ""
    return (
        f"{counted(len(table), 'sections')} of {counted(table['patient'].nunique(), 'patients')} "
        f"{_past(len(table))} read, with {counted(int(table['n_spots'].sum()), 'spots')}; {n_images} of "
        f"{len(table)} {'has' if n_images == 1 else 'have'} an image. A pixel is "
        f"{span(table['mpp'].min(), table['mpp'].max(), '.3f')} µm wide. "
        f"The median depth of a section is {depth.min():,.0f}{ends} molecules a spot."
    )


def describe_dropped(table: pd.DataFrame) -> str:
    """How many spots were dropped, and which sections have no image."""
    without, n = table.loc[table["image"] == "", "section"], int(table["n_spots_dropped"].sum())
    skipped = f" Without an image, skipped wherever pixels are needed: {', '.join(without)}." if len(without) else ""
    return f"{counted(n, 'spots')} {_past(n)} dropped.{skipped}"


def list_warnings(table: pd.DataFrame) -> str:
    """The warnings of all sections, as a list."""
    found = table.loc[table["warnings"] != "", "warnings"]
    return "\n".join(f"- {warning}" for warning in found) if len(found) else "No section gave a warning."


def describe_rule(table: pd.DataFrame, qc: Mapping) -> str:
    """The rule by which a section is kept, its reason, and how many are."""
    kept = int(table["kept"].sum())
    n_shallow, n_sections = int(table["n_shallow"].sum()), int((table["n_shallow"] > 0).sum())
    return (
        f"A spot needs at least {qc['min_spot_counts']} counts, which leaves out {counted(n_shallow, 'spots')} of "
        f"{counted(n_sections, 'sections')}. "
        f"A section needs at least {qc['min_spots']} spots and a median of {qc['min_median_counts']} counts per spot: "
        f"{qc['reason']}. {kept} of {counted(len(table), 'sections')} {'is' if kept == 1 else 'are'} kept."
    )


def describe_pixels(table: pd.DataFrame) -> str:
    """The pixel sizes of each patient's sections, and how far off the label 20x would be."""
    ranges = table.groupby("patient")["mpp"].agg(["min", "max"])
    off = max(table["mpp"].max() / NOMINAL_MPP, NOMINAL_MPP / table["mpp"].min())
    listed = "; ".join(f"{row.Index}: {span(row.min, row.max, '.3f')} µm per pixel" for row in ranges.itertuples())
    return f"{listed}. Taking 20x for {NOMINAL_MPP} µm at its word would be off by a factor of up to {off:.2f}."


def describe_depth(table: pd.DataFrame) -> str:
    """By how much the median depth of sections differs, and why that matters."""
    depth = table["median_total_counts"]
    return (
        f"The median depth of the deepest section is {depth.max() / depth.min():.1f} times that of the shallowest. "
        "This is why every association in this book is computed within a section."
    )


def _past(n: int) -> str:
    return "was" if n == 1 else "were"
