"""Readings keep their spots, the same genes stand in every correction, and what is known is the measure."""

import anndata
import numpy as np
import pandas as pd
import pytest

from helpers import schema
from helpers.chapters import counting_and_conclusions as counting
from helpers.scores import coupling
from helpers.targets.normalization import LOG, RESIDUAL

GENES = ["follower", "noise"]
SPOTS = [f"{x}x{y}" for x in range(8) for y in range(5)]


def section(name, seed=0):
    """A section whose first gene follows the nuclei (0, 1, 2, ...) in both targets, and whose second is noise."""
    rng = np.random.default_rng(seed)
    nuclei = np.arange(len(SPOTS), dtype=float)
    layers = {target: np.column_stack([nuclei, rng.normal(size=len(SPOTS))]) for target in (LOG, RESIDUAL)}
    one = anndata.AnnData(obs=pd.DataFrame(index=SPOTS), var=pd.DataFrame(index=GENES), layers=layers)
    one.obs["total_counts"], one.obs["patient"] = 10 * nuclei + 1, name[0]
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
    found, chances = counting.associate_readings(sections, readings, [LOG], 64)
    rho = found[found["gene"] == "follower"].set_index(["reading", "section"])["rho_nuclei"].to_dict()
    assert rho == pytest.approx({("disc", "A1"): 1, ("disc", "B1"): 1, ("crop", "A1"): -1})
    assert found["rho_depth"].notna().all() and chances["chance"].between(0, 1).all()
    assert set(chances["reading"]) == {"disc", "crop"} and coupling.MEDIAN in set(chances["section"])


def test_a_reading_follows_itself_and_the_depth(sections, readings):
    found = counting.reading_correlations(sections, readings).set_index(["section", "reading"])
    np.testing.assert_allclose(found.loc["A1"], [[1, 1], [-1, -1]])
    assert len(found) == 3


def test_a_summary_has_a_row_a_reading_section_and_target_and_their_medians_are_shown(sections, readings):
    associated, chances = counting.associate_readings(sections, readings, [LOG, RESIDUAL], 64)
    summary = counting.summarize_readings(associated, chances, counting.reading_correlations(sections, readings))
    assert summary[["reading", "section"]].value_counts().tolist() == [2, 2, 2] and set(summary["n_genes"]) == {2}
    shown = counting.reading_medians(summary, chances, [LOG, RESIDUAL])
    assert shown.index.tolist() == ["count in the spot's disc", "count in STEM's crop"]
    own = summary[(summary["reading"] == "disc") & (summary["target"] == RESIDUAL)]["median_abs_rho_nuclei"]
    assert shown.iloc[0]["Pearson residual", "|ρ|"] == own.median()
    assert shown["ρ of the reading", "with depth"].tolist() == pytest.approx([1, -1])
    assert shown.shape == (2, 2 + 2 * 4)


def pairs(log, residual, readings=("disc", "crop")):
    """Coupling of one section under each reading, by target."""
    tables = [
        pd.DataFrame({"reading": readings, "target": target, "median_abs_rho_nuclei": values})
        for target, values in ((LOG, log), (RESIDUAL, residual))
    ]
    return pd.concat(tables).assign(section="A1", chance_95_median_abs_rho_nuclei=0.15)


def test_a_reading_that_says_otherwise_is_named_and_pairs_beyond_their_null_are_counted():
    found = counting.readings_remark(pairs([0.4, 0.1], [0.1, 0.2]), {"A1": "A"})
    assert "**1 of 2** pairs of reading and section (not: count in STEM's crop in A1), of 2 readings and 1 sec" in found
    assert "between 0.10 and 0.40 in log, 0.10 and 0.20 as residuals; above" in found
    assert found.endswith("are log in 1 and the residual in 1 of the pairs.")
    one = counting.readings_remark(pairs([0.4], [0.1], ["disc"]), {"A1": "A"})
    assert "**1 of 1** pair of reading and section, of 1 reading and 1 section of 1 patient." in one


# --- Delta_k ---


def test_delta_compares_the_same_predictions_with_each_reading(sections, readings):
    sections["A1"].layers[RESIDUAL][:, 0] = np.random.default_rng(3).normal(size=len(SPOTS))
    readings["A1"]["crop"] = np.random.default_rng(4).normal(size=len(SPOTS))
    associated, _ = counting.associate_readings(sections, readings, [LOG, RESIDUAL], 4)
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
        "The median of Δ₅₀ is, by reading, -0.10 to 0.20 with `ridge`, one patient held out (above 0 in 2 of 3 pairs)."
    )
    assert counting.delta_remark(DELTA, 200) == ""
    assert counting.delta_remark(DELTA[:1], 50).endswith("(above 0 in 1 of 1 pair).")


def test_medians_of_delta_are_over_sections():
    found = counting.delta_medians(DELTA)
    assert found.columns.tolist() == [("ridge", "patient", 50)]
    assert found.iloc[:, 0].to_dict() == pytest.approx({"count in the spot's disc": 0.2, "count in STEM's crop": -0.1})


# --- where the truth is known ---


def test_a_count_by_lot_follows_the_genes_less_than_the_truth_and_the_truth_as_much():
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
    assert (
        found.loc["disc", "ρ with the truth"] == pytest.approx(1) and 0.5 < found.loc["lot", "ρ with the truth"] < 0.9
    )
    assert found.loc["disc", "|ρ| observed"] == found.loc["disc", "with the true nuclei"]
    assert found.loc["lot", "|ρ| observed"] < found.loc["lot", "with the true nuclei"] - 0.1


def test_distances_from_the_truth_keep_their_sign():
    columns = ["|ρ| observed", "with the true nuclei"]
    compared = pd.DataFrame([[0.5, 0.4], [0.1, 0.5]], index=["disc", "lot"], columns=columns)
    found = counting.truth_remark(compared)
    assert "put the coupling -0.400 from" in found and found.endswith("is +0.100 from it.")
