"""Twin of helpers/audit/size.py."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.audit import size

SECTION = AnnData(shape=(4, 3), layers={"counts": csr_matrix(np.eye(4, 3))})
PREDICTED = pd.DataFrame(np.zeros((4, 2)))


def test_what_an_audit_takes_grows_with_numbers_predicted_and_with_counts():
    one = size.need({"a": SECTION}, {"a": PREDICTED})
    two = size.need({"a": SECTION, "b": SECTION}, {"a": PREDICTED, "b": PREDICTED})
    assert one.what == "4 spots x 2 genes in 1 section" and two.what == "8 spots x 2 genes in 2 sections"
    assert two.seconds == 2 * one.seconds
    assert two.bytes - one.bytes == 4 * size.BYTES_OF_SPOT + 8 * size.BYTES + 3 * size.BYTES_OF_COUNT


@pytest.mark.parametrize(
    ("n_spots", "n_genes", "seconds"),
    [(5_000, 80, 7.0), (5_000, 300, 16.9), (20_000, 80, 31), (20_000, 300, 92), (60_000, 80, 98), (60_000, 300, 315)],
)
def test_the_time_foretold_is_within_a_quarter_of_that_measured(n_spots, n_genes, seconds):
    """300 genes of 5,000 and 20,000 spots on a free core; others on a busy one, less what these two took more there."""
    section = AnnData(shape=(n_spots, 1), layers={"counts": csr_matrix((n_spots, 1))})
    predicted = pd.DataFrame(np.zeros((n_spots, n_genes), np.int8))
    assert size.need({"a": section}, {"a": predicted}).seconds == pytest.approx(seconds, rel=0.25)


def test_a_long_audit_is_announced_and_one_without_memory_refused():
    wanted = size.Need("60,000 spots x 300 genes in 1 section", 360, 4e9)
    assert size.announced(wanted, free=5e9).endswith("about 6 minutes on one core and 4.0 GB of memory")
    assert size.announced(wanted._replace(seconds=59), free=5e9) == ""
    with pytest.raises(ValueError, match=r"4\.0 GB of memory, 3\.0 GB are free: give fewer sections"):
        size.announced(wanted, free=3e9)
