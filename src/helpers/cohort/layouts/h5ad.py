"""A section in one file of AnnData."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import schema, unpacked
from helpers.cohort import images, tenx
from helpers.cohort.layouts import arrays, raw
from helpers.cohort.layouts.raw import RawSection
from helpers.gene_names import symbols
from helpers.schema import SPATIAL

FULL = 0.95  # of the largest whole number that a type of numbers holds


def read(root: Path, name: str, counts_layer: str | None = None, gene_names: str | None = None) -> RawSection:
    """A section in one file, `{name}.h5ad`: raw counts in X, spot centres in `obsm["spatial"]`.

    `counts_layer` names another place of the counts, a layer or `raw`; `gene_names` the column of var with symbols.
    `obs["array_row"]` and `["array_col"]` are the lattice (hexagonal where their sums are all even, as in Visium),
    else names such as 10x13; `obs["in_tissue"]` leaves spots out, `obs["patient"]` names the patient. An image of the
    same name lies beside the file, or where the config's `images` says.
    """
    path = root / f"{name}.h5ad"
    found = opened(path)
    found.obsm[SPATIAL] = _centres(found, path)
    schema.check_words(found.obs_names, "spot", path)
    if found.obs_names.has_duplicates:
        twice = found.obs_names[found.obs_names.duplicated()][0]
        raise ValueError(f"{path}: spot {twice!r} occurs twice; keep one")
    scales = _scales_within(found)
    found = _counted(found, counts_layer, path)
    if (column := next((one for one in found.obs if one.lower() == "in_tissue"), None)) is not None:
        chosen = tenx.marked_spots(found.obs[column], f"{path}: obs['{column}']").to_numpy()
        if not chosen.any():
            raise ValueError(f"{path}: obs['{column}'] is 0 for all {len(chosen)} spots; choose those on tissue")
        found = found[chosen].copy()
    patient = _one_patient(found.obs, path)
    genes = symbols(found.var_names, str(path), found.var, gene_names)
    section = raw.section(found.X, found.obs_names, genes, found.obsm[SPATIAL])
    image = raw.only_file(root, f"{name}.[a-zA-Z]*", images.SUFFIXES)
    return arrays.on_array(section, arrays.coordinates(found.obs, path), scales)._replace(patient=patient, image=image)


def opened(path: Path) -> AnnData:
    """What an h5ad file of a user holds; an error names the file where it is missing, damaged or too large."""
    import anndata

    if not path.is_file():
        raw.refuse_zarr(path, path.with_suffix(".zarr"))
        raise FileNotFoundError(f"{path}: no such file; check the root and the section's name, or give ids")
    unpacked.check_size(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(Variable|Observation) names are not unique", UserWarning)
            return anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata have errors of their own for each kind of damage
        raise ValueError(f"{path}: not a readable h5ad file ({error}); fetch or write it again") from error


def _centres(found: AnnData, path: Path) -> np.ndarray:
    """x and y of each spot in pixels: columns of these names in a table, else the first two columns."""
    wanted = (
        "put each spot's centre there, x and y in pixels of the full-resolution image (pxl_col_in_fullres, "
        "pxl_row_in_fullres)"
    )
    if SPATIAL not in found.obsm:
        raise ValueError(f"{path}: no obsm['spatial'], it has {raw.listed(found.obsm)}; {wanted}")
    places = found.obsm[SPATIAL]
    for names in (["x", "y"], ["pxl_col_in_fullres", "pxl_row_in_fullres"]):
        if set(names) <= set(getattr(places, "columns", ())):
            places = places[names]
    if np.iscomplexobj(places):
        raise ValueError(f"{path}: obsm['spatial'] holds complex numbers; {wanted}")
    xy = np.asarray(places, float)[:, :2]
    bad = ~np.isfinite(xy).all(axis=1) | (xy.shape[1] < 2)
    if bad.any():
        raise ValueError(f"{path}: obsm['spatial'] has no x and y for {found.obs_names[bad][0]}; {wanted}")
    if len(xy) > 1 and np.ptp(xy, axis=0).max() == 0:
        raise ValueError(f"{path}: obsm['spatial'] has all spots at one place; {wanted}")
    return xy


def _counted(found: AnnData, counts_layer: str | None, path: Path) -> AnnData:
    """The object with raw counts in X, taken from where they are; refused where that place holds something else."""
    places = {"X": found.X, **found.layers} | ({"raw": found.raw.X} if found.raw is not None else {})
    wrong = {name: _no_counts(values, name) for name, values in places.items() if values is not None}
    place = counts_layer or "X"
    whole = [name for name, why in wrong.items() if not why]
    if place not in whole:
        what = wrong.get(place, f"{place} is not in the file")
        there = f"they are in {raw.listed(whole)}: give counts_layer in the config (audit: --counts-layer)"
        raise ValueError(f"{path}: {what}; {there if whole else 'no layer has raw counts: write them there'}")
    _warn_of_narrow(places[place], f"{path}: {place}")
    if place == "raw":
        counted = found.raw.to_adata()
        counted.obsm = found.obsm
        return counted
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Variable|Observation) names are not unique", UserWarning)
        return AnnData(X=places[place], obs=found.obs, var=found.var, obsm={SPATIAL: found.obsm[SPATIAL]})


def _warn_of_narrow(values, where: str) -> None:
    """Warn of counts that come near to what their type holds: larger ones start again from 0, or are rounded."""
    kind = values.dtype
    most = np.iinfo(kind).max if kind.kind in "iu" else 2 ** (np.finfo(kind).nmant + 1)
    if (highest := values.max()) > FULL * most:
        warnings.warn(
            f"{where}: the largest count is {highest:.0f} and {kind} holds whole numbers to {most}: larger ones would "
            "be wrong; write counts as int32 or float32",
            stacklevel=3,
        )


def _no_counts(values, place: str) -> str:
    """Why the values of a place are no raw counts, in words; "" where they are."""
    try:
        schema.check_counts(values, place)
    except ValueError as error:
        return str(error)
    return "" if values.sum() > 0 else f"{place}: every count is zero"


def _one_patient(obs: pd.DataFrame, path: Path) -> str:
    """The patient of all spots; unknown where none is named, and, with a warning, where several or only some are."""
    named = obs.get("patient", pd.Series(dtype=str)).astype(object).map(schema.patient_name)
    patients = set(named) - {""}
    schema.check_words(patients, "patient", path)
    if len(patients) > 1:
        warnings.warn(f"{path}: spots of {len(patients)} patients, {raw.listed(sorted(patients), 3)}", stacklevel=2)
    if len(patients) == 1 and (missing := int((named == "").sum())):
        warnings.warn(
            f"{path}: {missing} of {len(named)} spots name no patient, the others {min(patients)}: that of the section "
            "is not known; name one for every spot, or give patients in the config",
            stacklevel=2,
        )
        return ""
    return patients.pop() if len(patients) == 1 else ""


def _scales_within(found: AnnData) -> tenx.Scales:
    """What the scale factors say that scanpy keeps in uns, of one picture.

    A diameter alone says nothing: who wrote it, in um of a real spot or of Space Ranger's, is not known.
    """
    kept = found.uns.get(SPATIAL)
    kept = next(iter(kept.values())) if isinstance(kept, Mapping) and len(kept) == 1 else {}
    kept = kept if isinstance(kept, Mapping) else {}
    factors = {key: value for key, value in kept.get("scalefactors", {}).items() if key != "spot_diameter_fullres"}
    pictures = {kind: np.shape(picture)[1::-1] for kind, picture in kept.get("images", {}).items()}
    return tenx.scales(factors, found.obs_names, pictures)
