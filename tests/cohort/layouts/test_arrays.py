"""Rows and columns of an array become places in units of the distance between neighbours."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import writers
from anndata import AnnData
from scipy import sparse

from helpers import schema
from helpers.cohort import sections, tenx
from helpers.cohort.layouts import arrays, raw
from helpers.scores import spatial


def test_a_spot_of_a_hexagonal_array_has_six_neighbours(tmp_path):
    writers.visium_files(tmp_path, writers.visium())
    found = sections.read("spaceranger", tmp_path, "A1", patients={"A1": "P"})
    degrees = spatial.neighbours(found.obsm[schema.LATTICE]).sum(axis=1)
    inner = writers.visium().assign(degree=degrees).query("2 <= array_row <= 9 and 3 <= array_col <= 20")["degree"]
    assert set(inner) == {6}


def test_the_same_array_in_an_h5ad_file_is_known_as_visium(tmp_path):
    spots = writers.visium().set_index("barcode")
    made = AnnData(X=sparse.csr_matrix(np.ones((len(spots), 5))), obs=spots[["in_tissue", "array_row", "array_col"]])
    made.obsm["spatial"] = spots[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    made.write_h5ad(tmp_path / "S1.h5ad")
    with pytest.warns(UserWarning, match="S1: no patient is known, it counts as one of its own"):
        found = sections.read("h5ad", tmp_path, "S1")
    assert found.uns["mpp"] == pytest.approx(0.5)
    assert found.uns["pitch_um"] == 100
    assert found.obs["patient"].unique().tolist() == ["S1?"]


def test_rows_and_columns_are_turned_as_the_image_says():
    """HEST calls the x of a square array its row."""
    counts, pixels = np.ones((4, 2)), np.array([[0, 0], [100, 0], [0, 100], [100, 100.0]])
    for row, column in ((pixels[:, 1] / 100, pixels[:, 0] / 100), (pixels[:, 0] / 100, pixels[:, 1] / 100)):
        section = raw.section(counts, pd.Index(list("abcd")), pd.Index(["G1", "G2"]), pixels)
        on = pd.DataFrame({"array_row": row, "array_col": column})
        found = arrays.on_array(section, on, tenx.Scales())
        np.testing.assert_array_equal(found.spots.obsm[schema.LATTICE], pixels / 100)
        assert np.isnan(found.pitch_um)


def test_a_spot_without_a_row_is_named():
    obs = pd.DataFrame({"array_row": [1, "x"], "array_col": [1, 2]}, ["a", "b"])
    with pytest.raises(ValueError, match="S.h5ad: spot b has no number"):
        arrays.coordinates(obs, Path("S.h5ad"))
    assert arrays.coordinates(obs[[]], Path("S.h5ad")) is None
