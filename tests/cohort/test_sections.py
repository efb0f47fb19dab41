import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from helpers import schema
from helpers.cohort import sections, simulate


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    simulate.cohort(root, sections={"A1": 3000, "B1": 900}, lattice=(6, 5), n_genes=120, images=False)
    return root


def test_counts_and_positions_meet_by_name(cohort):
    section = sections.read("her2st", cohort, "A1")
    counts = pd.read_csv(cohort / "data/ST-cnts/A1.tsv.gz", sep="\t", index_col=0)
    spots = pd.read_csv(cohort / "data/ST-spotfiles/A1_selection.tsv", sep="\t")
    spots.index = spots["x"].astype(str) + "x" + spots["y"].astype(str)
    assert set(section.obs_names) == set(counts.index) & set(spots.index)
    assert section.uns["n_spots_dropped"] == len(set(counts.index) ^ set(spots.index))
    for spot in section.obs_names[[0, 7, -1]]:
        np.testing.assert_array_equal(section[spot].layers[schema.COUNTS].toarray()[0], counts.loc[spot])
        np.testing.assert_array_equal(section[spot].obsm[schema.SPATIAL][0], spots.loc[spot, ["pixel_x", "pixel_y"]])
    np.testing.assert_array_equal(section.obs["total_counts"], counts.loc[section.obs_names].sum(axis=1))


def test_the_order_of_the_spot_file_does_not_matter(cohort, tmp_path):
    import shutil

    shutil.copytree(cohort, tmp_path / "c")
    path = tmp_path / "c/data/ST-spotfiles/A1_selection.tsv"
    pd.read_csv(path, sep="\t").iloc[::-1].to_csv(path, sep="\t", index=False)
    one, two = (sections.read("her2st", root, "A1") for root in (cohort, tmp_path / "c"))
    np.testing.assert_array_equal(one.obsm[schema.SPATIAL], two.obsm[schema.SPATIAL])


def test_pixel_size_comes_from_the_lattice(cohort):
    section = sections.read("her2st", cohort, "A1")
    assert section.uns["mpp"] == pytest.approx(0.688, rel=0.005)
    assert section.uns["mpp_source"] == "lattice"


def test_a_few_displaced_spots_do_not_move_the_pixel_size(cohort):
    section = sections.read("her2st", cohort, "A1")
    section.obsm[schema.SPATIAL][:2] += 50_000
    assert sections.mpp_from_lattice(section) == pytest.approx(section.uns["mpp"], rel=0.005)


def test_the_users_pixel_size_wins_and_a_difference_is_told(cohort):
    with pytest.warns(UserWarning, match=r"0\.500 um \(user\) but 0\.68\d um \(lattice\)"):
        section = sections.read("her2st", cohort, "A1", mpp=0.5)
    assert (section.uns["mpp"], section.uns["mpp_source"]) == (0.5, "user")


@pytest.mark.parametrize("mpp", [0, -0.5, 0.01, 352.8, float("nan")])
def test_an_absurd_pixel_size_is_refused(cohort, mpp):
    with pytest.raises(ValueError, match=f"section A1: pixel size {mpp} um is not plausible; set mpp in the config"):
        sections.read("her2st", cohort, "A1", mpp=mpp)


def test_spots_that_do_not_follow_their_lattice_are_refused(cohort):
    """Every spot has a position, but not its own."""
    section = sections.read("her2st", cohort, "A1")
    section.obsm[schema.SPATIAL] = np.random.default_rng(0).permutation(section.obsm[schema.SPATIAL])
    with pytest.raises(ValueError, match=r"section A1: \d+ of \d+ spots lie elsewhere than their place on the lattice"):
        sections.mpp_from_lattice(section)


def test_an_absurd_size_from_the_lattice_is_not_taken(cohort):
    section = sections.read("her2st", cohort, "A1")
    section.obsm[schema.SPATIAL] = section.obsm[schema.SPATIAL] / 200
    with pytest.raises(ValueError, match="the lattice gives 138 um per pixel, which is not plausible"):
        sections.mpp_from_lattice(section)


def test_the_patients_of_the_config_win(cohort):
    section = sections.read("her2st", cohort, "A1", patients={"A1": "Z"})
    assert section.obs["patient"].unique().tolist() == ["Z"]
    with pytest.raises(ValueError, match="section B1: not among the patients of the config"):
        sections.read("her2st", cohort, "B1", patients={"A1": "Z"})


def test_what_the_user_states_goes_before_the_files(cohort):
    section = sections.read("her2st", cohort, "A1", spot_um=55, pitch_um=100)
    assert (section.uns["spot_um"], section.uns["pitch_um"]) == (55, 100)
    assert section.uns["mpp"] == pytest.approx(0.344, rel=0.005)  # the same pixels, half as far apart
    with pytest.raises(TypeError, match="spot_mm"):
        sections.read("her2st", cohort, "A1", spot_mm=0.1)


def test_a_section_without_image_is_read(cohort):
    assert sections.read("her2st", cohort, "A1").uns["image"] == ""


def test_spots_without_counts_or_outside_the_image_are_dropped_and_counted(cohort):
    section = sections.read("her2st", cohort, "A1")
    before = section.uns["n_spots_dropped"]
    section.obs.iloc[0, section.obs.columns.get_loc("total_counts")] = 0
    section.obsm[schema.SPATIAL][1] = (-5, 10)
    kept = sections.drop_spots(section, (100_000, 100_000), min_counts=1)
    assert kept.n_obs == section.n_obs - 2
    assert kept.uns["n_spots_dropped"] == before + 2
    with pytest.raises(ValueError, match="spots lie outside the image .* of 10 x 10 px"):
        sections.drop_spots(section, (10, 10), min_counts=1)


def test_the_rule_of_spots_is_one_number_for_book_and_audit(cohort):
    schema_of_config = yaml.safe_load((Path(__file__).parents[2] / "config/schema.yaml").read_text())
    rule = schema_of_config["properties"]["qc"]
    assert rule["default"]["min_spot_counts"] == sections.MIN_SPOT_COUNTS
    assert rule["properties"]["min_spot_counts"]["default"] == sections.MIN_SPOT_COUNTS


def test_the_rule_gives_its_reason(cohort):
    section = sections.read("her2st", cohort, "B1")
    assert sections.quality(section, 5, 10) == (True, "")
    assert sections.quality(section, 5000, 10) == (False, f"{section.n_obs} spots, fewer than 5000")
    kept, reason = sections.quality(section, 5, 1e6)
    assert not kept and "counts per spot, fewer than" in reason


def test_a_pattern_of_images_that_finds_none_anywhere_is_refused(tmp_path):
    simulate.cohort(tmp_path, sections={"A1": 3000, "A2": 3000}, lattice=(6, 5), n_genes=120)
    with pytest.raises(ValueError, match=r"nowhere/\*\.jpg: no such image; correct images in the config"):
        sections.read("her2st", tmp_path, "A1", images="nowhere/{section}.jpg")
    next(tmp_path.glob("data/ST-imgs/A/A1/*.jpg")).unlink()
    pattern = "data/ST-imgs/A/{section}/*.jpg"
    assert sections.read("her2st", tmp_path, "A1", images=pattern).uns["image"] == ""
    assert sections.read("her2st", tmp_path, "A2", images=pattern).uns["image"].endswith("toy_HE_A2.jpg")


def test_a_length_that_contradicts_the_files_is_used_and_warned_of(tmp_path):
    simulate.cohort(tmp_path, sections={"A1": 3000}, lattice=(6, 5), n_genes=120)
    with pytest.warns(UserWarning, match=r"A1: spot_um 55 um \(user\) but 100 um \(files\); the first is used"):
        assert sections.read("her2st", tmp_path, "A1", spot_um=55).uns["spot_um"] == 55


def test_so_many_spots_that_no_book_is_made_of_them_are_said_with_the_memory_they_take():
    assert sections.too_many(sections.MOST_SPOTS) == ""
    assert "60,000 spots: numbers for every pair of them take 29 GB" in sections.too_many(60_000)


def test_places_in_um_are_told_by_pixels_of_one_um(cohort):
    section = sections.read("her2st", cohort, "A1")
    section.obsm[schema.SPATIAL] *= section.uns["mpp"]
    with pytest.warns(UserWarning, match="A1: by the lattice a pixel is 1.000 um wide, as where places are in um"):
        sections._set_mpp(section, None, None, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sections._set_mpp(section, 1.0, None, np.nan)
        sections._set_mpp(section, None, None, 1.0)


def test_a_lattice_that_is_longer_along_one_axis_is_refused(cohort):
    section = sections.read("her2st", cohort, "A1")
    section.obsm[schema.LATTICE] *= [1, 3]
    with pytest.raises(ValueError, match="A1: steps of the lattice are .* px long along one axis .* exchanged"):
        sections.mpp_from_lattice(section)
