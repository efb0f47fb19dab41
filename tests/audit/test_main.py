"""`python -m helpers.audit` is the audit of the one program."""

import subprocess
import sys


def test_it_has_the_options_of_the_audit():
    programs = (["-m", "helpers.audit"], ["-m", "helpers", "audit"])
    said = [
        subprocess.run([sys.executable, *p, "--help"], capture_output=True, text=True, check=True) for p in programs
    ]
    assert all("--predictions" in one.stdout and "--space" in one.stdout for one in said)
