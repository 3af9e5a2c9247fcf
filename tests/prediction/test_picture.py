"""Whatever the picture, the classifier sees the same character: white on black, scaled, placed."""

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image

from letterpress.core.errors import PipelineError
from letterpress.mnist.config import MnistConfig
from letterpress.prediction.ink import Floats
from letterpress.prediction.picture import ink_size, open_picture, prepare, prepare_each
from letterpress.records import image as image_module
from tests.prediction import people

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


def reread(picture: Image.Image) -> Image.Image:
    """Writes a picture of any mode to a file and reads it."""
    modes = {"LAB": "TIFF", "YCbCr": "JPEG", "CMYK": "TIFF", "F": "TIFF", "I": "TIFF"}
    return open_picture("x", encode(picture, modes.get(picture.mode, "PNG")))


def likeness(image: Floats, other: Floats) -> float:
    """Returns the cosine of the angle between two images, 0..1: 1 if they are equal."""
    return float((image * other).sum() / np.sqrt((image**2).sum() * (other**2).sum()))


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
        image = prepare(reread(picture), CONFIG)
        assert image.shape == (28, 28, 1)
        assert likeness(image, EXPECTED) > 0.95, name
    forms = ("PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000")
    pictures = [open_picture("x", encode(DARK, form)) for form in forms]
    for side in (40, 240, 1600):
        pictures.append(DARK.resize((side, side * 5 // 4), Image.Resampling.BOX))
    for picture in pictures:
        assert likeness(prepare(picture, CONFIG), EXPECTED) > 0.95, picture
    in_colour = prepare(DARK, CONFIG.replace(n_channels=3))
    np.testing.assert_allclose(in_colour, np.repeat(EXPECTED, 3, axis=2), atol=1e-6)


def test_the_longer_side_has_mnists_size_and_the_mass_or_the_box_is_centred() -> None:
    rows, columns = (np.flatnonzero(EXPECTED.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    assert (ink_size(CONFIG), len(rows), len(columns)) == (20, 20, 13)
    assert (EXPECTED.min(), EXPECTED.max()) == (0, 1)
    masses = EXPECTED[..., 0].sum(axis=1), EXPECTED[..., 0].sum(axis=0)
    for mass in masses:  # as in MNIST
        assert np.arange(28) @ mass / mass.sum() == pytest.approx(14, abs=0.5)
    boxed = prepare(DARK, CONFIG.replace(placement="bounding_box"))
    rows, columns = (np.flatnonzero(boxed.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    assert (rows[0], rows[-1], columns[0] + columns[-1]) == (4, 23, 28)
    for corner in ((310, 24), (24, 310)):  # a thin bar stays thin
        picture = Image.new("L", (320, 320))
        picture.paste(255, (10, 10, *corner))
        image = prepare(picture, CONFIG)
        assert {image.any(axis=(1, 2)).sum(), image.any(axis=(0, 2)).sum()} == {1, 20}


def test_an_image_of_training_size_keeps_its_pixels() -> None:
    """A digit as MNIST has it: 20 pixels high, its centre of mass in the middle."""
    digit = prepare(people.as_picture(people.draw()), CONFIG)
    again = prepare(grey(digit[..., 0]), CONFIG)
    assert np.abs(again - digit).max() < 0.2
    assert np.abs(again - digit).mean() < 0.01


SHEETS: dict[str, Floats] = {
    "light on dark": people.draw(paper=25, ink=230),
    "grey pencil": people.noisy(people.draw(ink=150), 4),
    "shadow of 35 %": people.shaded(people.draw()),
    "light on dark, shadow": people.shaded(people.draw(paper=90, ink=250)),
    "shadow of a hand": people.hand_shadow(people.draw()),
    "pencil in the shadow of a hand": people.hand_shadow(people.draw(ink=140)),
    "noise of 15": people.noisy(people.draw(), 15),
    "noise of 25": people.noisy(people.draw(), 25),
    "ruled": people.on(people.ruled()),
    "ruled in black": people.on(people.ruled(grey=60)),
    "squared": people.on(people.ruled(squared=True)),
    "ruled, shadow, noise": people.noisy(people.shaded(people.on(people.ruled()), 0.3), 8),
    "a form's box": people.with_box(people.draw()),
    "edge of a scan": np.pad(people.draw(), [(0, 20), (20, 0)], constant_values=5),
    "sheet on a desk": np.pad(people.draw(), 100, constant_values=70),
}


def test_light_noise_lines_and_edges_of_the_paper_are_not_ink() -> None:
    config = CONFIG.replace(placement="bounding_box")
    expected = prepare(people.as_picture(people.draw()), config)
    for name, values in SHEETS.items():
        assert likeness(prepare(people.as_picture(values), config), expected) > 0.8, name
    jpeg = encode(people.as_picture(people.draw()), "JPEG", quality=30)
    assert likeness(prepare(open_picture("x", jpeg), config), expected) > 0.95
    thin, thick = (prepare(people.as_picture(people.draw(width)), config) for width in (6, 44))
    assert 0.3 < thin.sum() / expected.sum() < 1 < thick.sum() / expected.sum() < 2.2
    assert thin.max() == 1


def test_several_characters_are_noticed_and_given_in_reading_order() -> None:
    narrow = people.draw()[:, 60:320]
    three = np.hstack([narrow, narrow[::-1], narrow])
    rows = np.vstack([three, three])
    for values, n in ((three, 3), (rows, 6)):
        picture = people.as_picture(values)
        with pytest.raises(ValueError, match=f"^{n} characters. .*--each"):
            prepare(picture, CONFIG)
        images = prepare_each(picture, CONFIG)
        assert len(images) == n
        for index, image in enumerate(images):
            alike = [likeness(image, images[i]) for i in (0, 1)]
            assert (alike[0] > alike[1]) == (index % 3 != 1)
    dotted = Image.new("L", (120, 200), 255)
    dotted.paste(0, (50, 70, 66, 180))
    dotted.paste(0, (50, 30, 66, 46))
    rows_of_i = np.flatnonzero(prepare(dotted, CONFIG).any(axis=(1, 2)))
    assert len(rows_of_i) < rows_of_i[-1] - rows_of_i[0] + 1  # the dot is apart and belongs to it


def test_nothing_like_a_character_is_an_error() -> None:
    random = np.random.default_rng(0)
    modes = ("1", "L", "RGB", "RGBA", "LA", "CMYK", "I", "F", "I;16")
    blanks = [open_picture("x", encode(Image.new(mode, (30, 30)), "TIFF")) for mode in modes]
    empty = people.noisy(people.shaded(people.draw(width=0, ink=people.PAPER), 0.3), 8)
    for picture in (grey(random.uniform(0.93, 1, (90, 90))), people.as_picture(empty), *blanks):
        with pytest.raises(ValueError, match="too little contrast"):
            prepare(picture, CONFIG)
    one_pixel, block = Image.new("L", (28, 28), 255), Image.new("L", (200, 200), 255)
    one_pixel.putpixel((14, 14), 0)
    block.paste(0, (60, 50, 150, 140))
    lines = [people.as_picture(people.ruled(squared=squared)) for squared in (False, True)]
    for picture in (one_pixel, block, people.as_picture(people.scribble()), *lines):
        with pytest.raises(ValueError, match="no character found"):
            prepare(picture, CONFIG)


def test_a_large_photograph_is_reduced_while_it_is_decoded() -> None:
    large = people.as_picture(people.draw()).resize((12000, 9000)).convert("RGB")
    content = encode(large, "JPEG", quality=50)
    tracemalloc.start()
    picture = open_picture("x", content)
    assert max(picture.size) <= 1500
    assert tracemalloc.get_traced_memory()[1] < 30_000_000  # besides Pillow's own
    tracemalloc.stop()
    assert prepare(picture, CONFIG).max() == 1


def test_the_first_frame_counts_and_a_photograph_is_rotated_upright() -> None:
    content = encode(DARK, "GIF", save_all=True, append_images=[Image.new("L", SIZE, 255)])
    np.testing.assert_allclose(prepare(open_picture("x", content), CONFIG), EXPECTED, atol=0.1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    lying = DARK.transpose(Image.Transpose.ROTATE_90)
    picture = open_picture("x", encode(lying, "JPEG", exif=exif, quality=95))
    np.testing.assert_allclose(prepare(picture, CONFIG), EXPECTED, atol=0.15)


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
    monkeypatch.setattr(image_module, "_MOST_PIXELS", 5000)
    refuse(encode(DARK, "PNG"), r"at most 5000 pixels .got 80x100.*as JPEG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    refuse(encode(DARK, "PNG"), r"\(8000 pixels\) exceeds limit")
