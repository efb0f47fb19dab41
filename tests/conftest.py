"""Where the real data lie: a user's own settings, else beside the repository; skipped where missing."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared"


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
