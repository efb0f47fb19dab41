"""What patients and organs keep of cellularity: known followers are told apart, and runs stand side by side."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import store
from helpers.chapters import dependence, organs
from helpers.schema import COUNTS, SPATIAL

XY = np.array([(x, y) for x in range(15) for y in range(12)], float)
GENES = ["cells", "depth", "both", "noise"]


def made(name="S1", seed=0):
    """Genes that follow cells, depth, both and neither, where cells and depth share half of what they are."""
    rng = np.random.default_rng(seed)
    shared, own, other = rng.normal(size=(3, len(XY)))
    cells, depth = shared + own, shared + other
    values = np.column_stack([cells, depth, cells + depth, np.zeros(len(XY))]) + 0.5 * rng.normal(size=(len(XY), 4))
    obs = pd.DataFrame(
        {"patient": "P", "n_nuclei": cells, "total_counts": depth}, index=[f"{i}" for i in range(len(XY))]
    )
    section = AnnData(obs=obs, var=pd.DataFrame(index=GENES), layers={"log2": values, COUNTS: np.ones((len(XY), 4))})
    section.obsm[SPATIAL], section.uns["section"] = 100 * XY, name
    return section


@pytest.fixture(scope="module")
def associations():
    return dependence.associate_sections(
        {name: made(name, seed) for seed, name in enumerate(("S1", "S2"))}, ["log2"], 999
    )


def test_a_gene_follows_cells_depth_or_both_and_noise_follows_neither(associations):
    found = organs.followers(associations[0]).set_index(["section", "gene"])["follows"]
    for section in ("S1", "S2"):
        assert found[section].to_dict() == {
            "cells": "cells beyond depth",
            "depth": "depth beyond cells",
            "both": "both",
            "noise": "neither",
        }


def test_genes_that_follow_nothing_are_rarely_said_to():
    rng, section = np.random.default_rng(3), made()
    values = rng.normal(size=(len(XY), 200))
    noise = AnnData(obs=section.obs, var=pd.DataFrame(index=[f"g{i}" for i in range(200)]), layers={"log2": values})
    noise.obsm[SPATIAL], noise.uns["section"] = section.obsm[SPATIAL], "S1"
    table = dependence.associate_sections({"S1": noise}, ["log2"], 999)[0]
    assert (table["p_nuclei_given_depth"] < 0.05).mean() == pytest.approx(0.05, abs=0.04)
    assert (organs.followers(table)["follows"] == "neither").mean() > 0.98


@pytest.fixture
def folders(associations, tmp_path):
    genes, chances = associations
    sections = pd.DataFrame({"section": ["S1", "S2"], "patient": ["P", "P"], "rho_nuclei_depth": [0.5, 0.4]})
    for name, measure in {"one": "n_nuclei", "two": "haematoxylin"}.items():
        store.write_table(genes, tmp_path / name / "associations.csv.gz")
        store.write_table(chances, tmp_path / name / "coupling_chance.csv")
        store.write_table(sections, tmp_path / name / "sections.csv")
        store.write_json({"cohort": name, "cellularity": measure}, tmp_path / name / "provenance.json")
    return [tmp_path / "one", tmp_path / "two"]


def test_runs_stand_side_by_side_with_their_measure_and_chance(folders):
    table = organs.side_by_side(folders, ["log2"])
    assert table["section"].tolist() == ["S1", "S2"] * 2
    assert table.drop_duplicates("cohort").set_index("cohort")["measure"].to_dict() == {
        "one": "nuclei counted",
        "two": "mean haematoxylin",
    }
    np.testing.assert_allclose(table[list(organs.FOLLOWS)].sum(axis=1), 1)
    assert (table["chance_95_median_abs_rho_nuclei"] > 0).all()


def test_a_line_a_patient_says_in_how_many_sections_more_than_chance_is_kept(folders):
    table = organs.side_by_side(folders, ["log2"])
    says = organs.remark(table)
    assert says.count("\n- ") == 2 and "- one, patient P, 2 sections, nuclei counted: log2(x + 1) " in says
    assert "(above chance in 2), given depth" in says
