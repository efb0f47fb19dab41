"""Training and samples: a line a fold, every section a point, and what was promised beside what came."""

import numpy as np
import pandas as pd
import pytest
from drawn import SECTIONS, TARGETS, N, check_panel, every, legend, points, wave

from helpers.figures import style, training


@pytest.fixture
def tables():
    losses = every(target=TARGETS[:2], held_out=SECTIONS, seed=[0], step=range(10)).assign(loss=wave)
    pits = every(target=TARGETS[:2], held_out=SECTIONS, seed=[0], low=[0.0, 0.25, 0.5, 0.75]).assign(density=wave)
    coverage = every(target=TARGETS[:2], section=SECTIONS, share=[0.5, 0.9]).assign(covered=wave)
    return {"losses": losses, "pits": pits, "coverage": coverage}


PANELS = {
    "loss_curve": lambda ax, t: training.loss_curve(ax, t["losses"]),
    "pit_histogram": lambda ax, t: training.pit_histogram(ax, t["pits"]),
    "interval_coverage": lambda ax, t: training.interval_coverage(ax, t["coverage"]),
}


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_draws_on_its_axis_and_says_n(name, ax, tables):
    check_panel(ax, lambda ax: PANELS[name](ax, tables))


def test_a_fold_is_one_line_in_the_order_of_its_steps(ax, tables):
    training.loss_curve(ax, tables["losses"][::-1])
    assert len(ax.lines) == 2 * N
    assert all(line.get_xdata().tolist() == list(range(10)) for line in ax.lines)
    assert {line.get_color() for line in ax.lines} == {style.TARGETS[target][1] for target in TARGETS[:2]}


def test_scores_over_steps_are_a_line_a_target_beside_that_of_ridge(ax):
    large = every(target=TARGETS[:2], spot_views=[1000, 2000, 4000]).assign(pcc=wave, model="published size")
    small = every(target=TARGETS[:2], model=["ridge", "stem"]).assign(pcc=0.7, spot_views=[np.nan, 500] * 2)
    training.scores_over_steps(ax, pd.concat([large[::-1], small]).assign(held_out="C3"), "pcc")
    assert ax.get_title(loc="left") == "1 fold, C3 held out"
    curves, dashed = ax.lines[::2], ax.lines[1::2]
    assert [line.get_xdata().tolist() for line in curves] == [[1, 2, 4]] * 2
    assert {line.get_ydata()[0] for line in dashed} == {0.7}
    assert ax.get_ylabel() == training.OVER_STEPS["pcc"]


def test_scores_by_fold_are_a_marker_a_model_above_the_chance_of_the_large_one(ax):
    table = every(model=list(training.SIZES), held_out=SECTIONS, target=TARGETS[:2])
    chance = table["model"].map({"published size": 0.2, "stem": 0.3, "ridge": 0.4})
    table = table.assign(pcc=wave, pcc_chance_95=chance)
    training.scores_by_fold(ax, table, TARGETS[0], "pcc")
    of_target = table[table["target"] == TARGETS[0]]
    drawn = [points(ax, colour)[:, 1].tolist() for colour in style.SECTIONS[:3]]
    assert drawn == [of_target.loc[of_target["model"] == model, "pcc"].tolist() for model in training.SIZES]
    assert {segment[0][1] for segment in ax.collections[3].get_segments()} == {0.2}
    assert [text.get_text() for text in ax.get_xticklabels()] == list(SECTIONS)


def test_each_sampler_is_a_line_over_its_calls(ax):
    ladder = every(sampler=["ancestral", "ddim"], network_calls=[10, 1000]).assign(rvd=wave)
    ladder["starts"] = ladder["sampler"].map({"ancestral": "independent", "ddim": "antithetic"})
    training.sampling_ladder(ax, ladder[::-1], "rvd")
    assert [list(line.get_xdata()) for line in ax.lines] == [[10, 1000]] * 2
    assert set(legend(ax)) == {"ancestral", "ddim, antithetic"}
    assert ax.get_ylabel() == training.LADDER["rvd"]


def test_the_thick_histogram_is_the_mean_of_the_folds(ax, tables):
    training.pit_histogram(ax, tables["pits"])
    assert len(ax.patches) == 2 * N + 2
    mean = tables["pits"].query("target == 'log2'").groupby("low")["density"].mean()
    thick = ax.patches[2 * N].get_data()
    np.testing.assert_allclose(thick.values, mean)
    assert thick.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_what_an_interval_covers_stands_at_the_promised_share(ax, tables):
    training.interval_coverage(ax, tables["coverage"])
    drawn = points(ax, style.TARGETS["log2"][1])
    for place, share in enumerate((0.5, 0.9)):
        own = tables["coverage"].query(f"target == 'log2' and share == {share}")["covered"]
        np.testing.assert_allclose(sorted(drawn[np.abs(drawn[:, 0] - place) < 0.5, 1]), sorted(own))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["50%", "90%"] and "promised" in legend(ax)


def test_genes_stand_in_the_order_of_their_measured_variance(ax):
    genes = every(gene=list("abcdefgh")).assign(variance_measured=wave, variance_predicted=wave, variance_sampled=0.4)
    training.gene_variation(ax, genes, "log2")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.sort(genes["variance_measured"]))
    np.testing.assert_allclose(points(ax, style.TARGETS["log2"][1])[:, 1], np.sort(genes["variance_predicted"]))
    assert legend(ax) == ["measured", "predicted", "one sample"]


def test_means_are_drawn_without_those_of_single_samples_and_not_on_a_log_axis(ax):
    genes = pd.DataFrame({"mean_measured": [-1.0, 2.0], "mean_predicted": [0.0, 1.0]})
    training.gene_variation(ax, genes, "log2", "mean")
    assert legend(ax) == ["measured", "predicted"] and ax.get_yscale() == "linear"
