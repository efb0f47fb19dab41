"""From raw files to the book: a rule a notebook, run by papermill, and the Jupyter Book of the executed pages.

A notebook's second cell names what it reads and leaves, as paths of the toy: its rule's inputs and outputs are these
paths in the cohort's folder, and values of the config go to the parameters of the same name (helpers.workflow).
PAGES says of a notebook what depends on the cohort besides: lists of files, wildcards, threads, a GPU.
"""

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pandas as pd
import yaml

from helpers import pages, provenance, stamps
from helpers import workflow as book
from helpers.cohort import config as configs
from helpers.models.backbones import BACKBONES, FLOORS_BESIDE, MODELS
from helpers.targets.normalization import TARGETS
from helpers.workflow import Page

if workflow.configfiles or "file" not in config:
    # Snakemake runs code that a config file holds as a template; here it is read as plain YAML.
    raise WorkflowError("give the cohort as --config file=config/toy.yaml, or use make book COHORT=toy")
SCHEMA = yaml.safe_load(Path("config/schema.yaml").read_text())
try:
    # A job reads it again once it has been checked.
    known = {"target": list(TARGETS), "backbone": list(MODELS)} if workflow.is_main_process else None
    said = configs.content(config["file"]) | {key: value for key, value in config.items() if key != "file"}
    COHORT = configs.complete(said, SCHEMA, config["file"], known, check=workflow.is_main_process)
except (ValueError, OSError) as error:
    raise WorkflowError(str(error)) from None

BUILD = f"build/{COHORT['cohort']}"
RESULTS = f"{BUILD}/results"
REFERENCE = "data/results/her2st"  # of the committed run
# Of other runs not committed: every coefficient, a figure twice, scores on the same tiles.
BULKY = {"partial_genes.csv.gz", "figure1.png", "counting_accuracy.csv"}
REFERENCE_RUNS = [REFERENCE, "data/results/her2st_lowres", "data/results/mob"]
ROOT = configs.root(COHORT)
RAW = ROOT if os.path.isabs(ROOT) else f"../{ROOT}"  # as a notebook sees it
SIMULATED = "simulation" in COHORT
DOWNLOADED = "manifest" in COHORT and ROOT == COHORT["root"]
CELLULARITY = "haematoxylin" if COHORT["nuclei"]["back_end"] == "haematoxylin" else "n_nuclei"
TITLE = COHORT["title"] + ", cellularity by the mean haematoxylin of a disc" * (CELLULARITY == "haematoxylin")
SPLIT, EXAMPLE = COHORT["splits"][0], COHORT["example"]

# Models that cost seconds are one fit together, with the floors; a costly one, such as stem, is a fit, hence a
# job, for each of stem_targets.
CHEAP_MODELS = ["ridge", *(b for b in COHORT["backbones"] if not BACKBONES[b].costly and b != "ridge"), *FLOORS_BESIDE]
COSTLY = [f"{b}.{target}" for b in COHORT["backbones"] if BACKBONES[b].costly for target in COHORT["stem_targets"]]
FITS = [book.CHEAP, *COSTLY]
# A STEM arm is stem with one thing changed: fits beside the others, of some sections, for one table of their own.
STEM_ARMS = [f"{fit}.{arm}" for fit in COSTLY if fit.startswith("stem.") for arm in COHORT["stem_arms"]]
STUDIED = COHORT["stem_studied"]
EXAMPLE_FIT = FITS[min(1, len(FITS) - 1)]
# Published encoders take the GPU, or all cores: one section at a time.
PUBLISHED = not set(COHORT["encoder"].split("+")) <= {"morphology", "table"}

# What notebooks are given besides paths: the config, and what follows from it.
VALUES = COHORT | {
    "cohort": TITLE,
    "cellularity": CELLULARITY,
    "split": SPLIT,
    "seed": COHORT["seeds"][0],
    "panel_size": COHORT["panel"]["size"],
    "panel_choose": COHORT["panel"]["choose"],
    "simulation": COHORT.get("simulation"),
    "truth": f"{RAW}/truth" if SIMULATED else None,
    "labels": f"{RAW}/{COHORT['labels']}" if "labels" in COHORT else None,
    "proportions": f"{RAW}/{COHORT['proportions']}" if "proportions" in COHORT else None,
    # Annotated tiles, where a user has them: their licence keeps them out of the project.
    "monuseg": os.path.abspath(os.environ["MONUSEG_ROOT"]) if os.environ.get("MONUSEG_ROOT") else None,
    "reference": f"../{REFERENCE}",
    "reference_runs": [f"../{folder}" for folder in REFERENCE_RUNS if os.path.isfile(f"{folder}/associations.csv.gz")],
    "raw": configs.readers(COHORT, ".."),
    "manifest": f"../{COHORT['manifest']}" if DOWNLOADED else None,
    "backbone": "ridge" if EXAMPLE_FIT == book.CHEAP else EXAMPLE_FIT.split(".")[0],
    "space": "log2" if EXAMPLE_FIT == book.CHEAP else EXAMPLE_FIT.split(".")[1],
    **COHORT["ladder"],
}

JUPYTER_BOOK = shlex.quote(str(Path(sys.executable).with_name("jupyter-book")))
PYTHON = shlex.quote(sys.executable)
RUN = f"{PYTHON} -m helpers.workflow run {{params.page}} {{output.page}} {BUILD} {{threads}} {{params.given:q}}"


def code_of(page):
    return lambda wildcards: stamps.code(page, looks=page not in stamps.FEED_FITS)


def given(page, **own):
    """The parameters of a run as JSON, once its rule's paths are known; `own` values may depend on the wildcards."""

    def asked(wildcards, input, output):
        paths = dict([*input.items(), *output.items()])
        paths = {key: path for key, path in paths.items() if key not in ("code", "page", "tracked")}
        values = {key: value(wildcards) if callable(value) else value for key, value in own.items()}
        try:
            return json.dumps(book.parameters(page, paths, VALUES, values))
        except ValueError as error:
            raise WorkflowError(str(error)) from None

    return asked


wildcard_constraints:
    section="[^/]+",
    fit="|".join(map(re.escape, [*FITS, *STEM_ARMS])),
    split="section|patient",


onerror:
    print(book.failures(Path(BUILD)), file=sys.stderr)


localrules:
    book,
    html,
    reference,


# --- sections that the cohort turns out to have ---


def sections(only_images=False):
    table = pd.read_csv(checkpoints.data.get().output.section_table, keep_default_na=False)
    chosen = table[table["kept"] & ((table["image"] != "") | (not only_images))]
    return list(chosen["section"])


def images(pattern, **more):
    return lambda wildcards: expand(pattern, section=sections(only_images=True), **more)


def sections_as(stage):
    """Every kept section: with an image as it left `stage`, without one as it was read."""

    def paths(wildcards):
        with_image = set(sections(only_images=True))
        return [f"{BUILD}/{stage if s in with_image else 'sections'}/{s}.h5ad" for s in sections()]

    return paths


def raw_files():
    """Every file below a root that is read and not written here: a corrected or added one runs again what follows."""
    if SIMULATED or DOWNLOADED:
        return []
    folders = [Path(ROOT), *([Path(ROOT, COHORT["placements"]).parent] if "placements" in COHORT else [])]
    return [str(path) for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def nuclei_files(wildcards):
    """The files that the config names for the nuclei of a section."""
    named = COHORT["nuclei"]
    return {key: named[key].format(**wildcards) for key in ("weights", "table") if key in named}


def encoding_table(wildcards):
    """The section's table of features, where the config names one."""
    return [COHORT["encoding"]["table"].format(**wildcards)] if "table" in COHORT["encoding"] else []


def seen(files):
    """Paths of a dictionary as a notebook sees them."""
    return {name: book.from_notebooks(path) for name, path in files.items()}


# --- the notebooks in the order of the book: what of their rules depends on the cohort ---

PREDICTIONS = f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"
EVERY_FIT = images(PREDICTIONS, split=COHORT["splits"], fit=FITS)
COUNTS = images(f"{BUILD}/sections/{{section}}.h5ad")
SEGMENTED = images(f"{BUILD}/segmented/{{section}}.h5ad")
ENCODED = images(f"{BUILD}/encoded/{{section}}.h5ad")
READINGS = images(f"{BUILD}/readings/{{section}}.parquet")

PAGES = {
    "00_answer": Page({"tracked": [str(path) for run in REFERENCE_RUNS for path in sorted(Path(run).glob("*.csv*"))]}),
    "02_segmentation": Page(
        {"tracked": lambda wildcards: list(nuclei_files(wildcards).values())},
        run="{section}",
        own={"nuclei": lambda wildcards: COHORT["nuclei"] | seen(nuclei_files(wildcards))},
        gpu=int(COHORT["nuclei"]["back_end"] == "hovernet"),
    ),
    "03_segmentation_check": Page(
        {"segmented": SEGMENTED, "overviews": images(f"{BUILD}/overview/{{section}}.jpg")},
    ),
    "04_nuclei_readings": Page(
        run="{section}",
        own={"nuclei": lambda wildcards: COHORT["nuclei"] | seen(nuclei_files(wildcards))},
    ),
    "05_patches": Page(
        {"tracked": lambda wildcards: [*COHORT["encoding"]["weights"].values(), *encoding_table(wildcards)]},
        run="{section}",
        own={
            "augmented": COHORT["encoding"]["augmented"],
            "weights": seen(COHORT["encoding"]["weights"]),
            "table": lambda wildcards: next(map(book.from_notebooks, encoding_table(wildcards)), None),
            "cache": book.from_notebooks(COHORT["encoding"]["cache"]),
        },
        threads=(workflow.cores or 1) if PUBLISHED else 1,
        runtime=240 if PUBLISHED else None,
        gpu=int(PUBLISHED),
    ),
    "06_normalization": Page(
        {"section_files": sections_as("encoded")},
        {"targets_folder": directory(f"{BUILD}/targets")},
    ),
    "07_dependence": Page({"section_files": sections_as("segmented")}),
    "08_stem_training": Page(
        leaves={"predictions": directory(PREDICTIONS)},
        run="{split}.{section}.{fit}",
        own={
            "held_out": lambda wildcards: wildcards.section,
            "split": lambda wildcards: wildcards.split,
            "profile": lambda wildcards: "none" if wildcards.fit == book.CHEAP else COHORT["profile"],
            "backbones": lambda wildcards: CHEAP_MODELS if wildcards.fit == book.CHEAP else wildcards.fit.split(".")[:1],
            "targets": lambda wildcards: COHORT["targets"] if wildcards.fit == book.CHEAP else [wildcards.fit.split(".")[1]],
            "arm": lambda wildcards: (wildcards.fit.split(".") + [None, None])[2],
            "keep_samples": lambda wildcards: wildcards.section in STUDIED and wildcards.fit.count(".") == 1,
            # No output: a fit that was killed goes on from there. The notebook removes it in the end.
            "checkpoints": lambda wildcards: f"../{BUILD}/checkpoints/{COHORT['profile']}/{'.'.join(wildcards)}",
        },
        # A core for each process of a fit, so that as many fits run side by side as there are devices for.
        threads=lambda wildcards: 1 if wildcards.fit == book.CHEAP else COHORT["n_devices"],
        runtime=lambda wildcards: None if wildcards.fit == book.CHEAP else 1440,
        gpu=lambda wildcards: COHORT["n_devices"] * int(COHORT["profile"] == "paper" and wildcards.fit != book.CHEAP),
        group=lambda wildcards: "fits" if wildcards.fit == book.CHEAP else None,
    ),
    "09_controls": Page({"section_files": ENCODED, "predictions": EVERY_FIT}),
    "10_training_check": Page(
        {
            "predictions": EVERY_FIT,
            "section_files": COUNTS,
            "losses": images(f"{BUILD}/losses/{{split}}.{{section}}.{{fit}}.csv", split=COHORT["splits"], fit=FITS),
            "arm_predictions": expand(PREDICTIONS, section=STUDIED, split=COHORT["splits"], fit=STEM_ARMS),
        },
    ),
    "11_sampling": Page(
        {
            "fits": [PREDICTIONS.format(split=SPLIT, section=EXAMPLE, fit=f) for f in COSTLY if f[:5] == "stem."],
            "predictions": EVERY_FIT,
            "tracked": [f"{REFERENCE}/{name}" for name in ("ladder.csv", "calibration.csv.gz", "pit.csv")],
        },
    ),
    "15_counting_and_conclusions": Page({"readings": READINGS}),
    "16_specifications": Page(
        {
            "section_files": lambda wildcards: expand(f"{BUILD}/sections/{{section}}.h5ad", section=sections()),
            "readings": READINGS,
            "encoded": ENCODED,
            "predictions": EVERY_FIT,
        },
    ),
    "17_ledger": Page({"tracked": [str(path) for path in sorted(Path(REFERENCE).glob("*.csv*"))]}),
    "18_factorial": Page({"section_files": sections_as("encoded")}),
    "20_partial": Page({"section_files": SEGMENTED, "predictions": EVERY_FIT}),
    "21_cross_space": Page({"section_files": ENCODED, "predictions": EVERY_FIT}),
    "22_anatomy": Page({"section_files": SEGMENTED, "predictions": EVERY_FIT}),
    "23_inference": Page({"predictions": images(PREDICTIONS, split=SPLIT, fit=FITS)}),
    "25_frontier": Page({"section_files": sections_as("encoded")}),
    "26_genes": Page({"section_files": COUNTS, "predictions": EVERY_FIT}),
    "27_known_truth": Page({"section_files": sections_as("segmented")}),
    "28_audit": Page({"sections": ENCODED, "predictions": images(PREDICTIONS, split=SPLIT, fit=EXAMPLE_FIT)}),
    "29_explorer": Page(
        {
            "predictions": images(PREDICTIONS, split=SPLIT, fit=FITS),
            "program": [str(path) for path in sorted(Path("book/vendor/explorer").iterdir())],
        },
        {"explorer_folder": directory(f"{BUILD}/explorer")},
    ),
}
# Of the others all is known by their parameters. 01_data tells what sections there are: it has its own rule below.
NAMES = sorted({path.stem for path in Path("notebooks").glob(stamps.PAGES)} - {"01_data"})
PAGES = {name: book.with_declared_files(name, PAGES.get(name, Page()), BUILD, VALUES) for name in NAMES}
if workflow.is_main_process:
    if told := stamps.back_from_the_future([Path(BUILD), stamps.STAMPS]):
        print(told, file=sys.stderr)
    # Snakemake lists a folder once: stamps that are written later would be missing to it.
    for name in ("01_data", *NAMES):
        code_of(name)(None)


def everything(wildcards):
    """All that pages leave: tables, and the predictions of every fit."""
    try:
        book.check_kept(sections(), sections(only_images=True), EXAMPLE, BUILD)
    except ValueError as error:
        raise WorkflowError(str(error)) from None
    left = [str(path) for page in PAGES.values() for paths in page.leaves.values() for path in flat(paths)]
    of_fits = EVERY_FIT(wildcards)
    of_sections = [path for path in left if "{fit}" not in path]
    return of_fits + [path for pattern in of_sections for path in expand(pattern, section=sections(only_images=True))]


def flat(paths):
    return paths if isinstance(paths, list) else [paths]


def shown(name):
    """The executed page that the book shows of a notebook: of many runs the one on the cohort's example."""
    return f"{BUILD}/{PAGES[name].executed(name)}".format(split=SPLIT, section=EXAMPLE, fit=EXAMPLE_FIT)


SHOWN = [f"{BUILD}/pages/01_data.ipynb", *map(shown, PAGES)]
WORDS = [*Path("book").glob("*.md"), *Path("notebooks").glob(stamps.PAGES)]
HTML = [f"{BUILD}/html/{path.stem}.html" for path in sorted(WORDS)]


# All is asked for by name: what stands behind a file that is there is not looked for, so its loss would be missed.
rule book:
    input:
        f"{BUILD}/html/index.html",
        HTML,
        SHOWN,
        f"{BUILD}/sections.csv",
        expand(f"{BUILD}/sections/{{section}}.h5ad", section=COHORT["sections"]),
        everything,


for name, page in PAGES.items():

    rule:
        name:
            name[3:]
        input:
            code=code_of(name),
            **page.takes,
        output:
            page=f"{BUILD}/{page.executed(name)}",
            **page.leaves,
        params:
            page=name,
            given=given(name, **page.own),
        log:
            f"{BUILD}/logs/{page.run_of(name)}.log",
        benchmark:
            f"{BUILD}/benchmarks/{page.run_of(name)}.tsv"
        threads: page.threads
        group: page.group
        priority: int(name in book.LONG)
        resources:
            **book.resources(name, page, len(COHORT["sections"])),
        shell:
            RUN


# The sections that are kept are known only once this has run.
checkpoint data:
    input:
        code=code_of("01_data"),
        tracked=raw_files(),
    output:
        page=f"{BUILD}/pages/01_data.ipynb",
        section_table=f"{BUILD}/sections.csv",
        section_files=expand(f"{BUILD}/sections/{{section}}.h5ad", section=COHORT["sections"]),
    params:
        page="01_data",
        given=given("01_data"),
    log:
        f"{BUILD}/logs/01_data.log",
    benchmark:
        f"{BUILD}/benchmarks/01_data.tsv"
    resources:
        **book.resources("01_data", Page(), len(COHORT["sections"])),
    shell:
        RUN


# --- the book, and the committed tables of a reference run ---


rule html:
    input:
        pages=SHOWN,
        words=[str(path) for path in sorted(Path("book").rglob("*")) if path.is_file()],
        notebooks=[str(path) for path in sorted(Path("notebooks").glob(stamps.PAGES))],
        look="_config.yml",
        meanings=["config/schema.yaml", "notebooks/parameters.yaml"],
    output:
        index=f"{BUILD}/html/index.html",
        pages=HTML,
    log:
        f"{BUILD}/logs/html.log",
    benchmark:
        f"{BUILD}/benchmarks/html.tsv"
    resources:
        **book.resources("html", Page(), len(COHORT["sections"])),
    run:
        staged, built = f"{BUILD}/book", f"{BUILD}/book_build"
        cohort = {key: COHORT[key] for key in ("cohort", "title")}
        cohort |= {"cellularity": CELLULARITY, "made": provenance.made()}
        pages.stage(map(Path, input.pages), Path("book"), Path(input.look), Path(RESULTS), Path(staged), cohort)
        shell(
            f"rm -rf {built} {BUILD}/html && {JUPYTER_BOOK} build {staged} "
            f"--config {staged}/_config.yml --path-output {built} -W --quiet 2> >(tee {log} >&2) "
            f"&& mv {built}/_build/html {BUILD}/html && rm -rf {built}"
        )
        shutil.copytree(f"{BUILD}/explorer", f"{BUILD}/html/explorer", dirs_exist_ok=True)


# Not of the book, which itself shows the tables of the reference run.
rule reference:
    input:
        everything,
    output:
        provenance=f"data/results/{COHORT['cohort']}/provenance.json",
    log:
        f"{BUILD}/logs/reference.log",
    benchmark:
        f"{BUILD}/benchmarks/reference.tsv"
    resources:
        **book.resources("reference", Page(), len(COHORT["sections"])),
    run:
        folder = Path(output.provenance).parent
        # What is written here is about to change, and the old provenance is gone already.
        others = "':!data/results' ':!README.md'"
        changed = list(shell(f"git status --porcelain --untracked-files=no -- {others}", iterable=True))
        commit = next(shell("git rev-parse HEAD", iterable=True)) + "-dirty" * bool(changed)
        shutil.rmtree(folder, ignore_errors=True)
        # answer.csv is made of the committed tables, as they were before.
        left_out = shutil.ignore_patterns("answer.csv", *(() if str(folder) == REFERENCE else BULKY))
        shutil.copytree(RESULTS, folder, ignore=left_out)
        said = provenance.provenance(COHORT, commit) | {"cohort": COHORT["title"], "cellularity": CELLULARITY}
        Path(output.provenance).write_text(json.dumps(said, indent=1) + "\n")
        left = [(name, path) for name, page in PAGES.items() for paths in page.leaves.values() for path in flat(paths)]
        made_by = {Path(path).name: name for name, path in left}
        (folder / provenance.CRATE).write_text(json.dumps(provenance.crate(folder, said, made_by), indent=1) + "\n")
        shell("{PYTHON} scripts/answer.py")
