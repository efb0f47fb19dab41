"""Bias against biology: what each arm keeps of the tissue, set against its coupling to depth and to nuclei.

`kept` is what `kept_biology.kept_table` returns, `coupling` the table of the factorial with one row a section and arm,
`both` what `beside_coupling` makes of them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.chapters.factorial import GROUP, KEYS, WALK, arm_name
from helpers.chapters.kept_biology import ALONE, MEASURES, SINGLE_NUMBERS, is_of, of_target
from helpers.chapters.published_methods import RHO
from helpers.labels import counted, of_patients
from helpers.schema import patients_of
from helpers.scores import paired

STEPS = dict(zip(("log", "log ÷ all counts", "Pearson residual"), WALK, strict=True))
LEVEL = 0.05
FAR_MORE = 0.05  # of separation, in one section
MIN_SECTIONS = 5  # for a correlation over sections
NOTHING = "Nothing to compare in this cohort."

# Arms ------------------------------------------------------------------------------------------------------------


def beside_coupling(kept: pd.DataFrame, coupling: pd.DataFrame) -> pd.DataFrame:
    """Arms by section: coupling to depth and nuclei, and value_, chance_ and chance_95_ of each measure.

    Arms that see to depth in their own way stand in size factors of their own: `spot`, `corrected`.
    """
    wide = kept.pivot(index=KEYS, columns="measure", values=["value", "chance", "chance_95"]).reset_index()
    wide.columns = ["_".join(filter(None, column)) for column in wide.columns]
    both = coupling[[*KEYS, *RHO]].merge(wide, on=KEYS)
    return both.assign(size_factor=both["transform"].map(GROUP).fillna(both["size_factor"]))


def measured_beside(both: pd.DataFrame, what: str, measures: Sequence[str]) -> list[str]:
    """The measures that some section has beside its coupling to `what`."""
    there = both.dropna(subset=f"median_rho_{what}").dropna(axis=1, how="all")
    return [measure for measure in measures if f"value_{measure}" in there]


def with_measure(both: pd.DataFrame, measure: str, what: str) -> pd.DataFrame:
    """Arms by section, with their coupling to `what` and the value of `measure`; rows that lack one are left out.

    An arm that some of these sections lack would have a median over others, and is left out as well.
    """
    columns = ["section", "size_factor", "transform", f"median_rho_{what}", f"value_{measure}"]
    shown = both.reindex(columns=columns).dropna()
    n_of = shown.groupby(["size_factor", "transform"])["section"].transform("size")
    return shown[n_of == shown["section"].nunique()]


def reference_levels(kept: pd.DataFrame, measure: str, what: str, sections: Sequence[str]) -> dict[str, float]:
    """Medians to compare arms with, over these sections: mean of the null, and what the single number `what` knows."""
    part = kept[(kept["measure"] == measure) & kept["section"].isin(sections)]
    alone = of_target(part, measure, (ALONE, what))
    return {"mean of the null": part["chance"].median(), f"{what} alone": alone["value"].median()}


def undominated(medians: pd.DataFrame) -> pd.DataFrame:
    """Rows to which no other is better, the first column to be low and the second high, in order of the first.

    Better is at least as good in both and not the same; of rows that are the same both stay.
    """
    x, y = medians.to_numpy().T
    beaten = ((x <= x[:, None]) & (y >= y[:, None]) & ((x < x[:, None]) | (y > y[:, None]))).any(axis=1)
    return medians[~beaten].sort_values(medians.columns[0])


# Steps -----------------------------------------------------------------------------------------------------------


def paired_change(
    kept: pd.DataFrame, measure: str, before: str, after: str, patients: Mapping[str, str]
) -> tuple[pd.Series, dict]:
    """What one of STEPS keeps less another, of the same section, and `paired.over_patients` of it."""
    change = of_target(kept, measure, STEPS[after])["value"] - of_target(kept, measure, STEPS[before])["value"]
    return change, paired.over_patients(change.to_numpy(), change.index.map(patients))


def step_change(kept: pd.DataFrame, measure: str, before: str, after: str, patients: Mapping[str, str]) -> dict:
    """What a step of the paper's normalization costs or brings, section by section, and its test over patients."""
    change, tested = paired_change(kept, measure, before, after, patients)
    p = f"p = {tested['wilcoxon_p_two_sided']:.3g}" if np.isfinite(tested["wilcoxon_p_two_sided"]) else "no test"
    return {
        "measure": MEASURES[measure],
        "step": f"{before} → {after}",
        "median change": change.median(),
        "more / less": f"{(change > 0).sum()} / {(change < 0).sum()}",
        "over patients": f"{p} ({tested['note']})",
    }


def step_changes(kept: pd.DataFrame, measures: Sequence[str], sections: Mapping[str, AnnData]) -> pd.DataFrame:
    """`step_change` of each measure and step; it may have no rows."""
    patients = patients_of(sections)
    walk = list(zip(list(STEPS)[:-1], list(STEPS)[1:], strict=True))
    rows = [step_change(kept, measure, *step, patients) for measure in measures for step in walk]
    return pd.DataFrame(rows, columns=["measure", "step", "median change", "more / less", "over patients"])


def separation_by_section(kept: pd.DataFrame, sections: Mapping[str, AnnData]) -> pd.DataFrame:
    """Separation of regions at each step and by depth alone, beside chance and the median depth; sections x columns."""
    targets = STEPS | {"depth alone": (ALONE, "depth")}
    values = {name: of_target(kept, "separation", target)["value"] for name, target in targets.items()}
    table = pd.DataFrame(values).sort_index()
    table["chance"] = of_target(kept, "separation", STEPS["log"])["chance"]
    table["median counts"] = [sections[name].obs["total_counts"].median() for name in table.index]
    return table


# In words --------------------------------------------------------------------------------------------------------


def frontier_sentence(both: pd.DataFrame, measures: Sequence[str]) -> str:
    """The arms of each measure to which no other is better in both, coupling to depth and what is kept (Markdown)."""
    lines = []
    for measure in measures:
        shown = with_measure(both, measure, "depth").groupby(["size_factor", "transform"], sort=False)
        best = undominated(shown.median(numeric_only=True)).itertuples()
        listed = ", ".join(f"{arm_name(row.Index)} {row[1]:.2f} → {row[2]:.2f}" for row in best)
        lines.append(f"- {MEASURES[measure]}: {listed}")
    if not lines:
        return NOTHING
    return (
        "On the frontier, where no arm has both less coupling to depth and more of the tissue "
        "(coupling → kept, medians):\n\n"
        + "\n".join(lines)
        + "\n\nMedians that differ by a hundredth or two are alike."
    )


def answer(
    kept: pd.DataFrame,
    coupling: pd.DataFrame,
    measures: Sequence[str],
    patients: Mapping[str, str],
    simulated: bool,
) -> str:
    """Medians of each measure, and of the coupling to depth of the same sections, at each of STEPS (Markdown).

    First by which of the measures the residual keeps more than the log, section against the same section.
    """
    if not measures:
        return "With neither regions nor proportions of cell types this cohort cannot say."
    lines = []
    for measure in measures:
        sections = of_target(kept, measure, STEPS["log"]).index
        own = coupling[coupling["section"].isin(sections)]
        words = [_kept_at(step, of_target(kept, measure, arm), own) for step, arm in STEPS.items()]
        lines.append(f"- {MEASURES[measure]}, {of_patients(sections, patients)}: {', '.join(words)}.")
    own = coupling[coupling["section"].isin(kept["section"])]
    return (
        f"{residual_against_log(kept, measures, patients, simulated)}\n\nThey have {_couplings(own, patients)}.\n\n"
        "Kept of the tissue, and coupling to depth, medians; chance is that of turned maps, the null of the coupling "
        "that of maps as smooth:\n\n" + "\n".join(lines)
    )


def residual_against_log(
    kept: pd.DataFrame, measures: Sequence[str], patients: Mapping[str, str], simulated: bool
) -> str:
    """By which measures the residual keeps more than the log, or less, or cannot be told from it (Markdown).

    Section against the same section, as a difference of two medians may be of two sections; tested over patients.
    """
    lines, sides = [], {"more": 0, "less": 0, "untold": 0}
    for measure in measures:
        change, tested = paired_change(kept, measure, "log", "Pearson residual", patients)
        p, sections = tested["wilcoxon_p_two_sided"], counted(len(change), "sections")
        side = "untold" if not p <= LEVEL else "more" if tested["median"] > 0 else "less"
        sides[side] += 1
        source = ", estimated from the same counts" if measure == "composition" and not simulated else ""
        test = f"p = {p:.2g} over patients" if np.isfinite(p) else "too few patients for a test"
        lines.append(
            f"- {MEASURES[measure].partition(',')[0]}{source}: median change {change.median():+.3f}, higher in "
            f"{(change > 0).sum()} of {sections}; {test}"
        )
    return (
        f"Of {counted(len(measures), 'measures')} of the tissue the Pearson residual keeps more than the log by "
        f"{sides['more']}, less by {sides['less']}, and cannot be told from it by {sides['untold']}, which does not "
        f"show them alike (signed-rank test over patients at p ≤ {LEVEL}, not corrected for their number). "
        "Residual less log of the same section:\n\n" + ";\n".join(lines) + "."
    )


def _kept_at(step: str, part: pd.DataFrame, coupling: pd.DataFrame) -> str:
    """What a step keeps beside chance, with the coupling to depth of the same sections, in words."""
    rho, null = coupling.loc[is_of(coupling, STEPS[step]), ["median_rho_depth", "chance_rho_depth"]].median()
    above = (part["value"] > part["chance_95"]).sum()
    return (
        f"{step} **{part['value'].median():.2f}** (95 % point of chance {part['chance_95'].median():.2f}, above it in "
        f"{above}; coupling {rho:.2f}, mean of its null {null:.2f})"
    )


def _couplings(coupling: pd.DataFrame, patients: Mapping[str, str]) -> str:
    """The coupling to depth of log and residual, medians over sections, each with the mean of its null."""
    ends = ((step, coupling[is_of(coupling, STEPS[step])]) for step in ("log", "Pearson residual"))
    parts = [
        f"{part['median_rho_depth'].median():.2f} as {step} (mean of its null {part['chance_rho_depth'].median():.2f})"
        for step, part in ends
    ]
    return f"a coupling to depth of {' and '.join(parts)}, medians over {of_patients(coupling['section'], patients)}"


def single_numbers_sentence(kept: pd.DataFrame, measures: Sequence[str], most: int = 8) -> str:
    """What depth alone and nuclei alone know by each measure, and in which sections above chance (Markdown)."""
    lines = []
    for what in SINGLE_NUMBERS:
        for measure in measures:
            part = of_target(kept, measure, (ALONE, what))
            if part.empty:
                continue
            above = list(part.index[part["value"] > part["chance_95"]])
            names = f": {', '.join(above[:most])}{' and others' * (len(above) > most)}" if above else ""
            lines.append(
                f"- {what} alone, {MEASURES[measure]}: median {part['value'].median():.2f}, mean of its null "
                f"{part['chance'].median():.2f}; above 95 % of chance in {len(above)} of "
                f"{counted(len(part), 'sections')}{names}."
            )
    return "\n".join(lines) or NOTHING


def dividing_sentence(by_section: pd.DataFrame) -> str:
    """In which sections dividing by depth raises or lowers separation, and whether depth itself tells (Markdown).

    Takes what `separation_by_section` returns.
    """
    if by_section.empty:
        return "No section of this cohort has regions."
    change = (by_section["log ÷ all counts"] - by_section["log"]).sort_values()
    raised, lowered = change.index[change > FAR_MORE], change.index[change < -FAR_MORE]
    r = change.corr(by_section["depth alone"] - by_section["chance"], method="spearman")
    follows = (
        f"Rank correlation, over sections, of the change with what depth alone knows above chance: {r:.2f}; "
        "it would be below zero if dividing cost most where depth itself tells the regions."
        if len(change) >= MIN_SECTIONS
        else "Too few sections to say where dividing costs most."
    )
    return (
        f"Separation of regions by section. Dividing by depth raises it by more than {FAR_MORE} in {len(raised)} of "
        f"{counted(len(change), 'sections')} ({', '.join(raised) or 'none'}), lowers it by more than {FAR_MORE} in "
        f"{len(lowered)} ({', '.join(lowered) or 'none'}). {follows}"
    )
