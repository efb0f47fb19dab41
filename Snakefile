"""From raw files to the book: one rule per notebook, and the only place where paths are spelled.

A notebook's parameters are its rule's named inputs and outputs (as paths relative to notebooks/) and the values of the
config that it needs. Each rule runs papermill; pages/ holds the executed notebooks that the book shows, runs/ the
same notebook for every other section.
"""

import ast
import functools
import hashlib
import json
import os
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nbformat
import pandas as pd
import yaml

from helpers import cohorts

if not config:
    raise WorkflowError("no cohort: give one, snakemake --configfile config/toy.yaml, or use make book COHORT=toy")
FILES = ", ".join(map(str, workflow.configfiles))
try:
    cohorts.check(config, yaml.safe_load(Path("config/schema.yaml").read_text()), FILES)
except ValueError as error:
    raise WorkflowError(str(error)) from None

BUILD = f"build/{config['cohort']}"
ROOT = cohorts.root(config)
# Annotated tiles, where a user has them: their licence keeps them out of the project.
MONUSEG = os.path.abspath(os.environ["MONUSEG_ROOT"]) if os.environ.get("MONUSEG_ROOT") else None
# Ridge and the floors cost seconds and go together; stem is a fit, hence a job, per target.
FITS = ["linear"] + [f"stem.{target}" for target in config["stem_targets"] if "stem" in config["backbones"]]
EXAMPLE_FIT = FITS[min(1, len(FITS) - 1)]
# An arm is stem trained on the target prepared in another way: fits beside the others, for one table of their own.
ARMS = [f"{fit}.{arm}" for fit in FITS[1:] for arm in config["stem_arms"]]
RESULTS = f"{BUILD}/results"
FIGURE = [f"{RESULTS}/figure1.{kind}" for kind in ("png", "svg")]
ENCODING = {"weights": {}, "augmented": False, "cache": "build/cache"} | config.get("encoding", {})
if (config["encoder"] == "table") != ("table" in ENCODING) or ("table" in ENCODING and ENCODING["augmented"]):
    raise WorkflowError(f"{FILES}: encoder table goes with encoding: {{table: <path with {{section}} in it>}}, nothing else")
# Published networks take the GPU, or all cores: one section at a time.
PUBLISHED = not set(config["encoder"].split("+")) <= {"morphology", "table"}

# Progress bars of a notebook go to the terminal, through descriptor 3 (a pipe: papermill would empty a log file);
# a kernel's remarks on itself go nowhere.
PAPERMILL = (
    "export JUPYTER_PREFER_ENV_PATH=1 OMP_NUM_THREADS={threads}; exec 3> >(cat >&2); "
    f"{sys.executable} -m papermill {{input.notebook}} {{output.page}} --cwd notebooks --kernel python3 "
    "--no-progress-bar --log-level WARNING --stderr-file /dev/fd/3 -y {params.values:q} 2> >(grep -v IPKernelApp >&2)"
)


wildcard_constraints:
    section="[^/]+",
    fit="linear|stem[.][a-z0-9_]+([.][a-z_]+)?",
    split="section|patient",


# --- what a notebook depends on, and what it is told ---


@functools.cache
def source(name):
    cells = nbformat.read(f"notebooks/{name}.ipynb", as_version=4).cells
    return [(cell.source, cell.metadata.get("tags", [])) for cell in cells if cell.cell_type == "code"]


def imported(code):
    """Names of the helpers that some Python code imports."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    names = {alias.name for node in nodes if node.module == "helpers" for alias in node.names}
    return names | {node.module.removeprefix("helpers.") for node in nodes if (node.module or "").startswith("helpers.")}


def code(name):
    """The notebook's helpers, and the helpers these import: an edit re-runs what depends on it and nothing else.

    One exception: training and what feeds it do not run again for the look of their figures, as a new colour would
    then cost every fit.
    """
    found, ahead = set(), set().union(*(imported(cell) for cell, _ in source(name)))
    while ahead:
        found |= ahead
        ahead = {m for n in ahead for m in imported(Path(f"src/helpers/{n}.py").read_text())} - found
    files = [f"src/helpers/{module}.py" for module in sorted(found)]
    feeds_training = name in {"01_data", "02_segmentation", "06_patches", "07_normalization", "09_stem_training"}
    return [ancient(path) if feeds_training and path.endswith("panels.py") else path for path in files]


@functools.cache
def declared(name):
    cells = [cell for cell, tags in source(name) if "parameters" in tags]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Assign)]
    return {target.id for node in nodes for target in node.targets}


def values(name, input, output, **config_values):
    """The parameters of a run as YAML. Papermill only warns about an undeclared one, so it is refused here."""

    def here(paths):
        return f"../{paths}" if isinstance(paths, str) else [f"../{path}" for path in paths]

    skip = {"notebook", "code", "page", "tracked"}
    paths = {key: here(path) for key, path in [*input.items(), *output.items()] if key not in skip}
    given = {"cohort": config["title"]} | paths | config_values
    if unknown := set(given) - declared(name):
        raise WorkflowError(f"notebooks/{name}.ipynb declares no parameter {', '.join(sorted(unknown))}")
    if unset := declared(name) - set(given):
        raise WorkflowError(f"the rule of notebooks/{name}.ipynb does not set {', '.join(sorted(unset))}")
    return json.dumps(given)


def nuclei_files(wildcards):
    """The files that the config names for the back end of a section's nuclei."""
    named = [key for key in ("weights", "table") if key in config["nuclei"]]
    return {key: config["nuclei"][key].format(section=wildcards.section) for key in named}


# --- sections that the cohort turns out to have ---


def sections(only_images=False):
    table = pd.read_csv(checkpoints.data.get().output.section_table, keep_default_na=False)
    chosen = table[table["kept"] & ((table["image"] != "") | (not only_images))]
    return list(chosen["section"])


def images(pattern, **more):
    return lambda wildcards: expand(pattern, section=sections(only_images=True), **more)


def table(wildcards):
    """The section's table of features, where the config names one."""
    return [ENCODING["table"].format(section=wildcards.section)] if "table" in ENCODING else []


def fits(pattern):
    return images(pattern, split=config["splits"], fit=FITS)


def sections_as(stage):
    """Every kept section: with an image as it left `stage`, without one as it was read."""

    def paths(wildcards):
        with_image = set(sections(only_images=True))
        return [f"{BUILD}/{stage if s in with_image else 'sections'}/{s}.h5ad" for s in sections()]

    return paths


# --- the book ---


PANELS = {  # notebook: the tables it reads, besides cohort; what it leaves
    "14_nuclei_and_depth": ({"spots": "spots.csv.gz", "sections": "sections.csv"}, {}),
    "15_median_coupling": ({"associations": "associations.csv.gz"}, {}),
    "16_share_coupled": ({"associations": "associations.csv.gz"}, {}),
    "17_predictability": (
        {
            "predictability": "predictability.csv.gz",
            "associations": "associations.csv.gz",
            "fractions": "fraction_of_ridge.csv",
            "controls_table": "controls.csv",
        },
        {},
    ),
    "18_top_gene_coupling": (
        {
            "predictability": "predictability.csv.gz",
            "associations": "associations.csv.gz",
            "fractions": "fraction_of_ridge.csv",
        },
        {"top_genes": "top_genes.csv"},
    ),
    "19_predictability_and_coupling": (
        {
            "predictability": "predictability.csv.gz",
            "associations": "associations.csv.gz",
            "moments": "mean_variance.csv.gz",
            "fractions": "fraction_of_ridge.csv",
            "controls_table": "controls.csv",
        },
        {"couplings": "couplings.csv"},
    ),
}
BY_SPLIT = [panel for panel, (takes, _) in PANELS.items() if "predictability" in takes]
PAGES = [
    "01_data", "02_segmentation", "03_segmentation_check", "04_counting_accuracy", "06_patches", "05_nuclei_readings", "07_normalization", "08_dependence", "09_stem_training", "11_training_check",
    "12_sampling", "13_calibration", *PANELS, "20_figure1", "21_tables", "22_counting_and_conclusions", "24_ledger",
    "25_factorial", "26_floors", "27_partial", "10_controls", "29_inference", "30_patients", "28_cross_space", "31_frontier",
    "23_specifications", "32_genes", "audit",
]  # fmt: skip


rule book:
    input:
        f"{BUILD}/html/index.html",


rule html:
    input:
        pages=expand(f"{BUILD}/pages/{{page}}.ipynb", page=PAGES),
        words=[str(path) for path in sorted(Path("book").rglob("*")) if path.is_file()],
        look="_config.yml",
    output:
        index=f"{BUILD}/html/index.html",
    params:
        title=config["title"],
        book=f"{BUILD}/book",
        built=f"{BUILD}/book_build",
        html=f"{BUILD}/html",
        results=RESULTS,
    shell:
        """
        rm -rf {params.book} {params.built} {params.html}
        cp -r book {params.book}
        cp {input.pages} {params.book}
        cp -r {params.results} {params.book}/results
        TITLE={params.title:q} %s -c 'import os, sys; print(sys.stdin.read().replace("COHORT_TITLE", os.environ["TITLE"]))' \
            < {input.look} > {params.book}/_config.yml
        %s/jupyter-book build {params.book} --config {params.book}/_config.yml --path-output {params.built} -W --quiet
        mv {params.built}/_build/html {params.html}
        rm -rf {params.built}
        """ % (sys.executable, Path(sys.executable).parent)


# --- raw files -> targets ---


def raw_files():
    """Every file below a root that is read and not written here: a corrected or added one re-runs what follows."""
    downloaded = "manifest" in config and ROOT == config["root"]
    written = "simulation" in config or downloaded
    return [] if written else [str(path) for path in sorted(Path(ROOT).rglob("*")) if path.is_file()]


checkpoint data:
    input:
        notebook="notebooks/01_data.ipynb",
        code=code("01_data"),
        tracked=raw_files(),
    output:
        page=f"{BUILD}/pages/01_data.ipynb",
        section_table=f"{BUILD}/sections.csv",
        section_files=expand(f"{BUILD}/sections/{{section}}.h5ad", section=config["sections"]),
    params:
        values=lambda wildcards, input, output: values(
            "01_data", input, output,
            raw=cohorts.readers(config) | {"root": f"../{ROOT}" if not os.path.isabs(ROOT) else ROOT},
            manifest=f"../{config['manifest']}" if "manifest" in config and ROOT == config["root"] else None,
            simulation=config.get("simulation"), qc=config["qc"],
        ),  # fmt: skip
    shell:
        PAPERMILL


rule segmentation:
    input:
        notebook="notebooks/02_segmentation.ipynb",
        code=code("02_segmentation"),
        section=f"{BUILD}/sections/{{section}}.h5ad",
        tracked=lambda wildcards: list(nuclei_files(wildcards).values()),
    output:
        page=f"{BUILD}/runs/02_segmentation/{{section}}.ipynb",
        segmented=f"{BUILD}/segmented/{{section}}.h5ad",
        nuclei_table=f"{BUILD}/nuclei/{{section}}.parquet",
        nuclei_geojson=f"{BUILD}/nuclei/{{section}}.geojson",
        overview=f"{BUILD}/overview/{{section}}.jpg",
    params:
        values=lambda wildcards, input, output: values(
            "02_segmentation", input, output, scales_um=config["scales_um"],
            nuclei=config["nuclei"] | {key: os.path.join("..", path) for key, path in nuclei_files(wildcards).items()},
        ),  # fmt: skip
    resources:
        gpu=int(config["nuclei"]["back_end"] == "hovernet"),
    shell:
        PAPERMILL


rule nuclei_readings:
    input:
        notebook="notebooks/05_nuclei_readings.ipynb",
        code=code("05_nuclei_readings"),
        segmented=f"{BUILD}/segmented/{{section}}.h5ad",
        nuclei_table=f"{BUILD}/nuclei/{{section}}.parquet",
    output:
        page=f"{BUILD}/runs/05_nuclei_readings/{{section}}.ipynb",
        readings=f"{BUILD}/readings/{{section}}.parquet",
    params:
        values=lambda wildcards, input, output: values(
            "05_nuclei_readings", input, output,
            nuclei=config["nuclei"] | {key: os.path.join("..", path) for key, path in nuclei_files(wildcards).items()},
        ),  # fmt: skip
    shell:
        PAPERMILL


rule patches:
    input:
        notebook="notebooks/06_patches.ipynb",
        code=code("06_patches"),
        segmented=f"{BUILD}/segmented/{{section}}.h5ad",
        tracked=lambda wildcards: [*ENCODING["weights"].values(), *table(wildcards)],
    output:
        page=f"{BUILD}/runs/06_patches/{{section}}.ipynb",
        encoded=f"{BUILD}/encoded/{{section}}.h5ad",
    params:
        values=lambda wildcards, input, output: values(
            "06_patches", input, output,
            encoder=config["encoder"], scales_um=config["scales_um"], augmented=ENCODING["augmented"],
            weights={name: os.path.join("..", path) for name, path in ENCODING["weights"].items()},
            table=next((os.path.join("..", path) for path in table(wildcards)), None),
            cache=os.path.join("..", ENCODING["cache"]),
        ),  # fmt: skip
    threads: (workflow.cores or 1) if PUBLISHED else 1
    resources:
        gpu=int(PUBLISHED),
    shell:
        PAPERMILL


rule segmentation_check:
    input:
        notebook="notebooks/03_segmentation_check.ipynb",
        code=code("03_segmentation_check"),
        segmented=images(f"{BUILD}/segmented/{{section}}.h5ad"),
        overviews=images(f"{BUILD}/overview/{{section}}.jpg"),
    output:
        page=f"{BUILD}/pages/03_segmentation_check.ipynb",
        nuclei_table=f"{RESULTS}/nuclei.csv",
    params:
        values=lambda wildcards, input, output: values(
            "03_segmentation_check", input, output, truth=f"../{ROOT}/truth" if "simulation" in config else None
        ),
    shell:
        PAPERMILL


rule counting_accuracy:
    input:
        notebook="notebooks/04_counting_accuracy.ipynb",
        code=code("04_counting_accuracy"),
        segmented=images(f"{BUILD}/segmented/{{section}}.h5ad"),
        committed="data/results/nuclei_validation/tiles.csv",
    output:
        page=f"{BUILD}/pages/04_counting_accuracy.ipynb",
        accuracy_table=f"{RESULTS}/counting_accuracy.csv",
    params:
        values=lambda wildcards, input, output: values("04_counting_accuracy", input, output, monuseg=MONUSEG),
    shell:
        PAPERMILL


rule normalization:
    input:
        notebook="notebooks/07_normalization.ipynb",
        code=code("07_normalization"),
        section_files=sections_as("encoded"),
    output:
        page=f"{BUILD}/pages/07_normalization.ipynb",
        targets_folder=directory(f"{BUILD}/targets"),
        panel_table=f"{RESULTS}/panel.csv",
        moments=f"{RESULTS}/mean_variance.csv.gz",
    params:
        values=lambda wildcards, input, output: values(
            "07_normalization", input, output, targets=config["targets"], example=config["example"],
            panel_size=config["panel"]["size"], panel_choose=config["panel"]["choose"],
        ),  # fmt: skip
    shell:
        PAPERMILL


rule dependence:
    input:
        notebook="notebooks/08_dependence.ipynb",
        code=code("08_dependence"),
        section_files=sections_as("segmented"),
        section_table=f"{BUILD}/sections.csv",
        targets_folder=f"{BUILD}/targets",
        panel_table=f"{RESULTS}/panel.csv",
    output:
        page=f"{BUILD}/pages/08_dependence.ipynb",
        sections=f"{RESULTS}/sections.csv",
        spots=f"{RESULTS}/spots.csv.gz",
        associations=f"{RESULTS}/associations.csv.gz",
        ceilings=f"{BUILD}/ceilings.csv.gz",
    params:
        values=lambda wildcards, input, output: values(
            "08_dependence", input, output, targets=config["targets"],
            n_random_maps=config["n_random_maps"], n_ceiling_splits=config["n_ceiling_splits"],
        ),  # fmt: skip
    shell:
        PAPERMILL


# --- targets -> predictions -> scores ---


rule training:
    input:
        notebook="notebooks/09_stem_training.ipynb",
        code=code("09_stem_training"),
        targets_folder=f"{BUILD}/targets",
        panel_table=f"{RESULTS}/panel.csv",
    output:
        page=f"{BUILD}/runs/09_stem_training/{{split}}.{{section}}.{{fit}}.ipynb",
        predictions=directory(f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"),
        losses=f"{BUILD}/losses/{{split}}.{{section}}.{{fit}}.csv",
    params:
        values=lambda wildcards, input, output: values(
            "09_stem_training", input, output,
            held_out=wildcards.section, split=wildcards.split, seeds=config["seeds"],
            profile="none" if wildcards.fit == "linear" else config["profile"],
            backbones=["ridge", "nuclei", "depth"] if wildcards.fit == "linear" else ["stem"],
            targets=config["targets"] if wildcards.fit == "linear" else [wildcards.fit.split(".")[1]],
            arm=(wildcards.fit.split(".") + [None, None])[2],
            hyperparameters=config.get("hyperparameters", {}), n_devices=config.get("n_devices", 1),
            # No output: a fit that was killed goes on from there. The notebook removes it in the end.
            checkpoints=f"../{BUILD}/checkpoints/{config['profile']}/{wildcards.split}.{wildcards.section}.{wildcards.fit}",
        ),  # fmt: skip
    # A core for each process of a fit, so that as many fits run side by side as there are devices for.
    threads: lambda wildcards: 1 if wildcards.fit == "linear" else config.get("n_devices", 1)
    resources:
        gpu=lambda wildcards: config.get("n_devices", 1) * int(config["profile"] == "paper" and wildcards.fit != "linear"),
    shell:
        PAPERMILL


rule training_check:
    input:
        notebook="notebooks/11_training_check.ipynb",
        code=code("11_training_check"),
        predictions=fits(f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"),
        losses=fits(f"{BUILD}/losses/{{split}}.{{section}}.{{fit}}.csv"),
        arm_predictions=images(
            f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}", split=config["splits"], fit=ARMS
        ),
        ceilings=f"{BUILD}/ceilings.csv.gz",
        controls_table=f"{RESULTS}/controls.csv",
    output:
        page=f"{BUILD}/pages/11_training_check.ipynb",
        predictability=f"{RESULTS}/predictability.csv.gz",
        fractions=f"{RESULTS}/fraction_of_ridge.csv",
        arms=f"{RESULTS}/arms.csv",
    params:
        values=lambda wildcards, input, output: values(
            "11_training_check", input, output, profile=config["profile"]
        ),
    shell:
        PAPERMILL


rule sampling:
    input:
        notebook="notebooks/12_sampling.ipynb",
        code=code("12_sampling"),
        targets_folder=f"{BUILD}/targets",
        predictions=[
            f"{BUILD}/predictions/{config['splits'][0]}.{config['example']}.{fit}" for fit in FITS[1:]
        ],
    output:
        page=f"{BUILD}/pages/12_sampling.ipynb",
        ladder=f"{RESULTS}/ladder.csv",
    params:
        values=lambda wildcards, input, output: values(
            "12_sampling", input, output, example=config["example"], **config["ladder"]
        ),
    shell:
        PAPERMILL


rule calibration:
    input:
        notebook="notebooks/13_calibration.ipynb",
        code=code("13_calibration"),
        predictions=fits(f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"),
    output:
        page=f"{BUILD}/pages/13_calibration.ipynb",
        gene_table=f"{RESULTS}/calibration.csv.gz",
        histograms=f"{RESULTS}/pit.csv",
    params:
        values=lambda wildcards, input, output: values(
            "13_calibration", input, output, split=config["splits"][0], example=config["example"]
        ),
    shell:
        PAPERMILL


# --- the run of the example section is the page that the book shows ---


rule example_segmentation:
    input:
        f"{BUILD}/runs/02_segmentation/{config['example']}.ipynb",
    output:
        f"{BUILD}/pages/02_segmentation.ipynb",
    shell:
        "cp {input} {output}"


rule example_nuclei_readings:
    input:
        f"{BUILD}/runs/05_nuclei_readings/{config['example']}.ipynb",
    output:
        f"{BUILD}/pages/05_nuclei_readings.ipynb",
    shell:
        "cp {input} {output}"


rule example_patches:
    input:
        f"{BUILD}/runs/06_patches/{config['example']}.ipynb",
    output:
        f"{BUILD}/pages/06_patches.ipynb",
    shell:
        "cp {input} {output}"


rule example_training:
    input:
        f"{BUILD}/runs/09_stem_training/{config['splits'][0]}.{config['example']}.{EXAMPLE_FIT}.ipynb",
    output:
        f"{BUILD}/pages/09_stem_training.ipynb",
    shell:
        "cp {input} {output}"


# --- tables -> panels, Tables 1 and 2, ledger ---

for panel, (takes, leaves) in PANELS.items():

    rule:
        name:
            f"panel_{panel}"
        input:
            notebook=f"notebooks/{panel}.ipynb",
            code=code(panel),
            **{key: f"{RESULTS}/{table}" for key, table in takes.items()},
        output:
            page=f"{BUILD}/pages/{panel}.ipynb",
            **{key: f"{RESULTS}/{table}" for key, table in leaves.items()},
        params:
            values=lambda wildcards, input, output, panel=panel: values(
                panel, input, output, **({"split": config["splits"][0]} if panel in BY_SPLIT else {})
            ),
        shell:
            PAPERMILL


rule tables:
    input:
        notebook="notebooks/21_tables.ipynb",
        code=code("21_tables"),
        associations=f"{RESULTS}/associations.csv.gz",
        predictability=f"{RESULTS}/predictability.csv.gz",
        sections=f"{RESULTS}/sections.csv",
        paper="data/paper.csv",
    output:
        page=f"{BUILD}/pages/21_tables.ipynb",
        table1=f"{RESULTS}/table1.csv",
        table2=f"{RESULTS}/table2.csv",
        drop_one=f"{RESULTS}/drop_one.csv",
    params:
        values=lambda wildcards, input, output: values("21_tables", input, output, qc=config["qc"]),
    shell:
        PAPERMILL


rule counting_and_conclusions:
    input:
        notebook="notebooks/22_counting_and_conclusions.ipynb",
        code=code("22_counting_and_conclusions"),
        section_files=images(f"{BUILD}/sections/{{section}}.h5ad"),
        readings=images(f"{BUILD}/readings/{{section}}.parquet"),
        targets_folder=f"{BUILD}/targets",
        panel_table=f"{RESULTS}/panel.csv",
        predictability=f"{RESULTS}/predictability.csv.gz",
    output:
        page=f"{BUILD}/pages/22_counting_and_conclusions.ipynb",
        readings_table=f"{RESULTS}/readings.csv",
        delta_table=f"{RESULTS}/readings_delta.csv",
        attenuation_table=f"{RESULTS}/attenuation.csv",
    params:
        values=lambda wildcards, input, output: values(
            "22_counting_and_conclusions", input, output, targets=config["targets"],
            n_random_maps=config["n_random_maps"], n_ceiling_splits=config["n_ceiling_splits"],
            truth=f"../{ROOT}/truth" if "simulation" in config else None,
        ),  # fmt: skip
    shell:
        PAPERMILL


rule figure1:
    input:
        notebook="notebooks/20_figure1.ipynb",
        code=code("20_figure1"),
        spots=f"{RESULTS}/spots.csv.gz",
        associations=f"{RESULTS}/associations.csv.gz",
        predictability=f"{RESULTS}/predictability.csv.gz",
        couplings=f"{RESULTS}/couplings.csv",
        fractions=f"{RESULTS}/fraction_of_ridge.csv",
        controls_table=f"{RESULTS}/controls.csv",
    output:
        page=f"{BUILD}/pages/20_figure1.ipynb",
        figure=FIGURE,
    params:
        values=lambda wildcards, input, output: values(
            "20_figure1", input, output, split=config["splits"][0]
        ),
    shell:
        PAPERMILL


rule ledger:
    input:
        notebook="notebooks/24_ledger.ipynb",
        code=code("24_ledger"),
        table1=f"{RESULTS}/table1.csv",
        table2=f"{RESULTS}/table2.csv",
        sections=f"{RESULTS}/sections.csv",
        associations=f"{RESULTS}/associations.csv.gz",
        fractions=f"{RESULTS}/fraction_of_ridge.csv",
        curve=f"{RESULTS}/specifications.csv.gz",
        paper="data/paper.csv",
        tracked=[str(path) for path in sorted(Path("data/results/her2st").glob("*.csv*"))],
    output:
        page=f"{BUILD}/pages/24_ledger.ipynb",
        ledger=f"{RESULTS}/ledger.csv",
    params:
        values=lambda wildcards, input, output: values(
            "24_ledger", input, output, reference="../data/results/her2st", differs=config["differs"]
        ),
    shell:
        PAPERMILL


# --- beyond the paper ---


rule factorial:
    input:
        notebook="notebooks/25_factorial.ipynb",
        code=code("25_factorial"),
        section_files=sections_as("encoded"),
        panel_table=f"{RESULTS}/panel.csv",
        controls_table=f"{RESULTS}/controls.csv",
    output:
        page=f"{BUILD}/pages/25_factorial.ipynb",
        factorial=f"{RESULTS}/factorial.csv",
    params:
        values=lambda wildcards, input, output: values(
            "25_factorial", input, output, split=config["splits"][0], n_random_maps=config["n_random_maps"]
        ),
    shell:
        PAPERMILL


rule audit:
    input:
        notebook="notebooks/audit.ipynb",
        code=code("audit"),
        sections=images(f"{BUILD}/encoded/{{section}}.h5ad"),
        predictions=images(f"{BUILD}/predictions/{config['splits'][0]}.{{section}}.{EXAMPLE_FIT}"),
    output:
        page=f"{BUILD}/pages/audit.ipynb",
        report_card=f"{RESULTS}/audit.html",
        numbers=f"{BUILD}/audit.json",
    params:
        values=lambda wildcards, input, output: values(
            "audit", input, output, n_draws=99, seed=config["seeds"][0],
            backbone="ridge" if EXAMPLE_FIT == "linear" else "stem",
            space="log2" if EXAMPLE_FIT == "linear" else config["stem_targets"][0],
        ),  # fmt: skip
    shell:
        PAPERMILL


rule floors:
    input:
        notebook="notebooks/26_floors.ipynb",
        code=code("26_floors"),
        predictability=f"{RESULTS}/predictability.csv.gz",
        targets_folder=f"{BUILD}/targets",
        panel_table=f"{RESULTS}/panel.csv",
        controls_table=f"{RESULTS}/controls.csv",
    output:
        page=f"{BUILD}/pages/26_floors.ipynb",
        floors_table=f"{RESULTS}/floors.csv",
        excess_table=f"{RESULTS}/floors_excess.csv",
    params:
        values=lambda wildcards, input, output: values(
            "26_floors", input, output, targets=config["targets"], splits=config["splits"]
        ),
    shell:
        PAPERMILL


rule partial:
    input:
        notebook="notebooks/27_partial.ipynb",
        code=code("27_partial"),
        predictions=fits(f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"),
        section_files=images(f"{BUILD}/sections/{{section}}.h5ad"),
        controls_table=f"{RESULTS}/controls.csv",
    output:
        page=f"{BUILD}/pages/27_partial.ipynb",
        gene_table=f"{RESULTS}/partial_genes.csv.gz",
        partial_table=f"{RESULTS}/partial.csv",
    params:
        values=lambda wildcards, input, output: values(
            "27_partial", input, output,
            targets=config["targets"], split=config["splits"][0], example=config["example"],
        ),  # fmt: skip
    shell:
        PAPERMILL


rule controls:
    input:
        notebook="notebooks/10_controls.ipynb",
        code=code("10_controls"),
        section_files=images(f"{BUILD}/encoded/{{section}}.h5ad"),
        predictions=fits(f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"),
        panel_table=f"{RESULTS}/panel.csv",
    output:
        page=f"{BUILD}/pages/10_controls.ipynb",
        controls_table=f"{RESULTS}/controls.csv",
        refitted_table=f"{RESULTS}/controls_refitted.csv",
        coupling_table=f"{RESULTS}/controls_coupling.csv",
    params:
        values=lambda wildcards, input, output: values(
            "10_controls", input, output,
            targets=config["targets"], splits=config["splits"], n_random_maps=config["n_random_maps"],
        ),  # fmt: skip
    shell:
        PAPERMILL


rule inference:
    input:
        notebook="notebooks/29_inference.ipynb",
        code=code("29_inference"),
        targets_folder=f"{BUILD}/targets",
        panel_table=f"{RESULTS}/panel.csv",
        associations=f"{RESULTS}/associations.csv.gz",
        predictability=f"{RESULTS}/predictability.csv.gz",
        predictions=images(
            f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}", split=config["splits"][0], fit=FITS
        ),
        sections=f"{RESULTS}/sections.csv",
        paper="data/paper.csv",
    output:
        page=f"{BUILD}/pages/29_inference.ipynb",
        gene_table=f"{RESULTS}/inference_genes.csv.gz",
        score_table=f"{RESULTS}/inference_scores.csv",
        test_table=f"{RESULTS}/inference.csv",
        error_table=f"{RESULTS}/type_one_error.csv",
        power_table=f"{RESULTS}/power.csv",
    params:
        values=lambda wildcards, input, output: values("29_inference", input, output, targets=config["targets"]),
    shell:
        PAPERMILL


rule patients:
    input:
        notebook="notebooks/30_patients.ipynb",
        code=code("30_patients"),
        targets_folder=f"{BUILD}/targets",
        panel_table=f"{RESULTS}/panel.csv",
        controls_table=f"{RESULTS}/controls.csv",
    output:
        page=f"{BUILD}/pages/30_patients.ipynb",
        patients_table=f"{RESULTS}/patients.csv",
        one_table=f"{RESULTS}/patients_one_section.csv",
    params:
        values=lambda wildcards, input, output: values(
            "30_patients", input, output, targets=config["targets"], seeds=config["seeds"]
        ),
    shell:
        PAPERMILL


rule cross_space:
    input:
        notebook="notebooks/28_cross_space.ipynb",
        code=code("28_cross_space"),
        section_files=images(f"{BUILD}/sections/{{section}}.h5ad"),
        predictions=fits(f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"),
        ceilings=f"{BUILD}/ceilings.csv.gz",
        controls_table=f"{RESULTS}/controls.csv",
    output:
        page=f"{BUILD}/pages/28_cross_space.ipynb",
        cross_space=f"{RESULTS}/cross_space.csv",
        truth_table=f"{RESULTS}/cross_space_truth.csv",
    params:
        values=lambda wildcards, input, output: values(
            "28_cross_space", input, output, targets=config["targets"], splits=config["splits"],
            n_random_maps=config["n_random_maps"], n_ceiling_splits=config["n_ceiling_splits"],
        ),  # fmt: skip
    shell:
        PAPERMILL


rule specifications:
    input:
        notebook="notebooks/23_specifications.ipynb",
        code=code("23_specifications"),
        section_files=lambda wildcards: expand(f"{BUILD}/sections/{{section}}.h5ad", section=sections()),
        readings=images(f"{BUILD}/readings/{{section}}.parquet"),
        predictions=fits(f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"),
        panel_table=f"{RESULTS}/panel.csv",
        table1=f"{RESULTS}/table1.csv",
        table2=f"{RESULTS}/table2.csv",
        paper="data/paper.csv",
    output:
        page=f"{BUILD}/pages/23_specifications.ipynb",
        curve=f"{RESULTS}/specifications.csv.gz",
    params:
        values=lambda wildcards, input, output: values(
            "23_specifications", input, output, n_random_maps=config["n_random_maps"]
        ),
    shell:
        PAPERMILL


rule genes:
    input:
        notebook="notebooks/32_genes.ipynb",
        code=code("32_genes"),
        predictions=fits(f"{BUILD}/predictions/{{split}}.{{section}}.{{fit}}"),
        section_files=images(f"{BUILD}/sections/{{section}}.h5ad"),
        predictability=f"{RESULTS}/predictability.csv.gz",
        controls_table=f"{RESULTS}/controls.csv",
    output:
        page=f"{BUILD}/pages/32_genes.ipynb",
        gene_table=f"{RESULTS}/genes.csv",
    params:
        values=lambda wildcards, input, output: values("32_genes", input, output, split=config["splits"][0]),
    shell:
        PAPERMILL


rule frontier:
    input:
        notebook="notebooks/31_frontier.ipynb",
        code=code("31_frontier"),
        section_files=sections_as("encoded"),
        panel_table=f"{RESULTS}/panel.csv",
        factorial=f"{RESULTS}/factorial.csv",
        published="data/peers.csv",
    output:
        page=f"{BUILD}/pages/31_frontier.ipynb",
        frontier=f"{RESULTS}/frontier.csv",
        peers=f"{RESULTS}/peers.csv",
    params:
        values=lambda wildcards, input, output: values(
            "31_frontier", input, output, n_random_maps=config["n_random_maps"],
            **{key: os.path.join("..", ROOT, config[key]) if key in config else None for key in ("labels", "proportions")},
            truth=f"../{ROOT}/truth" if "simulation" in config else None,
        ),  # fmt: skip
    shell:
        PAPERMILL


# --- the committed tables of a reference run ---


rule reference:
    input:
        f"{BUILD}/html/index.html",
    output:
        provenance=f"data/results/{config['cohort']}/provenance.json",
    run:
        folder = Path(output.provenance).parent
        # The tables themselves are about to change, and the old provenance is gone already.
        changed = list(shell("git status --porcelain --untracked-files=no -- ':!data/results'", iterable=True))
        commit = next(shell("git rev-parse HEAD", iterable=True)) + "-dirty" * bool(changed)
        shell(f"rm -rf {folder} && mkdir -p {folder} && cp {RESULTS}/* {folder}")
        packages = ["anndata", "numpy", "pandas", "scanpy", "scikit-image", "scikit-learn", "scipy", "tiatoolbox", "torch"]
        provenance = {
            "cohort": config["title"],
            "differs": config["differs"],
            "commit": commit,
            "config_sha256": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
            "date": date.today().isoformat(),
            "python": sys.version.split()[0],
            "versions": {package: version(package) for package in packages},
        }
        Path(output.provenance).write_text(json.dumps(provenance, indent=1) + "\n")
