"""Regions of one section: ranks of cells, molecules and targets, and what is said of them."""

import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers.chapters import region_profile
from helpers.schema import COUNTS, LATTICE


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
    assert said == (
        "Of 2 regions of A1, medians of spots, deep (2 spots) is the deepest, and dense (1 spot) has most nuclei: one "
        "section, and no test."
    )
    without = region_profile.sentence(table[table["what"] != "nuclei per spot"], "A1")
    assert without.endswith("deep (2 spots) is the deepest: one section, and no test.")


def test_the_regions_of_the_example_are_shown_then_drawn_ones_then_rings(tissue):
    known = {"B1": pd.Series(["x"]), "C1": pd.Series(["y"])}
    for name, found in (("C1", "C1"), ("A1", "B1")):
        assert region_profile.section_to_show({}, name, known) == (found, known[found])
    name, regions = region_profile.section_to_show({"A1": tissue}, "A1", {})
    assert name == "A1" and list(regions.index) == list(tissue.obs_names)


@pytest.fixture
def tissue():
    """A square of 144 spots: outside the gene follows the cells, inside it is noise."""
    rng = np.random.default_rng(0)
    xy = np.argwhere(np.ones((12, 12))).astype(float)
    cells, edge = rng.permutation(144), (np.abs(xy - 5.5).max(axis=1) > 4)
    counts = np.where(edge, 10 * cells, 10 * rng.permutation(144))[:, None] + np.zeros((1, 3))
    obs = pd.DataFrame({"n_nuclei": cells}, index=[f"s{k}" for k in range(144)])
    made = AnnData(obs=obs, var=pd.DataFrame(index=["g", "h", "i"]), obsm={LATTICE: xy})
    made.layers[COUNTS] = sparse.csr_matrix(counts)
    made.obs["total_counts"] = counts.sum(axis=1)
    return made


def test_rings_are_quarters_from_the_edge_to_the_middle(tissue):
    regions = region_profile.rings(tissue)
    assert regions.value_counts().to_dict() == dict.fromkeys(region_profile.RINGS, 36)
    from_edge = 5.5 - np.abs(tissue.obsm[LATTICE] - 5.5).max(axis=1)
    reach = pd.Series(from_edge, regions.index).groupby(regions).agg(["min", "max"]).loc[list(region_profile.RINGS)]
    assert (reach["max"].iloc[:-1].to_numpy() <= reach["min"].iloc[1:].to_numpy()).all()


def test_coupling_within_a_region_is_found_where_it_is(tissue):
    regions = region_profile.rings(tissue)
    table = region_profile.coupled_within(tissue, regions, ["g", "h", "i"], ["log2"]).set_index("region")
    assert list(table["n_spots"]) == [144, 36, 36, 36, 36]
    assert table["rho"]["outermost quarter"] > 0.99 > table["chance_95"]["outermost quarter"]
    assert table["rho"]["innermost quarter"] < table["chance_95"]["innermost quarter"]
    said = region_profile.within_sentence(table.reset_index(), "A1")
    assert "in A1" in said and "outermost quarter 1.000" in said and "of 4 regions." in said


def test_a_small_region_and_one_without_cells_have_no_coupling(tissue):
    few = region_profile.rings(tissue).iloc[:20]
    assert region_profile.coupled_within(tissue, few, ["g"], ["log2"]).empty
    blind = tissue.copy()
    del blind.obs["n_nuclei"]
    table = region_profile.coupled_within(blind, region_profile.rings(blind), ["g"], ["log2"])
    assert table.empty and region_profile.within_sentence(table, "A1") == ""


def test_zeros_alone_can_put_the_shallowest_region_at_the_top():
    """Every gene is one molecule in a spot at most: what is seen says nothing, and shallow spots have fewest."""
    rng = np.random.default_rng(0)
    deep = np.repeat([1, 0], 40)
    counts = (rng.uniform(size=(80, 200)) < np.where(deep, 0.5, 0.2)[:, None]).astype(float)
    made = AnnData(obs=pd.DataFrame(index=[f"s{k}" for k in range(80)]), var=pd.DataFrame(index=map(str, range(200))))
    made.layers[COUNTS] = sparse.csr_matrix(counts)
    made.obs["total_counts"] = counts.sum(axis=1)
    regions = pd.Series(np.where(deep, "deep", "shallow"), made.obs_names)
    said = region_profile.zeros_sentence(made, regions, list(made.var_names), "A1")
    region, own, alike = re.match(
        r"As Pearson residual (\w+) of A1 stands at (\S+), and at \*\*(\S+)\*\*", said
    ).groups()
    assert float(own) - float(alike) > 0.2 if region == "shallow" else float(alike) - float(own) > 0.2


def test_without_zeros_no_region_moves(section):
    regions = pd.Series(["deep", "deep", "dense"], index=["a", "b", "d"])
    said = region_profile.zeros_sentence(section, regions, ["g", "h"], "A1")
    assert said.endswith("no region of A1 would move by 0.05.")
