"""Size factor times transform: what each arm keeps of nuclei and depth, and how well it can be predicted.

An arm is a pair of names, (size factor, transform). `groups` map the name of a section to pairs of (spots, arms): all
spots with the arms that are formulas, and the spots thinned to one depth with the arm that is made so.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData
from tqdm.std import tqdm

from helpers import labels, schema
from helpers.columns import pearson, spearman
from helpers.models import backbones
from helpers.scores import judge, predictability, spatial, top_genes
from helpers.scores.coupling import metrics_of
from helpers.targets import arms as formulas
from helpers.targets import normalization, twins

Arm = tuple[str, str]
Groups = Mapping[str, Sequence[tuple[AnnData, list[Arm]]]]

DEPTH_BEFORE = "depth_before"  # of thinned spots, in `obs`
THINNED: Arm = ("thinned", "log")
ARMS: tuple[Arm, ...] = (*formulas.ARMS, THINNED)
BACKBONES = ("ridge", "nuclei", "depth")
KEYS = ["section", "size_factor", "transform"]
WALK: tuple[Arm, ...] = (("none", "log"), ("total", "log"), ("total", "pearson_residual"))  # the paper's, in two steps
COMPARED = ("log", "pearson_residual")  # transforms that Spearman tells apart under every size factor
GROUP = {"clr": "spot", "rank": "spot", "depth_regressed_log": "corrected", "nuclei_regressed_log": "corrected"}

# Arms of a section ----------------------------------------------------------------------------------------------


def at_equal_depth(section: AnnData, quantile: float = 0.25, seed: int = 0) -> AnnData:
    """The section with every spot thinned to this quantile of its depths, shallower spots left out.

    `obs["depth_before"]` is the depth that was measured: the one to be forgotten.
    """
    depth = max(1, int(np.quantile(normalization.library_size(section), quantile)))
    counts, kept = twins.equal_depth(section.layers[schema.COUNTS], depth, np.random.default_rng(seed))
    twin = twins.as_twin(section, counts, kept)
    twin.obs[DEPTH_BEFORE] = section.obs["total_counts"]
    return twin


def arms_of(section: AnnData) -> list[Arm]:
    """The arms that a section can have: those of nuclei only where there is an image."""
    has_nuclei = schema.has_cellularity(section)
    return [arm for arm in formulas.ARMS if has_nuclei or not any("nuclei" in part for part in arm)]


def groups_of_arms(sections: Mapping[str, AnnData]) -> dict[str, list[tuple[AnnData, list[Arm]]]]:
    """Of every section its spots with the arms of `arms_of`, and its thinned spots with the thinned arm."""
    return {name: [(each, arms_of(each)), (at_equal_depth(each), [THINNED])] for name, each in sections.items()}


def arm_values(spots: AnnData, arm: Arm, panel: Sequence[str], clip: bool = False) -> np.ndarray:
    """An arm of the panel's genes, spots x genes; with `clip` as models see it. The thinned arm takes thinned spots."""
    size_factor, transform = ("none", "log") if arm == THINNED else arm
    values = formulas.arm(spots, size_factor, transform, panel)
    return clip_arm(values, transform) if clip else values


def clip_arm(values: np.ndarray, transform: str) -> np.ndarray:
    """An arm as models see it: residuals clipped as the target is, whatever they are divided by; others as they are."""
    return normalization.clip(values, transform) if transform in normalization.TARGETS else values


# Dependence -----------------------------------------------------------------------------------------------------


def summary(rho: np.ndarray, drawn: np.ndarray, what: str) -> dict[str, float]:
    """Median |rho| over genes and share of genes above 0.3, and the means of their nulls; `what` ends their names.

    `rho` is per gene, `drawn` genes x random maps. A gene that is constant in the section has no rho and is left out.
    """
    (median, share), null = metrics_of(rho), metrics_of(drawn).mean(axis=1)
    names = f"median_rho_{what}", f"share_{what}", f"chance_rho_{what}", f"chance_share_{what}"
    return dict(zip(names, (median, share, *null), strict=True))


def rank_correlations(
    spots: AnnData, arms: Sequence[Arm], panel: Sequence[str], n_draws: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Of depth, then nuclei if there are any: name, Spearman's rho (arms x genes), and the same with random maps.

    The maps (arms x genes x draws) are as smooth as the covariate, by `spatial.null_correlations`.
    """
    values = np.hstack([arm_values(spots, arm, panel) for arm in arms])
    basis = judge.basis(spots)
    covariates = schema.covariates(spots)
    if DEPTH_BEFORE in spots.obs:
        covariates["depth"] = spots.obs[DEPTH_BEFORE].to_numpy(float)
    for what, covariate in covariates.items():
        rho, drawn = spatial.null_correlations(values, covariate, basis, rank=True, n_draws=n_draws)
        yield what, rho.reshape(len(arms), -1), drawn.reshape(len(arms), len(panel), -1)


def dependence(
    groups: Groups, panels: Mapping[str, Sequence[str]], n_draws: int = spatial.N_DRAWS_OF_MEAN
) -> tuple[pd.DataFrame, dict[Arm, np.ndarray]]:
    """Coupling of every arm in every section, and of every arm its rho with depth over all genes of all sections.

    The table has the columns of KEYS and those of `summary` for depth and nuclei; NaN without nuclei.
    """
    rows, rho_depth = {}, {}
    for name, pairs in tqdm(groups.items(), "dependence"):
        for spots, arms in pairs:
            for what, rho, drawn in rank_correlations(spots, arms, panels[name], n_draws):
                for arm, of_genes, of_maps in zip(arms, rho, drawn, strict=True):
                    rows.setdefault((name, *arm), {}).update(summary(of_genes, of_maps, what))
                    if what == "depth":
                        rho_depth.setdefault(arm, []).append(of_genes)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(KEYS).reset_index()
    return table, {arm: np.concatenate(rho_depth[arm]) for arm in ARMS if arm in rho_depth}


def same_order(profiles: Mapping[Arm, np.ndarray]) -> dict[Arm, Arm]:
    """Of every arm the one that stands for it: the first with the same values of ranks, a log where there is one.

    `profiles` are what ranks say of an arm: its rank correlations, or its ranks. NaN equals NaN.
    """
    log_first = sorted(profiles, key=lambda arm: arm[1] != "log")

    def same(a: Arm, b: Arm) -> bool:
        one, other = profiles[a], profiles[b]
        return one.shape == other.shape and np.allclose(one, other, atol=1e-6, equal_nan=True)

    return {arm: next(other for other in log_first if same(arm, other)) for arm in profiles}


# Ceiling and scores ---------------------------------------------------------------------------------------------


def arm_ceilings(groups: Groups, panels: Mapping[str, Sequence[str]], k: int) -> pd.DataFrame:
    """PCC-k of a perfect prediction of every arm in every section, from one binomial split of the spots' counts.

    Columns KEYS and ceiling. All arms of the same spots share the split.
    """
    rows = []
    for name, pairs in tqdm(groups.items(), "ceilings"):
        for spots, arms in pairs:
            of_genes = gene_ceilings(spots, arms, panels[name])
            rows += [(name, *arm, top_genes.pcc_at_k(c, k)) for arm, c in zip(arms, of_genes, strict=True)]
    return pd.DataFrame(rows, columns=[*KEYS, "ceiling"])


def gene_ceilings(spots: AnnData, arms: Sequence[Arm], panel: Sequence[str]) -> np.ndarray:
    """The noise ceiling of every gene of every arm; arms x genes."""

    def transform(counts):
        half = AnnData(obs=spots.obs.drop(columns="total_counts"), var=spots.var[[]], layers={schema.COUNTS: counts})
        return np.hstack([arm_values(half, arm, panel, clip=True) for arm in arms])

    return predictability.noise_ceiling(spots.layers[schema.COUNTS], transform, n_splits=1).reshape(len(arms), -1)


def with_targets(spots: AnnData, arms: Sequence[Arm], panel: Sequence[str]) -> AnnData:
    """The spots with the panel's genes and a layer for each arm, named `size factor/transform`."""
    layers = {"/".join(arm): arm_values(spots, arm, panel) for arm in arms}
    return AnnData(obs=spots.obs, var=pd.DataFrame(index=panel), obsm=dict(spots.obsm), layers=layers)


def clip_layer(values: np.ndarray, layer: str) -> np.ndarray:
    """`clip_arm` of a layer of `with_targets`."""
    return clip_arm(values, layer.split("/")[1])


def arm_scores(
    groups: Groups, panels: Mapping[str, Sequence[str]], names: Sequence[str], split: str, k: int
) -> pd.DataFrame:
    """PCC-k of ridge and of the floors of nuclei and depth, for every arm on every section of `names`, held out.

    Columns KEYS, backbone and pcc_k (`pcc_50` for 50). Training is on the same group of spots of the other `names`.
    """
    rows = []
    for held_out in tqdm(names, "predictions"):
        for group in range(len(groups[held_out])):
            targets = {name: with_targets(*groups[name][group], panels[held_out]) for name in names}
            for target, backbone in product(targets[held_out].layers, BACKBONES):
                held = backbones.predict(targets, held_out, target, backbone, split, prepare=clip_layer)
                pcc = pearson(held.layers[schema.MEASURED], held.layers[schema.PREDICTED])
                rows.append((held_out, *target.split("/"), backbone, top_genes.pcc_at_k(pcc, k)))
    return pd.DataFrame(rows, columns=[*KEYS, "backbone", f"pcc_{k}"])


# Tables ---------------------------------------------------------------------------------------------------------


def factorial_table(coupling: pd.DataFrame, ceilings: pd.DataFrame, scores: pd.DataFrame, k: int) -> pd.DataFrame:
    """One row a section, arm and backbone: coupling, PCC-k, its ceiling, and chance levels.

    Takes what `dependence`, `arm_ceilings` and `arm_scores` return. A section without scores has one row an arm, and
    no backbone.
    """
    table = coupling.merge(ceilings, on=KEYS, how="left").merge(scores, on=KEYS, how="left")
    values = [f"{value}_{what}" for what in ("nuclei", "depth") for value in ("median_rho", "share")]
    chance = [f"chance_{kind}_{what}" for what in ("nuclei", "depth") for kind in ("rho", "share")]
    return table.reindex(columns=[*KEYS, "backbone", *values, f"pcc_{k}", "ceiling", *chance])


def one_row_an_arm(table: pd.DataFrame, k: int) -> pd.DataFrame:
    """One row a section and arm: PCC-k of each backbone in its own column, and `excess`, ridge less nuclei alone."""
    by_backbone = table.dropna(subset="backbone").pivot(index=KEYS, columns="backbone", values=f"pcc_{k}")
    by_backbone = by_backbone.reindex(columns=sorted(BACKBONES))
    by_backbone["excess"] = by_backbone["ridge"] - by_backbone["nuclei"]
    return table.drop_duplicates(KEYS).join(by_backbone, on=KEYS)


def as_shown(once: pd.DataFrame, depth_of: Mapping[str, float], stands_for: Mapping[Arm, Arm]) -> pd.DataFrame:
    """Rows of `one_row_an_arm` under the names they are drawn by.

    Arms that see to depth in their own way stand in groups of their own: `spot`, `corrected`. Besides, the median depth
    of the section, and `is_first`: whether the arm stands for itself in `stands_for`, of `same_order`.
    """
    is_thinned = once["size_factor"] == THINNED[0]
    arms = once[KEYS[1:]].itertuples(index=False, name=None)
    return once.assign(
        median_total_counts=once["section"].map(depth_of),
        size_factor=once["transform"].map(GROUP).fillna(once["size_factor"]).mask(is_thinned, "corrected"),
        transform=once["transform"].mask(is_thinned, "thinned"),
        is_first=[stands_for[arm] == arm for arm in arms],
    )


def crossed_coupling(once: pd.DataFrame, what: str) -> pd.DataFrame:
    """Median |rho| with `what` of size factors x COMPARED transforms: sections x arms.

    A section without any is left out, and an arm that some other section lacks.
    """
    crossed = once[once["transform"].isin(COMPARED) & once["size_factor"].isin(formulas.SIZE_FACTORS)]
    wide = crossed.pivot(index="section", columns=KEYS[1:], values=f"median_rho_{what}")
    return wide.dropna(how="all").dropna(axis=1)


def variance_shares(table: np.ndarray) -> np.ndarray:
    """Shares of the sum of squares of a two-way table: between its rows, between its columns, and the pair.

    They add up to 1; NaN where all cells are equal.
    """
    away = np.asarray(table, float) - np.mean(table)
    between = [(away.mean(axis=axis) ** 2).sum() * away.shape[axis] for axis in (1, 0)]
    total = (away**2).sum()
    shares = np.array(between) / total if total > 0 else np.full(2, np.nan)
    return np.array([*shares, 1 - shares.sum()])


# Sentences ------------------------------------------------------------------------------------------------------


def arm_name(arm: Arm) -> str:
    """An arm as pages call it: its transform, and what counts are divided by."""
    return f"{labels.TRANSFORMS[arm[1]]} ({labels.SIZE_FACTORS[arm[0]]})"


def arms_sentence(table: pd.DataFrame, k: int) -> str:
    """How many arms and rows the table of `factorial_table` has, and what its columns are."""
    n_arms = len(table[KEYS[1:]].drop_duplicates())
    return (
        f"{labels.counted(n_arms, 'arms')}, {labels.counted(len(table), 'rows')}: "
        "{download}`factorial.csv <results/factorial.csv>`. "
        f"In it `ceiling` is the PCC-{k} of a perfect prediction, and the last columns hold the chance level of each "
        "median and each share; a section without an image has one row an arm, and no backbone."
    )


def same_arms_sentence(stands_for: Mapping[Arm, Arm]) -> str:
    """How many arms Spearman tells apart, and which of them are the same to it."""
    groups = {first: [] for arm, first in stands_for.items() if arm == first}
    for arm, first in stands_for.items():
        groups[first].append(labels.TRANSFORMS[arm[1]])
    lines = [
        f"- {labels.SIZE_FACTORS[size_factor]}: {', '.join(transforms)}"
        for (size_factor, _), transforms in groups.items()
        if len(transforms) > 1
    ]
    text = f"The {len(stands_for)} arms are **{len(groups)}** to Spearman, over all genes of all sections."
    return f"{text} The same are:\n\n" + "\n".join(lines) if lines else text


def divided_or_not(wide: pd.DataFrame, what: str, patients: Mapping[str, str]) -> str:
    """Coupling of undivided counts beside that of arms that are divided; takes what `crossed_coupling` returns."""
    undivided, divided = wide["none", "log"], wide.drop(columns="none", level=0)
    arms = divided.median()
    return (
        f"coupling to {what} is **{undivided.median():.2f}** undivided and **{arms.min():.2f}** to "
        f"**{arms.max():.2f}** divided (medians over {labels.of_patients(wide.index, patients)}; "
        f"undivided above every divided arm in {(undivided > divided.max(axis=1)).sum()})"
    )


def shares_words(wide: pd.DataFrame, what: str) -> str:
    """Whether size factors or transforms move the coupling to `what` more, among the arms that are divided.

    Undivided arms are left out: log and residual are one arm there, and its distance from all others would count as
    one between size factors.
    """
    shares = np.array([variance_shares(arms.drop("none", level=0).unstack()) for _, arms in wide.iterrows()])
    size, transform, pair = np.median(shares, axis=0)
    more = (shares[:, 0] > shares[:, 1]).sum()
    return (
        f"in coupling to {what} {size:.0%} lie between size factors, {transform:.0%} between transforms and {pair:.0%} "
        f"in the pair (medians over sections; more between size factors in {more} of {len(wide)})"
    )


def answer(once: pd.DataFrame, patients: Mapping[str, str], depth_of: Mapping[str, float]) -> str:
    """What moves coupling more, and what both transforms keep of depth in the shallowest section (Markdown).

    Takes what `one_row_an_arm` returns, and the patient and the median depth of each section.
    """
    crossed = {what: wide for what in ("nuclei", "depth") if not (wide := crossed_coupling(once, what)).empty}
    first = "; ".join(divided_or_not(wide, what, patients) for what, wide in crossed.items())
    shares = "; ".join(shares_words(wide, what) for what, wide in crossed.items())
    name = min(depth_of, key=depth_of.get)
    kept = ", ".join(_beside_chance(once.set_index(KEYS).loc[(name, *arm)], "depth") for arm in WALK[1:])
    return (
        f"First, whether counts are divided at all: {first}. "
        f"Of the differences among arms that are divided, log or residual by what counts are divided by, {shares}. "
        f"Divided by all counts, coupling to depth in the shallowest section, {name}, is {kept}."
    )


def walk_sentence(once: pd.DataFrame, stands_for: Mapping[Arm, Arm]) -> str:
    """The paper's step, one choice at a time; takes what `one_row_an_arm` and `same_order` return."""
    parts = []
    for what in ("nuclei", "depth"):
        wide = crossed_coupling(once, what)
        if not wide.empty:
            start, divided, end = wide[list(WALK)].median()
            own = once[once["section"].isin(wide.index)].groupby(KEYS[1:])[f"chance_rho_{what}"].median()
            chance = ", ".join(f"{own[arm]:.3f}" for arm in WALK)
            parts.append(
                f"coupling to {what} goes from **{start:.3f}** to **{divided:.3f}** with the size factor and to "
                f"**{end:.3f}** with the residual (medians of the means of the sections' nulls: {chance})"
            )
    one_arm = stands_for["none", "pearson_residual"] == ("none", "log")
    return (
        "First divide by all counts and keep the log, then take the residual: "
        + "; ".join(parts)
        + " (medians over sections). The other way round, the residual without a size factor comes first"
        + (" and changes nothing: it is the same arm." if one_arm else ".")
    )


def leak_sentence(once: pd.DataFrame, depth_of: Mapping[str, float]) -> str:
    """What log and residual, divided by all counts, keep in the shallowest and the deepest section, and the trend.

    Takes what `one_row_an_arm` returns, and the median depth of each section.
    """
    indexed, depth = once.set_index(KEYS), pd.Series(depth_of)
    lines = []
    for which, name in (("shallowest", depth.idxmin()), ("deepest", depth.idxmax())):
        for what in ("depth", "nuclei"):
            found = [indexed.loc[(name, *arm)] for arm in WALK[1:]]
            if np.isfinite([row[f"median_rho_{what}"] for row in found]).all():
                both = ", ".join(_beside_chance(row, what) for row in found)
                lines.append(f"in the {which} section, {name} (median {depth[name]:,.0f} counts), with {what}: {both}")
    of_arms = [indexed.xs(arm, level=KEYS[1:])["median_rho_depth"].reindex(depth.index) for arm in WALK[1:]]
    log, residual = spearman(np.column_stack(of_arms), depth.to_numpy())
    if np.isfinite([log, residual]).all():
        lines.append(
            f"over {len(depth)} sections, rank correlation of coupling to depth with the section's median depth: "
            f"log {log:.2f}, Pearson residual {residual:.2f}"
        )
    return "Divided by all counts, the median coupling is:\n\n" + "\n".join(f"- {line};" for line in lines)[:-1] + "."


def _beside_chance(row: pd.Series, what: str) -> str:
    name = labels.TRANSFORMS[row.name[2]]
    return f"{name} {row[f'median_rho_{what}']:.2f} (mean of its null {row[f'chance_rho_{what}']:.2f})"


def prediction_sentence(arms: pd.DataFrame, k: int) -> str:
    """Which arm ridge predicts best, where it adds most to nuclei alone, and the same along the walk.

    `arms` are rows of `as_shown` of the sections with an image.
    """
    medians = arms.groupby(KEYS[1:], sort=False).median(numeric_only=True)
    best, most = medians["ridge"].idxmax(), medians["excess"].idxmax()
    of_best, of_most = medians.loc[best], medians.loc[most]
    ridge, gain = (", ".join(f"{medians.loc[arm, column]:.2f}" for arm in WALK) for column in ("ridge", "excess"))
    return (
        f"Medians over {labels.counted(arms['section'].nunique(), 'sections')}: ridge reaches the highest PCC-{k} with "
        f"{arm_name(best)}, **{of_best['ridge']:.2f}**, of which nuclei alone reach {of_best['nuclei']:.2f}. "
        f"It adds most to that floor with {arm_name(most)}: **{of_most['excess']:+.2f}**; "
        f"coupling of that arm to nuclei is {of_most['median_rho_nuclei']:.2f}, to depth "
        f"{of_most['median_rho_depth']:.2f}, and measured depth alone scores {of_most['depth']:.2f} in it. "
        f"At the three stops of the walk above (log, log divided by all counts, residual), PCC-{k} of ridge is {ridge} "
        f"and its gain over nuclei {gain}. {behind_sentence(arms)}"
    )


def behind_sentence(arms: pd.DataFrame) -> str:
    """The sections where ridge does not reach nuclei alone in some arm; empty where there is none."""
    behind = (arms["excess"] <= 0).groupby(arms["section"]).sum()
    n_arms = len(arms[KEYS[1:]].drop_duplicates())
    lines = [f"In {name} ridge does not reach nuclei alone in {n} of {n_arms} arms." for name, n in behind.items() if n]
    return " ".join(lines)
