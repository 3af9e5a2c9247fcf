"""Whatever the picture, the classifier sees the same character: white on black, scaled, centred."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from letterpress.core.errors import PipelineError
from letterpress.mnist.config import MnistConfig
from letterpress.prediction.picture import Floats, ink_size, open_picture, prepare

CONFIG = MnistConfig()
SHAPE = np.zeros((60, 40), bool)  # a thick L, taller than it is wide
SHAPE[:, :12] = SHAPE[-12:] = True


def drawing(ink: float = 1, paper: float = 0, margin: int = 20) -> Floats:
    """Draws an L in one grey on another, 0..1 [height, width]."""
    return np.where(np.pad(SHAPE, margin), ink, paper).astype(np.float32)


def grey(values: Any) -> Image.Image:
    return Image.fromarray(np.round(values * 255).astype(np.uint8))


def encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def transparent(picture: Image.Image, opacity: Image.Image) -> Image.Image:
    picture.putalpha(opacity)
    return picture


EXPECTED = prepare(grey(drawing()), CONFIG)
DARK, INK, SIZE = grey(drawing(0, 1)), drawing() > 0, (80, 100)
EQUALLY_BRIGHT = np.where(INK[..., None], (200, 0, 0), (0, 102, 0)).astype(np.uint8)
CORNERS = Image.new("L", SIZE, 255)
CORNERS.paste(0, (0, 0, 6, 6))
PALETTE = Image.fromarray(INK.astype(np.uint8), "P")
PALETTE.putpalette([250, 240, 230, 20, 20, 90])
PICTURES = {
    "dark on light": DARK,
    "light on dark, low contrast": grey(drawing(0.7, 0.3)),
    "ink as bright as the paper": Image.fromarray(EQUALLY_BRIGHT),
    **{mode: DARK.convert(mode) for mode in ("1", "RGB", "CMYK", "YCbCr")},
    "LAB": Image.merge("LAB", [DARK, *[Image.new("L", SIZE, 128)] * 2]),
    "palette": PALETTE,
    "16 bit": Image.fromarray((INK * 60000).astype(np.uint16)),
    "32 bit": Image.fromarray((INK * 10**9).astype(np.int32)),
    "float": Image.fromarray(np.where(INK, 7, -3).astype(np.float32)),
    "black on clear": transparent(Image.new("L", SIZE, 0), grey(INK)),
    "white on clear": transparent(Image.new("L", SIZE, 255), grey(INK)),
    "half transparent": transparent(Image.new("RGB", SIZE, "red"), grey(INK * 0.6)),
    "transparent corner": transparent(grey(drawing(1, 0.2)).convert("RGBA"), CORNERS),
    "no margin": grey(drawing(0, 1, margin=0)),
    "much margin": grey(drawing(0, 1, margin=400)),
}


def test_the_image_is_the_same_in_all_colours_modes_formats_and_sizes() -> None:
    for name, picture in PICTURES.items():
        image = prepare(picture, CONFIG)
        assert image.shape == (28, 28, 1)
        np.testing.assert_allclose(image, EXPECTED, atol=0.02, err_msg=name)
    forms = ("PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000")
    pictures = [open_picture("x", encode(DARK, form)) for form in forms]
    for side in (40, 240, 1600):
        pictures.append(DARK.resize((side, side * 5 // 4), Image.Resampling.BOX))
    for picture in pictures:
        assert np.abs(prepare(picture, CONFIG) - EXPECTED).mean() < 0.02, picture
    in_colour = prepare(DARK, CONFIG.replace(n_channels=3))
    np.testing.assert_array_equal(in_colour, np.repeat(EXPECTED, 3, axis=2))


def test_the_longer_side_has_mnists_size_and_the_box_is_centred() -> None:
    rows, columns = (np.flatnonzero(EXPECTED.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    assert (ink_size(CONFIG), rows[0], rows[-1]) == (20, 4, 23)
    assert (len(columns), columns[0] + columns[-1]) == (13, 28)  # 13 of 28: half a pixel right
    assert (EXPECTED.min(), EXPECTED.max()) == (0, 1)
    for corner in ((310, 14), (14, 310)):  # a thin bar stays one pixel thick
        picture = Image.new("L", (320, 320))
        picture.paste(255, (10, 10, *corner))
        image = prepare(picture, CONFIG)
        assert {image.any(axis=(1, 2)).sum(), image.any(axis=(0, 2)).sum()} == {1, 20}


def test_shadow_and_noise_are_not_ink_and_without_ink_there_is_an_error() -> None:
    random = np.random.default_rng(0)
    values = drawing(0.1, 0.9) - np.linspace(0, 0.15, 80) + random.normal(0, 0.02, (100, 80))
    image = prepare(grey(np.clip(values, 0, 1)), CONFIG)
    np.testing.assert_allclose(image[EXPECTED == 0], 0)
    assert np.abs(image - EXPECTED).mean() < 0.03
    modes = ("1", "L", "RGB", "RGBA", "LA", "CMYK", "I", "F", "I;16")
    noise = grey(random.uniform(0.93, 1, (90, 90)))
    for picture in (noise, *(Image.new(mode, (30, 30)) for mode in modes)):
        with pytest.raises(ValueError, match="picture is empty"):
            prepare(picture, CONFIG)


def test_the_first_frame_counts_and_a_photograph_is_rotated_upright() -> None:
    content = encode(DARK, "GIF", save_all=True, append_images=[Image.new("L", SIZE, 255)])
    np.testing.assert_allclose(prepare(open_picture("x", content), CONFIG), EXPECTED, atol=0.02)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    lying = DARK.transpose(Image.Transpose.ROTATE_90)
    picture = open_picture("x", encode(lying, "JPEG", exif=exif, quality=95))
    np.testing.assert_allclose(prepare(picture, CONFIG), EXPECTED, atol=0.05)


def test_a_file_that_cannot_be_read_is_an_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(content: bytes, message: str) -> None:
        with pytest.raises(PipelineError, match=f"^x: .*{message}") as raised:
            open_picture("x", content)
        assert "\n" not in str(raised.value)

    refuse(b"text", "not an image")
    for cut in (encode(DARK, "PNG")[:-60], encode(DARK, "JPEG")[:400]):
        refuse(cut, "not readable as an image")
    for limit in (5000, 3000):  # a warning of Pillow's, and more than twice as much: an error
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        refuse(encode(DARK, "PNG"), r"\(8000 pixels\) exceeds limit")
