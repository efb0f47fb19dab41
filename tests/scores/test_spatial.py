"""Twin of helpers/scores/spatial.py."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from helpers.columns import pearson, spearman
from helpers.scores import spatial


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def grid(width=14, height=12, drop=20):
    """A tissue-like outline: a lattice with a corner cut and one spot far from all others."""
    xy = np.array([(x, y) for x in range(width) for y in range(height)], float)[drop:]
    return np.vstack([xy, [[width + 5, height + 5]]])


def test_inner_spots_have_eight_neighbours_also_when_they_jitter(rng):
    xy = np.array([(x, y) for x in range(5) for y in range(5)], float)
    for lattice in (xy, xy + rng.uniform(-0.08, 0.08, xy.shape)):
        degree = spatial.neighbours(lattice).sum(axis=0).reshape(5, 5)
        assert (degree[1:-1, 1:-1] == 8).all()
        assert degree[0, 0] == 3
        assert degree[0, 2] == 5
    assert spatial.neighbours(grid())[-1].sum() == 0


def test_neighbours_are_sought_in_lattice_steps_and_distances_in_any_unit():
    xy = grid()
    with pytest.raises(ValueError, match="array coordinates"):
        spatial.moran_basis(290 * xy, weights="neighbours")
    x = xy @ [1.0, 0.3] + np.sin(xy[:, 1])
    draws = spatial.moran_randomize(x, spatial.moran_basis(xy), 5)
    np.testing.assert_allclose(spatial.moran_randomize(x, spatial.moran_basis(290 * xy), 5), draws, atol=1e-8)
    with pytest.raises(ValueError, match="weights 'knn' are neither distance nor neighbours"):
        spatial.moran_basis(xy, weights="knn")


@pytest.mark.parametrize("weights", ["distance", "neighbours"])
def test_moran_basis_is_orthonormal_and_centred(weights):
    xy = grid()
    basis = spatial.moran_basis(xy, weights=weights)
    assert basis.shape == (len(xy), len(xy) - 1)
    np.testing.assert_allclose(basis.T @ basis, np.eye(len(xy) - 1), atol=1e-10)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-10)


# Covariance of a map over distance in lattice steps: short, middle and long range.
RANGES = {
    "exponential 1": lambda d: np.exp(-d),
    "exponential 8": lambda d: np.exp(-d / 8),
    "gaussian 3 and noise": lambda d: np.exp(-((d / 3) ** 2)) + 0.4 * (d == 0),
    "gaussian 10 and noise": lambda d: np.exp(-((d / 10) ** 2)) + 0.4 * (d == 0),
}


def moran_i(x, matrix):
    z = x - x.mean(axis=0)
    return np.einsum("i...,ij,j...->...", z, matrix, z) / (z**2).sum(axis=0) * len(z) / matrix.sum()


@pytest.mark.parametrize("weights", ["distance", "neighbours"])
def test_randomized_maps_keep_mean_variance_and_morans_i(rng, weights):
    xy = grid()
    x = np.linalg.cholesky(RANGES["gaussian 3 and noise"](cdist(xy, xy))) @ rng.normal(size=len(xy))
    basis = spatial.moran_basis(xy, weights=weights)
    draws = spatial.moran_randomize(x, basis, n_draws=50)
    matrix = spatial.neighbours(xy).toarray() if weights == "neighbours" else 1 - cdist(xy, xy) / cdist(xy, xy).max()
    np.testing.assert_allclose(draws.mean(axis=0), x.mean())
    np.testing.assert_allclose(draws.var(axis=0), x.var())
    np.testing.assert_allclose(moran_i(draws, matrix), moran_i(x, matrix))
    adjacency = spatial.neighbours(xy).toarray()
    assert moran_i(draws, adjacency).mean() == pytest.approx(moran_i(x, adjacency), abs=0.1)
    assert moran_i(x, adjacency) > 0.4 > 0.1 > abs(moran_i(rng.permutation(x), adjacency))
    assert np.abs(pearson(draws, np.tile(x[:, None], 50))).mean() < 0.5  # and are other maps
    np.testing.assert_array_equal(draws, spatial.moran_randomize(x, basis, n_draws=50))


@pytest.fixture(scope="module")
def lattice():
    xy = grid(18, 16)
    return xy, spatial.moran_basis(xy), spatial.moran_basis(xy, weights="neighbours")


@pytest.mark.parametrize("covariance", RANGES.values(), ids=RANGES)
@pytest.mark.parametrize("skewed", [False, True])
def test_a_nominal_5_percent_test_of_unrelated_maps_rejects_3_to_7(rng, lattice, covariance, skewed):
    xy, distance, neighbours = lattice
    fields = np.linalg.cholesky(covariance(cdist(xy, xy))) @ rng.normal(size=(len(xy), 140))
    X, Y = np.hsplit(np.exp(fields) if skewed else fields, 2)
    for rank in (False, True):
        assert 0.03 < spatial.type_one_error(X, Y, distance, rank, n_draws=99) < 0.07
    long = covariance(8) > 0.3
    assert spatial.type_one_error(X, Y[:, :20], rank=True, n_draws=99) > (0.5 if long else 0.1)
    if long:
        assert spatial.type_one_error(X, Y, neighbours, rank=True, n_draws=99) > 0.1


def test_ranks_are_randomized_and_not_ranked_afterwards(rng, lattice):
    """Exponentials of smooth maps: draws of the values are less skewed than the map, and their ranks other maps."""
    xy, basis, _ = lattice
    fields = np.linalg.cholesky(RANGES["gaussian 3 and noise"](cdist(xy, xy))) @ rng.normal(size=(len(xy), 100))
    X, Y = np.hsplit(np.exp(fields), 2)
    observed = spearman(X, Y)

    def rejected(prepare):
        draws = [spatial.moran_randomize(prepare(y), basis, 99, k) for k, y in enumerate(Y.T)]
        p = [spatial.p_values(observed[:, k], spearman(X, draw)) for k, draw in enumerate(draws)]
        return (np.array(p) <= 0.05).mean()

    assert rejected(lambda y: y) > 0.08
    assert rejected(stats.rankdata) < 0.07


def test_two_seeds_give_the_same_null_and_balanced_signs_are_why(rng, lattice):
    """A smooth map lies on few components, so that a thousand independent signs leave hundredths."""
    xy, basis, _ = lattice
    X, y = xy[:, :1] + rng.normal(size=(len(xy), 30)), xy.sum(axis=1) + rng.normal(size=len(xy))
    medians = [np.median(np.abs(spatial.null_correlations(X, y, basis, seed=seed)[1]), axis=0) for seed in range(6)]
    levels = np.array([(null.mean(), np.quantile(null, 0.95)) for null in medians])
    assert np.ptp(levels, axis=0).max() < 0.005
    balanced = spatial._signs(basis.shape[1], 1024, 0)
    by_lot = rng.choice([-1.0, 1.0], size=balanced.shape)
    smoothest = [abs((signs[-1] * signs[-2]).mean()) for signs in (balanced, by_lot)]
    assert smoothest[0] < 0.002 and set(np.unique(balanced)) == {-1, 1}


def test_null_correlations_are_those_of_maps_drawn_one_by_one(rng, lattice):
    xy, basis, _ = lattice
    X, y = rng.poisson(2, (len(xy), 6)) + xy[:, :1], xy[:, 1] + rng.normal(size=len(xy))
    for rank in (False, True):
        ranked = stats.rankdata if rank else np.asarray
        correlate = stats.spearmanr if rank else stats.pearsonr
        observed, null = spatial.null_correlations(X, y, basis, rank, n_draws=20, seed=3)
        np.testing.assert_allclose(observed, [correlate(x, y).statistic for x in X.T])
        draws = spatial.moran_randomize(ranked(y), basis, 20, seed=3)
        each = [[stats.pearsonr(ranked(x), draw)[0] for draw in draws.T] for x in X.T]
        np.testing.assert_allclose(null, each, rtol=1e-4, atol=1e-6)


def test_predictions_are_paired_with_their_gene_and_randomized_alike(rng, lattice):
    xy, basis, _ = lattice
    measured, predicted = rng.normal(size=(2, len(xy), 4)) + xy[:, :1] / 5
    observed, null = spatial.null_correlations(measured, predicted, basis, n_draws=20, seed=1)
    np.testing.assert_allclose(observed, pearson(measured, predicted))
    for gene in range(4):
        alone = spatial.null_correlations(measured[:, gene], predicted[:, gene], basis, n_draws=20, seed=1)
        np.testing.assert_allclose(null[[gene]], alone[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("columns", [1, 3])
def test_without_a_basis_spots_are_shuffled(rng, columns):
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, columns))
    observed, null = spatial.null_correlations(X, Y, rank=True, n_draws=4_000)
    assert null.shape == (3, 4_000)
    np.testing.assert_allclose(null.std(axis=1), 1 / np.sqrt(39), rtol=0.05)  # of Spearman's rho without ties
    expected = [stats.spearmanr(X[:, j], Y[:, j % columns]).pvalue for j in range(3)]
    np.testing.assert_allclose(spatial.p_values(observed, null), expected, atol=0.03)


def test_constant_maps_have_no_null_and_missing_values_are_refused(lattice):
    xy, basis, _ = lattice
    X = np.column_stack([xy[:, 0], np.full(len(xy), 0.1)])
    observed, null = spatial.null_correlations(X, xy[:, 1], basis, rank=True, n_draws=9)
    assert np.isnan(observed[1])
    assert np.isnan(null[1]).all()
    np.testing.assert_array_equal(np.isnan(spatial.p_values(observed, null)), [False, True])
    with pytest.raises(ValueError, match="not finite"):
        spatial.null_correlations(np.where(X == 3, np.nan, X), xy[:, 1], basis)
    with pytest.raises(ValueError, match="values on a basis of"):
        spatial.null_correlations(X[1:], xy[1:, 1], basis)


def test_p_values_by_hand():
    null = np.array([[-3.0, 1, 2, 0], [-3, 1, 2, 0]])
    np.testing.assert_allclose(spatial.p_values([2, -2.5], null), [3 / 5, 2 / 5])
    np.testing.assert_allclose(spatial.p_values([2, -2.5], null, "greater"), [2 / 5, 4 / 5])
    assert spatial.p_values(0.5, np.zeros(99)) == 0.01
    with pytest.raises(ValueError, match="neither two-sided nor greater"):
        spatial.p_values(0.5, null, "less")


def test_effective_n_is_the_number_of_spots_for_noise_and_far_less_for_smooth_maps(rng, lattice):
    xy, basis, _ = lattice
    n = len(xy)
    noise = rng.normal(size=(n, 100))
    assert np.median(spatial.effective_n(noise, noise[:, ::-1], basis)) == pytest.approx(n, rel=0.1)
    smooth = np.linalg.cholesky(RANGES["exponential 8"](cdist(xy, xy))) @ rng.normal(size=(n, 100))
    X, y = smooth[:, 1:], smooth[:, 0]
    assert np.median(spatial.effective_n(X, y, basis, rank=True)) < n / 5
    null = spatial.null_correlations(X, y, basis, rank=True)[1]
    np.testing.assert_allclose(spatial.effective_n(X, y, basis, rank=True), 1 + 1 / null.var(axis=1), rtol=0.2)


# Large sections -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large():
    """A section of 1,204 spots with its exact bases, and those it would have, were it large: plain, and given place."""
    xy = grid(36, 34)
    given = (None, spatial.place_and_border(xy))
    exact = [spatial.moran_basis(xy, fixed=fixed) for fixed in given]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spatial, "EXACT", 600)
        yield xy, exact, [spatial.moran_basis(xy, fixed=fixed) for fixed in given]


@pytest.mark.parametrize(("tile", "maps"), [(500, 40), (70, 10)], ids=["tiles", "tiles of tiles"])
def test_tiled_maps_hold_all_of_a_variable_but_what_is_taken_out(rng, large, monkeypatch, tile, maps):
    xy, (_, exact), _ = large
    for name, value in {"TILE": tile, "MAPS": maps, "MOST_TILES": 4}.items():
        monkeypatch.setattr(spatial, name, value)
    x, y = fields = rng.normal(size=(2, len(xy))) + xy[:, 0]
    plain, given = spatial.moran_basis(xy), spatial.moran_basis(xy, fixed=spatial.place_and_border(xy))
    assert isinstance(plain.tiles[0][1], spatial.Tiled) == (tile == 70)
    np.testing.assert_allclose(plain.smooth.T @ plain.smooth, np.eye(plain.smooth.shape[1]), atol=1e-5)
    np.testing.assert_allclose(plain @ (plain.T @ x), x - x.mean(), atol=1e-4)
    np.testing.assert_allclose(given @ (given.T @ fields.T), exact @ (exact.T @ fields.T), atol=1e-4)
    np.testing.assert_allclose(given.T @ xy, 0, atol=1e-4)
    assert spatial.null_correlations(x, y, plain, n_draws=1)[0] == pytest.approx(np.corrcoef(x, y)[0, 1])
    partial = spatial.null_correlations(x, y, given, n_draws=1)[0]
    assert partial == pytest.approx(spatial.null_correlations(x, y, exact, n_draws=1)[0], abs=1e-5)
    draws = spatial.moran_randomize(x, plain, 20)
    np.testing.assert_allclose(draws.mean(axis=0), x.mean(), atol=1e-4)
    np.testing.assert_allclose(draws.var(axis=0), x.var(), rtol=0.2)


@pytest.mark.parametrize("covariance", RANGES.values(), ids=RANGES)
def test_the_null_of_a_large_section_is_the_exact_one(rng, large, covariance):
    """One gene's, and that of the mean of the best 10 of 40 genes, in which they have to go together as they do."""
    xy, exact, tiled = large
    maps = np.linalg.cholesky(covariance(cdist(xy, xy))) @ rng.normal(size=(len(xy), 80))
    maps += 0.5 * rng.normal(size=(len(xy), 1)) + xy[:, :1] / 50
    X, Y = np.hsplit(maps, 2)
    for one, other in zip(exact, tiled, strict=True):
        of_exact, of_tiled = (spatial.null_correlations(X, Y, basis)[1] for basis in (one, other))
        points = [np.quantile(np.abs(null), 0.95, axis=1) for null in (of_exact, of_tiled)]
        np.testing.assert_allclose(np.median(points[1] / points[0]), 1, atol=0.03)
        best = [np.quantile(np.sort(null, axis=0)[-10:].mean(axis=0), 0.95) for null in (of_exact, of_tiled)]
        assert best[1] == pytest.approx(best[0], rel=0.03)
        n_effective = [np.median(spatial.effective_n(X, Y, basis)) for basis in (one, other)]
        assert n_effective[1] == pytest.approx(n_effective[0], rel=0.06)


def test_a_test_at_5_percent_of_a_large_section_rejects_3_to_7(rng, large):
    xy, _, (tiled, _) = large
    fields = np.linalg.cholesky(RANGES["exponential 1"](cdist(xy, xy))) @ rng.normal(size=(len(xy), 80))
    assert 0.03 < spatial.type_one_error(fields[:, 30:], fields[:, :30], tiled, rank=True, n_draws=99) < 0.07


def test_products_of_a_spot_are_those_with_its_tile_and_twice_those_with_the_smooth_maps(rng):
    basis = spatial.moran_basis(rng.random((2100, 2)))
    assert len(basis.tiles) == 5
    assert spatial.products_of_a_spot(2100) == 2 * basis.smooth.shape[1] + len(basis.tiles[0][0]) == 820
