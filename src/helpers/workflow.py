"""What the Snakefile needs of a notebook: what it reads and leaves, is given, and how it is run.

`python -m helpers.workflow` is the program behind the rules and `make page`; it says what went wrong in a notebook.
"""

import collections
import csv
import functools
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from helpers import stamps, warm
from helpers.labels import counted
from helpers.stamps import NOTEBOOKS, code_cells

NOT_STARTED = "Kernel died before replying to kernel_info"
READ, WRITTEN = "../build/toy/", "../build/by_hand/toy/"  # where a notebook run by hand reads and writes
TOY = {"split": "section", "section": "A1", "fit": "stem.log2"}  # the run that the defaults of a notebook are of
CHEAP = "cheap"  # the one fit of all models that are not costly, and of the floors
NEEDS = Path("profiles/needs.csv")  # what the runs of each rule took
HEADROOM, AT_LEAST, START_MB, GPU_MEMORY = 1.5, 5, 300, 8000  # minutes; MB of Snakemake in a job; on a GPU not measured
# Pages that take a minute and more, and those such a page waits for, start before others, so that no book waits for one
# of them at its end: 16 waits for 15, and 15 for 10.
LONG = {"11_sampling", "16_specifications", "18_factorial", "20_partial", "23_inference", "24_patients", "25_frontier"}
LONG |= {"09_controls", "10_training_check", "15_counting_and_conclusions", "27_known_truth"}
KERNEL = b"IPKernelApp"  # begins remarks of a kernel on itself
# `-m papermill` without a grammar of web addresses that no notebook needs: it takes 2 s to set up at each start.
PAPERMILL = "import sys; sys.modules['rfc3987_syntax'] = None; from papermill.cli import papermill; papermill()"


def check_kept(kept: list[str], seen: list[str], example: str, build: str) -> None:
    """Refuse the book of a cohort of whose `kept` sections fewer than two are `seen`, or whose example is not."""
    if len(seen) < 2:
        raise ValueError(
            f"{build}/sections.csv: {counted(len(kept), 'sections')} kept, {len(seen)} with an image; a book needs two "
            f"of these, as one is held out and the others are trained on. What counts alone say is made page by page: "
            f"snakemake {build}/pages/07_dependence.ipynb"
        )
    if example not in seen:
        raise ValueError(f"example {example} is not kept or has no image; name another as example: {', '.join(seen)}")


# What a notebook is given ---------------------------------------------------------------------------------------


class Page(NamedTuple):
    """A notebook in the Snakefile: its input and output files by the name of the parameter, and what it needs."""

    takes: Mapping = {}
    leaves: Mapping = {}
    run: str = ""  # of a page that runs once per section: what tells its runs apart, with wildcards
    own: Mapping = {}  # parameters that are no path and no value of the config, perhaps functions of wildcards
    threads: int | Callable = 1
    runtime: int | Callable | None = None  # minutes, of what was not measured
    gpu: int | Callable = 0
    group: str | Callable | None = None  # runs that a cluster may make in one job

    def run_of(self, name: str) -> str:
        """The name of a run, for its log and its parameters."""
        return f"{name}/{self.run}" if self.run else name

    def executed(self, name: str) -> str:
        """Where the executed notebook goes, below build/<cohort>/."""
        return f"runs/{self.run_of(name)}.ipynb" if self.run else f"pages/{name}.ipynb"


def with_declared_files(name: str, page: Page, build: str, values: Mapping) -> Page:
    """A page with the files that its notebook declares and neither the page itself nor a value of the cohort says.

    A path of the toy is that of the cohort's folder `build`, with wildcards where it names the run; what the notebook
    writes by hand is an output. Lists of inputs depend on the cohort: the page has to say them.
    """
    takes, leaves = {}, {}
    # A path among the values, or none, goes before; a value of another kind only bears the same name.
    elsewhere = {key for key, value in values.items() if value is None or isinstance(value, str)}
    for key, default in declared(name).items():
        if not is_path(default) or key in elsewhere | set(page.own):
            continue
        if WRITTEN in str(default):
            leaves[key] = _of_run(default, page.run, build)
        elif isinstance(default, str):
            takes[key] = _of_run(default, page.run, build)
    return page._replace(takes=takes | page.takes, leaves=leaves | page.leaves)


def _of_run(path: str | list[str], run: str, build: str) -> str | list[str]:
    """A path that a notebook declares, or several, as the Snakefile spells it for all runs of a cohort."""
    if isinstance(path, list):
        return [_of_run(one, run, build) for one in path]
    if run:
        path = path.replace(run.format(**TOY), run)
    return path.replace(WRITTEN, f"{build}/").replace(READ, f"{build}/").removeprefix("../")


@functools.cache
def needs() -> dict[str, dict[str, float]]:
    """By rule the MB and seconds that it took, and of how many sections; a rule that runs once a section says none."""
    with NEEDS.open() as file:
        return {row.pop("rule"): {key: float(said or 0) for key, said in row.items()} for row in csv.DictReader(file)}


def resources(rule: str, page: Page, n_sections: int) -> dict:
    """What a run of a rule asks of a cluster: mem_mb, runtime (minutes) and gpu, for a cohort of so many sections."""

    def took(wildcards):
        network = getattr(wildcards, "fit", CHEAP) != CHEAP
        known = needs()
        # A chapter that was never measured asks for what the largest rule took, until its row is written.
        most = {"mb": max(row["mb"] for row in known.values()), "seconds": 600.0, "sections": 0.0}
        return known.get(f"{rule}.network" if network else rule, most)

    def memory(wildcards):
        on_gpu = page.gpu(wildcards) if callable(page.gpu) else page.gpu
        return GPU_MEMORY if on_gpu else math.ceil(HEADROOM * (took(wildcards)["mb"] + START_MB) / 100) * 100

    def runtime(wildcards):
        said = page.runtime(wildcards) if callable(page.runtime) else page.runtime
        if said is not None:
            return said
        seconds, sections = took(wildcards)["seconds"], took(wildcards)["sections"]
        larger = max(1, n_sections / sections) if sections else 1
        return max(AT_LEAST, math.ceil(HEADROOM * seconds * larger / 60))

    return {"mem_mb": memory, "runtime": runtime, "gpu": page.gpu}


@functools.cache
def declared(page: str, folder: Path = NOTEBOOKS) -> dict:
    """The parameters that a notebook declares, with their defaults."""
    names: dict = {}
    for source, tags in code_cells(folder / f"{page}.ipynb"):
        if "parameters" in tags:
            exec(source, names)
    return {name: value for name, value in names.items() if name != "__builtins__"}


@functools.cache
def meanings() -> dict[str, str]:
    """What parameters mean that are no path: keys of the config by its schema, others by notebooks/parameters.yaml."""
    root = stamps.SOURCES.parents[1]  # notebooks run in a folder of their own
    described = yaml.safe_load((root / "config/schema.yaml").read_text())["properties"]
    others = yaml.safe_load((root / "notebooks/parameters.yaml").read_text())
    return {name: key["description"] for name, key in described.items() if "description" in key} | others


def changeable(page: str, folder: Path = NOTEBOOKS) -> dict[str, str]:
    """The parameters of a notebook that are no path, with their meanings (Markdown); without one it is left out."""
    names = [name for name, default in declared(page, folder).items() if not is_path(default) and name in meanings()]
    return {name: re.sub(r"([*<$\[])", r"\\\1", meanings()[name]) for name in names}


def is_path(value: object) -> bool:
    """Whether a parameter's value is a path, or a list of paths, relative to notebooks/."""
    values = value if isinstance(value, list) and value else [value]
    return all(isinstance(one, str) and one.startswith("../") for one in values)


def parameters(page: str, paths: Mapping, values: Mapping, own: Mapping | None = None) -> dict:
    """All that a run of a page is given: paths of its rule, values of the cohort, and what is its `own`.

    Papermill only warns of a parameter that a notebook does not declare, and keeps the default: here it is refused, as
    is a declared path that nothing sets. Of `values` a page takes those that it declares; what nobody sets keeps its
    default.
    """
    asked = {key: from_notebooks(path) for key, path in paths.items()} | dict(own or {})
    if unknown := set(asked) - set(declared(page)):
        raise ValueError(f"notebooks/{page}.ipynb declares no parameter {', '.join(sorted(unknown))}")
    given = declared(page) | {key: value for key, value in values.items() if key in declared(page)} | asked
    if unset := [name for name in given if is_path(declared(page)[name]) and name not in asked and name not in values]:
        raise ValueError(f"the rule of notebooks/{page}.ipynb does not set {', '.join(unset)}")
    return given


def from_notebooks(path: str | Iterable[str]):
    """A path below the repository, or several, as a notebook sees them; absolute ones stay."""
    return str(Path("..") / path) if isinstance(path, str) else [str(Path("..") / one) for one in path]


# Running one ----------------------------------------------------------------------------------------------------


def run(page: str, given: Mapping, executed: Path, build: Path, threads: int = 1) -> int:
    """Run a page by papermill with a file of parameters; the exit status.

    Below `build` are left parameters/ and logs/, last_good/ with the page, and where it failed failed/ with the half-
    run page and a few lines that say where and why; `executed` is then left alone.
    """
    name = executed.relative_to(build).with_suffix("")
    name = Path(*[part for part in name.parts if part not in ("pages", "runs")])
    ends = {"parameters": "yaml", "logs": "log", "failed": "ipynb", "last_good": "ipynb"}
    files = {what: build / what / name.parent / f"{name.name}.{end}" for what, end in ends.items()}
    for path in (*files.values(), executed):
        path.parent.mkdir(parents=True, exist_ok=True)
    report = files["failed"].with_suffix(".txt")
    files["parameters"].write_text(yaml.safe_dump(dict(given), sort_keys=False, allow_unicode=True))
    status = _papermill(page, files["parameters"], files["failed"], files["logs"], threads)
    if status and NOT_STARTED in files["logs"].read_text(errors="replace"):
        # Kernels that start at the same time may pick the same port; nothing has run yet.
        status = _papermill(page, files["parameters"], files["failed"], files["logs"], threads)
    if status:
        report.write_text(failure(page, files))
        print(report.read_text(), file=sys.stderr)
        return status
    files["failed"].replace(executed)
    report.unlink(missing_ok=True)
    files["last_good"].unlink(missing_ok=True)
    files["last_good"].hardlink_to(executed)
    return 0


def _papermill(page: str, given: Path, executed: Path, log: Path, threads: int) -> int:
    """Papermill's exit status; what the notebook says on standard error goes to the log and to the terminal."""
    arguments = [
        *(f"{NOTEBOOKS / page}.ipynb", str(executed), "-f", str(given), "--cwd", str(NOTEBOOKS)),
        *("--kernel", "python3", "--no-progress-bar", "--log-level", "WARNING", "--stderr-file", "/dev/stdout"),
    ]
    # A kernel named python3 on JUPYTER_PATH, as clusters set it, would go before the one of this environment.
    environment = os.environ | {"JUPYTER_PREFER_ENV_PATH": "1", "OMP_NUM_THREADS": str(threads), "JUPYTER_PATH": ""}
    command = warm.command(arguments, [sys.executable, "-c", PAPERMILL, *arguments], threads, environment)
    with (
        log.open("wb", buffering=0) as file,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=file) as process,
    ):
        for part in iter(lambda: process.stdout.read1(), b""):
            file.write(part)
            if KERNEL not in part:
                sys.stderr.buffer.write(part)
                sys.stderr.flush()
    return process.returncode


def failure(page: str, files: Mapping[str, Path]) -> str:
    """Which notebook failed, in which cell, with which error, and where the half-run page and the last good one lie."""
    cell, error = next(_errors(files["failed"]), ("", ""))
    lines = [f"notebooks/{page}.ipynb failed{f' in cell {cell}: {error}' if cell else ''}"]
    named = {"failed": "half-run page", "last_good": "last good page", "logs": "log", "parameters": "parameters"}
    return "\n".join(lines + [f"  {words}: {files[what]}" for what, words in named.items() if files[what].is_file()])


def _errors(page: Path) -> Iterator[tuple[str, str]]:
    """Number (and id) of each cell of an executed page that raised an error, and the error in one line."""
    if not page.is_file():
        return
    cells = [cell for cell in json.loads(page.read_text())["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                first, *rest = f"{output['ename']}: {output['evalue']}".splitlines()
                # HDF5 says on a line further down that the disk is full.
                why = re.search("error message = '(.+?)'", "".join(rest))
                yield f"{number} ({cell['id']})", f"{first}: {why[1]}" if why else first


def failures(build: Path) -> str:
    """What the failed runs of a cohort left to say, the latest last."""
    left = sorted((build / "failed").rglob("*.txt"), key=lambda path: path.stat().st_mtime)
    return "\n".join(path.read_text() for path in left)


def locked(build: Path) -> str:
    """What to do where Snakemake could not start, as a lock is there; "" without one."""
    if not any(Path(".snakemake/locks").glob("*")):
        return ""
    return f"Another run is at work here, or one was killed: if none is, make unlock COHORT={build.name}"


def by_hand(page: str, build: Path, changes: Mapping, run_of: str = "") -> tuple[dict, Path]:
    """What a run of a page with changed parameters is given, and where its page goes: the book is left alone.

    `run_of` names the run of a page that runs once per section. Inputs and values are those of the book's run; what
    the notebook by default writes below build/by_hand/ goes to build/by_hand/<cohort>/<page>/. FileNotFoundError where
    the cohort's book has not been run, ValueError for a page that is none, a parameter that it does not have, or a
    value that it cannot take.
    """
    if not (NOTEBOOKS / f"{page}.ipynb").is_file():
        raise ValueError(f"no page {page}; pages: {', '.join(sorted(path.stem for path in NOTEBOOKS.glob('[0-9]*')))}")
    known = build / "parameters" / (f"{page}/{run_of}.yaml" if run_of else f"{page}.yaml")
    if not known.is_file():
        runs = sorted(path.stem for path in (build / "parameters" / page).glob("*.yaml"))
        fix = f"give RUN={runs[0]}, or another of its runs" if runs else f"run make book COHORT={build.name} first"
        raise FileNotFoundError(f"{known}: no such file; {fix}")
    folder = Path("build/by_hand") / build.name / page
    given = yaml.safe_load(known.read_text())
    if missing := declared(page).keys() - given.keys():
        raise ValueError(f"{known}: of an older page, without {', '.join(missing)}; run make book COHORT={build.name}")
    if unknown := set(changes) - set(given):
        raise ValueError(f"{page} has no parameter {', '.join(sorted(unknown))}; it has {', '.join(given)}")
    _refuse_values(changes, given, build / "results/panel.csv")
    for name, default in declared(page).items():
        if "../build/by_hand/" in json.dumps(default):
            given[name] = _elsewhere(given[name], f"../{build}/", f"../{folder}/")
    return given | dict(changes), folder / f"{page}.ipynb"


def _refuse_values(changes: Mapping, given: Mapping, panel: Path) -> None:
    """Refuse a word where a number stood, and a k above the genes of the panel, of which no mean is one."""
    for name, value in changes.items():
        if isinstance(given[name], int | float) and not isinstance(value, int | float):
            raise ValueError(f"{name} is a number, {given[name]} in the book, not {value!r}")
    if isinstance(changes.get("k"), int | float) and panel.is_file():
        with panel.open() as file:
            sizes = collections.Counter(row["panel"] for row in csv.DictReader(file))
        if not 1 <= changes["k"] <= min(sizes.values()):
            raise ValueError(
                f"k = {changes['k']}: {panel} has panels of {min(sizes.values())} genes; give 1 to so many"
            )


def _elsewhere(value, old: str, new: str):
    """A path, those of a list or those of a dictionary, moved from one folder to another."""
    if isinstance(value, dict):
        return {key: _elsewhere(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [_elsewhere(one, old, new) for one in value]
    return value.replace(old, new, 1) if isinstance(value, str) else value


def seconds_of_runs(build: Path) -> Iterator[tuple[Path, float]]:
    """Seconds on the clock of each run of a cohort's book, as Snakemake measured them: its name, below the page's."""
    for path in sorted((build / "benchmarks").rglob("*.tsv")):
        with path.open() as file:
            seconds = float(next(csv.DictReader(file, delimiter="\t"))["s"])
        yield path.relative_to(build / "benchmarks").with_suffix(""), seconds


def times(build: Path) -> str:
    """Seconds on the clock of each run of a cohort's book, the longest first, and of all: by what they went to.

    Snakemake measures the whole; a page's own record says what its first cell (the imports), the cells that draw a
    figure and all others took, and what is left went to starting and ending it.
    """
    rows = []
    for name, whole in seconds_of_runs(build):
        spent = _spent(build / ("runs" if name.parent.name else "pages") / f"{name}.ipynb")
        rows.append((whole, whole - sum(spent), *spent, str(name)))
    rows.sort(reverse=True)
    rows.append((*(sum(row[i] for row in rows) for i in range(5)), f"all {len(rows)} runs"))
    head = "".join(f"{word:>10}" for word in ("seconds", "start", "imports", "computing", "drawing"))
    return "\n".join(
        [f"{head}  run of {build}", *("".join(f"{s:10.1f}" for s in row[:5]) + f"  {row[5]}" for row in rows)]
    )


def _spent(page: Path) -> tuple[float, float, float]:
    """Seconds that an executed page spent on imports, computing and drawing, by its cells; 0 of what is no page."""
    cells = json.loads(page.read_text())["cells"] if page.is_file() else []
    imports = computing = drawing = 0.0
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        seconds = cell["metadata"].get("papermill", {}).get("duration") or 0.0
        if not imports and "import" in "".join(cell["source"]):
            imports = seconds
        elif "mystnb" in cell["metadata"]:
            drawing += seconds
        else:
            computing += seconds
    return imports, computing, drawing


# The program ----------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """`run PAGE EXECUTED BUILD THREADS JSON`, `page PAGE BUILD [RUN=..] [NAME=VALUE ..]`, `failures`, `times BUILD`."""
    command, *rest = arguments
    if command == "run":
        page, executed, build, threads, given = rest
        return run(page, json.loads(given), Path(executed), Path(build), int(threads))
    if command == "failures":
        print(locked(Path(rest[0])) or failures(Path(rest[0])), file=sys.stderr)
        return 1
    if command == "times":
        print(times(Path(rest[0])))
        return 0
    page, build, *changes = rest
    changed = {name: yaml.safe_load(value) for name, _, value in (change.partition("=") for change in changes)}
    run_of = str(changed.pop("RUN", ""))
    try:
        given, executed = by_hand(page, Path(build), changed, run_of)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    status = run(page, given, executed, executed.parent)
    if not status:
        print(f"The page: {executed.resolve()}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
