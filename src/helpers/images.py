"""The only opener of H&E images: square regions in um around a centre, through tiatoolbox's readers."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

# Readers of these formats hold the whole image in memory and know no pixel size.
PLAIN = {".jpg", ".jpeg", ".png"}


def size(path: str | Path) -> tuple[int, int]:
    """(width, height) of the full-resolution image, from its header alone.

    Raises FileNotFoundError for a missing file, ValueError for one that is no image; both name the file.
    """
    with _header(path) as image:
        return image.size


def open(path: str | Path, mpp: float):
    """Reader of an H&E image whose full-resolution pixels are `mpp` um wide.

    JPEG and PNG are decoded whole (a 92 MP section holds 0.28 GB, twice that while it opens); tiled formats are
    read piece by piece. Raises FileNotFoundError for a missing file, ValueError for one that is no image or is
    cut short, since decoders fill the missing part with grey and carry on.
    """
    path = Path(path)
    _check_mpp(mpp)
    _check_whole(path)
    with _tiatoolbox_kept_quiet():
        from tiatoolbox.wsicore.wsireader import WSIReader

        try:
            reader = WSIReader.open(path, mpp=(mpp, mpp))
            reader.info  # noqa: B018  read here, while the remarks it logs are silenced
            return reader
        except Exception as error:  # each reader behind this door has errors of its own
            raise ValueError(f"{path}: tiatoolbox cannot read this image ({error})") from error


def region(reader, centre: tuple[float, float], size_um: float, mpp: float) -> np.ndarray:
    """Square region of `size_um` um around `centre`, resampled to `mpp` um per pixel.

    `centre` is x, y in full-resolution pixels (the middle of pixel 0 is at 0). Returns uint8 (h, w, 3) with
    h = w = round(size_um / mpp), white outside the image. At the image's own resolution pixels are copied as
    they are: the region starts at the nearest whole pixel.
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
    pixels = reader.read_rect(where, (side, side), resolution=mpp, units="mpp", pad_constant_values=255)
    return np.ascontiguousarray(pixels[..., :3])


def _check_mpp(mpp: float) -> None:
    if not 0 < mpp < np.inf:
        raise ValueError(f"mpp is {mpp}: give the pixel size in um per pixel, above 0")


@contextmanager
def _header(path: str | Path) -> Iterator[Image.Image]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such image; check the path or fetch the file")
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # sections exceed Pillow's guard against bombs
    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not an image that Pillow knows; fetch the file again") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _check_whole(path: Path) -> None:
    with _header(path) as image:
        if path.suffix.lower() not in PLAIN:
            return
        try:
            image.draft(None, (image.width // 8, image.height // 8))  # JPEG: reads it all, decodes one eighth
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{path}: the image is cut short or damaged ({error}); fetch it again") from error


@contextmanager
def _tiatoolbox_kept_quiet() -> Iterator[None]:
    # On import it hangs handlers on the root logger and diverts warnings to it; a JPEG makes it log "Raw data is None".
    root = logging.getLogger()
    handlers, level, show = root.handlers[:], root.level, warnings.showwarning
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        root.handlers[:], warnings.showwarning = handlers, show
        root.setLevel(level)
