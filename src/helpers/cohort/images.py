"""The only opener of H&E images: square regions in um around a centre, through tiatoolbox's readers."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from anndata import AnnData
from PIL import Image, UnidentifiedImageError

from helpers import quiet, store

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".btf", ".svs", ".ndpi", ".qptiff"}
PLAIN = {".jpg", ".jpeg", ".png"}  # decoded whole; they know no pixel size, their dpi tag means nothing
WHOLE_MP = 600  # the largest image decoded whole, in megapixels: 1.8 GB
PLAUSIBLE_MPP = 0.05, 4.0  # of a microscope's image; 72 dpi would be 353 um
CONVERT = "convert it to a tiled TIFF (vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg --Q 90 --bigtiff)"


def size(path: str | Path) -> tuple[int, int]:
    """(width, height) of the full-resolution image in its stored pixels, from its header alone.

    Raises FileNotFoundError for a missing file, ValueError for one that is no image or that `open` refuses by its
    header: a format that is not known, grey, CMYK or 16-bit pixels, a rotation by EXIF, a JPEG, PNG, tile or strip too
    large to be decoded. They name file and fix.
    """
    path = _existing(path)
    if path.suffix.lower() in PLAIN:
        with _header(path) as image:
            return image.size
    with _tiff(path) as series:
        page = series.levels[0].keyframe
        return page.imagewidth, page.imagelength


def thumbnail(path: str | Path, max_side: int) -> np.ndarray:
    """The whole image, its longer side at most `max_side` px: uint8 RGB (h, w, 3).

    A JPEG is decoded at a fraction of its size, a tiled TIFF read in bands of its smallest level that suffices.
    Errors are those of `size`.
    """
    path = _existing(path)
    if path.suffix.lower() in PLAIN:
        with _header(path) as image, _damage_named(path):
            image.draft("RGB", (max_side, max_side))
            image.thumbnail((max_side, max_side))
            return _on_white(np.asarray(image))
    with _tiff(path) as series, _damage_named(path):
        small = _reduced(series, max_side)
    image = Image.fromarray(small)
    image.thumbnail((max_side, max_side))
    return np.asarray(image)


def whole(path: str | Path) -> np.ndarray:
    """The whole image, uint8 RGB (h, w, 3); errors as of `open`."""
    path = _existing(path)
    _check_whole(path, *size(path))
    with _damage_named(path):
        return _decoded(path)


def reduced(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (RGB) at another width and height: each pixel the mean of those that it covers."""
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def write(picture: np.ndarray, path: str | Path) -> None:
    """Write a picture (RGB), by the name's ending."""
    with store.atomic(path) as partial:
        Image.fromarray(picture).save(partial)


def embedded_mpp(path: str | Path) -> float | None:
    """um per pixel as a TIFF states it, mean of x and y; None where it states none that a microscope could have.

    From OME-XML, Aperio's MPP or the resolution tags. Never from the dpi of a JPEG or PNG, nor from a magnification.
    """
    path = _existing(path)
    if path.suffix.lower() in PLAIN:
        return None
    from tifffile import RESUNIT

    with _tiff(path) as series:
        page = series.levels[0].keyframe
        stated = [_ome_mpp(page)] if series.kind == "ome" else []
        stated.append(_slide_mpp(path, (page.imagewidth, page.imagelength)))
        unit = str((page.parent.imagej_metadata or {}).get("unit", "")).lower()
        if unit in ("um", "µm", "micron", "microns", "\\u00b5m"):
            per_um = page.get_resolution()
        else:
            per_um = page.get_resolution(RESUNIT.MICROMETER) if page.resolutionunit > RESUNIT.NONE else (0, 0)
        stated.append([1 / density if density else np.nan for density in per_um])
    low, high = PLAUSIBLE_MPP
    return next((float(np.mean(mpp)) for mpp in stated if all(low <= value <= high for value in mpp)), None)


def open(path: str | Path, mpp: float):
    """Reader of an H&E image whose full-resolution pixels are `mpp` um wide.

    JPEG, PNG and TIFF without tiles are decoded whole and once (a 92 MP section holds 0.28 GB); tiled TIFF is read
    piece by piece, whatever its size. Transparent pixels are laid on white. Raises FileNotFoundError for a missing
    file; ValueError, besides `size`'s reasons, for one that is cut short, since decoders fill the missing part with
    grey and carry on, and for one too large to be decoded whole.
    """
    path = _existing(path)
    _check_mpp(mpp)
    width, height = size(path)
    with quiet.tiatoolbox(), _damage_named(path):
        reader = None if path.suffix.lower() in PLAIN else _in_pieces(path, (width, height), mpp)
        if reader is None:
            reader = on_picture(whole(path), mpp, path)
        reader.info  # noqa: B018  read here, while the remarks it logs are silenced
    return reader


def on_picture(picture: np.ndarray, mpp: float, path: str | Path = "a picture in memory"):
    """The same of a picture that is decoded already, RGB uint8 (h, w, 3); `path` names it in errors."""
    with quiet.tiatoolbox():
        from tiatoolbox.wsicore import wsireader

        reader = wsireader.VirtualWSIReader(picture, mpp=(mpp, mpp))
        reader.input_path = path
        reader.info  # noqa: B018
    return reader


def reader_of(section: AnnData) -> Callable:
    """`read(centre, size_um, mpp)` of a section's image, see `region`; ValueError for a section without one."""
    if not section.uns["image"]:
        raise ValueError(f"section {section.uns['section']} has no image: leave it out where pixels are needed")
    return functools.partial(region, open(section.uns["image"], float(section.uns["mpp"])))


def region(reader, centre: tuple[float, float], size_um: float, mpp: float) -> np.ndarray:
    """Square region of `size_um` um around `centre`, resampled to `mpp` um per pixel.

    `centre` is x, y in full-resolution pixels (the middle of pixel 0 is at 0). Returns uint8 (h, w, 3) with
    h = w = round(size_um / mpp), white outside the image. At the image's own resolution pixels are copied as
    they are: the region starts at the nearest whole pixel. A damaged tile is a ValueError that names the file.
    """
    _check_mpp(mpp)
    side = round(size_um / mpp)
    if side < 1:
        raise ValueError(f"a region of {size_um} um has no pixel at {mpp} um/px: ask for a larger one")
    native = float(reader.info.mpp[0])
    extent = side * mpp / native
    start = np.rint(np.asarray(centre, float) + 0.5 - extent / 2).astype(int)
    if (start + extent <= 0).any() or (start >= reader.info.slide_dimensions).any():
        return np.full((side, side, 3), 255, np.uint8)  # the reader returns pixels of the border here
    if mpp >= native:
        return _read(reader, start, side, mpp)
    from tiatoolbox.utils.transforms import imresize

    # Asked to enlarge, the reader warns at every call: enlarge what it gives at its own resolution.
    return imresize(_read(reader, start, round(extent), native), output_size=(side, side))


def _read(reader, start: np.ndarray, side: int, mpp: float) -> np.ndarray:
    where = tuple(int(value) for value in start)
    with _damage_named(reader.input_path):
        pixels = reader.read_rect(where, (side, side), resolution=mpp, units="mpp", pad_constant_values=255)
    return np.ascontiguousarray(pixels[..., :3])


def _check_mpp(mpp: float) -> None:
    if not 0 < mpp < np.inf:
        raise ValueError(f"mpp is {mpp}: give the pixel size in um per pixel, above 0")


# Headers, and what they rule out ---------------------------------------------------------------------------------


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such image; check the path or fetch the file")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: images are read from {', '.join(sorted(SUFFIXES))}; {CONVERT}")
    return path


@contextmanager
def _header(path: Path) -> Iterator[Image.Image]:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # sections exceed Pillow's guard against bombs
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            _check_whole(path, *image.size)
            _check_pixels(path, image.mode in ("RGB", "RGBA"), f"of mode {image.mode}")
            if image.format == "JPEG":  # to look for it in a PNG, Pillow decodes the image
                _check_upright(path, image.getexif().get(0x0112, 1))
            yield image
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not a JPEG or PNG image, whatever its name says; fetch the file again") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _tiff(path: Path) -> Iterator:
    """The series of a TIFF that holds the image, with its levels: the largest of the file, whatever comes before it.

    Size, pixel size, thumbnail and regions all come from this one.
    """
    from tifffile import PHOTOMETRIC, TiffFile

    try:
        file = TiffFile(path)
        series = max(file.series, key=lambda one: one.keyframe.imagewidth * one.keyframe.imagelength)
        page = series.levels[0].keyframe
    except Exception as error:  # tifffile has errors of its own, and lets those of struct and xml pass
        raise ValueError(f"{path}: not a TIFF image, whatever its name says ({error}); fetch it again") from error
    with file:
        colour = page.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) and page.samplesperpixel in (3, 4)
        what = f"{page.photometric.name} of {page.samplesperpixel} x {page.bitspersample} bits"
        what += ", each channel apart" if page.planarconfig != 1 else ""
        _check_pixels(path, colour and page.bitspersample == 8 and page.planarconfig == 1, what)
        _check_upright(path, page.tags.valueof("Orientation", default=1))
        _check_one(path, series, page)
        for level in series.levels:
            _check_whole(path, *level.keyframe.chunks[1::-1])  # a tile or a strip
        ends = [start + n for start, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends) > file.filehandle.size:
            raise ValueError(f"{path}: the image is cut short; fetch it again")
        yield series


def _check_one(path: Path, series, page) -> None:
    """Refuse a stack of planes, between which nobody has chosen, and a compression that nothing here decodes."""
    from tifffile import TIFF

    n = int(np.prod(series.levels[0].shape)) // (page.imagewidth * page.imagelength * page.samplesperpixel)
    if n > 1:
        raise ValueError(
            f"{path}: a stack of {n} images of {page.imagewidth} x {page.imagelength} px ({series.axes}); save the "
            f"one that the spots were placed on"
        )
    if page.compression not in TIFF.DECOMPRESSORS:
        raise ValueError(f"{path}: its compression {page.compression!r} cannot be decoded here; {CONVERT}")


def _check_whole(path: Path, width: int, height: int) -> None:
    if width * height > WHOLE_MP * 1e6:
        raise ValueError(f"{path}: {width} x {height} px would be decoded whole; {CONVERT}")


def _check_pixels(path: Path, good: bool, what: str) -> None:
    if not good:
        fix = "convert it (vips colourspace IN OUT.tif srgb)"
        raise ValueError(f"{path}: H&E is read as RGB of 8 bits, its channels together, this is {what}; {fix}")


def _check_upright(path: Path, orientation: int) -> None:
    # Spots may have been placed on the stored pixels or on what viewers show: only the user knows.
    if orientation != 1:
        raise ValueError(
            f"{path}: its EXIF tag says that viewers turn it (orientation {orientation}); spots are placed on stored "
            f"pixels: save it turned as the spots want it, without the tag (vips autorot turns it as shown)"
        )


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # each decoder has errors of its own
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: the image is cut short or damaged ({error}); fetch it again") from error


# Pixels ----------------------------------------------------------------------------------------------------------


def _decoded(path: Path) -> np.ndarray:
    """A whole image; Pillow would hold it three times."""
    import imagecodecs

    if path.suffix.lower() not in PLAIN:
        with _tiff(path) as series:
            return _on_white(series.levels[0].asarray())
    content = path.read_bytes()
    if not content.startswith(b"\xff\xd8"):
        return _on_white(imagecodecs.png_decode(content))
    if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):  # markers: end of image, start of scan
        raise ValueError("the last scan has no end")
    return imagecodecs.jpeg8_decode(content)


def _on_white(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(pixels[..., :3])
    return (255 - (255 - pixels[..., :3].astype(np.uint16)) * alpha // 255).astype(np.uint8)


def _ome_mpp(page) -> list[float]:
    """um per pixel, x and y, of the image in OME-XML that is as large as the page."""
    from tifffile import xml2dict

    images = xml2dict(page.parent.ome_metadata)["OME"]["Image"]
    every = [image["Pixels"] for image in ([images] if isinstance(images, dict) else images)]
    size = (page.imagewidth, page.imagelength)
    pixels = next((one for one in every if (one.get("SizeX"), one.get("SizeY")) == size), {})
    um = {"nm": 1e-3, "µm": 1, "mm": 1e3, "cm": 1e4}
    sizes = [(pixels.get(f"PhysicalSize{axis}", np.nan), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XY"]
    return [value * um.get(unit, np.nan) for value, unit in sizes]


def _slide_mpp(path: Path, size: tuple[int, int]) -> list[float]:
    """um per pixel, x and y, as OpenSlide reads them of a slide of this size; it may choose another page."""
    import openslide

    try:
        with openslide.OpenSlide(path) as slide:
            same = slide.dimensions == size
            return [float(slide.properties.get(f"openslide.mpp-{axis}", "nan")) if same else np.nan for axis in "xy"]
    except openslide.OpenSlideError:  # a format or a compression that it does not know
        return [np.nan, np.nan]


def _in_pieces(path: Path, size: tuple[int, int], mpp: float):
    """A reader of tiatoolbox that reads a tiled TIFF piece by piece and takes the same page of this size for its image.

    None for one without tiles, and where there is none: OpenSlide does not know every compression and order of bytes.
    """
    from tiatoolbox.wsicore import wsireader

    with _tiff(path) as series:
        page = series.levels[0].keyframe
        if not page.is_tiled:
            return None
        _check_tiles_end(page)
        # OpenSlide sees no level of an OME-TIFF.
        kinds = ["OpenSlideWSIReader"] * (series.kind != "ome") + ["TIFFWSIReader"]
    for kind in kinds:
        with suppress(Exception):  # each reader has errors of its own for what it does not know
            reader = getattr(wsireader, kind)(path, mpp=(mpp, mpp))
            reader._estimate_mpp = lambda properties: (mpp, mpp)  # it fails on a TIFF whose resolution has no unit
            if tuple(reader.info.slide_dimensions) == size:
                reader.read_rect((0, 0), (8, 8), resolution=mpp, units="mpp")
                return reader
    return None


def _check_tiles_end(page) -> None:
    """Refuse a JPEG tile that is cut short: a decoder may fill it with grey. Other compressions tell as they decode."""
    from tifffile import COMPRESSION

    if page.compression == COMPRESSION.JPEG:
        file = page.parent.filehandle
        for number, (start, n) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
            file.seek(max(start, start + n - 4))
            if n and b"\xff\xd9" not in file.read(4):
                raise ValueError(f"tile {number} has no end")


def _reduced(series, max_side: int) -> np.ndarray:
    """The smallest level with a side of at least `max_side`, by whole fractions, its bands averaged one by one."""
    import zarr

    level = [one for one in series.levels if max(one.keyframe.shape[:2]) >= max_side or one is series.levels[0]][-1]
    pixels = zarr.open(level.aszarr(), mode="r")
    pixels = pixels if hasattr(pixels, "shape") else pixels["0"]
    factor = max(1, max(pixels.shape[:2]) // max_side)
    rows = max(1, 1024 // factor) * factor
    bands = (Image.fromarray(_on_white(pixels[top : top + rows])) for top in range(0, pixels.shape[0], rows))
    return np.concatenate([np.asarray(band.reduce(factor)) for band in bands])
