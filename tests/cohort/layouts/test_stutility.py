"""Staggered arrays of Spatial Transcriptomics."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers import schema
from helpers.cohort import images, sections
from helpers.cohort.layouts import stutility
from helpers.scores import spatial


def write_stutility(root, x_step=21.6, y_step=24.0):
    """Spots of a staggered array, all but the first selected, with counts of three genes."""
    spots = pd.DataFrame([(x, y) for x in range(1, 9) for y in range(1, 9) if (x + y) % 2 == 0], columns=["x", "y"])
    spots = spots.assign(new_x=spots["x"], new_y=spots["y"], pixel_x=50 + x_step * spots["x"])
    spots = spots.assign(pixel_y=40 + y_step * spots["y"], selected=(spots.index > 0).astype(int))
    spots.to_csv(root / "alignment_table_S1.tsv", sep="\t", index=False)
    counts = pd.DataFrame(np.arange(3 * len(spots)).reshape(-1, 3) % 7, columns=["Gnas", "Penk", "Th"])
    counts.index = spots["x"].astype(str) + "x" + spots["y"].astype(str)
    counts.to_csv(root / "S1.tsv.gz", sep="\t")
    return spots, counts


def test_nearest_spots_of_a_staggered_array_are_one_pitch_apart_and_give_the_pixel_size(tmp_path):
    spots, counts = write_stutility(tmp_path)
    found = sections.read("stutility", tmp_path, "S1")
    assert list(found.obs_names) == list(counts.index[1:]) and found.uns["n_spots_dropped"] == 1
    np.testing.assert_array_equal(found.layers[schema.COUNTS].toarray(), counts.to_numpy()[1:])
    distances = np.linalg.norm(found.obsm[schema.LATTICE][:, None] - found.obsm[schema.LATTICE], axis=2)
    np.testing.assert_allclose(np.where(distances == 0, 9, distances).min(axis=1), 1)
    assert found.uns["mpp"] == pytest.approx(stutility.PITCH_UM / np.hypot(21.6, 24.0), rel=1e-3)


def test_the_olfactory_bulb_is_read_with_symbols_and_its_selected_spots(mob_root):
    table = str(Path(__file__).parents[3] / "data/mob_genes.csv")
    found = sections.read("stutility", mob_root, "MOB1", gene_symbols=table, embedded=images.embedded_mpp)
    assert found.shape == (379, 1000)
    assert {"mt-Co1", "Penk", "Pcp4"} <= set(found.var_names)
    assert found.var_names.str.startswith("ENSMUSG").sum() == 4  # of which the table knows no symbol
    assert found.uns["mpp"] == pytest.approx(4.36, abs=0.01) and found.uns["mpp_source"] == "lattice"
    assert spatial.neighbours(found.obsm[schema.LATTICE]).sum(axis=1).max() == 8  # four near, four across
