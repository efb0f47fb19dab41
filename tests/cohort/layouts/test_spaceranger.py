"""Space Ranger: matrix, positions and scale factors of Visium."""

import numpy as np
import pytest
import writers

from helpers import schema
from helpers.cohort import sections, tenx
from helpers.scores import spatial


def test_the_diameter_in_scalefactors_is_that_of_a_65_um_spot(truth, tmp_path):
    """10x's example: 89.44 px, hence 0.727 um per pixel (Space Ranger 1.3, output images)."""
    options = writers.spaceranger_2(truth, tmp_path)
    (tmp_path / "A1/outs/spatial/scalefactors_json.json").write_text('{"spot_diameter_fullres": 89.43834961021503}')
    with pytest.warns(UserWarning, match=r"0\.727 um \(estimated\)"):
        found = sections.read("spaceranger", tmp_path, "A1", **options)
    assert found.uns["mpp_by_source"]["estimated"] == pytest.approx(0.7267575965)


@pytest.mark.parametrize(("angle", "mirrored"), [(0, False), (1.6, False), (0.1, True), (3.1, True)])
def test_a_turned_or_mirrored_array_gives_the_pixel_size(tmp_path, angle, mirrored):
    writers.visium_files(tmp_path, writers.visium(0.274, angle, mirrored))
    found = sections.read("spaceranger", tmp_path, "A1", patients={"A1": "P"})
    assert found.uns["mpp"] == pytest.approx(0.274, rel=1e-6)
    assert (found.uns["spot_um"], found.uns["pitch_um"]) == (55, 100)


@pytest.mark.filterwarnings("error::UserWarning")
def test_the_files_of_a_visium_section_may_lie_in_one_folder(truth, tmp_path):
    options = writers.spaceranger_2(truth, tmp_path)
    nested = sections.read("spaceranger", tmp_path, "A1", **options)
    for path in (tmp_path / "A1/outs/spatial").iterdir():
        path.rename(tmp_path / "A1/outs" / path.name)
    (tmp_path / "A1/outs/spatial").rmdir()
    flat = sections.read("spaceranger", tmp_path, "A1", **options)
    np.testing.assert_array_equal(flat.obsm[schema.SPATIAL], nested.obsm[schema.SPATIAL])
    assert flat.uns["mpp"] == nested.uns["mpp"]


def test_two_genes_of_one_symbol_are_numbered(tmp_path):
    writers.visium_files(tmp_path, writers.visium(), genes=["TBCE", "TBCE", *(f"G{k}" for k in range(18))])
    found = sections.read("spaceranger", tmp_path, "A1", patients={"A1": "P"})
    assert list(found.var_names[:3]) == ["TBCE", "TBCE-1", "G0"]


def test_a_real_section_of_space_ranger_is_read_from_one_folder(placenta_root):
    with pytest.warns(UserWarning, match=r"pixel size 4\.667 um \(lattice\) but 4\.344 um \(estimated\)"):
        found = sections.read("spaceranger", placenta_root.parent, placenta_root.name)
    assert found.shape == (2898, 19465)
    assert (found.uns["spot_um"], found.uns["pitch_um"]) == (55, 100)
    assert spatial.neighbours(found.obsm[schema.LATTICE]).sum(axis=1).max() == 6


def test_exchanged_rows_and_columns_of_the_array_are_refused(tmp_path):
    writers.visium_files(tmp_path, writers.visium(0.274, 0, False))
    path = next(tmp_path.rglob("tissue_positions*"))
    text = path.read_text()
    header = text.split("\n", 1)[0]
    if "array_row" not in header:
        text = f"{','.join(tenx.POSITIONS)}\n{text}"
    swapped = text.replace("array_row", "?", 1).replace("array_col", "array_row", 1).replace("?", "array_col", 1)
    path.write_text(swapped)
    with pytest.raises(ValueError, match="are array_row and array_col exchanged"):
        sections.read("spaceranger", tmp_path, "A1", patients={"A1": "P"})
