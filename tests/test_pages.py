"""Executed notebooks become pages of a book: present words, the answer first, the measure by its name."""

import json
from pathlib import Path

import nbformat
import pytest

from helpers import pages, workflow


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """A notebook, and the page that a run of it left, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    workflow.declared.cache_clear()
    given = {"tags": ["parameters"]}
    cells = [
        nbformat.v4.new_markdown_cell("# Page", id="title"),
        nbformat.v4.new_code_cell('table = "../build/toy/results/a.csv"\nk = 2', id="given", metadata=given),
        nbformat.v4.new_code_cell("6 / k", id="divide"),
        nbformat.v4.new_markdown_cell("Again: `make page PAGE=05_page COHORT=toy`", id="foot"),
    ]
    given = {"tags": ["injected-parameters"]}
    injected = nbformat.v4.new_code_cell('k = 3\nroot = "/elsewhere/her2st"', id="injected", metadata=given)
    for folder, title, more in (("notebooks", "# New title", []), ("build/toy/pages", "# Page", [injected])):
        (tmp_path / folder).mkdir(parents=True)
        cells[0]["source"] = title
        notebook = nbformat.v4.new_notebook(cells=[*cells[:2], *more, *cells[2:]])
        nbformat.write(notebook, tmp_path / folder / "05_page.ipynb")
    yield Path("build/toy/pages/05_page.ipynb")
    workflow.declared.cache_clear()


def test_a_page_is_staged_with_present_words_and_the_outputs_that_are_there(executed):
    for folder in ("book", "results"):
        Path(folder).mkdir()
    Path("book/glossary.md").write_text("```{glossary}\nridge\n  A linear model.\n```")
    Path("look.yml").write_text('title: "COHORT_TITLE" # MADE')
    cohort = {"title": "Mine", "cohort": "mine", "cellularity": "n_nuclei", "made": "Built today"}
    pages.stage([executed], Path("book"), Path("look.yml"), Path("results"), Path("staged"), cohort)
    staged = json.loads(Path("staged/05_page.ipynb").read_text())
    texts = ["".join(cell["source"]) for cell in staged["cells"]]
    assert texts[0] == "# New title" and texts[-2].endswith("COHORT=mine`")
    assert texts[-1] == "**The tables of this page**: {download}`a.csv <results/a.csv>`."
    assert any("injected-parameters" in cell["metadata"].get("tags", []) for cell in staged["cells"])
    meaning = next(i for i, words in enumerate(texts) if words.startswith("```{dropdown} What can be changed here"))
    assert (
        f"\n- `k` = `3`: {workflow.meanings()['k']}\n" in texts[meaning] and texts[meaning].count("\n- ") == 1
    )  # no path
    assert staged["cells"][meaning + 1]["metadata"]["tags"] == ["hide-input", "parameters"]
    shown = [cell["metadata"].get("mystnb") for cell in staged["cells"][meaning + 1 : meaning + 3]]
    assert shown == [{"code_prompt_show": pages.PROMPTS[tag]} for tag in ("parameters", "injected-parameters")]
    assert 'root = "…/her2st"' in "".join(texts) and "/elsewhere" not in json.dumps(staged)
    tags = [cell["metadata"].get("tags", []) for cell in staged["cells"] if cell["cell_type"] == "code"]
    assert all("hide-input" in tag for tag in tags)
    assert Path("staged/_config.yml").read_text() == 'title: "Mine" # Built today'


def test_a_page_names_what_measures_cellularity_and_its_code_stays():
    shown = [{"data": {"text/html": "<td>nuclei alone</td>", "image/png": "nuclei"}}]
    figure = {"mystnb": {"figure": {"caption": "Nuclei and depth"}}}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Do nuclei matter?\n", "\n", "They do."]},
        {"cell_type": "code", "metadata": figure, "source": "nuclei = 1", "outputs": shown},
    ]
    pages.name_cellularity({"cells": cells}, "haematoxylin")
    assert cells[0]["source"].splitlines()[0] == "# Do nuclei matter?" and cells[0]["source"].endswith("They do.")
    assert f"```{{note}}\n{pages.NOTE}\n```" in cells[0]["source"] and cells[1]["source"] == "nuclei = 1"
    assert shown[0]["data"] == {"text/html": "<td>haematoxylin alone</td>", "image/png": "nuclei"}
    assert figure["mystnb"]["figure"]["caption"] == "Haematoxylin and depth"


def test_the_answer_stands_below_the_question_and_the_rest_of_it_and_what_the_page_takes_in_after_it():
    cells = [
        {
            "cell_type": "markdown",
            "metadata": {},
            "source": ["# 5. Page\n\n**Question.** Why?\n\n*Part.* Of what.\n\n**Takes in.** A table."],
        },
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "k = 1"},
        {"cell_type": "markdown", "metadata": {}, "source": "How."},
        {"cell_type": "code", "metadata": {"tags": ["answer", "hide-input"]}, "source": "Markdown(said)"},
    ]
    said = "**Answer.** These:\n\n- one\n- two\n\nAnd more."
    cells[3]["outputs"] = [{"data": {"text/markdown": [said]}}]
    page = {"cells": list(cells)}
    pages.answer_first(page)
    assert page["cells"][1]["metadata"]["tags"] == ["answer", "remove-input"]
    assert [cell["source"] for cell in page["cells"]] == [
        "# 5. Page\n\n**Question.** Why?",
        "Markdown(said)",
        "And more.\n\n*Part.* Of what.\n\n"
        "```{dropdown} What this page takes in and leaves behind\n**Takes in.** A table.\n```",
        "k = 1",
        "How.",
    ]
    assert page["cells"][1]["outputs"][0]["data"]["text/markdown"] == "**Answer.** These:\n\n- one\n- two"
    unanswered = {"cells": cells[:3]}
    pages.answer_first(unanswered)
    assert unanswered["cells"] == cells[:3]


def test_the_introduction_repeats_the_verdict_of_the_first_page(tmp_path):
    (tmp_path / "intro.md").write_text(f"Why?\n\n{pages.OF_ROOT}\n\nRead on.")
    outputs = [{"data": {"text/markdown": ["**Answer.** ", "So.\n\n- number"]}}]
    pages.answered(tmp_path / "intro.md", {"cells": [{"source": "# Why?"}, {"outputs": outputs}]})
    assert (tmp_path / "intro.md").read_text() == "Why?\n\n**Answer.** So.\n\nRead on."


def test_terms_of_the_glossary_are_linked_where_an_answer_first_uses_them(tmp_path):
    (tmp_path / "glossary.md").write_text("```{glossary}\nridge\n  A linear model.\n\nchance level\n  Of a null.\n```")
    words = pages.words_of(tmp_path / "glossary.md")
    assert words == {"ridge": "ridge", "chance level": "chance level", "chance": "chance level"}
    said = {
        "text/markdown": ["**Ridge** (chance 0.1), `ridge`, [chance](ridge.md), ridges by ", "chance, a ridgeline."]
    }
    page = {"cells": [{"metadata": {}}, {"metadata": {"tags": ["answer"]}, "outputs": [{"data": said}]}]}
    pages.link_terms(page, words)
    assert said["text/markdown"] == (
        "**{term}`Ridge <ridge>`** ({term}`chance <chance level>` 0.1), `ridge`, [chance](ridge.md), ridges by chance, "
        "a ridgeline."
    )
    without = {"cells": [{"metadata": {}, "source": "ridge"}]}
    pages.link_terms(without, words)
    assert without["cells"] == [{"metadata": {}, "source": "ridge"}]


def test_the_last_words_of_a_page_are_of_its_cohort_and_run():
    foot = '`build/toy/parameters/02_seg/A1.yaml`\n\nmake page PAGE=02_seg RUN=A1 COHORT=toy P="k=2"'
    expected = '`build/her2st/parameters/02_seg/C3.yaml`\n\nmake page PAGE=02_seg RUN=C3 COHORT=her2st P="k=2"'
    assert pages.of_cohort(foot, "her2st", "C3") == expected
    once = "`build/toy/parameters/19_floors.yaml`: make page PAGE=19_floors COHORT=toy"
    assert (
        pages.of_cohort(once, "x", "19_floors")
        == "`build/x/parameters/19_floors.yaml`: make page PAGE=19_floors COHORT=x"
    )
