"""Whether the best-predicted genes are the ones that follow nuclei."""

from collections.abc import Mapping, Sequence

import pandas as pd

from helpers.labels import label, of_patients
from helpers.scores.top_genes import KS
from helpers.targets.normalization import TARGETS

K = 50  # of which the answer speaks, or the most that the panel has


def answer(top: pd.DataFrame, associations: pd.DataFrame, models: Sequence[str], patients: Mapping[str, str]) -> str:
    """|rho| with nuclei of the best-predicted genes, beside that of all genes and chance; medians over sections.

    `top` is that of `top_genes.top_genes`, each section's genes ranked on itself; means over genes;
    `patients` names the patient of each section.
    """
    k = max(k for k in KS if k <= K and k in set(top["k"]))
    best = top[(top["k"] == k) & (top["ranking"] == "same") & top["backbone"].isin(models)]
    rho = associations.assign(abs_rho=associations["rho_nuclei"].abs()).groupby(["target", "section"])["abs_rho"].mean()
    lines = []
    for target in (target for target in TARGETS if target in set(best["target"])):
        of_target = best[best["target"] == target].set_index("backbone")
        medians = of_target.groupby(level=0)[["abs_rho", "chance"]].median()
        values = (
            f"`{model}` **{medians.loc[model, 'abs_rho']:.2f}** ({medians.loc[model, 'chance']:.2f})"
            for model in models
            if model in medians.index
        )
        every = rho[target].reindex(of_target["section"].unique()).median()
        lines.append(f"{label(target)}: {', '.join(values)} against {every:.2f} of all genes")
    return (
        f"Mean |rho(target, nuclei)| of the {k} genes that a model predicts best, medians over "
        f"{of_patients(best['section'], patients)}. {'. '.join(lines)}. In brackets "
        "the mean of the null: the same genes against randomized maps."
    )
