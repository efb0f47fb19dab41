"""Where a book and the tables of a reference run come from: day, commit, config, versions; for people and machines."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("anndata", "numpy", "pandas", "scanpy", "scikit-image", "scikit-learn", "scipy", "tiatoolbox", "torch")
CRATE = "ro-crate-metadata.json"


def made() -> str:
    """The day, and the commit of the code where it is known: what stands at the foot of each page of a book."""
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(git, capture_output=True, text=True, check=False) if shutil.which("git") else None
    commit = found.stdout.strip() if found else ""
    return f"Built {date.today().isoformat()}" + (f" from commit {commit}" if commit else "")


def provenance(cohort: Mapping, commit: str) -> dict:
    """What the tables of a reference run come from: `cohort` is its whole config, `commit` that of the code."""
    return {
        "cohort": cohort["title"],
        "differs": cohort["differs"],
        "commit": commit,
        "config_sha256": hashlib.sha256(json.dumps(cohort, sort_keys=True).encode()).hexdigest(),
        "date": date.today().isoformat(),
        "python": sys.version.split()[0],
        "versions": {package: version(package) for package in PACKAGES},
    }


def crate(folder: Path, said: Mapping, made_by: Mapping[str, str]) -> dict:
    """The files of a run as an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1), JSON-LD that `CRATE` in the folder holds.

    `said` is the run's `provenance`; `made_by` names, by file, the notebook that leaves it, where one does.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != CRATE)
    files = [{"@id": name, "@type": "File", "name": name} for name in names]
    for file in files:
        if page := made_by.get(file["name"]):
            file["description"] = f"left by notebooks/{page}.ipynb"
    parts = [{"@id": name} for name in names]
    requirements = [f"{package} {number}" for package, number in said["versions"].items()]
    about = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Tables of a run on {said['cohort']}",
        "description": "What each normalization of gene expression keeps of nuclei and depth, and what models score.",
        "datePublished": said["date"],
        "license": {"@id": "https://spdx.org/licenses/BSD-3-Clause"},
        "hasPart": parts,
        "mentions": {"@id": "#run"},
    }
    run = {"@id": "#run", "@type": "CreateAction", "name": "make reference", "endTime": said["date"], "result": parts}
    code = {
        "@id": "#code",
        "@type": "SoftwareSourceCode",
        "name": "Normalization bias in predicting gene expression from H&E",
        "version": said["commit"],
        "programmingLanguage": f"Python {said['python']}",
        "softwareRequirements": requirements,
    }
    itself = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    graph = [itself, about, run | {"instrument": {"@id": "#code"}}, code, *files]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}
