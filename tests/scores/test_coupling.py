"""Twin of helpers/scores/coupling.py."""

import numpy as np
import pandas as pd
import pytest

from helpers.scores import coupling

GENES = ["a", "b", "c", "d"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_associations_by_hand():
    nuclei = np.array([1, 2, 3, 4])
    X = np.array([[1, 4, 7, 1], [2, 3, 7, 3], [3, 2, 7, 2], [4, 1, 7, 4]])
    drawn = {"log2": np.array([[1, -1, 0], [-1, 1, 0], [np.nan] * 3, [0.6, 0, 0]])}
    table = coupling.associations({"log2": X}, GENES, depth=nuclei[::-1], nuclei=nuclei, drawn=drawn)
    np.testing.assert_allclose(table["rho_nuclei"], [1, -1, np.nan, 0.8])
    np.testing.assert_allclose(table["rho_depth"], [-1, 1, np.nan, -0.8])
    np.testing.assert_allclose(table["chance_mean"], [2 / 3, 2 / 3, np.nan, 0.2])


def test_a_section_without_image_keeps_depth_only():
    X = np.arange(12.0).reshape(3, 4)
    table = coupling.associations({"log2": X, "pearson_residual": -X}, GENES, depth=np.arange(3))
    assert table[["rho_nuclei", "chance_mean"]].isna().all(axis=None)
    assert table.groupby("target")["rho_depth"].mean().to_dict() == pytest.approx({"log2": 1, "pearson_residual": -1})


def test_nuclei_given_depth_is_pingouins_and_nothing_where_depth_says_all(rng):
    import pingouin

    depth, nuclei = rng.normal(size=50), rng.normal(size=50)
    X = np.column_stack(
        [depth + nuclei + rng.normal(size=50), depth**3, np.ones(50), depth + 0.1 * rng.normal(size=50)]
    )
    table = coupling.associations({"log2": X}, GENES, depth, nuclei)
    by_hand = pd.DataFrame({"x": X[:, 0], "nuclei": nuclei, "depth": depth})
    expected = pingouin.partial_corr(by_hand, "x", "nuclei", covar="depth", method="spearman")["r"].item()
    assert table["rho_nuclei_given_depth"][0] == pytest.approx(expected)
    assert table["rho_nuclei_given_depth"][1:3].isna().all() and abs(table["rho_nuclei_given_depth"][3]) < 0.3


def test_metrics_of_draws_by_hand():
    drawn = np.array([[0.1, -0.9], [0.4, 0.2], [0.3, 0.0], [np.nan, np.nan]])
    np.testing.assert_allclose(coupling.metrics_of(drawn), [[0.3, 0.2], [1 / 3, 1 / 3]])
    assert np.isnan(coupling.metrics_of(np.full((3, 4), np.nan))).all()


def test_the_null_of_a_median_is_of_the_median_and_sections_of_a_patient_go_the_same_way(rng):
    """Of one patient: as wide as one section's. Of many patients: narrower, about the same mean."""
    draws = {(f"s{i}", "log2"): dict(zip(coupling.METRICS, rng.uniform(size=(2, 4000)), strict=True)) for i in range(9)}
    same, apart = ({f"s{i}": patient(i) for i in range(9)} for patient in (lambda i: "p", lambda i: f"p{i}"))
    for patients, high in ((same, 0.95), (apart, 0.75)):
        table = coupling.chance_table(draws, patients).set_index(["section", "metric"])
        row = table.loc[(coupling.MEDIAN, "median_abs_rho_nuclei")]
        assert row["chance"] == pytest.approx(0.5, abs=0.02) and row["chance_95"] == pytest.approx(high, abs=0.03)
        assert table.loc[("s3", "share_coupled_nuclei"), "chance_95"] == pytest.approx(0.95, abs=0.02)
    assert len(table) == 2 * 10 and len(coupling.chance_table({}, {})) == 0


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


def test_table1_counts_only_kept_sections_and_shows_chance(rng):
    links, _ = tidy(rng)
    sections = pd.DataFrame(
        {"section": ["s1", "s2", "s3"], "kept": [True, True, False], "rho_nuclei_depth": [0.4, 0.6, -1]}
    )
    rows = [("s1", 0.9, 0.9), (coupling.MEDIAN, 0.05, 0.08)]
    null = pd.DataFrame(rows, columns=["section", "chance", "chance_95"]).assign(target="log2")
    null = pd.concat([null.assign(metric=metric) for metric in coupling.METRICS])
    table = coupling.table1(links, null, sections, "toy").set_index(["metric", "target"])
    kept = links[links["section"].isin(["s1", "s2"]) & (links["target"] == "log2")].groupby("section")["rho_nuclei"]
    row = table.loc[("median_abs_rho_nuclei", "log2")]
    assert row["value"] == pytest.approx(kept.median().mean())
    assert (row["cohort"], row["chance"], row["n_sections"]) == ("toy", 0.05, 2)
    shares = (kept.apply(lambda rho: (rho > 0.3).mean())).median()
    assert table.loc[("share_coupled_nuclei", "log2"), "value"] == pytest.approx(shares)
    assert table.loc[("share_coupled_nuclei", "log2"), "chance_95"] == pytest.approx(0.08)
    assert np.isnan(table.loc[("share_coupled_nuclei", "pearson_residual"), "chance"])
    assert table.loc[("rho_nuclei_depth", ""), "value"] == pytest.approx(0.5)


def test_summary_counts_undefined_genes(rng):
    links, _ = tidy(rng, sections=("s1",))
    links.loc[0, ["rho_nuclei", "rho_depth"]] = np.nan
    row = coupling.section_summary(links).iloc[0]
    assert (row["n_genes"], row["n_undefined"]) == (11, 1)
    assert row["median_abs_rho_nuclei"] == pytest.approx(links["rho_nuclei"][1:12].median())
    null = pd.DataFrame(
        {"section": "s1", "target": "log2", "metric": coupling.METRICS, "chance": 0.1, "chance_95": 0.2}
    )
    beside = coupling.section_summary(links, null).iloc[0]
    assert (beside["chance_share_coupled_nuclei"], beside["chance_95_median_abs_rho_nuclei"]) == (0.1, 0.2)


def test_drop_one_by_hand():
    table = coupling.drop_one(pd.Series({"s1": 1.0, "s2": 2.0, "s3": 9.0})).set_index("dropped")["median"]
    assert table.to_dict() == {"none": 2.0, "s1": 5.5, "s2": 5.0, "s3": 1.5}
