"""The few bytes around a picture that make it a PNG: for workers that have no imaging library."""

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB_8_BIT = (8, 2, 0, 0, 0)
_NO_FILTER = b"\x00"


def encode_blocks(colours: bytes, blocks: int, *, height: int, width: int) -> bytes:
    """A picture of `blocks` x `blocks` plain rectangles, byte for byte the same everywhere.

    Args:
        colours: red, green and blue of each rectangle, row by row.
        blocks: rectangles a side.
        height: in pixels.
        width: in pixels.
    """
    rows = [
        _NO_FILTER
        + b"".join(
            colours[3 * (row * blocks + column) : 3 * (row * blocks + column + 1)]
            * _share(width, blocks, column)
            for column in range(blocks)
        )
        for row in range(blocks)
    ]
    lines = b"".join(line * _share(height, blocks, row) for row, line in enumerate(rows))
    return (
        _SIGNATURE
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *_RGB_8_BIT))
        + _chunk(b"IDAT", zlib.compress(lines, 1))
        + _chunk(b"IEND", b"")
    )


def _share(pixels: int, blocks: int, index: int) -> int:
    """Pixels of one rectangle's side, so that all of them together are exactly `pixels`."""
    return pixels * (index + 1) // blocks - pixels * index // blocks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
