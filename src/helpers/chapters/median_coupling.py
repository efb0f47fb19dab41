"""How closely targets follow nuclei, over sections: the median gene, and the share of genes that do."""

from collections.abc import Mapping

import pandas as pd

from helpers.labels import label, of_patients
from helpers.scores import coupling


def answer(summary: pd.DataFrame, chances: pd.DataFrame, what: str, metric: str, patients: Mapping[str, str]) -> str:
    """`what` with its null per target, as medians over sections, and the sections above their own null (Markdown).

    `summary` is that of `coupling.section_summary` with `chances`, its `coupling.chance_table`; `metric` is one of
    `coupling.METRICS`; `patients` names that of each section. A section without the value is left out.
    """
    summary = summary.dropna(subset=metric)
    null = chances[(chances["section"] == coupling.MEDIAN) & (chances["metric"] == metric)].set_index("target")
    targets = []
    for target, part in summary.groupby("target", sort=False):
        above, chance = (part[metric] > part[f"chance_95_{metric}"]).sum(), null.loc[target, "chance_95"]
        targets.append(f"{label(target)} **{part[metric].median():.2f}** ({chance:.2f}; {above} of {len(part)})")
    if not targets:
        return f"{what} is known of no section."
    sections = of_patients(summary["section"], patients)
    return f"{what}, median over {sections} (95 % point of chance; sections above their own): {', '.join(targets)}."


def by_section(summary: pd.DataFrame, value: str) -> pd.DataFrame:
    """One value of the summary as sections x targets, both in the order of the summary's targets and by name."""
    targets = list(dict.fromkeys(summary["target"]))
    return summary.pivot(index="section", columns="target", values=value)[targets]
