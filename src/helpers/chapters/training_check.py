"""Scores of every fold, and whether training got as far in one target as in the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from helpers import columns, schema
from helpers.labels import counted, label
from helpers.models.stem.recipes import PROFILE, SEED, WITHOUT_NUCLEI
from helpers.scores import judge, predictability, top_genes
from helpers.targets.normalization import RESIDUAL

if TYPE_CHECKING:
    from anndata import AnnData

FOLD = ["split", "backbone", "target", "section"]
ARM = ["split", "target", "arm", "section"]


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
    wide = medians.stack().unstack("backbone").reindex(columns=["stem", "ridge"]).dropna().reset_index()
    wide["fraction"] = wide["stem"] / wide["ridge"]
    return wide


def arm_of(prediction: AnnData, section: AnnData) -> pd.DataFrame:
    """PCC of each gene of one of STEM's predictions, and its PCC as a residual (`composition`), with what was fitted.

    `section` has all genes, whose shares a conversion needs (`judge.in_space`).
    """
    genes, target = list(prediction.var_names), prediction.uns["target"]
    measured, predicted = (prediction.layers[layer] for layer in (schema.MEASURED, schema.PREDICTED))
    as_residuals = judge.in_space(predicted, target, RESIDUAL, section, genes)
    composition = columns.pearson(judge.measured(section, RESIDUAL, genes), as_residuals)
    fitted = {name: prediction.uns[name] for name in ARM}
    return pd.DataFrame(
        {"gene": genes, "pcc": columns.pearson(measured, predicted), "composition": composition, **fitted}
    )


def score_arms(
    own: Iterable[AnnData], arms: Iterable[AnnData], sections: Mapping[str, AnnData], k: int
) -> pd.DataFrame:
    """PCC-k and composition skill of STEM by section and arm, on the sections that have arms.

    `own` are the predictions of the profile, the arm `profile`, of which seeds are averaged. Columns those of ARM and,
    for k of 50, pcc_50 and composition.
    """
    arms = list(arms)
    studied = {one.uns["section"] for one in arms} or set(sections)
    own = [one for one in own if one.uns["backbone"] == "stem" and one.uns["section"] in studied]
    if not own:
        return pd.DataFrame(columns=[*ARM, f"pcc_{k}", "composition"])
    tables = [arm_of(one, sections[one.uns["section"]][one.obs_names]) for one in [*own, *arms]]
    genes = pd.concat(tables).groupby([*ARM, "gene"], sort=False)[["pcc", "composition"]].mean().reset_index()
    composition = top_genes.pcc_by(genes.assign(pcc=genes["composition"]), ARM, k)
    return top_genes.pcc_by(genes, ARM, k).to_frame(f"pcc_{k}").assign(composition=composition).reset_index()


def arms_remark(by_arm: pd.DataFrame, k: int) -> str:
    """How far seeds lie apart, and what features of nuclei add beside it (Markdown); takes `score_arms`.

    A line for each target and section; "" where neither ran.
    """
    lines, scores = [], {f"pcc_{k}": f"PCC-{k}", "composition": "composition skill"}
    for (split, target, section), part in by_arm.groupby(["split", "target", "section"], sort=False):
        seeds, bare = part[_is_seed(part)], part[part["arm"] == WITHOUT_NUCLEI]
        parts = []
        if len(seeds) > 1:
            each = (f"{name} {_spread(seeds[score])}" for score, name in scores.items())
            parts.append(f"{counted(len(seeds), 'seeds')}, {', '.join(each)}")
        if len(bare):
            each = (f"{name} {_beside(bare[score].item(), seeds[score])}" for score, name in scores.items())
            parts.append(f"without the features of nuclei {', '.join(each)}")
        if parts:
            lines.append(f"- {label(target)}, section {section}, one {split} held out: {'; '.join(parts)}.")
    if not lines:
        return ""
    n = counted(len(by_arm[["split", "section"]].drop_duplicates()), "folds")
    return "\n".join([*lines, "", f"Over {n}: what seeds and features do in others is not known."])


def _is_seed(by_arm: pd.DataFrame) -> pd.Series:
    return (by_arm["arm"] == PROFILE) | by_arm["arm"].str.startswith(SEED)


def _spread(scores: pd.Series) -> str:
    return f"mean {scores.mean():.3f}, standard deviation {scores.std():.3f} ({scores.min():.3f} to {scores.max():.3f})"


def _beside(score: float, seeds: pd.Series) -> str:
    """A score less the mean of the seeds, and whether that is more than seeds do."""
    where = "within their range" if seeds.min() <= score <= seeds.max() else "outside their range"
    beside = f", {where}" if len(seeds) > 1 else ", one seed"
    return f"{score:.3f} ({score - seeds.mean():+.3f}{beside})"


def fractions_remark(fractions: pd.DataFrame) -> str:
    """How far STEM got in each target, and what follows (Markdown); takes `fraction_of_ridge`."""
    if fractions.empty:
        return "STEM was not trained in this run."
    reached = [
        f"- {label(row.target)}, leave one {row.split} out: {row.fraction:.0%} of ridge."
        for row in fractions.itertuples()
    ]
    gap, most = predictability.training_gap(fractions), predictability.TRAINING_GAP
    verdict = f"The fractions differ by {gap:.2f}: training favours no target by more than {most}."
    if gap > most:
        verdict = (
            f":::{{warning}}\nThe fractions differ by {gap:.2f}: panels D to F may show a difference in training "
            "rather than in the targets. Read them for ridge, or train STEM at another size (`PROFILE`).\n:::"
        )
    return "\n".join([*reached, "", verdict])


def training_warning(fractions: pd.DataFrame) -> str | None:
    """The warning (Markdown) that goes wherever targets are compared by their scores; None where none is due.

    `fractions` has split and fraction.
    """
    gap = predictability.training_gap(fractions)
    if gap <= predictability.TRAINING_GAP:
        return None
    return (
        f":::{{warning}}\nSTEM reached fractions of ridge's score that differ by {gap:.2f} between targets: a "
        "difference between targets may be one of training. See [how training went](11_training_check.ipynb), or read "
        "ridge.\n:::"
    )
