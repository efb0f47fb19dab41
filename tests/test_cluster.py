"""What a cluster is told: which rules make a job together, and how the environment is built in a container."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SLURM = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())


def test_groups_are_of_rules_that_are_there_and_each_has_its_size():
    groups = dict(entry.split("=") for entry in SLURM["groups"])
    assert set(groups) <= {path.stem[3:] for path in (ROOT / "notebooks").glob("*.ipynb")}
    sizes = dict(entry.split("=") for entry in SLURM["group-components"])
    assert set(sizes) == {*groups.values(), "fits"}


@pytest.mark.parametrize("n_sections", [6, 36])
def test_a_book_with_ridge_of_36_sections_is_at_most_60_jobs(n_sections):
    pages = len(list((ROOT / "notebooks").glob("*.ipynb")))
    groups = dict(entry.split("=") for entry in SLURM["groups"])
    sizes = {name: int(size) for name, size in (entry.split("=") for entry in SLURM["group-components"])}
    of_all = pages - len(groups) - 1 + list(groups.values()).count("panels") // sizes["panels"]  # the fits apart
    assert of_all + n_sections / sizes["tissue"] + n_sections / sizes["fits"] <= 60


def test_both_containers_are_built_by_the_same_commands():
    docker, apptainer = (
        re.sub(r"\s*\\\n\s*", " ", (ROOT / name).read_text()) for name in ("Dockerfile", "apptainer.def")
    )
    image, *commands = re.findall(r"^(?:FROM|RUN) (.*)$", docker, re.M)
    assert len(commands) == 2 and f"From: {image}\n" in apptainer
    assert [apptainer.count(f"    {command}\n") for command in commands] == [1, 1]
