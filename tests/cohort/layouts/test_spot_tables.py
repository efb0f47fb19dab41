"""Counts and spots as tables of text, as people write them."""

import numpy as np
import pandas as pd
import pytest
import writers

from helpers import schema
from helpers.cohort import sections
from helpers.cohort.layouts import her2st


def changed_counts(root, **how):
    path = root / "data/ST-cnts/A1.tsv.gz"
    change = how.pop("change", lambda table: table)
    change(pd.read_csv(path, sep="\t", index_col=0)).to_csv(path, **{"sep": "\t"} | how)


@pytest.mark.parametrize(
    "how",
    [{"sep": ","}, {"quoting": 2}, {"lineterminator": "\r\n"}, {"change": lambda t: t.astype(float)}, {"sep": ";"}],
    ids=["commas", "quotes", "Windows", "floats", "semicolons"],
)
def test_counts_are_read_however_they_are_written(truth, tmp_path, how):
    writers.her2st(truth, tmp_path)
    changed_counts(tmp_path, **how)
    found = her2st.read(tmp_path, "A1").spots
    assert list(found.var_names) == list(truth.var_names) and list(found.obs_names) == list(truth.obs_names)
    np.testing.assert_array_equal(found.layers[schema.COUNTS].toarray(), truth.layers[schema.COUNTS].toarray())


def test_counters_of_htseq_are_no_genes(truth, tmp_path):
    writers.her2st(truth, tmp_path)
    changed_counts(tmp_path, change=lambda table: table.assign(__no_feature=1000, **{"__ambiguous[A+B]": 5}))
    with pytest.warns(UserWarning, match=r"__no_feature, __ambiguous\[A\+B\] of HTSeq are no genes"):
        found = her2st.read(tmp_path, "A1").spots
    assert list(found.var_names) == list(truth.var_names)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: pd.concat([t, t.sum().to_frame("Total").T]), "row 'Total'"),
        (lambda t: t.assign(total=t.sum(axis=1)), "column 'total'"),
    ],
)
def test_a_sum_among_the_counts_is_refused(truth, tmp_path, change, what):
    writers.her2st(truth, tmp_path)
    changed_counts(tmp_path, change=change)
    with pytest.raises(ValueError, match=f"A1.tsv.gz: {what} is the sum of all others; take it out"):
        her2st.read(tmp_path, "A1")


@pytest.fixture
def by_id(truth, tmp_path):
    """A tree whose counts name genes by id, and a table of the symbols of all but the last."""
    named = truth.copy()
    named.var_names = [f"ENSG{k:011d}.2" for k in range(truth.n_vars)]
    writers.her2st(named, tmp_path)
    table = pd.DataFrame({"id": named.var_names.str.removesuffix(".2"), "symbol": truth.var_names})
    table[:-1].to_csv(tmp_path / "symbols.csv", index=False)
    return tmp_path


def test_a_table_of_symbols_names_genes_that_counts_name_by_id(truth, by_id):
    found = sections.read("her2st", by_id, "A1", gene_symbols=str(by_id / "symbols.csv"))
    assert list(found.var_names[:-1]) == list(truth.var_names[:-1])
    assert found.var_names[-1] == f"ENSG{truth.n_vars - 1:011d}.2"  # of which the table knows nothing


def test_a_table_of_other_genes_or_columns_is_refused(by_id):
    other = by_id / "other.csv"
    other.write_text("id,symbol\nENSMUSG00000000001,Gnai3\n")
    with pytest.raises(ValueError, match="other.csv: holds 0 of 120 genes"):
        her2st.read(by_id, "A1", str(other))
    other.write_text("gene,name\nENSG00000000001,A\n")
    with pytest.raises(ValueError, match="other.csv: no column id or symbol; it has gene, name"):
        her2st.read(by_id, "A1", str(other))
    with pytest.raises(FileNotFoundError, match="none.csv: no such table"):
        her2st.read(by_id, "A1", str(by_id / "none.csv"))
