"""Twin of helpers/figures/figure1.py."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.text import Text

from helpers.figures import figure1, look

matplotlib.use("Agg")

TARGETS = list(look.TARGETS)
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


@pytest.fixture
def ax():
    look.style()
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def points(ax, colour):
    wanted = colors.to_rgb(colour)
    parts = [c for c in ax.collections if isinstance(c, matplotlib.collections.PathCollection)]
    return np.vstack([c.get_offsets() for c in parts if np.allclose(c.get_facecolor()[0, :3], wanted)])


def test_only_the_chosen_ranking_is_drawn(ax, tables):
    figure1.predictability_top(ax, tables["top"], "ridge", ranking="nested")
    chosen = tables["top"].query("backbone == 'ridge' and ranking == 'nested' and target == 'log2'")["pcc"]
    np.testing.assert_allclose(sorted(points(ax, look.TARGETS["log2"][1])[:, 1]), sorted(chosen))
    assert "other sections" in ax.get_title(loc="left")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_chance_ceiling_and_floors_are_named(ax, tables):
    figure1.median_coupling(ax, tables["summary"])
    assert "chance (median)" in legend(ax)
    ax.clear()
    figure1.predictability_top(ax, tables["top"], "ridge")
    assert {"noise ceiling", "nuclei alone"} <= set(legend(ax))
    assert "depth alone" not in legend(ax)  # no such backbone in the table


def test_a_backbone_that_was_not_fitted_is_named(ax, tables):
    with pytest.raises(ValueError, match="no predictions of stem by section.*nuclei by section, ridge by section"):
        figure1.predictability_by_rank(ax, tables["ranked"], "stem")


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


def test_sections_without_nuclei_leave_an_empty_panel_not_an_error(ax, tables):
    empty = tables["summary"].assign(median_abs_rho_nuclei=np.nan, chance_abs_rho_nuclei=np.nan)
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
