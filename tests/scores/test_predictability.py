"""Scores: correlations against scipy, the paper's Delta_k by hand, ceilings against a known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from helpers import columns
from helpers.scores import predictability

GENES = ["a", "b", "c", "d"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_predictability_keeps_sign_and_units(rng):
    measured = rng.normal(size=(50, 4))
    measured[:, 3] = 2.0
    predicted = measured * [2, -1, 1, 1] + [0, 0, 3, 1]
    table = predictability.predictability(measured, predicted, GENES, ceiling=np.full(4, 0.9))
    np.testing.assert_allclose(table["pcc"], [1, -1, 1, np.nan])
    np.testing.assert_allclose(table["rmse"][2:], [3, 1])
    assert table["rmse_over_sd"][2] == pytest.approx(3 / measured[:, 2].std())
    assert np.isnan(table["rmse_over_sd"][3])
    assert table["n_spots"].eq(50).all()
    assert table["ceiling"].eq(0.9).all()


def test_training_gap_is_that_of_the_worst_split():
    table = pd.DataFrame({"split": ["section"] * 2 + ["patient"] * 2, "fraction": [0.9, 0.85, 1.0, 0.7]})
    assert predictability.training_gap(table) == pytest.approx(0.3)
    assert predictability.training_gap(table.iloc[:0]) == 0


def test_the_mean_as_prediction_has_rmse_over_sd_of_one_and_no_r(rng):
    measured = rng.normal(size=(30, 2))
    table = predictability.predictability(measured, np.tile(measured.mean(axis=0), (30, 1)), GENES[:2])
    np.testing.assert_allclose(table["rmse_over_sd"], 1)
    assert table["pcc"].isna().all()


def test_a_failed_fit_is_no_constant_gene():
    predicted = np.ones((3, 4))
    predicted[0, 2] = np.nan
    with pytest.raises(ValueError, match="1 genes, first c"):
        predictability.predictability(np.ones((3, 4)), predicted, GENES)


def test_halves_add_up_and_are_fair(rng):
    counts = csr_matrix(rng.poisson(20, (100, 30)).astype(np.float32))
    first, second = predictability.halve(counts, rng)
    assert (first + second != counts).nnz == 0
    assert min(first.data.min(), second.data.min()) >= 0
    assert first.sum() / counts.sum() == pytest.approx(0.5, abs=0.01)


def test_ceiling_is_the_correlation_of_the_best_prediction(rng):
    # Poisson counts of a known rate: no prediction beats the rate itself, whose PCC the ceiling must name.
    scale = np.array([0.25, 1, 5, 50])
    rate = rng.gamma(2.0, scale, size=(20_000, 4))
    counts = csr_matrix(rng.poisson(rate).astype(np.float32))
    ceiling = predictability.noise_ceiling(counts, lambda half: half.toarray(), n_splits=5)
    np.testing.assert_allclose(ceiling, np.sqrt(scale / (1 + scale)), atol=0.03)  # variance 2 s^2 over 2 s^2 + 2 s
    np.testing.assert_allclose(ceiling, columns.pearson(counts.toarray(), rate), atol=0.03)
    assert (np.diff(ceiling) > 0).all()  # deeper genes have less noise


def test_ceiling_of_pure_noise_is_near_zero_and_of_nothing_undefined(rng):
    counts = csr_matrix(np.column_stack([rng.poisson(5, 5000), np.zeros(5000)]).astype(np.float32))
    ceiling = predictability.noise_ceiling(counts, lambda half: half.toarray())
    assert 0 <= ceiling[0] < 0.2
    assert np.isnan(ceiling[1])


def test_ceiling_repeats_with_its_seed(rng):
    counts = csr_matrix(rng.poisson(2, (50, 5)).astype(np.float32))
    runs = [predictability.noise_ceiling(counts, lambda half: half.toarray(), seed=s, n_splits=2) for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_a_score_is_flagged_where_most_sections_show_skill_on_depth_alone():
    rows = [("ridge", "log2", [True, True, False]), ("ridge", "pearson_residual", [True, False, False])]
    controls = pd.DataFrame(
        [(b, t, "section", twin, flag) for b, t, flags in rows for flag in flags for twin in ("depth_only", "real")],
        columns=["backbone", "target", "split", "twin", "flagged"],
    )
    controls.loc[controls["twin"] == "real", "flagged"] = True  # only the twin counts
    skill = predictability.twin_skill(controls, "section").set_index("target")
    assert skill["n_flagged"].to_dict() == {"log2": 2, "pearson_residual": 1}
    assert skill["flagged"].to_dict() == {"log2": True, "pearson_residual": False}
    assert predictability.twin_skill(controls, "patient").empty


def test_thinning_keeps_each_molecule_with_one_chance():
    rng = np.random.default_rng(0)
    counts = csr_matrix(rng.poisson(rng.uniform(0, 40, (60, 80))).astype(np.float32))
    kept = predictability.thinned(counts, 0.25, rng)
    assert kept.dtype == counts.dtype
    assert (kept.data >= 0).all() and (kept.data <= counts.data).all() and (kept.data == np.rint(kept.data)).all()
    many = counts.data > 20
    for share in (kept.sum() / counts.sum(), (kept.data[many] / counts.data[many]).mean()):
        assert share == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(predictability.thinned(counts, 1, rng).toarray(), counts.toarray())
