"""`python -m helpers.audit` is the audit of the one program."""

import runpy
import sys

import pytest


def test_it_has_the_options_of_the_audit(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["audit", "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("helpers.audit", run_name="__main__")
    said = capsys.readouterr().out
    assert not left.value.code and all(option in said for option in ("--predictions", "--space"))
