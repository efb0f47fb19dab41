"""What is drawn of an anatomy is what the table holds: parts end where they should, and the sum is theirs."""

import numpy as np
import pandas as pd
from drawn import every, legend, points, wave

from helpers.figures import anatomy, style

VALUES = dict(zip(anatomy.PCC | anatomy.LACKING, (0.4, -0.1, 0.1, 0.1, 0.0, 0.3, 0.2), strict=True))


def test_parts_end_at_their_sum_below_zero_to_the_left_and_the_first_section_is_on_top(ax):
    table = pd.concat([pd.DataFrame({"section": s, "part": list(VALUES), "value": VALUES.values()}) for s in "AB"])
    assert anatomy.stacked(ax, table, "ridge, log") is ax
    spans = np.reshape([(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches], (7, 2, 2))[:, 0]
    np.testing.assert_allclose(spans[:4], [(0, 0.4), (0, -0.1), (0.4, 0.5), (0.5, 0.6)], atol=1e-12)
    np.testing.assert_allclose(spans[-2:], [(0.6, 0.9), (0.9, 1.1)])
    (score,) = ax.collections
    np.testing.assert_allclose([segment[0, 0] for segment in score.get_segments()], 0.5)  # the sum, -0.1 included
    assert [text.get_text() for text in ax.get_yticklabels()] == ["A", "B"] and ax.get_ylim()[0] > ax.get_ylim()[1]
    assert ax.get_title(loc="left") == "ridge, log, 2 sections"
    anatomy.stacked_legend(ax)
    assert legend(ax) == [*VALUES, "PCC"]


def test_the_last_row_is_the_sum_of_the_parts_of_a_section(ax):
    parts = ["library", "composition left"]
    table = every(backbone=["stem", "ridge"], section=list("ABC"), part=parts).assign(value=wave)
    assert anatomy.gaps(ax, table, parts) is ax
    assert [text.get_text() for text in ax.get_yticklabels()] == [*parts, anatomy.WHOLE]
    drawn = points(ax, style.SECTIONS[0])
    assert len(drawn) == 3 * 3
    last = drawn[np.rint(drawn[:, 1]) == 2, 0]
    np.testing.assert_allclose(last, table[table["backbone"] == "stem"].groupby("section")["value"].sum())
    assert legend(ax) == ["stem", "ridge", "mean of sections"] and ax.get_title(loc="left") == "3 sections"
