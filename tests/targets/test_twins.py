"""Controls: totals and composition are what they are said to be, and each twin has the answer it is made for."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse, stats

from helpers import columns
from helpers.schema import COUNTS, LATTICE
from helpers.targets import normalization, twins


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def counts(rng):
    """Two regions of unlike composition; depth varies tenfold, and one spot and one gene are empty."""
    share = rng.lognormal(0, 1, (2, 150))
    share[:, 7] = 0
    share /= share.sum(axis=1, keepdims=True)
    depth = np.exp(rng.uniform(np.log(400), np.log(4000), 200))
    depth[5] = 0
    return sparse.csr_matrix(rng.poisson(depth[:, None] * share[np.arange(200) % 2]).astype(np.float32))


def totals(matrix, axis=1):
    return np.asarray(matrix.sum(axis=axis)).ravel()


def as_section(counts):
    names = {"obs": pd.DataFrame({"n_nuclei": 3.0}, index=[f"{i}x0" for i in range(counts.shape[0])])}
    names["var"] = pd.DataFrame(index=[f"g{i}" for i in range(counts.shape[1])])
    section = AnnData(**names, layers={COUNTS: counts, "log2": counts.copy()}, uns={"section": "S1"})
    section.obsm[LATTICE] = np.arange(2.0 * counts.shape[0]).reshape(-1, 2)
    section.obs["total_counts"] = totals(counts)
    return section


def test_depth_only_keeps_each_total_and_draws_the_average_composition(counts, rng):
    twin = twins.depth_only(counts, rng)
    assert sparse.isspmatrix_csr(twin)
    assert twin.dtype == counts.dtype
    assert twin.has_canonical_format
    np.testing.assert_array_equal(totals(twin), totals(counts))
    assert totals(twin, 0)[7] == 0
    present = totals(counts, 0) > 0
    assert stats.chisquare(totals(twin, 0)[present], totals(counts, 0)[present]).pvalue > 0.01
    # Nothing but multinomial scatter within a spot: the residual chi-squares add up to their degrees of freedom.
    expected = np.outer(totals(counts), totals(counts, 0) / counts.sum())[:, present]
    chi2 = ((twin.toarray()[:, present] - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    assert chi2 == pytest.approx(199 * (present.sum() - 1), rel=0.03)


def test_a_section_of_one_composition_by_hand(rng):
    """Molecules of the one gene that there is can only stay what they are."""
    one = sparse.csr_matrix(np.array([[0, 5, 0], [0, 2, 0], [0, 0, 0]], np.float32))
    np.testing.assert_array_equal(twins.depth_only(one, rng).toarray(), one.toarray())


def test_on_the_depth_only_twin_log_follows_depth_and_residuals_do_not(counts, rng):
    twin = twins.as_twin(as_section(counts), twins.depth_only(counts, rng))
    depth = totals(counts)
    rho = {m: np.abs(columns.spearman(normalization.target(twin, m), depth)) for m in ("log2", "pearson_residual")}
    chance = 0.6745 / np.sqrt(len(depth) - 1)  # median |rho| of unrelated values
    assert np.nanmedian(rho["log2"]) > 0.6
    assert np.nanmedian(rho["pearson_residual"]) < 1.5 * chance
    # The residual's own composition is gone too: regions differ in the section and not in the twin.
    region = np.arange(200) % 2
    of_region = {
        s: normalization.target(v, "pearson_residual") for s, v in (("own", as_section(counts)), ("twin", twin))
    }
    of_region = {s: np.nanmedian(np.abs(columns.spearman(values, region))) for s, values in of_region.items()}
    assert of_region["own"] > 0.5
    assert of_region["twin"] < 1.5 * chance


def test_equal_depth_has_one_depth_and_only_molecules_that_were_there(counts, rng):
    twin, kept = twins.equal_depth(counts, 500, rng)
    np.testing.assert_array_equal(kept, totals(counts) >= 500)
    assert 0 < (~kept).sum() < 50
    assert (totals(twin) == 500).all()
    assert (counts[kept] - twin).min() >= 0
    assert twin.data.min() > 0
    assert twin.dtype == counts.dtype


def test_thinning_keeps_composition_on_average(rng):
    spot = sparse.csr_matrix(np.tile([600, 300, 90, 10, 0], (2000, 1)))
    twin, kept = twins.equal_depth(spot, 100, rng)
    assert kept.all()
    hypergeometric = stats.multivariate_hypergeom([600, 300, 90, 10, 0], 100)
    np.testing.assert_allclose(totals(twin, 0) / 2000, hypergeometric.mean(), atol=0.4)
    np.testing.assert_allclose(np.cov(twin.toarray().T), hypergeometric.cov(), atol=1.5)


def test_on_the_equal_depth_twin_even_log_forgets_depth_and_keeps_composition(counts, rng):
    section = as_section(counts)
    twin = twins.as_twin(section, *twins.equal_depth(counts, 500, rng))
    depth, region = totals(counts)[totals(counts) >= 500], (np.arange(200) % 2)[totals(counts) >= 500]
    logged = normalization.target(twin, "log2")
    assert np.nanmedian(np.abs(columns.spearman(logged, depth))) < 1.5 * 0.6745 / np.sqrt(len(depth) - 1)
    assert np.nanmedian(np.abs(columns.spearman(logged, region))) > 0.3


def test_a_twin_is_the_section_with_other_counts(counts, rng):
    section = as_section(counts)
    twin = twins.as_twin(section, *twins.equal_depth(counts, 1000, rng))
    assert (twin.obs["total_counts"] == 1000).all()
    assert set(twin.layers) == {COUNTS}
    np.testing.assert_array_equal(twin.obsm[LATTICE], section[twin.obs_names].obsm[LATTICE])
    assert list(twin.obs["n_nuclei"].unique()) == [3]
    assert section.obs["total_counts"].max() > 1000  # the section itself is left alone
    with pytest.raises(ValueError, match="section S1: counts"):
        twins.as_twin(section, counts[:3])


def test_the_same_stream_gives_the_same_twin(counts):
    for make in (twins.depth_only, lambda c, g: twins.equal_depth(c, 700, g)[0]):
        first, second = (make(counts, np.random.default_rng(3)) for _ in range(2))
        assert (first != second).nnz == 0
        assert (first != make(counts, np.random.default_rng(4))).nnz > 0


def test_refusals(counts, rng):
    with pytest.raises(ValueError, match="no spot has a count"):
        twins.depth_only(sparse.csr_matrix((4, 3)), rng)
    for depth in (0, 10**6):
        with pytest.raises(ValueError, match=f"no spot can be thinned to {depth} counts"):
            twins.equal_depth(counts, depth, rng)
