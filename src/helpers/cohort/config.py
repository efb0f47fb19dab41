"""What a cohort's config says: checked against its schema, and handed on to the readers of raw files."""

import os
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import yaml

# Keys of a config that `helpers.sections.read` takes.
READERS = ["layout", "root", "mpp", "ids", "images", "patients", "spot_um", "pitch_um", "counts_layer", "gene_names"]


def load(path: str | Path) -> dict:
    """The config at `path`, checked against the schema.yaml beside it; ValueError, FileNotFoundError name the fault."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such config")
    try:
        config = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({error})") from error
    check(config, yaml.safe_load(path.with_name("schema.yaml").read_text()), str(path))
    return config


def check(config: Mapping, schema: Mapping, where: str) -> None:
    """Refuse a config that cannot be meant, in one line that names `where` and the fault."""

    def refuse(what: str):
        raise ValueError(f"{where}: {what}; config/schema.yaml says what a config may hold")

    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if error is not None and error.validator == "uniqueItems":
        twice = next(item for item in error.instance if error.instance.count(item) > 1)
        refuse(f"{error.json_path[2:]} names {twice} twice")
    if error is not None:
        refuse(f"{error.json_path[2:]}: {error.message}".removeprefix(": "))
    if unknown := set(config["stem_targets"]) - set(config["targets"]):
        refuse(f"stem_targets {', '.join(sorted(unknown))} are not among the targets")
    if config["example"] not in config["sections"]:
        refuse(f"example {config['example']!r} is not among the sections")
    files = {}
    for section in config["sections"]:
        other = files.setdefault(config.get("ids", {}).get(section, section), section)
        if other != section:
            refuse(f"ids give {other} and {section} the same files")


def root(config: Mapping) -> str:
    """Folder of the raw files: that of the environment variable `root_setting` where it is set, else `root`."""
    return os.environ.get(config.get("root_setting", ""), "") or config["root"]


def readers(config: Mapping) -> dict:
    """The arguments of `helpers.sections.read` that are the same for all sections."""
    return {key: config[key] for key in READERS if key in config} | {"root": root(config)}
