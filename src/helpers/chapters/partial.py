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

from helpers import labels, schema, store
from helpers.chapters.floors import ORACLE, models_first
from helpers.cohort import simulate
from helpers.models.backbones import MODELS
from helpers.scores import judge, top_genes
from helpers.scores import partial as partial_correlation
from helpers.targets import genes, normalization

KEYS = ["section", "split", "target", "backbone", "given"]
CORRELATIONS = ["r", "partial", "semi_partial"]
SHARES = ["unique", "shared", "capture_only"]  # of the variance of the measured gene
VALUES = [*CORRELATIONS, *SHARES]
COVARIATES = ("nuclei", "depth", "both")
PLAIN = "plain"
TRUE_CAPTURE = "true capture"

Covariates = dict[str, list[np.ndarray]]

# Predictions ----------------------------------------------------------------------------------------------------


def covariates_of(prediction: AnnData, section: AnnData) -> Covariates:
    """`judge.held_fixed` of a prediction's spots and genes, with the raw counts of its section."""
    counts = section[prediction.obs_names, prediction.var_names].layers[schema.COUNTS].toarray()
    return judge.held_fixed(counts, prediction.obs["total_counts"].to_numpy(), prediction.obs["n_nuclei"].to_numpy())


def score_prediction(prediction: AnnData, section: AnnData) -> pd.DataFrame:
    """Partial scores of a prediction, gene by gene, given each of COVARIATES, with its metadata and seed."""
    metadata = {name: prediction.uns[name] for name in (*KEYS[:4], "seed")}
    measured, predicted = prediction.layers[schema.MEASURED], prediction.layers[schema.PREDICTED]
    given = covariates_of(prediction, section)
    return partial_correlation.partial_scores(measured, predicted, prediction.var_names, given).assign(**metadata)


def files_without_oracle(folders: Sequence[str | Path]) -> list[Path]:
    """The predictions kept in folders, in order, without those of measured depth.

    Depth contains the gene itself, and depth without that gene would lay it bare.
    """
    return [path for path in store.prediction_files(folders) if not path.name.startswith(f"{ORACLE}.")]


def find_prediction(files: Sequence[Path], split: str, section: str, backbone: str) -> Path:
    """The first of the files that holds a backbone's prediction of a section; ValueError without one."""
    for path in files:
        if path.parent.name.startswith(f"{split}.{section}.") and path.name.startswith(f"{backbone}."):
            return path
    raise ValueError(f"no prediction of section {section} by {backbone}, one {split} held out: train it first")


def score_genes(
    predictions: Iterable[AnnData], sections: Mapping[str, AnnData], targets: Sequence[str]
) -> pd.DataFrame:
    """Partial scores of every gene in every prediction: means over seeds, models before floors.

    What is left of nuclei once nuclei are held fixed is how their predictions were rounded: NaN.
    """
    tables = [score_prediction(each, sections[each.uns["section"]]) for each in predictions]
    table = pd.concat(tables, ignore_index=True).groupby([*KEYS, "gene"], sort=False)[VALUES].mean().reset_index()
    nothing = (table["backbone"] == "nuclei") & (table["given"] != "depth")
    table.loc[nothing, CORRELATIONS[1:]] = np.nan
    return models_first(table, targets)


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
        layers = (prediction.layers[layer][:, j] for layer in (schema.MEASURED, schema.PREDICTED))
        rows.append((gene, given, *ours.loc[(gene, given), CORRELATIONS[1:]], *by_pingouin(*layers, columns)))
    theirs = [f"{name}_by_pingouin" for name in CORRELATIONS[1:]]
    return pd.DataFrame(rows, columns=["gene", "given", *CORRELATIONS[1:], *theirs])


# Tables ---------------------------------------------------------------------------------------------------------


def summarize(by_gene: pd.DataFrame, k: int) -> pd.DataFrame:
    """Per section, split, target, backbone and covariates: means over the k best genes by plain correlation.

    Columns KEYS, `r`, `partial` and `semi_partial` of these genes, their medians over all genes (`median_`), and the
    means over all genes of SHARES.
    """

    def of_fit(part: pd.DataFrame) -> pd.Series:
        best = part[VALUES].iloc[top_genes.top_k(part["r"].to_numpy(), k)][CORRELATIONS].mean()
        middle = part[CORRELATIONS].median().add_prefix("median_")
        return pd.concat([best, middle, part[SHARES].mean()])

    return by_gene.groupby(KEYS, sort=False)[VALUES].apply(of_fit).reset_index()


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
    counts = section[:, panel].layers[schema.COUNTS].toarray()
    held = judge.held_fixed(counts, normalization.library_size(section), truth["n_nuclei_true"].to_numpy())
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
    statistics = {name: genes.statistics(made[couplings[0], name][0]) for name in simulate.SECTIONS}
    panel = [gene for gene in genes.panel(statistics, 100) if profiles.loc[gene, "marker"]]
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


def left_sentence(medians: pd.DataFrame) -> str:
    """What is left of each model's score given nuclei, depth and both: a line for each row of `medians`."""
    lines = []
    for (backbone, target), row in medians.iterrows():
        if backbone in MODELS:
            part = f", {row['given both'] / row[PLAIN]:.0%} of the plain score" if row[PLAIN] > 0 else ""
            given = ", ".join(f"given {name} {row[f'given {name}']:.2f}" for name in COVARIATES)
            lines.append(f"- `{backbone}`, {labels.label(target)}: {row[PLAIN]:.2f}, {given}{part}.")
    return "\n".join(lines)


def own_part_sentence(shares: pd.DataFrame) -> str:
    """How much of the variance that a prediction explains is its own; takes what `model_shares` returns."""
    mean = shares.groupby(["backbone", "target"], sort=False)[["unique", "shared"]].mean()
    own = mean["unique"] / mean.sum(axis=1)
    parts = [f"{part:.0%} for `{backbone}` in {labels.label(target)}" for (backbone, target), part in own.items()]
    return f"Of the variance that the prediction explains, its own part is {'; '.join(parts)}."


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
