"""Stamps change when code means something else, and files of the future are dated back."""

import os
from pathlib import Path

import pytest

from helpers import stamps


def test_imports_are_found_however_they_are_written():
    code = "from helpers import store\nfrom helpers.scores import paired as p, spatial\nimport helpers.columns\n"
    code += "def late():\n    from helpers.models.stem.recipes import PAPER\nimport numpy\n"
    assert stamps.imported(code) == {
        "store",
        "scores/paired",
        "scores/spatial",
        "columns",
        "models/stem/recipes",
    }


def test_what_a_module_needs_is_followed_to_the_end():
    needed = stamps.imports_of("chapters/specifications")
    assert "chapters/specifications" in needed
    assert all(stamps.imports_of(module) <= needed for module in needed)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x = 1\n", "x = 1  # one\n", True),
        ('def f():\n    """One."""\n    return 1\n', 'def f():\n    """Uno."""\n    return 1\n', True),
        ("def f():\n    return 1\n", 'def f():\n    """New."""\n    return 1\n', True),
        ('raise ValueError("no")\n', 'raise ValueError(f"no {1}: do this")\n', True),
        ("x = 1\n", "x = 2\n", False),
        ('raise ValueError("no")\n', 'raise KeyError("no")\n', False),
        ("def f():\n    return 1\n", "def f():\n    return 1.5\n", False),
    ],
)
def test_only_what_code_does_counts(before, after, same):
    assert (stamps.meaning(before) == stamps.meaning(after)) == same


def test_a_stamp_is_written_anew_only_when_the_code_means_something_else(tmp_path):
    path = Path(stamps.stamp("scores/x", "a = 1", tmp_path))
    path.touch()
    first = path.stat().st_mtime_ns
    assert stamps.stamp("scores/x", "a = 1  # words", tmp_path) == str(path) and path.stat().st_mtime_ns == first
    stamps.stamp("scores/x", "a = 2", tmp_path)
    assert path.stat().st_mtime_ns > first and [p.name for p in path.parent.iterdir()] == ["x.txt"]


def test_files_of_the_future_are_dated_back_in_their_order(tmp_path):
    dates = {"old": 50.0, "made": 3000.0, "made/of_it": 3600.0, "link": 3500.0}
    (tmp_path / "made").mkdir()
    for name in ("old", "made/of_it"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name, date in dates.items():
        os.utime(tmp_path / name, (date, date), follow_symlinks=False)
    told = stamps.back_from_the_future([tmp_path], now=100.0)
    assert told.startswith("3 files") and "up to 3,500 s ahead" in told
    found = {name: (tmp_path / name).lstat().st_mtime for name in dates}
    assert found == {"old": 50.0, "made": -500.0, "made/of_it": 100.0, "link": 0.0}
    assert stamps.back_from_the_future([tmp_path, tmp_path / "none"], now=100.0) == ""
