"""Published methods: their coupling, the arm they stand at, and what is said of them."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers import schema
from helpers.chapters import published_methods
from helpers.columns import spearman


def make_section(nuclei):
    rng = np.random.default_rng(0)
    xy = np.array([(x, y) for x in range(5) for y in range(5)], float)
    section = AnnData(obs=pd.DataFrame(index=[f"{x:g}x{y:g}" for x, y in xy]), var=pd.DataFrame(index=list("ABC")))
    section.layers[schema.COUNTS] = sparse.csr_matrix(rng.poisson(5, (25, 3)).astype(np.float32))
    section.obs["total_counts"] = np.asarray(section.layers[schema.COUNTS].sum(axis=1)).ravel()
    if nuclei:
        section.obs["n_nuclei"] = rng.poisson(8, 25)
    section.obsm[schema.SPATIAL] = section.obsm[schema.LATTICE] = xy
    return section


def test_coupling_is_the_median_over_genes_and_missing_without_nuclei():
    sections = {"A1": make_section(True), "B1": make_section(False)}
    found = published_methods.published_coupling(sections, dict.fromkeys(sections, ["A", "C"]))
    assert found[["section", "transform"]].apply(tuple, axis=1).tolist() == [
        ("A1", "ST-Net"),
        ("A1", "TRIPLEX"),
        ("B1", "ST-Net"),
        ("B1", "TRIPLEX"),
    ]
    assert found["median_rho_nuclei"].notna().tolist() == [True, True, False, False]
    section = sections["A1"]
    counts, depth = section.layers[schema.COUNTS].toarray()[:, [0, 2]], section.obs["total_counts"].to_numpy()
    rho = spearman((counts + 1) / (3 + depth)[:, None], depth)
    assert found["median_rho_depth"][0] == pytest.approx(np.abs(rho).mean())


COUPLING = pd.DataFrame(
    [
        ("A1", "total", "log", 0.2, 0.1),
        ("B1", "total", "log", 0.4, np.nan),
        ("A1", "panel_total", "log", 0.3, 0.1),
        ("A1", "as coded", "ST-Net", 0.6, 0.5),
        ("A1", "as coded", "TRIPLEX", 0.5, 0.4),
    ],
    columns=["section", "size_factor", "transform", *published_methods.RHO],
)
KEPT = pd.DataFrame(
    [
        ("A1", "total", "log", "separation", 0.7, 0.4),
        ("A1", "panel_total", "log", "separation", 0.6, 0.3),
        ("A1", "as coded", "ST-Net", "separation", 0.8, 0.4),
        ("A1", "as coded", "TRIPLEX", "separation", 0.9, 0.5),
    ],
    columns=["section", "size_factor", "transform", "measure", "value", "chance"],
).assign(chance_95=0.6)
METHODS = pd.DataFrame(
    {
        "method": ["ST-Net", "Other", "Strange", "Lost"],
        "target": "t",
        "library": "all genes",
        "split": "patient",
        "size_factor": ["total", "total", np.nan, "total"],
        "transform": ["log", "sqrt", np.nan, "log"],
        "match": ["nearest", "exact", np.nan, "exact"],
        "status": ["verified", "copy", "verified", "not re-read"],
        "repository": "a/b",
        "commit": "0123456789abcdef",
        "file": "data.py",
        "line": 7,
    }
)


@pytest.fixture
def peers():
    stands_for = {("total", "log"): ("total", "log"), ("total", "sqrt"): ("total", "log")}
    return published_methods.placed_methods(METHODS, COUPLING, KEPT, stands_for)


def test_a_method_stands_at_its_own_target_or_at_the_arm_that_orders_spots_as_it_does(peers):
    assert peers["match"].tolist()[:2] == ["as coded", "exact"]
    np.testing.assert_allclose(peers["median_rho_depth"], [0.6, 0.3, np.nan, 0.3])
    np.testing.assert_allclose(peers["separation"], [0.8, 0.7, np.nan, 0.7])
    assert peers["composition"].isna().all() and METHODS["match"][0] == "nearest"


def test_methods_are_shown_with_their_arm_and_without_what_was_not_read_again(peers):
    shown = published_methods.methods_table(peers)
    assert shown["method"].tolist() == ["ST-Net", "Other", "Strange"]
    assert shown["arm"].tolist() == ["log (÷ all counts), as coded", "square root (÷ all counts), exact", ""]
    assert "separation" not in published_methods.methods_table(peers.assign(separation=np.nan))


def test_sources_name_commit_file_and_line(peers):
    found = published_methods.sources_table(peers)
    assert len(found) == 3 and found["read in"][0] == "a/b at 0123456789: data.py, line 7"


def test_copies_and_methods_not_read_again_are_named(peers):
    found = published_methods.methods_sentence(peers)
    assert "Of 4 methods and benchmarks: ÷ all counts 3, each method's own 1. Read in a copy" in found
    assert "not at hand: Other. Not re-read, and left out: Lost. {download}" in found
    verified = published_methods.methods_sentence(peers[:1])
    assert "Read in a copy" not in verified and "Not re-read" not in verified


def test_one_added_and_averaging_are_set_against_the_arm_without():
    found = published_methods.published_sentence(COUPLING, KEPT)
    assert "coupling to depth is **0.60**, against 0.30 for the log" in found
    assert "from **0.60** (mean of the null 0.30) to **0.90** (mean of the null 0.50)" in found
    assert published_methods.published_sentence(COUPLING, KEPT[:0]).endswith("falls as depth rises. ")
