"""Simulated sections: places in whole steps, the truth kept, and a switch that changes depth and nothing else."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from helpers.chapters import simulated
from helpers.cohort import simulate
from helpers.schema import COUNTS, LATTICE
from helpers.targets import normalization

SMALL = partial(simulate.section, lattice=(6, 6))
TARGETS = ["log2", "pearson_residual"]


@pytest.fixture(scope="module")
def cohorts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "section", SMALL)
        # How a panel is chosen is tested with the panel.
        patch.setattr(simulated, "gene_statistics", lambda section: section.var)
        patch.setattr(simulated, "choose_panel", lambda statistics, size: list(statistics["A1"].index[-size:]))
        return simulated.cohorts(TARGETS, n_genes=150, panel_size=20, depths={"A": 4000})


def test_places_on_the_array_count_whole_steps_from_a_common_corner():
    """Two spots a step apart in x, their pixels jittered, on arrays whose first spot has another number."""
    step = simulated.SPOT_PITCH_UM / simulated.MPP
    for first in (0, 7):
        spots = pd.DataFrame({"x": [first + 1, first + 2], "y": [first, first]}, ["a", "b"])
        spots = spots.assign(pixel_x=[1.1 * step, 2.1 * step], pixel_y=[0.1 * step, -0.1 * step])
        np.testing.assert_array_equal(simulated.array_places(spots), [[1, 0], [2, 0]])


def test_a_section_keeps_its_truth(monkeypatch):
    monkeypatch.setattr(simulate, "section", SMALL)
    profiles = simulate.gene_profiles(150)
    section = simulated.section("B2", 900, profiles)
    truth = SMALL("B2", 900, profiles, image=False)
    assert set(section.obs["patient"]) == {"B"} and section.uns["section"] == "B2"
    np.testing.assert_array_equal(section.layers[COUNTS].toarray(), truth["counts"])
    np.testing.assert_array_equal(section.obs["total_counts"], truth["counts"].sum(axis=1))
    np.testing.assert_array_equal(section.obs["n_nuclei"], truth["truth"]["n_nuclei_true"])
    np.testing.assert_array_equal(section.obsm[LATTICE], truth["spots"][["new_x", "new_y"]])


def test_cohorts_differ_in_depth_only(cohorts):
    coupled, apart = cohorts[1.0], cohorts[0.0]
    assert list(coupled) == list(apart) == ["A1", "A2"]
    for name, section in coupled.items():
        assert section.shape == apart[name].shape and section.n_vars == 20
        np.testing.assert_array_equal(section.obs["n_nuclei"], apart[name].obs["n_nuclei"])
    r = [np.corrcoef(made["A1"].obs["n_nuclei"], made["A1"].obs["total_counts"])[0, 1] for made in (coupled, apart)]
    assert r[0] > 0.5 > 0.3 > abs(r[1])


def test_library_sizes_are_those_of_all_genes(cohorts):
    section = cohorts[1.0]["A1"]
    part = section.layers[COUNTS].toarray().sum(axis=1)
    assert (part < section.obs["total_counts"]).all()
    with pytest.raises(ValueError, match="A1: the counts of its .* genes do not add up to total_counts"):
        normalization.target(section, "pearson_residual")  # of the panel, as if there were no other gene
    np.testing.assert_allclose(section.layers["log2"], np.log2(section.layers[COUNTS].toarray() + 1))
