from pathlib import Path

import pytest
import yaml

from helpers.cohort import config as cohort_config

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = yaml.safe_load((CONFIG / "schema.yaml").read_text())


def config(name="toy", **changes):
    return yaml.safe_load((CONFIG / f"{name}.yaml").read_text()) | changes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bakcbones": ["ridge"]}, "bakcbones"),
        ({"targets": ["log2", "pearson_residual", "tpm"]}, "targets.*tpm"),
        ({"sections": ["A1", "../A1"]}, r"sections\[1\].*\.\./A1"),
        ({"sections": ["A1", "A2", "A1"]}, "sections names A1 twice"),
        ({"mpp": 0}, "mpp: 0 is less than"),
        ({"mpp": -0.5}, "mpp: -0.5 is less than"),
        ({"mpp": 352.8}, "mpp: 352.8 is greater than"),
        ({"layout": "visium"}, "layout: 'visium' is not one of .*spaceranger"),
        ({"example": "Z9"}, "example 'Z9' is not among the sections"),
        ({"stem_targets": ["log1p_cp10k"], "targets": ["log2", "pearson_residual"]}, "stem_targets log1p_cp10k"),
        ({"ids": {"A1": "A2"}}, "ids give A1 and A2 the same files"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused_in_one_line(changes, says):
    with pytest.raises(ValueError, match=f"^mine.yaml: .*{says}.*config/schema.yaml says") as error:
        cohort_config.check(config(**changes), SCHEMA, "mine.yaml")
    assert len(str(error.value)) < 250


def test_an_environment_variable_names_another_root(monkeypatch):
    monkeypatch.delenv("HER2ST_ROOT", raising=False)
    assert cohort_config.root(config("her2st")) == "data/her2st"
    monkeypatch.setenv("HER2ST_ROOT", "elsewhere")
    assert cohort_config.root(config("her2st")) == "elsewhere"
    assert cohort_config.readers(config("her2st")) == {"layout": "her2st", "root": "elsewhere"}


def test_the_readers_get_what_the_config_says_about_files():
    readers = cohort_config.readers(config(mpp=0.5, images="images/{section}.tif"))
    assert readers == {"layout": "her2st", "root": "build/toy/raw", "mpp": 0.5, "images": "images/{section}.tif"}


def test_a_file_that_is_no_config_is_named(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match="bad.yaml: not YAML"):
        cohort_config.load(tmp_path / "bad.yaml")
    with pytest.raises(FileNotFoundError, match="none.yaml: no such config"):
        cohort_config.load(tmp_path / "none.yaml")
