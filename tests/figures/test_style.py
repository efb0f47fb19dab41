"""The shared look: a target has one colour and marker, a legend hides no point, rows hold what the table holds."""

import numpy as np
import pytest
from drawn import TARGETS, every, legend, points, wave
from matplotlib import pyplot as plt

from helpers.figures import style


def test_pages_may_be_dark_for_figures_have_a_white_ground(ax):
    assert ax.figure.get_facecolor() == (1, 1, 1, 1)
    assert plt.rcParams["savefig.facecolor"] == "white" and not ax.spines["top"].get_visible()


def test_a_picture_is_a_png_of_its_size():
    picture = style.png(lambda ax: ax.plot([0, 1]), 2, 1)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and picture[16:24] == (260).to_bytes(4, "big") + (130).to_bytes(4, "big")


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_same_figure_gives_the_same_bytes(ending, tmp_path):
    for name in ("first", "again"):
        style.use()
        figure, ax = plt.subplots()
        ax.plot([0, 1], "o")
        style.save(figure, tmp_path / f"{name}.{ending}")
        plt.close(figure)
    written = [(tmp_path / f"{name}.{ending}").read_bytes() for name in ("first", "again")]
    assert written[0] == written[1] and len(written[0]) > 1000 and b"dc:date" not in written[0]


def test_a_new_target_gets_a_colour_of_its_own():
    found = style.looks(["tpm", "log2", "sqrt"])
    assert list(found) == ["log2", "tpm", "sqrt"]
    assert found["log2"] == style.TARGETS["log2"]
    assert len({colour for _, colour, _ in found.values()} | {style.TARGETS["pearson_residual"][1]}) == 4


def test_twenty_new_targets_are_told_apart_and_called_by_their_labels(monkeypatch):
    monkeypatch.setitem(style.labels.TARGETS, "t0", "the first")
    found = style.looks([f"t{i}" for i in range(20)])
    assert len({(colour, marker) for _, colour, marker in found.values()}) == 20
    assert len({colour for _, colour, _ in list(found.values())[:7]}) == 7
    assert (found["t0"][0], found["t1"][0]) == ("the first", "t1")


@pytest.mark.parametrize("height", [1.5, 4])
def test_a_legend_stands_under_the_axis_and_its_label(height, ax):
    ax.figure.set_size_inches(5, height)
    ax.set_xlabel("nuclei")
    style.legend(ax, [style.handle("model", "black", "o"), style.handle("floor", style.GREY, line="-")])
    ax.figure.canvas.draw()
    assert legend(ax) == ["model", "floor"]
    assert ax.get_legend().get_window_extent().y1 < ax.xaxis.label.get_window_extent().y1


def test_a_handle_is_a_marker_a_line_or_both():
    assert style.handle("a", "black", "o").get_linestyle() == "None"
    assert style.handle("a", "black", line="-").get_marker() == ""
    both = style.handle("a", "black", "s", style.DASHES)
    assert both.get_marker() == "s" and both.is_dashed()


def test_a_log_axis_within_one_decade_still_has_plain_numbers(ax):
    ax.plot([110, 900], [0, 1])
    ax.set_xscale("log")
    style.logarithmic(ax.xaxis)
    ax.figure.canvas.draw()
    assert {"200", "500"} <= {text.get_text() for text in ax.get_xticklabels()}
    ax.set_xlim(900, 2_500)
    ax.figure.canvas.draw()
    assert "2,000" in {text.get_text() for text in ax.get_xticklabels()}


def test_targets_stand_in_columns_under_their_names(ax):
    style.targets_on_x(ax, style.looks(TARGETS[:2]))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["log2(x + 1)", "Pearson\nresidual"]
    assert ax.get_xlim() == (-0.5, 1.5)


def test_where_nothing_is_to_be_shown_a_word_says_why(ax):
    assert style.nothing(ax, "not trained") is ax
    assert not ax.axison and [text.get_text() for text in ax.texts] == ["not trained"]


def test_targets_side_by_side_share_the_distance_between_ticks_evenly():
    offsets, width = style.side_by_side(4)
    assert width == pytest.approx(0.2)
    np.testing.assert_allclose(offsets, [-0.3, -0.1, 0.1, 0.3])
    assert style.side_by_side(1)[0].tolist() == [0] and style.side_by_side(0)[0].tolist() == []


def test_points_are_spread_to_both_sides_alike_and_a_single_one_is_not():
    np.testing.assert_allclose(style.spread_out(3, 0.2), [-0.2, 0, 0.2])
    assert style.spread_out(1, 0.2).tolist() == [0] and len(style.spread_out(0, 0.2)) == 0


def test_rows_hold_the_sections_of_every_target_and_chance_only_where_it_is_given(ax):
    table = every(backbone=["ridge", "nuclei", "depth"], target=TARGETS, section=list("ABC")).assign(pcc=wave)
    style.in_rows(ax, table.assign(chance=0.1), "pcc", "backbone", "PCC-50", "chance", style.HIGH)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["ridge", "nuclei alone", "measured depth (oracle)"]
    assert ax.get_title(loc="left") == "PCC-50, 3 sections" and "chance (95 % point)" in legend(ax)
    drawn = points(ax, style.TARGETS["log2"][1])
    top = table.query("backbone == 'ridge' and target == 'log2'")["pcc"]
    np.testing.assert_allclose(sorted(drawn[drawn[:, 1] < 0.5, 0]), sorted(top))
    ax.clear()
    style.in_rows(ax, table, "pcc", "backbone", "PCC-50")
    assert not any("chance" in text for text in legend(ax))


def test_legends_that_repeat_each_other_become_one_below_the_figure_with_each_entry_once():
    style.use()
    figure, axes = plt.subplots(1, 2)
    for axis, names in zip(axes, (["a", "b"], ["b", "c"]), strict=True):
        style.legend(axis, [style.handle(name, "red", "o") for name in names])
    style.one_legend(figure)
    assert [axis.get_legend() for axis in axes] == [None, None]
    [found] = figure.legends
    assert [text.get_text() for text in found.texts] == ["a", "b", "c"]
    assert {line.get_marker() for line in found.legend_handles} == {"o"}
    figure.canvas.draw()
    below = found.get_window_extent()
    assert below.y1 < min(axis.get_tightbbox().y0 for axis in axes) and below.y0 >= 0
    plt.close(figure)


def test_a_figure_without_a_legend_gets_none():
    figure, _ = plt.subplots()
    style.one_legend(figure)
    assert figure.legends == []
    plt.close(figure)
