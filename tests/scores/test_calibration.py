"""Calibration: samples of the truth are uniform and cover as they say, others show what is wrong with them."""

import numpy as np
import pytest
from scipy import stats

from helpers.scores import calibration

SPOTS, GENES, SAMPLES = 400, 30, 20
EACH = SPOTS * GENES


def drawn(spread=1.0, shift=0.0, seed=0):
    """Measured values with a mean of their own each, and samples around the same means, too narrow or shifted."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(SPOTS, GENES))
    measured = mean + rng.normal(size=mean.shape)
    return measured, mean + shift + spread * rng.normal(size=(SAMPLES, *mean.shape))


def density(pit):
    return calibration.pit_histogram(pit, 10)["density"].to_numpy()


def covered(pit, share):
    return calibration.coverage(calibration.pit_histogram(pit), share)


def test_samples_of_the_truth_are_uniform_and_cover_what_they_promise():
    pit = calibration.pit(*drawn())
    assert stats.kstest(pit.ravel(), "uniform").pvalue > 0.01
    np.testing.assert_allclose(density(pit), 1, atol=4 * np.sqrt(10 / EACH))
    for share in calibration.SHARES:
        error = np.sqrt(share * (1 - share) / EACH)
        assert covered(pit, share) == pytest.approx(share, abs=4 * error)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_samples_are_as_uniform_as_many(n):
    measured, samples = drawn()
    pit = calibration.pit(measured, samples[:n])
    assert stats.kstest(pit.ravel(), "uniform").pvalue > 0.01


def test_samples_too_close_together_give_a_u_and_cover_too_little():
    pit = calibration.pit(*drawn(spread=0.3))
    histogram = density(pit)
    assert histogram[[0, -1]].min() > 2 > 0.8 > histogram[4:6].max()
    assert covered(pit, 0.9) < 0.6


def test_samples_too_far_apart_give_a_hump_and_shifted_ones_a_slope():
    wide, high = (density(calibration.pit(*drawn(**how))) for how in ({"spread": 3}, {"shift": 2}))
    assert wide[[0, -1]].max() < 0.5 < 1.3 < wide[4:6].min()
    assert high[0] > 3 and high[-1] < 0.1


def test_a_level_that_no_spot_could_tell_is_told_from_scatter():
    """Another depth shifts a whole section: nothing is covered, and yet the scatter is right."""
    measured, samples = drawn(shift=4)
    assert covered(calibration.pit(measured, samples), 0.9) < 0.2
    set_right = calibration.pit(calibration.within(measured), calibration.within(samples))
    assert covered(set_right, 0.9) == pytest.approx(0.9, abs=0.01)


def test_coverage_is_what_lies_in_the_middle():
    pit = np.array([0.01, 0.03, 0.2, 0.26, 0.5, 0.74, 0.76, 0.94, 0.96, 0.99])
    assert covered(pit, 0.5) == pytest.approx(0.3)
    assert covered(pit, 0.9) == pytest.approx(0.6)


def test_ties_are_broken_by_chance():
    """Counts repeat: samples of the same few values as the measured ones are as uniform as any."""
    rng = np.random.default_rng(0)
    measured, samples = rng.poisson(0.5, (SPOTS, GENES)), rng.poisson(0.5, (SAMPLES, SPOTS, GENES))
    assert stats.kstest(calibration.pit(measured, samples).ravel(), "uniform").pvalue > 0.01


def test_a_rank_by_hand():
    samples = np.array([1.0, 2, 3]).reshape(3, 1, 1)
    for value, low, high in ((0, 0, 0.25), (2.5, 0.5, 0.75), (9, 0.75, 1), (2, 0.25, 0.75)):
        pits = [calibration.pit(np.full((1, 1), float(value)), samples, seed).item() for seed in range(200)]
        assert low <= min(pits) < low + 0.05 and high - 0.05 < max(pits) <= high


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


def test_what_does_not_match_is_refused():
    measured, samples = drawn()
    with pytest.raises(ValueError, match=r"samples of shape \(20, 399, 30\) for values of shape \(400, 30\)"):
        calibration.pit(measured, samples[:, :-1])
    samples[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        calibration.pit(measured, samples)


def test_what_noise_adds_to_the_variance_of_a_mean_is_taken_out():
    """4 samples of 5,000 spots around an expectation of variance 1, with noise of variance 4."""
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(5000, 3)) + 2 * rng.normal(size=(4, 5000, 3))
    np.testing.assert_allclose(samples.mean(axis=0).var(axis=0), 2, atol=0.15)
    np.testing.assert_allclose(calibration.variance_of_expectation(samples), 1, atol=0.15)
    assert np.isnan(calibration.variance_of_expectation(samples[:1])).all()
