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


@pytest.mark.parametrize("missing", [None, np.nan, "", " ", "NA", "unknown"])
def test_a_patient_that_only_some_spots_name_is_not_taken_for_all(truth, tmp_path, missing):
    writers.plain_a1(truth, tmp_path)
    made = anndata.read_h5ad(tmp_path / "A1.h5ad")
    made.obs["patient"] = pd.Categorical([missing] * 5 + ["P2"] * (made.n_obs - 5))
    made.write_h5ad(tmp_path / "A1.h5ad")
    with pytest.warns(UserWarning, match=f"A1.h5ad: 5 of {made.n_obs} spots name no patient, the others P2: that of"):
        assert h5ad.read(tmp_path, "A1").patient == ""


def test_spots_off_tissue_need_no_patient(truth, tmp_path, recwarn):
    writers.plain_a1(truth, tmp_path)
    made = anndata.read_h5ad(tmp_path / "A1.h5ad")
    made.obs["patient"], made.obs["in_tissue"] = (
        [None] * 5 + ["P2"] * (made.n_obs - 5),
        [0] * 5 + [1] * (made.n_obs - 5),
    )
    made.write_h5ad(tmp_path / "A1.h5ad")
    assert h5ad.read(tmp_path, "A1").patient == "P2"
    assert not [one for one in recwarn if "patient" in str(one.message)]


PLACES = {"x": [3.0, 1, 2], "y": [30.0, 10, 20]}


@pytest.fixture
def written(tmp_path):
    """Writes three spots after a change, and reads them."""

    def read(change):
        made = AnnData(X=np.ones((3, 4)), obs=pd.DataFrame(index=["a", "b", "c"]))
        made.obsm["spatial"] = pd.DataFrame(PLACES, made.obs_names).to_numpy()
        change(made)
        made.write_h5ad(tmp_path / "S1.h5ad")
        return h5ad.read(tmp_path, "S1").spots

    return read


@pytest.mark.parametrize("x, y", [("x", "y"), ("pxl_col_in_fullres", "pxl_row_in_fullres")])
def test_columns_named_x_and_y_are_taken_by_name(written, x, y):
    def exchanged(made):
        made.obsm["spatial"] = pd.DataFrame({y: PLACES["y"], x: PLACES["x"]}, made.obs_names)

    assert written(exchanged).obsm["spatial"].tolist() == written(lambda made: None).obsm["spatial"].tolist()


@pytest.mark.parametrize("column", ["in_tissue", "In_Tissue"])
def test_spots_off_tissue_are_left_out_however_the_column_is_spelt(written, column):
    assert list(written(lambda made: made.obs.insert(0, column, [1, 0, 1])).obs_names) == ["a", "c"]
    with pytest.raises(ValueError, match=f"S1.h5ad: obs..{column}.. is 0 for all 3 spots; choose those on tissue"):
        written(lambda made: made.obs.insert(0, column, 0))


@pytest.mark.parametrize(
    ("slot", "values", "says"),
    [
        ("spatial", [[0, 0], [np.nan, 1], [2, 2]], r"obsm..spatial.. has no x and y for b; put each"),
        ("spatial", [[0], [1], [2]], r"obsm..spatial.. has no x and y for a; put each"),
        ("X", np.full((3, 4), np.nan), r"X: some counts are missing \(NaN\)"),
        ("X", np.zeros((3, 4)), "X: every count is zero"),
    ],
)
def test_what_is_wrong_is_said_as_it_is(written, slot, values, says):
    def spoil(made):
        if slot == "X":
            made.X = values
        else:
            made.obsm[slot] = np.array(values, float)

    with pytest.raises(ValueError, match=f"S1.h5ad: {says}"):
        written(spoil)
