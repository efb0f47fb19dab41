"""How closely targets follow nuclei, over sections: the median gene, and the share of genes that do."""

import pandas as pd

from helpers.labels import counted, label


def remark(summary: pd.DataFrame, what: str, value: str, chance: str) -> str:
    """`what` with its chance level per target, as medians over sections (Markdown, one sentence).

    `summary` is that of `coupling.section_summary`; `value` and `chance` are its columns. A section without the value
    is left out.
    """
    summary = summary.dropna(subset=value)
    medians = summary.groupby("target", sort=False)[[value, chance]].median()
    targets = (
        f"**{row[value]:.2f}** for {label(target)} (chance {row[chance]:.2f})" for target, row in medians.iterrows()
    )
    sections = counted(summary["section"].nunique(), "sections")
    return f"{what}, as a median over {sections}: {'; '.join(targets) or 'none is known'}."


def by_section(summary: pd.DataFrame, value: str) -> pd.DataFrame:
    """One value of the summary as sections x targets, both in the order of the summary's targets and by name."""
    targets = list(dict.fromkeys(summary["target"]))
    return summary.pivot(index="section", columns="target", values=value)[targets]
