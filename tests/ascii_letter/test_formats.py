"""PNG and tar, read again by Pillow and by tarfile."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.ascii_letter.formats import add_member, encode_png, end_tar


@given(width=st.integers(1, 300), height=st.integers(1, 300), value=st.integers(0, 255))
def test_pillow_reads_the_pixels_of_a_png(width: int, height: int, value: int) -> None:
    """More than 65,535 bytes too, which are several blocks."""
    pixels = bytes(((i * 7) ^ value) & 255 for i in range(width * height))
    encoded = encode_png(Image.frombytes("L", (width, height), pixels))
    image = Image.open(io.BytesIO(encoded))
    assert (image.format, image.mode, image.size) == ("PNG", "L", (width, height))
    assert image.tobytes() == pixels
    Image.open(io.BytesIO(encoded)).verify()


def test_the_bytes_of_a_png_are_the_same_everywhere() -> None:
    encoded = encode_png(Image.frombytes("L", (300, 300), bytes(i % 251 for i in range(90_000))))
    assert (
        hashlib.sha256(encoded).hexdigest()
        == "93edd98a9884f7fdf8cd10f335cc71887e8e50968fbea25a0786a1e9bc2b6e61"
    )


def tar_of(files: dict[str, bytes]) -> bytes:
    tar = io.BytesIO()
    for name, content in files.items():
        add_member(tar, name, io.BytesIO(content))
    end_tar(tar)
    return tar.getvalue()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 10_240])
def test_a_tar_file_has_the_bytes_that_tarfile_gives(size: int) -> None:
    files = {f"a/{size:05d}.png": os.urandom(size), "b" * 100: b"the longest name"}
    theirs = io.BytesIO()
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert tar_of(files) == theirs.getvalue()


def test_a_content_is_written_from_its_beginning() -> None:
    tar, content = io.BytesIO(), io.BytesIO(b"all of it")
    content.read()
    add_member(tar, "a", content)
    assert tar.getvalue()[512:521] == b"all of it"
