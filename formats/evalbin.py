"""InsightFace verification sets: a `.bin` is a pickle of (images, issame_list).

They come from the internet, so they are read with an unpickler that can build bytes, lists, bools, numbers and numpy
arrays, and nothing else.
"""

import io
import pickle

import numpy as np

ALLOWED = {
    ("_codecs", "encode"),
    ("builtins", "bytes"),
    ("builtins", "bytearray"),
    ("__builtin__", "bytes"),
    ("__builtin__", "bytearray"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
} | {
    (module + name[0], name[1])
    for module in ("numpy.core.", "numpy._core.")
    for name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
}


class SafeUnpickler(pickle.Unpickler):
    """Refuses every global that is not needed for lists of bytes and numpy arrays."""

    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for '{module}.{name}'; an evaluation set needs bytes, lists, bools and numpy arrays only. "
                "Do not open this file with pickle.load: it may run code."
            )
        return super().find_class(module, name)


def read_bin(path: str) -> tuple[list[bytes | np.ndarray], np.ndarray]:
    """`.bin` → (2n images as encoded bytes or uint8 arrays, issame bool (n,)); ValueError on anything else."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        images, same = SafeUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path} is not a readable evaluation set: {error}") from error
    images, same = list(images), np.asarray(same, bool).ravel()
    if len(images) != 2 * len(same) or len(same) == 0:
        raise ValueError(f"{path}: expected two images a pair. Received: {len(images)} images, {len(same)} pairs")
    return [_image(image, path) for image in images], same


def _image(image, path):
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (1, 2, 3):
        raise ValueError(f"{path}: expected images as bytes or uint8 arrays. Received: {array.dtype} {array.shape}")
    return array.tobytes() if array.ndim == 1 else array


def write_bin(path: str, images: list[bytes], same: list[bool]) -> None:
    """Write (images, issame_list) as InsightFace does."""
    with open(path, "wb") as file:
        pickle.dump((list(images), [bool(s) for s in same]), file, protocol=pickle.HIGHEST_PROTOCOL)
