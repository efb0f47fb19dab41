"""Table 1 under every reading: what can be chosen, and the numbers of each section."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from specified import make_section, spots_in

from helpers import columns, schema
from helpers.chapters import specifications, specified_couplings
from helpers.targets import normalization
from helpers.targets.normalization import LOG, RESIDUAL


def of_genes(totals, names="ABCD"):
    """Statistics of the genes of a section, all of them variable, mean and variance rising with the total."""
    totals = np.asarray(totals, float)
    table = {"highly_variable": True, "n_spots": 10, "total": totals, "total_of_squares": totals**2}
    return pd.DataFrame(table, index=list(names))


def test_a_panel_is_chosen_without_its_section_or_from_those_with_an_image():
    statistics = {"A1": of_genes([9, 1, 2, 3]), "A2": of_genes([1, 9, 2, 3]), "B1": of_genes([1, 2, 99, 3])}
    found = specified_couplings.possible_panels(statistics, ["A1", "A2"], 1, "A1")
    assert found == {"all sections": ["C"], "without the section": ["C"], "sections with image": ["A"]}
    assert specified_couplings.possible_panels(statistics, list(statistics), 1, "B1")["without the section"] == ["A"]


def test_where_every_section_has_an_image_those_with_one_are_no_other_panel():
    statistics = {"A1": of_genes([9, 1, 2, 3]), "A2": of_genes([1, 9, 2, 3])}
    assert list(specified_couplings.possible_panels(statistics, ["A1", "A2"], 1, "A1")) == [
        "all sections",
        "without the section",
    ]


def test_shares_of_genes_are_pooled_over_sections_and_one_alone_trains_nothing():
    found = specified_couplings.pooled(["A1", "A2", "B1"], ["A1", "B1"], "A1")
    assert found == {"section": ["A1"], "cohort": ["A1", "A2", "B1"], "training sections": ["B1"]}
    assert list(specified_couplings.pooled(["A1", "A2"], ["A1"], "A1")) == ["section", "cohort"]


def test_a_share_counts_molecules_of_all_genes_or_of_the_panel():
    totals = [pd.Series({"A": 1.0, "B": 3.0, "C": 6.0}), pd.Series({"A": 4.0, "C": 6.0})]  # B is not in the second
    np.testing.assert_allclose(specified_couplings.gene_shares(totals, ["B", "A"], of_panel=False), [3 / 20, 5 / 20])
    np.testing.assert_allclose(specified_couplings.gene_shares(totals, ["B", "A"], of_panel=True), [3 / 8, 5 / 8])


def test_the_books_own_dispersion_comes_first_and_none_twice():
    assert specified_couplings.dispersions(100) == {"100": 100.0, "10": 10.0, "inf": np.inf}
    assert list(specified_couplings.dispersions(10)) == ["10", "inf"]


def test_a_quantity_is_named_by_its_metric_and_what_it_is_of():
    table = pd.DataFrame(
        {"metric": ["median", "delta", "rho"], "target": ["log2", np.nan, None], "k": [np.nan, 50, np.nan]}
    )
    assert specified_couplings.quantities(table).tolist() == ["median, log2", "delta, k = 50", "rho"]
    assert specified_couplings.quantities(table[["metric"]]).tolist() == ["median", "delta", "rho"]


def test_a_reading_that_a_section_lacks_is_left_out():
    table = pd.DataFrame({"section": ["A1", "A1", "A2"], "reading": ["disc", "crop", "disc"]})
    assert specified_couplings.complete_readings(table) == ["disc"]


@pytest.fixture
def section():
    return make_section("A1")


@pytest.fixture
def nuclei(section):
    rng = np.random.default_rng(1)
    return pd.DataFrame(rng.poisson(6, (16, 2)), index=section.obs_names, columns=["disc", "crop"]).astype(float)


def test_nuclei_are_those_of_the_sections_spots_in_their_order(section, nuclei):
    long = nuclei.iloc[::-1].rename_axis("spot").reset_index().melt("spot", var_name="reading").assign(section="A1")
    found = specified_couplings.nuclei_of(long, {"A1": section, "B1": make_section("B1")})
    assert list(found) == ["A1"]
    pd.testing.assert_frame_equal(found["A1"], nuclei, check_names=False)


def test_spots_that_reach_the_deeper_count_are_a_reading_where_they_differ_and_are_enough():
    deep, mixed = make_section("A1"), make_section("B1")
    deep, mixed = (ad.concat([part, part], index_unique="-") for part in (deep, mixed))  # 32 spots
    for section, low in ((deep, 0), (mixed, 7)):
        section.layers[schema.COUNTS] = sparse.csr_matrix(np.full((32, 5), 100.0))
        section.layers[schema.COUNTS][:low] *= 0.99  # 495 counts
    found = specified_couplings.spots_by_reading({"A1": deep, "B1": mixed}, ["A1", "B1"])
    assert {name: len(read) for name, read in found["500 counts"].items()} == {"A1": 32, "B1": 25}
    assert specified_couplings.by_spots(found, "A1")[0][1] == ["all kept", "500 counts"]
    assert [which for _, which in specified_couplings.by_spots(found, "B1")] == [["all kept"], ["500 counts"]]
    said = specifications.spots_sentence(found)
    assert "57 of 64 spots are left: all in 1 of 2 sections, and B1 25 of 32." in said
    assert list(specified_couplings.spots_by_reading({"A1": deep}, ["A1"])) == ["all kept"]
    mixed.layers[schema.COUNTS][:15] *= 0.9
    assert list(specified_couplings.spots_by_reading({"B1": mixed}, ["B1"])) == ["all kept"]  # 17 spots are too few


def test_couplings_of_fewer_spots_are_those_of_the_whole_sections_targets(section, nuclei):
    part, totals = nuclei.iloc[:9], {"section": [totals_of(section)]}
    found = pd.DataFrame(specified_couplings.target_couplings(section, {"p": ["B", "D"]}, part, totals, {"100": 100.0}))
    whole = normalization.get(RESIDUAL)(section, ["B", "D"])[:9]
    own = (found["library"] == "all genes") & (found["clip"] == "none") & (found["genes"] == "mean")
    rho = np.abs(columns.spearman(whole, part["crop"].to_numpy()))
    assert found.loc[own & (found["nuclei"] == "crop"), "value"].item() == pytest.approx(rho.mean(), abs=1e-4)
    [depth, *_] = specified_couplings.depth_couplings(section, {}, part)
    assert depth["value"] == pytest.approx(
        columns.spearman(part[["disc"]].to_numpy(), normalization.library_size(section)[:9, None])[0, 0]
    )


def totals_of(section):
    return pd.Series(section.layers[schema.COUNTS].toarray().sum(axis=0, dtype=float), section.var_names)


def test_targets_are_made_under_every_choice_and_the_books_own_is_among_them(section):
    panel, totals = ["B", "D"], {"section": [totals_of(section)], "cohort": [totals_of(section)] * 2}
    made = list(specified_couplings.every_target(section, panel, totals, specified_couplings.dispersions(100)))
    assert len(made) == 1 + 2 * 2 * 3 * 2  # log; library x share x theta x clipping
    own = {"target": RESIDUAL, "library": "all genes", "p_j": "section", "theta": "100", "clip": "none"}
    values = next(values for chosen, values in made if chosen == own)
    np.testing.assert_allclose(values, normalization.get(RESIDUAL)(section, panel), rtol=1e-4)
    np.testing.assert_allclose(made[0][1], normalization.get(LOG)(section, panel))


def test_a_share_of_twice_the_same_section_is_that_of_one(section):
    totals = {"section": [totals_of(section)], "cohort": [totals_of(section)] * 2}
    made = list(specified_couplings.every_target(section, ["B", "D"], totals, {"100": 100.0}))
    for whose in ("section", "cohort"):
        assert sum(chosen.get("p_j") == whose for chosen, _ in made) == 4
    own, cohort = ([values for chosen, values in made if chosen.get("p_j") == whose] for whose in totals)
    np.testing.assert_allclose(own, cohort)


def test_genes_are_summarized_by_median_mean_and_share_beside_their_chance():
    """A gene without a rho is no gene; of the others' |rho| 0.1, 0.4, 0.7 two are coupled."""
    drawn = np.array([[0.1, 0.3], [-0.2, 0.2], [0.0, 0.4], [np.nan, np.nan]])
    median, mean, share = specified_couplings.summaries_over_genes(np.array([-0.1, 0.4, 0.7, np.nan]), drawn)
    assert (median["genes"], mean["genes"], share["genes"]) == ("median", "mean", None)
    np.testing.assert_allclose([median["value"], mean["value"], share["value"]], [0.4, 0.4, 2 / 3])
    np.testing.assert_allclose([median["chance"], mean["chance"], share["chance"]], [0.2, 0.2, 1 / 6])


def test_couplings_of_a_section_know_its_panels_and_readings(section, nuclei):
    panels = {"all sections": ["B", "D"], "without the section": ["A", "B"]}
    totals = {"section": [totals_of(section)]}
    rows = specified_couplings.target_couplings(section, panels, nuclei, totals, {"100": 100.0})
    table = pd.DataFrame(rows)
    assert len(table) == 2 * (1 + 2 * 2) * 2 * 3  # panels, targets, readings, metrics
    of_log = table[(table["target"] == LOG) & (table["panel"] == "all sections") & (table["nuclei"] == "crop")]
    rho = np.abs(columns.spearman(normalization.get(LOG)(section, ["B", "D"]), nuclei["crop"].to_numpy()))
    assert of_log.loc[of_log["genes"] == "mean", "value"].item() == pytest.approx(rho.mean())


def test_depth_counts_all_genes_once_and_those_of_each_panel(section, nuclei):
    rows = specified_couplings.depth_couplings(section, {"all sections": ["B", "D"]}, nuclei)
    assert [(row["nuclei"], row["panel"], row["library"]) for row in rows] == [
        ("disc", None, "all genes"),
        ("disc", "all sections", "panel"),
        ("crop", None, "all genes"),
        ("crop", "all sections", "panel"),
    ]
    depth = normalization.counts_of(section, ["B", "D"]).sum(axis=1)
    assert rows[1]["value"] == pytest.approx(columns.spearman(nuclei[["disc"]].to_numpy(), depth)[0])


def test_every_number_of_table_1_is_there_for_every_section_with_nuclei():
    sections = {name: make_section(name, seed=seed) for seed, name in enumerate(("A1", "B1", "C1"))}
    nuclei = {name: pd.DataFrame({"disc": np.arange(16.0)}, index=sections[name].obs_names) for name in ("A1", "B1")}
    table = specified_couplings.every_coupling(
        sections, nuclei, spots_in(A1=sections["A1"], B1=sections["B1"]), 2, {"100": 100.0}
    )
    assert set(table["section"]) == {"A1", "B1"} and set(table["panel"].dropna()) == {
        "all sections",
        "without the section",
        "sections with image",
    }
    metrics = ("median_abs_rho_nuclei", "share_coupled_nuclei")
    of_targets = {f"{metric}, {target}" for metric in metrics for target in (LOG, RESIDUAL)}
    assert set(table["quantity"]) == {*of_targets, "rho_nuclei_depth"}
