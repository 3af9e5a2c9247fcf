"""PNG and tar, written byte by byte: what Pillow and Python choose in later releases changes nothing.

For small images it is also several times as fast as these are.
"""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from typing import BinaryIO

from PIL import Image

_BLOCK = 512
_RECORD = 20 * _BLOCK


def encode_png(image: Image.Image) -> bytes:
    """Encodes a grey image (mode L) as a PNG file, neither filtered nor compressed (RFC 2083)."""
    width, height = image.size
    rows = image.crop((-1, 0, width, height)).tobytes()  # each begins with a zero: no filter
    header = _chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    data = _chunk(b"IDAT", _uncompressed(rows))
    return b"\x89PNG\r\n\x1a\n" + header + data + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _uncompressed(content: bytes) -> bytes:
    """Wraps bytes as a zlib stream (RFC 1950). zlib's own depends on who calls it, from 64 KiB on."""
    most = 0xFFFF
    parts = [content[first : first + most] for first in range(0, len(content), most)]
    blocks = [struct.pack("<BHH", 0, len(part), len(part) ^ most) + part for part in parts]
    blocks[-1] = b"\1" + blocks[-1][1:]
    return b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(content))


def add_member(tar: BinaryIO, name: str, content: BinaryIO) -> None:
    """Writes a file, without owner and time, to a tar file (POSIX.1-1988, "ustar").

    Args:
        tar: where the tar file goes; `end_tar` ends it.
        name: ASCII, 100 characters at most.
        content: a file that can seek, below 8 GiB, read from its beginning.
    """
    size = content.seek(0, io.SEEK_END)
    content.seek(0)
    owner, time, no_checksum = b"0000000", b"%011o" % 0, b" " * 8
    fields = name.encode("ascii"), b"0000644", owner, owner, b"%011o" % size, time, no_checksum
    header = struct.pack("100s8s8s8s12s12s8s1s100s8s247x", *fields, b"0", b"", b"ustar\x0000")
    tar.write(header[:148] + b"%06o\0 " % sum(header) + header[156:])
    shutil.copyfileobj(content, tar)
    tar.write(bytes(-size % _BLOCK))


def end_tar(tar: BinaryIO) -> None:
    """Writes the end of a tar file: two empty blocks, and more up to a whole record."""
    tar.write(bytes(2 * _BLOCK))
    tar.write(bytes(-tar.tell() % _RECORD))
