"""Trust: evidence that copies of a section do not add to, and verdicts in order."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix
from scipy.stats import chi2, spearmanr

from helpers.chapters import genes
from helpers.schema import COUNTS, LATTICE, MEASURED, PREDICTED, SPATIAL
from helpers.scores import spatial
from helpers.targets.normalization import LOG, RESIDUAL

RNG = np.random.default_rng(0)
GRID = np.argwhere(np.ones((9, 9))).astype(float)


@pytest.fixture
def maps():
    measured = RNG.normal(size=(len(GRID), 5))
    return measured, RNG.normal(size=measured.shape) + 0.1 * measured


def null_of(measured, predicted, seed):
    return spatial.null_correlations(measured, predicted, spatial.moran_basis(GRID), seed=seed)


def test_copies_of_a_section_are_no_more_evidence_than_one(maps):
    one = null_of(*maps, seed=1)
    many = genes.of_patient(*zip(*[one] * 4, strict=True))
    np.testing.assert_allclose(spatial.p_values(*many, "greater"), spatial.p_values(*one, "greater"))


def test_a_section_where_a_gene_is_constant_does_not_count_for_it(maps):
    flat = maps[0].copy()
    flat[:, 0] = 3
    first, second = null_of(flat, maps[1], 1), null_of(maps[0], maps[1], 2)
    mean, null = genes.of_patient([first[0], second[0]], [first[1], second[1]])
    assert mean[0] == second[0][0] and mean[1] == pytest.approx((first[0][1] + second[0][1]) / 2)
    np.testing.assert_allclose(null[0], np.sort(second[1][0]))


def test_unrelated_sections_of_a_patient_rarely_look_predicted():
    rows = [RNG.normal(size=(2, len(GRID), 200)) for _ in range(3)]
    found = genes.of_patient(*zip(*(null_of(*row, seed) for seed, row in enumerate(rows)), strict=True))
    assert (spatial.p_values(*found, "greater") <= 0.05).mean() < 0.05


def test_patients_are_combined_by_fisher_and_a_missing_one_is_no_test():
    found = genes.combined_p([[0.01, 0.2], [0.01, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(found[:2], [chi2.sf(-2 * np.log(0.002), 4), 0.01])
    assert np.isnan(found[2])


def test_a_verdict_ends_with_the_first_test_that_fails():
    q = {"plain": [0.01, 0.01, 0.01, 0.5, np.nan], "nuclei": [0.01, 0.01, 0.5, 0.01, np.nan]}
    q["both"] = [0.01, 0.5, 0.01, 0.01, np.nan]
    assert genes.verdicts_of_genes(q).tolist() == [*genes.VERDICTS, genes.UNDEFINED]


# --- sections, and predictions of them ---

NAMES = ["a", "b", "c"]


def section(name, seed):
    """81 spots of three genes: all depth follows nuclei, gene a varies besides."""
    rng = np.random.default_rng(seed)
    nuclei, own = rng.integers(2, 30, 81), rng.lognormal(0, 0.5, 81)
    counts = rng.poisson(5 * nuclei[:, None] * np.column_stack([own, np.ones((81, 2))])).astype(float)
    obs = pd.DataFrame({"patient": name[0], "n_nuclei": nuclei}, index=[f"{name}{i}" for i in range(81)])
    made = AnnData(obs=obs, var=pd.DataFrame(index=NAMES), layers={COUNTS: csr_matrix(counts)})
    made.obsm[SPATIAL] = made.obsm[LATTICE] = GRID
    made.obs["total_counts"] = counts.sum(axis=1)
    made.uns["section"] = name
    return made


def prediction(of, target=LOG, backbone="ridge", seed=0, split="section", kept=NAMES):
    """The log counts, measured and (nearly) as predicted."""
    measured = np.log2(of[:, kept].layers[COUNTS].toarray() + 1)
    noise = np.random.default_rng(seed).normal(size=measured.shape)
    uns = {"section": of.uns["section"], "target": target, "backbone": backbone, "seed": seed, "split": split}
    layers = {MEASURED: measured, PREDICTED: measured + 0.1 * noise}
    return AnnData(obs=of.obs, var=pd.DataFrame(index=list(kept)), layers=layers, uns=uns)


@pytest.fixture(scope="module")
def sections():
    return {name: section(name, seed) for seed, name in enumerate(("A1", "A2", "B1"))}


@pytest.fixture(scope="module")
def fitted(sections):
    held = (prediction(of, target) for target in (RESIDUAL, LOG) for of in sections.values())
    return genes.fits_of(held, "section")


def test_predictions_are_found_by_what_they_say_of_themselves(sections):
    one = sections["A1"]
    others = [prediction(one, backbone="depth"), prediction(one, "log1p_cp10k"), prediction(one, split="patient")]
    pair = [prediction(one, seed=seed) for seed in (1, 2)]
    found = genes.fits_of([*others, prediction(one, RESIDUAL), *pair, prediction(one, backbone="stem")], "section")
    assert list(found) == [("stem", LOG), ("ridge", LOG), ("ridge", RESIDUAL)]
    mean = found["ridge", LOG]["A1"].layers[PREDICTED]
    np.testing.assert_allclose(mean, (pair[0].layers[PREDICTED] + pair[1].layers[PREDICTED]) / 2)


def test_a_mean_of_seeds_leaves_the_seeds_as_they_are(sections):
    pair = [prediction(sections["A1"], seed=seed) for seed in (1, 2)]
    before = pair[0].layers[PREDICTED].copy()
    assert not np.allclose(genes.mean_of_seeds(pair).layers[PREDICTED], before)
    np.testing.assert_array_equal(pair[0].layers[PREDICTED], before)


def test_genes_of_unlike_panels_are_put_in_one_order(sections):
    held = {("ridge", LOG): {"A1": prediction(sections["A1"], kept=["b", "a"]), "A2": prediction(sections["A2"])}}
    assert genes.genes_predicted(held) == ["b", "a", "c"]
    values = genes.aligned(np.array([[1.0, 2], [3, 4]]), pd.Index(["b", "a"]), ["a", "c", "b"])
    np.testing.assert_array_equal(values, [[3, 4], [np.nan, np.nan], [1, 2]])
    np.testing.assert_array_equal(genes.aligned(np.array([1.0, 3]), pd.Index(["b", "a"]), ["c", "b"]), [np.nan, 1])


def test_maps_of_a_section_are_a_basis_of_its_spots(sections):
    bases = genes.bases_of(sections)
    assert list(bases) == list(sections)
    np.testing.assert_allclose(bases["A1"].T @ bases["A1"], np.eye(80), atol=1e-9)


# --- evidence ---


def test_what_is_predicted_only_by_nuclei_is_not_beyond_them(sections):
    one, basis = sections["A1"], spatial.moran_basis(GRID)
    held = prediction(one)
    held.layers[PREDICTED] = np.repeat(one.obs[["n_nuclei"]].to_numpy(float), 3, axis=1)
    found = genes.correlations_and_draws(held.layers[MEASURED], held, one, basis, n_draws=99)
    assert list(found) == list(genes.GIVEN) and found["plain"][1].shape == (3, 99)
    rho = [spearmanr(column, one.obs["n_nuclei"])[0] for column in held.layers[MEASURED].T]
    np.testing.assert_allclose(found["plain"][0], rho)
    assert (found["plain"][0] > 0.5).all() and np.isnan(found["nuclei"][0]).all()


def test_a_prediction_of_the_other_genes_counts_is_not_beyond_depth(sections):
    one, basis = sections["A1"], spatial.moran_basis(GRID)
    held = prediction(one)
    assert genes.correlations_and_draws(held.layers[MEASURED], held, one, basis, n_draws=9)["both"][0][0] > 0.8
    counts = one.layers[COUNTS].toarray()
    held.layers[PREDICTED] = counts.sum(axis=1, keepdims=True) - counts
    rho = {
        given: pair[0]
        for given, pair in genes.correlations_and_draws(held.layers[MEASURED], held, one, basis, n_draws=9).items()
    }
    assert (rho["plain"] > 0.5).all() and np.isfinite(rho["nuclei"]).all() and (rho["both"] < 0).all()


def test_sections_of_a_patient_are_averaged_before_patients_are_combined():
    null = np.linspace(-1, 0.99, 199)
    pairs = {
        name: (np.array([rho, np.nan]), np.tile(null, (2, 1))) for name, rho in (("A1", 0.98), ("A2", 0.92), ("B1", 0))
    }
    pairs = {name: (rho, np.where(np.isnan(rho)[:, None], np.nan, drawn)) for name, (rho, drawn) in pairs.items()}
    test = genes.tests_over_patients(pairs, {"A1": "A", "A2": "A", "B1": "B", "C1": "C"})
    assert test["rho"][0] == pytest.approx((0.95 + 0) / 2) and np.isnan(test["rho"][1])
    assert [test[column][0] for column in ("sections", "patients", "n_sections", "n_patients")] == [2, 1, 3, 2]
    assert test["names"] == ["A", ""]
    assert test["n_sections"][1] == test["n_patients"][1] == 0 and np.isnan([test["p"][1], test["q"][1]]).all()
    p = [spatial.p_values(np.array([rho]), null[None], "greater")[0] for rho in (0.95, 0)]
    assert test["p"][0] == test["q"][0] == pytest.approx(chi2.sf(-2 * np.log(np.prod(p)), 4))


def test_every_gene_has_three_tests_and_a_verdict(sections, fitted):
    bases = genes.bases_of(sections)
    table = genes.tests_of_fits(fitted, sections, bases, ["a", "b", "absent"], n_draws=99)
    assert table.index.names == ["backbone", "target", "gene"] and len(table) == 2 * 3
    one = table.loc["ridge", LOG]
    assert one.loc["a", "verdict"] == genes.VERDICTS[0] and one.loc["absent", "verdict"] == genes.UNDEFINED
    assert one.loc["a", ["n_sections", "n_patients", "sections_both", "patients_both"]].tolist() == [3, 2, 3, 2]
    again = genes.tests_and_verdict(fitted["ridge", LOG], sections, bases, ["absent", "b", "a"], n_draws=99)
    pd.testing.assert_frame_equal(again.loc[one.index], one)


def test_tests_find_nothing_beyond_depth_in_a_twin_that_has_depth_alone(sections, fitted):
    found = genes.shares_found(fitted, sections, genes.bases_of(sections), n_draws=99)
    assert found.loc[("ridge", LOG), ("real", "both")] > 0.6
    assert found["twin"].loc[("ridge", LOG), "plain"] > 0.9
    rows = list(genes.found_in(fitted["ridge", LOG]["A1"], sections["A1"], spatial.moran_basis(GRID), 99))
    assert [(row["kind"], row["given"]) for row in rows] == [(k, g) for k in ("real", "twin") for g in genes.GIVEN]
    assert rows[-1]["found"] < 1


# --- the table ---


def test_coupling_is_the_median_over_the_sections_that_hold_the_gene(sections):
    held_out = {"A1": prediction(sections["A1"]), "A2": prediction(sections["A2"], kept=["a"])}
    found = genes.nuclei_coupling(held_out)
    rho = [spearmanr(held.layers[MEASURED][:, 0], held.obs["n_nuclei"])[0] for held in held_out.values()]
    assert found["a"] == pytest.approx(np.mean(rho))
    assert found["c"] == pytest.approx(
        spearmanr(held_out["A1"].layers[MEASURED][:, 2], sections["A1"].obs["n_nuclei"])[0]
    )


def test_counts_are_averaged_over_spots_not_sections():
    made = {
        name: AnnData(var=pd.DataFrame(index=names), layers={COUNTS: np.array(counts)})
        for name, names, counts in (("A", ["a", "b"], [[1.0, 2]]), ("B", ["a"], [[4.0], [4.0]]))
    }
    assert genes.mean_counts(made, ["b", "a"]).to_dict() == {"b": 2, "a": 3}


def test_scores_are_medians_over_sections_beside_those_of_nuclei_alone(fitted):
    index = pd.MultiIndex.from_tuples([("ridge", LOG, "a"), ("ridge", LOG, "b")], names=["backbone", "target", "gene"])
    tests = pd.DataFrame({"rho_plain": [0.1, 0.2], "verdict": "not predicted"}, index=index)
    rows = [
        (backbone, LOG, "a", pcc) for backbone, pcc in [("ridge", 0.1), ("ridge", 0.3), ("ridge", 0.8), ("nuclei", 0.2)]
    ]
    known = pd.DataFrame(rows, columns=["backbone", "target", "gene", "pcc"]).assign(ceiling=0.9)
    table = genes.gene_table(tests, known, fitted, pd.Series({"a": 5.0, "b": 6.0})).set_index("gene")
    assert table.loc["a", ["pcc", "pcc_nuclei_alone", "ceiling", "mean_count"]].tolist() == [0.3, 0.2, 0.9, 5]
    assert np.isnan(table.loc["b", "pcc"]) and list(table)[-1] == "rho_plain"
    assert table.loc["b", "rho_nuclei"] == genes.nuclei_coupling(fitted["ridge", LOG])["b"]


@pytest.fixture
def own():
    """Three genes of one model in both targets."""
    rows = [("a", LOG, 0, 0.5, 0.4), ("b", LOG, 1, 0.4, 0.1), ("c", LOG, 3, 0.1, np.nan)]
    rows += [("a", RESIDUAL, 0, 0.2, 0.3), ("b", RESIDUAL, 0, 0.3, 0.25), ("c", RESIDUAL, 3, 0.0, -0.1)]
    table = pd.DataFrame(rows, columns=["gene", "target", "verdict", "pcc", "rho_given_both"])
    table["verdict"] = table["verdict"].map(dict(enumerate(genes.VERDICTS)))
    known = {"ceiling": 0.9, "pcc_nuclei_alone": 0.3, "rho_nuclei": 0.2, "rho_given_nuclei": 0.1, "mean_count": 2.0}
    return table.assign(
        **known,
        backbone="stem",
        patients_both=1,
        n_patients=3,
        n_sections=5,
        q_both=[0.01, 0.02, np.nan] * 2,
        named_patients="B",
    )


def test_verdicts_that_occur_are_counted_in_their_order(own):
    found = genes.tally(own)
    assert list(found) == [genes.VERDICTS[i] for i in (0, 1, 3)]
    assert found.loc["stem", LOG].tolist() == [1, 1, 1] and found.loc["stem", RESIDUAL].tolist() == [2, 0, 1]


def test_what_is_not_known_of_a_gene_is_empty_text(own):
    own.loc[1, ["q_both", "rho_given_both"]] = 1e-5, -0.001
    text = genes.as_text(own)
    assert text.loc[1, ["q", "ρ given both"]].tolist() == ["< 0.0001", "0.00"]
    assert list(text) == list(genes.SHOWN.values())
    assert text.loc[0, ["PCC", "patients", "q"]].tolist() == ["0.50", "1 of 3: B", "0.0100"]
    assert text.loc[2, ["ρ given both", "q"]].tolist() == ["", ""]
    assert genes.as_text(own.assign(patients_both=0, named_patients="")).loc[0, "patients"] == "0 of 3"
    wide = genes.searchable_rows(own[(own["gene"] != "c") | (own["target"] == LOG)])
    assert wide.loc["a", ("", "molecules a spot")] == "2.00" and wide.loc["a", ("Pearson residual", "PCC")] == "0.20"
    assert (wide.loc["c", "Pearson residual"] == "").all() and len(wide) == 3


# --- sentences ---


@pytest.fixture
def shares():
    """Shares of genes found on real sections and on twins, in each of GIVEN, by three fits."""
    fits = [("stem", LOG), ("ridge", LOG), ("ridge", RESIDUAL)]
    index = pd.MultiIndex.from_tuples(fits, names=["backbone", "target"])
    columns = pd.MultiIndex.from_product([["real", "twin"], list(genes.GIVEN)])
    values = [[1, 1, 1, 1, 0.8, 0.04], [1, 1, 1, 1, 0.6, 0.061], [1, 1, 1, 1, 0.1, 0.05]]
    return pd.DataFrame(values, index, columns)


def test_shares_on_twins_are_told_by_target(shares):
    text = genes.shares_sentence(shares, 3)
    assert (
        "over 3 sections. On the twins the test beyond nuclei alone finds 70% of genes in log2(x + 1) and 10%" in text
    )
    assert "over 1 section. " in genes.shares_sentence(shares, 1)
    assert "nan% in Pearson residual" in genes.shares_sentence(shares.head(2), 1)


def test_genes_are_counted_by_verdict_target_and_patient(own):
    text = genes.verdicts_sentence(own, "stem")
    assert text.startswith("- `stem`, 3 genes, 5 sections of 3 patients: **1** in log2(x + 1) (")
    assert "**2** in Pearson residual (" in text and ", 1 in both targets" in text
    assert "**1** more beyond nuclei but not beyond depth. Nuclei alone reach the higher PCC in 2 of all found." in text
    everywhere = own.assign(patients_both=own["n_patients"])
    assert "**2** in Pearson residual (0 of them in one patient alone; 2 in every one)" in genes.verdicts_sentence(
        everywhere, "stem"
    )
    alone = own.assign(patients_both=1)
    assert "**2** in Pearson residual (2 of them in one patient alone: 2 in B; 0 in" in genes.verdicts_sentence(
        alone, "stem"
    )
    none = genes.verdicts_sentence(own[own["gene"] == "c"].assign(n_sections=1, n_patients=1), "stem")
    assert "1 gene, 1 section of 1 patient: **0** in log2" in none


def test_the_answer_has_every_backbone_and_how_often_tests_err_on_twins(own, shares):
    two = pd.concat([own.assign(backbone="stem"), own.assign(backbone="ridge")])
    text = genes.answer(two, shares)
    assert "the last test finds 4.0% to 6.1% of genes in a section, where 5% would be right." in text
    assert text.count("\n- `") == 2


def test_limits_depend_on_how_many_patients_there_are():
    assert (
        genes.limits_sentences(8, 8, "section")
        == "- No p of a patient can be below 0.000122, the reach of 8192 random maps."
    )
    few = genes.limits_sentences(1, 3, "section", n_draws=19).split("\n")
    assert few[0].startswith("- No p of a patient can be below 0.05,") and few[1].startswith("- With 1 patient, a gene")
    assert few[2].startswith("- One section is held out") and len(few) == 3
    assert "held out" not in genes.limits_sentences(2, 3, "patient")
