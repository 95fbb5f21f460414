"""Indexes that take long to make, kept in the user's cache folder until what they describe has changed."""

import hashlib
import logging
import math
import os
import sys
import uuid
from collections.abc import Callable

import numpy as np

from facetrainer.io import zipped

log = logging.getLogger("facetrainer")


def folder() -> str:
    """`FACE_CACHE`, or face_trainer in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return os.environ.get("FACE_CACHE") or os.path.join(home, "face_trainer")


def state(path: str) -> str:
    """Size and time of last change of a file or folder."""
    about = os.stat(path)
    return f"{about.st_size}:{about.st_mtime_ns}"


def arrays(
    path: str, build: Callable[[], dict[str, np.ndarray]], fresh: Callable[[dict], bool], least: int = 10_000
) -> dict[str, np.ndarray]:
    """The index of `path`: from the cache where `fresh` says that it still holds, else from `build`.

    An index whose longest array is shorter than `least` is made again each time and kept nowhere.

    Returns:
        The arrays by name.
    """
    kept = os.path.join(folder(), f"index_{hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:24]}.npz")
    found = _load(kept)
    if found and fresh(found):
        return found
    found = build()
    if max(map(len, found.values())) >= least:
        _save(kept, found)
    return found


def read_npz(path: str, growth: float = 2.0) -> dict[str, np.ndarray]:
    """Reads an npz.

    Args:
        path: The file.
        growth: Bytes that it may unpack to for each of its own, see `zipped.open_zip`. Defaults to `2`, for what `np.savez` writes.

    Returns:
        Its arrays by name.

    Raises:
        ValueError: It is damaged, holds Python objects, or claims more than its bytes justify.
        FileNotFoundError: There is no such file.
    """
    with zipped.open_zip(path, growth) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        for name in sizes:
            _check_header(path, archive, name, sizes[name])
    try:
        with np.load(path, allow_pickle=False) as file:
            found = dict(file)
    except Exception as error:  # a damaged zip can raise nearly anything
        raise ValueError(f"{path} is not a readable npz: {error}") from error
    for name, array in found.items():
        _check_texts(path, name, array)
    return found


def read_npy(path: str) -> np.ndarray:
    """Reads an npy of numbers.

    Args:
        path: The file.

    Returns:
        The array, which is read from the file as it is used.

    Raises:
        ValueError: It is damaged, cut off, holds Python objects, or no npy at all.
        FileNotFoundError: There is no such file.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged header can raise nearly anything
        raise ValueError(f"{path} is not a readable npy: {error}") from error


def _check_texts(path, name, array):
    """Python ends in a SystemError for characters that there are not."""
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        points = array.ravel(order="K").view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if points.max() > sys.maxunicode:
            raise ValueError(f"{path} is not a readable npz: {name} holds {points.max():#x}, which is no character")


def _check_header(path, archive, name, size):
    """numpy reserves what a header claims before it reads."""
    try:
        with archive.open(name) as member:
            version = np.lib.format.read_magic(member)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, dtype = read(member)
    except Exception as error:  # a damaged header can raise nearly anything
        raise ValueError(f"{path} is not a readable npz: {name}: {error}") from error
    if dtype.hasobject:
        raise ValueError(
            f"{path} holds Python objects in {name}, which can run code: refused. Write texts and numbers."
        )
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{path}: {name} claims an array of shape {shape} in {size} bytes")


def _load(kept):
    if not os.path.exists(kept):
        return None
    try:
        return read_npz(kept)
    except ValueError as error:
        log.warning("%s; the index is made again", error)
        return None


def _save(kept, found):
    part = f"{kept}.{uuid.uuid4().hex}.part"
    try:
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        with open(part, "wb") as file:
            np.savez(file, **found)
        os.replace(part, kept)
    except OSError as error:
        log.warning("the index is not kept for the next time: %s", error)
