"""What holds of the 36 real sections, which take minutes to read: in one file, so that one worker reads them."""

import pytest

from helpers.cohort import sections
from helpers.targets.panel import choose_panel, gene_statistics


@pytest.fixture(scope="module")
def her2st_sections(her2st_root) -> dict:
    """Every section whose counts are there, read once for all tests."""
    names = sorted(path.name.split(".")[0] for path in (her2st_root / "data" / "ST-cnts").iterdir())
    return {name: sections.read("her2st", her2st_root, name) for name in names}


def test_every_real_section_is_read(her2st_sections):
    """Pixel sizes within 1 % of 0.916 (A) and 0.688 (B-H) um; 20 of 36 sections lose one to three spots in the join."""
    for name, section in her2st_sections.items():
        assert section.uns["mpp"] == pytest.approx(0.916 if name[0] == "A" else 0.688, rel=0.01)
    lost = [section.uns["n_spots_dropped"] for section in her2st_sections.values()]
    if len(lost) == 36:
        assert (sum(n > 0 for n in lost), max(lost)) == (20, 3)


def test_the_cohort_matters(her2st_sections):
    """The panel of all 36 sections shares only 112 of 300 genes with that of the five with images."""
    if len(her2st_sections) < 36:
        pytest.skip("fewer than 36 sections in HER2ST_ROOT")
    statistics = {name: gene_statistics(section) for name, section in her2st_sections.items()}
    panel = choose_panel(statistics, 300)
    assert len(set(panel)) == 300
    assert {"ERBB2", "CD74"} <= set(panel)
    five = choose_panel({name: statistics[name] for name in ("B4", "C2", "C3", "C4", "C5")}, 300)
    assert len(set(panel) & set(five)) == 112
