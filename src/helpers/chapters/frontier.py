"""Bias against biology: what each arm keeps of the tissue, set against its coupling to depth and to nuclei.

`kept` is what `kept_biology.kept_table` returns, `coupling` the table of the factorial with one row a section and arm,
`both` what `beside_coupling` makes of them.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.chapters.factorial import GROUP, KEYS, WALK, arm_name
from helpers.chapters.kept_biology import ALONE, MEASURES, SINGLE_NUMBERS, is_of, of_target
from helpers.chapters.published_methods import RHO
from helpers.labels import counted, of_cells, of_patients
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
    """Separation of regions at each step and by depth alone, the mean of its null and median depth, by section."""
    targets = STEPS | {"depth alone": (ALONE, "depth")}
    values = {name: of_target(kept, "separation", target)["value"] for name, target in targets.items()}
    table = pd.DataFrame(values).sort_index()
    table["mean of the null"] = of_target(kept, "separation", STEPS["log"])["chance"]
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
    with_nuclei: Collection[str],
) -> str:
    """Whether the residual keeps more or less than the logs, then medians of each measure and coupling (Markdown).

    `with_nuclei` are the sections whose nuclei are known.
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
    said = " ".join(filter(None, (verdict(kept, measures, patients, simulated), both_known(kept, with_nuclei))))
    return (
        f"{said} Residual less log, and less log ÷ all counts (to ranks CP10k), of the same section, medians:\n\n"
        f"{residual_against_logs(kept, measures, patients, simulated)}\n\n{_couplings(own, patients)}\n\n"
        "Kept of the tissue, and coupling to depth, medians; chance is the 95 % point of turned maps, the null of the "
        "coupling that of maps as smooth:\n\n" + "\n".join(lines)
    )


def verdict(kept: pd.DataFrame, measures: Sequence[str], patients: Mapping[str, str], simulated: bool) -> str:
    """By which measures of independent evidence the residual keeps more or less than the log (Markdown).

    Tested over patients, p times the number of all `measures`, as all of them are tried.
    """
    evidence = [measure for measure in measures if not _dependent(measure, simulated)]
    if not evidence:
        return "**This cohort cannot say**: only shares of cell types are known, estimated from the same counts."
    sections = of_target(kept, evidence[0], STEPS["log"]).index
    tested = {measure: paired_change(kept, measure, "log", "Pearson residual", patients)[1] for measure in evidence}
    told = {measure: row for measure, row in tested.items() if row["wilcoxon_p_two_sided"] * len(measures) <= LEVEL}
    sides = {"more": [], "less": []}
    for measure, row in told.items():
        sides["more" if row["median"] > 0 else "less"].append(_short(measure))
    by = " and ".join(f"{side} than the log by {', '.join(names)}" for side, names in sides.items() if names)
    tried = counted(len(evidence), "measures") + ("" if simulated else " of regions that a pathologist drew")
    if by:
        first = f"**The Pearson residual keeps {by}**, of {tried}"
    elif np.isfinite([row["wilcoxon_p_two_sided"] for row in tested.values()]).any():
        first = (
            "**No loss of tissue is shown, and none is excluded**: the Pearson residual is not shown to differ from "
        )
        first += f"the log in any of {tried}"
    else:
        first = f"**Too few patients for a test**, by {tried}"
    test = f"signed-rank test over patients, p corrected, times {len(measures)} measures"
    return f"{first} ({of_patients(sections, patients)}; {test})."


def both_known(kept: pd.DataFrame, with_nuclei: Collection[str]) -> str:
    """Whether regions and nuclei are known of the same sections; "" where they are, or where no region is."""
    of_regions = set(kept.loc[kept["measure"] == "separation", "section"])
    if not of_regions - set(with_nuclei):
        return ""
    both = len(of_regions & set(with_nuclei))
    return of_cells(
        f"Nuclei are counted in {both or 'none'} of the {counted(len(of_regions), 'sections')} with regions: what "
        f"forgetting them costs is not seen{' in the others' * bool(both)}."
    )


def residual_against_logs(
    kept: pd.DataFrame, measures: Sequence[str], patients: Mapping[str, str], simulated: bool
) -> str:
    """What the residual keeps more or less than the log, and than the log of divided counts, by measure (Markdown).

    Section against the same section, as a difference of two medians may be of two sections.
    """
    lines = []
    for measure in measures:
        source = ", estimated from the same counts, no evidence" * _dependent(measure, simulated)
        found = []
        for log in ("log", "log ÷ all counts"):
            change, tested = paired_change(kept, measure, log, "Pearson residual", patients)
            p = tested["wilcoxon_p_two_sided"]
            test = f"p = {p:.2g}" if np.isfinite(p) else "too few patients for a test"
            test += f", corrected {min(1, len(measures) * p):.2g}" * (p <= LEVEL)
            higher = f"higher in {(change > 0).sum()} of {counted(len(change), 'sections')}"
            found.append(f"**{change.median():+z.3f}** against {log} ({higher}; {test})")
        lines.append(f"- {_short(measure)}{source}: {', '.join(found)}")
    return ";\n".join(lines) + "."


def _dependent(measure: str, simulated: bool) -> bool:
    """Whether a measure rests on the counts that made the targets."""
    return measure == "composition" and not simulated


def _short(measure: str) -> str:
    return MEASURES[measure].partition(",")[0]


def _kept_at(step: str, part: pd.DataFrame, coupling: pd.DataFrame) -> str:
    """What a step keeps beside chance, with the coupling to depth of the same sections, in words."""
    rho, null = coupling.loc[is_of(coupling, STEPS[step]), ["median_rho_depth", "chance_rho_depth"]].median()
    above = (part["value"] > part["chance_95"]).sum()
    return (
        f"{step} **{part['value'].median():.2f}** (chance {part['chance_95'].median():.2f}, above it in "
        f"{above}; coupling {rho:.2f}, mean of its null {null:.2f})"
    )


def _couplings(coupling: pd.DataFrame, patients: Mapping[str, str]) -> str:
    """The coupling to depth of log and residual, medians over sections, each with the mean of its null."""
    ends = ((step, coupling[is_of(coupling, STEPS[step])]) for step in ("log", "Pearson residual"))
    parts = [
        f"{part['median_rho_depth'].median():.2f} as {step} (mean of its null {part['chance_rho_depth'].median():.2f})"
        for step, part in ends
    ]
    return f"Coupling to depth is {' and '.join(parts)}, medians over {of_patients(coupling['section'], patients)}."


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
                f"{part['chance'].median():.2f}; above chance in {len(above)} of "
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
    r = change.corr(by_section["depth alone"] - by_section["mean of the null"], method="spearman")
    follows = (
        f"Rank correlation, over sections, of the change with what depth alone knows above the mean of its null: "
        f"{r:.2f}; it would be below zero if dividing cost most where depth itself tells the regions."
        if len(change) >= MIN_SECTIONS
        else "Too few sections to say where dividing costs most."
    )
    return (
        f"Separation of regions by section. Dividing by depth raises it by more than {FAR_MORE} in {len(raised)} of "
        f"{counted(len(change), 'sections')} ({', '.join(raised) or 'none'}), lowers it by more than {FAR_MORE} in "
        f"{len(lowered)} ({', '.join(lowered) or 'none'}). {follows}"
    )
