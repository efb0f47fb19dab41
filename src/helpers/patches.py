"""Patches of H&E around spots -> numbers that describe the tissue: stain, texture, nuclei.

An encoder is a function of RGB patches at a known pixel size; `ENCODERS` names them, and another one is one entry more.
All lengths are in um, so sections scanned at different pixel sizes are described alike.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.color import hed_from_rgb
from skimage.segmentation import watershed

Read = Callable[[Sequence[float], float, float], np.ndarray]
Features = tuple[np.ndarray, list[str]]

PERCENTILES = (5, 25, 50, 75, 95)
BLUR_UM = (1.0, 2.0, 4.0, 8.0)  # from chromatin grain to rows of cells
TISSUE_DENSITY = 0.15  # optical density of green: glass lies below
NUCLEUS_AREA_UM2 = (12.0, 400.0)  # below: grain; above: clumps, which say nothing of shape
NUCLEUS_CONTRAST = 0.06  # haematoxylin above its surroundings
BATCH = 32  # patches in memory at once


def embed(
    read: Read,
    spatial: np.ndarray,
    encoder: str = "morphology",
    scales_um: Sequence[float] = (100.0, 200.0, 400.0, 800.0),
    mpp: float = 1.0,
    max_pixels: int = 224,
) -> Features:
    """Features of the tissue around every spot, at several scales.

    `read(centre, size_um, mpp)` gives the square uint8 RGB region of `size_um` around a centre (`images.region` with
    the reader bound); `spatial` is n x 2, x and y in full-resolution pixels. A scale is read at `mpp` um per pixel,
    or coarser where it would be wider than `max_pixels`; keep `mpp` the same for sections of unlike pixel size.
    Returns float32 n x d and d names, each led by its scale (`200um:nuclei_per_mm2`).
    ValueError for an unknown encoder, scales too small to hold anything, and features that are not finite.
    """
    if encoder not in ENCODERS:
        raise ValueError(f"unknown encoder {encoder!r}: choose one of {', '.join(sorted(ENCODERS))}")
    if not len(scales_um) or not min(scales_um) >= 8 * mpp > 0:
        raise ValueError(f"scales_um {list(scales_um)} at {mpp} um per pixel: give at least one, each over 8 pixels")
    spatial = np.asarray(spatial, float)
    if spatial.ndim != 2 or spatial.shape[1] != 2 or not len(spatial) or not np.isfinite(spatial).all():
        raise ValueError(f"spatial must hold x and y of one spot or more, all finite, not shape {spatial.shape}")

    parts, names = [], []
    for um in scales_um:
        at = max(mpp, um / max_pixels)
        rows = []
        for start in range(0, len(spatial), BATCH):
            batch = np.stack([read(centre, um, at) for centre in spatial[start : start + BATCH]])
            values, part = ENCODERS[encoder](batch, at)
            rows.append(values)
        parts.append(np.concatenate(rows))
        names += [f"{um:g}um:{name}" for name in part]
    features = np.concatenate(parts, axis=1).astype(np.float32)
    if not np.isfinite(features).all():
        raise ValueError(f"encoder {encoder!r} gave features that are not finite; check it on one patch")
    return features, names


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
        density = _optical_density(patch)
        stains = density @ hed_from_rgb.astype(np.float32)
        haematoxylin, eosin = (_scale_space(stains[..., i], mpp) for i in (0, 1))
        rows.append(
            _stain(density, haematoxylin[0], eosin[0])
            | _texture(haematoxylin, "haematoxylin")
            | _texture(eosin, "eosin")
            | _alignment(eosin[1], mpp)
            | _nuclei(haematoxylin, eosin[0], mpp)
        )
    return np.array([list(row.values()) for row in rows], np.float32), list(rows[0])


def _optical_density(patch: np.ndarray) -> np.ndarray:
    """Optical density (base e), float32; black is taken as one grey level."""
    level = np.arange(256, dtype=np.float32)
    return (-np.log(np.maximum(level, 1) / 255))[patch]


def _scale_space(channel: np.ndarray, mpp: float) -> list[np.ndarray]:
    """The channel as it is, then blurred to each of `BLUR_UM`."""
    return [channel, *(ndimage.gaussian_filter(channel, um / mpp, truncate=3) for um in BLUR_UM)]


def _stain(density: np.ndarray, haematoxylin: np.ndarray, eosin: np.ndarray) -> dict[str, float]:
    """Amounts of both stains and of bare glass, and whether the stains go together."""
    row = {}
    for name, channel in zip(("red", "green", "blue"), np.moveaxis(density, -1, 0), strict=True):
        row |= {f"{name}_mean": channel.mean(), f"{name}_sd": channel.std()}
    for name, channel in (("haematoxylin", haematoxylin), ("eosin", eosin)):
        row |= {f"{name}_mean": channel.mean(), f"{name}_sd": channel.std()}
        row |= {f"{name}_p{p}": v for p, v in zip(PERCENTILES, np.percentile(channel, PERCENTILES), strict=True)}
    spread = haematoxylin.std() * eosin.std()
    together = ((haematoxylin - haematoxylin.mean()) * (eosin - eosin.mean())).mean()
    row["stain_correlation"] = together / spread if spread > 1e-6 else 0.0
    row["glass_share"] = (density[..., 1] < TISSUE_DENSITY).mean()
    return row


def _texture(levels: list[np.ndarray], name: str) -> dict[str, float]:
    """Energy at each length (differences of Gaussians), and how unevenly it is spread."""
    row = {}
    for um, fine, coarse in zip(BLUR_UM, levels[:-1], levels[1:], strict=True):
        energy = np.abs(fine - coarse)
        row[f"{name}_band_{um:g}um"] = np.log(energy.mean() + 1e-4)
        row[f"{name}_band_{um:g}um_unevenness"] = energy.std() / (energy.mean() + 1e-4)
    return row


def _alignment(smooth: np.ndarray, mpp: float) -> dict[str, float]:
    """How far structures run one way (structure tensor): around each point, and over the whole patch; 0 to 1."""
    down, right = np.gradient(smooth)
    tensor = [right * right - down * down, 2 * right * down, right * right + down * down]
    side = 2 * round(10 / mpp) + 1
    cosine, sine, size = (ndimage.uniform_filter(part, side) for part in tensor)
    patch = [part.mean() for part in tensor]
    return {
        "alignment_local": (np.hypot(cosine, sine) / (size + 1e-6)).mean(),
        "alignment_patch": np.hypot(patch[0], patch[1]) / (patch[2] + 1e-6),
    }


def _nuclei(levels: list[np.ndarray], eosin: np.ndarray, mpp: float) -> dict[str, float]:
    """Number, size, shape, darkness and spacing of nuclei: haematoxylin blobs that stand out from around."""
    haematoxylin, smooth, blob, _, around = levels
    mask = smooth > around + NUCLEUS_CONTRAST
    peaks = mask & (blob == ndimage.maximum_filter(blob, 2 * round(3 / mpp) + 1))
    seeds, _ = ndimage.label(peaks, np.ones((3, 3)))
    labels = watershed(-blob, seeds, mask=mask)
    shape = _shapes(labels, haematoxylin, mpp)

    mm2 = mask.size * (mpp / 1000) ** 2
    n = len(shape["area"])
    ring = ndimage.maximum_filter(mask, 2 * round(5 / mpp) + 1) & ~mask
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


def _shapes(labels: np.ndarray, haematoxylin: np.ndarray, mpp: float) -> dict[str, np.ndarray]:
    """One value per nucleus, from the moments of its pixels: regionprops without its loop over regions."""
    y, x = np.nonzero(labels)
    label = labels[y, x]

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(label, values, len(pixels)) / np.maximum(pixels, 1)

    pixels = np.bincount(label, minlength=labels.max() + 1)
    centre_y, centre_x = mean(y), mean(x)
    dy, dx = y - centre_y[label], x - centre_x[label]
    # 1/12: the second moment of a pixel itself, so that a nucleus one pixel wide has a width
    yy, xx, xy = mean(dy * dy) + 1 / 12, mean(dx * dx) + 1 / 12, mean(dx * dy)
    half, turn = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    values = haematoxylin[y, x]
    darkness = mean(values)
    shape = {
        "area": pixels * mpp**2,
        "eccentricity": np.sqrt(1 - (half - turn) / (half + turn)),
        # pixels over the area of the ellipse of the same moments: 1 for an ellipse, less for anything lobed
        "fill": pixels / (4 * np.pi * np.sqrt(half**2 - turn**2)),
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
