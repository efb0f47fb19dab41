"""Table 2 under every reading: what is scored, differences of targets, and their tests."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from specified import make_section, spots_in

from helpers import columns, schema
from helpers.chapters import specified_differences
from helpers.targets import normalization
from helpers.targets.normalization import LOG, RESIDUAL

SECTIONS = pd.DataFrame([[1.0, 2.0, 3.0, 10.0], [4.0, np.nan, 4.0, 6.0]], columns=["A1", "A2", "A3", "B1"])
PATIENTS = pd.Series(list("AAAB"), index=SECTIONS.columns)


@pytest.fixture
def section():
    return make_section("A1")


@pytest.fixture
def nuclei(section):
    rng = np.random.default_rng(1)
    return pd.DataFrame(rng.poisson(6, (16, 2)), index=section.obs_names, columns=["disc", "crop"]).astype(float)


def test_only_the_books_own_models_on_both_targets_are_read(tmp_path):
    for name in ("stem.log2.0", "ridge.pearson_residual.0", "nuclei.log2.0", "ridge.log1p_cp10k.0"):
        (tmp_path / f"{name}.h5ad").touch()
    found = specified_differences.trained_files([tmp_path])
    assert [path.name for path in found] == ["ridge.pearson_residual.0.h5ad", "stem.log2.0.h5ad"]
    with pytest.raises(ValueError, match="no prediction by stem or ridge"):
        specified_differences.trained_files([tmp_path / "empty"])


def test_a_prediction_is_scored_on_what_it_was_trained_on_and_without_clipping(section):
    panel, spots = ["B", "D"], section.obs_names[2:]
    whole = normalization.get(RESIDUAL)(section[spots], panel)
    held = AnnData(obs=pd.DataFrame(index=spots), var=pd.DataFrame(index=panel))
    held.layers[schema.MEASURED], held.layers[schema.PREDICTED] = np.minimum(whole, 0.5), whole
    held.uns |= {"section": "A1", "split": "section", "target": RESIDUAL, "backbone": "ridge", "seed": 0}
    found = specified_differences.pcc_by_clipping([held], {"A1": section}, spots_in(A1=held)).set_index("clip")
    assert found.loc["none", "pcc"].tolist() == pytest.approx([1, 1])
    assert found.loc["clipped", "pcc"].tolist() == pytest.approx(list(columns.pearson(np.minimum(whole, 0.5), whole)))


def test_couplings_of_the_runs_own_targets_are_gene_by_gene(section, nuclei):
    found = specified_differences.nuclei_couplings(
        {"A1": section}, {"A1": ["B", "D"]}, {"A1": nuclei}, spots_in(A1=section)
    )
    assert len(found) == 2 * 2 * 2
    one = found[(found["target"] == LOG) & (found["gene"] == "D") & (found["nuclei"] == "crop")]
    rho = columns.spearman(normalization.get(LOG)(section, ["D"]), nuclei["crop"].to_numpy())
    assert one["rho_nuclei"].item() == pytest.approx(rho[0])


def test_differences_are_taken_of_every_reading_and_know_their_quantity():
    """Gene b is best in both spaces: Delta_1 is its |rho| of 0.7 less 0.1, and of nuclei in the crop 0.2 less 0.1."""
    genes = {"gene": ["a", "b"], "section": "A1", "spots": "all kept"}
    associated = pd.concat(
        pd.DataFrame(genes | {"target": target, "nuclei": reading, "rho_nuclei": rho})
        for reading, of_log in (("disc", [0.3, -0.7]), ("crop", [0.3, 0.2]))
        for target, rho in ((LOG, of_log), (RESIDUAL, [0.5, 0.1]))
    )
    fit = genes | {"backbone": "ridge", "split": "section", "seed": 0, "ceiling": np.nan, "pcc": [0.2, 0.6]}
    predicted = pd.concat(
        pd.DataFrame(fit | {"target": target, "clip": clip})
        for target in (LOG, RESIDUAL)
        for clip in ("clipped", "none")
    )
    found = specified_differences.every_difference(associated, predicted, [1, 2])
    own = found[(found["definition"] == "own_top_k") & (found["k"] == 1) & (found["clip"] == "clipped")]
    assert own.set_index("nuclei")["value"].to_dict() == pytest.approx({"disc": 0.6, "crop": 0.1})
    assert set(found["quantity"]) == {"median_delta, k = 1", "median_delta, k = 2"}


def test_tests_of_five_differences_above_zero_reach_the_least_p():
    found = specified_differences.tests_of_differences(np.arange(1.0, 6))
    assert [row["test"] for row in found] == ["one-sided", "two-sided", "of the mean", "of the median"]
    # The median is as far from zero wherever the three largest have one sign: 2 x 4 patterns of 32.
    assert [row["value"] for row in found] == pytest.approx([1 / 32, 1 / 16, 1 / 16, 8 / 32])


@pytest.fixture
def deltas():
    sections = [f"{patient}{i}" for patient in "ABCDE" for i in (1, 2)]
    fit = {
        "nuclei": "disc",
        "spots": "all kept",
        "clip": "none",
        "definition": "own_top_k",
        "ranking": "same",
        "backbone": "ridge",
    }
    return pd.DataFrame({"section": sections, "k": 10, "split": "section", "value": np.arange(1.0, 11), **fit})


def test_patients_are_a_unit_where_there_are_enough_of_them(deltas):
    patients = pd.Series({section: section[0] for section in deltas["section"]})
    found = specified_differences.units(deltas, patients)
    assert found["patients"].tolist() == [1.5, 3.5, 5.5, 7.5, 9.5] and len(found["sections"]) == 10
    assert list(specified_differences.units(deltas[:8], patients)) == ["sections"]


def test_every_test_is_made_of_sections_and_patients_with_sign_flips_last(deltas):
    found = specified_differences.every_test(deltas, pd.Series({section: section[0] for section in deltas["section"]}))
    assert len(found) == 2 * 4
    assert found["quantity"].tolist() == ["wilcoxon_p, k = 10"] * 4 + ["permutation_p, k = 10"] * 4
    one_sided = found[(found["test"] == "one-sided")].set_index("unit")["value"]
    assert one_sided.to_dict() == pytest.approx({"sections": 2**-10, "patients": 2**-5})
