"""Models of known skill on sections of known truth: which reported number ranks them as they deserve?

A section keeps its places, its nuclei, its gene means and the distribution of its depths. The rest is made: maps that
set the composition of a spot, a library that follows nuclei as much as asked, Poisson counts, and models whose library
and whose composition are each as good as asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.ndimage import map_coordinates
from scipy.sparse import csr_matrix
from scipy.stats import poisson, spearmanr

from helpers.chapters.type_one_error import fields
from helpers.columns import pearson, spearman
from helpers.labels import counted, label
from helpers.schema import COUNTS, LATTICE, cellularity, has_cellularity, patients_of
from helpers.scores import judge, paired, spatial, top_genes
from helpers.targets import normalization
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL

COUPLINGS = (0.0, 0.5, 1.0)  # correlation of a true log library with log nuclei, before depths are put in its order
LIBRARY_SKILLS = (0.0, 0.3, 0.6, 0.9, 1.0)
COMPOSITION_SKILLS = (0.0, 0.25, 0.5, 0.75, 1.0)
LENGTHS = (1, 2, 4, 8)  # of the maps behind the composition, in spots: correlation exp(-distance / length)
REST = "all other genes"
GUESS, NUCLEI = "guessed depth alone", "perfect composition, library from nuclei"
NAMED = {GUESS: GUESS, NUCLEI: "perfect composition,\nlibrary from nuclei"}  # as a figure breaks them
LIBRARY, COMPOSITION = "library", "composition"
SPACES = (LOG, LOG_CP10K, RESIDUAL)
REPORTS = (*SPACES, COMPOSITION, LIBRARY)
GUESSED = 0.8  # library skill of the guess
DISPERSIONS = (np.inf, 10.0)  # shape of the gamma factor of each count, as of theta: Poisson, and an sd of 0.32
KEYS = ["section", "patient", "coupling", "shrunk", "library_sd"]
COLUMNS = [*KEYS, "model", "library_skill", "composition_skill", "true_library", "true_composition", "report"]
COLUMNS += ["value", "chance_95"]


class Tissue(NamedTuple):
    """What a section is made of, whatever its library: maps of mean 0 and variance 1 over spots."""

    section: AnnData  # the real one
    panel: list[str]
    nuclei: np.ndarray  # spots
    other: np.ndarray  # spots: what depth follows besides nuclei
    error: np.ndarray  # spots: what a guessed library is wrong by
    deviation: np.ndarray  # spots x genes, of the log composition
    wrong: np.ndarray  # spots x genes, what a guessed composition is wrong by
    spread: np.ndarray  # genes: sd of the log composition


class Truth(NamedTuple):
    """A made section with what its counts were drawn from."""

    made: AnnData  # counts of the panel, and of all other genes together
    panel: list[str]
    log_library: np.ndarray  # spots
    shares: np.ndarray  # spots x genes of the panel, of the library
    measured: dict[str, np.ndarray]  # by target, spots x genes


# A section of known truth ---------------------------------------------------------------------------------------


def sd_beyond_poisson(counts: np.ndarray, library: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The sd over spots of each gene's log share that is beyond Poisson noise, by its excess variance; 0 if none is.

    `counts` is spots x genes, `library` per spot, `share` per gene.
    """
    mu = np.outer(library, share)
    excess = ((counts - mu) ** 2 - counts).sum(axis=0) / (mu**2).sum(axis=0)
    return np.sqrt(np.log1p(np.maximum(excess, 0)))


def tissue(section: AnnData, panel: Sequence[str], seed: int = 0) -> Tissue:
    """The maps of a section, without genes that have no count; a panel is its genes.

    Nuclei are a random field where none were counted.
    Each gene follows a mixture of eight random fields, two of each of `LENGTHS`; the error of a composition is the same
    mixture of others.
    """
    rng = np.random.default_rng(seed)
    share, _ = judge.levels(section, panel)
    panel, share = list(np.array(panel)[share > 0]), share[share > 0]
    xy = section.obsm[LATTICE]
    nuclei = np.log1p(cellularity(section)) if has_cellularity(section) else fields(xy, 4, 1, rng)[:, 0]
    nuclei = _scaled(nuclei)
    other, error = fields(xy, 4, 2, rng).T
    true, wrong = (np.hstack([fields(xy, length, 2, rng) for length in LENGTHS]) for _ in range(2))
    loadings = rng.normal(size=(true.shape[1], len(panel)))
    spread = sd_beyond_poisson(normalization.counts_of(section, panel), normalization.library_size(section), share)
    maps = (_scaled(part @ loadings) for part in (true, wrong))
    return Tissue(section, panel, nuclei, _apart(other, nuclei), error, *maps, spread)


def _scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def _apart(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """A map without what a line on another one says of it, mean 0 and variance 1."""
    given = _scaled(given)
    return _scaled(values - values.mean() - given * (given @ values) / len(values))


def mixed(skill: float, true: np.ndarray, wrong: np.ndarray, shrunk: bool = True) -> np.ndarray:
    """A map, or one a column, with correlation `skill` to the true one; shrunk, it varies by as much as it knows.

    `true` and `wrong` have mean 0 and variance 1 and nothing in common.
    """
    return (skill if shrunk else 1.0) * (skill * true + np.sqrt(1 - skill**2) * wrong)


def composition(of: Tissue, skill: float = 1.0, shrunk: bool = True) -> np.ndarray:
    """Shares of the panel's genes in every spot, as a model of that composition skill has them; the truth for 1."""
    share, _ = judge.levels(of.section, of.panel)
    shares = share * np.exp(of.spread * mixed(skill, of.deviation, of.wrong, shrunk))
    return shares / (shares.sum(axis=1, keepdims=True) + 1 - share.sum())


def truth(of: Tissue, coupling: float, seed: int = 0, theta: float = np.inf) -> Truth:
    """A section whose log library has that correlation with log nuclei: its own depths, put in another order.

    Counts are Poisson, or vary besides by a gamma factor of shape `theta` that nothing shows.
    """
    order = np.lexsort((of.other, mixed(coupling, of.nuclei, of.other, shrunk=False)))
    library = np.empty(len(order))
    library[order] = np.sort(normalization.library_size(of.section))
    shares = composition(of)
    expected = library[:, None] * np.column_stack([shares, 1 - shares.sum(axis=1)])
    rng = np.random.default_rng(seed)
    factor = rng.gamma(theta, 1 / theta, expected.shape) if np.isfinite(theta) else 1.0
    counts = rng.poisson(expected * factor).astype(float)
    obs = of.section.obs.assign(total_counts=counts.sum(axis=1))
    made = AnnData(obs=obs, var=pd.DataFrame(index=[*of.panel, REST]), layers={COUNTS: csr_matrix(counts)})
    made.obsm.update(of.section.obsm)
    measured = {target: judge.measured(made, target, of.panel) for target in SPACES}
    return Truth(made, of.panel, np.log(library), shares, measured)


# Models of known skill ------------------------------------------------------------------------------------------


def log_library(true: Truth, error: np.ndarray, skill: float, shrunk: bool = True) -> np.ndarray:
    """The log library of every spot as a model of that library skill has it, wrong by what `error` has of its own."""
    known = _scaled(true.log_library)
    return true.log_library.mean() + true.log_library.std() * mixed(skill, known, _apart(error, known), shrunk)


def models(of: Tissue, true: Truth, shrunk: bool = True) -> Iterator[tuple[dict, np.ndarray, np.ndarray]]:
    """What each model is called, its log library and its composition: all pairs of skills, and the two that have names.

    A model without any skill is none: its prediction is the same everywhere. The library from nuclei is that of a
    straight line on their log.
    """
    shares = {skill: composition(of, skill, shrunk) for skill in COMPOSITION_SKILLS}
    for library, skill in list(product(LIBRARY_SKILLS, COMPOSITION_SKILLS))[1:]:
        called = {"model": "", "library_skill": library, "composition_skill": skill}
        yield called, log_library(true, of.error, library, shrunk), shares[skill]
    yield {"model": GUESS}, log_library(true, of.error, GUESSED), composition(of, 0.0)
    slope = of.nuclei @ true.log_library / len(of.nuclei)
    yield {"model": NUCLEI}, true.log_library.mean() + slope * of.nuclei, composition(of)


def mean_log(mu: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The mean of log(1 + scale x) over Poisson x of mean `mu`: what a model expects of a log of counts.

    `mu` is spots x genes, `scale` per spot, between 0.01 and 1,000. Read off a grid, right to three digits.
    """
    means, scales, table = _mean_logs(2 ** int(np.ceil(np.log2(max(mu.max(), 1)))))
    places = ((np.log(values) - at[0]) / (at[1] - at[0]) for values, at in ((mu, means), (scale[:, None], scales)))
    return map_coordinates(table, np.stack(np.broadcast_arrays(*places)), order=1, mode="nearest")


@lru_cache(maxsize=16)
def _mean_logs(most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log means up to that of `most`, log scales, and `mean_log` of each pair."""
    x = np.arange(int(most + 10 * np.sqrt(most) + 20))
    means, scales = np.linspace(np.log(1e-6), np.log(most), 600), np.linspace(np.log(1e-2), np.log(1e3), 200)
    return means, scales, poisson.pmf(x, np.exp(means)[:, None]) @ np.log1p(np.outer(x, np.exp(scales)))


def predictions(true: Truth, log_library: np.ndarray, shares: np.ndarray) -> dict[str, np.ndarray]:
    """What a model of that library and composition predicts in each target: its mean over Poisson counts.

    `log_library` is one a spot, `shares` spots x genes, and so are the predictions.
    """
    library = np.exp(log_library)
    mu = library[:, None] * shares
    share, _ = judge.levels(true.made, true.panel)
    return {
        LOG: mean_log(mu, np.ones(len(mu))) / np.log(2),
        LOG_CP10K: mean_log(mu, normalization.CP10K / library),
        RESIDUAL: normalization.residuals(mu, library, share),
    }


# Scores ---------------------------------------------------------------------------------------------------------


def true_skills(true: Truth, log_library: np.ndarray, shares: np.ndarray) -> dict[str, float]:
    """Correlation of the log library, and of each gene's share (mean over genes), with the truth; 0 if constant."""
    library = pearson(log_library[:, None], true.log_library[:, None])
    shares = pearson(shares, true.shares)
    return {"true_library": np.nan_to_num(library[0]), "true_composition": np.nan_to_num(shares).mean()}


def pairs_to_score(true: Truth, predicted: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Measured and predicted values by report: each target as predicted, and the composition of the log prediction."""
    pairs = {target: (true.measured[target], values) for target, values in predicted.items()}
    as_residual = judge.in_space(predicted[LOG], LOG, RESIDUAL, true.made, true.panel)
    return pairs | {COMPOSITION: (true.measured[RESIDUAL], as_residual)}


def score(true: Truth, predicted: Mapping[str, np.ndarray], k: int) -> dict[str, float]:
    """The value of each of `REPORTS`.

    PCC-k of each target as it was predicted; library and composition are `judge.skills` of the log prediction, without
    their nulls and ceilings.
    """
    found = {name: top_genes.pcc_at_k(pearson(*pair), k) for name, pair in pairs_to_score(true, predicted).items()}
    return found | {LIBRARY: judge.library_skill(predicted[LOG], LOG, true.made, true.panel, None, 1)["library"]}


def chance(
    true: Truth, predicted: Mapping[str, np.ndarray], spots: np.ndarray, k: int, n_draws: int
) -> dict[str, float]:
    """The 95 % point of the null of each of `REPORTS`; `spots` is the `judge.basis` of the section."""
    pairs = pairs_to_score(true, predicted).items()
    found = {name: judge.pcc(*pair, spots, k, n_draws)["chance_95"] for name, pair in pairs}
    of_library = judge.library_skill(predicted[LOG], LOG, true.made, true.panel, spots, n_draws)
    return found | {LIBRARY: of_library["library_chance_95"]}


def sweep(
    sections: Mapping[str, AnnData],
    panels: Mapping[str, Sequence[str]],
    k: int,
    couplings: Sequence[float] = COUPLINGS,
    shrunk: bool = True,
    n_draws: int = spatial.N_DRAWS_OF_MEAN,
) -> pd.DataFrame:
    """Every report of every model on every section: a tidy table, the named models with chance.

    Columns section, patient, coupling, shrunk, library_sd (of the true log), model (a name or ""), library_skill and
    composition_skill (as asked), true_library and true_composition (as made), report, value, chance_95.
    """
    rows = []
    for name, patient in patients_of(sections).items():
        of = tissue(sections[name], panels[name])
        spots = judge.basis(of.section)
        for coupling in couplings:
            true = truth(of, coupling)
            keys = dict(zip(KEYS, (name, patient, coupling, shrunk, true.log_library.std()), strict=True))
            for called, *model in models(of, true, shrunk):
                predicted = predictions(true, *model)
                null = chance(true, predicted, spots, k, n_draws) if called["model"] and n_draws else {}
                row = keys | called | true_skills(true, *model)
                found = score(true, predicted, k).items()
                rows += [row | {"report": r, "value": v, "chance_95": null.get(r, np.nan)} for r, v in found]
    return pd.DataFrame(rows, columns=COLUMNS)


# Ceilings -------------------------------------------------------------------------------------------------------


def with_nuclei_or_all(sections: Mapping[str, AnnData]) -> dict[str, AnnData]:
    """The sections in which nuclei were counted, which are those that are predicted; all where there is none."""
    return {name: section for name, section in sections.items() if has_cellularity(section)} or dict(sections)


def ceiling_errors(
    sections: Mapping[str, AnnData], panels: Mapping[str, Sequence[str]], k: int, coupling: float = 0.5
) -> pd.DataFrame:
    """The noise ceiling beside what a perfect model scores, whose library and composition are the truth.

    Columns section, patient, theta (of `DISPERSIONS`), target, perfect and ceiling (means over the k genes that the
    perfect model predicts best), and low and high: the 5 % and 95 % points over genes of ceiling less score.
    """
    rows = []
    for (name, patient), theta in product(patients_of(sections).items(), DISPERSIONS):
        of = tissue(sections[name], panels[name])
        true = truth(of, coupling, theta=theta)
        for target, predicted in predictions(true, true.log_library, composition(of)).items():
            r, ceiling = pearson(true.measured[target], predicted), judge.ceilings(true.made, target, true.panel)
            best, (low, high) = top_genes.top_k(r, min(k, len(r))), np.nanquantile(ceiling - r, (0.05, 0.95))
            row = dict(zip(("section", "patient", "theta", "target"), (name, patient, theta, target), strict=True))
            rows.append(row | {"perfect": r[best].mean(), "ceiling": ceiling[best].mean(), "low": low, "high": high})
    return pd.DataFrame(rows)


def ceiling_sentences(table: pd.DataFrame, k: int) -> str:
    """By how much ceilings are too high or too low, target by target (Markdown); takes `ceiling_errors`."""
    lines = []
    for (theta, target), part in table.groupby(["theta", "target"], sort=False):
        error = part["ceiling"] - part["perfect"]
        counts = "Poisson counts" if np.isinf(theta) else f"counts that vary by a gamma factor of shape {theta:g} too"
        lines.append(
            f"- {label(target)}, {counts}: a perfect model scores PCC-{k} {part['perfect'].median():.2f}, its ceiling "
            f"is {_plus(error.median())} from that ({_plus(error.min())} to {_plus(error.max())} over sections); "
            f"single genes {_plus(part['low'].median())} to {_plus(part['high'].median())}."
        )
    return f"Medians over {_of(table)}; of genes, the 5 % and 95 % points.\n\n" + "\n".join(lines)


# Ranks ----------------------------------------------------------------------------------------------------------


def inverted(values: np.ndarray, true: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Pairs of models that a report ranks against a truth, a tie as half: inverted, n_pairs, contested, n_contested.

    `inverted` is a share of the pairs that differ in truth, `contested` of those among them that the `other` truth
    ranks the other way: there a report has to take a side.
    """
    upper = np.triu_indices(len(true), 1)
    signs = (np.subtract.outer(x, x)[upper].round(9) for x in (values, true, other))
    found, apart, opposed = (np.sign(x) for x in signs)
    against, sides = (1 - found * apart) / 2, (apart != 0, apart * opposed < 0)
    shares = [float(against[side].mean()) if side.any() else np.nan for side in sides]
    return {"inverted": shares[0], "n_pairs": sides[0].sum(), "contested": shares[1], "n_contested": sides[1].sum()}


def ranks_of_models(table: pd.DataFrame) -> pd.DataFrame:
    """How each report ranks the models without a name, section by section, against each truth.

    Columns section, patient, coupling, shrunk, library_sd, report, truth (library, composition), rank_correlation
    (Spearman over models), n_models, and those of `inverted`.
    """
    rows = []
    for keys, part in table[table["model"] == ""].groupby([*KEYS, "report"], sort=False):
        for which, other in ((COMPOSITION, LIBRARY), (LIBRARY, COMPOSITION)):
            values, *truths = (part[c].to_numpy(float) for c in ("value", f"true_{which}", f"true_{other}"))
            rho = float(spearman(values[:, None], truths[0])[0])
            row = dict(zip([*KEYS, "report"], keys, strict=True)) | {"truth": which, "rank_correlation": rho}
            rows.append(row | {"n_models": len(part)} | inverted(values, *truths))
    return pd.DataFrame(rows)


# Sentences ------------------------------------------------------------------------------------------------------


def name_of(report: str, k: int) -> str:
    """A report in words."""
    return f"PCC-{k}, {label(report)}" if report in SPACES else f"{report} skill"


def opening(cohort: str, sections: Mapping[str, AnnData]) -> str:
    """Which cohort, how many sections, patients and models a page shows (Markdown)."""
    n, patients = len(sections), len(set(patients_of(sections).values()))
    known, n_models = sum(map(has_cellularity, sections.values())), len(LIBRARY_SKILLS) * len(COMPOSITION_SKILLS) - 1
    return (
        f"This page shows: **{cohort}**, {counted(n, 'sections')} of {counted(patients, 'patients')}; their "
        f"cellularity is measured in {known} and made in {n - known}. On each, {n_models} models of known skill."
    )


def answer(ranked: pd.DataFrame, k: int, coupling: float = 0.5) -> str:
    """How often each report puts the model that knows less of the composition first (Markdown).

    Of pairs of which one model knows more of the composition and the other more of the library; `ranked` is of
    `ranks_of_models`.
    """
    chosen = ranked[ranked["shrunk"] & (ranked["coupling"] == coupling) & (ranked["truth"] == COMPOSITION)]
    taken = chosen.set_index(["report", "section"])["contested"]
    by_patient = chosen.groupby(["report", "patient"])["contested"].median()
    parts = []
    for report in REPORTS:
        middle, by_section = f"{taken[report].median():.0%}", _span(taken[report])
        where = f"({by_section} by section, {_span(by_patient[report])} by patient)"
        same = by_section == f"{middle} to {middle}"
        parts.append(f"{name_of(report, k)} **{middle}** {'in each section' if same else where}")
    first, *others = parts
    return (
        "Of two models, one better in composition and one in the library, **the one that knows less of the composition "
        f"comes first** by {first}; by {', '.join(others)}. The two skills rank so by construction, as models are made "
        "of them: this checks the scores and is no finding. Composition is simulated and skills are chosen, which "
        f"decides how often such pairs meet ({chosen['n_contested'].max()} here). Chance is 50%; medians over "
        f"{_of(chosen)}, log library and log nuclei correlated with r = {coupling:g}."
    )


def pair_sentences(table: pd.DataFrame, k: int) -> str:
    """The two models that have names, under each coupling (Markdown); takes what `sweep` returns."""
    named = table[table["shrunk"] & table["model"].isin(NAMED)]
    lines = []
    for coupling, part in named.groupby("coupling"):
        wide = part.pivot(index="section", columns=["report", "model"], values=["value", "chance_95"])
        middle, words = wide.median(), []
        for report in (LOG, COMPOSITION):
            scores, high = (
                " against ".join(f"{middle[v, report, m]:.2f}" for m in NAMED) for v in ("value", "chance_95")
            )
            first = wide["value", report, GUESS] > wide["value", report, NUCLEI]
            of = part[part["section"].isin(first.index[first])]
            words.append(f"{name_of(report, k)} {scores} (95 % points of chance {high}), the guess first in {_of(of)}")
        lines.append(f"- r(log library, log nuclei) = {coupling:g}: {'; '.join(words)}.")
    return (
        f"The guess has the log library with r = {GUESSED:g} and one composition everywhere. The other has the true "
        f"composition and what a line on nuclei says of the library. Medians over {_of(named)}, the guess named "
        "first:\n\n" + "\n".join(lines)
    )


def depth_sentence(ranked: pd.DataFrame, k: int, coupling: float = 0.5) -> str:
    """Whether scores rank by the library where depths vary most (Markdown); takes what `ranks_of_models` returns.

    Over medians of patients, as sections of one repeat each other; fewer than `paired.MIN_PATIENTS` say nothing.
    """
    chosen = ranked[ranked["shrunk"] & (ranked["coupling"] == coupling) & (ranked["truth"] == COMPOSITION)]
    by_patient = chosen.groupby(["report", "patient"])[["contested", "library_sd"]].median()
    n = chosen["patient"].nunique()
    if n < paired.MIN_PATIENTS:
        return f"Whether scores rank by the library where depths vary most, {counted(n, 'patients')} cannot say."
    words = []
    for report in (LOG, LOG_CP10K):
        rho, p = spearmanr(*by_patient.loc[report].to_numpy().T)
        words.append(f"{name_of(report, k)} {rho:.2f} (p = {p:.2g})")
    return (
        "Do scores rank by the library where depths vary most? Spearman's rho of the share in the answer with the sd "
        f"of log depth, over {counted(n, 'patients')} (medians of their sections): {', '.join(words)}."
    )


def shrunk_sentence(ranked: pd.DataFrame, k: int) -> str:
    """Whether it matters that predictions vary by as much as they know (Markdown); takes `ranks_of_models`."""
    bold = ranked[~ranked["shrunk"] & (ranked["truth"] == COMPOSITION)]
    taken = bold.groupby("report")["contested"].median()
    shares = ", ".join(f"{name_of(report, k)} {taken[report]:.0%}" for report in REPORTS[:4])
    return (
        f"Were predictions as varied as the truth whatever they know, the model that knows less of the composition "
        f"would come first in: {shares} of contested pairs (medians over {_of(bold)}, "
        f"r = {bold['coupling'].iloc[0]:g})."
    )


def _of(table: pd.DataFrame) -> str:
    sections, patients = (table[column].nunique() for column in ("section", "patient"))
    return f"{counted(sections, 'sections')} of {counted(patients, 'patients')}"


def _plus(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"


def _span(shares: pd.Series) -> str:
    return f"{shares.min():.0%} to {shares.max():.0%}"
