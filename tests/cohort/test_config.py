from pathlib import Path

import pytest
import yaml

from helpers.cohort import config as cohort_config
from helpers.cohort.layouts import registry

CONFIG = Path(__file__).parents[2] / "config"
KNOWN = {"target": ["log2", "pearson_residual", "log1p_cp10k"], "backbone": ["stem", "ridge"]}
SCHEMA = yaml.safe_load((CONFIG / "schema.yaml").read_text())


def config(name="toy", **changes):
    return yaml.safe_load((CONFIG / f"{name}.yaml").read_text()) | changes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bakcbones": ["ridge"]}, "bakcbones"),
        ({"targets": ["log2", "pearson_residual", "tpm"]}, "targets.*tpm"),
        ({"sections": ["A1", "../A1"]}, r"sections\[1\].*\.\./A1"),
        ({"sections": ["A1", "A2", "A1"]}, "sections names A1 twice"),
        ({"mpp": 0}, "mpp: 0 is less than"),
        ({"mpp": -0.5}, "mpp: -0.5 is less than"),
        ({"mpp": 352.8}, "mpp: 352.8 is greater than"),
        ({"layout": "visium"}, "layout: 'visium' is not one of .*spaceranger"),
        ({"example": "Z9"}, "example 'Z9' is not among the sections"),
        ({"stem_targets": ["log1p_cp10k"], "targets": ["log2", "pearson_residual"]}, "stem_targets log1p_cp10k"),
        ({"ids": {"A1": "A2"}}, "ids give A1 and A2 the same files"),
        ({"ids": {"A1": "x/../../etc"}}, "ids.A1: stays below root"),
        ({"ids": {"A1": "/etc/passwd"}}, "ids.A1: stays below root"),
        ({"images": "/etc/{section}.png"}, "images: a path from root"),
        ({"labels": "../{section}.csv"}, "labels: stays below root"),
        ({"labels": "{section.__class__}"}, "labels: a path with {section} in it, and no other braces"),
        ({"proportions": "{section}/{section:>10}.csv"}, "proportions: a path with {section}"),
        ({"nuclei": {"back_end": "table", "table": "{section}{x}"}}, "nuclei.table: a path with {section}"),
        ({"title": "<script>"}, "'<script>' holds '<s', which pages would not show"),
        ({"patients": {"A1": "a\nb"}}, "holds .*, which pages would not show"),
        ({"__use_yte__": True}, "__use_yte__"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(changes, says):
    with pytest.raises(ValueError, match=f"^mine.yaml: .*{says}.*\nconfig/schema.yaml says") as error:
        cohort_config.complete(config(**changes), SCHEMA, "mine.yaml", KNOWN)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: !!python/object/apply:os.system ['touch ran']", "not YAML .*python/object"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", r"line 2: write \*a out"),
        ("[" * 5000, "not YAML"),
        ("- A1", "holds no keys"),
    ],
)
def test_a_config_that_would_run_or_grow_is_refused(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"mine.yaml: {says}"):
        cohort_config.content(tmp_path / "mine.yaml")
    assert not (tmp_path / "ran").exists()


def test_names_are_those_of_the_registries(monkeypatch):
    monkeypatch.setitem(registry.LAYOUTS, "mine", registry.h5ad.read)
    named = config(layout="mine", targets=["log2", "pearson_residual", "VST"])
    assert cohort_config.complete(named, SCHEMA, "mine.yaml", {"target": ["log2", "pearson_residual", "VST"]})
    dotted = config(targets=["log2", "pearson_residual", "v.2"])
    with pytest.raises(ValueError, match=r"targets\[2\]: a name of letters, digits and _ is wanted"):
        cohort_config.complete(dotted, SCHEMA, "mine.yaml", {"target": ["log2", "pearson_residual", "v.2"]})


def test_all_faults_are_said_at_once_a_line_each():
    wrong = config(mpp=0, targets=["log2", "tpm"], bakcbones=["ridge"], splits=["slide"])
    with pytest.raises(ValueError) as error:
        cohort_config.complete(wrong, SCHEMA, "mine.yaml", KNOWN)
    lines = str(error.value).splitlines()[:-1]
    assert all(line.startswith("mine.yaml: ") for line in lines)
    for words in ("bakcbones", "mpp: 0", "splits[0]: 'slide'", "targets[1]: 'tpm'", "must hold pearson_residual"):
        assert sum(words in line for line in lines) == 1, words


def test_five_keys_are_a_config_and_the_rest_are_the_schemas_defaults():
    five = {"cohort": "mine", "title": "Mine", "layout": "h5ad", "root": "data/mine", "sections": ["S2", "S1"]}
    full = cohort_config.complete(five, SCHEMA, "mine.yaml", KNOWN)
    assert {key: full[key] for key in five} == five and full["example"] == "S2"
    defaults = {key: part["default"] for key, part in SCHEMA["properties"].items() if "default" in part}
    assert {key: full[key] for key in defaults} == defaults and len(defaults) >= 20
    assert cohort_config.complete(full, SCHEMA, "mine.yaml", KNOWN) == full
    some = cohort_config.complete(five | {"panel": {"size": 60}}, SCHEMA, "mine.yaml", KNOWN)
    assert some["panel"] == {"size": 60, "choose": "all"}


@pytest.mark.parametrize("name", ["toy", "her2st", "her2st_lowres", "hest", "template"])
def test_each_config_that_the_project_ships_passes(name):
    assert cohort_config.load(CONFIG / f"{name}.yaml", KNOWN)["cohort"] == name


def test_a_simulated_cohort_may_have_any_number_of_sections():
    twelve = {f"{patient}{i}": 1000 for patient in "ABCDEF" for i in (1, 2)}
    made = config(simulation={"sections": twelve, "lattice": [6, 5]}, sections=list(twelve))
    complete = cohort_config.complete(made, SCHEMA, "mine.yaml", KNOWN)
    assert list(complete["simulation"]["sections"]) == made["sections"]
    fewer = made | {"simulation": {"sections": {"B1": 900}}, "sections": ["A1", "B1"]}
    with pytest.raises(ValueError, match="simulation: sections A1 have no median depth there"):
        cohort_config.complete(fewer, SCHEMA, "mine.yaml", KNOWN)


def test_every_key_is_described():
    assert [key for key, part in SCHEMA["properties"].items() if not part.get("description")] == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encoder": "table"}, "go together"),
        ({"encoding": {"table": "f/{section}.h5"}}, "go together"),
        ({"encoder": "table", "encoding": {"table": "f/{section}.h5", "augmented": True}}, "each patch as it is only"),
    ],
)
def test_an_encoder_table_needs_its_path_and_no_other_encoder_takes_one(changes, says):
    with pytest.raises(ValueError, match=says):
        cohort_config.complete(config(**changes), SCHEMA, "mine.yaml", KNOWN)
    cohort_config.complete(config(encoder="table", encoding={"table": "f/{section}.h5"}), SCHEMA, "mine.yaml", KNOWN)


def test_an_environment_variable_names_another_root(monkeypatch):
    monkeypatch.delenv("HER2ST_ROOT", raising=False)
    assert cohort_config.root(config("her2st")) == "data/her2st"
    monkeypatch.setenv("HER2ST_ROOT", "elsewhere")
    assert cohort_config.root(config("her2st")) == "elsewhere"
    assert cohort_config.readers(config("her2st")) == {"layout": "her2st", "root": "elsewhere"}


def test_the_readers_get_what_the_config_says_about_files():
    readers = cohort_config.readers(config(mpp=0.5, images="images/{section}.tif"))
    assert readers == {"layout": "her2st", "root": "build/toy/raw", "mpp": 0.5, "images": "images/{section}.tif"}


def test_a_file_that_is_no_config_is_named(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match="bad.yaml: not YAML"):
        cohort_config.load(tmp_path / "bad.yaml")
    with pytest.raises(FileNotFoundError, match="none.yaml: no such config"):
        cohort_config.load(tmp_path / "none.yaml")


def test_a_key_given_twice_is_refused_with_its_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: 1\nqc:\n  b: 2\n  b: 3\n")
    with pytest.raises(ValueError, match="mine.yaml: line 4: b is given twice; keep one"):
        cohort_config.content(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text("\ufeffa: 1\r\nlist: [{b: 2}, {b: 3}]\r\n")
    assert cohort_config.content(tmp_path / "mine.yaml") == {"a": 1, "list": [{"b": 2}, {"b": 3}]}


def test_a_root_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    complete = cohort_config.complete(config(root="~/data"), SCHEMA, "mine.yaml", KNOWN)
    assert complete["root"] == cohort_config.root(complete) == str(tmp_path / "data")
    monkeypatch.setenv("HER2ST_ROOT", "~/mine")
    assert cohort_config.root(config("her2st")) == str(tmp_path / "mine")


def test_files_of_the_project_are_found_from_where_a_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_ROOT", "/elsewhere")
    given = {"layout": "stutility", "root": "data/x", "gene_symbols": "data/genes.csv", "title": "no reader's"}
    assert cohort_config.readers(given, "..") == {
        "layout": "stutility",
        "root": "../data/x",
        "gene_symbols": "../data/genes.csv",
    }
    assert cohort_config.readers(given | {"root_setting": "SOME_ROOT"}, "..")["root"] == "/elsewhere"
