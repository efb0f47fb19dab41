"""A section of any cohort -> AnnData: its files read by `layouts`, with one pixel size, and checked."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import schema
from helpers.cohort import images, pictures
from helpers.cohort.layouts.raw import RawSection, only_file
from helpers.cohort.layouts.registry import LAYOUTS
from helpers.cohort.stated import Stated
from helpers.schema import COUNTS, LATTICE, SPATIAL

# Two sources of the pixel size that differ by more are worth a look: the disc would cover 10 % more or less tissue.
MPP_TOLERANCE = 0.05
# A spot further than this from its place on the lattice is nearer to another one's.
ON_LATTICE = 0.5
# Of 41 public sections the steps of the lattice differ between axes by 1 % at most.
UNEQUAL = 1.2
# Places in um, taken for pixels, make pixels of 1 um, to the precision of the lattice.
OF_UM = 0.005
# A spot of fewer molecules has a library known to 10 % at best, and pulls every line on log depth towards itself.
MIN_SPOT_COUNTS = 100
# Pages on anatomy and on regions hold numbers for every pair of spots.
MOST_SPOTS = 15_000


def read(
    layout: str,
    root: str | Path,
    name: str,
    mpp: float | None = None,
    *,
    embedded: Callable[[Path], float | None] | None = None,
    **stated,
) -> AnnData:
    """Read one section.

    `layout` is a key of LAYOUTS, `root` the folder of the cohort, `mpp` and `stated` the fields of `Stated`. `embedded`
    reads the pixel size that an image states (`images.embedded_mpp`). Of user, lattice, embedded, estimated the first
    is taken; `uns["mpp_source"]` says which, `uns["mpp_by_source"]` holds all. Errors name file and fix.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    schema.check_name(name)
    user, root = Stated(mpp=mpp, **stated), Path(root)
    file = (user.ids or {}).get(name, name)
    raw = LAYOUTS[layout](root, file, **_reader_options(layout, user))
    image, placement = _picture(root, user, raw, name, file)
    section = raw.spots
    section.uns = {
        "image": str(image or ""),
        "nuclei_file": str(raw.nuclei_file or ""),
        "n_spots_dropped": raw.n_spots_dropped,
        **dict(zip(("spot_um", "pitch_um"), _lengths(name, raw, user), strict=True)),
        "section": name,
        **({} if raw.image_size is None else {"image_size": np.array(raw.image_size)}),
        **_asked_of_picture(user, name),
    }
    section.obs["section"] = pd.Categorical([name] * section.n_obs)
    section.obs["patient"] = pd.Categorical([_patient(name, raw.patient, user.patients)] * section.n_obs)
    section.obs["total_counts"] = np.asarray(section.layers[COUNTS].sum(1)).ravel()
    stated_by_image = embedded(Path(image)) if embedded is not None and image and placement is None else None
    _set_mpp(section, user.mpp, stated_by_image, raw.mpp_estimated)
    if placement is not None:
        pictures.place(section, placement)
    return schema.check_section(section)


def mpp_from_lattice(section: AnnData) -> float | None:
    """Pixel size in um: distance of neighbours over the scale of the affine map from lattice to image.

    The map is fitted to all spots but those that do not follow it, and may turn or mirror. None where the spots span no
    plane. ValueError where more than a tenth lie elsewhere than the lattice says, and where the size is absurd.
    """
    from scipy.spatial.distance import pdist
    from skimage.measure import ransac
    from skimage.transform import AffineTransform

    where = f"section {section.uns['section']}"
    pixel, lattice = section.obsm[SPATIAL], section.obsm[LATTICE]
    if len(pixel) < 3 or np.linalg.matrix_rank(lattice - lattice.mean(0), tol=0.5) < 2:
        return None
    few = slice(None, None, max(1, len(pixel) // 500))
    step = float(np.median(pdist(pixel[few]) / pdist(lattice[few])))
    fit, follow = ransac(
        (lattice, pixel), AffineTransform, min_samples=3, residual_threshold=ON_LATTICE * step, max_trials=500, rng=0
    )
    if fit is None or follow.mean() < 0.9:
        raise ValueError(
            f"{where}: {len(pixel) if fit is None else np.sum(~follow)} of {len(pixel)} spots lie elsewhere than their "
            f"place on the lattice says; are positions and spot names those of one section?"
        )
    larger, smaller = np.linalg.svd(fit.params[:2, :2], compute_uv=False)
    if larger > UNEQUAL * smaller:
        raise ValueError(
            f"{where}: steps of the lattice are {larger:.3g} px long along one axis and {smaller:.3g} px along the "
            "other, where the array has them equal; are array_row and array_col exchanged, or pixels in two units?"
        )
    mpp = float(section.uns["pitch_um"] / np.sqrt(abs(np.linalg.det(fit.params[:2, :2]))))
    if not schema.MPP_RANGE[0] <= mpp <= schema.MPP_RANGE[1]:
        raise ValueError(
            f"{where}: the lattice gives {mpp:.3g} um per pixel, which is not plausible; are the spot centres in "
            f"pixels of the full-resolution image, and is pitch_um right?"
        )
    return mpp


def choose_mpp(known: Mapping[str, float], name: str) -> tuple[float, str]:
    """Pick the first pixel size of `known`, which is in order, and warn of another that differs by over 5 %."""
    if not known:
        raise ValueError(f"section {name}: neither spots nor image give a pixel size; set mpp in the config")
    chosen = next(iter(known))
    for source, value in known.items():
        if abs(value / known[chosen] - 1) > MPP_TOLERANCE:
            warnings.warn(
                f"section {name}: pixel size {known[chosen]:.3f} um ({chosen}) but {value:.3f} um ({source}); "
                f"the first is used, set mpp to decide yourself",
                stacklevel=2,
            )
    return known[chosen], chosen


def drop_spots(
    section: AnnData,
    image_size: tuple[int, int] | None = None,
    min_counts: int = MIN_SPOT_COUNTS,
    masked: np.ndarray | None = None,
) -> AnnData:
    """Return the section without spots of fewer than `min_counts`, or with a centre outside the image (width, height).

    Nor spots that lie, as `masked` says of each, on a part of the picture that shows no tissue.
    `uns["n_spots_dropped"]` counts them too. Most spots outside means a wrong image or pixel unit: refused.
    """
    keep = section.obs["total_counts"].to_numpy() >= min_counts
    if not keep.any():
        raise ValueError(
            f"section {section.uns['section']}: no spot has {min_counts} counts; leave the section out, or lower "
            "qc.min_spot_counts"
        )
    if image_size is not None:
        xy = section.obsm[SPATIAL]
        inside = ((xy >= 0) & (xy < np.array(image_size))).all(1)
        if inside.mean() < 0.5:
            raise ValueError(
                f"section {section.uns['section']}: {np.sum(~inside)} of {len(inside)} spots lie outside the image "
                f"{section.uns['image']} of {image_size[0]} x {image_size[1]} px; "
                f"is it this section's image, at full size?"
            )
        keep &= inside
    if masked is not None:
        keep &= ~masked
    kept = section[keep].copy()
    kept.uns["n_spots_dropped"] = int(section.uns["n_spots_dropped"] + np.sum(~keep))
    return kept


def too_many(n_spots: int) -> str:
    """Why so many spots are too many for a book, with the memory they would take; "" where they are not."""
    if n_spots <= MOST_SPOTS:
        return ""
    return (
        f"{n_spots:,} spots: numbers for every pair of them take {8e-9 * n_spots**2:,.0f} GB; at most "
        f"{MOST_SPOTS:,} make a book: join bins into spots, give a part of the section, or audit predictions alone"
    )


def quality(section: AnnData, min_spots: int, min_median_counts: float) -> tuple[bool, str]:
    """Whether the section is kept by the declared rule, and the reason when it is not."""
    if section.n_obs < min_spots:
        return False, f"{section.n_obs} spots, fewer than {min_spots}"
    median = float(section.obs["total_counts"].median())
    if median < min_median_counts:
        return False, f"median of {median:.0f} counts per spot, fewer than {min_median_counts}"
    return True, ""


def _picture(root: Path, user: Stated, raw: RawSection, name: str, file: str) -> tuple[Path | None, np.ndarray | None]:
    """The picture of a section, and its placement where it is none of full resolution.

    Where the user gives a table of placements, `images` is where its sections have their pictures; others keep theirs.
    """
    placements = pictures.read_placements(root / user.placements) if user.placements else {}
    if user.images is None or (placements and name not in placements):
        return raw.image, None
    image = _image(root, user.images, name, file)
    if name in placements and image is None:
        where = root / user.images.format(section=name, id=file)
        raise FileNotFoundError(f"{where}: no such picture, on which the table of placements has section {name}")
    scale = raw.pictures.get(image, np.nan)
    return image, placements.get(name, None if np.isnan(scale) else pictures.scaled(scale))


def _asked_of_picture(user: Stated, name: str) -> dict:
    """What `pictures.prepare` is to do with a section's picture, as far as the user asks for anything."""
    asked = {} if user.picture_mpp is None else {"picture_mpp": user.picture_mpp}
    return asked | ({"masks": np.array(user.masks[name], float)} if name in (user.masks or {}) else {})


def _image(root: Path, pattern: str, name: str, file: str) -> Path | None:
    """The image of a section by the user's pattern, None where only others have one; ValueError where none has."""
    image = only_file(root, pattern.format(section=name, id=file), images.SUFFIXES)
    every = pattern.format(section="*", id="*")
    if image is None and not any(path.suffix.lower() in images.SUFFIXES for path in root.glob(every)):
        raise ValueError(f"{root / every}: no such image; correct images in the config, or leave it out")
    return image


def _reader_options(layout: str, user: Stated) -> dict[str, str]:
    """What the user states of the inside of the files, for the layout's reader; ValueError where it has no use."""
    options = {key: getattr(user, key) for key in ("counts_layer", "gene_names", "gene_symbols")}
    options = {key: value for key, value in options.items() if value is not None}
    if unknown := set(options) - set(inspect.signature(LAYOUTS[layout]).parameters):
        raise ValueError(f"the layout {layout} has no {' or '.join(sorted(unknown))}; leave it out of the config")
    return options


def _lengths(name: str, raw: RawSection, user: Stated) -> list[float]:
    """Diameter and distance of spots in um; ValueError where neither user nor files tell one, or bins are no spots."""
    lengths = []
    for key in ("spot_um", "pitch_um"):
        stated, found = getattr(user, key), getattr(raw, key)
        length = float(stated or found)
        if np.isnan(length):
            raise ValueError(f"section {name}: its files do not say {key}; give it in the config, in um")
        if abs(length - raw.bin_um) > MPP_TOLERANCE * raw.bin_um:
            raise ValueError(
                f"section {name}: {key} is {length:g} in the config, its files hold bins of {raw.bin_um:g} um (Visium "
                f"HD); leave {key} out to read the bins as spots, or join bins into spots before"
            )
        if abs(length - found) > MPP_TOLERANCE * found:
            warnings.warn(
                f"section {name}: {key} {length:g} um (user) but {found:g} um (files); the first is used", stacklevel=3
            )
        lengths.append(length)
    return lengths


def _patient(name: str, patient: str, patients: Mapping[str, str] | None) -> str:
    """The patient of a section: as the user states, else as its files say, else one of its own, with a warning.

    A name of the user's is spelt as the first that is the same but for letter case and blanks.
    """
    if patients is not None and name not in patients:
        raise ValueError(f"section {name}: not among the patients of the config; add it there")
    if patients is not None:
        known = schema.patient_name(patients[name])
        same = (" ".join(str(one).split()) for one in patients.values() if schema.patient_name(one) == known)
        patient = next(same) if known else ""
    schema.check_words([patient], "patient", f"section {name}")
    if not patient:
        warnings.warn(
            f"section {name}: no patient is known, it counts as one of its own; give patients, one name to sections "
            "that may be of one",
            stacklevel=3,
        )
    return patient or f"{name}?"


def _set_mpp(section: AnnData, user: float | None, embedded: float | None, estimated: float) -> None:
    """Choose the pixel size and keep every source; without a lattice, the image's own pixels place the spots."""
    name = section.uns["section"]
    if user is not None:
        schema.check_mpp(user, f"section {name}")
    sources = {
        "user": user,
        "lattice": mpp_from_lattice(section) if LATTICE in section.obsm else None,
        "embedded": embedded,
        "estimated": estimated,
    }
    low, high = schema.MPP_RANGE
    sources = {source: float(value) for source, value in sources.items() if value is not None and low <= value <= high}
    section.uns["mpp"], section.uns["mpp_source"] = choose_mpp(sources, name)
    if list(sources) == ["lattice"] and abs(section.uns["mpp"] - 1) < OF_UM:
        warnings.warn(
            f"section {name}: by the lattice a pixel is {section.uns['mpp']:.3f} um wide, as where places are in um; "
            "give them in pixels of the image, or, where its pixels are that wide, mpp in the config",
            stacklevel=3,
        )
    section.uns["mpp_by_source"] = sources
    if LATTICE not in section.obsm:
        section.obsm[LATTICE] = section.obsm[SPATIAL] * section.uns["mpp"] / section.uns["pitch_um"]
