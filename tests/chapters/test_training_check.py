"""Scores of folds, fractions of ridge and arms by hand, and the sentences that go with them."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import schema
from helpers.chapters import training_check
from helpers.scores import judge
from helpers.targets.normalization import LOG, RESIDUAL

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


def section():
    """Four spots of which the panel holds one count in six: its sum tells the library."""
    counts = np.array([[3.0, 8, 2, 65], [1, 4, 5, 50], [9, 2, 2, 65], [4, 4, 9, 85]])
    made = AnnData(obs=pd.DataFrame(index=list("stuv")), var=pd.DataFrame(index=[*GENES, "d"]))
    made.layers[schema.COUNTS], made.uns["section"] = counts, "A1"
    return made


def fitted(target, arm, seed=0, noise=0.0):
    """A prediction that knows its target but for noise."""
    measured = judge.measured(section(), target, GENES)
    scatter = noise * np.random.default_rng(seed).normal(size=measured.shape)
    made = prediction(measured + scatter, target=target, arm=arm, seed=seed)
    made.layers[schema.MEASURED] = measured
    return made


def test_an_arm_stands_beside_the_profile_on_the_sections_that_have_one():
    own = [fitted(LOG, "profile", noise=1), fitted(RESIDUAL, "profile", noise=1)]
    elsewhere = prediction(MEASURED, section="B1", arm="profile")
    ridge = prediction(MEASURED, backbone="ridge", arm="profile")
    found = training_check.score_arms([*own, elsewhere, ridge], [fitted(LOG, "clipped")], {"A1": section()}, k=2)
    assert list(found) == ["split", "target", "arm", "section", "pcc_2", "composition"]
    by_arm = found.set_index(["arm", "target"])
    assert by_arm.loc[("clipped", LOG), ["pcc_2", "composition"]].tolist() == pytest.approx([1, 1])
    assert by_arm.loc[("profile", LOG), "pcc_2"] < 0.99 and set(found["section"]) == {"A1"}
    residual = by_arm.loc[("profile", RESIDUAL)]
    assert residual["composition"] == pytest.approx(residual["pcc_2"])  # one number, asked twice
    assert set(training_check.score_arms(own, [], {"A1": section()}, k=2)["arm"]) == {"profile"}


def test_of_a_run_without_stem_no_arm_is_scored():
    found = training_check.score_arms([prediction(MEASURED, backbone="ridge")], [], {"A1": section()}, k=2)
    assert found.empty and "composition" in found


def arms(**pcc):
    """Scores of arms on one section; composition skill is half of PCC-50."""
    table = pd.DataFrame({"split": "section", "target": LOG, "arm": list(pcc), "section": "C3", "pcc_50": pcc.values()})
    return table.assign(composition=table["pcc_50"] / 2)


def test_seeds_are_said_with_their_spread_and_features_of_nuclei_beside_it():
    text = training_check.arms_remark(arms(profile=0.7, seed_1=0.8, seed_2=0.6, without_nuclei=0.5, as_is=0.1), 50)
    assert text == (
        "- log2(x + 1), section C3, one section held out: 3 seeds, PCC-50 mean 0.700, standard deviation 0.100 "
        "(0.600 to 0.800), composition skill mean 0.350, standard deviation 0.050 (0.300 to 0.400); without the "
        "features of nuclei PCC-50 0.500 (-0.200, outside their range), composition skill 0.250 (-0.100, outside "
        "their range).\n\n"
        "Over 1 fold: what seeds and features do in others is not known."
    )
    within = training_check.arms_remark(arms(profile=0.7, seed_1=0.8, without_nuclei=0.72), 50)
    assert "PCC-50 0.720 (-0.030, within their range)" in within


def test_one_seed_has_no_spread_and_other_arms_are_not_said():
    text = training_check.arms_remark(arms(profile=0.7, without_nuclei=0.6), 50)
    assert "seeds" not in text.splitlines()[0] and "PCC-50 0.600 (-0.100, one seed)" in text
    assert training_check.arms_remark(arms(profile=0.7, clipped=0.8), 50) == ""


def fractions(*values):
    return pd.DataFrame({"split": "section", "target": ["log2", "pearson_residual"], "fraction": values})


def test_a_gap_in_training_is_a_warning_and_a_small_one_is_not():
    close, apart = fractions(0.95, 0.9), fractions(0.95, 0.6)
    assert training_check.training_warning(close) is None
    assert "differ by 0.35" in training_check.training_warning(apart)
    assert "favours no target" in training_check.fractions_remark(close)
    remark = training_check.fractions_remark(apart)
    assert "- Pearson residual, leave one section out: 60% of ridge." in remark and ":::{warning}" in remark


def test_nothing_trained_is_no_warning():
    nothing = fractions(1, 1).iloc[:0]
    assert training_check.training_warning(nothing) is None
    assert training_check.fractions_remark(nothing) == "STEM was not trained in this run."
