"""A warm interpreter: what most pages import is imported once, and pages and their kernels start as copies of it.

`python -m helpers.warm serve COMMAND ...` runs a command with such an interpreter beside it; `workflow.run` finds it by
the environment. Of the project nothing is kept when a copy is made, so a copy always has the present code.
A machine without fork, or a page that takes several threads, starts as ever.
"""

import contextlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from helpers import quiet

ADDRESS = "HELPERS_WARM"  # of the socket, in the environment
# One thread: a copy of a process that runs several would have one, and wait for the others forever.
SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
BACKEND = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # read when matplotlib is imported
PAPERMILL, KERNEL = "papermill", "kernel"
# Not the inline backend, which shows figures only where a kernel runs when it is imported.
IMPORTED = (
    *("papermill.cli", "nbclient", "ipykernel.kernelapp", "IPython", "matplotlib.pyplot"),
    *("pandas", "pandas.io.formats.style", "pyarrow", "anndata", "h5py", "scanpy", "seaborn", "PIL.Image", "tqdm.auto"),
    *("scipy.stats", "scipy.spatial", "scipy.optimize", "scipy.ndimage", "sklearn.linear_model"),
    *("sklearn.decomposition", "sklearn.model_selection", "skimage.color", "skimage.feature", "skimage.filters"),
    *("skimage.measure", "skimage.segmentation", "torch", "torch.optim.swa_utils", "lightning_fabric", "diffusers"),
    *("tiatoolbox.wsicore.wsireader", "tiatoolbox.utils.misc", "tiatoolbox.utils.transforms"),
)


def serve(command: Sequence[str]) -> int:
    """Run a command with a warm interpreter beside it; the command's exit status."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        address = str(Path(folder, "socket"))
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(address)
        listening.listen()
        held, alive = os.pipe()  # closed by the end of this process, whatever ends it
        server = os.fork()
        if server == 0:
            os.close(alive)
            # The terminal's interrupt is for the command; what it leaves to be done here ends with it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                _answer(listening, held)
            finally:
                os._exit(1)  # without it pages start cold
        listening.close()
        os.close(held)
        with subprocess.Popen(command, env=os.environ | {ADDRESS: address}) as running:
            # The command, which has work to tidy up, says when it ends.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda *_: running.terminate())
            status = running.wait()
        os.close(alive)
        os.waitpid(server, 0)
        return status if status >= 0 else 128 - status


def command(arguments: Sequence[str], cold: Sequence[str], threads: int, environment: Mapping[str, str]) -> list[str]:
    """The command that starts a page: a copy of the warm interpreter where one is there, else the `cold` command."""
    warm = threads == 1 and ADDRESS in environment and _listens(environment[ADDRESS])
    return [sys.executable, "-m", "helpers.warm", PAPERMILL, *arguments] if warm else list(cold)


def _listens(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(address) == 0


def ask(what: str, arguments: Sequence[str]) -> int:
    """Have the server start `what` with this process's environment, folder and outputs; its exit status."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(os.environ[ADDRESS])
        order = json.dumps(
            {"what": what, "arguments": list(arguments), "cwd": str(Path.cwd()), "env": dict(os.environ)}
        )
        with tempfile.TemporaryFile() as file:  # longer than a packet
            file.write(order.encode())
            file.flush()
            socket.send_fds(asking, [b"."], [file.fileno(), 1, 2])
            # Asked to stop, it hangs up, and the server stops what it has started.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
            status = asking.recv(16)
    return int(status) if status else 1


# The server -----------------------------------------------------------------------------------------------------


def _answer(listening: socket.socket, held: int) -> None:
    """Start a copy for each who asks, and tell them how it ended; until the other end of the pipe `held` is closed."""
    os.environ.update(SINGLE | BACKEND)
    with quiet.tiatoolbox():
        for name in IMPORTED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    for name in [name for name in sys.modules if name.startswith("helpers.")]:
        del sys.modules[name]  # a copy reads them as they are then
    woken, wakes = socket.socketpair()
    woken.setblocking(False), wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    askers: dict[int, socket.socket] = {}  # by the process that was started for them
    with selectors.DefaultSelector() as waiting:
        for one in (listening, woken, held):
            waiting.register(one, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj == held:
                    _stop(askers)
                elif key.fileobj is listening:
                    asker = listening.accept()[0]
                    if process := _start(asker, [listening, woken, wakes, *askers.values()]):
                        askers[process] = asker
                        waiting.register(asker, selectors.EVENT_READ)
                elif key.fileobj is woken:
                    woken.recv(4096)
                    _report(askers, waiting)
                else:  # nothing comes from who asks but the end: killed, or it hangs up
                    waiting.unregister(key.fileobj)
                    for process in (number for number, asker in askers.items() if asker is key.fileobj):
                        os.kill(process, signal.SIGTERM)


def _start(asker: socket.socket, others: Sequence[socket.socket]) -> int:
    """Start a copy as it was asked for; the number of its process, 0 where nothing was asked (`_listens`)."""
    _, given, *_ = socket.recv_fds(asker, 1, 3)
    if not given:
        asker.close()
        return 0
    order, *outputs = given
    process = os.fork()
    if process == 0:
        for one in (asker, *others):
            one.close()
        with os.fdopen(order, "rb") as file:
            file.seek(0)
            asked = json.loads(file.read())
        _become(asked, outputs)
    for number in (order, *outputs):
        os.close(number)
    return process


def _report(askers: dict[int, socket.socket], waiting: selectors.BaseSelector) -> None:
    """Tell those whose process has ended its exit status."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if asker := askers.pop(ended[0], None):  # a library may start a process of its own
                with asker:
                    with contextlib.suppress(KeyError):
                        waiting.unregister(asker)
                    with contextlib.suppress(OSError):
                        asker.send(str(os.waitstatus_to_exitcode(ended[1])).encode())


def _stop(askers: Mapping[int, socket.socket]) -> None:
    for process in askers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    os._exit(0)


# A copy ---------------------------------------------------------------------------------------------------------


def _become(asked: Mapping, outputs: Sequence[int]) -> None:
    """Do in this copy what was asked for, and end."""
    status = 1
    try:
        for number, output in zip((1, 2), outputs, strict=True):
            os.dup2(output, number)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(asked["env"] | SINGLE)
        os.chdir(asked["cwd"])
        sys.path[0] = ""
        {PAPERMILL: _papermill, KERNEL: _kernel}[asked["what"]](asked["arguments"])
        status = 0
    except SystemExit as ends:
        status = ends.code if isinstance(ends.code, int) else int(ends.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


def _papermill(arguments: Sequence[str]) -> None:
    """Papermill, whose kernel is a copy too."""
    from jupyter_client.provisioning import local_provisioner
    from papermill.cli import papermill

    launch = local_provisioner.launch_kernel
    asking = [sys.executable, "-m", "helpers.warm", KERNEL]
    local_provisioner.launch_kernel = lambda cmd, **more: launch([*asking, *cmd[cmd.index("-f") :]], **more)
    sys.argv = ["papermill", *arguments]
    papermill(args=list(arguments))


def _kernel(arguments: Sequence[str]) -> None:
    """The kernel of a notebook, in a session of its own as any kernel, ending where the server does."""
    os.setsid()
    sys.argv = ["ipykernel_launcher", *arguments, f"--IPKernelApp.parent_handle={os.getppid()}"]
    runpy.run_module("ipykernel_launcher", run_name="__main__")


if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    sys.exit(serve(rest) if first == "serve" else ask(first, rest))
