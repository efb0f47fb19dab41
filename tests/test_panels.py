"""Panels: what is drawn is what the table holds, on the given axis, with n, chance and one colour per target."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.text import Text
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from helpers import panels

TARGETS = list(panels.TARGETS)
N = 5


def every(**keys):
    """One row for each combination, as tidy tables are."""
    table = pd.MultiIndex.from_product(keys.values(), names=keys.keys()).to_frame(index=False)
    return table.assign(at=np.arange(len(table)))


def wave(table):
    return 0.5 + 0.4 * np.sin(table["at"])


@pytest.fixture
def tables():
    sections = [f"{p}{i}" for i in (1, 2, 3) for p in "ABC"][:N]
    spots = every(section=sections, spot=range(30))
    spots = spots.assign(patient=spots["section"].str[0], n_nuclei=spots["spot"] % 7)
    spots = spots.assign(total_counts=100 * spots["n_nuclei"] + spots["spot"])  # the first spot of each has no counts
    summary = every(section=sections, target=TARGETS)
    for name in ("nuclei", "depth"):
        summary = summary.assign(**{f"median_abs_rho_{name}": wave, f"share_coupled_{name}": wave})
    summary = summary.assign(chance_abs_rho_nuclei=0.05, chance_share_nuclei=0.01)
    top = every(backbone=["ridge", "nuclei"], split=["section"], ranking=["same", "nested"], target=TARGETS,
                k=[10, 20], section=sections).assign(pcc=wave, abs_rho=wave, ceiling=0.93, chance=0.1)  # fmt: skip
    ranked = every(backbone=["ridge", "nuclei"], split=["section"], target=TARGETS, rank=range(1, 21))
    ranked = ranked.assign(pcc=lambda t: 1 / t["rank"], low=0, high=1, ceiling=0.9, n_sections=N)
    couplings = every(backbone=["ridge"], split=["section"], target=TARGETS, section=sections)
    couplings = couplings.assign(n_genes=300, coupling=wave, coupling_given_abundance=0.1)
    genes = every(section=sections, target=TARGETS, gene=list("abcdefgh")).assign(pcc=wave, rho_nuclei=-0.3)
    moments = every(target=TARGETS, gene=range(40)).assign(mean_count=lambda t: 1 + t["gene"], variance=wave)
    losses = every(target=TARGETS[:2], held_out=sections, seed=[0], step=range(10)).assign(loss=wave)
    pits = every(target=TARGETS[:2], held_out=sections, seed=[0], low=[0.0, 0.25, 0.5, 0.75]).assign(density=1.0)
    coverage = every(target=TARGETS[:2], section=sections, share=[0.5, 0.9]).assign(covered=wave)
    curves = every(gene=list("abcdefgh")).assign(variance_measured=wave, variance_predicted=0.2, variance_sampled=0.4)
    ladder = every(sampler=["ancestral", "ddim"], network_calls=[10, 1000]).assign(pcc=wave, rvd=wave)
    ladder["starts"] = ladder["sampler"].map({"ancestral": "independent", "ddim": "antithetic"})
    readings = every(reading=["disc", "crop", "hovernet"], section=sections, target=TARGETS)
    readings = readings.assign(median_abs_rho_nuclei=wave, chance_abs_rho_nuclei=0.05)
    depth = pd.DataFrame({"section": sections, "median_total_counts": np.arange(N) * 1000 + 600})
    arms = every(size_factor=["total"], transform=["log", "pearson_residual"], section=sections).merge(depth)
    arms = arms.assign(median_rho_depth=wave, chance_rho_depth=0.07)
    return {"spots": spots, "summary": summary, "top": top, "ranked": ranked, "couplings": couplings,
            "genes": genes, "moments": moments, "losses": losses, "sections": depth, "pits": pits,
            "coverage": coverage, "curves": curves, "ladder": ladder, "readings": readings,
            "arms": arms}  # fmt: skip


PANELS = {
    "nuclei_and_depth": lambda ax, t: panels.nuclei_and_depth(ax, t["spots"]),
    "median_coupling": lambda ax, t: panels.median_coupling(ax, t["summary"]),
    "median_coupling_depth": lambda ax, t: panels.median_coupling(ax, t["summary"], "depth"),
    "share_coupled": lambda ax, t: panels.share_coupled(ax, t["summary"]),
    "predictability_top": lambda ax, t: panels.predictability_top(ax, t["top"], "ridge"),
    "predictability_by_rank": lambda ax, t: panels.predictability_by_rank(ax, t["ranked"], "ridge"),
    "top_gene_coupling": lambda ax, t: panels.top_gene_coupling(ax, t["top"], "ridge"),
    "predictability_and_coupling": lambda ax, t: panels.predictability_and_coupling(ax, t["couplings"], "ridge"),
    "coupling_by_depth": lambda ax, t: panels.coupling_by_depth(ax, t["summary"], t["sections"]),
    "coupling_by_reading": lambda ax, t: panels.coupling_by_reading(ax, t["readings"]),
    "arms_by_depth": lambda ax, t: panels.arms_by_depth(ax, t["arms"]),
    "gene_by_gene": lambda ax, t: panels.gene_by_gene(ax, t["genes"]),
    "loss_curve": lambda ax, t: panels.loss_curve(ax, t["losses"]),
    "pit_histogram": lambda ax, t: panels.pit_histogram(ax, t["pits"]),
    "interval_coverage": lambda ax, t: panels.interval_coverage(ax, t["coverage"]),
}


@pytest.fixture
def ax():
    panels.style()
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_draws_on_its_axis_and_says_n(name, ax, tables):
    open_before = plt.get_fignums()
    assert PANELS[name](ax, tables) is ax
    assert plt.get_fignums() == open_before
    ax.figure.canvas.draw()
    assert f"{N} sections" in ax.get_title(loc="left") or f"{N} folds" in ax.get_title(loc="left")
    assert ax.get_xlabel() or len(ax.get_xticklabels()) == len(TARGETS)
    assert ax.get_ylabel()


def points(ax, colour):
    wanted = colors.to_rgb(colour)
    parts = [c for c in ax.collections if isinstance(c, matplotlib.collections.PathCollection)]
    return np.vstack([c.get_offsets() for c in parts if np.allclose(c.get_facecolor()[0, :3], wanted)])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("name", "table", "value"),
    [
        ("median_coupling", "summary", "median_abs_rho_nuclei"),
        ("share_coupled", "summary", "share_coupled_nuclei"),
        ("predictability_and_coupling", "couplings", "coupling"),
        ("coupling_by_depth", "summary", "median_abs_rho_depth"),
    ],
)
def test_every_section_is_a_point_of_its_targets_colour(name, table, value, target, ax, tables):
    PANELS[name](ax, tables)
    rows = tables[table]
    drawn = points(ax, panels.TARGETS[target][1])[:, 1]
    np.testing.assert_allclose(sorted(drawn), sorted(rows.loc[rows["target"] == target, value]))


def test_readings_stand_from_the_top_in_their_order_each_with_its_sections(ax, tables):
    rows = tables["readings"]
    rows.loc[(rows["reading"] == "hovernet") & (rows["section"] == "A1"), "median_abs_rho_nuclei"] = np.nan
    panels.coupling_by_reading(ax, rows)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["count in the spot's disc", "count in STEM's crop", "hovernet"]
    assert ax.yaxis_inverted()
    drawn = points(ax, panels.TARGETS["log2"][1])
    for i, reading in enumerate(("disc", "crop", "hovernet")):
        own = rows[(rows["reading"] == reading) & (rows["target"] == "log2")]
        expected = own["median_abs_rho_nuclei"].dropna()
        np.testing.assert_allclose(sorted(drawn[np.abs(drawn[:, 1] - i) < 0.5, 0]), sorted(expected))
    assert "chance (median)" in legend(ax)


def test_arms_stand_from_the_top_in_their_order_each_with_its_sections(ax, tables):
    panels.by_arm(ax, tables["arms"], "median_rho_depth", "coupling", {"chance_rho_depth": ("chance", "black", "|")})
    assert [text.get_text() for text in ax.get_yticklabels()] == ["÷ all counts, log", "÷ all counts, Pearson residual"]
    assert ax.yaxis_inverted()
    for i, (transform, own) in enumerate(tables["arms"].groupby("transform")):
        drawn = points(ax, panels.TRANSFORMS[transform][1])
        np.testing.assert_allclose(sorted(drawn[:, 0]), sorted(own["median_rho_depth"]))
        assert (np.abs(drawn[:, 1] - i) < 0.5).all()
    assert legend(ax) == ["median", "chance"]


def test_each_section_is_a_point_of_its_transforms_colour_at_its_depth(ax, tables):
    panels.arms_by_depth(ax, tables["arms"])
    for transform, own in tables["arms"].groupby("transform"):
        expected = own[["median_total_counts", "median_rho_depth"]].sort_values("median_total_counts")
        np.testing.assert_allclose(points(ax, panels.TRANSFORMS[transform][1]), expected)
    assert legend(ax) == ["log", "Pearson residual", "chance"]


def test_an_arm_of_the_frontier_has_a_point_a_section_and_one_at_the_medians(ax, tables):
    panels.frontier(ax, tables["arms"], "chance_rho_depth", "median_rho_depth", {"chance": (0.1, "--")})
    drawn = points(ax, panels.SECTIONS[list(panels.SIZE_FACTORS).index("total")])
    for _, own in tables["arms"].groupby("transform"):
        both = own[["chance_rho_depth", "median_rho_depth"]]
        for point in [*both.to_numpy(), both.median().to_numpy()]:
            assert np.isclose(drawn, point).all(axis=1).any()
    assert legend(ax) == ["÷ all counts", "log", "Pearson residual", "chance"]
    assert f"{N} sections" in ax.get_title(loc="left")


def test_only_the_chosen_ranking_is_drawn(ax, tables):
    panels.predictability_top(ax, tables["top"], "ridge", ranking="nested")
    chosen = tables["top"].query("backbone == 'ridge' and ranking == 'nested' and target == 'log2'")["pcc"]
    np.testing.assert_allclose(sorted(points(ax, panels.TARGETS["log2"][1])[:, 1]), sorted(chosen))
    assert "other sections" in ax.get_title(loc="left")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_chance_ceiling_and_floors_are_named(ax, tables):
    panels.median_coupling(ax, tables["summary"])
    assert "chance (median)" in legend(ax)
    ax.clear()
    panels.predictability_top(ax, tables["top"], "ridge")
    assert {"noise ceiling", "nuclei alone"} <= set(legend(ax))
    assert "depth alone" not in legend(ax)  # no such backbone in the table


def test_a_backbone_that_was_not_fitted_is_named(ax, tables):
    with pytest.raises(ValueError, match="no predictions of stem by section.*nuclei by section, ridge by section"):
        panels.predictability_by_rank(ax, tables["ranked"], "stem")


def test_panel_a_gives_rho_by_section_or_by_patient(ax, tables):
    spots = tables["spots"]
    spots = spots[spots["total_counts"] > 0]
    expected = spots[spots["section"] == "A1"][["n_nuclei", "total_counts"]].corr("spearman").iloc[0, 1]
    panels.nuclei_and_depth(ax, tables["spots"])
    assert legend(ax)[0] == f"A1  {expected:.2f}"
    assert f"{len(spots)} spots" in ax.get_title(loc="left")
    ax.clear()
    many = [spots.assign(section=spots["section"] + str(i)) for i in range(4)]
    panels.nuclei_and_depth(ax, pd.concat(many))
    assert [text.split(")")[0] + ")" for text in legend(ax)] == ["A (8)", "B (8)", "C (4)"]


def test_sections_without_nuclei_leave_an_empty_panel_not_an_error(ax, tables):
    empty = tables["summary"].assign(median_abs_rho_nuclei=np.nan, chance_abs_rho_nuclei=np.nan)
    panels.median_coupling(ax, empty)
    assert "0 sections" in ax.get_title(loc="left")


def test_names_of_close_sections_do_not_touch(ax, tables):
    close = tables["summary"].assign(median_abs_rho_nuclei=0.3 + 1e-4 * np.arange(len(tables["summary"])))
    panels.median_coupling(ax, close)
    ax.figure.canvas.draw()
    # As plain text: an annotation's extent includes its line.
    boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
    assert len(boxes) == N
    assert all(upper.y0 > lower.y0 + 0.8 * lower.height for lower, upper in zip(boxes, boxes[1:], strict=False))


def test_a_new_target_gets_a_colour_of_its_own():
    look = panels.looks(["tpm", "log2", "sqrt"])
    assert list(look) == ["log2", "tpm", "sqrt"]
    assert look["log2"] == panels.TARGETS["log2"]
    assert len({colour for _, colour, _ in look.values()} | {panels.TARGETS["pearson_residual"][1]}) == 4


def test_figure_1_is_six_labelled_panels(tables):
    panels.style()
    figure, axes = plt.subplots(2, 3, figsize=(14, 9))
    args = [tables[name] for name in ("spots", "summary", "top", "couplings")]
    assert len(panels.figure1(axes, *args, "ridge")) == 6
    figure.canvas.draw()
    assert [[t.get_text() for t in ax.texts][-1] for ax in axes.flat] == list("ABCDEF")
    assert figure.get_facecolor() == (1, 1, 1, 1)
    # No legend reaches into the row below.
    for upper, lower in zip(axes[0], axes[1], strict=True):
        assert upper.get_legend().get_window_extent().y0 > lower.get_tightbbox().y1 - 1
    plt.close(figure)


def test_a_flat_target_lies_flat_and_genes_without_counts_are_left_out(ax, tables):
    moments = tables["moments"]
    moments.loc[moments["gene"] == 0, "mean_count"] = 0
    panels.mean_variance(ax, moments)
    assert len(points(ax, panels.TARGETS["log2"][1])) == 39


def test_genes_stand_in_the_order_of_their_measured_variance(ax, tables):
    curves = tables["curves"]
    panels.gene_variation(ax, curves, "log2")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.sort(curves["variance_measured"]))
    np.testing.assert_allclose(points(ax, panels.TARGETS["log2"][1])[:, 1], curves["variance_predicted"])
    assert legend(ax) == ["measured", "predicted", "one sample"]


def test_each_sampler_is_a_line_over_its_calls(ax, tables):
    panels.sampling_ladder(ax, tables["ladder"][::-1], "rvd")
    assert [list(line.get_xdata()) for line in ax.lines] == [[10, 1000]] * 2
    assert set(legend(ax)) == {"ancestral", "ddim, antithetic"}


def test_the_network_is_drawn_at_its_size(ax):
    panels.stem_network(ax, 300, 1536, 384, 12, 6)
    drawn = " ".join(text.get_text() for text in ax.texts)
    assert all(size in drawn for size in ("300 genes", "6 heads", "12 blocks", "1,536 features", "384 → 1536"))


def bar_length(ax):
    (bar,) = (artist for artist in ax.artists if isinstance(artist, AnchoredSizeBar))
    return bar.size_bar.get_children()[0].get_width(), bar.txt_label.get_text()


@pytest.mark.parametrize(("um", "label"), [(50, "50 µm"), (1000, "1 mm"), (2500, "2.5 mm")])
def test_scale_bar_is_as_long_as_it_says(um, label, ax):
    panels.scale_bar(ax, 0.5, um)
    assert bar_length(ax) == (um / 0.5, label)


def test_spot_map_lies_as_the_tissue_does(ax):
    spatial = np.array([[0, 0], [290, 0], [0, 580]], float)
    panels.spot_map(ax, spatial, np.array([1, np.nan, 3]), 0.688, "GNAS", limits=(0, 4))
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
    panels.outlines_on_tissue(ax, image, [outline], 0.5)
    segments = ax.collections[0].get_segments()
    np.testing.assert_array_equal(segments[0], np.vstack([outline, outline[:1]]))
    assert ax.get_title(loc="left") == "1 outline"
    ax.clear()
    panels.spots_on_tissue(ax, image, np.array([[60, 40], [80, 40.0]]), 5.0, crop_um=154)
    squares = ax.collections[1].get_segments()
    np.testing.assert_allclose(np.ptp(squares[0], axis=0), 154 / 5)
    np.testing.assert_allclose(squares[1][:4].mean(axis=0), [80, 40])
    assert ax.yaxis_inverted()


def test_agreement_says_how_many_and_how_far_off(ax):
    truth = np.array([1, 2, 3, 4])
    panels.agreement(ax, truth, 2 * truth, "nuclei per spot")
    assert "4 spots" in ax.get_title(loc="left")
    assert "r = 1.00, in total +100.0%" in ax.get_title(loc="left")


def test_a_picture_is_a_png_of_its_size():
    picture = panels.png(lambda ax: ax.plot([0, 1]), 2, 1)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and picture[16:24] == (260).to_bytes(4, "big") + (130).to_bytes(4, "big")


def test_an_audited_model_stands_beside_the_floors_that_are_known(ax):
    rows = [{"section": s, "space": "log2", "pcc": 0.5, "ceiling": 0.9, "chance_95": 0.2, "twin": 0.3} for s in "AB"]
    panels.scores_and_floors(ax, pd.DataFrame(rows).assign(depth=0.6), 50)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "depth alone (oracle)" in names and "nuclei alone" not in names
    assert len(ax.lines) == 5 + 1  # a mark each, and the line at zero


def test_rows_hold_the_sections_of_every_target_and_chance_only_where_it_is_given(ax):
    table = every(backbone=["ridge", "nuclei", "depth"], target=TARGETS, section=list("ABC")).assign(pcc=wave)
    panels.in_rows(ax, table.assign(chance=0.1), "pcc", "backbone", "PCC-50", "chance", "95 %")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["ridge", "nuclei alone", "measured depth (oracle)"]
    assert ax.get_title(loc="left") == "PCC-50, 3 sections" and "chance (95 %)" in legend(ax)
    drawn = points(ax, panels.TARGETS["log2"][1])
    top = table.query("backbone == 'ridge' and target == 'log2'")["pcc"]
    np.testing.assert_allclose(sorted(drawn[drawn[:, 1] < 0.5, 0]), sorted(top))
    ax.clear()
    panels.in_rows(ax, table, "pcc", "backbone", "PCC-50")
    assert not any("chance" in text for text in legend(ax))


def test_shares_of_a_bar_end_at_their_sum_and_a_negative_one_lies_left_of_zero(ax):
    shares = pd.DataFrame({"section": list("ABA"), "backbone": ["ridge", "ridge", "nuclei"], "target": "log2"})
    shares[list(panels.SHARES)] = [(0.2, 0.3, 0.1), (0.4, 0.1, 0.1), (0.1, -0.1, 0.3)]
    panels.commonality(ax, shares, "What explains a gene")
    spans = np.reshape([(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches], (3, 2, 2))
    np.testing.assert_allclose(spans[:, 0], [(0, 0.3), (0.3, 0.5), (0.5, 0.6)])
    np.testing.assert_allclose(spans[:, 1], [(0, 0.1), (0, -0.1), (0.1, 0.4)])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["ridge, log2(x + 1)", "nuclei alone, log2(x + 1)"]


def test_flags_name_what_is_flagged_and_nothing_else():
    skill = pd.DataFrame({"backbone": ["stem", "stem"], "target": TARGETS[:2], "flagged": [True, False]})
    remark = panels.flags(skill)
    assert "`stem`" in remark and panels.label(TARGETS[0]) in remark and panels.label(TARGETS[1]) not in remark
    assert panels.flags(skill[~skill["flagged"]]).startswith("No score")


def test_a_cell_of_the_matrix_is_a_median_beside_its_share_of_the_ceiling_and_chance_is_named(ax):
    table = every(trained_in=["log2", "library"], scored_in=["log2", "pearson_residual"], section=list("ABC"))
    table = table.assign(pcc=[0.3, 0.4, 0.9, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, np.nan, np.nan, np.nan], top=0.8)
    panels.score_matrix(ax, table.assign(chance_95=0.1), "pcc", "top", "ridge")
    assert [text.get_text() for text in ax.texts] == ["0.40\n50%", "0.10\nchance", "0.20\n25%"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["log2(x + 1)", "predicted library alone"]
    assert ax.get_title(loc="left") == "ridge, 3 sections"


def test_rejections_are_drawn_as_they_are_with_the_goal_dashed(ax):
    table = every(null=["shuffled", "smooth"], length=[0, 1, 4]).assign(rate=wave)
    panels.rejections(ax, table, "length", "null", 0.05)
    assert legend(ax) == ["shuffled", "smooth", "5%"]
    for line, (_, part) in zip(ax.lines, table.groupby("null"), strict=False):
        np.testing.assert_array_equal(line.get_xydata(), part[["length", "rate"]])
    assert set(ax.lines[-1].get_ydata()) == {0.05}


def test_effective_spots_of_every_section_stand_beside_equality(ax):
    table = every(section=list("ABC"), target=TARGETS).assign(n_spots=lambda t: 100 + t["at"], n_effective=wave)
    panels.effective_spots(ax, table)
    own = table[table["target"] == "log2"]
    drawn = points(ax, panels.TARGETS["log2"][1])
    np.testing.assert_allclose(sorted(drawn[:, 0]), sorted(own["n_spots"]))
    np.testing.assert_array_equal(*ax.lines[0].get_data())
    assert ax.get_title(loc="left") == "3 sections"


def test_readings_are_sorted_with_their_choices_below_and_what_does_not_vary_left_out(ax):
    table = every(quantity=["a", "b"], nuclei=["disc", "crop"], theta=["10", "inf"], library=["all genes"])
    table = table.assign(value=[3.0, 1, 2, 4, 0, 0, 0, 0], ours=[True] + 7 * [False])
    table = table.assign(low=0.0, high=5.0, chance=0.5, paper=2.5)
    table = table.assign(**dict.fromkeys(set(panels.CHOICES) - set(table), np.nan))
    axes = panels.specification_curves(ax.figure.subplots(2, 2), table, {"a": "first", "b": "second"})
    assert axes[0, 0].get_title(loc="left") == "first\n4 readings"
    rows = [text.get_text() for text in axes[1, 0].get_yticklabels()]
    assert rows == ["nuclei: count in the spot's disc", "nuclei: count in STEM's crop", "θ: 10", "θ: inf"]
    chance, values = (np.asarray(drawn.get_offsets())[:, 1] for drawn in axes[0, 0].collections[1:])
    np.testing.assert_array_equal(values, [1, 2, 3, 4])
    np.testing.assert_array_equal(chance, 0.5)
    [grid] = axes[1, 0].collections
    np.testing.assert_array_equal(grid.get_array(), [[1, 0, 1, 0], [0, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1]])
    paper, own = axes[0, 0].lines
    assert paper.get_ydata()[0] == 2.5 and tuple(own.get_xydata()[0]) == (2, 3)


def test_each_gene_is_a_point_in_the_colour_of_its_verdict(ax):
    genes = pd.DataFrame({"pcc": [0.5, 0.6, 0.1], "pcc_nuclei_alone": [0.4, 0.2, 0.0], "verdict": ["a", "a", "c"]})
    panels.gene_verdicts(ax, genes, ["a", "b", "c"])
    drawn = [np.asarray(part.get_offsets()) for part in ax.collections]
    np.testing.assert_allclose(drawn[0], [(0.4, 0.5), (0.2, 0.6)])
    assert len(drawn[1]) == 0 and drawn[2].tolist() == [[0.0, 0.1]]
    assert legend(ax) == ["a", "b", "c"] and ax.get_title(loc="left") == "3 genes"
