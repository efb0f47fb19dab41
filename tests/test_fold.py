"""With `panel: fold` a held-out section leaves no trace in the panel, the scaling or the weights."""

import numpy as np
import pytest

from helpers import schema
from helpers.cohort import sections, simulate
from helpers.models import backbones
from helpers.targets import normalization
from helpers.targets.panel import choose_panel, gene_statistics


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    names = {"A1": 3000, "A2": 2500, "B1": 2000}
    simulate.write_cohort(root, sections=names, lattice=(6, 5), n_genes=200, images=False)
    read = {name: sections.drop_spots(sections.read("her2st", root, name)) for name in names}
    for seed, section in enumerate(read.values()):
        rng = np.random.default_rng(seed)
        section.obs["n_nuclei"] = rng.poisson(20, section.n_obs)
        section.obsm[schema.PATCH] = rng.normal(size=(section.n_obs, 4)).astype(np.float32)
    return read


def fold(cohort, held_out, backbone):
    statistics = {name: gene_statistics(section, 60) for name, section in cohort.items()}
    panel = choose_panel(statistics, 20, exclude=[held_out])
    targets = {}
    for name, section in cohort.items():
        targets[name] = section[:, panel].copy()
        targets[name].layers["pearson_residual"] = normalization.target(section, "pearson_residual", panel)
    arguments = {"genes": panel, "prepare": normalization.clip, "steps": 20, "calls": 4}
    prediction = backbones.predict(targets, held_out, "pearson_residual", backbone, **arguments)
    return panel, prediction.layers[schema.PREDICTED], prediction.layers[schema.MEASURED]


@pytest.mark.parametrize("backbone", ["ridge", "place", "stem"])
def test_other_counts_in_the_held_out_section_change_nothing_but_its_own_target(cohort, backbone):
    panel, predicted, measured = fold(cohort, "B1", backbone)
    other = {name: section.copy() for name, section in cohort.items()}
    counts = other["B1"].layers[schema.COUNTS]
    counts.data = np.random.default_rng(9).permutation(counts.data) * 3
    other["B1"].obs["total_counts"] = normalization.summed_counts(other["B1"])
    other_panel, other_predicted, other_measured = fold(other, "B1", backbone)
    assert panel == other_panel
    np.testing.assert_array_equal(predicted, other_predicted)
    assert not np.allclose(measured, other_measured)


def test_the_replication_panel_does_see_it(cohort):
    """The declared exception, as published: with `panel: all` the same change moves the panel."""
    other = {name: section.copy() for name, section in cohort.items()}
    counts = other["B1"].layers[schema.COUNTS]
    counts.data = np.random.default_rng(9).permutation(counts.data) * 30
    panels = [choose_panel({n: gene_statistics(s, 60) for n, s in c.items()}, 20) for c in (cohort, other)]
    assert panels[0] != panels[1]
