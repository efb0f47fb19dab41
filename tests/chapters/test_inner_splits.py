"""The recipe is chosen on sections that no score of the fold comes from."""

from pathlib import Path

import numpy as np
import pandas as pd
from made import GENES, GEOMETRIES, PANEL, Truth, as_predicted

from helpers import schema
from helpers.chapters import inner_splits
from helpers.models.stem import recipes
from helpers.scores import judge


def table(**composition):
    """Composition skill by candidate, one value a fold."""
    rows = [(name, f"S{i}", value) for name, values in composition.items() for i, value in enumerate(values)]
    table = pd.DataFrame(rows, columns=["candidate", "held_out", "composition"]).replace({"few": "200 steps"})
    return table.assign(pcc=0.7)


def test_a_fold_never_sets_its_own_section_aside():
    splits = inner_splits.inner_splits(["B4", "C2", "C3", "C4"])
    assert all(held_out != aside for held_out, aside in splits)
    assert sorted(aside for _, aside in splits) == sorted(held_out for held_out, _ in splits)


def test_each_fold_takes_the_candidate_of_most_composition_and_never_ridge():
    chosen = inner_splits.chosen(table(ridge=(0.9, 0.9), few=(0.3, 0.5), many=(0.4, 0.4)))
    assert chosen.to_dict() == {"S0": "many", "S1": "200 steps"}


def test_the_remark_says_how_many_folds_and_how_much_of_ridge():
    text = inner_splits.remark(table(ridge=(0.5, 0.5, 0.5), few=(0.3, 0.5, 0.1), many=(0.4, 0.4, 0.4)))
    assert "of 3 folds 2 took many, 1 took 200 steps" in text
    assert "ridge 0.500, 200 steps 0.300, many 0.400" in text
    assert "80% of ridge's composition skill in the median of the folds (80% to 80%). More were not tried." in text


def test_scores_tell_a_model_of_depth_from_one_of_composition():
    truth = Truth(GEOMETRIES["square"](), seed=0)
    section, genes = truth.section("A1"), GENES[:PANEL]
    for composition, low, high in ((truth.composition(), 0.3, 1), (np.tile(truth.level, (len(truth.xy), 1)), -1, 0.2)):
        prediction = section[:, genes].copy()
        prediction.layers[schema.MEASURED] = judge.measured(section, "log2", genes)
        share = composition / composition.sum(axis=1, keepdims=True)
        prediction.layers[schema.PREDICTED] = as_predicted(truth.library(), share, "log2")
        found = inner_splits.score(prediction, section)
        assert found["pcc"] > 0.3 and low < np.nan_to_num(found["composition"]) < high


def test_the_profile_has_the_steps_that_the_committed_splits_choose():
    committed = pd.read_csv(Path(__file__).parents[2] / "data/results/stem_recipe/inner_splits.csv")
    [most] = inner_splits.chosen(committed).mode()
    assert recipes.PROFILES["cpu"].steps == inner_splits.CANDIDATES[most]["steps"]
