"""Targets beside each other at one composition skill: ridge, its penalty moved until its skill is STEM's.

A table has a row per section and way: the space trained in, the space scored in, and PCC-k of `stem`, of `ridge`, and
of ridge `matched` to STEM, with its `penalty`; `chance_95` is the 95 % point of the null of STEM's.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.chapters.cross_space import Fits
from helpers.chapters.normalization import with_targets
from helpers.columns import pearson
from helpers.labels import counted, label
from helpers.models import backbones
from helpers.schema import PREDICTED
from helpers.scores import judge, top_genes
from helpers.targets import normalization
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL

SKILL = (LOG, RESIDUAL)  # trained in, scored in: the score that is composition skill
WAYS = ((LOG, LOG), (LOG, LOG_CP10K), SKILL, (RESIDUAL, RESIDUAL))  # STEM is not trained on CP10k
MODELS = {"ridge": "ridge", "matched": "ridge at STEM's skill", "stem": "STEM"}
COLUMNS = ["section", "patient", "split", "penalty", "trained_in", "scored_in", "stem", "ridge", "matched", "chance_95"]


def nearest_penalty(skill: Callable[[float], float], wanted: float) -> float:
    """The penalty of ridge, between 0.1 and 10^9, whose `skill` is nearest to the one wanted: decades, then tenths."""
    exponent = 4.0
    for step, reach in ((1.0, 4), (0.1, 9)):
        exponents = exponent + step * np.arange(-reach, reach + 1)
        exponent = min(exponents, key=lambda at: abs(skill(10**at) - wanted))
    return float(10**exponent)


def match(sections: Mapping[str, AnnData], fits: Fits, scores: pd.DataFrame, split: str, k: int) -> pd.DataFrame:
    """Every way of every section where STEM was trained: COLUMNS, no row without STEM.

    `sections` have all genes and the features of patches; `fits` and `scores` are `cross_space.by_fit` and
    `score_fits`. Both fits of the matched ridge, on logs and on residuals, have the penalty matched by the first.
    """
    panels = {name: list(genes) for name, one, backbone, _, genes in fits if (one, backbone) == (split, "stem")}
    wanted = sorted(set().union(*panels.values()))
    prepared = {name: with_targets(section, wanted, (LOG, RESIDUAL)) for name, section in sections.items() if panels}
    scores = scores[scores["split"] == split].set_index(["backbone", "section", "trained_in", "scored_in"])
    known, chance = scores[f"pcc_{k}"], scores["chance_95"]
    rows = []
    for name, genes in panels.items():
        score = partial(_score_at, sections[name], prepared, genes, split, k)
        penalty = nearest_penalty(partial(score, SKILL), known["stem", name, *SKILL])
        fold = (name, str(sections[name].obs["patient"].iloc[0]), split, penalty)
        for way in [way for way in WAYS if ("stem", name, *way) in known]:
            both = (known[backbone, name, *way] for backbone in ("stem", "ridge"))
            rows.append((*fold, *way, *both, score(way, penalty), chance["stem", name, *way]))
    return pd.DataFrame(rows, columns=COLUMNS)


def _score_at(
    section: AnnData,
    prepared: Mapping[str, AnnData],
    genes: Sequence[str],
    split: str,
    k: int,
    way: tuple[str, str],
    alpha: float,
) -> float:
    """PCC-k of ridge with this penalty on the held-out `section`, trained and scored on one of WAYS."""
    name = section.uns["section"]
    held = backbones.predict(prepared, name, way[0], "ridge", split, genes, normalization.clip, alpha=alpha)
    predicted = judge.in_space(held.layers[PREDICTED], *way, section, genes)
    return top_genes.pcc_at_k(pearson(judge.measured(section, way[1], genes), predicted), k)


# In words -------------------------------------------------------------------------------------------------------


def remark(table: pd.DataFrame, k: int) -> str:
    """What the targets and the gap between them are at each skill (Markdown); takes `match`."""
    if table.empty:
        return "STEM was not trained in this run, so ridge is not set beside it at one composition skill."
    by_way = {way: part.set_index("section") for way, part in table.groupby(["trained_in", "scored_in"])}
    targets = {way[1]: by_way[way] for way in WAYS if way != SKILL and way in by_way}
    skill, lines = by_way[SKILL], []
    for model, words in MODELS.items():
        gap = _gaps(targets, model)
        medians = ", ".join(f"{label(target)} {part[model].median():.3f}" for target, part in targets.items())
        as_ridge = (_order(targets, model) == _order(targets, "ridge")).all(axis=1).sum()
        lines.append(
            f"- {words}: composition skill **{skill[model].median():.3f}**; PCC-{k} {medians}; median of the "
            f"sections' gaps, log less residual, **{gap.median():+.3f}** ({gap.min():+.3f} to {gap.max():+.3f}); the "
            f"targets in the order of ridge in {as_ridge} of {len(skill)}."
        )
    sizes = f"{counted(len(skill), 'sections')} of {counted(skill['patient'].nunique(), 'patients')}"
    chance, above = skill["chance_95"].median(), (skill["stem"] > skill["chance_95"]).sum()
    apart = (skill["matched"] - skill["stem"]).abs().max()
    between = (_gaps(targets, "matched") - _gaps(targets, "stem")).abs().sort_values()
    return (
        "Are the gaps those of models of one composition skill? The penalty of ridge is moved, on the scored section "
        "itself, until its log predictions have STEM's; library skill is not matched. Logs and residuals are scored by "
        f"models trained on them, CP10k by the log models. Medians over {sizes}; STEM's composition skill is above "
        f"chance ({chance:.3f}) in {above}, and ridge meets it to within {apart:.3f} in each.\n\n"
        + "\n".join(lines)
        + f"\n\nSection by section the gaps of the two at one skill lie up to {between.iloc[-1]:.2f} apart "
        + f"({between.index[-1]}; half of them within {between.median():.2f}).\n\n"
        + "{download}`Every section at one skill <results/matched_skill.csv>`."
    )


def _gaps(targets: Mapping[str, pd.DataFrame], model: str) -> pd.Series:
    """PCC-k in log less that of residuals, by section."""
    return targets[LOG][model] - targets[RESIDUAL][model]


def _order(targets: Mapping[str, pd.DataFrame], model: str) -> pd.DataFrame:
    """Rank of each target in each section, by the scores of one of MODELS."""
    return pd.DataFrame({target: part[model] for target, part in targets.items()}).rank(axis=1)
