"""What 10x Genomics' files state is read from them, whoever wrote them again; files of two sections are refused."""

import json

import numpy as np
import pandas as pd
import pytest
import writers
from anndata import AnnData
from scipy import sparse

from helpers import schema
from helpers.cohort import sections, tenx

MPP, BIN = 0.25, 8.0
PATIENTS = {"patients": {"A1": "P"}}


def bins(n=9, in_tissue=1):
    """Bins of 8 um on an image of 0.25 um per pixel: 32 px apart."""
    row, column = np.divmod(np.arange(n * n), n)
    names = [f"s_008um_{r:05d}_{c:05d}-1" for r, c in zip(row, column, strict=True)]
    table = {"barcode": names, "in_tissue": in_tissue, "array_row": row, "array_col": column}
    return pd.DataFrame(table | {"pxl_row_in_fullres": row * 32.0 + 100, "pxl_col_in_fullres": column * 32.0 + 200})


def hexagons(n=12, in_tissue=1):
    row, half = np.divmod(np.arange(n * n), n)
    column = 2 * half + row % 2
    y, x = row * 50 * np.sqrt(3) / MPP, column * 50 / MPP
    table = {"barcode": [f"A{k:04d}-1" for k in range(n * n)], "in_tissue": in_tissue, "array_row": row}
    return pd.DataFrame(table | {"array_col": column, "pxl_row_in_fullres": y, "pxl_col_in_fullres": x})


def write(root, spots, barcodes=None, factors=None, file="tissue_positions.csv", **how):
    folder = root / "A1/spatial"
    folder.mkdir(parents=True)
    barcodes = spots.loc[spots["in_tissue"] == 1, "barcode"] if barcodes is None else barcodes
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(3, (len(barcodes), 20)))
    writers.matrix_10x(root / "A1/filtered_feature_bc_matrix.h5", counts, barcodes, [f"G{k}" for k in range(20)])
    if file.endswith(".parquet"):
        spots.to_parquet(folder / file, index=False)
    else:
        spots.to_csv(folder / file, **{"index": False} | how)
    if factors:
        (folder / "scalefactors_json.json").write_text(json.dumps(factors))
    return root


def read(root, **more):
    return sections.read("spaceranger", root, "A1", **PATIENTS | more)


STATED = {"bin_size_um": BIN, "microns_per_pixel": MPP, "spot_diameter_fullres": BIN / MPP}


@pytest.mark.parametrize("file", ["tissue_positions.parquet", "tissue_positions.csv", "tissue_positions_list.csv"])
@pytest.mark.parametrize("factors", [STATED, None], ids=["stated", "by name"])
def test_bins_of_visium_hd_are_spots_as_wide_as_they_are_apart(tmp_path, file, factors):
    found = read(write(tmp_path, bins(), factors=factors, file=file))
    assert found.uns["mpp"] == pytest.approx(MPP)
    assert (found.uns["spot_um"], found.uns["pitch_um"]) == (BIN, BIN)
    np.testing.assert_allclose(found.obsm[schema.LATTICE], bins()[["array_col", "array_row"]])


def test_every_second_bin_is_no_hexagon(tmp_path):
    spots = bins().query("(array_row + array_col) % 2 == 0")
    assert read(write(tmp_path, spots)).uns["mpp"] == pytest.approx(MPP)


def test_lengths_of_spots_are_refused_for_bins(tmp_path):
    with pytest.raises(ValueError, match=r"A1: spot_um is 55 in the config, its files hold bins of 8 um \(Visium HD\)"):
        read(write(tmp_path, bins()), spot_um=55, pitch_um=100)


def test_bins_in_an_h5ad_file_are_known_by_their_names_or_their_scale_factors(tmp_path):
    spots = bins()
    for name, names, uns in (("a", spots["barcode"], {}), ("b", spots["barcode"].str[8:], {"bin_size_um": BIN})):
        made = AnnData(X=np.ones((len(spots), 3)), obs=spots.set_index(names)[["array_row", "array_col"]])
        made.var_names = ["G1", "G2", "G3"]
        made.obsm["spatial"] = spots[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
        made.uns["spatial"] = {"library": {"scalefactors": uns | {"microns_per_pixel": MPP}}}
        made.write_h5ad(tmp_path / f"{name}.h5ad")
        found = sections.read("h5ad", tmp_path, name, patients={name: "P"})
        assert (found.uns["mpp"], found.uns["pitch_um"]) == (pytest.approx(MPP), BIN)
        assert found.uns["mpp_by_source"]["estimated"] == MPP


def test_an_array_that_is_not_visiums_has_no_lengths_of_visium(tmp_path):
    spots = bins().assign(barcode=[f"A{k}-1" for k in range(81)])
    with pytest.raises(ValueError, match="A1: its files do not say spot_um"):
        read(write(tmp_path, spots))


def test_a_bin_size_stated_twice_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="bins of 16 um by the scale factors, of 8 um by their names"):
        assert tenx.scales({"bin_size_um": 16}, pd.Index(bins()["barcode"])).bin_um == 16


def test_the_size_of_the_image_follows_from_the_reduced_one():
    sizes, factors = {"hires": (2000, 1500), "lowres": (600, 450)}, {"hires": 0.25, "lowres": 0.075}
    for kinds in (["hires"], ["lowres"], ["hires", "lowres"]):
        stated = {f"tissue_{kind}_scalef": factors[kind] for kind in kinds}
        assert tenx.scales(stated, pd.Index(["A-1"]), sizes).size == pytest.approx((8000, 6000))
        assert tenx.scales(stated, pd.Index(["A-1"]), dict.fromkeys(sizes)).size is None
    assert tenx.scales({}, pd.Index(["A-1"]), sizes).size is None


# --- the table of positions ---

SEURAT = ["", "tissue", "row", "col", "imagerow", "imagecol"]


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda t: t, {}),
        (lambda t: t, {"header": False}),
        (lambda t: t, {"sep": ";"}),
        (lambda t: t, {"sep": "\t"}),
        (lambda t: t.reset_index(), {}),
        (lambda t: t.assign(region="tumour"), {}),
        (lambda t: t.assign(region=[None, *["tumour"] * (len(t) - 1)]), {}),
        (lambda t: t.set_axis(SEURAT, axis=1), {}),
        (lambda t: t.assign(in_tissue=t["in_tissue"] == 1), {}),
        (lambda t: t.assign(in_tissue=t["in_tissue"] == 1), {"header": False}),
        (lambda t: t[t.columns[::-1]], {}),
        (lambda t: t, {"quoting": 1, "lineterminator": "\r\n"}),
    ],
    ids=[
        *("as written", "no header", "semicolons", "tabs", "index", "region", "gaps", "Seurat", "true", "bare true"),
        *("turned", "quotes"),
    ],
)
def test_positions_are_found_by_name(tmp_path, change, how):
    spots = hexagons(in_tissue=np.arange(144) % 5 > 0).astype({"in_tissue": int})
    (tmp_path / "a").mkdir()
    whole = read(write(tmp_path / "a", spots))
    (tmp_path / "b").mkdir()
    root = write(tmp_path / "b", spots, file="spots.csv")
    change(spots).to_csv(root / "A1/spatial/tissue_positions_list.csv", **{"index": False} | how)
    found = read(root)
    assert list(found.obs_names) == list(whole.obs_names) and found.n_obs == 115
    np.testing.assert_array_equal(found.obsm[schema.SPATIAL], whole.obsm[schema.SPATIAL])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop(columns="array_row"), "no column array_row; .* this has barcode, in_tissue, array_col"),
        (lambda t: t.assign(in_tissue=2), "in_tissue holds 2.0 at 2; 0 and 1 are wanted"),
        (lambda t: t.assign(in_tissue="yes"), "line 2 is cut off or not a number, in_tissue holds 'yes'"),
        (lambda t: t.assign(in_tissue=0), "in_tissue is 0 for all 144 spots"),
        (lambda t: pd.concat([t, t.iloc[[3]]]), "spot 'A0003-1' occurs twice"),
    ],
)
def test_positions_that_are_none_are_refused(tmp_path, change, says):
    root = write(tmp_path, hexagons(), file="spots.csv")
    change(hexagons()).to_csv(root / "A1/spatial/tissue_positions.csv", index=False)
    with pytest.raises(ValueError, match=f"tissue_positions.csv: {says}"):
        read(root)


def test_packed_positions_are_read_and_a_second_table_is_warned_of(tmp_path):
    root = write(tmp_path, hexagons(), file="tissue_positions.csv.gz")
    assert read(root).n_obs == 144
    hexagons().to_parquet(root / "A1/spatial/tissue_positions.parquet")
    with pytest.warns(UserWarning, match="positions.parquet is read, not tissue_positions.csv.gz beside it; keep one"):
        read(root)


# --- matrix and positions ---


def test_a_raw_matrix_is_read_under_tissue(tmp_path):
    spots = hexagons(in_tissue=(np.arange(144) > 9).astype(int))
    assert read(write(tmp_path, spots, barcodes=spots["barcode"])).n_obs == 134


@pytest.mark.parametrize(
    ("barcodes", "says"),
    [
        (slice(15, 139), "5 of 124 barcodes of the matrix are not in_tissue, 5 of 124 that are have no counts"),
        (slice(20, 143), "0 of 123 barcodes of the matrix are not in_tissue, 1 of 124 that are have no counts"),
        (slice(19, 144), "1 of 125 barcodes of the matrix are not in_tissue, 0 of 124 that are have no counts"),
    ],
)
def test_files_of_two_sections_are_refused_with_how_many_disagree(tmp_path, barcodes, says):
    spots = hexagons(in_tissue=(np.arange(144) > 19).astype(int))
    root = write(tmp_path, spots, barcodes=spots["barcode"][barcodes])
    with pytest.raises(ValueError, match=f"filtered_feature_bc_matrix.h5 and .*csv disagree: {says}"):
        read(root)


def test_bins_without_a_molecule_are_in_no_matrix(tmp_path):
    root = write(tmp_path, bins(), barcodes=bins()["barcode"][5:])
    found = read(root)
    assert (found.n_obs, found.uns["n_spots_dropped"]) == (76, 5)


def test_a_flag_is_zero_or_one():
    assert tenx.flags(pd.Series(["True", "0", "false", "1"]), "a").tolist() == [True, False, False, True]
    for value in (np.nan, "yes", 2):
        with pytest.raises(ValueError, match="a holds .* at 1; 0 and 1 are wanted"):
            tenx.flags(pd.Series([1, value], dtype=object), "a")
