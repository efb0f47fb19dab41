"""Every layout gives the same section, under the same rules for patients and genes."""

import anndata
import numpy as np
import pandas as pd
import pytest
import writers

from helpers import schema
from helpers.cohort import images, sections
from helpers.cohort.layouts.registry import LAYOUTS


@pytest.mark.parametrize("kind", writers.LAYOUTS)
def test_every_layout_gives_the_same_section(truth, tmp_path, kind):
    options = writers.LAYOUTS[kind](truth, tmp_path)
    found = sections.read(kind.split()[0], tmp_path, "A1", **options, embedded=images.embedded_mpp)
    np.testing.assert_array_equal(found.layers[schema.COUNTS].toarray(), truth.layers[schema.COUNTS].toarray())
    np.testing.assert_allclose(found.obsm[schema.SPATIAL], truth.obsm[schema.SPATIAL], atol=0.01)
    assert list(found.var_names) == list(truth.var_names)
    assert found.uns["mpp"] == pytest.approx(truth.uns["mpp"], rel=0.01)
    assert found.uns["mpp_source"] == "lattice"
    assert found.obs["patient"].unique().tolist() == ["A"]
    assert (found.uns["spot_um"], found.uns["pitch_um"]) == (100, 200)
    assert images.size(found.uns["image"]) == images.size(truth.uns["image"])
    # Array indices are whole where the her2st tree has measured places; x and y keep their order.
    np.testing.assert_allclose(found.obsm[schema.LATTICE], truth.obsm[schema.LATTICE], atol=0.11)
    if "x" in found.obs_names[0]:
        assert list(found.obs_names) == list(truth.obs_names)


def test_each_layout_is_read_by_one_function():
    # A staggered array cannot hold the section that the others do.
    assert set(LAYOUTS) == {kind.split()[0] for kind in writers.LAYOUTS} | {"stutility"}


def test_an_option_that_a_layout_does_not_know_is_refused(tmp_path):
    with pytest.raises(ValueError, match="layout her2st has no counts_layer; leave it out"):
        sections.read("her2st", tmp_path, "A1", counts_layer="raw")


def test_genes_named_by_id_are_refused_at_every_door(truth, tmp_path):
    truth = truth.copy()
    truth.var_names = [f"ENSG{k:011d}.2" for k in range(truth.n_vars)]
    for kind in ("her2st", "spaceranger", "h5ad", "hest by id"):
        options = writers.LAYOUTS[kind](truth, tmp_path)
        with pytest.raises(ValueError, match=r"genes are named by id, ENSG00000000000\.2; give gene_names"):
            sections.read(kind.split()[0], tmp_path, "A1", **options)


@pytest.mark.parametrize("missing", [None, np.nan, "", " ", "nan", "None", "NA", "unknown"])
def test_a_missing_patient_is_one_of_its_own(truth, tmp_path, missing):
    writers.plain_a1(truth, tmp_path)
    made = anndata.read_h5ad(tmp_path / "A1.h5ad")
    made.obs["patient"] = pd.Categorical([missing] * made.n_obs)
    made.write_h5ad(tmp_path / "A1.h5ad")
    with pytest.warns(UserWarning, match="A1: no patient is known"):
        found = sections.read("h5ad", tmp_path, "A1", **writers.ST)
    assert found.obs["patient"].unique().tolist() == ["A1?"]


def test_patients_of_the_config_merge_as_it_says_whatever_their_letters(truth, tmp_path):
    writers.plain_a1(truth, tmp_path)
    for patients, name in (({"B1": "P 1", "A1": "p  1"}, "P 1"), ({"A1": "nan"}, "A1?")):
        found = sections.read("h5ad", tmp_path, "A1", **writers.ST, patients=patients)
        assert found.obs["patient"].unique().tolist() == [name]
