"""From raw files to the book: an index of what each notebook reads and leaves, and the only place that spells paths.

A notebook's parameters are its rule's named inputs and outputs (as paths relative to notebooks/) and values of the
cohort's config of the same name. PAGES lists all of them but the first, which tells what sections there are. What a rule
needs besides paths is in helpers.workflow.
"""

import hashlib
import json
import os
import shlex
import shutil
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import yaml

from helpers import workflow as book
from helpers.cohort import config as configs
from helpers.models.backbones import BACKBONES
from helpers.targets.normalization import TARGETS
from helpers.workflow import Page

if not config:
    raise WorkflowError("no cohort: give one, snakemake --configfile config/toy.yaml, or use make book COHORT=toy")
SCHEMA = yaml.safe_load(Path("config/schema.yaml").read_text())
try:
    # A job reads this file again; the config that it gets has been checked.
    known = {"target": list(TARGETS), "backbone": list(BACKBONES)} if workflow.is_main_process else None
    for path in workflow.configfiles if workflow.is_main_process else ():
        configs.content(path)  # Snakemake takes the last of two keys of one name
    COHORT = configs.complete(config, SCHEMA, ", ".join(map(str, workflow.configfiles)), known, workflow.is_main_process)
except ValueError as error:
    raise WorkflowError(str(error)) from None

BUILD = f"build/{COHORT['cohort']}"
RESULTS = f"{BUILD}/results"
REFERENCE = "data/results/her2st"  # of the committed run
ROOT = configs.root(COHORT)
RAW = ROOT if os.path.isabs(ROOT) else f"../{ROOT}"  # as a notebook sees it
SIMULATED = "simulation" in COHORT
DOWNLOADED = "manifest" in COHORT and ROOT == COHORT["root"]
CELLULARITY = "haematoxylin" if COHORT["nuclei"]["back_end"] == "haematoxylin" else "n_nuclei"
SPLIT, EXAMPLE = COHORT["splits"][0], COHORT["example"]

# Backbones that cost seconds are fitted together, with the floors; one that is costly is a fit, hence a job, per target.
QUICK = ["ridge", *(b for b in COHORT["backbones"] if not BACKBONES[b].costly and b != "ridge"), "nuclei", "depth"]
COSTLY = [f"{b}.{target}" for b in COHORT["backbones"] if BACKBONES[b].costly for target in COHORT["stem_targets"]]
FITS = ["linear", *COSTLY]
# An arm is stem with one thing changed: fits beside the others, of some sections, for one table of their own.
ARMS = [f"{fit}.{arm}" for fit in COSTLY if fit.startswith("stem.") for arm in COHORT["stem_arms"]]
STUDIED = COHORT["stem_studied"]
EXAMPLE_FIT = FITS[min(1, len(FITS) - 1)]
# What comes before a fit: no edit of how it looks runs it again.
FEED_FITS = ("01_data", "02_segmentation", "06_patches", "07_normalization", "09_stem_training")
# Published encoders take the GPU, or all cores: one section at a time.
PUBLISHED = not set(COHORT["encoder"].split("+")) <= {"morphology", "table"}

# What notebooks are given besides paths: the config, and what follows from it.
VALUES = COHORT | {
    "cohort": COHORT["title"] + ", cellularity by the mean haematoxylin of a disc" * (CELLULARITY == "haematoxylin"),
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
    "raw": configs.readers(COHORT) | {"root": RAW},
    "manifest": f"../{COHORT['manifest']}" if DOWNLOADED else None,
    "backbone": "ridge" if EXAMPLE_FIT == "linear" else EXAMPLE_FIT.split(".")[0],
    "space": "log2" if EXAMPLE_FIT == "linear" else EXAMPLE_FIT.split(".")[1],
    **COHORT["ladder"],
}

JUPYTER_BOOK = shlex.quote(str(Path(sys.executable).with_name("jupyter-book")))
RUN = f"{shlex.quote(sys.executable)} -m helpers.workflow run {{params.page}} {{output.page}} {BUILD} {{threads}} {{params.given:q}}"


def code_of(page):
    return lambda wildcards: book.code(page, looks=page not in FEED_FITS)


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
    fit="linear|[a-z0-9_]+[.][a-z0-9_]+([.][a-z0-9_]+)?",
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


def tables(**names):
    return {key: f"{RESULTS}/{name}" for key, name in names.items()}


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


# --- the notebooks in the order of the book: what each reads and leaves besides its page ---

PREDICTIONS = f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"
EVERY_FIT = images(PREDICTIONS, split=COHORT["splits"], fit=FITS)
TARGETS_FOLDER = {"targets_folder": f"{BUILD}/targets"}
PANEL = tables(panel_table="panel.csv")
CONTROLS = tables(controls_table="controls.csv")
CEILINGS = {"ceilings": f"{BUILD}/ceilings.csv.gz"}
COUNTS = {"section_files": images(f"{BUILD}/sections/{{section}}.h5ad")}
ASSOCIATIONS = tables(associations="associations.csv.gz")
CHANCES = tables(chances="coupling_chance.csv")
PREDICTABILITY = tables(predictability="predictability.csv.gz")
FRACTIONS = tables(fractions="fraction_of_ridge.csv")
PAPER = {"paper": "data/paper.csv"}

PAGES = {
    "02_segmentation": Page(
        {"section": f"{BUILD}/sections/{{section}}.h5ad", "tracked": lambda wildcards: list(nuclei_files(wildcards).values())},
        {
            "segmented": f"{BUILD}/segmented/{{section}}.h5ad",
            "nuclei_table": f"{BUILD}/nuclei/{{section}}.parquet",
            "nuclei_geojson": f"{BUILD}/nuclei/{{section}}.geojson",
            "overview": f"{BUILD}/overview/{{section}}.jpg",
        },
        run="{section}",
        own={"nuclei": lambda wildcards: COHORT["nuclei"] | seen(nuclei_files(wildcards))},
        mem_mb=4000,
        gpu=int(COHORT["nuclei"]["back_end"] == "hovernet"),
    ),
    "03_segmentation_check": Page(
        {
            "segmented": images(f"{BUILD}/segmented/{{section}}.h5ad"),
            "overviews": images(f"{BUILD}/overview/{{section}}.jpg"),
        },
        tables(nuclei_table="nuclei.csv", stain_table="stain_by_pixel.csv"),
    ),
    "04_counting_accuracy": Page(
        {
            "segmented": images(f"{BUILD}/segmented/{{section}}.h5ad"),
            "committed": "data/results/nuclei_validation/tiles.csv",
        },
        tables(accuracy_table="counting_accuracy.csv"),
    ),
    "05_nuclei_readings": Page(
        {"segmented": f"{BUILD}/segmented/{{section}}.h5ad", "nuclei_table": f"{BUILD}/nuclei/{{section}}.parquet"},
        {"readings": f"{BUILD}/readings/{{section}}.parquet"},
        run="{section}",
        own={"nuclei": lambda wildcards: COHORT["nuclei"] | seen(nuclei_files(wildcards))},
        mem_mb=4000,
    ),
    "06_patches": Page(
        {
            "segmented": f"{BUILD}/segmented/{{section}}.h5ad",
            "tracked": lambda wildcards: [*COHORT["encoding"]["weights"].values(), *encoding_table(wildcards)],
        },
        {"encoded": f"{BUILD}/encoded/{{section}}.h5ad"},
        run="{section}",
        own={
            "augmented": COHORT["encoding"]["augmented"],
            "weights": seen(COHORT["encoding"]["weights"]),
            "table": lambda wildcards: next(map(book.from_notebooks, encoding_table(wildcards)), None),
            "cache": book.from_notebooks(COHORT["encoding"]["cache"]),
        },
        threads=(workflow.cores or 1) if PUBLISHED else 1,
        mem_mb=4000,
        runtime=240,
        gpu=int(PUBLISHED),
    ),
    "07_normalization": Page(
        {"section_files": sections_as("encoded")},
        PANEL | tables(moments="mean_variance.csv.gz") | {"targets_folder": directory(f"{BUILD}/targets")},
    ),
    "08_dependence": Page(
        TARGETS_FOLDER
        | PANEL
        | {"section_files": sections_as("segmented"), "section_table": f"{BUILD}/sections.csv"},
        ASSOCIATIONS | CHANCES | CEILINGS | tables(sections="sections.csv", spots="spots.csv.gz"),
    ),
    "09_stem_training": Page(
        TARGETS_FOLDER | PANEL,
        {"predictions": directory(PREDICTIONS), "losses": f"{BUILD}/losses/{{split}}.{{section}}.{{fit}}.csv"},
        run="{split}.{section}.{fit}",
        own={
            "held_out": lambda wildcards: wildcards.section,
            "split": lambda wildcards: wildcards.split,
            "profile": lambda wildcards: "none" if wildcards.fit == "linear" else COHORT["profile"],
            "backbones": lambda wildcards: QUICK if wildcards.fit == "linear" else wildcards.fit.split(".")[:1],
            "targets": lambda wildcards: COHORT["targets"] if wildcards.fit == "linear" else [wildcards.fit.split(".")[1]],
            "arm": lambda wildcards: (wildcards.fit.split(".") + [None, None])[2],
            "keep_samples": lambda wildcards: wildcards.section in STUDIED and wildcards.fit.count(".") == 1,
            # No output: a fit that was killed goes on from there. The notebook removes it in the end.
            "checkpoints": lambda wildcards: f"../{BUILD}/checkpoints/{COHORT['profile']}/{'.'.join(wildcards)}",
        },
        # A core for each process of a fit, so that as many fits run side by side as there are devices for.
        threads=lambda wildcards: 1 if wildcards.fit == "linear" else COHORT["n_devices"],
        mem_mb=4000,
        runtime=lambda wildcards: 60 if wildcards.fit == "linear" else 1440,
        gpu=lambda wildcards: COHORT["n_devices"] * int(COHORT["profile"] == "paper" and wildcards.fit != "linear"),
    ),
    "10_controls": Page(
        PANEL | {"section_files": images(f"{BUILD}/encoded/{{section}}.h5ad"), "predictions": EVERY_FIT},
        CONTROLS | tables(refitted_table="controls_refitted.csv", coupling_table="controls_coupling.csv"),
    ),
    "11_training_check": Page(
        CEILINGS
        | CONTROLS
        | {
            "inner_table": "data/results/stem_recipe/inner_splits.csv",
            "predictions": EVERY_FIT,
            "losses": images(f"{BUILD}/losses/{{split}}.{{section}}.{{fit}}.csv", split=COHORT["splits"], fit=FITS),
            "arm_predictions": expand(PREDICTIONS, section=STUDIED, split=COHORT["splits"], fit=ARMS),
        },
        PREDICTABILITY | FRACTIONS | tables(arms="arms.csv"),
    ),
    "12_sampling": Page(
        TARGETS_FOLDER
        | {"predictions": [PREDICTIONS.format(split=SPLIT, section=EXAMPLE, fit=f) for f in COSTLY if f[:5] == "stem."]},
        tables(ladder="ladder.csv"),
    ),
    "13_calibration": Page({"predictions": EVERY_FIT}, tables(gene_table="calibration.csv.gz", histograms="pit.csv")),
    "14_nuclei_and_depth": Page(tables(spots="spots.csv.gz", sections="sections.csv"), {}),
    "15_median_coupling": Page(ASSOCIATIONS | CHANCES, {}),
    "16_share_coupled": Page(ASSOCIATIONS | CHANCES, {}),
    "17_predictability": Page(PREDICTABILITY | ASSOCIATIONS | FRACTIONS | CONTROLS, {}),
    "18_top_gene_coupling": Page(PREDICTABILITY | ASSOCIATIONS | FRACTIONS, tables(top_genes="top_genes.csv")),
    "19_predictability_and_coupling": Page(
        TARGETS_FOLDER | PREDICTABILITY | ASSOCIATIONS | FRACTIONS | CONTROLS | tables(moments="mean_variance.csv.gz"),
        tables(couplings="couplings.csv"),
    ),
    "20_figure1": Page(
        PREDICTABILITY
        | ASSOCIATIONS
        | CHANCES
        | FRACTIONS
        | CONTROLS
        | tables(spots="spots.csv.gz", couplings="couplings.csv"),
        {"figure": [f"{RESULTS}/figure1.{kind}" for kind in ("png", "svg")]},
    ),
    "21_tables": Page(
        PREDICTABILITY | ASSOCIATIONS | CHANCES | PAPER | tables(sections="sections.csv"),
        tables(table1="table1.csv", table2="table2.csv", drop_one="drop_one.csv"),
    ),
    "22_counting_and_conclusions": Page(
        TARGETS_FOLDER | PANEL | PREDICTABILITY | {"readings": images(f"{BUILD}/readings/{{section}}.parquet")},
        tables(readings_table="readings.csv", delta_table="readings_delta.csv"),
        mem_mb=4000,
    ),
    "23_specifications": Page(
        PANEL
        | PAPER
        | tables(table1="table1.csv", table2="table2.csv")
        | {
            "section_files": lambda wildcards: expand(f"{BUILD}/sections/{{section}}.h5ad", section=sections()),
            "readings": images(f"{BUILD}/readings/{{section}}.parquet"),
            "predictions": EVERY_FIT,
        },
        tables(curve="specifications.csv.gz"),
    ),
    "24_ledger": Page(
        ASSOCIATIONS
        | CHANCES
        | PREDICTABILITY
        | FRACTIONS
        | PAPER
        | tables(table1="table1.csv", table2="table2.csv", sections="sections.csv", curve="specifications.csv.gz")
        | tables(top_genes="top_genes.csv", couplings="couplings.csv")
        | {"tracked": [str(path) for path in sorted(Path(REFERENCE).glob("*.csv*"))]},
        tables(ledger="ledger.csv", verdicts="verdicts.csv"),
    ),
    "25_factorial": Page(PANEL | CONTROLS | {"section_files": sections_as("encoded")}, tables(factorial="factorial.csv")),
    "26_floors": Page(
        TARGETS_FOLDER | PANEL | PREDICTABILITY | CONTROLS,
        tables(floors_table="floors.csv", excess_table="floors_excess.csv", ablation_table="ablation.csv"),
    ),
    "27_partial": Page(
        {"section_files": images(f"{BUILD}/segmented/{{section}}.h5ad")} | CONTROLS | {"predictions": EVERY_FIT},
        tables(
            gene_table="partial_genes.csv.gz", partial_table="partial.csv", depth_only_table="partial_depth_only.csv"
        ),
    ),
    "28_cross_space": Page(
        COUNTS | CEILINGS | CONTROLS | {"predictions": EVERY_FIT},
        tables(cross_space="cross_space.csv", truth_table="cross_space_truth.csv", skills_table="skills.csv"),
    ),
    "29_anatomy": Page(
        CEILINGS
        | {"section_files": images(f"{BUILD}/segmented/{{section}}.h5ad"), "predictions": EVERY_FIT},
        tables(anatomy_table="anatomy.csv", gap_table="anatomy_gap.csv"),
    ),
    "30_inference": Page(
        TARGETS_FOLDER
        | PANEL
        | ASSOCIATIONS
        | PREDICTABILITY
        | PAPER
        | tables(sections="sections.csv")
        | {"predictions": images(PREDICTIONS, split=SPLIT, fit=FITS)},
        tables(
            gene_table="inference_genes.csv.gz",
            score_table="inference_scores.csv",
            test_table="inference.csv",
            error_table="type_one_error.csv",
            power_table="power.csv",
        ),
        mem_mb=4000,
    ),
    "31_patients": Page(
        TARGETS_FOLDER | PANEL | CONTROLS,
        tables(patients_table="patients.csv", one_table="patients_one_section.csv"),
    ),
    "32_frontier": Page(
        PANEL
        | tables(factorial="factorial.csv")
        | {"section_files": sections_as("encoded"), "published": "data/peers.csv"},
        tables(frontier="frontier.csv", peers="peers.csv"),
    ),
    "33_genes": Page(
        COUNTS | PREDICTABILITY | CONTROLS | {"predictions": EVERY_FIT},
        tables(gene_table="genes.csv"),
    ),
    "34_known_truth": Page(
        PANEL | {"section_files": sections_as("segmented")},
        tables(
            known_truth="known_truth.csv",
            ranks_table="known_truth_ranks.csv",
            ceiling_table="known_truth_ceilings.csv",
        ),
    ),
    "35_audit": Page(
        {
            "sections": images(f"{BUILD}/encoded/{{section}}.h5ad"),
            "predictions": images(PREDICTIONS, split=SPLIT, fit=EXAMPLE_FIT),
        },
        tables(report_card="audit.html") | {"numbers": f"{BUILD}/audit.json"},
        mem_mb=4000,
    ),
}


if CELLULARITY != "n_nuclei":
    del PAGES["04_counting_accuracy"]  # nothing is counted


def everything(wildcards):
    """All that pages leave: a table or a prediction that was removed is made again, also where a page stands on it."""
    left = [str(path) for page in PAGES.values() for paths in page.leaves.values() for path in flat(paths)]
    of_fits = EVERY_FIT(wildcards)
    of_sections = [path for path in left if "{fit}" not in path]
    return of_fits + [path for pattern in of_sections for path in expand(pattern, section=sections(only_images=True))]


def flat(paths):
    return paths if isinstance(paths, list) else [paths]


rule book:
    input:
        f"{BUILD}/html/index.html",
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
        resources:
            mem_mb=page.mem_mb,
            runtime=page.runtime,
            gpu=page.gpu,
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
        mem_mb=4000,
        runtime=60,
    shell:
        RUN


# --- the book, and the committed tables of a reference run ---


rule html:
    input:
        once=expand(f"{BUILD}/pages/{{page}}.ipynb", page=["01_data", *(name for name in PAGES if not PAGES[name].run)]),
        by_section=expand(
            f"{BUILD}/runs/{{page}}/{EXAMPLE}.ipynb", page=["02_segmentation", "05_nuclei_readings", "06_patches"]
        ),
        training=f"{BUILD}/runs/09_stem_training/{SPLIT}.{EXAMPLE}.{EXAMPLE_FIT}.ipynb",
        words=[str(path) for path in sorted(Path("book").rglob("*")) if path.is_file()],
        notebooks=[str(path) for path in sorted(Path("notebooks").glob("*.ipynb"))],
        look="_config.yml",
        reference=[f"{REFERENCE}/{name}" for name in ("table1.csv", "figure1.svg")],
    output:
        index=f"{BUILD}/html/index.html",
    log:
        f"{BUILD}/logs/html.log",
    benchmark:
        f"{BUILD}/benchmarks/html.tsv"
    resources:
        mem_mb=3000,
        runtime=30,
    run:
        from helpers.chapters import answer  # as late as it is needed: it takes seconds

        pages = [Path(path) for path in [*input.once, *input.by_section, input.training]]
        staged, built = f"{BUILD}/book", f"{BUILD}/book_build"
        shown = {key: COHORT[key] for key in ("cohort", "title")} | {"cellularity": CELLULARITY}
        book.stage(pages, Path("book"), Path(input.look), Path(RESULTS), Path(staged), shown)
        intro = Path(staged, "intro.md")
        intro.write_text(answer.of_book(intro.read_text(), Path(REFERENCE)))
        shutil.copy(f"{REFERENCE}/figure1.svg", f"{staged}/_static/reference_figure1.svg")
        shell(
            f"rm -rf {built} {BUILD}/html && {JUPYTER_BOOK} build {staged} "
            f"--config {staged}/_config.yml --path-output {built} -W --quiet 2> >(tee {log} >&2) "
            f"&& mv {built}/_build/html {BUILD}/html && rm -rf {built}"
        )


# Not of the book, which itself shows the tables of the reference run.
rule reference:
    input:
        everything,
    output:
        provenance=f"data/results/{COHORT['cohort']}/provenance.json",
    run:
        folder = Path(output.provenance).parent
        # The tables themselves are about to change, and the old provenance is gone already.
        changed = list(shell("git status --porcelain --untracked-files=no -- ':!data/results'", iterable=True))
        commit = next(shell("git rev-parse HEAD", iterable=True)) + "-dirty" * bool(changed)
        shell(f"rm -rf {folder} && mkdir -p {folder} && cp {RESULTS}/* {folder}")
        packages = ["anndata", "numpy", "pandas", "scanpy", "scikit-image", "scikit-learn", "scipy", "tiatoolbox", "torch"]
        provenance = {
            "cohort": COHORT["title"] + ", cellularity by the mean haematoxylin of a disc" * (CELLULARITY == "haematoxylin"),
    "cellularity": CELLULARITY,
            "differs": COHORT["differs"],
            "commit": commit,
            "config_sha256": hashlib.sha256(json.dumps(COHORT, sort_keys=True).encode()).hexdigest(),
            "date": date.today().isoformat(),
            "python": sys.version.split()[0],
            "versions": {package: version(package) for package in packages},
        }
        Path(output.provenance).write_text(json.dumps(provenance, indent=1) + "\n")
        if str(folder) == REFERENCE:
            from helpers.chapters import answer

            answer.write(Path("README.md"), folder)
