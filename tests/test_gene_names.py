"""Whatever genes are called, symbols come out, or the reason why not; what says little of a tissue is known by name."""

import numpy as np
import pandas as pd
import pytest

from helpers import gene_names

IDS = [f"ENSG{k:011d}" for k in range(4)]
SYMBOLS = ["MT-CO1", "ERBB2", "GNAS", "CD74"]


@pytest.mark.parametrize(
    "names",
    [
        IDS,
        [f"{name}.{k}" for k, name in enumerate(IDS, 3)],
        [f"GRCh38_{name}" for name in IDS],
        [f"mm10___{name.replace('ENSG', 'ENSMUSG')}.1" for name in IDS],
        [f'"{name}"' for name in IDS],
        list("0123"),
    ],
    ids=["ids", "versions", "genome", "mouse", "quotes", "numbers"],
)
@pytest.mark.parametrize("column", ["gene_symbols", "SYMBOL", "feature_name"])
def test_symbols_beside_ids_are_found(names, column):
    beside = pd.DataFrame({"gene_ids": IDS, column: SYMBOLS})
    assert list(gene_names.symbols(names, "a.h5ad", beside)) == SYMBOLS


def test_names_that_are_symbols_stay():
    assert list(gene_names.symbols(SYMBOLS, "a.h5ad", pd.DataFrame({"gene_symbols": list("abcd")}))) == SYMBOLS
    chosen = gene_names.symbols(SYMBOLS, "a.h5ad", pd.DataFrame({"mine": list("abcd")}), "mine")
    assert list(chosen) == list("abcd")


@pytest.mark.parametrize("missing", [None, np.nan, "", " ", "nan", "NA"])
def test_a_gene_without_a_symbol_keeps_its_id(missing):
    beside = pd.DataFrame({"gene_symbols": ["ERBB2", missing, "GNAS", missing]})
    assert list(gene_names.symbols(IDS, "a.h5ad", beside)) == ["ERBB2", IDS[1], "GNAS", IDS[3]]
    found = gene_names.symbols(["ERBB2", "", "GNAS", "nan"], "a.h5ad", pd.DataFrame({"gene_ids": IDS}))
    assert list(found) == ["ERBB2", IDS[1], "GNAS", IDS[3]]


def test_a_symbol_of_two_genes_is_numbered():
    assert list(gene_names.symbols(["TBCE", "TBCE", "A"], "a.h5ad")) == ["TBCE", "TBCE-1", "A"]


PROBED = [f"G{i}" for i in range(40)]
OF_PROBES = {
    "id, gene and probe": [f"ENSG{i:011d}|G{i // 2}|8eab{i:03x}" for i in range(80)],
    "gene and probe": [f"G{i // 2}|8eab{i:03x}" for i in range(80)],
    "numbered": [f"G{i // 2}|8eab{i:03x}-1" for i in range(80)],
    "names repeated": [f"G{i // 2}" for i in range(80)],
    "names made unique": [gene + end for gene in PROBED for end in ("", "-1", "-2")],
    "names made unique by R": [gene + end for gene in PROBED for end in ("", ".1", ".2")],
    "some genes thrice": [*PROBED, *PROBED[:6], *PROBED[:6]],
    "transcripts": [f"ENST{i:011d}.3" for i in range(80)],
    "exons of mice": [f"ENSMUSE{i:011d}" for i in range(80)],
}


@pytest.mark.parametrize("names", OF_PROBES.values(), ids=OF_PROBES)
def test_rows_that_are_parts_of_genes_are_refused_with_the_matrix_to_give_instead(names):
    says = r"a\.h5: .*give counts of genes, one row each: of Space Ranger filtered_feature_bc_matrix\.h5"
    with pytest.raises(ValueError, match=says):
        gene_names.symbols(names, "a.h5")
    for column in ("gene_ids", "gene_name"):  # beside other names
        with pytest.raises(ValueError, match=says):
            gene_names.symbols([f"row{i}" for i in range(len(names))], "a.h5", pd.DataFrame({column: names}))


def test_names_like_those_of_parts_are_genes_all_the_same():
    names = [
        "NKX2-1",
        "NKX2-2",
        "NKX2-3",
        "HLA-A",
        "H1-0",
        "H1-1",
        "TBCE",
        "TBCE-1",
        "A|B",
        "mt-Nd1",
        "ENSG00000187634",
    ]
    assert list(gene_names.symbols(names, "a.h5ad")) == names


def test_what_gives_no_symbol_is_refused():
    with pytest.raises(ValueError, match=r"a\.h5ad: genes are named by id, ENSG.*\.7; give gene_names"):
        gene_names.symbols([f"{name}.7" for name in IDS], "a.h5ad", pd.DataFrame({"n": IDS}))
    for ids in ([name.lower() for name in IDS], ["NM_000014.6", "XM_011520.1"]):
        with pytest.raises(ValueError, match="genes are named by id"):
            gene_names.symbols(ids, "a.h5ad")
    with pytest.raises(ValueError, match="var has no column mine; it has n"):
        gene_names.symbols(IDS, "a.h5ad", pd.DataFrame({"n": IDS}), "mine")
    with pytest.raises(ValueError, match="2 genes have no name"):
        gene_names.symbols(["A", "B", "", ""], "a.h5ad")
    with pytest.warns(UserWarning, match="a.h5ad: genes are numbered, 0, 3"):
        assert list(gene_names.symbols("0123", "a.h5ad")) == list("0123")


@pytest.mark.parametrize("genome", ["", "GRCh38_", "mm10___"])
def test_mitochondrial_and_ribosomal_genes_are_known_in_every_species(genome):
    left_out = ["MT-CO1", "mt-Co1", "Mt-nd1", "mt:CoI", "MT.CO1", "RPS3", "Rps3", "RpL5", "rpl5"]
    kept = ["MTOR", "MT1X", "Mtor", "ERBB2", "RP11-34P13.7", "GRPR", "SRPX"]
    found = gene_names.left_out_of_panels([genome + name for name in left_out + kept])
    assert found.tolist() == [True] * len(left_out) + [False] * len(kept)


@pytest.mark.parametrize("date", ["1-Mar", "Dec-01", "01. Mrz", "4-okt.", "2021-03-01", "3/1/2021", "01.03.2021"])
def test_genes_that_a_spreadsheet_made_dates_are_warned_of(date):
    with pytest.warns(UserWarning, match="a.h5ad: 1 of 4 genes are dates, .*; write their symbols"):
        assert list(gene_names.symbols([date, *SYMBOLS[1:]], "a.h5ad"))[0] == date


@pytest.mark.filterwarnings("error")
def test_symbols_that_look_a_little_like_dates_are_none():
    names = [
        "MARCHF1",
        "SEPTIN2",
        "DEC1",
        "HLA-A",
        "NKX2-1",
        "MT-CO1",
        "RP11-34P13.7",
        "AC012345.1",
        "JUN",
        "NOV",
    ]
    assert list(gene_names.symbols(names, "a.h5ad")) == names
