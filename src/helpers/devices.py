"""Where a network computes: on which device, in how many processes, in which precision.

A process has one device: a GPU where there is one. Programs side by side take a GPU each; one program on several is one
process for each, joined by Lightning Fabric (through NCCL between GPUs, Gloo between processors).
"""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells of each precision it is given

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def run(task: Callable, *arguments, n_devices: int = 1, precision: str = "float32"):
    """`task(fabric, *arguments)`, in one process for each of `n_devices`; returns what the first of them does.

    One device: in this process, on a GPU that no other program of ours has claimed. Several: `task` is a function of a
    module, and `fabric` knows its rank. ValueError for more devices than there are, and for what a process raised.
    """
    if n_devices == 1:
        with claimed(precision) as fabric:
            return task(fabric, *arguments)
    if n_devices < 1 or (kind() == "cuda" and n_devices > torch.cuda.device_count()):
        raise ValueError(f"n_devices is {n_devices}: set it to one, or to as many GPUs as there are")
    # A port of its own choice for each program, no second try.
    settings = LaunchConfig(1, 1, n_devices, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0)
    try:
        return elastic_launch(settings, process)(task, n_devices, precision, *arguments)[0]
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        said = first.message if isinstance(first.message, str) else first.message["message"]
        raise ValueError(f"one of {n_devices} processes failed: {said}") from error


@record
def process(task: Callable, n_devices: int, precision: str, *arguments):
    """What one of several processes does: its rank and device come from the environment it was started in."""
    fabric = Fabric(accelerator=kind(), devices=n_devices, strategy="ddp", precision=PRECISIONS[precision])
    fabric.launch()
    result = task(fabric, *arguments)
    return result if fabric.is_global_zero else None


@contextmanager
def claimed(precision: str = "float32") -> Iterator[Fabric]:
    """The first GPU that no other process has claimed, until the end of the block.

    Shared where all are claimed: the one with the most free memory. The CPU where there is none.
    """
    with ExitStack() as stack:
        index = stack.enter_context(free_gpu()) if kind() == "cuda" else None
        yield Fabric(
            accelerator=kind(),
            devices=1 if index is None else [index],
            strategy="auto",
            precision=PRECISIONS[precision],
        )


@contextmanager
def free_gpu() -> Iterator[int]:
    """Index of a GPU, held by a lock that ends with the process at the latest."""
    with ExitStack() as stack:
        for index in range(torch.cuda.device_count()):
            # By its own name, as each program may be shown other GPUs under the same numbers.
            name = f"helpers-gpu-{torch.cuda.get_device_properties(index).uuid}.lock"
            try:
                stack.enter_context(FileLock(Path(tempfile.gettempdir()) / name, mode=0o666, timeout=0))
            except (Timeout, PermissionError):
                continue
            break
        else:
            free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
            index = free.index(max(free))
        yield index


def kind() -> str:
    """cuda or cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usable(precision: str) -> str:
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
