"""One question, one answer: the audit of the book's own predictions gives the rows of the chapters' tables.

On the toy after `make book`, on the real cohort after `make book COHORT=her2st`.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from helpers import store
from helpers.chapters import composition_skill, training_check
from helpers.scores import judge

ROOT = Path(__file__).parents[1]
DIGITS = {"rtol": 2e-5, "atol": 1e-6}  # tables hold six digits


@pytest.fixture(scope="module", params=["toy", "her2st"])
def run(request):
    """The report of page 28, what it was given, and a reader of the chapters' tables."""
    build = ROOT / "build" / request.param
    if not (build / "audit.json").is_file():
        pytest.skip(f"build/{request.param} is not there: run make book COHORT={request.param} first")
    report = json.loads((build / "audit.json").read_text())
    given = yaml.safe_load((build / "parameters/28_audit.yaml").read_text())
    tables = {key: pd.DataFrame(report[key]) for key in ("scores", "twin", "given", "floors")}
    return tables, given, lambda name: pd.read_csv(build / "results" / name)


def own(tables, name, space, k=None):
    rows = tables[name][tables[name]["space"] == space]
    rows = rows if k is None else rows[rows["k"] == k]
    assert len(rows)
    return rows.set_index("section").sort_index()


def rows_of(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table)
    return table.set_index("section").sort_index()


def same(one, other):
    assert list(one.index) == list(other.index)
    np.testing.assert_allclose(one.to_numpy(float), other.to_numpy(float), **DIGITS)


@pytest.mark.parametrize("space", ["log2", "pearson_residual", "log1p_cp10k"])
def test_scores_ceilings_and_chance_in_every_space(run, space):
    tables, given, read = run
    where = {"backbone": given["backbone"], "split": "section", "trained_in": given["space"], "scored_in": space}
    chapter = rows_of(read("cross_space.csv"), **where)
    for k in (10, 50):
        same(own(tables, "scores", space, k)["pcc"], chapter[f"pcc_{k}"])
    audited = own(tables, "scores", space, 50)
    same(audited["ceiling"], chapter["ceiling_50"])
    same(audited["chance_95"], chapter["chance_95"])


def test_scores_where_only_depth_varies(run):
    tables, given, read = run
    where = {"backbone": given["backbone"], "split": "section", "target": given["space"], "twin": "depth_only"}
    chapter, audited = rows_of(read("controls.csv"), **where), own(tables, "twin", given["space"], 50)
    same(audited["pcc"], chapter["pcc_50"])
    same(audited["chance_95"], chapter["chance_95"])


@pytest.mark.parametrize("floor", ["nuclei", "haematoxylin", "place", "depth"])
@pytest.mark.parametrize("target", ["log2", "pearson_residual", "log1p_cp10k"])
def test_floors(run, floor, target):
    tables, _, read = run
    chapter = rows_of(read("floors.csv"), backbone=floor, split="section", target=target)
    rows = tables["floors"][tables["floors"]["floor"] == floor]
    for k in (10, 50):
        same(own({"floors": rows}, "floors", target, k)["pcc"], chapter[f"pcc_{k}"])


@pytest.mark.parametrize("given_what", ["nuclei", "depth", "both"])
def test_what_is_left_given_nuclei_and_depth(run, given_what):
    tables, given, read = run
    where = {"backbone": given["backbone"], "split": "section", "target": given["space"], "given": given_what}
    chapter = rows_of(read("partial.csv"), **where)
    audited = rows_of(tables["given"], space=given["space"], given=given_what)
    scores = ["r", "semi_partial", "unique", "shared", "capture_only", *judge.GIVEN_CLAIMS]
    for column in [*scores, *(f"{name}_chance_95" for name in judge.GIVEN_CLAIMS)]:
        same(audited[column], chapter[column])


@pytest.mark.parametrize("cohort", ["toy", "her2st"])
def test_page_10_and_page_21_have_one_composition_skill(cohort):
    build = ROOT / "build" / cohort
    if not (build / "results/skills.csv").is_file():
        pytest.skip(f"build/{cohort} is not there: run make book COHORT={cohort} first")
    given = yaml.safe_load((build / "parameters/10_training_check.yaml").read_text())
    folders, sections = ([ROOT / "notebooks" / path for path in given[key]] for key in ("predictions", "section_files"))
    read = map(store.read_section, store.prediction_files(folders))
    by_gene = composition_skill.compositions(read, {path.stem: store.read_section(path) for path in sections})
    found = training_check.median_pcc(by_gene, given["k"]).stack()
    skills = pd.read_csv(build / "results/skills.csv").groupby(["split", "backbone", "target"])["composition"].median()
    np.testing.assert_allclose(found, skills[found.index], **DIGITS)
