"""InsightFace verification sets: a `.bin` is a pickle of (images, issame_list).

They come from the internet: `io.pickled` reads them with stand-ins for the few things that mxnet, InsightFace and numpy write there,
and numpy itself gets nothing but a literal type, a shape that matches the bytes, and the bytes.
"""

import math
import os
import pickle
import reprlib

import numpy as np
from numpy.typing import ArrayLike

from facetrainer.io import pickled
from facetrainer.io.mxnetfile import ndarray
from facetrainer.utils.files import read_bytes, replacing

FEW, SMALLEST = 1000, 60  # images that any set may have, and bytes of one in a longer set: it may stand in many pairs
TYPES = {
    **dict.fromkeys(("b1", "?", "bool"), "?"),
    **dict.fromkeys(("u1", "uint8", "B"), "u1"),
    **{f"{kind}{size}": f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)},
    "i1": "i1",
}


def _bytes(value=b"", encoding="latin1"):
    """`bytes`, `bytearray` and `_codecs.encode` as pickles of bytes call them: never with a size, which would be memory for the asking."""
    if isinstance(value, str) and encoding in ("latin1", "latin-1"):
        return value.encode("latin1")
    if isinstance(value, bytes):
        return value
    raise ValueError(f"bytes made of a {type(value).__name__}")


def _plain(value):
    """Texts of Python 2 come as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else value


class Type(pickled.Buildable):
    """Stand-in for `numpy.dtype`: a literal name of booleans or integers; what its state says is not looked at but for the byte order."""

    def __init__(self, name, *_):
        if _plain(name) not in TYPES:
            raise ValueError(f"an array of {reprlib.repr(_plain(name))}; expected uint8, booleans or integers")
        self.dtype = np.dtype(TYPES[_plain(name)])

    def build(self, state):
        if isinstance(state, tuple) and len(state) > 1 and _plain(state[1]) == ">":
            self.dtype = self.dtype.newbyteorder(">")


def _array(shape, kind, data, in_columns=False):
    """Array of a shape that its bytes fill."""
    if not isinstance(kind, Type) or not isinstance(data, bytes) or not isinstance(shape, tuple) or len(shape) > 4:
        raise ValueError("an array without type, shape or bytes")
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * kind.dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape[:4]} and type {kind.dtype} in {len(data)} bytes")
    if 0 in shape and len(shape) > 1:  # a list of it could be of any length
        raise ValueError(f"an empty array of shape {shape}")
    return np.frombuffer(data, kind.dtype).reshape(shape, order="F" if in_columns else "C")


class Array(pickled.Buildable):
    """Stand-in for `numpy.ndarray`, which gets its content as a state."""

    def __init__(self, *_):
        self.array = self.encoded = None

    def build(self, state):
        _, shape, kind, in_columns, data = state
        self.array = _array(shape, kind, data, bool(in_columns))


class NDArray(pickled.Buildable):
    """What mxnet's arrays are pickled as: an object whose state holds the bytes of `NDArray::Save`."""

    def __init__(self, *_):
        self.array = self.encoded = None

    def build(self, state):
        handle = state.get("handle", state.get(b"handle")) if isinstance(state, dict) else None
        if not isinstance(handle, bytes):
            raise ValueError("an NDArray without its bytes")
        self.array, _ = ndarray(handle)


def _scalar(kind, data):
    return _array((), kind, data).item()


def _from_buffer(data, kind, shape, order="C", *_):
    found = Array()
    found.array = _array(shape, kind, data, _plain(order) == "F")
    return found


def _instance(kind, *_):
    """`copyreg._reconstructor`, as protocols 0 and 1 make an mxnet array."""
    if not isinstance(kind, pickled.Name) or kind.make is not NDArray:
        raise ValueError("an instance of another class than mxnet's NDArray")
    return NDArray()


KNOWN = {("_codecs", "encode"): _bytes, ("numpy", "ndarray"): "ndarray", ("numpy", "dtype"): Type}
KNOWN |= {(module, name): _bytes for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")}
KNOWN |= {(module, "object"): "object" for module in ("builtins", "__builtin__")}
KNOWN |= {(module, "_reconstructor"): _instance for module in ("copyreg", "copy_reg")}
KNOWN |= {(module, "NDArray"): NDArray for module in ("mxnet.ndarray.ndarray", "mxnet.ndarray")}
KNOWN |= {
    (f"numpy.{core}.{place}", name): stand_in
    for core in ("core", "_core")
    for place, name, stand_in in (
        ("multiarray", "_reconstruct", Array),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _from_buffer),
    )
}


def read_bin(path: str) -> tuple[list[bytes | np.ndarray], np.ndarray]:
    """Reads a verification set.

    Args:
        path: The `.bin`.

    Returns:
        2n images as encoded bytes or uint8 arrays, and which of the n pairs are of one person, bool.

    Raises:
        ValueError: It is anything else, or asks for anything but bytes and arrays.
    """
    found = _load(path, read_bytes(path))
    images, same = (_items(one, path) for one in found)
    if images is None or same is None or len(images) != 2 * len(same) or len(same) == 0:
        counts = [len(one) if one is not None else "no list of" for one in (images, same)]
        raise ValueError(f"{path}: expected two images a pair. Received: {counts[0]} images, {counts[1]} pairs")
    if len(images) > FEW + os.path.getsize(path) // SMALLEST:
        raise ValueError(f"{path}: {len(images):,} images in {os.path.getsize(path):,} bytes, more than they can be")
    same = np.array([_flag(one, path) for one in same], bool)
    for k, image in enumerate(images):  # in place: what is read goes as its image comes
        images[k] = _image(image, path)
    return images, same


def _load(path, data):
    """The two parts of the pickle; its bytes are not needed after."""
    try:
        found = pickled.load(data, KNOWN)
    except ValueError as error:
        raise ValueError(
            f"{path} is not a readable evaluation set ({error}): expected a pickle of (images, issame_list), as InsightFace's .bin are."
        ) from error
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise ValueError(f"{path} is not a readable evaluation set: expected a pickle of (images, issame_list)")
    return found


def _content(value):
    """Stand-in of an array → the array."""
    return value.array if isinstance(value, (Array, NDArray)) else value


def _items(value, path):
    """A list, or an array of one dimension or more, as a list; None of anything else."""
    value = _content(value)
    if isinstance(value, np.ndarray) and value.ndim > 1 and value[0].nbytes < SMALLEST:
        raise ValueError(f"{path}: images of {value[0].nbytes} bytes, which are none")
    return list(value) if isinstance(value, (list, tuple)) or isinstance(value, np.ndarray) and value.ndim else None


def _flag(value, path):
    value = _content(value)
    if isinstance(value, (bool, int, np.bool_, np.integer)) or isinstance(value, np.ndarray) and value.ndim == 0:
        return bool(value)
    raise ValueError(f"{path}: issame_list holds a {type(value).__name__}; expected True and False")


def _image(image, path):
    if isinstance(image, bytes):
        return image
    array = _content(image)
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim not in (1, 2, 3):
        what = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{path}: expected images as bytes or uint8 arrays. Received: {what}")
    if array.ndim == 3 and array.shape[2] not in (1, 3):
        raise ValueError(f"{path}: expected images of one or three channels. Received: shape {array.shape}")
    if array.ndim > 1:
        return array
    if not isinstance(image, pickled.Buildable):
        return array.tobytes()
    image.encoded = array.tobytes() if image.encoded is None else image.encoded  # it may stand in many pairs
    return image.encoded


def write_bin(path: str, images: list[bytes], same: ArrayLike, protocol: int = 4) -> None:
    """Writes (images, issame_list) as InsightFace does; the file is there when it is whole.

    Args:
        path: The `.bin`.
        images: 2n encoded images.
        same: Whether each of the n pairs is of one person.
        protocol: Of the pickle.
    """
    with replacing(path) as part, open(part, "wb") as file:
        pickle.dump((list(images), [bool(s) for s in same]), file, protocol=protocol)
