"""Whether each panel and table of the paper is found again: one sentence each, by one rule for every cohort.

A verdict is one of VERDICTS and what it rests on, with sections, patients and null. Where both backbones ran, both are
judged.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.labels import counted
from helpers.models.backbones import MODELS
from helpers.scores import coupling, paired
from helpers.targets.normalization import LOG, RESIDUAL

VERDICTS = ("holds here", "holds in part", "does not hold here")
K = 10  # of panel E and of Table 2, the smallest that the paper prints


def _verdict(whole: bool, part: bool) -> str:
    return VERDICTS[0 if whole else 1 if part else 2]


def _sizes(sections: pd.Index, patients: Mapping[str, str]) -> str:
    n_patients = len({patients[name] for name in sections})
    few = "" if n_patients >= paired.MIN_PATIENTS else ", too few for a test over patients"
    return f"{counted(len(sections), 'sections')} of {counted(n_patients, 'patients')}{few}"


def _by_target(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """Sections x (log, residual) of a value; sections that lack one of the two are left out."""
    return table.pivot(index="section", columns="target", values=value)[[LOG, RESIDUAL]].dropna()


def panel_a(sections: pd.DataFrame, chances: pd.DataFrame, patients: Mapping[str, str]) -> tuple[str, str]:
    """Depth follows nuclei: in every section beyond its null, in some, or in none."""
    null = chances[chances["metric"] == coupling.OF_NUCLEI_AND_DEPTH].set_index("section")["chance_95"]
    rho = sections.set_index("section")["rho_nuclei_depth"].dropna()
    above = rho > null.reindex(rho.index)
    words = (
        f"rho of nuclei and depth is {rho.median():.2f} in the median of {_sizes(rho.index, patients)}, above the 95 % "
        f"point of its null in {above.sum()} of {len(rho)}"
    )
    return _verdict(above.all(), above.any()), words


def panels_b_and_c(
    summary: pd.DataFrame, chances: pd.DataFrame, metric: str, patients: Mapping[str, str]
) -> tuple[str, str]:
    """The log target follows nuclei more than the residual: everywhere, with a log that is beyond its null.

    `summary` is that of `coupling.section_summary`, `metric` one of `coupling.METRICS`.
    """
    wide = _by_target(summary, metric)
    null = chances[chances["metric"] == metric].pivot(index="section", columns="target", values="chance_95")
    null = null.reindex(wide.index)
    more, above = wide[LOG] > wide[RESIDUAL], wide[LOG] > null[LOG]
    as_residual = (wide[RESIDUAL] > null[RESIDUAL]).sum()
    words = (
        f"log {wide[LOG].median():.2f}, residual {wide[RESIDUAL].median():.2f}; log above residual in {more.sum()} of "
        f"{_sizes(wide.index, patients)}; above the 95 % point of its null log in {above.sum()}, "
        f"residual in {as_residual}"
    )
    return _verdict(more.all() and above.all(), more.mean() > 0.5), words


def panel_d(top: pd.DataFrame, k: int, patients: Mapping[str, str]) -> tuple[str, str]:
    """Log scores higher, and more than its higher ceiling explains. `top` is `top_genes.top_genes` of one backbone."""
    at_k = top[(top["k"] == k) & (top["ranking"] == "same")]
    pcc = _by_target(at_k, "pcc")
    reached = _by_target(at_k.assign(reached=at_k["pcc"] / at_k["ceiling"]), "reached")
    more, beyond = pcc[LOG] > pcc[RESIDUAL], reached[LOG] > reached[RESIDUAL]
    words = (
        f"PCC-{k} log {pcc[LOG].median():.2f}, residual {pcc[RESIDUAL].median():.2f}, log higher in {more.sum()} of "
        f"{_sizes(pcc.index, patients)}; of the Poisson ceiling of their genes {reached[LOG].median():.0%} and "
        f"{reached[RESIDUAL].median():.0%}, log higher in {beyond.sum()}"
    )
    return _verdict(more.all() and beyond.all(), more.mean() > 0.5), words


def panel_e(delta: pd.DataFrame, patients: Mapping[str, str]) -> tuple[str, str]:
    """Choosing the best genes adds to the difference of the panel; takes `top_genes.differences` of one backbone."""
    own = delta[(delta["definition"] == "own_top_k") & (delta["ranking"] == "same")].set_index("section")
    adds, first = (own["delta"] > own["delta_panel"]).groupby(own["k"]), own[own["k"] == K]
    words = (
        f"Delta_{K} {first['delta'].median():.3f} against {first['delta_panel'].median():.3f} over the whole panel: "
        f"choosing the best genes adds in {' / '.join(map(str, adds.sum()))} of {_sizes(first.index, patients)} at "
        f"k = {' / '.join(map(str, adds.sum().index))}"
    )
    return _verdict(adds.all().all(), (adds.mean() > 0.5).all()), words


def panel_f(couplings: pd.DataFrame, patients: Mapping[str, str]) -> tuple[str, str]:
    """Predictable genes are the coupled ones in log beyond any smooth map, and not in residuals.

    `couplings` is `predictability_and_coupling.with_null` of one backbone.
    """
    wide, null = _by_target(couplings, "coupling"), _by_target(couplings, "chance_95")
    above = wide > null.reindex(wide.index)
    words = (
        f"rho over genes log {wide[LOG].median():.2f}, residual {wide[RESIDUAL].median():.2f}; above the 95 % point of "
        f"random maps log in {above[LOG].sum()}, residual in {above[RESIDUAL].sum()} of {_sizes(wide.index, patients)}"
    )
    return _verdict(above[LOG].all() and not above[RESIDUAL].any(), above[LOG].mean() > 0.5), words


def table_1(summary: pd.DataFrame, chances: pd.DataFrame, patients: Mapping[str, str]) -> tuple[str, str]:
    """The direct test: genes follow nuclei in log beyond what both owe to depth."""
    metric = coupling.GIVEN_DEPTH
    wide = _by_target(summary, metric)
    null = chances[chances["metric"] == metric].pivot(index="section", columns="target", values="chance_95")
    above = wide > null.reindex(wide.index)[wide.columns]
    words = (
        f"given depth the median gene keeps |rho| {wide[LOG].median():.3f} with nuclei in log and "
        f"{wide[RESIDUAL].median():.3f} as a residual; above the 95 % point of its null log in {above[LOG].sum()}, "
        f"residual in {above[RESIDUAL].sum()} of {_sizes(wide.index, patients)}: the numbers of the table are "
        "those of panels B and C"
    )
    return _verdict(above[LOG].all(), above[LOG].any()), words


def table_2(delta: pd.DataFrame, patients: Mapping[str, str]) -> tuple[str, str]:
    """Delta_k is above zero in every section, and a test over patients says so too; without one it holds in part."""
    own = delta[(delta["definition"] == "own_top_k") & (delta["ranking"] == "same")]
    wide = own.pivot(index="section", columns="k", values="delta")
    over = wide.mean(axis=1).groupby(wide.index.map(patients)).mean()
    tested = len(over) >= paired.MIN_PATIENTS
    p = paired.wilcoxon(over.to_numpy())["p_two_sided"] if tested else np.nan
    positive = (wide > 0).all(axis=1)
    said = f"two-sided over patients p = {p:.2g}, the least there is {2 / 2 ** len(over):.2g}" if tested else "no test"
    words = f"Delta_k is above zero at every k in {positive.sum()} of {_sizes(wide.index, patients)}; {said}"
    return _verdict(positive.all() and tested and p <= 0.05, positive.mean() > 0.5), words


def sections_of(spots: pd.DataFrame, cells: str) -> pd.DataFrame:
    """Section, patient and rho_nuclei_depth of a table of spots that has total_counts and, as `cells`, cellularity."""
    keys = ["section", "patient"]
    groups = spots.dropna(subset=cells).groupby(keys, sort=False)
    rho = {of: part[cells].corr(part["total_counts"], method="spearman") for of, part in groups}
    return pd.Series(rho, name="rho_nuclei_depth").rename_axis(keys).reset_index()


def verdicts(
    summary: pd.DataFrame,
    chances: pd.DataFrame,
    sections: pd.DataFrame,
    top: pd.DataFrame,
    delta: pd.DataFrame,
    couplings: pd.DataFrame,
    k: int,
) -> pd.DataFrame:
    """Every panel and table: what it is of (panel), backbone ("" where there is none), verdict, words.

    Tables as the functions above take them, of one split, with backbones.
    """
    patients = sections.set_index("section")["patient"]
    rows = [
        ("A", "", *panel_a(sections, chances, patients)),
        ("B", "", *panels_b_and_c(summary, chances, coupling.METRICS[0], patients)),
        ("C", "", *panels_b_and_c(summary, chances, coupling.METRICS[1], patients)),
    ]
    models = [name for name in MODELS if {LOG, RESIDUAL} <= set(top.loc[top["backbone"] == name, "target"])]
    for name in models:
        of = [table[table["backbone"] == name] for table in (top, delta, couplings)]
        rows += [
            ("D", name, *panel_d(of[0], min(k, int(of[0]["k"].max())), patients)),
            ("E", name, *panel_e(of[1], patients)),
            ("F", name, *panel_f(of[2], patients)),
            ("Table 2", name, *table_2(of[1], patients)),
        ]
    rows.append(("Table 1", "", *table_1(summary, chances, patients)))
    table = pd.DataFrame(rows, columns=["panel", "backbone", "verdict", "words"])
    return table.sort_values("panel", kind="stable", ignore_index=True)


def sentences(found: pd.DataFrame) -> str:
    """Every verdict as a line (Markdown)."""
    return "\n".join(
        f"- **{row.panel if row.panel.startswith('Table') else f'Panel {row.panel}'}**"
        f"{f', `{row.backbone}`' if row.backbone else ''}: **{row.verdict}**. {row.words[0].upper()}{row.words[1:]}."
        for row in found.itertuples()
    )


def answer(found: pd.DataFrame) -> str:
    """Which panels and tables hold, hold in part and do not, each with the models it is so of where they differ.

    `found` is what `verdicts` returns, or rows of it.
    """
    parts = []
    for verdict in VERDICTS:
        names = []
        for panel, part in found.groupby("panel", sort=False):
            own = part[part["verdict"] == verdict]
            models = "" if len(own) == len(part) else f" with {' and '.join(f'`{name}`' for name in own['backbone'])}"
            names += [f"{panel}{models}"] * bool(len(own))
        parts += [f"**{verdict}**: {', '.join(names)}"] * bool(names)
    return "; ".join(parts)
