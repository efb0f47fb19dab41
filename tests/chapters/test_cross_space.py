"""Cross-space scores: what a model knows goes along to another space, and nothing that it does not know."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.chapters import cross_space
from helpers.schema import COUNTS, LATTICE, PREDICTED, SPATIAL
from helpers.scores import judge, spatial
from helpers.targets.normalization import LOG, RESIDUAL

GRID = np.argwhere(np.ones((6, 5))).astype(float)
GENES = [f"g{i}" for i in range(6)]
TARGETS = [LOG, RESIDUAL]
PATIENTS = {"A": "A", "B": "A", "C": "B"}


def section(name, seed=0):
    """Thirty spots whose depth varies tenfold while half of the molecules move from one gene to the next."""
    rng = np.random.default_rng(seed)
    depth, left = rng.uniform(50, 500, 30), np.linspace(0, 1, 30)
    share = np.column_stack([left, 1 - left, *np.ones((4, 30))]) / 5
    obs = pd.DataFrame(index=[f"{name}{i}" for i in range(30)])
    made = AnnData(obs=obs, var=pd.DataFrame(index=GENES), uns={"section": name})
    made.layers[COUNTS] = csr_matrix(rng.poisson(depth[:, None] * share).astype(float))
    made.obs["total_counts"], made.obs["patient"] = made.layers[COUNTS].toarray().sum(axis=1), name[0]
    made.obsm[SPATIAL] = made.obsm[LATTICE] = GRID
    return made


def perfect(of, target, backbone="ridge", seed=0, genes=GENES[:4]):
    """The target as the prediction, in the reverse order of spots."""
    values = judge.measured(of, target, genes)
    uns = {"section": of.uns["section"], "split": "section", "backbone": backbone, "target": target, "seed": seed}
    layers = {PREDICTED: values.astype(np.float32)}
    return AnnData(obs=of.obs, var=pd.DataFrame(index=list(genes)), layers=layers, uns=uns)[::-1]


@pytest.fixture(scope="module")
def sections():
    return {name: section(name, seed) for seed, name in enumerate("AB")}


@pytest.fixture(scope="module")
def fits(sections):
    return cross_space.by_fit(perfect(of, target) for of in sections.values() for target in TARGETS)


def known(sections, targets, genes=GENES[:4]):
    """Ceilings that fall from gene to gene, the same in every target."""
    rows = [(name, t, g, 0.9 - 0.1 * i) for name in sections for t in targets for i, g in enumerate(genes)]
    return pd.DataFrame(rows, columns=["section", "target", "gene", "ceiling"])


@pytest.fixture(scope="module")
def scored(fits, sections):
    return cross_space.score_fits(fits, sections, known(sections, [*TARGETS, "counts"]), k=2, n_draws=19)


# --- two numbers ---


def test_composition_skill_is_the_score_as_residuals_and_library_skill_the_judge_s(fits, sections, scored):
    found = cross_space.skills_of(fits, sections, scored[0], 2, n_draws=16)
    assert len(found) == 2 * len(TARGETS) and list(found.columns[:5]) == cross_space.SKILL_KEYS
    own = scored[0][scored[0]["scored_in"] == RESIDUAL].set_index(["section", "trained_in"])
    for row in found.itertuples():
        assert row.composition == own.loc[(row.section, row.target), "pcc_2"]
    log, residual = (found[found["target"] == target] for target in TARGETS)
    assert (log["library"] > 0.9).all() and residual["library"].isna().all()


def test_skills_are_said_with_chance_ceiling_sections_and_patients():
    rows = [("A1", "A", 0.8, 0.3, 0.99, 0.5, 0.6, 0.9), ("B1", "B", 0.6, 0.3, 0.99, 0.7, 0.2, 0.9)]
    names = [f"{name}{what}" for name in ("library", "composition") for what in ("", "_chance_95", "_ceiling")]
    table = pd.DataFrame(rows, columns=["section", "patient", *names]).assign(backbone="ridge", target=LOG)
    text = cross_space.skills_sentences(table, ["ridge"])
    assert text == (
        "- `ridge`, log2(x + 1) (2 sections, 2 patients): library skill **0.70** (chance 0.30, ceiling 0.99, above "
        "chance in 2 of 2); composition skill **0.60** (chance 0.40, ceiling 0.90, above chance in 1 of 2)."
    )
    nothing = table.assign(library=np.nan, composition=np.nan)
    assert "none: the target holds no library; composition skill none: nothing is left." in (
        cross_space.skills_sentences(nothing, ["ridge"])
    )
    assert cross_space.skills_sentences(table, ["stem"]) == ""


# --- predictions ---


def test_targets_of_one_fit_stand_together_and_seeds_and_panels_apart(sections):
    one = sections["A"]
    several = [perfect(one, LOG), perfect(one, RESIDUAL), perfect(one, LOG, seed=1), perfect(one, LOG, genes=GENES[:3])]
    fits = cross_space.by_fit(several)
    assert [list(fitted) for fitted in fits.values()] == [[LOG, RESIDUAL], [LOG], [LOG]]
    assert list(fits)[0] == ("A", "section", "ridge", 0, tuple(GENES[:4]))


def test_composition_and_library_are_put_together_only_of_both_models():
    share, values = np.array([0.2, 0.3]), {LOG: np.log2([[3.0, 4], [5, 7]]), RESIDUAL: np.zeros((2, 2))}
    made = {name: rest for name, *rest in cross_space.candidates(values, share, 9.0, np.array([8.0, 16]))}
    assert list(made) == [LOG, RESIDUAL, *cross_space.COMBINED]
    space, library_alone, depth = made["library"]
    assert space == "counts" and depth == 9
    np.testing.assert_allclose(library_alone[:, 0] / library_alone[:, 1], 2 / 3)
    np.testing.assert_allclose(made["residual_library"][2] * 0.3, library_alone[:, 1])
    assert made["residual_oracle"][2].tolist() == [8, 16]
    alone = cross_space.candidates({RESIDUAL: values[RESIDUAL]}, share, 9.0, np.ones(2))
    assert [name for name, *_ in alone] == [RESIDUAL]


# --- scores ---


def test_a_perfect_prediction_is_perfect_in_its_own_space(scored):
    scores = scored[0].set_index(["section", "trained_in", "scored_in"])
    for target in TARGETS:
        np.testing.assert_allclose(scores["pcc_all"].xs((target, target), level=[1, 2]), 1, atol=1e-6)
    known = scores[["pcc_2", "pcc_all"]].dropna()
    assert (known["pcc_2"] >= known["pcc_all"] - 1e-9).all()


def test_residuals_hold_no_depth_and_the_measured_library_gives_it_back(scored):
    score = scored[0].groupby(["trained_in", "scored_in"])["pcc_all"].mean()
    assert score[RESIDUAL, "counts"] < 0.7 < 0.98 < score["residual_oracle", "counts"]
    assert score[RESIDUAL, RESIDUAL] > score[LOG, RESIDUAL] > 0.5
    assert np.isnan(score["library", RESIDUAL])  # the same composition everywhere leaves no residual


def test_every_prediction_is_scored_in_every_space_gene_by_gene(scored):
    scores, genes = scored
    assert len(scores) == 2 * 5 * 3 and len(genes) == 4 * len(scores)
    assert list(scores)[:5] == cross_space.KEYS
    means = genes.groupby(cross_space.KEYS, sort=False)["pcc"].mean().to_numpy()
    np.testing.assert_allclose(means, scores["pcc_all"])
    best = genes.groupby(cross_space.KEYS, sort=False)["pcc"].agg(
        lambda pcc: pcc.nlargest(2).mean() if pcc.notna().sum() > 1 else np.nan
    )
    np.testing.assert_allclose(best.to_numpy(), scores["pcc_2"])


def test_seeds_are_averaged_and_a_target_without_a_ceiling_is_left_out(sections):
    noise = np.random.default_rng(0).normal(size=(30, 4))
    pair = [perfect(sections["A"], LOG, seed=seed).copy() for seed in (0, 1)]
    pair[1].layers[PREDICTED] = pair[1].layers[PREDICTED] + noise
    fits = cross_space.by_fit([*pair, perfect(sections["A"], "log1p_cp10k", "stem")])
    ceilings = known(sections, [LOG, "counts"])
    scores, _ = cross_space.score_fits(fits, sections, ceilings, k=2, n_draws=9)
    one, other = (
        cross_space.score_fits({key: fit}, sections, ceilings, 2, 9)[0] for key, fit in list(fits.items())[:2]
    )
    assert set(scores["backbone"]) == {"ridge"} and len(scores) == 2
    np.testing.assert_allclose(scores["pcc_2"], (one["pcc_2"] + other["pcc_2"]) / 2)


def test_a_fit_is_scored_with_the_ceiling_of_its_best_genes_and_the_chance_of_maps_as_smooth(sections, fits):
    values, one = next(iter(fits.values())), sections["A"]
    ceilings = {space: np.array([0.9, 0.8, 0.7, 0.6]) for space in (LOG, RESIDUAL, "counts")}
    row, pcc = next(cross_space.score_fit(one, values, ceilings, 2, n_draws=19))
    truth = judge.measured(one, LOG, GENES[:4])
    drawn = spatial.null_correlations(truth, truth, judge.basis(one), n_draws=19)[1]
    assert row["chance_95"] == pytest.approx(np.quantile(np.sort(drawn, axis=0)[2:].mean(axis=0), 0.95), abs=1e-5)
    assert row["ceiling_2"] == pytest.approx(ceilings[LOG][np.argsort(-pcc, kind="stable")[:2]].mean())
    assert row["trained_in"] == row["scored_in"] == LOG and len(pcc) == 4 and np.isnan(row["pcc_10"])


def test_counts_have_a_ceiling_below_one_that_grows_with_the_counts(fits, sections):
    ceilings = cross_space.count_ceilings(fits, sections, n_splits=2)
    assert len(ceilings) == 2 * 4 and set(ceilings["target"]) == {"counts"}
    assert ceilings["ceiling"].between(0.5, 1, inclusive="neither").all()


def test_ceilings_are_in_the_order_of_the_genes_and_asked_for_where_missing(sections):
    ceilings = known(sections, [RESIDUAL, LOG])
    found = cross_space.section_ceilings(ceilings, "A", [GENES[2], GENES[0]])
    assert list(found) == [RESIDUAL, LOG] and found[LOG].tolist() == pytest.approx([0.7, 0.9])
    for section, genes in (("C", GENES[:1]), ("A", [*GENES[:2], "other"])):
        with pytest.raises(ValueError, match=f"section {section}: no noise ceiling"):
            cross_space.section_ceilings(ceilings, section, genes)


@pytest.fixture
def scores():
    """Ridge in two spaces and three sections, and nuclei that were trained on logs only."""
    trained = {(LOG, LOG): 0.8, (LOG, RESIDUAL): 0.2, (RESIDUAL, RESIDUAL): 0.32, (RESIDUAL, LOG): 0.4}
    trained |= {("library", LOG): 0.6, ("residual_library", LOG): 0.7, ("residual_oracle", LOG): 0.75}
    rows = [("ridge", *at, value + 0.1 * i * (at[0] == LOG)) for at, value in trained.items() for i in range(3)]
    rows += [("nuclei", LOG, RESIDUAL, 0.1)] * 3
    table = pd.DataFrame(rows, columns=["backbone", "trained_in", "scored_in", "pcc_50"])
    return table.assign(section=list("ABC") * 8, ceiling_50=0.9, chance_95=0.25)


def test_only_models_of_both_targets_can_walk_the_two_steps(scores):
    assert cross_space.trained_in_both(scores, ["nuclei", "stem", "ridge"]) == ["ridge"]


def test_ridge_is_shown_gene_by_gene_where_it_can_be():
    assert cross_space.shown_model(["stem", "ridge"]) == "ridge" and cross_space.shown_model(["stem"]) == "stem"


def test_without_a_model_of_both_targets_the_page_says_so():
    none = cross_space.shown_model([])
    table = pd.DataFrame({"gene": ["a"], "trained_in": LOG, "scored_in": RESIDUAL, "pcc": 0.1})
    for part in (table, table[:0]):
        gained = cross_space.gains(part)
        assert gained.empty and cross_space.ends(gained).empty
        said = cross_space.gains_sentence(gained, none, "")
        assert said == "No gene was scored as a residual by a model trained both on logs and on residuals."


def test_genes_are_ranked_by_what_training_on_residuals_gains():
    rows = [("a", LOG, 0.1), ("a", RESIDUAL, 0.4), ("b", LOG, 0.5), ("b", RESIDUAL, 0.3), ("c", LOG, 0.2)]
    table = pd.DataFrame(rows, columns=["gene", "trained_in", "pcc"]).assign(scored_in=RESIDUAL)
    gained = cross_space.gains(pd.concat([table, table.assign(scored_in=LOG, pcc=9)]))
    assert gained.index.tolist() == ["a", "b"] and gained["gained"].tolist() == pytest.approx([0.3, -0.2])
    assert cross_space.ends(gained, 1).index.tolist() == [("most gained", "a"), ("most lost", "b")]


# --- predictions that know everything ---


def test_expected_counts_have_the_depth_that_the_simulation_expects(monkeypatch):
    types = list(cross_space.simulate.CELL_TYPES)
    profiles = pd.DataFrame(np.random.default_rng(0).uniform(size=(5, len(types))), columns=types)
    truth = pd.DataFrame([[0.9 / len(types)] * len(types)] * 2, columns=types)
    truth = truth.assign(ambient=0.1, expected_depth=[100.0, 300.0])
    monkeypatch.setattr(cross_space.simulate, "section", lambda *args, **kwargs: {"truth": truth})
    expected = cross_space.expected_counts("A1", profiles)
    np.testing.assert_allclose(expected.sum(axis=1), [100, 300])
    np.testing.assert_allclose(expected[1], 3 * expected[0])


def test_drawn_counts_scatter_as_a_negative_binomial():
    counts = cross_space.draw_counts(np.full((200, 200), 20.0), np.random.default_rng(0))
    over = cross_space.simulate.OVERDISPERSION
    assert counts.mean() == pytest.approx(20, rel=0.01) and counts.var() == pytest.approx(20 + over * 400, rel=0.03)
    assert (counts == np.rint(counts)).all()


def test_the_perfect_prediction_of_a_space_is_the_best_there(sections):
    expected = 10 * sections["A"].layers[COUNTS].toarray() + 5
    found = cross_space.score_perfect(expected, TARGETS, k=3, n_draws=20, n_genes=5)
    assert list(found) == ["median_depth", "trained_in", "scored_in", "pcc_3"] and len(found) == 4
    score = found.set_index(["trained_in", "scored_in"])["pcc_3"]
    assert score[LOG, LOG] > 0.9 and score[LOG, LOG] > score[RESIDUAL, LOG]
    assert score[RESIDUAL, RESIDUAL] == pytest.approx(score[LOG, RESIDUAL], abs=0.02)
    assert found["median_depth"].iloc[0] == pytest.approx(np.median(expected.sum(axis=1)), rel=0.2)


def test_sections_of_the_simulated_cohort_are_stacked(monkeypatch):
    monkeypatch.setattr(cross_space, "expected_counts", lambda name, profiles: np.full((30, 6), ord(name[0]) / 1.0))
    found = cross_space.score_perfect_sections([LOG], 3, ["A1", "C1"])
    assert found["section"].tolist() == ["A1", "C1"] and list(found)[0] == "section"
    assert found.index.tolist() == [0, 1]


def test_perfect_predictions_stand_by_depth_the_deepest_first():
    rows = [(650.0, LOG, 0.3), (650.0, RESIDUAL, 0.2), (8913.0, LOG, 0.9), (8913.0, RESIDUAL, 0.8)]
    table = pd.DataFrame(rows, columns=["median_depth", "trained_in", "pcc_5"]).assign(scored_in=LOG)
    found = cross_space.perfect_by_depth(table, [LOG], 5)
    assert found.index.tolist()[0] == ("8,913 counts", LOG) and found.index.tolist()[-1] == ("650 counts", RESIDUAL)
    assert found[LOG].tolist() == [0.9, 0.8, 0.3, 0.2]


# --- sentences ---


def test_the_gap_is_walked_in_two_steps(scores):
    assert cross_space.steps_sentences(scores, ["ridge"], 50, PATIENTS) == (
        "**From log to residual PCC-50 changes with `ridge` -0.60 by the question, +0.02 by the training**: the same "
        "predictions are asked as residuals, then others are trained on residuals. Medians over 3 sections of 2 "
        "patients; chance is the 95 % point of maps as smooth.\n\n"
        "- `ridge`: **0.90** (chance 0.25, ceiling 0.90) in log; the same predictions as residuals **0.30** (chance "
        "0.25, ceiling 0.90); trained on residuals **0.32** (chance 0.25, ceiling 0.90), higher than these in 2 of 3 "
        "sections (-0.08 to +0.12, median +0.02)."
    )
    one = cross_space.steps_sentences(scores[scores["section"] == "A"], ["ridge"], 50, PATIENTS)
    assert "over 1 section of 1 patient;" in one and "higher than these in 1 of 1 section (" in one
    assert cross_space.steps_sentences(scores, [], 50, PATIENTS).startswith("No model was trained both")


def test_the_library_alone_is_a_share_of_the_log_model(scores):
    text = cross_space.way_back_sentences(scores, ["ridge"], 50, PATIENTS)
    assert "- `ridge`, medians over 3 sections of 2 patients: residual" in text
    assert "without a library score 0.40 in log space (chance 0.25), with the library of the log model **0.70**" in text
    assert text.endswith("an oracle, 0.75; the log model 0.90. The predicted library alone, the same composition "
                         "everywhere: **0.60** (chance 0.25), 67% of the log model's score.")  # fmt: skip
    undefined = scores.assign(pcc_50=scores["pcc_50"].where(scores["trained_in"] != "library"))
    assert "**nan** (chance 0.25), nan% of" in cross_space.way_back_sentences(undefined, ["ridge"], 50, PATIENTS)
    assert cross_space.way_back_sentences(scores, [], 50, PATIENTS) == ""


def test_gains_are_counted_in_genes():
    gained = pd.DataFrame({"gained": [0.3, 0.02, -0.2, 0.11]})
    assert cross_space.gains_sentence(gained, "ridge", "5 sections of 2 patients").endswith(
        "medians over 5 sections of 2 patients. Training on residuals gains in 75% of 4 genes (half, if it changed "
        "nothing), +0.065 in the median gene, more than 0.1 in 2, and loses more than 0.1 in 1."
    )
    assert "gains in 100% of 1 gene (half, if it changed nothing), +0.300" in cross_space.gains_sentence(
        gained.head(1), "ridge", ""
    )
    assert cross_space.gains_sentence(gained.head(0), "stem", "").startswith("No gene was scored")


def test_what_a_perfect_prediction_loses_is_at_least_nothing():
    at = [(a, b) for a in TARGETS for b in TARGETS]
    rows = [
        (s, *pair, v)
        for s, vs in {"A": (0.9, 0.6, 0.5, 0.59), "B": (0.8, 0.5, 0.3, 0.5)}.items()
        for pair, v in zip(at, vs, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["section", "trained_in", "scored_in", "pcc_50"])
    text = cross_space.perfect_sentence(table, 50)
    assert "by at most 0.000 (0.50 to 0.60 over 2 sections)" in text
    assert "scores 0.30 to 0.50 where the perfect log prediction has 0.80 to 0.90" in text
    assert cross_space.perfect_sentence(table[table["trained_in"] == LOG], 50) == ""
