"""Regions of one section: ranks of cells, molecules and targets, and what is said of them."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers.chapters import region_profile
from helpers.schema import COUNTS


@pytest.fixture
def section():
    """Four spots: the last two are dense, the first two deep."""
    obs = pd.DataFrame({"n_nuclei": [1, 2, 8, 9]}, index=list("abcd"))
    made = AnnData(obs=obs, var=pd.DataFrame(index=["g", "h"]))
    made.layers[COUNTS] = sparse.csr_matrix(np.array([[9.0, 90], [8, 80], [2, 20], [1, 10]]))
    made.obs["total_counts"] = np.asarray(made.layers[COUNTS].sum(axis=1)).ravel()
    return made


def test_ranks_run_from_nought_to_one_and_a_log_follows_depth(section):
    regions = pd.Series(["deep", "deep", "dense"], index=["a", "b", "d"])
    table = region_profile.profile(section, regions, ["g", "h"], ["log2"])
    assert list(table["what"].unique()) == ["nuclei per spot", "total counts", "log2"]
    by = table.groupby(["what", "region"])["value"].apply(list)
    assert (
        by["nuclei per spot", "dense"] == [1.0]
        and by["total counts", "dense"] == [0.0]
        and by["total counts", "deep"] == [1.0, 2 / 3]
    )
    assert by["log2", "deep"] == by["total counts", "deep"]
    said = region_profile.sentence(table, "A1")
    assert said.startswith(
        "In A1 the region of most nuclei, dense, is not the deepest, which is deep. Highest of 2 regions: "
    )


def test_the_example_is_shown_where_its_regions_are_known():
    known = {"B1": pd.Series(["x"]), "C1": pd.Series(["y"])}
    assert [region_profile.shown(name, known) for name in ("C1", "A1")] == ["C1", "B1"]
    assert region_profile.shown("A1", {}) == ""
