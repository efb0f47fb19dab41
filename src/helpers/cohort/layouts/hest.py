"""HEST-1k as downloaded."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from helpers import schema
from helpers.cohort import images, tenx
from helpers.cohort.layouts import h5ad, raw
from helpers.cohort.layouts.raw import RawSection


def read(root: Path, name: str, counts_layer: str | None = None, gene_names: str | None = None) -> RawSection:
    """A section of HEST-1k as downloaded (Jaume et al. 2024, arXiv 2406.16192).

    `name` is a HEST id, or the `subseries` that one file of `metadata/` gives. `st/{id}.h5ad` holds counts and pixels,
    `metadata/{id}.json` spot, pitch and HEST's estimate of the pixel size, `wsis/{id}.tif` the image,
    `cellvit_seg/{id}_cellvit_seg.parquet` or `.geojson` nuclei.
    """
    name = _id(root, name)
    section = h5ad.read(root / "st", name, counts_layer, gene_names).spots
    # HEST pads the names of spots, 010x013; elsewhere the same spot is 10x13.
    section.obs_names = section.obs_names.str.replace(r"^0*(\d+)x0*(\d+)$", r"\1x\2", regex=True)
    metadata = raw.read_json(root / "metadata" / f"{name}.json")
    nuclei = [root / "cellvit_seg" / f"{name}_cellvit_seg.{kind}" for kind in ("parquet", "geojson")]
    return RawSection(
        section,
        patient=_patient(root, metadata),
        image=raw.only_file(root / "wsis", f"{name}.[a-zA-Z]*", images.SUFFIXES),
        nuclei_file=next((path for path in nuclei if path.is_file()), None),
        spot_um=tenx.number(metadata.get("spot_diameter")),
        pitch_um=tenx.number(metadata.get("inter_spot_dist")),
        mpp_estimated=tenx.number(metadata.get("pixel_size_um_estimated")),
        image_size=_size(metadata),
    )


def _id(root: Path, name: str) -> str:
    if (root / "st" / f"{name}.h5ad").exists():
        return name
    subseries = {path.stem: raw.read_json(path).get("subseries") for path in sorted((root / "metadata").glob("*.json"))}
    ids = [key for key, value in subseries.items() if value == name]
    if len(ids) > 1:
        raise ValueError(f"{root}: {name} is the subseries of {raw.listed(ids)}; say which under ids in the config")
    if not ids:
        raise FileNotFoundError(
            f"{root / 'st' / name}.h5ad: no such file, and no file of {root / 'metadata'} has the subseries {name}; "
            f"check the root, give the HEST id under ids in the config, or fetch the files (make data)"
        )
    return ids[0]


def _patient(root: Path, metadata: Mapping) -> str:
    """The patient as the metadata name them, with the study where another study has a patient of the same name.

    Names are local to a study: Patient 1 of two publications is two people.
    """
    patient, studies = schema.patient_name(metadata.get("patient")), set()
    for path in (root / "metadata").glob("*.json") if patient else ():
        with suppress(ValueError):  # damaged metadata of another section are that section's problem
            other = raw.read_json(path)
            studies |= {_study(other)} if schema.patient_name(other.get("patient")) == patient else set()
    return f"{patient} of {_study(metadata) or 'an unnamed study'}" if len(studies) > 1 else patient


def _study(metadata: Mapping) -> str:
    return next((str(metadata[key]) for key in ("dataset_title", "study_link") if metadata.get(key)), "")


def _size(metadata: Mapping) -> tuple[float, float] | None:
    size = tuple(tenx.number(metadata.get(key)) for key in ("fullres_px_width", "fullres_px_height"))
    return size if min(size) > 0 else None
