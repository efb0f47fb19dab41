"""Where the real data lie: a user's own settings, else beside the repository; skipped where missing."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared"
# Files that take minutes go to the workers first, so that none of them works alone at the end.
LONG = ["test_edits", "test_book", "test_training", "test_warm", "test_program", "test_matrix", "test_encoders"]
LONG += ["test_real_cohort", "test_hovernet", "test_devices", "test_simulate", "test_notebooks", "test_bad_input"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, the longest at the front, the others in their order (`--no-loadscope-reorder`)."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def _data(setting: str, beside: str) -> Path:
    path = Path(os.environ.get(setting, BESIDE / beside))
    if not path.exists():
        pytest.skip(f"{setting} is not set to a folder or file that exists: no real data to test on")
    return path


@pytest.fixture(scope="session")
def her2st_root() -> Path:
    return _data("HER2ST_ROOT", "her2st")


@pytest.fixture(scope="session")
def monuseg_root() -> Path:
    return _data("MONUSEG_ROOT", "monuseg")


@pytest.fixture(scope="session")
def stem_parity() -> Path:
    return _data("STEM_PARITY", "stem/parity.npz")


@pytest.fixture(scope="session")
def mob_root() -> Path:
    return _data("MOB_ROOT", "mob")


@pytest.fixture(scope="session")
def placenta_root() -> Path:
    return _data("PLACENTA_ROOT", "visium_placenta")
