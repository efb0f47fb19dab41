"""What an audit will take: said before it starts where it is long, refused where the memory is not there."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
from anndata import AnnData

from helpers.labels import counted
from helpers.schema import COUNTS
from helpers.scores.spatial import products_of_a_spot

# Measured at 5,000 to 60,000 spots, 80 and 300 predicted of 2,000 genes, as seconds of one core of 2.4 GHz.
SECONDS, BYTES = 8.5e-6, 70  # of each number predicted
SECONDS_OF_PRODUCT = 2e-9  # of each number predicted with each map of a null that its spot lies on
SECONDS_OF_SPOT, BYTES_OF_SPOT, LEAST_BYTES = 0.6e-3, 9400, 150e6  # whatever is predicted; and the signs of the null
BYTES_OF_COUNT = 20  # of each count above 0: halves and twins are copies
LONG = 60  # seconds that need no word


class Need(NamedTuple):
    """About what an audit takes."""

    what: str
    seconds: float
    bytes: float


def need(cohort: Mapping[str, AnnData], predicted: Mapping[str, pd.DataFrame]) -> Need:
    """What the audit of these sections takes, by its spots, the numbers predicted, the nulls and the counts above 0."""
    n_spots, n_genes = sum(map(len, predicted.values())), max(table.shape[1] for table in predicted.values())
    n_values = sum(table.size for table in predicted.values())
    counts = [section.layers[COUNTS] for section in cohort.values()]
    n_counts = sum(getattr(one, "nnz", np.size(one)) for one in counts)
    what = f"{n_spots:,} spots x {counted(n_genes, 'genes')} in {counted(len(cohort), 'sections')}"
    n_products = sum(table.size * products_of_a_spot(len(table)) for table in predicted.values())
    n_seconds = SECONDS_OF_SPOT * n_spots + SECONDS * n_values + SECONDS_OF_PRODUCT * n_products
    n_bytes = LEAST_BYTES + BYTES_OF_SPOT * n_spots + BYTES * n_values + BYTES_OF_COUNT * n_counts
    return Need(what, n_seconds, n_bytes)


def announced(wanted: Need, free: float | None = None) -> str:
    """What to expect in words, "" where it is short; ValueError where the memory, `free` of it in bytes, is not there.

    >>> announced(Need("20,000 spots x 300 genes in 1 section", 150, 1e9), 8e9)
    '20,000 spots x 300 genes in 1 section: about 2 minutes on one core and 1.0 GB of memory'
    """
    free = psutil.virtual_memory().available if free is None else free
    if wanted.bytes > free:
        raise ValueError(
            f"the audit of {wanted.what} takes about {wanted.bytes / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are "
            "free: give fewer sections at a time, predictions of fewer genes, or larger bins"
        )
    if wanted.seconds < LONG:
        return ""
    minutes = counted(round(wanted.seconds / 60), "minutes")
    return f"{wanted.what}: about {minutes} on one core and {wanted.bytes / 1e9:.1f} GB of memory"
