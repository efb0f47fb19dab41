"""Files of a section are found and joined by name, or refused with the reason."""

from pathlib import Path

import pandas as pd
import pytest

from helpers.cohort.layouts import raw


def test_one_file_of_a_kind_is_found_and_two_are_refused(tmp_path):
    assert raw.only_file(tmp_path, "*") is None
    for name in ("a.jpg", "a.txt", "._a.jpg"):
        (tmp_path / name).touch()
    assert raw.only_file(tmp_path, "*", {".jpg"}).name == "a.jpg"
    with pytest.raises(ValueError, match="2 images, one is wanted: a.jpg, a.txt"):
        raw.only_file(tmp_path, "*")


def test_few_spots_may_lack_a_partner_and_no_more():
    names = pd.Index([f"s{k}" for k in range(100)])
    paths = Path("counts.tsv"), Path("spots.tsv")
    assert list(raw.common(names, names[5:], *paths)) == list(names[5:])
    with pytest.raises(ValueError, match="have 90 spots in common of 100 and 100: s90, s91, ... against t0, t1"):
        raw.common(names, names[:90].append(pd.Index([f"t{k}" for k in range(10)])), *paths)


@pytest.mark.parametrize(("text", "what"), [("{", "not a whole JSON file"), ("[1]", "not a JSON object")])
def test_json_that_is_no_object_is_refused(tmp_path, text, what):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"a.json: {what}"):
        raw.read_json(path)
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_text('{"mpp": 0.5}', encoding)
        assert raw.read_json(path) == {"mpp": 0.5}
    path.unlink()
    with pytest.raises(FileNotFoundError, match="a.json: no such file"):
        raw.read_json(path)


@pytest.mark.parametrize("inside", raw.ZARR)
def test_a_folder_of_zarr_is_refused_by_name_and_another_is_not(tmp_path, inside):
    raw.refuse_zarr(tmp_path, tmp_path / "no.zarr")
    (tmp_path / inside).write_text("{}")
    with pytest.raises(ValueError, match="a folder of Zarr .* is not read; write its table as one file"):
        raw.refuse_zarr(tmp_path)
