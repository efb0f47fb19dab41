"""Nuclei per section, and against a truth that is known."""

import base64

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from PIL import Image

from helpers.chapters import segmentation_check

COUNTED = pd.DataFrame({"rho_nuclei_haematoxylin": [0.95, 0.9]}, index=["B4", "C2"])


@pytest.fixture
def spots():
    return pd.DataFrame(
        {
            "spot": ["1x1", "1x2", "1x3", "1x1", "1x2"],
            "section": ["A1", "A1", "A1", "B1", "B1"],
            "n_nuclei": [0, 10, 20, 4, 6],
            "nuclei_area_um2": [0.0, 300.0, 900.0, 100.0, np.nan],
            "haematoxylin": [0.1, 0.2, 0.3, 0.5, 0.4],
        }
    )


def test_density_and_area_are_those_of_the_section_s_own_discs_and_nuclei(spots):
    table = segmentation_check.nuclei_by_section(spots, {"A1": 100.0, "B1": 50.0})
    assert table.loc["A1", ["count", "min", "50%", "max"]].tolist() == [3, 0, 10, 20]
    assert table.loc["A1", "median_per_mm2"] == pytest.approx(10 / (np.pi * 0.05**2))
    assert table.loc["B1", "median_per_mm2"] == pytest.approx(5 / (np.pi * 0.025**2))
    assert table.loc["A1", "mean_nuclei_area_um2"] == 1200 / 30
    assert np.isnan(table.loc["B1", "mean_nuclei_area_um2"])  # a spot's area is unknown
    assert table["rho_nuclei_haematoxylin"].round(9).tolist() == [1, -1]


def test_the_truth_is_joined_by_the_name_of_the_spot(spots, tmp_path):
    pd.DataFrame({"spot": ["1x3", "1x1", "1x2"], "n_nuclei_true": [25, 1, 9]}).to_csv(tmp_path / "A1.csv", index=False)
    pd.DataFrame({"spot": ["1x2", "1x1"], "n_nuclei_true": [6, 5]}).to_csv(tmp_path / "B1.csv", index=False)
    table = segmentation_check.against_truth(spots, tmp_path)
    assert table.columns.tolist() == ["section", "n_nuclei_true", "n_nuclei"]
    assert table["n_nuclei_true"].tolist() == [1, 9, 25, 5, 6]
    assert table["n_nuclei"].tolist() == [0, 10, 20, 4, 6]
    with pytest.raises(FileNotFoundError, match=r"C1\.csv: no such file"):
        segmentation_check.against_truth(spots.assign(section="C1"), tmp_path)


def test_agreement_over_all_spots_and_where_they_are_dense():
    """40 counted of 50; the third quartile of the truth is 16.25, above it lies one spot: 16 of 20."""
    table = pd.DataFrame({"section": "A1", "n_nuclei_true": [5, 10, 15, 20], "n_nuclei": [4, 9, 11, 16]})
    assert segmentation_check.answer(table, COUNTED) == (
        "Against the simulated truth, 4 spots of 1 section: counted and true nuclei have a Spearman's rho of **1.00**, "
        "and the total count is off by **-20.0%**, in the densest quarter of spots by -20.0%."
    )


def test_a_real_cohort_and_a_uniform_one_have_no_dense_quarter(spots):
    real = segmentation_check.against_truth(spots, None)
    assert "(rho 0.90 to 0.95, 2 sections) is no evidence" in segmentation_check.answer(real, COUNTED)
    assert segmentation_check.answer(real, COUNTED, "On tiles.").startswith("**Not known in this cohort**")
    assert segmentation_check.answer(real, COUNTED[[]]).startswith("Nothing can be checked here")
    uniform = pd.DataFrame({"section": "A1", "n_nuclei_true": [5, 5], "n_nuclei": [4, 8]})
    assert segmentation_check.answer(uniform, COUNTED).endswith("total count is off by **+20.0%**.")
    assert segmentation_check.answer(uniform, COUNTED, "On tiles.").endswith("**+20.0%**. On tiles.")


def test_a_picture_is_held_by_the_page(tmp_path):
    (tmp_path / "A1.jpg").write_bytes(b"pixels")
    html = segmentation_check.picture(tmp_path / "A1.jpg", "Section A1")
    assert base64.b64encode(b"pixels").decode() in html and 'alt="Section A1"' in html


def test_stained_sections_are_described_by_their_stain(spots):
    table = segmentation_check.nuclei_by_section(spots.drop(columns=["n_nuclei", "nuclei_area_um2"]), {})
    assert list(table) == ["count", "min", "25%", "50%", "75%", "max"]
    assert segmentation_check.formats(table)["50%"] == "{:.3f}"
    assert segmentation_check.against_truth(spots.drop(columns="n_nuclei"), "truth").empty


def stained_section(tmp_path, mpp=0.5):
    """Nine discs of tissue, the first without a nucleus and each with one more than the one before."""
    from skimage.color import hed2rgb
    from skimage.draw import disk

    stains = np.full((1260, 1260, 3), (0.01, 0.02, 0.0))
    centres = np.array([(x, y) for y in (210, 630, 1050) for x in (210, 630, 1050)], float)
    for n, (x, y) in enumerate(centres):
        for i in range(n):
            stains[disk((y - 60 + 40 * (i % 4), x - 50 + 40 * (i // 4)), 7)] = (0.2, 0.02, 0.0)
    Image.fromarray(np.round(255 * hed2rgb(stains)).astype(np.uint8)).save(tmp_path / "A1.png")
    section = AnnData(obs=pd.DataFrame({"n_nuclei": range(9)}, index=[f"s{i}" for i in range(9)]))
    section.obsm["spatial"] = centres
    section.uns = {"section": "A1", "image": str(tmp_path / "A1.png"), "mpp": mpp, "spot_um": 100.0}
    return section


def test_the_stain_of_a_coarse_picture_keeps_the_order_of_the_counts(tmp_path):
    """Nuclei of 7 um in pixels of 0.5 and 6.4 um: as many nuclei for one unit of stain, and in the same order."""
    table = segmentation_check.stain_of_sections([stained_section(tmp_path)])
    assert table["mpp"].tolist() == [0.5, *segmentation_check.PIXELS_UM]
    assert (table["rho"][:-1] > 0.98).all()
    assert table["per_stain"][:4].tolist() == pytest.approx([table["per_stain"][0]] * 4, rel=0.1)
    said = segmentation_check.describe_stain(table)
    assert "a rho of **1.00** (1 section)" in said and "up to 0%" in said
    assert segmentation_check.describe_stain(segmentation_check.stain_of_sections([])).startswith(
        "Nothing is counted in this cohort"
    )
