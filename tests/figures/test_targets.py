"""Twin of helpers/figures/targets.py."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt

from helpers.figures import look, targets

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


def test_readings_stand_from_the_top_in_their_order_each_with_its_sections(ax, tables):
    rows = tables["readings"]
    rows.loc[(rows["reading"] == "hovernet") & (rows["section"] == "A1"), "median_abs_rho_nuclei"] = np.nan
    targets.coupling_by_reading(ax, rows)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["count in the spot's disc", "count in STEM's crop", "hovernet"]
    assert ax.yaxis_inverted()
    drawn = points(ax, look.TARGETS["log2"][1])
    for i, reading in enumerate(("disc", "crop", "hovernet")):
        own = rows[(rows["reading"] == reading) & (rows["target"] == "log2")]
        expected = own["median_abs_rho_nuclei"].dropna()
        np.testing.assert_allclose(sorted(drawn[np.abs(drawn[:, 1] - i) < 0.5, 0]), sorted(expected))
    assert "chance (median)" in legend(ax)


def test_arms_stand_from_the_top_in_their_order_each_with_its_sections(ax, tables):
    targets.by_arm(ax, tables["arms"], "median_rho_depth", "coupling", {"chance_rho_depth": ("chance", "black", "|")})
    assert [text.get_text() for text in ax.get_yticklabels()] == ["÷ all counts, log", "÷ all counts, Pearson residual"]
    assert ax.yaxis_inverted()
    for i, (transform, own) in enumerate(tables["arms"].groupby("transform")):
        drawn = points(ax, look.TRANSFORMS[transform][1])
        np.testing.assert_allclose(sorted(drawn[:, 0]), sorted(own["median_rho_depth"]))
        assert (np.abs(drawn[:, 1] - i) < 0.5).all()
    assert legend(ax) == ["median", "chance"]


def test_each_section_is_a_point_of_its_transforms_colour_at_its_depth(ax, tables):
    targets.arms_by_depth(ax, tables["arms"])
    for transform, own in tables["arms"].groupby("transform"):
        expected = own[["median_total_counts", "median_rho_depth"]].sort_values("median_total_counts")
        np.testing.assert_allclose(points(ax, look.TRANSFORMS[transform][1]), expected)
    assert legend(ax) == ["log", "Pearson residual", "chance"]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_flat_target_lies_flat_and_genes_without_counts_are_left_out(ax, tables):
    moments = tables["moments"]
    moments.loc[moments["gene"] == 0, "mean_count"] = 0
    targets.mean_variance(ax, moments)
    assert len(points(ax, look.TARGETS["log2"][1])) == 39
