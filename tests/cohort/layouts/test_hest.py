"""HEST-1k: what its metadata and folders say of a section."""

import json

import pytest
import writers

from helpers.cohort import images, sections
from helpers.cohort.layouts import hest


def test_each_source_of_the_pixel_size_is_kept(truth, tmp_path):
    options = writers.hest_by_id(truth, tmp_path)
    found = sections.read("hest", tmp_path, "A1", 0.69, **options, embedded=images.embedded_mpp)
    by_source = found.uns["mpp_by_source"]
    assert list(by_source) == ["user", "lattice", "embedded", "estimated"]
    assert by_source["embedded"] == pytest.approx(truth.uns["mpp"], rel=1e-3)
    assert by_source["estimated"] == pytest.approx(truth.uns["mpp"] * 1.02)
    assert (found.uns["mpp"], found.uns["mpp_source"]) == (0.69, "user")


def test_nuclei_that_come_with_a_cohort_are_found(truth, tmp_path):
    writers.hest_by_id(truth, tmp_path)
    found = sections.read("hest", tmp_path, "A1")
    assert found.uns["nuclei_file"].endswith("cellvit_seg/SPA154_cellvit_seg.parquet")
    assert truth.uns["nuclei_file"] == ""


def write_patients(root, patients):
    """A section of HEST for each id, with the patient and the study that its metadata name."""
    for name, (patient, study) in patients.items():
        (root / "metadata").mkdir(exist_ok=True, parents=True)
        about = {"patient": patient, "dataset_title": study, "spot_diameter": 100, "inter_spot_dist": 200}
        (root / "metadata" / f"{name}.json").write_text(json.dumps(about))


def test_a_patient_is_local_to_its_study_and_one_but_for_spelling(tmp_path):
    patients = {
        "S1": ("Patient 1", "One"),
        "S2": ("patient  1", "One"),
        "S3": ("Patient 1", "Two"),
        "S4": ("Patient 2", "Two"),
        "S5": (float("nan"), "One"),
        "S6": ("  ", "One"),
    }
    write_patients(tmp_path, patients)
    read = {name: json.loads((tmp_path / f"metadata/{name}.json").read_text()) for name in patients}
    found = [hest._patient(tmp_path, metadata) for metadata in read.values()]
    assert found == ["1 of One", "1 of One", "1 of Two", "2", "", ""]
