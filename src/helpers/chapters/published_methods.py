"""Where the targets of published methods lie: their coupling to depth and nuclei, and what they keep of the tissue.

`coupling` has one row a section and target: section, size_factor, transform and median |rho| over genes with depth and
nuclei; `kept` is what `kept_biology.kept_table` returns.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.chapters.factorial import KEYS, Arm, arm_name
from helpers.chapters.kept_biology import CODED, MEASURES, SINGLE_NUMBERS, of_target, published_targets
from helpers.columns import spearman
from helpers.labels import SIZE_FACTORS
from helpers.schema import covariates

RHO = [f"median_rho_{what}" for what in SINGLE_NUMBERS]


def published_coupling(sections: Mapping[str, AnnData], panels: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Coupling of `published_targets` in every section, median |rho| over genes; columns as those of `coupling`."""
    rows = []
    for name, section in sections.items():
        for method, values in published_targets(section, panels[name]).items():
            row = {"section": name, "size_factor": CODED, "transform": method}
            for what, covariate in covariates(section).items():
                rho = spearman(values, covariate)
                row[f"median_rho_{what}"] = np.nanmedian(np.abs(rho))
            rows.append(row)
    return pd.DataFrame(rows)


def placed_methods(
    published: pd.DataFrame, coupling: pd.DataFrame, kept: pd.DataFrame, stands_for: Mapping[Arm, Arm]
) -> pd.DataFrame:
    """Published methods with medians, over sections, of the coupling of their target and of each measure.

    `published` has method, size_factor, transform and match; `coupling` has published targets besides arms. A method
    stands at its own target where that is computed (match: as coded), else at the arm that stands for its arm.
    """
    of_coupling = coupling.groupby(KEYS[1:])[RHO].median()
    of_tissue = kept.groupby(["measure", *KEYS[1:]])["value"].median().unstack("measure")
    placed = pd.concat([of_coupling, of_tissue.reindex(columns=list(MEASURES))], axis=1)
    computed = published["method"].isin(coupling.loc[coupling["size_factor"] == CODED, "transform"])
    at = [
        (CODED, row.method) if is_own else stands_for.get((row.size_factor, row.transform), ("", ""))
        for row, is_own in zip(published.itertuples(), computed, strict=True)
    ]
    published = published.assign(match=published["match"].mask(computed, CODED))
    return pd.concat([published, placed.reindex(at).reset_index(drop=True)], axis=1)


def methods_table(peers: pd.DataFrame) -> pd.DataFrame:
    """The methods of `placed_methods` that were read again, as they are shown; a column that none fills is left out."""
    shown = peers[peers["status"] != "not re-read"]
    placed = zip(shown["size_factor"], shown["transform"], shown["match"], strict=True)
    named = [
        f"{arm_name((size, transform))}, {match}" if isinstance(size, str) else "" for size, transform, match in placed
    ]
    columns = {
        "method": "method",
        "target": "target",
        "library": "library size over",
        "split": "held out",
        "arm": "arm",
    }
    columns |= {"median_rho_depth": "|ρ depth|", "separation": "separation"}
    return shown.assign(arm=named)[list(columns)].dropna(axis=1, how="all").rename(columns=columns)


def sources_table(peers: pd.DataFrame) -> pd.DataFrame:
    """Where the target of each method that was read again is written: method, status, read in."""
    shown = peers[peers["status"] != "not re-read"]
    places = [f"{row.repository} at {row.commit[:10]}: {row.file}, line {row.line}" for row in shown.itertuples()]
    return shown.assign(**{"read in": places})[["method", "status", "read in"]]


def methods_sentence(peers: pd.DataFrame) -> str:
    """What methods divide by, and which of them were read elsewhere or not again; of `placed_methods` (Markdown)."""
    factors = peers["size_factor"].fillna("own").map(SIZE_FACTORS | {"own": "each method's own"}).value_counts()
    copies, unread = (list(peers.loc[peers["status"] == status, "method"]) for status in ("copy", "not re-read"))
    parts = [
        "Medians on this cohort, with its panel: coupling over all sections, the rest over those that have regions or "
        f"proportions. Of {len(peers)} methods and benchmarks: "
        f"{', '.join(f'{name} {n}' for name, n in factors.items())}."
    ]
    if copies:
        parts.append(f"Read in a copy or a fork, as the method's own repository was not at hand: {', '.join(copies)}.")
    if unread:
        parts.append(f"Not re-read, and left out: {', '.join(unread)}.")
    return " ".join([*parts, "{download}`The table, with a note on each <results/peers.csv>`."])


def published_sentence(coupling: pd.DataFrame, kept: pd.DataFrame) -> str:
    """What adding one before dividing does to coupling, and averaging over spots to separation (Markdown)."""
    rho = coupling.groupby(KEYS[1:])["median_rho_depth"].median()
    why = ": a gene that was not seen falls as depth rises" if rho[CODED, "ST-Net"] > rho["total", "log"] else ""
    added = (
        f"With one added to every gene before the division, as in ST-Net, coupling to depth is "
        f"**{rho[CODED, 'ST-Net']:.2f}**, against {rho['total', 'log']:.2f} for the log divided by all counts"
        f"{why}. "
    )
    if "separation" not in set(kept["measure"]):
        return added
    parts = (of_target(kept, "separation", target) for target in (("panel_total", "log"), (CODED, "TRIPLEX")))
    before, after = (
        f"**{part['value'].median():.2f}** (mean of the null {part['chance'].median():.2f})" for part in parts
    )
    return added + (
        f"Averaging over 3 x 3 spots takes separation of regions from {before} to {after}: "
        "such a mean keeps what is wider than itself and loses what is finer."
    )
