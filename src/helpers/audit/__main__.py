"""`python -m helpers.audit`, the same as `python -m helpers audit`."""

import typer

from helpers.audit.program import main

if __name__ == "__main__":
    program = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    program.command()(main)
    program()
