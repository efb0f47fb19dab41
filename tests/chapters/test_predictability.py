"""PCC-k beside ceiling and floor, by hand."""

import numpy as np
import pandas as pd
import pytest

from helpers.chapters import predictability

PATIENTS = {"a": "A", "b": "A", "c": "B"}


@pytest.fixture
def top():
    """Three sections; ridge at .6 .5 .1 of a ceiling of .8, nuclei alone at .4 .45 .3 in log alone."""
    rows = [("ridge", "log2", section, 50, pcc, 0.8) for section, pcc in zip("abc", (0.6, 0.5, 0.1), strict=True)]
    rows += [("ridge", "log2", "a", 10, 0.9, 0.9), ("ridge", "pearson_residual", "a", 50, 0.3, 0.6)]
    rows += [("nuclei", "log2", section, 50, pcc, 0.8) for section, pcc in zip("abc", (0.4, 0.45, 0.3), strict=True)]
    return pd.DataFrame(rows, columns=["backbone", "target", "section", "k", "pcc", "ceiling"])


def test_medians_are_compared_with_ceiling_and_floor_of_their_target(top):
    found = predictability.beside_ceiling_and_floor(top, 50)
    # .2, .05 and -.2 more than nuclei: the middle one is no difference of medians, .5 less .4.
    assert found.loc[("ridge", "log2")].tolist() == pytest.approx([0.5, 0.8, 0.625, 0.05])
    assert found.loc[("nuclei", "log2"), "excess over nuclei"] == 0
    assert np.isnan(found.loc[("ridge", "pearson_residual"), "excess over nuclei"])
    assert predictability.beside_ceiling_and_floor(top, 10)["pcc"].tolist() == [0.9]


def test_without_the_floor_there_is_no_excess(top):
    found = predictability.beside_ceiling_and_floor(top[top["backbone"] == "ridge"], 50)
    assert found["excess over nuclei"].isna().all() and found["reached"].notna().all()


def test_the_answer_sets_the_models_of_each_target_beside_nuclei_alone(top):
    """Log comes first and STEM before ridge, however the rows lie."""
    top = pd.concat([top, top[:3].assign(backbone="stem", pcc=-0.001)])[::-1]
    assert predictability.answer(top, 50, ["stem", "ridge"], "section", PATIENTS) == (
        "PCC-50 with one section held out, medians over 3 sections of 2 patients. log2(x + 1): `stem` **0.00** (0% of "
        "its ceiling), `ridge` **0.50** (62% of its ceiling), nuclei alone 0.40. Pearson residual: `ridge` **0.30** "
        "(50% of its ceiling). A ceiling supposes Poisson counts, and is too high where genes vary more "
        "([page 27](27_known_truth.ipynb)). Chance stands on [page 23](23_inference.ipynb), more floors on "
        "[page 19](19_floors.ipynb)."
    )
    one = predictability.answer(top[top["backbone"] == "stem"][:1], 50, ["stem"], "patient", PATIENTS)
    assert one.startswith("PCC-50 with one patient held out, medians over 1 section of 1 patient. log2(")
    assert "nuclei" not in one


def test_models_are_shown_in_one_order_and_floors_are_none(top):
    stem = top.iloc[:1].assign(backbone="stem")
    assert predictability.trained(pd.concat([top, stem])) == ["stem", "ridge"]
    assert predictability.trained(top[top["backbone"] == "nuclei"]) == []
