"""STEM arms, the same fit with one thing changed: what seeds, features and scale do to both of its scores."""

from collections.abc import Iterable, Mapping

import pandas as pd
from anndata import AnnData

from helpers import columns, schema
from helpers.chapters.composition_skill import composition
from helpers.labels import counted, label
from helpers.models.stem.recipes import PROFILE, SEED, WITHOUT_NUCLEI
from helpers.scores import top_genes
from helpers.targets.normalization import RESIDUAL

ARM = ["split", "target", "arm", "section"]


def arm_of(prediction: AnnData, section: AnnData) -> pd.DataFrame:
    """PCC of each gene of one of STEM's predictions, and its PCC as a residual (`composition`), with what was fitted.

    `section` has all genes, whose shares a conversion needs (`judge.in_space`).
    """
    pcc = columns.pearson(*(prediction.layers[layer] for layer in (schema.MEASURED, schema.PREDICTED)))
    scores = {"gene": prediction.var_names, "pcc": pcc, "composition": composition(prediction, section)}
    return pd.DataFrame(scores | {name: prediction.uns[name] for name in ARM})


def score(own: Iterable[AnnData], arms: Iterable[AnnData], sections: Mapping[str, AnnData], k: int) -> pd.DataFrame:
    """PCC-k and composition skill of STEM by section and arm, on the sections that have arms.

    `own` are the predictions of the profile, the arm `profile`, of which seeds are averaged. Columns those of ARM and,
    for k of 50, pcc_50 and composition.
    """
    arms = list(arms)
    studied = {one.uns["section"] for one in arms} or set(sections)
    own = [one for one in own if one.uns["backbone"] == "stem" and one.uns["section"] in studied]
    if not own:
        return pd.DataFrame(columns=[*ARM, f"pcc_{k}", "composition"])
    tables = [arm_of(one, sections[one.uns["section"]]) for one in [*own, *arms]]
    genes = pd.concat(tables).groupby([*ARM, "gene"], sort=False)[["pcc", "composition"]].mean().reset_index()
    composition = top_genes.pcc_by(genes.assign(pcc=genes["composition"]), ARM, k)
    return top_genes.pcc_by(genes, ARM, k).to_frame(f"pcc_{k}").assign(composition=composition).reset_index()


def remark(by_arm: pd.DataFrame, k: int) -> str:
    """How far seeds lie apart, and what features of nuclei add beside it (Markdown); takes `score`.

    A line for each target and section; "" where neither ran.
    """
    lines = []
    for (split, target, section), part in by_arm.groupby(["split", "target", "section"], sort=False):
        seeds, bare = part[_is_seed(part)], part[part["arm"] == WITHOUT_NUCLEI]
        scores = {f"pcc_{k}": f"PCC-{k}"} | ({"composition": "composition skill"} if target != RESIDUAL else {})
        parts = []  # as residuals the two are one number
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
    """A score, and how far it lies from the mean of the seeds, also in their standard deviations."""
    apart = score - seeds.mean()
    beside = f"{abs(apart) / seeds.std():.1f} of these standard deviations" if len(seeds) > 1 else "one seed"
    return f"{score:.3f} ({apart:+.3f}, {beside})"
