import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers.schema import COUNTS
from helpers.targets.panel import choose_panel, gene_statistics, panel_hash, panel_of


def table(total, squares, variable=None, n_spots=10, names="ABCDEF"):
    names = list(names)[: len(total)]
    variable = [True] * len(total) if variable is None else variable
    columns = {"highly_variable": variable, "n_spots": n_spots, "total": total, "total_of_squares": squares}
    return pd.DataFrame(columns, index=names)


def test_by_hand():
    """Means 5, 3, 1 and variances 1, 9, 0: ranks add to 3, 3 and 6, the tie goes by name."""
    assert choose_panel({"S": table([50, 30, 10], [260, 180, 10])}, 2) == ["A", "B"]


def test_sections_are_pooled_over_spots_not_averaged():
    many = table([1000, 0], [10_000, 0], n_spots=100)
    few = table([0, 50], [0, 2500], n_spots=1)
    assert choose_panel({"many": many, "few": few}, 1) == ["A"]


def test_a_gene_must_be_in_every_section_and_variable_in_one():
    one = table([9, 8, 7], [90, 80, 70], [False, True, False], names="ABC")
    two = table([9, 8, 7], [90, 80, 70], [False, False, True], names="BCD")
    assert choose_panel({"one": one, "two": two}, 1) == ["B"]
    with pytest.raises(ValueError, match="panel of 2 genes is wanted but 1 are candidates"):
        choose_panel({"one": one, "two": two}, 2)


def test_ribosomal_and_mitochondrial_genes_are_left_out():
    made = table([9] * 6, [90] * 6)
    made.index = ["MT-CO1", "RPS6", "RPL3", "mt-Nd1", "GRCh38_RPL5", "MTOR"]
    assert choose_panel({"S": made}, 1) == ["MTOR"]


def test_an_excluded_section_leaves_no_trace():
    rng = np.random.default_rng(0)

    def random():
        return table(rng.integers(1, 99, 6), rng.integers(1000, 9999, 6))

    kept, one, other = random(), random(), random()
    assert choose_panel({"a": kept, "b": one}, 3, ["b"]) == choose_panel({"a": kept, "b": other}, 3, ["b"])
    with pytest.raises(ValueError, match="no section is left"):
        choose_panel({"a": kept}, 3, ["a"])


def test_statistics_pool_to_mean_and_variance():
    counts = np.random.default_rng(0).poisson(3, (30, 50))
    section = AnnData(var=pd.DataFrame(index=[f"g{i}" for i in range(50)]), obs=pd.DataFrame(index=map(str, range(30))))
    section.layers[COUNTS] = sparse.csr_matrix(counts.astype(np.float32))
    found = gene_statistics(section, n_highly_variable=20)
    np.testing.assert_allclose(found["total"] / found["n_spots"], counts.mean(0))
    variance = found["total_of_squares"] / found["n_spots"] - counts.mean(0) ** 2
    np.testing.assert_allclose(variance, counts.var(0), rtol=1e-6)
    assert found["highly_variable"].sum() == 20


def test_a_section_has_its_own_panel_or_that_of_all():
    folds = pd.DataFrame({"panel": ["S1", "S1", "S2"], "gene": ["A", "B", "C"]})
    assert panel_of("S1", folds) == ["A", "B"]
    assert panel_of("S1", folds.assign(panel="all")) == ["A", "B", "C"]
    with pytest.raises(ValueError, match="section S3: no panel"):
        panel_of("S3", folds)


def test_the_hash_names_the_set():
    assert panel_hash(["A", "B"]) == panel_hash(["B", "A"]) != panel_hash(["A", "C"])
