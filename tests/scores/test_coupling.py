"""Twin of helpers/scores/coupling.py."""

import numpy as np
import pandas as pd
import pytest

from helpers import columns
from helpers.scores import coupling

GENES = ["a", "b", "c", "d"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_associations_by_hand():
    nuclei = np.array([1, 2, 3, 4])
    X = np.array([[1, 4, 7, 1], [2, 3, 7, 3], [3, 2, 7, 2], [4, 1, 7, 4]])
    draws = np.column_stack([nuclei, nuclei[::-1], [2, 4, 1, 3]])  # rho with nuclei: 1, -1, 0
    table = coupling.associations({"log2": X}, GENES, depth=nuclei[::-1], nuclei=nuclei, nuclei_draws=draws)
    np.testing.assert_allclose(table["rho_nuclei"], [1, -1, np.nan, 0.8])
    np.testing.assert_allclose(table["rho_depth"], [-1, 1, np.nan, -0.8])
    np.testing.assert_allclose(table["chance_nuclei"][:3], [1, 1, np.nan], atol=1e-12)
    np.testing.assert_allclose(table["chance_mean"][:3], [2 / 3, 2 / 3, np.nan], atol=1e-12)
    np.testing.assert_allclose(table["chance_share"][:3], [2 / 3, 2 / 3, np.nan])


def test_a_section_without_image_keeps_depth_only():
    X = np.arange(12.0).reshape(3, 4)
    table = coupling.associations({"log2": X, "pearson_residual": -X}, GENES, depth=np.arange(3))
    assert table[["rho_nuclei", "chance_nuclei", "chance_share"]].isna().all(axis=None)
    assert table.groupby("target")["rho_depth"].mean().to_dict() == pytest.approx({"log2": 1, "pearson_residual": -1})


@pytest.mark.parametrize("correlate", [columns.pearson, columns.spearman])
@pytest.mark.parametrize(("reliability_x", "reliability_y"), [(1, 0.5), (0.7, 1), (0.8, 0.4)])
def test_disattenuation_finds_the_correlation_without_error(correlate, reliability_x, reliability_y, rng):
    true = np.array([-0.6, 0.0, 0.3, 0.8])
    x = rng.normal(size=(40_000, 1))
    y = true * x + np.sqrt(1 - true**2) * rng.normal(size=(40_000, 4))
    # Reliability is the share of variance that is not error: variance 1 of 1 / reliability.
    x = x + np.sqrt(1 / reliability_x - 1) * rng.normal(size=x.shape)
    y = y + np.sqrt(1 / reliability_y - 1) * rng.normal(size=y.shape)
    rho = correlate(y, x[:, 0]) if correlate is columns.spearman else correlate(y, np.tile(x, 4))
    np.testing.assert_allclose(coupling.disattenuate(rho, reliability_x, reliability_y), true, atol=0.03)


def test_disattenuation_gives_up_on_noise_stops_at_one_and_refuses_what_is_no_share():
    rho = coupling.disattenuate(np.array([0.3, 0.3, 0.3, 0.9, -0.9]), 0.5, np.array([1, 0.04, np.nan, 0.5, 0.5]))
    np.testing.assert_allclose(rho, [0.3 / np.sqrt(0.5), np.nan, np.nan, 1, -1])
    with pytest.raises(ValueError, match="0.2 to 1.3"):
        coupling.disattenuate(0.5, np.array([0.2, 1.3]))


def test_associations_are_corrected_with_their_chance(rng):
    X, nuclei = rng.normal(size=(30, 4)), rng.normal(size=30)
    given = {"depth": nuclei, "nuclei": nuclei, "nuclei_draws": rng.normal(size=(30, 9))}
    plain = coupling.associations({"log2": X}, GENES, **given)
    noisy = {"log2": np.array([1, 0.5, 0.25, 0.01])}
    corrected = coupling.associations({"log2": X}, GENES, **given, reliability_nuclei=0.81, reliability_genes=noisy)
    factor = 1 / (0.9 * np.sqrt([1, 0.5, 0.25, np.nan]))
    for column in ("rho_nuclei", "chance_nuclei", "chance_mean"):
        np.testing.assert_allclose(corrected[column], plain[column] * factor)
    assert corrected["chance_share"][2] > plain["chance_share"][2]
    np.testing.assert_array_equal(corrected["rho_depth"], plain["rho_depth"])


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
    table = coupling.table1(links, sections, "toy").set_index(["metric", "target"])
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
    row = coupling.section_summary(links).iloc[0]
    assert (row["n_genes"], row["n_undefined"]) == (11, 1)
    assert row["median_abs_rho_nuclei"] == pytest.approx(links["rho_nuclei"][1:12].median())


def test_drop_one_by_hand():
    table = coupling.drop_one(pd.Series({"s1": 1.0, "s2": 2.0, "s3": 9.0})).set_index("dropped")["median"]
    assert table.to_dict() == {"none": 2.0, "s1": 5.5, "s2": 5.0, "s3": 1.5}
