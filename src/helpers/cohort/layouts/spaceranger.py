"""10x Visium and Visium HD as Space Ranger leaves them."""

from contextlib import suppress
from pathlib import Path

from helpers.cohort import images, tenx
from helpers.cohort.layouts import arrays, raw
from helpers.cohort.layouts.raw import RawSection
from helpers.schema import SPATIAL


def read(root: Path, name: str) -> RawSection:
    """A section of 10x Visium, `{name}/` or `{name}/outs/` as Space Ranger leaves it; only spots under tissue.

    Barcodes of the matrix and of `spatial/tissue_positions` (.parquet, .csv, or `_list.csv` before version 2, without
    a header; also beside the matrix) are joined by name. Bins of Visium HD are spots as wide as they are apart. The
    image is not among these files: the config's `images` says where it lies; that may be one of Space Ranger's own
    reduced pictures, as `{section}/outs/spatial/tissue_hires_image.png`.
    """
    folder = next((path for path in (root / name / "outs", root / name) if path.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(f"{root / name}: no such folder; check the root and the section's name, or give ids")
    raw.refuse_zarr(folder)
    beside = folder / "spatial" if (folder / "spatial").is_dir() else folder  # archives often hold one flat folder
    matrix_path = folder / "filtered_feature_bc_matrix.h5"
    section = tenx.read_matrix(matrix_path)
    section = raw.section(section.X, section.obs_names, section.var_names)
    path, spots = tenx.read_positions(beside)
    raw.common(section.obs_names, spots.index, matrix_path, path)
    common = tenx.under_tissue(section.obs_names, spots, (matrix_path, path))
    n_dropped = int(spots["in_tissue"].sum()) - len(common)
    section, spots = section[common].copy(), spots.loc[common]
    section.obsm[SPATIAL] = spots[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(float)
    factors = beside / "scalefactors_json.json"
    factors = raw.read_json(factors) if factors.exists() else {}
    reduced = {kind: beside / f"tissue_{kind}_image.png" for kind in ("hires", "lowres")}
    scales = tenx.scales(factors, common, {kind: _size(path) for kind, path in reduced.items()})
    pictures = {path: tenx.number(factors.get(f"tissue_{kind}_scalef")) for kind, path in reduced.items()}
    return arrays.on_array(section, spots, scales)._replace(n_spots_dropped=n_dropped, pictures=pictures)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture that may be there; one that cannot be read says nothing."""
    with suppress(ValueError, OSError):
        return images.size(path)
