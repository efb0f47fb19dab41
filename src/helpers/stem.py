"""STEM: a diffusion transformer whose tokens are genes, from the image of a spot to samples of its expression.

Recipes, network, weights, training, sampling, in this order; the diffusion itself is in `diffusion`. `PROFILES` holds
sizes and recipes: `paper` is the published one, `departures` lists where another differs and why.
Source: Zhu et al., ICLR 2025, arXiv 2501.15598; transformer with adaLN-Zero: Peebles & Xie 2023, arXiv 2212.09748.
"""

import hashlib
import math
import pickle
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm.std import tqdm

from helpers import calibration, devices, diffusion, store

# --- recipes -------------------------------------------------------------------------------------------------

PAPER = {
    "hidden_size": 384,
    "depth": 12,
    "n_heads": 6,
    "condition_init": "0.02",  # standard deviation of the first weights that conditions meet; "xavier": by width
    "condition_noise": 0.0,  # standard deviation of noise on the conditions, anew at each step
    "scale_conditions": False,  # True: z-score each feature on the training spots
    "within_sections": False,  # True: conditions and targets as deviations from the mean of their training section
    "augment": True,  # with `augmented` conditions: each spot once per epoch in each of its views
    "arm": "as_is",  # "standardized": z-score each gene on the training spots; "clipped": at +-sqrt(spots)
    "prediction": "epsilon",  # "v": the first output is the velocity, see `diffusion.velocity`
    "steps": 250_000,
    "batch_size": 256,
    "learning_rate": 1e-4,
    "rate": "constant",  # "cosine": linear warm-up over 5 % of the steps, then a cosine to zero
    "weight_decay": 0.0,
    "stratified": False,  # True: the times of a batch are spread evenly over the schedule
    "ema": 0.9999,
    "precision": "float32",  # "bfloat16": for products of matrices, where the device can. On a GPU float32's are TF32
    "compile": False,  # True: fused by torch.compile, which takes a minute first
    "patience": 0,  # hundredths of the steps without a better loss on a validation section, then stop; 0: no such split
    "sampler": "ancestral",  # "sde", "ddim", "dpm": few calls, by diffusers; "mean": the mean in one call
    "calls": 1000,  # of the network for each sample by sde, ddim or dpm
    "n_samples": 20,
    "antithetic": False,  # True: samples come in pairs with opposite noise
    "shared": False,  # True: a sample has the same noise in every spot
}
CHOICES = {
    "condition_init": ("0.02", "xavier"),
    "arm": ("as_is", "standardized", "clipped"),
    "prediction": ("epsilon", "v"),
    "rate": ("constant", "cosine"),
    "precision": ("float32", "bfloat16"),
    "sampler": ("ancestral", "sde", "ddim", "dpm", "mean"),
}
# What lets a small network converge in minutes.
SHORT = {
    "condition_init": "xavier",
    "condition_noise": 1.0,
    "scale_conditions": True,
    "within_sections": True,
    "augment": False,
    "arm": "standardized",
    "prediction": "v",
    "learning_rate": 4e-3,
    "rate": "cosine",
    "stratified": True,
    "ema": 0.99,
    "precision": "bfloat16",
    "sampler": "sde",
    "calls": 25,
    "antithetic": True,
}
REASONS = {
    "hidden_size": "a network that a few hundred spots can teach, in minutes",
    "depth": "as the width",
    "n_heads": "as the width",
    "condition_init": "weights of 0.02 suit 1,536 conditions and leave fewer too faint to learn from",
    "condition_noise": "without it a few hundred spots are learned by heart; it acts as the penalty of ridge does",
    "scale_conditions": "features of unlike units",
    "within_sections": "differences of stain and depth between sections are not taken for effects, as in ridge",
    "augment": "the features of these profiles hardly change when a patch is turned or mirrored",
    "arm": "one schedule of noise suits genes of one spread",
    "prediction": "with the noise the conditions matter least to the loss where they matter most to the sample",
    "steps": "minutes instead of hours",
    "batch_size": "as the steps",
    "learning_rate": "a smaller network and fewer steps",
    "rate": "a high rate needs a start and an end",
    "stratified": "small batches would see few of the thousand times",
    "ema": "0.9999 would still hold the untrained weights",
    "precision": "faster, where the processor or GPU computes in it; the loss is the same to three digits",
    "sampler": "few calls draw from what a thousand do",
    "calls": "as the sampler",
    "antithetic": "opposite noise cancels in a mean",
}
SMALL = {"hidden_size": 32, "depth": 2, "n_heads": 1, "batch_size": 32}
PROFILES = {
    "quick": PAPER | SHORT | SMALL | {"steps": 200},
    "cpu": PAPER | SHORT | SMALL | {"steps": 400},
    "paper": PAPER,
}


def recipe(profile: str, **changes) -> dict:
    """A profile's hyperparameters with some of them changed; ValueError for a profile or name that does not exist."""
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}: choose from {', '.join(PROFILES)}")
    return changed(PROFILES[profile], changes)


def changed(hyper: dict, changes: dict) -> dict:
    """Hyperparameters with some replaced; ValueError for a name or value that does not exist."""
    hyper = hyper | changes
    if unknown := hyper.keys() - PAPER.keys():
        raise ValueError(f"no hyperparameter {', '.join(sorted(unknown))}: choose from {', '.join(PAPER)}")
    for name, values in CHOICES.items():
        if hyper[name] not in values:
            raise ValueError(f"{name} is {hyper[name]!r}: choose from {', '.join(values)}")
    if (hyper["sampler"], hyper["prediction"]) == ("mean", "epsilon"):
        raise ValueError(
            "sampler 'mean' needs prediction='v': at the last time an error in the noise weighs 157 times in the "
            "target; choose sde"
        )
    return hyper


def departures(hyper: str | dict) -> pd.DataFrame:
    """Where a profile, or the hyperparameters of a fit, differ from the published recipe, and why.

    Columns setting, published, here, why. What the encoder departs in is not among it.
    """
    hyper = recipe(hyper) if isinstance(hyper, str) else hyper
    rows = [(name, PAPER[name], hyper[name], REASONS.get(name, "")) for name in PAPER if hyper[name] != PAPER[name]]
    return pd.DataFrame(rows, columns=["setting", "published", "here", "why"])


# --- network -------------------------------------------------------------------------------------------------


class GeneEmbedding(nn.Module):
    """Values (B, 1, G) -> tokens (B, G, h): what each gene's value is, plus which gene it is."""

    def __init__(self, n_genes: int, hidden_size: int):
        super().__init__()
        self.gene_name_ebd = nn.Parameter(torch.empty(n_genes, hidden_size))
        self.gene_count_ebd = two_layers(1, hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gene_count_ebd(x.transpose(1, 2)) + self.gene_name_ebd


class TimeEmbedding(nn.Module):
    """Times (B,) -> (B, h) through 128 cosines and 128 sines of geometrically spaced periods."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.mlp = two_layers(256, hidden_size, hidden_size)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        frequencies = torch.exp(-math.log(10_000) * torch.arange(128, device=t.device) / 128)
        angles = t[:, None].float() * frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1))


class Attention(nn.Module):
    def __init__(self, hidden_size: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.proj = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, hidden_size: int):
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, 4 * hidden_size)
        self.fc2 = nn.Linear(4 * hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, hidden_size: int, n_heads: int):
        super().__init__()
        self.attn = Attention(hidden_size, n_heads)
        self.mlp = Mlp(hidden_size)
        self.adaLN_modulation = modulation(hidden_size, 6)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(condition).chunk(6, dim=-1)
        x = torch.addcmul(x, gate_a[:, None], self.attn(modulated_norm(x, shift_a, scale_a)))
        return torch.addcmul(x, gate_m[:, None], self.mlp(modulated_norm(x, shift_m, scale_m)))


class Head(nn.Module):
    """Tokens (B, G, h) -> (B, 2, G)."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.linear = nn.Linear(hidden_size, 2)
        self.adaLN_modulation = modulation(hidden_size, 2)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=-1)
        return self.linear(modulated_norm(x, shift, scale)).transpose(1, 2)


class Stem(nn.Module):
    """The published network, with the published parameter names: its checkpoints load as they are.

    `forward` takes x (B, 1, G) noised targets, t (B,) integer times, y (B, C) image conditions and returns
    (B, 2, G): the noise estimate (or velocity, see `velocity`) and where the variance lies in its range.
    """

    def __init__(self, n_genes: int, hidden_size: int, depth: int, n_heads: int, condition_size: int):
        super().__init__()
        if hidden_size % n_heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of n_heads {n_heads}: change one of them")
        self.gene_joint_embed = GeneEmbedding(n_genes, hidden_size)
        self.time_embed = TimeEmbedding(hidden_size)
        self.label_embed = two_layers(condition_size, condition_size, hidden_size)
        self.blocks = nn.ModuleList(Block(hidden_size, n_heads) for _ in range(depth))
        self.final_layer = Head(hidden_size)
        self.initialize()

    def initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.kaiming_uniform_(self.gene_joint_embed.gene_name_ebd, a=math.sqrt(5))
        for mlp in (self.time_embed.mlp, self.label_embed):
            nn.init.normal_(mlp[0].weight, std=0.02)
            nn.init.normal_(mlp[2].weight, std=0.02)
        # Zero: each block starts as the identity and the whole network as 0, whatever the condition.
        for layer in [block.adaLN_modulation[1] for block in self.blocks] + [self.final_layer.adaLN_modulation[1]]:
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.final_layer.linear.weight)

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        tokens = self.gene_joint_embed(x)
        condition = self.time_embed(t) + self.label_embed(y)
        for block in self.blocks:
            tokens = block(tokens, condition)
        return self.final_layer(tokens, condition)


def two_layers(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    """Linear, SiLU, linear."""
    return nn.Sequential(nn.Linear(n_in, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_out))


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Scaled dot-product attention of (B, heads, tokens, width) each."""
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":  # there torch's fused one takes more than twice as long
        return (q / math.sqrt(q.shape[-1]) @ k.mT).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


def modulation(hidden_size: int, n: int) -> nn.Sequential:
    """What a condition says of a block: SiLU and a linear layer to `n` vectors of the hidden size."""
    return nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, n * hidden_size))


def modulated_norm(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Layer norm without parameters of its own, scaled and shifted by the condition."""
    return torch.addcmul(shift[:, None], F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale[:, None])


# --- weights -------------------------------------------------------------------------------------------------


def build(hyper: dict, n_genes: int, condition_size: int, seed: int) -> Stem:
    """A network with initial weights that depend on the seed alone; leaves torch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Stem(n_genes, hyper["hidden_size"], hyper["depth"], hyper["n_heads"], condition_size)
        if hyper["condition_init"] == "xavier":
            for layer in model.label_embed[::2]:
                nn.init.xavier_uniform_(layer.weight)
    return model


def load(model: Stem, weights: dict[str, torch.Tensor]) -> None:
    """Put weights into the network; ValueError names the first that is missing, unknown or of another shape."""
    wanted = model.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        theirs, ours = (tuple(d[name].shape) if name in d else "absent" for d in (weights, wanted))
        if theirs != ours:
            raise ValueError(
                f"weights do not fit the network: {name} is {theirs} in the weights, {ours} in the network; "
                "build it for the genes, conditions and sizes that the weights were trained with"
            )
    model.load_state_dict(weights)


def read_weights(path: str | Path, use: str = "ema") -> dict[str, torch.Tensor]:
    """Weights from a checkpoint of the published code or of `fit`, {"model", "ema", "opt"}, or from a bare state dict.

    Nothing in the file is run as code. ValueError, naming the file, for anything but weights.
    """
    if use not in ("ema", "model"):
        raise ValueError(f"use is {use!r}: choose ema, the averaged weights to sample with, or model, the trained ones")
    content = read_tensors(path)
    weights = content.get(use, content) if isinstance(content, dict) else None
    if not weights or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f"{path}: not weights; save a state dict, or a dict that holds one each as model and ema")
    # What a parallel or a compiled wrapper puts before each name.
    return {name.removeprefix("module.").removeprefix("_orig_mod."): value for name, value in weights.items()}


def read_tensors(path: str | Path):
    """What torch.save wrote: tensors and plain values only. ValueError, naming the file, for anything else."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of saved weights")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, KeyError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path}: damaged, or holds more than tensors and plain values, which is not read because it could run "
            "code; where it was made, save its state dict alone"
        ) from error


def from_weights(weights: dict[str, torch.Tensor], profile: str = "paper", **changes) -> dict:
    """What `sample` needs, from weights that were trained elsewhere with a profile's recipe, targets as they were."""
    n_genes = len(weights["gene_joint_embed.gene_name_ebd"])
    condition_size = weights["label_embed.0.weight"].shape[1]
    hyper = recipe(profile, **changes)
    load(build(hyper, n_genes, condition_size, seed=0), weights)
    return {"hyper": hyper, "weights": weights} | plain(n_genes, condition_size)


def plain(n_genes: int, condition_size: int) -> dict[str, torch.Tensor]:
    """Centre and scale of targets and of conditions that change nothing."""
    return {
        "centre": torch.zeros(n_genes),
        "scale": torch.ones(n_genes),
        "condition_centre": torch.zeros(condition_size),
        "condition_scale": torch.ones(condition_size),
    }


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


def mixed(*numbers: int) -> int:
    """One seed from several numbers, such that neighbours give unrelated ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


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


# --- sampling ------------------------------------------------------------------------------------------------

ROWS = {"cpu": 80, "cuda": 512}  # samples at a time: few stay in a processor's cache, many keep a GPU busy


def sample(fitted: dict, conditions: np.ndarray, seed: int = 0, progress: bool = False, **changes) -> np.ndarray:
    """Samples of the targets given conditions (spots x features): samples x spots x genes, float32.

    The prediction is the mean over the first axis. `changes` may hold `sampler`, `calls`, `n_samples`, `antithetic`
    and `shared`. ValueError for conditions that are not finite or not as wide as those of the fit.
    """
    hyper = changed(fitted["hyper"], changes)
    y = finite("conditions", conditions)
    n_genes = len(fitted["centre"])
    model = build(hyper, n_genes, y.shape[1], seed)
    load(model, fitted["weights"])
    y = (y - fitted["condition_centre"]) / fitted["condition_scale"]
    with (
        devices.claimed(devices.usable(hyper["precision"])) as fabric,
        devices.enough_memory("predict fewer spots at a time"),
        torch.no_grad(),
    ):
        model.to(fabric.device).eval()
        chunks = list(enumerate(y.split(max(1, ROWS[fabric.device.type] // hyper["n_samples"]))))
        out = [
            # Noise shared by all spots is that of the first chunk in each.
            backwards(
                fabric, model, c.to(fabric.device), n_genes, hyper, mixed(seed, 0 if hyper["shared"] else i)
            ).cpu()
            for i, c in tqdm(chunks, "samples", disable=not progress)
        ]
    return (torch.cat(out, dim=1) * fitted["scale"] + fitted["centre"]).numpy()


def backwards(fabric: Fabric, model: Stem, y: torch.Tensor, n_genes: int, hyper: dict, seed: int) -> torch.Tensor:
    """From noise to samples x spots x genes, given conditions y (spots x features), by the chosen sampler."""
    generator, shape = torch.Generator(y.device).manual_seed(seed), (hyper["n_samples"], len(y), n_genes)

    def noise() -> torch.Tensor:
        return diffusion.gaussian(*shape, generator, hyper["antithetic"], hyper["shared"])

    def network(x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return evaluate(fabric, model, x, t, y)

    y, sampler = y.repeat(hyper["n_samples"], 1), hyper["sampler"]
    if sampler in ("ancestral", "mean"):
        way = diffusion.ancestral if sampler == "ancestral" else diffusion.expected
        return way(network, y, hyper["prediction"], noise).view(shape)
    return diffusion.few_calls(network, y, hyper["prediction"], noise, sampler, hyper["calls"]).view(shape)


def ladder(
    fitted: dict,
    conditions: np.ndarray,
    measured: np.ndarray,
    rungs: Sequence[dict],
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Ways to sample: what each costs in calls of the network, and how its predictions score.

    `measured` is spots x genes; each of `rungs` holds arguments of `sample`, and the first is what the others are
    compared with. Columns: sampler, calls, n_samples, starts, network_calls per spot, times_fewer, seconds; pcc (mean
    over genes) and pcc_50 (of the 50 best) of the mean of the samples; pcc_difference, the median over genes of how
    far a gene's PCC is from the first rung's; rvd, the relative variation distance of that mean, mean over genes of
    (var - var_measured)^2 / var_measured^2 (Zhu et al. 2025, arXiv 2501.15598), rvd_expectation, the same without the
    noise that is left in a mean of few (NaN below two independent samples or pairs), and rvd_samples, that of all
    samples together; spread, the standard deviation of the samples of a spot, mean over spots and genes. Genes that do
    not vary in `measured` are left out.
    """
    measured = np.asarray(measured, float)
    varies = measured.std(0) > 1e-6
    measured, rows, reference = measured[:, varies], [], None
    variance = measured.var(0)
    for rung in rungs:
        settings = {"seed": seed, "antithetic": False, "shared": False} | rung
        begin = time.perf_counter()
        samples = sample(fitted, conditions, progress=progress, **settings)[..., varies].astype(float)
        seconds, mean = time.perf_counter() - begin, samples.mean(0)
        half = len(samples) // 2
        independent = (samples[:half] + samples[half : 2 * half]) / 2 if settings["antithetic"] else samples
        pcc = correlations(measured, mean)
        reference = pcc if reference is None else reference
        hyper = fitted["hyper"] | rung
        calls = {"ancestral": diffusion.N_TIMES, "mean": 1}.get(hyper["sampler"], hyper["calls"])
        starts = [name for name in ("antithetic", "shared") if settings[name]] or ["independent"]
        rows.append(
            {
                "sampler": hyper["sampler"],
                "calls": calls,
                "n_samples": len(samples),
                "starts": ", ".join(starts),
                "network_calls": calls * len(samples),
                "seconds": seconds,
                "pcc": pcc.mean(),
                "pcc_50": np.sort(pcc)[-50:].mean(),
                "pcc_difference": np.median(np.abs(pcc - reference)),
                "rvd": calibration.rvd(variance, mean.var(0)),
                "rvd_expectation": calibration.rvd(variance, calibration.variance_of_expectation(independent)),
                "rvd_samples": calibration.rvd(variance, samples.var((0, 1))),
                "spread": samples.std(0).mean(),
            }
        )
    table = pd.DataFrame(rows)
    table.insert(5, "times_fewer", table["network_calls"][0] / table["network_calls"])
    return table


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson r of each column of a with that of b; 0 where b does not vary."""
    a, b = a - a.mean(0), b - b.mean(0)
    norm = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return np.divide((a * b).sum(0), norm, out=np.zeros_like(norm), where=norm > 0)


def evaluate(fabric: Fabric, model: nn.Module, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The network's answer as float32, computed in the fabric's precision."""
    with fabric.autocast():
        return model(x, t, y).float()


def finite(name: str, values: np.ndarray, n_axes: int = 2) -> torch.Tensor:
    """Spots x columns as a float32 tensor; ValueError unless there are spots and all values are finite."""
    values = torch.as_tensor(np.asarray(values, dtype=np.float32))
    if values.ndim != n_axes or not len(values):
        axes = "spots x columns" if n_axes == 2 else "spots x views x columns"
        raise ValueError(f"{name} have shape {tuple(values.shape)}: need {axes}, at least one spot")
    bad = ~values.isfinite().flatten(1).all(1)
    if bad.any():
        raise ValueError(f"{name} are not finite in {int(bad.sum())} of {len(bad)} spots: leave these spots out")
    return values
