"""Edits cost what they touch: which pages run again when a module of a room changes.

By what the pages import, for every module, and by what Snakemake itself lists in a copy of the repository, whose book
is there by name only: empty files that Snakemake takes for up to date.
"""

import json
import multiprocessing
import re
from pathlib import Path

import pytest
import tasks
import yaml
from repository import ROOT, copied

from helpers import stamps

PAGES = sorted(path.stem for path in (ROOT / "notebooks").glob(stamps.PAGES))
FEEDS_FITS = set(stamps.FEED_FITS)  # whatever runs again among these costs every fit
# Rooms whose modules may stand behind a fit: all of what a fit reads or is; of the scores only where samples fall.
BEHIND_FITS = ("cohort/", "tissue/", "targets/", "models/")
GROUND = ("columns", "schema", "store", "weights", "quiet", "gene_names", "unpacked")
MODULES = sorted(str(path.relative_to(stamps.SOURCES).with_suffix("")) for path in stamps.SOURCES.rglob("*.py"))
MODULES = [module for module in MODULES if not module.endswith("__init__") and module != "__main__"]


@pytest.fixture(scope="module")
def needs():
    """Page -> modules of the helpers behind it."""
    return {page: set(stamps.modules(page, looks=page not in FEEDS_FITS)) for page in PAGES}


@pytest.mark.parametrize("module", MODULES)
def test_what_runs_again_is_what_the_room_is_for(needs, module):
    again = {page for page in PAGES if module in needs[page]}
    room = module.partition("/")[0] if "/" in module else ""
    if room == "figures":
        assert not again & FEEDS_FITS
    elif room == "audit":
        assert again <= {"28_audit"}
    elif room == "chapters":
        # A chapter's module is its page's own, or shared by pages that do not feed a fit.
        own = {page for page in PAGES if page[3:] == module.partition("/")[2]}
        assert again - own <= set(PAGES) - FEEDS_FITS
    elif room == "scores":
        assert again & FEEDS_FITS <= ({"08_stem_training"} if module == "scores/pit" else set())
    elif room:
        assert module.startswith(BEHIND_FITS)
    else:
        assert module in GROUND or not again & FEEDS_FITS, f"{module} stands behind a fit"


# --- as Snakemake sees it ---

IMPORTS = ["tasks", "snakemake.cli", "helpers.cohort.config", "helpers.models.backbones", "jsonschema", "pandas"]
ROOMS = ["labels", "scores/paired", "cohort/images", "tissue/classical", "targets/spaces", "models/stem/sampling"]
ROOMS += ["chapters/partial", "figures/maps", "audit/flags", "columns"]


def snakemake(house: Path, *options: str) -> str:
    """What `snakemake book` of the toy prints, in a process that is forked with its imports: they take most time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTS)
    process = context.Process(target=tasks.snakemake, args=(house, list(options), house / "said.txt"))
    process.start()
    process.join()
    said = (house / "said.txt").read_text()
    assert process.exitcode == 0, said
    return said


def listed(house: Path) -> set[str]:
    """The rules that a dry run of the book lists."""
    return set(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", snakemake(house, "--dry-run"), re.M))


def lay(house: Path):
    """Empty files for what the book is made of, as far as Snakemake knows it."""
    for line in snakemake(house, "--summary").splitlines():
        if line.startswith("build/toy/"):
            path = house / line.partition("\t")[0]
            folder = path.name in ("targets", "explorer") or path.parent.name == "predictions"
            (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
            if not folder:
                path.touch()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the repository with a toy book in which everything is up to date."""
    house = copied(tmp_path_factory.mktemp("house"))
    lay(house)
    sections = yaml.safe_load((ROOT / "config/toy.yaml").read_text())["sections"]
    rows = ["section,kept,image", *(f"{section},True,{section}.jpg" for section in sections)]
    (house / "build/toy/sections.csv").write_text("\n".join(rows))
    lay(house)  # what follows from the sections
    snakemake(house, "--touch", "--forceall")
    return house


@pytest.fixture(scope="module")
def feeds(house):
    """Rule -> rules that read what it leaves."""
    graph = snakemake(house, "--rulegraph")
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', graph, re.M))
    arrows = re.findall(r"^\s*(\d+) -> (\d+)$", graph, re.M)
    return {rule: {names[to] for one, to in arrows if one == number} for number, rule in names.items()}


def test_the_workflow_knows_which_pages_feed_fits(feeds):
    before = {"stem_training"}
    while ahead := {rule for rule, after in feeds.items() if after & before} - before:
        before |= ahead
    assert before == {page[3:] for page in FEEDS_FITS}


@pytest.mark.parametrize("module", [*ROOMS[:2], *(pytest.param(m, marks=pytest.mark.full) for m in ROOMS[2:])])
def test_a_change_of_a_module_lists_its_pages_and_what_follows_from_them(house, feeds, needs, module):
    expected, ahead = set(), {page[3:] for page in PAGES if module in needs[page]}
    while ahead:
        expected |= ahead
        ahead = set().union(*(feeds[rule] for rule in ahead)) - expected
    path = house / f"src/helpers/{module}.py"
    before = path.read_text()
    path.write_text(f"{before}\n_touched = 1\n")
    again = listed(house)
    path.write_text(before)
    assert again == expected and len(expected) > 2


@pytest.mark.parametrize(
    ("gone", "again"),
    [("pages/19_floors.ipynb", {"floors", "explorer", "html", "book"}), ("html/19_floors.html", {"html", "book"})],
)
def test_what_was_removed_is_missed(house, gone, again):
    path = house / "build/toy" / gone
    kept = path.rename(house / "kept")
    rules = listed(house)
    kept.rename(path)
    assert rules == again


def test_words_list_the_book_alone(house):
    """A comment, a docstring and what an error says, in every module; a paragraph in every notebook."""
    texts = {path: path.read_text() for folder in ("src", "notebooks") for path in (house / folder).rglob("*.[pi]*y*")}
    for path, text in texts.items():
        if path.suffix == ".py":
            text = re.sub(r'(raise \w+\(f?")', r"\1In other words: ", text.replace('"""', '"""So: ', 1))
            path.write_text(f"{text}\n# a remark\n")
        else:
            page = json.loads(text)
            page["cells"][-1]["source"] = ["In other words."]
            path.write_text(json.dumps(page))
    again = listed(house)
    for path, text in texts.items():
        path.write_text(text)
    assert again == {"html", "book"}
