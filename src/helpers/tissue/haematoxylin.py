"""Haematoxylin of H&E: how dark, how sharp, how much of it under each spot."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.ndimage import gaussian_filter

from helpers import quiet

# Of segment: chosen on the MoNuSeg tiles (see leave_one_tile_out).
EOSIN = 0.3  # share of the eosin density taken off: red cells and dense stroma leak into haematoxylin
UNSTAINED = 0.15  # a strength below this is glass and noise
MAX_MPP = 2.0  # um per pixel, above which a nucleus of 7 um is three pixels wide and is not counted

REGION_UM = 100.0  # squares that tell a section's strength, whatever the size of its spots


def density(image: np.ndarray) -> np.ndarray:
    """Haematoxylin optical density (log10) of each pixel, float32 (h, w), at least 0.

    `image` is RGB uint8 (h, w, 3); anything else is a ValueError. Ruifrok and Johnston's fixed H&E vectors, 2001.
    """
    return _stains(image)[..., 0]


def _stains(image: np.ndarray) -> np.ndarray:
    from skimage.color import rgb2hed

    _check_image(image)
    # scikit-image divides optical densities by that of its darkest value, 1e-6.
    return rgb2hed(image.astype(np.float32) / 255).astype(np.float32) * 6


def nuclear_density(image: np.ndarray, eosin: float) -> np.ndarray:
    """Density of haematoxylin less `eosin` times that of eosin, at least 0: (h, w) of an RGB image."""
    stains = _stains(image)
    return np.maximum(stains[..., 0] - eosin * stains[..., 1], 0)


def strength(image: np.ndarray, eosin: float = EOSIN) -> float:
    """How dark the nuclei of `image` are: the nuclear density that thresholds are relative to; 0 on glass.

    Nuclear density is that of haematoxylin less `eosin` times that of eosin, at least 0.

    `image` is RGB uint8 (h, w, 3), or several regions of a section one above the other. The larger of two values
    over tiatoolbox's tissue mask: the 95th percentile, and the mean above Otsu's threshold, which holds where
    fewer than one pixel in twenty is nuclear.
    """
    with quiet.tiatoolbox():
        from skimage.filters import threshold_otsu
        from tiatoolbox.utils.misc import get_luminosity_tissue_mask
    try:
        stained = nuclear_density(image, eosin)[get_luminosity_tissue_mask(image, threshold=0.8)]
    except ValueError:  # its way of saying that there is no tissue
        return 0.0
    if stained.min() == stained.max():
        return 0.0
    return float(max(np.percentile(stained, 95), stained[stained > threshold_otsu(stained)].mean()))


def section_strength(read: Callable, spatial: np.ndarray, mpp: float) -> float:
    """The `strength` of a section, from squares of `REGION_UM` around 32 spots spread over it.

    `read(centre, size_um, mpp)` gives a region as RGB uint8, `spatial` is n x 2: x, y of the spots in
    full-resolution pixels, `mpp` um per pixel.
    """
    spatial = np.asarray(spatial, float)
    chosen = spatial[np.unique(np.linspace(0, len(spatial) - 1, 32).round().astype(int))]
    return strength(np.concatenate([read(tuple(centre), REGION_UM, mpp) for centre in chosen]))


def sharpness(read: Callable, spatial: np.ndarray, mpp: float, size_um: float) -> np.ndarray:
    """Focus of the square of `size_um` around each spot, n values: lower is blurrier, whatever the stain's strength.

    The share of the haematoxylin `density`'s spread that a blur of 1.5 um takes away; arguments as in
    `section_strength`. NaN where the square is plain.
    """
    check_resolution(mpp)

    def share(centre: np.ndarray) -> float:
        region = density(read(tuple(centre), size_um, mpp))
        return (region - gaussian_filter(region, 1.5 / mpp)).std() / region.std() if region.std() else np.nan

    with ThreadPoolExecutor(2) as pool:
        return np.array(list(pool.map(share, np.asarray(spatial, float))), float)


def haematoxylin(
    read: Callable,
    spatial: np.ndarray,
    mpp: float,
    diameter_um: float,
    of: Callable[[np.ndarray], np.ndarray] = density,
) -> np.ndarray:
    """Mean of the haematoxylin `density`, or of another map of an image, in each spot's disc, n values.

    Arguments as in `section_strength`. At 3.2 um per pixel it follows the count of nuclei nearly as at 0.7.
    """
    side = round(diameter_um / mpp)
    offset = np.arange(side) - (side - 1) / 2
    disc = offset[:, None] ** 2 + offset**2 <= (diameter_um / mpp / 2) ** 2

    def mean(centre: np.ndarray) -> float:
        return of(read(tuple(centre), diameter_um, mpp))[disc].mean()

    with ThreadPoolExecutor(2) as pool:
        return np.array(list(pool.map(mean, np.asarray(spatial, float))), float)


def _check_image(image) -> None:
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"the image is {what}: give RGB as uint8 of shape (height, width, 3)")


def check_resolution(mpp: float) -> None:
    """Refuse a pixel size, in um, at which nuclei cannot be told."""
    if not 0 < mpp <= MAX_MPP:
        raise ValueError(
            f"mpp is {mpp}: nuclei are counted at pixels above 0 and at most {MAX_MPP} um wide; for a coarser "
            f"picture give nuclei: {{back_end: haematoxylin}} in the config, the mean stain of each disc"
        )
