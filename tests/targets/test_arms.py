"""Twin of helpers/targets/arms.py."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse, stats

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


def test_refusals(random_section):
    with pytest.raises(ValueError, match="unknown target 'tpm'; known: log2"):
        normalization.get("tpm")
    with pytest.raises(ValueError, match="section S1: no gene ERBB2"):
        normalization.target(random_section, "log2", ["g1", "ERBB2"])
    with pytest.raises(ValueError, match="unknown size factor 'tpm'; known: none, total"):
        arms.arm(random_section, "tpm", "log")
    with pytest.raises(ValueError, match="unknown transform 'logit'; known: identity"):
        arms.arm(random_section, "total", "logit")
    del random_section.obs["n_nuclei"]
    for size_factor, transform in (("nuclei", "log"), ("none", "nuclei_regressed_log")):
        with pytest.raises(ValueError, match="section S1: no obs\\['n_nuclei'\\]; run 02_segmentation"):
            arms.arm(random_section, size_factor, transform)


# The factorial --------------------------------------------------------------------------------------------------


def test_arms_by_hand():
    """Two spots, a panel of two of three genes: totals 4 and 8, panel totals 3 and 7, nuclei 0 (taken as 1) and 3."""
    two = section([[1, 2, 1], [4, 3, 1]])
    two.obs["n_nuclei"] = [0, 3]
    expected = {
        "none": [[1, 2], [4, 3]],
        "total": [[6 / 4, 6 * 2 / 4], [6 * 4 / 8, 6 * 3 / 8]],
        "panel_total": [[5 / 3, 5 * 2 / 3], [5 * 4 / 7, 5 * 3 / 7]],
        "nuclei": [[2, 4], [2 * 4 / 3, 2]],
    }
    for size_factor, y in expected.items():
        y = np.array(y)
        stable = 10 * np.log(y / 50 + 1 + np.sqrt((y / 50 + 1) ** 2 - 1))  # acosh(z) = log(z + sqrt(z^2 - 1))
        logged = np.log(y + 1)
        by_hand = {"identity": y, "sqrt": y**0.5, "log": logged, "acosh": stable}
        by_hand["clr"] = logged - (logged[:, :1] + logged[:, 1:]) / 2
        by_hand["rank"] = [[0.5, 1], [1, 0.5]]
        for transform, values in by_hand.items():
            np.testing.assert_allclose(arms.arm(two, size_factor, transform, ["g0", "g1"]), values, rtol=1e-12)


def test_the_arms_hold_the_methods(random_section):
    genes = ["g7", "g3", "g30"]
    residual = arms.arm(random_section, "total", "pearson_residual", genes)
    np.testing.assert_allclose(residual, normalization.target(random_section, "pearson_residual", genes), rtol=1e-12)
    logged = arms.arm(random_section, "none", "log", genes) / np.log(2)
    np.testing.assert_allclose(logged, normalization.target(random_section, "log2", genes), rtol=1e-12)
    mean = normalization.library_size(random_section).mean()
    cp_mean = normalization.target(random_section, "log1p_cp10k", genes, size=mean)
    np.testing.assert_allclose(arms.arm(random_section, "total", "log", genes), cp_mean, rtol=1e-12)


def test_panel_total_is_equation_2_over_the_panel(random_section):
    genes = list(random_section.var_names[5:20])
    alone = section(random_section[:, genes].layers[COUNTS].toarray(), genes)
    literal = arms.arm(random_section, "panel_total", "pearson_residual", genes)
    np.testing.assert_allclose(literal, normalization.target(alone, "pearson_residual"), rtol=1e-12)


def test_one_size_factor_and_a_monotone_transform_are_one_arm_to_spearman(random_section):
    covariate = random_section.obs["n_nuclei"].to_numpy()

    def rho(size_factor, transform, **theta):
        values = arms.arm(random_section, size_factor, transform, **theta)
        return np.array([stats.spearmanr(gene, covariate).statistic for gene in values.T])

    for size_factor in arms.SIZE_FACTORS:
        same = rho(size_factor, "identity")
        for transform in ("sqrt", "log", "acosh"):
            np.testing.assert_allclose(rho(size_factor, transform), same, rtol=1e-12)
        np.testing.assert_allclose(rho(size_factor, "acosh", theta=np.inf), same, rtol=1e-12)
    # Without a size factor a residual only shifts and stretches each gene.
    np.testing.assert_allclose(rho("none", "pearson_residual"), rho("none", "identity"), rtol=1e-12)
    cp10k = normalization.target(random_section, "log1p_cp10k")
    expected = [stats.spearmanr(gene, covariate).statistic for gene in cp10k.T]
    np.testing.assert_allclose(rho("total", "log"), expected, atol=2e-3)  # rounding breaks ties of CP10k
    assert np.abs(rho("total", "pearson_residual") - rho("total", "log")).max() > 0.05
    assert np.abs(rho("none", "log") - rho("total", "log")).max() > 0.1


@pytest.mark.parametrize(("size_factor", "transform"), arms.ARMS)
def test_only_depth_aware_arms_forget_depth(size_factor, transform):
    """The thesis over the factorial: every second spot is captured ten times as deep, composition and nuclei stay."""
    rng = np.random.default_rng(1)
    deep = rng.permutation(np.arange(40) % 2 == 1)
    composition = rng.integers(20, 60, (40, 30))
    tenfold = section(composition * np.where(deep, 10, 1)[:, None])
    tenfold.obs["n_nuclei"] = rng.poisson(20, 40)
    values = arms.arm(tenfold, size_factor, transform)
    rho = np.median([abs(stats.spearmanr(gene, deep).statistic) for gene in values.T])
    aware = size_factor in ("total", "panel_total") or transform in ("clr", "rank", "depth_regressed_log")
    assert rho < 0.25 if aware else rho > 0.8


def test_acosh_stabilizes_the_variance_that_it_is_named_for():
    rng = np.random.default_rng(0)
    mean = np.array([10.0, 50, 200, 1000])
    counts = rng.poisson(mean * rng.gamma(100, 1 / 100, (4000, 4)))
    variance = arms.acosh(counts, np.ones(len(counts)), theta=100).var(axis=0)
    np.testing.assert_allclose(variance, 1, atol=0.1)
    logged = arms.log(counts, np.ones(len(counts))).var(axis=0)
    assert logged[0] > 5 * logged[-1]


def test_regression_leaves_no_line_behind(random_section):
    depth, nuclei = normalization.library_size(random_section), arms.nuclei(random_section)
    for transform, covariate in (("depth_regressed_log", depth), ("nuclei_regressed_log", nuclei)):
        values = arms.arm(random_section, "none", transform)
        logged = arms.arm(random_section, "none", "log")
        for gene in (0, 17):
            fit = stats.linregress(np.log1p(covariate), logged[:, gene])
            left = logged[:, gene] - fit.intercept - fit.slope * np.log1p(covariate)
            np.testing.assert_allclose(values[:, gene], left, atol=1e-10)


@pytest.mark.parametrize(("size_factor", "transform"), arms.ARMS)
def test_arms_of_empty_spots_and_genes_stay_finite(size_factor, transform):
    holes = section([[0, 0, 0], [3, 0, 1], [2, 0, 2], [0, 0, 4]])
    holes.obs["n_nuclei"] = [0, 2, 0, 5]
    assert np.isfinite(arms.arm(holes, size_factor, transform)).all()
    assert np.isfinite(arms.arm(holes, size_factor, transform, ["g0", "g1"])).all()


def test_a_spot_without_stain_is_divided_by_a_little_of_it():
    """As a spot without a nucleus is divided by one: a twentieth of the median."""
    section = AnnData(obs=pd.DataFrame({"haematoxylin": [0.0, 0.2, 0.4]}, index=list("abc")))
    assert arms.nuclei(section).tolist() == pytest.approx([0.01, 0.2, 0.4])
