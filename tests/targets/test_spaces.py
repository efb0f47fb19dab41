"""A prediction moves between spaces without gaining what the model did not know."""

import numpy as np
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.targets import normalization, spaces

COUNTS = np.random.default_rng(0).poisson(np.outer(np.linspace(1, 9, 30), [0.5, 2, 4, 8, 20])).astype(float)
Z_SCORES = (np.log2(COUNTS + 1) - np.log2(COUNTS + 1).mean(0)) / np.log2(COUNTS + 1).std(0)
DEPTH, SHARE = COUNTS.sum(1), COUNTS.sum(0) / COUNTS.sum()


def section():
    made = AnnData(np.zeros((30, 5)))
    made.layers["counts"] = csr_matrix(COUNTS)
    return made


@pytest.mark.parametrize("space", normalization.TARGETS)
def test_a_space_is_the_target_of_that_name(space):
    expected = normalization.target(section(), space)
    np.testing.assert_allclose(normalization.TARGETS[space].values(COUNTS, DEPTH, SHARE), expected, atol=1e-10)


@pytest.mark.parametrize("space", normalization.TARGETS)
def test_values_to_counts_undoes_counts_to_values(space):
    to, back, *_ = normalization.TARGETS[space]
    np.testing.assert_allclose(back(to(COUNTS, DEPTH, SHARE), DEPTH, SHARE), COUNTS, atol=1e-9)


@pytest.mark.parametrize("source", [name for name, target in normalization.TARGETS.items() if target.holds_depth])
@pytest.mark.parametrize("target", normalization.TARGETS)
def test_a_perfect_prediction_of_all_genes_is_perfect_in_every_space(source, target):
    perfect = normalization.TARGETS[source].values(COUNTS, DEPTH, SHARE)
    measured = normalization.TARGETS[target].values(COUNTS, DEPTH, SHARE)
    np.testing.assert_allclose(spaces.convert(perfect, source, target, SHARE, np.median(DEPTH)), measured, atol=1e-9)


@pytest.mark.parametrize("source", ["log1p_cp10k", "pearson_residual"])
def test_a_prediction_without_depth_gains_none(source):
    values = np.zeros((30, 5)) if source == "pearson_residual" else np.log1p(1e4 * np.tile(SHARE, (30, 1)))
    log = spaces.convert(values, source, "log2", SHARE, 50.0)
    assert len(log) == 30 and np.ptp(log, axis=0).max() < 1e-9


def test_only_the_library_of_a_log_prediction_is_lost_among_residuals():
    """Twice the molecules of each gene: twice the library, the same composition."""
    once = spaces.convert(np.log2(COUNTS + 1), "log2", "log1p_cp10k", SHARE, 50.0)
    twice = spaces.convert(np.log2(2 * COUNTS + 1), "log2", "log1p_cp10k", SHARE, 50.0)
    np.testing.assert_allclose(once, twice, rtol=1e-9)


def test_a_prediction_of_depth_alone_is_exactly_constant_among_residuals():
    log = np.log2(np.outer(np.linspace(1, 9, 30), SHARE * 100) + 1)
    assert np.ptp(spaces.convert(log, "log2", "pearson_residual", SHARE, 50.0), axis=0).max() == 0


@pytest.mark.parametrize("target", ["log1p_cp10k", "pearson_residual"])
def test_a_prediction_that_has_a_genes_level_wrong_loses_nothing_among_residuals(target):
    """The correlation in log space hardly sees it; unwound, it would bring depth back."""
    right = spaces.convert(np.log2(COUNTS + 1), "log2", target, SHARE, 50.0)
    off = COUNTS * [9, 1, 0.2, 1, 0.5]
    wrong = spaces.convert(np.log2(off * COUNTS.sum() / off.sum() + 1), "log2", target, SHARE, 50.0)
    np.testing.assert_allclose(wrong, right, atol=1e-8)


def test_the_library_of_a_perfect_log_prediction_is_the_measured_one_whatever_part_of_the_genes_it_holds():
    np.testing.assert_allclose(spaces.library(np.log2(COUNTS + 1), "log2", SHARE), DEPTH)
    composed = np.log2(np.outer(DEPTH, SHARE) + 1)
    np.testing.assert_allclose(spaces.library(composed[:, :3], "log2", SHARE[:3]), DEPTH)


def test_residuals_and_a_library_make_the_counts():
    residual = normalization.TARGETS["pearson_residual"].values(COUNTS, DEPTH, SHARE)
    made = spaces.convert(residual, "pearson_residual", "log2", SHARE, DEPTH)
    np.testing.assert_allclose(made, np.log2(COUNTS + 1), atol=1e-8)


def test_residuals_have_no_library_to_give():
    with pytest.raises(ValueError, match="pearson_residual does not say how many molecules"):
        spaces.library(COUNTS, "pearson_residual", SHARE)


def test_an_unknown_space_is_refused():
    with pytest.raises(ValueError, match="unknown space 'tpm'; known: .*log2"):
        spaces.convert(COUNTS, "tpm", "log2", SHARE, 50.0)


@pytest.mark.parametrize(
    ("values", "space", "words"),
    [
        (COUNTS, "log2", "are they counts"),
        (np.log2(COUNTS + 1) - np.log2(COUNTS + 1).mean(0), "log2", "negative: residuals or z-scores"),
        (np.log2(COUNTS + 1), "pearson_residual", "are they logs or counts"),
        (COUNTS + 0.5, "log1p", "far above what is measured"),
        (-np.log2(COUNTS + 1), "log2", "are negative"),
        (Z_SCORES, "log2", "are they z-scores"),
        (Z_SCORES, "pearson_residual", "are they z-scores"),
        (2000 + COUNTS, "log2", "far above what is measured"),  # its own power would overflow
    ],
)
def test_a_space_that_the_values_belie_is_doubted(values, space, words):
    assert any(words in doubt for doubt in spaces.doubts(values, space, COUNTS))


@pytest.mark.parametrize("space", normalization.TARGETS)
def test_a_space_that_the_values_bear_out_is_not_doubted(space):
    values = normalization.TARGETS[space].values(COUNTS, DEPTH, SHARE)
    assert spaces.doubts(values, space, COUNTS) == []


@pytest.mark.parametrize("space", normalization.TARGETS)
def test_a_shrunken_model_that_is_off_by_a_little_is_not_doubted(space):
    """As ridge is: rare genes a little below zero, everything nearer to its mean, a section twice as deep."""
    values = normalization.TARGETS[space].values(2 * COUNTS, 2 * DEPTH, SHARE)
    shrunken = values.mean(0) + 0.5 * (values - values.mean(0)) - 0.1 * values.std(0)
    assert spaces.doubts(shrunken, space, COUNTS) == []


def test_a_line_that_leaves_its_range_is_not_doubted():
    """As ridge is in a section shallower than those it was trained on: a fifth of its logs are negative."""
    line = 0.5 + 0.5 * Z_SCORES
    assert (line < 0).mean() > 0.1 and spaces.doubts(line, "log2", COUNTS) == []
