"""Edits cost what they touch: which pages run again when a module of a room changes, and whether Snakemake agrees."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import workflow

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
# Whatever runs again among these costs every fit.
FEEDS_FITS = {"01_data", "02_segmentation", "06_patches", "07_normalization", "09_stem_training"}
# Rooms whose modules may stand behind a fit: all of what a fit reads or is; of the scores only where samples fall.
BEHIND_FITS = ("cohort/", "tissue/", "targets/", "models/")
GROUND = ("columns", "schema", "store", "weights", "quiet")
MODULES = sorted(str(path.relative_to(workflow.SOURCES).with_suffix("")) for path in workflow.SOURCES.rglob("*.py"))
MODULES = [module for module in MODULES if not module.endswith("__init__") and module != "__main__"]


@pytest.fixture(scope="module")
def needs():
    """Page -> modules of the helpers behind it."""
    found = {}
    for page in PAGES:
        source = "\n".join(cell for cell, _ in workflow.code_cells(ROOT / f"notebooks/{page}.ipynb"))
        found[page] = set().union(*map(workflow.imports_of, workflow.imported(source)))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_what_runs_again_is_what_the_room_is_for(needs, module):
    again = {page for page in PAGES if module in needs[page]}
    room = module.partition("/")[0] if "/" in module else ""
    if room == "figures":
        assert not again & FEEDS_FITS
    elif room == "audit":
        assert again <= {"33_audit"}
    elif room == "chapters":
        # A chapter's module is its page's own, or shared by pages that do not feed a fit.
        own = {page for page in PAGES if page[3:] == module.partition("/")[2]}
        assert again - own <= set(PAGES) - FEEDS_FITS
    elif room == "scores":
        assert again & FEEDS_FITS <= ({"09_stem_training"} if module == "scores/pit" else set())
    elif room:
        assert module.startswith(BEHIND_FITS)
    else:
        assert module in GROUND or not again & FEEDS_FITS, f"{module} stands behind a fit"


def would_run():
    """Rules that Snakemake would run for the toy book, with their number of jobs."""
    command = [sys.executable, "-m", "snakemake", "book", "--cores", "1", "--configfile", "config/toy.yaml"]
    said = subprocess.run([*command, "--dry-run", "--quiet", "rules"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr[-2000:]
    return set(re.findall(r"^(\w+) +\d+$", said.stdout + said.stderr, re.M)) - {"total"}


@pytest.mark.parametrize("module", ["audit/card", "scores/spatial", "models/stem/sampling"])
def test_snakemake_runs_again_what_depends_on_a_module_and_nothing_else(needs, module):
    if not (ROOT / "build/toy/html/index.html").is_file():
        pytest.skip("build/toy is not there: run make book first")
    stamp = ROOT / workflow.STAMPS / f"helpers/{module}.txt"
    before = stamp.stat()
    if would_run():
        pytest.skip("build/toy is not up to date: run make book first")
    try:
        os.utime(stamp)
        rules = would_run()
    finally:
        os.utime(stamp, ns=(before.st_atime_ns, before.st_mtime_ns))
    direct = {page[3:] for page in PAGES if module in needs[page]}
    assert direct <= rules and ("stem_training" in rules) == (module in needs["09_stem_training"])
    if module == "audit/card":
        assert rules <= {"audit", "html", "book"}
