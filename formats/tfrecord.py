"""TFRecord files: where their records lie.

A record is its length (8 bytes), a checksum of that (4), the bytes, a checksum of those (4), all little-endian.
"""

import logging
import os
import struct

import numpy as np

log = logging.getLogger("face")


def index(path: str) -> np.ndarray:
    """→ (n, 2) int64: first byte and length of every whole record; a cut-off tail is left out with a warning."""
    size, found, position = os.path.getsize(path), [], 0
    with open(path, "rb") as file:
        while position + 12 <= size:
            file.seek(position)
            (length,) = struct.unpack("<Q", file.read(8))
            if position + 16 + length > size:
                break
            found.append((position + 12, length))
            position += 16 + length
    if position != size:
        log.warning(
            "%s ends inside a record: %d bytes after %d whole records are not read", path, size - position, len(found)
        )
    return np.array(found, np.int64).reshape(-1, 2)


def read(path: str, first: int, length: int) -> bytes:
    """Bytes of one record."""
    with open(path, "rb") as file:
        file.seek(first)
        return file.read(length)
