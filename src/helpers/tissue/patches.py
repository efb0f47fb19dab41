"""Patches of H&E around spots -> numbers that describe the tissue, by one encoder or several side by side.

`morphology` needs no weights: stain, texture, and nuclei where the image shows them. Published networks are in
`encoders`. All lengths are in um, so sections scanned at different pixel sizes are described alike; a patch is read
once, whatever the encoders.
"""

import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.color import hed_from_rgb
from skimage.segmentation import watershed
from tqdm.std import tqdm

from helpers import store
from helpers.tissue import encoders
from helpers.tissue.haematoxylin import MAX_MPP

Read = Callable[[Sequence[float], float, float], np.ndarray]
Features = tuple[np.ndarray, list[str]]
Encode = Callable[[np.ndarray, float], Features]

STEM = "stem"  # among the scales: the square that the published STEM code crops
PERCENTILES = (5, 25, 50, 75, 95)
BLUR_UM = (1.0, 2.0, 4.0, 8.0)  # from chromatin grain to rows of cells
TISSUE_DENSITY = 0.15  # optical density of green: glass lies below
NUCLEUS_AREA_UM2 = (12.0, 400.0)  # below: grain; above: clumps, which say nothing of shape
NUCLEUS_CONTRAST = 0.06  # haematoxylin above its surroundings
MORPHOLOGY_MPP = 1.0  # one pixel size for all sections, coarser only where a patch would be wider than:
MORPHOLOGY_PIXELS = 224
BATCH = 32  # patches in memory at once


def parts(encoder: str) -> list[str]:
    """The encoders of `uni+conch`, in order. ValueError for one that is unknown."""
    names = encoder.split("+")
    for name in names:
        if name not in ENCODERS and name not in encoders.ENCODERS:
            known = ", ".join([*ENCODERS, *encoders.ENCODERS])
            raise ValueError(f"unknown encoder {name!r}: choose one of {known}, or some of them joined by +")
    return names


def stem_crop(mpp: float, spot_um: float) -> float:
    """Side in um of the crop of the published STEM code: 224 pixels, or the spot's diameter where it is wider.

    What it covers follows the scanner: 154 um at 0.688 um per pixel, 205 um at 0.916. The diameter is taken as an even
    number of pixels (github.com/SichenZhu/Stem, dataset_preprocess).
    """
    return max(224, int(spot_um / mpp) // 2 * 2) * mpp


def sides(scales_um: Sequence[float | str], mpp: float, spot_um: float) -> dict[str, float]:
    """Sides of the patches in um by the scale's label: `200um`, or `stem` for the `stem_crop`; else ValueError."""
    found = {}
    for scale in scales_um:
        if isinstance(scale, str) and scale != STEM:
            raise ValueError(f"unknown scale {scale!r}: give um, or {STEM!r} for the crop of the published STEM code")
        found |= {STEM: stem_crop(mpp, spot_um)} if scale == STEM else {f"{scale:g}um": float(scale)}
    return found


def embed(
    read: Read,
    spatial: np.ndarray,
    encoder: str,
    sides: Mapping[str, float],
    mpp: float,
    weights: Mapping[str, str | Path] | None = None,
    augmented: bool = False,
) -> Features:
    """Features of the tissue around every spot, in squares of each of `sides`, by each encoder of `uni+conch`.

    `read(centre, size_um, mpp)` gives the square uint8 RGB region of `size_um` around a centre (`images.region` with
    the reader bound); `spatial` is n x 2, x and y in the image's pixels, which are `mpp` um wide. `weights` are files
    by encoder; what is not there comes from the hub. Returns float32 n x d and d names, each led by the label
    of its side (`200um:nuclei_per_mm2`); with `augmented` n x 8 x d, one for each turn of the patch (`turned`).
    ValueError for an unknown encoder, patches under 8 pixels or 8 um, and features that are not finite.
    """
    names = parts(encoder)
    if not mpp > 0 or not sides or not min(sides.values()) >= 8 * max(mpp, MORPHOLOGY_MPP):
        raise ValueError(f"patches of {dict(sides)} um at {mpp} um per pixel: give scales_um of over 8 pixels and 8 um")
    spatial = np.asarray(spatial, float)
    if spatial.ndim != 2 or spatial.shape[1] != 2 or not len(spatial) or not np.isfinite(spatial).all():
        raise ValueError(f"spatial must hold x and y of one spot or more, all finite, not shape {spatial.shape}")

    without_weights = ENCODERS if mpp <= MAX_MPP else ENCODERS | {"morphology": stain_and_texture}
    encode = {name: without_weights.get(name) or _published(name, (weights or {}).get(name)) for name in names}
    found = {label: _at_scale(read, spatial, encode, um, mpp, augmented) for label, um in sides.items()}
    features = np.concatenate([values for values, _ in found.values()], axis=-1).astype(np.float32)
    columns = [f"{label}:{name}" for label, (_, part) in found.items() for name in part]
    if not np.isfinite(features).all():
        raise ValueError(f"encoder {encoder!r} gave features that are not finite; check it on one patch")
    return features, columns


class Encoding(NamedTuple):
    """How patches become features, see `embed`."""

    encoder: str
    sides: Mapping[str, float]
    weights: Mapping[str, str | Path] | None = None
    augmented: bool = False


def cached(
    folder: str | Path, image: str | Path, read: Read, spatial: np.ndarray, mpp: float, encoding: Encoding
) -> Features:
    """As `embed`, and kept in `folder`: the same image, spots and encoder are encoded once, whatever they are called.

    A file's name is a hash of what decides its content, the machine apart: bytes of the image, pixel size, spots,
    sides, encoders, their weights, and this code. A file is written whole or not at all; a damaged one is made anew,
    with a warning.
    """
    encoder, sides, weights, augmented = encoding
    files = {n: encoders.weights_file(n, (weights or {}).get(n)) for n in parts(encoder) if n not in ENCODERS}
    path = Path(folder) / f"{_key(image, spatial, mpp, encoding._replace(weights=files))}.npz"
    if path.is_file():
        try:
            with np.load(path) as kept:
                return kept["features"], kept["names"].tolist()
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            warnings.warn(f"{path}: damaged ({error}); encoding this section again", stacklevel=2)
    features, columns = embed(read, spatial, encoder, sides, mpp, files, augmented)
    with store.atomic(path) as partial:
        np.savez(partial, features=features, names=np.array(columns))
    return features, columns


def _key(image: str | Path, spatial: np.ndarray, mpp: float, encoding: Encoding) -> str:
    """The name of what is kept: 32 hexadecimal digits of whatever decides the features."""
    encoder, sides, weights, augmented = encoding
    named = [[n, encoders.ENCODERS.get(n), n in weights and file_hash(weights[n])] for n in parts(encoder)]
    content = {
        "image": file_hash(image),
        "mpp": float(mpp),
        "spatial": hashlib.sha256(np.ascontiguousarray(spatial, float).tobytes()).hexdigest(),
        "sides": list(sides.items()),
        "encoders": named,
        "augmented": augmented,
        "code": [file_hash(module) for module in (__file__, encoders.__file__)],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def file_hash(path: str | Path) -> str:
    """sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def turned(patches: np.ndarray) -> list[np.ndarray]:
    """The eight turns and mirror images of n x h x w x 3: as it is, then in the order of Pillow's seven transposes.

    Left to right, top to bottom, turned by 90, 180 and 270 degrees, along both diagonals: the augmentation of STEM.
    """
    half = np.rot90(patches, 2, (1, 2))
    quarters = [np.rot90(patches, 1, (1, 2)), half, np.rot90(patches, 3, (1, 2))]
    return [patches, patches[:, :, ::-1], patches[:, ::-1], *quarters, patches.swapaxes(1, 2), half.swapaxes(1, 2)]


def _published(name: str, weights: str | Path | None) -> Encode:
    network = encoders.load(name, weights)
    names = [f"{name}_{column}" for column in range(encoders.ENCODERS[name]["width"])]
    return lambda patches, mpp: (encoders.embed(name, network, patches), names)


def _at_scale(
    read: Read, spatial: np.ndarray, encode: Mapping[str, Encode], um: float, mpp: float, augmented: bool
) -> Features:
    """Features of squares of `um`, by every encoder."""
    # Published networks share the patches of the one that takes most pixels, never finer than the image is.
    pixels = [encoders.ENCODERS[name]["pixels"] for name in encode if name not in ENCODERS]
    fine, coarse = max(mpp, um / max(pixels, default=1)), max(mpp, MORPHOLOGY_MPP, um / MORPHOLOGY_PIXELS)
    at = {name: coarse if name in ENCODERS else fine for name in encode}
    rows = []
    for start in tqdm(range(0, len(spatial), BATCH), f"{'+'.join(encode)} {um:g} um", disable=not pixels):
        centres = spatial[start : start + BATCH]
        patches = {pixel: np.stack([read(centre, um, pixel) for centre in centres]) for pixel in set(at.values())}
        values, names = [], []
        for name, run in encode.items():
            views = turned(patches[at[name]]) if augmented else [patches[at[name]]]
            features, found = zip(*(run(view, at[name]) for view in views), strict=True)
            values.append(np.stack(features, axis=1) if augmented else features[0])
            names += found[0]
        rows.append(np.concatenate(values, axis=-1))
    return np.concatenate(rows), names


def morphology(patches: np.ndarray, mpp: float, nuclei: bool = True) -> Features:
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
            | (_nuclei(haematoxylin, eosin[0], mpp) if nuclei else {})
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


def stain_and_texture(patches: np.ndarray, mpp: float) -> Features:
    """`morphology` of an image in whose pixels no nucleus can be told: stain and texture."""
    return morphology(patches, mpp, nuclei=False)


ENCODERS: dict[str, Encode] = {"morphology": morphology}
