"""Sections: written as they were read, counted as the files say, and described without a slip."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import store
from helpers.chapters import data
from helpers.cohort import simulate

QC = {"min_spots": 10, "min_median_counts": 1000, "min_spot_counts": 1, "reason": "too few to rank"}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two sections without images, the second with a spot that holds nothing."""
    root = tmp_path_factory.mktemp("cohort")
    simulate.write_cohort(root, sections={"A1": 3000, "B1": 900}, lattice=(6, 5), n_genes=120, images=False)
    return root


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "section": ["A1", "A2", "B1"],
            "patient": ["A", "A", "B"],
            "kept": [True, True, False],
            "n_spots": [1000, 500, 40],
            "n_spots_dropped": [1, 0, 0],
            "mpp": [0.9, 0.92, 0.25],
            "median_total_counts": [2000.0, 1000.0, 250.0],
            "image": ["a1.jpg", "", ""],
            "warnings": ["", "section A2: look", ""],
            "n_shallow": [10, 20, 0],
        }
    )


def test_each_section_is_written_to_its_path_and_has_a_row(cohort, tmp_path):
    paths = [tmp_path / f"{name}.h5ad" for name in ("A1", "B1")]
    table = data.write_sections(paths, {"layout": "her2st", "root": str(cohort)}, QC)
    written = [store.read_section(path) for path in paths]
    assert table["section"].tolist() == ["A1", "B1"] == [section.uns["section"] for section in written]
    assert table["n_spots"].tolist() == [section.n_obs for section in written]
    assert table["n_empty"].tolist() == [0, 1]
    assert table["kept"].tolist() == [True, False]
    assert "problem" not in table


def test_raw_files_are_simulated_or_verified_or_left_alone(tmp_path):
    data.provide_raw_files(tmp_path / "own")
    assert not (tmp_path / "own").exists()
    plan = {"sections": {"A1": 3000}, "lattice": (4, 3), "n_genes": 120, "images": False}
    data.provide_raw_files(tmp_path / "toy", plan)
    assert (tmp_path / "toy/data/ST-cnts/A1.tsv.gz").is_file()
    (tmp_path / "file.tsv").write_bytes(b"counts")
    manifest = pd.DataFrame({"path": ["file.tsv"], "git_blob_sha1": [hashlib.sha1(b"blob 6\0counts").hexdigest()]})
    store.write_table(manifest, tmp_path / "manifest.csv")
    data.provide_raw_files(tmp_path, manifest=tmp_path / "manifest.csv")
    (tmp_path / "file.tsv").write_bytes(b"other")
    with pytest.raises(ValueError, match="file.tsv: not the file of the public repository"):
        data.provide_raw_files(tmp_path, manifest=tmp_path / "manifest.csv")


def test_spots_keep_their_names_and_the_columns_asked():
    obs = pd.DataFrame({"section": "A1", "total_counts": [3.0, 5.0]}, index=["10x13", "10x14"])
    both = [AnnData(np.zeros((2, 1)), obs=obs), AnnData(np.zeros((2, 1)), obs=obs.assign(section="A2"))]
    assert data.spots_of(both).columns.tolist() == ["spot", "section", "total_counts"]
    found = data.spots_of(iter(both), ["section"])
    assert found.to_numpy().tolist() == [["10x13", "A1"], ["10x14", "A1"], ["10x13", "A2"], ["10x14", "A2"]]
    assert found.index.tolist() == [0, 1, 2, 3]


def test_what_was_read_is_counted(table):
    assert data.answer(table) == (
        "3 sections of 2 patients were read, with 1,540 spots; 1 of 3 has an image. A pixel is 0.250 to 0.920 µm wide. "
        "The median depth of a section is 250 (B1) to 2,000 (A1) molecules a spot."
    )
    assert data.answer(table[:1]) == (
        "1 section of 1 patient was read, with 1,000 spots; 1 of 1 has an image. A pixel is 0.900 µm wide. "
        "The median depth of a section is 2,000 molecules a spot."
    )


def test_what_was_dropped_is_counted_and_sections_without_an_image_named(table):
    assert data.describe_dropped(table) == (
        "1 spot was dropped. Without an image, skipped wherever pixels are needed: A2, B1."
    )
    assert data.describe_dropped(table[1:].assign(image="a.jpg")) == "0 spots were dropped."


def test_warnings_are_listed_and_their_absence_said(table):
    assert data.list_warnings(table) == "- section A2: look"
    assert data.list_warnings(table.assign(warnings="")) == "No section gave a warning."


def test_the_rule_stands_with_its_reason(table):
    assert data.describe_rule(table, QC) == (
        "A spot needs at least 1 counts, which leaves out 30 spots of 2 sections. "
        "A section needs at least 10 spots and a median of 1000 counts per spot: too few to rank. "
        "2 of 3 sections are kept."
    )
    assert data.describe_rule(table[:1], QC).endswith("1 of 1 section is kept.")


def test_the_label_20x_is_off_by_the_worse_of_both_sides(table):
    assert data.describe_pixels(table) == (
        "A: 0.900 to 0.920 µm per pixel; B: 0.250 µm per pixel. "
        "Taking 20x for 0.5 µm at its word would be off by a factor of up to 2.00."
    )
    assert data.describe_pixels(table[:2]).endswith("up to 1.84.")


def test_the_deepest_section_is_set_beside_the_shallowest(table):
    sentence = data.describe_depth(table)
    assert sentence.startswith("The median depth of the deepest section is 8.0 times that of the shallowest.")
