"""What the start notebook shows: each page with its question, what can be changed there, and how long it takes."""

from collections import Counter
from pathlib import Path

from helpers import stamps, workflow


def overview(notebooks: Path, build: Path) -> str:
    """A table (Markdown) of the pages in a folder; seconds are those of the book in `build`, empty where it has none.

    A page that runs once per section takes the seconds of one run, in the mean. Parameters that most pages have stand
    below the table, once.
    """
    pages = [path.stem for path in sorted(notebooks.glob(stamps.PAGES))]
    changes = {page: workflow.changeable(page, notebooks) for page in pages}
    used = Counter(name for names in changes.values() for name in names)
    common = {name for name, n in used.items() if n > len(pages) / 2}
    took = seconds(build)
    rows = ["| page | question | can be changed | seconds |", "| :--- | :--- | :--- | ---: |"]
    for page, names in changes.items():
        title, question = promise(notebooks / f"{page}.ipynb")
        own = "<br>".join(f"`{name}`: {meaning}" for name, meaning in names.items() if name not in common)
        rows.append(f"| [{title}]({page}.ipynb) | {question} | {own} | {took.get(page, '')} |")
    meanings = {name: meaning for names in changes.values() for name, meaning in names.items() if name in common}
    return "\n".join([*rows, "", "On most pages besides:", "", *(f"- `{n}`: {what}" for n, what in meanings.items())])


def promise(notebook: Path) -> tuple[str, str]:
    """Title and question of a notebook, from its first cell."""
    first = "".join(stamps.cells(notebook)[0]["source"])
    title, _, rest = first.partition("\n")
    question = rest.partition("**Question.**")[2].partition("\n\n")[0]
    return title.removeprefix("# "), " ".join(question.split())


def seconds(build: Path) -> dict[str, int]:
    """Seconds that a run of each page took in a built book, the mean where it ran more than once."""
    runs: dict[str, list[float]] = {}
    for name, took in workflow.seconds_of_runs(build):
        runs.setdefault(name.parts[0], []).append(took)
    return {page: round(sum(took) / len(took)) for page, took in runs.items()}
