"""What a target keeps: what is known of the tissue, which targets are asked, and what regions and shares say."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers import schema
from helpers.chapters import kept_biology
from helpers.scores import biology
from helpers.targets import arms

SIDE = 8


def make_section(name="A1", nuclei=True, seed=0):
    """8 x 8 spots of five genes; the first two are plenty on the left and the right half, the rest noise."""
    rng = np.random.default_rng(seed)
    xy = np.array([(x, y) for x in range(SIDE) for y in range(SIDE)], float)
    left = xy[:, 0] < SIDE / 2
    mean = np.column_stack([np.where(left, 30, 2), np.where(left, 2, 30), *[np.full(len(xy), 4.0)] * 3])
    obs = pd.DataFrame({"patient": name[0]}, index=[f"{x:g}x{y:g}" for x, y in xy])
    section = AnnData(obs=obs, var=pd.DataFrame(index=list("ABCDE")))
    section.layers[schema.COUNTS] = sparse.csr_matrix(rng.poisson(mean).astype(np.float32))
    section.obs["total_counts"] = np.asarray(section.layers[schema.COUNTS].sum(axis=1)).ravel()
    if nuclei:
        section.obs["n_nuclei"] = rng.poisson(8, len(xy))
    section.obsm[schema.SPATIAL] = section.obsm[schema.LATTICE] = xy
    section.uns["section"] = name
    return section


@pytest.fixture
def section():
    return make_section()


@pytest.fixture
def halves(section):
    return pd.Series(np.where(section.obsm[schema.LATTICE][:, 0] < SIDE / 2, "left", "right"), section.obs_names)


# What is known besides the counts -------------------------------------------------------------------------------


def test_the_truth_of_a_simulation_is_regions_and_shares(tmp_path):
    from helpers.cohort import simulate

    shares = pd.DataFrame(0.1, index=["1x1", "1x2"], columns=list(simulate.CELL_TYPES))
    shares.iloc[0, 0], shares.iloc[1, 1] = 0.9, 0.8
    shares.rename_axis("spot").to_csv(tmp_path / "A1.csv")
    known = kept_biology.read_known("A1", None, None, str(tmp_path))
    assert known.regions.tolist() == list(simulate.CELL_TYPES)[:2] and known.n_without_place == 0
    pd.testing.assert_frame_equal(known.shares, shares, check_names=False)


def test_labels_and_proportions_are_read_by_the_sections_name(tmp_path):
    (tmp_path / "A1.tsv").write_text("x\ty\tlabel\n1.1\t2\ttumour\n\t\tfat\n")
    (tmp_path / "A1-shares.tsv").write_text("\tT\tB\n1x2\t0.7\t0.3\n")
    known = kept_biology.read_known("A1", f"{tmp_path}/{{section}}.tsv", f"{tmp_path}/{{section}}-shares.tsv", None)
    assert known.regions.to_dict() == {"1x2": "tumour"} and known.n_without_place == 1
    assert known.shares.loc["1x2"].tolist() == [0.7, 0.3]


def test_a_section_without_files_is_known_by_its_counts_alone(tmp_path):
    known = kept_biology.read_all_known(["A1", "B1"], f"{tmp_path}/{{section}}.tsv", None, None)
    assert list(known) == ["A1", "B1"] and known["A1"] == (None, 0, None)


def test_regions_are_used_where_there_are_two_of_spots_enough(section, halves):
    one = pd.Series("left", index=section.obs_names)
    few = halves.copy()
    few.iloc[2:34] = "undetermined"  # 2 of the left are left, too few for a region
    known = {
        name: kept_biology.Labelled(labels, n)
        for name, labels, n in (("A1", halves, 3), ("A2", one, 0), ("B1", few, 0))
    }
    known["B2"] = kept_biology.Labelled()
    drawn, left_out = kept_biology.usable_regions(known, dict.fromkeys(known, section))
    assert list(drawn) == ["A1"] and drawn["A1"].equals(halves)
    assert left_out["section"].tolist() == ["A1", "A2", "B1"]
    assert left_out["labels without a place"].tolist() == [3, 0, 0]
    assert left_out.loc[2, ["undetermined", "rare"]].tolist() == [32, 2]


def test_a_cohort_without_labels_has_an_empty_table_of_regions(section):
    drawn, left_out = kept_biology.usable_regions({"A1": kept_biology.Labelled()}, {"A1": section})
    assert drawn == {} and len(left_out) == 0
    assert "regions" in kept_biology.regions_table(left_out, drawn)


def test_shares_are_those_of_spots_with_counts_in_the_tables_order(section):
    shares = pd.DataFrame({"T": [0.1, 0.2, 0.3]}, index=["3x4", "99x99", "0x0"])
    known = {"A1": kept_biology.Labelled(shares=shares), "B1": kept_biology.Labelled()}
    found = kept_biology.usable_shares(known, {"A1": section, "B1": section})
    assert list(found) == ["A1"] and found["A1"].index.tolist() == ["3x4", "0x0"]


def test_regions_are_listed_with_their_spots_and_a_section_without_says_so():
    left_out = pd.DataFrame({"section": ["A1", "A2"], "rare": [1, 0]})
    table = kept_biology.regions_table(left_out, {"A1": pd.Series(["fat", "tumour", "tumour"])})
    assert table["regions"].tolist() == ["tumour 2, fat 1", "too few to compare"]
    assert table["in a region under 10 spots"].tolist() == [1, 0]


# Targets --------------------------------------------------------------------------------------------------------


def test_arms_that_order_spots_alike_are_one_and_the_log_stands_for_them(section):
    stands_for = kept_biology.distinct_arms({"A1": section, "B1": make_section("B1", nuclei=False)}, {"A1": ["A", "C"]})
    assert stands_for["none", "sqrt"] == stands_for["none", "pearson_residual"] == ("none", "log")
    assert stands_for["total", "pearson_residual"] != stands_for["total", "log"]
    assert ("nuclei", "log") in stands_for  # asked of the section that has nuclei


def test_st_net_adds_one_to_every_gene_before_it_divides():
    """Three genes in the array: (x + 1) / (3 + n). What was not seen falls as depth rises."""
    values = kept_biology.log_of_one_added(np.array([[0.0, 2], [0, 6]]), np.array([2.0, 12]), 3)
    np.testing.assert_allclose(np.exp(values), [[1 / 5, 3 / 5], [1 / 15, 7 / 15]])


def test_the_mean_of_a_neighbourhood_is_over_nine_spots_and_fewer_at_the_border():
    xy = np.array([(x, y) for x in range(3) for y in range(3)], float)
    values = np.arange(9.0)[:, None]
    found = kept_biology.neighbourhood_mean(values, xy)
    assert found[4, 0] == pytest.approx(4) and found[0, 0] == pytest.approx(np.mean([0, 1, 3, 4]))
    np.testing.assert_allclose(kept_biology.neighbourhood_mean(np.ones((9, 2)), xy), 1)


def test_triplex_divides_by_the_panel_so_that_depth_alone_changes_nothing(section):
    deeper = section.copy()
    deeper.layers[schema.COUNTS] = section.layers[schema.COUNTS] * 3
    deeper.obs["total_counts"] = 3 * section.obs["total_counts"]
    one, other = (kept_biology.published_targets(each, ["A", "B"]) for each in (section, deeper))
    np.testing.assert_allclose(one["TRIPLEX"], other["TRIPLEX"])
    assert not np.allclose(one["ST-Net"], other["ST-Net"])


def test_targets_are_the_arms_that_are_wanted_and_can_be_had_then_published_ones_then_single_numbers(section):
    wanted = [("none", "log"), ("nuclei", "log")]
    found = dict(kept_biology.targets_of(section, ["A", "B"], wanted))
    assert list(found) == [
        *wanted,
        *[("as coded", name) for name in ("ST-Net", "TRIPLEX")],
        *[("alone", "depth"), ("alone", "nuclei")],
    ]
    np.testing.assert_array_equal(found["none", "log"], arms.arm(section, "none", "log", ["A", "B"]))
    assert found["alone", "depth"][:, 0].tolist() == section.obs["total_counts"].tolist()
    without = dict(kept_biology.targets_of(make_section(nuclei=False), ["A", "B"], wanted))
    assert ("nuclei", "log") not in without and ("alone", "nuclei") not in without


# What they keep -------------------------------------------------------------------------------------------------


def test_the_first_map_is_the_tissue_as_it_lies(section):
    taken = kept_biology.turned_spots(section.obsm[schema.LATTICE], 4)
    assert taken.shape == (SIDE**2, 5) and taken[:, 0].tolist() == list(range(SIDE**2))
    assert (taken[:, 1:] != taken[:, :1]).any(axis=0).all()


def test_genes_that_differ_between_regions_tell_them_and_noise_does_not(section, halves):
    codes = pd.factorize(halves)[0][:, None]
    far = biology.far_apart(section.obsm[schema.LATTICE])
    clear, noise = (
        kept_biology.region_scores(arms.arm(section, "none", "log", panel), far, codes)
        for panel in (["A", "B"], ["C", "D"])
    )
    assert clear["separation"][0] > 0.95 and clear["domains"][0] > 0.9 and clear["variance"][0] > 0.7
    assert noise["separation"][0] < 0.7 and noise["domains"][0] < 0.2 and noise["variance"][0] < 0.2


def test_composition_is_told_by_what_follows_it_and_a_type_that_does_not_vary_is_left_out(section):
    left = (section.obsm[schema.LATTICE][:, 0] < SIDE / 2).astype(float)
    shares = np.stack([left, 1 - left, np.zeros(len(left))], axis=1)[:, :, None]
    far = biology.far_apart(section.obsm[schema.LATTICE])
    clear, noise = (
        kept_biology.composition_scores(arms.arm(section, "none", "log", panel), far, shares)["composition"]
        for panel in (["A", "B"], ["C", "D"])
    )
    assert clear.shape == (1,) and clear[0] > 0.95 and noise[0] < 0.5


def test_a_row_is_the_real_score_beside_mean_and_95th_percentile_of_the_turned(section):
    def scores(values, far, known):
        return {"size": np.array([values.shape[1], 0.0, 1.0])}

    spots = section.obs_names[::-1]
    rows = kept_biology.score_targets(section, spots, ["A", "B"], [("none", "log")], None, scores)
    assert rows[0] == ("A1", "none", "log", "size", 2, 0.5, 0.95) and len(rows) == 1 + 2 + 2


def test_every_target_is_scored_by_what_is_known_of_its_section(section, halves):
    sections = {"A1": section, "B1": make_section("B1", nuclei=False, seed=1)}
    shares = pd.DataFrame({"T": np.arange(SIDE**2), "B": -np.arange(SIDE**2)}, index=section.obs_names) / 100
    panels = dict.fromkeys(sections, ["A", "B"])
    kept = kept_biology.kept_table(sections, panels, {"A1": halves}, {"B1": shares}, [("none", "log")], 3)
    of_measures = kept.groupby("section")["measure"].unique().map(list).to_dict()
    assert of_measures == {"A1": ["separation", "variance", "domains"], "B1": ["composition"]}
    assert len(kept) == 3 * 5 + 4
    separation = kept_biology.of_target(kept, "separation", ("none", "log"))
    assert separation.loc["A1", "value"] == 1 > separation.loc["A1", "chance"]
    assert kept_biology.is_of(kept, ("alone", "depth")).sum() == 4


def test_nothing_known_leaves_an_empty_table(section):
    kept = kept_biology.kept_table({"A1": section}, {"A1": ["A"]}, {}, {}, [("none", "log")], 3)
    assert kept.empty and kept_biology.of_target(kept, "separation", ("none", "log")).empty


# In words -------------------------------------------------------------------------------------------------------


def test_where_regions_come_from_is_told():
    assert kept_biology.evidence_sentence(3, 3, simulated=True).startswith("Regions are the truth of the simulation")
    drawn = kept_biology.evidence_sentence(1, 5, simulated=False)
    assert "in 1 section." in drawn and "in 5 sections, were **estimated" in drawn
    assert kept_biology.evidence_sentence(0, 0, simulated=False).startswith("**This cohort comes with neither")


def test_the_table_is_counted():
    found = kept_biology.rows_sentence(pd.DataFrame(index=range(1200)), 14, 199)
    assert found.startswith("14 arms that differ, 1,200 rows: {download}") and "of 199 turned maps" in found
