"""Specifications: what is chosen, medians over sections and patients, and which choice moves a number most."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers import columns, schema
from helpers.chapters import specifications
from helpers.targets import normalization
from helpers.targets.normalization import LOG, RESIDUAL

SECTIONS = pd.DataFrame([[1.0, 2.0, 3.0, 10.0], [4.0, np.nan, 4.0, 6.0]], columns=["A1", "A2", "A3", "B1"])
PATIENTS = pd.Series(list("AAAB"), index=SECTIONS.columns)


@pytest.mark.parametrize(
    ("how", "value", "low", "high"),
    [
        ("median", [2.5, 4], [2, 4], [3, 5]),
        ("mean", [4, 14 / 3], [2, 4], [5, 5]),
        ("median of patients", [6, 5], [2, 4], [6.25, 5]),
    ],
)
def test_a_summary_says_how_far_one_section_moves_it(how, value, low, high):
    found = specifications.over_sections(SECTIONS, PATIENTS, how)
    np.testing.assert_allclose(found[["value", "low", "high"]].T, [value, low, high])


def test_one_section_alone_cannot_be_left_out():
    found = specifications.over_sections(SECTIONS[["A1"]], PATIENTS, "median")
    assert found["value"].tolist()[0] == 1 and found[["low", "high"]].isna().all(axis=None)


def test_an_unknown_summary_is_named():
    with pytest.raises(ValueError, match="mode"):
        specifications.over_sections(SECTIONS, PATIENTS, "mode")


@pytest.fixture
def table():
    """log knows one choice; residual knows another one besides, which moves it tenfold."""
    log = pd.DataFrame({"quantity": "log", "nuclei": ["disc", "crop"], "value": [0.5, 0.3], "paper": 0.4})
    crossed = pd.MultiIndex.from_product([["disc", "crop"], ["10", "inf"]], names=["nuclei", "theta"])
    residual = crossed.to_frame(index=False).assign(quantity="residual", value=[0.10, 0.20, 0.11, 0.40], paper=0.2)
    table = pd.concat([log, residual], ignore_index=True)
    return table.assign(ours=(table["nuclei"] == "disc") & (table["theta"] != "inf"))


def test_each_quantity_is_described_beside_the_paper(table):
    found = specifications.describe(table).loc["residual"].to_dict()
    assert found == pytest.approx(
        {"n": 4, "ours": 0.10, "least": 0.10, "median": 0.155, "most": 0.40, "paper": 0.2, "at_least_paper": 0.5}
    )


def test_the_choice_that_moves_a_number_most_is_found(table):
    found = specifications.influence(table, ["nuclei", "theta"])
    assert found.loc["log", "nuclei"] == pytest.approx(0.2) and np.isnan(found.loc["log", "theta"])
    assert found.loc["residual"].to_dict() == pytest.approx({"nuclei": 0.255 - 0.15, "theta": 0.3 - 0.105})


def test_quantities_are_paired_where_their_shared_choices_agree(table):
    found = specifications.pairs(table, "log", "residual", ["nuclei", "theta"])
    assert len(found) == 4 and set(found.columns) == {"nuclei", "theta", "log", "residual"}
    assert (found["log"] > found["residual"]).tolist() == [True, True, True, False]


# What can be chosen ---------------------------------------------------------------------------------------------


def of_genes(totals, names="ABCD"):
    """Statistics of the genes of a section, all of them variable, mean and variance rising with the total."""
    totals = np.asarray(totals, float)
    table = {"highly_variable": True, "n_spots": 10, "total": totals, "total_of_squares": totals**2}
    return pd.DataFrame(table, index=list(names))


def test_a_panel_is_chosen_without_its_section_or_from_those_with_an_image():
    statistics = {"A1": of_genes([9, 1, 2, 3]), "A2": of_genes([1, 9, 2, 3]), "B1": of_genes([1, 2, 99, 3])}
    found = specifications.possible_panels(statistics, ["A1", "A2"], 1, "A1")
    assert found == {"all sections": ["C"], "without the section": ["C"], "sections with image": ["A"]}
    assert specifications.possible_panels(statistics, list(statistics), 1, "B1")["without the section"] == ["A"]


def test_where_every_section_has_an_image_those_with_one_are_no_other_panel():
    statistics = {"A1": of_genes([9, 1, 2, 3]), "A2": of_genes([1, 9, 2, 3])}
    assert list(specifications.possible_panels(statistics, ["A1", "A2"], 1, "A1")) == [
        "all sections",
        "without the section",
    ]


def test_shares_of_genes_are_pooled_over_sections_and_one_alone_trains_nothing():
    found = specifications.pooled(["A1", "A2", "B1"], ["A1", "B1"], "A1")
    assert found == {"section": ["A1"], "cohort": ["A1", "A2", "B1"], "training sections": ["B1"]}
    assert list(specifications.pooled(["A1", "A2"], ["A1"], "A1")) == ["section", "cohort"]


def test_a_share_counts_molecules_of_all_genes_or_of_the_panel():
    totals = [pd.Series({"A": 1.0, "B": 3.0, "C": 6.0}), pd.Series({"A": 4.0, "C": 6.0})]  # B is not in the second
    np.testing.assert_allclose(specifications.gene_shares(totals, ["B", "A"], of_panel=False), [3 / 20, 5 / 20])
    np.testing.assert_allclose(specifications.gene_shares(totals, ["B", "A"], of_panel=True), [3 / 8, 5 / 8])


def test_the_books_own_dispersion_comes_first_and_none_twice():
    assert specifications.dispersions(100) == {"100": 100.0, "10": 10.0, "inf": np.inf}
    assert list(specifications.dispersions(10)) == ["10", "inf"]


def test_a_quantity_is_named_by_its_metric_and_what_it_is_of():
    table = pd.DataFrame(
        {"metric": ["median", "delta", "rho"], "target": ["log2", np.nan, None], "k": [np.nan, 50, np.nan]}
    )
    assert specifications.quantities(table).tolist() == ["median, log2", "delta, k = 50", "rho"]
    assert specifications.quantities(table[["metric"]]).tolist() == ["median", "delta", "rho"]


def test_a_reading_that_a_section_lacks_is_left_out():
    table = pd.DataFrame({"section": ["A1", "A1", "A2"], "reading": ["disc", "crop", "disc"]})
    assert specifications.complete_readings(table) == ["disc"]


def make_section(name, n_genes=5, seed=0):
    rng = np.random.default_rng(seed)
    xy = np.array([(x, y) for x in range(4) for y in range(4)], float)
    made = AnnData(
        obs=pd.DataFrame(index=[f"{x:g}x{y:g}" for x, y in xy]), var=pd.DataFrame(index=list("ABCDE")[:n_genes])
    )
    made.layers[schema.COUNTS] = sparse.csr_matrix(rng.poisson(4, (16, n_genes)).astype(np.float32))
    made.obsm[schema.SPATIAL] = made.obsm[schema.LATTICE] = xy
    made.uns["section"] = name
    return made


@pytest.fixture
def section():
    return make_section("A1")


@pytest.fixture
def nuclei(section):
    rng = np.random.default_rng(1)
    return pd.DataFrame(rng.poisson(6, (16, 2)), index=section.obs_names, columns=["disc", "crop"]).astype(float)


def test_nuclei_are_those_of_the_sections_spots_in_their_order(section, nuclei):
    long = nuclei.iloc[::-1].rename_axis("spot").reset_index().melt("spot", var_name="reading").assign(section="A1")
    found = specifications.nuclei_of(long, {"A1": section, "B1": make_section("B1")})
    assert list(found) == ["A1"]
    pd.testing.assert_frame_equal(found["A1"], nuclei, check_names=False)


# Table 1 --------------------------------------------------------------------------------------------------------


def spots_in(**sections):
    return {specifications.ALL_SPOTS: {name: section.obs_names for name, section in sections.items()}}


def test_spots_that_reach_the_deeper_count_are_a_reading_where_they_differ_and_are_enough():
    deep, mixed = make_section("A1"), make_section("B1")
    deep, mixed = (ad.concat([part, part], index_unique="-") for part in (deep, mixed))  # 32 spots
    for section, low in ((deep, 0), (mixed, 7)):
        section.layers[schema.COUNTS] = sparse.csr_matrix(np.full((32, 5), 100.0))
        section.layers[schema.COUNTS][:low] *= 0.99  # 495 counts
    found = specifications.spots_of({"A1": deep, "B1": mixed}, ["A1", "B1"])
    assert {name: len(read) for name, read in found["500 counts"].items()} == {"A1": 32, "B1": 25}
    assert specifications.by_spots(found, "A1")[0][1] == ["all kept", "500 counts"]
    assert [which for _, which in specifications.by_spots(found, "B1")] == [["all kept"], ["500 counts"]]
    said = specifications.spots_sentence(found)
    assert "57 of 64 spots are left: all in 1 of 2 sections, and B1 25 of 32." in said
    assert list(specifications.spots_of({"A1": deep}, ["A1"])) == ["all kept"]
    mixed.layers[schema.COUNTS][:15] *= 0.9
    assert list(specifications.spots_of({"B1": mixed}, ["B1"])) == ["all kept"]  # 17 spots are too few


def test_couplings_of_fewer_spots_are_those_of_the_whole_sections_targets(section, nuclei):
    part, totals = nuclei.iloc[:9], {"section": [totals_of(section)]}
    found = pd.DataFrame(specifications.target_couplings(section, {"p": ["B", "D"]}, part, totals, {"100": 100.0}))
    whole = normalization.get(RESIDUAL)(section, ["B", "D"])[:9]
    own = (found["library"] == "all genes") & (found["clip"] == "none") & (found["genes"] == "mean")
    rho = np.abs(columns.spearman(whole, part["crop"].to_numpy()))
    assert found.loc[own & (found["nuclei"] == "crop"), "value"].item() == pytest.approx(rho.mean(), abs=1e-4)
    [depth, *_] = specifications.depth_couplings(section, {}, part)
    assert depth["value"] == pytest.approx(
        columns.spearman(part[["disc"]].to_numpy(), normalization.library_size(section)[:9, None])[0, 0]
    )


def totals_of(section):
    return pd.Series(section.layers[schema.COUNTS].toarray().sum(axis=0, dtype=float), section.var_names)


def test_targets_are_made_under_every_choice_and_the_books_own_is_among_them(section):
    panel, totals = ["B", "D"], {"section": [totals_of(section)], "cohort": [totals_of(section)] * 2}
    made = list(specifications.every_target(section, panel, totals, specifications.dispersions(100)))
    assert len(made) == 1 + 2 * 2 * 3 * 2  # log; library x share x theta x clipping
    own = {"target": RESIDUAL, "library": "all genes", "p_j": "section", "theta": "100", "clip": "none"}
    values = next(values for chosen, values in made if chosen == own)
    np.testing.assert_allclose(values, normalization.get(RESIDUAL)(section, panel), rtol=1e-4)
    np.testing.assert_allclose(made[0][1], normalization.get(LOG)(section, panel))


def test_a_share_of_twice_the_same_section_is_that_of_one(section):
    totals = {"section": [totals_of(section)], "cohort": [totals_of(section)] * 2}
    made = list(specifications.every_target(section, ["B", "D"], totals, {"100": 100.0}))
    for whose in ("section", "cohort"):
        assert sum(chosen.get("p_j") == whose for chosen, _ in made) == 4
    own, cohort = ([values for chosen, values in made if chosen.get("p_j") == whose] for whose in totals)
    np.testing.assert_allclose(own, cohort)


def test_genes_are_summarized_by_median_mean_and_share_beside_their_chance():
    """A gene without a rho is no gene; of the others' |rho| 0.1, 0.4, 0.7 two are coupled."""
    drawn = np.array([[0.1, 0.3], [-0.2, 0.2], [0.0, 0.4], [np.nan, np.nan]])
    median, mean, share = specifications.summaries_over_genes(np.array([-0.1, 0.4, 0.7, np.nan]), drawn)
    assert (median["genes"], mean["genes"], share["genes"]) == ("median", "mean", None)
    np.testing.assert_allclose([median["value"], mean["value"], share["value"]], [0.4, 0.4, 2 / 3])
    np.testing.assert_allclose([median["chance"], mean["chance"], share["chance"]], [0.2, 0.2, 1 / 6])


def test_couplings_of_a_section_know_its_panels_and_readings(section, nuclei):
    panels = {"all sections": ["B", "D"], "without the section": ["A", "B"]}
    totals = {"section": [totals_of(section)]}
    rows = specifications.target_couplings(section, panels, nuclei, totals, {"100": 100.0})
    table = pd.DataFrame(rows)
    assert len(table) == 2 * (1 + 2 * 2) * 2 * 3  # panels, targets, readings, metrics
    of_log = table[(table["target"] == LOG) & (table["panel"] == "all sections") & (table["nuclei"] == "crop")]
    rho = np.abs(columns.spearman(normalization.get(LOG)(section, ["B", "D"]), nuclei["crop"].to_numpy()))
    assert of_log.loc[of_log["genes"] == "mean", "value"].item() == pytest.approx(rho.mean())


def test_depth_counts_all_genes_once_and_those_of_each_panel(section, nuclei):
    rows = specifications.depth_couplings(section, {"all sections": ["B", "D"]}, nuclei)
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
    table = specifications.every_coupling(
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


# Table 2 --------------------------------------------------------------------------------------------------------


def test_only_the_books_own_models_on_both_targets_are_read(tmp_path):
    for name in ("stem.log2.0", "ridge.pearson_residual.0", "nuclei.log2.0", "ridge.log1p_cp10k.0"):
        (tmp_path / f"{name}.h5ad").touch()
    found = specifications.trained_files([tmp_path])
    assert [path.name for path in found] == ["ridge.pearson_residual.0.h5ad", "stem.log2.0.h5ad"]
    with pytest.raises(ValueError, match="no prediction by stem or ridge"):
        specifications.trained_files([tmp_path / "empty"])


def test_a_prediction_is_scored_on_what_it_was_trained_on_and_without_clipping(section):
    panel, spots = ["B", "D"], section.obs_names[2:]
    whole = normalization.get(RESIDUAL)(section[spots], panel)
    held = AnnData(obs=pd.DataFrame(index=spots), var=pd.DataFrame(index=panel))
    held.layers[schema.MEASURED], held.layers[schema.PREDICTED] = np.minimum(whole, 0.5), whole
    held.uns |= {"section": "A1", "split": "section", "target": RESIDUAL, "backbone": "ridge", "seed": 0}
    found = specifications.predictability([held], {"A1": section}, spots_in(A1=held)).set_index("clip")
    assert found.loc["none", "pcc"].tolist() == pytest.approx([1, 1])
    assert found.loc["clipped", "pcc"].tolist() == pytest.approx(list(columns.pearson(np.minimum(whole, 0.5), whole)))


def test_couplings_of_the_runs_own_targets_are_gene_by_gene(section, nuclei):
    found = specifications.nuclei_couplings({"A1": section}, {"A1": ["B", "D"]}, {"A1": nuclei}, spots_in(A1=section))
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
    found = specifications.every_difference(associated, predicted, [1, 2])
    own = found[(found["definition"] == "own_top_k") & (found["k"] == 1) & (found["clip"] == "clipped")]
    assert own.set_index("nuclei")["value"].to_dict() == pytest.approx({"disc": 0.6, "crop": 0.1})
    assert set(found["quantity"]) == {"median_delta, k = 1", "median_delta, k = 2"}


def test_tests_of_five_differences_above_zero_reach_the_least_p():
    found = specifications.p_values(np.arange(1.0, 6))
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
    found = specifications.units(deltas, patients)
    assert found["patients"].tolist() == [1.5, 3.5, 5.5, 7.5, 9.5] and len(found["sections"]) == 10
    assert list(specifications.units(deltas[:8], patients)) == ["sections"]


def test_every_test_is_made_of_sections_and_patients_with_sign_flips_last(deltas):
    found = specifications.every_test(deltas, pd.Series({section: section[0] for section in deltas["section"]}))
    assert len(found) == 2 * 4
    assert found["quantity"].tolist() == ["wilcoxon_p, k = 10"] * 4 + ["permutation_p, k = 10"] * 4
    one_sided = found[(found["test"] == "one-sided")].set_index("unit")["value"]
    assert one_sided.to_dict() == pytest.approx({"sections": 2**-10, "patients": 2**-5})


# Over sections, and beside the paper ----------------------------------------------------------------------------


def test_summaries_over_sections_stand_below_each_other_with_their_chance():
    table = pd.DataFrame({"quantity": "q", "theta": [None] * 3 + ["10"] * 3, "section": ["A1", "A2", "B1"] * 2})
    table = table.assign(value=[1.0, 2, 6, 0, 0, 3], chance=[0.1, 0.2, 0.9] * 2)
    patients = pd.Series({"A1": "A", "A2": "A", "B1": "B"})
    found = specifications.every_summary(table, ["quantity", "theta"], patients).set_index(["sections", "theta"])
    assert found["value"].to_dict() == pytest.approx(
        {("median", ""): 2, ("median", "10"): 0, ("mean", ""): 3, ("mean", "10"): 1}
        | {("median of patients", ""): 3.75, ("median of patients", "10"): 1.5}
    )
    assert found.loc[("median", ""), ["low", "high", "chance"]].tolist() == pytest.approx([1.5, 4, 0.2])


def test_what_does_not_apply_is_missing_once_tables_are_joined():
    one = pd.DataFrame({"quantity": ["a"], "theta": [""], "value": [1.0]})
    found = specifications.joined([one, pd.DataFrame({"quantity": ["b"], "test": ["one-sided"], "value": [0.5]})])
    assert found["theta"].isna().all() and found["test"].tolist()[1] == "one-sided"


@pytest.mark.parametrize(("panels", "name"), [(["all"], "all sections"), (["A1", "B1"], "without the section")])
def test_the_runs_own_panel_is_known_by_whose_it_is(panels, name):
    assert specifications.own_panel(pd.DataFrame({"panel": panels})) == name


def readings(**columns):
    """A table of specifications in which a choice that is not given does not apply."""
    table = pd.DataFrame(columns)
    missing = [choice for choice in specifications.CHOICES if choice not in table]
    return table.reindex(columns=[*table.columns, *missing])


def test_stem_is_the_books_own_model_where_it_was_trained():
    table = readings(backbone=["ridge", "stem"], split=["patient", "patient"])
    own = specifications.own_choices(table, "all sections", 100)
    assert (own["backbone"], own["split"], own["theta"]) == ("stem", "patient", "100")
    assert specifications.own_choices(table[:1], "all sections", 100)["backbone"] == "ridge"


def test_the_books_own_reading_agrees_in_every_choice_that_applies():
    own = specifications.own_choices(readings(backbone=["ridge"], split=["section"]), "all sections", 100)
    table = readings(
        quantity=["residual", "residual", "p, k = 10", "p, k = 10", "p, k = 10", "p, k = 10"],
        theta=["100", "10", None, None, None, None],
        clip=["none", "none", "clipped", "none", "clipped", "clipped"],
        test=[None, None, "one-sided", "one-sided", "of the mean", "of the median"],
    )
    assert specifications.is_own(table, own).tolist() == [True, False, True, False, True, False]


def test_the_papers_number_stands_beside_every_reading_of_its_quantity():
    own = specifications.own_choices(readings(backbone=["ridge"], split=["section"]), "all sections", 100)
    table = readings(quantity=["median, log2", "delta, k = 10"], value=[0.1, 0.2], low=0.0, high=1.0, chance=0.0)
    paper = pd.DataFrame({"metric": ["median", "rho"], "target": ["log2", None], "k": np.nan, "value": [0.337, 0.64]})
    found = specifications.specification_table(table, paper, own, {"all kept": {}})
    assert found["paper"].tolist()[0] == 0.337 and np.isnan(found["paper"].tolist()[1])
    assert list(found.columns[-6:]) == ["value", "low", "high", "chance", "paper", "ours"]


def test_numbers_of_the_books_tables_are_those_of_its_own_choices():
    own = {"backbone": "ridge", "split": "section", "ranking": "same", "definition": "own_top_k"}
    second = pd.DataFrame(
        [own | {"k": 10, "median_delta": 0.2}, own | {"ranking": "nested", "k": 10, "median_delta": 9}]
    )
    first = pd.DataFrame({"metric": ["median", "rho"], "target": ["log2", None], "value": [0.1, 0.5]})
    found = specifications.book_values(first, second, own).set_index("quantity")["value"]
    assert found.to_dict() == {"median, log2": 0.1, "rho": 0.5, "median_delta, k = 10": 0.2}


def test_the_share_of_small_p_is_taken_of_the_readings_of_each_test():
    table = pd.DataFrame({"quantity": ["a"] * 4 + ["b", "c"], "value": [0.05, 0.01, 0.2, 0.9, 0.5, 0.01]})
    assert specifications.at_most(table, ["a", "b"]).to_dict() == {"a": 0.5, "b": 0}


# In words -------------------------------------------------------------------------------------------------------


def test_a_test_s_quantity_is_named_as_a_p():
    assert specifications.p_label("wilcoxon_p, k = 50") == "wilcoxon p, k = 50"


def test_the_page_says_how_far_it_is_from_the_tables():
    table = pd.DataFrame({"quantity": ["a", "a", "b"], "value": [0.5, 0.9, 0.2], "ours": [True, False, True]})
    printed = pd.DataFrame({"quantity": ["a", "b", "c"], "value": [0.5, 0.21, 1.0]})
    found = specifications.agreement_sentence(table, printed)
    assert found.startswith("3 rows.") and "its 2 numbers" in found and found.endswith("at most 1e-02.")


@pytest.fixture
def of_targets(table):
    """The table as one of the paper's two targets, of two sections: in B log lies lower and leads less often."""
    log, residual = (f"median_abs_rho_nuclei, {target}" for target in (LOG, RESIDUAL))
    table = readings(**table.replace({"quantity": {"log": log, "residual": residual}}).to_dict("list"), chance=0.1)
    moved = table["quantity"] == log
    parts = [table.assign(section=name, value=table["value"] + by * moved) for name, by in (("A", 0.2), ("B", -0.25))]
    return table, pd.concat(parts)


def test_signs_are_counted_over_pairs_and_in_each_section(of_targets):
    found = specifications.sign_sentences(*of_targets, ["median_abs_rho_nuclei"])
    assert found == (
        "- median over genes of |ρ(target, nuclei)|, over sections: log above residual in **3 of 4** different pairs "
        "of values, among 4 pairs of readings that agree in what both share; the difference lies between -0.100 and "
        "0.400. Section by section log lies above the residual under every reading in 1 of 2 sections (B under 2 of 4)."
    )


def test_the_answer_has_ranges_null_paper_and_the_strongest_choice(of_targets):
    found = specifications.answer(*of_targets, "2 sections of 2 patients", 50)
    assert found.startswith("Over all readings of 2 sections of 2 patients: median over genes of |ρ(target, nuclei)|, ")
    assert '**0.30 to 0.50** (paper 0.400, maps as smooth 0.10), moved most, by 0.20, by the choice "nuclei"; ' in found
    assert '**0.10 to 0.40** (paper 0.200, maps as smooth 0.10), moved most, by 0.20, by the choice "θ". ' in found
    assert found.endswith("under every reading in 1 of 2 sections (B under 2 of 4).")


def test_the_choice_that_moves_most_is_named_with_its_ends(table):
    table = table.replace({"quantity": {"log": "median_delta, k = 20"}})
    moved = specifications.influence(table, ["nuclei", "theta"])
    found = specifications.strongest_choices(table, moved, [10, 50])
    assert found == "- residual: **θ**, from 10 (0.105) to inf (0.300)."
    assert len(specifications.strongest_choices(table, moved, [20]).splitlines()) == 2
    assert specifications.strongest_choices(table, moved[:0], [20]) == ""


def test_the_reading_nearest_to_the_paper_is_spelled_out():
    table = readings(
        quantity=f"median_abs_rho_nuclei, {RESIDUAL}",
        p_j=["section", "section", "cohort"],
        theta=["100", "10", "10"],
        value=[0.12, 0.08, 0.3],
        paper=0.085,
    )
    found = specifications.share_sentence(table)
    assert "$p_j$ of the section 0.100 (0.080 to 0.120); $p_j$ of the cohort 0.300 (0.300 to 0.300)." in found
    assert found.endswith("The paper prints 0.085; nearest to it comes 0.080 ($p_j$: section, θ: 10).")


def test_readings_of_a_difference_above_zero_are_counted():
    table = pd.DataFrame({"quantity": "median_delta, k = 10", "definition": ["a", "a", "b"], "value": [0.2, -0.1, 0.3]})
    found = specifications.delta_sentences(pd.concat([table, table[2:]]), [10])
    assert found == (
        "- k = 10: above zero in **2 of 3** different values of 4 readings; medians: `a` 0.050, `b` 0.300."
    )
    assert specifications.delta_sentences(table, []) == ""


def test_the_least_p_follows_from_the_number_of_sections():
    five = specifications.tests_sentence(5, over_patients=False)
    assert five.startswith("Over 5 sections") and "below 0.031 one-sided and 0.062 two-sided" in five
    assert "under 5 patients there is no test over patients." in five
    assert specifications.tests_sentence(1, over_patients=True).startswith("Over 1 section the exact tests")
    assert "patients are tested as well." in specifications.tests_sentence(35, over_patients=True)
