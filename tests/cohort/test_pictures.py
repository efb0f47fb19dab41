"""Pictures that are reduced, turned or masked: known places, and refusals that name the numbers."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from PIL import Image

from helpers.chapters import data
from helpers.cohort import check, config, images, pictures, sections, simulate
from helpers.cohort.layouts.raw import RawSection
from helpers.schema import SPATIAL

CONFIG = Path(__file__).parents[2] / "config"
QC = {"min_spots": 3, "min_median_counts": 1, "min_spot_counts": 1, "reason": "small"}


def section(mpp=0.5, image="", **uns):
    made = AnnData(obs=pd.DataFrame(index=["a", "b"]), obsm={SPATIAL: np.array([[10.0, 0.0], [0.0, 20.0]])})
    made.uns = {"section": "A1", "mpp": mpp, "mpp_by_source": {"lattice": mpp}, "image": str(image), **uns}
    return made


def test_a_placement_moves_spots_and_sizes_and_can_be_undone():
    """A quarter of the size, turned by 90 degrees: x' = -y / 4 + 100, y' = x / 4 + 50."""
    made, turned = section(image_size=np.array([400.0, 800.0])), np.array([[0, -0.25, 100], [0.25, 0, 50]])
    pictures.move_spots(made, turned)
    assert made.obsm[SPATIAL].tolist() == [[100, 52.5], [95, 50]]
    assert made.uns["mpp"] == made.uns["mpp_by_source"]["lattice"] == pytest.approx(2.0)
    assert made.uns["image_size"].tolist() == [100, 200]
    matrix, moved = made.uns["placement"][:, :2], made.uns["placement"][:, 2]
    back = np.linalg.solve(matrix, (made.obsm[SPATIAL] - moved).T).T
    np.testing.assert_allclose(back, [[10, 0], [0, 20]], atol=1e-9)
    pictures.move_spots(made, pictures.scaled_placement(0.5))
    assert made.uns["placement"] == pytest.approx(turned / 2) and made.uns["mpp"] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("matrix", "numbers"),
    [([[0.3, 0, 0], [0, 0.25, 0]], "0.3 along .* 0.25 across"), ([[0.3, 0.1, 0], [0, 0.3, 0]], "0.354.* 0.25")],
)
def test_unequal_scales_and_shear_are_refused_with_their_numbers(matrix, numbers):
    with pytest.raises(ValueError, match=f"section A1: the placement scales by {numbers}"):
        pictures.move_spots(section(), np.array(matrix))


def test_a_table_of_placements_names_what_it_lacks(tmp_path):
    path = tmp_path / "placements.csv"
    with pytest.raises(FileNotFoundError, match="no such table of placements"):
        pictures.read_placements(path)
    path.write_text("section,xx,xy,x0,yx,yy\nA1,1,0,0,0,1\n")
    with pytest.raises(ValueError, match="no column y0; a placement is section, xx, xy, x0, yx, yy, y0"):
        pictures.read_placements(path)
    path.write_text("section,xx,xy,x0,yx,yy,y0\nA1,1,2,3,4,5,6\nA2,.5,0,0,0,.5,0\n")
    assert pictures.read_placements(path)["A1"].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_black_parts_and_rectangles_are_masked_and_dark_nuclei_are_not():
    picture = np.full((100, 200, 3), 220, np.uint8)
    picture[:, :40] = 5
    picture[50:52, 100:102] = 5  # a nucleus
    found = pictures.masked(picture, [[300, 0, 400, 60]], scale=0.5)
    assert found[:, : 40 + pictures.RIM].all() and found[:30, 150:].all()
    assert found.sum() == 100 * (40 + pictures.RIM) + 30 * 50


def test_a_fine_picture_is_reduced_and_a_coarse_one_only_painted(tmp_path):
    """The spot keeps its place on the tissue: a square of 40 px around it is one of 10."""
    fine = np.full((400, 400, 3), 255, np.uint8)
    fine[180:220, 80:120] = 90
    Image.fromarray(fine).save(tmp_path / "fine.png")
    made = section(0.5, tmp_path / "fine.png", picture_mpp=2.0)
    made.obsm[SPATIAL] = np.array([[99.5, 199.5], [0, 0]])
    pictures.prepare(made, tmp_path / "reduced.png")
    reduced = images.whole(tmp_path / "reduced.png")
    assert made.uns["mpp"] == 2 and reduced.shape == (100, 100, 3) and made.uns["image"].endswith("reduced.png")
    assert np.argwhere(reduced[..., 0] == 90).mean(axis=0)[::-1].tolist() == made.obsm[SPATIAL][0].tolist()
    coarse = section(2.0, tmp_path / "reduced.png", picture_mpp=2.0, masks=np.array([[0, 0, 100, 50.0]]))
    pictures.prepare(coarse, tmp_path / "painted.png")
    assert (images.whole(tmp_path / "painted.png")[:50] == 255).all() and coarse.uns["mpp"] == 2
    own = section(0.5, tmp_path / "fine.png")
    pictures.prepare(own, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists() and own.uns["mpp"] == 0.5


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two sections with images; A1 also as a picture of a fifth, whose left edge is black up to its first spots."""
    root = tmp_path_factory.mktemp("pictures") / "raw"
    simulate.write_cohort(root, sections={"A1": 3000, "B1": 3000}, lattice=(6, 5), n_genes=120)
    whole = sections.read("her2st", root, "A1")
    with Image.open(whole.uns["image"]) as image:
        small = image.resize((image.width // 5, image.height // 5), Image.Resampling.BOX)
    shown = np.array(small)
    shown[:, : int(whole.obsm[SPATIAL][:, 0].min() / 5)] = 0
    folder = root.parent / "small"
    folder.mkdir()
    Image.fromarray(shown).save(folder / "A1.png")
    (folder / "placements.csv").write_text("section,xx,xy,x0,yx,yy,y0\nA1,0.2,0,0,0,0.2,0\n")
    return root


def reader(root, **stated):
    placed = {"placements": "../small/placements.csv", "images": "../small/{section}.png"}
    return {"layout": "her2st", "root": str(root)} | placed | stated


def test_a_placed_section_is_read_in_pixels_of_its_picture_and_others_keep_theirs(cohort):
    whole, placed = sections.read("her2st", cohort, "A1"), sections.read(name="A1", **reader(cohort))
    assert placed.obsm[SPATIAL] == pytest.approx(whole.obsm[SPATIAL] / 5)
    assert placed.uns["mpp"] == pytest.approx(5 * whole.uns["mpp"]) and placed.uns["image"].endswith("small/A1.png")
    assert sections.read(name="B1", **reader(cohort)).uns["image"].endswith(".jpg")
    (cohort.parent / "small" / "both.csv").write_text("section,xx,xy,yx,yy,x0,y0\nB1,0.2,0,0,0.2,0,0\n")
    with pytest.raises(FileNotFoundError, match="small/B1.png: no such picture, on which .* has section B1"):
        sections.read(name="B1", **reader(cohort, placements="../small/both.csv"))


def test_spots_on_black_are_counted_named_and_dropped(cohort):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept, row = check.read("A1", reader(cohort), QC)
    assert row["n_masked"] > 0 and row["n_outside"] == 0
    assert row["n_spots"] + row["n_masked"] + row["n_shallow"] + row["n_empty"] == len(
        sections.read("her2st", cohort, "A1")
    )
    assert "the picture is black or masked under" in row["warnings"]
    assert kept.obsm[SPATIAL][:, 0].min() > sections.read(name="A1", **reader(cohort)).obsm[SPATIAL][:, 0].min()


def test_sections_of_two_resolutions_leave_with_one(cohort, tmp_path):
    paths = [tmp_path / "A1.h5ad", tmp_path / "B1.h5ad"]
    table = data.write_sections(paths, reader(cohort, picture_mpp=3.44), QC)
    assert table["mpp"].tolist() == pytest.approx([3.44, 3.44], rel=0.01)
    assert [images.size(path) for path in table["image"]] == list(zip(table["width"], table["height"], strict=True))


def test_space_ranger_s_own_pictures_are_placed_by_their_scale_factors(tmp_path, monkeypatch):
    from helpers.cohort.layouts import registry

    spots = AnnData(obs=pd.DataFrame(index=[f"s{i}" for i in range(9)]), var=pd.DataFrame(index=["g"]))
    spots.layers["counts"] = np.ones((9, 1), np.float32)
    spots.obsm[SPATIAL] = np.stack(np.meshgrid([100.0, 200, 300], [100.0, 200, 300]), -1).reshape(-1, 2)
    picture = tmp_path / "A1" / "spatial" / "tissue_hires_image.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (80, 80), "white").save(picture)
    (picture.parent / "scalefactors_json.json").write_text(json.dumps({"tissue_hires_scalef": 0.2}))
    raw = RawSection(spots, "P", spot_um=55, pitch_um=100, mpp_estimated=0.5, pictures={picture: 0.2})
    monkeypatch.setitem(registry.LAYOUTS, "spaceranger", lambda root, name: raw)
    placed = sections.read("spaceranger", tmp_path, "A1", images="{section}/spatial/tissue_hires_image.png")
    assert placed.uns["mpp"] == pytest.approx(2.5) and placed.obsm[SPATIAL].max() == pytest.approx(60)


def test_patient_a_is_read_at_its_reduced_resolution(her2st_root, monkeypatch):
    """Two pictures of 3.2 um per pixel with tissue on black; their spots lie on tissue, but for a few at its rim."""
    if not (her2st_root.parent / "her2st_lowres" / "placements.csv").is_file():
        pytest.skip("no her2st_lowres beside HER2ST_ROOT: no reduced pictures to test on")
    monkeypatch.setenv("HER2ST_ROOT", str(her2st_root))
    stated = config.load(CONFIG / "her2st_lowres.yaml")
    for name, n_spots in (("A1", 346), ("A2", 325)):
        kept, row = check.read(name, config.readers(stated), stated["qc"])
        assert row["mpp"] == pytest.approx(3.19, abs=0.01)
        assert 0 < row["n_masked"] < 10 and row["n_outside"] == row["n_off_tissue"] == 0
        assert kept.n_obs > n_spots - 10 and "depth follows the stain better" not in row["warnings"]
