"""Trainings with and without the patient: equal in size, equal in depth, and none holds the section itself."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.chapters import patients
from helpers.models import backbones
from helpers.schema import COUNTS, SPATIAL
from helpers.scores import judge
from helpers.targets import normalization

GENES = [f"g{i}" for i in range(5)]
GRID = np.argwhere(np.ones((6, 5))).astype(float)
TARGETS = ["log2", "pearson_residual"]


def section(name, depth=40.0, seed=0):
    """Thirty spots; depth follows the nuclei, and a third of the molecules are of genes outside the panel."""
    rng = np.random.default_rng([seed, *name.encode()])
    nuclei = rng.integers(5, 20, len(GRID))
    counts = rng.poisson(np.outer(nuclei, depth * np.arange(1, 6) / 150)).astype(float)
    total = counts.sum(axis=1) + rng.poisson(nuclei * depth / 20)
    obs = pd.DataFrame({"section": name, "patient": name[0], "n_nuclei": nuclei, "total_counts": total})
    obs.index = [f"{name}_{i}" for i in range(len(GRID))]
    made = AnnData(obs=obs.assign(haematoxylin=nuclei + rng.random(len(GRID))), var=pd.DataFrame(index=GENES))
    made.layers[COUNTS] = csr_matrix(counts)
    for target in TARGETS:
        made.layers[target] = normalization.TARGETS[target].values(counts, total, counts.sum(0) / total.sum())
    made.obsm[SPATIAL], made.obsm["patch"] = GRID, np.column_stack([nuclei, rng.normal(size=len(GRID))])
    return made


@pytest.fixture(scope="module")
def cohort():
    depths = {"A1": 40, "A2": 40, "A3": 40, "B1": 8, "C1": 40}
    return {name: section(name, depth) for name, depth in depths.items()}


def rng():
    return np.random.default_rng(0)


# Sets -----------------------------------------------------------------------------------------------------------


def test_targets_are_clipped_by_the_size_of_the_whole_section():
    made = section("A1")
    made.layers["pearson_residual"][0, 0] = 99
    log = made.layers["log2"].copy()
    patients.clip_targets({"A1": made}, TARGETS)
    assert made.layers["pearson_residual"].max() == np.sqrt(len(GRID))
    np.testing.assert_array_equal(made.layers["log2"], log)


def test_the_others_are_split_by_patient(cohort):
    assert patients.split_by_patient("A2", cohort) == (["A1", "A3"], ["B1", "C1"])
    assert patients.split_by_patient("B1", cohort) == ([], ["A1", "A2", "A3", "C1"])


def test_sets_are_as_large_as_the_other_and_each_holds_the_patient():
    sets = patients.with_own(["A1", "A2"], ["B1", "B2", "B3"], rng())
    assert len(sets) == len(set(sets)) == patients.N_DRAWS
    assert all(len(names) == 3 and set(names) & {"A1", "A2"} for names in sets)
    assert patients.with_own(["A1"], ["B1"], rng()) == [("A1",)]


def test_thinning_keeps_so_many_spots_and_drops_empty_sections(cohort):
    pair = {name: cohort[name] for name in ("A1", "B1")}
    made = patients.with_fewer_spots(pair, 25, rng())
    assert sum(part.n_obs for part in made.values()) == 25
    assert all(part.obs_names.isin(pair[name].obs_names).all() for name, part in made.items())
    assert len(patients.with_fewer_spots(pair, 1, rng())) == 1


def test_all_molecules_kept_leave_targets_as_they_were(cohort):
    made = patients.shallower(cohort["A1"], 1.0, TARGETS, rng())
    for target in TARGETS:
        whole = normalization.clip(cohort["A1"].layers[target], target)
        np.testing.assert_allclose(made.layers[target], whole, rtol=1e-6, atol=1e-6)


def test_fewer_molecules_make_shallower_targets_and_leave_the_section_alone(cohort):
    before = cohort["A1"].layers["log2"].copy()
    made = patients.shallower(cohort["A1"], 0.25, ["log2"], rng())
    kept = (2 ** made.layers["log2"] - 1).sum() / (2**before - 1).sum()
    assert kept == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(cohort["A1"].layers["log2"], before)


def test_depth_is_the_median_spot_of_all_sections_named(cohort):
    pooled = np.concatenate([cohort["A1"].obs["total_counts"], cohort["B1"].obs["total_counts"]])
    assert patients.median_depth(cohort, ["A1", "B1"]) == np.median(pooled)


# Trainings ------------------------------------------------------------------------------------------------------


def test_trainings_are_equal_in_size_and_never_hold_the_section(cohort):
    made = list(patients.trainings("A1", cohort, ["log2"], rng()))
    assert [kind for kind, *_ in made[:5]] == [
        patients.ALL,
        patients.OWN,
        patients.EQUAL[patients.OWN],
        patients.AWAY,
        patients.EQUAL[patients.AWAY],
    ]
    assert {sum(part.n_obs for part in parts.values()) for _, _, parts in made[1:]} == {2 * len(GRID)}
    assert not any("A1" in parts for *_, parts in made)
    assert all(set(parts) <= {"B1", "C1"} for kind, _, parts in made if patients.AWAY in kind)
    assert all({"A2", "A3"} & set(parts) for kind, _, parts in made if patients.OWN in kind)


def test_at_equal_depth_the_deeper_training_becomes_as_shallow(cohort):
    """Only the shallow B1 is of another patient: the own one is thinned to it."""
    part = {name: cohort[name] for name in ("A1", "A2", "B1")}
    made = {kind: parts for kind, draw, parts in patients.trainings("A1", part, ["log2"], rng()) if draw == 0}
    level = {
        kind: np.mean(2 ** next(iter(parts.values())).layers["log2"])
        for kind, parts in made.items()
        if kind != patients.ALL
    }
    assert level[patients.OWN] > 2 * level[patients.AWAY]
    assert level[patients.EQUAL[patients.OWN]] == pytest.approx(level[patients.EQUAL[patients.AWAY]], rel=0.2)


def test_a_patient_without_another_section_has_the_usual_training_only(cohort):
    assert [kind for kind, *_ in patients.trainings("B1", cohort, ["log2"], rng())] == [patients.ALL]
    assert list(patients.one_section_trainings("B1", cohort, rng())) == []


def test_single_sections_come_in_pairs_of_equal_size(cohort):
    made = list(patients.one_section_trainings("A1", cohort, rng()))
    assert [(kind, draw) for kind, draw, _ in made] == [(k, d) for d in (0, 1) for k in (patients.OWN, patients.AWAY)]
    assert all(len(parts) == 1 and sum(part.n_obs for part in parts.values()) == len(GRID) for *_, parts in made)
    assert [next(iter(parts))[0] == "A" for *_, parts in made] == [True, False] * 2


# Fits -----------------------------------------------------------------------------------------------------------


def test_scores_are_of_the_best_k_and_of_all(cohort):
    """Log counts rise with the nuclei: the floor that is shown them scores well, and its best gene best."""
    held = backbones.predict(cohort, "A1", "log2", "nuclei", genes=GENES)
    found = patients.score(held, 2)
    assert list(found) == ["pcc_10", "pcc_2", "pcc_all"]
    assert np.isnan(found["pcc_10"]) and 0.5 < found["pcc_all"] < found["pcc_2"] < 1
    assert 0 < patients.score(held, 2, judge.basis(cohort["A1"]))["chance_95"] < found["pcc_2"]


def test_every_training_is_fitted_and_floors_not_at_equal_depth(cohort, monkeypatch):
    monkeypatch.setattr(patients, "BACKBONES", ("ridge", "depth"))
    part = {name: cohort[name] for name in ("A1", "A2", "B1")}
    table = patients.fits(part, dict.fromkeys(part, GENES), ["log2"], 3)
    first = table[table["section"] == "A1"]
    assert first.groupby("training").size().to_dict() == {
        kind: 1 if kind in patients.EQUAL.values() else 2 for kind in patients.TRAININGS
    }
    with_chance = first[first["chance_95"].notna()]
    assert set(with_chance["training"]) == set(patients.WITH_CHANCE) and (with_chance["draw"] == 0).all()
    usual = first[first["training"] == patients.ALL].iloc[0]
    assert (usual["trained_on"], usual["n_own"], usual["n_spots"]) == ("A2 B1", 1, 2 * len(GRID))


def test_what_needs_no_image_is_fitted_on_one_section(cohort):
    part = {name: cohort[name] for name in ("A1", "A2", "B1")}
    table = patients.one_section_fits(part, dict.fromkeys(part, GENES), ["log2"], 3)
    assert set(table["section"]) == {"A1", "A2"} and set(table["backbone"]) == {"place", "depth"}
    assert "n_own" not in table and set(table["trained_on"]) == {"A1", "A2", "B1"}
    nothing = patients.one_section_fits({"B1": cohort["B1"]}, {"B1": GENES}, ["log2"], 3)
    assert nothing.empty and list(nothing) == list(table)
