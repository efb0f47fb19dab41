"""Patches of H&E around spots -> numbers that describe the tissue: stain, texture, nuclei.

An encoder is a function of RGB patches at a known pixel size; `ENCODERS` names them, and another one is one entry more.
All lengths are in um, so sections scanned at different pixel sizes are described alike.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.color import hed_from_rgb
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

Read = Callable[[Sequence[float], float, float], np.ndarray]
Features = tuple[np.ndarray, list[str]]

PERCENTILES = (5, 25, 50, 75, 95)
TEXTURE_UM = (1.0, 2.0, 4.0, 8.0)  # from chromatin grain to rows of cells
TISSUE_DENSITY = 0.15  # optical density of green: glass lies below
NUCLEUS_AREA_UM2 = (12.0, 400.0)  # below: grain; above: clumps, which say nothing of shape
NUCLEUS_CONTRAST = 0.06  # haematoxylin above its surroundings


def embed(
    read: Read,
    spatial: np.ndarray,
    encoder: str = "morphology",
    scales_um: Sequence[float] = (100.0, 200.0, 400.0),
    mpp: float = 1.0,
) -> Features:
    """Features of the tissue around every spot, at several scales.

    `read(centre, size_um, mpp)` gives the square uint8 RGB region of `size_um` around a centre (`images.region` with
    the reader bound); `spatial` is n x 2, x and y in full-resolution pixels. Returns float32 n x d and d names, each
    led by its scale (`200um:nuclei_per_mm2`). Every scale is cut from the largest one, so a spot is read once.
    ValueError for an unknown encoder, for no scale, and for features that are not finite.
    """
    if encoder not in ENCODERS:
        raise ValueError(f"unknown encoder {encoder!r}: choose one of {', '.join(sorted(ENCODERS))}")
    if not len(scales_um) or min(scales_um) < 8 * mpp:
        raise ValueError(f"scales_um {tuple(scales_um)}: give at least one, each of 8 pixels of {mpp} um or more")
    spatial = np.asarray(spatial, float)
    if spatial.ndim != 2 or spatial.shape[1] != 2 or not np.isfinite(spatial).all():
        raise ValueError(f"spatial must be n x 2 and finite, not of shape {spatial.shape}")

    rows, names = [], []
    for centre in spatial:
        region = read(centre, max(scales_um), mpp)
        parts = [ENCODERS[encoder](_centre(region, round(um / mpp))[None], mpp) for um in scales_um]
        rows.append(np.concatenate([values[0] for values, _ in parts]))
        names = [f"{um:g}um:{name}" for um, (_, part) in zip(scales_um, parts, strict=True) for name in part]
    features = np.array(rows, np.float32)
    if not np.isfinite(features).all():
        raise ValueError(f"encoder {encoder!r} gave features that are not finite")
    return features, names


def _centre(region: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in region.shape[:2])
    return region[top : top + side, left : left + side]


def morphology(patches: np.ndarray, mpp: float) -> Features:
    """What a pathologist would name: how much stain, how grainy, how many nuclei of which shape. No weights.

    `patches` uint8 n x h x w x 3 at `mpp` um per pixel -> float32 n x d and the d names. Unchanged by turning or
    mirroring a patch. A patch without nuclei has zeros for their number and shape. Stains are separated as in
    Ruifrok & Johnston 2001. ValueError for patches that are not uint8 RGB.
    """
    patches = np.asarray(patches)
    if patches.dtype != np.uint8 or patches.ndim != 4 or patches.shape[3] != 3 or not len(patches):
        raise ValueError(f"patches must be uint8 n x h x w x 3, not {patches.dtype} of shape {patches.shape}")
    rows = []
    for patch in patches:
        density = optical_density(patch)
        stains = np.maximum(density @ hed_from_rgb.astype(np.float32), 0)
        haematoxylin, eosin = stains[..., 0], stains[..., 1]
        rows.append(
            _stain(density, haematoxylin, eosin)
            | _texture(haematoxylin, "haematoxylin", mpp)
            | _texture(eosin, "eosin", mpp)
            | _alignment(eosin, mpp)
            | _nuclei(haematoxylin, eosin, mpp)
        )
    return np.array([list(row.values()) for row in rows], np.float32), list(rows[0])


def optical_density(patch: np.ndarray) -> np.ndarray:
    """Optical density (base e) of an RGB uint8 image, float32; black is taken as one grey level."""
    level = np.arange(256, dtype=np.float32)
    return (-np.log(np.maximum(level, 1) / 255))[patch]


def _stain(density: np.ndarray, haematoxylin: np.ndarray, eosin: np.ndarray) -> dict[str, float]:
    """Amounts of both stains and of bare glass, and whether the stains go together."""
    channels = {"red": density[..., 0], "green": density[..., 1], "blue": density[..., 2]}
    channels |= {"haematoxylin": haematoxylin, "eosin": eosin}
    row = {}
    for name, channel in channels.items():
        row[f"{name}_mean"], row[f"{name}_sd"] = channel.mean(), channel.std()
        row |= {f"{name}_p{p}": v for p, v in zip(PERCENTILES, np.percentile(channel, PERCENTILES), strict=True)}
    spread = haematoxylin.std() * eosin.std()
    together = ((haematoxylin - haematoxylin.mean()) * (eosin - eosin.mean())).mean()
    row["stain_correlation"] = together / spread if spread > 1e-6 else 0.0
    row["glass_share"] = (density[..., 1] < TISSUE_DENSITY).mean()
    return row


def _texture(channel: np.ndarray, name: str, mpp: float) -> dict[str, float]:
    """Energy at each length (differences of Gaussians) and, at the finest, the share of each local binary pattern."""
    row = {}
    fine = channel
    for um in TEXTURE_UM:
        coarse = ndimage.gaussian_filter(channel, um / mpp, truncate=3)
        energy = np.abs(fine - coarse)
        row[f"{name}_band_{um:g}um"] = np.log(energy.mean() + 1e-4)
        row[f"{name}_band_{um:g}um_unevenness"] = energy.std() / (energy.mean() + 1e-4)
        fine = coarse
    return row


def _alignment(channel: np.ndarray, mpp: float) -> dict[str, float]:
    """How far structures run one way (structure tensor): around each point, and over the whole patch; 0 to 1."""
    smooth = ndimage.gaussian_filter(channel, 1.0 / mpp, truncate=3)
    down, right = np.gradient(smooth)
    tensor = np.stack([right * right - down * down, 2 * right * down, right * right + down * down])
    local = np.stack([ndimage.gaussian_filter(part, 8.0 / mpp, truncate=2) for part in tensor])
    whole = tensor.mean(axis=(1, 2))
    return {
        "alignment_local": (np.hypot(local[0], local[1]) / (local[2] + 1e-6)).mean(),
        "alignment_patch": np.hypot(whole[0], whole[1]) / (whole[2] + 1e-6),
    }


def _nuclei(haematoxylin: np.ndarray, eosin: np.ndarray, mpp: float) -> dict[str, float]:
    """Number, size, shape, darkness and spacing of nuclei: haematoxylin blobs that stand out from around."""
    smooth = ndimage.gaussian_filter(haematoxylin, 1.0 / mpp, truncate=3)
    around = ndimage.gaussian_filter(haematoxylin, 12.0 / mpp, truncate=2)
    mask = smooth > around + NUCLEUS_CONTRAST
    blob = ndimage.gaussian_filter(haematoxylin, 2.0 / mpp, truncate=3)
    peaks = peak_local_max(
        blob, min_distance=max(1, round(3.0 / mpp)), labels=mask.astype(np.uint8), exclude_border=False
    )
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-blob, seeds, mask=mask)
    shape = _shapes(labels, smooth, haematoxylin, mpp)

    mm2 = mask.size * (mpp / 1000) ** 2
    n = len(shape["area"])
    cytoplasm = ndimage.distance_transform_edt(~mask) * mpp
    ring = (cytoplasm > 0) & (cytoplasm < 5)
    row = {
        "nuclei_per_mm2": n / mm2,
        "nuclei_log_per_mm2": np.log1p(n / mm2),
        "nuclei_area_share": mask.mean(),
        "ring_eosin": eosin[ring].mean() if ring.any() else 0.0,
        "ring_haematoxylin": haematoxylin[ring].mean() if ring.any() else 0.0,
        "nuclei_small_round_per_mm2": ((shape["area"] < 35) & (shape["eccentricity"] < 0.75)).sum() / mm2,
        "nuclei_large_per_mm2": (shape["area"] > 70).sum() / mm2,
        "nuclei_spindle_per_mm2": (shape["eccentricity"] > 0.9).sum() / mm2,
    }
    for name in ("area", "eccentricity", "fill", "darkness", "grain", "neighbour_um"):
        row[f"nuclei_{name}_mean"] = shape[name].mean() if n else 0.0
        row[f"nuclei_{name}_sd"] = shape[name].std() if n else 0.0
    row["nuclei_alignment"] = np.abs(np.exp(2j * shape["angle"]).mean()) if n else 0.0
    return row


def _shapes(labels: np.ndarray, smooth: np.ndarray, haematoxylin: np.ndarray, mpp: float) -> dict[str, np.ndarray]:
    """One value per nucleus, from the moments of its pixels: the same numbers as regionprops, without its loop."""
    y, x = np.nonzero(labels)
    label = labels[y, x]

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(label, values, len(pixels)) / np.maximum(pixels, 1)

    pixels = np.bincount(label, minlength=labels.max() + 1)
    centre_y, centre_x = mean(y), mean(x)
    dy, dx = y - centre_y[label], x - centre_x[label]
    yy, xx, xy = mean(dy * dy) + 1 / 12, mean(dx * dx) + 1 / 12, mean(dx * dy)
    half, turn = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    values = haematoxylin[y, x]
    darkness = mean(values)
    shape = {
        "area": pixels * mpp**2,
        "eccentricity": np.sqrt(1 - (half - turn) / (half + turn)),
        # pixels over the area of the ellipse of the same moments: 1 for an ellipse, less for anything lobed
        "fill": pixels / (4 * np.pi * np.sqrt(np.maximum(half**2 - turn**2, 1e-9))),
        "darkness": darkness,
        "grain": np.sqrt(np.maximum(mean(values * values) - darkness**2, 0)),
        "angle": np.arctan2(2 * xy, xx - yy) / 2,
    }
    kept = (shape["area"] >= NUCLEUS_AREA_UM2[0]) & (shape["area"] <= NUCLEUS_AREA_UM2[1])
    kept[0] = False
    shape = {name: values[kept] for name, values in shape.items()}
    centres = np.column_stack([centre_x, centre_y])[kept] * mpp
    shape["neighbour_um"] = cKDTree(centres).query(centres, 2)[0][:, 1] if len(centres) > 1 else np.zeros(len(centres))
    return shape


ENCODERS: dict[str, Callable[[np.ndarray, float], Features]] = {"morphology": morphology}
