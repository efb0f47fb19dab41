"""Each bad input ends in one error that names the file or section and what to do, with nothing half-written."""

import gzip
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import tifffile
import writers
import yaml
from anndata import AnnData
from PIL import Image

from helpers import store
from helpers.cohort import config as configs
from helpers.cohort import images, sections, simulate
from helpers.models import backbones
from helpers.targets import normalization
from helpers.targets.panel import choose_panel, gene_statistics
from helpers.tissue import patches

ROOT = Path(__file__).parents[1]
COUNT_FILE, SPOT_FILE = "data/ST-cnts/A1.tsv.gz", "data/ST-spotfiles/A1_selection.tsv"
IMAGE = "data/ST-imgs/A/A1/toy_HE_A1.jpg"


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("good")
    simulate.write_cohort(root, sections={"A1": 3000, "B1": 900}, lattice=(5, 4), n_genes=120)
    return root


@pytest.fixture
def root(good, tmp_path) -> Path:
    return shutil.copytree(good, tmp_path / "cohort")


def read(root: Path, name: str = "A1") -> AnnData:
    """The way of a section's files into the study."""
    section = sections.read("her2st", root, name)
    section = sections.drop_spots(section, images.size(section.uns["image"]) if section.uns["image"] else None)
    if section.uns["image"]:
        images.open(section.uns["image"], section.uns["mpp"])
    return section


# --- ways to spoil a file ---


def gone(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def without_its_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def with_a_wrong_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def not_packed(path: Path) -> None:
    path.write_bytes(gzip.decompress(path.read_bytes()))


def packed_short(path: Path) -> None:
    """A whole gzip of a table that was cut in a line."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-30]))


def header_only(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).split(b"\n")[0]))


def a_web_page(path: Path) -> None:
    page = b"<html>404: Not Found</html>\n"
    path.write_bytes(gzip.compress(page) if path.suffix == ".gz" else page)


def cell(value):
    def change(table):
        table = table.astype(object)
        table.iloc[4, 7] = value
        return table

    return change


def change_counts(path: Path, change) -> None:
    table = change(pd.read_csv(path, sep="\t", index_col=0))
    table.to_csv(path, sep="\t", na_rep="NaN")


def change_spots(path: Path, change) -> None:
    change(pd.read_csv(path, sep="\t")).to_csv(path, sep="\t", index=False)


def twice_the_gene(table):
    return pd.concat([table, table[["ERBB2"]]], axis=1)


def twice_the_spot(table):
    return pd.concat([table, table.iloc[[2]]])


def elsewhere(table):
    return table.rename(index=lambda name: f"9{name}")


# --- files that are missing or cut short ---


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        (COUNT_FILE, gone, "no such count file"),
        (COUNT_FILE, emptied, "fetch the file again"),
        (COUNT_FILE, halved, "fetch the file again"),
        (COUNT_FILE, without_its_end, "fetch the file again"),
        (COUNT_FILE, with_a_wrong_byte, "fetch the file again"),
        (COUNT_FILE, not_packed, "fetch the file again"),
        (COUNT_FILE, packed_short, "missing|fetch the file again"),
        (COUNT_FILE, header_only, "fetch the file again"),
        (COUNT_FILE, a_web_page, "fetch the file again"),
        (SPOT_FILE, gone, "no such spot file"),
        (SPOT_FILE, emptied, "fetch the file again"),
        (SPOT_FILE, halved, "fetch the file again"),
        (SPOT_FILE, without_its_end, "fetch the file again"),
        (SPOT_FILE, a_web_page, "no row below the header, <html>"),
        (IMAGE, emptied, "fetch"),
        (IMAGE, halved, "cut short or damaged.*fetch"),
        (IMAGE, a_web_page, "fetch"),
    ],
)
def test_a_missing_or_damaged_file_is_named_with_the_fix(root, file, spoil, says):
    spoil(root / file)
    with pytest.raises((ValueError, FileNotFoundError), match=says) as error:
        read(root)
    assert Path(file).name in str(error.value)


@pytest.mark.parametrize("end", ["1", "\t1", "00\t1", "5.00\t1"])
def test_a_spot_file_cut_anywhere_in_its_last_line_is_refused(root, end):
    """A number that lost its last digits is still a number: only the missing columns after it tell."""
    path = root / SPOT_FILE
    lines = path.read_text().splitlines()
    x, y, new_x, new_y, pixel_x, _, _ = lines[-1].split("\t")
    whole = "\t".join([x, y, new_x, new_y, pixel_x, "1995.00", "1"])
    path.write_text("\n".join([*lines[:-1], whole.removesuffix(end)]))
    with pytest.raises(ValueError, match=rf"A1_selection.tsv: line {len(lines)} is cut off"):
        read(root)


def test_an_image_that_has_gone_since_it_was_found_is_named(root):
    section = sections.read("her2st", root, "A1")
    (root / IMAGE).unlink()
    for look in (images.size, lambda path: images.open(path, 0.688)):
        with pytest.raises(FileNotFoundError, match="toy_HE_A1.jpg: no such image"):
            look(section.uns["image"])


def test_two_images_in_a_sections_folder_are_not_chosen_between(root):
    shutil.copy(root / IMAGE, root / "data/ST-imgs/A/A1/again.jpg")
    with pytest.raises(ValueError, match="A1: 2 images, one is wanted: again.jpg, toy_HE_A1.jpg"):
        read(root)


# --- counts that are no counts ---


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (cell(1.5), "not whole numbers; raw counts"),
        (cell(-1), "negative; raw counts"),
        (cell(np.nan), "NaN.*write 0"),
        (cell("inf"), "infinite"),
        (cell("many"), "holds text.*raw counts"),
        (np.log1p, "not whole numbers; raw counts"),
        (twice_the_gene, "gene 'ERBB2' occurs twice"),
        (twice_the_spot, "spot '.*' occurs twice"),
        (elsewhere, "no spot in common"),
        (lambda table: table.T, "no spot in common"),
        (lambda table: table * 0, "every count is zero; leave the section out"),
        (lambda table: table.iloc[:1], "section A1: neither spots nor image give a pixel size; set mpp"),
        (lambda table: table.iloc[:0], "fetch the file again"),
    ],
    ids=[
        *("fraction", "negative", "NaN", "infinite", "text", "log", "gene-twice", "spot-twice"),
        *("elsewhere", "transposed", "zero", "one-spot", "none"),
    ],
)
def test_counts_that_are_no_counts_are_refused(root, change, says):
    change_counts(root / COUNT_FILE, change)
    with pytest.raises(ValueError, match=says) as error:
        read(root)
    assert re.search(r"A1", str(error.value))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (twice_the_spot, "spot '.*' occurs twice"),
        (lambda table: table.drop(columns="pixel_x"), "no column pixel_x"),
        (lambda table: table.assign(new_x=np.nan), "line 2 is cut off or not a number"),
        (lambda table: table.assign(pixel_y="here"), "line 2 is cut off or not a number"),
        (lambda table: table.assign(x=table["x"] + 0.5), "not a whole number"),
        (lambda table: table.assign(pixel_x=-table["pixel_x"]), "section A1: .*outside the image .*A1"),
        (lambda table: table.assign(x=table["x"] + 100), "no spot in common"),
    ],
    ids=["spot-twice", "column", "NaN", "text", "half", "mirrored", "elsewhere"],
)
def test_positions_that_are_no_positions_are_refused(root, change, says):
    change_spots(root / SPOT_FILE, change)
    with pytest.raises(ValueError, match=says) as error:
        read(root)
    assert "A1" in str(error.value)


def test_one_spot_is_read_where_the_user_gives_the_pixel_size(root):
    """The error says `set mpp`, so that has to help; the rule for sections then says why it is not kept."""
    change_counts(root / COUNT_FILE, lambda table: table.iloc[:1])
    section = sections.read("her2st", root, "A1", mpp=0.688)
    assert (section.n_obs, section.uns["mpp"]) == (1, 0.688)
    assert sections.quality(section, min_spots=50, min_median_counts=300) == (False, "1 spots, fewer than 50")


# --- spots and image ---


def test_spots_outside_the_image_are_dropped_and_counted(root):
    whole = read(root)

    def move(table):
        table.loc[table.index[:2], "pixel_x"] += 50_000
        return table

    change_spots(root / SPOT_FILE, move)
    section = sections.read("her2st", root, "A1")
    section = sections.drop_spots(section, images.size(root / IMAGE))
    assert section.n_obs == whole.n_obs - 2
    assert section.uns["n_spots_dropped"] == whole.uns["n_spots_dropped"] + 2


def test_an_image_that_holds_few_of_the_spots_is_refused(root):
    change_spots(root / SPOT_FILE, lambda table: table.assign(pixel_x=table["pixel_x"] + 1500))
    with pytest.raises(ValueError, match="section A1: .* spots lie outside the image .*toy_HE_A1.jpg.* full size"):
        read(root)


# --- cohorts in other layouts ---

ST = {"spot_um": 100, "pitch_um": 200, "patients": {"A1": "A"}}


@pytest.fixture
def others(good, tmp_path) -> Path:
    """The section A1 as HEST-1k, as Space Ranger and as a plain h5ad file."""
    section = sections.read("her2st", good, "A1")
    writers.hest(section, tmp_path / "hest", "SPA154")
    writers.spaceranger(section, tmp_path / "spaceranger", "A1")
    writers.plain(section, tmp_path / "h5ad", "A1")
    return tmp_path


def change_h5ad(path: Path, change) -> None:
    content = anndata.read_h5ad(path)
    (change(content) or content).write_h5ad(path)


@pytest.mark.parametrize("spoil", [gone, emptied, halved, a_web_page])
@pytest.mark.parametrize(
    "file",
    [
        "hest/st/SPA154.h5ad",
        "hest/metadata/SPA154.json",
        "spaceranger/A1/outs/filtered_feature_bc_matrix.h5",
        "spaceranger/A1/outs/spatial/tissue_positions.csv",
        "h5ad/A1.h5ad",
    ],
)
def test_a_missing_or_damaged_file_of_any_layout_is_named_with_the_fix(others, file, spoil):
    spoil(others / file)
    layout, _, below = file.partition("/")
    ids = {"ids": {"A1": "SPA154"}} if layout == "hest" else {}
    with pytest.raises((ValueError, FileNotFoundError), match="fetch|check the root|a table of positions has") as error:
        sections.read(layout, others / layout, "A1", **ST, **ids)
    assert Path(below).name in str(error.value)


def test_damaged_scale_factors_are_named(others):
    halved(others / "spaceranger/A1/outs/spatial/scalefactors_json.json")
    with pytest.raises(ValueError, match="scalefactors_json.json: not a whole JSON file"):
        sections.read("spaceranger", others / "spaceranger", "A1", **ST)


def test_a_table_of_positions_that_is_cut_off_is_named_with_the_line(others):
    path = others / "spaceranger/A1/outs/spatial/tissue_positions.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].rpartition(",")[0]]))
    with pytest.raises(ValueError, match=f"tissue_positions.csv: line {len(lines)} is cut off"):
        sections.read("spaceranger", others / "spaceranger", "A1", **ST)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [("-1,", ",", "no spot in common .*-1.* against"), ("A", "C", "no spot in common")],
    ids=["suffix", "slide"],
)
def test_barcodes_of_another_slide_are_refused(others, old, new, says):
    path = others / "spaceranger/A1/outs/spatial/tissue_positions.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=f"filtered_feature_bc_matrix.h5 and .*tissue_positions.csv have {says}"):
        sections.read("spaceranger", others / "spaceranger", "A1", **ST)


def test_positions_handed_to_the_wrong_barcodes_are_refused(others):
    """Each barcode has a position, but the array says it lies elsewhere."""
    path = others / "spaceranger/A1/outs/spatial/tissue_positions.csv"
    table = pd.read_csv(path)
    pixels = ["pxl_row_in_fullres", "pxl_col_in_fullres"]
    table[pixels] = table[pixels].sample(frac=1, random_state=0).to_numpy()
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match="section A1: .* spots lie elsewhere than their place on the lattice says"):
        sections.read("spaceranger", others / "spaceranger", "A1", **ST)


def without_spatial(content):
    del content.obsm["spatial"]


def logged(content):
    content.layers["umi"] = content.X.copy()
    content.raw = content.copy()
    content.X = np.log1p(content.X)


def only_logged(content):
    content.X = np.log1p(content.X)


def named_by_id(content):
    content.var_names = [f"ENSG{k:011d}" for k in range(content.n_vars)]


def twice_a_spot(content):
    content.obs_names = [content.obs_names[0], *content.obs_names[:-1]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_spatial, r"no obsm\['spatial'\], it has nothing; put each spot's centre there, x and y in pixels"),
        (logged, "X: some counts are not whole numbers; .*; they are in umi, raw: give counts_layer"),
        (only_logged, "X: some counts are not whole numbers; .*; no layer has raw counts"),
        (named_by_id, "genes are named by id, ENSG00000000000; give gene_names in the config"),
    ],
)
@pytest.mark.parametrize(("layout", "file"), [("h5ad", "A1.h5ad"), ("hest", "st/SPA154.h5ad")])
def test_an_h5ad_file_that_lacks_what_is_wanted_is_refused(others, layout, file, change, says):
    change_h5ad(others / layout / file, change)
    with pytest.raises(ValueError, match=f"{Path(file).name}: {says}"):
        sections.read(layout, others / layout, "A1", **ST)


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_a_spot_that_occurs_twice_is_named(others):
    change_h5ad(others / "h5ad/A1.h5ad", twice_a_spot)
    with pytest.raises(ValueError, match="A1.h5ad: spot '.*' occurs twice; keep one"):
        sections.read("h5ad", others / "h5ad", "A1", **ST)


@pytest.mark.parametrize("place", ["umi", "raw"])
def test_the_layer_that_the_error_names_is_the_way_out(others, place):
    change_h5ad(others / "h5ad/A1.h5ad", logged)
    section = sections.read("h5ad", others / "h5ad", "A1", **ST, counts_layer=place)
    whole = sections.read("hest", others / "hest", "A1")
    np.testing.assert_array_equal(section.layers["counts"].toarray(), whole.layers["counts"].toarray())
    with pytest.raises(ValueError, match="A1.h5ad: counts is not in the file; they are in umi, raw"):
        sections.read("h5ad", others / "h5ad", "A1", **ST, counts_layer="counts")


@pytest.mark.parametrize(("column", "option"), [("feature_name", {}), ("mine", {"gene_names": "mine"})])
def test_gene_symbols_are_taken_from_the_column_that_holds_them(others, column, option):
    def change(content):
        content.var[column] = content.var_names
        named_by_id(content)

    before = sections.read("h5ad", others / "h5ad", "A1", **ST).var_names
    change_h5ad(others / "h5ad/A1.h5ad", change)
    assert list(sections.read("h5ad", others / "h5ad", "A1", **ST, **option).var_names) == list(before)
    with pytest.raises(ValueError, match=f"var has no column symbols; it has {column}"):
        sections.read("h5ad", others / "h5ad", "A1", **ST, gene_names="symbols")


def test_two_sections_of_one_name_are_not_chosen_between(others):
    section = sections.read("hest", others / "hest", "A1")
    writers.hest(section, others / "hest", "TENX1")
    with pytest.raises(ValueError, match="A1 is the subseries of SPA154, TENX1; say which under ids in the config"):
        sections.read("hest", others / "hest", "A1")


# --- images that are no H&E, or not whole ---

PICTURE = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
TILED = {"tile": (64, 64), "photometric": "rgb"}


def picture(path: Path, mode: str = "RGB", **how) -> Path:
    Image.fromarray(PICTURE).convert(mode).save(path, **how)
    return path


def turned(path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(path, exif=exif)


def tiff(path: Path, pixels: np.ndarray = PICTURE, **how) -> Path:
    tifffile.imwrite(path, pixels, **TILED | how)
    return path


def cut(path: Path) -> Path:
    path = tiff(path)
    path.write_bytes(path.read_bytes()[:-5000])  # tifffile writes the header first
    return path


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("a.jpg", lambda path: picture(path, "CMYK"), "RGB of 8 bits.*mode CMYK.*vips colourspace"),
        ("a.jpg", lambda path: picture(path, "L"), "RGB of 8 bits.*mode L"),
        ("a.png", lambda path: picture(path, "I;16"), "RGB of 8 bits.*mode I;16"),
        ("a.jpg", turned, "EXIF.*orientation 6.*without the tag"),
        ("a.tif", lambda path: tiff(path, PICTURE.astype(np.uint16)), "RGB of 8 bits.*3 x 16 bits.*vips colourspace"),
        ("a.tif", lambda path: tiff(path, PICTURE[..., [0, 1, 2, 2]], photometric="separated"), "SEPARATED of 4 x 8"),
        ("a.tif", lambda path: tiff(path, PICTURE[..., 0], photometric="minisblack"), "MINISBLACK of 1 x 8"),
        ("a.tif", cut, "cut short; fetch it again"),
        ("a.tif", lambda path: picture(path, format="PNG"), "not a TIFF image, whatever its name says"),
        ("a.jpg", lambda path: tiff(path), "not a JPEG or PNG image, whatever its name says"),
        ("a.tif", lambda path: path.write_text("no image") and path, "not a TIFF image, whatever its name says"),
        ("a.bmp", picture, "images are read from .btf, .jpeg, .jpg.*convert it to a tiled TIFF"),
    ],
    ids=[
        *("cmyk", "grey", "16-bit", "turned", "tiff-16-bit", "tiff-cmyk", "tiff-grey", "tiff-cut"),
        *("png-as-tiff", "tiff-as-jpeg", "text", "bmp"),
    ],
)
def test_an_image_that_is_no_upright_rgb_is_refused_with_the_fix(tmp_path, name, write, says):
    path = write(tmp_path / name)
    for look in (images.size, lambda path: images.open(path, 0.5), lambda path: images.thumbnail(path, 50)):
        with pytest.raises(ValueError, match=f"{name}: .*{says}"):
            look(path)


@pytest.mark.parametrize("kind", ["deflate.tif", "jpeg.tif", "jpeg.ome.tif"])
def test_a_damaged_tile_is_named_and_never_shown_as_grey(tmp_path, kind):
    path = tiff(tmp_path / kind, compression=kind.split(".")[0])
    with tifffile.TiffFile(path) as file:
        start, n = file.pages[0].dataoffsets[6], file.pages[0].databytecounts[6]
    content = bytearray(path.read_bytes())
    content[start + n // 2 : start + n] = bytes(n - n // 2)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{kind}: the image is cut short or damaged.*fetch it again"):
        images.region(images.open(path, 0.5), (96, 96), 16, 0.5)


def test_an_image_too_large_to_be_decoded_whole_is_refused_with_the_command_that_tiles_it(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "WHOLE_MP", 0.05)  # the picture has 60,000 pixels
    for path in (picture(tmp_path / "a.jpg"), tiff(tmp_path / "a.tif", tile=None)):
        with pytest.raises(ValueError, match=rf"{path.name}: .*300 x 200 px.*vips tiffsave .*--tile --pyramid"):
            images.open(path, 0.5)
    images.open(tiff(tmp_path / "tiled.tif"), 0.5)


# --- names ---


@pytest.mark.parametrize("name", ["../A1", "A/A1", "/etc/passwd", "..", "", "A1\n", "A\\1", "~"])
def test_a_section_name_with_a_path_in_it_is_refused(root, name):
    with pytest.raises(ValueError, match="is not a section's name"):
        sections.read("her2st", root, name)


def test_unknown_names_are_refused_with_the_known_ones(root):
    section = read(root)
    with pytest.raises(ValueError, match="unknown layout 'visium2'; known: .*her2st"):
        sections.read("visium2", root, "A1")
    with pytest.raises(ValueError, match="unknown target 'tpm'; known: log2"):
        normalization.get("tpm")
    with pytest.raises(ValueError, match="unknown backbone 'transformer': choose one of .*ridge"):
        backbones.predict({"A1": section, "B1": section}, "A1", "log2", backbone="transformer")
    with pytest.raises(ValueError, match="unknown encoder 'uni3': choose one of morphology"):
        patches.embed(None, section.obsm["spatial"], encoder="uni3", sides={"100um": 100}, mpp=0.688)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bakcbones": ["ridge"]}, "bakcbones"),
        ({"targets": ["tpm"]}, "tpm"),
        ({"backbones": ["transformer"]}, "transformer"),
        ({"sections": ["../A1", "B1"]}, "../A1"),
        ({"cohort": "../toy"}, "../toy"),
    ],
    ids=["key", "method", "backbone", "section", "cohort"],
)
def test_a_config_that_cannot_be_meant_is_refused(change, says):
    toy, schema = (yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()) for name in ("toy", "schema"))
    known = {"target": list(normalization.TARGETS), "backbone": list(backbones.BACKBONES)}
    configs.complete(toy, schema, "toy", known)
    with pytest.raises(ValueError, match=re.escape(says)):
        configs.complete(toy | change, schema, "toy", known)


@pytest.mark.parametrize(("change", "says"), [({"bakcbones": []}, "bakcbones"), ({"example": "Z9"}, "Z9")])
def test_the_workflow_names_the_config_and_its_fault_before_anything_runs(tmp_path, change, says):
    config = yaml.safe_load((ROOT / "config/toy.yaml").read_text()) | {"cohort": "bad-input"} | change
    template = f"__use_yte__: true\n__variables__:\n  ran: ?open('{tmp_path}/ran', 'w')\n"  # Snakemake runs it
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(config) + template * ("example" not in change))
    snakemake = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--nolock", "--config"]
    ran = subprocess.run(
        [*snakemake, f"file={tmp_path}/bad.yaml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert says in said and "bad.yaml" in said
    assert not (tmp_path / "ran").exists()
    assert len(said.splitlines()) < 15, "the fault drowns in the schema"
    assert not (ROOT / "build/bad-input").exists()


def test_an_unknown_cohort_is_refused_with_the_known_ones():
    ran = subprocess.run(["make", "config/nowhere.yaml"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "no cohort 'nowhere'" in ran.stderr and "toy" in ran.stderr and "schema" not in ran.stderr


def test_a_panel_gene_absent_from_a_section_is_named_with_the_section(root):
    section = read(root)
    for method in map(normalization.get, normalization.TARGETS):
        with pytest.raises(ValueError, match="section A1: no gene ATLANTIS1; choose the panel"):
            method(section, ["ERBB2", "ATLANTIS1"])
    statistics = {"A1": gene_statistics(section), "B1": gene_statistics(section[:, 10:].copy())}
    assert "ERBB2" not in choose_panel(statistics, 10)
    with pytest.raises(ValueError, match="a panel of 5000 genes is wanted"):
        choose_panel(statistics, 5000)


# --- a full disk ---


@contextmanager
def room_for(n_bytes: int):
    """Writes fail once a file reaches this size, as they do on a full disk: in the middle of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table.parquet", "notes.json"])
def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(tmp_path, name):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(20_000, 4)), columns=list("abcd"))
    numbers = {"numbers": list(range(20_000))}
    out = tmp_path / "out" / name

    def write(path):
        return store.write_json(numbers, path) if path.suffix == ".json" else store.write_table(table, path)

    write(out)
    before = out.read_bytes()
    assert len(before) > 8192
    with room_for(8192), pytest.raises(OSError) as error:
        write(out)
    assert "File too large" in str(error.value)
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == [name]


def test_a_full_disk_leaves_the_old_section(root, tmp_path):
    """In a process of its own: HDF5 tries to write again as it closes, and takes the interpreter down with it."""
    out = tmp_path / "section.h5ad"
    store.write_section(read(root), out)
    before = out.read_bytes()
    context = multiprocessing.get_context("fork")
    child = context.Process(target=write_with_room_for, args=(8192, out))
    child.start()
    child.join()
    assert child.exitcode == 3  # the OSError was raised
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.h5ad")] == [out.name]


def write_with_room_for(n_bytes, out):
    section = store.read_section(out)
    with room_for(n_bytes):
        try:
            store.write_section(section, out)
        except OSError:
            os._exit(3)


def test_a_full_disk_leaves_no_half_cohort_file(good, tmp_path):
    with room_for(4096), pytest.raises(OSError, match="File too large"):
        simulate.write_cohort(tmp_path / "toy", sections={"A1": 3000, "B1": 900}, lattice=(5, 4), n_genes=120)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (good / path.relative_to(tmp_path / "toy")).read_bytes()
