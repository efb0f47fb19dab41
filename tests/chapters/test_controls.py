"""Controls: each twin has the answer that it is made for, chance is that of maps as smooth, and sentences add up."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.chapters import controls, simulated
from helpers.cohort import simulate
from helpers.schema import COUNTS, LATTICE, PREDICTED, SPATIAL
from helpers.scores import judge, spatial
from helpers.targets import normalization

GENES = [f"g{i}" for i in range(6)]
GRID = np.argwhere(np.ones((6, 5))).astype(float)


def section(name, seed):
    """Thirty spots whose depth follows their nuclei; composition is the same everywhere."""
    rng = np.random.default_rng(seed)
    nuclei = rng.integers(2, 20, len(GRID))
    counts = csr_matrix(rng.poisson(nuclei[:, None] * np.arange(2.0, 2 + len(GENES))).astype(float))
    obs = pd.DataFrame({"patient": name, "n_nuclei": nuclei}, index=[f"{name}{i}" for i in range(len(GRID))])
    made = AnnData(obs=obs, var=pd.DataFrame(index=GENES), layers={COUNTS: counts}, uns={"section": name})
    made.obs["total_counts"] = normalization.summed_counts(made)
    made.obsm[SPATIAL] = made.obsm[LATTICE] = GRID
    made.obsm["patch"] = np.column_stack([nuclei, rng.normal(size=len(GRID))])
    return made


@pytest.fixture(scope="module")
def sections():
    return {name: section(name, seed) for seed, name in enumerate("ABC")}


@pytest.fixture(scope="module")
def made(sections):
    return controls.twins_with_targets(sections, GENES[:4], ["log2", "log1p_cp10k"])


def prediction(of, backbone="ridge", target="log2", seed=0, noise=0.0):
    """The target itself, or near it, as a prediction."""
    values = of.layers[target] + noise * np.random.default_rng(seed).normal(size=of.shape)
    uns = {"section": of.uns["section"], "split": "section", "backbone": backbone, "target": target, "seed": seed}
    return AnnData(obs=of.obs, var=of.var, layers={PREDICTED: values}, uns=uns)


# --- twins ---


def test_each_twin_keeps_what_it_is_named_for(sections):
    real, depth, equal = (controls.twin_of(sections["A"], kind) for kind in controls.TWINS)
    assert real is sections["A"]
    np.testing.assert_array_equal(depth.obs["total_counts"], real.obs["total_counts"])
    assert equal.obs["total_counts"].nunique() == 1 and 0.8 < equal.n_obs / real.n_obs < 1
    assert (equal.obs["total_counts"].iloc[0] <= real[equal.obs_names].obs["total_counts"]).all()
    with pytest.raises(ValueError, match="'shuffled' is not one of real, depth_only, equal_depth"):
        controls.twin_of(sections["A"], "shuffled")


def test_targets_of_twins_are_made_of_their_own_counts_over_all_genes(sections, made):
    twin = controls.twin_of(sections["B"], "depth_only")
    assert list(made) == list(controls.TWINS) and made["depth_only"]["B"].var_names.tolist() == GENES[:4]
    cp10k = np.log1p(1e4 * twin.layers[COUNTS].toarray() / twin.obs[["total_counts"]].to_numpy())
    np.testing.assert_allclose(made["depth_only"]["B"].layers["log1p_cp10k"], cp10k[:, :4])


def test_equal_depths_are_told_with_the_share_of_spots_kept(sections, made):
    depths = controls.equal_depths(made["equal_depth"], sections)
    twin = controls.twin_of(sections["C"], "equal_depth")
    assert depths.loc["C"].tolist() == [twin.obs["total_counts"].iloc[0], twin.n_obs / 30]


# --- scores ---


def test_a_score_is_pcc_k_with_the_95_percent_point_of_maps_as_smooth(sections):
    rng = np.random.default_rng(0)
    measured, spots = rng.normal(size=(30, 3)), judge.basis(sections["A"])
    predicted = measured + [[0, 0, 9]] * rng.normal(size=(30, 3))
    found = controls.score(measured, predicted, sections["A"], 2, n_draws=99)
    drawn = spatial.null_correlations(measured, predicted, spots, n_draws=99)[1]
    chance = np.quantile(np.sort(drawn, axis=0)[1:].mean(axis=0), 0.95)
    assert found == pytest.approx({"pcc_2": 1, "chance_95": chance})


def test_a_panel_smaller_than_k_has_neither_score_nor_chance(sections):
    flat = np.column_stack([np.arange(30.0), np.ones(30)])
    found = controls.score(flat, flat, sections["A"], k=3, n_draws=9)
    assert list(found) == ["pcc_3", "chance_95"] and np.isnan(list(found.values())).all()


def test_a_prediction_is_scored_against_the_spots_that_the_twin_keeps(made):
    held = prediction(made["real"]["A"])[::-1]
    rows = controls.score_on_twins(held, made, k=2, n_draws=19).set_index("twin")
    assert rows.index.tolist() == list(controls.TWINS)
    assert rows.loc["real", "pcc_2"] == pytest.approx(1)
    assert rows.loc["real", "pcc_2"] > rows.loc["depth_only", "pcc_2"] > rows.loc["equal_depth", "pcc_2"]
    assert (rows["section"] == "A").all() and (rows["seed"] == 0).all()


def test_seeds_are_averaged_and_trained_models_come_before_floors(made):
    floor = prediction(made["real"]["A"], "nuclei", noise=1)
    pair = [prediction(made["real"]["A"], "stem", seed=seed, noise=1) for seed in (1, 2)]
    late = prediction(made["real"]["A"], "stem", "log1p_cp10k")
    targets = ["log2", "log1p_cp10k"]
    scores = controls.score_kept([floor, late, *pair], made, targets, k=2, n_draws=19)
    assert scores["backbone"].tolist() == ["stem"] * 6 + ["nuclei"] * 3
    assert scores["target"].tolist() == ["log2"] * 3 + ["log1p_cp10k"] * 3 + ["log2"] * 3
    each = [controls.score_on_twins(one, made, k=2, n_draws=19)["pcc_2"][0] for one in pair]
    assert scores["pcc_2"][0] == pytest.approx(np.mean(each)) and each[0] != each[1]


def test_ridge_on_twins_learns_depth_where_there_is_only_depth(made):
    panels = {"A": GENES[:4], "B": GENES[1:4]}
    scores = controls.score_refitted(made, ["log2", "log1p_cp10k"], ["section"], panels, k=2, n_draws=19)
    assert len(scores) == 3 * 2 * 2 and set(scores["backbone"]) == {"ridge"}
    only = scores[scores["twin"] == "depth_only"].groupby("target")["pcc_2"].mean()
    assert only["log2"] > 0.7 > only["log1p_cp10k"]


@pytest.fixture
def scores():
    """One model and one floor, in two sections; the model's skill on the depth-only twin is beyond chance in one."""
    rows = []
    for backbone, twin_scores in (("stem", (0.6, 0.1)), ("depth", (0.9, 0.8))):
        for section, on_twin in zip("AB", twin_scores, strict=True):
            for twin, value in (("real", 0.5), ("depth_only", on_twin), ("equal_depth", 0.2)):
                rows.append((section, "section", "log2", backbone, twin, value, 0.3))
    return pd.DataFrame(rows, columns=[*controls.KEYS, "twin", "pcc_50", "chance_95"])


def test_only_skill_on_the_depth_only_twin_is_flagged(scores):
    flagged = controls.flag(scores, controls.KEYS, 50)
    assert flagged.loc[flagged["flagged"], ["section", "backbone", "twin"]].to_numpy().tolist() == [
        ["A", "stem", "depth_only"],
        ["A", "depth", "depth_only"],
        ["B", "depth", "depth_only"],
    ]
    assert (flagged["on_real"] == 0.5).all() and len(flagged) == len(scores)


def test_the_table_that_is_kept_has_no_real_counts(scores):
    table = controls.of_twins(controls.flag(scores, controls.KEYS, 50), 50)
    assert len(table) == 8 and "real" not in set(table["twin"])
    assert list(table)[2:6] == ["twin", "target", "backbone", "pcc_50"]


def test_medians_over_sections_say_in_how_many_a_score_is_flagged(scores):
    table = controls.medians(controls.flag(scores, controls.KEYS, 50), 50)
    assert table.loc["stem", "log2"].tolist() == [0.5, 0.35, 0.2, 0.3, "1 of 2"]
    assert list(table) == [*controls.TWINS, "chance", "flagged"]


def test_coupling_is_seen_by_counting_nuclei_where_only_depth_varies(sections):
    loose = {name: made.copy() for name, made in sections.items()}
    for made in loose.values():
        made.obs["n_nuclei"] = np.random.default_rng(1).permutation(made.obs["n_nuclei"])
    scores = controls.score_nuclei({1.0: sections, 0.0: loose}, GENES, ["log2"], k=2, n_draws=19)
    only = scores[scores["twin"] == "depth_only"].groupby("coupling")["pcc_2"].mean()
    assert only[1.0] > 0.7 > 0.5 > only[0.0] and len(scores) == 2 * 3 * 3


def test_every_simulated_section_gets_its_depth_and_the_coupling(monkeypatch):
    monkeypatch.setattr(simulated, "section", lambda name, depth, profiles, coupling: (name, depth, coupling))
    found = controls.simulated_cohorts()
    assert list(found) == [1.0, 0.0]
    assert found[0.0] == {name: (name, depth, 0.0) for name, depth in simulate.SECTIONS.items()}


def test_the_panel_is_chosen_from_all_sections(monkeypatch):
    def statistics(total):
        table = pd.DataFrame({"total": total, "total_of_squares": np.square(total)}, index=["a", "b", "c"])
        return table.assign(highly_variable=True, n_spots=1)

    monkeypatch.setattr(controls, "gene_statistics", statistics)
    assert controls.panel_of_counts({"A": [5, 4, 1], "B": [1, 12, 2]}, 2) == ["b", "a"]


# --- sentences ---


def test_the_range_of_depths_is_told():
    depths = pd.DataFrame({"depth": [1234, 200], "kept": [0.901, 0.95]}, index=["A", "B"])
    assert controls.depths_sentence(depths, 10) == (
        "Equal depths lie between 200 and 1,234 molecules; 90% to 95% of a section's spots are kept. Scores are PCC-10."
    )


def test_the_answer_sets_each_twin_beside_its_chance_and_leaves_floors_out(scores):
    flagged = controls.flag(scores, controls.KEYS, 50)
    assert controls.answer(flagged, 50, ["stem"], {"A": "a", "B": "a"}) == (
        "**Where only depth varies, scores are above chance in most sections in no target.** There PCC-50 (95 % point "
        "of chance; sections above it) is `stem` log2(x + 1) **0.35** "
        "(0.30; 1 of 2). Where all spots have one depth it is `stem` log2(x + 1) **0.20** (0.30; 0 of 2). "
        "Medians over 2 sections of 1 patient."
    )
    both = pd.concat([flagged, flagged.assign(target="pearson_residual", backbone="depth")])
    said = controls.answer(both[both["section"] == "B"], 50, ["stem", "depth"], {"B": "b"})
    assert said.startswith("**Where only depth varies, scores are above chance in most sections in log2(x + 1), not in")
    assert "`stem` log2(x + 1) **0.10** (0.30; 0 of 1); `depth` log2(x + 1) **0.80** (0.30; 1 of 1), Pearson" in said


def test_targets_are_compared_on_each_twin_by_their_medians():
    rows = [("real", "log2", 0.8), ("real", "pearson_residual", 0.2), ("real", "pearson_residual", 0.4)]
    rows += [("depth_only", "log2", 0.7), ("depth_only", "pearson_residual", -0.05)]
    rows += [("equal_depth", "log2", 0.25), ("equal_depth", "pearson_residual", 0.2)]
    table = pd.DataFrame(rows, columns=["twin", "target", "pcc_5"])
    table = table.assign(section=["A1", "A1", "A2", "A1", "A1", "A1", "A1"], chance_95=0.1)
    text = controls.refitted_sentence(table, 5, {"A1": "A", "A2": "A"})
    assert text.startswith("Medians over 2 sections of 1 patient. ")
    assert "lie 0.50 apart, from Pearson residual with 0.30 to log2(x + 1) with 0.80." in text
    assert "they lie 0.05 apart (log2(x + 1) 0.25 (chance 0.10), Pearson residual 0.20 (chance 0.10))" in text
    only_depth = "log2(x + 1) 0.70 (chance 0.10), Pearson residual -0.05 (chance 0.10)"
    assert text.endswith(f"Where only depth varies: {only_depth}.")


def test_coupling_on_is_told_beside_coupling_off():
    rows = [(1.0, "log2", 0.8, True), (1.0, "log1p_cp10k", 0.1, False), (0.0, "log2", 0.05, True)]
    rows += [(0.0, "log1p_cp10k", 0.02, False)]
    table = pd.DataFrame(rows, columns=["coupling", "target", "pcc_50", "flagged"]).assign(twin="depth_only")
    assert controls.coupling_sentence(table, 50) == (
        "On the depth-only twin of the coupled cohort counting nuclei scores 0.80 in log2(x + 1), "
        "0.10 in log1p(CP10k); of the uncoupled one 0.05, 0.02, above its chance in 1 of 2 scores, "
        "where one in twenty is expected."
    )
    assert "above its chance in 1 of 1 score," in controls.coupling_sentence(table.head(3), 50)
