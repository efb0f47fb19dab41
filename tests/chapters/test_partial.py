"""Partial scores: what is held fixed, which predictions count, pingouin, perfect predictions, and the sentences."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers import schema
from helpers.chapters import partial
from helpers.cohort import sections, simulate
from helpers.scores import judge
from helpers.targets.panel import choose_panel, gene_statistics

GENES = ["a", "b", "c", "d"]


def make_section(seed=0, n=80):
    """Counts that follow nuclei, and a gene for the rest of the depth."""
    rng = np.random.default_rng(seed)
    nuclei = rng.integers(3, 30, n)
    counts = rng.poisson(nuclei[:, None] * rng.uniform(0.5, 2, (n, len(GENES) + 1)))
    made = AnnData(var=pd.DataFrame(index=[*GENES, "rest"]), obs=pd.DataFrame(index=[f"{i}x1" for i in range(n)]))
    made.layers[schema.COUNTS] = csr_matrix(counts.astype(float))
    made.obs["total_counts"], made.obs["n_nuclei"] = counts.sum(axis=1), nuclei
    return made


def make_prediction(section, backbone="ridge", seed=0, noise=0.5):
    """The panel's genes in other order, some spots only."""
    rng = np.random.default_rng(seed)
    made = section[10:, GENES[::-1]].copy()
    made.layers[schema.MEASURED] = np.log2(made.layers[schema.COUNTS].toarray() + 1)
    made.layers[schema.PREDICTED] = made.layers[schema.MEASURED] + noise * rng.normal(size=made.shape)
    metadata = {"section": "A1", "split": "section", "target": "log2", "backbone": backbone, "seed": seed}
    made.uns.update(metadata)
    return made


@pytest.fixture
def section():
    return make_section()


def test_covariates_are_those_of_the_predictions_spots_and_genes(section):
    prediction = make_prediction(section)
    held = partial.covariates_of(prediction, section)
    total = section.obs["total_counts"].to_numpy()[10:]
    share = np.asarray(section.layers[schema.COUNTS].sum(axis=0)).ravel() / section.obs["total_counts"].sum()
    np.testing.assert_allclose(held["depth"][0], np.log2(1 + np.outer(total, share[3::-1])))
    assert [len(held[name]) for name in partial.COVARIATES] == [2, 2, 4]


def test_scores_carry_the_metadata_of_their_prediction(section):
    found = partial.score_prediction(make_prediction(section, seed=3), section)
    assert len(found) == len(GENES) * 3 and set(found["seed"]) == {3} and set(found["target"]) == {"log2"}
    r = found.pivot(index="gene", columns="given", values="r")
    assert (r["nuclei"] == r["both"]).all()  # the plain score does not know what is held fixed
    assert (found.loc[found["given"] == "both", "partial"] < r["both"].min()).all()


def test_a_prediction_is_found_by_split_section_and_backbone(tmp_path):
    names = [f"section.{name}.cheap/{file}.log2.0.h5ad" for name in ("A1", "A2") for file in ("depth", "ridge")]
    files = [tmp_path / name for name in names]
    assert partial.find_prediction(files, "section", "A2", "ridge") == files[3]
    with pytest.raises(ValueError, match="section B1 by stem"):
        partial.find_prediction(files, "section", "B1", "stem")


def test_what_knows_depth_alone_has_no_row_that_depth_leaves_anything_of(section):
    """A control with a known answer, on real counts in test_real_partial, on every page beside the models."""
    section.obsm[schema.SPATIAL] = np.random.default_rng(0).uniform(size=(section.n_obs, 2))
    section.uns["section"] = "A1"
    found = partial.controls_of({"A1": section}, ["log2", "pearson_residual"], {"A1": GENES}, 2)
    assert len(found) == 2 * len(partial.LIBRARY_ERRORS) * 2 and set(found["given"]) == {"depth", "both"}
    assert found.loc[found["error"] == 0, "partial"].isna().all()
    erring = found[found["error"] > 0]
    assert (erring["median_partial"] < erring["median_partial_chance_95"] + 0.1).all()
    assert (erring.loc[erring["target"] == "log2", "r"] > 0.3).all()


def test_seeds_are_averaged_and_nothing_is_left_of_nuclei_given_nuclei(section):
    seeds = [make_prediction(section, seed=seed) for seed in (0, 1)]
    floors = [make_prediction(section, name) for name in ("nuclei", "depth")]
    found = partial.score_genes([*floors, *seeds], {"A1": section}, ["log2"])
    assert list(dict.fromkeys(found["backbone"])) == ["ridge", "nuclei", "depth"] and len(found) == 3 * 3 * len(GENES)
    each = [partial.score_prediction(prediction, section)["partial"] for prediction in seeds]
    np.testing.assert_allclose(found.loc[found["backbone"] == "ridge", "partial"], np.mean(each, axis=0))
    floor = found[found["backbone"] == "nuclei"].set_index("given")
    assert floor.loc[["nuclei", "both"], ["partial", "semi_partial"]].isna().all(axis=None)
    assert floor.loc["depth", "partial"].notna().all() and floor["unique"].notna().all()
    assert found.loc[(found["backbone"] == "depth") & (found["given"] == "depth"), "partial"].isna().all()


@pytest.mark.parametrize("target", ["log2", "log1p_cp10k"])  # depth alone says the same of every spot in the second
def test_coefficients_are_pingouins(section, target):
    prediction = make_prediction(section)
    prediction.uns["target"] = target
    compared = partial.compare_with_pingouin(prediction, section, step=2)
    assert compared["gene"].unique().tolist() == ["d", "b"] and len(compared) == 2 * 3
    for name in ("partial", "semi_partial"):
        np.testing.assert_allclose(compared[name], compared[f"{name}_by_pingouin"], atol=1e-12)
    compared.loc[0, "partial"] += 0.25
    text = partial.pingouin_sentence(compared, prediction)
    assert text.startswith("12 coefficients of section A1, ridge, ") and text.endswith("difference is 2.5e-01.")


@pytest.fixture
def by_gene():
    """Three genes of two models and a floor; the best two by plain correlation are a and c."""
    rows = []
    for section, backbone, given in [
        (s, b, g) for s in "AB" for b in ("stem", "ridge", "nuclei") for g in partial.COVARIATES
    ]:
        none = backbone == "nuclei" and given != "depth"
        for gene, r in {"a": 0.6, "b": 0.1, "c": 0.4}.items():
            left = np.nan if none else r / 2 if given == "both" else r
            shares = (0.1, 0.3, 0.2) if backbone == "stem" else (0.2, 0.2, 0.0)
            rows.append((section, "section", "log2", backbone, given, gene, r, left, left, left, *shares))
    return pd.DataFrame(rows, columns=[*partial.KEYS, "gene", *partial.VALUES])


def test_a_summary_scores_the_best_genes_by_plain_correlation(by_gene):
    found = partial.summarize(by_gene, 2).set_index(partial.KEYS)
    row = found.loc[("A", "section", "log2", "ridge", "both")]
    assert row[["r", "partial", "median_r", "median_partial"]].tolist() == pytest.approx([0.5, 0.25, 0.4, 0.2])
    assert row[judge.GIVEN_SHARES].tolist() == pytest.approx([0.2, 0.2, 0.0])
    assert len(found) == 2 * 3 * 3


def test_medians_stand_beside_the_plain_score(by_gene):
    found = partial.medians(partial.beside_plain(partial.summarize(by_gene, 2)))
    assert list(found.columns) == ["plain", "given nuclei", "given depth", "given both"]
    assert found.loc[("ridge", "log2")].tolist() == pytest.approx([0.5, 0.5, 0.5, 0.25])
    assert found.loc[("nuclei", "log2")].isna().tolist() == [False, True, False, True]


def test_what_is_left_is_said_of_models_beside_its_chance(by_gene):
    summary = partial.summarize(by_gene, 2).assign(partial_chance_95=0.3)
    summary.loc[summary["section"] == "B", "partial_chance_95"] = 0.2
    line = "log2(x + 1): given nuclei 0.50 (chance 0.25, above it in 2 of 2 sections); given depth 0.50 "
    line += "(chance 0.25, above it in 2 of 2 sections)."
    assert partial.left_sentence(summary) == f"- `stem`, {line}\n- `ridge`, {line}"
    nothing = summary.assign(partial=np.nan)
    assert "given depth nothing." in partial.left_sentence(nothing)
    assert partial.left_sentence(summary[:0]) == ""


def test_the_control_names_the_sections_in_which_depth_alone_reads_as_more():
    row = {"section": "A", "target": "log2", "given": "depth", "error": 0.5}
    row |= {"partial": 0.01, "median_partial": 0.0, "median_partial_rank": 0.03, "unique": 0.01}
    row |= dict.fromkeys(partial.CHANCES, 0.02)
    table = pd.DataFrame(
        [row, row | {"section": "B", "median_partial_rank": 0.01}, row | {"error": 0, "partial": np.nan}]
    )
    text = partial.control_sentence(table, 50)
    assert text.startswith("2 sections, 1 target, relative errors of 50%: ")
    assert "the same of ranks is above its chance in 1 of 2 (A), at most 0.030; " in text
    assert "50 best genes is above its chance in 0 of 2, at most 0.010" in text


def test_the_answer_is_what_is_left_given_both_and_what_predictions_alone_explain(by_gene):
    summary = partial.summarize(by_gene, 2)
    assert set(partial.model_shares(summary)["backbone"]) == {"stem", "ridge"}
    summary = summary.assign(partial=0.3, partial_chance_95=[0.2, 0.4] * (len(summary) // 2), unique_chance_95=0.15)
    text = partial.answer(summary, 2, {"A": "A", "B": "A"})
    assert text.startswith("**Given nuclei and depth, more than chance is left in no target**, in most sections. ")
    assert (
        "of the 2 genes predicted best before that, medians over 2 sections of 1 patient:\n\n- `stem` in log2(x + 1): "
        in text
    )
    assert (
        ": 0.30 (chance 0.30, above it in 1 of 2 sections); of the" in text and "it alone 10.0% (chance 15.0%, " in text
    )
    assert "of the 40% of the variance of all genes that it explains, it alone 20.0% (chance 15.0%" in text
    assert text.endswith("above it in 2 of 2 sections).")
    more = partial.answer(summary.assign(partial=0.5), 2, {"A": "A", "B": "A"})
    assert more.startswith("**Given nuclei and depth, more than chance is left in log2(x + 1)")


@pytest.fixture(scope="module")
def tissue():
    profiles = simulate.gene_profiles(200)
    made = {c: partial.simulated("A1", 9000, profiles, c, lattice=(8, 7)) for c in (1.0, 0.0)}
    return profiles, made


def test_expected_counts_of_biology_are_those_of_the_section_but_for_capture(tissue):
    _, made = tissue
    for section, biology, truth in made.values():
        counts = section.layers[schema.COUNTS].toarray()
        expected = biology.layers[schema.COUNTS].toarray() * truth["capture"].to_numpy()[:, None]
        np.testing.assert_allclose(expected.sum(axis=1), truth["expected_depth"], rtol=0.02)
        assert np.corrcoef(counts.sum(axis=0), expected.sum(axis=0))[0, 1] > 0.9


def test_a_perfect_prediction_loses_to_depth_what_it_does_not_lose_to_capture(tissue):
    profiles, made = tissue
    panel = list(profiles.index[profiles["marker"] != ""][:20])
    scores = {c: partial.score_perfect(*made[c], panel, "log2").set_index("given")["partial"] for c in made}
    for found in scores.values():
        assert list(found.index) == ["plain", "given true capture", "given depth", "given nuclei"]
        assert found["given true capture"] >= found["plain"] - 0.02  # capture is noise to it
    loss = {c: found["given true capture"] - found["given depth"] for c, found in scores.items()}
    assert loss[1.0] > loss[0.0]


def test_over_adjustment_is_the_gap_of_medians_without_a_minus_before_zero():
    rows = [(c, s, g, v) for c, gap in {1.0: 0.3, 0.0: -0.001}.items() for s in "AB"
            for g, v in {"given true capture": 0.8, "given depth": 0.8 - gap}.items()]  # fmt: skip
    perfect = pd.DataFrame(rows, columns=["coupling", "section", "given", "partial"]).assign(target="log2")
    text = partial.over_adjustment_sentence(perfect)
    assert "log2(x + 1) 0.30 where depth follows the cells and 0.00 where it does not." in text


@pytest.mark.parametrize("name", ["D1", "E1", "F1", "G1", "H1"])
def test_on_real_counts_depth_alone_is_not_above_its_chance(her2st_root, name):
    """Sections without an image, of five patients; with 1 count a spot the shallow ones alone would carry a line."""
    section = sections.drop_spots(sections.read("her2st", her2st_root, name), min_counts=100)
    panel = choose_panel({name: gene_statistics(section)}, 60)
    found = partial.controls_of({name: section}, ["log2", "pearson_residual", "log1p_cp10k"], {name: panel}, 20)
    erring = found[found["error"] > 0]
    assert len(erring) == 6
    for score in ("partial", "median_partial", "unique"):
        assert (erring[score] <= erring[f"{score}_chance_95"]).all()
