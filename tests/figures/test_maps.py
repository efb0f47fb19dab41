"""Twin of helpers/figures/maps.py."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from helpers.figures import look, maps

matplotlib.use("Agg")


@pytest.fixture
def ax():
    look.style()
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def bar_length(ax):
    (bar,) = (artist for artist in ax.artists if isinstance(artist, AnchoredSizeBar))
    return bar.size_bar.get_children()[0].get_width(), bar.txt_label.get_text()


@pytest.mark.parametrize(("um", "label"), [(50, "50 µm"), (1000, "1 mm"), (2500, "2.5 mm")])
def test_scale_bar_is_as_long_as_it_says(um, label, ax):
    maps.scale_bar(ax, 0.5, um)
    assert bar_length(ax) == (um / 0.5, label)


def test_spot_map_lies_as_the_tissue_does(ax):
    spatial = np.array([[0, 0], [290, 0], [0, 580]], float)
    maps.spot_map(ax, spatial, np.array([1, np.nan, 3]), 0.688, "GNAS", limits=(0, 4))
    discs = ax.collections[0]
    assert ax.yaxis_inverted()
    assert ax.get_aspect() == 1
    assert bar_length(ax) == (1000 / 0.688, "1 mm")
    assert discs.get_clim() == (0, 4)
    assert discs.get_array().mask.tolist() == [False, True, False]
    ax.figure.canvas.draw()
    assert np.ptp(discs.get_offsets(), axis=0).tolist() == [290, 580]


def test_outlines_and_discs_lie_on_the_image(ax):
    image = np.full((80, 120, 3), 255, np.uint8)
    outline = np.array([[10, 10], [20, 10], [20, 20.0]])
    maps.outlines_on_tissue(ax, image, [outline], 0.5)
    segments = ax.collections[0].get_segments()
    np.testing.assert_array_equal(segments[0], np.vstack([outline, outline[:1]]))
    assert ax.get_title(loc="left") == "1 outline"
    ax.clear()
    maps.spots_on_tissue(ax, image, np.array([[60, 40], [80, 40.0]]), 5.0, crop_um=154)
    squares = ax.collections[1].get_segments()
    np.testing.assert_allclose(np.ptp(squares[0], axis=0), 154 / 5)
    np.testing.assert_allclose(squares[1][:4].mean(axis=0), [80, 40])
    assert ax.yaxis_inverted()
