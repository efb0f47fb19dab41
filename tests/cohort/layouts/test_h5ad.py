"""A section in one file of AnnData."""

import anndata
import numpy as np
import pandas as pd
import pytest
import writers
from anndata import AnnData
from scipy.sparse import csc_matrix, csr_matrix

from helpers import schema
from helpers.cohort import sections
from helpers.cohort.layouts import h5ad


def with_zeros_and_parts(counts):
    """Every value in two parts, zeros too."""
    parts = np.hstack([counts // 2, counts - counts // 2])
    columns, ends = np.tile(np.arange(counts.shape[1]), 2 * len(counts)), np.arange(len(counts) + 1) * parts.shape[1]
    return csr_matrix((parts.ravel(), columns, ends), counts.shape)


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
        ("spatial", [[2, 2], [2, 2], [2, 2]], r"obsm..spatial.. has all spots at one place; put each"),
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


def saved(path, counts, **names):
    made = AnnData(counts, **{"var": pd.DataFrame(index=list("ABCDE"))} | names)
    made.obsm["spatial"] = np.random.default_rng(0).uniform(0, 1000, (made.n_obs, 2))
    made.write_h5ad(path / "S1.h5ad")
    return path


@pytest.mark.parametrize(("kind", "most"), [("uint8", 255), ("int16", 32767), ("uint16", 65535), ("float16", 2048)])
def test_counts_that_fill_their_type_are_warned_of(tmp_path, kind, most):
    counts = np.random.default_rng(0).poisson(50, (40, 5))
    counts[3, 2] = most - 2
    with pytest.warns(
        UserWarning, match=f"S1.h5ad: X: the largest count is {most - 2} and {kind} holds .* to {most}: "
    ):
        h5ad.read(saved(tmp_path, counts.astype(kind)), "S1")


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("kind", ["uint8", "int64", "uint16", "float32"])
@pytest.mark.parametrize("make", [np.float16, np.asarray, csr_matrix, csc_matrix, with_zeros_and_parts])
def test_counts_of_every_type_and_form_are_read_as_they_are(tmp_path, kind, make):
    counts = np.random.default_rng(0).poisson(20, (40, 5))
    found = h5ad.read(saved(tmp_path, make(counts.astype(kind))), "S1").spots
    np.testing.assert_array_equal(found.layers[schema.COUNTS].toarray(), counts)


def test_a_spot_that_occurs_twice_is_refused_and_a_gene_is_numbered(tmp_path, recwarn):
    obs, var = pd.DataFrame(index=list("abca")), pd.DataFrame(index=["A", "B", "A"])
    with pytest.raises(ValueError, match="S1.h5ad: spot 'a' occurs twice; keep one"):
        h5ad.read(saved(tmp_path, np.ones((4, 5)), obs=obs), "S1")
    saved(tmp_path, np.ones((4, 3)), var=var)
    recwarn.clear()
    assert list(h5ad.read(tmp_path, "S1").spots.var_names) == ["A", "B", "A-1"]
    assert not [one for one in recwarn if "not unique" in str(one.message)]


def test_a_folder_of_zarr_in_place_of_the_file_is_refused_by_name(tmp_path):
    (tmp_path / "S1.zarr").mkdir()
    (tmp_path / "S1.zarr/.zgroup").write_text("{}")
    with pytest.raises(ValueError, match=r"S1.zarr: a folder of Zarr \(SpatialData, AnnData\) is not read"):
        h5ad.read(tmp_path, "S1")
