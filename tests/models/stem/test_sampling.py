"""Twin of helpers/models/stem/sampling.py."""

import numpy as np
import pytest
import torch

from helpers.models.stem import sampling, training

TINY = {"hidden_size": 16, "depth": 1, "n_heads": 2, "batch_size": 16, "precision": "float32"}


@pytest.fixture(scope="module")
def linear():
    """240 spots whose 8 genes are a linear function of 2 of 16 conditions, plus noise."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(240, 16)).astype("float32")
    signal = y[:, :2] @ rng.normal(size=(2, 8))
    return y, (5 + signal + 0.5 * rng.normal(size=(240, 8))).astype("float32"), signal


@pytest.fixture(scope="module")
def fitted(linear):
    y, x, _ = linear
    return training.fit(y[:200], x[:200], seed=1, **TINY, steps=400, condition_noise=0.3)


def mean_r(predicted, true):
    return np.mean([np.corrcoef(p, t)[0, 1] for p, t in zip(predicted.T, true.T, strict=True)])


def test_learns_a_linear_function_of_the_conditions(linear, fitted):
    y, x, signal = linear
    samples = sampling.sample(fitted, y[200:], sampler="sde")
    assert samples.shape == (10, 40, 8)
    r = mean_r(samples.mean(0), signal[200:])
    assert r > 0.8, r
    # Samples are draws, not copies of the mean: their spread is that of the targets.
    np.testing.assert_allclose(samples[0].std(0).mean(), x.std(0).mean(), rtol=0.25)
    np.testing.assert_allclose(samples.mean((0, 1)), x[:200].mean(0), atol=0.5)
    assert fitted["loss"][-10:, 1].mean() < 0.8 * fitted["loss"][0, 1]


def test_conditions_of_other_spots_predict_nothing(linear, fitted):
    y, _, signal = linear
    wrong = np.random.default_rng(1).permutation(y[200:])
    assert abs(mean_r(sampling.sample(fitted, wrong, n_samples=2).mean(0), signal[200:])) < 0.3


@pytest.fixture(scope="module")
def published_samples(linear, fitted):
    return sampling.sample(fitted, linear[0][:16], n_samples=8, sampler="ancestral", antithetic=False).reshape(-1, 8)


@pytest.mark.parametrize("sampler", ["ddim", "dpm", "sde"])
def test_few_calls_draw_from_what_a_thousand_do(linear, fitted, published_samples, sampler):
    """Over spots and samples, per gene: same mean, same spread."""
    few = sampling.sample(fitted, linear[0][:16], n_samples=8, calls=20, sampler=sampler).reshape(-1, 8)
    np.testing.assert_allclose(few.mean(0), published_samples.mean(0), atol=0.4)
    np.testing.assert_allclose(few.std(0).mean(), published_samples.std(0).mean(), rtol=0.15)


def test_training_leaves_the_global_random_state_alone(linear):
    y, x, _ = linear
    torch.manual_seed(0)
    before = torch.get_rng_state()
    sampling.sample(training.fit(y, x, **TINY, steps=2), y[:2], calls=2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("scaling", ["as_is", "standardized"])
def test_gene_that_does_not_vary_stays_where_it_is(linear, scaling):
    y, x, _ = linear
    samples = sampling.sample(
        training.fit(y, np.column_stack([x, np.full(len(x), 7.3)]), **TINY, steps=5, scaling=scaling), y[:20]
    )
    np.testing.assert_array_equal(samples[..., -1], np.float32(7.3))
    assert samples[..., :-1].std(0).min() > 0


def test_noise_shared_by_all_spots_is_shared_by_those_of_another_chunk(linear, fitted, monkeypatch):
    """Spots with one patch are one spot then, wherever they stand; with noise of their own they are not."""
    alike = np.repeat(linear[0][:1], 7, axis=0)
    monkeypatch.setitem(sampling.ROWS, "cpu", 6)
    one = {"sampler": "sde", "calls": 3, "n_samples": 2}
    shared, own = (sampling.sample(fitted, alike, shared=shared, **one) for shared in (True, False))
    np.testing.assert_allclose(shared, np.repeat(shared[:, :1], 7, axis=1), rtol=1e-4, atol=1e-5)
    assert np.abs(own - own[:, :1])[:, 1:].max(axis=(0, 2)).min() > 0.1
