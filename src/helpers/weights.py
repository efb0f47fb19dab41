"""Weights of networks in files: read without running code from them, and compared with what a network takes."""

from collections.abc import Mapping
from pathlib import Path

REFUSED = (
    "damaged, or holds more than tensors and plain values, which is not read because it could run code; where it was "
    "made, save its state dict alone"
)


def read_tensors(path: str | Path, damaged: str = REFUSED, unsafe: str = REFUSED):
    """What torch.save or safetensors wrote: tensors, on the CPU, and plain values; nothing in the file is run as code.

    FileNotFoundError for a missing file. ValueError, naming the file, for one that is `damaged` and for one that is
    not tensors alone, `unsafe`: the sentences that say so, and what to do.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of saved weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: {damaged}") from error
    except Exception as error:  # pickle's UnpicklingError and whatever a hostile file provokes
        raise ValueError(f"{path}: {unsafe}") from error


def is_state_dict(content) -> bool:
    """Whether it is tensors by name, at least one."""
    import torch

    if not isinstance(content, dict) or not content:
        return False
    return all(isinstance(value, torch.Tensor) for value in content.values())


def misfits(found: Mapping, wanted: Mapping) -> dict[str, tuple]:
    """Parameters that a network misses, does not know or has in another shape: name -> (shape found, shape wanted).

    Both map names to tensors: the weights, and what the network takes. A shape is None where a side lacks the name.
    Those of the network come first, in its order; empty where the weights fit.
    """
    pairs = {
        name: tuple(tuple(side[name].shape) if name in side else None for side in (found, wanted))
        for name in [*wanted, *found]
    }
    return {name: (theirs, ours) for name, (theirs, ours) in pairs.items() if theirs != ours}
