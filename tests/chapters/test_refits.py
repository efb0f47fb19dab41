import pandas as pd
import pytest

from helpers.chapters import refits
from helpers.targets.normalization import LOG, RESIDUAL


def table():
    rows = [
        ("C3", LOG, "profile", "pcc_50", 0.75, 0.74),
        ("C3", LOG, "profile", "composition", 0.50, 0.30),
        ("C3", RESIDUAL, "profile", "pcc_50", 0.54, 0.57),
        ("C3", RESIDUAL, "profile", "composition", 0.54, 0.57),
    ]
    return pd.DataFrame(rows, columns=refits.COLUMNS)


def test_residuals_have_one_score_that_is_counted_once():
    assert refits.moved(table())["moved"].tolist() == pytest.approx([0.01, 0.20, 0.03])


def test_the_clause_says_the_most_that_each_score_moved():
    said = refits.answer(table())
    assert said == (
        "trained again on another machine, it moved in PCC-50 of 2 fits by a median of 0.02 and at most 0.03 and in "
        "composition skill of 1 fit by a median of 0.20 and at most 0.20"
    )


def test_the_remark_names_fits_and_the_one_that_moved_most():
    said = refits.remark(table())
    assert said.startswith("2 fits of the HER2 cohort, with 1 section held out")
    assert "- composition skill of log2(x + 1): median 0.200, at most 0.200 (C3, `profile`, 0.500 and 0.300)." in said
