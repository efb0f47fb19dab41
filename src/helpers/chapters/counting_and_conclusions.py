"""Table 1 and Delta_k under every reading of the nuclei, and without the noise of genes and of the count.

Sections and readings are mappings by the section's name. A section holds its targets (layers) for the genes of the
panel; its readings are a table of spots x readings, of which `disc` is the default.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import schema
from helpers.chapters.tables import as_published
from helpers.columns import ranks, spearman
from helpers.labels import counted, label
from helpers.scores import coupling, judge, spatial, top_genes
from helpers.scores.coupling import LOG, RESIDUAL
from helpers.scores.predictability import noise_ceiling
from helpers.targets import normalization

DEFAULT = "disc"
METRICS = ("median_abs_rho_nuclei", "chance_abs_rho_nuclei", "share_coupled_nuclei", "chance_share_nuclei")
SHORT = {
    "median_abs_rho_nuclei": "|ρ|",
    "chance_abs_rho_nuclei": "chance",
    "share_coupled_nuclei": "|ρ| > 0.3",
    "chance_share_nuclei": "chance of it",
}
CORRECTIONS = {  # whether the noise of the genes is taken out, and that of the count; what it is called
    "none": (False, False, "as observed"),
    "genes": (True, False, "noise of the genes removed"),
    "genes and count": (True, True, "and of the least reliable count"),
}
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


def associate(
    section: AnnData,
    nuclei: np.ndarray,
    maps: np.ndarray,
    targets: Sequence[str],
    reliability_nuclei: float = 1.0,
    reliability_genes: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """How each gene of a section follows depth and one reading of its nuclei: `coupling.associations` of its layers.

    `nuclei` is per spot; `maps` is spots x draws of the same reading, spatially randomized.
    """
    layers, depth = {target: section.layers[target] for target in targets}, section.obs["total_counts"].to_numpy()
    return coupling.associations(layers, section.var_names, depth, nuclei, maps, reliability_nuclei, reliability_genes)


def random_maps(nuclei: np.ndarray, basis: np.ndarray, n_maps: int) -> np.ndarray:
    """Spots x maps of nuclei randomized in space; of their ranks, as rho is (`spatial.moran_randomize`)."""
    return spatial.moran_randomize(ranks(nuclei), basis, n_maps)


def associate_readings(
    sections: Mapping[str, AnnData], readings: Mapping[str, pd.DataFrame], targets: Sequence[str], n_maps: int
) -> pd.DataFrame:
    """`associate` for every reading of every section, each with its own chance: columns section and reading besides."""
    bases = {name: judge.basis(sections[name]) for name in readings}
    tables = []
    for reading in known_readings(readings):
        for name, table in readings.items():
            if reading in table:
                nuclei = table[reading].to_numpy()
                found = associate(sections[name], nuclei, random_maps(nuclei, bases[name], n_maps), targets)
                tables.append(found.assign(section=name, reading=reading))
    return pd.concat(tables, ignore_index=True)


def reading_correlations(sections: Mapping[str, AnnData], readings: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Spearman's rho of each reading with the default and with depth: section, reading, rho_disc, rho_depth."""
    rows = []
    for name, table in readings.items():
        against = np.column_stack([table[DEFAULT], sections[name].obs["total_counts"]])
        rho = pd.DataFrame(spearman(table.to_numpy(), against), columns=["rho_disc", "rho_depth"])
        rows.append(rho.assign(section=name, reading=table.columns))
    return pd.concat(rows, ignore_index=True)


def summarize_readings(associated: pd.DataFrame, correlations: pd.DataFrame) -> pd.DataFrame:
    """Table 1's rows about nuclei for every reading, section and target, beside what the reading itself follows.

    Takes `associate_readings` and `reading_correlations`.
    """
    groups = associated.groupby("reading", sort=False)
    summary = pd.concat([coupling.section_summary(part).assign(reading=reading) for reading, part in groups])
    columns = ["section", "reading", "rho_disc", "rho_depth", "target", "n_genes", *METRICS]
    return summary.merge(correlations, on=["section", "reading"])[columns]


def medians_by_target(
    summary: pd.DataFrame, by: str, targets: Sequence[str], metrics: Sequence[str] = METRICS
) -> pd.DataFrame:
    """Medians over sections of each metric, to be shown: `by` x (target, metric), called as they are on the page."""
    medians = summary.groupby([by, "target"], sort=False)[list(metrics)].median().unstack("target")
    shown = {(label(target), SHORT[metric]): medians[metric, target] for target in targets for metric in metrics}
    return pd.DataFrame(shown)


def reading_medians(summary: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """`summarize_readings` as medians over sections, to be shown: what a reading follows, then its row of Table 1."""
    rho = summary.groupby("reading", sort=False)[["rho_disc", "rho_depth"]].median()
    names = pd.MultiIndex.from_product([["ρ of the reading"], ["with the default", "with depth"]])
    medians = medians_by_target(summary, "reading", targets, METRICS[:3])
    return pd.concat([rho.set_axis(names, axis=1), medians], axis=1).rename(index=label).rename_axis(None)


def readings_remark(summary: pd.DataFrame) -> str:
    """Whether the log target follows nuclei more closely than the residual under every reading (Markdown).

    `summary` has reading, section, target and median_abs_rho_nuclei. Pairs where it does not are named.
    """
    value = "median_abs_rho_nuclei"
    wide = summary.pivot(index=["reading", "section"], columns="target", values=value)
    above, ratio = wide[LOG] > wide[RESIDUAL], wide[LOG] / wide[RESIDUAL]
    not_so = ", ".join(f"{label(reading)} in {name}" for reading, name in above.index[~above])
    medians = summary.groupby(["reading", "target"], sort=False)[value].median().unstack("target")
    low, high = medians.min(), medians.max()
    return (
        f"The log target follows the nuclei more closely than the residual in **{above.sum()} of {len(above)}** "
        f"{'pair' if len(above) == 1 else 'pairs'} of reading and section{f' (not: {not_so})' if not_so else ''}; the "
        f"ratio of the two medians lies between {ratio.min():.1f} and {ratio.max():.1f}. As medians over sections, the "
        f"log target's lies between {low[LOG]:.2f} and {high[LOG]:.2f}, the residual's between {low[RESIDUAL]:.2f} and "
        f"{high[RESIDUAL]:.2f}."
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
    """Between which readings the median of Delta_k lies: a line (Markdown) a backbone and split, "" without this k."""
    lines, symbol = [], f"Δ{str(k).translate(SUBSCRIPT)}"
    for (backbone, split), part in delta[delta["k"] == k].groupby(["backbone", "split"], sort=False):
        over = part.groupby("reading", sort=False)["delta"].median()
        lines.append(
            f"- `{backbone}`, one {split} held out: the median of {symbol} lies between **{over.min():.3f}** "
            f"({label(over.idxmin())}) and **{over.max():.3f}** ({label(over.idxmax())}); {symbol} is above 0 in "
            f"{(part['delta'] > 0).sum()} of {counted(len(part), 'pairs')} of reading and section."
        )
    return "\n".join(lines)


# What noise hides -----------------------------------------------------------------------------------------------


def gene_reliability(counts: AnnData, genes: Sequence[str], target: str, n_splits: int) -> np.ndarray:
    """Reliability of the ranks of each gene in a target: the square of their noise ceiling.

    `counts` is the section with all its genes; `genes` those of the panel.
    """

    def ranked(half) -> np.ndarray:
        section = AnnData(obs=counts.obs[[]], var=counts.var[[]], layers={schema.COUNTS: half})
        return ranks(normalization.target(section, target, genes))

    return noise_ceiling(counts.layers[schema.COUNTS], ranked, n_splits=n_splits) ** 2


def gene_reliabilities(
    counts: Iterable[AnnData], panel: Mapping[str, Sequence[str]], n_splits: int
) -> dict[str, dict[str, np.ndarray]]:
    """`gene_reliability` in the paper's two targets, by section and target; `counts` may be read one by one."""
    return {
        name: {target: gene_reliability(section, panel[name], target, n_splits) for target in (LOG, RESIDUAL)}
        for name, section in zip(panel, counts, strict=True)
    }


def least_count_reliability(nuclei: np.ndarray, depth: np.ndarray) -> float:
    """The least reliability that a count of nuclei can have: its squared rho with depth.

    No correlation without noise exceeds 1, so a noisier count could not follow depth as it does. Holds where the
    errors of the count do not follow depth.
    """
    return float(spearman(np.asarray(nuclei)[:, None], depth)[0] ** 2)


def least_count_reliabilities(
    sections: Mapping[str, AnnData], readings: Mapping[str, pd.DataFrame]
) -> dict[str, float]:
    """`least_count_reliability` of the default reading, by section."""
    return {
        name: least_count_reliability(readings[name][DEFAULT].to_numpy(), section.obs["total_counts"].to_numpy())
        for name, section in sections.items()
    }


def reliability_remark(of_count: Mapping[str, float]) -> str:
    """The bound on the count's reliability, by section (Markdown)."""
    return f"The count's reliability is at least {', '.join(f'{least:.2f} ({n})' for n, least in of_count.items())}."


def corrected_summary(
    section: AnnData,
    nuclei: np.ndarray,
    maps: np.ndarray,
    of_genes: Mapping[str, np.ndarray],
    of_count: float,
    correction: str,
) -> pd.DataFrame:
    """Table 1's rows about nuclei of one section without the noise that `correction` (of CORRECTIONS) takes out.

    `of_genes` are the genes' reliabilities by target, `of_count` the count's. Genes that are next to all noise in one
    target are left out of all, so that each correction is over the same genes, `n_genes`.
    """
    genes_too, count_too, _ = CORRECTIONS[correction]
    enough = np.all([values >= coupling.LEAST_RELIABLE for values in of_genes.values()], axis=0)
    own = {target: np.where(enough, values if genes_too else 1.0, np.nan) for target, values in of_genes.items()}
    least = of_count if count_too else 1.0
    table = associate(section, nuclei, maps, list(own), least, own).assign(section=section.uns["section"])
    summary = coupling.section_summary(table).assign(correction=correction, reliability_nuclei=least)
    return summary.assign(n_genes=enough.sum())


def corrected_summaries(
    sections: Mapping[str, AnnData],
    readings: Mapping[str, pd.DataFrame],
    of_genes: Mapping[str, Mapping[str, np.ndarray]],
    of_count: Mapping[str, float],
    n_maps: int,
) -> pd.DataFrame:
    """`corrected_summary` of the default reading for every correction and section."""
    nuclei = {name: readings[name][DEFAULT].to_numpy() for name in of_genes}
    bases = {name: judge.basis(sections[name]) for name in of_genes}
    maps = {name: random_maps(nuclei[name], bases[name], n_maps) for name in of_genes}
    rows = [
        corrected_summary(sections[name], nuclei[name], maps[name], reliabilities, of_count[name], correction)
        for correction in CORRECTIONS
        for name, reliabilities in of_genes.items()
    ]
    columns = ["correction", "reliability_nuclei", "section", "target", "n_genes", *METRICS]
    return pd.concat(rows, ignore_index=True)[columns]


def correction_medians(corrected: pd.DataFrame) -> pd.DataFrame:
    """`corrected_summaries` as medians over sections, to be shown: corrections x (target, metric)."""
    medians = medians_by_target(corrected, "correction", (LOG, RESIDUAL))
    return medians.rename(index={name: called for name, (*_, called) in CORRECTIONS.items()}).rename_axis(None)


def correction_remark(corrected: pd.DataFrame) -> str:
    """How the two targets' coupling, and their ratio, change as noise is taken out (Markdown)."""
    medians = corrected.groupby(["correction", "target"])["median_abs_rho_nuclei"].median().unstack("target")
    log, residual = medians[LOG], medians[RESIDUAL]
    ratio = log / residual
    kept = corrected[corrected["correction"] == "none"].drop_duplicates("section")["n_genes"]
    return (
        f"Medians over {counted(len(kept), 'sections')}, over {kept.min()} to {kept.max()} genes each. Without the "
        f"genes' noise the log target's median goes from {log['none']:.2f} to **{log['genes']:.2f}** and the "
        f"residual's from {residual['none']:.2f} to **{residual['genes']:.2f}**: their ratio goes from "
        f"{ratio['none']:.1f} to **{ratio['genes']:.1f}**. Noise of the count lowers both by the same factor and "
        f"leaves the ratio of a section as it is; with the least reliable count the two are "
        f"{log['genes and count']:.2f} and {residual['genes and count']:.2f}."
    )


# Where the truth is known ---------------------------------------------------------------------------------------


def against_truth(nuclei: np.ndarray, true: np.ndarray, expression: np.ndarray) -> dict[str, float]:
    """A reading beside the true nuclei: its reliability, and medians over genes of |rho| with `expression`.

    As observed, corrected for that reliability, and with the true nuclei; `expression` is spots x genes.
    """
    reliability = least_count_reliability(nuclei, true)
    observed, with_true = (np.abs(spearman(expression, values)) for values in (nuclei, true))
    rho = {"|ρ| observed": observed, "corrected": coupling.disattenuate(observed, reliability)}
    rho["with the true nuclei"] = with_true
    return {"reliability": reliability} | {name: float(np.nanmedian(values)) for name, values in rho.items()}


def compare_with_truth(
    sections: Mapping[str, AnnData], readings: Mapping[str, pd.DataFrame], truth: Mapping[str, pd.Series]
) -> pd.DataFrame:
    """`against_truth` of every reading in the log target, medians over sections: a row a reading.

    `truth` is the true number of nuclei of each section, indexed by spot. The last row, `lot`, is a count of which
    nothing but chance is wrong: of the true nuclei one in five.
    """
    rows = []
    for name, table in readings.items():
        true = truth[name].reindex(table.index).to_numpy()
        table = table.assign(lot=np.random.default_rng(0).binomial(true, LOT))
        expression = sections[name].layers[LOG]
        rows += [{"reading": kind} | against_truth(table[kind].to_numpy(), true, expression) for kind in table]
    return pd.DataFrame(rows).groupby("reading", sort=False).median()


def truth_remark(compared: pd.DataFrame) -> str:
    """How far from the truth a correlation is, and a corrected one, by lot and as detected (Markdown)."""
    off = compared.sub(compared["with the true nuclei"], axis=0)
    before, after = off["|ρ| observed"], off["corrected"]
    return (
        f"Medians over sections, log target. Errors by lot put the correlation {before['lot']:+.3f} from the truth, "
        f"the correction {after['lot']:+.3f}. The count in the disc is {before[DEFAULT]:+.3f} from it, corrected "
        f"{after[DEFAULT]:+.3f}."
    )
