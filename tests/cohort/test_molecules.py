"""What is no number of molecules is said, and thin measurements are left in peace."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from helpers.cohort import molecules, sections
from helpers.schema import COUNTS
from helpers.scores.predictability import thinned


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda counts: counts, ""),
        (lambda counts: 7 * counts, "multiples of 7"),
        (lambda counts: counts + 0.5, "not whole"),
        (lambda counts: 1e6 * counts / counts.sum(axis=1, keepdims=True), "the same total"),
        (lambda counts: np.rint(1e6 * counts / counts.sum(axis=1, keepdims=True)), "the same total"),
    ],
)
def test_what_is_no_number_of_molecules_is_said(spoil, words):
    counts = spoil(np.random.default_rng(0).poisson(3.0, (40, 50)).astype(float))
    for kept in (counts, csr_matrix(counts)):
        found = molecules.why_not_umi(kept)
        assert (words in found) if words else found == ""


def cp10k(counts):
    return 1e4 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


ROUNDED = {
    "log2": lambda counts: np.rint(np.log2(1 + counts)),
    "ln": lambda counts: np.rint(np.log1p(counts)),
    "ln of CP10k": lambda counts: np.rint(np.log1p(cp10k(counts))),
    "square roots": lambda counts: np.rint(np.sqrt(counts)),
}


def drawn(seed, depth=3000, n_genes=500):
    """Counts of a section whose depth and composition differ between spots."""
    rng = np.random.default_rng(seed)
    share = rng.lognormal(0, 1.5, n_genes) * rng.lognormal(0, 0.4, (150, n_genes))
    return rng.poisson(depth * rng.lognormal(0, 0.5, (150, 1)) * share / share.sum(axis=1, keepdims=True)).astype(float)


@pytest.mark.parametrize("most", [3, 15, 255])
def test_counts_that_were_cut_off_are_doubted_with_the_numbers(most):
    counts = np.minimum(drawn(0, 30_000), most)
    at, below = (counts == most).sum(), (counts == most - 1).sum()
    says = f"{at:,} values are the largest, {most}, and {below:,} are one less: were they cut off there?"
    assert molecules.why_not_umi(csr_matrix(counts)) == says


@pytest.mark.parametrize("depth", [30, 300, 3000])
@pytest.mark.parametrize("seed", range(3))
def test_molecules_are_not_doubted_however_few(depth, seed):
    assert molecules.why_not_umi(csr_matrix(drawn(seed, depth))) == ""


@pytest.mark.parametrize("kind", ROUNDED)
@pytest.mark.parametrize("seed", range(3))
def test_rounded_logs_and_roots_are_doubted_with_the_numbers(kind, seed):
    found = molecules.why_not_umi(csr_matrix(ROUNDED[kind](drawn(seed))))
    assert "times their mean" in found or "of its mean, of molecules 1 or more" in found
    assert "the largest value is" in found and "were logs rounded" in found


def varied(seed, n_genes=500):
    """Counts of a section whose spots have little in common, so that genes vary by far more than molecules."""
    rng = np.random.default_rng(seed)
    share = rng.lognormal(0, 1.5, n_genes) * rng.lognormal(0, 1.2, (200, n_genes))
    return rng.poisson(1000 * rng.lognormal(0, 0.5, (200, 1)) * share / share.sum(axis=1, keepdims=True)).astype(float)


@pytest.mark.parametrize("scaled", ["as it is", "to the median spot", "to 10,000"])
@pytest.mark.parametrize("factor", [3, 5, 10, 20, 100, 1000])
def test_rounded_logs_with_any_factor_are_doubted(factor, scaled):
    counts = varied(0)
    assert molecules.why_not_umi(csr_matrix(counts)) == ""
    total = counts.sum(axis=1, keepdims=True)
    counts *= {"as it is": 1, "to the median spot": np.median(total) / total, "to 10,000": 1e4 / total}[scaled]
    assert "were logs rounded, or" in molecules.why_not_umi(csr_matrix(np.rint(factor * np.log1p(counts))))


@pytest.mark.parametrize("times", [0.5, 0.7, 1.5, 2.5])
def test_counts_that_were_scaled_and_rounded_are_doubted_with_the_numbers(times):
    for kept in (np.rint(times * varied(0)), csr_matrix(np.rint(times * varied(0)))):
        found = molecules.why_not_umi(kept)
        assert "in 20 spots of like depth: were logs rounded, or counts scaled?" in found
    if times == 1.5:
        assert "values are 2 where 0 are 1 and" in found


@pytest.mark.parametrize(("n_spots", "n_genes", "depth"), [(3000, 50, 150), (3000, 10, 30), (5000, 300, 100)])
def test_few_genes_of_like_spots_are_not_doubted(n_spots, n_genes, depth):
    """Spots chosen by the genes found in them hold more ones than any mixture, were the same genes looked at."""
    counts = np.random.default_rng(0).multinomial(depth, np.full(n_genes, 1 / n_genes), n_spots)
    counts[0] *= 2
    assert molecules.why_not_umi(csr_matrix(np.vstack([counts, 3 * counts[:1]]).astype(float))) == ""


def test_a_panel_measured_to_one_depth_is_not_doubted():
    """Of a gene with half of the molecules the variance is half of the mean, as drawn."""
    share = np.r_[0.5, np.full(24, 0.5 / 24)]
    counts = np.random.default_rng(0).multinomial(1000, share, 60) * np.random.default_rng(1).integers(1, 3, (60, 1))
    assert molecules.why_not_umi(counts.astype(float)) == ""


def test_few_spots_say_nothing():
    assert molecules.why_not_umi(ROUNDED["log2"](drawn(0))[:20]) == ""


@pytest.mark.parametrize("name", ["A1", "B2", "B4", "C2", "F1", "H3"])
def test_a_real_section_is_not_doubted_whole_or_thinned_and_its_rounded_logs_are(her2st_root, name):
    counts, rng = sections.read("her2st", her2st_root, name).layers[COUNTS].tocsr(), np.random.default_rng(0)
    for share in (1, 1 / 8, 1 / 64):
        assert molecules.why_not_umi(thinned(counts, share, rng)) == ""
    for kind in ("log2", "ln", "ln of CP10k"):
        assert molecules.why_not_umi(csr_matrix(ROUNDED[kind](counts.toarray())))
