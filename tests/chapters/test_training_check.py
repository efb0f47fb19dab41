"""Scores of folds and fractions of ridge by hand, and the sentences that go with them."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import schema
from helpers.chapters import training_check

GENES = ["a", "b", "c"]
MEASURED = np.array([[0.0, 1, 0], [1, 0, 0], [2, 2, 0], [3, 1, 0]])
CEILINGS = pd.Series(
    [0.9, 0.8, 0.7], pd.MultiIndex.from_tuples([("A1", "log2", g) for g in "cba"], names=["section", "target", "gene"])
)


def prediction(predicted, **uns):
    made = AnnData(obs=pd.DataFrame(index=list("stuv")), var=pd.DataFrame(index=GENES))
    made.layers[schema.MEASURED], made.layers[schema.PREDICTED] = MEASURED, predicted
    made.uns = {"section": "A1", "split": "section", "backbone": "stem", "seed": 0, "target": "log2"} | uns
    return made


def test_a_prediction_is_scored_gene_by_gene_beside_the_ceilings_of_these_genes():
    scored = training_check.score(prediction(-2 * MEASURED), CEILINGS)
    np.testing.assert_allclose(scored["pcc"], [-1, -1, np.nan])
    assert scored["ceiling"].tolist() == [0.7, 0.8, 0.9]  # by name, whatever their order
    assert list(scored)[:6] == ["section", "split", "backbone", "seed", "target", "gene"]


def test_predictions_are_stacked_and_one_without_a_ceiling_is_refused():
    two = [prediction(MEASURED), prediction(MEASURED, seed=1)]
    assert training_check.score_all(two, CEILINGS)["seed"].tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(KeyError):
        training_check.score(prediction(MEASURED, target="pearson_residual"), CEILINGS)


def scores(pcc):
    """One row a gene: `pcc` maps (backbone, target, section, seed) to the PCC of three genes."""
    keys = ["backbone", "target", "section", "seed"]
    rows = [(*key, gene, value, 1.0) for key, values in pcc.items() for gene, value in zip(GENES, values, strict=True)]
    return pd.DataFrame(rows, columns=[*keys, "gene", "pcc", "ceiling"]).assign(split="section")


@pytest.fixture
def table():
    return scores(
        {
            ("stem", "log2", "A1", 0): (0.9, 0.5, 0.1),  # over seeds .7 .7 .1
            ("stem", "log2", "A1", 1): (0.5, 0.9, 0.1),
            ("stem", "log2", "A2", 0): (0.5, 0.4, 0.1),
            ("stem", "log2", "B1", 0): (0.1, 0.2, 0.3),
            ("ridge", "log2", "A1", 0): (0.9, 0.9, 0.1),
            ("ridge", "pearson_residual", "A1", 0): (0.4, 0.2, 0.1),
        }
    )


def test_seeds_are_averaged_before_genes_are_ranked_and_sections_summarized_by_their_median(table):
    medians = training_check.median_pcc(table, k=2)
    assert medians.loc[("section", "stem"), "log2"] == pytest.approx(0.45)  # of .7, .45 and .25
    assert np.isnan(medians.loc[("section", "stem"), "pearson_residual"])
    assert np.isnan(training_check.median_pcc(table, k=4)).all(axis=None)  # fewer genes than k


def test_the_fraction_of_ridge_needs_both(table):
    found = training_check.fraction_of_ridge(training_check.median_pcc(table, k=2))
    assert found["target"].tolist() == ["log2"]
    assert found["fraction"].item() == pytest.approx(0.45 / 0.9)
    assert training_check.fraction_of_ridge(training_check.median_pcc(table[table["backbone"] == "ridge"], 2)).empty


def fractions(*values):
    return pd.DataFrame({"split": "section", "target": ["log2", "pearson_residual"], "fraction": values})


def test_a_gap_in_training_is_a_warning_and_a_small_one_is_not():
    close, apart = fractions(0.95, 0.9), fractions(0.95, 0.6)
    assert training_check.training_warning(close) is None
    assert "differ by 0.35" in training_check.training_warning(apart)
    said = training_check.answer(
        close.assign(parameters=127622, spot_views=38400), close, 50, "5 sections of 2 patients"
    )
    assert said == (
        "`stem`, a network of 127,622 parameters that saw 38,400 views of spots, reached, of ridge's PCC-50, **95%** "
        "in log2(x + 1), **90%** in Pearson residual with one section held out, and of its composition skill **95%** "
        "in log2(x + 1), **90%** in Pearson residual with one section held out (ratios of medians over 5 sections of 2 "
        "patients). The fractions differ by 0.05 and 0.05: by neither measure training favours a target by more than "
        "0.1."
    )
    said = training_check.answer(close.assign(parameters=1, spot_views=1), apart, 50, "")
    assert "differ by 0.05 and 0.35: differences between targets may be differences in training" in said


def test_nothing_trained_is_no_warning():
    nothing = fractions(1, 1).iloc[:0]
    assert training_check.training_warning(nothing) is None
    assert training_check.answer(nothing, nothing, 50, "").startswith(
        "**STEM was not trained in this run**: what it scores on the HER2 cohort"
    )
