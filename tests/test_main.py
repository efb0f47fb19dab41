"""The one program: each command has its help, and does what it says."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from helpers.__main__ import program


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], ("check", "data", "audit")),
        (["check"], ("path", "config of a cohort")),
        (["data"], ("path", "config of a cohort")),
        (["audit"], ("--predictions", "--space")),
    ],
)
def test_each_command_has_its_help(arguments, says):
    done = CliRunner().invoke(program, [*arguments, "--help"])
    assert done.exit_code == 0 and all(word in done.stdout for word in says)


def test_an_unknown_command_is_refused():
    done = subprocess.run([sys.executable, "-m", "helpers", "chekc"], capture_output=True, text=True)
    assert done.returncode == 2 and "chekc" in done.stderr
