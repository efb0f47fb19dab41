"""From a fitted STEM to samples of the expression of spots."""

import numpy as np
import torch
from lightning_fabric import Fabric
from tqdm.std import tqdm

from helpers.models import devices
from helpers.models.stem import diffusion
from helpers.models.stem.network import Stem, build, evaluate, finite, load, mixed_seed
from helpers.models.stem.recipes import Recipe, changed

# --- sampling ------------------------------------------------------------------------------------------------

ROWS = {"cpu": 80, "cuda": 512}  # samples at a time: few stay in a processor's cache, many keep a GPU busy


def sample(fitted: dict, conditions: np.ndarray, seed: int = 0, progress: bool = False, **changes) -> np.ndarray:
    """Samples of the targets given conditions (spots x features): samples x spots x genes, float32.

    The prediction is the mean over the first axis. `changes` may hold `sampler`, `calls`, `n_samples`, `antithetic`
    and `shared`. ValueError for conditions that are not finite or not as wide as those of the fit.
    """
    hyper = changed(Recipe(), fitted["hyper"] | changes)
    y = finite("conditions", conditions)
    n_genes = len(fitted["centre"])
    model = build(hyper, n_genes, y.shape[1], seed)
    load(model, fitted["weights"])
    y = (y - fitted["condition_centre"]) / fitted["condition_scale"]
    with (
        devices.claimed(devices.usable_precision(hyper.precision)) as fabric,
        devices.enough_memory("predict fewer spots at a time"),
        torch.no_grad(),
    ):
        model.to(fabric.device).eval()
        chunks = list(enumerate(y.split(max(1, ROWS[fabric.device.type] // hyper.n_samples))))
        out = [
            # Noise shared by all spots is that of the first chunk in each.
            backwards(
                fabric, model, c.to(fabric.device), n_genes, hyper, mixed_seed(seed, 0 if hyper.shared else i)
            ).cpu()
            for i, c in tqdm(chunks, "samples", disable=not progress)
        ]
    return (torch.cat(out, dim=1) * fitted["scale"] + fitted["centre"]).numpy()


def backwards(fabric: Fabric, model: Stem, y: torch.Tensor, n_genes: int, hyper: Recipe, seed: int) -> torch.Tensor:
    """From noise to samples x spots x genes, given conditions y (spots x features), by the chosen sampler."""
    generator, shape = torch.Generator(y.device).manual_seed(seed), (hyper.n_samples, len(y), n_genes)

    def noise() -> torch.Tensor:
        return diffusion.gaussian(*shape, generator, hyper.antithetic, hyper.shared)

    def network(x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return evaluate(fabric, model, x, t, y)

    y, sampler = y.repeat(hyper.n_samples, 1), hyper.sampler
    if sampler in ("ancestral", "mean"):
        way = diffusion.ancestral if sampler == "ancestral" else diffusion.expected
        return way(network, y, hyper.prediction, noise).view(shape)
    return diffusion.few_calls(network, y, hyper.prediction, noise, sampler, hyper.calls).view(shape)
