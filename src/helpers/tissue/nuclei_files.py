"""Nuclei as files: what QuPath, CellViT, HEST-1k and this project write is read, and any back end's nuclei exported.

Coordinates are pixels of the full-resolution image everywhere.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from anndata import AnnData
from scipy.spatial import cKDTree

from helpers import schema, store, unpacked
from helpers.schema import NUCLEI_COLUMNS

MEASURED = ["x", "y", "area_um2", "probability"]  # as our GeoJSON names them among a nucleus's measurements
CORNERS = 8  # of the polygon that stands for a nucleus without an outline
MOST_PER_MM2 = 60_000.0  # nuclei of 16 um2 side by side
CONVEX = 0.75  # of its hull that a nucleus fills; bow-ties fill half
LARGE = 50  # times the median area: a region
MISSING = "missing"
AREAS_UM2 = 5.0, 500.0  # a median outside is no nucleus


def as_table(nuclei: pd.DataFrame, section: str, back_end: str) -> pd.DataFrame:
    """Nuclei of any back end as the one table, `schema.NUCLEI_COLUMNS`: what it does not know is missing."""
    table = nuclei.assign(section=section, back_end=back_end).reindex(columns=list(NUCLEI_COLUMNS))
    known = table["type"].notna()
    table["type"] = table["type"].astype(object).where(~known, table["type"].astype(str)).where(known, None)
    return table.astype(dict.fromkeys(MEASURED, float)).reset_index(drop=True)


def of_section(section: AnnData, nuclei: Mapping) -> str:
    """The file of nuclei that the config names (`nuclei: table`), else the one that came with the section, or ""."""
    return nuclei.get("table") or str(section.uns.get("nuclei_file", ""))


def read(path: str | Path, mpp: float, placement: np.ndarray | None = None) -> pd.DataFrame:
    """Nuclei of a file: x, y (full-resolution pixels, of `mpp` um), area_um2, type, probability.

    Where the section's picture is another one, of `mpp` um per pixel, `placement` (2 x 3) takes the file's pixels to
    its; outlines are then left out.

    `.parquet`: this project's table, a GeoDataFrame as HEST-1k writes it (`geometry`, `class`), or Xenium's vertices.
    `.geojson`, `.json`: a polygon or a point per nucleus, as QuPath, Baysor and Space Ranger export them, a
    MultiPolygon or MultiPoint per type, as CellViT and HEST-1k write them, or the JSON of CellViT and HoVer-Net. A
    point has no area (NaN). A file with QuPath's detections or cells gives these alone, a cell its nucleus;
    annotations beside them are regions. Our own measurements go before geometry. A nucleus that is given twice, as an
    outline and its centre, counts once (`_again`). Outlines that cross themselves are repaired, and shapes that are no
    nuclei left out, with a warning that counts them and names three.
    FileNotFoundError for a missing file; ValueError for one that is damaged, of another kind, or mostly no nuclei.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of nuclei; check nuclei: table in the config")
    if path.suffix not in READERS:
        raise ValueError(f"{path}: not a kind of file known here; give nuclei as {', '.join(READERS)}")
    if placement is not None:
        found = read(path, mpp * np.sqrt(abs(np.linalg.det(placement[:, :2])))).drop(columns="outline", errors="ignore")
        found[["x", "y"]] = found[["x", "y"]].to_numpy(float) @ placement[:, :2].T + placement[:, 2]
        return found
    unpacked.check_size(path)
    nuclei = READERS[path.suffix](path, mpp)
    schema.check_words(nuclei.get("type", pd.Series(dtype=str)).dropna().unique(), "type", path)
    if not len(nuclei):
        raise ValueError(f"{path}: holds no nuclei; export them again, or choose another back end")
    placed = np.isfinite(nuclei[["x", "y"]].to_numpy(float)).all(axis=1)
    return nuclei[_kept(path, np.where(placed, "", "without a position"))].reset_index(drop=True)


def write_geojson(nuclei: pd.DataFrame, path: str | Path, mpp: float) -> None:
    """Nuclei as QuPath's detections, in full-resolution pixels (of `mpp` um), with type and measurements.

    `nuclei` has x, y, area_um2, and type, probability and outline where a back end gives them. A nucleus is drawn by
    its `shapes`, one without area as a point; `read` gives back the numbers, not the drawing.
    """
    features = []
    for row, shape in zip(_columns(nuclei).to_dict("records"), shapes(nuclei, mpp), strict=True):
        points = shape.round(2).tolist()
        properties = {"objectType": "detection"}
        if row["type"] is not None:
            properties["classification"] = {"name": row["type"]}
        properties["measurements"] = {key: float(row[key]) for key in MEASURED if np.isfinite(row[key])}
        geometry = {"type": "Point", "coordinates": points[0]}
        if len(points) > 2:
            geometry = {"type": "Polygon", "coordinates": [points + points[:1]]}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    collection = {"type": "FeatureCollection", "features": features}
    with store.atomic(path) as partial:
        partial.write_text(json.dumps(collection, separators=(",", ":")))


def shapes(nuclei: pd.DataFrame, mpp: float) -> list[np.ndarray]:
    """Outline of each nucleus, k x 2 in full-resolution pixels: its own, else a polygon of its area, else its centre.

    `nuclei` has x, y, area_um2, and outline where a back end gives it.
    """
    angles = np.arange(CORNERS) * 2 * np.pi / CORNERS
    unit = np.column_stack([np.cos(angles), np.sin(angles)]) / np.sqrt(CORNERS / 2 * np.sin(2 * np.pi / CORNERS))
    outlines = nuclei["outline"] if "outline" in nuclei else [None] * len(nuclei)
    centres = nuclei[["x", "y"]].to_numpy(float)[:, None]
    radii = np.sqrt(nuclei["area_um2"].to_numpy(float)) / mpp
    circles = centres + radii[:, None, None] * unit
    return [
        outline if outline is not None else circle if known else centre
        for outline, circle, centre, known in zip(outlines, circles, centres, np.isfinite(radii), strict=True)
    ]


def quality_warnings(nuclei: pd.DataFrame, spatial: np.ndarray, mpp: float, spot_um: float) -> list[str]:
    """Why nuclei cannot be those of the section, each reason with the likely mistake; none where all is well.

    Implausible are: no nucleus in half of the discs of `spot_um` around `spatial` (n x 2, full-resolution pixels of
    `mpp` um), more in half of them than there is room for, a median area that is no nucleus's.
    """
    most = MOST_PER_MM2 * np.pi * (spot_um / 2000) ** 2
    spatial, points = np.asarray(spatial, float), nuclei[["x", "y"]].to_numpy(float)

    def n_per_spot(moved: np.ndarray) -> np.ndarray:
        return np.array(cKDTree(moved).query_ball_point(spatial, spot_um / 2 / mpp, return_length=True))

    warnings = []
    if not 0 < (median := np.median(n_per_spot(points))) <= most:
        moved = {"in um, not in pixels": points / mpp, "y before x": points[:, ::-1]}
        moved |= {f"in pixels of an image {k} times smaller": points * k for k in (2, 4, 8, 16, 32)}
        moved |= {f"in pixels of an image {k} times larger": points / k for k in (2, 4)}
        share = {guess: np.mean((n_per_spot(at) > 0) & (n_per_spot(at) <= most)) for guess, at in moved.items()}
        guess = max(share, key=share.get)
        likely = f"they look as if given {guess}" if share[guess] > 0.5 else "are they of this section and image?"
        margin = spot_um / mpp
        outside = ((points < spatial.min(0) - margin) | (points > spatial.max(0) + margin)).any(axis=1).mean()
        warnings.append(f"{median:.0f} nuclei per spot in the median, {outside:.0%} of all outside the spots; {likely}")
    area = nuclei["area_um2"].median()
    if np.isfinite(area) and not AREAS_UM2[0] <= area <= AREAS_UM2[1]:
        warnings.append(f"a nucleus has {area:.3g} um2 in the median; is a pixel {mpp:.3g} um wide, are these nuclei?")
    return warnings


def _read_parquet(path: Path, mpp: float) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow has errors of its own for each kind of damage
        raise ValueError(f"{path}: damaged, or not a parquet file ({error}); export it again") from error
    if {"x", "y"} <= set(table.columns):
        if "area" in table and "area_um2" not in table:
            warnings.warn(
                f"{path}: the unit of its column area is not known; name it area_um2 if it is um2", stacklevel=3
            )
        return _columns(table.assign(**table[["x", "y"]].apply(pd.to_numeric, errors="coerce")))
    if {"cell_id", "vertex_x", "vertex_y"} <= set(table.columns):
        warnings.warn(
            f"{path}: Xenium's um, of its own image, are taken for {mpp:.3g} um a pixel of this", stacklevel=3
        )
        corners = (table[["vertex_x", "vertex_y"]] / mpp).groupby(table["cell_id"], sort=False)
        geometry = [_built({"type": "Polygon", "coordinates": [one.to_numpy().tolist()]}) for _, one in corners]
        return _measured(path, geometry, pd.DataFrame(index=range(len(geometry))), mpp)
    if "geometry" not in table:
        have = ", ".join(map(str, table.columns))
        raise ValueError(f"{path}: neither x and y nor geometry among its columns ({have}); give either")
    known = table.reindex(columns=["class"]).set_axis(["type"], axis=1).reset_index(drop=True)
    parts = [(part, row) for row, one in enumerate(_parsed(path, table["geometry"])) for part in _single(one)]
    return _measured(
        path, [part for part, _ in parts], known.iloc[[row for _, row in parts]].reset_index(drop=True), mpp
    )


def _single(shape) -> list:
    """The polygons and points that a shape is made of, as `_simple` of GeoJSON."""
    if isinstance(shape, str) or not hasattr(shape, "geoms") or not len(shape.geoms):
        return [shape]
    parts = [single for part in shape.geoms for single in _single(part)]
    outlines = [part for part in parts if part.geom_type == "Polygon"]
    return outlines if len(outlines) == 1 else parts


def _parsed(path: Path, geometry: pd.Series) -> list:
    """Shapes of a column of WKB, also in hexadecimal digits, or WKT."""
    first = next((value for value in geometry if value is not None), b"")
    text = isinstance(first, str) and not set(first) <= set("0123456789abcdefABCDEF")
    try:
        shapes = (shapely.from_wkt if text else shapely.from_wkb)(geometry.to_numpy(object))
    except (shapely.errors.ShapelyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its geometry is neither WKB nor WKT ({error}); write it with geopandas") from error
    return [MISSING if shape is None else shape for shape in shapes]


def _read_geojson(path: Path, mpp: float) -> pd.DataFrame:
    try:
        content = json.loads(path.read_bytes())
        items = list(_instances(content) if isinstance(content, dict) and "type" not in content else _parts(content))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: damaged, or not GeoJSON ({reason}); export it again") from error
    geometry, rows = zip(*items, strict=True) if items else ((), ())
    return _measured(path, [_built(one) for one in geometry], pd.DataFrame(list(rows)), mpp)


OBJECTS = {"detection", "cell"}  # of QuPath: one nucleus each
KINDS = {f"Path{kind.capitalize()}Object": kind for kind in ("detection", "cell", "annotation", "tile")}  # before 0.3
NUCLEI = [shapely.GeometryType.POINT, shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON]
READERS = {".parquet": _read_parquet, ".geojson": _read_geojson, ".json": _read_geojson}


def _instances(content: dict) -> Iterator[tuple[dict, dict]]:
    """Outline, else centre, and what is known, of each nucleus in the JSON of CellViT (cells) or HoVer-Net (nuc)."""
    names = {
        str(key): value[0] if isinstance(value, list) else value for key, value in content.get("type_map", {}).items()
    }
    cells = content["cells"] if "cells" in content else content["nuc"]
    for cell in cells.values() if isinstance(cells, dict) else cells:
        geometry = {"type": "Point", "coordinates": cell["centroid"]} if cell.get("centroid") else None
        if cell.get("contour"):
            geometry = {"type": "Polygon", "coordinates": [cell["contour"]]}
        kind = cell.get("type")
        known = {"type": None if kind is None else str(names.get(str(kind), kind))}
        yield geometry, known | {"probability": _number(cell.get("type_prob"))}


def _parts(content: dict | list) -> Iterator[tuple[dict | None, dict]]:
    """Geometry of each nucleus of GeoJSON, and what is known of it."""
    features = content.get("features", content.get("geometries", [content])) if isinstance(content, dict) else content
    features = [one if one and "geometry" in one else {"geometry": one} for one in features]
    kinds = [_kind(feature) for feature in features]
    whole = any(kind in OBJECTS for kind in kinds)
    for feature, kind in zip(features, kinds, strict=True):
        if whole and kind not in OBJECTS:
            continue
        known = _described(_mapping(feature.get("properties")))
        geometry = feature.get("nucleusGeometry") or feature["geometry"]
        for part in [geometry] if whole else _simple(geometry):
            yield part, known


def _simple(geometry: dict | None) -> Iterator[dict | None]:
    """The polygons and points that a geometry is made of; of one polygon with anything beside it the polygon."""
    kind = geometry["type"] if geometry else ""
    if kind == "GeometryCollection":
        parts = [part for one in geometry["geometries"] for part in _simple(one)]
        outlines = [part for part in parts if part and part["type"] == "Polygon"]
        yield from outlines if len(outlines) == 1 else parts
    elif kind in ("MultiPolygon", "MultiPoint"):
        for one in geometry["coordinates"]:
            yield {"type": kind.removeprefix("Multi"), "coordinates": one}
    else:
        yield geometry


def _kind(feature: dict) -> str | None:
    """What QuPath calls the object; versions before 0.4 and before 0.3 say it elsewhere."""
    properties = _mapping(feature.get("properties"))
    kind = properties.get("objectType") or properties.get("object_type") or KINDS.get(feature.get("id"))
    return kind.lower() if isinstance(kind, str) else None


def _mapping(value) -> dict:
    """A mapping, also one that was written as text, as geopandas does; a text that is none is a name."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = json.loads(value)
    return value if isinstance(value, dict) else {"name": value} if isinstance(value, str) else {}


def _described(properties: dict) -> dict:
    """Type and measurements of a QuPath object; those before version 0.4 list their measurements."""
    measured = properties.get("measurements") or {}
    if isinstance(measured, list):
        measured = {entry.get("name"): entry.get("value") for entry in measured}
    measured, class_ = _mapping(measured), _mapping(properties.get("classification"))
    numbers = {key: _number(measured.get(key)) for key in MEASURED}
    if "Detection probability" in measured:  # StarDist's
        numbers["probability"] = _number(measured["Detection probability"])
    return numbers | {"type": class_.get("name") or ": ".join(class_.get("names", [])) or None}


def _number(value) -> float:
    return np.nan if value is None else float(pd.to_numeric(value, errors="coerce"))


def _built(geometry: dict | None):
    """The shape, or in words why it is none."""
    if geometry is None:
        return MISSING
    try:
        return shapely.geometry.shape(geometry)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, shapely.errors.ShapelyError):
        return f"a {geometry.get('type', 'shape')} of too few points"


def _measured(path: Path, shapes: list, known: pd.DataFrame, mpp: float) -> pd.DataFrame:
    """Centre and area of each shape, where `known`, a row per shape, does not tell them; words are no shapes."""
    wrong = np.array([shape if isinstance(shape, str) else "" for shape in shapes], object)
    geometry = np.array([None if isinstance(shape, str) else shape for shape in shapes], object)
    kinds = shapely.get_type_id(geometry)
    for at in np.flatnonzero((wrong == "") & (~np.isin(kinds, NUCLEI) | shapely.is_empty(geometry))):
        wrong[at] = "empty" if geometry[at].is_empty else f"a {geometry[at].geom_type}"
    outlined = (wrong == "") & (kinds != shapely.GeometryType.POINT)
    if n := len(crossed := np.flatnonzero(outlined & ~shapely.is_valid(geometry))):
        geometry[crossed] = [_mended(one) for one in geometry[crossed]]
        warnings.warn(f"{path}: {n} outlines cross themselves and were repaired", stacklevel=4)
    area = np.where(outlined, shapely.area(geometry) * mpp**2, np.nan)
    wrong[outlined & (area == 0)] = "an outline without area"
    usual = np.median(area[area > 0]) if (area > 0).any() else np.nan
    wrong[area > LARGE * usual] = f"an outline of more than {LARGE} nuclei"
    kept = _kept(path, wrong)
    geometry[~kept] = None  # an empty shape has no centre to ask for
    kept &= ~_again(path, geometry, (outlined & kept).astype(bool))
    centre = shapely.centroid(geometry)
    table = pd.DataFrame({"x": shapely.get_x(centre), "y": shapely.get_y(centre), "area_um2": area})
    return _columns(known.combine_first(table)[kept])


def _again(path: Path, geometry: np.ndarray, outlined: np.ndarray) -> np.ndarray:
    """Which shapes say again what another says: the point in an outline, and the outline around other shapes.

    A nucleus may be given by its outline and its centre, or within the outline of its cell or of a region. Of shapes
    that are equal the first is kept.
    """
    if not len(geometry):
        return np.zeros(0, bool)
    outer, inner = shapely.STRtree(geometry).query(geometry, predicate="contains_properly")
    outer, inner = outer[outer != inner], inner[outer != inner]
    n_within = np.bincount(outer, minlength=len(geometry))
    around = (n_within > 1) | (np.bincount(outer[outlined[inner]], minlength=len(geometry)) > 0)
    again, centres = around.copy(), inner[~outlined[inner] & ~around[outer]]
    again[centres] = True
    known = np.array([shape is not None for shape in geometry])
    place = np.column_stack(
        [shapely.get_x(at := shapely.centroid(geometry)), shapely.get_y(at), shapely.area(geometry)]
    )
    again |= known & pd.DataFrame(place.round(2)).duplicated().to_numpy()
    if again.any():
        warnings.warn(
            f"{path}: {again.sum()} of {known.sum()} shapes are the centre of an outline, an outline around other "
            "shapes, or there twice, and are not counted again",
            stacklevel=5,
        )
    return again


def _mended(outline: shapely.Geometry) -> shapely.Geometry:
    """An outline that crosses itself, made valid; its hull where that leaves too little of it: points in disorder."""
    valid, hull = shapely.make_valid(outline), shapely.convex_hull(outline)
    return hull if shapely.area(valid) < CONVEX * shapely.area(hull) else valid


def _kept(path: Path, wrong: np.ndarray) -> np.ndarray:
    """Which nuclei have nothing wrong; a warning counts the others and names three. ValueError where most are wrong."""
    bad = np.flatnonzero(wrong != "")
    named = ", ".join(f"number {at + 1} is {wrong[at]}" for at in bad[:3])
    if len(bad) > len(wrong) / 2:
        raise ValueError(
            f"{path}: {len(bad)} of {len(wrong)} shapes are no nuclei, {named}; export a polygon (closed and filled) "
            "or a point for each nucleus"
        )
    if len(bad):
        warnings.warn(
            f"{path}: {len(bad)} of {len(wrong)} shapes are no nuclei and are left out: {named}", stacklevel=4
        )
    return wrong == ""


def _columns(table: pd.DataFrame) -> pd.DataFrame:
    return as_table(table, "", "").drop(columns=["section", "back_end"])
