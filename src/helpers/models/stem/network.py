"""STEM's network: a transformer whose tokens are genes, with the published parameter names; its weights."""

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn

from helpers.models.stem.recipes import Recipe, recipe
from helpers.weights import is_state_dict, misfits, read_tensors

# --- network -------------------------------------------------------------------------------------------------


class GeneEmbedding(nn.Module):
    """Values (B, 1, G) -> tokens (B, G, h): what each gene's value is, plus which gene it is."""

    def __init__(self, n_genes: int, hidden_size: int):
        super().__init__()
        self.gene_name_ebd = nn.Parameter(torch.empty(n_genes, hidden_size))
        self.gene_count_ebd = two_layers(1, hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        return self.gene_count_ebd(x.transpose(1, 2)) + self.gene_name_ebd


class TimeEmbedding(nn.Module):
    """Times (B,) -> (B, h) through 128 cosines and 128 sines of geometrically spaced periods."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.mlp = two_layers(256, hidden_size, hidden_size)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        frequencies = torch.exp(-math.log(10_000) * torch.arange(128, device=t.device) / 128)
        angles = t[:, None].float() * frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1))


class Attention(nn.Module):
    """Self-attention over the genes."""

    def __init__(self, hidden_size: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.proj = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (B, G, h) -> tokens."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two layers with a GELU between them."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, 4 * hidden_size)
        self.fc2 = nn.Linear(4 * hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (B, G, h) -> tokens, each by itself."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and an MLP, both scaled, shifted and gated by the condition."""

    def __init__(self, hidden_size: int, n_heads: int):
        super().__init__()
        self.attn = Attention(hidden_size, n_heads)
        self.mlp = Mlp(hidden_size)
        self.adaLN_modulation = modulation(hidden_size, 6)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Tokens (B, G, h) -> tokens, under a condition (B, h)."""
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
        """Tokens (B, G, h) -> (B, 2, G), under a condition (B, h)."""
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
        """The published start: gates and the head at zero, so that every block passes on what it gets."""
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
        """As the class says."""
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


def build(hyper: Recipe, n_genes: int, condition_size: int, seed: int) -> Stem:
    """A network with initial weights that depend on the seed alone; leaves torch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Stem(n_genes, hyper.hidden_size, hyper.depth, hyper.n_heads, condition_size)
        if hyper.condition_init == "xavier":
            for layer in model.label_embed[::2]:
                nn.init.xavier_uniform_(layer.weight)
    return model


def load(model: Stem, weights: dict[str, torch.Tensor]) -> None:
    """Put weights into the network; ValueError names the first that is missing, unknown or of another shape."""
    if wrong := misfits(weights, model.state_dict()):
        name = min(wrong)
        theirs, ours = ("absent" if shape is None else shape for shape in wrong[name])
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
    if not is_state_dict(weights):
        raise ValueError(f"{path}: not weights; save a state dict, or a dict that holds one each as model and ema")
    # What a parallel or a compiled wrapper puts before each name.
    return {name.removeprefix("module.").removeprefix("_orig_mod."): value for name, value in weights.items()}


def from_weights(weights: dict[str, torch.Tensor], profile: str = "paper", **changes) -> dict:
    """What `sample` needs, from weights that were trained elsewhere with a profile's recipe, targets as they were."""
    n_genes = len(weights["gene_joint_embed.gene_name_ebd"])
    condition_size = weights["label_embed.0.weight"].shape[1]
    hyper = recipe(profile, **changes)
    load(build(hyper, n_genes, condition_size, seed=0), weights)
    return {"hyper": asdict(hyper), "weights": weights} | unscaled(n_genes, condition_size)


def unscaled(n_genes: int, condition_size: int) -> dict[str, torch.Tensor]:
    """Centre and scale of targets and of conditions that change nothing."""
    return {
        "centre": torch.zeros(n_genes),
        "scale": torch.ones(n_genes),
        "condition_centre": torch.zeros(condition_size),
        "condition_scale": torch.ones(condition_size),
    }


def mixed_seed(*numbers: int) -> int:
    """One seed from several numbers, such that neighbours give unrelated ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


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
