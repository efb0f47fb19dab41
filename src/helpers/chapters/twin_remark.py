"""The remark that stands wherever scores are shown: which of them need no biology."""

import pandas as pd

from helpers.labels import label


def twin_remark(skill: pd.DataFrame) -> str:
    """Which backbones show skill, in which targets, also on counts in which only depth varies (Markdown).

    `skill` is what `predictability.twin_skill` returns.
    """
    raised = skill[skill["flagged"]]
    if raised.empty:
        return "No score shows skill in most sections where only depth varies ([controls](09_controls.ipynb))."
    by_backbone = raised.assign(name=raised["target"].map(label)).groupby("backbone", sort=False)["name"]
    listed = "; ".join(f"`{backbone}` in {', '.join(names)}" for backbone, names in by_backbone)
    return (
        ":::{note}\n⚑ Scores that show skill also on counts in which only depth varies, in more than half of the "
        f"sections: {listed}. Such a score alone is no evidence of biology ([controls](09_controls.ipynb)).\n:::"
    )
