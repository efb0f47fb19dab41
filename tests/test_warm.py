"""A page that starts as a copy of a warm interpreter is the page that it would be, and nothing is left running."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from helpers import warm

WHOLE = "import sys; from helpers import warm; sys.exit(warm.serve(sys.argv[1:]))"
SERVE = WHOLE.replace("sys.exit", "warm.IMPORTED = ('json',); sys.exit")  # with little to import: it takes seconds

LANGUAGE = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}


def served(*command, serve=SERVE, **more):
    given = {"capture_output": True, "text": True, "timeout": 120} | more
    return subprocess.run([sys.executable, "-c", serve, *command], **given)


def asked(code, *arguments):
    """A program that is run beside a server, written in Python."""
    return [sys.executable, "-c", code, *arguments]


def test_a_page_is_started_warm_where_one_thread_does_and_a_server_is_there(tmp_path):
    cold = ["python", "-c", "papermill"]
    assert warm.command(["a.ipynb"], cold, 1, {}) == cold
    assert warm.command(["a.ipynb"], cold, 1, {warm.ADDRESS: str(tmp_path / "gone")}) == cold
    code = (
        "import os; from helpers import warm\nfor n in (1, 2): print(warm.command(['a'], ['cold'], n, os.environ)[-2:])"
    )
    assert served(*asked(code)).stdout.strip() == "['papermill', 'a']\n['cold']"


def test_without_its_server_pages_start_cold(tmp_path):
    """The socket of a server that was killed is still there."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "left"))
    left.close()
    assert warm.command(["a.ipynb"], ["cold"], 1, {warm.ADDRESS: str(tmp_path / "left")}) == ["cold"]


def test_processes_that_libraries_start_are_no_one_s(notebook):
    """What is imported may look at the machine by a process of its own, which ends while pages run."""
    (notebook / "looks.py").write_text("import subprocess; subprocess.Popen(['sleep', '1'])")
    program = [sys.executable, "-m", "helpers.warm", "papermill", "page.ipynb", "out.ipynb", "--kernel", "python3"]
    serve = SERVE.replace("('json',)", "('looks',)")
    more = {"cwd": notebook, "env": os.environ | {"OF_THE_CALLER": "mine"}, "timeout": 120}
    twice = [*asked("import subprocess, sys; sys.exit(sum(subprocess.call(sys.argv[1:]) for _ in '12'))"), *program]
    assert subprocess.run([sys.executable, "-c", serve, *twice], capture_output=True, **more).returncode == 0


def test_the_status_of_the_command_is_passed_on_and_the_server_ends_with_it():
    done = served(*asked(f"import os, sys; print(os.environ['{warm.ADDRESS}']); sys.exit(3)"))
    assert done.returncode == 3 and not Path(done.stdout.strip()).exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_command_may_tidy_up_when_it_is_stopped(tmp_path, sent):
    """As Snakemake does, which else leaves a lock: it takes a second, and its status is the run's."""
    tidy = "lambda *_: (time.sleep(1), pathlib.Path('tidy').touch(), sys.exit(7))"
    code = f"import signal, sys, time, pathlib; signal.signal({int(sent)}, {tidy}); pathlib.Path('up').touch()"
    code += "; time.sleep(60)"
    running = subprocess.Popen([sys.executable, "-c", SERVE, *asked(code)], cwd=tmp_path, start_new_session=True)
    while not (tmp_path / "up").exists():
        time.sleep(0.1)
    (os.killpg if sent == signal.SIGINT else os.kill)(running.pid, sent)  # an interrupt goes to all of a terminal
    assert running.wait(30) == 7 and (tmp_path / "tidy").exists()


def test_the_server_ends_with_a_run_that_is_killed(tmp_path):
    code = f"import os, pathlib, time; pathlib.Path('at').write_text(os.environ['{warm.ADDRESS}']); time.sleep(60)"
    running = subprocess.Popen([sys.executable, "-c", SERVE, *asked(code)], cwd=tmp_path)
    while not ((tmp_path / "at").exists() and (tmp_path / "at").read_text()):
        time.sleep(0.1)
    running.kill()
    running.wait()
    listening = True
    for _ in range(100):
        with socket.socket(socket.AF_UNIX) as asking:
            listening = asking.connect_ex((tmp_path / "at").read_text()) == 0
        if not listening:
            break
        time.sleep(0.1)
    assert not listening


@pytest.fixture
def notebook(tmp_path):
    cells = [
        nbformat.v4.new_code_cell("k = 1", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("import os, sys\nprint(os.environ['OF_THE_CALLER'], os.path.basename(os.getcwd()))"),
        nbformat.v4.new_code_cell("print('said', file=sys.stderr)\n10 // k"),
        nbformat.v4.new_code_cell("import matplotlib.pyplot as plt\nplt.plot([k]);"),
    ]
    book = nbformat.v4.new_notebook(cells=cells, metadata=LANGUAGE)
    nbformat.write(book, tmp_path / "page.ipynb")
    return tmp_path


def papermill(folder, name, k, warmly, serve=SERVE):
    arguments = ["page.ipynb", f"{name}.ipynb", "-p", "k", str(k), "--kernel", "python3", "--no-progress-bar"]
    program = [sys.executable, "-m", *(["helpers.warm"] * warmly), "papermill", *arguments]
    more = {"cwd": folder, "env": os.environ | {"OF_THE_CALLER": "mine"}}
    done = (
        served(*program, serve=serve, **more)
        if warmly
        else subprocess.run(program, capture_output=True, text=True, **more)
    )
    cells = json.loads((folder / f"{name}.ipynb").read_text())["cells"]
    kept = ("output_type", "name", "text", "data", "ename", "evalue")
    return done.returncode, [
        [{key: o[key] for key in kept if key in o} for o in cell.get("outputs", [])] for cell in cells
    ]


def test_a_page_and_its_outputs_are_those_of_a_cold_start(notebook):
    status, outputs = papermill(notebook, "warm", 2, True, WHOLE)
    assert (status, outputs) == papermill(notebook, "cold", 2, False) and status == 0
    assert outputs[2][0]["text"] == [f"mine {notebook.name}\n"] and "image/png" in outputs[4][-1]["data"]


def test_an_error_in_a_page_is_an_error_of_the_run(notebook):
    status, outputs = papermill(notebook, "warm", 0, True)
    assert status == 1 and "ZeroDivisionError" in json.dumps(outputs)


def test_who_is_stopped_stops_what_was_started_for_it(notebook):
    """The kernel writes its number, and is gone soon after papermill's asker was told to stop."""
    code = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)], metadata=LANGUAGE), notebook / "page.ipynb"
    )
    stop = (
        "import pathlib, subprocess, sys, time\n"
        "ask = [sys.executable, '-m', 'helpers.warm', 'papermill', 'page.ipynb', 'out.ipynb', '--kernel', 'python3']\n"
        "asking = subprocess.Popen(ask)\n"
        "while not (pathlib.Path('pid').is_file() and pathlib.Path('pid').read_text()): time.sleep(0.1)\n"
        "asking.terminate(); sys.exit(asking.wait())"
    )
    done = served(*asked(stop), cwd=notebook)
    assert done.returncode == 128 + signal.SIGTERM
    kernel = int((notebook / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{kernel}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{kernel}").exists()
