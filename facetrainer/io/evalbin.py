"""InsightFace verification sets: a `.bin` is a pickle of (images, issame_list).

They come from the internet, so they are read with an unpickler that can build bytes, lists, bools, numbers, numpy arrays and
mxnet's NDArray, and nothing else.
"""

import io
import pickle

import numpy as np

from facetrainer.io.mxnetfile import ndarray
from facetrainer.utils.files import replacing


def _bytes(value=b"", encoding="latin1"):
    """`bytes`, `bytearray` and `_codecs.encode` as pickles of bytes call them: never with a size, which would be memory for the asking."""
    if isinstance(value, str) and encoding in ("latin1", "latin-1"):
        return value.encode("latin1")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise pickle.UnpicklingError(f"bytes made of a {type(value).__name__}")


ALLOWED = {
    ("_codecs", "encode"): _bytes,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
ALLOWED |= {(module, name): _bytes for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")}
ALLOWED |= {
    (f"numpy.{core}.{place}", function.__name__): function
    for core in ("core", "_core")
    for place, function in (
        ("multiarray", np.ones(1).__reduce__()[0]),  # _reconstruct
        ("multiarray", np.bool_(True).__reduce__()[0]),  # scalar
        ("numeric", np.ones(1).__reduce_ex__(5)[0]),  # _frombuffer
    )
}


class NDArray:
    """What mxnet's arrays are pickled as: an object whose state holds the bytes of `NDArray::Save`."""

    def __init__(self, handle=None):
        self.array = None

    def __setstate__(self, state):
        handle = state.get("handle", state.get(b"handle")) if isinstance(state, dict) else None
        if not isinstance(handle, (bytes, bytearray)):
            raise pickle.UnpicklingError("an NDArray without its bytes")
        self.array, _ = ndarray(bytes(handle))


ALLOWED |= {(module, "NDArray"): NDArray for module in ("mxnet.ndarray.ndarray", "mxnet.ndarray")}


class SafeUnpickler(pickle._Unpickler):
    """Refuses every global that is not needed for lists of bytes and arrays.

    The one written in Python: the other reserves whatever memory a damaged length or memo number asks for.
    """

    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for '{module}.{name}'; an evaluation set needs bytes, lists, bools and numpy arrays only. "
                "Do not open this file with pickle.load: it may run code."
            )
        return ALLOWED[module, name]


def read_bin(path: str) -> tuple[list[bytes | np.ndarray], np.ndarray]:
    """`.bin` → (2n images as encoded bytes or uint8 arrays, issame bool (n,)); ValueError on anything else."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        images, same = SafeUnpickler(io.BytesIO(data), encoding="bytes").load()
        images, same = list(images), np.array([_flag(one) for one in same], bool)
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path} is not a readable evaluation set: {error}") from error
    if len(images) != 2 * len(same) or len(same) == 0:
        raise ValueError(f"{path}: expected two images a pair. Received: {len(images)} images, {len(same)} pairs")
    return [_image(image, path) for image in images], same


def _flag(value):
    if isinstance(value, (bool, int, np.bool_, np.integer)):
        return bool(value)
    raise ValueError(f"issame_list holds a {type(value).__name__}")


def _image(image, path):
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    array = image.array if isinstance(image, NDArray) else image
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: expected images as bytes or uint8 arrays. Received: {type(array).__name__}")
    if array.dtype != np.uint8 or array.ndim not in (1, 2, 3):
        raise ValueError(f"{path}: expected images as bytes or uint8 arrays. Received: {array.dtype} {array.shape}")
    return array.tobytes() if array.ndim == 1 else array


def write_bin(path: str, images: list[bytes], same: list[bool], protocol: int = 4) -> None:
    """Write (images, issame_list) as InsightFace does; the file is there when it is whole."""
    with replacing(path) as part, open(part, "wb") as file:
        pickle.dump((list(images), [bool(s) for s in same]), file, protocol=protocol)
