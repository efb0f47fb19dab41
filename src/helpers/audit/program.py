"""The audit from the command line: files in, a report card and its numbers out."""

import json
import sys
import warnings
from collections.abc import Collection, Iterable, Mapping
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import typer
from anndata import AnnData

from helpers import schema, store
from helpers.audit import card, predictions, size
from helpers.audit.assess import assess
from helpers.audit.flags import FLAGS, sentence
from helpers.cohort import check, images, pictures, placement, sections
from helpers.cohort import config as configs
from helpers.cohort.layouts import h5ad, raw
from helpers.labels import counted
from helpers.models import backbones
from helpers.scores import judge
from helpers.targets import normalization
from helpers.tissue import classical, haematoxylin, nuclei_files


def read_section(pattern: str, name: str, counts_layer: str | None, gene_names: str | None) -> AnnData:
    """A section from an h5ad file named by a pattern with {section}."""
    path = Path(pattern.format(section=name))
    raw.refuse_zarr(path)
    if path.suffix != ".h5ad":
        raise ValueError(f"{path}: counts are read from .h5ad; for another layout give a config as --cohort")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of counts; check --counts and the section's name")
    if not (counts_layer or gene_names):
        section = h5ad.opened(path)
        if schema.COUNTS in section.layers and schema.LATTICE in section.obsm:
            return schema.check_section(section)  # a section file of this project
    found = h5ad.read(path.parent, path.stem, counts_layer, gene_names)
    found.spots.uns |= {"patient": found.patient, "spot_um": found.spot_um, "pitch_um": found.pitch_um}
    found.spots.uns |= {} if found.image_size is None else {"image_size": np.array(found.image_size)}
    return found.spots


def add_nuclei(section: AnnData, path: Path) -> None:
    """Put `n_nuclei` into obs: from a table with a row a spot (spot, n_nuclei), or from a file of nuclei."""
    if path.suffix in (".csv", ".gz", ".tsv"):
        table = predictions.read_named(path)
        if "n_nuclei" not in table:
            beside = ", ".join(table.columns) or "none"
            raise ValueError(f"{path}: no column n_nuclei; it has {beside} beside the spots, which stand in the first")
        if table.index.has_duplicates:
            raise ValueError(f"{path}: spot {table.index[table.index.duplicated()][0]!r} occurs twice; keep one")
        numbers = pd.to_numeric(table["n_nuclei"], errors="coerce")
        if (wrong := ~(np.isfinite(numbers) & (numbers >= 0))).any():
            spot, held = next(table.loc[wrong, "n_nuclei"].items())
            raise ValueError(f"{path}: n_nuclei of spot {spot} is {held}; write a number from 0 for each spot")
        table = numbers.astype(float)
        if missing := len(section.obs_names.difference(table.index)):
            raise ValueError(f"{path}: no row for {missing} of {section.n_obs} spots; give each spot's n_nuclei")
        section.obs["n_nuclei"] = table.reindex(section.obs_names).to_numpy(float)
        # A floor of them would be undefined, and no model could be beaten by it.
        if (held := section.obs["n_nuclei"]).nunique() == 1 < section.n_obs:
            raise ValueError(f"{path}: n_nuclei is {held.iloc[0]:g} in every spot; correct it, or leave the table out")
        return
    mpp, spot_um = section.uns.get("mpp", np.nan), section.uns.get("spot_um", np.nan)
    if not (mpp > 0 and spot_um > 0):
        raise ValueError(
            f"{path}: discs of unknown width; give the counts by --cohort, or nuclei as a table of spot and n_nuclei"
        )
    found = nuclei_files.read(path, mpp, section.uns.get("placement"))
    section.obs["n_nuclei"] = classical.count(found, section.obsm[schema.SPATIAL], mpp, spot_um)["n_nuclei"].to_numpy()


def add_image(
    section: AnnData, path: Path, mpp: float | None = None, spot_um: float | None = None, count: bool = True
) -> str:
    """Put `haematoxylin` of each spot's disc into obs, from the H&E image, and `n_nuclei`, unless known.

    `mpp` (um per pixel, see `pixel_size`) and `spot_um` (diameter) are what the user says; else the section's.
    Nuclei are not counted without `count`, nor in pixels too coarse to tell them, of which a remark is returned: then
    the stain measures cellularity.
    """
    mpp = pixel_size(section, path, mpp)
    spot_um = spot_um or section.uns.get("spot_um", np.nan)
    for value, option in ((mpp, "--mpp, um per pixel"), (spot_um, "--spot-um, the diameter of a spot in um")):
        if not (value and value > 0):
            raise ValueError(f"{path}: discs of unknown width; give {option}")
    spatial, reader = section.obsm[schema.SPATIAL], images.open(path, mpp)

    def read(*region) -> np.ndarray:
        return images.region(reader, *region)

    section.obs["haematoxylin"] = haematoxylin.haematoxylin(read, spatial, mpp, spot_um)
    if "n_nuclei" in section.obs:
        return ""
    if count and mpp <= haematoxylin.MAX_MPP:
        found = classical.detect_section(read, spatial, mpp, spot_um)
        section.obs["n_nuclei"] = classical.count(found, spatial, mpp, spot_um)["n_nuclei"].to_numpy()
        return ""
    why = f"in pixels of {mpp:.3g} um nuclei are not counted" if count else "the config asks for the stain"
    return f"{why}: the mean haematoxylin of a spot's disc stands for its cellularity, here called nuclei"


def pixel_size(section: AnnData, path: Path, user: float | None) -> float | None:
    """um per pixel of an image, by the first that says it, which `sections.choose_mpp` compares with the others.

    The user, the section, its lattice, the image; None where nobody does.
    """
    known = {"user": user, "section": section.uns.get("mpp")}
    if not known["section"] and schema.LATTICE in section.obsm and section.uns.get("pitch_um", np.nan) > 0:
        known["lattice"] = sections.mpp_from_lattice(section)
    known = {source: value for source, value in (known | {"embedded": images.embedded_mpp(path)}).items() if value}
    return sections.choose_mpp(known, section.uns.get("section", path.stem))[0] if known else None


def add_cellularity(
    section: AnnData, files: Mapping[str, str], config: Mapping, mpp: float | None, spot_um: float | None
) -> str:
    """What is known of the cells of each spot, from the `files` nuclei and image ("" where not given); a remark or "".

    Without a file of nuclei, the one of the cohort's `config`, where its back end is a table.
    """
    back_end = config.get("nuclei", {}).get("back_end")
    of_config = nuclei_files.of_section(section, config["nuclei"]) if back_end == "table" else ""
    if path := files["nuclei"] or of_config.format(section=section.uns["section"]):
        add_nuclei(section, Path(path))
    return add_image(section, Path(files["image"]), mpp, spot_um, back_end != "haematoxylin") if files["image"] else ""


def check_options(space: str, patterns: Iterable[str], out: Path) -> None:
    """Refuse before anything is read what would end the audit later: a space, patterns of files, the folder written to.

    ValueError says which and why.
    """
    normalization.named(normalization.TARGETS, "space", space)
    for pattern in patterns:
        if {"{", "}"} & set(pattern.replace("{section}", "")):
            raise ValueError(f"{pattern}: {{section}} alone stands in braces, for the section's name")
    try:
        nearest = next(path for path in (out, *out.absolute().parents) if path.exists() or path.is_symlink())
        with TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ValueError(f"--out {out}: no folder to write to ({error}); name another") from error
    if taken := [path for path in (out / "audit.html", out / "audit.json") if path.is_dir()]:
        raise ValueError(f"--out {out}: {taken[0].name} is a folder there; name another")


def named_by(pattern: str) -> dict[str, Path]:
    """The files that a pattern with {section} names, by section."""
    if pattern.count("{section}") != 1:
        raise ValueError(f"{pattern}: say where the section's name stands, as in predictions/{{section}}.csv")
    before, after = pattern.split("{section}")
    folder = Path(before) if before.endswith("/") else Path(before).parent
    start = "" if before.endswith("/") else Path(before).name
    found = {path: str(path.relative_to(folder)) for path in sorted(folder.glob(f"{escape(start)}*{escape(after)}"))}
    named = {name[len(start) : len(name) - len(after)]: path for path, name in found.items()}
    named.pop("", None)
    if not named:
        raise FileNotFoundError(f"{pattern}: no such file; {{section}} stands for the name of a section")
    schema.check_words(named, "section", pattern)
    return named


def files_of(pattern: str, names: Collection[str]) -> dict[str, str]:
    """The file of each section by a pattern, "" without one; all have to be there, before the first is computed on."""
    files = {name: pattern.format(section=name) for name in names}
    if pattern and len(set(files.values())) < len(names):
        raise ValueError(f"{pattern}: one file for {len(names)} sections; say by {{section}} where their names stand")
    for file in filter(None, files.values()):
        if not Path(file).is_file():
            raise FileNotFoundError(f"{file}: no such file; check the pattern and the section's name")
    return files


def read_cohort(
    names: Iterable[str], counts: str, config: Mapping, counts_layer: str = "", gene_names: str = ""
) -> dict[str, AnnData]:
    """The sections of these names, from h5ad files named by the pattern `counts` or by the `config` of a cohort."""
    if bool(counts) == bool(config):
        raise ValueError("give the counts one way: --counts pattern of h5ad files, or --cohort config")
    if not config:
        return {name: read_section(counts, name, counts_layer or None, gene_names or None) for name in names}
    readers = configs.readers(config)
    return {name: sections.read(name=name, **readers, embedded=images.embedded_mpp) for name in names}


def read_config(cohort: str) -> dict:
    """The config of a cohort; empty where none is named."""
    known = {"target": list(normalization.TARGETS), "backbone": list(backbones.MODELS)}
    return configs.load(cohort, known) if cohort else {}


def as_prepared(cohort: Mapping[str, AnnData], folder: str | Path) -> dict[str, str]:
    """The picture of each section of a cohort as the book sees it, "" where there is none.

    One that is to be reduced or masked is written to `folder`, and its section placed on it.
    """
    for name, section in cohort.items():
        pictures.prepare(section, Path(folder) / f"{name}.png")
    return {name: section.uns["image"] for name, section in cohort.items()}


def as_the_book(section: AnnData, name: str, picture: str | Path, least: int) -> tuple[AnnData, list[str]]:
    """The section with the spots that the book would keep (`sections.drop_spots`), and remarks on what it loses.

    Spots of fewer than `least` counts, and those outside the `picture` ("" for none), of which it is said too whether
    spots were placed on another. ValueError where none is left.
    """
    total = normalization.summed_counts(section)
    section.obs["total_counts"] = total
    section.uns = dict(section.uns) | {"section": name, "image": str(picture), "n_spots_dropped": 0}
    try:
        kept = sections.drop_spots(section, images.size(picture) if picture else None, least)
    except ValueError as error:
        raise ValueError(str(error).replace("qc.min_spot_counts", "--min-spot-counts")) from None
    doubted = beside(section, picture) if picture and section.n_obs >= check.MIN_PLACED else []
    few = int((total < least).sum())
    lost = {f"of fewer than {least} counts": few, "outside the image": section.n_obs - kept.n_obs - few}
    said = [f"{counted(n, 'spots')} {why} are left out" for why, n in lost.items() if n]
    return kept, [f"section {name}: {words}" for words in [*doubted, *said]]


def beside(section: AnnData, picture: str | Path) -> list[str]:
    """What `check` would say of all spots of a section beside a picture: of another size, and off the tissue."""
    size = images.size(picture)
    seen = placement.view(section, images.thumbnail(picture, check.THUMBNAIL_PX), size)
    return [words for words in (check.other_size(section, size), placement.off_tissue(seen)) if words]


def doubts(read: Mapping[str, AnnData], shown: Mapping[str, str | Path]) -> list[str]:
    """What `check` would doubt of the sections: spots shuffled, or placed otherwise than images say, data twice."""
    seen = {
        name: placement.view(read[name], images.thumbnail(picture, check.THUMBNAIL_PX), images.size(picture))
        for name, picture in shown.items()
        if picture and read[name].n_obs >= check.MIN_PLACED
    }
    found = [(name, placement.scattered(section)) for name, section in read.items()]
    found += [(name, placement.doubt(one)) for name, one in seen.items()]
    found += [*placement.doubts_of_others(seen).items()]
    found += [*check.same_data({name: check.signature(section) for name, section in read.items()}).items()]
    return [f"section {name}: {words}" for name, words in found if words]


def main(
    predicted: Annotated[str, typer.Option("--predictions", help="predictions/{section}.csv, .parquet, .h5ad or .npz")],
    space: Annotated[str, typer.Option(help=f"what was predicted: {', '.join(normalization.TARGETS)}")],
    counts: Annotated[str, typer.Option(help="raw counts of all genes, counts/{section}.h5ad")] = "",
    cohort: Annotated[str, typer.Option(help="or a config that names the cohort, config/her2st.yaml")] = "",
    counts_layer: Annotated[str, typer.Option(help="layer of the h5ad that holds raw counts")] = "",
    gene_names: Annotated[str, typer.Option(help="column of the h5ad's var that holds symbols")] = "",
    nuclei: Annotated[
        str, typer.Option(help="nuclei/{section}.csv (spot, n_nuclei), or GeoJSON, parquet of nuclei")
    ] = "",
    image: Annotated[
        str, typer.Option(help="H&E, images/{section}.jpg: nuclei are counted in it; of a --cohort: its own")
    ] = "",
    mpp: Annotated[
        float | None,
        typer.Option(
            min=schema.MPP_RANGE[0],
            max=schema.MPP_RANGE[1],
            help="um per pixel, where neither cohort nor image says it",
        ),
    ] = None,
    spot_um: Annotated[
        float | None, typer.Option(min=1, max=1000, help="diameter of a spot in um, where the counts do not say")
    ] = None,
    target: Annotated[str, typer.Option(help="what the model was scored against, targets/{section}.csv")] = "",
    panel_chosen_on: Annotated[
        Literal["training", "all", "unknown"], typer.Option(help="sections on which the genes were chosen")
    ] = "unknown",
    layer: Annotated[str, typer.Option(help="layer of h5ad predictions that holds them, or X")] = "",
    target_layer: Annotated[str, typer.Option(help="the same of h5ad targets")] = "",
    debug: Annotated[bool, typer.Option(help="on an error show where in the code it arose")] = False,
    title: Annotated[str, typer.Option(help="name of the model and cohort")] = "Predicted expression",
    min_spot_counts: Annotated[
        int | None,
        typer.Option(min=1, help="spots of fewer counts are left out; else as in the cohort's config, or 100"),
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of audit.html and audit.json")] = Path("audit"),
    draws: Annotated[
        int, typer.Option(min=19, max=10**6, help="spatially randomized predictions behind each chance level")
    ] = judge.N_DRAWS,
) -> None:
    """Audit predictions of gene expression from H&E: a report card (HTML) and its numbers (JSON)."""
    # As many parameters as the program has options: typer reads them off this signature.
    try:
        with warnings.catch_warnings(record=True) as caught, TemporaryDirectory() as folder:
            warnings.simplefilter("always", UserWarning)
            if cohort and mpp and not image:
                raise ValueError("--mpp: the config of a cohort says the pixel size of its own images; set mpp there")
            check_options(space, (predicted, counts, nuclei, image, target), out)
            named = named_by(predicted)
            of_nuclei, of_image, of_target = (files_of(pattern, named) for pattern in (nuclei, image, target))
            known = {name: predictions.read(path, layer) for name, path in named.items()}
            targets = {name: predictions.read(file, target_layer) for name, file in of_target.items() if file}
            config, remarks = read_config(cohort), []
            read = read_cohort(known, counts, config, counts_layer, gene_names)
            own = as_prepared(read, folder) if config and not image else dict.fromkeys(read, "")
            shown = {name: of_image[name] or own[name] for name in read}
            least = min_spot_counts or config.get("qc", {}).get("min_spot_counts", sections.MIN_SPOT_COUNTS)
            for name, section in read.items():
                read[name], lost = as_the_book(section, name, shown[name], least)
                remarks += lost
            remarks += doubts(read, shown)
            for name, section in read.items():
                files = {"nuclei": of_nuclei[name], "image": shown[name]}
                said = add_cellularity(section, files, config, mpp, spot_um)
                remarks += [f"section {name}: {said}"] if said else []
            if words := size.announced(size.need(read, known)):
                print(words, file=sys.stderr)
            report = assess(read, known, space, targets or None, panel_chosen_on, draws)
        said = dict.fromkeys(str(warning.message) for warning in caught if warning.category is UserWarning)
        report["remarks"] = [*said, *remarks, *report["remarks"]]
        print(in_words(report))
        write(report, out, title)
    except Exception as error:  # of a library too: what is wrong with a file is one line
        if debug:
            raise
        kind = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
        fix = "; pip install -e '.[book]' brings what reads it" if isinstance(error, ImportError) else ""
        print(f"{kind}{error}{fix}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(f"The report card: {(out / 'audit.html').resolve()}")


def in_words(report: Mapping) -> str:
    """The sentence to paste, the flags that are raised, and the remarks on the input."""
    names = {flag.id: flag.name for flag in FLAGS}
    raised = [f"- {names[flag['id']]}: {flag['says']}" for flag in report["flags"] if flag["raised"]]
    return "\n".join([sentence(report["summary"]), *raised, *(f"- remark: {remark}" for remark in report["remarks"])])


def as_json(report: Mapping, title: str) -> dict:
    """The report as JSON can hold it: tables as lists of rows, and what the card says besides."""
    tables = {key: value for key, value in report.items() if isinstance(value, pd.DataFrame)}
    return (
        {"title": title, "sentence": sentence(report["summary"])}
        | dict(report)
        | {key: json.loads(table.to_json(orient="records", double_precision=10)) for key, table in tables.items()}
    )


def write(report: Mapping, folder: Path, title: str) -> None:
    """Leave audit.html, which needs nothing else, and audit.json, which holds every number of it."""
    store.write_json(as_json(report, title), folder / "audit.json")
    store.write_text(card.page(report, title), folder / "audit.html")
