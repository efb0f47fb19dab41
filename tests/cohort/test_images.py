"""What a region shows must be where it says, at the size it says; a damaged file must never pass for tissue."""

import logging
import multiprocessing
import resource
import sys
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from anndata import AnnData
from PIL import Image

from helpers.cohort import images

WIDTH, HEIGHT, MPP = 240, 200, 0.5


# Red is x and green is y: a pixel tells where it came from.
RAMP = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
RAMP[..., 0], RAMP[..., 1] = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
OPAQUE = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)


@pytest.fixture(scope="module")
def ramp(tmp_path_factory):
    path = tmp_path_factory.mktemp("ramp") / "ramp.png"
    Image.fromarray(RAMP).save(path)
    return path


def test_an_image_that_would_fill_the_memory_is_refused_by_its_header(tmp_path):
    """A PNG and a strip of a TIFF of 900 megapixels, in a few bytes."""
    side = 30_000
    head = b"IHDR" + side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    bomb = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(bomb + (0).to_bytes(4, "big") + b"IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big"))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(
            iter([b"x"]),
            shape=(side, side, 3),
            dtype=np.uint8,
            photometric="rgb",
            compression="deflate",
            rowsperstrip=side,
        )
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        for look in (images.size, lambda path: images.thumbnail(path, 100), lambda path: images.open(path, MPP)):
            with pytest.raises(ValueError, match=f"{path.name}: 30000 x 30000 px would be decoded whole"):
                look(path)


def write_tiff(path, pixels=RAMP, um=0.25, unit="CENTIMETER", subifds=0, **how):
    """A pyramid of two levels, its reduced one a page of its own or, as in OME-TIFF, below the first."""
    how = {"tile": (64, 64), "compression": "deflate", "photometric": "rgb"} | how
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, subifds=subifds, resolution=(1e4 / um, 1e4 / um), resolutionunit=unit, **how)
        if how["tile"]:
            file.write(pixels[::2, ::2].copy(), subfiletype=1, **how | {"metadata": None})
    return path


@pytest.fixture(scope="module")
def reader(ramp):
    return images.open(ramp, MPP)


def test_a_section_is_read_at_its_own_pixel_size(ramp):
    section = AnnData(np.zeros((1, 1)), uns={"section": "A1", "image": str(ramp), "mpp": MPP})
    read = images.reader_of(section)
    np.testing.assert_array_equal(read((20, 30), 8, MPP), RAMP[22:38, 12:28])
    section.uns["image"] = ""
    with pytest.raises(ValueError, match="section A1 has no image"):
        images.reader_of(section)


def test_size_is_width_then_height(ramp, tmp_path):
    assert images.size(ramp) == images.size(write_tiff(tmp_path / "ramp.tif")) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("name", "how", "reader"),
    [
        ("pyramid.tif", {}, "OpenSlide"),
        ("no_unit.tif", {"unit": "NONE"}, "OpenSlide"),  # tiatoolbox stumbles over it
        ("alpha.tif", {"pixels": np.dstack([RAMP, OPAQUE]), "extrasamples": ["unassalpha"]}, "OpenSlide"),
        ("pyramid.ome.tif", {"subifds": 1, "metadata": {"axes": "YXS"}}, "TIFF"),
        ("strips.tif", {"tile": None}, "Virtual"),
    ],
)
def test_every_kind_of_tiff_gives_the_same_region(tmp_path, name, how, reader):
    """Only the one without tiles is held whole."""
    opened = images.open(write_tiff(tmp_path / name, **how), MPP)
    assert type(opened).__name__ == f"{reader}WSIReader"
    np.testing.assert_array_equal(images.region(opened, (100, 80), 21 * MPP, MPP), RAMP[70:91, 90:111])
    assert images.region(opened, (0, 0), 20 * MPP, MPP)[:10].min() == 255  # outside it is white


MACRO = np.full((30, 70, 3), 90, np.uint8)
PLAIN = {"photometric": "rgb", "tile": (64, 64)}
UM = {"resolution": (1e4 / 0.46, 1e4 / 0.46), "resolutionunit": "CENTIMETER"}


def write_after_a_macro(path, **how):
    with tifffile.TiffWriter(path) as file:
        file.write(MACRO, photometric="rgb", resolution=(100, 100), resolutionunit="CENTIMETER")
        file.write(RAMP, **PLAIN | UM | how)
        file.write(RAMP[::2, ::2].copy(), subfiletype=1, **PLAIN | how)


def write_ome_after_a_macro(path):
    size = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "axes": "YXS"}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(MACRO, metadata=size | {"PhysicalSizeX": 3.0, "PhysicalSizeY": 3.0}, **PLAIN)
        file.write(RAMP, metadata=size | {"PhysicalSizeX": 0.46, "PhysicalSizeY": 0.46}, **PLAIN)


def write_big_endian(path):
    with tifffile.TiffWriter(path, byteorder=">") as file:
        file.write(RAMP, compression="zlib", **PLAIN | UM)
        file.write(RAMP[::2, ::2].copy(), compression="zlib", subfiletype=1, **PLAIN)


KINDS = {
    "macro first, tiled": lambda path: write_after_a_macro(path, compression="deflate"),
    "macro first, strips": lambda path: write_after_a_macro(path, tile=None),
    "macro first, OME": write_ome_after_a_macro,
    "big-endian": write_big_endian,
    "BigTIFF": lambda path: tifffile.imwrite(path, RAMP, bigtiff=True, **PLAIN | UM),
    **{
        c: lambda path, c=c: tifffile.imwrite(path, RAMP, compression=c, **PLAIN | UM)
        for c in ("lzw", "zstd", "jpeg2000", "APERIO_JP2000_RGB", "webp")
    },
    "ImageJ": lambda path: tifffile.imwrite(
        path, RAMP, imagej=True, resolution=(1 / 0.46, 1 / 0.46), metadata={"unit": "um"}
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_size_pixel_size_thumbnail_and_regions_are_of_one_image(tmp_path, kind):
    """Whatever lies before the image in the file, and whoever decodes it; lossy ones are right to some grey values."""
    path = tmp_path / ("ramp.ome.tif" if "OME" in kind else "ramp.btf" if kind == "BigTIFF" else "ramp.tif")
    KINDS[kind](path)
    near = 8 if kind in ("webp", "jpeg2000", "APERIO_JP2000_RGB") else 0
    assert images.size(path) == (WIDTH, HEIGHT)
    assert images.embedded_mpp(path) == pytest.approx(0.46, rel=1e-3)
    np.testing.assert_allclose(images.thumbnail(path, 5000).astype(int), RAMP, atol=near)
    opened = images.open(path, MPP)
    found = images.region(opened, (100, 80), 21 * MPP, MPP)
    np.testing.assert_allclose(found.astype(int), RAMP[70:91, 90:111], atol=near)
    halved = images.region(opened, (100, 80), 20, 2 * MPP)
    assert halved[..., 0].mean() == pytest.approx(100, abs=2) and halved[..., 1].mean() == pytest.approx(80, abs=2)


def write_stack(path):
    tifffile.imwrite(path, np.stack([RAMP] * 3), photometric="rgb", tile=(64, 64))


def write_ome_stack(path):
    tifffile.imwrite(path, np.stack([RAMP] * 3), ome=True, metadata={"axes": "ZYXS"}, **PLAIN)


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("z.tif", write_stack, "a stack of 3 images of 240 x 200 px"),
        ("z.ome.tif", write_ome_stack, "a stack of 3 images of 240 x 200 px"),
        ("grey.tif", lambda path: tifffile.imwrite(path, RAMP[..., 0], photometric="minisblack"), "MINISBLACK of 1"),
        ("deep.tif", lambda path: tifffile.imwrite(path, RAMP.astype(np.uint16), photometric="rgb"), "3 x 16 bits"),
        ("no.tif", lambda path: path.write_bytes(b"II*\0" + bytes(9)), "not a TIFF image"),
    ],
)
@pytest.mark.parametrize("door", [images.size, images.embedded_mpp, lambda path: images.open(path, MPP)])
def test_what_is_not_damaged_is_not_called_so(tmp_path, name, write, says, door):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: .*{says}") as error:
        door(tmp_path / name)
    assert "cut short" not in str(error.value)


@pytest.mark.parametrize("name", ["ramp.png", "ramp.jpg", "ramp.tif", "ramp.ome.tif"])
def test_a_thumbnail_is_the_whole_image_made_small(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".tif":
        write_tiff(path, subifds=int(name.endswith("ome.tif")))
    else:
        Image.fromarray(RAMP).save(path)
    small = images.thumbnail(path, 60)
    assert small.shape == (50, 60, 3) and small.dtype == np.uint8
    np.testing.assert_allclose(small[..., 0].mean(0), np.arange(60) * 4 + 1.5, atol=3)
    np.testing.assert_allclose(small[..., 1].mean(1), np.arange(50) * 4 + 1.5, atol=3)
    assert images.thumbnail(path, 5000).shape == RAMP.shape  # never enlarged


def test_the_embedded_pixel_size_is_one_that_a_microscope_could_have(ramp, tmp_path):
    assert images.embedded_mpp(write_tiff(tmp_path / "hest.tif", um=0.46)) == pytest.approx(0.46)
    assert images.embedded_mpp(write_tiff(tmp_path / "strips.tif", um=0.46, tile=None)) == pytest.approx(0.46)
    size = {"PhysicalSizeX": 460, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.46, "PhysicalSizeYUnit": "µm"}
    ome = write_tiff(tmp_path / "a.ome.tif", um=1.0, subifds=1, metadata={"axes": "YXS"} | size)
    assert images.embedded_mpp(ome) == pytest.approx(0.46)  # the tag says 1
    aperio = "Aperio Image Library v11\n240x200 [0,0 240x200] (64x64) |AppMag = 20|MPP = 0.46"
    svs = write_tiff(tmp_path / "a.svs", um=100.0, description=aperio, metadata=None)
    assert images.embedded_mpp(svs) == pytest.approx(0.46)
    for number, silent in enumerate(({"um": 1e4 / 72, "unit": "INCH"}, {"unit": "NONE"}, {"um": 60.0})):
        assert images.embedded_mpp(write_tiff(tmp_path / f"{number}.tif", **silent)) is None
    Image.fromarray(RAMP).save(tmp_path / "scan.jpg", dpi=(55_217, 55_217))  # 0.46 um, were it meant
    assert images.embedded_mpp(tmp_path / "scan.jpg") is images.embedded_mpp(ramp) is None


def peak_mb(task):
    """Peak of memory of a task above that of the process before it, in a process of its own."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def measure():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        task()
        send.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)

    process = context.Process(target=measure)
    process.start()
    process.join()
    assert process.exitcode == 0
    return receive.recv()


def test_a_tiled_tiff_costs_no_memory_whatever_its_size(tmp_path, reader):
    """40,000 x 40,000 px would be 4.8 GB; `reader` has imported tiatoolbox."""
    tile = np.full((512, 512, 3), 255, np.uint8)
    drawn = tile.copy()
    drawn[100:200, 50:300] = (120, 40, 160)
    glass, tissue = zlib.compress(tile), zlib.compress(drawn)
    across = -(-40_000 // 512)
    kept = {39 * across + 39, 77 * across + 70}
    tifffile.imwrite(
        tmp_path / "huge.tif",
        (tissue if number in kept else glass for number in range(across**2)),
        shape=(40_000, 40_000, 3), dtype=np.uint8, tile=(512, 512), compression="deflate", photometric="rgb",
    )  # fmt: skip

    def look():
        opened = images.open(tmp_path / "huge.tif", 0.5)
        for column, row in ((39, 39), (70, 77), (3, 50)):
            found = images.region(opened, (512 * column + 174.5, 512 * row + 149.5), 250 * 0.5, 0.5)
            assert (found[125, 125].tolist() == [120, 40, 160]) == (column > 3)

    assert peak_mb(look) < 150


def test_a_section_of_92_megapixels_is_decoded_once(her2st_root, reader):
    """It holds 276 MB; tiatoolbox's own way would hold it twice."""
    [path] = (her2st_root / "data/ST-imgs/C/C3").glob("*.jpg")
    assert peak_mb(lambda: images.open(path, 0.688)) < 400


def test_region_at_native_resolution_copies_the_pixels_around_its_centre(reader):
    region = images.region(reader, (100, 80), 21 * MPP, MPP)
    assert region.shape == (21, 21, 3) and region.dtype == np.uint8
    np.testing.assert_array_equal(region[10, :, 0], np.arange(90, 111))
    np.testing.assert_array_equal(region[:, 10, 1], np.arange(70, 91))


@pytest.mark.parametrize("mpp", [0.25, 0.4, 0.5, 0.688, 1.0])
def test_resampling_keeps_the_place_and_the_extent(reader, mpp):
    """The same 40 um around the same centre, whatever the resolution asked for."""
    region = images.region(reader, (100, 80), 40, mpp)
    assert region.shape == (round(40 / mpp),) * 2 + (3,)
    assert region[..., 0].mean() == pytest.approx(100, abs=1)
    assert region[..., 1].mean() == pytest.approx(80, abs=1)
    assert region[0, -1, 0].astype(int) - region[0, 0, 0] == pytest.approx(80, abs=3)


def test_outside_the_image_is_white(reader):
    corner = images.region(reader, (0, 0), 20 * MPP, MPP)
    assert (corner[:10] == 255).all() and (corner[:, :10] == 255).all()
    assert corner[10:, 10:, 0].max() == 9
    for far in ((-500, 80), (100, 5000), (WIDTH + 10, 80)):
        assert (images.region(reader, far, 20 * MPP, MPP) == 255).all()


def test_a_region_without_a_pixel_and_a_pixel_without_a_size_are_refused(reader, ramp):
    with pytest.raises(ValueError, match="larger"):
        images.region(reader, (100, 80), 0.1, MPP)
    for mpp in (0, -1, np.nan):
        with pytest.raises(ValueError, match="mpp"):
            images.open(ramp, mpp)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_truncated_image_is_refused_by_name(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"whole.{kind}")
    data = (tmp_path / f"whole.{kind}").read_bytes()
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=f"cut.{kind}"):
        images.open(path, MPP)


@pytest.mark.parametrize("door", [images.size, lambda path: images.open(path, MPP)])
def test_a_missing_file_and_a_file_that_is_no_image_are_refused_by_name(tmp_path, door):
    with pytest.raises(FileNotFoundError, match="absent.jpg"):
        door(tmp_path / "absent.jpg")
    for content in (b"", b"not an image"):
        (tmp_path / "page.jpg").write_bytes(content)
        with pytest.raises(ValueError, match="page.jpg"):
            door(tmp_path / "page.jpg")


def test_pillows_limit_is_lifted_without_a_warning_and_put_back(ramp, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # the ramp has 48,000
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        assert images.size(ramp) == (WIDTH, HEIGHT)
        images.open(ramp, MPP)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_opening_leaves_the_root_logger_and_the_terminal_alone(ramp, monkeypatch, capfd):
    """tiatoolbox, on import, hangs handlers on a root logger that has none; a JPEG makes it log remarks."""
    for name in ("tiatoolbox", "tiatoolbox.wsicore", "tiatoolbox.wsicore.wsireader"):
        monkeypatch.delitem(sys.modules, name, raising=False)  # as before the first import
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    images.region(images.open(ramp, MPP), (50, 50), 20, MPP / 2)
    assert logging.root.handlers == [] and logging.root.level == level
    assert logging.root.manager.disable == logging.NOTSET
    assert capfd.readouterr() == ("", "")


def test_a_section_of_the_cohort_opens_whole(her2st_root):
    [path] = (her2st_root / "data/ST-imgs/C/C3").glob("*.jpg")
    assert images.size(path) == (9270, 9936)
    region = images.region(images.open(path, 0.688), (6066, 1159), 154, 0.688)
    assert region.shape == (224, 224, 3)
    assert 20 < region.std() < 100  # tissue: neither glass nor the grey that fills a cut-off image
