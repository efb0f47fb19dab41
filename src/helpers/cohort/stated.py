"""What a user states of a cohort's files, in its config: keys of the config and arguments of `sections.read` alike."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Stated:
    """Goes before what the files say."""

    mpp: float | None = None  # um per pixel
    ids: Mapping[str, str] | None = None  # how a section's files are named where that is not its name
    images: str | None = None  # pattern below the root, with {section} or {id} in it
    patients: Mapping[str, str] | None = None  # the patient of each section
    spot_um: float | None = None  # diameter of a spot
    pitch_um: float | None = None  # distance of neighbouring spots
    counts_layer: str | None = None  # where an h5ad file keeps its raw counts
    gene_names: str | None = None  # the column of var that holds symbols
    gene_symbols: str | None = None  # a table of ids and symbols, where files name genes by id and hold no symbols
    placements: str | None = None  # below the root, the table of sections whose picture is no full-resolution image
    picture_mpp: float | None = None  # um per pixel to which finer pictures are reduced
    masks: Mapping[str, list] | None = None  # of a section's picture: rectangles that show no tissue
