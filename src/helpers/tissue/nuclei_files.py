"""Nuclei as files: what QuPath, CellViT, HEST-1k and this project write is read, and any back end's nuclei exported.

Coordinates are pixels of the full-resolution image everywhere.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from pyarrow import ArrowException
from scipy.spatial import cKDTree

from helpers import store
from helpers.schema import NUCLEI_COLUMNS

MEASURED = ["x", "y", "area_um2", "probability"]  # as our GeoJSON names them among a nucleus's measurements
CORNERS = 8  # of the polygon that stands for a nucleus without an outline
MOST_PER_MM2 = 60_000.0  # nuclei of 16 um2 side by side
AREAS_UM2 = 5.0, 500.0  # a median outside is no nucleus


def as_table(nuclei: pd.DataFrame, section: str, back_end: str) -> pd.DataFrame:
    """Nuclei of any back end as the one table, `schema.NUCLEI_COLUMNS`: what it does not know is missing."""
    table = nuclei.assign(section=section, back_end=back_end).reindex(columns=list(NUCLEI_COLUMNS))
    table["type"] = table["type"].astype(object).where(table["type"].notna(), None)
    return table.astype(dict.fromkeys(MEASURED, float)).reset_index(drop=True)


def read(path: str | Path, mpp: float) -> pd.DataFrame:
    """Nuclei of a file: x, y (full-resolution pixels, of `mpp` um), area_um2, type, probability.

    `.parquet`: this project's table, or a GeoDataFrame as HEST-1k writes it (`geometry`, `class`). `.geojson`,
    `.json`: a polygon or a point per nucleus, as QuPath exports them, or a MultiPolygon or MultiPoint per type, as
    CellViT and HEST-1k write them. A point has no area (NaN). A file with QuPath's detections or cells gives
    these alone, a cell its nucleus; annotations beside them are regions. Our own measurements go before geometry.
    FileNotFoundError for a missing file; ValueError for one that is damaged, of another kind, without nuclei, or
    with shapes that are no nuclei (lines).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of nuclei; check nuclei: table in the config")
    if path.suffix not in READERS:
        raise ValueError(f"{path}: not a kind of file known here; give nuclei as {', '.join(READERS)}")
    nuclei = READERS[path.suffix](path, mpp)
    if not len(nuclei):
        raise ValueError(f"{path}: holds no nuclei; export them again, or choose another back end")
    if not np.isfinite(nuclei[["x", "y"]].to_numpy(float)).all():
        raise ValueError(f"{path}: some nuclei have no position; export them again")
    return nuclei.reset_index(drop=True)


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
    except (OSError, ValueError, ArrowException) as error:
        raise ValueError(f"{path}: damaged, or not a parquet file ({error}); export it again") from error
    if {"x", "y"} <= set(table.columns):
        return _columns(table)
    if "geometry" not in table:
        have = ", ".join(map(str, table.columns))
        raise ValueError(f"{path}: neither x and y nor geometry among its columns ({have}); give either")
    try:
        geometry = shapely.from_wkb(table["geometry"].to_numpy())
    except (shapely.errors.ShapelyError, TypeError) as error:
        raise ValueError(f"{path}: its geometry is not WKB ({error}); write it with geopandas") from error
    known = table.reindex(columns=["class"]).set_axis(["type"], axis=1).reset_index(drop=True)
    return _measured(path, geometry, known, mpp)


def _read_geojson(path: Path, mpp: float) -> pd.DataFrame:
    try:
        content = json.loads(path.read_bytes())
        features = content.get("features", [content]) if isinstance(content, dict) else content
        kinds = [_properties(feature).get("objectType") for feature in features]
        if any(kind in OBJECTS for kind in kinds):
            features = [feature for feature, kind in zip(features, kinds, strict=True) if kind in OBJECTS]
        geometry, rows = [], []
        for feature in features:
            shape = shapely.geometry.shape(feature.get("nucleusGeometry") or feature["geometry"])
            whole = _properties(feature).get("objectType") in OBJECTS
            parts = [shape] if whole or not hasattr(shape, "geoms") else list(shape.geoms)
            geometry += parts
            rows += [_described(_properties(feature))] * len(parts)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, shapely.errors.ShapelyError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: damaged, or not GeoJSON ({reason}); export it again") from error
    return _measured(path, np.array(geometry, object), pd.DataFrame(rows), mpp)


OBJECTS = {"detection", "cell"}  # of QuPath: one nucleus each
NUCLEI = [shapely.GeometryType.POINT, shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON]
READERS = {".parquet": _read_parquet, ".geojson": _read_geojson, ".json": _read_geojson}


def _properties(feature: dict) -> dict:
    return feature.get("properties") or {}


def _described(properties: dict) -> dict:
    """Type and measurements of a QuPath object; those before version 0.4 list their measurements."""
    measured = properties.get("measurements") or {}
    if isinstance(measured, list):
        measured = {entry["name"]: entry["value"] for entry in measured}
    class_ = properties.get("classification") or {}
    numbers = {key: float(measured.get(key, np.nan)) for key in MEASURED}
    if "Detection probability" in measured:  # StarDist's
        numbers["probability"] = float(measured["Detection probability"])
    return numbers | {"type": class_.get("name") or ": ".join(class_.get("names", [])) or None}


def _measured(path: Path, geometry: np.ndarray, known: pd.DataFrame, mpp: float) -> pd.DataFrame:
    """Centre and area of each shape, where `known`, a row per shape, does not tell them."""
    kinds = shapely.get_type_id(geometry)
    nucleus = np.isin(kinds, NUCLEI) & ~shapely.is_empty(geometry)
    if not nucleus.all():
        first = geometry[~nucleus][0]
        what = "missing" if first is None else "empty" if first.is_empty else f"a {first.geom_type}"
        raise ValueError(
            f"{path}: {np.sum(~nucleus)} shapes are no nuclei, the first is {what}; "
            "export a polygon (closed and filled) or a point for each nucleus"
        )
    centre, area = shapely.centroid(geometry), shapely.area(geometry) * mpp**2
    area[kinds == shapely.GeometryType.POINT] = np.nan
    table = pd.DataFrame({"x": shapely.get_x(centre), "y": shapely.get_y(centre), "area_um2": area})
    return _columns(known.combine_first(table))


def _columns(table: pd.DataFrame) -> pd.DataFrame:
    return as_table(table, "", "").drop(columns=["section", "back_end"])
