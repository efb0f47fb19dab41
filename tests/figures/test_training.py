"""Twin of helpers/figures/training.py."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt

from helpers.figures import look, training

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


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_genes_stand_in_the_order_of_their_measured_variance(ax, tables):
    curves = tables["curves"]
    training.gene_variation(ax, curves, "log2")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.sort(curves["variance_measured"]))
    np.testing.assert_allclose(points(ax, look.TARGETS["log2"][1])[:, 1], curves["variance_predicted"])
    assert legend(ax) == ["measured", "predicted", "one sample"]


def test_each_sampler_is_a_line_over_its_calls(ax, tables):
    training.sampling_ladder(ax, tables["ladder"][::-1], "rvd")
    assert [list(line.get_xdata()) for line in ax.lines] == [[10, 1000]] * 2
    assert set(legend(ax)) == {"ancestral", "ddim, antithetic"}


def test_the_network_is_drawn_at_its_size(ax):
    training.stem_network(ax, 300, 1536, 384, 12, 6)
    drawn = " ".join(text.get_text() for text in ax.texts)
    assert all(size in drawn for size in ("300 genes", "6 heads", "12 blocks", "1,536 features", "384 → 1536"))
