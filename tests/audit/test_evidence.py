"""Where predictions lie, what they cannot know, and what counts are not: known answers on made sections."""

import numpy as np
import pytest
from made import GENES, GEOMETRIES, PANEL, Truth, as_predicted

from helpers.audit import evidence
from helpers.columns import pearson
from helpers.scores import judge, top_genes

PANEL_GENES = GENES[:PANEL]


@pytest.fixture(scope="module")
def truth():
    return Truth(GEOMETRIES["hexagonal"](), 3)


@pytest.fixture(scope="module")
def section(truth):
    return truth.section("S0", theta=1e9)


def audited(section, predicted, space="log2", doubts=()):
    return evidence.Audited(section, PANEL_GENES, predicted, space, None, list(doubts), "")


def test_a_library_of_its_own_scores_as_the_library_does(truth, section):
    composition = truth.composition()
    alone = as_predicted(truth.library(), np.tile(composition.mean(axis=0), (len(composition), 1)), "log2")
    own = evidence.own_library(audited(section, alone), 50, 19)
    r = pearson(judge.measured(section, "log2", PANEL_GENES), alone)
    assert own["own_library"] == pytest.approx(top_genes.pcc_at_k(r, 50), abs=0.005)  # levels are the measured ones
    assert 0 < own["own_library_chance_95"] < own["own_library"]
    untold = [audited(section, alone, "pearson_residual"), audited(section, alone, doubts=["?"])]
    assert all(np.isnan([*evidence.own_library(one, 50, 19).values()]).all() for one in untold)


@pytest.mark.parametrize("space", ["log2", "counts", "log1p_cp10k", "pearson_residual"])
def test_the_truth_lies_at_its_ceiling_and_the_measurement_above(truth, section, space):
    """Molecules of Poisson: nothing else may raise a ceiling. The margin of the flag is 0.03."""
    ceiling = judge.ceilings(section, space, PANEL_GENES)
    right = as_predicted(truth.library(), truth.composition(), space)
    found = evidence.evidence(audited(section, right, space), 50, ceiling, 19)
    assert abs(found["above_ceiling"]) < 0.02 and found["same_as"] == ""
    measured = judge.measured(section, space, PANEL_GENES)
    found = evidence.evidence(audited(section, 3 * measured - 1, space), 50, ceiling, 19)
    assert found["above_ceiling"] > 0.03 and found["same_as"] == space


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_shift_is_found_with_its_length(truth, section, steps):
    shift = (steps, 0)  # along a row of the lattice
    moved = as_predicted(truth.library(shift), truth.composition(shift), "log2")
    found = evidence.best_shift(audited(section, moved), judge.measured(section, "log2", PANEL_GENES), 50)
    assert found["shift"] == steps and found["shift_gain"] > 5 * found["shift_error"] and found["shift_pcc"] > 0.8


def test_a_constant_prediction_lies_nowhere(section):
    flat = np.ones((section.n_obs, PANEL))
    found = evidence.best_shift(audited(section, flat), judge.measured(section, "log2", PANEL_GENES), 50)
    assert np.isnan(found["shift_gain"])


@pytest.mark.parametrize(("geometry", "n"), [("square", 4), ("hexagonal", 6), ("outline", 4)])
def test_directions_are_those_of_the_lattice_however_it_is_turned(geometry, n):
    xy = GEOMETRIES[geometry]()
    found = evidence.directions(xy)
    assert len(found) == n
    for direction in found:  # from the spot in the middle, every direction ends on another
        middle = xy[np.argmin(np.hypot(*(xy - np.median(xy, axis=0)).T))]
        assert np.hypot(*(xy - middle - direction).T).min() < 1e-6 or geometry == "outline"


def test_partners_lie_where_the_shift_ends():
    xy = np.argwhere(np.ones((6, 5))).astype(float)
    moves = {(step, *(xy[there] - xy[here]).mean(axis=0).round(6)) for step, here, there in evidence.partners(xy)}
    assert (1, 1.0, 0.0) in moves and (2, 0.0, -2.0) in moves and (3, 3.0, 0.0) in moves
    assert (3, 0.0, 3.0) not in moves  # fewer than half of the spots have a partner there


def test_correlations_of_some_spots_are_those_of_these_alone():
    x, y = np.random.default_rng(0).normal(size=(2, 30, 4))
    kept = np.repeat([[1.0, 0.0]], 15, axis=1)
    np.testing.assert_allclose(evidence.correlations(x, y, kept)[0], pearson(x[:15], y[:15]))


def test_blocks_share_the_spots():
    assert np.bincount(evidence.blocks(GEOMETRIES["square"]())).tolist() == pytest.approx([61] * 9, abs=2)


def test_few_genes_keep_less_of_a_conversion(section):
    kept = [
        evidence.kept_by_conversion(evidence.Audited(section, GENES[:n], None, "log2", None, [], ""))
        for n in (5, 20, 100)
    ]
    assert kept[0] < 0.94 < kept[1] < kept[2]
