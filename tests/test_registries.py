"""Each in one place: a target, a model and a floor of one entry each go through the whole book."""

import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from repository import ROOT, copied

ENTRIES = {
    "targets/normalization.py": (
        "TARGETS: dict[str, Target] = {",
        '"root": Target(lambda x, n, p: np.sqrt(x), lambda y, n, p: y**2, holds_depth=True),',
    ),
    "models/backbones.py": (
        "BACKBONES = {",
        '"mean_feature": Backbone(lambda s: s.obsm[PATCH].mean(axis=1, keepdims=True), curve, page="05_patches"),\n'
        '    "area": Backbone(lambda s: s.obs[["nuclei_area_um2"]].to_numpy(), curve, floor=True),',
    ),
}
CHANGES = {
    "cohort": "small",
    "root": "build/small/raw",
    "sections": ["A1", "A2", "B1"],
    "panel": {"size": 50},
    "targets": ["log2", "pearson_residual", "root"],
    "backbones": ["mean_feature", "ridge"],
    "k": 20,
    "n_random_maps": 32,
    "n_ceiling_splits": 1,
}
OF_MODELS = ("controls", "cross_space", "floors", "inference_scores", "partial", "predictability", "top_genes")
OF_TARGETS = ("associations", "coupling_chance", "couplings", "mean_variance", "patients", "table1")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The tables of a small toy book, built in a copy of the repository with these entries."""
    house = copied(tmp_path_factory.mktemp("house"))
    for module, (opening, entry) in ENTRIES.items():
        path = house / "src/helpers" / module
        before, after = path.read_text().split(f"{opening}\n")
        path.write_text(f"{before}{opening}\n    {entry}\n{after}")
    toy = yaml.safe_load((ROOT / "config/toy.yaml").read_text())
    (house / "small.yaml").write_text(yaml.safe_dump(toy | CHANGES))
    command = [sys.executable, "-m", "snakemake", "book", "--config", "file=small.yaml", "--cores", "2", "--keep-going"]
    environment = os.environ | {"PYTHONPATH": str(house / "src")}
    built = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-8000:]
    return house / "build/small/results"


def found(results, name):
    [path] = results.glob(f"{name}.csv*")
    return pd.read_csv(path)


@pytest.mark.full
@pytest.mark.parametrize("name", [*OF_MODELS, *OF_TARGETS])
def test_a_new_target_stands_in_the_tables_beside_the_known_ones(results, name):
    table = found(results, name)
    column = "trained_in" if name == "cross_space" else "target"
    assert {"root", "log2", "pearson_residual"} <= set(table[column])


@pytest.mark.full
@pytest.mark.parametrize("name", OF_MODELS)
def test_a_new_model_stands_in_the_tables_beside_the_known_ones(results, name):
    assert {"mean_feature", "ridge"} <= set(found(results, name)["backbone"])


@pytest.mark.full
@pytest.mark.parametrize("name", ["floors", "patients"])
def test_a_new_floor_stands_in_the_tables_beside_the_known_ones(results, name):
    assert {"area", "place"} <= set(found(results, name)["backbone"])
