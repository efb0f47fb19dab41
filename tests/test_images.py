"""What a region shows must be where it says, at the size it says; a damaged file must never pass for tissue."""

import logging
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from helpers import images

WIDTH, HEIGHT, MPP = 240, 200, 0.5


@pytest.fixture(scope="module")
def ramp(tmp_path_factory):
    """A PNG whose red is x and whose green is y: a pixel tells where it came from."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
    path = tmp_path_factory.mktemp("ramp") / "ramp.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def reader(ramp):
    return images.open(ramp, MPP)


def test_size_is_width_then_height(ramp):
    assert images.size(ramp) == (WIDTH, HEIGHT)


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
