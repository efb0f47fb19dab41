"""Imports run one way, rooms are kept, and what stands in two places is in step."""

import ast
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers import workflow

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src/helpers"
MODULES = {str(path.relative_to(SRC).with_suffix("")): path for path in sorted(SRC.rglob("*.py"))}
MODULES = {name: path for name, path in MODULES.items() if path.name != "__init__.py"}

# The law of the house: what a room may import, beside its own modules and the ground (the modules at the top).
FIRST_FLOOR = {"cohort", "tissue", "targets", "models"}
LAW = {
    "ground": set(),
    **dict.fromkeys(FIRST_FLOOR, set()),
    "figures": set(),
    "scores": FIRST_FLOOR,
    "chapters": FIRST_FLOOR | {"scores"},
    "audit": FIRST_FLOOR | {"scores", "figures"},
    "__main__": {"cohort", "audit"},
}


def room(module):
    return module.split("/")[0] if "/" in module or module == "__main__" else "ground"


def imports(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def rooms_entered(path):
    """Rooms of the helpers that a file imports from; `helpers.store` is the ground."""
    names = {name.split(".")[1] for name in imports(path) if name.startswith("helpers.")}
    return {name if name in LAW else "ground" for name in names}


def test_a_package_opens_with_words_alone():
    """What runs again after an edit is told by the modules that are imported; code of a package itself is not seen."""
    opening = {path: ast.parse(path.read_text()) for path in SRC.rglob("__init__.py")}
    assert [path for path, tree in opening.items() if len(tree.body) != 1 or not ast.get_docstring(tree)] == []


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    own = room(module)
    assert rooms_entered(MODULES[module]) <= LAW[own] | {own, "ground"}


@pytest.mark.parametrize(
    ("package", "modules"),
    [
        ("matplotlib", {"figures/"}),
        ("seaborn", {"figures/"}),
        ("PIL", {"cohort/images", "cohort/simulate", "tissue/tiles"}),
        ("tiatoolbox", {"cohort/images", "tissue/hovernet", "tissue/haematoxylin"}),
        ("shapely", {"tissue/nuclei_files"}),
        ("torch", {"models/", "tissue/encoders", "tissue/hovernet", "weights"}),
        ("yaml", {"cohort/config", "workflow"}),
        ("os", {"cohort/config", "cohort/simulate", "stamps", "unpacked", "warm", "workflow"}),
        ("jinja2", {"audit/card"}),
    ],
)
def test_a_package_is_used_by_its_owners_only(package, modules):
    users = {m for m, path in MODULES.items() if package in {name.split(".")[0] for name in imports(path)}}
    assert [user for user in users if not user.startswith(tuple(modules))] == []


@pytest.mark.parametrize("module", MODULES)
def test_programs_alone_print(module):
    calls = [n for n in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(n, ast.Call)]
    prints = "print" in {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    assert not prints or module in {"__main__", "workflow", "audit/program"}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_that_is_read_runs_code(module):
    """Pickles, YAML tags and object arrays do."""
    unsafe = r"allow_pickle=True|weights_only=False|pickle[.]load|read_pickle|yaml[.](full_|unsafe_)?load\("
    assert not re.search(unsafe, MODULES[module].read_text())


@pytest.mark.parametrize("module", MODULES)
def test_each_public_function_says_what_it_does(module):
    tree = ast.parse(MODULES[module].read_text())
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    silent = [node.name for node in public if not ast.get_docstring(node)]
    assert not silent


@pytest.mark.parametrize("module", MODULES)
def test_a_person_can_read_each_function(module):
    """At most 40 lines and 7 parameters; a program's options are read off its signature."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if not isinstance(node, ast.FunctionDef) or (module, node.name) == ("audit/program", "main"):
            continue
        parameters = [
            a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg != "self"
        ]
        assert node.end_lineno - node.lineno < 40 and len(parameters) <= 7, node.name


@pytest.mark.parametrize("module", MODULES)
def test_each_helper_has_its_twin(module):
    folder, _, name = module.rpartition("/")
    assert (ROOT / "tests" / folder / f"test_{name.strip('_')}.py").exists()


def test_conda_and_pip_pin_the_same():
    pinned = {line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] not in "# "}
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    assert set(pip) - {"-e ."} == pinned
    assert "-e ." in pip


def test_the_lock_pins_what_the_package_asks_for():
    pinned = {re.split("[= ]", line)[0] for line in (ROOT / "requirements.txt").read_text().splitlines()}
    asked = re.findall(r'^    "([A-Za-z0-9_-]+)', (ROOT / "pyproject.toml").read_text(), re.M)
    assert len(asked) > 20
    assert {name.lower() for name in asked} <= pinned


def test_profiles_of_stem_can_be_written_as_hyperparameters():
    import jsonschema

    from helpers.models.stem import recipes

    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
    toy = yaml.safe_load((ROOT / "config/toy.yaml").read_text())
    for profile in recipes.PROFILES.values():
        changes = {name: value for name, value in dataclasses.asdict(profile).items() if name != "scaling"}
        jsonschema.validate(toy | {"hyperparameters": changes}, schema)


def test_the_template_names_every_key_and_its_default():
    """But those of cohorts that the project brings along: made, downloaded, or set beside the paper's numbers."""
    properties = yaml.safe_load((ROOT / "config/schema.yaml").read_text())["properties"]
    text = (ROOT / "config/template.yaml").read_text()
    shown = yaml.safe_load(re.sub(r"^# (?=\w+: )", "", text, flags=re.M))
    assert properties.keys() - shown.keys() == {"simulation", "manifest", "differs"}
    for name in (
        "targets",
        "backbones",
        "stem_targets",
        "profile",
        "scales_um",
        "k",
        "ladder",
        "n_random_maps",
        "splits",
    ):
        assert shown[name] == properties[name]["default"], name


def test_the_schema_knows_what_the_helpers_know():
    from helpers.models import backbones
    from helpers.models.stem import recipes
    from helpers.targets import normalization
    from helpers.tissue import encoders, hovernet, patches

    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
    known = schema["properties"]
    assert set(known["nuclei"]["properties"]["model"]["enum"]) == set(hovernet.LICENCES)
    one = f"({'|'.join([*patches.ENCODERS, *encoders.ENCODERS])})"
    assert known["encoder"]["pattern"] == f"^(table|{one}([+]{one})*)$"
    snakefile = (ROOT / "Snakefile").read_text()  # which knows that these need no GPU
    assert json.dumps([*patches.ENCODERS, "table"])[1:-1] in snakefile
    assert known["encoding"]["properties"]["weights"]["propertyNames"]["enum"] == list(encoders.ENCODERS)
    assert set(known["profile"]["enum"]) == set(recipes.PROFILES)
    # The scaling of the target is chosen by stem_arms, beside the profile's own.
    hyperparameters = known["hyperparameters"]["properties"]
    assert list(hyperparameters) == [name for name in recipes.PAPER if name != "scaling"]
    assert all(
        hyperparameters[name]["enum"] == list(recipes.CHOICES[name]) for name in recipes.CHOICES.keys() - {"scaling"}
    )
    assert all(re.search(known["stem_arms"]["items"]["pattern"], arm) for arm in recipes.CHOICES["scaling"])
    # Layouts, targets and backbones have no list here: their registries are handed on.
    assert set(known["targets"]["default"]) <= set(normalization.TARGETS)
    assert set(known["backbones"]["default"]) <= set(backbones.MODELS)


DRAWING = "helpers.store, helpers.figures.figure1, helpers.chapters.median_coupling, helpers.chapters.training_check"


@pytest.mark.parametrize(
    ("program", "late"),
    [
        ("import helpers.workflow", {"numpy", "pandas"}),
        (workflow.PAPERMILL.removesuffix("; papermill()"), {"lark"}),
        (f"import {DRAWING}", {"anndata", "dask", "torch"}),
        ("import helpers.__main__", {"torch", "tiatoolbox", "snakemake", "sphinx", "skimage", "sklearn"}),
        ("import helpers.scores.judge", {"torch", "sklearn", "scanpy", "matplotlib"}),
    ],
)
def test_what_few_pages_need_is_not_imported_for_all(program, late):
    """Each page starts a Python: a second here is a minute of the book."""
    command = [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not late & set(modules)


def test_no_file_holds_a_path_of_one_machine_or_is_large():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        path = ROOT / name
        if not path.is_file():
            continue
        assert path.stat().st_size < 5e6, name
        if path.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".ipynb", ".json", ""} and "_static" not in name:
            found = re.search(r"(?<![\w.])/(home|root|Users|work|mnt)/\w", path.read_text(errors="ignore"))
            assert not found, f"{name}: {found}"


def test_committed_results_say_where_they_are_from():
    for folder in (path for path in (ROOT / "data/results").iterdir() if path.is_dir()):
        provenance = json.loads((folder / "provenance.json").read_text())
        assert set(provenance) >= {"cohort", "commit", "config_sha256", "date", "versions"}
