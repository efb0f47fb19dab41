"""How good and how sure: each mark is what the table holds, beside the floors, ceilings and chance that are known."""

import numpy as np
import pandas as pd
from drawn import TARGETS, every, legend, points, wave

from helpers.figures import judging, style


def test_agreement_says_how_many_and_how_far_off(ax):
    truth = np.array([1, 2, 3, 4])
    judging.agreement(ax, truth, 2 * truth, "nuclei per spot")
    assert "4 spots" in ax.get_title(loc="left")
    assert "r = 1.00, in total +100.0%" in ax.get_title(loc="left")


def test_an_audited_model_stands_beside_the_floors_that_are_known(ax):
    rows = [{"section": s, "space": "log2", "pcc": 0.5, "ceiling": 0.9, "chance_95": 0.2, "twin": 0.3} for s in "AB"]
    judging.scores_and_floors(ax, pd.DataFrame(rows).assign(depth=0.6), 50)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "measured depth (oracle)" in names and "nuclei alone" not in names
    assert len(ax.lines) == 5 + 1  # a mark each, and the line at zero


def test_shares_of_a_bar_end_at_their_sum_and_a_negative_one_lies_left_of_zero(ax):
    shares = pd.DataFrame({"section": list("ABA"), "backbone": ["ridge", "ridge", "nuclei"], "target": "log2"})
    shares[list(judging.SHARES)] = [(0.2, 0.3, 0.1), (0.4, 0.1, 0.1), (0.1, -0.1, 0.3)]
    judging.commonality(ax, shares, "What explains a gene")
    spans = np.reshape([(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches], (3, 2, 2))
    np.testing.assert_allclose(spans[:, 0], [(0, 0.3), (0.3, 0.5), (0.5, 0.6)])
    np.testing.assert_allclose(spans[:, 1], [(0, 0.1), (0, -0.1), (0.1, 0.4)])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["ridge, log2(x + 1)", "nuclei alone, log2(x + 1)"]


def test_a_cell_of_the_matrix_is_a_median_beside_its_share_of_the_ceiling_and_chance_is_named(ax):
    table = every(trained_in=["log2", "library"], scored_in=["log2", "pearson_residual"], section=list("ABC"))
    table = table.assign(pcc=[0.3, 0.4, 0.9, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, np.nan, np.nan, np.nan], top=0.8)
    judging.score_matrix(ax, table.assign(chance_95=0.1), "pcc", "top", "ridge")
    assert [text.get_text() for text in ax.texts] == ["0.40\n50%", "0.10\nchance", "0.20\n25%"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["log2(x + 1)", "predicted library alone"]
    assert ax.get_title(loc="left") == "ridge, 3 sections"


def test_rejections_are_drawn_as_they_are_with_the_goal_dashed(ax):
    table = every(null=["shuffled", "smooth"], length=[0, 1, 4]).assign(rate=wave)
    judging.rejections(ax, table, "length", "null", 0.05)
    assert legend(ax) == ["shuffled", "smooth", "5%"]
    for line, (_, part) in zip(ax.lines, table.groupby("null"), strict=False):
        np.testing.assert_array_equal(line.get_xydata(), part[["length", "rate"]])
    assert set(ax.lines[-1].get_ydata()) == {0.05}


def test_effective_spots_of_every_section_stand_beside_equality(ax):
    table = every(section=list("ABC"), target=TARGETS).assign(n_spots=lambda t: 100 + t["at"], n_effective=wave)
    judging.effective_spots(ax, table)
    own = table[table["target"] == "log2"]
    drawn = points(ax, style.TARGETS["log2"][1])
    np.testing.assert_allclose(sorted(drawn[:, 0]), sorted(own["n_spots"]))
    np.testing.assert_array_equal(*ax.lines[0].get_data())
    assert ax.get_title(loc="left") == "3 sections"


def test_readings_are_sorted_with_their_choices_below_and_what_does_not_vary_left_out(ax):
    table = every(quantity=["a", "b"], nuclei=["disc", "crop"], theta=["10", "inf"], library=["all genes"])
    table = table.assign(value=[3.0, 1, 2, 4, 0, 0, 0, 0], ours=[True] + 7 * [False])
    table = table.assign(low=0.0, high=5.0, chance=0.5, paper=2.5)
    table = table.assign(**dict.fromkeys(set(judging.CHOICES) - set(table), np.nan))
    axes = judging.specification_curves(ax.figure.subplots(2, 2), table, {"a": "first", "b": "second"})
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


def test_a_field_is_the_share_of_its_readings_that_took_an_option():
    part = pd.DataFrame({"nuclei": ["disc", "crop", "disc", "disc", "crop"], "theta": ["10", "10", "10", "10", np.nan]})
    edges, shares = judging.option_shares(part, [("nuclei", "disc"), ("theta", "10")], most=2)
    assert edges.tolist() == [-0.5, 2.5, 4.5]
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 2], [1, 1 / 2]])


def test_no_field_is_narrower_than_a_reading():
    part = pd.DataFrame({"nuclei": ["disc", "crop", "disc"]})
    edges, shares = judging.option_shares(part, [("nuclei", "disc")], most=120)
    assert edges.tolist() == [-0.5, 0.5, 1.5, 2.5] and shares.tolist() == [[1, 0, 1]]


def test_a_line_parts_choices_but_not_options_of_one(ax):
    part = pd.DataFrame({"nuclei": ["disc", "crop"], "theta": ["10", "inf"]})
    judging.choices_behind(ax, part, [("nuclei", "disc"), ("nuclei", "crop"), ("theta", "10"), ("theta", "inf")])
    assert [line.get_ydata()[0] for line in ax.lines] == [1.5]


def test_each_gene_is_a_point_in_the_colour_of_its_verdict(ax):
    genes = pd.DataFrame({"pcc": [0.5, 0.6, 0.1], "pcc_nuclei_alone": [0.4, 0.2, 0.0], "verdict": ["a", "a", "c"]})
    judging.gene_verdicts(ax, genes, ["a", "b", "c"])
    drawn = [np.asarray(part.get_offsets()) for part in ax.collections]
    np.testing.assert_allclose(drawn[0], [(0.4, 0.5), (0.2, 0.6)])
    assert len(drawn[1]) == 0 and drawn[2].tolist() == [[0.0, 0.1]]
    assert legend(ax) == ["a", "b", "c"] and ax.get_title(loc="left") == "3 genes"


def test_a_line_of_the_ledger_holds_both_numbers_their_verdict_and_the_readings_where_known(ax):
    rows = [("rho", "log", 0.3, 0.4, 0.2, 0.5, 0.1, "close", "¹"), ("delta", "", 0.2, 0.9, *[np.nan] * 3, "off", "")]
    table = pd.DataFrame(
        rows, columns=["metric", "of", "paper", "value", "least", "most", "chance", "verdict", "marks"]
    )
    judging.paper_and_ours(ax, table, ["close", "between", "off"], "Toy")
    words = [text.get_text() for text in ax.texts]
    assert [word for word in words if word in ("rho", "delta")] == ["rho", "delta"]
    assert "0.30  0.40  close¹" in words and "0.20  0.90  off" in words and ax.get_title(loc="left") == "Toy"
    discs = {tuple(line.get_xydata()[0]): line.get_color() for line in ax.lines if line.get_marker() == "o"}
    assert list(discs) == [(0.4, 1), (0.9, 3)] and len(set(discs.values())) == 2
    assert [tuple(line.get_xdata()) for line in ax.lines if line.get_lw() == 7][0] == (0.2, 0.5)
    diamonds = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "D"]
    assert diamonds == [0.3, 0.2]
