"""Where a network computes: on which device, in how many processes, in which precision.

A process has one device: a GPU where there is one. Programs side by side take a GPU each; one program on several is one
process for each, joined by Lightning Fabric (through NCCL between GPUs, Gloo between processors).
"""

import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT


def run(task: Callable, *arguments, n_devices: int = 1, precision: str = "float32"):
    """`task(fabric, *arguments)`, in one process for each of `n_devices`; returns what the first of them does.

    One device: in this process. Several: `task` is a function of a module, and `fabric` knows its rank; a script that
    calls this needs its `if __name__ == "__main__"`. ValueError for more GPUs than there are, and for what a process
    raised.
    """
    if n_devices == 1:
        with claimed(precision) as fabric:
            return task(fabric, *arguments)
    if n_devices < 1 or (kind() == "cuda" and n_devices > torch.cuda.device_count()):
        raise ValueError(f"n_devices is {n_devices}: set it to one, or to at most as many GPUs as there are")
    settings = LaunchConfig(
        *(1, 1, n_devices),
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        local_addr="localhost",
        max_restarts=0,
    )
    try:
        with free_gpus(n_devices) as indices, same_signals():
            return elastic_launch(settings, process)(task, indices or n_devices, precision, *arguments)[0]
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        message = first.message if isinstance(first.message, str) else first.message["message"]
        raise ValueError(f"one of {n_devices} processes failed: {message}") from error


def process(task: Callable, devices: int | list[int], precision: str, *arguments):
    """What one of several processes does: its rank comes from the environment it was started in."""
    fabric = Fabric(accelerator=kind(), devices=devices, strategy="ddp", precision=PRECISIONS[precision])
    fabric.launch()
    torch.backends.cuda.matmul.allow_tf32 = True
    result = task(fabric, *arguments)
    return result if fabric.is_global_zero else None


@contextmanager
def same_signals() -> Iterator[None]:
    """Give signals back the meaning they had, as torch's launcher changes it in the main thread."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS} if in_main else {}
    try:
        yield
    finally:
        for number, meaning in before.items():
            signal.signal(number, meaning)


@contextmanager
def claimed(precision: str = "float32") -> Iterator[Fabric]:
    """A device for this process until the end of the block: a GPU that no other program of ours has, else the CPU."""
    with free_gpus(1) as indices, torch.cuda.device(indices[0] if indices else -1):
        before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, True
        try:
            # A process of its own, also where a cluster's scheduler counts it as one of several.
            environment = LightningEnvironment()
            yield Fabric(
                accelerator=kind(), devices=indices or 1, precision=PRECISIONS[precision], plugins=[environment]
            )
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def free_gpus(n: int) -> Iterator[list[int]]:
    """Indices of `n` GPUs, held by locks that end with the process at the latest; none where there is no GPU.

    Those with the most free memory that are not held; where too few are left, held ones are shared.
    """
    free = {i: -torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())} if kind() == "cuda" else {}
    order, held = sorted(free, key=free.get), []
    with ExitStack() as stack:
        for index in order:
            # By its own name, as each program may be shown other GPUs under the same numbers.
            name = f"helpers-gpu-{torch.cuda.get_device_properties(index).uuid}.lock"
            try:
                stack.enter_context(FileLock(Path(tempfile.gettempdir()) / name, mode=0o666, timeout=0))
            except (Timeout, PermissionError):
                continue
            held.append(index)
            if len(held) == n:
                break
        yield (held + [index for index in order if index not in held])[:n]


def kind() -> str:
    """cuda or cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_precision(precision: str) -> str:
    """The precision asked for, or float32 where this device would only imitate bfloat16."""
    if precision == "float32":
        return precision
    if kind() == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    return precision if native else "float32"


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Turn what a device says when its memory is full into advice."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ValueError(f"the device's memory is too small: {advice}") from error
