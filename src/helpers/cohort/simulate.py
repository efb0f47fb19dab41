"""The toy cohort: tissue, nuclei, H&E and counts with known truth, in the same files as the her2st tree.

One section is made in the order of nature: regions of tissue, nuclei in them, the stained image of those nuclei, and
the counts that the spots capture from the very same nuclei. Each step has its own random stream, named by seed, section
and step: turning the coupling off changes the counts and leaves tissue, image and composition as they were.
"""

import functools
import gzip
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates
from scipy.spatial import cKDTree

from helpers import store
from helpers.schema import SPOT_DIAMETER_UM, SPOT_PITCH_UM

SECTIONS = {"A1": 9000, "A2": 8000, "B1": 3000, "B2": 3500, "C1": 650, "C2": 700}  # median UMI of a spot
MARGIN = 115.0  # um from the outer spot centres to the border of the image
GRID = 4.0  # um; regions, programs and fat cells are smooth at this scale
MARKERS = {"ERBB2": "tumour", "GNAS": "tumour", "CD74": "immune"}
MITOCHONDRIAL = ["ND1", "ND2", "ND3", "ND4", "ND4L", "ND5", "CO1", "CO2", "CO3", "ATP6", "ATP8", "CYB"]
OVERDISPERSION = 0.05
AMBIENT = 3.0  # RNA that every spot catches from afar, in stromal nuclei


class CellType(NamedTuple):
    """A kind of cell: how it looks, how dense it lies, and what it expresses."""

    density: float  # nuclei per mm2 where the region is pure
    axes: tuple[float, float]  # semi-axes of the nucleus, um
    haematoxylin: float  # optical density
    rim: float  # share of the stain that sits at the border (vesicular nuclei)
    output: float  # RNA of a cell, in stromal cells
    eosin: float
    cytoplasm: float  # haematoxylin around the nuclei


CELL_TYPES = {
    "tumour": CellType(4600, (4.6, 3.7), 1.0, 0.45, 2.0, 0.34, 0.10),
    "stroma": CellType(1900, (6.0, 1.9), 1.25, 0.1, 1.0, 0.46, 0.02),
    "immune": CellType(7600, (2.9, 2.6), 1.5, 0.1, 0.9, 0.20, 0.07),
    "adipose": CellType(900, (4.2, 1.5), 1.25, 0.1, 0.8, 0.0, 0.0),
}
N_PROGRAMS = 2  # smooth spatial programs within each cell type


class Design(NamedTuple):
    """How sections are made."""

    seed: int = 0
    coupling: float = 1.0  # 1: a spot's expected depth follows its nuclei; 0: it does not; composition is the same
    lattice: tuple[int, int] = (12, 11)  # spots in x and y
    mpp: float = 0.688  # um per pixel


def write_cohort(
    root: str | Path,
    *,
    sections: Mapping[str, float] = SECTIONS,
    n_genes: int = 600,
    images: bool = True,
    **design,
) -> list[str]:
    """Write a toy cohort under `root` as the files of the her2st tree, with `truth/` beside `data/`; return the names.

    `sections` maps names (patient's letter, number) to the median UMI of a spot; `images=False` leaves the H&E out;
    `design` are fields of `Design`. The same arguments give the same bytes.

    `truth/<section>.csv` holds per spot n_nuclei_true (centroids in the 100 um disc), the share of its RNA by cell type
    and ambient, capture and expected_depth (UMI); `truth/<section>_nuclei.csv` x, y (pixels), area_um2, cell_type;
    `truth/genes.csv` the profiles. As in the real cohort a section loses 0 to 3 spots when its files are joined, and
    one spot of the last section has no UMI. ValueError on a name that is no section's and on a value out of range.
    """
    plan = Design(**design)
    _check(sections, n_genes, plan)
    root = Path(root)
    genes = gene_profiles(n_genes, plan.seed)
    _write(root / "truth/genes.csv", genes.to_csv().encode())
    for k, (name, depth) in enumerate(sections.items()):
        made = section(name, depth, genes, image=images, empty_spot=k == len(sections) - 1, **design)
        # The ends of the list stand for spots that one of the two files lacks.
        made["counts"] = made["counts"].iloc[k % 3 :]
        made["spots"] = made["spots"].iloc[: len(made["spots"]) - k % 2].sample(frac=1, random_state=plan.seed)
        _write_section(root, name, made)
    return list(sections)


def section(
    name: str,
    depth: float,
    genes: pd.DataFrame,
    *,
    image: bool = True,
    empty_spot: bool = False,
    **design,
) -> dict:
    """One section in memory: `counts`, `spots`, `truth`, `nuclei` (tables) and `image` (uint8 RGB, or None).

    `depth` is the median UMI of a spot, `genes` comes from `gene_profiles`, `design` are fields of `Design`; spots lie
    on the lattice where the disc is mostly tissue.
    """
    seed, coupling, lattice, mpp = Design(**design)
    tissue, nuclei = _cells(name, tuple(lattice), mpp, seed)
    spots = _spots(tissue, lattice, mpp, _rng(seed, name, "spots"))
    at = spots[["pixel_x", "pixel_y"]].to_numpy() * mpp
    n = _count_by_type(nuclei, at)
    share, rna = _rna(n)
    capture = _capture(tissue, at, n.sum(axis=1), _rng(seed, name, "capture"))
    relative = capture * (rna / rna.mean()) ** coupling
    expected = depth * relative / np.median(relative)
    if empty_spot:
        capture[len(n) // 2] = expected[len(n) // 2] = 0
    mixture = _mixture(tissue, at, share, genes, _rng(seed, name[0], "expression"))
    counts = _counts(expected, mixture, _rng(seed, name, "counts"))
    truth = pd.DataFrame(share.round(6), columns=[*CELL_TYPES, "ambient"], index=spots.index)
    truth.insert(0, "n_nuclei_true", n.sum(axis=1))
    return {
        "counts": pd.DataFrame(counts, index=spots.index.rename(None), columns=genes.index.rename(None)),
        "spots": spots,
        "truth": truth.assign(capture=capture.round(6), expected_depth=expected.round(3)),
        "nuclei": nuclei[["x", "y", "area_um2", "cell_type"]].assign(x=nuclei["x"] / mpp, y=nuclei["y"] / mpp),
        "image": _stain(tissue, nuclei, mpp, seed, name) if image else None,
    }


def gene_profiles(n_genes: int = 600, seed: int = 0) -> pd.DataFrame:
    """Share of each gene in the RNA of each cell type (columns sum to 1), with its marker type and programs.

    Abundance is lognormal. A third of the genes mark a cell type, another third follow programs within one
    (`program_<type>_<k>`: log fold change for one standard deviation of the program's field); the rest tell nothing.
    """
    rng = _rng(seed, "genes", "profiles")
    mitochondrial = [f"MT-{g}" for g in MITOCHONDRIAL]
    ribosomal = [f"{p}{i}" for p in ("RPL", "RPS") for i in range(3, 28)]
    n_toy = n_genes - len(MARKERS) - len(mitochondrial) - len(ribosomal)
    names = [*MARKERS, *mitochondrial, *ribosomal, *(f"GENE{i:03d}" for i in range(1, n_toy + 1))]
    toy = np.array([g.startswith("GENE") for g in names])
    base = np.exp(rng.normal(0, 1.2, n_genes))
    base[: len(MARKERS)] = np.exp(1.8)
    base[[g.startswith("MT-") for g in names]] *= 8
    base[[g.startswith("RP") for g in names]] *= 4
    kind = np.where(toy, rng.choice(["marker", "program", "none"], n_genes), "none")
    types = rng.choice(list(CELL_TYPES), n_genes, p=[0.4, 0.25, 0.25, 0.1])
    marker = np.where(kind == "marker", types, "")
    marker[: len(MARKERS)] = list(MARKERS.values())
    fold = np.where(toy, np.exp(rng.normal(1.4, 0.4, n_genes)).clip(3), 8)
    table = pd.DataFrame({"marker": marker}, index=pd.Index(names, name="gene"))
    for cell_type in CELL_TYPES:
        share = base * np.where(marker == cell_type, fold, 1)
        # Markers make up the same share of every type: shares sum to 1, and other genes must not move in return.
        share[marker != ""] *= base[marker != ""].sum() / share[marker != ""].sum()
        table[cell_type] = share / share.sum()
    for cell_type in CELL_TYPES:
        for k in range(N_PROGRAMS):
            member = (kind == "program") & (types == cell_type) & (rng.integers(N_PROGRAMS, size=n_genes) == k)
            table[f"program_{cell_type}_{k}"] = np.where(member, rng.normal(0, 0.6, n_genes), 0)
    return table


def _check(sections: Mapping, n_genes: int, design: Design) -> None:
    _, coupling, lattice, mpp = design
    for name, depth in sections.items():
        if not re.fullmatch(r"[A-Z]\d+", name):
            raise ValueError(f"toy section {name!r}: name it by its patient's capital letter and a number, as in A1")
        if not depth > 0:
            raise ValueError(f"toy section {name}: median depth must be above 0 UMI, got {depth}")
    if not sections:
        raise ValueError("toy cohort: name at least one section")
    if not 0 <= coupling <= 1:
        raise ValueError(f"toy cohort: coupling must lie between 0 (off) and 1 (on), got {coupling}")
    if min(lattice) < 3:
        raise ValueError(f"toy cohort: the lattice needs at least 3 spots in x and y, got {lattice}")
    if n_genes < 100:
        raise ValueError(f"toy cohort: n_genes must be at least 100, got {n_genes}")
    if not 0.2 <= mpp <= 2:
        raise ValueError(f"toy cohort: mpp must lie between 0.2 and 2 um per pixel, got {mpp}")


def _rng(seed: int, name: str, step: str) -> np.random.Generator:
    return np.random.default_rng([seed, *f"{name}/{step}".encode()])


def _field(rng: np.random.Generator, shape: tuple[int, int], length_um: float) -> np.ndarray:
    """Smooth Gaussian field with mean 0 and sd 1."""
    # Drawn coarse, four points a length, and wider by eight, so that borders look like the middle.
    step = length_um / GRID / 4
    coarse = [int(np.ceil(n / step)) + 16 for n in shape]
    white = Image.fromarray(gaussian_filter(rng.standard_normal(coarse), 4).astype(np.float32))
    box = (8, 8, 8 + shape[1] / step, 8 + shape[0] / step)
    field = np.asarray(white.resize(shape[::-1], Image.Resampling.BICUBIC, box=box), float)
    return (field - field.mean()) / field.std()


def _at(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Value of a grid field at points in um."""
    return map_coordinates(field, [np.asarray(y) / GRID, np.asarray(x) / GRID], order=1, mode="nearest")


@functools.lru_cache(maxsize=1)
def _cells(name: str, lattice: tuple[int, int], mpp: float, seed: int) -> tuple[dict, pd.DataFrame]:
    """Tissue and nuclei of a section, kept for the next: they are the same under every coupling."""
    tissue = _tissue(name, lattice, seed)
    return tissue, _nuclei(tissue, mpp, _rng(seed, name, "nuclei"))


def _tissue(name: str, lattice: tuple[int, int], seed: int) -> dict:
    """Fields of one section on the grid; serial sections of a patient share most of theirs."""
    size = [SPOT_PITCH_UM * (n - 1) + 2 * MARGIN for n in lattice]
    shape = (int(np.ceil(size[1] / GRID)) + 1, int(np.ceil(size[0] / GRID)) + 1)
    patient, own = _rng(seed, name[0], "tissue"), _rng(seed, name, "tissue")

    def serial(length_um: float) -> np.ndarray:
        mixed = 0.85 * _field(patient, shape, length_um) + 0.53 * _field(own, shape, length_um)
        return mixed / mixed.std()

    logits = np.stack([5.0 * serial(130) for _ in CELL_TYPES])
    logits += np.array([1.0, 0.8, 0.0, -2.2])[:, None, None] + patient.normal(0, 0.4, (len(CELL_TYPES), 1, 1))
    weights = np.exp(logits - logits.max(axis=0))
    yy, xx = np.mgrid[: shape[0], : shape[1]].astype(float)
    bow = (2 * xx / shape[1] - 1) ** 6 + (2 * yy / shape[0] - 1) ** 6
    inside = 1 / (1 + np.exp(-60 * (1.05 - bow + 0.3 * serial(150))))
    # Fat cells: thin walls between the points of a coarse hard-core process, nuclei only in the walls.
    centres = own.uniform(0, 1, (shape[0] * shape[1] * int(GRID**2) // 1500, 2)) * shape[::-1]
    centres = centres[_apart(centres, np.full(len(centres), 22 / GRID))]
    distance = cKDTree(centres).query(np.column_stack([xx.ravel(), yy.ravel()]), k=2)[0]
    wall = np.exp(-(((distance[:, 1] - distance[:, 0]) * GRID / 4) ** 2)).reshape(shape)
    # Fibres run where this phase is constant: straight lines bent by a smooth field.
    angle = own.uniform(0, np.pi)
    phase = GRID * (np.cos(angle) * xx + np.sin(angle) * yy) + 70 * _field(own, shape, 120)
    return {
        "size": size,
        "inside": inside,
        "regions": weights / weights.sum(axis=0) * inside,
        "crowding": np.exp(0.45 * serial(90)),
        "programs": np.stack([serial(160) for _ in range(len(CELL_TYPES) * N_PROGRAMS)]),
        "wall": wall,
        "phase": phase,
    }


def _apart(points: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Hard core: keep points in order, unless one comes nearer to a kept one than the sum of their radii."""
    pairs = cKDTree(points).query_pairs(2 * radius.max(), output_type="ndarray")
    near = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1) < radius[pairs].sum(axis=1)
    pairs = pairs[near]  # query_pairs gives the smaller index first
    kept = np.ones(len(points), bool)
    for first, second in pairs[np.argsort(pairs[:, 1], kind="stable")].tolist():
        if kept[first]:
            kept[second] = False
    return kept


def _nuclei(tissue: dict, mpp: float, rng: np.random.Generator) -> pd.DataFrame:
    """Inhomogeneous hard-core process of nuclei: centre (um), cell type, semi-axes (um), angle, area (um2)."""
    parts = []
    gy, gx = np.gradient(tissue["phase"])
    for t, (name, cell) in enumerate(CELL_TYPES.items()):
        place = tissue["wall"] if name == "adipose" else tissue["crowding"]
        n = rng.poisson(1.25 * cell.density * 1e-6 * GRID**2 * tissue["regions"][t] * place)
        rows, columns = np.nonzero(n)
        at = np.repeat(np.column_stack([columns, rows]), n[rows, columns], axis=0)
        x, y = (GRID * (at + rng.uniform(-0.5, 0.5, at.shape))).T
        # The first tumour program is also seen: nuclei grow with it.
        swell = 0.12 * _at(tissue["programs"][0], x, y) if name == "tumour" else 0.0
        scale = np.exp(swell + rng.normal(0, 0.12, len(x)))
        stretch = np.exp(rng.normal(0, 0.12, len(x)))
        along = np.arctan2(_at(gx, x, y), -_at(gy, x, y)) + rng.normal(0, 0.25, len(x))
        angle = along if name in ("stroma", "adipose") else rng.uniform(0, np.pi, len(x))
        a, b = cell.axes[0] * scale * stretch, cell.axes[1] * scale / stretch
        parts.append(pd.DataFrame({"x": x, "y": y, "cell_type": name, "a": a, "b": b, "angle": angle}))
    nuclei = pd.concat(parts, ignore_index=True)
    nuclei = nuclei[nuclei["x"].between(1, tissue["size"][0] - 1) & nuclei["y"].between(1, tissue["size"][1] - 1)]
    nuclei = nuclei.iloc[rng.permutation(len(nuclei))]
    core = 0.85 * np.sqrt(nuclei["a"] * nuclei["b"])  # crowded nuclei touch, and overlap a little in a thick section
    kept = _apart(nuclei[["x", "y"]].to_numpy(), core.to_numpy())
    nuclei = nuclei[kept].reset_index(drop=True)
    nuclei[["x", "y"]] = (nuclei[["x", "y"]] / mpp).round(2) * mpp  # as written, so that a count from the file agrees
    return nuclei.assign(area_um2=np.pi * nuclei["a"] * nuclei["b"])


def _spots(tissue: dict, lattice: tuple[int, int], mpp: float, rng: np.random.Generator) -> pd.DataFrame:
    """Lattice points under tissue, in the columns of a spot file."""
    x0, y0 = rng.integers(3, 9, 2)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(lattice[0]), np.arange(lattice[1]), indexing="ij"))
    jitter = np.clip(rng.normal(0, 0.03, (2, len(x))), -0.1, 0.1)
    new = np.round(np.stack([x + x0, y + y0]) + jitter, 3)
    pixel = np.round((SPOT_PITCH_UM * (new - np.array([[x0], [y0]])) + MARGIN) / mpp, 2)
    spots = pd.DataFrame({"x": x + x0, "y": y + y0, "new_x": new[0], "new_y": new[1]})
    spots["pixel_x"], spots["pixel_y"] = pixel
    spots["selected"] = 1
    spots.index = pd.Index(spots["x"].astype(str) + "x" + spots["y"].astype(str), name="spot")
    under = _at(gaussian_filter(tissue["inside"], SPOT_DIAMETER_UM / 4 / GRID), *(pixel * mpp)) > 0.5
    return spots[under]


def _count_by_type(nuclei: pd.DataFrame, at: np.ndarray) -> np.ndarray:
    """Nuclei with their centre in the disc around each point: points x cell types."""
    inside = cKDTree(nuclei[["x", "y"]].to_numpy()).query_ball_point(at, SPOT_DIAMETER_UM / 2)
    kinds = pd.Categorical(nuclei["cell_type"], categories=list(CELL_TYPES)).codes
    return np.stack([np.bincount(kinds[i], minlength=len(CELL_TYPES)) for i in inside])


def _rna(n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each spot, from its nuclei by type: the share of its RNA by cell type and ambient, and how much it is.

    RNA is counted in stromal cells: that of the disc's nuclei by type, and what floats about.
    """
    rna = np.column_stack([n * [cell.output for cell in CELL_TYPES.values()], np.full(len(n), AMBIENT)])
    return rna / rna.sum(axis=1, keepdims=True), rna.sum(axis=1)


def _counts(expected: np.ndarray, mixture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts, spots x genes, of spots of these expected depths and shares of genes: negative binomial."""
    scatter = rng.gamma(1 / OVERDISPERSION, OVERDISPERSION, mixture.shape)
    return rng.poisson(expected[:, None] * mixture * scatter)


def _capture(tissue: dict, at: np.ndarray, n_nuclei: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Capture efficiency of each spot around 1: a smooth part and one of the spot alone."""
    smooth = _at(_field(rng, tissue["inside"].shape, 300), *at.T)
    # Two smooth fields agree by chance: without that part of it, no coupling means none.
    slope, level = np.polyfit(np.log1p(n_nuclei), smooth, 1)
    smooth = smooth - slope * np.log1p(n_nuclei) - level
    return np.exp(0.25 * smooth + rng.normal(0, 0.45, len(at)))


def _mixture(
    tissue: dict, at: np.ndarray, share: np.ndarray, genes: pd.DataFrame, patient: np.random.Generator
) -> np.ndarray:
    """Expected share of each gene in each spot: cell types by their RNA, their programs, the patient's taste."""
    taste = np.exp(patient.normal(0, 0.3, len(genes)))
    programs = np.stack([_at(f, *at.T) for f in tissue["programs"]], axis=1)
    mixture = np.zeros((len(at), len(genes)))
    for t, name in enumerate(CELL_TYPES):
        fields = slice(t * N_PROGRAMS, (t + 1) * N_PROGRAMS)
        loadings = genes[[f"program_{name}_{k}" for k in range(N_PROGRAMS)]].to_numpy()
        profile = genes[name].to_numpy() * taste * np.exp(programs[:, fields] @ loadings.T)
        mixture += share[:, [t]] * profile / profile.sum(axis=1, keepdims=True)
    ambient = mixture.sum(axis=0) / mixture.sum()  # what floats about is the section's average
    return mixture + share[:, [-1]] * ambient


def _stain(tissue: dict, nuclei: pd.DataFrame, mpp: float, seed: int, name: str) -> np.ndarray:
    """H&E of the section, uint8 RGB: two stains added as optical density (Beer-Lambert), optics, sensor noise."""
    rng, patient = _rng(seed, name, "image"), _rng(seed, name[0], "stain")
    shape = tuple(int(np.ceil(s / mpp)) for s in tissue["size"][::-1])
    haematoxylin, eosin = _background(tissue, shape, mpp, rng)
    _draw(nuclei, haematoxylin, eosin, mpp, rng)
    stains = np.array([[0.65, 0.70, 0.29], [0.10, 0.96, 0.25]]) + patient.normal(0, 0.02, (2, 3))
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    strength = patient.normal(1, 0.06, 2)
    white = np.array([240, 232, 240], np.float32)
    picture = np.empty((*shape, 3), np.uint8)
    for top in range(0, shape[0], 256):  # strips stay in the processor's cache
        rows = slice(top, top + 256)
        for c, (by_haematoxylin, by_eosin) in enumerate((strength[:, None] * stains).T.astype(np.float32)):
            density = haematoxylin[rows] * by_haematoxylin + eosin[rows] * by_eosin
            picture[rows, :, c] = white[c] * np.exp(-density) + np.float32(0.5)
    picture = np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(0.55 / mpp)))
    for top in range(0, shape[0], 256):
        strip = picture[top : top + 256]
        grey = np.rint(2 * rng.standard_normal((*strip.shape[:2], 1), np.float32)).astype(np.int16)
        picture[top : top + 256] = np.clip(strip + grey, 0, 255)
    return picture


def _background(
    tissue: dict, shape: tuple[int, int], mpp: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Haematoxylin and eosin of everything but nuclei, as optical density."""

    def full(field: np.ndarray) -> np.ndarray:
        # Grid values stand for points, the resampler's for cells: half a cell between the two.
        box = (0.5, 0.5, 0.5 + shape[1] * mpp / GRID, 0.5 + shape[0] * mpp / GRID)
        image = Image.fromarray(field.astype(np.float32))
        return np.asarray(image.resize(shape[::-1], Image.Resampling.BILINEAR, box=box))

    regions = dict(zip(CELL_TYPES, tissue["regions"], strict=True))
    step = 0.25  # um a step of the one-dimensional noise that fibres are made of
    bundle = gaussian_filter1d(rng.standard_normal(1 << 16), 1.6 / step)
    bundle = np.clip(1 + 0.45 * bundle / bundle.std(), 0.15, 2.2).astype(np.float32)
    fibres = bundle[(full(tissue["phase"] - tissue["phase"].min()) / step).astype(np.int32) % len(bundle)]
    eosin = full(regions["stroma"]) * np.float32(CELL_TYPES["stroma"].eosin) * fibres
    others = CELL_TYPES["tumour"].eosin * regions["tumour"] + CELL_TYPES["immune"].eosin * regions["immune"]
    eosin += full(others + 0.4 * tissue["wall"] * regions["adipose"])
    grain = np.float32(1) + np.float32(0.2) * _noise_tile(rng, 1.0 / mpp)
    repeats = [n // len(grain) + 1 for n in shape]
    eosin *= np.tile(grain, repeats)[: shape[0], : shape[1]]
    haematoxylin = full(sum(cell.cytoplasm * regions[n] for n, cell in CELL_TYPES.items()))
    return np.array(haematoxylin), np.maximum(eosin, 0)


def _noise_tile(rng: np.random.Generator, length_px: float) -> np.ndarray:
    """Smooth noise of sd 1 that repeats seamlessly."""
    noise = gaussian_filter(rng.standard_normal((1024, 1024), np.float32), length_px, mode="wrap")
    return noise / noise.std()


def _draw(
    nuclei: pd.DataFrame, haematoxylin: np.ndarray, eosin: np.ndarray, mpp: float, rng: np.random.Generator
) -> None:
    """Add nuclei to both stains in place: ellipses with an uneven outline, clumped chromatin and a stained rim."""
    outline, chromatin = 0.09 * _noise_tile(rng, 2.0 / mpp), 0.16 * _noise_tile(rng, 0.7 / mpp)
    height, width = haematoxylin.shape
    cells = [CELL_TYPES[t] for t in nuclei["cell_type"]]
    density = [c.haematoxylin for c in cells] * np.exp(rng.normal(-0.05, 0.22, len(nuclei)))
    turn = np.cos(nuclei["angle"]), np.sin(nuclei["angle"])
    shapes = np.column_stack([nuclei[["x", "y", "a", "b"]] / mpp, *turn, density]).tolist()
    corners = rng.integers(0, 900, (len(nuclei), 2)).tolist()  # of a window of the noise tiles
    for cell, (i, j), (x, y, a, b, cos, sin, dark) in zip(cells, corners, shapes, strict=True):
        reach = max(a, b) * 1.2 + 2
        left, right = max(int(x - reach), 0), min(int(x + reach) + 1, width)
        top, bottom = max(int(y - reach), 0), min(int(y + reach) + 1, height)
        dx = np.arange(left, right, dtype=np.float32) - x
        dy = np.arange(top, bottom, dtype=np.float32)[:, None] - y
        here = slice(i, i + bottom - top), slice(j, j + right - left)
        along, across = (cos * dx + sin * dy) / a, (cos * dy - sin * dx) / b
        radius = np.sqrt(along * along + across * across) + outline[here]
        cover = np.clip((1 - radius) * min(a, b) / 1.5 + 0.5, 0, 1)
        stain = cover * dark * (1 + cell.rim * (radius * radius - 0.7) + chromatin[here])
        window = slice(top, bottom), slice(left, right)
        np.maximum(haematoxylin[window], stain, out=haematoxylin[window])
        eosin[window] *= 1 - 0.6 * cover


def _write_section(root: Path, name: str, made: Mapping) -> None:
    """The files of one section, as those of the her2st tree, and its truth."""
    counts = made["counts"].loc[:, made["counts"].sum() > 0]  # a real count file lists only genes seen in the section
    table = gzip.compress(counts.to_csv(sep="\t").encode(), mtime=0)
    _write(root / f"data/ST-cnts/{name}.tsv.gz", table)
    _write(root / f"data/ST-spotfiles/{name}_selection.tsv", made["spots"].to_csv(sep="\t", index=False).encode())
    _write(root / f"truth/{name}.csv", made["truth"].to_csv().encode())
    _write(root / f"truth/{name}_nuclei.csv", made["nuclei"].to_csv(index=False, float_format="%.2f").encode())
    if made["image"] is not None:
        jpeg = io.BytesIO()
        Image.fromarray(made["image"]).save(jpeg, "JPEG", quality=85, subsampling="4:2:0")
        _write(root / f"data/ST-imgs/{name[0]}/{name}/toy_HE_{name}.jpg", jpeg.getvalue())


def _write(path: Path, content: bytes) -> None:
    with store.atomic(path) as partial:
        partial.write_bytes(content)
