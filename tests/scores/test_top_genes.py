"""Twin of helpers/scores/top_genes.py."""

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats

from helpers.scores import top_genes


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_top_k_skips_undefined_and_breaks_ties_by_order():
    pcc = np.array([0.1, np.nan, 0.5, 0.5, -0.2])
    assert top_genes.top_k(pcc, 2).tolist() == [2, 3]
    assert top_genes.top_k(pcc, 9).tolist() == [2, 3, 0, 4]
    assert top_genes.pcc_at_k(pcc, 3) == pytest.approx(1.1 / 3)


def test_a_gene_without_a_correlation_leaves_the_score_of_the_others():
    r = np.array([0.5, np.nan, 0.1])
    assert top_genes.pcc_at_k(r, 3) == pytest.approx(0.3) and top_genes.pcc_at_k(r, 1) == 0.5
    assert np.isnan(top_genes.pcc_at_k(r, 4)) and np.isnan(top_genes.pcc_at_k(np.full(3, np.nan), 2))


def test_each_group_of_genes_has_its_score():
    genes = pd.DataFrame({"section": list("BBAA"), "target": "log2", "pcc": [0.1, 0.3, 0.8, 0.2]})
    assert top_genes.pcc_by(genes, ["section", "target"], 1).to_dict() == {("B", "log2"): 0.3, ("A", "log2"): 0.8}


@pytest.mark.parametrize(
    ("definition", "delta"),
    [("own_top_k", 0.65 - 0.15), ("log_top_k", 0.65 - 0.05), ("residual_top_k", 0.35 - 0.15)],
)
def test_delta_k_by_hand(definition, delta):
    rho_log, rho_res = np.array([0.8, -0.5, 0.4, 0.3]), np.array([0.1, 0.0, -0.2, 0.1])
    pcc_log, pcc_res = np.array([0.9, 0.8, 0.1, 0.0]), np.array([0.0, 0.1, 0.9, 0.8])
    assert top_genes.delta_k(rho_log, rho_res, pcc_log, pcc_res, 2, definition) == pytest.approx(delta)


def test_delta_of_the_whole_panel_needs_no_ranking(rng):
    values = rng.uniform(-1, 1, (4, 30))
    deltas = [top_genes.delta_k(*values, 30, d) for d in top_genes.DEFINITIONS]
    np.testing.assert_allclose(deltas, np.abs(values[0]).mean() - np.abs(values[1]).mean())


def test_delta_refuses_an_unknown_definition():
    with pytest.raises(ValueError, match="own_top_k"):
        top_genes.delta_k(*np.ones((4, 3)), 1, "best")


def tidy(rng, sections=("s1", "s2", "s3"), n_genes=12, seeds=(0,)):
    """Associations and predictability of three sections: in log space the nuclei-dependent genes are predictable."""
    genes = [f"g{i}" for i in range(n_genes)]
    links, fits = [], []
    for section in sections:
        for target, size in (("log2", 0.6), ("pearson_residual", 0.2)):
            rho = size * rng.uniform(0, 1, n_genes)
            table = pd.DataFrame({"section": section, "target": target, "gene": genes, "rho_nuclei": rho})
            links.append(table.assign(rho_depth=-rho, chance_mean=0.06))
            for seed in seeds:
                fit = pd.DataFrame({"section": section, "target": target, "gene": genes, "pcc": rho + 0.1 * seed})
                fits.append(fit.assign(backbone="ridge", split="section", seed=seed, ceiling=0.8))
    return pd.concat(links, ignore_index=True), pd.concat(fits, ignore_index=True)


def test_differences_agree_with_delta_k_and_skip_large_k(rng):
    links, fits = tidy(rng, seeds=(0, 1))
    table = top_genes.differences(links, fits, ks=(3, 50))
    assert set(table["k"]) == {3}
    assert len(table) == 3 * 2 * 3  # sections, rankings, definitions
    rho = links[links["section"] == "s2"].pivot(index="gene", columns="target", values="rho_nuclei")
    log, residual = rho["log2"].to_numpy(), rho["pearson_residual"].to_numpy()
    same = table.query("section == 's2' and ranking == 'same'").set_index("definition")
    for definition in top_genes.DEFINITIONS:
        expected = top_genes.delta_k(log, residual, log, residual, 3, definition)
        assert same.loc[definition, "delta"] == pytest.approx(expected)
    assert same["delta_panel"].iloc[0] == pytest.approx(log.mean() - residual.mean())


def test_nested_ranking_never_looks_at_its_own_section(rng):
    links, fits = tidy(rng)
    changed = fits.copy()
    own = changed["section"] == "s1"
    changed.loc[own, "pcc"] = rng.permutation(changed.loc[own, "pcc"])
    chosen = [top_genes.differences(links, f, ks=(4,)).query("section == 's1'") for f in (fits, changed)]
    nested = [table.query("ranking == 'nested'")["delta"].to_numpy() for table in chosen]
    same = [table.query("ranking == 'same'")["delta"].to_numpy() for table in chosen]
    np.testing.assert_array_equal(*nested)
    assert (same[0] != same[1]).any()


def test_own_ranking_is_optimistic(rng):
    # PCC that are noise: the best of a section look good on that section only.
    links, fits = tidy(rng, sections=[f"s{i}" for i in range(10)], n_genes=50)
    fits["pcc"] = rng.normal(0, 0.1, len(fits))
    table = top_genes.top_genes(links, fits, ks=(10,)).groupby("ranking")["pcc"].mean()
    assert table["same"] > 0.1
    assert abs(table["nested"]) < 0.03


def test_top_genes_give_delta_by_subtraction(rng):
    links, fits = tidy(rng)
    top = top_genes.top_genes(links, fits, ks=(5,)).query("ranking == 'same'")
    rho = top.pivot(index="section", columns="target", values="abs_rho")
    delta = top_genes.differences(links, fits, ks=(5,)).query("ranking == 'same' and definition == 'own_top_k'")
    np.testing.assert_allclose(rho["log2"] - rho["pearson_residual"], delta.set_index("section")["delta"])


def test_sections_without_nuclei_have_predictability_but_no_delta(rng):
    links, fits = tidy(rng)
    links.loc[links["section"] == "s3", "rho_nuclei"] = np.nan
    assert set(top_genes.differences(links, fits, ks=(3,))["section"]) == {"s1", "s2"}
    top = top_genes.top_genes(links, fits, ks=(3,)).query("section == 's3'")
    assert top["pcc"].notna().all()
    assert top["abs_rho"].isna().all()


def test_pcc_by_rank_falls_and_counts_sections(rng):
    _, fits = tidy(rng)
    fits.loc[0, "pcc"] = np.nan
    table = top_genes.pcc_by_rank(fits).query("target == 'log2'")
    assert (np.diff(table["pcc"][:-1]) <= 0).all()
    assert table["n_sections"].tolist() == [3] * 11 + [2]


@pytest.mark.parametrize("n_covariates", [1, 2])
def test_partial_coupling_is_pingouins(rng, n_covariates):
    given = rng.normal(size=(80, n_covariates))
    pcc, rho = given[:, 0] + rng.normal(size=80), given[:, -1] ** 3 + rng.normal(size=80)
    data = pd.DataFrame({"x": pcc, "y": rho} | {f"c{i}": given[:, i] for i in range(n_covariates)})
    covariates = [f"c{i}" for i in range(n_covariates)]
    expected = pingouin.partial_corr(data, "x", "y", covar=covariates, method="spearman")["r"].iloc[0]
    assert top_genes.coupling(pcc, rho, given) == pytest.approx(expected, abs=1e-6)
    assert top_genes.coupling(pcc, rho) == pytest.approx(stats.spearmanr(pcc, rho).statistic, abs=1e-12)


def test_coupling_through_abundance_alone_vanishes_given_abundance(rng):
    abundance = rng.normal(size=2000)
    pcc, rho = (abundance + 0.7 * rng.normal(size=2000) for _ in range(2))
    assert top_genes.coupling(pcc, rho) > 0.5
    assert abs(top_genes.coupling(pcc, rho, abundance)) < 0.1


def test_coupling_is_undefined_for_few_genes_or_none_left():
    assert np.isnan(top_genes.coupling(np.array([0.1, 0.2, np.nan]), np.array([0.1, np.nan, 0.3])))
    x = np.arange(20.0)
    assert np.isnan(top_genes.coupling(x, x[::-1] ** 2 % 7, given=np.exp(x)))


def test_couplings_by_section(rng):
    links, fits = tidy(rng)
    keys = fits[["section", "gene"]].drop_duplicates()
    table = top_genes.couplings(links, fits, keys.assign(log_mean_count=rng.normal(size=len(keys))))
    assert len(table) == 6
    np.testing.assert_allclose(table["coupling"], 1)  # pcc is a monotone function of |rho| there
    assert table["n_genes"].eq(12).all()
