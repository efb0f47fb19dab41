"""Notebooks keep the house's habits, and papermill refuses what it should."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers import stamps, workflow

ROOT = Path(__file__).parents[1]
READ, WRITTEN = "../build/toy/", "../build/by_hand/toy/"  # where a run by hand reads and writes
NOTEBOOKS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "notebooks").glob(stamps.PAGES))}


def cells(name, kind):
    return [cell for cell in NOTEBOOKS[name]["cells"] if cell["cell_type"] == kind]


def text(cell):
    return "".join(cell["source"])


@pytest.fixture(params=NOTEBOOKS)
def name(request):
    return request.param


def test_committed_without_outputs(name):
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells(name, "code"))


def test_cells_have_ids_of_their_own(name):
    """By them an executed page gets its present words."""
    ids = [cell["id"] for cell in NOTEBOOKS[name]["cells"]]
    assert len(set(ids)) == len(ids)


def test_opens_with_a_promise(name):
    promise = text(NOTEBOOKS[name]["cells"][0])
    assert promise.startswith("# ")
    for word in ("**Question.**", "**Takes in.**", "**Leaves behind.**"):
        assert word in promise


def test_the_question_has_an_answer_which_the_book_shows_first(name):
    """One cell says it, and where a figure shows it, one more; the ledger's has notes."""
    tagged = [text(cell) for cell in cells(name, "code") if "answer" in cell["metadata"].get("tags", [])]
    assert len(tagged) in ((3,) if name == "17_ledger" else (1, 2))
    assert "**Answer.**" in tagged[0]
    assert not any("answer" in cell["metadata"].get("tags", []) for cell in cells(name, "markdown"))


def test_second_cell_holds_the_parameters(name):
    tagged = [i for i, c in enumerate(NOTEBOOKS[name]["cells"]) if "parameters" in c["metadata"].get("tags", [])]
    assert tagged == [1]
    tree = ast.parse(text(NOTEBOOKS[name]["cells"][1]))
    assert all(isinstance(node, ast.Assign) for node in tree.body)


def test_ends_with_the_command_that_runs_it_again(name):
    *_, command, fence = text(NOTEBOOKS[name]["cells"][-1]).splitlines()
    assert fence == "```" and re.fullmatch(rf'make page PAGE={name}( RUN=\S+)? COHORT=toy P="\w+=\w+"', command)
    assert re.search(r'P="(\w+)=', command)[1] in parameters(name)


def test_cells_hold_one_thought(name):
    for cell in cells(name, "code"):
        assert len(text(cell).splitlines()) <= 25 and len(text(cell)) <= 1200, text(cell)[:200]


def test_a_notebook_reads_calls_shows_and_says(name):
    """What has a branch of its own, a name and a result is a helper's, where it is tested."""
    nodes = [node for cell in cells(name, "code") for node in ast.walk(ast.parse(text(cell)))]
    assert [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)] == []
    assert [ast.unparse(node) for node in nodes if isinstance(node, ast.Lambda) and len(ast.unparse(node)) > 80] == []


def test_every_name_that_a_notebook_takes_from_the_helpers_is_there(name):
    """Said here in seconds; the page that uses it may stand at the end of an hour."""
    nodes = [node for cell in cells(name, "code") for node in ast.walk(ast.parse(text(cell)))]
    taken = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers"):
            source = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(source, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                taken[alias.asname or alias.name] = getattr(source, alias.name)
    modules = {key: value for key, value in taken.items() if inspect.ismodule(value)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), f"{node.value.id}.{node.attr}"


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


def parameters(name):
    return assigned(NOTEBOOKS[name]["cells"][1])


def paths(name, below):
    """Parameters of a notebook that are paths, or lists of paths, below a folder: name -> paths without the folder."""
    found = {}
    for key, value in parameters(name).items():
        values = value if isinstance(value, list) else [value]
        if values and all(isinstance(one, str) and one.startswith(below) for one in values):
            found[key] = [one.removeprefix(below) for one in values]
    return found


def promised(name, what):
    """The parameters named in a part of the promise."""
    part = re.search(rf"\*\*{what}\.\*\*(.*?)(\n\n|$)", text(NOTEBOOKS[name]["cells"][0]), re.S)[1]
    return set(re.findall(r"`(\w+)`", part))


def test_the_promise_names_every_input_and_every_output(name):
    missing = set(paths(name, READ)) - promised(name, "Takes in")
    assert not missing, f"Takes in does not name {', '.join(sorted(missing))}"
    missing = set(paths(name, WRITTEN)) - promised(name, "Leaves behind") - {"checkpoints"}
    assert not missing, f"Leaves behind does not name {', '.join(sorted(missing))}"


def family(path):
    """Files of several sections or fits are one family: their folder, and how they end."""
    return (
        path if path.startswith("results/") else f"{path.partition('/')[0]}{Path(path).suffix if '/' in path else ''}"
    )


def test_no_page_reads_what_a_later_page_makes():
    made = {}
    for name in NOTEBOOKS:
        for path in (path for some in paths(name, WRITTEN).values() for path in some):
            made.setdefault(family(path), name)
    for name in NOTEBOOKS:
        for path in (path for some in paths(name, READ).values() for path in some):
            maker = made.get(family(path), made.get(path.partition("/")[0]))
            assert maker is None or maker < name, f"{name} reads {path}, which {maker} makes"
    assert len(made) > 50


def test_a_page_has_the_number_of_its_file(name):
    """The first, which is the book's root, has a name alone."""
    number = int(name[:2])
    assert re.match(rf"# {number}[.] " if number else "# [A-Z]", text(NOTEBOOKS[name]["cells"][0]))


def test_pages_are_read_in_the_order_of_their_names():
    table = yaml.safe_load((ROOT / "book/_toc.yml").read_text())
    listed = [table["root"], *(page["file"] for part in table["parts"] for page in part["chapters"])]
    assert [page for page in listed if page in NOTEBOOKS] == sorted(NOTEBOOKS)


def test_every_parameter_that_is_no_path_has_a_meaning_and_no_meaning_is_left_over():
    """In config/schema.yaml, where it is a key of the config, else in notebooks/parameters.yaml."""
    used = {key for name in NOTEBOOKS for key, value in parameters(name).items() if not workflow.is_path(value)}
    assert used - workflow.meanings().keys() == set()
    written = yaml.safe_load((ROOT / "notebooks/parameters.yaml").read_text())
    assert written.keys() - used == set() and list(written) == sorted(written)


def test_the_start_notebook_lists_every_page_without_outputs_and_with_what_can_be_changed(monkeypatch):
    source = json.loads((ROOT / "notebooks/start.ipynb").read_text())
    code = [cell for cell in source["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    monkeypatch.chdir(ROOT / "notebooks")
    names = {}
    exec("\n".join(map(text, code[:-1])), names)
    *before, shown = text(code[-1]).splitlines()
    exec("\n".join(before), names)
    table = eval(shown, names).data
    assert [name for name in NOTEBOOKS if f"]({name}.ipynb) |" not in table] == []
    assert "`max_mb`: size of the explorer's files" in table and table.count("`cellularity`") == 1


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


@pytest.mark.parametrize("folder", ["pages", "runs/02_segmentation", "runs/08_stem_training"])
def test_defaults_are_those_of_the_toy_book_but_for_where_they_write(folder):
    """A notebook run by hand, with the parameters it declares, reads what the page of the toy book reads."""
    pages = sorted((ROOT / "build/toy" / folder).glob("*.ipynb"))
    if not pages:
        pytest.skip("build/toy is not there: run make book first")
    found = {}
    for page in pages:
        cells = json.loads(page.read_text())["cells"]
        injected = next(cell for cell in cells if "injected-parameters" in cell["metadata"].get("tags", []))
        found.setdefault(folder.partition("/")[2] or page.stem, []).append(assigned(injected))
    for notebook, runs in found.items():
        as_in_the_book = json.loads(json.dumps(parameters(notebook)).replace(WRITTEN, READ))
        assert as_in_the_book in runs, notebook


PAGES = ["12_coupling", "14_figure1", "19_floors"]


@pytest.mark.parametrize("page", PAGES)
def test_the_command_at_the_foot_of_a_page_works_and_leaves_the_book_alone(page):
    """As a reader pastes it, but with the tests' own Python."""
    if not (ROOT / f"build/toy/parameters/{page}.yaml").is_file():
        pytest.skip("build/toy is not there: run make book first")
    book = {path: path.stat().st_mtime_ns for path in (ROOT / "build/toy").rglob("*") if path.is_file()}
    given = yaml.safe_load((ROOT / f"build/toy/parameters/{page}.yaml").read_text())
    if workflow.declared(page).keys() != given.keys():
        pytest.skip("build/toy was made of older pages: run make book first")
    command = text(NOTEBOOKS[page]["cells"][-1]).splitlines()[-2]
    name, change = re.search(r'PAGE=(\S+).* P="(.*)"', command).groups()
    program = [sys.executable, "-m", "helpers.workflow", "page", name, "build/toy", change]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    executed = ROOT / f"build/by_hand/toy/{page}/{page}.ipynb"
    assert str(executed) in done.stdout and executed.is_file()
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "build/toy").rglob("*") if path.is_file()} == book
