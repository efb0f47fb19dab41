"""Calibration: samples of the truth are uniform and cover as they say, others show what is wrong with them."""

import numpy as np
import pytest
from scipy import stats

from helpers.scores import calibration
from helpers.scores.pit import pit

SPOTS, GENES, SAMPLES = 400, 30, 20
EACH = SPOTS * GENES


def drawn(spread=1.0, shift=0.0, seed=0):
    """Measured values with a mean of their own each, and samples around the same means, too narrow or shifted."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(SPOTS, GENES))
    measured = mean + rng.normal(size=mean.shape)
    return measured, mean + shift + spread * rng.normal(size=(SAMPLES, *mean.shape))


def density(ranks):
    return calibration.pit_histogram(ranks, 10)["density"].to_numpy()


def covered(ranks, share):
    return calibration.coverage(calibration.pit_histogram(ranks), share)


def test_samples_of_the_truth_are_uniform_and_cover_what_they_promise():
    ranks = pit(*drawn())
    assert stats.kstest(ranks.ravel(), "uniform").pvalue > 0.01
    np.testing.assert_allclose(density(ranks), 1, atol=4 * np.sqrt(10 / EACH))
    for share in calibration.SHARES:
        error = np.sqrt(share * (1 - share) / EACH)
        assert covered(ranks, share) == pytest.approx(share, abs=4 * error)


def test_samples_too_close_together_give_a_u_and_cover_too_little():
    ranks = pit(*drawn(spread=0.3))
    histogram = density(ranks)
    assert histogram[[0, -1]].min() > 2 > 0.8 > histogram[4:6].max()
    assert covered(ranks, 0.9) < 0.6


def test_samples_too_far_apart_give_a_hump_and_shifted_ones_a_slope():
    wide, high = (density(pit(*drawn(**how))) for how in ({"spread": 3}, {"shift": 2}))
    assert wide[[0, -1]].max() < 0.5 < 1.3 < wide[4:6].min()
    assert high[0] > 3 and high[-1] < 0.1


def test_coverage_is_what_lies_in_the_middle():
    ranks = np.array([0.01, 0.03, 0.2, 0.26, 0.5, 0.74, 0.76, 0.94, 0.96, 0.99])
    assert covered(ranks, 0.5) == pytest.approx(0.3)
    assert covered(ranks, 0.9) == pytest.approx(0.6)


def test_rvd_by_hand():
    assert calibration.rvd([1, 2, 4], [1, 1, 6]) == pytest.approx((0 + 0.25 + 0.25) / 3)
    assert calibration.rvd([1, 0], [0.5, 3]) == 0.25  # a gene that does not vary says nothing
    assert calibration.rvd([3.0, 5], [0, 0]) == 1
    assert np.isnan(calibration.rvd([0], [1]))


def test_a_sample_varies_by_what_is_predicted_and_by_what_is_not():
    measured, samples = drawn(spread=0.7)
    mean, spread = samples.mean(0), samples.std(0, ddof=1)
    table = calibration.by_gene(range(GENES), measured, mean, spread, len(samples))
    np.testing.assert_allclose(table["variance_sampled"].mean(), samples.var(axis=(0, 1)).mean(), rtol=0.01)
    np.testing.assert_allclose(table["variance_predicted"], mean.var(0))
    np.testing.assert_allclose(table["mean_measured"], measured.mean(0))


def test_what_noise_adds_to_the_variance_of_a_mean_is_taken_out():
    """4 samples of 5,000 spots around an expectation of variance 1, with noise of variance 4."""
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(5000, 3)) + 2 * rng.normal(size=(4, 5000, 3))
    np.testing.assert_allclose(samples.mean(axis=0).var(axis=0), 2, atol=0.15)
    np.testing.assert_allclose(calibration.variance_of_expectation(samples), 1, atol=0.15)
    assert np.isnan(calibration.variance_of_expectation(samples[:1])).all()
