"""What a user may state of a cohort is described in the schema of its config."""

import dataclasses
from pathlib import Path

import yaml

from helpers.cohort.stated import Stated

SCHEMA = yaml.safe_load((Path(__file__).parents[2] / "config/schema.yaml").read_text())


def test_each_statement_is_a_key_of_a_config_that_may_be_left_out():
    names = {field.name for field in dataclasses.fields(Stated)}
    assert names <= set(SCHEMA["properties"]) - set(SCHEMA["required"])
    assert set(dataclasses.asdict(Stated()).values()) == {None}
