"""Twins of sections with a known answer: what scores say of counts in which only depth, or only composition, varies.

A table of scores has a row per score: what was scored, `twin` (one of TWINS), PCC-k in a column `pcc_<k>`, and
`chance_95`, the 95 % point of its spatial null.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.chapters import simulated
from helpers.cohort import simulate
from helpers.labels import counted, label, of_patients
from helpers.models import backbones
from helpers.schema import COUNTS, MEASURED, PREDICTED
from helpers.scores import judge
from helpers.targets import normalization, twins
from helpers.targets.panel import choose_panel, gene_statistics

TWINS = ("real", "depth_only", "equal_depth")  # the first is the section as it was measured
SHALLOW = 0.1  # quantile of a section's depths to which the equal-depth twin is thinned
KEYS = ["section", "split", "target", "backbone"]
COUPLINGS = {1.0: "Depth follows the nuclei", 0.0: "Depth does not follow the nuclei"}  # of the simulated cohort

Twins = Mapping[str, Mapping[str, AnnData]]  # kind of TWINS -> section -> its spots and genes, with targets

# Twins and their targets ----------------------------------------------------------------------------------------


def twin_of(section: AnnData, kind: str, seed: int = 0) -> AnnData:
    """The section with the counts of one of TWINS: all genes, and the spots that the twin keeps.

    The equal-depth twin holds the section's lowest tenth of depths in every spot, and drops the shallower ones.
    ValueError for another twin.
    """
    if kind not in TWINS:
        raise ValueError(f"twin {kind!r} is not one of {', '.join(TWINS)}")
    if kind == "real":
        return section
    counts, rng = section.layers[COUNTS], np.random.default_rng(seed)
    if kind == "depth_only":
        return twins.as_twin(section, twins.depth_only(counts, rng))
    depth = max(1, int(np.quantile(section.obs["total_counts"], SHALLOW)))
    return twins.as_twin(section, *twins.equal_depth(counts, depth, rng))


def twins_with_targets(sections: Mapping[str, AnnData], genes: Sequence[str], targets: Sequence[str]) -> Twins:
    """Every section as each of TWINS, with its targets: kind -> section -> AnnData of those genes."""
    return {
        kind: {
            name: simulated.with_targets(twin_of(section, kind), genes, targets) for name, section in sections.items()
        }
        for kind in TWINS
    }


def equal_depths(thinned: Mapping[str, AnnData], sections: Mapping[str, AnnData]) -> pd.DataFrame:
    """Of each equal-depth twin the molecules of a spot (depth) and the share of the section's spots kept (kept)."""
    rows = {
        name: {"depth": twin.obs["total_counts"].iloc[0], "kept": twin.n_obs / sections[name].n_obs}
        for name, twin in thinned.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


# Scores ---------------------------------------------------------------------------------------------------------


def score(measured: np.ndarray, predicted: np.ndarray, spots: AnnData, k: int, n_draws: int = judge.N_DRAWS) -> dict:
    """`pcc_<k>` and `chance_95` (`judge.pcc`) of a prediction of these spots, spots x genes."""
    found = judge.pcc(measured, predicted, judge.basis(spots), k, n_draws)
    return {f"pcc_{k}": found["pcc"], "chance_95": found["chance_95"]}


def score_on_twins(prediction: AnnData, sections: Twins, k: int, n_draws: int = judge.N_DRAWS) -> pd.DataFrame:
    """A prediction as it is against each of TWINS of the section it was made for: a row each, with its seed.

    Spots that a twin lacks are left out of the prediction.
    """
    metadata = {name: prediction.uns[name] for name in (*KEYS, "seed")}
    rows = []
    for kind in TWINS:
        twin = sections[kind][metadata["section"]][:, prediction.var_names]
        measured = normalization.clip(twin.layers[metadata["target"]], metadata["target"]).astype(np.float32)
        predicted = prediction[twin.obs_names].layers[PREDICTED]
        rows.append(metadata | {"twin": kind} | score(measured, predicted, twin, k, n_draws))
    return pd.DataFrame(rows)


def score_kept(
    predictions: Iterable[AnnData], sections: Twins, targets: Sequence[str], k: int, n_draws: int = judge.N_DRAWS
) -> pd.DataFrame:
    """Every prediction by `score_on_twins`, means over seeds; trained models first, floors behind, targets in order."""
    scores = pd.concat([score_on_twins(prediction, sections, k, n_draws) for prediction in predictions])
    means = scores.groupby([*KEYS, "twin"], sort=False)[[f"pcc_{k}", "chance_95"]].mean().reset_index()
    order = {name: i for i, name in enumerate([*backbones.MODELS, *targets])}
    by = ["backbone", "target"]
    return means.sort_values(by, key=lambda names: names.map(order), kind="stable", ignore_index=True)


def score_refitted(
    sections: Twins,
    targets: Sequence[str],
    splits: Sequence[str],
    panels: Mapping[str, Sequence[str]],
    k: int,
    n_draws: int = judge.N_DRAWS,
) -> pd.DataFrame:
    """Ridge, fitted on each of TWINS of the training sections and scored on the same kind of the held-out one.

    `panels` holds the genes to predict in each section.
    """
    clip, rows = normalization.clip, []
    for kind, name, target, split in product(TWINS, panels, targets, splits):
        held = backbones.predict(sections[kind], name, target, "ridge", split, panels[name], clip)
        metadata = {"section": name, "split": split, "twin": kind, "target": target, "backbone": "ridge"}
        scores = score(held.layers[MEASURED], held.layers[PREDICTED], held, k, n_draws)
        rows.append(metadata | scores)
    return pd.DataFrame(rows)


def flag(scores: pd.DataFrame, keys: Sequence[str], k: int) -> pd.DataFrame:
    """Each score beside its own on real counts (on_real); flagged: above chance where only depth varies.

    `keys` name a score but for its twin.
    """
    real = scores[scores["twin"] == "real"].rename(columns={f"pcc_{k}": "on_real"})
    scores = scores.merge(real[[*keys, "on_real"]], how="left", on=keys)
    return scores.assign(flagged=(scores["twin"] == "depth_only") & (scores[f"pcc_{k}"] > scores["chance_95"]))


def of_twins(scores: pd.DataFrame, k: int) -> pd.DataFrame:
    """The rows of the twins alone, in the columns of the table that is kept."""
    columns = ["section", "split", "twin", "target", "backbone", f"pcc_{k}", "chance_95", "on_real", "flagged"]
    return scores.loc[scores["twin"] != "real", columns]


def medians(scores: pd.DataFrame, k: int) -> pd.DataFrame:
    """Median over sections of each backbone and target on each of TWINS, chance on the depth-only one, and flags.

    `flagged` is text: in how many of the sections.
    """
    keys = ["backbone", "target"]
    table = scores.pivot_table(f"pcc_{k}", keys, "twin", "median", sort=False)[list(TWINS)].rename_axis(columns=None)
    groups = scores[scores["twin"] == "depth_only"].groupby(keys, sort=False)
    table["chance"] = groups["chance_95"].median()
    table["flagged"] = groups["flagged"].agg(lambda flags: f"{flags.sum()} of {len(flags)}")
    return table


# The simulated cohort -------------------------------------------------------------------------------------------


def simulated_cohorts() -> dict[float, dict[str, AnnData]]:
    """All sections of the toy cohort under each of COUPLINGS: by coupling, by name; composition is the same."""
    profiles, made = simulate.gene_profiles(), {coupling: {} for coupling in COUPLINGS}
    for (name, depth), coupling in product(simulate.SECTIONS.items(), COUPLINGS):  # a section's tissue is kept
        made[coupling][name] = simulated.section(name, depth, profiles, coupling)
    return made


def panel_of_counts(sections: Mapping[str, AnnData], size: int = 100) -> list[str]:
    """The abundant and variable genes of the sections, as 06_normalization chooses them."""
    return choose_panel({name: gene_statistics(section) for name, section in sections.items()}, size)


def score_nuclei(
    cohorts: Mapping[float, Mapping[str, AnnData]],
    genes: Sequence[str],
    targets: Sequence[str],
    k: int,
    n_draws: int = judge.N_DRAWS,
) -> pd.DataFrame:
    """The number of nuclei as the model, fitted and scored on each of TWINS of the sections; by coupling."""
    rows = []
    for coupling, sections in cohorts.items():
        for kind, made in twins_with_targets(sections, genes, targets).items():
            for name, target in product(made, targets):
                held = backbones.predict(made, name, target, "nuclei", prepare=normalization.clip)
                scores = score(held.layers[MEASURED], held.layers[PREDICTED], held, k, n_draws)
                metadata = {"section": name, "twin": kind, "target": target, "backbone": "nuclei"}
                rows.append({"coupling": coupling} | metadata | scores)
    return pd.DataFrame(rows)


# Sentences ------------------------------------------------------------------------------------------------------


def depths_sentence(depths: pd.DataFrame, k: int) -> str:
    """What the equal-depth twins are (Markdown); takes what `equal_depths` returns."""
    depth, kept = depths["depth"], depths["kept"]
    return (
        f"Equal depths lie between {depth.min():,.0f} and {depth.max():,.0f} molecules; "
        f"{kept.min():.0%} to {kept.max():.0%} of a section's spots are kept. Scores are PCC-{k}."
    )


def answer(scores: pd.DataFrame, k: int, models: Sequence[str], patients: Mapping[str, str]) -> str:
    """What predictions as they are score where only depth varies, and where depth does not, beside chance.

    Medians over sections; takes what `flag` returns.
    """
    own = scores[scores["backbone"].isin(models)]
    by_twin = {twin: part.groupby("backbone", sort=False) for twin, part in own.groupby("twin")}
    only_depth, equal = (
        "; ".join(f"`{model}` {_by_target(part, k)}" for model, part in by_twin[twin]) for twin in TWINS[1:]
    )
    twin = own[own["twin"] == TWINS[1]]
    above = (twin[f"pcc_{k}"] > twin["chance_95"]).groupby([twin["backbone"], twin["target"]], sort=False).mean()
    by_target = above.groupby(level="target", sort=False).max()
    skilled, rest = (
        ", ".join(label(target) for target in by_target.index[which]) for which in (by_target > 0.5, by_target <= 0.5)
    )
    verdict = f"scores are above chance in most sections in {skilled or 'no target'}"
    verdict += f", not in {rest}" * bool(rest and skilled)
    return (
        f"**Where only depth varies, {verdict}.** There PCC-{k} (95 % point of chance; sections above it) is "
        f"{only_depth}. Where all spots have one depth it is {equal}. Medians over "
        f"{of_patients(own['section'], patients)}."
    )


def _by_target(scores: pd.DataFrame, k: int) -> str:
    listed = []
    for target, part in scores.groupby("target", sort=False):
        value, chance = part[[f"pcc_{k}", "chance_95"]].median()
        above = (part[f"pcc_{k}"] > part["chance_95"]).sum()
        listed.append(f"{label(target)} **{value:z.2f}** ({chance:.2f}; {above} of {len(part)})")
    return ", ".join(listed)


def refitted_sentence(scores: pd.DataFrame, k: int, patients: Mapping[str, str]) -> str:
    """How far targets lie apart on counts as measured and on each twin (Markdown), medians over sections."""
    median, chance = (
        scores.pivot_table(name, "twin", "target", "median", sort=False) for name in (f"pcc_{k}", "chance_95")
    )
    gap = median.max(axis=1) - median.min(axis=1)
    real = median.loc["real"]
    best, worst = real.idxmax(), real.idxmin()
    on_twin = {
        kind: ", ".join(f"{label(t)} {value:.2f} (chance {chance.loc[kind, t]:.2f})" for t, value in row.items())
        for kind, row in median.iterrows()
    }
    return (
        f"Medians over {of_patients(scores['section'], patients)}. On the counts as measured the targets lie "
        f"{gap['real']:.2f} apart, from {label(worst)} with {real[worst]:.2f} to {label(best)} with "
        f"{real[best]:.2f}. Where all spots have the same depth they lie {gap['equal_depth']:.2f} apart "
        f"({on_twin['equal_depth']}). "
        f"Where only depth varies: {on_twin['depth_only']}."
    )


def coupling_sentence(scores: pd.DataFrame, k: int) -> str:
    """What counting nuclei scores where only depth varies, with depth coupled to nuclei and not (Markdown).

    `scores` is what `flag` returns, with a column coupling (1 or 0).
    """
    only = scores[scores["twin"] == "depth_only"]
    on, off = (only[only["coupling"] == coupling] for coupling in COUPLINGS)
    coupled, uncoupled = (part.groupby("target", sort=False)[f"pcc_{k}"].median() for part in (on, off))
    return (
        "On the depth-only twin of the coupled cohort counting nuclei scores "
        + ", ".join(f"{value:.2f} in {label(target)}" for target, value in coupled.items())
        + f"; of the uncoupled one {', '.join(f'{value:.2f}' for value in uncoupled)}"
        + f", above its chance in {off['flagged'].sum()} of {counted(len(off), 'scores')}, "
        + "where one in twenty is expected."
    )
