"""Trust: evidence that copies of a section do not add to, and verdicts in order."""

import numpy as np
import pytest
from scipy.stats import chi2

from helpers.chapters import genes
from helpers.scores import spatial

RNG = np.random.default_rng(0)
LATTICE = np.argwhere(np.ones((9, 9))).astype(float)


@pytest.fixture
def maps():
    measured = RNG.normal(size=(len(LATTICE), 5))
    return measured, RNG.normal(size=measured.shape) + 0.1 * measured


def evidence(measured, predicted, seed):
    return spatial.null_correlations(measured, predicted, spatial.moran_basis(LATTICE), seed=seed)


def test_copies_of_a_section_are_no_more_evidence_than_one(maps):
    one = evidence(*maps, seed=1)
    many = genes.of_patient(*zip(*[one] * 4, strict=True))
    np.testing.assert_allclose(spatial.p_values(*many, "greater"), spatial.p_values(*one, "greater"))


def test_a_section_where_a_gene_is_constant_does_not_count_for_it(maps):
    flat = maps[0].copy()
    flat[:, 0] = 3
    first, second = evidence(flat, maps[1], 1), evidence(maps[0], maps[1], 2)
    mean, null = genes.of_patient([first[0], second[0]], [first[1], second[1]])
    assert mean[0] == second[0][0] and mean[1] == pytest.approx((first[0][1] + second[0][1]) / 2)
    np.testing.assert_allclose(null[0], np.sort(second[1][0]))


def test_unrelated_sections_of_a_patient_rarely_look_predicted():
    rows = [RNG.normal(size=(2, len(LATTICE), 200)) for _ in range(3)]
    found = genes.of_patient(*zip(*(evidence(*row, seed) for seed, row in enumerate(rows)), strict=True))
    assert (spatial.p_values(*found, "greater") <= 0.05).mean() < 0.05


def test_patients_are_combined_by_fisher_and_a_missing_one_is_no_test():
    found = genes.combined_p([[0.01, 0.2], [0.01, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(found[:2], [chi2.sf(-2 * np.log(0.002), 4), 0.01])
    assert np.isnan(found[2])


def test_a_verdict_ends_with_the_first_test_that_fails():
    q = {"plain": [0.01, 0.01, 0.01, 0.5, np.nan], "nuclei": [0.01, 0.01, 0.5, 0.01, np.nan]}
    q["both"] = [0.01, 0.5, 0.01, 0.01, np.nan]
    assert genes.verdicts(q).tolist() == [*genes.VERDICTS, genes.UNDEFINED]
