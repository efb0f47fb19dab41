"""What is said of the published size is what its table holds."""

import pandas as pd
import pytest

from helpers.chapters import published_size


@pytest.fixture
def scores():
    rows = [
        (published_size.LARGE, "log2", 10, 2560, 0.70, 0.50),
        (published_size.LARGE, "log2", 20, 5120, 0.65, 0.55),
        ("ridge", "log2", None, None, 0.75, 0.60),
        ("stem", "log2", 5, 160, 0.60, 0.40),
        (published_size.LARGE, "pearson_residual", 10, 2560, 0.3, 0.3),
        ("ridge", "pearson_residual", None, None, 0.4, 0.4),
        ("stem", "pearson_residual", 5, 160, 0.2, 0.2),
    ]
    table = pd.DataFrame(rows, columns=["model", "target", "step", "spot_views", "pcc", "composition"])
    return table.assign(held_out="C3", composition_chance_95=table["composition"] / 2)


def test_the_highest_and_the_last_score_stand_beside_ridge_and_the_small_network(scores):
    says = published_size.remark(scores, 32_880_262)
    assert "C3" in says and "32.9 million" in says
    assert "PCC-50: highest 0.700 after 2,560 spot views, 0.650 after 5,120; ridge 0.750, STEM as elsewhere" in says
    assert "STEM as elsewhere here 0.600 (no chance was kept)" in says
    assert "STEM as elsewhere here 0.200 (chance of the highest 0.150)" in says
    assert "composition skill: highest 0.550 after 5,120 spot views, 0.550 after 5,120; ridge 0.600" in says


def test_of_residuals_one_number_is_said_as_the_two_are_the_same(scores):
    assert published_size.remark(scores, 1).count("composition skill") == 1


def test_scores_of_several_folds_are_not_mixed(scores):
    with pytest.raises(ValueError):
        published_size.remark(pd.concat([scores, scores.assign(held_out="C4")]), 1)
