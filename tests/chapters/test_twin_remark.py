"""Which scores need no biology."""

import pandas as pd

from helpers.chapters.twin_remark import twin_remark


def test_a_remark_names_the_scores_that_need_no_biology():
    skill = pd.DataFrame({"backbone": ["ridge", "ridge", "stem"], "target": ["log2", "log1p_cp10k", "log2"]})
    none = twin_remark(skill.assign(flagged=False))
    assert none.startswith("No score shows skill") and "{note}" not in none
    some = twin_remark(skill.assign(flagged=[True, True, False]))
    assert "`ridge` in log2(x + 1), log1p(CP10k)." in some and "stem" not in some
