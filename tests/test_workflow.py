"""What a notebook depends on, is given, and leaves when it fails; how its page is staged."""

import json
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml

from helpers import stamps, workflow
from helpers.workflow import Page

ROOT = Path(__file__).parents[1]


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A folder with one notebook: a parameter, an input, an output, and a cell that divides by k."""
    monkeypatch.chdir(tmp_path)
    workflow.declared.cache_clear()
    cells = [
        nbformat.v4.new_markdown_cell("# Page", id="title"),
        nbformat.v4.new_code_cell(
            'table = "../build/toy/a.csv"\nk = 2\nresult = "../build/by_hand/toy/results/b.txt"',
            id="given",
            metadata={"tags": ["parameters"]},
        ),
        nbformat.v4.new_code_cell(
            "from pathlib import Path\n\nimport helpers.columns\n\nPath(result).write_text(str(6 / k))", id="divide"
        ),
        nbformat.v4.new_markdown_cell("Again: `make page PAGE=05_page COHORT=toy`", id="foot"),
    ]
    (tmp_path / "notebooks").mkdir()
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), tmp_path / "notebooks/05_page.ipynb")
    yield tmp_path
    workflow.declared.cache_clear()


def test_a_book_needs_two_sections_with_an_image_and_an_example_among_them():
    workflow.check_kept(["A1", "B1", "B2"], ["A1", "B1"], "A1", "build/mine")
    with pytest.raises(ValueError, match=r"build/mine/sections.csv: 1 section kept, 1 with an image; a book needs two"):
        workflow.check_kept(["A1"], ["A1"], "A1", "build/mine")
    with pytest.raises(ValueError, match="2 sections kept, 0 with an image"):
        workflow.check_kept(["A1", "B1"], [], "A1", "build/mine")
    with pytest.raises(ValueError, match="example B2 is not kept or has no image; name another as example: A1, B1"):
        workflow.check_kept(["A1", "B1", "B2"], ["A1", "B1"], "B2", "build/mine")


def test_a_page_stands_on_its_code_and_its_helpers_not_on_its_words(house):
    files = stamps.code("05_page")
    assert files == ["build/code/notebooks/05_page.txt", "build/code/helpers/columns.txt"]
    before = [Path(stamp).read_text() for stamp in files]
    path = house / "notebooks/05_page.ipynb"
    path.write_text(path.read_text().replace("# Page", "# Another title"))
    assert [Path(stamp).read_text() for stamp in stamps.code("05_page")] == before


# --- what it is given ---


def test_paths_of_the_rule_win_over_values_and_values_over_defaults(house):
    given = workflow.parameters("05_page", {"table": "build/x/a.csv", "result": ["b", "c"]}, {"k": 5, "other": 1})
    assert given == {"table": "../build/x/a.csv", "k": 5, "result": ["../b", "../c"]}


@pytest.mark.parametrize(
    ("paths", "says"),
    [({"table": "a", "result": "b", "tabel": "c"}, "no parameter tabel"), ({"table": "a"}, "does not set result")],
)
def test_a_parameter_that_nobody_declares_or_sets_is_refused(house, paths, says):
    with pytest.raises(ValueError, match=f"05_page.*{says}"):
        workflow.parameters("05_page", paths, {})


def test_files_of_a_rule_are_those_that_the_notebook_declares(house):
    page = workflow.with_declared_files("05_page", Page(), "build/x", {"k": 5, "table": {"no": "path"}})
    assert page.takes == {"table": "build/x/a.csv"} and page.leaves == {"result": "build/x/results/b.txt"}
    said = workflow.with_declared_files("05_page", Page({"table": "c.csv"}), "build/x", {"result": None})
    assert said.takes == {"table": "c.csv"} and said.leaves == {}
    assert workflow.with_declared_files("05_page", Page(own={"table": "c"}), "build/x", {}).takes == {}


def test_files_of_a_page_that_runs_once_per_section_have_its_wildcards(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = workflow.with_declared_files("02_segmentation", Page(run="{section}"), "build/x", {})
    assert page.takes == {"section": "build/x/sections/{section}.h5ad"}
    assert (
        page.leaves["overview"] == "build/x/overview/{section}.jpg"
        and page.executed("02_x") == "runs/02_x/{section}.ipynb"
    )
    fit = workflow.with_declared_files("08_stem_training", Page(run="{split}.{section}.{fit}"), "build/x", {})
    assert fit.leaves["predictions"] == "build/x/predictions/{split}.{section}.{fit}"
    assert (
        workflow.with_declared_files("14_figure1", Page(), "build/x", {}).leaves["figure"][1]
        == "build/x/results/figure1.svg"
    )


def test_lists_of_inputs_are_of_a_cohort_and_have_to_be_said(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = workflow.with_declared_files("03_segmentation_check", Page(), "build/x", {})
    with pytest.raises(ValueError, match="does not set segmented"):
        workflow.parameters("03_segmentation_check", page.takes | page.leaves, {})


def test_each_rule_asks_for_what_it_was_measured_to_take_and_at_most_twice_of_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    pages = {path.stem for path in (ROOT / "notebooks").glob(stamps.PAGES)}
    assert set(workflow.needs()) == pages | {"08_stem_training.network", "html", "reference"}
    for rule, took in workflow.needs().items():
        asked = workflow.resources(rule, Page(), 1)
        assert took["mb"] < asked["mem_mb"]({}) <= 2 * (took["mb"] + workflow.START_MB)
        assert took["seconds"] / 60 < asked["runtime"]({}) <= max(workflow.AT_LEAST, 2 * took["seconds"] / 60 + 1)


def test_a_chapter_that_was_never_measured_asks_for_what_the_largest_took():
    asked = workflow.resources("30_mine", Page(), 6)
    largest = max(workflow.resources(rule, Page(), 6)["mem_mb"]({}) for rule in workflow.needs())
    assert asked["mem_mb"]({}) == largest and asked["runtime"]({}) >= workflow.AT_LEAST


def test_a_page_of_all_sections_asks_for_more_time_the_more_there_are(monkeypatch):
    monkeypatch.chdir(ROOT)
    few, many = (workflow.resources("20_partial", Page(), n)["runtime"]({}) for n in (50, 100))
    assert 1.9 * few < many < 2.1 * few
    assert len({workflow.resources("02_segmentation", Page(), n)["runtime"]({}) for n in (6, 36)}) == 1


def test_a_network_asks_for_a_gpu_where_its_profile_is_for_one_and_a_fit_of_ridge_never(monkeypatch):
    monkeypatch.chdir(ROOT)
    cheap, network = (SimpleNamespace(fit=fit) for fit in ("cheap", "stem.log2"))
    asked = workflow.resources("08_stem_training", Page(gpu=lambda wildcards: int(wildcards is network)), 1)
    assert asked["mem_mb"](network) == workflow.GPU_MEMORY > asked["mem_mb"](cheap)
    on_cpus = workflow.resources("08_stem_training", Page(runtime=lambda wildcards: 1440), 1)
    assert workflow.GPU_MEMORY > on_cpus["mem_mb"](network) > on_cpus["mem_mb"](cheap)
    assert on_cpus["runtime"](network) == 1440


def test_absolute_paths_stay():
    assert workflow.from_notebooks("/data/x") == "/data/x" and workflow.from_notebooks("data/x") == "../data/x"


# --- running ---


def run(house, **changes):
    given = {"table": "../a.csv", "k": 2, "result": "../out.txt"} | changes
    return workflow.run("05_page", given, Path("build/toy/pages/05_page.ipynb"), Path("build/toy"))


def test_a_run_leaves_page_parameters_and_log(house):
    assert run(house) == 0
    assert (house / "out.txt").read_text() == "3.0"
    assert yaml.safe_load(Path("build/toy/parameters/05_page.yaml").read_text())["k"] == 2
    assert Path("build/toy/logs/05_page.log").is_file() and not list(Path("build/toy/failed").iterdir())


def test_a_kernel_of_another_environment_is_not_started(house, monkeypatch):
    """Clusters put a kernel named python3 on JUPYTER_PATH."""
    kernel = house / "site/kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["false"], "display_name": "Site Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(house / "site"))
    assert run(house) == 0


def test_a_full_disk_is_named_though_hdf5_says_so_further_down(tmp_path):
    said = "Unable to flush raw data (time = now\n, errno = 28, error message = 'No space left', buf = 0"
    error = nbformat.v4.new_output("error", ename="RuntimeError", evalue=said, traceback=[])
    cell = nbformat.v4.new_code_cell("x", id="c08", outputs=[error])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "page.ipynb")
    files = dict.fromkeys(("failed", "last_good", "logs", "parameters"), tmp_path / "page.ipynb")
    told = workflow.failure("05_page", files).splitlines()[0]
    assert told.startswith("notebooks/05_page.ipynb failed in cell 1 (c08): RuntimeError: Unable to flush raw data")
    assert told.endswith("No space left")


def test_a_failure_says_which_cell_and_keeps_the_half_run_page_and_the_last_good_one(house, capfd):
    assert run(house) == 0
    Path("build/toy/pages/05_page.ipynb").unlink()  # as Snakemake does before it runs a rule
    assert run(house, k=0) != 0
    said = capfd.readouterr().err.strip().splitlines()
    assert said[-5] == "notebooks/05_page.ipynb failed in cell 3 (divide): ZeroDivisionError: division by zero"
    half, good = (Path(line.rpartition(": ")[2]) for line in said[-4:-2])
    assert "ZeroDivisionError" in half.read_text() and "ZeroDivisionError" not in good.read_text()
    assert "division by zero" in workflow.failures(Path("build/toy"))
    assert run(house) == 0 and workflow.failures(Path("build/toy")) == ""


def test_times_say_what_each_run_took_the_longest_first_and_on_what(tmp_path):
    def cell(source, seconds, **metadata):
        metadata["papermill"] = {"duration": seconds}
        return {"cell_type": "code", "source": [source], "metadata": metadata}

    for name, seconds in {"07_page": 9.5, "02_page/A1": 12.0, "html": 4.0}.items():
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tcpu_time\tmax_rss\n{seconds}\t8.0\t400\n")
    cells = [cell("k = 1", 0.25), cell("import json", 2.0), cell("fit()", 5.0), cell("draw()", 1.0, mystnb={})]
    for page in ("pages/07_page.ipynb", "runs/02_page/A1.ipynb"):
        (tmp_path / page).parent.mkdir(parents=True)
        (tmp_path / page).write_text(json.dumps({"cells": cells}))
    rows = [line.split() for line in workflow.times(tmp_path).splitlines()[1:]]
    assert [row[:6] for row in rows] == [
        ["12.0", "3.8", "2.0", "5.2", "1.0", "02_page/A1"],
        ["9.5", "1.2", "2.0", "5.2", "1.0", "07_page"],
        ["4.0", "4.0", "0.0", "0.0", "0.0", "html"],
        ["25.5", "9.0", "4.0", "10.5", "2.0", "all"],
    ]


def test_a_run_by_hand_leaves_the_book_alone(house, capfd):
    assert run(house, result="../build/toy/results/b.txt") != 0  # the folder is not there: what a book's run was given
    book = {path: path.read_bytes() for path in Path("build/toy").rglob("*") if path.is_file()}
    Path("build/by_hand/toy/05_page/results").mkdir(parents=True)
    assert workflow.main(["page", "05_page", "build/toy", "k=3"]) == 0
    assert Path("build/by_hand/toy/05_page/results/b.txt").read_text() == "2.0"
    assert {path: path.read_bytes() for path in Path("build/toy").rglob("*") if path.is_file()} == book
    assert workflow.main(["page", "05_page", "build/toy", "n=3"]) == 2
    assert "has no parameter n; it has table, k, result" in capfd.readouterr().err
    assert workflow.main(["page", "05_page", "build/her2st"]) == 2
    assert "run make book COHORT=her2st first" in capfd.readouterr().err
    kept = Path("build/toy/parameters/05_page.yaml")
    kept.write_text("\n".join(line for line in kept.read_text().splitlines() if not line.startswith("k:")))
    assert workflow.main(["page", "05_page", "build/toy", "k=3"]) == 2
    assert "of an older page, without k; run make book COHORT=toy" in capfd.readouterr().err


def test_a_run_by_hand_refuses_a_page_or_a_value_that_is_none(house):
    build = Path("build/toy")
    run(house, result="../build/toy/results/b.txt")
    with pytest.raises(ValueError, match="no page 6_page; pages: .*05_page"):
        workflow.by_hand("6_page", build, {})
    with pytest.raises(ValueError, match="k is a number, 2 in the book, not 'all'"):
        workflow.by_hand("05_page", build, {"k": "all"})
    (build / "results").mkdir(exist_ok=True)
    (build / "results/panel.csv").write_text("panel,gene\nall,A\nall,B\n")
    with pytest.raises(ValueError, match="k = 3: .*panel.csv has panels of 2 genes"):
        workflow.by_hand("05_page", build, {"k": 3})
    assert workflow.by_hand("05_page", build, {"k": 1})[0]["k"] == 1


def test_what_a_run_by_hand_makes_goes_elsewhere_wherever_it_is_named():
    value = {"root": "../build/a/raw", "mpp": 0.5, "files": ["../build/a/x", "/data/y"]}
    moved = {"root": "../build/by_hand/a/raw", "mpp": 0.5, "files": ["../build/by_hand/a/x", "/data/y"]}
    assert workflow._elsewhere(value, "../build/a/", "../build/by_hand/a/") == moved


def test_a_lock_that_a_killed_run_left_is_named_with_the_way_out(house):
    assert workflow.locked(Path("build/her2st")) == ""
    Path(".snakemake/locks").mkdir(parents=True)
    Path(".snakemake/locks/0.input.lock").touch()
    assert "if none is, make unlock COHORT=her2st" in workflow.locked(Path("build/her2st"))


def test_a_meaning_is_of_the_config_or_of_the_notebooks_and_no_markup(monkeypatch):
    assert workflow.meanings()["n_devices"] == "GPUs that share one fit" and "max_mb" in workflow.meanings()
    monkeypatch.setattr(workflow, "meanings", lambda: {"k": "see build/<cohort> and *"})
    monkeypatch.chdir(ROOT)
    assert workflow.changeable("12_coupling") == {}
    assert workflow.changeable("13_predictability") == {"k": "see build/\\<cohort> and \\*"}


def test_every_notebook_of_the_project_stands_on_helpers_that_exist():
    for path in (ROOT / "notebooks").glob(stamps.PAGES):
        source = "\n".join(cell for cell, _ in stamps.code_cells(path))
        assert stamps.imported(source) or path.stem == "nothing", path.stem
