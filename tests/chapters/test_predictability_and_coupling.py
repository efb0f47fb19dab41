"""Abundance: one number a gene and section, whatever the targets."""

import numpy as np
import pandas as pd

from helpers.chapters.predictability_and_coupling import log_abundance


def test_a_gene_counts_once_a_section_and_one_without_counts_has_no_logarithm():
    genes = pd.DataFrame({"section": ["A1", "A1", "B1"], "gene": ["a", "b", "a"], "mean_count": [np.e, 0, 1]})
    moments = pd.concat([genes.assign(target="log2"), genes.assign(target="pearson_residual")])
    found = log_abundance(moments)
    np.testing.assert_allclose(found["log_mean_count"], [1, np.nan, 0])
    assert list(found) == ["section", "gene", "log_mean_count"]


def test_the_moments_stay_as_they_were():
    moments = pd.DataFrame({"section": ["A1"], "gene": ["a"], "mean_count": [2.0], "target": "log2"})
    before = moments.copy()
    log_abundance(moments)
    pd.testing.assert_frame_equal(moments, before)
