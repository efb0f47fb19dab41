"""Maps: spots and outlines lie where the tissue has them, as large as they are, beside a bar as long as it says."""

import numpy as np
import pytest
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from helpers.figures import maps


def bar_length(ax):
    (bar,) = (artist for artist in ax.artists if isinstance(artist, AnchoredSizeBar))
    return bar.size_bar.get_children()[0].get_width(), bar.txt_label.get_text()


@pytest.mark.parametrize(("um", "label"), [(50, "50 µm"), (1000, "1 mm"), (2500, "2.5 mm")])
def test_scale_bar_is_as_long_as_it_says(um, label, ax):
    maps.scale_bar(ax, 0.5, um)
    assert bar_length(ax) == (um / 0.5, label)


def test_a_bare_axis_has_no_frame_and_no_stretch(ax):
    maps.bare(ax)
    assert ax.get_aspect() == 1 and len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    assert not any(spine.get_visible() for spine in ax.spines.values())


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


@pytest.mark.parametrize("pitch_um", [200, 100])
def test_discs_of_a_spot_map_do_not_touch_on_any_lattice(pitch_um, ax):
    lattice = np.stack(np.meshgrid(np.arange(3), np.arange(2)), axis=-1).reshape(-1, 2)
    maps.spot_map(ax, lattice * pitch_um / 0.5, np.arange(6), 0.5, "GNAS", pitch_um=pitch_um)
    np.testing.assert_allclose(ax.collections[0].get_widths(), 0.75 * pitch_um / 0.5)


@pytest.mark.parametrize("spot_um", [100, 55])
def test_the_discs_on_tissue_are_as_wide_as_the_section_s_spots(spot_um, ax):
    image = np.full((80, 120, 3), 255, np.uint8)
    maps.spots_on_tissue(ax, image, np.array([[60, 40], [80, 40.0]]), 5.0, spot_um)
    np.testing.assert_allclose(ax.collections[0].get_widths(), spot_um / 5)


def test_outlines_and_discs_lie_on_the_image(ax):
    image = np.full((80, 120, 3), 255, np.uint8)
    outline = np.array([[10, 10], [20, 10], [20, 20.0]])
    maps.outlines_on_tissue(ax, image, [outline], 0.5)
    segments = ax.collections[0].get_segments()
    np.testing.assert_array_equal(segments[0], np.vstack([outline, outline[:1]]))
    assert ax.get_title(loc="left") == "1 outline in view"
    ax.clear()
    maps.spots_on_tissue(ax, image, np.array([[60, 40], [80, 40.0]]), 5.0, 100, crop_um=154)
    squares = ax.collections[1].get_segments()
    np.testing.assert_allclose(np.ptp(squares[0], axis=0), 154 / 5)
    np.testing.assert_allclose(squares[1][:4].mean(axis=0), [80, 40])
    assert ax.yaxis_inverted()


def test_the_disc_and_the_crop_of_a_spot_lie_in_the_middle_of_its_region(ax):
    maps.outlines_on_tissue(ax, np.zeros((80, 120, 3), np.uint8), [], 0.5, disc_um=30, crop_um=36)
    disc, crop = ax.patches
    assert list(disc.get_center()) == list(crop.get_center()) == [59.5, 39.5]
    assert disc.get_radius() == 30 and (crop.get_width(), crop.get_height()) == (72, 72)
