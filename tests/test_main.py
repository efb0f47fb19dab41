"""The one program: each command has its help, and does what it says."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["helpers", "--help"], ("check", "data", "audit")),
        (["helpers", "check", "--help"], ("path", "config of a cohort")),
        (["helpers", "data", "--help"], ("path", "config of a cohort")),
        (["helpers", "audit", "--help"], ("--predictions", "--space")),
    ],
)
def test_each_command_has_its_help(arguments, says):
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=True)
    assert all(word in done.stdout for word in says)


def test_an_unknown_command_is_refused():
    done = subprocess.run([sys.executable, "-m", "helpers", "chekc"], capture_output=True, text=True)
    assert done.returncode == 2 and "chekc" in done.stderr
