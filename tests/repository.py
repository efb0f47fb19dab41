"""A copy of the repository, to be edited and built by tests."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]


def copied(into: Path) -> Path:
    """Copy to a folder the code, the notebooks and the words; what is only read is linked."""
    for folder in ("src", "notebooks", "book"):
        shutil.copytree(ROOT / folder, into / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("Snakefile", "_config.yml", "config", "data", "profiles"):
        (into / name).symlink_to(ROOT / name)
    return into
