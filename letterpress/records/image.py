"""Decodes image files of any mode: one reader for data sets and for pictures to classify."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError

_MOST_PIXELS = 90_000_000  # decoded at once: about 400 MB
CONVERT_HEIC = "Convert HEIC to JPEG"
"""The remedy for photographs of many phones: Pillow does not read HEIC."""
_HEIC = re.compile(rb"(?s).{4}ftyp(he|mif1|msf1)")  # a file's first bytes
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_DEPTHS = (1, 255, 1023, 4095, 16383, 65535)  # white in floats and in 8 to 16 bits


def decode_image(
    name: str, content: bytes, config: ClassifierConfig, fit: bool = False, paper: str = "black"
) -> npt.NDArray[np.uint8]:
    """Decodes an image file: uint8 0..255 [image_height, image_width, n_channels].

    `fit` accepts any size and mode: converts, scales with the aspect ratio kept, pads with `paper`.

    Raises:
        PipelineError: not an image, damaged, or (with `fit`) too large or of one colour, or
            (without) of another size or mode.
    """
    size = config.image_width, config.image_height
    mode = "L" if config.n_channels == 1 else "RGB"
    if fit:
        picture = read_picture(name, content, 4 * max(size))
        pixels = np.asarray(picture)
        if (pixels == pixels[0, 0]).all():
            raise PipelineError(f"{name}: every pixel has the same colour. Remove it")
        if 2 * min(picture.size) * max(size) <= max(picture.size):  # less than half a pixel
            raise PipelineError(
                f"{name}: too narrow for {size[0]}x{size[1]} pixels "
                f"(got {picture.width}x{picture.height}). Crop or remove it"
            )
        fitted = ImageOps.pad(picture.convert(mode), size, color=paper)
        return np.asarray(fitted).reshape(config.image_shape)
    # The size is compared before any pixel is decoded: no bomb can pass.
    with open_image(name, content) as image:
        if image.size != size or image.mode != mode:
            raise PipelineError(
                f"{name}: expected {size[0]}x{size[1]} pixels in mode {mode} "
                f"(got {image.width}x{image.height} in mode {image.mode}). "
                "Convert the image, or change params.yaml"
            )
        return np.asarray(image).reshape(config.image_shape)


def read_picture(name: str, content: bytes, side: int) -> Image.Image:
    """Reads an image file of any mode: its first frame, upright, in mode L or RGB.

    A longer side of over 2 * `side` pixels is reduced, if possible while decoding. Clear parts are
    painted: see `_paint_clear`. More than 8 bits are scaled by the number of bits in use, other
    values by their range.

    Raises:
        PipelineError: not an image, damaged, or too large.
    """
    with open_image(name, content) as image:
        image.draft(None, (side, side))  # JPEG only: decodes down to an eighth, not below `side`
        if image.width * image.height > _MOST_PIXELS:
            raise PipelineError(
                f"{name}: expected at most {_MOST_PIXELS} pixels "
                f"(got {image.width}x{image.height}). Save it smaller, or as JPEG"
            )
        ImageOps.exif_transpose(image, in_place=True)
        return _flatten(_reduce(image, side))


@contextmanager
def open_image(name: str, content: bytes) -> Iterator[Image.Image]:
    """Opens an image file. Decodes no pixels until they are used inside the `with` block.

    Raises:
        PipelineError: not an image, too large, or damaged (perhaps only noticed in the block).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, and sizes that callers check
            with Image.open(io.BytesIO(_without_texts(content))) as image:
                yield image
    except PipelineError:
        raise
    except UnidentifiedImageError as error:  # its message is a memory address
        remedy = CONVERT_HEIC if _HEIC.match(content) else "Remove it"
        raise PipelineError(f"{name}: not an image in any known format. {remedy}") from error
    except Exception as error:  # a damaged file makes a decoder raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PipelineError(
            f"{name}: not readable as an image ({reason:.200}). Replace it"
        ) from error


def _without_texts(content: bytes) -> bytes:
    """Removes comments and colour profiles from a PNG file: Pillow refuses files with large ones."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    kept, start = [content[:8]], 8
    while start < len(content):
        # Beside its data, a chunk has 4 bytes each of length, type and checksum.
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if content[start + 4 : start + 8] not in _TEXTS:
            kept.append(content[start:end])
        start = end
    return b"".join(kept)


def _reduce(image: Image.Image, side: int) -> Image.Image:
    """Averages blocks of pixels if the longer side is over 2 * `side`."""
    factor = max(image.size) // (2 * side)
    if factor < 1:
        return image
    # The mean of two indices of a palette is another colour; Pillow cannot average 1-bit images.
    if image.mode in ("P", "PA", "1"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode.startswith("I;"):
        image = image.convert("I")
    return image.reduce(factor)


def _flatten(image: Image.Image) -> Image.Image:
    """Converts any mode to L or RGB, white at 255."""
    if image.mode[0] in "IF":  # I, I;16, F
        deep = image if image.mode == "F" else image.convert("I")
        values = np.nan_to_num(np.asarray(deep, np.float32), posinf=0, neginf=0)
        low, high = float(values.min()), float(values.max())
        black, white = 0.0, next((float(depth) for depth in _DEPTHS if depth >= high), 0.0)
        if low < 0 or not white:
            black, white = low, high
        scaled = (values - black) * (255 / max(white - black, 1e-30))
        return Image.fromarray((scaled + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        return _paint_clear(image.convert("RGBA"))
    return image if image.mode == "L" else image.convert("RGB")


def _paint_clear(image: Image.Image) -> Image.Image:
    """Paints the clear parts of an RGBA image; returns it in mode RGB.

    If what is opaque has one colour, it is a shape: the clear becomes black or white, whichever
    differs more. Otherwise it is a picture on paper: the clear gets its median colour.
    """
    pixels = np.asarray(image)
    opaque = pixels[pixels[..., 3] >= 128][:, :3]
    paper = np.median(opaque, axis=0) if opaque.size else np.zeros(3)
    if opaque.size and opaque.std(axis=0).max() < 8:
        paper[:] = 255 if paper.mean() < 128 else 0
    background = Image.new("RGBA", image.size, (*(int(value) for value in paper), 255))
    return Image.alpha_composite(background, image).convert("RGB")
