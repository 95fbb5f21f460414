"""Verification sets: `.bin` files, folders and lists of pairs."""

import dataclasses
import os

import numpy as np

from facetrainer.io import evalbin, lists
from facetrainer.utils.files import read_bytes, sha256_of


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Images of n pairs, first and second in turn (2n), and which are of one person (n,)."""

    name: str
    images: list
    same: np.ndarray
    sha256: str = ""


def read_pairs(path: str, pairs_file: str | None = None) -> Pairs:
    """`.bin` file, a folder with a pairs file in it, or a pairs file, → Pairs.

    A pairs file (`pairs.txt` or `pairs.csv` in the folder unless given) has lines `first second 0|1` with paths below the
    folder, separated by blanks or commas, or LFW's own `person i j` / `person i other j`.
    """
    path = os.path.expanduser(str(path))
    if os.path.isdir(path):
        return _folder_pairs(path, pairs_file or _find_pairs_file(path))
    if not os.path.exists(path):
        raise FileNotFoundError(f"eval_paths: {path!r} does not exist. Expected a .bin, or a folder with pairs.txt.")
    if path.endswith((".csv", ".txt")):
        return _folder_pairs(os.path.dirname(path), path)
    images, same = evalbin.read_bin(path)
    name = os.path.splitext(os.path.basename(path))[0]
    return Pairs(name, images, same, sha256_of(path))


def _find_pairs_file(folder):
    for name in ("pairs.txt", "pairs.csv"):
        if os.path.exists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    raise FileNotFoundError(
        f"{folder} holds no pairs.txt or pairs.csv: lines 'first second 0|1', paths below the folder."
    )


def _folder_pairs(folder, pairs_file):
    first, second, same = lists.read_pairs(pairs_file)
    images = [read_bytes(os.path.join(folder, path)) for pair in zip(first, second, strict=True) for path in pair]
    return Pairs(os.path.basename(os.path.abspath(folder)), images, np.array(same), sha256_of(pairs_file))
