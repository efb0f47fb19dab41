"""Tables to draw and a look at what was drawn, for the tests of figures."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import colors
from matplotlib import pyplot as plt

from helpers.figures import style

TARGETS = list(style.TARGETS)
N = 5
SECTIONS = [f"{patient}{i}" for i in (1, 2) for patient in "ABC"][:N]


def every(**keys):
    """One row for each combination, as tidy tables are."""
    table = pd.MultiIndex.from_product(keys.values(), names=keys.keys()).to_frame(index=False)
    return table.assign(at=np.arange(len(table)))


def wave(table):
    """A value for each row, all of them different."""
    return 0.5 + 0.4 * np.sin(table["at"])


def points(ax, colour):
    """Where the points of a colour lie, n x 2."""
    wanted = colors.to_rgb(colour)
    parts = [c for c in ax.collections if isinstance(c, matplotlib.collections.PathCollection)]
    return np.vstack([c.get_offsets() for c in parts if np.allclose(c.get_facecolor()[0, :3], wanted)])


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def check_panel(ax, draw):
    """A panel draws on the axis it is given and on no other, returns it, names its axes and says how many it shows."""
    open_before = plt.get_fignums()
    assert draw(ax) is ax
    assert plt.get_fignums() == open_before
    ax.figure.canvas.draw()
    title = ax.get_title(loc="left")
    assert f"{N} sections" in title or f"{N} folds" in title
    assert ax.get_xlabel() or len(ax.get_xticklabels()) == len(TARGETS)
    assert ax.get_ylabel()
