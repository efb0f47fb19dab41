"""Names of genes, at every door: ids with symbols beside them -> symbols, and which genes say little of a tissue."""

import re
import warnings
from collections.abc import Sequence

import pandas as pd

from helpers.schema import check_words

SYMBOLS = ("gene_name", "gene_names", "gene_symbol", "gene_symbols", "symbol", "symbols", "feature_name", "hgnc_symbol")
IDS = ("gene_ids", "gene_id", "id", "ensembl_id", "ensembl")
MISSING = {"", "nan", "none", "na", "n/a", "null", "<na>"}
_GENOME = r"[A-Za-z]+[A-Za-z.]*\d[A-Za-z0-9.]*_+"  # of a reference of two genomes: GRCh38_, mm10___
_ID = re.compile(rf"({_GENOME})?(ENS[A-Z]*G\d{{6,}}|FBgn\d{{7}}|WBGene\d{{8}}|[NX][MR]_\d{{6,}})(\.\d+)?", re.I)
# Space Ranger names a probe ENSG00000187634|SAMD11|8eab823, others SAMD11|8eab823; ENST are transcripts, ENSE exons.
_PARTS = re.compile(r".+\|[0-9a-f]{6,}(-\d+)?|(DEPRECATED_)?ENS[A-Z]*[TPE]\d{6,}(\.\d+)?", re.I)
# A spreadsheet makes 1-Mar of MARCH1 and MARC1, 2-Sep of SEPT2, and shows or writes them as it shows its dates.
_MONTH = "jan|feb|m[aä]r|mrz|apr|ma[yi]|jun|jul|aug|sep|o[ck]t|nov|de[cz]"
_DATE = re.compile(
    rf"\d{{1,2}}[-./ ]+({_MONTH})[a-z]?\.?|({_MONTH})[a-z]?[-./ ]+\d{{1,2}}|\d{{4}}-\d\d-\d\d( 00:00:00)?"
    r"|\d{1,2}[./]\d{1,2}[./]\d{2,4}",
    re.I,
)
REPEATED, FEW = 0.1, 10  # of all rows, that bear a name which another has: of genes, a few in a thousand do
# Symbols are MT-CO1 in people, mt-Co1 in mice, mt:CoI in flies, MT.CO1 as R mends it; RPS3, Rps3, RpS3.
_LEFT_OUT = re.compile(rf"({_GENOME})?(mt[-.:]|rp[sl])", re.I)


def symbols(
    names: Sequence[str], where: str, beside: pd.DataFrame | None = None, column: str | None = None
) -> pd.Index:
    """The symbol of each gene: of `column` where it is given, else its name, else, of ids, a usual column of `beside`.

    A gene without a symbol keeps its name. A symbol of two genes is numbered, as scanpy does. ValueError, naming
    `where`, for ids without symbols beside them, and for markup; numbers are warned of.
    """
    for given in (names, *(beside[one] for one in (beside if beside is not None else ()) if _is_named(one))):
        check_genes(given, where)
    found = _symbols(names, where, beside, column)
    check_words(found, "gene", where)
    warn_of_dates(found, where)
    return found


def warn_of_dates(names: pd.Index, where: str) -> None:
    """Warn of genes that a spreadsheet turned into dates: they match no gene of another table, or a wrong one."""
    dates = [name for name in names if _DATE.fullmatch(name)]
    if dates:
        warnings.warn(
            f"{where}: {len(dates)} of {len(names)} genes are dates, {_listed(dates)}, as a spreadsheet makes of SEPT2 "
            "or MARCH1; write their symbols",
            stacklevel=3,
        )


def check_genes(names: Sequence[str], where: str) -> None:
    """Refuse names of parts of genes, probe by probe or by transcript: a gene's counts would be torn into several."""
    names = clean(names)
    parts = [name for name in names if _PARTS.fullmatch(name)]
    if 2 * len(parts) > len(names):
        what = f"rows are probes, or transcripts, of genes, {parts[0]}"
    else:
        known = names[~names.str.lower().isin(MISSING)]
        # A name that was made unique, SAMD11-1 or SAMD11.1, repeats one only where that stands there too.
        stem = known.str.replace(r"[-._]\d+$", "", regex=True)
        stem = stem.where(stem.isin(known), known)
        repeated = stem.duplicated()
        if repeated.sum() <= max(REPEATED * len(known), FEW):
            return
        what = f"{repeated.sum()} of {len(known)} rows bear the name of another, as {stem[repeated][0]}"
    raise ValueError(
        f"{where}: {what}; give counts of genes, one row each: of Space Ranger filtered_feature_bc_matrix.h5, not a "
        "matrix of probes (raw_probe_bc_matrix.h5), else sums over a gene's rows"
    )


def _is_named(column: str) -> bool:
    return str(column).lower() in {*SYMBOLS, *IDS}


def _symbols(names: Sequence[str], where: str, beside: pd.DataFrame | None, column: str | None) -> pd.Index:
    from anndata.utils import make_index_unique

    names, beside = clean(names), pd.DataFrame() if beside is None else beside
    if column is not None and column not in beside:
        raise ValueError(f"{where}: var has no column {column}; it has {_listed(beside.columns)}")
    if column is None and not _are_ids(names):
        return make_index_unique(_named(names, beside, where))
    usual = (one for one in beside if str(one).lower() in SYMBOLS and not _are_ids(clean(beside[one])))
    column = column if column is not None else next(usual, None)
    if column is None and names.str.isdigit().mean() > 0.5:
        warnings.warn(f"{where}: genes are numbered, {names[0]}, {names[-1]}; name them by symbol", stacklevel=3)
        return make_index_unique(names)
    if column is None:
        raise ValueError(
            f"{where}: genes are named by id, {names[0]}; give gene_names in the config (audit: --gene-names), the "
            f"column of var that holds their symbols (var has {_listed(beside.columns)}), or, of a table of counts, "
            "gene_symbols, a table of id and symbol; or name them by symbol in the file"
        )
    found = clean(beside[column])
    missing = found.str.lower().isin(MISSING)
    return make_index_unique(names.where(missing, found))


def clean(names: Sequence[str]) -> pd.Index:
    """Names as text, without quotes and blanks around them; one that is missing is "".

    >>> list(clean(['"ERBB2"', " RPS3", None]))
    ['ERBB2', 'RPS3', '']
    """
    names = pd.Index(list(names), dtype=object)
    found = ["" if absent else str(name).strip(" \t\"'") for name, absent in zip(names, names.isna(), strict=True)]
    return pd.Index(found, dtype=object)


def left_out_of_panels(names: Sequence[str]) -> pd.Series:
    """Which genes are mitochondrial or of ribosomal proteins, in any species whose names say so.

    >>> left_out_of_panels(["MT-CO1", "mt-Nd1", "GRCh38_RPL5", "Rps3", "ERBB2", "MT1X"]).tolist()
    [True, True, True, True, False, False]
    """
    return pd.Series(list(names), dtype=str).str.match(_LEFT_OUT)


def _named(names: pd.Index, beside: pd.DataFrame, where: str) -> pd.Index:
    """Symbols, and the id of a gene that has none."""
    missing = names.str.lower().isin(MISSING)
    ids = next((clean(beside[one]) for one in beside if str(one).lower() in IDS), None)
    if ids is not None:
        return names.where(~missing, ids)
    if (names == "").any() or missing.sum() > 1:
        raise ValueError(f"{where}: {missing.sum()} genes have no name; write their symbols, or ids, into the file")
    return names


def _are_ids(names: pd.Index) -> bool:
    """Whether most names are ids or numbers; a symbol is missing rather than an id."""
    known = [name for name in names if name.lower() not in MISSING]
    return sum(bool(_ID.fullmatch(name) or re.fullmatch(r"\d+", name)) for name in known) * 2 > len(known) or not known


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(map(str, columns[:10])) if len(columns) else "no column"
