"""What targets keep: readings and arms in their order, every section a point of its target's or transform's colour."""

import numpy as np
import pandas as pd
import pytest
from drawn import SECTIONS, TARGETS, N, check_panel, every, legend, points, wave

from helpers import labels
from helpers.figures import style, targets


@pytest.fixture
def tables():
    summary = every(section=SECTIONS, target=TARGETS).assign(median_abs_rho_depth=wave, median_abs_rho_nuclei=wave)
    readings = every(reading=["disc", "crop", "hovernet"], section=SECTIONS, target=TARGETS)
    readings = readings.assign(median_abs_rho_nuclei=wave, chance_median_abs_rho_nuclei=0.05)
    depth = pd.DataFrame({"section": SECTIONS, "median_total_counts": np.arange(N) * 1000 + 600})
    arms = every(size_factor=["total"], transform=["log", "pearson_residual"], section=SECTIONS).merge(depth)
    arms = arms.assign(median_rho_depth=wave, chance_rho_depth=0.07)
    moments = every(target=TARGETS, gene=range(40)).assign(mean_count=lambda t: 1 + t["gene"], variance=wave)
    return {"summary": summary, "readings": readings, "sections": depth, "arms": arms, "moments": moments}


PANELS = {
    "coupling_by_depth": lambda ax, t: targets.coupling_by_depth(ax, t["summary"], t["sections"]),
    "coupling_by_reading": lambda ax, t: targets.coupling_by_reading(ax, t["readings"]),
    "arms_by_depth": lambda ax, t: targets.arms_by_depth(ax, t["arms"]),
}


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_draws_on_its_axis_and_says_n(name, ax, tables):
    check_panel(ax, lambda ax: PANELS[name](ax, tables))


@pytest.mark.parametrize("what", ["depth", "nuclei"])
def test_every_section_is_a_point_at_its_depth(what, ax, tables):
    targets.coupling_by_depth(ax, tables["summary"], tables["sections"], what)
    own = tables["summary"].query("target == 'log2'").merge(tables["sections"], on="section")
    expected = own[["median_total_counts", f"median_abs_rho_{what}"]]
    np.testing.assert_allclose(points(ax, style.TARGETS["log2"][1]), expected)
    assert ax.get_title(loc="left") == f"Coupling to {what} by the section's depth\n5 sections"


def test_readings_stand_from_the_top_in_their_order_each_with_its_sections(ax, tables):
    rows = tables["readings"]
    rows.loc[(rows["reading"] == "hovernet") & (rows["section"] == "A1"), "median_abs_rho_nuclei"] = np.nan
    targets.coupling_by_reading(ax, rows)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["count in the spot's disc", "count in STEM's crop", "hovernet"]
    assert ax.yaxis_inverted()
    drawn = points(ax, style.TARGETS["log2"][1])
    for i, reading in enumerate(("disc", "crop", "hovernet")):
        own = rows[(rows["reading"] == reading) & (rows["target"] == "log2")]
        expected = own["median_abs_rho_nuclei"].dropna()
        np.testing.assert_allclose(sorted(drawn[np.abs(drawn[:, 1] - i) < 0.5, 0]), sorted(expected))
    assert "mean of the null" in legend(ax)


def test_arms_stand_from_the_top_in_their_order_each_with_its_sections(ax, tables):
    targets.by_arm(ax, tables["arms"], "median_rho_depth", "coupling", {"chance_rho_depth": ("chance", "black", "|")})
    assert [text.get_text() for text in ax.get_yticklabels()] == ["÷ all counts, log", "÷ all counts, Pearson residual"]
    assert ax.yaxis_inverted()
    for i, (transform, own) in enumerate(tables["arms"].groupby("transform")):
        drawn = points(ax, style.TRANSFORMS[transform][1])
        np.testing.assert_allclose(sorted(drawn[:, 0]), sorted(own["median_rho_depth"]))
        assert (np.abs(drawn[:, 1] - i) < 0.5).all()
    assert legend(ax) == ["median", "chance"]


def test_each_section_is_a_point_of_its_transforms_colour_at_its_depth(ax, tables):
    targets.arms_by_depth(ax, tables["arms"])
    for transform, own in tables["arms"].groupby("transform"):
        expected = own[["median_total_counts", "median_rho_depth"]].sort_values("median_total_counts")
        np.testing.assert_allclose(points(ax, style.TRANSFORMS[transform][1]), expected)
    assert legend(ax) == ["log", "Pearson residual", "mean of the null"]


def test_arms_that_no_section_can_have_are_a_word(ax, tables):
    targets.arms_by_depth(ax, tables["arms"][:0])
    assert [text.get_text() for text in ax.texts] == ["no section of this cohort\nhas what these arms need"]


def test_a_flat_target_lies_flat_and_genes_without_counts_are_left_out(ax, tables):
    moments = tables["moments"]
    moments.loc[moments["gene"] == 0, "mean_count"] = 0
    targets.mean_variance(ax, moments)
    assert len(points(ax, style.TARGETS["log2"][1])) == 39


def test_the_line_of_a_flat_target_is_flat(ax, tables):
    targets.mean_variance(ax, tables["moments"].assign(variance=1.0))
    assert np.nanmin(ax.lines[1].get_ydata()) == np.nanmax(ax.lines[1].get_ydata()) == 1
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log") and "40 genes" in ax.get_title(loc="left")


def test_an_arm_of_the_frontier_has_a_point_a_section_and_one_at_the_medians(ax, tables):
    targets.frontier(ax, tables["arms"], "chance_rho_depth", "median_rho_depth", {"chance": (0.1, "--")})
    drawn = points(ax, style.SECTIONS[list(labels.SIZE_FACTORS).index("total")])
    for _, own in tables["arms"].groupby("transform"):
        both = own[["chance_rho_depth", "median_rho_depth"]]
        for point in [*both.to_numpy(), both.median().to_numpy()]:
            assert np.isclose(drawn, point).all(axis=1).any()
    assert legend(ax) == ["÷ all counts", "log", "Pearson residual", "chance"]
    assert f"{N} sections" in ax.get_title(loc="left")


def test_what_is_kept_is_drawn_against_coupling_with_chance_dashed_and_the_rest_solid(ax):
    arms = pd.DataFrame({"section": list("AB"), "size_factor": "total", "transform": "log"})
    arms = arms.assign(median_rho_depth=[0.1, 0.3], value_domains=[0.5, 0.7])
    targets.kept_by_coupling(ax, arms, "depth", "domains", {"mean of the null": 0.2, "depth alone": 0.4})
    sections, median = (np.asarray(drawn.get_offsets()) for drawn in ax.collections)
    np.testing.assert_allclose(sections, [(0.1, 0.5), (0.3, 0.7)])
    np.testing.assert_allclose(median, [(0.2, 0.6)])
    chance, alone = ax.lines
    assert (chance.get_ydata()[0], alone.get_ydata()[0]) == (0.2, 0.4)
    assert chance.is_dashed() and not alone.is_dashed()
    assert ax.get_xlabel() == "coupling: median |ρ(target, depth)|" and ax.get_ylabel() == "domains"


def test_without_an_arm_there_is_a_word_in_place_of_a_frontier(ax):
    none = pd.DataFrame(columns=["section", "size_factor", "transform", "median_rho_nuclei", "value_domains"])
    targets.kept_by_coupling(ax, none, "nuclei", "domains", {"mean of the null": np.nan})
    assert not ax.axison and "both\nnuclei and what this needs" in ax.texts[0].get_text()


def test_what_a_section_keeps_stands_beside_its_chance_and_what_depth_leaves(ax):
    names = ["median_abs_rho_nuclei", "median_abs_rho_nuclei_given_depth"]
    table = pd.DataFrame({"cohort": ["one", "one", "two"], "section": ["A1", "B1", "M1"], "patient": ["A", "B", "M"]})
    values = {names[0]: [0.4, 0.1, 0.3], names[1]: [0.1, 0.05, 0.25]}
    table = table.assign(measure="nuclei counted", **values, **{f"chance_95_{name}": 0.2 for name in names})
    targets.kept_by_section(ax, table)
    filled, empty = (part.get_offsets()[:, 0].tolist() for part in ax.collections)
    assert (filled, empty) == (values[names[0]], values[names[1]])
    assert {bar.get_width() for bar in ax.patches} == {0.2} and len(ax.patches) == 6
    assert [label.get_text() for label in ax.get_yticklabels()] == ["A1 (A)", "B1 (B)", "M1 (M)"]
    assert set(legend(ax)) == {"one, nuclei counted", "two, nuclei counted"}
