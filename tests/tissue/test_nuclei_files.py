"""Nuclei go out and come back unchanged; each tool's conventions are read; what is no nucleus is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import shapely
from anndata import AnnData

from helpers import schema, store
from helpers.tissue import classical, nuclei_files

MPP = 0.688
SQUARE = [[[10, 20], [20, 20], [20, 30], [10, 30], [10, 20]]]  # centre 15, 25; 100 px


@pytest.fixture
def found():
    """Three nuclei: all known, neither type nor probability, a centre alone."""
    nucleus = {"x": [100.123456789, 250.5, 40.0], "y": [80.25, 1234.0, 7.5], "area_um2": [50.26548, 33.3, np.nan]}
    return pd.DataFrame(nucleus | {"type": ["Neoplastic", None, None], "probability": [0.93, np.nan, np.nan]})


def test_the_file_of_the_config_goes_before_the_one_that_came_with_the_section():
    section = AnnData(uns={"nuclei_file": "cellvit.parquet"})
    assert nuclei_files.of_section(section, {"table": "mine.geojson"}) == "mine.geojson"
    assert nuclei_files.of_section(section, {}) == "cellvit.parquet"
    assert nuclei_files.of_section(AnnData(), {}) == ""


def geojson(tmp_path, content):
    path = tmp_path / "nuclei.geojson"
    path.write_text(json.dumps(content))
    return path


def feature(kind, coordinates, **properties):
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def test_the_table_has_the_columns_of_the_schema_whatever_the_back_end_knows(found):
    table = nuclei_files.as_table(found[["x", "y", "area_um2"]], "C3", "classical")
    assert tuple(table) == schema.NUCLEI_COLUMNS
    assert table["type"].isna().all() and table["probability"].isna().all()
    assert set(table["section"]) == {"C3"} and set(table["back_end"]) == {"classical"}


def test_geojson_comes_back_as_it_went(found, tmp_path):
    nuclei_files.write_geojson(found, tmp_path / "C3.geojson", MPP)
    pd.testing.assert_frame_equal(nuclei_files.read(tmp_path / "C3.geojson", MPP), found)


def test_the_table_comes_back_as_it_went(found, tmp_path):
    store.write_table(nuclei_files.as_table(found, "C3", "hovernet"), tmp_path / "C3.parquet")
    pd.testing.assert_frame_equal(nuclei_files.read(tmp_path / "C3.parquet", MPP), found)


def test_qupath_sees_detections_of_the_right_place_and_size(found, tmp_path):
    """As QuPath reads them: objectType, classification, pixels; a polygon of the nucleus's area, a point without."""
    nuclei_files.write_geojson(found, tmp_path / "C3.geojson", MPP)
    content = json.loads((tmp_path / "C3.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    assert {entry["properties"]["objectType"] for entry in content["features"]} == {"detection"}
    assert content["features"][0]["properties"]["classification"] == {"name": "Neoplastic"}
    drawn = [shapely.geometry.shape(entry["geometry"]) for entry in content["features"]]
    assert [shape.geom_type for shape in drawn] == ["Polygon", "Polygon", "Point"]
    centres = np.array([(shape.centroid.x, shape.centroid.y) for shape in drawn])
    np.testing.assert_allclose(centres, found[["x", "y"]], atol=0.01)
    np.testing.assert_allclose([shape.area * MPP**2 for shape in drawn[:2]], found["area_um2"][:2], rtol=0.01)


def test_an_outline_is_drawn_where_it_is_known(found, tmp_path):
    found["outline"] = [np.array([[90, 80], [110, 80], [100, 95]]), None, None]
    nuclei_files.write_geojson(found, tmp_path / "C3.geojson", MPP)
    first = json.loads((tmp_path / "C3.geojson").read_text())["features"][0]["geometry"]
    assert first["coordinates"] == [[[90, 80], [110, 80], [100, 95], [90, 80]]]
    back = nuclei_files.read(tmp_path / "C3.geojson", MPP)
    pd.testing.assert_frame_equal(back, found.drop(columns="outline"))


def test_a_geodataframe_of_hest_is_read(tmp_path):
    """`cellvit_seg/*.parquet`: geometry as WKB in pixels, class, and columns nobody needs."""
    table = pd.DataFrame({"cell_id": [0, 1], "class": ["Neoplastic", "Connective"]}, index=[7, 9])
    table["geometry"] = shapely.to_wkb(shapely.box([10, 100], [20, 200], [20, 104], [30, 210]))
    table.to_parquet(tmp_path / "SPA119_cellvit_seg.parquet")
    read = nuclei_files.read(tmp_path / "SPA119_cellvit_seg.parquet", MPP)
    assert read[["x", "y"]].to_numpy().tolist() == [[15, 25], [102, 205]]
    np.testing.assert_allclose(read["area_um2"], [100 * MPP**2, 40 * MPP**2])
    assert read["type"].tolist() == ["Neoplastic", "Connective"]


def test_geojson_of_cellvit_has_a_feature_per_type_and_a_nucleus_per_part(tmp_path):
    """A list of annotations, as HEST-1k's CellViT files are: MultiPolygon of cells, or MultiPoint of detections."""
    other = [[[40, 40], [44, 40], [44, 50], [40, 50], [40, 40]]]
    cells = feature("MultiPolygon", [SQUARE, other], objectType="annotation", classification={"name": "Dead"})
    read = nuclei_files.read(geojson(tmp_path, [cells]), MPP)
    assert read[["x", "y"]].to_numpy().tolist() == [[15, 25], [42, 45]]
    np.testing.assert_allclose(read["area_um2"], [100 * MPP**2, 40 * MPP**2])
    assert read["type"].tolist() == ["Dead", "Dead"]

    points = feature("MultiPoint", [[1, 2], [3, 4]], objectType="annotation", classification={"name": "Dead"})
    read = nuclei_files.read(geojson(tmp_path, [points]), MPP)
    assert read[["x", "y"]].to_numpy().tolist() == [[1, 2], [3, 4]]
    assert read["area_um2"].isna().all()


def test_detections_of_qupath_are_nuclei_and_its_annotations_regions(tmp_path):
    region = feature("Polygon", [[[0, 0], [900, 0], [900, 900], [0, 0]]], objectType="annotation")
    star = feature(
        "Polygon",
        SQUARE,
        objectType="detection",
        classification={"names": ["Tumor", "Positive"]},
        measurements=[{"name": "Detection probability", "value": 0.8}, {"name": "Area µm^2", "value": 3}],
    )
    cell = feature("Polygon", [[[0, 0], [60, 0], [60, 60], [0, 0]]], objectType="cell")
    cell["nucleusGeometry"] = {"type": "Polygon", "coordinates": [[[x + 30, y] for x, y in SQUARE[0]]]}
    collection = {"type": "FeatureCollection", "features": [region, star, cell]}
    read = nuclei_files.read(geojson(tmp_path, collection), MPP)
    assert read[["x", "y"]].to_numpy().tolist() == [[15, 25], [45, 25]]
    np.testing.assert_allclose(read["area_um2"], 100 * MPP**2)
    assert read["type"].tolist() == ["Tumor: Positive", None]
    assert read["probability"].tolist()[0] == 0.8


def squares(n=6, side=10, gap=40):
    """Outlines of nuclei beside each other, and their centres."""
    corners = side / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    centres = gap * (1 + np.column_stack([np.arange(n), np.arange(n) % 2])).astype(float)
    outlines = [{"type": "Polygon", "coordinates": [(at + corners).tolist()]} for at in centres]
    return outlines, [{"type": "Point", "coordinates": at.tolist()} for at in centres]


def features(geometries):
    return [{"type": "Feature", "geometry": one, "properties": {}} for one in geometries]


def together(*parts):
    return {"type": "GeometryCollection", "geometries": list(parts)}


def multi(kind, geometries):
    return {"type": f"Multi{kind}", "coordinates": [one["coordinates"] for one in geometries]}


OUTLINES, MIDDLES = squares()
CELLS, REGION = (
    squares(side=24)[0],
    {"type": "Polygon", "coordinates": [[[0, 0], [900, 0], [900, 900], [0, 900], [0, 0]]]},
)
LINES = [{"type": "LineString", "coordinates": [[x, y], [x + 2, y]]} for x, y in (c["coordinates"] for c in MIDDLES)]


@pytest.mark.parametrize(
    "content",
    [
        features(map(together, CELLS, OUTLINES, MIDDLES)),
        features(map(together, CELLS, OUTLINES)),
        together(*OUTLINES, *MIDDLES),
        features([*MIDDLES, *OUTLINES]),
        features([multi("Polygon", OUTLINES), multi("Point", MIDDLES)]),
        features([*OUTLINES, *OUTLINES]),
        features([REGION, *OUTLINES, *MIDDLES]),
        features([*OUTLINES[:3], *MIDDLES]),
    ],
)
def test_a_nucleus_that_is_given_twice_counts_once(tmp_path, content):
    content = {"type": "FeatureCollection", "features": content} if isinstance(content, list) else content
    with pytest.warns(UserWarning):
        read = nuclei_files.read(geojson(tmp_path, content), 1.0)
    assert sorted(read[["x", "y"]].round(6).to_numpy().tolist()) == sorted(c["coordinates"] for c in MIDDLES)
    assert set(read["area_um2"].dropna()) == {100.0}


@pytest.mark.parametrize(
    "content",
    [
        features(map(together, OUTLINES, MIDDLES)),
        features(map(together, MIDDLES, OUTLINES)),
        features(together(together(*pair)) for pair in zip(OUTLINES, MIDDLES, strict=True)),
        features(map(together, OUTLINES, LINES)),
        features(together(one, {"type": "Point", "coordinates": [5, 5]}) for one in OUTLINES),  # not its centre
        features(together(multi("Polygon", [one]), LINES[0]) for one in OUTLINES),
    ],
)
def test_an_outline_with_something_beside_it_is_one_nucleus(tmp_path, content, recwarn):
    read = nuclei_files.read(geojson(tmp_path, {"type": "FeatureCollection", "features": content}), 1.0)
    assert read[["x", "y"]].round(6).to_numpy().tolist() == [c["coordinates"] for c in MIDDLES]
    assert set(read["area_um2"]) == {100.0} and not recwarn.list


def test_points_in_a_region_are_nuclei_and_the_region_is_none(tmp_path):
    with pytest.warns(UserWarning, match="1 of 7 shapes are the centre of an outline, an outline around other shapes"):
        read = nuclei_files.read(
            geojson(tmp_path, {"type": "FeatureCollection", "features": features([REGION, *MIDDLES])}), 1.0
        )
    assert len(read) == 6 and read["area_um2"].isna().all()


def test_touching_and_overlapping_outlines_are_all_counted(tmp_path, recwarn):
    touching, _ = squares(gap=10)
    overlapping, _ = squares(gap=7)
    for outlines in (touching, overlapping):
        content = {"type": "FeatureCollection", "features": features(outlines)}
        assert len(nuclei_files.read(geojson(tmp_path, content), 1.0)) == 6
    assert not recwarn.list


def test_outlines_with_centres_in_a_table_of_shapes_count_once(tmp_path):
    shapes = [shapely.geometry.shape(one) for one in [*OUTLINES, *MIDDLES]]
    pd.DataFrame({"geometry": shapely.to_wkb(shapes), "class": "a"}).to_parquet(tmp_path / "n.parquet")
    with pytest.warns(UserWarning, match="6 of 12 shapes"):
        assert len(nuclei_files.read(tmp_path / "n.parquet", 1.0)) == 6


@pytest.mark.parametrize(
    "rows",
    [
        [together(*pair) for pair in zip(OUTLINES, MIDDLES, strict=True)],
        [multi("Polygon", OUTLINES), multi("Point", MIDDLES)],
        [multi("Polygon", OUTLINES[:2]), multi("Polygon", OUTLINES[2:])],
        [together(multi("Polygon", OUTLINES), *MIDDLES)],
        [together(one, {"type": "Point", "coordinates": [500 + n, 5]}) for n, one in enumerate(OUTLINES)],
    ],
)
@pytest.mark.filterwarnings("ignore:.*are not counted again")
def test_shapes_of_several_parts_are_read_alike_in_both_kinds_of_file(tmp_path, rows):
    shapes = [shapely.geometry.shape(one) for one in rows]
    pd.DataFrame({"geometry": shapely.to_wkb(shapes), "class": list("ab" * 3)[: len(rows)]}).to_parquet(
        tmp_path / "n.parquet"
    )
    read = nuclei_files.read(tmp_path / "n.parquet", 1.0)
    content = {"type": "FeatureCollection", "features": features(rows)}
    assert len(read) == len(nuclei_files.read(geojson(tmp_path, content), 1.0)) == 6
    assert read["type"].notna().all()


def test_points_count_as_nuclei_without_area(tmp_path):
    read = nuclei_files.read(geojson(tmp_path, feature("Point", [50, 50])), MPP)
    counted = classical.count(read, np.array([[50.0, 50.0]]), MPP, 100)
    assert counted["n_nuclei"].tolist() == [1] and counted["nuclei_area_um2"].isna().all()


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("n.geojson", "", "damaged, or not GeoJSON"),
        ("n.geojson", '{"type": "FeatureCollection", "features": [{"type": "Feat', "damaged, or not GeoJSON"),
        ("n.geojson", "[1, 2]", "damaged, or not GeoJSON"),
        ("n.geojson", '{"type": "FeatureCollection", "features": []}', "holds no nuclei"),
        ("n.geojson", json.dumps([feature("LineString", [[0, 0], [1, 1], [0, 0]])]), "number 1 is a LineString"),
        ("n.geojson", json.dumps([feature("Polygon", [[[0, 0]]])]), "number 1 is a Polygon of too few points"),
        ("n.geojson", json.dumps([feature("Polygon", [])]), "1 of 1 shapes are no nuclei, number 1 is empty"),
        ("n.geojson", json.dumps([feature("Point", [1, 2]) | {"geometry": None}]), "number 1 is missing"),
        ("n.parquet", "PAR1", "damaged, or not a parquet file"),
        ("n.txt", "x,y", "give nuclei as .parquet, .geojson, .json"),
    ],
)
def test_what_holds_no_nuclei_is_refused_by_name(tmp_path, name, content, what):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"n\.\w+: .*{what}"):
        nuclei_files.read(tmp_path / name, MPP)


def test_a_table_of_something_else_is_refused_by_its_columns(tmp_path):
    pd.DataFrame({"vertex_x": [1.0]}).to_parquet(tmp_path / "n.parquet")
    with pytest.raises(ValueError, match="neither x and y nor geometry among its columns .vertex_x"):
        nuclei_files.read(tmp_path / "n.parquet", MPP)
    pd.DataFrame({"geometry": ["here"]}).to_parquet(tmp_path / "n.parquet")
    with pytest.raises(ValueError, match="neither WKB nor WKT"):
        nuclei_files.read(tmp_path / "n.parquet", MPP)


def test_a_nucleus_without_position_is_refused(found, tmp_path):
    store.write_table(found.assign(x=np.nan), tmp_path / "n.parquet")
    with pytest.raises(ValueError, match="n.parquet: 3 of 3 shapes are no nuclei, number 1 is without a position"):
        nuclei_files.read(tmp_path / "n.parquet", MPP)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.parquet"):
        nuclei_files.read(tmp_path / "gone.parquet", MPP)


# --- as other tools write them, with what is no nucleus among them ---

CENTRES = np.random.default_rng(0).uniform(50, 900, (40, 2))


def ring(centre, k=10, radius=6.0):
    angles = np.arange(k + 1) * 2 * np.pi / k
    return (centre + radius * np.column_stack([np.cos(angles), np.sin(angles)])).tolist()


def good(**properties):
    return [feature("Polygon", [ring(centre)], **properties) for centre in CENTRES]


AREA = shapely.area(shapely.Polygon(ring((0, 0)))) * MPP**2
BOX = [[[0, 0], [999, 0], [999, 999], [0, 999], [0, 0]]]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (feature("Polygon", [[[1, 1], [2, 2]]]), "a Polygon of too few points"),
        (feature("Polygon", [[[1, 1], [2, 2], [1, 1], [1, 1]]]), "an outline without area"),
        (feature("Polygon", []), "empty"),
        (feature("LineString", [[1, 1], [5, 5]]), "a LineString"),
        (feature("Point", [1, 1]) | {"geometry": None}, "missing"),
        (None, "missing"),
        (feature("Polygon", BOX), "an outline of more than 50 nuclei"),
        (feature("MultiPolygon", [[[[5, 5], [6, 6]]]]), "a Polygon of too few points"),
    ],
)
def test_one_bad_shape_is_left_out_counted_and_named(tmp_path, bad, says):
    with pytest.warns(UserWarning, match=f"1 of 41 shapes are no nuclei and are left out: number 41 is {says}"):
        read = nuclei_files.read(geojson(tmp_path, [*good(), bad]), MPP)
    np.testing.assert_allclose(read[["x", "y"]], CENTRES)
    np.testing.assert_allclose(read["area_um2"], AREA)


def test_one_cell_without_a_place_is_left_out(tmp_path):
    cells = [{"centroid": list(centre)} for centre in CENTRES]
    for content in ({"cells": [*cells, {"contour": None}]}, {"nuc": [*cells, {"centroid": None}]}):
        with pytest.warns(UserWarning, match=f"1 of {len(cells) + 1} shapes are no nuclei .* is missing"):
            assert len(nuclei_files.read(geojson(tmp_path, content), MPP)) == len(cells)


def test_three_of_many_bad_shapes_are_named(tmp_path):
    with pytest.warns(UserWarning, match="5 of 45 .*number 41 is missing, number 42 is missing, number 43 is missing$"):
        nuclei_files.read(geojson(tmp_path, [*good(), *[{"geometry": None}] * 5]), MPP)


def test_outlines_that_cross_themselves_are_repaired(tmp_path):
    """A spike is cut off; a bow-tie, or points in disorder, is given its hull."""
    star = [ring((50, 50))[i] for i in (0, 5, 1, 6, 2, 7, 3, 8, 4, 9, 0)]
    bow = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    spike = [[0, 0], [10, 0], [10, 10], [12, 12], [9, 10], [0, 10], [0, 0]]
    path = geojson(tmp_path, [feature("Polygon", [outline]) for outline in (star, bow, spike)])
    with pytest.warns(UserWarning, match="outlines cross themselves and were repaired"):
        area = nuclei_files.read(path, 1.0)["area_um2"]
    np.testing.assert_allclose(area, [AREA / MPP**2, 100, 100], rtol=0.03)


@pytest.mark.parametrize(
    "written",
    [
        [*good(objectType="detection"), feature("Polygon", BOX, objectType="annotation")],
        [*good(object_type="detection"), feature("Polygon", BOX, object_type="annotation")],
        [
            *[f | {"id": "PathDetectionObject"} for f in good()],
            feature("Polygon", BOX) | {"id": "PathAnnotationObject"},
        ],
        [*good(objectType="detection"), *[feature("Polygon", SQUARE, objectType="tile")] * 9],
        {"type": "GeometryCollection", "geometries": [f["geometry"] | {"cell": 1} for f in good()]},
        {"wsi_metadata": {}, "cells": [{"centroid": c.tolist(), "contour": ring(c)} for c in CENTRES]},
        {"mag": 40, "nuc": {str(k): {"centroid": c.tolist(), "contour": ring(c)} for k, c in enumerate(CENTRES)}},
        [feature("Polygon", [ring(centre)[:-1]]) for centre in CENTRES],
    ],
    ids=["QuPath 0.4", "QuPath 0.3", "QuPath 0.2", "tiles", "Baysor", "CellViT", "HoVer-Net", "not closed"],
)
@pytest.mark.filterwarnings("error::UserWarning")
def test_nuclei_of_each_tool_are_read_and_regions_beside_them_are_not(tmp_path, written):
    read = nuclei_files.read(geojson(tmp_path, written), MPP)
    np.testing.assert_allclose(read[["x", "y"]], CENTRES)
    np.testing.assert_allclose(read["area_um2"], AREA)


def test_types_and_probabilities_are_read_as_tools_write_them(tmp_path):
    for value in ("Tumor", {"name": "Tumor"}, '{"name": "Tumor", "color": [1, 2, 3]}', {"names": ["Tumor"]}):
        assert set(nuclei_files.read(geojson(tmp_path, good(classification=value)), MPP)["type"]) == {"Tumor"}
    for value, known in ((0.5, 0.5), (None, np.nan), ("NaN", np.nan)):
        read = nuclei_files.read(geojson(tmp_path, good(measurements={"Detection probability": value})), MPP)
        np.testing.assert_array_equal(read["probability"], known)
    cell = {"centroid": [5, 5], "type": 1, "type_prob": 0.9}
    content = {"type_map": {"1": "Neoplastic"}, "cells": [cell]}
    assert nuclei_files.read(geojson(tmp_path, content), MPP).iloc[0].to_dict() == {
        "x": 5, "y": 5, "area_um2": pytest.approx(np.nan, nan_ok=True), "type": "Neoplastic", "probability": 0.9,
    }  # fmt: skip


@pytest.mark.parametrize("write", [shapely.to_wkb, shapely.to_wkt, lambda g: shapely.to_wkb(g, hex=True)])
def test_geometry_is_read_as_bytes_digits_or_words(tmp_path, write):
    pd.DataFrame({"geometry": write(shapely.box([10, 100], [20, 200], [20, 104], [30, 210]))}).to_parquet(
        tmp_path / "n.parquet"
    )
    np.testing.assert_allclose(nuclei_files.read(tmp_path / "n.parquet", 1.0)["area_um2"], [100, 40])


def test_vertices_of_xenium_are_um_and_said_to_be(tmp_path):
    corners = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    table = pd.DataFrame(np.vstack([corners, corners + 50]), columns=["vertex_x", "vertex_y"])
    table.assign(cell_id=np.repeat(["b", "a"], 4)).to_parquet(tmp_path / "n.parquet")
    with pytest.warns(UserWarning, match="Xenium's um, of its own image, are taken for 0.5 um a pixel"):
        read = nuclei_files.read(tmp_path / "n.parquet", 0.5)
    assert read[["x", "y"]].to_numpy().tolist() == [[10, 10], [110, 110]]
    np.testing.assert_allclose(read["area_um2"], 100)


def test_an_area_of_unknown_unit_is_not_used_and_said(tmp_path):
    pd.DataFrame({"x": ["1", "2"], "y": [3.0, 4.0], "area": [9, 9]}).to_parquet(tmp_path / "n.parquet")
    with pytest.warns(UserWarning, match="unit of its column area is not known; name it area_um2"):
        read = nuclei_files.read(tmp_path / "n.parquet", MPP)
    assert read["x"].tolist() == [1, 2] and read["area_um2"].isna().all()


@pytest.fixture(scope="module")
def section():
    """12 x 12 spots, 20 nuclei somewhere in each disc, and pixels of 0.688 um."""
    spatial = np.stack(np.meshgrid(np.arange(12), np.arange(20, 32)), axis=-1).reshape(-1, 2) * 200 / MPP + 300
    at = np.random.default_rng(0).uniform(-30, 30, (len(spatial), 20, 2)) / MPP + spatial[:, None]
    return spatial, pd.DataFrame(at.reshape(-1, 2), columns=["x", "y"]).assign(area_um2=40.0)


def test_plausible_nuclei_raise_no_warning(section):
    spatial, found = section
    assert nuclei_files.quality_warnings(found, spatial, MPP, 100) == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda xy: xy * MPP, "given in um, not in pixels"),
        (lambda xy: xy[:, ::-1], "given y before x"),
        (lambda xy: xy / 4, "given in pixels of an image 4 times smaller"),
        (lambda xy: xy * 2, "given in pixels of an image 2 times larger"),
        (lambda xy: xy + 1e6, "100% of all outside the spots; are they of this section"),
    ],
)
def test_coordinates_in_other_units_are_named(section, spoil, reason):
    spatial, found = section
    found = found.assign(**dict(zip("xy", spoil(found[["x", "y"]].to_numpy()).T, strict=True)))
    [warning] = nuclei_files.quality_warnings(found, spatial, MPP, 100)
    assert reason in warning


def test_more_nuclei_than_there_is_room_for_and_areas_of_no_nucleus_are_named(section):
    spatial, found = section
    [warning] = nuclei_files.quality_warnings(pd.concat([found] * 30), spatial, MPP, 100)
    assert "600 nuclei per spot" in warning
    [warning] = nuclei_files.quality_warnings(found.assign(area_um2=40 / MPP**2 / 0.05), spatial, MPP, 100)
    assert "1.69e+03 um2" in warning
