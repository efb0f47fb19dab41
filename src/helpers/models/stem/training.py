"""STEM: a diffusion transformer whose tokens are genes, from the image of a spot to samples of its expression.

Recipes, network, weights, training, sampling, in this order; the diffusion itself is in `diffusion`. `PROFILES` holds
sizes and recipes: `paper` is the published one, `departures` lists where another differs and why.
Source: Zhu et al., ICLR 2025, arXiv 2501.15598; transformer with adaLN-Zero: Peebles & Xie 2023, arXiv 2212.09748.
"""

import hashlib
import math
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm.std import tqdm

from helpers import store
from helpers.models import devices
from helpers.models.stem import diffusion
from helpers.models.stem.network import Stem, build, evaluate, finite, load, mixed, plain, read_tensors
from helpers.models.stem.recipes import recipe
from helpers.models.stem.sampling import ROWS

# --- training: arrays in, arrays out -----------------------------------------------------------------------------


def fit(
    conditions: np.ndarray,
    targets: np.ndarray,
    profile: str = "quick",
    seed: int = 0,
    progress: bool = False,
    sections: Sequence[str] | None = None,
    augmented: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    n_devices: int = 1,
    **changes,
) -> dict:
    """Train the network to turn noise into the targets of a spot, given its conditions.

    `conditions` is spots x features, `targets` spots x genes, `sections` the section of each spot, `augmented` spots x
    views x features (the patch as it is and turned or mirrored), `changes` are hyperparameters that differ from the
    profile's. With `checkpoint` the state is written there a hundred times, and a fit that finds its own there goes on
    from it, to the numbers of an unbroken one. `n_devices` GPUs share each batch, to the numbers of one but for
    rounding.
    Returns what `sample` needs, tensors and plain values only: `hyper`, the EMA `weights`, centre and scale of genes
    and conditions; and `loss` with columns step, squared error, variational term (bits), each row the mean over the
    steps since the row before, and `validation` with columns step, squared error on the validation section.
    The draws of a step depend on seed and step alone, not on the targets or the arm.
    ValueError for input that is not finite or does not match, for a checkpoint of another fit, when the loss is no
    longer finite, and when the device's memory is too small.
    """
    hyper = recipe(profile, **changes)
    hyper["precision"] = devices.usable(hyper["precision"])
    held = watched_spots(sections, len(targets), hyper, seed)
    data, undo = prepared(conditions, targets, sections, augmented, hyper, ~held)
    if augmented is None:
        hyper["augment"] = False
    batch = min(hyper["batch_size"], (~held).sum() * data["conditions"].shape[1])
    if n_devices > batch:
        raise ValueError(f"{n_devices} devices cannot share a batch of {batch}: set n_devices to fewer")
    kept = devices.run(
        train,
        *(data, held, hyper, seed, progress, checkpoint),
        n_devices=n_devices,
        precision=hyper["precision"],
    )
    return {"hyper": hyper} | undo | kept


def train(
    fabric: Fabric,
    data: dict[str, torch.Tensor],
    held: np.ndarray,
    hyper: dict,
    seed: int,
    progress: bool,
    checkpoint: str | Path | None,
) -> dict:
    """The steps of `fit`, in each of the processes that share them: EMA weights, loss, validation."""
    about = {**hyper, "seed": seed, **{name: list(value.shape) for name, value in data.items()}, "data": digest(data)}
    model = build(hyper, data["targets"].shape[1], data["conditions"].shape[2], seed).to(fabric.device)
    ema = deepcopy(model)
    network = fabric.setup_module(torch.compile(model) if hyper["compile"] else model)
    average = get_ema_multi_avg_fn(hyper["ema"])
    optimizer = torch.optim.AdamW(
        model.parameters(), hyper["learning_rate"], weight_decay=hyper["weight_decay"], fused=True
    )
    state = {"step": 0, "loss": [], "validation": [], "best": None}
    if checkpoint is not None and Path(checkpoint).is_file():
        state = resumed(checkpoint, about, model, ema, optimizer)
    fabric.barrier()  # all have read it before the first writes it again

    with devices.enough_memory(f"set batch_size={max(1, hyper['batch_size'] // 2)}"):
        x0, y = (data[name][~held].to(fabric.device) for name in ("targets", "conditions"))
        watched = [values[held].to(fabric.device) for values in (data["targets"], data["conditions"][:, 0])]
        generator, sums = torch.Generator(fabric.device), torch.zeros(2, device=fabric.device)
        row_every = max(1, hyper["steps"] // 100)
        for step in tqdm(
            range(state["step"], hyper["steps"]),
            "STEM",
            hyper["steps"],
            initial=state["step"],
            disable=not progress or not fabric.is_global_zero,
        ):
            if state["best"] and len(state["validation"]) - 1 - state["best"]["row"] >= hyper["patience"]:
                break
            draws = draw(step, *y.shape, x0.shape[1], hyper, seed, generator)
            # Each process takes its part of the batch; gradients are averaged, so parts weigh by their size.
            part = tuple(values[fabric.global_rank :: fabric.world_size] for values in draws)
            weight = len(part[0]) * fabric.world_size / len(draws[0])
            loss = weight * training_loss(network, x0, y, part, hyper, fabric)
            optimizer.param_groups[0]["lr"] = hyper["learning_rate"] * rate_factor(step, hyper)
            optimizer.zero_grad()
            fabric.backward(loss.sum())
            optimizer.step()
            with torch.no_grad():
                average(list(ema.parameters()), list(model.parameters()), None)
            sums += loss.detach()
            if (step + 1) % row_every and step + 1 < hyper["steps"]:
                continue

            row = [step + 1, *(fabric.all_reduce(sums.clone()) / (step + 1 - state["step"])).tolist()]
            if not math.isfinite(sum(row)) or not all(p.isfinite().all() for p in model.parameters()):
                raise ValueError(advice_on_divergence(step + 1, hyper, state["step"], checkpoint))
            state["loss"].append(row)
            state["step"] = step + 1
            sums.zero_()
            if held.any():
                validate(state, ema, *watched, hyper, seed, generator, fabric)
            if checkpoint is not None and fabric.is_global_zero:
                save(checkpoint, about, state, model, ema, optimizer)
    weights = state["best"]["weights"] if held.any() else ema.state_dict()
    kept = {name: torch.tensor(state[name], dtype=torch.float64) for name in ("loss", "validation")}
    return {"weights": {name: value.cpu() for name, value in weights.items()}} | kept


def prepared(
    conditions: np.ndarray,
    targets: np.ndarray,
    sections: Sequence[str] | None,
    augmented: np.ndarray | None,
    hyper: dict,
    learned: np.ndarray,
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Targets (spots, genes) and conditions (spots, views, features) as the network sees them, and what undoes that.

    Centre and scale are those of the `learned` spots (bool); what the others measured reaches nothing but themselves.
    """
    x0, y = finite("targets", targets), finite("conditions", conditions)[:, None]
    if augmented is not None and hyper["augment"]:
        y = finite("augmented conditions", augmented, n_axes=3)
    sections = np.asarray(["all"] * len(x0) if sections is None else sections)
    if not len(x0) == len(y) == len(sections):
        raise ValueError(
            f"{len(y)} spots have conditions, {len(x0)} have targets and {len(sections)} a section: "
            "give all for the same spots"
        )
    group = torch.from_numpy(np.unique(sections, return_inverse=True)[1])
    learned = torch.from_numpy(learned)
    undo = plain(x0.shape[1], y.shape[2])

    if hyper["arm"] == "clipped":
        limit = torch.bincount(group)[group].sqrt()[:, None]
        x0 = x0.clamp(-limit, limit)
    level = x0[learned][0]
    constant = (x0[learned] - level).abs().amax(0) < 1e-6
    if hyper["arm"] == "standardized" or hyper["within_sections"]:
        undo["centre"] = x0[learned].mean(0)
        x0 = x0 - (means(x0, group)[group] if hyper["within_sections"] else undo["centre"])
    if hyper["arm"] == "standardized":
        undo["scale"] = spread(x0[learned])
        x0 = x0 / undo["scale"]
    # A gene that does not vary stays where it is: whatever the sample says of it is multiplied by zero.
    undo["centre"], undo["scale"] = torch.where(constant, level, undo["centre"]), undo["scale"] * ~constant

    if hyper["scale_conditions"] or hyper["within_sections"]:
        undo["condition_centre"] = y[learned].mean((0, 1))
        y = y - (means(y.mean(1), group)[group][:, None] if hyper["within_sections"] else undo["condition_centre"])
    if hyper["scale_conditions"]:
        undo["condition_scale"] = spread(y[learned].flatten(0, 1))
        y = y / undo["condition_scale"]
    return {"targets": x0, "conditions": y}, undo


def means(values: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """The mean of each group of rows, groups x columns."""
    sums = torch.zeros(int(group.max()) + 1, values.shape[1]).index_add_(0, group, values)
    return sums / torch.bincount(group)[:, None]


def spread(values: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each column, 1 where a column does not vary."""
    sd = values.std(0, correction=0)
    return torch.where(sd < 1e-6, torch.ones_like(sd), sd)


def watched_spots(sections: Sequence[str] | None, n_spots: int, hyper: dict, seed: int) -> np.ndarray:
    """Which spots the fit watches instead of learning from (bool): one training section, another for another seed."""
    if not hyper["patience"]:
        return np.zeros(n_spots, bool)
    names = list(dict.fromkeys([] if sections is None else sections))
    if len(names) < 2:
        raise ValueError("patience watches one of two or more training sections: give sections=, or set patience=0")
    return np.asarray(sections) == names[seed % len(names)]


def draw(
    step: int,
    n_spots: int,
    n_views: int,
    condition_size: int,
    n_genes: int,
    hyper: dict,
    seed: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, ...]:
    """Spots, views, times, noise of targets and of conditions of a step, from seed and step alone.

    Each view of each spot comes at most once in an epoch, and a last incomplete batch is dropped, as published.
    """
    n_rows, device = n_spots * n_views, generator.device
    size = min(hyper["batch_size"], n_rows)
    epoch, batch = divmod(step, n_rows // size)
    generator.manual_seed(mixed(seed, 0, epoch))
    rows = torch.randperm(n_rows, generator=generator, device=device)[batch * size :][:size]
    generator.manual_seed(mixed(seed, 1, step))
    if hyper["stratified"]:
        spread_evenly = torch.arange(size, device=device) + torch.rand(size, generator=generator, device=device)
        t = (spread_evenly / size * diffusion.N_TIMES).long()
    else:
        t = torch.randint(diffusion.N_TIMES, (size,), generator=generator, device=device)
    noise = torch.randn(size, 1, n_genes, generator=generator, device=device)
    jitter = torch.randn(size, condition_size, generator=generator, device=device)
    return rows // n_views, rows % n_views, t, noise, jitter


def training_loss(
    network: nn.Module, x0: torch.Tensor, y: torch.Tensor, draws: tuple[torch.Tensor, ...], hyper: dict, fabric: Fabric
) -> torch.Tensor:
    """Squared error and variational term of a batch, (2,): their sum is what is minimized."""
    rows, views, t, noise, jitter = draws
    target, condition = x0[rows][:, None], y[rows, views] + hyper["condition_noise"] * jitter
    output = evaluate(fabric, network, diffusion.noised(target, t, noise), t, condition)
    return torch.stack([part.mean() for part in diffusion.losses(output, target, t, noise, hyper["prediction"])])


def rate_factor(step: int, hyper: dict) -> float:
    """Learning rate at a step, as a fraction of its highest."""
    if hyper["rate"] == "constant":
        return 1.0
    done = (step + 0.5) / hyper["steps"]
    return done / 0.05 if done < 0.05 else 0.5 * (1 + math.cos(math.pi * (done - 0.05) / 0.95))


@torch.no_grad()
def validate(
    state: dict,
    ema: Stem,
    x0: torch.Tensor,
    y: torch.Tensor,
    hyper: dict,
    seed: int,
    generator: torch.Generator,
    fabric: Fabric,
) -> None:
    """Append the squared error on the validation section, always at the same times and noise; keep the best weights."""
    generator.manual_seed(mixed(seed, 2, 0))
    t = (torch.randperm(len(x0), generator=generator, device=x0.device) + 0.5) / len(x0) * diffusion.N_TIMES
    noise = torch.randn(len(x0), 1, x0.shape[1], generator=generator, device=x0.device)
    errors = []
    for target, condition, times, drawn in zip(
        *(v.split(ROWS[fabric.device.type]) for v in (x0[:, None], y, t.long(), noise)), strict=True
    ):
        output = evaluate(fabric, ema, diffusion.noised(target, times, drawn), times, condition)
        errors.append(diffusion.losses(output, target, times, drawn, hyper["prediction"])[0])
    # All processes stop at the same step, also where their devices differ in rounding.
    error = fabric.broadcast(torch.cat(errors).mean().item())
    state["validation"].append([state["step"], error])
    if state["best"] is None or state["validation"][-1][1] < state["validation"][state["best"]["row"]][1]:
        weights = {name: value.clone() for name, value in ema.state_dict().items()}
        state["best"] = {"row": len(state["validation"]) - 1, "weights": weights}


def save(path: str | Path, about: dict, state: dict, model: Stem, ema: Stem, optimizer: torch.optim.Optimizer) -> None:
    """Write a fit's state whole or not at all, in the published format with what resuming needs besides."""
    states = {"model": model.state_dict(), "ema": ema.state_dict(), "opt": optimizer.state_dict()}
    with store.atomic(path) as partial:
        torch.save(states | {"about": about, "state": state}, partial)


def resumed(path: str | Path, about: dict, model: Stem, ema: Stem, optimizer: torch.optim.Optimizer) -> dict:
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
    load(model, saved["model"])
    load(ema, saved["ema"])
    optimizer.load_state_dict(saved["opt"])
    return saved["state"]


def digest(data: dict[str, torch.Tensor]) -> str:
    """What tells one set of training data from another."""
    return hashlib.sha256(b"".join(value.contiguous().numpy().tobytes() for value in data.values())).hexdigest()[:16]


def advice_on_divergence(step: int, hyper: dict, last_good: int, checkpoint: str | Path | None) -> str:
    """What to say when the loss or the weights are no longer finite."""
    kept = (
        f"{checkpoint} holds the last good state, step {last_good}"
        if checkpoint
        else "checkpoint= would keep the last good state"
    )
    return (
        f"the loss is not finite at step {step} of {hyper['steps']} ({kept}): lower learning_rate (now "
        f"{hyper['learning_rate']:g}), or set arm='standardized' if some targets are very large"
    )
