"""How often chance errs: fields of a set smoothness, places that two sections share, and rates by hand."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.chapters import type_one_error
from helpers.chapters.inference import NULLS
from helpers.schema import LATTICE, SPATIAL
from helpers.scores import spatial

GRID = np.argwhere(np.ones((8, 8))).astype(float)


def section(patient, xy=GRID, seed=0):
    rng = np.random.default_rng(seed)
    obs = pd.DataFrame({"patient": patient, "total_counts": xy[:, 0] + rng.random(len(xy))})
    made = AnnData(obs=obs.set_index(obs.index.astype(str)), var=pd.DataFrame(index=["g", "h"]))
    made.layers["log2"] = rng.normal(size=(len(xy), 2))
    made.obsm[SPATIAL] = made.obsm[LATTICE] = xy
    return made


# Random fields --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [spatial.EXACT, 2], ids=["by their covariance", "by Fourier"])
def test_the_correlation_of_a_field_falls_to_1_over_e_at_its_length(monkeypatch, most):
    monkeypatch.setattr(spatial, "EXACT", most)
    xy = np.array([[0.0, 0.0], [2.0, 0.0], [9.0, 0.0]])
    drawn = type_one_error.fields(xy, 2, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.corrcoef(drawn)[0], [1, np.exp(-1), np.exp(-4.5)], atol=0.02)
    noise = type_one_error.fields(xy, 0, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.cov(noise), np.eye(3), atol=0.03)


def test_shuffling_errs_on_smooth_fields_and_not_on_noise(on_families):
    rates = on_families.dropna(subset="length")
    by_length = rates.pivot(index="length", columns="null", values="rate")
    assert by_length.loc[0].max() < 0.1 and by_length.loc[4, "iid"] > 0.2
    assert by_length.loc[4, ["spatial", "place"]].max() < 0.08
    assert (rates["n_pairs"] == 1600).all()


@pytest.fixture(scope="module")
def on_families():
    return type_one_error.rates_of_fields((0, 4), n_maps=40)


@pytest.mark.parametrize("family", [name for name in type_one_error.FAMILIES if "half" not in name])
def test_with_place_held_fixed_a_test_holds_its_level_on_maps_that_follow_the_outline(on_families, family):
    rate = on_families[on_families["maps"] == family].set_index("null")["rate"]
    assert rate["place"] < 0.08 and rate["iid"] > 0.1


def test_maps_as_smooth_alone_err_on_what_rises_to_the_middle_and_all_on_maps_half_rough(on_families):
    rate = on_families[on_families["length"].isna()].set_index(["maps", "null"])["rate"]
    assert rate["rising to the middle", "spatial"] > 0.15
    assert rate["smooth in one half, noise in the other", "place"] > 0.07  # not mended, and said


def test_sentences_name_the_worst_maps_and_every_one_outside_the_band():
    rows = [("random fields", 2, 0.05), ("regions", np.nan, 0.06), ("radial", np.nan, 0.3)]
    table = pd.concat(
        pd.DataFrame(rows, columns=["maps", "length", "rate"]).assign(null=null, rate=lambda t, f=f: t["rate"] * f)
        for null, f in (("iid", 2), ("spatial", 1), ("place", 0.2))
    )
    text = type_one_error.fields_sentence(table)
    assert "- radial: by shuffling 60.0%, by maps as smooth 30.0%, with place held fixed 6.0%." in text
    means = pd.DataFrame({"maps": ["as it lies"], "null": ["place"], "rate": [0.09], "length": [np.nan]})
    worst = type_one_error.worst_sentence(table, means)
    assert "**maps as smooth** at most 30% (radial; above 7%: radial)" in worst
    assert "place held fixed** at most 9% (as it lies; above 7%: as it lies)." in worst


# Places ---------------------------------------------------------------------------------------------------------


def test_a_mirror_swaps_the_sides():
    made = section("A", np.array([[1.1, 5.0], [2.0, 5.0], [4.0, 6.9]]))
    assert list(type_one_error.places(made)) == [(1, 5), (2, 5), (4, 7)]
    assert list(type_one_error.places(made, (True, False))) == [(4, 5), (3, 5), (1, 7)]
    assert list(type_one_error.places(made, (True, True))) == [(4, 7), (3, 7), (1, 5)]


def test_rows_of_two_sections_lie_in_the_same_places():
    one, other = section("A", GRID), section("B", GRID[::-1][:60] + 0.2)
    rows, others = type_one_error.shared_places(one, other)
    assert len(rows) == 60
    np.testing.assert_array_equal(one.obsm[LATTICE][rows], np.rint(other.obsm[LATTICE][others]))
    assert [len(part) for part in type_one_error.shared_places(one, other, least=61)] == [0, 0]


def test_two_spots_in_one_place_are_refused():
    twice = GRID.copy()
    twice[0] = twice[1] + 0.1
    assert len(type_one_error.shared_places(section("A", twice), section("B", GRID))[0]) == 0


def test_only_sections_of_different_patients_are_paired():
    cohort = {"A1": section("A", seed=1), "A2": section("A", seed=2), "B1": section("B", seed=3)}
    table = type_one_error.unrelated(cohort, "total_counts", ["log2"], n_draws=19)
    assert len(table) == 4 * len(NULLS)  # two sections of A against B1, both ways
    alone = type_one_error.unrelated({name: cohort[name] for name in ("A1", "A2")}, "total_counts", ["log2"])
    assert alone.empty and "rate" in alone


def test_what_sections_share_by_their_place_goes_when_mirrored():
    """A gene that is the place in x follows another patient's depth, and the other way round where x is mirrored."""
    cohort = {"A": section("A", seed=1), "B": section("B", seed=2)}
    for made in cohort.values():
        made.layers["log2"][:] = made.obsm[LATTICE][:, :1]
    lies, mirrored = (
        type_one_error.unrelated(cohort, "total_counts", ["log2"], mirrored, n_draws=19) for mirrored in (False, True)
    )
    assert lies.loc[lies["null"] == "place", "rho"].isna().all()  # place is all that there is
    lies, mirrored = (table[table["null"] != "place"] for table in (lies, mirrored))
    assert (lies["rho"] > 0.9).all() and (mirrored["rho"].abs() > 0.9).all() and (mirrored["rho"] < 0).any()


# Rates ----------------------------------------------------------------------------------------------------------


def trial(rates, rho=(0.1, 0.3)):
    one = {"target": "log2", "rate_after_fdr": 0.0}
    rows = [
        one | {"null": null, "rate": r, "rho": x} for null, of in rates.items() for r, x in zip(of, rho, strict=True)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def trials():
    return {
        type_one_error.SIMULATED: trial({"iid": [0.4, 0.6], "spatial": [0.04, 0.06], "place": [0.04, 0.06]}),
        type_one_error.MIRRORED: trial({"iid": [0.4, 0.6], "spatial": [0.04, np.nan], "place": [0.04, np.nan]}),
        type_one_error.LYING: trial({"iid": [0.4, 0.6], "spatial": [0.2, 0.3], "place": [0.2, 0.3]}, (0.19, 0.21)),
    }


def test_rates_are_means_over_pairs_with_their_standard_error(trials):
    means = type_one_error.mean_rates(trials | {"nothing": trials[type_one_error.SIMULATED].iloc[:0]})
    assert list(means["maps"].unique()) == list(trials)
    first = means.iloc[0]
    assert (first["rate"], first["n_pairs"], first["standard_error"]) == pytest.approx((0.5, 2, 0.1))
    assert first["rho_standard_error"] == pytest.approx(0.1)
    smooth = means[(means["maps"] == type_one_error.MIRRORED) & (means["null"] == "spatial")]
    assert smooth["n_pairs"].item() == 1  # a pair without a rate is no pair


def test_rates_are_shown_with_their_error(trials):
    table = type_one_error.shown(type_one_error.mean_rates(trials))
    assert list(table.columns) == [
        f"{name}, {p}" for p in ("p ≤ 0.05", "q < 0.05") for name in ("shuffled", "smooth", "given place")
    ]
    assert table.loc[(type_one_error.SIMULATED, "log2(x + 1)")].tolist()[:2] == ["50.0% ± 10.0%", "5.0% ± 1.0%"]
    assert list(table.index.unique(0)) == list(trials)


def test_each_kind_of_maps_has_its_line(trials):
    means = pd.concat(
        [type_one_error.mean_rates(trials), type_one_error.mean_rates(trials).assign(target="b", rate=0.7)]
    )
    first = type_one_error.rates_sentences(means).splitlines()[0]
    assert first.startswith(
        "- simulated tissue (2 pairs): of the genes are called by shuffling **50.0% to 70.0%**, by "
    )
    assert first.endswith("5.0% to 70.0%**, with place held fixed **5.0% to 70.0%**, by target.")


def test_places_are_shared_where_more_is_called_and_rho_is_sure(trials):
    text = type_one_error.array_sentence(type_one_error.mean_rates(trials))
    assert "is called in 25% there and in 4.0% mirrored" in text and "is +0.200 (standard error 0.010)" in text


@pytest.mark.parametrize(
    ("lies", "answer"),
    [
        (
            trial({"iid": [0.4, 0.6], "spatial": [0.2, 0.3], "place": [0.2, 0.3]}, (-0.1, 0.3)),
            "share nothing to speak of",
        ),  # rho unsure
        (
            trial({"iid": [0.4, 0.6], "spatial": [0.01, 0.02], "place": [0.01, 0.02]}, (0.19, 0.21)),
            "share nothing to speak of",
        ),  # no more
        (
            trial({"iid": [0.4], "spatial": [0.3], "place": [0.3]}, (0.2,)),
            "share nothing to speak of",
        ),  # one pair has no error
        (trial({"iid": [0.4, 0.6]}), "No two patients have enough places in common"),
    ],
)
def test_places_are_not_shared_where_the_evidence_fails(trials, lies, answer):
    means = type_one_error.mean_rates(trials | {type_one_error.LYING: lies})
    assert answer in type_one_error.array_sentence(means)
