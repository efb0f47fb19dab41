"""How STEM's recipe is chosen: on sections that no score of the fold comes from.

Of a fold's training sections one, the next in order, is set aside; each candidate is fitted on the others and scored on
it. A fold takes the candidate whose log predictions have the highest composition skill there (PCC-k as residuals, their
own library divided out). `scripts/choose_steps.py` makes the committed table.
"""

import time
from collections.abc import Iterator, Mapping
from itertools import product

import pandas as pd
from anndata import AnnData

from helpers import schema
from helpers.chapters.stem_training import fit_and_predict
from helpers.columns import pearson
from helpers.models.stem.recipes import recipe
from helpers.scores import judge, top_genes
from helpers.targets.normalization import LOG, RESIDUAL

K = 50
TARGET = LOG
# Hyperparameters of the profile `cpu` that differ; the first is ridge, for comparison.
CANDIDATES = {"ridge": None, "200 steps": {"steps": 200}, "400 steps": {"steps": 400}, "1200 steps": {"steps": 1200}}


def inner_splits(names: list[str]) -> list[tuple[str, str]]:
    """(held out, set aside) of every fold: the section that comes next in order, around.

    >>> inner_splits(["B4", "C2", "C3"])
    [('B4', 'C2'), ('C2', 'C3'), ('C3', 'B4')]
    """
    return list(zip(names, [*names[1:], names[0]], strict=True))


def score(prediction: AnnData, section: AnnData) -> dict[str, float]:
    """PCC-k in log and composition skill of a log prediction of a section."""
    predicted, genes = prediction.layers[schema.PREDICTED], list(prediction.var_names)
    residual = judge.in_space(predicted, TARGET, RESIDUAL, section, genes)
    r = {
        "pcc": pearson(prediction.layers[schema.MEASURED], predicted),
        "composition": pearson(judge.measured(section, RESIDUAL, genes), residual),
    }
    return {name: top_genes.pcc_at_k(values, K) for name, values in r.items()}


def score_candidates(
    sections: Mapping[str, AnnData], whole: Mapping[str, AnnData], panels: Mapping[str, list[str]]
) -> Iterator[dict]:
    """Every candidate on every inner split: candidate, held_out, set_aside, seconds, and what `score` says.

    `sections` hold targets and features of the panel, `whole` the counts of all genes, which scores need.
    """
    for changes in filter(None, CANDIDATES.values()):
        recipe("cpu", **changes)  # a misspelt one is refused before the first fit
    for (name, changes), (held_out, aside) in product(CANDIDATES.items(), inner_splits(list(sections))):
        training = {other: section for other, section in sections.items() if other != held_out}
        backbone = "ridge" if changes is None else "stem"
        start, settings = time.perf_counter(), {"genes": panels[held_out], "profile": "cpu", **(changes or {})}
        prediction = fit_and_predict(training, aside, backbone, TARGET, 0, keep_samples=False, **settings)
        row = {"candidate": name, "held_out": held_out, "set_aside": aside, "seconds": time.perf_counter() - start}
        yield row | score(prediction, whole[aside])


def chosen(table: pd.DataFrame) -> pd.Series:
    """The candidate that each fold takes, by held-out section; ridge is none."""
    candidates = table[table["candidate"] != "ridge"]
    best = candidates.loc[candidates.groupby("held_out", sort=False)["composition"].idxmax()]
    return best.set_index("held_out")["candidate"]


def remark(table: pd.DataFrame) -> str:
    """How the recipe was chosen, by how much, and what it reaches of ridge (Markdown)."""
    took = chosen(table).value_counts()
    wide = table.pivot(index="held_out", columns="candidate", values="composition")
    share = (wide[took.index[0]] / wide["ridge"]).sort_values()
    composition, pcc = (
        ", ".join(f"{name} {part.median():.3f}" for name, part in table.groupby("candidate", sort=False)[column])
        for column in ("composition", "pcc")
    )
    others = "".join(f", {n} took {name}" for name, n in took.iloc[1:].items())
    return (
        f"The number of steps was chosen without the held-out section of the fold: of {len(wide)} folds "
        f"{took.iloc[0]} took {took.index[0]}{others}. Medians over the sections set aside, composition skill: "
        f"{composition}; PCC-{K} in log: {pcc}. With {took.index[0]} STEM has {share.median():.0%} of ridge's "
        f"composition skill in the median of the folds ({share.iloc[0]:.0%} to {share.iloc[-1]:.0%}). More were not "
        "tried. The steps were chosen on these scores, so "
        "they flatter STEM; log predictions chose for both targets."
    )
