"""How executed notebooks become the pages of a book: the answer first, code folded, words as they are now."""

import ast
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from helpers.labels import of_cells
from helpers.stamps import NOTEBOOKS
from helpers.workflow import changeable, declared

ANSWER, PARAMETERS, INJECTED = "answer", "parameters", "injected-parameters"  # tags of a cell
PROMPTS = {PARAMETERS: "The notebook's defaults, of the toy cohort", INJECTED: "All that this page was given"}
LONG = 90  # of a value that is shown beside what it means
ROOT_PAGE, OF_ROOT = "00_answer", "ANSWER_OF_00"  # whose answer the introduction repeats, where it says so
SHORT = {"chance": "chance level", "ceiling": "noise ceiling", "depth": "sequencing depth", "PCC-50": "PCC"}
NOTE = "No nucleus is counted in this cohort: where the text says nuclei, read the mean haematoxylin of a spot's disc."


def stage(pages: Iterable[Path], words: Path, look: Path, results: Path, book: Path, cohort: Mapping) -> None:
    """Lay out a book to be built: executed pages with the present words, `words` (book/), tables and configuration.

    `cohort` has its name (cohort), title and cellularity, the measure that stands where pages say nuclei, and when and
    from what the book is made (made).
    """
    shutil.rmtree(book, ignore_errors=True)
    shutil.copytree(words, book)
    shutil.copytree(results, book / "results")
    config = look.read_text().replace("COHORT_TITLE", cohort["title"]).replace("MADE", cohort["made"])
    (book / "_config.yml").write_text(config)
    for path in pages:
        name = next(part for part in (path.stem, path.parent.name) if (NOTEBOOKS / f"{part}.ipynb").is_file())
        page = with_present_words(json.loads(path.read_text()), json.loads((NOTEBOOKS / f"{name}.ipynb").read_text()))
        page["cells"][-1]["source"] = of_cohort("".join(page["cells"][-1]["source"]), cohort["cohort"], path.stem)
        fold_code(page)
        answer_first(page)
        link_terms(page, words_of(words / "glossary.md"))
        if name == ROOT_PAGE:
            answered(book / "intro.md", page)
        explain(page, name)
        offer_tables(page, name)
        name_cellularity(page, cohort["cellularity"])
        (book / f"{name}.ipynb").write_text(json.dumps(page))


def name_cellularity(page: dict, measure: str) -> None:
    """Name the measure of cellularity in captions and what a page computed; its prose gets a note, its code stays."""
    if measure == "n_nuclei":
        return
    heading, *rest = "".join(page["cells"][0]["source"]).split("\n", 1)
    page["cells"][0]["source"] = "\n".join([heading, "", f"```{{note}}\n{NOTE}\n```", *rest])
    for cell in page["cells"]:
        for output in cell.get("outputs", []):
            for kind in {"text/markdown", "text/html"} & set(output.get("data", {})):
                output["data"][kind] = of_cells("".join(output["data"][kind]), measure)
        if figure := cell["metadata"].get("mystnb", {}).get("figure"):
            figure["caption"] = of_cells(figure["caption"], measure)


def fold_code(page: dict) -> None:
    """Set the code of a page to be opened by who wants to read it: what it shows and says comes first."""
    for cell in page["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and not {PARAMETERS, "hide-input"} & set(tags):
            cell["metadata"]["tags"] = [*tags, "hide-input"]


def answer_first(page: dict) -> None:
    """Put what answers a page's question, cells tagged `answer`, below the question; how it was made follows.

    A notebook computes its answer where it can; a reader of the book wants it first: its first paragraph, with the list
    that it announces, then the figure, then the rest. What a part is about, and what the page takes in and leaves
    behind, to be opened, come after it.
    """
    cells = page["cells"]
    answers = [cell for cell in cells[1:] if ANSWER in cell["metadata"].get("tags", [])]
    if not answers:
        return
    for cell in answers:  # its code, which would stand between question and answer, is in the notebook
        cell["metadata"]["tags"] = [ANSWER, "remove-input"]
    title, question, *about = "".join(cells[0]["source"]).split("\n\n")
    part = [words for words in about if not words.startswith(("**Takes in.**", "**Leaves behind.**"))]
    promise = "\n\n".join(words for words in about if words not in part)
    folded = f"```{{dropdown}} What this page takes in and leaves behind\n{promise}\n```"
    more = second_half(answers[0])
    made = {"cell_type": "markdown", "id": "how-it-is-made", "metadata": {}}
    made["source"] = "\n\n".join([*filter(None, [more]), *part, folded])
    rest = [cell for cell in cells[1:] if cell not in answers]
    page["cells"] = [cells[0] | {"source": f"{title}\n\n{question}"}, *answers, made, *rest]


def answered(words: Path, root: dict) -> None:
    """Put the first paragraph of the answer of the book's first page into a page of words, where it says OF_ROOT."""
    said = "".join(root["cells"][1]["outputs"][0]["data"]["text/markdown"])
    words.write_text(words.read_text().replace(OF_ROOT, said.split("\n\n")[0]))


def words_of(glossary: Path) -> dict[str, str]:
    """Words that stand for a term, and the term: those of a glossary, and SHORT ones."""
    terms = re.findall(r"^(\w.*)\n  \S", glossary.read_text(), re.MULTILINE)
    return {term: term for term in terms} | {word: term for word, term in SHORT.items() if term in terms}


def link_terms(page: dict, words: Mapping[str, str]) -> None:
    """Link terms of the glossary where the answer of a page first uses them: who meets them there knows none of them.

    `words` are of `words_of`. What is code, a link or part of a longer word stays.
    """
    answers = [cell for cell in page["cells"] if ANSWER in cell["metadata"].get("tags", [])]
    said = next((o["data"] for cell in answers for o in cell["outputs"] if "text/markdown" in o.get("data", {})), None)
    if said is None or not words:
        return
    forms = "|".join(
        rf"(?i:{re.escape(word[0])}){re.escape(word[1:])}" for word in sorted(words, key=len, reverse=True)
    )
    known = {word[0].lower() + word[1:]: term for word, term in words.items()}
    met = set()

    def linked(found: re.Match) -> str:
        word = found["word"]
        term = known.get(word and word[0].lower() + word[1:])
        if term is None or term in met:
            return found[0]
        met.add(term)
        return f"{{term}}`{found[0]} <{term}>`"

    as_it_is = r"`[^`]*`|\[[^\]]*\]\([^)]*\)"
    text = "".join(said["text/markdown"])
    said["text/markdown"] = re.sub(rf"{as_it_is}|\b(?P<word>{forms})s?\b", linked, text)


def second_half(answer: dict) -> str:
    """Take from an answer what follows its first paragraph and the list that this announces; "" where nothing does."""
    said = next((o["data"] for o in answer.get("outputs", []) if "text/markdown" in o.get("data", {})), None)
    if said is None:
        return ""
    first, *others = "".join(said["text/markdown"]).strip().split("\n\n")
    if others and others[0].startswith("- "):
        first = f"{first}\n\n{others.pop(0)}"
    said["text/markdown"] = first
    return "\n\n".join(others)


def explain(page: dict, name: str) -> None:
    """Put what its parameters mean, and are in this run, before the defaults; those and all that was given are folded.

    The defaults are of the toy cohort: open beside another one's results they look like what the page was run with.
    """
    cells = {tag: [c for c in page["cells"] if tag in c["metadata"].get("tags", [])] for tag in PROMPTS}
    values = declared(name) | {key: value for cell in cells[INJECTED] for key, value in assigned(cell).items()}
    lines = [f"- `{key}`{_in_words(values.get(key))}: {meaning}" for key, meaning in changeable(name).items()]
    source = "```{dropdown} What can be changed here, and what this page was run with\n" + "\n".join(lines) + "\n```"
    at = page["cells"].index(cells[PARAMETERS][0])
    for tag, some in cells.items():
        for cell in some:
            cell["metadata"] |= {"tags": sorted({*cell["metadata"]["tags"], "hide-input"})}
            cell["metadata"]["mystnb"] = {"code_prompt_show": PROMPTS[tag]}
            # Where a cohort lies on the machine of who made the book is nobody's business.
            cell["source"] = re.sub(r'"/[^"]*/([^"/]+)/?"', r'"…/\1"', "".join(cell["source"]))
    page["cells"].insert(at, {"cell_type": "markdown", "id": "what-can-be-changed", "metadata": {}, "source": source})


def assigned(cell: dict) -> dict:
    """The parameters that papermill wrote into a cell, with their values."""
    given = (line for line in ast.parse("".join(cell["source"])).body if isinstance(line, ast.Assign))
    return {line.targets[0].id: ast.literal_eval(line.value) for line in given}


def _in_words(value: object) -> str:
    """The value of a parameter, where it is short and no path."""
    text = json.dumps(value, ensure_ascii=False)
    return f" = `{text}`" if len(text) <= LONG and "/" not in text and "`" not in text else ""


def tables_of(name: str) -> list[str]:
    """The names of the tables of a cohort that a notebook makes or reads."""
    paths = [path for path in declared(name).values() if isinstance(path, str)]
    made = [path for path in paths if path.startswith("../build/") and "/results/" in path]
    return sorted({Path(path).name for path in made if path.endswith((".csv", ".csv.gz"))})


def offer_tables(page: dict, name: str) -> None:
    """End a page with the tables that it makes and reads, each to be downloaded."""
    links = ", ".join(f"{{download}}`{table} <results/{table}>`" for table in tables_of(name))
    if links:
        source = f"**The tables of this page**: {links}."
        page["cells"].append({"cell_type": "markdown", "id": "tables", "metadata": {}, "source": source})


def with_present_words(executed: dict, notebook: dict) -> dict:
    """An executed page with the Markdown and the captions of the notebook as it is now; cells are told by their id."""
    done = {cell["id"]: cell for cell in executed["cells"]}
    injected = [cell for cell in executed["cells"] if INJECTED in cell["metadata"].get("tags", [])]
    cells = []
    for cell in notebook["cells"]:
        ran = done.get(cell["id"], cell)
        cells.append(ran | {"source": cell["source"], "metadata": ran["metadata"] | cell["metadata"]})
        if PARAMETERS in cell["metadata"].get("tags", []):
            cells += injected
    return executed | {"cells": cells}


def of_cohort(foot: str, cohort: str, run_of: str) -> str:
    """The last words of a page, the command that runs it again, for another cohort than the toy and another run."""
    foot = re.sub(r"(?<=RUN=)\S+", run_of, foot.replace("COHORT=toy", f"COHORT={cohort}"))
    return re.sub(r"build/toy/parameters/(\w+)(/[^`]+)?[.]yaml", _parameters_of(cohort, run_of), foot)


def _parameters_of(cohort: str, run_of: str):
    return lambda found: f"build/{cohort}/parameters/{found[1]}{f'/{run_of}' if found[2] else ''}.yaml"
