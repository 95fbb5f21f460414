"""torch's `.pt` and `.pth` (zip, torch 1.6 and later) → arrays by name, without torch and without running what a pickle asks for."""

import io
import pickle
import zipfile

import numpy as np

STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip


def read_state(path: str) -> dict[str, np.ndarray]:
    """State dict → {name: array}; of a checkpoint with one inside ("state_dict", "state_dict_backbone", "model"), that one.

    ValueError where the file is no such zip or asks for anything but tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
            found = _Unpickler(archive, pickled).load()
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged zip or pickle can raise nearly anything
        raise ValueError(
            f"{path} is not a state dict that can be read ({error}). Expected a file of torch.save(module.state_dict(), …) "
            "of torch 1.6 or later."
        ) from error
    for key in ("state_dict", "state_dict_backbone", "model"):
        found = found[key] if isinstance(found, dict) and isinstance(found.get(key), dict) else found
    arrays = {
        str(name).removeprefix("module."): value for name, value in found.items() if isinstance(value, np.ndarray)
    }
    if not arrays:
        raise ValueError(f"{path} holds no tensor.")
    return arrays


class _Dict(dict):
    """A state dict carries attributes (`_metadata`), which a plain dict cannot."""


class _Unpickler(pickle._Unpickler):
    def __init__(self, archive, pickled):
        super().__init__(io.BytesIO(archive.read(pickled)))
        self.archive, self.root = archive, pickled.removesuffix("data.pkl")

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return _Dict
        if module == "torch._utils" and name in REBUILDERS:
            return REBUILDERS[name]
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"it asks for '{module}.{name}'")

    def persistent_load(self, about):
        kind, dtype, key, _, _ = about
        if kind != "storage":
            raise pickle.UnpicklingError(f"a persistent {kind}")
        data = self.archive.read(f"{self.root}data/{key}")
        if dtype == "bfloat16":  # the upper half of a float32
            return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        return np.frombuffer(data, dtype)


def _tensor(storage, offset, size, stride, *_):
    """A view of a storage → array of its own."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min(size, default=1) < 0 or min(stride, default=0) < 0 or 0 not in size and not 0 <= last < len(storage):
        raise pickle.UnpicklingError(f"a tensor of {size} beyond its {len(storage)} elements")
    steps = [step * storage.itemsize for step in stride]
    return np.array(np.lib.stride_tricks.as_strided(storage[offset:], size, steps))


REBUILDERS = {"_rebuild_tensor_v2": _tensor, "_rebuild_parameter": lambda data, *_: data}
