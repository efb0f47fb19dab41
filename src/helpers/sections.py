"""Raw files of a section -> AnnData: the only reader of raw files. A layout is one function and an entry of LAYOUTS."""

import gzip
import hashlib
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.stats import theilslopes

from helpers import schema
from helpers.schema import COUNTS, LATTICE, SPATIAL

HER2ST_COMMIT = "85df7411b987a7dec3feff9718b869a7a82091ec"
HER2ST_URL = "https://raw.githubusercontent.com/almaan/her2st/{commit}/{path}"
# Two sources of the pixel size that differ by more are worth a look: the disc would cover 10 % more or less tissue.
MPP_TOLERANCE = 0.05


def read(layout: str, root: str | Path, name: str, mpp: float | None = None) -> AnnData:
    """Read one section.

    `layout` is a key of LAYOUTS, `root` the folder of the cohort, `mpp` the user's pixel size in um, which wins over
    every other source. Raises ValueError or FileNotFoundError naming the file and what to do.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    schema.check_name(name)
    return schema.check_section(LAYOUTS[layout](Path(root), name, mpp))


def read_her2st(root: Path, name: str, mpp: float | None = None) -> AnnData:
    """Read a section of the tree of almaan/her2st (Andersson et al. 2021, doi 10.1038/s41467-021-26271-2).

    Spots of the count file and of the spot file are joined by name, `{x}x{y}`; `uns["n_spots_dropped"]` says how many
    had no partner. A section's image is the one in its folder, `ST-imgs/C/C3/`; without one `uns["image"]` is "".
    """
    counts_path = root / "data" / "ST-cnts" / f"{name}.tsv.gz"
    spots_path = root / "data" / "ST-spotfiles" / f"{name}_selection.tsv"
    spots = _read_spots(spots_path)
    counts, names, genes = _read_counts(counts_path)

    common = names.intersection(spots.index, sort=False)
    if common.empty:
        raise ValueError(f"{counts_path} and {spots_path} have no spot in common; both name a spot as x and y, 10x13")
    n_unpaired = len(names.union(spots.index)) - len(common)
    spots = spots.loc[common]
    section = AnnData(obs=pd.DataFrame(index=common), var=pd.DataFrame(index=genes))
    section.layers[COUNTS] = sparse.csr_matrix(counts[names.get_indexer(common)], dtype=np.float32)
    section.obsm[SPATIAL] = spots[["pixel_x", "pixel_y"]].to_numpy(float)
    section.obsm[LATTICE] = spots[["new_x", "new_y"]].to_numpy(float)
    section.obs["section"] = pd.Categorical([name] * len(common))
    section.obs["patient"] = pd.Categorical([name[0]] * len(common))
    section.obs["total_counts"] = np.asarray(section.layers[COUNTS].sum(1)).ravel()
    image = _only_image(root / "data" / "ST-imgs" / name[0] / name)
    section.uns.update(
        section=name,
        image=str(image or ""),
        n_spots_dropped=n_unpaired,
    )
    sources = {"user": mpp, "lattice": None, "estimated": _hest_mpp(root, name)}
    try:
        sources["lattice"] = mpp_from_lattice(section, spots_path)
    except ValueError:  # too few spots for a slope: the user's value is the way out that the error names
        if mpp is None:
            raise
    section.uns["mpp"], section.uns["mpp_source"] = choose_mpp(sources, name)
    return section


LAYOUTS = {"her2st": read_her2st}


def mpp_from_lattice(section: AnnData, where: str | Path = "") -> float:
    """Pixel size in um: 200 um over the slope of pixel on lattice position, mean of x and y.

    The slope is the median over pairs of spots (Theil and Sen), so a few displaced spots do not move it.
    """
    pixel, lattice = section.obsm[SPATIAL], section.obsm[LATTICE]
    slopes = []
    for axis in (0, 1):
        if np.ptp(lattice[:, axis]) < 1:
            raise ValueError(
                f"{where}: {len(pixel)} spots span no two lattice positions; no pixel size can be derived, set mpp"
            )
        slopes.append(theilslopes(pixel[:, axis], lattice[:, axis]).slope)
    mpp = float(np.mean(schema.SPOT_PITCH_UM / np.array(slopes)))
    if not 0 < mpp < 20:
        raise ValueError(f"{where}: the lattice gives {mpp:.3g} um per pixel; are pixel_x and pixel_y swapped?")
    return mpp


def choose_mpp(sources: dict[str, float | None], name: str) -> tuple[float, str]:
    """Pick the first known pixel size of `sources`, in order, and warn of another that differs by over 5 %."""
    known = {source: value for source, value in sources.items() if value}
    chosen = next(iter(known))
    for source, value in known.items():
        if abs(value / known[chosen] - 1) > MPP_TOLERANCE:
            warnings.warn(
                f"section {name}: pixel size {known[chosen]:.3f} um ({chosen}) but {value:.3f} um ({source}); "
                f"the first is used, set mpp to decide yourself",
                stacklevel=2,
            )
    return known[chosen], chosen


def drop_spots(section: AnnData, image_size: tuple[int, int] | None = None, min_counts: int = 1) -> AnnData:
    """Return the section without spots that have too few counts or a centre outside the image (width, height).

    `uns["n_spots_dropped"]` counts them too. Most spots outside means a wrong image or pixel unit: refused.
    """
    keep = section.obs["total_counts"].to_numpy() >= min_counts
    if not keep.any():
        raise ValueError(f"section {section.uns['section']}: no spot has {min_counts} counts; leave the section out")
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
    kept = section[keep].copy()
    kept.uns["n_spots_dropped"] = int(section.uns["n_spots_dropped"] + np.sum(~keep))
    return kept


def quality(section: AnnData, min_spots: int, min_median_counts: float) -> tuple[bool, str]:
    """Whether the section is kept by the declared rule, and the reason when it is not."""
    if section.n_obs < min_spots:
        return False, f"{section.n_obs} spots, fewer than {min_spots}"
    median = float(section.obs["total_counts"].median())
    if median < min_median_counts:
        return False, f"median of {median:.0f} counts per spot, fewer than {min_median_counts}"
    return True, ""


def fetch_her2st(root: str | Path, manifest: pd.DataFrame, url: str = HER2ST_URL) -> None:
    """Download every file of `manifest` (path, git_blob_sha1) that is not yet below `root`; each is verified.

    Files come from the public repository at the pinned commit. A file appears under its name only once its git blob id
    is right, so an interrupted download is simply started again.
    """
    import pooch
    from tqdm.std import tqdm

    def download(address: str, partial: str, _) -> None:
        pooch.HTTPDownloader(timeout=60)(address, partial, None)
        found, wanted = git_blob_id(Path(partial).read_bytes()), blobs[address]
        if found != wanted:
            raise ValueError(
                f"{address}: wrong file (git blob {found}, expected {wanted}); nothing was kept, try again"
            )

    blobs = {}
    for row in tqdm(list(manifest.itertuples()), desc="almaan/her2st", unit="file"):
        path = Path(root) / row.path
        if path.exists():
            if git_blob_id(path.read_bytes()) != row.git_blob_sha1:
                raise ValueError(f"{path}: not the file of the public repository; remove it and it is fetched again")
            continue
        address = url.format(commit=HER2ST_COMMIT, path=row.path)
        blobs[address] = row.git_blob_sha1
        pooch.retrieve(address, known_hash=None, fname=path.name, path=path.parent, downloader=download)


def git_blob_id(content: bytes) -> str:
    """Git's name of a file: the SHA-1 of `blob <size>`, a zero byte and the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _read_counts(path: Path) -> tuple[np.ndarray, pd.Index, pd.Index]:
    try:
        with gzip.open(path, "rt") as file:
            genes = pd.Index(file.readline().rstrip("\n").split("\t")[1:])
            table = pd.read_csv(file, sep="\t", header=None, index_col=0)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such count file; check the root and the section's name") from None
    except (
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
    ) as error:
        raise ValueError(f"{path}: not a whole gzip table ({error}); fetch the file again") from error
    if table.shape[1] != len(genes):
        raise ValueError(f"{path}: {len(genes)} genes in the header, {table.shape[1]} columns; fetch the file again")
    for names, what in ((genes, "gene"), (table.index, "spot")):
        if names.has_duplicates:
            raise ValueError(f"{path}: {what} {names[names.duplicated()][0]!r} occurs twice; keep one")
    if (table.dtypes == np.dtype(object)).any():
        column = genes[int(np.argmax(table.dtypes == np.dtype(object)))]
        raise ValueError(f"{path}: gene {column!r} holds text where counts are wanted; raw counts are whole numbers")
    values = table.to_numpy()
    schema.check_counts(values, str(path))
    if not values.any():
        raise ValueError(f"{path}: every count is zero; leave the section out of the config")
    return values, pd.Index(table.index.astype(str)), genes


def _read_spots(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such spot file; check the root and the section's name") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable spot file ({error}); fetch the file again") from error
    columns = ["x", "y", "new_x", "new_y", "pixel_x", "pixel_y"]
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; a spot file has {', '.join(columns)}")
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    # A number that lost its last digits is still a number: a column missing after it is what tells.
    damaged = numbers.isna().any(axis=1) | table.isna().any(axis=1)
    if damaged.any():
        raise ValueError(f"{path}: line {np.argmax(damaged) + 2} is cut off or not a number; fetch the file again")
    if (numbers[["x", "y"]] % 1 != 0).any(axis=None):
        raise ValueError(f"{path}: x or y is not a whole number; they name the spot, new_x and new_y place it")
    numbers.index = table["x"].astype(int).astype(str) + "x" + table["y"].astype(int).astype(str)
    if numbers.index.has_duplicates:
        twice = numbers.index[numbers.index.duplicated()][0]
        raise ValueError(f"{path}: spot {twice!r} occurs twice; keep one")
    return numbers


def _only_image(folder: Path) -> Path | None:
    images = sorted(
        path for path in folder.glob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".tif", ".tiff", ".png"}
    )
    if len(images) > 1:
        raise ValueError(f"{folder}: {len(images)} images, one is wanted: {', '.join(path.name for path in images)}")
    return images[0] if images else None


def _hest_mpp(root: Path, name: str) -> float | None:
    """HEST-1k's own estimate, where its metadata lies beside the tree: a second opinion, never the first."""
    path = root / "hest_metadata.csv"
    if not path.exists():
        return None
    table = pd.read_csv(path).set_index("subseries")["pixel_size_um_estimated"]
    return float(table[name]) if name in table.index else None
