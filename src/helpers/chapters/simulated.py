"""Simulated sections in memory, for where a chapter needs a known answer: eight patients, two sections of each."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.cohort import simulate
from helpers.schema import COUNTS, LATTICE, SPATIAL, SPOT_PITCH_UM
from helpers.targets import normalization
from helpers.targets.panel import choose_panel, gene_statistics

DEPTHS = dict(zip("ABCDEFGH", (9000, 3000, 650, 5000, 1500, 7000, 2000, 4000), strict=True))  # of patients, median UMI
MPP = simulate.Design().mpp  # um per pixel


def measured_places(spots: pd.DataFrame) -> np.ndarray:
    """Where spots were found, in lattice steps, as the files say: spots x 2, with their jitter."""
    return spots[["new_x", "new_y"]].to_numpy()


def array_places(spots: pd.DataFrame) -> np.ndarray:
    """Where spots lie on the array, in whole lattice steps from a corner that all sections share: spots x 2."""
    corner = spots[["x", "y"]] - spots[["pixel_x", "pixel_y"]].to_numpy() * MPP / SPOT_PITCH_UM
    return spots[["x", "y"]].to_numpy() - np.rint(corner.median()).to_numpy()


def section(
    name: str,
    depth: float,
    profiles: pd.DataFrame,
    coupling: float = 1.0,
    places: Callable[[pd.DataFrame], np.ndarray] = measured_places,
) -> AnnData:
    """A section of `simulate.section` as one that was read: all counts, true nuclei, totals and places.

    `depth` is the median UMI of a spot, `profiles` comes from `simulate.gene_profiles`, `coupling` says whether depth
    follows nuclei (1) or not (0); the patient is the name's first letter.
    """
    made = simulate.section(name, depth, profiles, coupling=coupling, mpp=MPP, image=False)
    spots, counts = made["spots"], csr_matrix(made["counts"].to_numpy(float))
    obs = pd.DataFrame({"patient": name[0], "n_nuclei": made["truth"]["n_nuclei_true"]}, index=spots.index)
    out = AnnData(obs=obs, var=made["counts"].columns.to_frame()[[]], layers={COUNTS: counts})
    out.obs["total_counts"] = normalization.summed_counts(out)
    out.obsm[LATTICE] = places(spots)
    out.obsm[SPATIAL] = out.obsm[LATTICE] * SPOT_PITCH_UM  # pixels of 1 um: these sections have no image
    out.uns["section"] = name
    return out


def with_targets(section: AnnData, panel: Sequence[str], targets: Sequence[str]) -> AnnData:
    """The genes of a panel with a layer for each target, which library sizes and shares of all genes enter."""
    made = {target: normalization.target(section, target, panel) for target in targets}
    out = section[:, list(panel)].copy()
    out.layers.update(made)
    return out


def cohorts(
    targets: Sequence[str],
    couplings: Sequence[float] = (1.0, 0.0),
    n_genes: int = 400,
    panel_size: int = 100,
    depths: dict[str, float] = DEPTHS,
) -> dict[float, dict[str, AnnData]]:
    """By coupling of depth to nuclei, two sections of each patient with their targets, by name.

    Tissue and composition are the same under every coupling; the panel is chosen under the first.
    """
    profiles = simulate.gene_profiles(n_genes)
    named = {f"{patient}{i}": depth for patient, depth in depths.items() for i in (1, 2)}
    counted: dict[float, dict[str, AnnData]] = {c: {} for c in couplings}
    for (name, depth), c in product(named.items(), couplings):  # one section after the other: its tissue is kept
        counted[c][name] = section(name, depth, profiles, c, array_places)
    statistics = {name: gene_statistics(made) for name, made in counted[couplings[0]].items()}
    panel = choose_panel(statistics, panel_size)
    return {c: {name: with_targets(made, panel, targets) for name, made in part.items()} for c, part in counted.items()}
