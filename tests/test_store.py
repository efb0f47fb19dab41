import pandas as pd
import pytest

from helpers import store


def test_a_table_comes_back_as_it_was(tmp_path):
    table = pd.DataFrame({"gene": ["NA", "ERBB2"], "pcc": [0.5, None]})
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        store.write_table(table, tmp_path / name)
        pd.testing.assert_frame_equal(store.read_table(tmp_path / name), table)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_no_text_of_a_table_is_a_formula_and_all_come_back(tmp_path, name):
    words = ["=HYPERLINK(A1)", "+1+cmd", "-x", "@SUM(A1)", "\tx", "a=b", "", "-0.5"]
    table = pd.DataFrame(
        {"gene": words, "kind": pd.Categorical(words), "pcc": -0.5, "=h": "a", "kept": [True, None] * 4}
    )
    store.write_table(table, tmp_path / name)
    written = pd.read_csv(tmp_path / name, keep_default_na=False)
    for column in ("gene", "kind"):
        assert written[column].tolist() == [*(f"'{one}" for one in words[:5]), *words[5:]]
    assert list(written) == ["gene", "kind", "pcc", "'=h", "kept"] and (written["pcc"] == -0.5).all()
    back = store.read_table(tmp_path / name)
    assert back["gene"].fillna("").tolist() == words and list(back) == list(table)


def test_predictions_are_listed_by_folder_then_by_name(tmp_path):
    for name in ("b/stem.log2.0.h5ad", "b/ridge.log2.0.h5ad", "b/stem.log2.0.pt", "a/stem.log2.0.h5ad"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folders = [tmp_path / "b", str(tmp_path / "a"), tmp_path / "not there"]
    found = [f"{path.parent.name}/{path.name}" for path in store.prediction_files(folders)]
    assert found == ["b/ridge.log2.0.h5ad", "b/stem.log2.0.h5ad", "a/stem.log2.0.h5ad"]
    assert len(store.prediction_files(folders, "stem")) == 2 and store.prediction_files([]) == []


def test_the_same_table_gives_the_same_bytes(tmp_path):
    table = pd.DataFrame({"a": range(5)})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        store.write_table(table, tmp_path / name / "t.csv.gz")
    assert (tmp_path / "one/t.csv.gz").read_bytes() == (tmp_path / "two/t.csv.gz").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="No space"), store.atomic(path) as partial:
        partial.write_text("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_full_disk_is_an_error_not_a_short_file(tmp_path):
    """/dev/full takes no byte: what a full disk does to a writer."""
    with pytest.raises(OSError, match="No space left"), store.atomic(tmp_path / "t.csv") as partial:
        partial.symlink_to("/dev/full")
        pd.DataFrame({"a": range(100_000)}).to_csv(partial)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_says_what_to_do(tmp_path):
    for read in (store.read_table, store.read_section, store.read_json):
        with pytest.raises(FileNotFoundError, match="gone.*run the notebook"):
            read(tmp_path / "gone")


def test_a_damaged_file_is_named(tmp_path):
    for name, read in (("t.csv.gz", store.read_table), ("t.parquet", store.read_table), ("t.h5ad", store.read_section)):
        (tmp_path / name).write_bytes(b"\x1f\x8b nonsense")
        with pytest.raises(ValueError, match=f"{name}: not a readable"):
            read(tmp_path / name)


def test_a_missing_column_is_named_with_those_there(tmp_path):
    store.write_table(pd.DataFrame({"gene": ["A"]}), tmp_path / "t.csv")
    with pytest.raises(ValueError, match="no column pcc; it has gene"):
        store.read_table(tmp_path / "t.csv", ["gene", "pcc"])
