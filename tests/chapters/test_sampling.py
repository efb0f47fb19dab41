"""Twin of helpers/chapters/sampling.py."""

import numpy as np
import pytest

from helpers.chapters.sampling import ladder
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


# --- ladder ---


def test_the_ladder_counts_calls_and_compares_with_its_first_rung(linear, fitted):
    y, x, _ = linear
    table = ladder(fitted, y[200:], x[200:], [{"sampler": "ddim", "calls": 20}, {"sampler": "mean", "n_samples": 2}])
    assert table["network_calls"].tolist() == [400, 2] and table["times_fewer"].tolist() == [1, 200]
    assert table["pcc_difference"][0] == 0 < table["pcc_difference"][1]
    samples = sampling.sample(fitted, y[200:], sampler="ddim", calls=20, antithetic=False)
    mean = samples.mean(0)
    assert table["pcc"][0] == pytest.approx(mean_r(mean, x[200:]), abs=1e-5)
    rvd = np.mean((mean.var(0) - x[200:].var(0)) ** 2 / x[200:].var(0) ** 2)
    assert table["rvd"][0] == pytest.approx(rvd, rel=1e-4)
    pairs = ladder(fitted, y[200:], x[200:], [{"sampler": "sde", "calls": 5, "n_samples": 2, "antithetic": True}])
    assert pairs["rvd_expectation"].isna().all() and table["rvd_expectation"].notna().all()  # one pair says nothing
    pooled = samples.reshape(-1, 8).var(0)
    assert table["rvd_samples"][0] == pytest.approx(np.mean((pooled / x[200:].var(0) - 1) ** 2), rel=1e-4)
    assert table["spread"][0] == pytest.approx(samples.std(0).mean(), rel=1e-4)
