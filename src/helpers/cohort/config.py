"""What a cohort's config says: checked against its schema, completed by the schema's defaults, handed on to readers."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import fields
from pathlib import Path

import yaml

from helpers.cohort.stated import Stated
from helpers.schema import markup

SCHEMA = Path(__file__).parents[3] / "config" / "schema.yaml"
PROJECT_FILES = ("gene_symbols",)  # keys that name a file of the project, not of the root
READERS = ("layout", *(field.name for field in fields(Stated)))  # keys that `sections.read` takes, beside the root


def load(path: str | Path, known: Mapping[str, Sequence[str]] | None = None) -> dict:
    """The complete config at `path`, which may lie anywhere; ValueError, FileNotFoundError name the fault."""
    return complete(content(path), yaml.safe_load(SCHEMA.read_text()), str(path), known)


def content(path: str | Path) -> dict:
    """What the config at `path` says, of which nothing is run; ValueError, FileNotFoundError for none.

    ValueError too for a key that is given twice, of which YAML's own reader takes the last, and for an alias (`*name`),
    of which nine lines can make a billion.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such config")
    try:
        text = path.read_text(encoding="utf-8-sig")
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"{path}: line {event.start_mark.line + 1}: write *{event.anchor} out")
        tree = yaml.compose(text, yaml.SafeLoader)
        if twice := next(_twice(tree), None):
            key, line = twice
            raise ValueError(f"{path}: line {line}: {key} is given twice; keep one")
        found = yaml.SafeLoader("").construct_document(tree) if tree else {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not YAML ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds no keys with values; start from config/template.yaml")
    return found


def complete(
    config: Mapping,
    schema: Mapping,
    where: str,
    known: Mapping[str, Sequence[str]] | None = None,
    check: bool = True,
) -> dict:
    """The config with the schema's defaults for what it leaves out.

    `known` lists the names that other rooms' registries have, by the name of the definition in the schema (`target`,
    `backbone`); without it any name passes. `check` is false for a config that has been checked before.
    ValueError names `where` and every fault of a config that cannot be meant, a line each.
    """
    faults = list(_faults(config, schema, known or {})) if check else []
    if not faults:
        config = _with_defaults(config, schema)
        config["root"] = _at_home(config["root"])
        faults = list(_contradictions(config))
    if faults:
        lines = "\n".join(f"{where}: {fault}" for fault in faults)
        raise ValueError(f"{lines}\nconfig/schema.yaml says what a config may hold, config/template.yaml shows one")
    return config


def root(config: Mapping) -> str:
    """Folder of the raw files: that of the environment variable `root_setting` where it is set, else `root`."""
    return _at_home(os.environ.get(config.get("root_setting", ""), "") or config["root"])


def _at_home(path: str) -> str:
    """The path with the user's own folder in place of ~."""
    return str(Path(path).expanduser()) if path.split("/")[0] == "~" else path


def readers(config: Mapping, project: str = "") -> dict:
    """The arguments of `sections.read` that are the same for all sections, as seen from where `project` is the way."""
    paths = {"root": root(config)} | {key: _at_home(config[key]) for key in PROJECT_FILES if key in config}
    given = {key: config[key] for key in READERS if key in config}
    return given | {key: str(Path(project) / path) for key, path in paths.items()}


def _twice(node) -> Iterator[tuple[str, int]]:
    """Keys that a mapping of the document holds already, and the line of each."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, (key, value) in enumerate(node.value):
            if key.value in keys[:number]:
                yield key.value, key.start_mark.line + 1
            yield from _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _twice(item)


def _faults(config: Mapping, schema: Mapping, known: Mapping[str, Sequence[str]]) -> dict[str, None]:
    """What the schema says against the config, each once, by key, and words that pages would not show."""
    # A grammar of web addresses, which jsonschema would take for formats that no key here has, costs 4 s to set up.
    sys.modules.setdefault("rfc3987_syntax", None)
    import jsonschema  # takes time even so, as the readers do

    from helpers.cohort.layouts.registry import LAYOUTS

    schema = deepcopy(dict(schema))
    for name, names in {"layout": LAYOUTS, **known}.items():
        schema["$defs"][name]["enum"] = list(names)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    found = map(_sentence, sorted(errors, key=lambda error: list(map(str, error.absolute_path))))
    marked = (words for words in _words(config) if markup(words))
    return dict.fromkeys(
        [*found, *(f"{words!r} holds {markup(words)!r}, which pages would not show" for words in marked)]
    )


def _words(content) -> Iterator[str]:
    """Every text in a config, the names of its keys too."""
    if isinstance(content, Mapping):
        content = [*content, *content.values()]
    if isinstance(content, list):
        for one in content:
            yield from _words(one)
    elif isinstance(content, str):
        yield content


def _sentence(error) -> str:
    key = error.json_path[2:]
    if error.validator == "uniqueItems":
        twice = next(item for item in error.instance if error.instance.count(item) > 1)
        return f"{key} names {twice} twice"
    # What a condition of the schema demands is said in words beside it; jsonschema would print the condition.
    message = error.schema.get("$comment", error.message) if isinstance(error.schema, dict) else error.message
    return f"{key}: {message}".removeprefix(": ")


def _with_defaults(config: Mapping, schema: Mapping) -> dict:
    """Keys of the schema that the config leaves out and that have a default, also inside objects that it gives."""
    config = deepcopy(dict(config))
    for key, described in schema["properties"].items():
        if key not in config and "default" in described:
            config[key] = deepcopy(described["default"])
        elif isinstance(config.get(key), dict) and "properties" in described:
            config[key] = _with_defaults(config[key], described)
    return config


def _contradictions(config: Mapping) -> Iterator[str]:
    """What no schema can say: parts of a config that contradict each other."""
    if unknown := set(config["stem_targets"]) - set(config["targets"]):
        yield f"stem_targets {', '.join(sorted(unknown))} are not among the targets"
    if config.setdefault("example", config["sections"][0]) not in config["sections"]:
        yield f"example {config['example']!r} is not among the sections"
    if unknown := set(config.setdefault("stem_studied", [config["example"]])) - {
        config["example"],
        *config["sections"],
    }:
        yield f"stem_studied {', '.join(sorted(unknown))} are not among the sections"
    made = config.get("simulation", {}).get("sections")
    if made and (unknown := set(config["sections"]) - set(made)):
        yield f"simulation: sections {', '.join(sorted(unknown))} have no median depth there"
    files: dict[str, str] = {}
    for section in config["sections"]:
        other = files.setdefault(config.get("ids", {}).get(section, section), section)
        if other != section:
            yield f"ids give {other} and {section} the same files"
