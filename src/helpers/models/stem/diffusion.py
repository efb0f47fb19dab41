"""The diffusion: a schedule of noise, what a network must learn to undo it, and the ways back from noise to samples.

Every tensor of targets is (B, 1, genes), times are (B,) integers below 1,000, the schedule is kept in float64.
A `network` is a function (x_t, t, conditions) -> (B, 2, genes): the noise estimate (or velocity, see `velocity`) and
where the variance lies in its range. Source: learned variance, Nichol & Dhariwal 2021, arXiv 2102.09672.
"""

import math
from collections.abc import Callable
from functools import cache

import torch

N_TIMES = 1000
Network = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

# --- forth: targets -> noise --------------------------------------------------------------------------------------


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


# --- back: noise -> samples ---------------------------------------------------------------------------------------


def gaussian(
    n_samples: int,
    n_spots: int,
    n_genes: int,
    generator: torch.Generator,
    antithetic: bool = False,
    shared: bool = False,
) -> torch.Tensor:
    """Noise for all samples of all spots, (samples * spots, 1, genes): what they start from, or meet at a step.

    `antithetic`: the second half of the samples gets the opposite of the first. `shared`: a sample gets the same
    noise in every spot, so that spots differ by their conditions alone.
    """
    noise = torch.randn(n_samples, 1 if shared else n_spots, n_genes, generator=generator, device=generator.device)
    if antithetic:
        half = n_samples // 2
        noise[half : 2 * half] = -noise[:half]
    return noise.expand(n_samples, n_spots, n_genes).flatten(0, 1)[:, None]


def ancestral(network: Network, y: torch.Tensor, prediction: str, noise: Callable[[], torch.Tensor]) -> torch.Tensor:
    """From noise to a sample through all 1,000 steps, as published, without clipping."""
    x = noise()
    for step in reversed(range(N_TIMES)):
        t = torch.full((len(x),), step, device=x.device)
        mean, log_variance, _ = posterior(x, t, network(x, t, y), prediction)
        x = mean + (0.5 * log_variance).exp() * noise() if step else mean
    return x


def few_calls(
    network: Network, y: torch.Tensor, prediction: str, noise: Callable[[], torch.Tensor], sampler: str, calls: int
) -> torch.Tensor:
    """From noise to a sample in few calls of the network.

    `sampler` is "ddim" (Song 2021, arXiv 2010.02502) or "dpm", DPM-Solver++ (Lu 2022, arXiv 2211.01095), whose chance
    is all in the start, or "sde", DPM-Solver++ with fresh noise at every step, as ancestral sampling has it.
    """
    x, steps = noise(), scheduler(sampler, prediction)
    steps.set_timesteps(calls, device=x.device)
    for t in steps.timesteps:
        fresh = {"variance_noise": noise()} if sampler == "sde" else {}
        x = steps.step(network(x, t.expand(len(x)), y)[:, :1], t, x, **fresh).prev_sample
    return x


def scheduler(sampler: str, prediction: str):
    """A scheduler of diffusers with our schedule; nothing is clipped, as expression has no bounds at +-1."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    settings = {
        "num_train_timesteps": N_TIMES,
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "prediction_type": "v_prediction" if prediction == "v" else "epsilon",
        "timestep_spacing": "trailing",
    }
    if sampler == "ddim":
        return DDIMScheduler(clip_sample=False, **settings)
    if sampler == "dpm":
        return DPMSolverMultistepScheduler(thresholding=False, **settings)
    # Times evenly spaced in the logarithm of signal to noise (Lu 2022, arXiv 2206.00927): with 25 calls, mean and
    # samples then vary as those of a thousand calls do.
    settings |= {"algorithm_type": "sde-dpmsolver++", "use_lu_lambdas": True}
    return DPMSolverMultistepScheduler(thresholding=False, **settings)


def expected(network: Network, y: torch.Tensor, prediction: str, noise: Callable[[], torch.Tensor]) -> torch.Tensor:
    """The conditional mean in one call: at the last time x is noise and the best guess of x_0 is its mean given y."""
    x = noise()
    t = torch.full((len(x),), N_TIMES - 1, device=x.device)
    return estimate_x0(x, t, network(x, t, y), prediction)
