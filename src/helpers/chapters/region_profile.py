"""Where cellularity, depth and targets are high: the regions that a pathologist drew, side by side.

Everything is a rank within the section, from 0 to 1, so that cells, molecules and targets stand on one axis.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.stats import rankdata

from helpers.labels import counted, label, of_cells
from helpers.schema import covariates
from helpers.targets import normalization

CALLED = {"nuclei": "nuclei per spot", "depth": "total counts"}


def profile(section: AnnData, regions: pd.Series, panel: Sequence[str], targets: Sequence[str]) -> pd.DataFrame:
    """Ranks of the spots of one section, a row for each spot and quantity: region, what and value.

    Quantities are CALLED (nuclei where cellularity is known), and of each target the mean over the panel's genes of a
    spot's rank. `regions` names the region of those spots that have one.
    """
    known = covariates(section)
    numbers = {called: known[name] for name, called in CALLED.items() if name in known}
    for target in targets:
        ranks = rankdata(normalization.get(target)(section, panel), axis=0)
        numbers[target] = ranks.mean(axis=1)
    places = section.obs_names.get_indexer(regions.index)
    tables = [
        pd.DataFrame({"region": regions.to_numpy(), "what": name, "value": _share(values)[places]})
        for name, values in numbers.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _share(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, the lowest, to 1."""
    return (rankdata(values) - 1) / max(1, len(values) - 1)


def shown(example: str, regions: Mapping[str, pd.Series]) -> str:
    """The section to show: the example where its regions are known, else the first that has some; "" for none."""
    return example if example in regions else next(iter(regions), "")


def sentence(table: pd.DataFrame, name: str) -> str:
    """Which region has the most of each quantity, in the median (Markdown); whether the densest is the deepest."""
    median = table.groupby(["what", "region"], sort=False)["value"].median().unstack("region")
    highest = median.idxmax(axis=1)
    listed = "; ".join(f"{label(what)}: {region}" for what, region in highest.items())
    n = counted(table["region"].nunique(), "regions")
    if CALLED["nuclei"] not in highest:
        return f"Highest of {n} of {name}, in the median of spots: {listed}."
    dense, deep = (highest[called] for called in CALLED.values())
    ends = "is also the deepest" if dense == deep else f"is not the deepest, which is {deep}"
    return of_cells(f"In {name} the region of most nuclei, {dense}, {ends}. Highest of {n}: {listed}.")
