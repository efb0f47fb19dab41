import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import schema
from helpers.chapters import composition_skill, training_check

GENES, SPOTS = list("abcde"), list("stuv")


def prediction(predicted, **uns):
    made = AnnData(obs=pd.DataFrame(index=SPOTS), var=pd.DataFrame(index=GENES[:3]))
    made.layers[schema.PREDICTED] = predicted
    made.uns = {"section": "A1", "split": "section", "backbone": "stem", "seed": 0, "target": "log2"} | uns
    return made


def test_of_composition_the_library_that_a_prediction_has_is_divided_out():
    """Twice as many molecules of every gene in some spots: the prediction's shares, and so its residuals, stay."""
    counts = np.random.default_rng(0).poisson(5000.0, (4, 5)).astype(float)
    section = AnnData(counts, obs=pd.DataFrame(index=SPOTS), var=pd.DataFrame(index=GENES))
    section.layers[schema.COUNTS] = section.X
    made = prediction(np.log2(1 + counts[:, :3] * np.array([[1], [2], [1], [2]])))
    found = composition_skill.compositions([made, prediction(counts[:, :3], backbone="nuclei")], {"A1": section})
    assert found["backbone"].unique().tolist() == ["stem"] and list(found["gene"]) == GENES[:3]
    same = composition_skill.composition(prediction(np.log2(1 + counts[:, :3])), section)
    np.testing.assert_allclose(found["pcc"], same, atol=0.05)
    medians = training_check.median_pcc(found, k=2)
    assert medians.loc[("section", "stem"), "log2"] == pytest.approx(found["pcc"].nlargest(2).mean())


def test_without_a_model_that_is_compared_there_are_no_rows():
    assert composition_skill.compositions([], {}).empty
