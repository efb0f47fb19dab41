"""What a notebook depends on: stamps of its code and of the helpers that it imports, and dates that can be trusted."""

import ast
import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from helpers.labels import counted

SOURCES = Path(__file__).parent
NOTEBOOKS = Path("notebooks")
PAGES = "[0-9]*.ipynb"  # of the notebooks, those that are pages of the book
STAMPS = Path("build/code")  # one small file a module and notebook, written anew when its code changes
LOOKS = ("figures/", "labels")
# What comes before a fit: no edit of how it looks runs it again.
FEED_FITS = ("01_data", "02_segmentation", "05_patches", "06_normalization", "08_stem_training")


def imported(code: str) -> set[str]:
    """Modules of the helpers that some Python code imports, as paths below helpers without suffix: "scores/paired"."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "helpers":
            parts = node.module.split(".")[1:]
            found |= {"/".join([*parts, alias.name]) for alias in node.names} | {"/".join(parts)}
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            found |= {"/".join(parts[1:]) for parts in names if parts[0] == "helpers"}
    return {name for name in found if (SOURCES / f"{name}.py").is_file()}


@functools.cache
def _imported_by(module: str) -> set[str]:
    return imported((SOURCES / f"{module}.py").read_text())


def imports_of(module: str) -> set[str]:
    """Modules of the helpers that a module needs, itself among them."""
    found, ahead = set(), {module}
    while ahead:
        found |= ahead
        ahead = set().union(*map(_imported_by, ahead)) - found
    return found


def meaning(code: str) -> str:
    """A digest of what Python code does: comments, docstrings and what an error says do not count."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args = []
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def stamp(name: str, code: str, folder: Path = STAMPS) -> str:
    """The file that stands for some code among a rule's inputs: touched only where the code means something else."""
    path, digest = folder / f"{name}.txt", meaning(code)
    if not path.is_file() or path.read_text() != digest:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(digest)
        partial.replace(path)
    return str(path)


def back_from_the_future(folders: Iterable[Path], now: float | None = None) -> str:
    """Date files of the future back, the newest to now and the others as much before it; what to tell, "" if none is.

    The clock was ahead when they were made. Snakemake would miss what is edited until then, as it is older than what
    was made of it, and refuse all that is made now from such a file.
    """
    now = time.time() if now is None else now
    dates = {path: path.lstat().st_mtime for folder in folders for path in folder.rglob("*")}
    ahead = max(dates.values(), default=now) - now
    if ahead < 1:
        return ""
    late = [path for path, date in dates.items() if date > now]
    for path in sorted(late, reverse=True):  # what a folder holds before the folder
        os.utime(path, (now, dates[path] - ahead), follow_symlinks=False)
    return (
        f"{counted(len(late), 'files')} in {' and '.join(map(str, folders))} were dated up to {ahead:,.0f} s ahead of "
        "this machine's clock: they are dated back, the newest to now. Code and raw files edited after that clock was "
        "set right and before this run may be missed: remove what stands on them"
    )


def cells(notebook: Path) -> list[dict]:
    """The cells of a notebook as they are stored."""
    return json.loads(notebook.read_text())["cells"]


def code_cells(notebook: Path) -> list[tuple[str, list[str]]]:
    """Source and tags of each code cell."""
    code = (cell for cell in cells(notebook) if cell["cell_type"] == "code")
    return [("".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in code]


def modules(page: str, looks: bool = True) -> list[str]:
    """The helpers that a page needs; without `looks` not those that only draw or name what is shown."""
    needed = sorted(set().union(*map(imports_of, imported(_source(page)))))
    return [module for module in needed if looks or not module.startswith(LOOKS)]


def code(page: str, looks: bool = True) -> list[str]:
    """Stamps of a page's own code and of every helper that it needs: an edit runs again what depends on it, no more.

    The words of a page are no code: `stage` puts the present ones beside the outputs that are there. `looks` is false
    for pages that feed fits: a new colour or label would cost every network.
    """
    return [stamp(f"notebooks/{page}", _source(page)), *map(_stamp_of, modules(page, looks))]


def _source(page: str) -> str:
    return "\n".join(cell for cell, _ in code_cells(NOTEBOOKS / f"{page}.ipynb"))


@functools.cache
def _stamp_of(module: str) -> str:
    return stamp(f"helpers/{module}", (SOURCES / f"{module}.py").read_text())
