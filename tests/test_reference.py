"""The committed tables of the real cohort against those computed here; `make book COHORT=her2st` computes them."""

from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "data/results/her2st"
COMPUTED = ROOT / "build/her2st/results"


def both(name):
    if not (COMPUTED / name).exists():
        pytest.skip("build/her2st is not there: run make book COHORT=her2st first")
    return (pd.read_csv(folder / name) for folder in (COMMITTED, COMPUTED))


def test_the_panel_is_the_same():
    committed, computed = both("panel.csv")
    assert list(committed["gene"]) == list(computed["gene"])


def test_table1_is_found_again():
    committed, computed = both("table1.csv")
    pd.testing.assert_frame_equal(committed, computed, rtol=1e-3)


def test_ridge_rows_of_table2_are_found_again():
    committed, computed = (table[table["backbone"] == "ridge"].reset_index(drop=True) for table in both("table2.csv"))
    assert len(committed) > 10
    pd.testing.assert_frame_equal(committed, computed, rtol=1e-2)


def test_the_readme_prints_the_committed_numbers():
    table = pd.read_csv(COMMITTED / "table1.csv").dropna(subset="target")
    shown = table[table["metric"].isin(["median_abs_rho_nuclei", "share_coupled_nuclei", "median_abs_rho_depth"])]
    fractions = pd.read_csv(COMMITTED / "fraction_of_ridge.csv")
    readme = (ROOT / "README.md").read_text()
    for number in [*shown["value"], *shown["chance"].dropna().head(3), *fractions["ridge"], *fractions["stem"]]:
        assert f" {number:.3f} " in readme
