"""Ranks among samples: uniform where samples are drawn as the measured values are, however few and whatever repeats."""

import numpy as np
import pytest
from scipy import stats

from helpers.scores.pit import pit, within

SPOTS, GENES, SAMPLES = 400, 30, 20


def drawn(shift=0.0, seed=0):
    """Measured values with a mean of their own each, and samples around the same means, or shifted."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(SPOTS, GENES))
    measured = mean + rng.normal(size=mean.shape)
    return measured, mean + shift + rng.normal(size=(SAMPLES, *mean.shape))


def uniform(ranks):
    return stats.kstest(ranks.ravel(), "uniform").pvalue > 0.01


@pytest.mark.parametrize("n", [1, 2, 7, SAMPLES])
def test_few_samples_are_as_uniform_as_many(n):
    measured, samples = drawn()
    assert uniform(pit(measured, samples[:n]))


def test_ties_are_broken_by_chance():
    """Counts repeat: samples of the same few values as the measured ones are as uniform as any."""
    rng = np.random.default_rng(0)
    measured, samples = rng.poisson(0.5, (SPOTS, GENES)), rng.poisson(0.5, (SAMPLES, SPOTS, GENES))
    assert uniform(pit(measured, samples))


def test_a_rank_by_hand():
    samples = np.array([1.0, 2, 3]).reshape(3, 1, 1)
    for value, low, high in ((0, 0, 0.25), (2.5, 0.5, 0.75), (9, 0.75, 1), (2, 0.25, 0.75)):
        pits = [pit(np.full((1, 1), float(value)), samples, seed).item() for seed in range(200)]
        assert low <= min(pits) < low + 0.05 and high - 0.05 < max(pits) <= high


def test_a_level_that_no_spot_could_tell_is_told_from_scatter():
    """Another depth shifts a whole section: all samples lie above, and yet the scatter is right."""
    measured, samples = drawn(shift=4)
    assert pit(measured, samples).mean() < 0.1
    assert uniform(pit(within(measured), within(samples)))


def test_a_level_is_taken_over_spots_and_samples():
    values = np.array([[[1.0, 10], [3, 10]], [[5, 20], [7, 20]]])
    np.testing.assert_array_equal(within(values), [[[-3, -5], [-1, -5]], [[1, 5], [3, 5]]])
    np.testing.assert_array_equal(within(values[0]), [[-1, 0], [1, 0]])


def test_what_does_not_match_is_refused():
    measured, samples = drawn()
    with pytest.raises(ValueError, match=r"samples of shape \(20, 399, 30\) for values of shape \(400, 30\)"):
        pit(measured, samples[:, :-1])
    samples[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        pit(measured, samples)
