"""HDF5 files of weights from strangers: what they may hold is looked at before Keras reads them."""

import math
from typing import BinaryIO

import h5py

from facetrainer.io.zipped import FREE

KINDS = "fiub"  # floating point, integers, booleans


def check(file: str | BinaryIO, size: int, name: str) -> int:
    """Looks through an HDF5 file of plain arrays.

    Args:
        file: Path, or an open file.
        size: Its length in bytes.
        name: What it is called in an error.

    Returns:
        Number of elements in all its arrays.

    Raises:
        ValueError: It is damaged; or holds links to other files or places, arrays that lie elsewhere, arrays of anything but numbers, or
            more than its bytes justify.
    """
    try:
        with h5py.File(file, "r") as root:
            found = list(_arrays(root, name))
    except ValueError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise ValueError(f"{name} is no HDF5 file that can be read: {error}") from error
    claimed = sum(math.prod(one.shape) * one.dtype.itemsize for one in found)
    if claimed > FREE + 2 * size:
        raise ValueError(f"{name} has {size:,} bytes and claims arrays of {claimed:,}")
    return sum(math.prod(one.shape) for one in found)


class _Array:
    """Shape and type of an array, kept after the file is closed."""

    def __init__(self, dataset):
        self.shape, self.dtype = dataset.shape, dataset.dtype


def _arrays(root, name):
    """Every array below a group, each once; groups may hold one another."""
    groups, seen = [root], set()
    while groups:
        group = groups.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for key in group:
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ValueError(
                    f"{name}: {group.name}/{key} is a link to another place or file, which weights do not need"
                )
            child = group[key]
            if isinstance(child, h5py.Group):
                groups.append(child)
            else:
                yield _plain(child, name)


def _plain(child, name):
    if not isinstance(child, h5py.Dataset) or child.shape is None or child.dtype.kind not in KINDS:
        raise ValueError(f"{name}: {child.name} is no array of numbers")
    if child.is_virtual or child.external:
        raise ValueError(f"{name}: {child.name} takes its values from other files")
    return _Array(child)
