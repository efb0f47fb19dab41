"""Predictions come in as other people save them, and what cannot be matched says why."""

import pickle

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.audit import predictions

SPOTS = pd.Index([f"{x}x{y}" for x in range(5) for y in range(5)])
GENES = pd.Index(["ERBB2", "GNAS", "CD74"])


@pytest.fixture
def table():
    return pd.DataFrame(np.random.default_rng(0).normal(size=(25, 3)), SPOTS, GENES)


def save(table, path):
    match path.suffixes[0]:
        case ".csv":
            table.to_csv(path)
        case ".tsv":
            table.to_csv(path, sep="\t")
        case ".parquet":
            (table if path.stem == "index" else table.rename_axis("barcode").reset_index()).to_parquet(path)
        case ".h5ad":
            AnnData(table).write_h5ad(path)
        case ".npz":
            np.savez(path, pred=table.to_numpy(), spots=table.index.to_numpy(str), genes=table.columns.to_numpy(str))
    return path


@pytest.mark.parametrize(
    "name", ["p.csv", "p.csv.gz", "p.tsv", "p.tsv.gz", "column.parquet", "index.parquet", "p.h5ad", "p.npz"]
)
def test_every_format_reads_back_the_same(tmp_path, table, name):
    found = predictions.read(save(table, tmp_path / name))
    pd.testing.assert_frame_equal(found, table, check_names=False)


def test_numbers_are_read_as_numbers_whatever_the_separator(tmp_path, table):
    table.to_csv(tmp_path / "p.csv", sep=";")
    assert predictions.read(tmp_path / "p.csv").shape == (25, 3)


def test_a_spot_and_a_gene_may_be_called_na(tmp_path, table):
    table = table.rename(index={"0x0": "NA"}, columns={"GNAS": "NaN"})
    assert {"NA"} < set(predictions.read(save(table, tmp_path / "p.csv")).index)


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


def test_code_is_never_run(tmp_path, table):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="p.pkl: predictions are read from"):
        predictions.read(tmp_path / "p.pkl")
    np.savez(tmp_path / "p.npz", pred=table.to_numpy(), spots=np.array([Evil()], object), genes=np.array(GENES, object))
    with pytest.raises(ValueError, match="p.npz: not an archive of plain arrays"):
        predictions.read(tmp_path / "p.npz")


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("p.csv", lambda t: t.set_axis(["0x0"] * 2 + list(SPOTS[2:])), "spot '0x0' occurs twice"),
        ("p.csv", lambda t: t.set_axis(["GNAS", "GNAS", "CD74"], axis=1), "gene 'GNAS' occurs twice"),
        ("p.npz", lambda t: t.set_axis(["GNAS", "GNAS", "CD74"], axis=1), "gene 'GNAS' occurs twice"),
        (
            "p.csv",
            lambda t: t.mask(t == t.iloc[3, 1]),
            "1 predictions are missing or infinite, first spot 0x3, gene GNAS",
        ),
        ("p.csv", lambda t: t.astype(object).where(t != t.iloc[3, 1], "high"), "text"),
        ("p.csv", lambda t: t.iloc[:, :0], "p.csv"),
    ],
    ids=["spot twice", "gene twice", "gene twice in npz", "missing", "text", "no genes"],
)
def test_what_cannot_be_scored_is_refused_by_file_and_place(tmp_path, table, name, spoil, words):
    with pytest.raises(ValueError, match=words):
        predictions.read(save(spoil(table), tmp_path / name))


def test_npz_without_names_is_refused(tmp_path, table):
    np.savez(tmp_path / "p.npz", pred=table.to_numpy())
    with pytest.raises(ValueError, match="spots and genes are wanted"):
        predictions.read(tmp_path / "p.npz")
    np.savez(tmp_path / "q.npz", pred=table.to_numpy().T, spots=SPOTS.to_numpy(str), genes=GENES.to_numpy(str))
    with pytest.raises(ValueError, match=r"\(3, 25\) for 25 spots and 3 genes"):
        predictions.read(tmp_path / "q.npz")


@pytest.mark.parametrize("name", ["p.parquet", "p.h5ad", "p.npz"])
def test_a_damaged_file_is_named_and_to_be_written_again(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\3\4" * 30)
    with pytest.raises(ValueError, match=rf"{name}: not .*(write it again|as str arrays)"):
        predictions.read(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="p.csv: no such file"):
        predictions.read(tmp_path / "p.csv")


def test_match_keeps_the_sections_order_and_tells_what_it_left_out(table):
    shuffled = table.sample(frac=1, random_state=0).rename(columns={"CD74": "XIST"})
    found, remarks = predictions.match(shuffled.drop(index="4x4"), SPOTS, GENES, "p.csv")
    assert list(found.index) == list(SPOTS[:-1]) and list(found.columns) == ["ERBB2", "GNAS"]
    assert remarks == [
        "1 of 25 measured spots have no partner and are left out",
        "1 of 3 predicted genes have no partner and are left out",
    ]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.T, "transpose the table"),
        (lambda t: t.set_axis("A1_" + t.index), "'A1_0x0' may be '0x0': take off"),
        (lambda t: t.set_axis(t.index + "-1"), "'0x0-1' may be '0x0': take off"),
        (lambda t: t.set_axis([f"ENSG0000{i}" for i in range(3)], axis=1), "Ensembl id: use symbols"),
        (lambda t: t.set_axis(t.columns.str.lower(), axis=1), "upper and lower case"),
        (lambda t: t.set_axis([str(i) for i in range(25)]), "number their spots"),
    ],
    ids=["transposed", "prefix", "suffix", "Ensembl", "case", "numbers"],
)
def test_names_that_do_not_match_are_shown_with_a_guess(table, spoil, words):
    with pytest.raises(ValueError, match=words) as error:
        predictions.match(spoil(table), SPOTS, GENES, "p.csv")
    ours = "'ERBB2', 'GNAS', 'CD74'" if "genes match" in str(error.value) else "'0x0', '0x1', '0x2', '0x3', '0x4'."
    assert "p.csv: 0 " in str(error.value) and f"counts: {ours}" in str(error.value)


def test_fewer_than_twenty_spots_are_refused(table):
    with pytest.raises(ValueError, match="12 spots; at least 20"):
        predictions.match(table.iloc[:12], SPOTS[:12], GENES, "p.csv")


def test_few_spots_whose_names_match_are_not_told_to_rename_them(table):
    for n in (12, 25):  # the predictions or the counts are few
        with pytest.raises(ValueError, match="p.csv: 12 spots; at least 20"):
            predictions.match(table.iloc[:n], SPOTS[: 37 - n], GENES, "p.csv")


def test_the_guess_is_of_a_name_that_does_not_match(table):
    half = table.set_axis([*SPOTS[:12], *(SPOTS[12:] + "-1")])
    with pytest.raises(ValueError, match="12 spots match.*'2x2-1' may be '2x2'"):
        predictions.match(half, SPOTS, GENES, "p.csv")


def test_an_h5ad_file_of_several_places_is_asked_for_one(tmp_path, table):
    made = AnnData(table * 0)
    made.layers["model"] = table.to_numpy()
    made.write_h5ad(tmp_path / "p.h5ad")
    with pytest.raises(ValueError, match="p.h5ad: predictions may be X or model; say which by --layer"):
        predictions.read(tmp_path / "p.h5ad")
    pd.testing.assert_frame_equal(predictions.read(tmp_path / "p.h5ad", "model"), table, check_names=False)
    assert (predictions.read(tmp_path / "p.h5ad", "X") == 0).all(axis=None)
    with pytest.raises(ValueError, match="p.h5ad: no layer mine; it has X, model"):
        predictions.read(tmp_path / "p.h5ad", "mine")
    made.X = None
    made.write_h5ad(tmp_path / "q.h5ad")
    pd.testing.assert_frame_equal(predictions.read(tmp_path / "q.h5ad"), table, check_names=False)
    del made.layers["model"]
    made.write_h5ad(tmp_path / "r.h5ad")
    with pytest.raises(ValueError, match="r.h5ad: it has neither X nor a layer"):
        predictions.read(tmp_path / "r.h5ad")
    with pytest.raises(ValueError, match="p.csv: only h5ad files have layers"):
        predictions.read(save(table, tmp_path / "p.csv"), "model")


@pytest.mark.parametrize(
    "write",
    [
        lambda t: "\t".join(t) + "\n" + t.to_csv(sep="\t", header=False),
        lambda t: "# model X\n" + t.to_csv(),
        lambda t: t.to_csv(quoting=1, lineterminator="\r\n"),
        lambda t: t.to_csv(sep=";", decimal=","),
        lambda t: "\ufeff" + t.to_csv(),
    ],
    ids=["R", "comment", "quotes", "decimal comma", "byte-order mark"],
)
def test_tables_are_read_as_people_write_them(tmp_path, table, write):
    (tmp_path / "p.tsv").write_text(write(table))
    pd.testing.assert_frame_equal(predictions.read(tmp_path / "p.tsv"), table, check_names=False)


@pytest.mark.parametrize("kind", ["complex64", "complex128", "datetime64[s]", "timedelta64[s]", "bool"])
def test_values_that_are_no_real_numbers_are_refused(tmp_path, kind):
    values, spots, genes = np.ones((30, 3)).astype(int).astype(kind), [f"s{i}" for i in range(30)], list("abc")
    np.savez(tmp_path / "S1.npz", values=values, spots=spots, genes=genes)
    with pytest.raises(ValueError, match=r"S1\.npz: predictions are \w+.* values; write them as plain real numbers"):
        predictions.read(tmp_path / "S1.npz")


def test_complex_numbers_in_other_files_are_refused(tmp_path):
    values = np.ones((30, 3)) + 1j
    table = pd.DataFrame(values, [f"s{i}" for i in range(30)], list("abc"))
    table.to_csv(tmp_path / "S1.csv")
    AnnData(values, obs=pd.DataFrame(index=table.index), var=pd.DataFrame(index=table.columns)).write_h5ad(
        tmp_path / "S1.h5ad"
    )
    for name in ("S1.csv", "S1.h5ad"):
        with pytest.raises(ValueError, match=f"{name}: (some predictions are text|predictions are complex128)"):
            predictions.read(tmp_path / name)


def test_genes_that_a_spreadsheet_made_dates_are_warned_of(tmp_path, table):
    path = save(table.rename(columns={"GNAS": "2-Sep"}), tmp_path / "p.csv")
    with pytest.warns(UserWarning, match="p.csv: 1 of 3 genes are dates, 2-Sep"):
        predictions.read(path)


def test_a_folder_of_zarr_is_refused_by_name(tmp_path):
    (tmp_path / "p.zarr").mkdir()
    (tmp_path / "p.zarr/.zgroup").write_text("{}")
    with pytest.raises(ValueError, match=r"p.zarr: a folder of Zarr \(SpatialData, AnnData\) is not read"):
        predictions.read(tmp_path / "p.zarr")
