"""Dependence on nuclei and depth: signs and chance of known genes, and tables that keep sections without an image."""

import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers.chapters import dependence
from helpers.scores import coupling, judge

GENES = ["follows", "opposes", "constant"]


def section_of(name="A1", image=True, n=40):
    """Depth follows the nuclei; one gene follows both, one opposes them, one does not vary."""
    rng = np.random.default_rng(0)
    nuclei = rng.permutation(n)
    obs = pd.DataFrame({"section": name, "patient": name[0], "total_counts": 10.0 * nuclei + 5})
    obs.index = [f"1x{i}" for i in range(n)]
    if image:
        obs = obs.assign(n_nuclei=nuclei, nuclei_area_um2=30.0, haematoxylin=0.1)
    values = np.column_stack([nuclei, -nuclei, np.ones(n)]).astype(float)
    section = AnnData(obs=obs, var=pd.DataFrame(index=GENES), uns={"section": name})
    section.layers["log2"] = values
    section.layers["counts"] = sparse.csr_matrix(np.abs(values), dtype=np.float32)
    section.obsm["spatial"] = np.stack(np.meshgrid(np.arange(8), np.arange(n // 8)), axis=-1).reshape(-1, 2) * 100.0
    return section


@pytest.fixture
def made():
    return {"A1": section_of(), "B1": section_of("B1", image=False)}


def test_a_gene_follows_or_opposes_nuclei_and_depth_or_has_no_correlation(made):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a page would show it
        table, chances = dependence.associate_sections(made, ["log2"], 64)
    table = table.set_index(["section", "gene"])
    assert table.loc["A1", "rho_nuclei"].round(9).tolist()[:2] == [1, -1]
    assert table.loc["A1", "rho_depth"].round(9).tolist()[:2] == [1, -1]
    assert table.loc["A1", "chance_mean"].iloc[:2].between(0, 0.9).all()
    assert coupling.GIVEN_DEPTH in set(chances["metric"])
    assert set(chances["section"]) == {"A1", coupling.MEDIAN} and chances["chance_95"].dropna().between(0, 1).all()
    assert table.loc["B1", "rho_depth"].round(9).tolist()[:2] == [1, -1]
    assert table.loc["B1", ["rho_nuclei", "chance_mean"]].isna().all(axis=None)
    assert table.xs("constant", level="gene")["rho_depth"].isna().all()


def test_chance_is_of_ranks_so_that_a_stretched_count_changes_nothing():
    section, stretched = section_of(), section_of()
    stretched.obs["n_nuclei"] = stretched.obs["n_nuclei"] ** 3
    (one, null), (other, same) = (dependence.associate(each, ["log2"], 16) for each in (section, stretched))
    pd.testing.assert_frame_equal(one, other)
    for metric, draws in null["log2"].items():
        np.testing.assert_array_equal(draws, same["log2"][metric])


def test_undefined_pairs_are_counted_by_target(made):
    table, _ = dependence.associate_sections(made, ["log2"], 4)
    assert "2 of 6 pairs of gene and section for log2(x + 1). [assoc" in dependence.describe_undefined(table)
    one = table[:1].assign(target="pearson_residual")
    assert "0 of 1 pair of gene and section for Pearson residual." in dependence.describe_undefined(one)


def test_each_section_s_own_panel_has_its_ceilings(monkeypatch):
    monkeypatch.setattr(judge, "ceilings", lambda section, target, genes, n_splits: [n_splits / 10] * len(genes))
    panels = {"A1": ["follows", "opposes"], "B1": ["opposes"]}
    read = (section_of(name) for name in panels)
    table = dependence.ceilings_of_sections(read, panels, ["log2", "log1p_cp10k"], 5)
    assert table.columns.tolist() == ["section", "target", "gene", "ceiling"]
    assert table["section"].tolist() == ["A1"] * 4 + ["B1"] * 2
    assert table["target"].tolist() == ["log2", "log2", "log1p_cp10k", "log1p_cp10k", "log2", "log1p_cp10k"]
    assert table["gene"].tolist() == ["follows", "opposes"] * 2 + ["opposes"] * 2
    assert set(table["ceiling"]) == {0.5}


def test_the_answer_counts_sections_with_nuclei_apart_and_an_unknown_ceiling_not_at_all():
    summary = pd.DataFrame({"section": ["A1", "A2", "B1"], "target": "log2"})
    summary = summary.assign(median_abs_rho_depth=[0.6, 0.7, 0.9], median_abs_rho_nuclei=[0.3, 0.5, np.nan])
    null = pd.DataFrame({"section": [coupling.MEDIAN], "metric": coupling.METRICS[0], "target": "log2"})
    ceilings = pd.DataFrame({"section": ["A1", "A2", "B1"], "target": "log2", "ceiling": [0.8, 0.9, np.nan]})
    patients = {"A1": "A", "A2": "A", "B1": "B"}
    assert dependence.answer(summary, null.assign(chance_95=0.2), ceilings, patients) == (
        "Median over genes of |rho| with depth: log2(x + 1) **0.70** (medians over 3 sections of 2 patients; no null "
        "was drawn). With nuclei, and the 95 % point of chance: log2(x + 1) **0.40** (0.20) (2 sections of 1 patient). "
        "Noise ceiling of the median gene: log2(x + 1) 0.85 (genes of 2 sections of 1 patient; a bound has no null, "
        "and this one supposes Poisson counts: it is too high where genes vary more, [page 27](27_known_truth.ipynb))."
    )
    two = pd.concat([summary, summary.assign(target="log1p_cp10k", median_abs_rho_depth=0.2)])
    both = pd.concat([null, null.assign(target="log1p_cp10k")]).assign(chance_95=0.2)
    said = dependence.answer(two, both, ceilings, patients)
    assert said.startswith("**log2(x + 1) follows depth most, log1p(CP10k) least.** Median over genes")
    assert "nuclei" not in dependence.answer(summary[2:], null[:0].assign(chance_95=0.2), ceilings, patients)


def test_the_table_of_sections_gains_nuclei_where_there_are_any(made):
    table = pd.DataFrame({"section": ["A1", "B1", "C1"], "width": 1.0})
    table = table.assign(**dict.fromkeys(dependence.SECTION_COLUMNS, "as it was"))
    found = dependence.with_dependence(table, made)
    assert found.columns.tolist() == ["section", *dependence.SECTION_COLUMNS]
    assert found.loc[0, "median_n_nuclei"] == 19.5
    assert found.loc[0, "rho_nuclei_depth"] == pytest.approx(1)
    assert found.loc[1:, ["median_n_nuclei", "rho_nuclei_depth"]].isna().all(axis=None)
    assert (found["median_total_counts"] == "as it was").all()


def test_only_spots_with_nuclei_are_listed(made):
    spots = dependence.spots_with_nuclei(made)
    assert spots.columns.tolist() == ["spot", *dependence.SPOT_COLUMNS]
    assert set(spots["section"]) == {"A1"} and len(spots) == 40
    counts_alone = {name: section for name, section in made.items() if name not in dependence.with_nuclei(made)}
    none = dependence.spots_with_nuclei(counts_alone)
    assert counts_alone and none.empty and list(none) == ["spot", *dependence.SPOT_COLUMNS]


def test_a_picture_that_is_dark_on_one_side_loses_its_coupling_when_moved(made, tmp_path):
    """The stain steps up from spot to spot and the log target with it; moved across the step it is another map."""
    from PIL import Image

    picture = np.full((100, 400, 3), 255, np.uint8)
    for i in range(4):
        picture[:, 100 * i : 100 * (i + 1)] = 220 - 50 * i
    Image.fromarray(picture).save(tmp_path / "A1.png")
    section = AnnData(obs=pd.DataFrame({"haematoxylin": [0.1, 0.2, 0.3, 0.4]}, index=list("abcd")))
    section = AnnData(obs=section.obs, var=pd.DataFrame(index=["g"]), layers={"log2": np.arange(4.0)[:, None]})
    section.obsm["spatial"] = np.array([[50.0, 50], [150, 50], [250, 50], [350, 50]])
    section.uns = {"section": "A1", "image": str(tmp_path / "A1.png"), "mpp": 1.0, "spot_um": 20.0}
    assert dependence.moved_couplings({"A1": section}, ["log2"]).empty  # its own image
    section.uns["placement"] = np.eye(2, 3)
    table = dependence.moved_couplings({"A1": section}, ["log2"], um=20.0)
    assert table.columns.tolist() == ["section", "log2(x + 1)"]
    assert table.loc[0, "log2(x + 1)"] == "1.000 (1.000 to 1.000)"  # within a step nothing changes
    section.obsm["spatial"] = section.obsm["spatial"][[0, 2, 1, 3]]
    section.obs["haematoxylin"] = [0.1, 0.3, 0.2, 0.4]
    moved = dependence.moved_couplings({"A1": section}, ["log2"], um=100.0).loc[0, "log2(x + 1)"]
    assert moved.startswith("0.800 (") and float(moved.split("(")[1].split(" ")[0]) < 0.8
