"""How STEM was trained here, beside the published recipe: where it differs and why, and how large the network is."""

import math
from collections.abc import Mapping

import pandas as pd

from helpers.labels import counted
from helpers.models.stem.recipes import PAPER

REASONS = {
    "hidden_size": "a network that a few hundred spots can teach, in minutes",
    "depth": "as the width",
    "n_heads": "as the width",
    "condition_init": "weights of 0.02 suit 1,536 conditions and leave fewer too faint to learn from",
    "condition_noise": "without it a few hundred spots are learned by heart; it acts as the penalty of ridge does",
    "scale_conditions": "features of unlike units",
    "within_sections": "differences of stain and depth between sections are not taken for effects, as in ridge",
    "augment": "the features of these profiles hardly change when a patch is turned or mirrored",
    "scaling": "one schedule of noise suits genes of one spread",
    "prediction": "with the noise the conditions matter least to the loss where they matter most to the sample",
    "steps": "minutes instead of hours; of `cpu` chosen on inner splits",
    "batch_size": "as the steps",
    "learning_rate": "a smaller network and fewer steps",
    "rate": "a high rate needs a start and an end",
    "stratified": "small batches would see few of the thousand times",
    "ema": "0.9999 would still hold the untrained weights",
    "precision": "faster, where the processor or GPU computes in it; the loss is the same to three digits",
    "sampler": "the prediction is the mean, asked for in one call",
    "calls": "of the samples that are kept for some sections, drawn by `sde`",
    "n_samples": "what a toy shows of samples needs no more than half of them",
    "antithetic": "opposite noise cancels in a mean",
}


PARTS = {  # of the network, by their names in a checkpoint
    "gene_joint_embed": "value and gene → token",
    "time_embed": "step → vector",
    "label_embed": "patch → vector",
    "blocks": "genes look at each other",
    "final_layer": "token → noise or velocity, and variance",
    "in total": "",
}


def departures(hyper: Mapping) -> pd.DataFrame:
    """Where the hyperparameters of a fit differ from the published recipe, and why.

    Columns setting, published, here, why. What the encoder departs in is not among it.
    """
    differ = [name for name, published in PAPER.items() if hyper[name] != published]
    rows = [(name, PAPER[name], hyper[name], REASONS.get(name, "")) for name in differ]
    return pd.DataFrame(rows, columns=["setting", "published", "here", "why"])


def sizes(weights: Mapping) -> pd.Series:
    """Numbers to learn in each part of a network, and in total; `weights` maps names in a checkpoint to arrays."""
    numbers = pd.Series({name: math.prod(values.shape) for name, values in weights.items()})
    by_part = numbers.groupby(numbers.index.str.split(".").str[0], sort=False).sum()
    return pd.concat([by_part, pd.Series({"in total": by_part.sum()})])


def with_size(fractions: pd.DataFrame, fitted: Mapping) -> pd.DataFrame:
    """Fractions of ridge's score beside the size of the network that reached them: parameters and spot_views.

    `fitted` is a network as it is stored, or empty where there is none.
    """
    size = (pd.NA, pd.NA)
    if fitted:
        size = sizes(fitted["weights"])["in total"], fitted["hyper"]["steps"] * fitted["hyper"]["batch_size"]
    return fractions.assign(parameters=size[0], spot_views=size[1])


def remark(profile: str, table: pd.DataFrame) -> str:
    """The sentence (Markdown) over the table of departures."""
    return f"Profile `{profile}`: {counted(len(table), 'departures') if len(table) else 'no departures'}."
