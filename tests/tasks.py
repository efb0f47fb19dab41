"""Tasks of several processes: each process imports them by this name."""

import os
from pathlib import Path

import torch

from helpers import stamps


def rank_and_sum(fabric, value):
    """What each process knows of itself, and what all say together."""
    total = fabric.all_reduce(torch.tensor(float(fabric.global_rank + value)), reduce_op="sum")
    return fabric.global_rank, fabric.world_size, total.item()


def fail(fabric):
    raise ValueError("lower learning_rate")


def snakemake(house: Path, options: list[str], said: Path):
    """Snakemake on the toy book of a copy of the repository; what it prints goes to the file `said`."""
    from snakemake import cli  # seconds, which the other tasks do not need

    os.chdir(house)
    stamps.SOURCES = house / "src/helpers"
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        cli.main(["book", "--config", "file=config/toy.yaml", "--cores", "1", *options])
