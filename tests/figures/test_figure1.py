"""Figure 1: what is drawn is what the table holds, with n, chance and floors named."""

import numpy as np
import pandas as pd
import pytest
from drawn import SECTIONS, TARGETS, N, check_panel, every, legend, points, wave
from matplotlib import pyplot as plt
from matplotlib.text import Text

from helpers.figures import figure1, style


@pytest.fixture
def tables():
    spots = every(section=SECTIONS, spot=range(30))
    spots = spots.assign(patient=spots["section"].str[0], n_nuclei=spots["spot"] % 7)
    spots = spots.assign(total_counts=100 * spots["n_nuclei"] + spots["spot"])  # the first spot of each has no counts
    summary = every(section=SECTIONS, target=TARGETS)
    for name in ("nuclei", "depth"):
        summary = summary.assign(**{f"median_abs_rho_{name}": wave, f"share_coupled_{name}": wave})
    summary = summary.assign(chance_median_abs_rho_nuclei=0.05, chance_share_coupled_nuclei=0.01)
    top = every(backbone=["ridge", "nuclei"], split=["section"], ranking=["same", "nested"], target=TARGETS,
                k=[10, 20], section=SECTIONS).assign(pcc=wave, abs_rho=wave, ceiling=0.93, chance=0.1)  # fmt: skip
    ranked = every(backbone=["ridge", "nuclei"], split=["section"], target=TARGETS, rank=range(1, 21))
    ranked = ranked.assign(pcc=lambda t: 1 / t["rank"], low=0, high=1, ceiling=0.9, n_sections=N)
    couplings = every(backbone=["ridge"], split=["section"], target=TARGETS, section=SECTIONS)
    couplings = couplings.assign(n_genes=300, coupling=wave, coupling_given_abundance=0.1)
    genes = every(section=SECTIONS, target=TARGETS, gene=list("abcdefgh")).assign(pcc=wave)
    return {"spots": spots, "summary": summary, "top": top, "ranked": ranked, "couplings": couplings, "genes": genes}


PANELS = {
    "nuclei_and_depth": lambda ax, t: figure1.nuclei_and_depth(ax, t["spots"]),
    "median_coupling": lambda ax, t: figure1.median_coupling(ax, t["summary"]),
    "median_coupling_depth": lambda ax, t: figure1.median_coupling(ax, t["summary"], "depth"),
    "share_coupled": lambda ax, t: figure1.share_coupled(ax, t["summary"]),
    "predictability_top": lambda ax, t: figure1.predictability_top(ax, t["top"], "ridge"),
    "predictability_by_rank": lambda ax, t: figure1.predictability_by_rank(ax, t["ranked"], "ridge"),
    "top_gene_coupling": lambda ax, t: figure1.top_gene_coupling(ax, t["top"], "ridge"),
    "predictability_and_coupling": lambda ax, t: figure1.predictability_and_coupling(ax, t["couplings"], "ridge"),
    "gene_by_gene": lambda ax, t: figure1.gene_by_gene(ax, t["genes"]),
}


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_draws_on_its_axis_and_says_n(name, ax, tables):
    check_panel(ax, lambda ax: PANELS[name](ax, tables))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("name", "table", "value"),
    [
        ("median_coupling", "summary", "median_abs_rho_nuclei"),
        ("share_coupled", "summary", "share_coupled_nuclei"),
        ("predictability_and_coupling", "couplings", "coupling"),
    ],
)
def test_every_section_is_a_point_of_its_targets_colour(name, table, value, target, ax, tables):
    PANELS[name](ax, tables)
    rows = tables[table]
    drawn = points(ax, style.TARGETS[target][1])[:, 1]
    np.testing.assert_allclose(sorted(drawn), sorted(rows.loc[rows["target"] == target, value]))


# --- panels A to C ---


def test_every_section_is_a_box_in_the_colour_of_its_patient(ax, tables):
    spots = tables["spots"].query("total_counts > 0")
    figure1.depth_by_section(ax, spots)
    assert [text.get_text() for text in ax.get_xticklabels()] == SECTIONS
    assert legend(ax) == ["A", "B", "C"] and ax.get_title(loc="left") == "Depth of 5 sections, 145 spots"
    assert ax.get_xticklabels()[0].get_rotation() == 0
    ax.clear()
    figure1.depth_by_section(ax, pd.concat([spots.assign(section=spots["section"] + str(i)) for i in range(3)]))
    assert ax.get_xticklabels()[0].get_rotation() == 90


def test_panel_a_gives_rho_by_section_or_by_patient(ax, tables):
    spots = tables["spots"]
    spots = spots[spots["total_counts"] > 0]
    expected = spots[spots["section"] == "A1"][["n_nuclei", "total_counts"]].corr("spearman").iloc[0, 1]
    figure1.nuclei_and_depth(ax, tables["spots"])
    assert legend(ax)[0] == f"A1  {expected:.2f}"
    assert f"{len(spots)} spots" in ax.get_title(loc="left")
    ax.clear()
    many = [spots.assign(section=spots["section"] + str(i)) for i in range(4)]
    figure1.nuclei_and_depth(ax, pd.concat(many))
    assert [text.split(")")[0] + ")" for text in legend(ax)] == ["A (8)", "B (8)", "C (4)"]


def test_chance_is_named_only_where_it_is_known(ax, tables):
    figure1.median_coupling(ax, tables["summary"])
    assert "mean of the null" in legend(ax)
    ax.clear()
    figure1.median_coupling(ax, tables["summary"], "depth")
    assert legend(ax) == ["median of sections"]


def test_sections_without_nuclei_leave_an_empty_panel_not_an_error(ax, tables):
    empty = tables["summary"].assign(median_abs_rho_nuclei=np.nan, chance_median_abs_rho_nuclei=np.nan)
    figure1.median_coupling(ax, empty)
    assert "0 sections" in ax.get_title(loc="left")


def test_names_of_close_sections_do_not_touch(ax, tables):
    close = tables["summary"].assign(median_abs_rho_nuclei=0.3 + 1e-4 * np.arange(len(tables["summary"])))
    figure1.median_coupling(ax, close)
    ax.figure.canvas.draw()
    # As plain text: an annotation's extent includes its line.
    boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
    assert len(boxes) == N
    assert all(upper.y0 > lower.y0 + 0.8 * lower.height for lower, upper in zip(boxes, boxes[1:], strict=False))


def test_the_share_is_of_genes_above_the_threshold_it_names(ax, tables):
    figure1.share_coupled(ax, tables["summary"], threshold=0.5)
    assert ax.get_ylabel() == "genes with |ρ(nuclei)| > 0.5"
    assert ax.get_ylim()[0] < 0 and ax.get_ylim()[1] >= 1


# --- panels D to F ---


def test_only_the_chosen_ranking_is_drawn(ax, tables):
    figure1.predictability_top(ax, tables["top"], "ridge", ranking="nested")
    chosen = tables["top"].query("backbone == 'ridge' and ranking == 'nested' and target == 'log2'")["pcc"]
    np.testing.assert_allclose(sorted(points(ax, style.TARGETS["log2"][1])[:, 1]), sorted(chosen))
    assert "other sections" in ax.get_title(loc="left")


def test_the_ceiling_and_the_floors_that_are_there_are_named(ax, tables):
    figure1.predictability_top(ax, tables["top"], "ridge")
    assert {"noise ceiling", "nuclei alone"} <= set(legend(ax))
    assert "measured depth (oracle)" not in legend(ax)  # no such backbone in the table


def test_a_backbone_that_was_not_fitted_is_named(ax, tables):
    with pytest.raises(ValueError, match="no predictions of stem by section.*nuclei by section, ridge by section"):
        figure1.predictability_by_rank(ax, tables["ranked"], "stem")


def test_every_rank_is_drawn_once_with_its_floor_and_ceiling(ax, tables):
    figure1.predictability_by_rank(ax, tables["ranked"][::-1], "ridge")
    own, ceiling, floor = ax.lines[:3]
    np.testing.assert_allclose(own.get_xydata(), [(rank, 1 / rank) for rank in range(1, 21)])
    assert set(ceiling.get_ydata()) == {0.9} and ceiling.is_dashed()
    np.testing.assert_allclose(floor.get_ydata(), own.get_ydata())
    ax.clear()
    figure1.predictability_by_rank(ax, tables["ranked"].query("backbone == 'ridge'"), "ridge")
    assert "nuclei alone" not in legend(ax)


def test_gene_by_gene_says_how_many_lie_above_the_diagonal(ax, tables):
    genes = pd.DataFrame({"gene": list("aabbcc"), "target": ["log2", "pearson_residual"] * 3, "section": "A1"})
    figure1.gene_by_gene(ax, genes.assign(pcc=[0.5, 0.6, 0.5, 0.4, 0.3, np.nan]))
    assert ax.get_title(loc="left") == "The same genes, 50% above the diagonal\n2 genes, 1 section"
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [(0.5, 0.6), (0.5, 0.4)])
    assert ax.get_xlim() == ax.get_ylim()


@pytest.mark.parametrize("rows", [0, 1])
def test_without_a_gene_in_both_targets_there_is_nothing_to_compare(rows, ax):
    genes = pd.DataFrame({"gene": ["a"], "target": "log2", "section": "A1", "pcc": 0.5})[:rows]
    figure1.gene_by_gene(ax, genes)
    assert [text.get_text() for text in ax.texts] == ["no gene was predicted in both"]


def test_the_coupling_of_the_best_genes_stands_beside_chance_of_the_same_genes(ax, tables):
    top = tables["top"]
    top.loc[top["section"] == "A1", "abs_rho"] = np.nan  # no image
    figure1.top_gene_coupling(ax, top, "ridge")
    own = top.query("backbone == 'ridge' and ranking == 'same' and target == 'log2'")["abs_rho"].dropna()
    np.testing.assert_allclose(sorted(points(ax, style.TARGETS["log2"][1])[:, 1]), sorted(own))
    assert "4 sections" in ax.get_title(loc="left") and "mean of the null, same genes" in legend(ax)


def test_a_section_is_joined_with_itself_given_abundance(ax, tables):
    figure1.predictability_and_coupling(ax, tables["couplings"], "ridge")
    plain = tables["couplings"].query("target == 'log2'")["coupling"]
    joined = np.array([line.get_ydata() for line in ax.lines[:N]])
    np.testing.assert_allclose(joined, np.column_stack([plain, np.full(N, 0.1)]))
    assert "300 genes" in ax.get_title(loc="left") and "given abundance" in legend(ax)


# --- all six ---


def test_figure_1_is_six_labelled_panels(tables):
    style.use()
    figure, axes = plt.subplots(2, 3, figsize=(14, 9))
    args = [tables[name] for name in ("spots", "summary", "top", "couplings")]
    assert len(figure1.figure1(axes, *args, "ridge")) == 6
    figure.canvas.draw()
    assert [[t.get_text() for t in ax.texts][-1] for ax in axes.flat] == list("ABCDEF")
    # No legend reaches into the row below.
    for upper, lower in zip(axes[0], axes[1], strict=True):
        assert upper.get_legend().get_window_extent().y0 > lower.get_tightbbox().y1 - 1
    plt.close(figure)
