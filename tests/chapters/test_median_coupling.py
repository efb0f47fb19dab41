"""The sentence on coupling to nuclei: medians over sections beside their chance, in the order of the targets."""

import numpy as np
import pandas as pd

from helpers.chapters import median_coupling
from helpers.scores import coupling

VALUE = "median_abs_rho_nuclei"
PATIENTS = {"A1": "A", "A2": "A", "A3": "B"}
NULL = pd.DataFrame({"section": coupling.MEDIAN, "metric": VALUE, "target": ["log2", "pearson_residual"]})
NULL = NULL.assign(chance=[0.05, 0.04], chance_95=[0.1, 0.07])


def summary(*values):
    """Sections A1, A2, ... with the given value in residuals and half of it in log."""
    names = [f"A{i}" for i in range(1, len(values) + 1)]
    residual = pd.DataFrame({"section": names, "target": "pearson_residual", VALUE: values, f"chance_95_{VALUE}": 0.15})
    return pd.concat([residual, residual.assign(target="log2", **{VALUE: residual[VALUE] / 2})])


def test_targets_stand_in_their_order_with_medians_over_sections():
    sentence = median_coupling.answer(summary(0.2, 0.4, 0.9), NULL, "The median", VALUE, PATIENTS)
    assert sentence == (
        "The median, median over 3 sections of 2 patients (95 % point of chance; sections above their own): "
        "Pearson residual **0.40** (0.07; 3 of 3), log2(x + 1) **0.20** (0.10; 2 of 3)."
    )


def test_a_section_without_the_value_is_left_out_and_none_is_said_so():
    said = median_coupling.answer(summary(0.2, np.nan), NULL, "The share", VALUE, PATIENTS)
    assert "over 1 section of 1 patient (95 % point" in said
    nothing = median_coupling.answer(summary(np.nan), NULL, "The share", VALUE, PATIENTS)
    assert nothing == "The share is known of no section."


def test_sections_are_rows_and_targets_columns_in_their_order():
    wide = median_coupling.by_section(summary(0.2, 0.4), VALUE)
    assert wide.index.tolist() == ["A1", "A2"] and wide.columns.tolist() == ["pearson_residual", "log2"]
    assert wide.to_numpy().tolist() == [[0.2, 0.1], [0.4, 0.2]]
