"""One program for what needs no notebook: `python -m helpers check|data|audit`, each with --help."""

import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from helpers import store
from helpers.audit.program import main as audit
from helpers.cohort import check as checking
from helpers.cohort import config as configs
from helpers.cohort import downloads
from helpers.labels import counted

Config = Annotated[Path, typer.Argument(help="config of a cohort, config/her2st.yaml")]


def check(
    path: Config,
    debug: Annotated[bool, typer.Option(help="on a problem show where in the code it arose")] = False,
) -> None:
    """Read a cohort's raw files in seconds: what is there, what is missing, what is wrong, section by section."""
    raise typer.Exit(check_cohort(path, debug))


def data(path: Config) -> None:
    """Download what a public cohort lacks."""
    raise typer.Exit(fetch_cohort(path))


def check_cohort(path: Path, debug: bool = False) -> int:
    """Print what `check.cohort` finds for the config at `path`: 0 well, 1 a section has a problem, 2 no cohort.

    With `debug` the first section that has a problem raises it.
    """
    try:
        config = configs.load(path)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    readers = configs.readers(config)
    if not Path(readers["root"]).is_dir():
        if "simulation" in config:
            print(f"{config['cohort']} is simulated: its raw files are not there yet, make book writes them")
            return 0
        print(f"{readers['root']}: no such folder; fetch the cohort (make data), or correct root", file=sys.stderr)
        return 2
    table = checking.cohort(config["sections"], readers, config["qc"])
    if debug and (bad := list(table.loc[table["problem"] != "", "section"])):
        checking.read(bad[0], readers, config["qc"])
    print(f"{config['title']}: {counted(len(table), 'sections')} in {readers['root']}\n")
    if links := checking.links_out(readers["root"]):
        print(f"{counted(len(links), 'links')} out of this folder, as {links[0]}, to {links[0].resolve()}\n")
    good = table[table["problem"] == ""]
    if len(good):
        print(shown(good).to_string(index=False, na_rep="", float_format="{:.3f}".format))
    for title, column in (("Not kept by the rule", "reason"), ("Warnings", "warnings"), ("Problems", "problem")):
        rows = table[table.get(column, pd.Series("", table.index)).fillna("") != ""]
        if len(rows):
            print(f"\n{title} ({len(rows)}):")
            for row in rows.to_dict("records"):
                print(f"  {row['section']}: {row[column]}")
    if len(without := good.loc[good["image"] == "", "section"]):
        print(f"\nWithout an image, skipped where pixels are needed ({len(without)}): {', '.join(without)}")
        if len(good) - len(without) < 2:
            print("A book needs two sections with an image.")
    return int((table["problem"] != "").any())


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a table that fit a terminal; counts as whole numbers, empty where there is no image."""
    counts = ["n_spots", "n_unpaired", "n_empty", "n_shallow", "n_outside", "n_masked", "n_off_tissue"]
    counts += ["width", "height", "median_total_counts"]
    # Of objects, as a missing whole number is printed as <NA> whatever stands for it.
    whole = table[counts].round().astype("Int64").astype(object).where(table[counts].notna())
    table = table.assign(**whole, kept=table["kept"].map({True: "yes", False: "no"}))
    sources = (f"mpp_{source}" for source in checking.SOURCES)
    table = table[["section", "patient", *counts, "mpp", "mpp_source", *sources, "kept"]].dropna(axis=1, how="all")
    return table.rename(columns=lambda name: name.replace("median_total_counts", "median_umi"))


def fetch_cohort(path: Path) -> int:
    """Download the cohort of the config at `path`; 0 where nothing is left to fetch, 1 where that failed."""
    try:
        config = configs.load(path)
        root, name = config["root"], config["cohort"]
        if "simulation" in config:
            print(f"{name} is simulated: make book writes its raw files")
        elif configs.root(config) != root:
            print(f"{name} is read from {configs.root(config)} ({config['root_setting']}): nothing to download")
        elif "manifest" in config:
            downloads.fetch_her2st(root, store.read_table(config["manifest"], ["path", "git_blob_sha1"]))
        elif config["layout"] == "hest":
            downloads.fetch_hest(root, [config.get("ids", {}).get(section, section) for section in config["sections"]])
        else:
            print(f"{name} has no public source: put its files below {root}")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


program = typer.Typer(pretty_exceptions_enable=False, add_completion=False, no_args_is_help=True, help=__doc__)
for command in (check, data, audit):
    program.command({audit: "audit"}.get(command, command.__name__))(command)

if __name__ == "__main__":
    program()
