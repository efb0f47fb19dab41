"""The factorial: arms that a section can have, arms that are one, shares of a two-way table, sentences."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers import schema
from helpers.chapters import factorial
from helpers.scores import top_genes

GENES = [f"g{i}" for i in range(8)]
LATTICE = np.argwhere(np.ones((6, 6))).astype(float)


def make_section(name, seed, nuclei=True):
    """Counts that follow the nuclei of a spot; depths that span a factor of four."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(5, 20, len(LATTICE))
    share = rng.dirichlet(np.full(len(GENES), 5.0), len(LATTICE))
    counts = rng.poisson(20 * cells[:, None] * share)
    obs = pd.DataFrame({"section": name, "patient": name[0], "total_counts": counts.sum(axis=1)})
    obs.index = [f"{i}x{name}" for i in range(len(obs))]
    made = AnnData(obs=obs, var=pd.DataFrame(index=GENES), layers={schema.COUNTS: csr_matrix(counts.astype(float))})
    made.obsm[schema.SPATIAL] = made.obsm[schema.LATTICE] = LATTICE.copy()
    made.obsm[schema.PATCH] = np.column_stack([cells, rng.normal(size=len(cells))])
    made.uns["section"] = name
    if nuclei:
        made.obs["n_nuclei"] = cells
    return made


@pytest.fixture
def cohort():
    return {name: make_section(name, seed) for seed, name in enumerate(("A1", "B1"))}


def test_thinning_makes_spots_equal_and_keeps_the_depth_that_is_to_be_forgotten(cohort):
    twin = factorial.at_equal_depth(cohort["A1"])
    depths = np.asarray(twin.layers[schema.COUNTS].sum(axis=1)).ravel()
    measured = cohort["A1"].obs["total_counts"]
    assert set(depths) == {int(np.quantile(measured, 0.25))}
    assert twin.n_obs == (measured >= depths[0]).sum() < len(measured)
    pd.testing.assert_series_equal(twin.obs["depth_before"], measured[twin.obs_names], check_names=False)


def test_a_section_without_an_image_has_no_arm_of_nuclei():
    with_image, without = (factorial.arms_of(make_section("A1", 0, nuclei)) for nuclei in (True, False))
    assert len(with_image) == len(factorial.ARMS) - 1
    assert set(with_image) - set(without) == {arm for arm in with_image if "nuclei" in "".join(arm)}
    assert len(with_image) - len(without) == 6  # five transforms of counts by nuclei, and the log without their line


def test_the_thinned_arm_is_the_log_of_thinned_counts(cohort):
    twin = factorial.at_equal_depth(cohort["A1"])
    expected = np.log1p(twin[:, GENES[:3]].layers[schema.COUNTS].toarray())
    np.testing.assert_allclose(factorial.arm_values(twin, factorial.THINNED, GENES[:3]), expected)


def test_residuals_are_clipped_as_models_see_them(cohort):
    section = cohort["A1"].copy()
    counts = section.layers[schema.COUNTS].toarray()
    counts[0, 0] = 1e6
    section.layers[schema.COUNTS] = csr_matrix(counts)
    arm = ("none", "pearson_residual")
    assert factorial.arm_values(section, arm, GENES).max() > 6
    assert factorial.arm_values(section, arm, GENES, clip=True).max() == pytest.approx(np.sqrt(section.n_obs))


def test_a_summary_by_hand_leaves_a_constant_gene_out():
    rho, drawn = np.array([0.2, -0.4, np.nan]), np.array([[0.1, -0.5, 0.2], [0.1, 0.1, -0.4], [np.nan] * 3])
    expected = {"median_rho_depth": 0.3, "share_depth": 0.5, "chance_rho_depth": 0.7 / 3, "chance_share_depth": 1 / 3}
    assert factorial.summary(rho, drawn, "depth") == pytest.approx(expected)


def test_dependence_has_a_row_an_arm_and_no_nuclei_without_an_image():
    sections = {"A1": make_section("A1", 0), "B1": make_section("B1", 1, nuclei=False)}
    groups = factorial.groups_of_arms(sections)
    table, rho = factorial.dependence(groups, dict.fromkeys(sections, GENES), n_draws=9)
    n_arms = table.groupby("section").size()
    assert n_arms.to_dict() == {"A1": len(factorial.ARMS), "B1": len(factorial.ARMS) - 6}
    assert table.loc[table["section"] == "B1", "median_rho_nuclei"].isna().all()
    assert list(rho) == list(factorial.ARMS)
    assert len(rho["none", "log"]) == 2 * len(GENES) and len(rho["nuclei", "log"]) == len(GENES)
    found = table.set_index(factorial.KEYS)["median_rho_depth"]
    assert found["A1", "none", "log"] > found["A1", "total", "log"]  # a log of undivided counts follows depth


def test_without_a_size_factor_every_transform_is_one_arm_and_a_size_factor_makes_another(cohort):
    groups = factorial.groups_of_arms(cohort)
    _, rho = factorial.dependence(groups, dict.fromkeys(cohort, GENES), n_draws=2)
    stands_for = factorial.same_order(rho)
    undivided = [("none", transform) for transform in ("identity", "sqrt", "log", "acosh", "pearson_residual")]
    assert {stands_for[arm] for arm in undivided} == {("none", "log")}
    assert stands_for["total", "sqrt"] == ("total", "log") and stands_for["none", "clr"] == ("none", "clr")


def test_profiles_of_unlike_length_are_never_one_arm_and_nan_equals_nan():
    profiles = {("a", "sqrt"): np.array([0.1, np.nan]), ("a", "log"): np.array([0.1, np.nan])}
    profiles |= {("b", "log"): np.array([0.1]), ("c", "log"): np.array([0.2, np.nan])}
    found = factorial.same_order(profiles)
    assert found["a", "sqrt"] == ("a", "log") == found["a", "log"]
    assert found["b", "log"] == ("b", "log") and found["c", "log"] == ("c", "log")


def test_the_ceiling_of_the_thinned_arm_is_below_that_of_all_counts(cohort):
    panels = dict.fromkeys(cohort, GENES)
    arms = [("none", "log"), ("total", "log")]
    groups = {
        name: [(section, arms), (factorial.at_equal_depth(section), [factorial.THINNED])]
        for name, section in cohort.items()
    }
    found = factorial.arm_ceilings(groups, panels, k=3).set_index(factorial.KEYS)["ceiling"]
    assert found.between(0, 1).all() and len(found) == 6
    assert all(found[name, "thinned", "log"] < found[name, "none", "log"] for name in cohort)
    genes = factorial.gene_ceilings(cohort["A1"], arms, GENES)
    assert found["A1", "total", "log"] == pytest.approx(top_genes.pcc_at_k(genes[1], 3))


def test_ridge_and_floors_are_scored_on_every_arm_of_the_held_out_section(cohort):
    groups = {name: [(section, [("none", "log"), ("total", "log")])] for name, section in cohort.items()}
    found = factorial.arm_scores(groups, dict.fromkeys(cohort, GENES), list(cohort), "section", k=3)
    assert list(found.columns) == [*factorial.KEYS, "backbone", "pcc_3"]
    assert len(found) == len(cohort) * 2 * len(factorial.BACKBONES)
    nuclei = found[found["backbone"] == "nuclei"].set_index(factorial.KEYS)["pcc_3"]
    assert nuclei["A1", "none", "log"] > 0.5 > nuclei["A1", "total", "log"]  # made so: nuclei drive depth alone
    none = factorial.arm_scores(groups, dict.fromkeys(cohort, GENES), [], "section", k=3)
    assert none.empty and list(none.columns) == list(found.columns)


@pytest.fixture
def table():
    """Two sections with an image and one without; log and residual, undivided and divided."""
    arms = [(size, transform) for size in ("none", "total") for transform in ("log", "pearson_residual")]
    rho = {"A1": [0.6, 0.2, 0.6, 0.1], "B1": [0.4, 0.3, 0.4, 0.1], "C1": [0.5, 0.4, 0.5, 0.1]}
    rows = []
    for section, values in rho.items():
        for (size, transform), value in zip([arms[0], arms[2], arms[1], arms[3]], values, strict=True):
            has = section != "C1"
            row = {"section": section, "size_factor": size, "transform": transform, "median_rho_depth": value}
            row |= {"share_depth": value, "median_rho_nuclei": value / 2 if has else np.nan, "share_nuclei": np.nan}
            row |= {f"chance_{kind}_{what}": 0.05 for kind in ("rho", "share") for what in ("nuclei", "depth")}
            rows.append(row)
    coupling = pd.DataFrame(rows)
    ceiling = coupling[factorial.KEYS].assign(ceiling=0.9)
    fits = coupling.loc[coupling["section"] != "C1", factorial.KEYS].merge(
        pd.DataFrame({"backbone": factorial.BACKBONES, "pcc_5": [0.5, 0.3, 0.2]}), how="cross"
    )
    fits.loc[(fits["section"] == "B1") & (fits["transform"] == "log") & (fits["backbone"] == "nuclei"), "pcc_5"] = 0.6
    return factorial.factorial_table(coupling, ceiling, fits, 5)


DEPTH = {"A1": 9000.0, "B1": 500.0, "C1": 2000.0}


def test_the_table_keeps_sections_without_an_image(table):
    assert len(table) == 2 * 4 * 3 + 4
    assert table.loc[table["section"] == "C1", ["backbone", "pcc_5"]].isna().all(axis=None)
    once = factorial.one_row_an_arm(table, 5)
    assert len(once) == 12
    a1, b1, c1 = (once[(once["section"] == name) & (once["transform"] == "log")]["excess"] for name in DEPTH)
    assert a1.tolist() == pytest.approx([0.2, 0.2]) and b1.tolist() == pytest.approx([-0.1, -0.1]) and c1.isna().all()


def test_arms_are_shown_in_their_group_with_the_depth_of_their_section():
    arms = [("none", "log"), ("none", "rank"), ("none", "depth_regressed_log"), factorial.THINNED]
    once = pd.DataFrame([("A1", *arm) for arm in arms], columns=factorial.KEYS)
    stands_for = dict(zip(arms, [arms[0], arms[0], arms[2], arms[3]], strict=True))
    shown = factorial.as_shown(once, DEPTH, stands_for)
    assert shown["size_factor"].tolist() == ["none", "spot", "corrected", "corrected"]
    assert shown["transform"].tolist() == ["log", "rank", "depth_regressed_log", "thinned"]
    assert shown["is_first"].tolist() == [True, False, True, True]
    assert set(shown["median_total_counts"]) == {9000}


def test_a_section_without_nuclei_is_left_out_and_so_is_an_arm_that_one_lacks(table):
    once = factorial.one_row_an_arm(table, 5)
    assert list(factorial.crossed_coupling(once, "nuclei").index) == ["A1", "B1"]
    assert factorial.crossed_coupling(once, "depth").shape == (3, 4)
    lacks = once.drop(once.index[(once["section"] == "C1") & (once["size_factor"] == "total")])
    assert set(factorial.crossed_coupling(lacks, "depth").columns.get_level_values(0)) == {"none"}


@pytest.mark.parametrize(
    ("cells", "shares"),
    [
        ([[1, 1], [3, 3]], [1, 0, 0]),
        ([[1, 3], [1, 3]], [0, 1, 0]),
        ([[1, -1], [-1, 1]], [0, 0, 1]),
        ([[0, 1], [2, 3]], [0.8, 0.2, 0]),
        ([[2, 2], [2, 2]], [np.nan] * 3),
    ],
)
def test_a_two_way_table_splits_into_rows_columns_and_pair(cells, shares):
    np.testing.assert_allclose(factorial.variance_shares(np.array(cells)), shares, atol=1e-12)
    rows, columns, pair = factorial.variance_shares(np.array(cells).T)
    np.testing.assert_allclose([columns, rows, pair], shares, atol=1e-12)


def test_the_table_is_described_by_its_arms_and_rows(table):
    assert factorial.arms_sentence(table, 5).startswith("4 arms, 28 rows: {download}`factorial.csv")
    assert factorial.arms_sentence(table.iloc[:1], 5).startswith("1 arm, 1 row: ")
    assert "PCC-5 of a perfect" in factorial.arms_sentence(table, 5)


def test_arms_that_are_one_are_listed():
    arms = [("none", "sqrt"), ("none", "log"), ("none", "rank")]
    text = factorial.same_arms_sentence(dict(zip(arms, [arms[1], arms[1], arms[2]], strict=True)))
    assert text.startswith("The 3 arms are **2** to Spearman") and text.endswith("- not divided: square root, log")
    assert "same are" not in factorial.same_arms_sentence({arms[1]: arms[1]})


def test_the_answer_counts_sections_and_leaves_out_what_none_has(table):
    once, patients = factorial.one_row_an_arm(table, 5), {"A1": "A", "B1": "B", "C1": "C"}
    text = factorial.answer(once, patients, DEPTH)
    assert text.startswith("First, whether counts are divided at all: coupling to nuclei is **0.25** undivided and ")
    assert "is **0.50** undivided and **0.10** to **0.30** divided (medians over 3 sections of 3 patients; " in text
    assert "undivided above every divided arm in 3). Of" in text
    assert "in coupling to depth 0% lie between size factors, 100% between transforms and 0% in the pair" in text
    assert text.endswith(
        "shallowest section, B1, is log 0.30 (mean of its null 0.05), Pearson residual 0.10 (mean of its null 0.05)."
    )
    shallow = factorial.answer(once[once["section"] == "C1"], patients, {"C1": 2000.0})
    assert "nuclei" not in shallow and "over 1 section of 1 patient; undivided above every divided arm in 1)" in shallow


def test_shares_are_those_of_divided_arms_alone(table):
    """Undivided is far from all: were it counted, the size factor would be most of the spread."""
    once = factorial.one_row_an_arm(table, 5)
    panel = once[once["size_factor"] == "total"].assign(size_factor="panel_total")
    wide = factorial.crossed_coupling(pd.concat([once, panel]), "depth")
    assert factorial.variance_shares(wide.loc["A1"].unstack())[0] > 0.5
    assert factorial.shares_words(wide, "depth").startswith("in coupling to depth 0% lie between size factors, 100% ")
    apart = wide + 1.0 * (wide.columns.get_level_values("size_factor") == "panel_total")
    assert factorial.shares_words(apart, "depth").endswith("more between size factors in 3 of 3)")


def test_the_walk_goes_by_medians_and_says_whether_it_may_start_the_other_way(table):
    once = factorial.one_row_an_arm(table, 5)
    log, residual = ("none", "log"), ("none", "pearson_residual")
    text = factorial.walk_sentence(once, {residual: log})
    assert "to depth goes from **0.500** to **0.300** with the size factor and to **0.100**" in text
    assert text.count(" with the residual (medians of the means of the sections' nulls: 0.05") == 2
    assert "to nuclei goes from **0.250**" in text and text.endswith("it is the same arm.")
    other = factorial.walk_sentence(once[once["section"] == "C1"], {residual: residual})
    assert "nuclei" not in other and other.endswith("comes first.")


def test_leaks_are_read_in_the_shallowest_and_the_deepest_section(table):
    text = factorial.leak_sentence(factorial.one_row_an_arm(table, 5), DEPTH)
    assert "shallowest section, B1 (median 500 counts), with depth: log 0.30 (mean of its null 0.05), Pearson" in text
    assert "deepest section, A1 (median 9,000 counts), with nuclei: log 0.10" in text
    assert "nan" not in text  # the residual is the same in all sections: no trend to speak of
    without = factorial.one_row_an_arm(table[table["section"] == "C1"], 5)
    assert "nuclei" not in factorial.leak_sentence(without, {"C1": 2000.0})


def test_the_best_arm_and_the_one_that_adds_most_are_named(table):
    once = factorial.one_row_an_arm(table, 5)
    arms = factorial.as_shown(
        once, DEPTH, {(size, name): (size, name) for _, size, name in once[factorial.KEYS].values}
    )
    arms = arms[arms["section"] != "C1"]
    text = factorial.prediction_sentence(arms, 5)
    assert "2 sections: ridge reaches the highest PCC-5 with log (not divided), **0.50**" in text
    assert "adds most to that floor with Pearson residual (not divided): **+0.20**" in text
    assert text.endswith("In B1 ridge does not reach nuclei alone in 2 of 4 arms.")
    assert factorial.behind_sentence(arms[arms["section"] == "A1"]) == ""
