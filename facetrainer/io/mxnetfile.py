"""MXNet's `.params`: named arrays, and the bytes of one array (`NDArray::Save`)."""

import math
import struct

import numpy as np

from facetrainer.utils.files import read_bytes

TYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8")


def ndarray(data: bytes, begin: int = 0) -> tuple[np.ndarray, int]:
    """One dense array that begins at `begin`.

    uint32 0xF993FAC9 (0xF993FAC8 in mxnet 0.x, without storage type), int32 storage type, uint32 dimensions, int64 each, int32
    device type and number, int32 element type, elements.

    Returns:
        The array, and the place behind it.

    Raises:
        ValueError: It is none.
    """
    (magic,) = struct.unpack_from("<I", data, begin)
    head = {0xF993FAC9: 8, 0xF993FACA: 8, 0xF993FAC8: 4}.get(magic)
    if head is None or head == 8 and struct.unpack_from("<i", data, begin + 4)[0] not in (-1, 0):
        raise ValueError(f"an NDArray of another kind: it begins with {data[begin : begin + 8].hex()}")
    (ndim,) = struct.unpack_from("<I", data, begin + head)
    if ndim > 8:
        raise ValueError(f"an NDArray of {ndim} dimensions")
    *shape, _, _, kind = struct.unpack_from(f"<{ndim}qiii", data, begin + head + 4)
    if not 0 <= kind < len(TYPES) or min(shape, default=0) < 0:
        raise ValueError(f"an NDArray of shape {shape} and type {kind}")
    start, count = begin + head + 16 + 8 * ndim, math.prod(shape)
    if count > len(data) - start:
        raise ValueError(f"an NDArray of shape {tuple(shape)} in {len(data)} bytes")
    array = np.frombuffer(data, TYPES[kind], count, start).reshape(shape)
    return array, start + array.nbytes


def read_params(path: str) -> dict[str, np.ndarray]:
    """`.params` → {name: array}, without the "arg:" and "aux:" before the names."""
    data = read_bytes(path)
    try:
        magic, _, count = struct.unpack_from("<QQQ", data)
        if magic != 0x112:
            raise ValueError(f"it begins with 0x{magic:x}, not 0x112")
        arrays, at = [], 24
        for _ in range(count):
            array, at = ndarray(data, at)
            arrays.append(array)
        names, at = _names(data, at)
    except (struct.error, ValueError) as error:
        raise ValueError(f"{path} is not an MXNet parameter file: {error}") from error
    return {name.split(":", 1)[-1]: array for name, array in zip(names, arrays, strict=True)}


def _names(data, at):
    (count,) = struct.unpack_from("<Q", data, at)
    names, at = [], at + 8
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 8 + length > len(data):
            raise ValueError(f"the names end after {len(names)} of {count}")
        names.append(data[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return names, at
