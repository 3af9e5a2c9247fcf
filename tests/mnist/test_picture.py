"""Whatever the picture, the classifier sees the same character: white on black, scaled, centred."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError
from stages.mnist.picture import Floats, ink_size, open_picture, prepare
from tests.conftest import ROOT

CONFIG = MnistConfig.from_yaml(ROOT / "params.yaml")
SHAPE = np.zeros((60, 40), bool)  # a thick L, taller than it is wide
SHAPE[:, :12] = SHAPE[-12:] = True


def drawing(ink: float = 1, paper: float = 0, margin: int = 20) -> Floats:
    """An L of one grey on another, 0..1 [height, width]."""
    inked = np.pad(SHAPE, margin)
    return np.where(inked, ink, paper).astype(np.float32)


def grey(values: Floats) -> Image.Image:
    return Image.fromarray(np.round(values * 255).astype(np.uint8))


def encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


EXPECTED = prepare(grey(drawing()), CONFIG)


def transparent(colour: int) -> Image.Image:
    opacity = grey(drawing())
    return Image.merge("LA", (Image.new("L", opacity.size, colour), opacity))


def half_transparent_colour() -> Image.Image:
    red = Image.new("RGB", (80, 100), (255, 0, 0))
    red.putalpha(grey(drawing(ink=0.6)))
    return red


def badge() -> Image.Image:
    """White on a dark sheet whose corners are rounded."""
    picture = grey(drawing(1, 0.2)).convert("RGBA")
    opacity = np.full((100, 80), 255, np.uint8)
    opacity[:6, :6] = opacity[-6:, -6:] = 0
    picture.putalpha(Image.fromarray(opacity))
    return picture


def palette() -> Image.Image:
    picture = Image.fromarray(drawing().astype(np.uint8), "P")
    picture.putpalette([250, 240, 230, 20, 20, 90])
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(grey(drawing(0, 1)), id="dark on light"),
        pytest.param(grey(drawing(0.7, 0.3)), id="light on dark, low contrast"),
        pytest.param(grey(drawing(0.3, 0.9)), id="grey on light"),
        pytest.param(grey(drawing(0, 1)).convert("1"), id="1 bit"),
        pytest.param(palette(), id="palette"),
        pytest.param(grey(drawing(0, 1)).convert("RGB"), id="RGB"),
        pytest.param(grey(drawing(0, 1)).convert("CMYK"), id="CMYK"),
        pytest.param(grey(drawing(0, 1)).convert("YCbCr"), id="YCbCr"),
        pytest.param(
            Image.merge("LAB", [grey(drawing(0, 1)), *[Image.new("L", (80, 100), 128)] * 2]),
            id="LAB",
        ),
        pytest.param(Image.fromarray((drawing(1, 0) * 60000).astype(np.uint16)), id="16 bit"),
        pytest.param(
            Image.fromarray((drawing(0, 1) * 60000).astype(np.int32)), id="32 bit, dark on light"
        ),
        pytest.param(Image.fromarray(drawing(-3.5, 1e20)), id="float"),
        pytest.param(transparent(0), id="black on nothing"),
        pytest.param(transparent(255), id="white on nothing"),
        pytest.param(half_transparent_colour(), id="half transparent colour on nothing"),
        pytest.param(badge(), id="transparent corners"),
        pytest.param(grey(drawing(0, 1, margin=0)), id="no margin"),
        pytest.param(grey(drawing(0, 1, margin=400)), id="much margin"),
    ],
)
def test_the_image_is_the_same_whatever_the_colours_and_the_mode(picture: Image.Image) -> None:
    image = prepare(picture, CONFIG)
    assert image.shape == (28, 28, 1)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, EXPECTED, atol=0.02)


def test_a_colour_as_bright_as_the_paper_is_ink() -> None:
    colours = np.zeros((100, 80, 3), np.uint8)
    inked = drawing() > 0
    colours[inked], colours[~inked] = (200, 0, 0), (0, 102, 0)  # the same grey
    np.testing.assert_allclose(prepare(Image.fromarray(colours), CONFIG), EXPECTED, atol=0.02)


@pytest.mark.parametrize("factor", [0.5, 3, 20])
def test_the_size_of_the_picture_does_not_matter(factor: float) -> None:
    picture = grey(drawing(0, 1))
    size = int(picture.width * factor), int(picture.height * factor)
    image = prepare(picture.resize(size, Image.Resampling.BOX), CONFIG)
    assert np.abs(image - EXPECTED).mean() < 0.02


def test_the_longer_side_is_of_the_digits_size_and_the_box_in_the_middle() -> None:
    assert ink_size(CONFIG) == 20
    rows, columns = (np.flatnonzero(EXPECTED.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    assert (rows[0], rows[-1]) == (4, 23)
    assert (len(columns), columns[0] + columns[-1]) == (13, 28)  # 13 of 28: half a pixel right
    assert (EXPECTED.min(), EXPECTED.max()) == (0, 1)


@pytest.mark.parametrize(("width", "height"), [(300, 4), (4, 300)])
def test_a_bar_is_no_higher_or_wider_than_it_is(width: int, height: int) -> None:
    picture = Image.new("L", (320, 320))
    picture.paste(255, (10, 10, 10 + width, 10 + height))
    image = prepare(picture, CONFIG)
    assert sorted((image.any(axis=(1, 2)).sum(), image.any(axis=(0, 2)).sum())) == [1, 20]


def test_a_shadow_and_noise_on_the_paper_are_not_ink() -> None:
    values = drawing(0.1, 0.9) - np.linspace(0, 0.15, 80, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 0.02, values.shape)
    image = prepare(grey(np.clip(values + noise, 0, 1).astype(np.float32)), CONFIG)
    np.testing.assert_allclose(image[EXPECTED == 0], 0)
    assert np.abs(image - EXPECTED).mean() < 0.03


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "CMYK", "I", "F", "I;16"])
def test_an_empty_picture_is_an_error(mode: str) -> None:
    with pytest.raises(PipelineError, match="nothing on the picture"):
        prepare(Image.new(mode, (30, 30)), CONFIG)


def test_noise_alone_is_nothing() -> None:
    noise = np.random.default_rng(0).uniform(0.93, 1, (90, 90)).astype(np.float32)
    with pytest.raises(PipelineError, match="nothing on the picture"):
        prepare(grey(noise), CONFIG)


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000"])
def test_a_picture_comes_in_any_format(form: str) -> None:
    picture = open_picture(encode(grey(drawing(0, 1)), form))
    assert np.abs(prepare(picture, CONFIG) - EXPECTED).mean() < 0.02


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [grey(drawing(0, 1)), Image.new("L", (80, 100), 255)]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(prepare(open_picture(content), CONFIG), EXPECTED, atol=0.02)


def test_a_photograph_that_lies_on_its_side_is_put_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees clockwise to see it
    lying = grey(drawing(0, 1)).transpose(Image.Transpose.ROTATE_90)
    picture = open_picture(encode(lying, "JPEG", exif=exif, quality=95))
    np.testing.assert_allclose(prepare(picture, CONFIG), EXPECTED, atol=0.05)
    assert np.abs(prepare(lying, CONFIG) - EXPECTED).mean() > 0.1


def bomb(side: int) -> bytes:
    """A PNG file whose head says that it is large."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + head
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(head)) + chunk
    return png + struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT" + bytes(4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no picture"),
        (b"text", "no picture"),
        (encode(grey(drawing()), "PNG")[:-60], "damaged"),
        (encode(grey(drawing()), "JPEG")[:400], "damaged"),
        (bomb(10_000), "pixels"),
        (bomb(30_000), "pixels"),
    ],
)
def test_what_cannot_be_read_is_an_error(content: bytes, words: str) -> None:
    with pytest.raises(PipelineError, match=words) as raised:
        open_picture(content)
    assert "\n" not in str(raised.value)


def test_all_channels_are_the_same() -> None:
    image = prepare(grey(drawing()), replace(CONFIG, n_channels=3))
    np.testing.assert_array_equal(image, np.repeat(EXPECTED, 3, axis=2))
