"""Partial scores: what predictions know of each gene beyond nuclei and depth, and how far adjusting goes too far.

Tables of genes have section, split, target, backbone, given (the covariates held fixed), gene and VALUES.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers import labels, schema
from helpers.chapters.floors import ORACLE, models_first
from helpers.cohort import simulate
from helpers.columns import unit
from helpers.models.backbones import MODELS
from helpers.scores import judge
from helpers.scores import partial as partial_correlation
from helpers.targets import normalization
from helpers.targets.panel import choose_panel, gene_statistics

KEYS = ["section", "split", "target", "backbone", "given"]
CORRELATIONS = ["r", "partial", "semi_partial"]
VALUES = [*judge.GIVEN_SCORES, *judge.GIVEN_SHARES]
COVARIATES = ("nuclei", "depth", "both")
PLAIN = "plain"
TRUE_CAPTURE = "true capture"

CHANCES = [f"{name}_chance_95" for name in judge.GIVEN_CLAIMS]
LIBRARY_ERRORS = (0.0, 0.2, 0.5)  # relative, of predictions that know nothing but the depth of a spot
N_ERRORS = 4  # draws of such an error, whose scores are averaged

Covariates = dict[str, list[np.ndarray]]
Sections = Mapping[str, AnnData]

# Predictions ----------------------------------------------------------------------------------------------------


def covariates_of(prediction: AnnData, section: AnnData) -> Covariates:
    """`judge.covariate_sets` of a prediction's spots and genes, nuclei as it keeps them, its section's counts."""
    spots = section[prediction.obs_names]
    share, _ = judge.levels(section, prediction.var_names)
    total, nuclei = normalization.library_size(spots), schema.cellularity(prediction)
    return judge.held_fixed(prediction.uns["target"], total, share, nuclei)


def score_prediction(prediction: AnnData, section: AnnData) -> pd.DataFrame:
    """Partial scores of a prediction, gene by gene, given each of COVARIATES, with its metadata and seed."""
    metadata = {name: prediction.uns[name] for name in (*KEYS[:4], "seed")}
    sides = prediction.layers[schema.MEASURED], prediction.layers[schema.PREDICTED]
    return judge.given(*sides, prediction.var_names, covariates_of(prediction, section)).assign(**metadata)


def chance_of(prediction: AnnData, section: AnnData, spots: np.ndarray, k: int) -> pd.DataFrame:
    """CHANCES of a prediction given each of COVARIATES, with its metadata; `spots` is the `judge.basis` of them."""
    metadata = {name: prediction.uns[name] for name in (*KEYS[:4], "seed")}
    sides = prediction.layers[schema.MEASURED], prediction.layers[schema.PREDICTED]
    held = covariates_of(prediction, section)
    return pd.DataFrame(
        [metadata | {"given": name} | judge.given_chance(*sides, held[name], spots, k) for name in held]
    )


def find_prediction(files: Sequence[Path], split: str, section: str, backbone: str) -> Path:
    """The first prediction of a section by a backbone among files; ValueError without one."""
    for path in files:
        if path.parent.name.startswith(f"{split}.{section}.") and path.name.startswith(f"{backbone}."):
            return path
    raise ValueError(f"no prediction of section {section} by {backbone}, one {split} held out: train it first")


def score_genes(predictions: Iterable[AnnData], sections: Sections, targets: Sequence[str]) -> pd.DataFrame:
    """Partial scores of every gene in every prediction: means over seeds, models before floors.

    What is left of nuclei once nuclei are held fixed, and of depth once depth is, is how they were rounded: NaN.
    """
    tables = [score_prediction(each, sections[each.uns["section"]]) for each in predictions]
    table = pd.concat(tables, ignore_index=True).groupby([*KEYS, "gene"], sort=False)[VALUES].mean().reset_index()
    nothing = table["given"].isin(["both"]) | (table["given"] == table["backbone"])
    nothing &= table["backbone"].isin(["nuclei", ORACLE])
    table.loc[nothing, ["partial", "semi_partial", "partial_rank"]] = np.nan
    return models_first(table, targets)


def chances(predictions: Iterable[AnnData], sections: Sections, k: int) -> pd.DataFrame:
    """`chance_of` of every prediction, means over seeds: KEYS and CHANCES."""
    bases = {name: judge.basis(section) for name, section in sections.items()}
    named = ((each, each.uns["section"]) for each in predictions)
    tables = [chance_of(each, sections[name], bases[name], k) for each, name in named]
    return pd.concat(tables, ignore_index=True).groupby(KEYS, sort=False)[CHANCES].mean().reset_index()


# Predictions of depth alone -------------------------------------------------------------------------------------


def of_depth_alone(section: AnnData, target: str, genes: Sequence[str], error: float, seed: int) -> np.ndarray:
    """What is predicted by who knows a spot's depth up to a relative error, and nothing else: spots x genes.

    A target that holds depth: the target of the expected counts. One that does not is expected to be the same
    everywhere; there each gene's own straight line on log depth stands, the most that depth can say.
    """
    rng, total = np.random.default_rng(seed), normalization.library_size(section)
    known = total * np.exp(rng.normal(0, np.log1p(error), len(total)))
    if normalization.TARGETS[target].holds_depth:
        share, _ = judge.levels(section, genes)
        return normalization.TARGETS[target].values(np.outer(known, share), known, share)
    # The line is that of the depth itself: one fitted to the erring depth would have seen the errors.
    slope = np.polyfit(np.log(total), judge.measured(section, target, genes), 1)[0]
    return np.outer(np.log(known), slope)


def control_of(section: AnnData, target: str, genes: Sequence[str], error: float, k: int) -> pd.DataFrame:
    """`judge.summarize_given` and `judge.given_chance` of predictions `of_depth_alone`, means over N_ERRORS draws.

    A row for depth and, where nuclei are known, for both; columns section, target, error, given, scores and CHANCES.
    """
    values, spots = judge.measured(section, target, genes), judge.basis(section)
    held = judge.covariate_sets(section, target, genes)
    held.pop("nuclei", None)  # depth is no part of it
    rows = []
    for seed in range(N_ERRORS if error else 1):
        predicted = of_depth_alone(section, target, genes, error, seed).astype(np.float32)
        table = judge.given(values, predicted, genes, held)
        for name, part in table.groupby("given", sort=False):
            chance = judge.given_chance(values, predicted, held[name], spots, k)
            rows.append({"given": name} | dict(judge.summarize_given(part, k)) | chance)
    means = pd.DataFrame(rows).groupby("given", sort=False).mean().reset_index()
    return means.assign(section=section.uns["section"], target=target, error=error)


def panels_of(by_gene: pd.DataFrame) -> dict[str, list[str]]:
    """The genes that were scored in each section."""
    return {name: list(genes) for name, genes in by_gene.groupby("section", sort=False)["gene"].unique().items()}


def controls_of(
    sections: Sections, targets: Sequence[str], panels: Mapping[str, Sequence[str]], k: int
) -> pd.DataFrame:
    """`control_of` every section, target and error of LIBRARY_ERRORS: what a partial score must read as nothing."""
    asked = product(sections.items(), targets, LIBRARY_ERRORS)
    tables = [control_of(section, target, panels[name], error, k) for (name, section), target, error in asked]
    return pd.concat(tables, ignore_index=True)


# The same by pingouin -------------------------------------------------------------------------------------------


def by_pingouin(measured: np.ndarray, predicted: np.ndarray, given: Sequence[np.ndarray]) -> tuple[float, float]:
    """Partial and semi-partial correlation of one gene; all arrays are per spot."""
    import pingouin

    names = [f"covariate_{i}" for i in range(len(given))]
    columns = dict(zip(["measured", "predicted", *names], [measured, predicted, *given], strict=True))
    table = pd.DataFrame(columns).astype(float)
    partial = pingouin.partial_corr(table, "predicted", "measured", covar=names)["r"].iloc[0]
    return partial, pingouin.partial_corr(table, "predicted", "measured", x_covar=names)["r"].iloc[0]


def compare_with_pingouin(prediction: AnnData, section: AnnData, step: int = 10) -> pd.DataFrame:
    """Coefficients of every `step`-th gene given each of COVARIATES, by this package and by pingouin.

    Columns gene, given, and of each of partial and semi_partial its value, and its value by pingouin.
    """
    ours = score_prediction(prediction, section).set_index(["gene", "given"])
    held, rows = covariates_of(prediction, section), []
    for gene, given in product(prediction.var_names[::step], COVARIATES):
        j = prediction.var_names.get_loc(gene)
        columns = [values if values.ndim == 1 else values[:, j] for values in held[given]]
        columns = [values for values in columns if np.isfinite(unit(values)).all()]  # constant ones take nothing out
        layers = (prediction.layers[layer][:, j] for layer in (schema.MEASURED, schema.PREDICTED))
        rows.append((gene, given, *ours.loc[(gene, given), CORRELATIONS[1:]], *by_pingouin(*layers, columns)))
    theirs = [f"{name}_by_pingouin" for name in CORRELATIONS[1:]]
    return pd.DataFrame(rows, columns=["gene", "given", *CORRELATIONS[1:], *theirs])


# Tables ---------------------------------------------------------------------------------------------------------


def summarize(by_gene: pd.DataFrame, k: int) -> pd.DataFrame:
    """`judge.summarize_given` per section, split, target, backbone and covariates."""
    return by_gene.groupby(KEYS, sort=False)[VALUES].apply(judge.summarize_given, k).reset_index()


def beside_plain(summary: pd.DataFrame) -> pd.DataFrame:
    """Partial scores with the plain ones as rows of their own, in the column `partial`: `given` is what rows are of."""
    plain = summary[summary["given"] == "both"].assign(given=PLAIN, partial=lambda table: table["r"])
    return pd.concat([plain, summary.assign(given="given " + summary["given"])])


def medians(scores: pd.DataFrame) -> pd.DataFrame:
    """Medians over sections of what `beside_plain` returns: fits x plain, given nuclei, given depth, given both."""
    table = scores.pivot_table("partial", ["backbone", "target"], "given", "median", sort=False, dropna=False)
    return table[[PLAIN, *(f"given {name}" for name in COVARIATES)]].dropna(how="all")


def model_shares(summary: pd.DataFrame) -> pd.DataFrame:
    """Rows of `summarize` of trained models, given both: what SHARES are shown of."""
    return summary[(summary["given"] == "both") & summary["backbone"].isin(MODELS)]


# A perfect prediction of simulated tissue -----------------------------------------------------------------------


def as_section(counts: np.ndarray, names: Sequence[str]) -> AnnData:
    """Spots x genes as a section of counts, whole or expected."""
    return AnnData(var=pd.DataFrame(index=names), layers={schema.COUNTS: csr_matrix(np.asarray(counts, float))})


def simulated(
    name: str, depth: float, profiles: pd.DataFrame, coupling: float, lattice: tuple[int, int] = (12, 11)
) -> tuple[AnnData, AnnData, pd.DataFrame]:
    """A simulated section: its counts; those of its cells and their RNA without capture; and the truth of its spots.

    Arguments are those of `simulate.section`.
    """
    made = simulate.section(name, depth, profiles, coupling=coupling, lattice=lattice, image=False)
    truth, types = made["truth"], list(simulate.CELL_TYPES)
    mixture = truth[types].to_numpy() @ profiles[types].to_numpy().T
    mixture += truth[["ambient"]].to_numpy() * mixture.sum(axis=0) / mixture.sum()
    biology = (truth["expected_depth"] / truth["capture"]).to_numpy()[:, None] * mixture
    return as_section(made["counts"], profiles.index), as_section(biology, profiles.index), truth


def score_perfect(
    section: AnnData, biology: AnnData, truth: pd.DataFrame, panel: Sequence[str], target: str
) -> pd.DataFrame:
    """Scores of a prediction that knows cells and RNA, plain and given capture, depth and nuclei; median over genes.

    Columns given and partial; the first three arguments are what `simulated` returns.
    """
    sides = [normalization.clip(normalization.get(target)(side, panel), target) for side in (section, biology)]
    share, nuclei = judge.levels(section, panel)[0], truth["n_nuclei_true"].to_numpy()
    held = judge.held_fixed(target, normalization.library_size(section), share, nuclei)
    given = {PLAIN: [], f"given {TRUE_CAPTURE}": [np.log(truth["capture"].to_numpy())]}
    given |= {f"given {name}": held[name] for name in ("depth", "nuclei")}
    table = partial_correlation.partial_scores(*sides, panel, given)
    return table.groupby("given", sort=False)["partial"].median().reset_index()


def score_perfect_predictions(targets: Sequence[str], couplings: Sequence[float] = (1.0, 0.0)) -> pd.DataFrame:
    """`score_perfect` of every section of the toy cohort and target, over the marker genes of its panel.

    `couplings`: whether depth follows the cells (1) or not (0); the panel is chosen under the first. Columns coupling,
    section, target, given and partial.
    """
    profiles = simulate.gene_profiles()
    made = {
        (coupling, name): simulated(name, depth, profiles, coupling)
        for coupling, (name, depth) in product(couplings, simulate.SECTIONS.items())
    }
    statistics = {name: gene_statistics(made[couplings[0], name][0]) for name in simulate.SECTIONS}
    panel = [gene for gene in choose_panel(statistics, 100) if profiles.loc[gene, "marker"]]
    tables = [
        score_perfect(*sides, panel, target).assign(coupling=coupling, section=name, target=target)
        for ((coupling, name), sides), target in product(made.items(), targets)
    ]
    return pd.concat(tables, ignore_index=True)[["coupling", "section", "target", "given", "partial"]]


# Sentences ------------------------------------------------------------------------------------------------------


def pingouin_sentence(compared: pd.DataFrame, prediction: AnnData) -> str:
    """How far apart the coefficients of `compare_with_pingouin` lie."""
    names = CORRELATIONS[1:]
    apart = np.abs(compared[names].to_numpy() - compared[[f"{name}_by_pingouin" for name in names]].to_numpy())
    section, backbone, target = (prediction.uns[name] for name in ("section", "backbone", "target"))
    return (
        f"{labels.counted(apart.size, 'coefficients')} of section {section}, {backbone}, {labels.label(target)}: "
        f"the largest difference is {apart.max():.1e}."
    )


def left_sentence(summary: pd.DataFrame) -> str:
    """What is left of each model's score given nuclei or depth, and where it is above its chance (Markdown).

    `summary` is what `summarize` returns, of one split, with CHANCES; medians over sections.
    """
    lines = []
    for (backbone, target), part in summary[summary["backbone"].isin(MODELS)].groupby(KEYS[3:1:-1], sort=False):
        each = dict(list(part.groupby("given", sort=False)))
        given = "; ".join(f"given {name} {above_chance(each[name])}" for name in COVARIATES[:2] if name in each)
        lines.append(f"- `{backbone}`, {labels.label(target)}: {given}.")
    return "\n".join(lines)


def above_chance(rows: pd.DataFrame, name: str = "partial", form: str = ".2f") -> str:
    """The median of a partial score over sections, its chance, and in how many it is above its own, in words."""
    known = rows.dropna(subset=[name, f"{name}_chance_95"])
    if known.empty:
        return "nothing"
    value, chance = known[[name, f"{name}_chance_95"]].median()
    n_above, of = (known[name] > known[f"{name}_chance_95"]).sum(), labels.counted(len(known), "sections")
    return f"{value:{form}} (chance {chance:{form}}, above it in {n_above} of {of})"


def control_sentence(controls: pd.DataFrame, k: int) -> str:
    """In how many sections, targets and errors depth alone reads as more than nothing given depth (Markdown).

    `controls` is what `controls_of` returns.
    """
    known = controls[(controls["given"] == "depth") & (controls["error"] > 0)].dropna(subset="partial")
    words = {
        "partial": f"the partial score of the {k} best genes",
        "median_partial": "the median partial correlation of all genes",
        "median_partial_rank": "the same of ranks",
        "unique": "the share of variance that the prediction alone explains",
    }
    parts = []
    for name, what in words.items():
        above = known[known[name] > known[f"{name}_chance_95"]]
        where = f" ({', '.join(dict.fromkeys(above['section']))})" if len(above) else ""
        largest = known[name].max()
        parts.append(f"{what} is above its chance in {len(above)} of {len(known)}{where}, at most {largest:.3f}")
    n_sections, n_targets = (known[column].nunique() for column in ("section", "target"))
    return (
        f"{labels.counted(n_sections, 'sections')}, {labels.counted(n_targets, 'targets')}, relative errors of "
        f"{', '.join(f'{error:.0%}' for error in known['error'].unique())}: {'; '.join(parts)}. "
        "One in twenty is expected. Without an error nothing is left at all."
    )


def answer(summary: pd.DataFrame, k: int, patients: Mapping[str, str]) -> str:
    """What is left of the best genes' score given nuclei and depth, and what a prediction alone explains (Markdown).

    `summary` is what `summarize` returns, of one split, with CHANCES; all are medians over sections.
    """
    both, lines, left = model_shares(summary), [], []
    for (backbone, target), part in both.groupby(["backbone", "target"], sort=False):
        alone, explained = above_chance(part, "unique", ".1%"), (part["unique"] + part["shared"]).median()
        if (part["partial"] > part["partial_chance_95"]).mean() > 0.5:
            left.append(labels.label(target))
        lines.append(
            f"- `{backbone}` in {labels.label(target)}: {above_chance(part)}; of the {explained:.0%} of the variance "
            f"of all genes that it explains, it alone {alone}"
        )
    return (
        f"**Given nuclei and depth, more than chance is left in {', '.join(dict.fromkeys(left)) or 'no target'}**, in "
        f"most sections. Mean correlation of the {labels.counted(k, 'genes')} predicted best before that, medians over "
        f"{labels.of_patients(both['section'], patients)}:\n\n" + ";\n".join(lines) + "."
    )


def over_adjustment_sentence(perfect: pd.DataFrame) -> str:
    """By how much depth takes more than capture does; `perfect` is what `score_perfect_predictions` returns."""
    middle = perfect.groupby(["coupling", "target", "given"], sort=False)["partial"].median().unstack("given")
    taken = (middle[f"given {TRUE_CAPTURE}"] - middle["given depth"]).round(2) + 0  # no minus before a zero
    parts = [
        f"{labels.label(target)} {taken[1.0, target]:.2f} where depth follows the cells and {taken[0.0, target]:.2f} "
        "where it does not"
        for target in perfect["target"].unique()
    ]
    return (
        "By how much the score given depth is too low, compared with the one given true capture (medians over "
        f"sections): {'; '.join(parts)}."
    )
