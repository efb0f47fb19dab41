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


@pytest.mark.parametrize("rank", [False, True])
def test_products_of_unit_columns_are_correlations(rng, rank):
    A, B = rng.poisson(3, (30, 5)), rng.normal(size=(30, 5))
    products = columns.unit(A, rank).T @ columns.unit(B, rank)
    np.testing.assert_allclose(products, np.array([columns.spearman(A, b) if rank else _r(A, b) for b in B.T]).T)
    np.testing.assert_allclose((columns.unit(A, rank) ** 2).sum(axis=0), 1)
    np.testing.assert_allclose(columns.unit(A, rank).sum(axis=0), 0, atol=1e-12)
    np.testing.assert_array_equal(columns.unit(B[:, 0], rank), columns.unit(B[:, :1], rank))


def _r(A, b):
    return [np.corrcoef(a, b)[0, 1] for a in A.T]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_rounding_makes_no_column_vary_in_any_unit(rng, scale):
    """A column that varies by a millionth of its level does vary, one that varies by its last digit does not."""
    noise = rng.normal(size=30)
    values = scale * np.column_stack([np.full(30, 0.1), 5 + 1e-15 * noise, 5 + 5e-6 * noise, 1e-9 * noise])
    for found in (np.isnan(columns.unit(values)).any(axis=0), np.isnan(columns.pearson(values, values))):
        assert found.tolist() == [True, True, False, False]


def test_unit_columns_refuse_what_is_not_finite(rng):
    values = rng.normal(size=(10, 3))
    values[4, 0] = values[4, 2] = np.nan
    values[7, 1] = np.inf
    with pytest.raises(ValueError, match="not finite in 2 of 10 spots: leave these out on both sides"):
        columns.unit(values)


@pytest.mark.parametrize("correlate", [columns.spearman, columns.pearson])
def test_correlations_refuse_different_spots(correlate):
    with pytest.raises(ValueError, match="same spots"):
        correlate(np.ones((3, 2)), np.ones((4, 2)))


def test_a_whole_transcriptome_takes_under_two_seconds(rng):
    X, y = rng.poisson(0.5, (700, 15_000)).astype(np.float32), rng.normal(size=700)
    start = process_time()  # not the clock on the wall: the machine may be busy with other work
    columns.spearman(X, y)
    assert process_time() - start < 2


@pytest.mark.parametrize("shape", [(1, 4), (6, 4), (7, 4), (7,), (5, 3, 2)])
def test_medians_are_numpy_s_to_the_last_digit(shape):
    X = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(columns.medians(X), np.median(X, axis=0))
