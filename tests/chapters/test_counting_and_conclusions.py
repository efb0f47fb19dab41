"""Readings keep their spots, the same genes stand in every correction, and what is known is the measure."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from helpers import schema
from helpers.chapters import counting_and_conclusions as counting
from helpers.scores import coupling
from helpers.scores.coupling import LOG, RESIDUAL

GENES = ["follower", "noise"]
SPOTS = [f"{x}x{y}" for x in range(8) for y in range(5)]


def section(name, seed=0):
    """A section whose first gene follows the nuclei (0, 1, 2, ...) in both targets, and whose second is noise."""
    rng = np.random.default_rng(seed)
    nuclei = np.arange(len(SPOTS), dtype=float)
    layers = {target: np.column_stack([nuclei, rng.normal(size=len(SPOTS))]) for target in (LOG, RESIDUAL)}
    one = anndata.AnnData(obs=pd.DataFrame(index=SPOTS), var=pd.DataFrame(index=GENES), layers=layers)
    one.obs["total_counts"] = 10 * nuclei + 1
    one.obsm[schema.SPATIAL] = one.obsm[schema.LATTICE] = np.array([spot.split("x") for spot in SPOTS], float)
    one.uns["section"] = name
    return one


@pytest.fixture
def sections():
    return {"A1": section("A1"), "B1": section("B1", 1)}


@pytest.fixture
def readings(sections):
    """The default of both sections, and of A1 its opposite too."""
    disc = pd.DataFrame({"disc": np.arange(len(SPOTS), dtype=float)}, index=SPOTS)
    return {"A1": disc.assign(crop=-disc["disc"]), "B1": disc}


# --- readings ---


def test_readings_stand_in_the_order_of_the_sections_spots():
    rows = [("B1", "1x2", "disc", 3), ("B1", "1x1", "disc", 2), ("A1", "1x1", "area", 7), ("A1", "1x1", "disc", 5)]
    long = pd.DataFrame(rows, columns=["section", "spot", "reading", "value"])
    found = counting.readings_of(long, {"A1": pd.Index(["1x1"]), "B1": pd.Index(["1x1", "1x2"])})
    assert found["B1"]["disc"].tolist() == [2, 3] and list(found["A1"]) == ["disc", "area"]
    assert counting.known_readings(found) == ["disc", "area"]


def test_a_spot_without_a_reading_is_an_error():
    long = pd.DataFrame({"section": ["A1"], "spot": "1x1", "reading": "disc", "value": 1.0})
    with pytest.raises(KeyError):
        counting.readings_of(long, {"A1": pd.Index(["1x1", "9x9"])})


def test_a_gene_that_is_the_count_has_rho_one_and_with_the_opposite_reading_minus_one(sections, readings):
    found = counting.associate_readings(sections, readings, [LOG], 19)
    rho = found[found["gene"] == "follower"].set_index(["reading", "section"])["rho_nuclei"].to_dict()
    assert rho == pytest.approx({("disc", "A1"): 1, ("disc", "B1"): 1, ("crop", "A1"): -1})
    assert found["rho_depth"].notna().all() and found["chance_nuclei"].between(0, 1).all()


def test_chance_is_that_of_ranks_and_the_same_for_the_same_reading(sections, readings):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(len(SPOTS), 5)))[0]
    nuclei = readings["A1"]["disc"].to_numpy()
    np.testing.assert_array_equal(*(counting.random_maps(x, basis, 3) for x in (nuclei, np.exp(nuclei / 9))))


def test_one_section_is_associated_with_the_maps_it_is_given(sections):
    nuclei = np.arange(len(SPOTS), dtype=float)
    found = counting.associate(sections["A1"], nuclei, np.column_stack([nuclei] * 3), [RESIDUAL]).set_index("gene")
    assert found.loc["follower", "chance_nuclei"] == pytest.approx(1) and set(found["target"]) == {RESIDUAL}
    np.testing.assert_allclose(found["chance_nuclei"], found["rho_nuclei"].abs())


def test_a_reading_follows_itself_and_the_depth(sections, readings):
    found = counting.reading_correlations(sections, readings).set_index(["section", "reading"])
    np.testing.assert_allclose(found.loc["A1"], [[1, 1], [-1, -1]])
    assert len(found) == 3


def test_a_summary_has_a_row_a_reading_section_and_target_and_their_medians_are_shown(sections, readings):
    associated = counting.associate_readings(sections, readings, [LOG, RESIDUAL], 19)
    summary = counting.summarize_readings(associated, counting.reading_correlations(sections, readings))
    assert summary[["reading", "section"]].value_counts().tolist() == [2, 2, 2] and set(summary["n_genes"]) == {2}
    shown = counting.reading_medians(summary, [LOG, RESIDUAL])
    assert shown.index.tolist() == ["count in the spot's disc", "count in STEM's crop"]
    own = summary[(summary["reading"] == "disc") & (summary["target"] == RESIDUAL)]["median_abs_rho_nuclei"]
    assert shown.iloc[0]["Pearson residual", "|ρ|"] == own.median()
    assert shown["ρ of the reading", "with depth"].tolist() == pytest.approx([1, -1])
    assert shown.shape == (2, 2 + 2 * 3)


def test_medians_are_over_sections_by_target_and_metric():
    summary = pd.DataFrame({"reading": ["disc"] * 3, "target": [LOG] * 3, "median_abs_rho_nuclei": [0.1, 0.2, 0.9]})
    found = counting.medians_by_target(summary, "reading", [LOG], ["median_abs_rho_nuclei"])
    assert found.columns.tolist() == [("log2(x + 1)", "|ρ|")] and found.iloc[0, 0] == 0.2


def pairs(log, residual, readings=("disc", "crop")):
    """Coupling of one section under each reading, by target."""
    tables = [
        pd.DataFrame({"reading": readings, "target": target, "median_abs_rho_nuclei": values})
        for target, values in ((LOG, log), (RESIDUAL, residual))
    ]
    return pd.concat(tables).assign(section="A1")


def test_a_reading_that_says_otherwise_is_named():
    found = counting.readings_remark(pairs([0.4, 0.1], [0.1, 0.2]))
    assert "**1 of 2** pairs of reading and section (not: count in STEM's crop in A1); the ratio" in found
    assert "between 0.5 and 4.0" in found and found.endswith(
        "between 0.10 and 0.40, the residual's between 0.10 and 0.20."
    )
    assert "**1 of 1** pair of reading and section; the ratio" in counting.readings_remark(
        pairs([0.4], [0.1], ["disc"])
    )


# --- Delta_k ---


def test_delta_compares_the_same_predictions_with_each_reading(sections, readings):
    sections["A1"].layers[RESIDUAL][:, 0] = np.random.default_rng(3).normal(size=len(SPOTS))
    readings["A1"]["crop"] = np.random.default_rng(4).normal(size=len(SPOTS))
    associated = counting.associate_readings(sections, readings, [LOG, RESIDUAL], 3)
    rows = [(s, t, g, p) for s in sections for t in (LOG, RESIDUAL) for g, p in zip(GENES, (0.9, 0.1), strict=True)]
    trained = pd.DataFrame(rows, columns=["section", "target", "gene", "pcc"])
    found = counting.delta_by_reading(associated, trained.assign(backbone="ridge", split="section", ceiling=1.0), [1])
    delta = found.set_index(["reading", "section"])["delta"]
    log, residual = (sections["A1"].layers[target][:, :1] for target in (LOG, RESIDUAL))
    for reading, nuclei in readings["A1"].items():  # the best gene of either target, against this reading
        expected = abs(coupling.spearman(log, nuclei)) - abs(coupling.spearman(residual, nuclei))
        assert delta[reading, "A1"] == pytest.approx(expected[0])
    assert delta["disc", "B1"] == pytest.approx(0) and len(delta) == 3


DELTA = pd.DataFrame(
    {
        "reading": ["disc", "disc", "crop"],
        "backbone": "ridge",
        "split": "patient",
        "k": 50,
        "section": ["A1", "A2", "A1"],
    }
).assign(delta=[0.1, 0.3, -0.1])


def test_delta_is_told_by_its_ends_over_readings_and_how_often_it_is_positive():
    assert counting.delta_remark(DELTA, 50) == (
        "- `ridge`, one patient held out: the median of Δ₅₀ lies between **-0.100** (count in STEM's crop) and "
        "**0.200** (count in the spot's disc); Δ₅₀ is above 0 in 2 of 3 pairs of reading and section."
    )
    assert counting.delta_remark(DELTA, 200) == ""
    assert "Δ₅₀ is above 0 in 1 of 1 pair of" in counting.delta_remark(DELTA[:1], 50)


def test_medians_of_delta_are_over_sections():
    found = counting.delta_medians(DELTA)
    assert found.columns.tolist() == [("ridge", "patient", 50)]
    assert found.iloc[:, 0].to_dict() == pytest.approx({"count in the spot's disc": 0.2, "count in STEM's crop": -0.1})


# --- what noise hides ---


@pytest.fixture
def counts():
    """60 spots: a gene of many molecules that vary, one of few that do not, and the rest of the transcriptome."""
    rng = np.random.default_rng(0)
    level = rng.uniform(50, 500, 60)
    matrix = np.column_stack([rng.poisson(level), rng.poisson(0.3, 60), rng.poisson(500, 60)])
    one = anndata.AnnData(obs=pd.DataFrame(index=[f"s{i}" for i in range(60)]), var=pd.DataFrame(index=["a", "b", "c"]))
    one.layers[schema.COUNTS] = sparse.csr_matrix(matrix)
    return one


def test_a_gene_of_many_molecules_is_reliable_and_one_of_few_is_noise(counts):
    found = counting.gene_reliability(counts, ["a", "b"], LOG, 5)
    assert found[0] > 0.9 and found[1] < 0.5 and (found <= 1).all()


def test_reliabilities_are_of_each_section_in_both_targets(counts):
    found = counting.gene_reliabilities(iter([counts, counts]), {"A1": ["a"], "A2": ["b", "a"]}, 2)
    assert list(found) == ["A1", "A2"] and list(found["A1"]) == [LOG, RESIDUAL]
    assert found["A2"][LOG][1] == found["A1"][LOG][0]
    with pytest.raises(ValueError):
        counting.gene_reliabilities(iter([counts]), {"A1": ["a"], "A2": ["a"]}, 2)


def test_the_least_reliability_is_rho_squared_whatever_its_sign(sections, readings):
    assert counting.least_count_reliability([1, 2, 3], np.array([3, 2, 1])) == pytest.approx(1)
    assert counting.least_count_reliability([1, 2, 3], np.array([1, 3, 2])) == pytest.approx(0.25)
    found = counting.least_count_reliabilities(sections, readings)
    assert found == pytest.approx({"A1": 1, "B1": 1})
    assert counting.reliability_remark({"A1": 0.256, "B1": 1}) == (
        "The count's reliability is at least 0.26 (A1), 1.00 (B1)."
    )


def test_a_correction_divides_by_the_roots_of_the_reliabilities(sections):
    nuclei = np.random.default_rng(1).permutation(len(SPOTS)).astype(float)
    maps = np.random.default_rng(2).normal(size=(len(SPOTS), 9))
    of_genes = {LOG: np.array([0.64, 0.01]), RESIDUAL: np.array([0.81, 0.9])}  # the second gene is noise in one target
    found = {
        name: counting.corrected_summary(sections["A1"], nuclei, maps, of_genes, 0.49, name).set_index("target")
        for name in counting.CORRECTIONS
    }
    value = {name: table["median_abs_rho_nuclei"] for name, table in found.items()}
    rho = abs(coupling.spearman(sections["A1"].layers[LOG], nuclei)[0])
    assert value["none"][LOG] == value["none"][RESIDUAL] == pytest.approx(rho)  # the first gene alone, in both
    assert value["genes"][LOG] == pytest.approx(rho / 0.8) and value["genes"][RESIDUAL] == pytest.approx(rho / 0.9)
    assert value["genes and count"][LOG] == pytest.approx(rho / 0.8 / 0.7)
    assert all(set(table["n_genes"]) == {1} for table in found.values())
    assert [set(table["reliability_nuclei"]) for table in found.values()] == [{1.0}, {1.0}, {0.49}]


def test_every_correction_is_made_of_every_section(sections, readings):
    of_genes = {name: {LOG: np.ones(2), RESIDUAL: np.ones(2)} for name in sections}
    found = counting.corrected_summaries(sections, readings, of_genes, {"A1": 1.0, "B1": 1.0}, 9)
    assert found[["correction", "section"]].value_counts(sort=False).tolist() == [2] * 6
    wide = found.pivot(index=["section", "target"], columns="correction", values="median_abs_rho_nuclei")
    np.testing.assert_allclose(wide["none"], wide["genes and count"])  # nothing is noise
    shown = counting.correction_medians(found)
    assert shown.index.tolist() == [called for *_, called in counting.CORRECTIONS.values()]
    assert shown.shape == (3, 2 * 4)


def test_the_ratio_of_the_targets_is_told_before_and_after():
    values = {"none": (0.4, 0.1), "genes": (0.5, 0.2), "genes and count": (0.6, 0.3)}
    rows = [(c, "A1", t, v) for c, pair in values.items() for t, v in zip((LOG, RESIDUAL), pair, strict=True)]
    table = pd.DataFrame(rows, columns=["correction", "section", "target", "median_abs_rho_nuclei"])
    found = counting.correction_remark(table.assign(n_genes=80))
    assert found.startswith("Medians over 1 section, over 80 to 80 genes each.")
    assert "their ratio goes from 4.0 to **2.5**" in found and found.endswith("the two are 0.60 and 0.30.")


# --- where the truth is known ---


def test_the_truth_itself_is_reliable_and_needs_no_correction():
    true = np.arange(30.0)
    expression = np.column_stack([true, np.random.default_rng(0).normal(size=30)])
    found = counting.against_truth(true, true, expression)
    assert found["reliability"] == pytest.approx(1)
    assert found["|ρ| observed"] == pytest.approx(found["corrected"]) == found["with the true nuclei"]


def test_errors_by_lot_are_undone_by_the_correction():
    rng = np.random.default_rng(0)
    sections, readings, truth = {}, {}, {}
    for name in ("A1", "B1"):
        true = rng.poisson(rng.uniform(5, 25, 2_000))
        spots = pd.Index([f"s{i}" for i in range(len(true))])
        expression = np.column_stack([true + rng.normal(0, 5, len(true)) for _ in range(9)])
        sections[name] = anndata.AnnData(obs=pd.DataFrame(index=spots), layers={LOG: expression})
        readings[name] = pd.DataFrame({"disc": true}, index=spots)
        truth[name] = pd.Series(true, index=spots)[::-1]  # joined by name
    found = counting.compare_with_truth(sections, readings, truth)
    assert found.index.tolist() == ["disc", "lot"]
    assert found.loc["disc", "reliability"] == pytest.approx(1) and 0.3 < found.loc["lot", "reliability"] < 0.8
    lot = found.loc["lot"]
    assert lot["|ρ| observed"] < lot["with the true nuclei"] - 0.1
    assert lot["corrected"] == pytest.approx(lot["with the true nuclei"], abs=0.03)


def test_distances_from_the_truth_keep_their_sign():
    columns = ["reliability", "|ρ| observed", "corrected", "with the true nuclei"]
    compared = pd.DataFrame([[0.5, 0.3, 0.45, 0.4], [0.2, 0.1, 0.5, 0.5]], index=["disc", "lot"], columns=columns)
    found = counting.truth_remark(compared)
    assert "-0.400 from the truth, the correction +0.000" in found and "-0.100 from it, corrected +0.050." in found
