"""Decodes image files."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError


def decode_image(
    name: str, content: bytes, config: ClassifierConfig, fit: bool = False
) -> npt.NDArray[np.uint8]:
    """Decodes an image file: uint8 0..255 [image_height, image_width, n_channels].

    `fit` accepts any size and mode: converts, scales with the aspect ratio kept, pads with black.

    Raises:
        PipelineError: not an image, damaged, or (unless `fit`) of another size or mode.
    """
    size = config.image_width, config.image_height
    mode = "L" if config.n_channels == 1 else "RGB"
    # Without `fit` the size is compared before any pixel is decoded: no bomb can pass.
    with open_image(name, content, refuse_bombs=fit) as image:
        if fit:
            image = ImageOps.pad(ImageOps.exif_transpose(image).convert(mode), size)
        if image.size != size or image.mode != mode:
            raise PipelineError(
                f"{name}: expected {size[0]}x{size[1]} pixels in mode {mode} "
                f"(got {image.width}x{image.height} in mode {image.mode}). "
                "Convert the image, or change params.yaml"
            )
        return np.asarray(image).reshape(config.image_shape)


@contextmanager
def open_image(name: str, content: bytes, refuse_bombs: bool) -> Iterator[Image.Image]:
    """Opens an image file. Decodes no pixels until they are used inside the `with` block.

    `refuse_bombs` makes more than Image.MAX_IMAGE_PIXELS pixels an error.

    Raises:
        PipelineError: not an image, too large, or damaged, then or when its pixels are decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata
            if refuse_bombs:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                yield image
    except PipelineError:
        raise
    except UnidentifiedImageError as error:  # its message is a memory address
        raise PipelineError(f"{name}: not an image in any known format. Remove it") from error
    except Exception as error:  # a damaged file makes a decoder raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PipelineError(
            f"{name}: not readable as an image ({reason:.200}). Replace it"
        ) from error
