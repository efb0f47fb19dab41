"""STEM's hyperparameters: the published recipe, shorter ones, where they differ and why."""

import pandas as pd

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
