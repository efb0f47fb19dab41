"""How well nuclei are counted: against annotated tiles, and where a cohort's own tissue makes it hard.

A table of scores has a row per tile and back end: tile, KEYS, mpp, n_true, n_found and SCORES.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.stats import bootstrap

from helpers import store
from helpers.cohort import images
from helpers.labels import counted, span
from helpers.schema import SPATIAL
from helpers.tissue import classical, haematoxylin, tiles

SCORES = {  # what each is called
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "count_error": "count error",
    "count_rho": "count correlation",
}
SHOWN = ("f1", "count_error", "count_rho")
KEYS = ["back_end", "chosen_on"]
COLUMNS = ["tile", *KEYS, "mpp", "n_true", "n_found", *SCORES]
OTHERS, ALL = "other tiles", "all tiles"  # on which the settings were chosen
BREAST = ("TCGA-A7", "TCGA-AR", "TCGA-E2")  # sites of the tiles that are of breast
TILE_MPP = 0.688  # um per pixel of most of the breast cohort's images
AROUND = 1.6  # width of what is shown of a place, in spots

Tiles = Mapping[str, tuple[np.ndarray, np.ndarray]]


# Annotated tiles ------------------------------------------------------------------------------------------------


def tile_scores(folder: str | Path | None, committed: str | Path, mpp: float = TILE_MPP) -> pd.DataFrame:
    """The table of scores: of the tiles in a folder, at `mpp` um per pixel, or without one the committed table."""
    if folder is None:
        return store.read_table(committed, COLUMNS)[COLUMNS]
    return score_tiles(tiles.annotated_tiles(folder, mpp), mpp)


def score_tiles(annotated: Tiles, mpp: float) -> pd.DataFrame:
    """Scores of the classical back end on tiles (image, true centres), settings chosen on the others, and on all."""
    others = tiles.leave_one_tile_out(annotated, mpp).assign(chosen_on=OTHERS)
    rows = []
    for name, (image, true) in annotated.items():
        found = classical.detect(image, mpp)
        rows.append({"tile": name, "chosen_on": ALL} | tiles.accuracy(found, true, image.shape[1], mpp))
    scored = pd.concat([others, pd.DataFrame(rows)], ignore_index=True)
    return scored.assign(back_end="classical", mpp=mpp)[COLUMNS]


def describe_source(scored_here: bool) -> str:
    """Where the scores of the tiles come from."""
    if scored_here:
        source = "The tiles were scored while this page was made."
    else:
        source = (
            "The tiles' licence (CC BY-NC-SA) keeps them out of this project: the scores are those that the project "
            "computed and committed with their provenance. With the tiles in a folder, `MONUSEG_ROOT=<folder>` scores "
            "them anew."
        )
    return f"{source} {{download}}`The table <results/counting_accuracy.csv>` has a row per tile."


def interval(values: pd.Series) -> str:
    """Mean over tiles with its 95 % bootstrap interval; without one for fewer than two tiles."""
    if len(values) < 2:
        return f"{values.mean():.3f}"
    drawn = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return f"{values.mean():.3f} ({drawn.low:.3f} to {drawn.high:.3f})"


def summarize(scored: pd.DataFrame) -> pd.DataFrame:
    """Means over tiles with their intervals, a row per back end and way to choose settings, as they are shown."""
    table = scored.groupby(KEYS, sort=False)[list(SCORES)].agg(interval)
    return table.rename(columns=SCORES).reset_index().rename(columns=lambda name: name.replace("_", " "))


def on_unseen(scored: pd.DataFrame) -> pd.DataFrame:
    """The scores that settings chosen on the tile itself cannot flatter."""
    return scored[scored["chosen_on"] != ALL]


def answer(scored: pd.DataFrame) -> str:
    """How far the classical back end's count is off on annotated tiles, settings chosen on the others.

    Means over tiles, with the range, and whose tiles they are (`describe_tiles`).
    """
    unseen = on_unseen(scored)
    own = unseen[unseen["back_end"] == "classical"]
    bias, f1, rho = own["n_found"] / own["n_true"] - 1, own["f1"], own["count_rho"]
    return (
        f"On {counted(len(own), 'tiles')} whose nuclei were all outlined by hand ({describe_tiles(own)}) the number of "
        f"nuclear outlines is off by **{own['count_error'].mean():.0%}** in the mean (by tile "
        f"{span(bias.min(), bias.max(), '+.0%')}), with an F1 of **{f1.mean():.2f}** ({span(f1.min(), f1.max())}); in "
        f"discs of 100 µm it follows the true one with a rho of **{rho.mean():.2f}** ({span(rho.min(), rho.max())}). "
        "As the truth is known, no null is drawn."
    )


def describe_tiles(own: pd.DataFrame) -> str:
    """Patients, breast and frozen sections among tiles named by TCGA barcodes; takes the rows of one back end.

    A barcode has the site (TCGA-E2), the patient (TCGA-E2-A1B5) and the slide, TS, BS or MS where it was frozen.
    """
    names = own["tile"].astype(str)
    breast, frozen = names.str[:7].isin(BREAST), names.str.contains(r"-[TBM]S\w?$")
    said = [f"of {counted(names.str[:12].nunique(), 'patients')}, none of this cohort", f"{breast.sum()} of breast"]
    said.append(f"{frozen.sum()} of a frozen section")
    if frozen.sum() == 1 and frozen[own["f1"].idxmin()]:
        said[-1] += ", which has the lowest F1"
    return ", ".join(said)


def worst_tile(scored: pd.DataFrame) -> pd.Series:
    """The row of the tile on which the classical back end has the lowest F1, its settings chosen on the others."""
    unseen = on_unseen(scored)
    own = unseen[unseen["back_end"] == "classical"]
    return own.loc[own["f1"].idxmin()]


def describe_bias(scored: pd.DataFrame) -> str:
    """On how many tiles the classical back end counts too low or too high, and what that means for a section."""
    unseen, worst = on_unseen(scored), worst_tile(scored)
    own = unseen[unseen["back_end"] == "classical"]
    n_low, n_high = (own["n_found"] < own["n_true"]).sum(), (own["n_found"] > own["n_true"]).sum()
    return (
        f"The count is too low on {n_low} of {counted(len(own), 'tiles')} and too high on {n_high}. The "
        f"worst tile by F1 is "
        f"{worst['tile']} ({worst['f1']:.2f}). An error that is the same all over a section changes no rank within it: "
        "for this study, which ranks the spots of one section, the count correlation matters more."
    )


# Hard places ----------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """A spot where nuclei are hard to count, and the tissue around it."""

    kind: str  # darkest or blurriest
    value: float  # the lower, the harder
    title: str
    image: np.ndarray  # RGB uint8
    outlines: list[np.ndarray]  # of found nuclei, x and y in pixels of the image
    mpp: float
    spot_um: float


def hard_places(section: AnnData) -> list[Place]:
    """The spot with the most haematoxylin, and the blurriest of the half of the spots with most nuclei."""
    spatial, mpp, spot_um = section.obsm[SPATIAL], float(section.uns["mpp"]), float(section.uns["spot_um"])
    read = images.reader_of(section)
    n, dark = section.obs["n_nuclei"], section.obs["haematoxylin"].to_numpy()
    focus = np.where(n >= n.median(), haematoxylin.sharpness(read, spatial, mpp, spot_um), np.inf)
    stain = haematoxylin.section_strength(read, spatial, mpp)
    places = []
    for kind, hardness in (("darkest", -dark), ("blurriest", focus)):
        spot = np.nanargmin(hardness)  # a plain square has no focus
        image = read(tuple(spatial[spot]), AROUND * spot_um, mpp)
        outlines = classical.outlines(classical.segment(image, mpp, stain))
        title = f"{section.uns['section']} {section.obs_names[spot]}, {kind}: {n.iloc[spot]:.0f} in the circle"
        places.append(Place(kind, hardness[spot], title, image, outlines, mpp, spot_um))
    return places


def hardest_places(sections: Iterable[AnnData], most: int = 2) -> list[Place]:
    """The `most` extreme `hard_places` of each kind over all sections, the darkest first."""
    places = sorted((place for section in sections for place in hard_places(section)), key=lambda place: place.value)
    return [place for kind in ("darkest", "blurriest") for place in [p for p in places if p.kind == kind][:most]]


def describe_places(places: Sequence[Place]) -> str:
    """How finely the places are drawn, or that there is none."""
    if not places:
        return "No nuclei are counted in this cohort: there is no such place to show."
    mpp = [place.mpp for place in places]
    return f"Drawn as they are, at {span(min(mpp), max(mpp), '.3f')} µm per pixel."
