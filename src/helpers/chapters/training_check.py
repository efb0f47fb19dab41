"""Scores of every fold, and whether training got as far in one target as in the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from helpers import schema
from helpers.labels import label
from helpers.scores import predictability, top_genes

if TYPE_CHECKING:
    from anndata import AnnData

COMPARED = ("stem", "ridge")  # backbones, one as a fraction of the other
FOLD = ["split", "backbone", "target", "section"]


def score(prediction: AnnData, ceilings: pd.Series) -> pd.DataFrame:
    """Predictability of each gene of one prediction, with the choices behind it in front.

    `ceilings` is the noise ceiling by section, target and gene.
    """
    choices = {name: prediction.uns[name] for name in ("section", "split", "backbone", "seed", "target")}
    layers = (prediction.layers[layer] for layer in (schema.MEASURED, schema.PREDICTED))
    ceiling = ceilings[choices["section"], choices["target"]].reindex(prediction.var_names)
    scored = predictability.predictability(*layers, prediction.var_names, ceiling.to_numpy())
    return scored.assign(**choices)[[*choices, *scored.columns]]


def score_all(predictions: Iterable[AnnData], ceilings: pd.Series) -> pd.DataFrame:
    """Predictability of every gene of every prediction, stacked; takes what `score` does."""
    return pd.concat([score(prediction, ceilings) for prediction in predictions], ignore_index=True)


def median_pcc(scores: pd.DataFrame, k: int) -> pd.DataFrame:
    """Median over held-out sections of PCC-k, seeds averaged: split and backbone x target."""
    by_section = top_genes.pcc_by(top_genes.over_seeds(scores), FOLD, k)
    return by_section.groupby(FOLD[:-1], sort=False).median().unstack("target")


def fraction_of_ridge(medians: pd.DataFrame) -> pd.DataFrame:
    """What STEM reaches of ridge's score, per split and target; takes `median_pcc`.

    Columns split, target, stem, ridge, fraction; no row where one of the two was not fitted.
    """
    wide = medians.stack().unstack("backbone").reindex(columns=list(COMPARED)).dropna().reset_index()
    wide["fraction"] = wide["stem"] / wide["ridge"]
    return wide


def answer(fractions: pd.DataFrame, of_composition: pd.DataFrame, k: int, sizes: str) -> str:
    """What was trained, how far it got in each target, and whether targets can be compared by its scores.

    Takes `fraction_of_ridge` of PCC-k with the network's size (`stem_recipe.with_size`) and that of composition skill;
    `sizes` says over which sections, as `labels.of_patients` does.
    """
    if fractions.empty:
        return (
            "**STEM was not trained in this run**: what it scores on the HER2 cohort, trained at its published size, "
            "stands {ref}`below <published-size>`. Ridge, which was, has a solution in closed form: no training was "
            "cut short, in any target."
        )
    network, most = fractions.iloc[0], predictability.TRAINING_GAP
    gaps = [predictability.training_gap(each) for each in (fractions, of_composition)]
    verdict = f"by neither measure training favours a target by more than {most}"
    if max(gaps) > most:
        verdict = (
            "differences between targets may be differences in training: read ridge, or train STEM at another size "
            "(`PROFILE`)"
        )
    return (
        f"`stem`, a network of {network['parameters']:,} parameters that saw {network['spot_views']:,} views of spots, "
        f"reached, of ridge's PCC-{k}, {_reached(fractions)}, and of its composition skill {_reached(of_composition)} "
        f"(ratios of medians over {sizes}). The fractions differ by {gaps[0]:.2f} and {gaps[1]:.2f}: {verdict}."
    )


def _reached(fractions: pd.DataFrame) -> str:
    """The fraction of each target, split by split."""
    return "; ".join(
        ", ".join(f"**{row.fraction:.0%}** in {label(row.target)}" for row in part.itertuples())
        + f" with one {split} held out"
        for split, part in fractions.groupby("split", sort=False)
    )


def training_warning(fractions: pd.DataFrame) -> str | None:
    """The warning (Markdown) that goes wherever targets are compared by their scores; None where none is due.

    `fractions` has split and fraction.
    """
    gap = predictability.training_gap(fractions)
    if gap <= predictability.TRAINING_GAP:
        return None
    return (
        f":::{{warning}}\nSTEM reached fractions of ridge's score that differ by {gap:.2f} between targets: a "
        "difference between targets may be one of training. See [how training went](10_training_check.ipynb), or read "
        "ridge.\n:::"
    )
