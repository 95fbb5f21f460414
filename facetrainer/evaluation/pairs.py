"""Verification sets: `.bin` files, folders and lists of pairs."""

import dataclasses
import functools
import hashlib
import os
import re

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facetrainer.evaluation import known
from facetrainer.io import evalbin, pair_lists
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
        groups: Attributes of the images by name, `(2n,)` each, where the list of the pairs has them.
    """

    name: str
    images: list
    same: np.ndarray
    sha256: str = ""
    names: tuple[str, ...] | None = None
    from_files: bool = False
    files: tuple[str, ...] = ()
    groups: dict[str, list[str]] = dataclasses.field(default_factory=dict)

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
    """Opens a verification set.

    Args:
        path: `.bin` file, a folder with a pairs file in it, or a pairs file.
        pairs_file: The one that `pair_lists.find` finds in the folder unless given. Lines `first second 0|1` with paths below the folder
            or its `images/`, or one of the published lists that `pair_lists.read` reads. Defaults to `None`.

    Returns:
        The set.

    Raises:
        FileNotFoundError: There is no such file, or no list in the folder.
        ValueError: The file is damaged, or a line is no pair.
    """
    path = os.path.expanduser(str(path))
    if os.path.isdir(path):
        listed = pairs_file or pair_lists.find(path)
        return _folder_pairs(pair_lists.root_of(path) if listed == path else path, listed)
    if not os.path.exists(path):
        raise FileNotFoundError(f"eval_paths: {path!r} does not exist. Expected a .bin, or a folder with pairs.txt.")
    if path.endswith((".csv", ".txt")):
        return _folder_pairs(os.path.dirname(path), path)
    images, same = evalbin.read_bin(path)
    name = os.path.splitext(os.path.basename(path))[0]
    return Pairs(name, images, same, sha256_of(path))


class _Files:
    """Where the images that a list names lie: below the folder or its `images/`; LFW's list has no suffix, crops may be .png."""

    def __init__(self, folder):
        inner = [os.path.join(folder, name) for name in ("images", "aligned images", os.path.join("data", "images"))]
        self.folders = [folder, *filter(os.path.isdir, inner)]

    def __call__(self, path):
        wanted = [os.path.join(folder, path) for folder in self.folders]
        others = [os.path.splitext(one)[0] + suffix for one in wanted for suffix in (".png", ".jpeg", ".bmp")]
        return next((one for one in [*wanted, *others] if os.path.exists(one)), wanted[0])


def _folder_pairs(folder, pairs_file):
    listed, files, cache = pair_lists.read(pairs_file), _Files(folder), {}
    paths = [path for pair in zip(listed.first, listed.second, strict=True) for path in pair]
    for path in paths:
        if path not in cache:
            cache[path] = read_bytes(files(path))
    names, same = tuple(map(pair_lists.person_of, paths)), np.array(listed.same)
    named = all(names) and np.array_equal(np.array(names)[::2] == np.array(names)[1::2], same)
    return Pairs(
        _name(folder, pairs_file),
        [cache[path] for path in paths],
        same,
        sha256_of(pairs_file) if os.path.isfile(pairs_file) else "",
        names if named else None,
        from_files=True,
        files=tuple(paths),
        groups=listed.groups,
    )


def _name(folder, pairs_file):
    """That of a published set where the list is called so, such as pairs_CALFW.txt; else the folder's."""
    stem = re.sub("_?pairs?_?", "", os.path.splitext(os.path.basename(pairs_file))[0], flags=re.IGNORECASE)
    cfp = f"cfp_{stem}" if os.path.isdir(pairs_file) else ""
    called = (stem, cfp, stem and f"rfw_{stem}")
    return next(filter(None, map(known.name_of, called)), os.path.basename(os.path.abspath(folder)))
