"""The start notebook's table is made of what is there: questions, parameters and what a book measured."""

import json

import pytest

from helpers import start, workflow


@pytest.fixture
def notebooks(tmp_path):
    """Two pages, and a notebook that is none."""
    for name, parameters in {
        "01_one": 'k = 2\npath = "../build/toy/a.csv"',
        "02_two": "split = 1",
        "start": "",
    }.items():
        cells = [
            {
                "cell_type": "markdown",
                "source": ["# A title\n", "\n", "**Question.** Is it\n", "so?\n", "\n", "**Takes"],
            },
            {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": parameters},
        ]
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))
    return tmp_path


def benchmark(build, name, seconds):
    path = build / "benchmarks" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\n{seconds}\t0\n")


def test_a_page_has_its_question_its_parameters_and_the_mean_of_its_runs(notebooks):
    build = notebooks / "build"
    for name, seconds in {"01_one": 7.4, "02_two/A": 2, "02_two/B": 4}.items():
        benchmark(build, name, seconds)
    _, _, one, two, *_ = start.overview(notebooks, build).splitlines()
    assert one == f"| [A title](01_one.ipynb) | Is it so? | `k`: {workflow.meanings()['k']} | 7 |"
    assert two.startswith("| [A title](02_two.ipynb) | Is it so? | `split`: ") and two.endswith(" | 3 |")


def test_without_a_book_no_seconds_are_known(notebooks):
    assert start.overview(notebooks, notebooks / "build").splitlines()[2].endswith(" |  |")


def test_what_most_pages_have_stands_once_below_the_table(notebooks):
    (notebooks / "03_three.ipynb").write_text((notebooks / "01_one.ipynb").read_text())
    found = start.overview(notebooks, notebooks / "build")
    assert found.count("`k`") == 1 and found.endswith(f"- `k`: {workflow.meanings()['k']}")
