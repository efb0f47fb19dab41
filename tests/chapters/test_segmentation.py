"""Nuclei under spots: counted in discs and squares as large as the section's own, by the back end that is asked."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from skimage.color import hed2rgb

from helpers.chapters import segmentation
from helpers.tissue import hovernet, nuclei_files

MPP = 0.5


def section_of(spatial, spot_um=100.0, **obs):
    spatial = np.array(spatial, float)
    obs = pd.DataFrame(obs, index=[f"1x{i}" for i in range(len(spatial))])
    uns = {"section": "A1", "mpp": MPP, "spot_um": spot_um, "back_end": "table", "nuclei_file": ""}
    return AnnData(np.zeros((len(spatial), 1), np.float32), obs=obs, obsm={"spatial": spatial}, uns=uns)


def nuclei_at(*xy, area=30.0):
    return pd.DataFrame(xy, columns=["x", "y"], dtype=float).assign(area_um2=area)


def stained(centre, size_um, mpp):
    """Tissue of one shade."""
    side = round(size_um / mpp)
    return np.round(255 * hed2rgb(np.full((side, side, 3), (0.05, 0.02, 0)))).astype(np.uint8)


# --- what counts as one spot ---


def test_the_patch_is_the_smallest_that_is_wider_than_the_spot():
    names = ["disc of the spot", "patch of this study", "crop of the published STEM"]
    assert segmentation.widths([800, 200, 100], 0.688, 100.0) == dict(zip(names, (100, 200, 224 * 0.688), strict=True))
    assert segmentation.widths(["stem", 50], 0.688, 100.0)["patch of this study"] == 224 * 0.688
    assert segmentation.widths([100], 0.688, 55.0)["patch of this study"] == 100


def test_a_square_shares_with_the_disc_what_lies_in_both():
    """Discs of 100 px radius: two nuclei in the first, none in the second; the squares hold one more each."""
    found = nuclei_at((0, 0), (50, 0), (-95, 95), (1000, 150))
    section = section_of([[0, 0], [1000, 0]], n_nuclei=[2, 0])
    table = segmentation.nuclei_by_width(section, found, {"disc": 100.0, "square": 150.0})
    assert table["width, pixels"].tolist() == [200, 300]
    assert table["nuclei, median per spot"].tolist() == [1, 2]
    assert table["of these under the disc"].tolist() == [1, 0.5]
    empty = segmentation.nuclei_by_width(section[1:], found[:0], {"disc": 100.0, "square": 150.0})
    assert empty["of these under the disc"].tolist() == [0, 0]


# --- back ends ---


def test_the_table_that_came_with_a_section_is_named():
    section = section_of([[0, 0]])
    section.uns["nuclei_file"] = "cellvit.parquet"
    assert segmentation.describe_back_end(section, {"back_end": "table"}).endswith("Read from `cellvit.parquet`.")


def test_a_back_end_names_its_weights_and_their_licence():
    section = section_of([[0, 0]])
    assert segmentation.describe_back_end(section, {"back_end": "classical"}).endswith("No weights are used.")
    named = {"back_end": "hovernet", "model": "hovernet_original-consep", "weights": "mine.pth"}
    said = segmentation.describe_back_end(section, named)
    assert "a local file" in said and "trained on CoNSeP and are under **Apache-2.0**" in said
    assert "by download" in segmentation.describe_back_end(section, {"back_end": "hovernet"})


def test_an_unknown_back_end_and_a_table_without_a_file_are_refused():
    section = section_of([[0, 0]])
    with pytest.raises(ValueError, match="unknown back end 'qupath' of nuclei; known: classical, hovernet, table"):
        segmentation.describe_back_end(section, {"back_end": "qupath"})
    for refuse in (
        lambda: segmentation.describe_back_end(section, {"back_end": "table"}),
        lambda: segmentation.detect(section, None, {"back_end": "table"}, 100, 1.0),
    ):
        with pytest.raises(ValueError, match="section A1: no file of nuclei is known; give nuclei: table"):
            refuse()


def test_each_back_end_finds_with_what_the_config_gives(tmp_path, monkeypatch):
    section, found = section_of([[300, 300]]), nuclei_at((10, 20))
    nuclei_files.write_geojson(found, tmp_path / "found.geojson", MPP)
    table = {"back_end": "table", "table": str(tmp_path / "found.geojson")}
    assert segmentation.detect(section, None, table, 100, 1.0)[["x", "y"]].to_numpy().tolist() == [[10, 20]]
    monkeypatch.setattr(hovernet, "engine", lambda *asked: asked)
    monkeypatch.setattr(hovernet, "detect_section", lambda read, spatial, mpp, engine, size_um: (engine, size_um))
    asked = segmentation.detect(section, None, {"back_end": "hovernet", "weights": "mine.pth"}, 154, 1.0)
    assert asked == ((hovernet.MODEL, "mine.pth"), 154)
    assert segmentation.detect(section, stained, {"back_end": "classical"}, 100, 0.0).empty  # glass


def test_implausible_nuclei_warn_by_section_and_in_a_box():
    section = section_of(np.stack(np.meshgrid(np.arange(3), np.arange(3)), -1).reshape(-1, 2) * 400)
    assert segmentation.warn_of(section, nuclei_at(*section.obsm["spatial"])) == ""
    with pytest.warns(UserWarning, match="section A1: 0 nuclei per spot in the median"):
        boxes = segmentation.warn_of(section, nuclei_at((1e6, 1e6)))
    assert boxes.startswith("```{warning}\n0 nuclei per spot") and boxes.endswith("\n```\n")


# --- from nuclei to spots ---


@pytest.mark.parametrize(("spot_um", "n", "area"), [(100, [3, 0], [90.0, 0.0]), (55, [2, 0], [60.0, 0.0])])
def test_nuclei_are_counted_in_discs_of_the_section_s_own_size(spot_um, n, area):
    """At 0.5 um/px a disc of 100 um has a radius of 100 px, one of 55 um of 55 px."""
    section = section_of([[0, 0], [1000, 0]], spot_um)
    counted = segmentation.with_counted_nuclei(section, nuclei_at((0, 0), (50, 0), (90, 0)), stained, "table")
    assert counted.obs["n_nuclei"].tolist() == n
    assert counted.obs["nuclei_area_um2"].tolist() == area
    assert counted.obs["haematoxylin"].to_numpy() == pytest.approx([0.3, 0.3], rel=0.05)
    assert counted.uns["back_end"] == "table"
    assert "n_nuclei" not in section.obs


def test_a_count_is_also_given_per_area_of_the_section_s_own_disc():
    found = nuclei_at((0, 0), (1, 1), area=31.4)
    said = segmentation.answer(section_of([[0, 0], [9, 9], [5, 5]], n_nuclei=[0, 8, 20]), found)
    assert said == (
        "In section A1 a median of **8** nuclear outlines lies under a spot (3 spots, 0 to 20), or **1,019 per mm²**, "
        "in a picture of 0.500 µm per pixel. Their median area is 31 µm², as of a disc 6.3 µm wide; one may be a "
        "fragment or a nest."
    )
    said = segmentation.answer(section_of([[0, 0]], 50.0, n_nuclei=[1]), nuclei_at((0, 0), area=np.nan))
    assert "(1 spot, 1), or **509 per mm²**, in a picture of 0.500 µm per pixel. Their area is not known." in said


# --- to look at ---


def test_a_close_up_shows_the_outlines_where_they_lie():
    section = section_of([[200, 300], [600, 300], [1000, 300]], n_nuclei=[0, 1, 2])
    found = nuclei_at((200, 300), (205, 310), (600, 300), (601, 340))
    fewest, median, most = segmentation.close_ups(section, found, stained, 50.0, 1.0)
    assert [fewest.title, median.title, most.title] == [
        "1x0: 0 nuclei in the circle, 2 in view",
        "1x1: 1 nucleus in the circle, 2 in view",
        "1x2: 2 nuclei in the circle, 0 in view",
    ]
    assert median.image.shape == (100, 100, 3)
    centres = np.array([outline.mean(axis=0) for outline in fewest.outlines])
    np.testing.assert_allclose(centres, [[50, 50], [55, 60]], atol=0.6)
    assert len(median.outlines) == 2 and not most.outlines


def test_the_overview_holds_every_spot_and_its_margin():
    section = section_of([[1000, 2000], [3000, 6000]])
    asked = []
    image, xy = segmentation.overview(section, lambda *region: asked.append(region))
    assert image is None and asked == [((2000, 4000), 2600.0, 8.0)]
    # 4,000 px of 0.5 um and 600 um: 325 px of 8 um; the spots lie 37.5 px from the border along y
    np.testing.assert_allclose(xy, [[100, 37.5], [225, 287.5]])


# --- where nothing is counted ---


def test_the_stain_stands_for_nuclei_that_a_coarse_pixel_does_not_show():
    section = section_of([[200, 300], [600, 300], [1000, 300]])
    stain = {"back_end": "haematoxylin"}
    found = segmentation.detect(section, stained, stain, 100, 1.0)
    measured = segmentation.with_counted_nuclei(section, found, stained, "haematoxylin")
    assert found.empty and "n_nuclei" not in measured.obs and (measured.obs["haematoxylin"] > 0.2).all()
    assert "haematoxylin of a disc has a median of **0.29" in segmentation.answer(measured, found)
    assert list(segmentation.nuclei_by_width(measured, found, {"disc": 100.0})) == ["width, µm", "width, pixels"]
    assert segmentation.close_ups(measured, found, stained, 50.0, 1.0)[0].title.startswith("1x0: haematoxylin 0.29")


@pytest.mark.parametrize("back_end", ["classical", "hovernet"])
def test_a_coarse_picture_is_not_counted_in_and_the_way_on_is_named(back_end):
    section = section_of([[200, 300]])
    section.uns["mpp"] = 3.2
    with pytest.raises(ValueError, match="at most 2.0 um wide.*back_end: haematoxylin"):
        segmentation.detect(section, stained, {"back_end": back_end}, 100, 1.0)
