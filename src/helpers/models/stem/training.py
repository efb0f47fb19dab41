"""Training STEM, a diffusion transformer whose tokens are genes: arrays in, arrays out.

Source: Zhu et al., ICLR 2025, arXiv 2501.15598; transformer with adaLN-Zero: Peebles & Xie 2023, arXiv 2212.09748.
"""

import hashlib
import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm.std import tqdm

from helpers import store
from helpers.models import devices
from helpers.models.stem import diffusion
from helpers.models.stem.network import Stem, build, evaluate, finite, load, mixed_seed, unscaled
from helpers.models.stem.recipes import Recipe, recipe
from helpers.models.stem.sampling import ROWS
from helpers.weights import read_tensors

# --- what travels together -----------------------------------------------------------------------------------


class Run(NamedTuple):
    """How a fit is computed; its numbers do not depend on it, but for rounding."""

    progress: bool = False
    checkpoint: str | Path | None = None  # the state is written there a hundred times, and a fit goes on from its own
    n_devices: int = 1  # GPUs that share each batch


class Task(NamedTuple):
    """What all steps of a fit share."""

    fabric: Fabric
    hyper: Recipe
    seed: int
    run: Run
    generator: torch.Generator
    x0: torch.Tensor  # targets to learn from, spots x genes
    y: torch.Tensor  # their conditions, spots x views x features
    watched: tuple[torch.Tensor, torch.Tensor]  # targets and conditions (spots x features) to watch instead


class Parts(NamedTuple):
    """What the steps of a fit change."""

    model: Stem
    network: nn.Module  # the model as it is called: compiled, shared among processes
    ema: Stem  # the running average of the model's weights
    optimizer: torch.optim.Optimizer


@dataclass
class History:
    """How far a fit is: steps done, rows of the two tables, the best weights and the row of validation they are of."""

    step: int = 0
    loss: list = field(default_factory=list)
    validation: list = field(default_factory=list)
    best: dict | None = None


# --- a fit ---------------------------------------------------------------------------------------------------


def fit(
    conditions: np.ndarray,
    targets: np.ndarray,
    profile: str = "quick",
    seed: int = 0,
    sections: Sequence[str] | None = None,
    augmented: np.ndarray | None = None,
    run: Run | None = None,
    **changes,
) -> dict:
    """Train the network to turn noise into the targets of a spot, given its conditions.

    `conditions` is spots x features, `targets` spots x genes, `sections` the section of each spot, `augmented` spots x
    views x features (the patch as it is and turned or mirrored), `changes` are hyperparameters that differ from the
    profile's. Returns what `sample` needs, tensors and plain values only: `hyper`, the EMA `weights`, centre and scale
    of genes and conditions; and `loss` with columns step, squared error, variational term (bits), each row the mean
    over the steps since the row before, and `validation` with columns step, squared error on the validation section.
    The draws of a step depend on seed and step alone, not on the targets or their scaling. A fit that goes on from its
    checkpoint comes to the numbers of an unbroken one.
    ValueError for input that is not finite or does not match, for a checkpoint of another fit, when the loss is no
    longer finite, and when the device's memory is too small.
    """
    hyper, run = recipe(profile, **changes), run or Run()
    hyper = replace(hyper, precision=devices.usable_precision(hyper.precision))
    held = watched_spots(sections, len(targets), hyper, seed)
    data, undo = prepared(conditions, targets, sections, augmented, hyper, ~held)
    hyper = replace(hyper, augment=hyper.augment and augmented is not None)
    batch = min(hyper.batch_size, (~held).sum() * data["conditions"].shape[1])
    if run.n_devices > batch:
        raise ValueError(f"{run.n_devices} devices cannot share a batch of {batch}: set n_devices to fewer")
    kept = devices.run(train, data, held, hyper, seed, run, n_devices=run.n_devices, precision=hyper.precision)
    return {"hyper": asdict(hyper)} | undo | kept


def train(fabric: Fabric, data: dict[str, torch.Tensor], held: np.ndarray, hyper: Recipe, seed: int, run: Run) -> dict:
    """The steps of `fit`, in each of the processes that share them: EMA weights, loss, validation."""
    about = {**asdict(hyper), "seed": seed, **{name: list(value.shape) for name, value in data.items()}}
    about["data"] = digest(data)
    parts, history = assembled(fabric, data, hyper, seed), History()
    if run.checkpoint is not None and Path(run.checkpoint).is_file():
        history = resumed(run.checkpoint, about, parts)
    fabric.barrier()  # all have read it before the first writes it again

    with devices.enough_memory(f"set batch_size={max(1, hyper.batch_size // 2)}"):
        task = on_device(fabric, data, held, hyper, seed, run)
        sums, row_every = torch.zeros(2, device=fabric.device), max(1, hyper.steps // 100)
        steps, quiet = range(history.step, hyper.steps), not run.progress or not fabric.is_global_zero
        for step in tqdm(steps, "STEM", hyper.steps, initial=history.step, disable=quiet):
            if has_stopped_gaining(history, hyper.patience):
                break
            sums += one_step(task, parts, step)
            if (step + 1) % row_every and step + 1 < hyper.steps:
                continue
            add_row(task, parts, history, step + 1, sums)
            sums.zero_()
            if run.checkpoint is not None and fabric.is_global_zero:
                save(run.checkpoint, about, parts, history)
    weights = history.best["weights"] if held.any() else parts.ema.state_dict()
    kept = {name: torch.tensor(getattr(history, name), dtype=torch.float64) for name in ("loss", "validation")}
    return {"weights": {name: value.cpu() for name, value in weights.items()}} | kept


def assembled(fabric: Fabric, data: dict[str, torch.Tensor], hyper: Recipe, seed: int) -> Parts:
    """Network, average and optimizer before the first step."""
    model = build(hyper, data["targets"].shape[1], data["conditions"].shape[2], seed).to(fabric.device)
    ema = deepcopy(model)
    network = fabric.setup_module(torch.compile(model) if hyper.compile else model)
    optimizer = torch.optim.AdamW(model.parameters(), hyper.learning_rate, weight_decay=hyper.weight_decay, fused=True)
    return Parts(model, network, ema, optimizer)


def on_device(
    fabric: Fabric, data: dict[str, torch.Tensor], held: np.ndarray, hyper: Recipe, seed: int, run: Run
) -> Task:
    """The data of a fit where it is computed: spots to learn from, and those `held` (bool) to watch."""
    x0, y = (data[name][~held].to(fabric.device) for name in ("targets", "conditions"))
    watched = tuple(values[held].to(fabric.device) for values in (data["targets"], data["conditions"][:, 0]))
    return Task(fabric, hyper, seed, run, torch.Generator(fabric.device), x0, y, watched)


def one_step(task: Task, parts: Parts, step: int) -> torch.Tensor:
    """Draw a batch, follow its gradient, average the weights; the two terms of its loss, (2,)."""
    fabric, hyper = task.fabric, task.hyper
    draws = draw(step, (*task.y.shape, task.x0.shape[1]), hyper, task.seed, task.generator)
    # Each process takes its part of the batch; gradients are averaged, so parts weigh by their size.
    part = tuple(values[fabric.global_rank :: fabric.world_size] for values in draws)
    weight = len(part[0]) * fabric.world_size / len(draws[0])
    loss = weight * training_loss(parts.network, task.x0, task.y, part, hyper, fabric)
    parts.optimizer.param_groups[0]["lr"] = hyper.learning_rate * rate_factor(step, hyper)
    parts.optimizer.zero_grad()
    fabric.backward(loss.sum())
    parts.optimizer.step()
    with torch.no_grad():
        average = get_ema_multi_avg_fn(hyper.ema)
        average(list(parts.ema.parameters()), list(parts.model.parameters()), None)
    return loss.detach()


def add_row(task: Task, parts: Parts, history: History, step: int, sums: torch.Tensor) -> None:
    """Append the mean of the losses since the row before and, where spots are watched, how these are predicted.

    ValueError, and no row, where the loss or the weights are no longer finite.
    """
    row = [step, *(task.fabric.all_reduce(sums.clone()) / (step - history.step)).tolist()]
    if not math.isfinite(sum(row)) or not all(p.isfinite().all() for p in parts.model.parameters()):
        raise ValueError(advice_on_divergence(step, task.hyper, history.step, task.run.checkpoint))
    history.loss.append(row)
    history.step = step
    if len(task.watched[0]):
        validate(task, parts.ema, history)


def has_stopped_gaining(history: History, patience: int) -> bool:
    """Whether the best row of validation is `patience` rows back."""
    return history.best is not None and len(history.validation) - 1 - history.best["row"] >= patience


# --- targets and conditions as the network sees them ------------------------------------------------------------


def prepared(
    conditions: np.ndarray,
    targets: np.ndarray,
    sections: Sequence[str] | None,
    augmented: np.ndarray | None,
    hyper: Recipe,
    learned: np.ndarray,
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Targets (spots, genes) and conditions (spots, views, features) as the network sees them, and what undoes that.

    Centre and scale are those of the `learned` spots (bool); what the others measured reaches nothing but themselves.
    """
    x0, y = finite("targets", targets), finite("conditions", conditions)[:, None]
    if augmented is not None and hyper.augment:
        y = finite("augmented conditions", augmented, n_axes=3)
    sections = np.asarray(["all"] * len(x0) if sections is None else sections)
    if not len(x0) == len(y) == len(sections):
        raise ValueError(
            f"{len(y)} spots have conditions, {len(x0)} have targets and {len(sections)} a section: "
            "give all for the same spots"
        )
    group = torch.from_numpy(np.unique(sections, return_inverse=True)[1])
    undo = unscaled(x0.shape[1], y.shape[2])
    learned = torch.from_numpy(learned)
    x0, undo["centre"], undo["scale"] = scaled_targets(x0, group, learned, hyper)
    y, centre, scale = scaled_conditions(y, group, learned, hyper)
    return {"targets": x0, "conditions": y}, undo | {"condition_centre": centre, "condition_scale": scale}


def scaled_targets(
    x0: torch.Tensor, group: torch.Tensor, learned: torch.Tensor, hyper: Recipe
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Targets of spots (spots x genes) in sections `group`, scaled, and the centre and scale that undo it."""
    centre, scale = torch.zeros(x0.shape[1]), torch.ones(x0.shape[1])
    if hyper.scaling == "clipped":
        limit = torch.bincount(group)[group].sqrt()[:, None]
        x0 = x0.clamp(-limit, limit)
    level = x0[learned][0]
    constant = (x0[learned] - level).abs().amax(0) < 1e-6
    if hyper.scaling == "standardized" or hyper.within_sections:
        centre = x0[learned].mean(0)
        x0 = x0 - (means(x0, group)[group] if hyper.within_sections else centre)
    if hyper.scaling == "standardized":
        scale = spread(x0[learned])
        x0 = x0 / scale
    # A gene that does not vary stays where it is: whatever the sample says of it is multiplied by zero.
    return x0, torch.where(constant, level, centre), scale * ~constant


def scaled_conditions(
    y: torch.Tensor, group: torch.Tensor, learned: torch.Tensor, hyper: Recipe
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Conditions (spots x views x features) as `scale_conditions` and `within_sections` say, with centre and scale."""
    centre, scale = torch.zeros(y.shape[2]), torch.ones(y.shape[2])
    if hyper.scale_conditions or hyper.within_sections:
        centre = y[learned].mean((0, 1))
        y = y - (means(y.mean(1), group)[group][:, None] if hyper.within_sections else centre)
    if hyper.scale_conditions:
        scale = spread(y[learned].flatten(0, 1))
        y = y / scale
    return y, centre, scale


def means(values: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """The mean of each group of rows, groups x columns."""
    sums = torch.zeros(int(group.max()) + 1, values.shape[1]).index_add_(0, group, values)
    return sums / torch.bincount(group)[:, None]


def spread(values: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each column, 1 where a column does not vary."""
    sd = values.std(0, correction=0)
    return torch.where(sd < 1e-6, torch.ones_like(sd), sd)


def watched_spots(sections: Sequence[str] | None, n_spots: int, hyper: Recipe, seed: int) -> np.ndarray:
    """Which spots the fit watches instead of learning from (bool): one training section, another for another seed."""
    if not hyper.patience:
        return np.zeros(n_spots, bool)
    names = list(dict.fromkeys([] if sections is None else sections))
    if len(names) < 2:
        raise ValueError("patience watches one of two or more training sections: give sections=, or set patience=0")
    return np.asarray(sections) == names[seed % len(names)]


# --- the parts of a step -----------------------------------------------------------------------------------------


def draw(
    step: int, shape: tuple[int, int, int, int], hyper: Recipe, seed: int, generator: torch.Generator
) -> tuple[torch.Tensor, ...]:
    """Spots, views, times, noise of targets and of conditions of a step, from seed and step alone.

    `shape` is the numbers of spots, views, features and genes. Each view of each spot comes at most once in an epoch,
    and a last incomplete batch is dropped, as published.
    """
    n_spots, n_views, n_features, n_genes = shape
    n_rows, device = n_spots * n_views, generator.device
    size = min(hyper.batch_size, n_rows)
    epoch, batch = divmod(step, n_rows // size)
    generator.manual_seed(mixed_seed(seed, 0, epoch))
    rows = torch.randperm(n_rows, generator=generator, device=device)[batch * size :][:size]
    generator.manual_seed(mixed_seed(seed, 1, step))
    if hyper.stratified:
        spread_evenly = torch.arange(size, device=device) + torch.rand(size, generator=generator, device=device)
        t = (spread_evenly / size * diffusion.N_TIMES).long()
    else:
        t = torch.randint(diffusion.N_TIMES, (size,), generator=generator, device=device)
    noise = torch.randn(size, 1, n_genes, generator=generator, device=device)
    jitter = torch.randn(size, n_features, generator=generator, device=device)
    return rows // n_views, rows % n_views, t, noise, jitter


def training_loss(
    network: nn.Module,
    x0: torch.Tensor,
    y: torch.Tensor,
    draws: tuple[torch.Tensor, ...],
    hyper: Recipe,
    fabric: Fabric,
) -> torch.Tensor:
    """Squared error and variational term of a batch, (2,): their sum is what is minimized."""
    rows, views, t, noise, jitter = draws
    target, condition = x0[rows][:, None], y[rows, views] + hyper.condition_noise * jitter
    output = evaluate(fabric, network, diffusion.noised(target, t, noise), t, condition)
    return torch.stack([part.mean() for part in diffusion.losses(output, target, t, noise, hyper.prediction)])


def rate_factor(step: int, hyper: Recipe) -> float:
    """Learning rate at a step, as a fraction of its highest."""
    if hyper.rate == "constant":
        return 1.0
    done = (step + 0.5) / hyper.steps
    return done / 0.05 if done < 0.05 else 0.5 * (1 + math.cos(math.pi * (done - 0.05) / 0.95))


@torch.no_grad()
def validate(task: Task, ema: Stem, history: History) -> None:
    """Append the squared error on the validation section, always at the same times and noise; keep the best weights."""
    (x0, y), generator = task.watched, task.generator
    generator.manual_seed(mixed_seed(task.seed, 2, 0))
    t = (torch.randperm(len(x0), generator=generator, device=x0.device) + 0.5) / len(x0) * diffusion.N_TIMES
    noise = torch.randn(len(x0), 1, x0.shape[1], generator=generator, device=x0.device)
    errors = []
    for target, condition, times, drawn in zip(
        *(v.split(ROWS[task.fabric.device.type]) for v in (x0[:, None], y, t.long(), noise)), strict=True
    ):
        output = evaluate(task.fabric, ema, diffusion.noised(target, times, drawn), times, condition)
        errors.append(diffusion.losses(output, target, times, drawn, task.hyper.prediction)[0])
    # All processes stop at the same step, also where their devices differ in rounding.
    error = task.fabric.broadcast(torch.cat(errors).mean().item())
    history.validation.append([history.step, error])
    if history.best is None or error < history.validation[history.best["row"]][1]:
        weights = {name: value.clone() for name, value in ema.state_dict().items()}
        history.best = {"row": len(history.validation) - 1, "weights": weights}


# --- checkpoints -------------------------------------------------------------------------------------------------


def save(path: str | Path, about: dict, parts: Parts, history: History) -> None:
    """Write a fit's state whole or not at all, in the published format with what resuming needs besides."""
    states = {"model": parts.model.state_dict(), "ema": parts.ema.state_dict(), "opt": parts.optimizer.state_dict()}
    with store.atomic(path) as partial:
        torch.save(states | {"about": about, "state": vars(history)}, partial)


def resumed(path: str | Path, about: dict, parts: Parts) -> History:
    """Put a checkpoint into the parts of a fit; ValueError says in what the checkpoint is of another fit."""
    saved = read_tensors(path)
    theirs = saved.get("about") if isinstance(saved, dict) else None
    if theirs is None:
        raise ValueError(f"{path}: not a checkpoint of this project's fits; read_weights reads weights made elsewhere")
    for name in about | theirs:
        if about.get(name) != theirs.get(name):
            raise ValueError(
                f"{path}: checkpoint of another fit, its {name} is {theirs.get(name)} and this one's "
                f"{about.get(name)}; remove the file, or give another path"
            )
    load(parts.model, saved["model"])
    load(parts.ema, saved["ema"])
    parts.optimizer.load_state_dict(saved["opt"])
    return History(**saved["state"])


def digest(data: dict[str, torch.Tensor]) -> str:
    """What tells one set of training data from another."""
    return hashlib.sha256(b"".join(value.contiguous().numpy().tobytes() for value in data.values())).hexdigest()[:16]


def advice_on_divergence(step: int, hyper: Recipe, last_good: int, checkpoint: str | Path | None) -> str:
    """What to say when the loss or the weights are no longer finite."""
    kept = (
        f"{checkpoint} holds the last good state, step {last_good}"
        if checkpoint
        else "checkpoint= would keep the last good state"
    )
    return (
        f"the loss is not finite at step {step} of {hyper.steps} ({kept}): lower learning_rate (now "
        f"{hyper.learning_rate:g}), or set scaling='standardized' if some targets are very large"
    )
