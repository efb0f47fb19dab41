"""The same predictions scored in every space: is a target that scores lower harder, or does its model know less.

A table of scores has section, split, backbone, trained_in and scored_in (spaces of `normalization.TARGETS`, or one of
COMBINED), PCC-k in columns `pcc_<k>`, their noise ceiling and `chance_95`, the 95 % point of the spatial null.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.cohort import simulate
from helpers.columns import pearson
from helpers.labels import counted, label, of_patients
from helpers.schema import PREDICTED
from helpers.scores import judge, top_genes
from helpers.targets import normalization, spaces
from helpers.targets.normalization import LOG, RESIDUAL

FIT = ("section", "split", "backbone", "seed")
KEYS = ["section", "split", "backbone", "trained_in", "scored_in"]
SKILL_KEYS = ["section", "patient", "split", "backbone", "target"]
COMBINED = ("library", "residual_library", "residual_oracle")  # predictions that are put together of two models
FEW = 10  # the other k
SIMULATED = ("A1", "B1", "C1")  # of the toy cohort: deep, middling, shallow

Fits = Mapping[tuple, Mapping[str, pd.DataFrame]]  # values of FIT and the genes -> target -> spots x genes

# Predictions and what they are compared with --------------------------------------------------------------------


def by_fit(predictions: Iterable[AnnData]) -> Fits:
    """The predictions of each fit: values of FIT and the genes -> target -> spots x genes."""
    fits: dict[tuple, dict[str, pd.DataFrame]] = {}
    for prediction in predictions:
        key = (*(prediction.uns[name] for name in FIT), tuple(prediction.var_names))
        fits.setdefault(key, {})[prediction.uns["target"]] = prediction.to_df(PREDICTED)
    return fits


def candidates(
    values: Mapping[str, np.ndarray], share: np.ndarray, depth: float, oracle: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray, float | np.ndarray]]:
    """The predictions of one fit, and those put together: name, space, values, the depth that they are given.

    `values` maps targets to spots x genes. `share` and `depth` are of `judge.levels`, `oracle` the measured depth of
    each spot. COMBINED need both logs and residuals: the library that the log model expects, with the same composition
    everywhere; with the composition of the residual model; and that composition with the measured depth.
    """
    for target, predicted in values.items():
        yield target, target, predicted, depth
    if {LOG, RESIDUAL} <= set(values):
        library = spaces.library(values[LOG], LOG, share)
        yield COMBINED[0], "counts", np.outer(library, share), depth
        yield COMBINED[1], RESIDUAL, values[RESIDUAL], library
        yield COMBINED[2], RESIDUAL, values[RESIDUAL], oracle


# Scores ---------------------------------------------------------------------------------------------------------


def score_fit(
    section: AnnData,
    values: Mapping[str, pd.DataFrame],
    ceilings: Mapping[str, np.ndarray],
    k: int,
    n_draws: int = judge.N_DRAWS,
) -> Iterator[tuple[dict, np.ndarray]]:
    """Every prediction of a fit in every space: a row of scores, and the PCC of each gene.

    `values` maps targets to tables of spots x genes; `ceilings` maps each space to be scored in to the noise ceiling of
    these genes. Columns of the row: trained_in, scored_in, `pcc_<k>` for FEW and for k, pcc_all (mean over genes),
    `ceiling_<k>` (of the genes of PCC-k) and chance_95 (of k).
    """
    if not values:
        return
    genes, spots = list(next(iter(values.values())).columns), judge.basis(section)
    (share, depth), oracle = judge.levels(section, genes), section.obs["total_counts"].to_numpy(float)
    arrays = {target: table.loc[section.obs_names].to_numpy() for target, table in values.items()}
    truth = {space: judge.measured(section, space, genes) for space in ceilings}
    for (trained_in, source, predicted, given), space in product(candidates(arrays, share, depth, oracle), ceilings):
        converted = spaces.convert(predicted, source, space, share, given)
        found, r = (
            judge.pcc(truth[space], converted, spots, k, n_draws, ceilings[space]),
            pearson(truth[space], converted),
        )
        at_ks = {f"pcc_{FEW}": top_genes.pcc_at_k(r, FEW), f"pcc_{k}": found["pcc"], "pcc_all": pd.Series(r).mean()}
        row = {"trained_in": trained_in, "scored_in": space} | at_ks
        yield row | {f"ceiling_{k}": found["ceiling"], "chance_95": found["chance_95"]}, r


def score_fits(
    fits: Fits, sections: Mapping[str, AnnData], ceilings: pd.DataFrame, k: int, n_draws: int = judge.N_DRAWS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All fits in every space that `ceilings` knows, means over seeds: a table of scores, and one of genes.

    `ceilings` has section, target (also counts), gene and ceiling; only predictions of its targets count, in their
    order. The second table has KEYS, gene and pcc.
    """
    rows, of_genes = [], []
    for (name, split, backbone, _, genes), fitted in fits.items():
        known = section_ceilings(ceilings, name, genes)
        values = {target: fitted[target] for target in known if target in fitted}
        for row, pcc in score_fit(sections[name], values, known, k, n_draws):
            row = {"section": name, "split": split, "backbone": backbone} | row
            rows.append(row)
            of_genes.append(pd.DataFrame({key: row[key] for key in KEYS} | {"gene": genes, "pcc": pcc}))
    scores = pd.DataFrame(rows).groupby(KEYS, sort=False).mean().reset_index()
    genes_scored = pd.concat(of_genes).groupby([*KEYS, "gene"], sort=False)["pcc"].mean().reset_index()
    return scores, genes_scored


def skills_of(
    fits: Fits, sections: Mapping[str, AnnData], scores: pd.DataFrame, k: int, n_draws: int = judge.N_DRAWS
) -> pd.DataFrame:
    """Library skill and composition skill of every prediction, means over seeds: two numbers (`judge.skills`).

    `scores` is what `score_fits` returns: composition skill is the score as residuals. Columns section, patient, split,
    backbone, target, and library and composition, each with _chance_95 and _ceiling; NaN where the target holds no
    library, and where dividing by it leaves nothing.
    """
    rows = []
    for (name, split, backbone, _, genes), fitted in fits.items():
        section, spots = sections[name], judge.basis(sections[name])
        patient = str(section.obs["patient"].iloc[0])
        for target, values in fitted.items():
            predicted = values.loc[section.obs_names].to_numpy()
            found = judge.library_skill(predicted, target, section, genes, spots, n_draws)
            keys = {"section": name, "patient": patient, "split": split, "backbone": backbone, "target": target}
            rows.append(keys | found)
    library = pd.DataFrame(rows).groupby(SKILL_KEYS, sort=False).mean().reset_index()
    names = {f"pcc_{k}": "composition", "chance_95": "composition_chance_95", f"ceiling_{k}": "composition_ceiling"}
    composition = scores[scores["scored_in"] == RESIDUAL].rename(columns=names | {"trained_in": "target"})
    keys = ["section", "split", "backbone", "target"]
    return library.merge(composition[[*keys, *names.values()]], how="left", on=keys)


def section_ceilings(ceilings: pd.DataFrame, section: str, genes: Sequence[str]) -> dict[str, np.ndarray]:
    """The noise ceilings of the genes of one section, in their order, by target; ValueError where one is missing."""
    own = ceilings[ceilings["section"] == section]
    table = own.pivot(index="gene", columns="target", values="ceiling").reindex(genes)[own["target"].unique()]
    if own.empty or not set(genes) <= set(own["gene"]):
        raise ValueError(f"section {section}: no noise ceiling of some gene; run 07_dependence on it again")
    return {target: table[target].to_numpy() for target in table}


def count_ceilings(fits: Fits, sections: Mapping[str, AnnData], n_splits: int) -> pd.DataFrame:
    """The noise ceiling of counts as they are, of the genes predicted: section, target (counts), gene, ceiling."""
    tables = []
    for name, genes in {key[0]: list(key[-1]) for key in fits}.items():
        ceiling = judge.ceilings(sections[name], "counts", genes, n_splits)
        tables.append(pd.DataFrame({"section": name, "target": "counts", "gene": genes, "ceiling": ceiling}))
    return pd.concat(tables, ignore_index=True)


def trained_in_both(scores: pd.DataFrame, backbones: Sequence[str]) -> list[str]:
    """Those of the backbones that were trained on logs and on residuals, and both scored as residuals."""
    trained_in = scores[scores["scored_in"] == RESIDUAL].groupby("backbone")["trained_in"].agg(set)
    return [backbone for backbone in backbones if {LOG, RESIDUAL} <= trained_in.get(backbone, set())]


def shown_model(backbones: Sequence[str]) -> str:
    """The one of `trained_in_both` that is shown gene by gene: ridge, else the first, else "" for none."""
    return "ridge" if "ridge" in backbones else next(iter(backbones), "")


# Gene by gene ---------------------------------------------------------------------------------------------------


def gains(genes_scored: pd.DataFrame) -> pd.DataFrame:
    """PCC of each gene as a residual, trained on logs and on residuals, medians over sections, and what is gained.

    Rows are genes, most gained first; a gene that lacks one of the two is left out. No rows where no model has both.
    """
    part = genes_scored[genes_scored["scored_in"] == RESIDUAL]
    wide = part.pivot_table("pcc", "gene", "trained_in", "median").reindex(columns=[LOG, RESIDUAL]).dropna()
    wide["gained"] = wide[RESIDUAL] - wide[LOG]
    return wide.sort_values("gained", ascending=False).rename_axis(columns=None)


def ends(gained: pd.DataFrame, n: int = 5) -> pd.DataFrame:
    """The n genes that gained most and the n that lost most, these from the last; takes what `gains` returns."""
    return pd.concat({"most gained": gained.head(n), "most lost": gained.tail(n)[::-1]}, names=["", "gene"])


# Predictions that know everything -------------------------------------------------------------------------------


def expected_counts(name: str, profiles: pd.DataFrame) -> np.ndarray:
    """Expected counts of every spot of a simulated section, spots x genes.

    Its depth, spread over the profiles of its cell types and what floats about.
    """
    made = simulate.section(name, simulate.SECTIONS[name], profiles, image=False)
    types = profiles[list(simulate.CELL_TYPES)]
    mixture = made["truth"][list(types)].to_numpy() @ (types / types.sum()).to_numpy().T
    floating = mixture.mean(axis=0) / mixture.mean(axis=0).sum()
    mixture = mixture + np.outer(made["truth"]["ambient"], floating)
    return made["truth"]["expected_depth"].to_numpy()[:, None] * mixture


def draw_counts(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Negative binomial counts around the expected, spots x genes, as overdispersed as the simulated cohort."""
    over = simulate.OVERDISPERSION
    return rng.poisson(expected * rng.gamma(1 / over, over, expected.shape)).astype(float)


def shares_of(counts: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Each chosen gene's share of all counts, spots x genes."""
    return (counts.sum(axis=0) / counts.sum())[chosen]


def score_perfect(
    expected: np.ndarray, targets: Sequence[str], k: int, n_draws: int = 50, n_genes: int = 300, seed: int = 0
) -> pd.DataFrame:
    """The perfect prediction in each space, taken to each space and scored there on one more draw of counts.

    Perfect in a space is its mean over `n_draws` draws of counts (spots x genes, of the abundant `n_genes`). Columns
    median_depth (molecules of a spot), trained_in, scored_in, `pcc_<k>`.
    """
    rng = np.random.default_rng(seed)
    chosen = np.argsort(-expected.sum(axis=0), kind="stable")[:n_genes]
    draws = [draw_counts(expected, rng) for _ in range(n_draws + 1)]

    def seen(counts: np.ndarray, space: str) -> np.ndarray:
        values = normalization.TARGETS[space].values
        return values(counts[:, chosen], counts.sum(axis=1), shares_of(counts, chosen))

    last = draws.pop()
    perfect = {space: sum(seen(counts, space) for counts in draws) / n_draws for space in targets}
    share, depth, rows = shares_of(last, chosen), np.median(last.sum(axis=1)), []
    for trained_in, scored_in in product(targets, targets):
        values = spaces.convert(perfect[trained_in], trained_in, scored_in, share, depth)
        pcc_k = top_genes.pcc_at_k(pearson(seen(last, scored_in), values), k)
        keys = {"median_depth": depth, "trained_in": trained_in, "scored_in": scored_in}
        rows.append(keys | {f"pcc_{k}": pcc_k})
    return pd.DataFrame(rows)


def score_perfect_sections(targets: Sequence[str], k: int, names: Sequence[str] = SIMULATED) -> pd.DataFrame:
    """`score_perfect` of sections of the simulated cohort, with a column section."""
    profiles = simulate.gene_profiles()
    tables = {name: score_perfect(expected_counts(name, profiles), targets, k) for name in names}
    return pd.concat(tables, names=["section"]).reset_index("section").reset_index(drop=True)


def perfect_by_depth(perfect: pd.DataFrame, targets: Sequence[str], k: int) -> pd.DataFrame:
    """Scores of perfect predictions: median depth, deepest first, and space known in the rows, spaces scored in."""
    table = perfect.pivot_table(f"pcc_{k}", ["median_depth", "trained_in"], "scored_in", sort=False)[list(targets)]
    table = table.sort_index(level=0, ascending=False, sort_remaining=False)
    depths = [f"{depth:,.0f} counts" for depth in table.index.get_level_values(0)]
    table.index = pd.MultiIndex.from_arrays([depths, table.index.get_level_values(1)], names=["a spot has", "knows"])
    return table.rename_axis(columns=None)


# Sentences ------------------------------------------------------------------------------------------------------


def skills_sentences(skills: pd.DataFrame, backbones: Sequence[str]) -> str:
    """Both skills beside chance and ceiling, medians over sections: a line (Markdown) a backbone and target.

    `skills` is what `skills_of` returns, of one split.
    """
    lines = []
    for (backbone, target), part in skills.groupby(["backbone", "target"], sort=False):
        if backbone in backbones:
            words = [f"{name} skill {_skill(part, name)}" for name in ("library", "composition")]
            sizes = f"{counted(len(part), 'sections')}, {counted(part['patient'].nunique(), 'patients')}"
            lines.append(f"- `{backbone}`, {label(target)} ({sizes}): {'; '.join(words)}.")
    return "\n".join(lines)


def _skill(part: pd.DataFrame, name: str) -> str:
    """One skill of one prediction in words: median over sections, chance, ceiling, sections above chance."""
    known = part.dropna(subset=name)
    if known.empty:
        return "none: the target holds no library" if name == "library" else "none: nothing is left"
    value, chance, ceiling = known[[name, f"{name}_chance_95", f"{name}_ceiling"]].median()
    n_above = (known[name] > known[f"{name}_chance_95"]).sum()
    return f"**{value:.2f}** (chance {chance:.2f}, ceiling {ceiling:.2f}, above chance in {n_above} of {len(known)})"


def steps_sentences(scores: pd.DataFrame, backbones: Sequence[str], k: int, patients: Mapping[str, str]) -> str:
    """From log, scored as log, to residual, scored as residual, in two steps: a line (Markdown) a backbone.

    First the model stays and the question changes, then the question stays and the model changes.
    """
    keys, columns = ["backbone", "trained_in", "scored_in"], [f"pcc_{k}", "chance_95", f"ceiling_{k}"]
    median = scores.groupby(keys)[columns].median()
    own = scores.set_index([*keys, "section"])[f"pcc_{k}"].sort_index()
    lines, asked_less = [], []
    for backbone in backbones:
        walk = ((LOG, LOG), (LOG, RESIDUAL), (RESIDUAL, RESIDUAL))
        log, asked, trained = (
            f"**{value:.2f}** (chance {chance:.2f}, ceiling {ceiling:.2f})"
            for value, chance, ceiling in (median.loc[(backbone, *at)] for at in walk)
        )
        change = (own.loc[backbone, RESIDUAL, RESIDUAL] - own.loc[backbone, LOG, RESIDUAL]).dropna()
        low, high, middle = (f"{round(value, 2) + 0:+.2f}" for value in (change.min(), change.max(), change.median()))
        less = (own.loc[backbone, LOG, RESIDUAL] - own.loc[backbone, LOG, LOG]).median()
        asked_less.append(f"`{backbone}` {less:+z.2f} by the question, {middle} by the training")
        lines.append(
            f"- `{backbone}`: {log} in log; the same predictions as residuals {asked}; trained on residuals {trained}, "
            f"higher than these in {(change > 0).sum()} of {counted(len(change), 'sections')} ({low} to {high}, "
            f"median {middle})."
        )
    if not lines:
        return "No model was trained both on logs and on residuals in this run."
    sizes = of_patients(scores.loc[scores["backbone"].isin(backbones), "section"], patients)
    return (
        f"**From log to residual PCC-{k} changes with {'; '.join(asked_less)}**: the same predictions are asked as "
        f"residuals, then others are trained on residuals. Medians over {sizes}; chance is the 95 % point of maps as "
        "smooth.\n\n" + "\n".join(lines)
    )


def way_back_sentences(scores: pd.DataFrame, backbones: Sequence[str], k: int, patients: Mapping[str, str]) -> str:
    """What residual predictions lack in log space, and what the library alone has: a line (Markdown) a backbone."""
    as_log = scores[scores["scored_in"] == LOG].groupby(["backbone", "trained_in"])[[f"pcc_{k}", "chance_95"]].median()
    lines = []
    for backbone in backbones:
        value, chance = (as_log.loc[backbone][name] for name in as_log)
        sizes = of_patients(scores.loc[scores["backbone"] == backbone, "section"], patients)
        share = value["library"] / value[LOG]
        lines.append(
            f"- `{backbone}`, medians over {sizes}: residual predictions without a library score "
            f"{value[RESIDUAL]:.2f} in log space (chance {chance[RESIDUAL]:.2f}), with the library of the log model "
            f"**{value['residual_library']:.2f}**, with the measured one, an oracle, {value['residual_oracle']:.2f}; "
            f"the log model {value[LOG]:.2f}. The predicted library alone, the same "
            f"composition everywhere: **{value['library']:.2f}** (chance {chance['library']:.2f}), {share:.0%} of the "
            "log model's score."
        )
    return "\n".join(lines)


def gains_sentence(gained: pd.DataFrame, model: str, sizes: str) -> str:
    """In how many genes training on residuals gains, and how much (Markdown); takes what `gains` returns.

    `sizes` says over which sections, as `labels.of_patients` does.
    """
    if gained.empty:
        by = f"`{model}` trained" if model else "a model trained both"
        return f"No gene was scored as a residual by {by} on logs and on residuals."
    change = gained["gained"]
    return (
        f"PCC as residuals of `{model}`, medians over {sizes}. Training on residuals gains in "
        f"{(change > 0).mean():.0%} of {counted(len(change), 'genes')} (half, if it changed nothing), "
        f"{change.median():+.3f} in the median gene, more than 0.1 in {(change > 0.1).sum()}, and loses more than 0.1 "
        f"in {(change < -0.1).sum()}."
    )


def perfect_sentence(perfect: pd.DataFrame, k: int) -> str:
    """What perfect predictions lose between logs and residuals (Markdown); "" where one of them is no target.

    Takes what `score_perfect_sections` returns.
    """
    if not {LOG, RESIDUAL} <= set(perfect["trained_in"]):
        return ""
    of = perfect.pivot_table(f"pcc_{k}", "section", ["trained_in", "scored_in"])
    lost = max(0, (of[RESIDUAL, RESIDUAL] - of[LOG, RESIDUAL]).max())
    return (
        f"A perfect log prediction, asked for residuals, falls short of the perfect residual prediction by at most "
        f"{lost:.3f} ({_span(of[LOG, RESIDUAL])} over {counted(len(of), 'sections')}). What a real model loses on this "
        f"way beyond that is its own. A perfect residual prediction, asked for logs, scores {_span(of[RESIDUAL, LOG])} "
        f"where the perfect log prediction has {_span(of[LOG, LOG])}: that is the depth that it was never told."
    )


def _span(values: pd.Series) -> str:
    return f"{values.min():.2f} to {values.max():.2f}"
