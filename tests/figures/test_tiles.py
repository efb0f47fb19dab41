"""Twin of helpers/figures/tiles.py."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from helpers.figures.tiles import tile_scores

matplotlib.use("Agg")


def test_tiles_stand_in_the_same_order_for_every_score_and_a_missing_one_leaves_a_gap():
    scores = pd.DataFrame(
        {
            "tile": ["a", "b", "c", "b"],
            "back_end": ["classical", "classical", "classical", "hovernet"],
            "f1": [0.9, 0.7, 0.8, 0.7],
            "count_error": [0.3, 0.2, 0.1, 0.4],
        }
    )
    figure, ax = plt.subplots()
    tile_scores(ax, scores, "count_error", "count error")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c", "a"]
    classical, mean, hovernet, other_mean = ax.get_lines()
    assert classical.get_xdata().tolist() == [0.2, 0.1, 0.3]
    np.testing.assert_allclose(mean.get_xdata(), 0.2)
    np.testing.assert_array_equal(hovernet.get_xdata(), [0.4, np.nan, np.nan])
    assert other_mean.get_xdata()[0] == 0.4
    assert ax.get_xlabel() == "count error"
    plt.close(figure)
