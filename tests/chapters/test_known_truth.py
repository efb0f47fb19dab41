"""Models know what they are said to know, and two numbers rank them by it where the log score does not."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import poisson

from helpers.chapters import known_truth as chapter
from helpers.columns import pearson
from helpers.schema import COUNTS, LATTICE, SPATIAL
from helpers.scores import judge
from helpers.targets import normalization

GENES = [f"g{i}" for i in range(40)]
K = 10


def section(name="A1", nuclei=True, seed=0):
    """A small section of deep spots whose depths vary as they do on slides; the last gene is outside the panel."""
    rng = np.random.default_rng(seed)
    xy = np.array(list(product(range(9), range(8))), float)
    depth = np.exp(rng.normal(8, 0.9, len(xy)))
    share = rng.dirichlet(np.full(len(GENES) + 1, 2.0))
    counts = rng.poisson(depth[:, None] * share * rng.gamma(8, 1 / 8, (len(xy), len(share)))).astype(float)
    out = AnnData(var=pd.DataFrame(index=[*GENES, "outside"]), layers={COUNTS: counts})
    out.obs["patient"] = name[0]
    if nuclei:
        out.obs["n_nuclei"] = rng.poisson(9, len(xy))
    out.obsm[LATTICE], out.obsm[SPATIAL] = xy, 10 * xy
    return out


@pytest.fixture(scope="module")
def tissue():
    return chapter.tissue(section(), GENES)


@pytest.fixture(scope="module")
def true(tissue):
    return chapter.truth(tissue, 0.5)


@pytest.fixture(scope="module")
def table():
    sections = {name: section(name, seed=i) for i, name in enumerate(("A1", "A2", "B1"))}
    panels = dict.fromkeys(sections, GENES)
    parts = [
        chapter.sweep(sections, panels, K, couplings=[0.5, 1.0], n_draws=19),
        chapter.sweep(sections, panels, K, couplings=[0.5], shrunk=False, n_draws=0),
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def ranked(table):
    return chapter.ranks_of_models(table)


# A section of known truth ---------------------------------------------------------------------------------------


def test_poisson_counts_have_no_spread_and_gamma_ones_that_of_their_gamma():
    rng = np.random.default_rng(0)
    library, share = np.full(20_000, 500.0), np.array([0.1, 0.1])
    mean = 50 * np.column_stack([np.ones(20_000), rng.gamma(4, 1 / 4, 20_000)])
    spread = chapter.sd_beyond_poisson(rng.poisson(mean), library, share)
    assert spread[0] < 0.03 and spread[1] == pytest.approx(np.sqrt(np.log(1 + 1 / 4)), rel=0.05)


def test_genes_of_no_count_are_left_out():
    poor = section()
    poor.layers[COUNTS][:, 3] = 0
    of = chapter.tissue(poor, GENES)
    assert "g3" not in of.panel and of.deviation.shape == (72, 39)
    for values in (of.nuclei, of.other, of.deviation, of.wrong):
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(values.std(axis=0), 1)


def test_nuclei_are_made_where_none_were_counted():
    counted, made = (chapter.tissue(section(nuclei=known), GENES).nuclei for known in (True, False))
    expected = np.log1p(section().obs["n_nuclei"].to_numpy(float))
    assert np.corrcoef(counted, expected)[0, 1] == pytest.approx(1)
    assert abs(np.corrcoef(made, expected)[0, 1]) < 0.5


@pytest.mark.parametrize("coupling", chapter.COUPLINGS)
def test_a_section_keeps_its_depths_and_they_follow_nuclei_as_asked(tissue, coupling):
    true = chapter.truth(tissue, coupling)
    depths = normalization.library_size(tissue.section)
    np.testing.assert_allclose(np.sort(np.exp(true.log_library)), np.sort(depths))
    assert np.corrcoef(true.log_library, tissue.nuclei)[0, 1] == pytest.approx(coupling, abs=0.12)
    drawn = normalization.library_size(true.made)
    np.testing.assert_array_equal(true.made.obs["total_counts"], drawn)
    assert np.abs(drawn - np.exp(true.log_library)).max() < 5 * np.sqrt(depths.max())


def test_counts_have_the_true_composition(tissue, true):
    expected = np.exp(true.log_library)[:, None] * true.shares
    z = (normalization.counts_of(true.made, GENES) - expected) / np.sqrt(expected)
    assert abs(z.mean()) < 0.05 and z.std() == pytest.approx(1, abs=0.05)
    share, _ = judge.levels(tissue.section, GENES)
    np.testing.assert_allclose(true.shares.mean(axis=0), share, rtol=0.15)


# Models of known skill ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shrunk", [True, False])
def test_a_library_has_the_skill_asked(tissue, true, shrunk):
    for skill in chapter.LIBRARY_SKILLS[1:]:
        model = chapter.log_library(true, tissue.error, skill, shrunk)
        assert chapter.true_skills(true, model, true.shares)["true_library"] == pytest.approx(skill)
        assert model.std() == pytest.approx((skill if shrunk else 1) * true.log_library.std())


def test_true_composition_skill_grows_from_nothing_to_one_whatever_the_library(tissue, true):
    found = [
        [chapter.true_skills(true, library, chapter.composition(tissue, skill)) for skill in chapter.COMPOSITION_SKILLS]
        for library in (true.log_library, tissue.error)
    ]
    skills = [[one["true_composition"] for one in row] for row in found]
    assert skills[0] == skills[1] == sorted(skills[0])
    assert skills[0][0] == 0 and skills[0][-1] == pytest.approx(1)


def test_models_are_all_pairs_of_skills_but_that_of_none_and_the_two_with_a_name(tissue, true):
    called = [called for called, *_ in chapter.models(tissue, true)]
    assert [one["model"] for one in called] == [""] * 24 + list(chapter.NAMED)
    assert {"library_skill": 0.0, "composition_skill": 0.0, "model": ""} not in called


def test_the_mean_of_a_log_is_that_of_scipy():
    mu, scale = np.array([[0.01, 3.0, 80.0], [0.2, 30.0, 900.0]]), np.array([1.0, 7.5])
    found = chapter.mean_log(mu, scale)
    for i, j in np.ndindex(mu.shape):
        x = np.arange(2000)
        assert found[i, j] == pytest.approx(poisson.pmf(x, mu[i, j]) @ np.log1p(scale[i] * x), abs=1e-3)


def test_a_perfect_model_predicts_the_mean_of_each_target(tissue, true):
    predicted = chapter.predictions(true, true.log_library, true.shares)
    drawn = [chapter.truth(tissue, 0.5, seed).measured for seed in range(30)]
    for target, values in predicted.items():
        mean = np.mean([one[target] for one in drawn], axis=0)
        assert pearson(mean, values).min() > 0.95, target


# Scores ---------------------------------------------------------------------------------------------------------


def test_the_two_numbers_are_those_of_the_judge(tissue, true):
    library = chapter.log_library(true, tissue.error, 0.6)
    predicted = chapter.predictions(true, library, chapter.composition(tissue, 0.5))
    found, spots = chapter.score(true, predicted, K), judge.basis(true.made)
    judged = judge.skills(predicted["log2"], "log2", true.made, GENES, spots, K, 19)
    for name in ("library", "composition"):
        assert found[name] == pytest.approx(judged[name], rel=1e-9)
    null = chapter.chance(true, predicted, spots, K, 19)
    for name in ("library", "composition"):
        assert null[name] == pytest.approx(judged[f"{name}_chance_95"], rel=1e-5)
    assert set(found) == set(null) == set(chapter.REPORTS)


def test_a_sweep_is_whole_and_gives_chance_to_the_named_models(table):
    assert len(table) == 3 * 3 * 26 * 5 and list(table) == chapter.COLUMNS
    assert table.drop(columns=["library_skill", "composition_skill", "chance_95"]).notna().all(axis=None)
    known = table["shrunk"] & (table["model"] != "")
    assert table["chance_95"].notna().equals(known)
    assert set(table.loc[table["section"] == "B1", "patient"]) == {"B"}


def test_composition_skill_knows_composition_and_not_the_library(table):
    one = table[(table["model"] == "") & (table["report"] == "composition") & table["shrunk"]]
    value = one.groupby(["composition_skill", "library_skill"])["value"].median().unstack()
    assert (value.diff().iloc[1:].drop(columns=0.0) > 0.05).all(axis=None)
    assert (value.loc[0.5:].max(axis=1) - value.loc[0.5:].min(axis=1)).max() < 0.1


# Ranks ----------------------------------------------------------------------------------------------------------


def test_pairs_are_counted_by_hand():
    """Three models: the first two differ in composition alone, the third knows less of it and more of the library."""
    composition, library = np.array([0.9, 0.5, 0.1]), np.array([0.2, 0.2, 0.8])
    by_library = chapter.inverted(np.array([0.4, 0.3, 0.7]), composition, library)
    assert by_library == {"inverted": pytest.approx(2 / 3), "n_pairs": 3, "contested": 1, "n_contested": 2}
    assert chapter.inverted(composition, composition, library)["inverted"] == 0
    assert chapter.inverted(library, composition, library)["inverted"] == pytest.approx(2.5 / 3)  # a tie is half


def test_without_a_pair_that_differs_there_is_no_share():
    alike = chapter.inverted(np.array([1.0, 2.0]), np.ones(2), np.array([0.0, 1.0]))
    assert np.isnan(alike["inverted"]) and alike["n_pairs"] == alike["n_contested"] == 0


def test_log_ranks_by_the_library_and_each_of_the_two_numbers_by_its_own_truth(ranked):
    chosen = ranked[ranked["shrunk"]].groupby(["truth", "report"])
    contested, rho = chosen["contested"].median(), chosen["rank_correlation"].median()
    assert contested["composition", "log2"] > 0.7 > 0.1 > contested["composition", "composition"]
    assert contested["library", "library"] < 0.1
    assert rho["library", "log2"] > rho["composition", "log2"] + 0.3
    assert min(rho["composition", "composition"], rho["library", "library"]) > 0.9


def test_the_share_of_contested_pairs_is_the_same_question_from_both_sides(ranked):
    wide = ranked.pivot(index=[*chapter.KEYS, "report"], columns="truth", values=["contested", "n_contested"])
    np.testing.assert_allclose(wide["contested"].sum(axis=1), 1)
    assert (wide["n_contested"]["composition"] == wide["n_contested"]["library"]).all()


# Sentences ------------------------------------------------------------------------------------------------------


def test_every_sentence_names_sections_and_patients_and_has_its_numbers(table, ranked):
    texts = [chapter.answer(ranked, K), chapter.pair_sentences(table, K), chapter.shrunk_sentence(ranked, K)]
    for text in texts:
        assert "3 sections of 2 patients" in text and "nan" not in text
    taken = ranked[ranked["shrunk"] & (ranked["coupling"] == 0.5) & (ranked["truth"] == "composition")]
    log = taken[taken["report"] == "log2"]["contested"]
    said = f"PCC-10, log2(x + 1) **{log.median():.0%}** ({log.min():.0%} to {log.max():.0%} by section, "
    assert said in texts[0] and "composition skill **0%** in each section" in texts[0] and "Chance is 50%;" in texts[0]
    assert "rank so by construction" in texts[0]
    one = table[table["shrunk"] & (table["coupling"] == 1) & (table["report"] == "log2")].set_index("model")["value"]
    guess, nuclei = (one[name].median() for name in chapter.NAMED)
    assert "the guess first in 0 sections of 0 patients." in texts[1]
    assert f"PCC-10, log2(x + 1) {guess:.2f} against {nuclei:.2f} (95 % points of chance" in texts[1].splitlines()[-1]


def test_where_depths_vary_most_is_asked_of_patients_where_there_are_enough(ranked):
    assert "2 patients cannot say" in chapter.depth_sentence(ranked, K)
    one = ranked[ranked["section"] == "A1"]
    cohort = [
        one.assign(patient=patient, section=f"{patient}1", library_sd=sd, contested=0.1 * sd)
        for sd, patient in enumerate("ABCDEF")
    ]
    text = chapter.depth_sentence(pd.concat(cohort), K)
    assert "over 6 patients" in text and "PCC-10, log2(x + 1) 1.00 (p = 0)" in text


def test_the_opening_says_where_cellularity_was_measured():
    text = chapter.opening("Mine", {"A1": section("A1"), "B1": section("B1", nuclei=False)})
    assert (
        "**Mine**, 2 sections of 2 patients; their cellularity is measured in 1 and made in 1. On each, 24 models"
        in text
    )


def test_ceilings_hold_for_logs_of_poisson_counts_and_are_too_high_where_counts_vary_unseen():
    sections = {"A1": section("A1"), "B1": section("B1", seed=1)}
    table = chapter.ceiling_errors(sections, dict.fromkeys(sections, GENES), 5)
    error = (table["ceiling"] - table["perfect"]).groupby([table["theta"], table["target"]]).mean()
    assert abs(error[np.inf, "log2"]) < 0.05
    assert error[10.0, "pearson_residual"] > error[np.inf, "pearson_residual"] + 0.02
    text = chapter.ceiling_sentences(table, 5)
    assert "2 sections of 2 patients" in text and text.count("\n- ") == 6 and "nan" not in text


def test_sections_with_nuclei_are_those_of_the_ceilings():
    counted, not_counted = section("A1"), section("B1", nuclei=False)
    assert list(chapter.with_nuclei_or_all({"A1": counted, "B1": not_counted})) == ["A1"]
    assert list(chapter.with_nuclei_or_all({"B1": not_counted})) == ["B1"]
