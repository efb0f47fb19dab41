"""A reading says what it says: r within a section, over sections together, or over the genes of a spot."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.chapters import twelve_numbers as numbers
from helpers.chapters.twelve_numbers import ALL, POOLED, SPOT, Reading
from helpers.schema import COUNTS, LATTICE, SPATIAL
from helpers.scores import judge

GRID = np.argwhere(np.ones((6, 6))).astype(float)
GENES = [f"g{i}" for i in range(6)]


def section(name, depth, seed=0):
    """Counts follow nuclei; a gene of each section is named after it, and the last is never counted in A1."""
    rng = np.random.default_rng([seed, *name.encode()])
    nuclei = rng.integers(2, 20, len(GRID)).astype(float)
    counts = rng.poisson(np.outer(nuclei, np.arange(1, 8)) * depth / 20).astype(float)
    counts[:, 5] *= name != "A1"
    obs = pd.DataFrame({"n_nuclei": nuclei, "patient": name[0]}, [f"{name}_{i}" for i in range(len(GRID))])
    made = AnnData(obs=obs, var=pd.DataFrame(index=[*GENES, f"only_{name}"]), layers={COUNTS: csr_matrix(counts)})
    made.obs["total_counts"] = counts.sum(axis=1)
    made.obsm[SPATIAL], made.obsm[LATTICE] = GRID, GRID
    made.obsm["patch"] = np.column_stack([nuclei, rng.normal(size=len(GRID))])
    made.uns["section"] = name
    return made


@pytest.fixture(scope="module")
def cohort():
    return {name: section(name, depth) for name, depth in (("A1", 5.0), ("B1", 50.0), ("C1", 10.0))}


def test_all_genes_are_those_counted_in_every_section_the_most_abundant_first(cohort):
    assert numbers.genes_of_reading(cohort, [], ALL) == ["g4", "g3", "g2", "g1", "g0"]
    assert numbers.genes_of_reading(cohort, ["g5", "g0"], numbers.PANEL) == ["g5", "g0"]


def test_smoothing_is_the_mean_of_a_spot_and_those_around_it():
    values = np.zeros((36, 1))
    values[14] = 9.0  # row 2, column 2: within
    assert numbers.smooth(values, GRID)[[14, 7, 0], 0] == pytest.approx([1.0, 1.0, 0.0])


def test_readings_of_known_predictions():
    """Levels of genes and of sections are known, spots are not: 0 within a section, high over levels."""
    rng = np.random.default_rng(0)
    levels, shift = np.array([1.0, 5.0, 9.0]), np.array([0.0, 20.0])
    measured = [s + levels + rng.normal(size=(400, 3)) for s in shift]
    predicted = [s + levels + rng.normal(size=(400, 3)) for s in shift]
    within = numbers.statistic(measured, predicted, Reading("log2"))
    assert within.shape == (2,) and np.abs(within).max() < 0.1
    assert numbers.statistic(measured, predicted, Reading("log2", over=POOLED))[0] > 0.95
    assert numbers.statistic(measured, predicted, Reading("log2", over=SPOT)).min() > 0.8
    best = numbers.statistic(measured, predicted, Reading("log2", best=1))
    assert (best >= within).all()


def test_chance_of_predictions_that_know_levels_alone_is_about_what_they_have():
    """Over the genes of a spot and over all sections, a prediction without a map is no better than its own null."""
    rng = np.random.default_rng(1)
    made = AnnData(obsm={SPATIAL: GRID}, shape=(36, 0))
    bases = [judge.basis(made)] * 2
    measured, predicted = ([s + np.arange(5) + rng.normal(size=(36, 5)) for s in (0.0, 9.0)] for _ in range(2))
    for over in (POOLED, SPOT):
        reading = Reading("log2", over=over)
        value = numbers.statistic(measured, predicted, reading)
        assert value.mean() == pytest.approx(numbers.chances(measured, predicted, bases, reading).mean(), abs=0.05)
    within = numbers.chances(measured, predicted, bases, Reading("log2", best=2))
    assert within.shape == (2,) and (within > 0.1).all()


def test_every_reading_has_its_rows_and_the_most_abundant_genes_only_where_there_are_more(cohort):
    table = numbers.score(cohort, dict.fromkeys(cohort, GENES[:4]), 2)
    assert list(table["reading"].unique())[:2] == ["log2(x + 1), best 2 of panel", "log1p(CP10k), best 2 of panel"]
    assert table["reading"].nunique() == len(numbers.readings(2)) - 1 and not table["reading"].str.contains("785").any()
    pooled = table[table["over"] == POOLED]
    assert list(pooled["section"]) == ["all"] and set(table["section"]) == {"A1", "B1", "C1", "all"}
    assert table.loc[table["over"] == numbers.SECTION, "training mean"].isna().all()
    headline = table[table["reading"] == table["reading"].iloc[0]]
    assert (headline["ridge"] > headline["chance_95"]).all()


def test_the_answer_names_the_lowest_the_highest_and_what_sees_no_image(cohort):
    rows = [
        ("first", numbers.SECTION, "A1", 0.7, 0.6, np.nan, 0.3),
        ("pooled", POOLED, "all", 0.2, 0.3, 0.1, 0.1),
        ("spot", SPOT, "A1", 0.9, 0.9, 0.88, 0.8),
    ]
    table = pd.DataFrame(rows, columns=["reading", "over", "section", "ridge", "nuclei", "training mean", "chance_95"])
    said = numbers.answer(table, {"A1": "A"})
    assert "1 section of 1 patient: its number is 0.20 (pooled) to 0.90 (spot)" in said and "has 0.88 where" in said
    assert "other 2 readings ridge is above nuclei alone in 1, above the 95 % point of chance in 2" in said
