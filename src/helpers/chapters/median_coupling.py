"""How closely targets follow nuclei, over sections: the median gene, and the share of genes that do."""

import pandas as pd

from helpers.labels import counted, label
from helpers.scores import coupling


def remark(summary: pd.DataFrame, chances: pd.DataFrame, what: str, metric: str) -> str:
    """`what` with its null per target, as medians over sections (Markdown, one sentence).

    `summary` is that of `coupling.section_summary` and `chances` its `coupling.chance_table`; `metric` is one of
    `coupling.METRICS`. A section without the value is left out.
    """
    summary = summary.dropna(subset=metric)
    medians = summary.groupby("target", sort=False)[metric].median()
    null = chances[(chances["section"] == coupling.MEDIAN) & (chances["metric"] == metric)].set_index("target")
    targets = (
        f"**{value:.2f}** for {label(target)} (null: mean {null.loc[target, 'chance']:.2f}, 95 % point "
        f"{null.loc[target, 'chance_95']:.2f})"
        for target, value in medians.items()
    )
    sections = counted(summary["section"].nunique(), "sections")
    return f"{what}, as a median over {sections}: {'; '.join(targets) or 'none is known'}."


def by_section(summary: pd.DataFrame, value: str) -> pd.DataFrame:
    """One value of the summary as sections x targets, both in the order of the summary's targets and by name."""
    targets = list(dict.fromkeys(summary["target"]))
    return summary.pivot(index="section", columns="target", values=value)[targets]
