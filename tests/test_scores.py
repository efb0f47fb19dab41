"""Scores: correlations against scipy, the paper's Delta_k by hand, ceilings against a known truth."""

from time import process_time

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats
from scipy.sparse import csr_matrix

from helpers import scores

GENES = ["a", "b", "c", "d"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_spearman_is_scipys_with_ties_and_constants(rng):
    X, y = rng.poisson(0.7, (60, 20)).astype(float), rng.poisson(5, (60, 2)).astype(float)
    X[:, 3] = 4.0
    rho = scores.spearman(X, y)
    assert np.isnan(rho[3]).all()
    for gene in (0, 1, 2, 19):
        for j in (0, 1):
            assert rho[gene, j] == pytest.approx(stats.spearmanr(X[:, gene], y[:, j]).statistic, abs=1e-12)
    np.testing.assert_allclose(scores.spearman(X, y[:, 0]), rho[:, 0], atol=1e-12)


def test_spearman_knows_no_monotone_transform(rng):
    X, y = rng.poisson(3, (50, 5)), rng.normal(size=50)
    np.testing.assert_allclose(scores.spearman(np.log2(X + 1), y), scores.spearman(X, y), atol=1e-12)
    np.testing.assert_allclose(scores.spearman(-X, y), -scores.spearman(X, y), atol=1e-12)


def test_a_missing_value_leaves_no_number(rng):
    X = rng.normal(size=(10, 2))
    X[4, 0] = np.nan
    rho = scores.spearman(X, np.arange(10))
    assert np.isnan(rho[0])
    assert np.isfinite(rho[1])


def test_pearson_is_numpys_and_nan_for_constants(rng):
    A, B = rng.normal(size=(40, 4)), rng.normal(size=(40, 4))
    A[:, 1], B[:, 2] = 0.1, 1e6 / 3
    r = scores.pearson(A, B)
    assert np.isnan(r[[1, 2]]).all()
    assert r[0] == pytest.approx(np.corrcoef(A[:, 0], B[:, 0])[0, 1], abs=1e-12)


@pytest.mark.parametrize("correlate", [scores.spearman, scores.pearson])
def test_correlations_refuse_different_spots(correlate):
    with pytest.raises(ValueError, match="same spots"):
        correlate(np.ones((3, 2)), np.ones((4, 2)))


def test_a_whole_transcriptome_takes_under_two_seconds(rng):
    X, y = rng.poisson(0.5, (700, 15_000)).astype(np.float32), rng.normal(size=700)
    start = process_time()  # not the clock on the wall: the machine may be busy with other work
    scores.spearman(X, y)
    assert process_time() - start < 2


def test_associations_by_hand():
    nuclei = np.array([1, 2, 3, 4])
    X = np.array([[1, 4, 7, 1], [2, 3, 7, 3], [3, 2, 7, 2], [4, 1, 7, 4]])
    draws = np.column_stack([nuclei, nuclei[::-1], [2, 4, 1, 3]])  # rho with nuclei: 1, -1, 0
    table = scores.associations({"log2": X}, GENES, depth=nuclei[::-1], nuclei=nuclei, nuclei_draws=draws)
    np.testing.assert_allclose(table["rho_nuclei"], [1, -1, np.nan, 0.8])
    np.testing.assert_allclose(table["rho_depth"], [-1, 1, np.nan, -0.8])
    np.testing.assert_allclose(table["chance_nuclei"][:3], [1, 1, np.nan], atol=1e-12)
    np.testing.assert_allclose(table["chance_mean"][:3], [2 / 3, 2 / 3, np.nan], atol=1e-12)
    np.testing.assert_allclose(table["chance_share"][:3], [2 / 3, 2 / 3, np.nan])


def test_a_section_without_image_keeps_depth_only():
    X = np.arange(12.0).reshape(3, 4)
    table = scores.associations({"log2": X, "pearson_residual": -X}, GENES, depth=np.arange(3))
    assert table[["rho_nuclei", "chance_nuclei", "chance_share"]].isna().all(axis=None)
    assert table.groupby("target")["rho_depth"].mean().to_dict() == pytest.approx({"log2": 1, "pearson_residual": -1})


@pytest.mark.parametrize("correlate", [scores.pearson, scores.spearman])
@pytest.mark.parametrize(("reliability_x", "reliability_y"), [(1, 0.5), (0.7, 1), (0.8, 0.4)])
def test_disattenuation_finds_the_correlation_without_error(correlate, reliability_x, reliability_y, rng):
    true = np.array([-0.6, 0.0, 0.3, 0.8])
    x = rng.normal(size=(40_000, 1))
    y = true * x + np.sqrt(1 - true**2) * rng.normal(size=(40_000, 4))
    # Reliability is the share of variance that is not error: variance 1 of 1 / reliability.
    x = x + np.sqrt(1 / reliability_x - 1) * rng.normal(size=x.shape)
    y = y + np.sqrt(1 / reliability_y - 1) * rng.normal(size=y.shape)
    rho = correlate(y, x[:, 0]) if correlate is scores.spearman else correlate(y, np.tile(x, 4))
    np.testing.assert_allclose(scores.disattenuate(rho, reliability_x, reliability_y), true, atol=0.03)


def test_ranks_of_split_counts_tell_how_far_noisy_genes_hide_a_known_correlation(rng):
    # Genes whose rate follows the nuclei, seen as few molecules each; a count that misses some nuclei.
    nuclei = rng.poisson(rng.gamma(6, 5, 20_000)).astype(float)
    counted = nuclei + rng.normal(0, 8, len(nuclei))
    rate = (nuclei[:, None] / nuclei.mean()) ** [0.3, 0.6, 1.0] * rng.lognormal(0, 0.4, (len(nuclei), 3)) * [2, 0.5, 8]
    counts = csr_matrix(rng.poisson(rate).astype(np.float32))
    expected, observed = scores.spearman(rate, nuclei), scores.spearman(counts.toarray(), counted)
    ceiling = scores.noise_ceiling(counts, lambda half: scores.ranks(half.toarray()), n_splits=3)
    corrected = scores.disattenuate(observed, scores.spearman(counted[:, None], nuclei)[0] ** 2, ceiling**2)
    assert (expected - observed > 0.15).all()
    np.testing.assert_allclose(corrected, expected, atol=0.04)


def test_disattenuation_gives_up_on_noise_stops_at_one_and_refuses_what_is_no_share():
    rho = scores.disattenuate(np.array([0.3, 0.3, 0.3, 0.9, -0.9]), 0.5, np.array([1, 0.04, np.nan, 0.5, 0.5]))
    np.testing.assert_allclose(rho, [0.3 / np.sqrt(0.5), np.nan, np.nan, 1, -1])
    with pytest.raises(ValueError, match="0.2 to 1.3"):
        scores.disattenuate(0.5, np.array([0.2, 1.3]))


def test_associations_are_corrected_with_their_chance(rng):
    X, nuclei = rng.normal(size=(30, 4)), rng.normal(size=30)
    given = {"depth": nuclei, "nuclei": nuclei, "nuclei_draws": rng.normal(size=(30, 9))}
    plain = scores.associations({"log2": X}, GENES, **given)
    noisy = {"log2": np.array([1, 0.5, 0.25, 0.01])}
    corrected = scores.associations({"log2": X}, GENES, **given, reliability_nuclei=0.81, reliability_genes=noisy)
    factor = 1 / (0.9 * np.sqrt([1, 0.5, 0.25, np.nan]))
    for column in ("rho_nuclei", "chance_nuclei", "chance_mean"):
        np.testing.assert_allclose(corrected[column], plain[column] * factor)
    assert corrected["chance_share"][2] > plain["chance_share"][2]
    np.testing.assert_array_equal(corrected["rho_depth"], plain["rho_depth"])


def test_predictability_keeps_sign_and_units(rng):
    measured = rng.normal(size=(50, 4))
    measured[:, 3] = 2.0
    predicted = measured * [2, -1, 1, 1] + [0, 0, 3, 1]
    table = scores.predictability(measured, predicted, GENES, ceiling=np.full(4, 0.9))
    np.testing.assert_allclose(table["pcc"], [1, -1, 1, np.nan])
    np.testing.assert_allclose(table["rmse"][2:], [3, 1])
    assert table["rmse_over_sd"][2] == pytest.approx(3 / measured[:, 2].std())
    assert np.isnan(table["rmse_over_sd"][3])
    assert table["n_spots"].eq(50).all()
    assert table["ceiling"].eq(0.9).all()


def test_training_gap_is_that_of_the_worst_split():
    table = pd.DataFrame({"split": ["section"] * 2 + ["patient"] * 2, "fraction": [0.9, 0.85, 1.0, 0.7]})
    assert scores.training_gap(table) == pytest.approx(0.3)
    assert scores.training_gap(table.iloc[:0]) == 0


def test_the_mean_as_prediction_has_rmse_over_sd_of_one_and_no_r(rng):
    measured = rng.normal(size=(30, 2))
    table = scores.predictability(measured, np.tile(measured.mean(axis=0), (30, 1)), GENES[:2])
    np.testing.assert_allclose(table["rmse_over_sd"], 1)
    assert table["pcc"].isna().all()


def test_a_failed_fit_is_no_constant_gene():
    predicted = np.ones((3, 4))
    predicted[0, 2] = np.nan
    with pytest.raises(ValueError, match="1 genes, first c"):
        scores.predictability(np.ones((3, 4)), predicted, GENES)


def test_halves_add_up_and_are_fair(rng):
    counts = csr_matrix(rng.poisson(20, (100, 30)).astype(np.float32))
    first, second = scores.halve(counts, rng)
    assert (first + second != counts).nnz == 0
    assert min(first.data.min(), second.data.min()) >= 0
    assert first.sum() / counts.sum() == pytest.approx(0.5, abs=0.01)


def test_ceiling_is_the_correlation_of_the_best_prediction(rng):
    # Poisson counts of a known rate: no prediction beats the rate itself, whose PCC the ceiling must name.
    scale = np.array([0.25, 1, 5, 50])
    rate = rng.gamma(2.0, scale, size=(20_000, 4))
    counts = csr_matrix(rng.poisson(rate).astype(np.float32))
    ceiling = scores.noise_ceiling(counts, lambda half: half.toarray(), n_splits=5)
    np.testing.assert_allclose(ceiling, np.sqrt(scale / (1 + scale)), atol=0.03)  # variance 2 s^2 over 2 s^2 + 2 s
    np.testing.assert_allclose(ceiling, scores.pearson(counts.toarray(), rate), atol=0.03)
    assert (np.diff(ceiling) > 0).all()  # deeper genes have less noise


def test_ceiling_of_pure_noise_is_near_zero_and_of_nothing_undefined(rng):
    counts = csr_matrix(np.column_stack([rng.poisson(5, 5000), np.zeros(5000)]).astype(np.float32))
    ceiling = scores.noise_ceiling(counts, lambda half: half.toarray())
    assert 0 <= ceiling[0] < 0.2
    assert np.isnan(ceiling[1])


def test_ceiling_repeats_with_its_seed(rng):
    counts = csr_matrix(rng.poisson(2, (50, 5)).astype(np.float32))
    runs = [scores.noise_ceiling(counts, lambda half: half.toarray(), seed=s, n_splits=2) for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_top_k_skips_undefined_and_breaks_ties_by_order():
    pcc = np.array([0.1, np.nan, 0.5, 0.5, -0.2])
    assert scores.top_k(pcc, 2).tolist() == [2, 3]
    assert scores.top_k(pcc, 9).tolist() == [2, 3, 0, 4]
    assert scores.pcc_at_k(pcc, 3) == pytest.approx(1.1 / 3)
    assert np.isnan(scores.pcc_at_k(pcc, 5))


@pytest.mark.parametrize(
    ("definition", "delta"),
    [("own_top_k", 0.65 - 0.15), ("log_top_k", 0.65 - 0.05), ("residual_top_k", 0.35 - 0.15)],
)
def test_delta_k_by_hand(definition, delta):
    rho_log, rho_res = np.array([0.8, -0.5, 0.4, 0.3]), np.array([0.1, 0.0, -0.2, 0.1])
    pcc_log, pcc_res = np.array([0.9, 0.8, 0.1, 0.0]), np.array([0.0, 0.1, 0.9, 0.8])
    assert scores.delta_k(rho_log, rho_res, pcc_log, pcc_res, 2, definition) == pytest.approx(delta)


def test_delta_of_the_whole_panel_needs_no_ranking(rng):
    values = rng.uniform(-1, 1, (4, 30))
    deltas = [scores.delta_k(*values, 30, d) for d in scores.DEFINITIONS]
    np.testing.assert_allclose(deltas, np.abs(values[0]).mean() - np.abs(values[1]).mean())


def test_delta_refuses_an_unknown_definition():
    with pytest.raises(ValueError, match="own_top_k"):
        scores.delta_k(*np.ones((4, 3)), 1, "best")


def tidy(rng, sections=("s1", "s2", "s3"), n_genes=12, seeds=(0,)):
    """Associations and predictability of three sections: in log space the nuclei-dependent genes are predictable."""
    genes = [f"g{i}" for i in range(n_genes)]
    links, fits = [], []
    for section in sections:
        for target, size in (("log2", 0.6), ("pearson_residual", 0.2)):
            rho = size * rng.uniform(0, 1, n_genes)
            table = pd.DataFrame({"section": section, "target": target, "gene": genes, "rho_nuclei": rho})
            links.append(table.assign(rho_depth=-rho, chance_nuclei=0.05, chance_mean=0.06, chance_share=0.01))
            for seed in seeds:
                fit = pd.DataFrame({"section": section, "target": target, "gene": genes, "pcc": rho + 0.1 * seed})
                fits.append(fit.assign(backbone="ridge", split="section", seed=seed, ceiling=0.8))
    return pd.concat(links, ignore_index=True), pd.concat(fits, ignore_index=True)


def test_table1_counts_only_kept_sections_and_shows_chance(rng):
    links, _ = tidy(rng)
    sections = pd.DataFrame(
        {"section": ["s1", "s2", "s3"], "kept": [True, True, False], "rho_nuclei_depth": [0.4, 0.6, -1]}
    )
    table = scores.table1(links, sections, "toy").set_index(["metric", "target"])
    kept = links[links["section"].isin(["s1", "s2"]) & (links["target"] == "log2")].groupby("section")["rho_nuclei"]
    row = table.loc[("median_abs_rho_nuclei", "log2")]
    assert row["value"] == pytest.approx(kept.median().mean())
    assert (row["cohort"], row["chance"], row["n_sections"]) == ("toy", 0.05, 2)
    shares = (kept.apply(lambda rho: (rho > 0.3).mean())).median()
    assert table.loc[("share_coupled_nuclei", "log2"), "value"] == pytest.approx(shares)
    assert table.loc[("share_coupled_nuclei", "log2"), "chance"] == pytest.approx(0.01)
    assert table.loc[("rho_nuclei_depth", ""), "value"] == pytest.approx(0.5)


def test_summary_counts_undefined_genes(rng):
    links, _ = tidy(rng, sections=("s1",))
    links.loc[0, ["rho_nuclei", "rho_depth"]] = np.nan
    row = scores.section_summary(links).iloc[0]
    assert (row["n_genes"], row["n_undefined"]) == (11, 1)
    assert row["median_abs_rho_nuclei"] == pytest.approx(links["rho_nuclei"][1:12].median())


def test_differences_agree_with_delta_k_and_skip_large_k(rng):
    links, fits = tidy(rng, seeds=(0, 1))
    table = scores.differences(links, fits, ks=(3, 50))
    assert set(table["k"]) == {3}
    assert len(table) == 3 * 2 * 3  # sections, rankings, definitions
    rho = links[links["section"] == "s2"].pivot(index="gene", columns="target", values="rho_nuclei")
    log, residual = rho["log2"].to_numpy(), rho["pearson_residual"].to_numpy()
    same = table.query("section == 's2' and ranking == 'same'").set_index("definition")
    for definition in scores.DEFINITIONS:
        expected = scores.delta_k(log, residual, log, residual, 3, definition)
        assert same.loc[definition, "delta"] == pytest.approx(expected)
    assert same["delta_panel"].iloc[0] == pytest.approx(log.mean() - residual.mean())


def test_nested_ranking_never_looks_at_its_own_section(rng):
    links, fits = tidy(rng)
    changed = fits.copy()
    own = changed["section"] == "s1"
    changed.loc[own, "pcc"] = rng.permutation(changed.loc[own, "pcc"])
    chosen = [scores.differences(links, f, ks=(4,)).query("section == 's1'") for f in (fits, changed)]
    nested = [table.query("ranking == 'nested'")["delta"].to_numpy() for table in chosen]
    same = [table.query("ranking == 'same'")["delta"].to_numpy() for table in chosen]
    np.testing.assert_array_equal(*nested)
    assert (same[0] != same[1]).any()


def test_own_ranking_is_optimistic(rng):
    # PCC that are noise: the best of a section look good on that section only.
    links, fits = tidy(rng, sections=[f"s{i}" for i in range(10)], n_genes=50)
    fits["pcc"] = rng.normal(0, 0.1, len(fits))
    table = scores.top_genes(links, fits, ks=(10,)).groupby("ranking")["pcc"].mean()
    assert table["same"] > 0.1
    assert abs(table["nested"]) < 0.03


def test_top_genes_give_delta_by_subtraction(rng):
    links, fits = tidy(rng)
    top = scores.top_genes(links, fits, ks=(5,)).query("ranking == 'same'")
    rho = top.pivot(index="section", columns="target", values="abs_rho")
    delta = scores.differences(links, fits, ks=(5,)).query("ranking == 'same' and definition == 'own_top_k'")
    np.testing.assert_allclose(rho["log2"] - rho["pearson_residual"], delta.set_index("section")["delta"])


def test_sections_without_nuclei_have_predictability_but_no_delta(rng):
    links, fits = tidy(rng)
    links.loc[links["section"] == "s3", "rho_nuclei"] = np.nan
    assert set(scores.differences(links, fits, ks=(3,))["section"]) == {"s1", "s2"}
    top = scores.top_genes(links, fits, ks=(3,)).query("section == 's3'")
    assert top["pcc"].notna().all()
    assert top["abs_rho"].isna().all()


def test_pcc_by_rank_falls_and_counts_sections(rng):
    _, fits = tidy(rng)
    fits.loc[0, "pcc"] = np.nan
    table = scores.pcc_by_rank(fits).query("target == 'log2'")
    assert (np.diff(table["pcc"][:-1]) <= 0).all()
    assert table["n_sections"].tolist() == [3] * 11 + [2]


@pytest.mark.parametrize("n_covariates", [1, 2])
def test_partial_coupling_is_pingouins(rng, n_covariates):
    given = rng.normal(size=(80, n_covariates))
    pcc, rho = given[:, 0] + rng.normal(size=80), given[:, -1] ** 3 + rng.normal(size=80)
    data = pd.DataFrame({"x": pcc, "y": rho} | {f"c{i}": given[:, i] for i in range(n_covariates)})
    covariates = [f"c{i}" for i in range(n_covariates)]
    expected = pingouin.partial_corr(data, "x", "y", covar=covariates, method="spearman")["r"].iloc[0]
    assert scores.coupling(pcc, rho, given) == pytest.approx(expected, abs=1e-6)
    assert scores.coupling(pcc, rho) == pytest.approx(stats.spearmanr(pcc, rho).statistic, abs=1e-12)


def test_coupling_through_abundance_alone_vanishes_given_abundance(rng):
    abundance = rng.normal(size=2000)
    pcc, rho = (abundance + 0.7 * rng.normal(size=2000) for _ in range(2))
    assert scores.coupling(pcc, rho) > 0.5
    assert abs(scores.coupling(pcc, rho, abundance)) < 0.1


def test_coupling_is_undefined_for_few_genes_or_none_left():
    assert np.isnan(scores.coupling(np.array([0.1, 0.2, np.nan]), np.array([0.1, np.nan, 0.3])))
    x = np.arange(20.0)
    assert np.isnan(scores.coupling(x, x[::-1] ** 2 % 7, given=np.exp(x)))


def test_couplings_by_section(rng):
    links, fits = tidy(rng)
    keys = fits[["section", "gene"]].drop_duplicates()
    table = scores.couplings(links, fits, keys.assign(log_mean_count=rng.normal(size=len(keys))))
    assert len(table) == 6
    np.testing.assert_allclose(table["coupling"], 1)  # pcc is a monotone function of |rho| there
    assert table["n_genes"].eq(12).all()


def test_drop_one_by_hand():
    table = scores.drop_one(pd.Series({"s1": 1.0, "s2": 2.0, "s3": 9.0})).set_index("dropped")["median"]
    assert table.to_dict() == {"none": 2.0, "s1": 5.5, "s2": 5.0, "s3": 1.5}


def test_a_score_is_flagged_where_most_sections_show_skill_on_depth_alone():
    rows = [("ridge", "log2", [True, True, False]), ("ridge", "pearson_residual", [True, False, False])]
    controls = pd.DataFrame(
        [(b, t, "section", twin, flag) for b, t, flags in rows for flag in flags for twin in ("depth_only", "real")],
        columns=["backbone", "target", "split", "twin", "flagged"],
    )
    controls.loc[controls["twin"] == "real", "flagged"] = True  # only the twin counts
    skill = scores.twin_skill(controls, "section").set_index("target")
    assert skill["n_flagged"].to_dict() == {"log2": 2, "pearson_residual": 1}
    assert skill["flagged"].to_dict() == {"log2": True, "pearson_residual": False}
    assert scores.twin_skill(controls, "patient").empty
