"""Where tables come from, for people and for machines."""

import json

from helpers import provenance


def test_provenance_holds_the_whole_config_by_its_digest():
    cohort = {"title": "Mine", "differs": "off", "k": 50}
    found = provenance.provenance(cohort, "abc")
    assert found == json.loads(json.dumps(found)) and (found["cohort"], found["commit"]) == ("Mine", "abc")
    assert found["config_sha256"] == provenance.provenance(dict(reversed(cohort.items())), "abc")["config_sha256"]
    assert found["config_sha256"] != provenance.provenance(cohort | {"k": 20}, "abc")["config_sha256"]
    assert set(found["versions"]) == set(provenance.PACKAGES)


def test_a_book_says_when_it_was_made():
    assert provenance.made().startswith("Built 20")


def test_a_crate_names_every_file_once_and_the_code_and_day_that_made_them(tmp_path):
    """RO-Crate 1.1: a descriptor about the root, each part an entity, each reference to one that is there."""
    for name in ("floors.csv", "answer.svg", provenance.CRATE):
        (tmp_path / name).write_text("x")
    said = provenance.provenance({"title": "Mine", "differs": "off"}, "abc")
    made = json.loads(json.dumps(provenance.crate(tmp_path, said, {"floors.csv": "19_floors"})))
    entities = {entity["@id"]: entity for entity in made["@graph"]}
    assert len(entities) == len(made["@graph"]) and made["@context"].startswith("https://w3id.org/ro/crate/1.1")
    assert entities[provenance.CRATE]["about"] == {"@id": "./"}
    assert [part["@id"] for part in entities["./"]["hasPart"]] == ["answer.svg", "floors.csv"]
    assert entities["floors.csv"]["description"] == "left by notebooks/19_floors.ipynb"
    assert "description" not in entities["answer.svg"]
    run = entities[entities["./"]["mentions"]["@id"]]
    assert entities[run["instrument"]["@id"]]["version"] == "abc" and run["endTime"] == said["date"]
    assert {part["@id"] for part in run["result"]} <= set(entities)
