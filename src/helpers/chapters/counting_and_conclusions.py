"""Table 1 and Delta_k under every reading of the nuclei.

Sections and readings are mappings by the section's name. A section holds its targets (layers) for the genes of the
panel; its readings are a table of spots x readings, of which `disc` is the default.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.chapters.paper_tables import as_published
from helpers.columns import spearman
from helpers.labels import counted, label, of_patients
from helpers.scores import coupling, judge, spatial, top_genes
from helpers.targets.normalization import LOG, RESIDUAL

DEFAULT = "disc"
METRICS = [name for metric in coupling.METRICS for name in (metric, f"chance_{metric}", f"chance_95_{metric}")]
SHORT = {"median_abs_rho_nuclei": "|ρ|", "share_coupled_nuclei": f"|ρ| > {coupling.COUPLED}"}
VALUE = coupling.METRICS[0]
LOT = 0.2  # of the true nuclei, in a count whose errors are chance alone
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

# Readings -------------------------------------------------------------------------------------------------------


def readings_of(long: pd.DataFrame, spots: Mapping[str, pd.Index]) -> dict[str, pd.DataFrame]:
    """The readings of each section, spots x readings, in the order of its spots.

    `long` has section, spot, reading and value; `spots` are the names of each section's spots. A section lacks the
    readings that were not made of it; all have theirs in one order.
    """
    order = list(dict.fromkeys(long["reading"]))
    readings = {}
    for name, part in long.groupby("section", sort=False):
        table = part.pivot(index="spot", columns="reading", values="value")
        readings[name] = table.loc[spots[name], [reading for reading in order if reading in table]]
    return readings


def known_readings(readings: Mapping[str, pd.DataFrame]) -> list[str]:
    """Every reading that some section has, in their order."""
    return list(dict.fromkeys(reading for table in readings.values() for reading in table))


def associate_readings(
    sections: Mapping[str, AnnData], readings: Mapping[str, pd.DataFrame], targets: Sequence[str], n_maps: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`coupling.associations` and `coupling.chance_table` under every reading of the nuclei, with a column reading.

    The chance of a reading is that of `n_maps` random maps as smooth as it.
    """
    bases = {name: judge.basis(sections[name]) for name in readings}
    patients = {name: sections[name].obs["patient"].iloc[0] for name in readings}
    tables, chances = [], []
    for reading in known_readings(readings):
        nulls = {}
        for name in (name for name in readings if reading in readings[name]):
            section, nuclei = sections[name], readings[name][reading].to_numpy(float)
            layers, depth = {target: section.layers[target] for target in targets}, section.obs["total_counts"]
            table = coupling.associations(layers, section.var_names, depth.to_numpy(), nuclei)
            tables.append(table.assign(section=name, reading=reading))
            for target, X in layers.items():
                drawn = spatial.null_correlations(X, nuclei, bases[name], rank=True, n_draws=n_maps)[1]
                nulls[name, target] = dict(zip(coupling.METRICS, coupling.metrics_of(drawn), strict=True))
        chances.append(coupling.chance_table(nulls, patients).assign(reading=reading))
    return pd.concat(tables, ignore_index=True), pd.concat(chances, ignore_index=True)


def reading_correlations(sections: Mapping[str, AnnData], readings: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Spearman's rho of each reading with the default and with depth: section, reading, rho_disc, rho_depth."""
    rows = []
    for name, table in readings.items():
        against = np.column_stack([table[DEFAULT], sections[name].obs["total_counts"]])
        rho = pd.DataFrame(spearman(table.to_numpy(), against), columns=["rho_disc", "rho_depth"])
        rows.append(rho.assign(section=name, reading=table.columns))
    return pd.concat(rows, ignore_index=True)


def summarize_readings(associated: pd.DataFrame, chances: pd.DataFrame, correlations: pd.DataFrame) -> pd.DataFrame:
    """Table 1's rows about nuclei for every reading, section and target, beside what the reading itself follows.

    Takes both tables of `associate_readings`, and `reading_correlations`.
    """
    groups, null = associated.groupby("reading", sort=False), dict(list(chances.groupby("reading", sort=False)))
    summary = pd.concat([coupling.section_summary(part, null[name]).assign(reading=name) for name, part in groups])
    columns = ["section", "reading", "rho_disc", "rho_depth", "target", "n_genes", *METRICS]
    return summary.merge(correlations, on=["section", "reading"])[columns]


def reading_medians(summary: pd.DataFrame, chances: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """`summarize_readings` as medians over sections, to be shown: what a reading follows, then its row of Table 1.

    The chance of a median over sections is the mean of its own null, in the rows of `chances` that are of it.
    """
    rho = summary.groupby("reading", sort=False)[["rho_disc", "rho_depth"]].median()
    shown = {
        ("ρ of the reading", "with the default"): rho["rho_disc"],
        ("ρ of the reading", "with depth"): rho["rho_depth"],
    }
    null = chances[chances["section"] == coupling.MEDIAN].set_index(["reading", "target", "metric"])["chance"]
    for target in targets:
        values = summary[summary["target"] == target].groupby("reading", sort=False)
        for metric in coupling.METRICS:
            shown[label(target), SHORT[metric]] = values[metric].median()
            shown[label(target), f"mean of the null, {SHORT[metric]}"] = null.xs(
                (target, metric), level=("target", "metric")
            )
    return pd.DataFrame(shown).rename(index=label).rename_axis(None)


def readings_remark(summary: pd.DataFrame, patients: Mapping[str, str]) -> str:
    """Whether the log target follows nuclei more closely than the residual under every reading (Markdown).

    `summary` is what `summarize_readings` returns. Pairs of reading and section where it does not are named.
    """
    wide = summary.pivot(index=["reading", "section"], columns="target", values=[VALUE, f"chance_95_{VALUE}"])
    value, chance = wide[VALUE], wide[f"chance_95_{VALUE}"]
    more, above = value[LOG] > value[RESIDUAL], value > chance
    turned = more.index[~more].to_frame(index=False).groupby("reading", sort=False)["section"].agg(", ".join)
    not_so = "; ".join(f"{label(reading)} in {names}" for reading, names in turned.items())
    medians = value.groupby("reading").median()
    low, high = medians.min(), medians.max()
    return (
        f"The log target follows the nuclei more closely than the residual in **{more.sum()} of {len(more)}** "
        f"{'pair' if len(more) == 1 else 'pairs'} of reading and section{f' (not: {not_so})' if not_so else ''}, of "
        f"{counted(len(medians), 'readings')} and {of_patients(summary['section'], patients)}. "
        f"Medians over sections lie between {low[LOG]:.2f} and {high[LOG]:.2f} in log, {low[RESIDUAL]:.2f} and "
        f"{high[RESIDUAL]:.2f} as residuals; above the 95 % point of the reading's own null are log in "
        f"{above[LOG].sum()} and the residual in {above[RESIDUAL].sum()} of the pairs."
    )


# Delta_k --------------------------------------------------------------------------------------------------------


def delta_by_reading(associated: pd.DataFrame, trained: pd.DataFrame, ks: Sequence[int] = top_genes.KS) -> pd.DataFrame:
    """Delta_k as published of every section under every reading: the predictions stay, the nuclei change.

    Takes `associate_readings`, and the predictability of models (no floors).
    """
    groups = associated.groupby("reading", sort=False)
    delta = pd.concat([top_genes.differences(part, trained, ks).assign(reading=reading) for reading, part in groups])
    return as_published(delta)[["reading", "backbone", "split", "k", "section", "delta", "delta_panel"]]


def delta_medians(delta: pd.DataFrame) -> pd.DataFrame:
    """`delta_by_reading` as medians over sections, to be shown: readings x (backbone, split, k)."""
    by = ["backbone", "split", "k"]
    medians = delta.groupby(["reading", *by], sort=False)["delta"].median().unstack(by)
    return medians.rename(index=label).rename_axis(None)


def delta_remark(delta: pd.DataFrame, k: int) -> str:
    """Between what the median of Delta_k lies over readings, by model, and how often it is positive; "" without k."""
    symbol, parts = f"Δ{str(k).translate(SUBSCRIPT)}", []
    for (backbone, split), part in delta[delta["k"] == k].groupby(["backbone", "split"], sort=False):
        over = part.groupby("reading", sort=False)["delta"].median()
        parts.append(
            f"{over.min():.2f} to {over.max():.2f} with `{backbone}`, one {split} held out (above 0 in "
            f"{(part['delta'] > 0).sum()} of {counted(len(part), 'pairs')})"
        )
    return f"The median of {symbol} is, by reading, {' and '.join(parts)}." if parts else ""


# Where the truth is known ---------------------------------------------------------------------------------------


def compare_with_truth(
    sections: Mapping[str, AnnData], readings: Mapping[str, pd.DataFrame], truth: Mapping[str, pd.Series]
) -> pd.DataFrame:
    """Median over genes of |rho(log target, nuclei)| as observed by each reading and with the true nuclei.

    Medians over sections, a row a reading; also its rho with the truth. `truth` is the true number of nuclei of each
    section, indexed by spot. The last row, `lot`, is a count of which nothing but chance is wrong: of the true nuclei
    one in five.
    """
    rows = []
    for name, table in readings.items():
        true = truth[name].reindex(table.index).to_numpy()
        table = table.assign(lot=np.random.default_rng(0).binomial(true, LOT))
        expression = sections[name].layers[LOG]
        with_true = np.nanmedian(np.abs(spearman(expression, true)))
        for kind in table:
            observed = np.nanmedian(np.abs(spearman(expression, table[kind])))
            rho = spearman(table[[kind]].to_numpy(), true)[0]
            rows.append((kind, rho, observed, with_true))
    columns = ["reading", "ρ with the truth", "|ρ| observed", "with the true nuclei"]
    return pd.DataFrame(rows, columns=columns).groupby("reading", sort=False).median()


def truth_remark(compared: pd.DataFrame) -> str:
    """How far an observed coupling is from that with the true nuclei, by lot and as detected (Markdown)."""
    off = compared["|ρ| observed"] - compared["with the true nuclei"]
    return (
        f"Medians over sections, log target. Errors by lot put the coupling {off['lot']:+.3f} from the one with the "
        f"true nuclei; the count in the disc is {off[DEFAULT]:+.3f} from it."
    )
