import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers.schema import COUNTS
from helpers.targets import arms, normalization


def section(counts, genes=None):
    counts = np.asarray(counts, np.float32)
    genes = genes or [f"g{i}" for i in range(counts.shape[1])]
    made = AnnData(var=pd.DataFrame(index=genes), obs=pd.DataFrame(index=[f"{i}x0" for i in range(len(counts))]))
    made.layers[COUNTS] = sparse.csr_matrix(counts)
    made.uns["section"] = "S1"
    return made


@pytest.fixture
def random_section():
    rng = np.random.default_rng(0)
    depth = rng.lognormal(0, 1, 60)
    made = section(rng.poisson(np.outer(depth, rng.lognormal(0, 1.5, 40)) + 0.2))
    made.obs["n_nuclei"] = rng.poisson(8, 60)
    return made


def test_by_hand():
    """Three spots, two genes: n = (4, 4, 8), p = (1/2, 1/2), so mu = (2, 2, 4) in both columns."""
    three = section([[4, 0], [1, 3], [3, 5]])
    np.testing.assert_allclose(normalization.target(three, "log2"), np.log2([[5, 1], [2, 4], [4, 6]]), atol=1e-6)
    mu = np.array([[2, 2], [2, 2], [4, 4]])
    expected = (np.array([[4, 0], [1, 3], [3, 5]]) - mu) / np.sqrt(mu + mu**2 / 100)
    np.testing.assert_allclose(normalization.target(three, "pearson_residual"), expected, rtol=1e-6)
    np.testing.assert_allclose(normalization.target(three, "log1p_cp10k")[0], np.log1p([10_000, 0]), rtol=1e-6)


def test_residuals_equal_scanpy(random_section):
    import scanpy as sc

    ours = normalization.target(random_section, "pearson_residual")
    theirs = AnnData(random_section.layers[COUNTS].toarray())
    sc.experimental.pp.normalize_pearson_residuals(theirs, theta=100, clip=np.inf)
    np.testing.assert_allclose(ours, theirs.X, rtol=1e-4, atol=1e-5)


def test_cp10k_equals_scanpy(random_section):
    import scanpy as sc

    theirs = AnnData(random_section.layers[COUNTS].copy())
    sc.pp.normalize_total(theirs, target_sum=1e4)
    sc.pp.log1p(theirs)
    np.testing.assert_allclose(normalization.target(random_section, "log1p_cp10k"), theirs.X.toarray(), rtol=1e-5)


@pytest.mark.parametrize("method", normalization.TARGETS)
def test_a_panel_is_the_same_columns_of_the_whole(random_section, method):
    genes = ["g7", "g3", "g30"]
    whole = normalization.target(random_section, method)
    np.testing.assert_array_equal(normalization.target(random_section, method, genes), whole[:, [7, 3, 30]])


def test_only_depth_aware_targets_forget_depth():
    """The thesis: capture ten times as many molecules in some spots and log2 sees it in every gene.

    Depth-scaled log does not change at all. The residual changes by its noise model alone, so it is judged by the
    average over genes of a spot, which depth must not move.
    """
    composition = np.random.default_rng(1).integers(20, 60, (40, 30))
    tenfold = composition * np.where(np.arange(40) % 2, 10, 1)[:, None]
    before, after = section(composition), section(tenfold)
    deep = np.arange(40) % 2 == 1

    def shift(method):
        change = normalization.target(after, method) - normalization.target(before, method)
        return change[deep].mean() / normalization.target(before, method).std()

    assert shift("log2") > 3
    assert abs(shift("log1p_cp10k")) < 1e-5
    assert abs(shift("pearson_residual")) < 0.1


def test_without_overdispersion_theta_does_not_matter(random_section):
    poisson = normalization.target(random_section, "pearson_residual", theta=np.inf)
    np.testing.assert_allclose(poisson, normalization.target(random_section, "pearson_residual", theta=1e12), rtol=1e-5)


def test_empty_spots_and_empty_genes_stay_finite():
    holes = section([[0, 0, 0], [3, 0, 1], [2, 0, 2]])
    for method in normalization.TARGETS:
        values = normalization.target(holes, method)
        assert np.isfinite(values).all()
        assert (values[:, 1] == 0).all()


def test_clipping_is_for_residuals_alone():
    values = np.array([[-9.0], [0.5], [9.0], [1.0]])
    np.testing.assert_array_equal(normalization.clip(values, "pearson_residual").ravel(), [-2, 0.5, 2, 1])
    assert normalization.clip(values, "log2") is values


def test_a_given_share_is_that_of_equation_2(random_section):
    counts = random_section.layers[COUNTS].toarray().astype(float)
    given = np.full(counts.shape[1], 1 / counts.shape[1])
    expected = normalization.residuals(counts, counts.sum(1), given, 10)
    values = arms.arm(random_section, "total", "pearson_residual", theta=10, share=given)
    np.testing.assert_array_equal(values, expected)
