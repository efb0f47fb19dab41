"""Panels: what is drawn is what the table holds, on the given axis, with n, chance and one colour per target."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt

from helpers.figures import figure1, judging, targets, training
from helpers.figures import look as of_look

matplotlib.use("Agg")

TARGETS = list(of_look.TARGETS)
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
    "nuclei_and_depth": lambda ax, t: figure1.nuclei_and_depth(ax, t["spots"]),
    "median_coupling": lambda ax, t: figure1.median_coupling(ax, t["summary"]),
    "median_coupling_depth": lambda ax, t: figure1.median_coupling(ax, t["summary"], "depth"),
    "share_coupled": lambda ax, t: figure1.share_coupled(ax, t["summary"]),
    "predictability_top": lambda ax, t: figure1.predictability_top(ax, t["top"], "ridge"),
    "predictability_by_rank": lambda ax, t: figure1.predictability_by_rank(ax, t["ranked"], "ridge"),
    "top_gene_coupling": lambda ax, t: figure1.top_gene_coupling(ax, t["top"], "ridge"),
    "predictability_and_coupling": lambda ax, t: figure1.predictability_and_coupling(ax, t["couplings"], "ridge"),
    "coupling_by_depth": lambda ax, t: targets.coupling_by_depth(ax, t["summary"], t["sections"]),
    "coupling_by_reading": lambda ax, t: targets.coupling_by_reading(ax, t["readings"]),
    "arms_by_depth": lambda ax, t: targets.arms_by_depth(ax, t["arms"]),
    "gene_by_gene": lambda ax, t: figure1.gene_by_gene(ax, t["genes"]),
    "loss_curve": lambda ax, t: training.loss_curve(ax, t["losses"]),
    "pit_histogram": lambda ax, t: training.pit_histogram(ax, t["pits"]),
    "interval_coverage": lambda ax, t: training.interval_coverage(ax, t["coverage"]),
}


@pytest.fixture
def ax():
    of_look.style()
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
    drawn = points(ax, of_look.TARGETS[target][1])[:, 1]
    np.testing.assert_allclose(sorted(drawn), sorted(rows.loc[rows["target"] == target, value]))


def test_an_arm_of_the_frontier_has_a_point_a_section_and_one_at_the_medians(ax, tables):
    targets.frontier(ax, tables["arms"], "chance_rho_depth", "median_rho_depth", {"chance": (0.1, "--")})
    drawn = points(ax, of_look.SECTIONS[list(of_look.SIZE_FACTORS).index("total")])
    for _, own in tables["arms"].groupby("transform"):
        both = own[["chance_rho_depth", "median_rho_depth"]]
        for point in [*both.to_numpy(), both.median().to_numpy()]:
            assert np.isclose(drawn, point).all(axis=1).any()
    assert legend(ax) == ["÷ all counts", "log", "Pearson residual", "chance"]
    assert f"{N} sections" in ax.get_title(loc="left")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_new_target_gets_a_colour_of_its_own():
    look = of_look.looks(["tpm", "log2", "sqrt"])
    assert list(look) == ["log2", "tpm", "sqrt"]
    assert look["log2"] == of_look.TARGETS["log2"]
    assert len({colour for _, colour, _ in look.values()} | {of_look.TARGETS["pearson_residual"][1]}) == 4


def test_figure_1_is_six_labelled_panels(tables):
    of_look.style()
    figure, axes = plt.subplots(2, 3, figsize=(14, 9))
    args = [tables[name] for name in ("spots", "summary", "top", "couplings")]
    assert len(figure1.figure1(axes, *args, "ridge")) == 6
    figure.canvas.draw()
    assert [[t.get_text() for t in ax.texts][-1] for ax in axes.flat] == list("ABCDEF")
    assert figure.get_facecolor() == (1, 1, 1, 1)
    # No legend reaches into the row below.
    for upper, lower in zip(axes[0], axes[1], strict=True):
        assert upper.get_legend().get_window_extent().y0 > lower.get_tightbbox().y1 - 1
    plt.close(figure)


def test_a_picture_is_a_png_of_its_size():
    picture = of_look.png(lambda ax: ax.plot([0, 1]), 2, 1)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and picture[16:24] == (260).to_bytes(4, "big") + (130).to_bytes(4, "big")


def test_rows_hold_the_sections_of_every_target_and_chance_only_where_it_is_given(ax):
    table = every(backbone=["ridge", "nuclei", "depth"], target=TARGETS, section=list("ABC")).assign(pcc=wave)
    of_look.in_rows(ax, table.assign(chance=0.1), "pcc", "backbone", "PCC-50", "chance", "95 %")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["ridge", "nuclei alone", "measured depth (oracle)"]
    assert ax.get_title(loc="left") == "PCC-50, 3 sections" and "chance (95 %)" in legend(ax)
    drawn = points(ax, of_look.TARGETS["log2"][1])
    top = table.query("backbone == 'ridge' and target == 'log2'")["pcc"]
    np.testing.assert_allclose(sorted(drawn[drawn[:, 1] < 0.5, 0]), sorted(top))
    ax.clear()
    of_look.in_rows(ax, table, "pcc", "backbone", "PCC-50")
    assert not any("chance" in text for text in legend(ax))


def test_flags_name_what_is_flagged_and_nothing_else():
    skill = pd.DataFrame({"backbone": ["stem", "stem"], "target": TARGETS[:2], "flagged": [True, False]})
    remark = of_look.flags(skill)
    assert "`stem`" in remark and of_look.label(TARGETS[0]) in remark and of_look.label(TARGETS[1]) not in remark
    assert of_look.flags(skill[~skill["flagged"]]).startswith("No score")


def test_effective_spots_of_every_section_stand_beside_equality(ax):
    table = every(section=list("ABC"), target=TARGETS).assign(n_spots=lambda t: 100 + t["at"], n_effective=wave)
    judging.effective_spots(ax, table)
    own = table[table["target"] == "log2"]
    drawn = points(ax, of_look.TARGETS["log2"][1])
    np.testing.assert_allclose(sorted(drawn[:, 0]), sorted(own["n_spots"]))
    np.testing.assert_array_equal(*ax.lines[0].get_data())
    assert ax.get_title(loc="left") == "3 sections"
