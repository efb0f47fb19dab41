"""One table, however it was written: the same cells come out, and what is no table is refused with file and line."""

import csv
import gzip

import numpy as np
import pandas as pd
import pytest

from helpers.cohort import tables

TABLE = pd.DataFrame({"ERBB2": [1, 0, 30], "MT-CO1": [4, 5, 6]}, index=["9x13", "NA", "8x12"])
BARE = TABLE.to_csv(sep="\t", header=False)

WAYS = {
    "tabs": TABLE.to_csv(sep="\t"),
    "commas": TABLE.to_csv(),
    "semicolons": TABLE.to_csv(sep=";"),
    "quotes": TABLE.to_csv(quoting=csv.QUOTE_NONNUMERIC),
    "write.table": "\t".join(TABLE) + "\n" + BARE,
    "write.table with blanks and quotes": '"ERBB2" "MT-CO1"\n"9x13" 1 4\n"NA" 0 5\n"8x12" 30 6\n',
    "comments": "# of model X\n#\n" + TABLE.to_csv(),
    "Windows": TABLE.to_csv(lineterminator="\r\n"),
    "old Mac": TABLE.to_csv(lineterminator="\r"),
    "byte-order mark": "\ufeff" + TABLE.to_csv(),
    "empty lines": TABLE.to_csv().replace("8x12", "\n8x12") + "\n\n",
    "no end": TABLE.to_csv().rstrip("\n"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_a_table_gives_the_same(tmp_path, way):
    (tmp_path / "t.tsv").write_bytes(WAYS[way].encode())
    found = tables.read(tmp_path / "t.tsv")
    assert list(found.columns[1:]) == list(TABLE) and list(found.iloc[:, 0]) == list(TABLE.index)
    np.testing.assert_array_equal(found.iloc[:, 1:].to_numpy(), TABLE.to_numpy())


def test_utf_16_and_gzip_are_unpacked(tmp_path):
    (tmp_path / "t.csv").write_bytes(TABLE.to_csv().encode("utf-16"))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(TABLE.to_csv().encode()))
    for name in ("t.csv", "t.csv.gz"):
        assert list(tables.read(tmp_path / name).columns) == ["", "ERBB2", "MT-CO1"]


def test_a_comma_is_a_decimal_where_semicolons_part_the_cells():
    found = tables.parse(b"spot;G1;G2\na;1,5;-0,25\nb;2;3\n", "t.csv")
    assert found[["G1", "G2"]].to_numpy().tolist() == [[1.5, -0.25], [2, 3]]


def test_rows_are_indexed_by_their_lines():
    found = tables.parse(b"# remark\n\nspot,G1\na,1\n\nb,2\n", "t.csv")
    assert list(found.index) == [4, 6]


def test_a_table_without_a_header_has_the_columns_that_are_known():
    for line in (b"AAC-1,1,0,5\n", b"AAC-1,True,0,5\n"):
        found = tables.parse(line, "t.csv", columns=["barcode", "in_tissue", "row", "col"])
        assert found.columns[1] == "in_tissue" and len(found) == 1
    assert len(tables.parse(b"barcode,in_tissue\nAAC-1,1\n", "t.csv", columns=["barcode", "in_tissue"])) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty table; mend it"),
        (b"# only a remark\n", "an empty table"),
        (b"spot,G1,G2\n", "no row below the header, spot, G1, G2"),
        (b"spot,G1,G2\na,1\n", "3 names in the header, 2 columns below it"),
        (b"spot,G1\na,1\nb,2,3\n", "Expected 2 fields in line 3, saw 3"),
        (b"spot,\xe4\n\xe4,1\n", "not text in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(content, says):
    with pytest.raises(ValueError, match=f"t.csv: .*{says}"):
        tables.parse(content, "t.csv", "mend it")


def test_a_line_that_is_cut_off_is_told_from_a_column_with_gaps():
    whole = "x,y,note\n1,2,a\n3,4,b\n5,6,c\n"
    table = tables.parse(whole[:-3].encode(), "t.csv")
    with pytest.raises(ValueError, match="t.csv: line 4 is cut off or not a number, note holds nothing"):
        tables.whole_lines(table, ["x", "y"], "t.csv")
    gaps = tables.parse(whole.replace(",a", ",").replace(",c", ",").encode(), "t.csv")
    assert tables.whole_lines(gaps, ["x", "y"], "t.csv").to_numpy().tolist() == [[1, 2], [3, 4], [5, 6]]


def test_a_spot_that_occurs_twice_is_named():
    assert len(tables.each_once(TABLE, "t.csv")) == 3
    with pytest.raises(ValueError, match="t.csv: spot 'NA' occurs twice"):
        tables.each_once(pd.concat([TABLE, TABLE.iloc[[1]]]), "t.csv")


# --- wide tables of counts, which pandas reads a column at a time ---


def wide(separator="\t", change=str):
    header = separator.join(["", *(f"G{k}" for k in range(tables.WIDE))])
    rows = [separator.join([f"'s{i}'", *(str((i * k) % 7) for k in range(tables.WIDE))]) for i in range(5)]
    return change("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_a_wide_table_of_counts_is_what_pandas_reads(monkeypatch, separator):
    text = wide(separator)
    assert tables._counts(text, 1, separator) is not None
    found = tables.parse(text.encode(), "t")
    monkeypatch.setattr(tables, "WIDE", 10**6)
    pd.testing.assert_frame_equal(found, tables.parse(text.encode(), "t"), check_index_type=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\t3\t", "\t\t", 1),
        lambda text: text.replace("\t3\t", "\t3.5\t", 1),
        lambda text: text.replace("\t3\t", "\t-3\t", 1),
        lambda text: text.replace("\t3\t", '\t"3"\t', 1),
        lambda text: text.replace("\t3\t", "\t99999999999999999999\t", 1),
        lambda text: text + "\n",
        lambda text: text.rstrip("\n").rsplit("\t", 1)[0],
    ],
    ids=["gap", "fraction", "sign", "quotes", "too large", "empty line", "cut off"],
)
def test_any_other_wide_table_is_left_to_pandas(change):
    assert tables._counts(wide(change=change), 1, "\t") is None


def test_whole_numbers_of_up_to_nine_digits_are_read():
    numbers = 10 ** np.random.default_rng(0).uniform(0, 9, 500) // 1
    cells = "\t".join(f"{number:.0f}" for number in numbers)
    np.testing.assert_array_equal(tables._whole_numbers(cells.encode(), b"\t"), numbers)
    for other in ("\t1234567890", "\t", "\t1.5", "\t-1"):
        assert tables._whole_numbers((cells + other).encode(), b"\t") is None


def test_points_between_thousands_are_refused_and_three_digits_behind_a_point_are_read():
    numbers = np.random.default_rng(0).integers(1, 6000, (30, 9))
    with_points = pd.DataFrame(numbers).map(lambda number: f"{number:,}".replace(",", "."))
    with pytest.raises(ValueError, match=r"a.csv: [1-5]\.\d{3} stands for thousands, beside numbers without a point"):
        tables.parse(with_points.to_csv(sep=";").encode(), "a.csv")
    for decimals in (numbers / 1000, np.round(numbers / 1000, 2), np.where(numbers % 2, 7, numbers / 1000)):
        found = tables.parse(pd.DataFrame(decimals).to_csv(sep=";").encode(), "a.csv")
        np.testing.assert_allclose(found.iloc[:, 1:].to_numpy(float), decimals)
