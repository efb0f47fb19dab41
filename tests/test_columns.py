"""Twin of helpers/columns.py."""

from time import process_time

import numpy as np
import pytest
from scipy import stats

from helpers import columns


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_spearman_is_scipys_with_ties_and_constants(rng):
    X, y = rng.poisson(0.7, (60, 20)).astype(float), rng.poisson(5, (60, 2)).astype(float)
    X[:, 3] = 4.0
    rho = columns.spearman(X, y)
    assert np.isnan(rho[3]).all()
    for gene in (0, 1, 2, 19):
        for j in (0, 1):
            assert rho[gene, j] == pytest.approx(stats.spearmanr(X[:, gene], y[:, j]).statistic, abs=1e-12)
    np.testing.assert_allclose(columns.spearman(X, y[:, 0]), rho[:, 0], atol=1e-12)


def test_spearman_knows_no_monotone_transform(rng):
    X, y = rng.poisson(3, (50, 5)), rng.normal(size=50)
    np.testing.assert_allclose(columns.spearman(np.log2(X + 1), y), columns.spearman(X, y), atol=1e-12)
    np.testing.assert_allclose(columns.spearman(-X, y), -columns.spearman(X, y), atol=1e-12)


def test_a_missing_value_leaves_no_number(rng):
    X = rng.normal(size=(10, 2))
    X[4, 0] = np.nan
    rho = columns.spearman(X, np.arange(10))
    assert np.isnan(rho[0])
    assert np.isfinite(rho[1])


def test_pearson_is_numpys_and_nan_for_constants(rng):
    A, B = rng.normal(size=(40, 4)), rng.normal(size=(40, 4))
    A[:, 1], B[:, 2] = 0.1, 1e6 / 3
    r = columns.pearson(A, B)
    assert np.isnan(r[[1, 2]]).all()
    assert r[0] == pytest.approx(np.corrcoef(A[:, 0], B[:, 0])[0, 1], abs=1e-12)


@pytest.mark.parametrize("correlate", [columns.spearman, columns.pearson])
def test_correlations_refuse_different_spots(correlate):
    with pytest.raises(ValueError, match="same spots"):
        correlate(np.ones((3, 2)), np.ones((4, 2)))


def test_a_whole_transcriptome_takes_under_two_seconds(rng):
    X, y = rng.poisson(0.5, (700, 15_000)).astype(np.float32), rng.normal(size=700)
    start = process_time()  # not the clock on the wall: the machine may be busy with other work
    columns.spearman(X, y)
    assert process_time() - start < 2
