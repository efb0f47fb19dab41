"""Floors: what they see, how models are set against them, over whom an interval is given, and the sentences."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import schema
from helpers.chapters import floors
from helpers.models import backbones

GENES = ["stained", "placed", "level"]
PANELS = dict.fromkeys(("A1", "A2", "B1"), GENES)


def make_section(name, seed, level=0.0):
    """One gene is the stain, one a gradient in x, one differs between sections alone."""
    rng = np.random.default_rng(seed)
    lattice = np.argwhere(np.ones((5, 8))).astype(float)
    stain = 5 + rng.normal(size=len(lattice))
    obs = pd.DataFrame({"section": name, "patient": name[0], "haematoxylin": stain, "n_nuclei": 1})
    obs.index = [f"{i}x{name}" for i in range(len(obs))]
    made = AnnData(obs=obs, var=pd.DataFrame(index=GENES), obsm={schema.SPATIAL: lattice})
    noise = 0.01 * rng.normal(size=(len(stain), 3))
    made.layers["log2"] = np.column_stack([stain, lattice[:, 0], np.full(len(stain), level)]) + noise
    return made


@pytest.fixture
def sections():
    return {
        name: make_section(name, seed, level) for seed, (name, level) in enumerate({"A1": 0, "A2": 2, "B1": 4}.items())
    }


def test_each_floor_predicts_the_gene_that_it_sees(sections):
    found = floors.score_floors(sections, PANELS, ["log2"], ["section"])
    assert list(found.columns) == floors.COLUMNS and len(found) == 2 * 3 * 3
    pcc = found.groupby(["backbone", "gene"])["pcc"].min()
    assert pcc["haematoxylin", "stained"] > 0.98 and pcc["place", "placed"] > 0.95
    assert found.loc[(found["backbone"] == "haematoxylin") & (found["gene"] == "placed"), "pcc"].max() < 0.9


def test_the_training_mean_errs_by_the_difference_of_levels(sections):
    sections["A1"].layers["log2"][:] = [[1, 0, 0], [-1, 0, 0]] * 20  # mean 0, sd 1 of the first gene
    panels = dict.fromkeys(PANELS, GENES[:1])
    for name, level in (("A2", 1.0), ("B1", 3.0)):
        sections[name].layers["log2"][:] = level + np.tile([[1.0], [-1.0]], (20, 3))
    found = floors.training_mean(sections, panels, ["log2"], ["section", "patient"]).set_index(["split", "section"])
    error = found["rmse_over_sd"]
    assert error["section", "A1"] == pytest.approx(np.sqrt(1 + 2**2))  # trained on levels 1 and 3
    assert error["patient", "A1"] == pytest.approx(np.sqrt(1 + 3**2))  # on B1 alone
    assert set(found["backbone"]) == {"training mean"}


def test_models_come_first_and_targets_in_the_order_given():
    names = ["depth", "ridge", "nuclei", "stem"]
    table = pd.DataFrame([(b, t) for b in names for t in ("x", "y")], columns=["backbone", "target"])
    found = floors.models_first(table, ["y", "x"])
    assert list(dict.fromkeys(found["backbone"])) == ["stem", "ridge", "nuclei", "depth"]
    assert found["target"].tolist() == ["y", "x"] * 4


def test_seeds_are_averaged_gene_by_gene():
    row = {"section": "A1", "split": "section", "backbone": "stem", "target": "log2"}
    genes = pd.DataFrame(
        [row | {"seed": s, "gene": "g", "pcc": p, "rmse_over_sd": 1 - p} for s, p in enumerate((0.2, 0.4))]
    )
    found = floors.means_over_seeds([genes[:1], genes[1:]], ["log2"])
    assert len(found) == 1 and found.loc[0, ["pcc", "rmse_over_sd"]].tolist() == pytest.approx([0.3, 0.7])


@pytest.fixture
def genes():
    """Four genes; ridge above nuclei by 0.1, 0.3, 0.4 in the sections, place close behind, depth above all."""
    level = {"ridge": 0.0, "nuclei": None, "place": -0.05, "depth": 0.4}
    rows = []
    for section, gap in {"A1": 0.1, "A2": 0.3, "B1": 0.4}.items():
        for backbone, shift in level.items():
            for gene, pcc in zip("abcd", (0.5, 0.4, 0.3, np.nan), strict=True):
                rows.append(
                    (section, "section", backbone, "log2", gene, pcc - gap if shift is None else pcc + shift, 1.0)
                )
    return pd.DataFrame(rows, columns=["section", "split", "backbone", "target", "gene", "pcc", "rmse_over_sd"])


PATIENTS = {"A1": "A", "A2": "A", "B1": "B"}


def test_scores_are_means_of_the_best_genes_and_a_k_beyond_the_panel_has_none(genes):
    scores = floors.score_table(genes, [2, 50]).set_index(["section", "backbone"])
    assert scores.loc[("A1", "ridge"), ["pcc_2", "pcc_all"]].tolist() == pytest.approx([0.45, 0.4])
    assert scores["pcc_50"].isna().all()
    assert floors.headline_score(scores, 2) == ("pcc_2", "PCC-2")
    assert floors.headline_score(scores, 50) == ("pcc_all", "mean PCC of the panel")


def test_every_model_is_set_against_every_floor_on_the_same_section(genes):
    over = floors.excess(floors.score_table(genes, [2]))
    assert list(dict.fromkeys(over["floor"])) == ["nuclei", "place", "depth"] and set(over["backbone"]) == {"ridge"}
    nuclei = over[over["floor"] == "nuclei"].set_index("section")
    for column in ("pcc_2", "pcc_all"):
        assert nuclei[column].to_dict() == pytest.approx({"A1": 0.1, "A2": 0.3, "B1": 0.4})
    fewer = genes[(genes["section"] != "B1") | (genes["backbone"] != "nuclei")]
    assert "B1" not in set(floors.excess(floors.score_table(fewer, [2])).query("floor == 'nuclei'")["section"])
    long = floors.excess_by_k(over, "nuclei", "section", [2])
    assert long["genes"].tolist() == ["best 2"] * 3 + ["all genes"] * 3
    assert long["excess"].tolist() == pytest.approx([0.1, 0.3, 0.4] * 2)


def test_no_interval_is_given_for_few_patients(genes):
    intervals = floors.excess_intervals(floors.excess(floors.score_table(genes, [2])), "pcc_2", PATIENTS)
    row = intervals[intervals["floor"] == "nuclei"].iloc[0]
    assert (row["median"], row["least"], row["mean"]) == pytest.approx((0.3, 0.1, (0.2 + 0.4) / 2))
    assert row["least_in"] == "A1" and row["n_sections"] == 3 and np.isnan(row["low"])
    text = floors.excess_sentence(intervals, "nuclei", "PCC-2")
    assert text.startswith("In PCC-2:\n\n- `ridge`, log2(x + 1), one section held out: **+0.30** (median of 3 sections")
    assert text.endswith("the least +0.10, in A1); mean over patients +0.30, n = 2 patients: not estimable.")


def test_an_interval_over_patients_is_printed_where_there_is_one():
    row = {"backbone": "stem", "split": "section", "target": "log2", "floor": "nuclei", "median": -0.1, "least": -0.2}
    row |= {"least_in": "B1", "n_sections": 1, "n_patients": 6, "mean": -0.1, "low": -0.2, "high": 0.05, "note": ""}
    text = floors.excess_sentence(pd.DataFrame([row]), "nuclei", "PCC-2")
    assert "**-0.10** (median of 1 section, " in text and "95 % interval -0.20 to +0.05 over 6 patients." in text


def test_the_nearest_floor_is_never_the_oracle_and_sections_below_a_floor_are_named(genes):
    found = floors.answer(floors.excess(floors.score_table(genes, [2])), "pcc_2", "section", PATIENTS, "PCC-2")
    assert found.startswith(
        "**Above every floor in all sections**: `ridge` in log2(x + 1) 3 of 3 (median **+0.05** over place alone). "
        "PCC-2 less that of the nearest floor, one section held out, others of its patient not, 3 sections of 2 "
        "patients; a floor is what"
    )
    higher = (genes["section"] == "A2") & (genes["backbone"] == "nuclei")
    genes.loc[higher, "pcc"] += 0.3  # as high as ridge
    found = floors.answer(floors.excess(floors.score_table(genes, [2])), "pcc_2", "section", PATIENTS, "PCC-2")
    assert found.startswith(
        "**Above every floor in most sections**: `ridge` in log2(x + 1) 2 of 3 (median **+0.05** over"
    )
    assert "place alone; not in A2 of patient A)" in found


def test_a_section_without_another_of_its_patient_is_named(genes):
    over = floors.excess(floors.score_table(genes, [2]))
    text = floors.only_section_sentence(over, "pcc_2", "section", PATIENTS)
    assert "of the patient of B1." in text and "B1, `ridge` in log2(x + 1) +0.40. Such" in text
    every = floors.only_section_sentence(over, "pcc_2", "section", dict.fromkeys(PATIENTS, "A"))
    assert every.startswith("Every patient has several sections")


def test_medians_stand_beside_skill_on_the_twin_in_which_only_depth_varies(genes):
    controls = pd.DataFrame({"split": "section", "target": "log2", "backbone": "ridge", "flagged": [True, False, True]})
    controls["twin"] = ["depth_only", "depth_only", "equal_depth"]
    found = floors.score_medians(floors.score_table(genes, [2, 50]), controls, "section", [2, 50])
    assert "pcc_50" not in found and found.loc[("nuclei", "log2"), "pcc_2"] == pytest.approx(0.15)
    skill = found["skill on depth-only twin"]
    assert skill["ridge", "log2"] == "1 of 2" and skill.drop(("ridge", "log2")).isna().all()


def test_the_error_of_the_training_mean_stands_beside_the_models(genes):
    genes.loc[genes["gene"] == "a", "rmse_over_sd"] = 9.0  # a median over genes does not see it
    constant = pd.DataFrame({"section": ["A1", "A2", "B1"], "split": "section", "target": "log2"})
    constant = constant.assign(backbone="training mean", rmse_over_sd=[1.0, 3.0, 2.0])
    found = floors.error_medians(genes, constant, "section")["log2"]
    assert found["ridge"] == 1 and found["training mean"] == 2
    assert floors.error_medians(genes, constant, "patient").empty


def test_ridge_without_nuclei_loses_what_only_they_say(sections):
    rng = np.random.default_rng(0)
    for name, one in sections.items():
        stain = one.obs["haematoxylin"].to_numpy()
        one.obsm[schema.PATCH] = np.column_stack([stain, rng.normal(size=(len(stain), 2))])
        one.uns |= {"section": name, "patch_names": np.array(["100um:nuclei_per_mm2", "100um:od", "100um:hue"])}
    table = floors.ridge_without_nuclei(sections, dict.fromkeys(PANELS, ["stained"]), ["log2"], "section", 1)
    assert (table["with_nuclei"] > 0.9).all() and (table["without_nuclei"] < 0.5).all()
    assert "median and range over 3 sections: log2(x + 1) " in floors.ablation_sentence(table, 1)
    for one in sections.values():
        one.uns["patch_names"] = np.array(["uni:0", "uni:1", "uni:2"])
    nothing = floors.ridge_without_nuclei(sections, PANELS, ["log2"], "section", 1)
    assert nothing.empty and "nothing to leave out" in floors.ablation_sentence(nothing, 1)


def test_what_nuclei_add_is_taken_section_against_itself():
    """Medians of different sections differ by -0.1 where the median section does not change."""
    table = pd.DataFrame({"section": ["A", "B", "C"], "target": "log2", "with_nuclei": [0.1, 0.3, 0.5]})
    table["without_nuclei"] = [0.1, 0.2, 0.6]
    assert floors.ablation_sentence(table, 5) == (
        "What PCC-5 of `ridge` changes by without the features of nuclei, each section against itself, median and "
        "range over 3 sections: log2(x + 1) +0.000 (-0.100 to +0.100)."
    )


def test_the_stain_is_one_floor_where_it_measures_cellularity():
    sections = {name: make_section(name, seed) for seed, name in enumerate(["A1", "A2", "B1"])}
    names = ("haematoxylin", "place")
    assert backbones.different(names, sections) == ["haematoxylin", "place"]
    for section in sections.values():
        del section.obs["n_nuclei"]
    assert backbones.different(names, sections) == ["place"]
    stained = backbones.predict(sections, "B1", "log2", "nuclei").layers["predicted"]
    assert np.array_equal(stained, backbones.predict(sections, "B1", "log2", "haematoxylin").layers["predicted"])
