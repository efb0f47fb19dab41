"""STEM: a diffusion transformer whose tokens are genes, from the image of a spot to samples of its expression.

Network, diffusion, training, sampling, in this order. Sizes and recipes are in `PROFILES`: `paper` is the
published one, each other profile departs from it only in what its entry says.
Source: Zhu et al., ICLR 2025, arXiv 2501.15598; diffusion with learned variance: Nichol & Dhariwal 2021,
arXiv 2102.09672; transformer with adaLN-Zero: Peebles & Xie 2023, arXiv 2212.09748.
"""

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.std import tqdm

N_TIMES = 1000

PAPER = {
    "hidden_size": 384,
    "depth": 12,
    "n_heads": 6,
    "condition_init": "0.02",  # standard deviation of the first weights that conditions meet; "xavier": by width
    "condition_noise": 0.0,  # standard deviation of noise on the conditions, anew at each step
    "standardize": False,  # True: z-score each gene on the training spots, undone after sampling
    "prediction": "epsilon",  # "v": the first output is the velocity, see `velocity`
    "steps": 250_000,
    "batch_size": 256,
    "learning_rate": 1e-4,
    "rate": "constant",  # "cosine": linear warm-up over 5 % of the steps, then a cosine to zero
    "weight_decay": 0.0,
    "stratified": False,  # True: the times of a batch are spread evenly over the schedule
    "ema": 0.9999,
    "sampler": "ancestral",  # "ddim", "dpm": few calls, by diffusers
    "calls": 1000,  # of the network for each sample; ancestral sampling always takes 1,000
    "n_samples": 20,
    "antithetic": False,  # True: samples come in pairs that start from opposite noise
}
CHOICES = {
    "condition_init": ("0.02", "xavier"),
    "prediction": ("epsilon", "v"),
    "rate": ("constant", "cosine"),
    "sampler": ("ancestral", "ddim", "dpm"),
}
# What lets a small network converge in minutes. With epsilon the condition matters least to the loss where it
# matters most to the sample; weights of 0.02 suit 1,536 conditions and leave fewer too faint to learn from;
# without noise on them a few hundred spots are learned by heart, residuals first; opposite starts cancel most of
# the noise of a mean over few samples.
SHORT = {
    "condition_init": "xavier",
    "condition_noise": 0.5,
    "standardize": True,
    "prediction": "v",
    "learning_rate": 4e-3,
    "rate": "cosine",
    "stratified": True,
    "ema": 0.99,
    "sampler": "ddim",
    "calls": 10,
    "n_samples": 8,
    "antithetic": True,
}
PROFILES = {
    "quick": PAPER | SHORT | {"hidden_size": 32, "depth": 2, "n_heads": 1, "steps": 200, "batch_size": 32},
    "cpu": PAPER | SHORT | {"hidden_size": 32, "depth": 2, "n_heads": 1, "steps": 250, "batch_size": 32},
    "paper": PAPER,
}


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
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


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
        x = x + gate_a[:, None] * self.attn(modulated_norm(x, shift_a, scale_a))
        return x + gate_m[:, None] * self.mlp(modulated_norm(x, shift_m, scale_m))


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


def modulation(hidden_size: int, n: int) -> nn.Sequential:
    """What a condition says of a block: SiLU and a linear layer to `n` vectors of the hidden size."""
    return nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, n * hidden_size))


def modulated_norm(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Layer norm without parameters of its own, scaled and shifted by the condition."""
    return torch.addcmul(shift[:, None], F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale[:, None])


# --- diffusion: every tensor (B, 1, G), times (B,), schedule in float64 -----------------------------------------


@cache
def schedule() -> dict[str, torch.Tensor]:
    """The linear schedule and all that follows from it, each (1000,) float64.

    `alphas_cumprod` is the variance share of the signal at a time, `x0_weight` and `xt_weight` make the mean of
    q(x_{t-1} | x_t, x_0), `min_log` and `max_log` the range of the learned log variance (Nichol & Dhariwal 2021).
    """
    betas = torch.linspace(1e-4, 0.02, N_TIMES, dtype=torch.float64)
    cumprod = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), cumprod[:-1]])
    variance = betas * (1 - before) / (1 - cumprod)
    variance[0] = variance[1]  # zero at the last step: its logarithm takes the neighbour's
    return {
        "alphas_cumprod": cumprod,
        "signal": cumprod.sqrt(),
        "noise": (1 - cumprod).sqrt(),
        "inverse_signal": (1 / cumprod).sqrt(),
        "noise_ratio": (1 / cumprod - 1).sqrt(),
        "x0_weight": betas * before.sqrt() / (1 - cumprod),
        "xt_weight": (1 - before) * (1 - betas).sqrt() / (1 - cumprod),
        "min_log": variance.log(),
        "max_log": betas.log(),
    }


@cache
def table(name: str, device: torch.device) -> torch.Tensor:
    """A column of the schedule, float32 on the device."""
    return schedule()[name].float().to(device)


def at(name: str, t: torch.Tensor) -> torch.Tensor:
    """An entry of the schedule at times (B,), as float32 (B, 1, 1) on their device."""
    return table(name, t.device)[t][:, None, None]


def noised(x0: torch.Tensor, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """x_t: the target after t + 1 steps of noise."""
    return at("signal", t) * x0 + at("noise", t) * noise


def velocity(x0: torch.Tensor, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """What the network learns with `prediction="v"` (Salimans & Ho 2022, arXiv 2202.00512).

    The same model as with epsilon, otherwise weighted: where the noise is nearly all of x_t, epsilon is nearly
    x_t and says next to nothing about the condition, while the velocity is nearly minus the target.
    """
    return at("signal", t) * noise - at("noise", t) * x0


def estimate_x0(x_t: torch.Tensor, t: torch.Tensor, output: torch.Tensor, prediction: str) -> torch.Tensor:
    """x_0 that the network's first output stands for, at x_t."""
    first = output[:, :1]
    if prediction == "v":
        return at("signal", t) * x_t - at("noise", t) * first
    return at("inverse_signal", t) * x_t - at("noise_ratio", t) * first


def posterior(
    x_t: torch.Tensor, t: torch.Tensor, output: torch.Tensor, prediction: str = "epsilon"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and log variance of p(x_{t-1} | x_t) and the estimate of x_0, from the network's output (B, 2, G)."""
    x0 = estimate_x0(x_t, t, output, prediction)
    mean = at("x0_weight", t) * x0 + at("xt_weight", t) * x_t
    share = (output[:, 1:] + 1) / 2
    return mean, share * at("max_log", t) + (1 - share) * at("min_log", t), x0


def losses(
    output: torch.Tensor,
    x0: torch.Tensor,
    t: torch.Tensor,
    noise: torch.Tensor,
    prediction: str = "epsilon",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared error and variational term in bits, each (B,): their sum is the hybrid loss.

    The mean is detached from the variational term, which so trains the variance alone.
    """
    x_t = noised(x0, t, noise)
    wanted = noise if prediction == "epsilon" else velocity(x0, t, noise)
    mse = (output[:, :1] - wanted).square().mean(dim=(1, 2))

    frozen = torch.cat([output[:, :1].detach(), output[:, 1:]], dim=1)
    mean, log_variance, _ = posterior(x_t, t, frozen, prediction)
    true_mean = at("x0_weight", t) * x0 + at("xt_weight", t) * x_t
    true_log = at("min_log", t)
    kl = 0.5 * (
        log_variance
        - true_log
        - 1
        + (true_log - log_variance).exp()
        + (true_mean - mean).square() * (-log_variance).exp()
    )
    first_step = -discretized_log_likelihood(x0, mean, 0.5 * log_variance)
    bits = torch.where(t[:, None, None] == 0, first_step, kl) / math.log(2)
    return mse, bits.mean(dim=(1, 2))


def discretized_log_likelihood(x: torch.Tensor, mean: torch.Tensor, log_sd: torch.Tensor) -> torch.Tensor:
    """Log mass that a normal puts on the bin of x, 1/255 to each side.

    Made for pixels in [-1, 1], whose outermost bins are open; kept for counts only to agree with the published
    loss. The normal distribution function is the tanh approximation, as published.
    """

    def below(edge: torch.Tensor) -> torch.Tensor:
        z = (edge - mean) * (-log_sd).exp()
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    upper, lower = below(x + 1 / 255), below(x - 1 / 255)
    mass = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, upper - lower))
    return mass.clamp(min=1e-12).log()


# --- training and sampling: arrays in, arrays out ----------------------------------------------------------------


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
    return hyper


def fit(
    conditions: np.ndarray,
    targets: np.ndarray,
    profile: str = "quick",
    seed: int = 0,
    progress: bool = False,
    **changes,
) -> dict:
    """Train the network to turn noise into the targets of a spot, given its conditions.

    `conditions` is spots x features, standardized; `targets` is spots x genes; `changes` are hyperparameters that
    differ from the profile's. Returns what `sample` needs, tensors and plain values only: `hyper`, the EMA
    `weights`, `centre` and `scale` of the genes, and `loss` with columns step, squared error, variational term
    (bits), each row the mean over the steps since the row before.
    The same seed gives the same batches, times and noise whatever the targets. ValueError for input that is not
    finite or does not match, and when the loss is no longer finite.
    """
    hyper = recipe(profile, **changes)
    x0, y = finite("targets", targets), finite("conditions", conditions)
    if len(x0) != len(y):
        raise ValueError(f"{len(y)} spots have conditions and {len(x0)} have targets: give both for the same spots")
    centre, scale = torch.zeros(x0.shape[1]), torch.ones(x0.shape[1])
    if hyper["standardize"]:
        centre, scale = x0.mean(0), x0.std(0, correction=0)
        scale[scale < 1e-6] = 1.0  # a gene that does not vary stays where it is
    device = best_device()
    x0, y = ((x0 - centre) / scale)[:, None].to(device), y.to(device)

    model = build(hyper, x0.shape[2], y.shape[1], seed).to(device)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(hyper["ema"]))
    optimizer = torch.optim.AdamW(
        model.parameters(), hyper["learning_rate"], weight_decay=hyper["weight_decay"], fused=True
    )
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, hyper))

    curve, since = [], []
    draws = batches(len(x0), x0.shape[2], y.shape[1], hyper, seed)
    for step, draw in enumerate(tqdm(draws, "STEM", hyper["steps"], disable=not progress), 1):
        rows, t, noise, jitter = (value.to(device) for value in draw)
        output = evaluate(model, noised(x0[rows], t, noise), t, y[rows] + hyper["condition_noise"] * jitter)
        mse, vb = losses(output, x0[rows], t, noise, hyper["prediction"])
        optimizer.zero_grad()
        (mse + vb).mean().backward()
        optimizer.step()
        rate.step()
        average.update_parameters(model)
        since.append(torch.stack([mse, vb]).detach().mean(1))
        if step % max(1, hyper["steps"] // 100) == 0 or step == hyper["steps"]:
            curve.append([step, *torch.stack(since).mean(0).tolist()])
            since = []
            if not math.isfinite(sum(curve[-1])):
                raise ValueError(
                    f"the loss is not finite at step {step} of {hyper['steps']}: lower learning_rate (now "
                    f"{hyper['learning_rate']:g}), or set standardize=True if some targets are very large"
                )
    weights = {name: value.cpu() for name, value in average.module.state_dict().items()}
    return {"hyper": hyper, "weights": weights, "centre": centre, "scale": scale, "loss": torch.tensor(curve)}


def batches(
    n_spots: int, n_genes: int, condition_size: int, hyper: dict, seed: int
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Spots, times, noise of targets and of conditions of each step; each spot comes once before any comes again."""
    generator = torch.Generator().manual_seed(seed)
    size, order = hyper["batch_size"], torch.empty(0, dtype=torch.int64)
    for _ in range(hyper["steps"]):
        while len(order) < size:
            order = torch.cat([order, torch.randperm(n_spots, generator=generator)])
        rows, order = order[:size], order[size:]
        if hyper["stratified"]:
            t = ((torch.arange(size) + torch.rand(size, generator=generator)) / size * N_TIMES).long()
        else:
            t = torch.randint(N_TIMES, (size,), generator=generator)
        noise = torch.randn(size, 1, n_genes, generator=generator)
        yield rows, t, noise, torch.randn(size, condition_size, generator=generator)


def rate_factor(step: int, hyper: dict) -> float:
    """Learning rate at a step, as a fraction of its highest."""
    if hyper["rate"] == "constant":
        return 1.0
    done = step / hyper["steps"]
    return done / 0.05 if done < 0.05 else 0.5 * (1 + math.cos(math.pi * (done - 0.05) / 0.95))


def sample(fitted: dict, conditions: np.ndarray, seed: int = 0, progress: bool = False, **changes) -> np.ndarray:
    """Samples of the targets given conditions (spots x features): samples x spots x genes, float32.

    The prediction is the mean over the first axis. `changes` may hold `sampler`, `calls`, `n_samples` and
    `antithetic`. ValueError for conditions that are not finite or not as wide as those of the fit.
    """
    hyper = changed(fitted["hyper"], changes)
    y = finite("conditions", conditions)
    n_genes, device = len(fitted["centre"]), best_device()
    model = build(hyper, n_genes, y.shape[1], seed)
    load(model, fitted["weights"])
    model.to(device).eval()

    reverse = ancestral if hyper["sampler"] == "ancestral" else few_calls
    generator = torch.Generator().manual_seed(seed)
    start = starts(hyper["n_samples"], len(y), n_genes, hyper["antithetic"], generator)
    chunks = list(zip(start.split(256), y.repeat(hyper["n_samples"], 1).split(256), strict=True))
    with torch.no_grad():
        out = [
            reverse(model, x.to(device), c.to(device), hyper, generator).cpu()
            for x, c in tqdm(chunks, "samples", disable=not progress)
        ]
    return (torch.cat(out).view(hyper["n_samples"], len(y), n_genes) * fitted["scale"] + fitted["centre"]).numpy()


def starts(n_samples: int, n_spots: int, n_genes: int, antithetic: bool, generator: torch.Generator) -> torch.Tensor:
    """Pure noise for all samples of all spots, (samples * spots, 1, genes)."""
    noise = torch.randn(n_samples, n_spots, n_genes, generator=generator)
    if antithetic:
        half = n_samples // 2
        noise[half : 2 * half] = -noise[:half]
    return noise.flatten(0, 1)[:, None]


def ancestral(model: Stem, x: torch.Tensor, y: torch.Tensor, hyper: dict, generator: torch.Generator) -> torch.Tensor:
    """From noise to a sample through all 1,000 steps, as published, without clipping."""
    for step in reversed(range(N_TIMES)):
        t = torch.full((len(x),), step, device=x.device)
        mean, log_variance, _ = posterior(x, t, evaluate(model, x, t, y), hyper["prediction"])
        noise = torch.randn(x.shape, generator=generator).to(x.device)
        x = mean + (0.5 * log_variance).exp() * noise if step else mean
    return x


def few_calls(model: Stem, x: torch.Tensor, y: torch.Tensor, hyper: dict, generator: torch.Generator) -> torch.Tensor:
    """From noise to a sample in few calls of the network; all chance is in the start, the path is deterministic."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    settings = {
        "num_train_timesteps": N_TIMES,
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "prediction_type": "v_prediction" if hyper["prediction"] == "v" else "epsilon",
        "timestep_spacing": "trailing",
    }
    if hyper["sampler"] == "ddim":
        scheduler = DDIMScheduler(clip_sample=False, **settings)
    else:
        scheduler = DPMSolverMultistepScheduler(**settings)
    scheduler.set_timesteps(hyper["calls"], device=x.device)
    for t in scheduler.timesteps:
        first = evaluate(model, x, t.expand(len(x)), y)[:, :1]
        x = scheduler.step(first, t, x).prev_sample
    return x


def evaluate(model: Stem, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The network's answer as float32; on CUDA it computes in bfloat16."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
        return model(x, t, y).float()


def build(hyper: dict, n_genes: int, condition_size: int, seed: int) -> Stem:
    """A network with initial weights that depend on the seed alone; leaves torch's random state as it was."""
    with torch.random.fork_rng():
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


def best_device() -> torch.device:
    """CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def finite(name: str, values: np.ndarray) -> torch.Tensor:
    """Spots x columns as a float32 tensor; ValueError unless there are spots and all values are finite."""
    values = torch.as_tensor(np.asarray(values, dtype=np.float32))
    if values.ndim != 2 or not len(values):
        raise ValueError(f"{name} have shape {tuple(values.shape)}: need spots x columns, at least one spot")
    bad = ~values.isfinite().all(1)
    if bad.any():
        raise ValueError(f"{name} are not finite in {int(bad.sum())} of {len(bad)} spots: leave these spots out")
    return values
