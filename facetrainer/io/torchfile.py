"""torch's `.pt` and `.pth` (zip, torch 1.6 and later) → arrays by name, without torch and without running what a pickle asks for."""

import math
from typing import Any

import numpy as np

from facetrainer.io import pickled, zipped

STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number that torch < 1.6 pickles first


def read_state(path: str) -> dict[str, np.ndarray]:
    """Reads a state dict.

    Args:
        path: File of `torch.save(module.state_dict(), path)`; of a checkpoint with a state dict inside ("state_dict",
            "state_dict_backbone", "model"), that one is read.

    Returns:
        `{name: array}`, read-only views of the file's bytes.

    Raises:
        ValueError: The file is none such, asks for anything but tensors, or its tensors do not lie within their storages.
    """
    _check_kind(path)
    with zipped.open_zip(path) as archive:
        found = _Reader(archive).read()
    for key in ("state_dict", "state_dict_backbone", "model"):
        found = found[key] if isinstance(found, dict) and isinstance(found.get(key), dict) else found
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} holds a {type(found).__name__}; expected a state dict of torch.save(module.state_dict(), ...)"
        )
    arrays = {
        str(name).removeprefix("module."): value for name, value in found.items() if isinstance(value, np.ndarray)
    }
    if not arrays:
        raise ValueError(f"{path} holds no tensor.")
    return arrays


def _check_kind(path):
    """What looks like a state dict and is none is told apart by its first bytes."""
    with open(path, "rb") as file:
        begin = file.read(16)
    if begin.startswith(b"PK"):
        return
    if begin.startswith(LEGACY):
        raise ValueError(
            f"{path} was written by torch before 1.6, or with _use_new_zipfile_serialization=False. "
            "Open it with torch.load(path, weights_only=True) and write it again with torch.save."
        )
    raise ValueError(
        f"{path} is no zip file: expected one of torch.save(module.state_dict(), ...) of torch 1.6 or later."
    )


class _Reader:
    """The pickle of an archive, and its storages, each read once."""

    def __init__(self, archive):
        self.archive, self.storages, self.claimed = archive, {}, 0
        pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"{archive.filename}: expected one data.pkl in it. Received: {len(pickles)}")
        if any("/code/" in name for name in archive.namelist()):
            raise ValueError(f"{archive.filename} is a torch-jit program and no state dict.")
        self.root = pickles[0].removesuffix("data.pkl")

    def read(self):
        data = zipped.read(self.archive, f"{self.root}data.pkl")
        try:
            return pickled.load(data, {**KNOWN, ("torch._utils", "_rebuild_tensor_v2"): self.tensor}, self.storage)
        except ValueError as error:
            raise ValueError(
                f"{self.archive.filename} is not a state dict that can be read ({error}). Expected a file of "
                "torch.save(module.state_dict(), ...) of torch 1.6 or later."
            ) from error

    def storage(self, about):
        if (
            not isinstance(about, tuple)
            or len(about) != 5
            or about[0] != "storage"
            or not isinstance(about[1], pickled.Name)
        ):
            raise ValueError("a persistent identifier that is no storage")
        _, kind, key, _, _ = about
        if (kind.make, key) not in self.storages:
            self.storages[kind.make, key] = self._elements(kind.make, key)
        return self.storages[kind.make, key]

    def _elements(self, kind, key):
        if kind not in STORAGES.values():
            raise ValueError("a storage of a kind that is not known")
        data = zipped.read(self.archive, f"{self.root}data/{key}")
        if kind == "bfloat16":  # the upper half of a float32
            found = np.frombuffer(data, "<u2").astype(np.uint32)
            return np.left_shift(found, 16, out=found).view(np.float32)
        return np.frombuffer(data, kind)

    def tensor(self, storage, offset, size, stride, *_):
        """A view of a storage, of no more elements than that has: neither before nor behind it, and none counted twice."""
        if not isinstance(storage, np.ndarray) or not _are_lengths(size) or not _are_lengths(stride):
            raise ValueError("a tensor without storage, size or stride")
        if type(offset) is not int or offset < 0 or len(size) != len(stride) or len(size) > 8:
            raise ValueError(f"a tensor at offset {offset}, of {len(size)} sizes and {len(stride)} strides")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = math.prod(size)
        self.claimed += count * storage.itemsize
        if count and (last >= len(storage) or count > len(storage)):
            raise ValueError(
                f"a tensor of size {size} and stride {stride} beyond the {len(storage)} elements of its storage"
            )
        if self.claimed > 2 * sum(one.nbytes for one in self.storages.values()):
            raise ValueError("tensors of more than twice the elements that the file holds")
        steps = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


def _are_lengths(values):
    return isinstance(values, tuple) and all(type(n) is int and n >= 0 for n in values)


KNOWN: dict[tuple[str, str], Any] = {("torch", name): kind for name, kind in STORAGES.items()}
KNOWN |= {
    ("collections", "OrderedDict"): pickled.mapping,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
}
