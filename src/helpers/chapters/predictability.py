"""How predictable genes are beside their ceiling and the floor of nuclei."""

from collections.abc import Mapping, Sequence

import pandas as pd

from helpers.labels import label, of_patients
from helpers.models import backbones
from helpers.targets.normalization import TARGETS

MODELS = backbones.MODELS


def trained(table: pd.DataFrame) -> list[str]:
    """The models among the backbones of a table, which are those that are no floors, in the order of all pages."""
    return [backbone for backbone in MODELS if backbone in set(table["backbone"])]


def beside_ceiling_and_floor(top: pd.DataFrame, k: int) -> pd.DataFrame:
    """PCC-k of each backbone and target, medians over sections: with its ceiling, and what it has beyond nuclei alone.

    `top` is that of `top_genes.top_genes` with one ranking. Indexed by backbone and target; columns pcc, ceiling,
    reached (the part of the ceiling) and excess over nuclei (NaN where that floor was not fitted), both taken section
    by section.
    """
    at_k = top.loc[top["k"] == k, ["backbone", "target", "section", "pcc", "ceiling"]]
    floor = at_k[at_k["backbone"] == "nuclei"].set_index(["target", "section"])["pcc"]
    of_nuclei = floor.reindex(pd.MultiIndex.from_frame(at_k[["target", "section"]])).to_numpy()
    at_k = at_k.assign(reached=at_k["pcc"] / at_k["ceiling"], **{"excess over nuclei": at_k["pcc"] - of_nuclei})
    return at_k.groupby(["backbone", "target"], sort=False).median(numeric_only=True)


def answer(top: pd.DataFrame, k: int, models: Sequence[str], split: str, patients: Mapping[str, str]) -> str:
    """PCC-k of each target: of the models, with the part of the ceiling that they reach, and of nuclei alone.

    Medians over held-out sections; takes what `beside_ceiling_and_floor` does, and the patient of
    each section.
    """
    at_k, listed = beside_ceiling_and_floor(top, k), []
    for target in (target for target in TARGETS if target in set(top["target"])):
        known = at_k.xs(target, level="target")
        scores = [
            f"`{model}` **{known.loc[model, 'pcc']:z.2f}** ({known.loc[model, 'reached']:z.0%} of its ceiling)"
            for model in models
            if model in known.index
        ]
        scores += [f"{label('nuclei')} {known.loc['nuclei', 'pcc']:z.2f}"] if "nuclei" in known.index else []
        listed.append(f"{label(target)}: {', '.join(scores)}")
    return (
        f"PCC-{k} with one {split} held out, medians over {of_patients(top['section'], patients)}. "
        f"{'. '.join(listed)}. A ceiling supposes Poisson counts, and is too high where genes vary more "
        "([page 27](27_known_truth.ipynb)). Chance stands on [page 23](23_inference.ipynb), more floors on "
        "[page 19](19_floors.ipynb)."
    )
