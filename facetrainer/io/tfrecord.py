"""TFRecord files of tf.train.Example, without TensorFlow.

A record is its length (8 bytes), a checksum of that (4), the bytes, a checksum of those (4), all little-endian. The checksum
is CRC-32C (Castagnoli, RFC 3720 B.4), turned 15 bits to the right, plus a constant. An Example is a protocol buffer:
features (1) → map entries (1) of key (1) and feature (2) → bytes_list (1), float_list (2) or int64_list (3) → values (1).
"""

import array
import functools
import logging
import mmap
import os
import struct

import numpy as np

from facetrainer.io.protobuf import fields, integers, parts

log = logging.getLogger("facetrainer")

BLOCK = 4096


def index(path: str) -> np.ndarray:
    """→ (n, 2) int64: first byte and length of every whole record; a cut-off tail is left out with a warning."""
    size, found, position = os.path.getsize(path), array.array("q"), 0
    with open(path, "rb") as file:
        while position + 12 <= size:
            file.seek(position)
            (length,) = struct.unpack("<Q", file.read(8))
            if position + 16 + length > size:
                break
            found.extend((position + 12, length))
            position += 16 + length
    if position != size:
        log.warning(
            "%s ends inside a record: %d bytes after %d whole records are not read",
            path,
            size - position,
            len(found) // 2,
        )
    return np.frombuffer(found, np.int64).reshape(-1, 2)


def is_whole(file: bytes | mmap.mmap, first: int, length: int) -> bool:
    """Whether the record at `first` of a file's bytes agrees with its checksum."""
    return struct.unpack_from("<I", file, first + length)[0] == masked_crc(file[first : first + length])


def write(file, data: bytes) -> None:
    """Append one record to an open file."""
    length = struct.pack("<Q", len(data))
    file.write(length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data)))


def masked_crc(data: bytes) -> int:
    """The checksum of a record's bytes."""
    value = 0xFFFFFFFF
    for begin in range(0, len(data), BLOCK):
        value = _crc(np.frombuffer(data, np.uint8, min(BLOCK, len(data) - begin), begin), value)
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc(block, value):
    """CRC is linear: each byte has its own share, by how many bytes follow it; the first four carry the value so far."""
    table, n = _shares(), len(block)
    start = np.zeros(max(n, 4), np.uint8)
    start[:n] = block
    start[:4] ^= np.frombuffer(struct.pack("<I", value), np.uint8)
    if n < 4:  # fewer bytes than the register holds: the rest of it moves down
        shares = np.bitwise_xor.reduce(table[np.arange(n - 1, -1, -1), start[:n]], initial=0)
        return int(shares) ^ value >> 8 * n
    return int(np.bitwise_xor.reduce(table[np.arange(n - 1, -1, -1), start]))


@functools.cache
def _shares():
    """(BLOCK, 256): share of byte b that k bytes follow."""
    table = np.zeros((BLOCK, 256), np.uint32)
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ np.uint32(0x82F63B78), values >> 1).astype(np.uint32)
    table[0] = values
    for k in range(1, BLOCK):
        table[k] = table[0][table[k - 1] & 0xFF] ^ table[k - 1] >> 8
    return table


def encode(values: dict[str, list]) -> bytes:
    """{name: bytes or integers} → tf.train.Example."""
    return _field(
        1, b"".join(_field(1, _field(1, name.encode()) + _field(2, _feature(v))) for name, v in values.items())
    )


def _feature(values):
    if isinstance(values[0], bytes):
        return _field(1, b"".join(_field(1, value) for value in values))
    return _field(3, _field(1, b"".join(_varint(int(value) & (1 << 64) - 1) for value in values)))


def _field(number, data):
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def decode(data: bytes, only: str | None = None) -> dict[str, list]:
    """tf.train.Example → {name: bytes, floats or integers}, all or `only` one; ValueError where it is none."""
    found = {}
    try:
        for features in parts(memoryview(data), 1):
            for entry in parts(features, 1):
                (name,), (feature,) = parts(entry, 1), parts(entry, 2)
                name = bytes(name).decode()
                if only is None or name == only:
                    found[name] = _values(feature)
    except (IndexError, ValueError) as error:
        raise ValueError(f"not a tf.train.Example: {error}") from None
    return found


def _values(feature):
    for number, value in fields(feature):
        if number in READERS and not isinstance(value, int):
            return READERS[number](value)
    return []


READERS = {
    1: lambda data: [bytes(value) for value in parts(data, 1)],
    2: lambda data: np.frombuffer(b"".join(parts(data, 1)), "<f4").tolist(),
    3: integers,
}
