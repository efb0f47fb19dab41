"""Spatial nulls: what the correlation of two unrelated maps of this smoothness would be."""

import warnings

import numpy as np
from scipy.linalg import orth
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from helpers.columns import ranks, unit
from helpers.scores.paired import finite

N_DRAWS = 8192  # of a null: two seeds give the same mean and 95 % point to half a hundredth
N_DRAWS_OF_MEAN = 1024  # where nothing but the mean of a null is wanted
BALANCED = 1000  # components whose signs are balanced
EXACT = 2000  # spots, up to which a section has one basis of eigenvectors: their time grows with the cube of them
TILE, MOST_TILES, MAPS = 500, 20, 40  # of a larger one: spots of a tile, tiles, smooth maps over all for each tile
KEPT_BYTES = 2**28  # of signs
Basis = np.ndarray | LinearOperator  # of a section: spots x components
_DRAWN: dict[tuple[int, int, int], np.ndarray] = {}

# Spatial null ---------------------------------------------------------------------------------------------------


def neighbours(xy: np.ndarray, radius: float = 1.7) -> csr_array:
    """Adjacency (n x n, 0 or 1, sparse) of spots at most `radius` apart; on a square lattice of unit step the 8 around.

    `xy` is in lattice steps; measured ones jitter, so the radius lies midway between a diagonal and a double step.
    Raises ValueError where no two spots touch, as happens with pixels.

    >>> neighbours([[0, 0], [0, 1], [1, 1], [5, 5]]).sum(axis=1)
    array([2., 2., 2., 0.])
    """
    pairs = cKDTree(xy).query_pairs(radius, output_type="ndarray")
    if len(pairs) == 0:
        raise ValueError(
            f"no two of {len(xy)} spots lie within {radius} lattice steps: "
            "give array coordinates, not pixels, of a section with more than scattered spots"
        )
    here, there = np.vstack([pairs, pairs[:, ::-1]]).T
    return csr_array((np.ones(len(here)), (here, there)), shape=(len(xy), len(xy)))


def place_and_border(xy: np.ndarray) -> np.ndarray:
    """What place alone says of a spot, for `moran_basis` to hold fixed: x, y and distance to the border, n x 3.

    The border lies where no spot is within one step, the median distance to the nearest spot; holes have one too.
    """
    xy = np.asarray(xy, float)
    step = np.median(cKDTree(xy).query(xy, 2)[0][:, 1])
    axes = [
        np.arange(low - 2 * step, high + 2 * step, step / 2) for low, high in zip(xy.min(0), xy.max(0), strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    empty = grid[cKDTree(xy).query(grid)[0] > step]
    return np.column_stack([xy, cKDTree(empty).query(xy)[0]])


def moran_basis(
    xy: np.ndarray, radius: float = 1.7, weights: str = "distance", fixed: np.ndarray | None = None
) -> Basis:
    """Moran's eigenvector maps of a section: n x (n - 1), orthonormal, each of mean zero; for every variable on it.

    Eigenvectors of doubly centred spatial weights, which fall linearly with `distance` over the whole section (in any
    unit) or are 1 for `neighbours` within `radius` lattice steps and 0 beyond. The maps must carry smooth variables
    with uncorrelated coefficients. Those of neighbours vanish at the border, so a gradient spreads over many of them
    with signs that belong together; those of distance do not (`moran_randomize` has the rates).
    With k independent covariates `fixed` the maps are those of what they leave, n x (n - 1 - k), and every
    correlation on them is a partial one: what is stationary but for a trend is tested as such.
    Of more spots than EXACT, by distance, the maps are `Tiled`, which are used alike: eigenvectors of a square matrix
    take a time that grows with the cube of spots. The standard deviation of the null of random fields is within 2 % of
    that of eigenvectors at 3,300 spots, and within 3 % of the true one at 22,000 (scripts/type_one_error.py).
    Dray, Legendre & Peres-Neto 2006, doi 10.1016/j.ecolmodel.2006.02.015 (distance: their weights f1, all connected).

    >>> moran_basis(np.argwhere(np.ones((3, 3)))).shape
    (9, 8)
    """
    if weights not in ("distance", "neighbours"):
        raise ValueError(f"weights {weights!r} are neither distance nor neighbours")
    n = len(xy)
    # Covariates that are constant, or follow from each other, take out no more than what is left of them.
    out = orth(np.column_stack([np.ones(n) / np.sqrt(n), *([] if fixed is None else np.nan_to_num(unit(fixed)).T)]))
    if weights == "distance" and n > EXACT:
        return Tiled(xy, out)
    matrix = -cdist(xy, xy) if weights == "distance" else neighbours(xy, radius).toarray()
    centred = matrix - out @ (out.T @ matrix)
    centred -= (centred @ out) @ out.T
    # What is taken out has eigenvalue 0, as other maps may: lifted above all, it can be told apart and dropped.
    lift = 2 * np.abs(matrix).sum(axis=1).max() + 1
    return np.linalg.eigh(centred + lift * out @ out.T)[1][:, : n - out.shape[1]]


class Tiled(LinearOperator):
    """Maps of a large section, in place of its `moran_basis`: spots x components, a matrix that is never formed.

    The last components are `smooth` maps over the whole of it (orthonormal, the smoothest last). What these leave lies
    in tiles, each with maps of its own, or tiles again. Together they hold all of a variable but what is taken `out`
    (orthonormal, spots x covariates): products of the coefficients of two add up as those in a basis do, though they
    are some more than spots. float32, right to six digits.
    """

    def __init__(self, xy: np.ndarray, out: np.ndarray):
        n_tiles = _n_tiles(len(xy))
        self.out, self.smooth = out, _smooth_maps(xy, out, MAPS * n_tiles)
        seen = np.hstack([out, self.smooth])
        self.tiles = [(spots, _maps_of_tile(xy[spots], seen[spots])) for spots in _tiles(xy, n_tiles)]
        super().__init__(np.float32, (len(xy), sum(maps.shape[1] for _, maps in self.tiles) + self.smooth.shape[1]))

    def _rmatmat(self, x: np.ndarray) -> np.ndarray:
        rest = (x - self.out @ (self.out.T @ x)).astype(np.float32)
        smooth = self.smooth.T @ rest
        rest -= self.smooth @ smooth
        return np.concatenate([*(maps.T @ rest[spots] for spots, maps in self.tiles), smooth])

    def _matmat(self, coefficients: np.ndarray) -> np.ndarray:
        ends = np.cumsum([maps.shape[1] for _, maps in self.tiles])
        *parts, smooth = np.split(coefficients.astype(np.float32), ends)
        x = np.empty((len(self.out), coefficients.shape[1]), np.float32)
        for (spots, maps), part in zip(self.tiles, parts, strict=True):
            x[spots] = maps @ part
        x += self.smooth @ (smooth - self.smooth.T @ x)
        return x - self.out @ (self.out.T @ x)


def products_of_a_spot(n_spots: int, most: int = EXACT) -> int:
    """How many products a spot enters for each variable on the `moran_basis` of so many: what a null's time grows by.

    >>> products_of_a_spot(700), products_of_a_spot(5_000), products_of_a_spot(20_000), products_of_a_spot(60_000)
    (700, 1300, 2600, 2580)
    """
    if n_spots <= most:
        return n_spots
    n_tiles = _n_tiles(n_spots)
    # Of the smooth maps twice: their coefficients, and what they leave to the tiles.
    return 2 * MAPS * n_tiles + products_of_a_spot(-(-n_spots // n_tiles), 3 * TILE)


def _n_tiles(n_spots: int) -> int:
    return min(MOST_TILES, -(-n_spots // TILE))


def _tiles(xy: np.ndarray, n_tiles: int) -> list[np.ndarray]:
    """Spots of compact tiles, about alike in number: halved across the longer side."""

    def cut(spots: np.ndarray, n: int) -> list[np.ndarray]:
        if n == 1:
            return [spots]
        order = spots[np.argsort(xy[spots, np.ptp(xy[spots], axis=0).argmax()], kind="stable")]
        middle = len(spots) * (n // 2) // n
        return cut(order[:middle], n // 2) + cut(order[middle:], n - n // 2)

    return cut(np.arange(len(xy)), n_tiles)


def _maps_of_tile(xy: np.ndarray, seen: np.ndarray) -> Basis:
    """Maps that hold everything on a tile: eigenvectors of nearness, less what maps over the section see of it."""
    if len(xy) > 3 * TILE:
        return Tiled(xy, np.empty((len(xy), 0)))
    apart = cdist(xy, xy)
    near = apart.max() - apart
    near -= seen @ (seen.T @ near)
    near -= (near @ seen) @ seen.T
    return np.linalg.eigh(near)[1].astype(np.float32)


def _smooth_maps(xy: np.ndarray, out: np.ndarray, n_maps: int) -> np.ndarray:
    """The first maps of a large section of what `out` leaves: spots x maps, orthonormal, the smoothest last.

    Eigenvectors of the centred distances between landmarks alone, extended to all spots and there turned to be
    eigenvectors again (Nystrom: Fowlkes et al. 2004, doi 10.1109/TPAMI.2004.1262185).
    """
    marks = np.array([xy[spots].mean(axis=0) for spots in _tiles(xy, 5 * n_maps // 2)])
    among = -cdist(marks, marks)
    sizes, maps = np.linalg.eigh(among - among.mean(axis=0) - among.mean(axis=1, keepdims=True) + among.mean())
    extended = cdist(xy, marks) @ (maps[:, -n_maps:] / np.sqrt(sizes[-n_maps:]))
    extended -= out @ (out.T @ extended)
    sizes, turned = np.linalg.eigh(extended.T @ extended)
    left = sizes > 1e-9 * sizes[-1]  # of which covariates leave something
    return (extended @ (turned[:, left] / np.sqrt(sizes[left]))).astype(np.float32)


def moran_randomize(x: np.ndarray, basis: Basis, n_draws: int = N_DRAWS, seed: int = 0) -> np.ndarray:
    """Maps that keep the mean, the variance and Moran's I of x, and nothing else of it: n x draws.

    Random signs on the coefficients of x in `moran_basis` (the singleton procedure of Moran spectral randomization,
    Wagner & Dray 2015, doi 10.1111/2041-210X.12407). For a rank correlation give the ranks of x: skewed values
    that are ranked only once randomized are other maps. A nominal 5 % test of unrelated maps, from rough to smooth,
    rejects 5-7 % with weights of distance and ranks, 6-15 % with distance and skewed values, 5-30 % with neighbours,
    and 8-80 % where spots are shuffled.

    >>> x, basis = np.arange(9.0), moran_basis(np.argwhere(np.ones((3, 3))))
    >>> moran_randomize(x, basis, n_draws=3).var(axis=0).round(6) - x.var().round(6)
    array([0., 0., 0.])
    """
    x = finite(x)
    _check_basis(x, basis)
    coefficients = basis.T @ (x - x.mean())
    return x.mean() + basis @ (coefficients[:, None] * _signs(len(coefficients), n_draws, seed))


def null_correlations(
    X: np.ndarray,
    Y: np.ndarray,
    basis: Basis | None = None,
    rank: bool = False,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of each column of X with Y, and the same with other maps of Y's smoothness: genes, genes x draws.

    X is spots x genes; Y is spots (nuclei), or spots x genes (predictions), then paired column by column. Pearson, or
    Spearman with `rank`. With a `moran_basis` Y is randomized as by `moran_randomize`, its ranks if it is ranked;
    without one its spots are shuffled, which is no null for smooth maps. A draw treats all genes alike, so that what
    is computed from many genes, as PCC-k, has its null in the columns. NaN for constant columns.

    >>> xy = np.argwhere(np.ones((5, 5)))
    >>> observed, null = null_correlations(xy.sum(axis=1), xy[:, 0], moran_basis(xy), n_draws=99)
    >>> observed.round(3), null.shape
    (array([0.707]), (1, 99))
    """
    X, Y = unit(X, rank), unit(Y, rank)
    if basis is not None:
        # The r of a randomized map is a signed sum over components: no map needs to be drawn. Six digits do.
        products = _component_products(X, Y, basis)
        # Where the mean alone is taken out r is as ever: equal ones stay equal to the last digit.
        whole = (basis.out.shape[1] if isinstance(basis, Tiled) else len(X) - basis.shape[1]) == 1
        observed = (X * Y if whole else products).sum(axis=0)
        return observed, _signed_sums(products.astype(np.float32), n_draws, seed)
    observed = (X * Y).sum(axis=0)
    rng = np.random.default_rng(seed)
    if Y.shape[1] == 1:
        return observed, X.T @ rng.permuted(np.tile(Y, n_draws), axis=0)
    return observed, np.stack([np.einsum("ij,ij->j", X, rng.permutation(Y)) for _ in range(n_draws)], axis=1)


def p_values(observed: np.ndarray, null: np.ndarray, alternative: str = "two-sided") -> np.ndarray:
    """p = (1 + hits) / (draws + 1) of any statistic with draws of it under the null along the last axis of `null`.

    A hit is at least as far from zero as the observed value, with alternative `greater` at least as large. NaN where
    the observed value is.

    >>> p_values([0.5, 0.1], [[0.2, -0.6, 0.3], [0.2, -0.6, 0.3]])
    array([0.5, 1. ])
    """
    if alternative not in ("two-sided", "greater"):
        raise ValueError(f"alternative {alternative!r} is neither two-sided nor greater")
    observed, null = np.asarray(observed, float), np.asarray(null, float)
    if alternative == "two-sided":
        observed, null = np.abs(observed), np.abs(null)
    # The same sum in another order may differ in the last digits, and must still count as a hit.
    hits = (null >= (observed - 1e-6 * np.abs(observed))[..., None]).sum(axis=-1)
    return np.where(np.isnan(observed), np.nan, (1 + hits) / (null.shape[-1] + 1))


def effective_n(X: np.ndarray, Y: np.ndarray, basis: Basis, rank: bool = False) -> np.ndarray:
    """How many independent spots would let r of unrelated maps scatter as these maps do, one per column of X.

    1 + 1 / Var(r), with Var(r) = trace(S_x S_y) / (trace(S_x) trace(S_y)) and covariances S that are diagonal in
    `moran_basis`: the variance of `null_correlations`. About the number of spots where one of the maps is noise, and
    above it where they differ in scale. X, Y and `rank` as there.
    Source: Dutilleul 1993, doi 10.2307/2532625, after Clifford, Richardson & Hemon 1989, doi 10.2307/2532039.

    >>> xy = np.argwhere(np.ones((10, 10)))
    >>> bool(effective_n(xy[:, 0], xy.sum(axis=1), moran_basis(xy))[0] < 20)  # of 100 spots, for two gradients
    True
    """
    return 1 + 1 / (_component_products(unit(X, rank), unit(Y, rank), basis) ** 2).sum(axis=0)


def type_one_error(
    X: np.ndarray,
    Y: np.ndarray,
    basis: Basis | None = None,
    rank: bool = False,
    level: float = 0.05,
    n_draws: int = 199,
    seed: int = 0,
) -> float:
    """Share of pairs of unrelated maps that a test at `level` calls correlated; a valid test says `level`.

    X and Y are spots x maps, every one of X against every one of Y, which is randomized; the test is that of
    `null_correlations` and `p_values`.

    >>> X, Y = np.random.default_rng(0).normal(size=(2, 25, 20))
    >>> 0.02 < type_one_error(X, Y, moran_basis(np.argwhere(np.ones((5, 5)))), n_draws=39) < 0.08
    True
    """
    X, Y = (ranks(maps) if rank else np.asarray(maps) for maps in (X, Y))  # once, not at each y
    rejected = [
        p_values(*null_correlations(X, y, basis, n_draws=n_draws, seed=seed + k)) <= level for k, y in enumerate(Y.T)
    ]
    return float(np.mean(rejected))


def _component_products(X: np.ndarray, Y: np.ndarray, basis: Basis) -> np.ndarray:
    """What each map of the basis adds to the r of what the basis holds of two columns; components x genes."""
    _check_basis(X, basis)
    return _unit_length(basis.T @ X) * _unit_length(basis.T @ Y)


def _signed_sums(products: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
    """Sums over components with random signs; columns x draws.

    Of a large section those of the last EXACT, the smooth ones among them; the many others, none of which counts, are
    normal together, with the covariance between columns that their signs would give.
    """
    last, others = products[-EXACT:], products[:-EXACT]
    drawn = last.T @ _signs(len(last), n_draws, seed)
    if len(others):
        root = np.linalg.qr(np.nan_to_num(others), mode="r")  # NaN are so in the last, too
        normal = np.random.default_rng(seed).standard_normal((len(root), n_draws), np.float32)
        drawn += root.T @ normal
    return drawn


def _unit_length(values: np.ndarray) -> np.ndarray:
    """Columns of length one; NaN for one of which nothing is left."""
    length = np.sqrt(np.einsum("ij,ij->j", values, values))
    return values / np.where(length > 1e-6, length, np.nan)


def _signs(n: int, n_draws: int, seed: int) -> np.ndarray:
    """Random signs, components x draws; the same for all that is scored on a section, so the latest are kept."""
    key = n, n_draws, seed
    if key not in _DRAWN:
        signs = _drawn_signs(*key)
        while _DRAWN and sum(kept.nbytes for kept in _DRAWN.values()) + signs.nbytes > KEPT_BYTES:
            del _DRAWN[next(iter(_DRAWN))]
        _DRAWN[key] = signs
    return _DRAWN[key]


def _drawn_signs(n: int, n_draws: int, seed: int) -> np.ndarray:
    """Balanced random signs, components x draws.

    A few smooth components carry most of a map, so that independent signs leave a Monte-Carlo error of hundredths in a
    thousand draws. Those of a scrambled Sobol sequence are as random one by one, and balanced taken together: the error
    is some ten times smaller (Owen 1998, doi 10.1006/jcom.1998.0487). Its first dimensions are its best, and the
    smoothest components are the last.
    """
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.array([-1, 1], np.float32), size=(n, n_draws))
    balanced = min(n, BALANCED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that draws other than a power of two are less balanced
        uniform = qmc.Sobol(balanced, rng=rng).random(n_draws)
    signs[n - balanced :] = np.where(uniform.T[::-1] < 0.5, -1, 1)
    signs.flags.writeable = False
    return signs


def _check_basis(values: np.ndarray, basis: Basis) -> None:
    if len(values) != basis.shape[0]:
        raise ValueError(f"{len(values)} values on a basis of {basis.shape[0]} spots")
