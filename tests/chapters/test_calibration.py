"""Tables of folds by hand, sentences that tell a U from a hump, and genes to draw."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import schema
from helpers.chapters import calibration

GENES = ["GNAS", "x", "y", "z"]


def prediction(seed=0, target="log2", antithetic=False, backbone="stem"):
    """40 spots; gene z is predicted perfectly, y hardly, x against the truth; 4 samples of variance 1 each."""
    rng = np.random.default_rng(seed)
    measured = rng.normal(size=(40, 4))
    made = AnnData(
        obs=pd.DataFrame({"patient": "A"}, index=[f"s{i}" for i in range(40)]), var=pd.DataFrame(index=GENES)
    )
    made.layers[schema.MEASURED] = measured
    made.layers[schema.PREDICTED] = measured * [0.1, -1, 0.5, 1] + rng.normal(size=(40, 4)) * [1, 0, 2, 0]
    made.layers[schema.SPREAD] = np.ones((40, 4))
    made.layers[schema.PIT] = np.full((40, 4), 0.01)
    made.layers[schema.PIT_WITHIN] = np.tile([0.1, 0.4, 0.6, 0.98], (40, 1))
    hyper = {"sampler": "sde", "antithetic": antithetic, "n_samples": 4}
    made.uns = {"split": "section", "target": target, "held_out": "A1", "seed": seed, "backbone": backbone}
    made.uns["info"] = {"hyper": hyper}
    return made


def test_one_sample_varies_by_what_its_mean_took_off():
    for antithetic, share in ((False, 3 / 4), (True, 1)):
        genes, _ = calibration.fold_tables(prediction(antithetic=antithetic))
        np.testing.assert_allclose(genes["variance_sampled"] - genes["variance_predicted"], share)


def test_levels_have_a_histogram_each():
    _, ranks = calibration.fold_tables(prediction())
    lowest = ranks[ranks["low"] == 0].set_index("level")["density"]
    assert lowest.to_dict() == {"as sampled": pytest.approx(20), "set right": 0}


def test_folds_are_stacked_with_their_names_in_front_and_none_leaves_empty_tables():
    genes, ranks = calibration.all_folds([prediction(0), prediction(1)])
    assert list(genes)[:5] == [*calibration.FOLD, "gene"] and list(ranks)[:4] == calibration.FOLD
    assert genes["seed"].tolist() == [0] * 4 + [1] * 4 and len(ranks) == 2 * 2 * 20
    for table in calibration.all_folds([]):
        assert table.empty and list(table)[:4] == calibration.FOLD


def test_coverage_is_that_of_the_central_intervals():
    _, ranks = calibration.all_folds([prediction()])
    covered = calibration.coverage(ranks).set_index(["level", "share"])["covered"]
    assert covered.to_dict() == pytest.approx(
        {("as sampled", 0.5): 0, ("as sampled", 0.9): 0, ("set right", 0.5): 0.5, ("set right", 0.9): 0.75}
    )


def test_distances_of_variation_by_hand():
    genes = pd.DataFrame({"target": "log2", "held_out": "A1", "variance_measured": [1.0, 2]})
    genes = genes.assign(variance_predicted=[0.5, 1], variance_sampled=[1, 2])
    [row] = calibration.variation_distances(genes).to_numpy().tolist()
    assert row == ["log2", "A1", 0.25, 0]
    assert calibration.variation_distances(genes.iloc[:0]).empty


def covered(half, most):
    levels = pd.DataFrame({"level": ["as sampled", "set right"]})
    shares = pd.DataFrame({"share": [0.5, 0.9], "covered": [half, most]})
    return levels.merge(shares, how="cross").assign(target="pearson_residual", section="A1", patient="A", seed=0)


@pytest.mark.parametrize(
    ("most", "shape"), [(0.6, "too close together"), (0.99, "too far apart"), (0.9, "as far apart as they should be")]
)
def test_the_answer_says_how_samples_lie(most, shape):
    distances = pd.DataFrame({"target": ["pearson_residual"], "RVD of one sample": 0.25})
    said = calibration.answer(covered(0.5, most), distances)
    assert said.startswith("The central nine tenths of the samples should hold 90% of the measured values, and the RVD")
    assert said.endswith(
        f"Over 1 section of 1 patient: Pearson residual **{most:.0%}**, {most:.0%} with the level of each gene set "
        f"right (samples {shape}), RVD 0.25."
    )
    whose = calibration.answer(covered(0.5, most), distances, "Mine")
    assert whose == f"This run holds no samples of STEM: this is the committed run of Mine. {said}"


def test_a_backbone_is_shown_in_the_two_targets_of_the_paper():
    many = [prediction(0, "pearson_residual"), prediction(0), prediction(1), prediction(0, "log1p_cp10k")]
    shown = calibration.by_target([*many, prediction(2, backbone="ridge")], "stem")
    assert list(shown) == ["log2", "pearson_residual"] and shown["log2"].uns["seed"] == 1
    assert calibration.by_target(many, "ridge") == {}


def test_known_genes_are_shown_and_the_best_predicted_fill_up():
    assert calibration.genes_to_show(prediction()) == ["GNAS", "z", "y"]
    assert calibration.genes_to_show(prediction(), ["x", "absent"], n=2) == ["x", "z"]
