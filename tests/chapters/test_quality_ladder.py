"""Fewer molecules and coarser pictures: a rung is what it is said to be, and sentences say what the table holds."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from drawn import every
from PIL import Image
from scipy.sparse import csr_matrix
from skimage.color import hed2rgb

from helpers import schema
from helpers.chapters import quality_ladder as ladder
from helpers.columns import spearman
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL, library_size

GENES = [f"g{i}" for i in range(12)]
LATTICE = np.argwhere(np.ones((9, 9))).astype(float)


def make_section(name, seed):
    """Genes that follow the first feature of a patch, each by as much, at a depth that nothing follows."""
    rng = np.random.default_rng(seed)
    shown = rng.normal(size=(len(LATTICE), 2))
    share = np.exp(0.7 * shown[:, :1] * np.linspace(-1, 1, len(GENES)))
    counts = rng.poisson(300 * share).astype(float)
    index = [f"{i}x{name}" for i in range(len(LATTICE))]
    obs = pd.DataFrame({"section": name, "patient": name[0], "total_counts": counts.sum(axis=1)}, index=index)
    obs["n_nuclei"], obs["haematoxylin"] = rng.integers(5, 20, len(obs)), rng.random(len(obs))
    made = AnnData(obs=obs, var=pd.DataFrame(index=GENES), layers={schema.COUNTS: csr_matrix(counts)})
    made.obsm[schema.SPATIAL] = made.obsm[schema.LATTICE] = LATTICE.copy()
    made.obsm[schema.PATCH] = shown
    made.uns = {"section": name, "mpp": 0.7, "patch_names": np.array(["200um:red_mean", "200um:nuclei_area_sd"])}
    return made


@pytest.fixture
def cohort():
    return {name: make_section(name, seed) for seed, name in enumerate(("A1", "A2", "B1"))}


# Rungs ----------------------------------------------------------------------------------------------------------


def test_a_thinned_section_has_the_same_spots_and_genes_and_totals_of_its_own(cohort):
    whole, fewer = cohort["A1"], ladder.with_fewer_molecules(cohort["A1"], 4)
    assert list(fewer.obs_names) == list(whole.obs_names) and list(fewer.var_names) == GENES
    assert library_size(fewer).sum() / library_size(whole).sum() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(fewer.obsm[schema.PATCH], whole.obsm[schema.PATCH])


def test_a_coarser_picture_shows_the_same_tissue_without_nuclei(tmp_path):
    """A picture whose haematoxylin deepens from left to right; spots along it."""
    stains = np.column_stack([np.linspace(0.02, 0.15, 1600), np.full(1600, 0.02), np.zeros(1600)])
    picture = np.round(255 * hed2rgb(stains[None])).astype(np.uint8)
    Image.fromarray(np.tile(picture, (1000, 1, 1))).save(tmp_path / "A1.png")
    section = make_section("A1", 0)[:9].copy()
    section.obsm[schema.SPATIAL] = np.column_stack([np.linspace(300, 1300, 9), np.full(9, 500.0)])
    section.uns |= {"image": str(tmp_path / "A1.png"), "mpp": 1.6, "mpp_by_source": {}, "spot_um": 100.0}
    seen = {mpp: ladder.seen_at(section, mpp) for mpp in (3.2, 16.0)}
    for mpp, found in seen.items():
        np.testing.assert_allclose((found.obsm[schema.SPATIAL] + 0.5) * mpp, (section.obsm[schema.SPATIAL] + 0.5) * 1.6)
        assert not any("nuclei" in name for name in found.uns["patch_names"])
        assert spearman(found.obs[["haematoxylin"]].to_numpy(), np.arange(9.0))[0] == pytest.approx(1)
        assert found.uns["mpp"] == pytest.approx(mpp)
    sides = {mpp: {name.split(":")[0] for name in found.uns["patch_names"]} for mpp, found in seen.items()}
    assert sides == {3.2: {"100um", "200um", "400um", "800um"}, 16.0: {"200um", "400um", "800um"}}
    shared = ladder.shared_features([{"A1": found} for found in seen.values()])
    assert shared == list(seen[16.0].uns["patch_names"])
    at = [list(found.uns["patch_names"]).index("400um:green_mean") for found in seen.values()]
    fine, coarse = (found.obsm[schema.PATCH][:, i] for found, i in zip(seen.values(), at, strict=True))
    np.testing.assert_allclose(fine, coarse, rtol=0.02)


def test_models_see_what_the_picture_shows(cohort):
    fine = ladder.models_on_picture(cohort, ["200um:red_mean"])
    assert list(fine) == [ladder.RIDGE, ladder.SHARED, *ladder.FLOORS]
    np.testing.assert_array_equal(fine[ladder.SHARED][1]["B1"], cohort["B1"].obsm[schema.PATCH][:, :1])
    for section in cohort.values():
        section.uns["mpp"] = 3.2
    assert list(ladder.models_on_picture(cohort)) == [ladder.RIDGE, "haematoxylin", "place"]


# Scores ---------------------------------------------------------------------------------------------------------


def test_what_a_model_knows_outlives_what_the_measurement_shows(cohort):
    models = {ladder.RIDGE: ladder.models_on_picture(cohort)[ladder.RIDGE]}
    fewer = {name: ladder.with_fewer_molecules(section, 64) for name, section in cohort.items()}
    whole, thin = (pd.DataFrame(ladder.score_rung(models, cohort, to, GENES, 5)) for to in (cohort, fewer))
    np.testing.assert_allclose(whole["unthinned"], whole["pcc"], rtol=1e-6)
    assert (thin["pcc"] < whole["pcc"] - 0.1).all()
    assert (thin["unthinned"] > thin["pcc"] + 0.1).all()
    assert (thin["ceiling"] < whole["ceiling"]).all()
    assert (thin["composition"].notna() == (thin["target"] == LOG)).all()


def test_all_rungs_are_climbed_and_nuclei_are_a_floor_where_they_can_be_seen(cohort, monkeypatch):
    def seen_at(section, mpp):
        seen = section[:, :].copy()
        seen.obsm[schema.PATCH], seen.uns = section.obsm[schema.PATCH][:, :1], section.uns | {"mpp": mpp}
        seen.uns["patch_names"] = section.uns["patch_names"][:1]
        return seen

    changes = {"seen_at": seen_at, "learned": lambda section: section.obsm[schema.PATCH], "K": 5, "N_DRAWS": 19}
    for name, value in (changes | {"FACTORS": (1, 8), "PIXELS_UM": (3.2,), "LEAST": 400}).items():
        monkeypatch.setattr(ladder, name, value)
    table = pd.concat(ladder.climb(cohort, GENES))
    assert list(table) == ladder.COLUMNS
    found = table.round({"mpp": 1}).groupby(["mpp", "factor"])["model"].unique().map(set).to_dict()
    always = {ladder.RIDGE, "haematoxylin", "place"}
    assert found == {
        (0.7, 1): always | {ladder.SHARED, ladder.BESIDE, ladder.LEARNED, "nuclei"},
        (0.7, 8): always | {"nuclei"},
        (3.2, 1): always | {ladder.SHARED},
    }
    below = table.groupby("factor")["below"].mean()
    assert below[1] == 0 and 0 < below[8] < 1


# Sentences ------------------------------------------------------------------------------------------------------


@pytest.fixture
def table():
    """With fewer molecules the residual falls below CP10k, then below its floor; coarser pictures move nothing."""
    models = [ladder.RIDGE, ladder.SHARED, ladder.LEARNED, ladder.BESIDE, *ladder.FLOORS]
    fine = every(section=["B1", "C1", "C2"], mpp=[0.7], factor=[1, 8, 64], target=list(ladder.TARGETS), model=models)
    coarse = every(
        section=["B1", "C1", "C2"],
        mpp=[3.2],
        factor=[1],
        target=list(ladder.TARGETS),
        model=[*models[:4], *ladder.FLOORS[1:]],
    )
    out = pd.concat([fine, coarse], ignore_index=True)
    ridge = {LOG: (0.8, 0.7, 0.6), RESIDUAL: (0.5, 0.3, 0.1), LOG_CP10K: (0.4, 0.35, 0.3)}
    rung = out["factor"].map({1: 0, 8: 1, 64: 2})
    out["pcc"] = [ridge[target][i] for target, i in zip(out["target"], rung, strict=True)]
    floors = {"place": 0.2, "nuclei": 0.15, "haematoxylin": 0.1}
    out["pcc"] = out["model"].map(floors).fillna(out["pcc"])
    out.loc[out["model"] == ladder.LEARNED, "pcc"] -= 0.05
    out["unthinned"] = out["target"].map({LOG: 0.8, RESIDUAL: 0.5, LOG_CP10K: 0.4})
    out["library"], out["library_chance_95"], out["composition_chance_95"] = 0.9, 0.5, 0.2
    out["composition"] = out["factor"].map({1: 0.5, 8: 0.4, 64: 0.25})
    return out.assign(patient=out["section"].str[0], chance_95=0.3, ceiling=0.9, median_counts=9000, below=0.25)


def test_an_order_is_said_once_and_again_where_it_turns_with_the_sections_that_have_it(table):
    odd = (table["section"] == "C2") & (table["target"] == LOG_CP10K) & (table["factor"] == 1)
    table.loc[odd & (table["mpp"] == 0.7), "pcc"] = 0.6
    by_factor, by_mpp = ladder.ladders(table).values()
    assert ladder.order(by_factor, "factor")[64] == ((LOG, LOG_CP10K, RESIDUAL), 3)
    assert ladder.turns(by_factor, "factor") == (
        "log2(x + 1) > Pearson residual > log1p(CP10k) with all molecules (2 of 3), "
        "log2(x + 1) > log1p(CP10k) > Pearson residual with one in 8 (3 of 3) to one in 64 (3)"
    )
    assert ladder.turns(by_factor, "factor", "unthinned").count(">") == 2
    assert ladder.turns(by_mpp, "mpp").endswith("with 0.7 µm (2 of 3) to 3.2 µm (3)")


def test_ridge_is_set_beside_the_nearest_floor_and_what_sinks_is_named(table):
    over = ladder.excess(ladder.ladders(table)["factor"], "factor").set_index(["factor", "target"])
    assert (over["floor"] == "place").all()
    assert (
        over.loc[(64, RESIDUAL), "excess"] == pytest.approx(-0.1) and over.loc[(64, RESIDUAL), "below"] == "B1, C1, C2"
    )
    says = ladder.against_floors(ladder.ladders(table)["factor"], "factor")
    where = "place alone"
    assert (
        f"Pearson residual +0.30 ({where}) to -0.10 ({where}, not above all in B1, C1, C2), not above it with one in 64"
        in says
    )
    assert says.count("not above it with") == 1


def test_the_answer_names_sections_patients_null_and_what_was_done_with_shallow_spots(table):
    says = ladder.answer(table)
    for part in ("3 sections of 2 patients", "499 maps", "PCC-50", "25% of the spots", "fewer than 100 molecules"):
        assert part in says
    assert "composition 0.50 (chance 0.20), 0.25 (chance 0.20)" in says
    assert "log2(x + 1) 0.80 (0.30) to 0.60 (0.30), Pearson residual 0.50 (0.30) to 0.10 (0.30)" in says


def test_orders_are_said_patient_by_patient_where_they_differ(table):
    by_factor = ladder.ladders(table)["factor"]
    assert ladder.by_patient(by_factor, "factor") == (
        f"{ladder.turns(by_factor, 'factor')}; {ladder.first_and_last(by_factor, 'factor')}"
    )
    table.loc[(table["patient"] == "B") & (table["target"] == LOG_CP10K) & (table["factor"] == 1), "pcc"] = 0.6
    says = ladder.by_patient(ladder.ladders(table)["factor"], "factor")
    assert says.startswith(
        "*patient B*, log2(x + 1) > log1p(CP10k) > Pearson residual with all molecules (1 of 1) to one in 64 (1); log2"
    )
    assert ". *patient C*, log2(x + 1) > Pearson residual > log1p(CP10k) with all molecules (2 of 2), log2" in says
    assert ";" not in ladder.by_patient(by_factor, "factor", "unthinned")  # no chance is known there


def test_the_learned_encoder_stands_beside_morphology_of_the_same_squares(table):
    says = ladder.learned_sentence(table)
    assert "`efficientnet_lite0`" in says and "log2(x + 1) 0.750 (0.300), 0.800 (0.300) and 0.800 (0.300)" in says


def test_lines_are_medians_with_the_strongest_floor_and_chance(table):
    lines = ladder.lines(ladder.ladders(table)["factor"], "factor").set_index(["line", "report", "x"])["y"]
    assert lines["ridge", RESIDUAL, 8] == pytest.approx(0.3)
    assert lines["floor", RESIDUAL, 8] == pytest.approx(0.2) and lines["chance", LOG, 64] == pytest.approx(0.3)
    unthinned = ladder.lines(ladder.ladders(table)["factor"], "factor", "unthinned")
    assert "chance" not in set(unthinned["line"])
    assert "shared" in set(ladder.lines(ladder.ladders(table)["mpp"], "mpp")["line"])
    skills = ladder.skill_lines(ladder.ladders(table)["factor"], "factor").set_index(["report", "line", "x"])["y"]
    assert skills["composition", "ridge", 64] == pytest.approx(0.25) and skills["library", "chance", 1] == 0.5
