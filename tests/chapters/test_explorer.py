"""The explorer says what the tables say, and its maps hold what was measured."""

import base64
import json
import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from made import square
from repository import ROOT

from helpers import schema, store
from helpers.chapters import explorer
from helpers.scores import judge, spatial

GENES = ["a", "b"]


def made(name="S", genes=GENES, n=100, **uns):
    """Spots of a square at steps of 200 um, on pixels of 2 um."""
    obs = pd.DataFrame({"n_nuclei": range(n), "total_counts": 10.0 * np.arange(1, n + 1)}, index=map(str, range(n)))
    section = AnnData(np.zeros((n, len(genes))), obs, pd.DataFrame(index=genes))
    section.obsm[schema.SPATIAL] = 100 * square()[:n] + 7
    section.uns = {"section": name, "mpp": 2.0, "pitch_um": 200.0} | uns
    return section


def predicted(measured, values, backbone="ridge", target="log2", section="S"):
    held = made(section, backbone=backbone, target=target, split="section", seed=0)
    held.layers[schema.MEASURED], held.layers[schema.PREDICTED] = measured, values
    return held


def tables():
    """Two genes of one section, the second not scored."""
    score = {"section": "S", "split": "section", "backbone": "ridge", "seed": 0, "target": "log2", "gene": "a"}
    rows = {
        "associations": [
            {"section": "S", "target": "log2", "gene": gene, "rho_nuclei": rho, "rho_depth": 0.9}
            for gene, rho in (("a", 0.1234567), ("b", np.nan))
        ],
        "tests": [
            {"section": "S", "covariate": by, "target": "log2", "gene": "a", "p_spatial": p}
            for by, p in (("nuclei", 0.04), ("depth", 0.01))
        ],
        "predictability": [
            score | {"pcc": 0.5, "ceiling": 0.8},
            score | {"seed": 1, "pcc": 0.6, "ceiling": 0.8},
            score | {"split": "patient", "pcc": 0.2, "ceiling": 0.8},
            score | {"backbone": "nuclei", "pcc": 0.3, "ceiling": 0.8},
        ],
        "floors": [
            score | {"backbone": "place", "pcc": pcc, "split": by} for pcc, by in ((0.1, "section"), (0, "patient"))
        ],
        "chances": [score | {"chance_95": 0.25}],
        "partial": [
            {key: score[key] for key in ("section", "split", "backbone", "target", "gene")}
            | {"given": given, "partial": partial}
            for given, partial in (("nuclei", 0.4), ("depth", 0.3), ("both", 0.2))
        ],
        "verdicts": [{"backbone": "ridge", "target": "log2", "gene": "a", "verdict": "beyond nuclei, not depth"}],
        "sections": [{"section": "S", "patient": "P"}],
    }
    return {name: pd.DataFrame(of_table) for name, of_table in rows.items()}


def contents(text):
    """What the calls of a script hand to explorer: by their names what follows."""
    return dict(json.loads(f"[{call.removeprefix('explorer(').removesuffix(');')}]") for call in text.splitlines())


def test_each_number_stands_where_its_table_has_it():
    found = explorer.numbers_of(tables(), "n_nuclei")
    assert found["genes"] == GENES and found["sections"] == {"S": "P"} and found["models"] == ["ridge"]
    assert found["couplings"]["log2"]["S"] == {
        "rho_nuclei": [0.123457, None],
        "p_nuclei": [0.04, None],
        "rho_depth": [0.9, 0.9],
        "p_depth": [0.01, None],
        "ceiling": [0.8, None],
    }
    assert found["scores"]["ridge"]["log2"]["S"] == {
        "pcc": [0.5, None],
        "chance_95": [0.25, None],
        "partial_nuclei": [0.4, None],
        "partial_depth": [0.3, None],
        "partial_both": [0.2, None],
    }
    assert found["scores"]["nuclei"]["log2"]["S"] == {"pcc": [0.3, None]}
    assert found["scores"]["place"]["log2"]["S"] == {"pcc": [0.1, None]} and list(found["floors"]) == [
        "nuclei",
        "place",
    ]
    assert found["verdicts"]["ridge"]["log2"] == ["beyond nuclei, not depth", ""]


def test_the_answer_counts_the_genes_that_follow_cells_and_depth():
    given = tables()
    given["associations"] = given["associations"].assign(p_nuclei_given_depth=[0.3, np.nan])
    found = explorer.answer(given, "n_nuclei")
    assert "Share of 1 gene that follow, beyond" in found
    assert "in log2(x + 1) nuclei **100%**, depth **100%**, nuclei with depth held fixed **0%** (each" in found
    assert "5% by chance; medians over 1 section of 1 patient)" in found
    assert "nuclei" not in explorer.answer(given, "haematoxylin")


def test_of_other_splits_and_seeds_there_are_other_numbers():
    of_seed = explorer.numbers_of(tables(), "n_nuclei", seed=1)["scores"]
    assert of_seed["ridge"]["log2"]["S"]["pcc"][0] == 0.6 and of_seed["place"]["log2"]["S"]["pcc"][0] == 0.1
    by_patient = explorer.numbers_of(tables(), "n_nuclei", split="patient")
    assert by_patient["scores"]["ridge"]["log2"]["S"] == {"pcc": [0.2, None]}


def test_where_no_nucleus_is_counted_none_is_named():
    found = explorer.numbers_of(tables(), "haematoxylin")
    words = [found["cells"], found["unit"], *found["floors"].values(), *found["verdicts"]["ridge"]["log2"]]
    assert found["floors"] and not any("nuclei" in word for word in words)


def test_a_map_comes_back_within_half_a_step():
    values = np.random.default_rng(0).normal(size=(50, 3)) * [1, 100, 0]
    found = explorer.layer(values)
    codes = np.frombuffer(base64.b64decode(found["codes"]), np.uint8).reshape(3, 50).T
    low, high = np.array(found["low"]), np.array(found["high"])
    assert np.allclose(low, values.min(axis=0), rtol=1e-5) and np.allclose(high, values.max(axis=0), rtol=1e-5)
    step = (high - low) / explorer.LEVELS
    assert (np.abs(low + step * codes - values) <= 0.51 * step + 1e-6).all()


def test_maps_lie_in_um_and_hold_what_models_are_scored_against():
    section = made(genes=["b", "x", "a"])
    section.layers["pearson_residual"] = np.zeros(section.shape)
    section.layers["pearson_residual"][3, 2] = 99.0  # clipped at the root of 100 spots
    held = predicted(np.zeros((100, 2)), np.column_stack([np.arange(100.0), np.ones(100)]), target="pearson_residual")
    found = explorer.maps_of(section[::-1], [held[::-1]], ["pearson_residual"], ["a", "x", "b", "c"])
    assert found["genes"] == ["a", "b"] and found["spots"][-1] == "0" and found["depth"][-1] == 10
    assert (found["x"][-1], found["y"][-1], found["x"][-2] + found["y"][-2]) == (0, 0, 200)
    assert found["measured"]["pearson_residual"]["high"] == [10, 0]
    layer = found["predicted"]["ridge"]["pearson_residual"]
    assert layer["high"] == [99, 1] and base64.b64decode(layer["codes"])[99] == 0  # of the first spot, now the last


def test_chance_of_a_gene_is_that_of_maps_as_smooth_as_its_prediction():
    rng = np.random.default_rng(0)
    smooth, rough = square()[:100, 1], rng.normal(size=100)
    measured = np.column_stack([square()[:100, 1], square()[:100, 1]])
    held = predicted(measured, np.column_stack([smooth + 0.1 * rough, rough]))
    table = explorer.chance_of_genes([held], n_draws=256)
    assert list(table["gene"]) == GENES and table["chance_95"][0] > 2 * table["chance_95"][1] > 0
    null = spatial.null_correlations(measured, held.layers[schema.PREDICTED], judge.basis(held), n_draws=256)[1]
    assert np.allclose(table["chance_95"], np.quantile(null, 0.95, axis=1))


def test_files_are_calls_with_plain_json():
    given = {"a": [0.5, None], "ρ": "</script>\n"}
    assert contents(explorer.script("own", given)) == {"own": given}
    with pytest.raises(ValueError):
        explorer.script("own", [np.nan])


def test_as_many_genes_as_fit_and_the_first_ones():
    def write(genes):
        return {"file": "x" * 100_000 * len(genes)}

    genes = list("abcdefgh")
    for max_mb, n in ((0.55, 5), (1, 8), (0.01, 1)):
        kept, files = explorer.fitting(genes, write, max_mb)
        assert kept == genes[:n] and len(files["file"]) == 100_000 * n


def test_files_of_a_cohort_name_its_sections_and_say_how_many_genes_fit():
    held = [predicted(np.zeros((100, 2)), np.ones((100, 2)), section=name) for name in "ST"]
    sections = {name: made(name) for name in "ST"}
    for section in sections.values():
        section.layers["log2"] = np.ones(section.shape)
    genes, files = explorer.own_files(tables(), "n_nuclei", sections, held, 6.0)
    assert genes == GENES and list(files) == ["own.js", "own.T.js"] and list(contents(files["own.T.js"])) == ["own.T"]
    opening = contents(files["own.js"])
    assert list(opening) == ["own", "own.S"] and opening["own"]["maps"] == ["S", "T"]
    assert (
        explorer.size_sentence(2, 2, files, 2)
        == "Shown are 2 of 2 genes of the panel, with maps of 2 sections: 0.0 MB."
    )
    genes, fewer = explorer.own_files(tables(), "n_nuclei", sections, held, 0.001)
    assert genes == contents(fewer["own.T.js"])["own.T"]["genes"] == ["a"]
    assert "`max_mb` decides" in explorer.size_sentence(1, 2, fewer, 2)


def test_the_page_loads_what_it_opens_with_and_the_index_last():
    alone = (ROOT / "book/vendor/explorer/index.html").read_text()
    loaded = ["explorer.js", "own.js", "index.js"]
    assert [name.removeprefix("explorer/") for name in re.findall(r"script src='([^']+)'", explorer.BOX)] == loaded
    assert re.findall(r'script src="([^"]+)"', alone) == loaded


def test_a_committed_run_shows_its_own_tables():
    run = ROOT / "data/results/mob"
    listed = contents(explorer.index("Toy", [run])["index.js"])["index"]
    assert listed[0] == ["own", "Toy"] and listed[1][0] == "mob"
    found = contents(explorer.committed_files([run])["mob.js"])["mob"]
    table = store.read_table(run / "predictability.csv.gz")
    row = table[(table["backbone"] == "ridge") & (table["target"] == "log2")].iloc[17]
    at = found["genes"].index(row["gene"])
    assert found["scores"]["ridge"]["log2"][row["section"]]["pcc"][at] == row["pcc"]
    assert found["maps"] == []
