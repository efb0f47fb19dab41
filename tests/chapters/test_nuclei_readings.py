"""Other readings of the nuclei: each in the section's own disc or crop, in one order, with nothing invented."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.chapters import nuclei_readings
from helpers.tissue import classical, nuclei_files

MPP = 0.5


def section_of(spot_um=100.0, back_end="classical"):
    obs = {"n_nuclei": [3, 0], "nuclei_area_um2": [90.0, 0.0], "haematoxylin": [0.4, 0.1]}
    return AnnData(
        np.zeros((2, 1), np.float32),
        obs=pd.DataFrame(obs, index=["1x1", "1x2"]),
        obsm={"spatial": np.array([[0.0, 0.0], [1000.0, 0.0]])},
        uns={"section": "A1", "mpp": MPP, "spot_um": spot_um, "back_end": back_end, "nuclei_file": ""},
    )


def nuclei_at(*xy):
    return pd.DataFrame(xy, columns=["x", "y"], dtype=float).assign(area_um2=30.0)


@pytest.mark.parametrize(("spot_um", "crop"), [(100.0, [1, 0]), (150.0, [2, 1])])
def test_the_crop_is_stem_s_at_the_section_s_pixels_and_spots(spot_um, crop):
    """224 px reach 112 px to each side; a spot of 150 um is 300 px wide and reaches 150."""
    table = nuclei_readings.of_found_nuclei(section_of(spot_um), nuclei_at((100, 100), (140, 0), (1000, -149)))
    assert table.columns.tolist() == ["disc", "crop", "area"] and table.index.tolist() == ["1x1", "1x2"]
    assert table["crop"].tolist() == crop
    assert table["disc"].tolist() == [3, 0] and table["area"].tolist() == [90, 0]


@pytest.mark.parametrize("spot_um", [100.0, 55.0])
def test_a_lower_threshold_counts_what_a_higher_one_leaves_out(spot_um, monkeypatch):
    """Faint nuclei 60 px from a spot: within a disc of 100 um, outside one of 55 um."""
    nuclei = nuclei_at((0, 0), (60, 0), (1000, 0))
    contrast_of = np.array([2.0, 0.9, 2.0])  # up to which threshold each is seen

    def detect(read, spatial, mpp, size_um, stain, contrast):
        assert (size_um, stain) == (spot_um, 0.3)
        return nuclei[contrast_of > contrast]

    monkeypatch.setattr(classical, "detect_section", detect)
    table = nuclei_readings.of_thresholds(section_of(spot_um), None, 0.3)
    assert table.columns.tolist() == ["threshold_low", "threshold_high"]
    assert table["threshold_low"].tolist() == [1 + (spot_um == 100), 1]
    assert table["threshold_high"].tolist() == [1, 1]
    other = nuclei_readings.of_thresholds(section_of(spot_um, "hovernet"), None, 0.3)
    assert other.columns.tolist() == ["threshold_low", "threshold_high", "classical"]


def test_a_file_is_a_reading_of_its_own_unless_it_is_the_back_end(tmp_path):
    nuclei_files.write_geojson(nuclei_at((0, 0), (95, 0), (1000, 0)), tmp_path / "a.geojson", MPP)
    given = {"back_end": "classical", "table": str(tmp_path / "a.geojson")}
    table = nuclei_readings.of_other_sources(section_of(), given)
    assert table.columns.tolist() == ["table", "haematoxylin"]
    assert table["table"].tolist() == [2, 1]
    assert nuclei_readings.of_other_sources(section_of(55.0), given)["table"].tolist() == [1, 1]
    for nuclei in ({"back_end": "classical"}, {"back_end": "table", "table": "a.geojson"}):
        assert nuclei_readings.of_other_sources(section_of(), nuclei).columns.tolist() == ["haematoxylin"]


def test_outlines_are_fewer_at_a_higher_threshold(monkeypatch):
    labels = np.zeros((20, 20), np.int32)
    labels[2:6, 2:6], labels[10:14, 10:14] = 1, 2
    monkeypatch.setattr(classical, "segment", lambda image, mpp, stain, contrast: labels * (labels <= 3 - 2 * contrast))
    found = nuclei_readings.outlined(None, MPP, 0.3)
    assert list(found) == [0.8, 1.0, 1.2]
    assert [len(outlines) for outlines in found.values()] == [1, 1, 0]


def test_the_long_form_keeps_every_value_by_name():
    table = pd.DataFrame({"disc": [3.0, 0.0], "area": [90.0, 1.5]}, ["1x1", "1x2"])
    long = nuclei_readings.in_long_form(table, "A1")
    assert long.columns.tolist() == ["section", "spot", "reading", "value"]
    pd.testing.assert_frame_equal(
        long.pivot(index="spot", columns="reading", values="value")[["disc", "area"]], table, check_names=False
    )
    assert set(long["section"]) == {"A1"}


def test_a_reading_agrees_with_itself_and_a_constant_one_with_none():
    table = pd.DataFrame({"disc": [1.0, 2, 3, 4], "crop": [8.0, 6, 4, 2], "table": 5.0})
    compared = nuclei_readings.compare(table, np.array([10.0, 20, 30, 40]))
    assert compared.loc["disc", ["25%", "50%", "75%"]].tolist() == [1.75, 2.5, 3.25]
    assert compared["ρ with the default"].round(9).tolist()[:2] == [1, -1]
    assert compared["ρ with depth"].round(9).tolist()[:2] == [1, -1]
    assert compared.loc["table", ["ρ with the default", "ρ with depth"]].isna().all()


def test_the_answer_goes_from_the_reading_least_alike_to_the_one_most_alike():
    compared = pd.DataFrame({"ρ with the default": [1, 0.8, 0.95, np.nan]}, ["disc", "area", "threshold_low", "table"])
    assert nuclei_readings.answer(compared, "A1", 120).startswith(
        "In section A1 (120 spots) 2 other readings can stand for the count in the spot's disc; Spearman's rho with it "
        "is 0.80 (nuclear area in the disc) to 0.95 (classical, threshold −20 %). What each does"
    )
    one = nuclei_readings.answer(compared[:2], "A1", 1)
    assert "(1 spot) 1 other reading can" in one and "it is 0.80 (nuclear area in the disc). What" in one
    assert "nothing else can be read" in nuclei_readings.answer(compared[::3], "A1", 120)


def test_readings_of_the_stain_agree_on_tissue_of_one_shade():
    """Less eosin is less; a wider disc of the same shade is as dark."""
    from skimage.color import hed2rgb

    def stained(centre, size_um, mpp):
        side = round(size_um / mpp)
        return np.round(255 * hed2rgb(np.full((side, side, 3), (0.05, 0.02, 0)))).astype(np.uint8)

    section = AnnData(obs=pd.DataFrame({"haematoxylin": [0.3, 0.3]}, index=["a", "b"]))
    section.obsm["spatial"], section.uns = np.array([[50.0, 50], [90, 50]]), {"mpp": 3.2, "spot_um": 100.0}
    readings = nuclei_readings.of_stain(section, stained)
    assert list(readings) == ["disc", "crop", "less_eosin"]
    assert readings["crop"].to_numpy() == pytest.approx(readings["disc"], rel=0.05)
    assert (readings["less_eosin"] < readings["disc"] - 0.02).all()
