"""Edits cost what they touch: which pages run again when a module of a room changes."""

import ast
import re
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
    return {page: set(workflow.modules(page, looks=page not in FEEDS_FITS)) for page in PAGES}


def test_the_workflow_knows_which_pages_feed_fits():
    named = re.search(r"^FEED_FITS = (\(.*\))$", (ROOT / "Snakefile").read_text(), re.M)[1]
    assert set(ast.literal_eval(named)) == FEEDS_FITS


@pytest.mark.parametrize("module", MODULES)
def test_what_runs_again_is_what_the_room_is_for(needs, module):
    again = {page for page in PAGES if module in needs[page]}
    room = module.partition("/")[0] if "/" in module else ""
    if room == "figures":
        assert not again & FEEDS_FITS
    elif room == "audit":
        assert again <= {"35_audit"}
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
