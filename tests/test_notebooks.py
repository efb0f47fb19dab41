"""Notebooks keep the house's habits, and papermill refuses what it should."""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def cells(name, kind):
    return [cell for cell in NOTEBOOKS[name]["cells"] if cell["cell_type"] == kind]


def text(cell):
    return "".join(cell["source"])


@pytest.fixture(params=NOTEBOOKS)
def name(request):
    return request.param


def test_committed_without_outputs(name):
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells(name, "code"))


def test_opens_with_a_promise(name):
    promise = text(NOTEBOOKS[name]["cells"][0])
    assert promise.startswith("# ")
    for word in ("**Question.**", "**Takes in.**", "**Leaves behind.**"):
        assert word in promise


def test_second_cell_holds_the_parameters(name):
    tagged = [i for i, c in enumerate(NOTEBOOKS[name]["cells"]) if "parameters" in c["metadata"].get("tags", [])]
    assert tagged == [1]
    tree = ast.parse(text(NOTEBOOKS[name]["cells"][1]))
    assert all(isinstance(node, ast.Assign) for node in tree.body)


def test_ends_with_the_command_that_reproduces_it(name):
    last = text(NOTEBOOKS[name]["cells"][-1])
    assert f"papermill notebooks/{name}.ipynb" in last
    assert "--cwd notebooks" in last


def test_cells_hold_one_thought(name):
    lengths = [len(text(cell).splitlines()) for cell in cells(name, "code")]
    assert max(lengths) <= 25


def test_no_number_of_ours_is_typed_into_a_figure_caption_and_each_figure_has_alt_text(name):
    for cell in cells(name, "code"):
        if "mystnb" in cell["metadata"]:
            settings = cell["metadata"]["mystnb"]
            assert settings["figure"]["name"].startswith("fig-")
            assert settings["figure"]["caption"].endswith(".")
            assert len(settings["image"]["alt"]) > 10


def test_no_path_is_built_but_from_parameters(name):
    for cell in cells(name, "code")[1:]:
        assert "../" not in text(cell)


def test_no_notebook_but_the_first_touches_the_network(name):
    code = "\n".join(text(cell) for cell in cells(name, "code"))
    assert name == "01_data" or not any(word in code for word in ("http", "requests", "pooch", "urllib", "fetch"))


def test_figures_names_are_unique():
    names = [
        cell["metadata"]["mystnb"]["figure"]["name"]
        for notebook in NOTEBOOKS
        for cell in cells(notebook, "code")
        if "mystnb" in cell["metadata"]
    ]
    assert len(names) == len(set(names)) > 8


def assigned(cell):
    """What a cell of assignments leaves behind."""
    names = {}
    exec(text(cell), names)
    return {name: value for name, value in names.items() if name != "__builtins__"}


@pytest.mark.parametrize("folder", ["pages", "runs/02_segmentation", "runs/09_stem_training"])
def test_defaults_are_those_of_the_toy_book(folder):
    """A notebook run by hand, with the parameters it declares, is the page of the toy book or one of its runs."""
    pages = sorted((ROOT / "build/toy" / folder).glob("*.ipynb"))
    if not pages:
        pytest.skip("build/toy is not there: run make book first")
    found = {}
    for page in pages:
        cells = json.loads(page.read_text())["cells"]
        injected = next(cell for cell in cells if "injected-parameters" in cell["metadata"].get("tags", []))
        found.setdefault(folder.partition("/")[2] or page.stem, []).append(assigned(injected))
    for notebook, runs in found.items():
        assert assigned(NOTEBOOKS[notebook]["cells"][1]) in runs, notebook
