"""Whether spots lie where the image has them: does depth follow the stain better elsewhere, or in another image?"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from anndata import AnnData
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from helpers.schema import SPATIAL

# Of five published sections as placed the largest gain is .06 (0.6 standard errors), of six simulated ones none; spots
# of the simulated ones mirrored or turned gain .47 to .72 (2.5 to 19 standard errors) by going back.
GAIN, SURE, FOLLOWS = 0.2, 2, 0.3  # the least gain, its standard errors, and the least correlation worth a doubt
ON_TISSUE = 0.1  # a spot is on glass where less of its disc is tissue: fat is mostly holes
LARGER = (1.25, 1.5, 2.0)  # than the picture that spots were placed on, a picture may be
STEPS = (1, 2, 3)  # of the lattice, by which spots may lie beside their places
# Of 36 published sections the correlation is .43 to .91, of one of 64 times fewer molecules .37; shuffled, within .22.
NEAREST, ALIKE, MIN_SPOTS = 6, 0.2, 100  # neighbours; the least correlation of their depth; spots that can tell
CORNER = 0.5  # of the picture's width and height, within which no section lies that fills it
OFF = 0.05  # of the spots, that another placement may put off the picture or the tissue, beyond those that are
MIRRORED = {
    "mirrored left to right": (-1, 1),
    "mirrored top to bottom": (1, -1),
    "turned by 180 degrees": (-1, -1),
}
EXCHANGED = {
    "x and y exchanged": (1, 1),
    "turned to the right": (-1, 1),
    "turned to the left": (1, -1),
    "x and y exchanged and turned by 180 degrees": (-1, -1),
}


class View(NamedTuple):
    """A section as its image shows it."""

    xy: np.ndarray  # centres of the spots, pixels of the image
    depth: np.ndarray  # ranks of their counts
    size: np.ndarray  # width and height of the image
    stain: np.ndarray  # a thumbnail: darkness in red, which haematoxylin takes and eosin leaves, over half a step
    tissue: np.ndarray  # the same size: whether half a step around lies on tissue
    scale: float  # pixels of the thumbnail in one of the image


def view(section: AnnData, thumbnail: np.ndarray, size: tuple[int, int]) -> View:
    """What the placement of a section is judged by, from the thumbnail (RGB) of its image of this size."""
    scale = thumbnail.shape[1] / size[0]
    xy, depth = np.asarray(section.obsm[SPATIAL], float), np.asarray(section.obs["total_counts"], float)
    diameter = _step(xy) / 2 * scale
    stain = uniform_filter(255.0 - thumbnail[..., 0], max(1, round(diameter)))
    tissue = tissue_share(thumbnail, diameter) >= ON_TISSUE
    # In bytes: the views of a whole cohort are held side by side.
    return View(xy, rankdata(depth), np.array(size), np.rint(stain).astype(np.uint8), tissue, scale)


def tissue_share(thumbnail: np.ndarray, diameter: float) -> np.ndarray:
    """The share of tissue around each pixel of a thumbnail, over a spot's diameter in its pixels.

    Tissue is darker than the glass around it by the triangle method (Zack 1977, doi 10.1177/25.7.70454).
    """
    dark = gaussian_filter(255.0 - thumbnail.min(axis=2), 1)
    return uniform_filter((dark > _darkest_glass(dark)).astype(float), max(1, round(diameter)))


def _darkest_glass(dark: np.ndarray) -> float:
    """Below it lies glass; the method takes the highest peak for glass, which in a picture cut to the tissue is tissue.

    Nuclei alone would then be darker. Otsu's threshold lies below that peak, and the glass below it.
    """
    from skimage.filters import threshold_otsu, threshold_triangle

    found, middle = threshold_triangle(dark), threshold_otsu(dark)
    return found if found <= middle else threshold_triangle(dark[dark <= middle])


def at(values: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """The values of a picture at x, y in its pixels; NaN outside it."""
    column, row = np.rint(xy).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < values.shape[1]) & (row < values.shape[0])
    found = np.full(len(xy), np.nan)
    found[inside] = values[row[inside], column[inside]]
    return found


def doubt(seen: View) -> str:
    """Where depth follows the stain better than in place, in words with both correlations; "" where it does nowhere.

    Spots that all lie in the first corner of the picture are doubted too, whatever depth follows: pixels of a reduced
    picture, or um, taken for its own.
    """
    end = seen.xy.max(0) / seen.size
    corner = (
        f"all spots lie within the first {end[0]:.0%} of the picture's width and {end[1]:.0%} of its height; look "
        "whether their places are in pixels of this picture, or of a reduced one, or in um"
    )
    gains = [(_gain(seen, seen, xy), where) for where, xy in placements(seen)]
    return "; ".join(filter(None, [corner * bool((end < CORNER).all()), _in_words(gains, "with the spots {}")]))


def off_tissue(seen: View) -> str:
    """How many spots lie off the tissue, and whether x and y are swapped, in words; "" where a few do."""
    off, swapped = (int((at(seen.tissue, xy * seen.scale) != 1).sum()) for xy in (seen.xy, seen.xy[:, ::-1]))
    if off <= len(seen.xy) / 20:
        return ""
    found = f"{off} of {len(seen.xy)} spots lie off the tissue or the image"
    if swapped < off / 4:
        return f"{found}, with x and y exchanged {swapped}: they are swapped, exchange them in the files"
    return f"{found}; look whether positions and image belong together"


def scattered(section: AnnData) -> str:
    """Whether depth of neighbouring spots is as if spots were shuffled, in words; "" where they are alike.

    Tissue is smooth, so this needs no image: names that join the wrong positions are seen wherever spots lie.
    """
    depth = rankdata(section.obs["total_counts"].to_numpy(float))
    if len(depth) < MIN_SPOTS or np.ptp(depth) == 0:
        return ""
    near = cKDTree(section.obsm[SPATIAL]).query(section.obsm[SPATIAL], NEAREST + 1)[1][:, 1:]
    r = np.corrcoef(depth, depth[near].mean(axis=1))[0, 1]
    if not r < ALIKE:
        return ""
    return (
        f"the depth of a spot follows that of its {NEAREST} neighbours with a rank correlation of {r:.2f} ({ALIKE} and "
        "more in tissue), as if spots were shuffled; check that positions and counts were joined by the right names"
    )


def doubts_of_others(views: Mapping[str, View]) -> dict[str, str]:
    """By section, in words, the other section whose image its depth follows better than its own."""
    found = {}
    for name, seen in views.items():
        gains = [(_gain(seen, other, seen.xy), image) for image, other in views.items() if image != name]
        found[name] = _in_words(gains, "in the image of {}")
    return {name: words for name, words in found.items() if words}


def placements(seen: View) -> Iterator[tuple[str, np.ndarray]]:
    """Other places of the spots, by what was done to them: in the image's frame, around their middle, beside it."""
    xy, middle = seen.xy, (seen.xy.min(0) + seen.xy.max(0)) / 2
    for where, signs in MIRRORED.items():
        yield where, np.where(np.array(signs) < 0, seen.size - 1 - xy, xy)
        yield where, middle + (xy - middle) * signs
    for where, signs in EXCHANGED.items():
        yield where, middle + (xy - middle)[:, ::-1] * signs
    for times in LARGER:
        yield f"{times:g} times as far from the corner, as if the picture were so many times too large", xy * times
    step = _step(xy)
    for n in STEPS:
        for angle in np.arange(12) * np.pi / 6:
            moved = n * step * np.array([np.cos(angle), np.sin(angle)])
            yield f"moved by {moved[0]:.0f}, {moved[1]:.0f} px", xy + moved


def _gain(seen: View, other: View, xy: np.ndarray) -> tuple[float, float, float, float]:
    """Rank correlation of depth with the stain in place, and at `xy` of the other view; the gain, and its error.

    The error is a jackknife over nine blocks of the section, as spots are not independent. A gain of -inf where more
    spots than in place would lie off the tissue.
    """
    here, there = at(seen.stain, seen.xy * seen.scale), at(other.stain, xy * other.scale)
    on, off = (at(v.tissue, p * v.scale) == 1 for v, p in ((seen, seen.xy), (other, xy)))
    both = np.isfinite(here) & np.isfinite(there)
    if off.mean() < on.mean() - OFF or both.mean() < 1 - OFF - (~np.isfinite(here)).mean() or both.sum() < 20:
        return np.nan, np.nan, -np.inf, np.nan
    depth, here, there = seen.depth[both], rankdata(here[both]), rankdata(there[both])
    block = blocks(seen.xy[both])
    left_out = [block != number for number in (-1, *range(9))]
    r = np.array([[np.corrcoef(depth[k], stain[k])[0, 1] for stain in (here, there)] for k in left_out])
    # Where depth falls with the stain, it follows it all the same.
    gain = r[:, 1] - np.abs(r[:, 0])
    error = np.sqrt((1 - 1 / 9) * ((gain[1:] - gain[1:].mean()) ** 2).sum())
    return r[0, 0], r[0, 1], gain[0], error


def _in_words(gains: list, where: str) -> str:
    if not gains or not (best := max(gains, key=lambda one: one[0][2]))[0][2] > -np.inf:
        return ""
    (here, there, gain, error), what = best
    if gain < GAIN or gain < SURE * error or there < FOLLOWS:
        return ""
    return (
        f"depth follows the stain better {where.format(what)}: rank correlation {there:.2f} for {here:.2f} in place "
        f"(standard error of the gain {error:.2f}); check that positions and image belong together"
    )


def _step(xy: np.ndarray) -> float:
    """The distance to the nearest spot, in the median."""
    return float(np.median(cKDTree(xy).query(xy, 2)[0][:, 1]))


def blocks(xy: np.ndarray) -> np.ndarray:
    """Nine blocks of about as many spots each, three by three: a number from 0 to 8 per spot."""
    out = np.empty(len(xy), int)
    for i, strip in enumerate(np.array_split(np.argsort(xy[:, 0], kind="stable"), 3)):
        for j, part in enumerate(np.array_split(strip[np.argsort(xy[strip, 1], kind="stable")], 3)):
            out[part] = 3 * i + j
    return out
