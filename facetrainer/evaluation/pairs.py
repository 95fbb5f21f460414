"""Verification sets: `.bin` files, folders and lists of pairs."""

import dataclasses
import functools
import hashlib
import os

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facetrainer.io import evalbin, lists
from facetrainer.utils.files import read_bytes, sha256_of


@dataclasses.dataclass(frozen=True)
class Pairs:
    """A verification set.

    Attributes:
        name: What it is called.
        images: 2n encoded images or arrays, first and second of each pair in turn.
        same: Whether each pair is of one person, bool `(n,)`.
        sha256: Of the file.
        names: Persons of the images, where the set names them.
        from_files: Whether a pairs file names image files.
        files: Paths of the images below the folder, where they are files.
    """

    name: str
    images: list
    same: np.ndarray
    sha256: str = ""
    names: tuple[str, ...] | None = None
    from_files: bool = False
    files: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Name of each image: its path below the set's folder, else its number."""
        return list(self.files) or [str(k) for k in range(len(self.images))]

    @functools.cached_property
    def people(self) -> np.ndarray:
        """Persons of both images of each pair, integers `(2, n)`.

        By their names, or as far as the pairs tell: equal bytes are one image, and the images of a same-pair are of one person.
        Two groups of images of a person that no same-pair joins count as two people.
        """
        if self.names is not None:
            return np.unique(self.names, return_inverse=True)[1].reshape(-1, 2).T
        images = np.unique([_digest(image) for image in self.images], return_inverse=True)[1].reshape(-1, 2)
        return joined(images.max() + 1, images[self.same])[images].T


def _digest(image):
    data = image if isinstance(image, bytes) else np.ascontiguousarray(image).tobytes() + str(image.shape).encode()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def joined(count: int, links: np.ndarray) -> np.ndarray:
    """Group of each of `count` things, where `links` `(m, 2)` join two each."""
    graph = coo_array((np.ones(len(links)), links.T), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def read_pairs(path: str, pairs_file: str | None = None) -> Pairs:
    """`.bin` file, a folder with a pairs file in it, or a pairs file, → Pairs.

    A pairs file (`pairs.txt` or `pairs.csv` in the folder unless given) has lines `first second 0|1` with paths below the
    folder or its `images/`, separated by blanks or commas, or LFW's own `person i j` / `person i other j`.
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


class _Files:
    """Where the images that a list names lie: below the folder or its `images/`; LFW's list has no suffix, crops may be .png."""

    def __init__(self, folder):
        inner = os.path.join(folder, "images")
        self.folders = [folder, inner] if os.path.isdir(inner) else [folder]

    def __call__(self, path):
        wanted = [os.path.join(folder, path) for folder in self.folders]
        others = [os.path.splitext(one)[0] + suffix for one in wanted for suffix in (".png", ".jpeg", ".bmp")]
        return next((one for one in [*wanted, *others] if os.path.exists(one)), wanted[0])


def _folder_pairs(folder, pairs_file):
    first, second, same = lists.read_pairs(pairs_file)
    paths = [path for pair in zip(first, second, strict=True) for path in pair]
    files = _Files(folder)
    images, names = [read_bytes(files(path)) for path in paths], tuple(map(os.path.dirname, paths))
    named = all(names) and np.array_equal(np.array(names)[::2] == np.array(names)[1::2], same)
    return Pairs(
        os.path.basename(os.path.abspath(folder)),
        images,
        np.array(same),
        sha256_of(pairs_file),
        names if named else None,
        from_files=True,
        files=tuple(paths),
    )
