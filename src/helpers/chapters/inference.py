"""How sure one can be: which genes and scores are beyond chance, where spots are shuffled and where maps are as smooth.

A cohort is a mapping from names of sections to AnnData that hold the genes of the panel, with a layer for each target.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.labels import label, of_patients
from helpers.models import backbones
from helpers.schema import MEASURED, PREDICTED, SPATIAL, covariates, has_cellularity
from helpers.scores import judge, paired, spatial


class Null(NamedTuple):
    """A kind of chance: how pages call it, and what the unrelated maps are drawn with."""

    name: str
    brief: str  # in the head of a column
    by: str  # in a sentence, after what it calls
    basis: Callable[[np.ndarray], spatial.Basis] | None = None  # of xy, spots x 2; without one spots are shuffled
    rho: str = "rho"  # the column of the correlation that is tested
    of_scores: bool = True  # whether scores are tested by it too


NULLS: dict[str, Null] = {
    "iid": Null("shuffled spots", "shuffled", "by shuffling"),
    "spatial": Null("maps as smooth", "smooth", "by maps as smooth", judge.basis_at),
    # A score is that of whole maps: place is part of them.
    "place": Null(
        "maps as smooth, place held fixed",
        "given place",
        "with place held fixed",
        partial(judge.basis_at, place=True),
        rho="rho_given_place",
        of_scores=False,
    ),
}
STRICTEST = "place"  # of NULLS, the one that the answer goes by
OF_SCORES = [null for null, kind in NULLS.items() if kind.of_scores]
LEVEL = 0.05
N_SHUFFLES = 999  # of spots: they are many and independent, and each costs much
COVARIATES = ("nuclei", "depth")
CALLED = {
    f"{by}_{null}": f"{kind.name}, {text}"
    for by, text in (("p", "p ≤ 0.05"), ("q", "q < 0.05"))
    for null, kind in NULLS.items()
}
Bases = Mapping[str, spatial.Basis | None]  # by null
BACKBONES = (*backbones.MODELS, *backbones.FLOORS_BESIDE)  # in the order in which they are shown


def opening(cohort: str, sections: Mapping[str, AnnData], n_patients: int) -> str:
    """Which cohort the page shows, in Markdown."""
    n_images = sum(map(has_cellularity, sections.values()))
    return f"This page shows: **{cohort}**, {len(sections)} sections, {n_images} with an image; patients: {n_patients}."


# Genes against nuclei and depth ---------------------------------------------------------------------------------


def bases_of_nulls(xy: np.ndarray) -> Bases:
    """The basis of each of NULLS for spots at `xy`, spots x 2; None where spots are shuffled."""
    return {null: kind.basis and kind.basis(xy) for null, kind in NULLS.items()}


def gene_tests(
    X: np.ndarray, y: np.ndarray, basis: np.ndarray | None = None, n_draws: int = judge.N_DRAWS
) -> tuple[pd.DataFrame, float]:
    """Spearman's rho of every gene with y, its p and q under one kind of chance, and the median |rho| of that chance.

    X is spots x genes, y is spots. With a `spatial.moran_basis` chance is of maps as smooth as y, without one of
    shuffled spots. Columns rho, p, q (over these genes), NaN for constant genes; the chance is NaN if all are.
    """
    rho, drawn = spatial.null_correlations(X, y, basis, rank=True, n_draws=n_draws)
    p = spatial.p_values(rho, drawn)
    defined = np.isfinite(p)
    chance = float(np.median(np.abs(drawn[defined]))) if defined.any() else np.nan
    return pd.DataFrame({"rho": rho, "p": p, "q": paired.fdr(p)}), chance


def shares_called(tests: pd.DataFrame, level: float = LEVEL) -> tuple[float, float]:
    """Shares of genes with p <= `level` and with q < `level`, of those that have a p; NaN where none has."""
    known = tests.dropna(subset="p")
    return (known["p"] <= level).mean(), (known["q"] < level).mean()


def section_tests(
    section: AnnData, target: str, y: np.ndarray, bases: Bases, n_draws: int = judge.N_DRAWS
) -> tuple[pd.DataFrame, dict]:
    """Every gene of a section against y, a number a spot, under each of NULLS, and the row that sums them up.

    The table has gene, n_effective, rho, and p and q of each null (given place it is the partial rho that is tested);
    the row n_spots, n_effective (median over genes),
    and for each null the shares called by p and by q, and the median |rho| of chance.
    """
    X = section.layers[target]
    table = pd.DataFrame({"gene": list(section.var_names)})
    table["n_effective"] = spatial.effective_n(X, y, bases["spatial"], rank=True)
    row = {"n_spots": len(y), "n_effective": table["n_effective"].median()}
    for null, maps in bases.items():
        tests, row[f"chance_{null}"] = gene_tests(X, y, maps, n_draws if maps is not None else min(n_draws, N_SHUFFLES))
        row[f"p_{null}"], row[f"q_{null}"] = shares_called(tests)
        table[[NULLS[null].rho, f"p_{null}", f"q_{null}"]] = tests
    return table, row


def cohort_tests(
    cohort: Mapping[str, AnnData], targets: Sequence[str], n_draws: int = judge.N_DRAWS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`section_tests` of every section, covariate and target, stacked: a row a gene, and a row a section.

    A section without an image is tested against depth only.
    """
    bases = {name: bases_of_nulls(section.obsm[SPATIAL]) for name, section in cohort.items()}
    tables, rows = [], []
    for covariate, (name, section), target in product(COVARIATES, cohort.items(), targets):
        if covariate in (known := covariates(section)):
            table, row = section_tests(section, target, known[covariate], bases[name], n_draws)
            keys = {"section": name, "covariate": covariate, "target": target}
            tables.append(table.assign(**keys))
            rows.append(keys | row)
    columns = ["section", "covariate", "target", "gene", *dict.fromkeys(kind.rho for kind in NULLS.values())]
    columns += ["n_effective"]
    columns += [f"{by}_{null}" for by in ("p", "q") for null in NULLS]
    return pd.concat(tables, ignore_index=True)[columns], pd.DataFrame(rows)


def called_in_rows(of_section: pd.DataFrame) -> pd.DataFrame:
    """Shares of genes called, a row each: section, covariate, target, called (null and threshold in words), share."""
    long = of_section.melt(["section", "covariate", "target"], list(CALLED), "called", "share")
    return long.assign(called=long["called"].map(CALLED))


def called_medians(of_section: pd.DataFrame) -> pd.DataFrame:
    """Medians over sections of the shares called and of |rho| by chance, by covariate and target, as shown."""
    by_target = of_section.groupby(["covariate", "target"], sort=False)
    brief = {null: kind.brief for null, kind in NULLS.items()}
    shares = {f"{by}_{null}": f"{by}, {name}" for by in ("p", "q") for null, name in brief.items()}
    chances = {f"chance_{null}": f"chance |ρ|, {name}" for null, name in brief.items()}
    medians = by_target[[*shares, *chances]].median().rename(index=label, level="target")
    return medians.rename(columns=shares | chances).rename_axis(index=["coupled to", "target"])


def called_sentences(of_section: pd.DataFrame, patients: Mapping[str, str]) -> str:
    """How many genes each kind of chance leaves called, medians over sections: a line each, in Markdown."""
    by_target = of_section.groupby(["covariate", "target"], sort=False)
    lines = []
    for (covariate, target), part in by_target:
        row = part[[*(f"p_{null}" for null in NULLS), f"q_{STRICTEST}"]].median()
        lost = 1 - row["p_spatial"] / row["p_iid"] if row["p_iid"] else 0
        called = {null: f"{row[f'p_{null}']:.0%} {kind.by}" for null, kind in NULLS.items()}
        called["iid"] = f"{row['p_iid']:.0%} of genes are called {NULLS['iid'].by}"
        called["spatial"] += f" ({lost:.0%} fewer)"
        called[STRICTEST] += f", {row[f'q_{STRICTEST}']:.0%} of these after the false discovery rate"
        of = of_patients(part["section"], patients)
        lines.append(f"- {label(target)} and {covariate}, {of}: {', '.join(called.values())}.")
    return (
        f"Medians over sections; of genes that owe nothing to nuclei or depth a right p calls {LEVEL:.0%}:\n\n"
        + "\n".join(lines)
        + "\n\n{download}`Every gene of every section <results/inference_genes.csv.gz>`."
    )


def worth_sentences(of_section: pd.DataFrame) -> str:
    """How many independent spots the sections are worth: a line for each covariate and target, in Markdown."""
    worth = of_section.assign(share=of_section["n_effective"] / of_section["n_spots"])
    lines = []
    for (covariate, target), part in worth.groupby(["covariate", "target"], sort=False):
        least = part.loc[part["n_effective"].idxmin()]
        lines.append(
            f"- {label(target)} with {covariate}: {part['n_effective'].median():.0f} effective of "
            f"{part['n_spots'].median():.0f} spots (medians), {part['share'].median():.0%}; least "
            f"{least['n_effective']:.0f} of {least['n_spots']:.0f}, in {least['section']}."
        )
    return "\n".join(lines)


# Scores of predictions ------------------------------------------------------------------------------------------


def score_row(prediction: AnnData, k: int = 50, n_draws: int = judge.N_DRAWS) -> dict:
    """PCC-k of a prediction beside that of predictions that have nothing to do with the tissue.

    Keys section, split, backbone, target, seed, k (no more than there are genes), pcc, and for each null the 95 %
    point of chance (chance_) and the one-sided p (p_).
    """
    layers = [prediction.layers[layer] for layer in (MEASURED, PREDICTED)]
    k = min(k, prediction.n_vars)
    row = {name: prediction.uns[name] for name in ("section", "split", "backbone", "target", "seed")} | {"k": k}
    for null in OF_SCORES:
        maps = NULLS[null].basis and NULLS[null].basis(prediction.obsm[SPATIAL])
        found = judge.pcc(*layers, maps, k, n_draws if maps is not None else min(n_draws, N_SHUFFLES))
        row |= {"pcc": found["pcc"], f"chance_{null}": found["chance_95"], f"p_{null}": found["p"]}
    return row


def score_rows(
    predictions: Iterable[AnnData], targets: Sequence[str], k: int = 50, n_draws: int = judge.N_DRAWS
) -> pd.DataFrame:
    """`score_row` of every prediction, models before floors and targets in the given order."""
    table = pd.DataFrame([score_row(prediction, k, n_draws) for prediction in predictions])
    order = {name: i for i, name in enumerate([*BACKBONES, *targets])}
    return table.sort_values(
        ["backbone", "target"], key=lambda names: names.map(order), kind="stable", ignore_index=True
    )


def score_medians(scores: pd.DataFrame) -> pd.DataFrame:
    """Medians over folds of PCC-k and its chance, and how many folds are beyond it, as shown."""
    by_score = scores.groupby(["backbone", "target"], sort=False)
    brief = {null: NULLS[null].brief for null in OF_SCORES if f"p_{null}" in scores}
    medians, size = by_score[["pcc", *(f"chance_{null}" for null in brief)]].median(), by_score.size()
    for null, name in brief.items():
        beyond = (scores[f"p_{null}"] <= LEVEL).groupby([scores["backbone"], scores["target"]], sort=False).sum()
        medians[f"beyond, {name}"] = [f"{n} of {of}" for n, of in zip(beyond, size, strict=True)]
    names = {"pcc": f"PCC-{scores['k'].max()}"} | {f"chance_{null}": f"chance, {name}" for null, name in brief.items()}
    return medians.rename(index=label, columns=names)


def chance_sentence(scores: pd.DataFrame) -> str:
    """How much higher chance reaches for maps as smooth than for shuffled spots, by target, in Markdown."""
    higher = (scores["chance_spatial"] - scores["chance_iid"]).groupby(scores["target"], sort=False).median()
    return (
        "Medians over folds; chance is its 95 % point, and *beyond* counts the folds with p ≤ 0.05. "
        "What chance reaches is higher for maps as smooth than for shuffled spots by "
        + ", ".join(f"{value:+.2f} in {label(target)}" for target, value in higher.items())
        + " (medians). {download}`Every fold <results/inference_scores.csv>`."
    )


def answer(of_section: pd.DataFrame, scores: pd.DataFrame, patients: Mapping[str, str], errs: float) -> str:
    """How many genes and scores are beyond the strictest chance, which `errs` in so many tests at 5 % (Markdown).

    Takes the second table of `cohort_tests` and `score_rows`.
    """
    parts = []
    for covariate, part in of_section.groupby("covariate", sort=False):
        share = part.groupby("target", sort=False)[f"q_{STRICTEST}"].median()
        shares = ", ".join(f"**{value:.0%}** in {label(target)}" for target, value in share.items())
        parts.append(f"with {covariate} {shares} (medians over {of_patients(part['section'], patients)})")
    own = scores[scores["backbone"].isin(backbones.MODELS)]
    beyond = (own["p_spatial"] <= LEVEL).groupby(own["backbone"], sort=False).agg(["sum", "size"])
    folds = ", ".join(f"{n} of {size} of `{name}` (a fold for each target)" for name, n, size in beyond.itertuples())
    strictest, smooth = NULLS[STRICTEST].name, NULLS["spatial"].name
    return (
        f"Genes beyond {strictest}, after the false discovery rate: {'; '.join(parts)}; on unrelated maps such a "
        f"test at {LEVEL:.0%}, before that correction, errs in up to {errs:.0%}. Folds whose PCC-{own['k'].max()} is "
        f"beyond {smooth}: {folds}."
    )
