"""Protocol buffers without their schema: what TFRecord and ONNX files are made of."""

from collections.abc import Iterator

import numpy as np


def fields(data) -> Iterator[tuple]:
    """(number, value): bytes of a length-delimited field, else an integer, or four or eight bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = read_varint(data, at)
        else:
            size, at = read_varint(data, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, 0), at)
            if not size and kind != 2 or at + size > len(data):
                raise IndexError(f"field {key >> 3} of kind {kind} lies beyond the end")
            value, at = data[at : at + size], at + size
        yield key >> 3, value


def parts(data, number: int) -> list:
    """Values of the length-delimited fields of one number."""
    return [value for found, value in fields(data) if found == number and not isinstance(value, int)]


def integers(data, wanted: int = 1) -> list[int]:
    """Signed integers of field `wanted`, packed or one field each."""
    return np.fromiter(_integers(data, wanted), np.int64).tolist()


def array_of_integers(data, wanted: int, kind: str) -> np.ndarray:
    """`integers` as an array of type `kind`."""
    return np.fromiter(_integers(data, wanted), np.int64).astype(kind)


def _integers(data, wanted):
    for number, value in fields(data):
        at = 0
        while number == wanted and not isinstance(value, int) and at < len(value):
            one, at = read_varint(value, at)
            yield _signed(one)
        if number == wanted and isinstance(value, int):
            yield _signed(value)


def _signed(value):
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def read_varint(data, at: int) -> tuple[int, int]:
    """Integer at a place → integer, place behind it; IndexError beyond the end."""
    value = data[at]
    if value < 128:
        return value, at + 1
    value, shift = value & 127, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
        if shift > 63:
            raise IndexError("a number of more than ten bytes")
