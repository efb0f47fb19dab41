"""A section in one file of AnnData."""

import anndata
import numpy as np
import pandas as pd
import pytest
import writers
from anndata import AnnData

from helpers import schema
from helpers.cohort import sections
from helpers.cohort.layouts import h5ad


def test_spots_without_an_array_are_placed_by_their_pixels(tmp_path):
    made = AnnData(X=np.ones((3, 4)), obs=pd.DataFrame(index=["a", "b", "c"]))
    made.obsm["spatial"] = np.array([[0, 0], [200, 0], [0, 400.0]])
    made.write_h5ad(tmp_path / "S1.h5ad")
    options = {"patients": {"S1": "P"}, "spot_um": 55, "pitch_um": 100}
    with pytest.raises(ValueError, match="S1: neither spots nor image give a pixel size; set mpp"):
        sections.read("h5ad", tmp_path, "S1", **options)
    found = sections.read("h5ad", tmp_path, "S1", 0.5, **options)
    np.testing.assert_allclose(found.obsm[schema.LATTICE], [[0, 0], [1, 0], [0, 2]])


def test_what_the_files_do_not_say_stays_unknown(truth, tmp_path):
    writers.plain(truth, tmp_path, "A1")
    raw = h5ad.read(tmp_path, "A1")
    assert (raw.patient, raw.image.name, raw.nuclei_file, raw.n_spots_dropped) == ("A", "A1.tif", None, 0)
    assert np.isnan([raw.spot_um, raw.pitch_um, raw.mpp_estimated]).all()
    assert not raw.spots.uns
    with pytest.raises(ValueError, match="section A1: its files do not say spot_um; give it in the config"):
        sections.read("h5ad", tmp_path, "A1")


def test_spots_of_several_patients_are_warned_of(truth, tmp_path):
    writers.plain_a1(truth, tmp_path)
    made = anndata.read_h5ad(tmp_path / "A1.h5ad")
    made.obs["patient"] = ["P1"] * 5 + ["P2"] * (made.n_obs - 5)
    made.write_h5ad(tmp_path / "A1.h5ad")
    with pytest.warns(UserWarning, match="A1.h5ad: spots of 2 patients, P1, P2"):
        assert h5ad.read(tmp_path, "A1").patient == ""
