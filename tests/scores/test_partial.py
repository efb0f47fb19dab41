"""Partial scores: pingouin and statsmodels gene by gene, hand-computed cases, what is undefined and what is nothing."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from helpers import columns
from helpers.scores import partial


@pytest.fixture
def maps():
    """Genes that follow capture and composition; a prediction that has seen both."""
    rng = np.random.default_rng(0)
    n, genes = 120, 6
    nuclei = rng.poisson(20, n)
    composition = rng.normal(size=(n, genes))
    depth = np.exp(rng.normal(0, 0.4, n)) * nuclei * 100
    counts = rng.poisson(depth[:, None] / 200 * np.exp(0.4 * composition))
    measured = np.log2(counts + 1)
    predicted = measured + rng.normal(0, 0.5, (n, genes)) + 0.05 * nuclei[:, None]
    total = depth.astype(int) + counts.sum(axis=1)
    return measured, predicted, nuclei, np.log1p(total[:, None] - counts)


def by_gene(maps, j):
    measured, predicted, nuclei, depth = maps
    return pd.DataFrame({"x": measured[:, j], "y": predicted[:, j], "nuclei": nuclei, "depth": depth[:, j]})


GENES = list("abcdef")
SETS = {"nuclei": ["nuclei"], "depth": ["depth"], "both": ["nuclei", "depth"]}


def scores(maps, rank=False):
    measured, predicted, nuclei, depth = maps
    given = {"nuclei": [nuclei], "depth": [depth], "both": [nuclei, depth]}
    return partial.partial_scores(measured, predicted, GENES, given, rank).set_index(["given", "gene"])


@pytest.mark.parametrize("rank", [False, True])
def test_partial_and_semi_partial_are_pingouins(maps, rank):
    import pingouin

    method = "spearman" if rank else "pearson"
    table = scores(maps, rank)
    for name, covariates in SETS.items():
        for j, gene in enumerate(GENES):
            of_gene, row = by_gene(maps, j), table.loc[(name, gene)]
            expected = pingouin.partial_corr(of_gene, "x", "y", covar=covariates, method=method)["r"].item()
            assert row["partial"] == pytest.approx(expected, abs=1e-9)
            expected = pingouin.partial_corr(of_gene, "x", "y", y_covar=covariates, method=method)["r"].item()
            assert row["semi_partial"] == pytest.approx(expected, abs=1e-9)
            assert row["r"] == pytest.approx(of_gene[["x", "y"]].corr(method).iloc[0, 1])


def test_shares_are_differences_of_r2(maps):
    import statsmodels.formula.api as smf

    table = scores(maps)
    for name, covariates in SETS.items():
        for j, gene in enumerate(GENES):
            terms = {"both": ["y", *covariates], "covariates": covariates, "prediction": ["y"]}
            r2 = {k: smf.ols("x ~ " + " + ".join(v), by_gene(maps, j)).fit().rsquared for k, v in terms.items()}
            row = table.loc[(name, gene)]
            assert row["unique"] == pytest.approx(r2["both"] - r2["covariates"], abs=1e-9)
            assert row["capture_only"] == pytest.approx(r2["both"] - r2["prediction"], abs=1e-9)
            assert row[["unique", "shared", "capture_only"]].sum() == pytest.approx(r2["both"])


def test_by_hand():
    """r = 1/2 everywhere: partial (1/2 - 1/4) / (1 - 1/4) = 1/3; unique 1/12, shared 1/6, covariate alone 1/12."""
    rng = np.random.default_rng(1)
    q = np.linalg.qr(np.column_stack([np.ones(30), rng.normal(size=(30, 3))]))[0][:, 1:]
    root = np.linalg.cholesky([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]])
    x, y, z = (q @ root.T).T
    row = partial.partial_scores(x[:, None], y[:, None], ["g"], {"z": [z]}).iloc[0]
    expected = {"r": 1 / 2, "partial": 1 / 3, "semi_partial": 12**-0.5}
    expected |= {"unique": 1 / 12, "shared": 1 / 6, "capture_only": 1 / 12}
    assert row[list(expected)].to_dict() == pytest.approx(expected)


def test_a_prediction_of_capture_alone_knows_nothing_beyond_it(maps):
    measured, _, nuclei, _ = maps
    floor = (5 + np.outer(nuclei, np.arange(1.0, 7)) / 100).astype(np.float32)  # as predictions are stored
    table = partial.partial_scores(measured, floor, GENES, {"nuclei": [nuclei]})
    assert table["r"].min() > 0.2
    assert table[["partial", "semi_partial"]].isna().all(axis=None)
    assert (table["unique"] == 0).all()
    np.testing.assert_allclose(table["shared"], table["r"] ** 2)
    np.testing.assert_allclose(table["capture_only"], 0, atol=1e-6)


def test_a_gene_that_covariates_explain_has_no_partial_and_no_unique_share(maps):
    _, predicted, nuclei, _ = maps
    table = partial.partial_scores(np.outer(nuclei, np.ones(6)), predicted, GENES, {"nuclei": [nuclei]})
    assert table["partial"].isna().all()
    np.testing.assert_allclose(table["unique"], 0, atol=1e-12)


def test_constant_genes_are_undefined_and_constant_covariates_take_nothing_out(maps):
    measured, predicted, nuclei, depth = (np.array(values, float) for values in maps)
    expected = scores(maps)
    measured[:, 1], predicted[:, 2] = 0.1, 3
    given = {"nuclei": [nuclei, np.full(len(nuclei), 7.0), 2 * nuclei + 1], "both": [depth, nuclei, nuclei]}
    table = partial.partial_scores(measured, predicted, GENES, given).set_index(["given", "gene"])
    values = ["r", "partial", "semi_partial", "unique", "shared", "capture_only"]
    for name in given:
        assert table.loc[name].loc[["b", "c"], values].isna().all(axis=None)
        known = table.loc[name].loc[list("adef"), values]
        np.testing.assert_allclose(known, expected.loc[name].loc[list("adef"), values], atol=1e-9)


def test_a_given_nothing_changes_nothing(maps):
    measured, predicted, *_ = maps
    table = partial.partial_scores(measured, predicted, GENES, {"nothing": []})
    np.testing.assert_allclose(table["partial"], table["r"])
    np.testing.assert_allclose(table["unique"], table["r"] ** 2)


@pytest.mark.parametrize("rank", [False, True])
def test_the_correlation_of_what_is_left_is_the_partial_one(maps, rank):
    measured, predicted, *both = maps
    left = (partial.left_over(side, both, rank) for side in (measured, predicted))
    r = [np.corrcoef(*columns)[0, 1] for columns in zip(*(side.T for side in left), strict=True)]
    np.testing.assert_allclose(r, scores(maps, rank).loc["both", "partial"], atol=1e-9)


def test_of_a_constant_gene_and_of_the_covariate_itself_nothing_is_left(maps):
    nuclei = maps[2]
    columns = np.column_stack([nuclei, np.full(len(nuclei), 0.1)])
    assert not partial.left_over(columns, [np.log1p(nuclei), nuclei], rank=True).any()


def test_refusals(maps):
    measured, predicted, nuclei, _ = maps
    with pytest.raises(ValueError, match="both need the same spots and genes"):
        partial.partial_scores(measured, predicted[1:], GENES, {"nuclei": [nuclei]})
    with pytest.raises(ValueError, match="not finite"):
        partial.partial_scores(measured, predicted, GENES, {"nuclei": [np.where(nuclei > 25, np.nan, nuclei)]})
    with pytest.raises(ValueError, match="4 spots are too few to take 2 covariates out"):
        partial.partial_scores(measured[:4], predicted[:4], GENES, {"both": [nuclei[:4], nuclei[:4]]})


def test_pieces_add_up_at_right_angles_and_their_products_are_parts_of_r(maps):
    measured, predicted, nuclei, depth = maps
    found = partial.pieces(measured, {"depth": [depth], "nuclei": [nuclei, np.log1p(nuclei)]})
    assert list(found) == ["depth", "nuclei", partial.LEFT]
    x, y = columns.unit(measured), columns.unit(predicted)
    np.testing.assert_allclose(sum(found.values()), x)
    for one, other in combinations(found.values(), 2):
        np.testing.assert_allclose((one * other).sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(
        sum((piece * y).sum(axis=0) for piece in found.values()), columns.pearson(measured, predicted)
    )
    given = np.column_stack([np.ones(len(x)), depth[:, 0], nuclei, np.log1p(nuclei)])
    fitted = given @ np.linalg.lstsq(given, x[:, 0], rcond=None)[0]
    np.testing.assert_allclose(found["depth"][:, 0] + found["nuclei"][:, 0], fitted, atol=1e-12)


def test_a_covariate_that_says_nothing_new_has_no_piece(maps):
    measured, _, nuclei, _ = maps
    found = partial.pieces(
        measured, {"nuclei": [nuclei], "again": [3 * nuclei + 1], "constant": [np.ones(len(nuclei))]}
    )
    np.testing.assert_allclose(found["again"], 0, atol=1e-12)
    np.testing.assert_allclose(found["constant"], 0, atol=1e-12)
