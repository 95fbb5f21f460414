"""Where samples lie: folders, record files, lists, shards, behind one door, `open_source`.

Millions of samples are held in arrays, at most 40 bytes each; images stay where they are until they are read.
"""

import glob
import mmap
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from facetrainer.data.images import IMAGE_TYPES
from facetrainer.io import cached, lists, recordio, tfrecord
from facetrainer.utils.files import read_bytes, replacing


class Source:
    """Where samples lie: `labels` int32 (n,) in 0…C−1, `class_names` (C,), and the bytes of each image."""

    labels: np.ndarray
    class_names: list[str]
    embeddings: Any = None  # (n, D), read where they are looked at
    are_files = False  # whether `name` is the path of a file that holds the image and nothing else

    def __len__(self):
        return len(self.labels)

    def read(self, i: int) -> bytes:
        """Encoded image `i`."""
        return read_bytes(self.name(i))

    def name(self, i: int) -> str:
        """What to call sample `i` in a message."""
        raise NotImplementedError


class Strings:
    """Many strings in one block of bytes: millions of Python strings would cost ten times as much."""

    def __init__(self, block: np.ndarray, ends: np.ndarray):
        self.block, self.ends = block, ends

    @classmethod
    def of(cls, strings: Iterable[str]) -> "Strings":
        """Packs strings."""
        encoded = [os.fsencode(s) for s in strings]
        total = sum(map(len, encoded))
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.uint32 if total < 2**32 else np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self):
        return len(self.ends) - 1

    def __getitem__(self, i):
        return os.fsdecode(self.block[self.ends[i] : self.ends[i + 1]].tobytes())


class FolderSource(Source):
    """Images in folders of any depth: a person is the folder that holds the image, or what `rule` makes of its path."""

    are_files = True

    def __init__(self, root: str, rule: Callable[[str], str] | None = None):
        self.root = root
        index = cached.arrays(os.path.join(root, ""), lambda: _walk(root), lambda kept: _unchanged(root, kept))
        self.folders = Strings(index["folders"], index["folder_ends"])
        self.names = Strings(index["names"], index["name_ends"])
        self.counts = index["counts"]
        self.starts = np.cumsum([0, *self.counts])
        if len(self.names) == 0:
            raise ValueError(
                f"{root} holds no image ({' '.join(IMAGE_TYPES)}) and no train.rec. "
                "Expected one folder a person, or an InsightFace dataset directory."
            )
        self.order = None
        if rule is None:
            full = np.flatnonzero(self.counts)
            self.class_names = [self.folders[k] for k in full]
            self.labels = np.repeat(np.arange(len(full), dtype=np.int32), self.counts[full])
        else:
            self._apply(rule)

    def _apply(self, rule):
        self.class_names, labels = number_people([rule(self.name(i)) for i in range(len(self.names))])
        self.order = np.argsort(labels, kind="stable").astype(np.int32)
        self.labels = labels[self.order]

    def name(self, i):
        place = i if self.order is None else self.order[i]
        folder = self.folders[np.searchsorted(self.starts, place, "right") - 1]
        return os.path.join(self.root, *([] if folder == "." else [folder]), self.names[place])


def _walk(root):
    """Images by folder, folders in natural order; when each folder was last changed."""
    found, seen = [], set()
    for folder, inner, names in os.walk(root, followlinks=True):
        about = os.stat(folder)
        if (about.st_dev, about.st_ino) in seen:  # links may lead in a circle
            inner.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        images = [name for name in names if name.lower().endswith(IMAGE_TYPES)]
        same_length = len(set(map(len, images))) < 2
        images.sort(key=None if same_length else natural)
        found.append((os.path.relpath(folder, root), about.st_mtime_ns, Strings.of(images)))
    found.sort(key=lambda item: natural(item[0]))
    folders, names = Strings.of([folder for folder, _, _ in found]), _joined([names for _, _, names in found])
    return {
        "folders": folders.block, "folder_ends": folders.ends, "names": names.block, "name_ends": names.ends,
        "times": np.array([time for _, time, _ in found]), "counts": np.array([len(names) for _, _, names in found]),
    }  # fmt: skip


def _joined(parts):
    blocks = np.concatenate([part.block for part in parts])
    lengths = np.concatenate([np.diff(part.ends) for part in parts])
    return Strings(
        blocks, np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint32 if len(blocks) < 2**32 else np.int64)
    )


def _unchanged(root, kept):
    """A folder's time changes when a file or folder in it comes or goes."""
    folders = Strings(kept["folders"], kept["folder_ends"])
    try:
        return all(os.stat(os.path.join(root, folders[k])).st_mtime_ns == time for k, time in enumerate(kept["times"]))
    except OSError:
        return False


class RecordSource(Source):
    """An InsightFace `train.rec`, read in place; a `names.txt` beside it names its people."""

    def __init__(self, path: str):
        self.file = recordio.RecordFile(path)
        self.positions, labels = recordio.face_index(self.file)
        if len(labels) == 0:
            raise ValueError(f"{path} holds no image record. Copy or pack the dataset again.")
        values, inverse = np.unique(labels, return_inverse=True)
        names = os.path.join(os.path.dirname(path), "names.txt")
        known = lists.read_names(names) if os.path.exists(names) else {}
        self.class_names = [known.get(_number_text(value), _number_text(value)) for value in values]
        self.labels = inverse.astype(np.int32)

    def read(self, i):
        return recordio.unpack(self.file.read(int(self.positions[i])))[1]

    def name(self, i):
        return f"{self.file.path} record {self.file.keys[self.positions[i]]}"


def _number_text(value):
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


class ListSource(Source):
    """Paths and people of a list, perhaps with embeddings."""

    are_files = True

    def __init__(self, paths: Iterable[str], people, embeddings: np.ndarray | None = None):
        self.paths, self.embeddings = Strings.of(paths), embeddings
        self.class_names, self.labels = number_people(people)

    def name(self, i):
        return self.paths[i]


class Subset(Source):
    """Some samples of another source, perhaps with embeddings: `data_path` and `indices` of an npz."""

    def __init__(self, source: Source, indices: np.ndarray, embeddings: np.ndarray | None = None):
        self.source, self.indices, self.embeddings, self.are_files = source, indices, embeddings, source.are_files
        kept, inverse = np.unique(source.labels[indices], return_inverse=True)
        self.class_names, self.labels = [source.class_names[k] for k in kept], inverse.astype(np.int32)

    def read(self, i):
        return self.source.read(int(self.indices[i]))

    def name(self, i):
        return self.source.name(int(self.indices[i]))


FEATURES = {"image": bytes, "label": int}
LIST_GROWTH = 100  # names of equal length in UTF-32 pack well: 20 to 60 to one


class ShardSource(Source):
    """TFRecord shards of encoded images with labels and perhaps embeddings, as `write_shard` writes them.

    Features: `image` bytes, `label` an integer, perhaps `person` the name, `embedding` bytes of `dtype`.
    """

    def __init__(self, paths: list[str]):
        self.paths = sorted(paths)
        self.files = [mapped(path) for path in self.paths]
        index = [self._index(k) for k in range(len(paths))]
        self.shard = np.repeat(np.arange(len(index), dtype=np.int32), [len(found["labels"]) for found in index])
        self.index = np.concatenate([found["index"] for found in index])
        if len(self.index) == 0:
            raise ValueError(f"{paths[0]} holds no record. Expected shards as data_distiller.py writes them.")
        values, first, inverse = np.unique(
            np.concatenate([found["labels"] for found in index]), return_index=True, return_inverse=True
        )
        self.labels = inverse.astype(np.int32)
        self.class_names = [self._person(i, value) for i, value in zip(first, values, strict=True)]
        self.embeddings = Embeddings(self) if "embedding" in self._sample(0) else None

    def _index(self, k):
        """Place and label of every record of one shard: all of it is read, once."""

        def build():
            places = tfrecord.index(self.paths[k])
            labels = [self._parse(k, *place)["label"][0] for place in places.tolist()]
            return {
                "index": places,
                "labels": np.array(labels, np.int64),
                "state": np.array([cached.state(self.paths[k])]),
            }

        return cached.arrays(self.paths[k], build, lambda kept: kept["state"][0] == cached.state(self.paths[k]))

    def _parse(self, k, first, length, only=None):
        where = f"{self.paths[k]} record at byte {first}"
        try:
            found = tfrecord.decode(self.files[k][first : first + length], only)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        for name in [only] if only else ["image", "label"]:
            if not found.get(name) or not isinstance(found[name][0], FEATURES[name]):
                raise ValueError(
                    f"{where}: expected a feature {name!r}, {FEATURES[name].__name__}. Received: {sorted(found)}"
                )
        return found

    def _sample(self, i, only=None):
        return self._parse(int(self.shard[i]), *self.index[i].tolist(), only)

    def _person(self, i, value):
        named = self._sample(int(i)).get("person")
        return named[0].decode() if named else str(value)

    def read(self, i):
        return self._sample(i, "image")["image"][0]

    def is_whole(self, i: int) -> bool:
        """Whether the record agrees with its checksum."""
        return tfrecord.is_whole(self.files[self.shard[i]], *self.index[i].tolist())

    def name(self, i):
        return f"{self.paths[self.shard[i]]} record at byte {self.index[i][0]}"


def mapped(path):
    """A file as memory that is read where it is looked at."""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.path.getsize(path) else b""


class Embeddings:
    """Embeddings of a `ShardSource`, read when they are asked for."""

    def __init__(self, source: ShardSource):
        self.source = source

    def __getitem__(self, rows):
        found = [self.source._sample(int(i)) for i in rows]
        return np.stack([np.frombuffer(one["embedding"][0], one["dtype"][0].decode()) for one in found])


def write_shard(path: str, samples) -> int:
    """(image bytes, label, embedding or None, person or None) → a TFRecord file, renamed when it is whole → how many."""
    count = 0
    with replacing(path) as part, open(part, "wb") as file:
        for image, label, embedding, *person in samples:
            values = {"image": [image], "label": [int(label)]}
            values |= {"person": [who.encode() for who in person]} if person else {}
            if embedding is not None:
                values |= {"embedding": [embedding.tobytes()], "dtype": [embedding.dtype.str.encode()]}
            tfrecord.write(file, tfrecord.encode(values))
            count += 1
    return count


def _open_arrays(pair):
    from facetrainer.data.arrays import ArraySource

    if len(pair) != 2:
        raise ValueError(f"data_path: expected (images, labels). Received: {type(pair).__name__} of {len(pair)}")
    return ArraySource(*pair)


def open_source(path: str | tuple, rule: Callable[[str], str] | None = None) -> Source:
    """Opens a set of faces.

    Args:
        path: Folder of people, InsightFace directory, `.rec`, CelebA's root (`Anno/`, `Img/`), list (`.csv`, `.lst`, `.txt`, `.npz`), or
            `.tfrecord` shards, WebDataset's `.tar` or Hugging Face's `.parquet`: a file, a pattern, or the folder that holds
            them. Or (images, labels), see `arrays.ArraySource`.
        rule: Function of an image's path → its person, for folders. Defaults to the folder that holds it.

    Returns:
        The source: labels, names of the people, images by number.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        ValueError: It is none of these, or empty.
    """
    if isinstance(path, (tuple, list)):
        return _open_arrays(path)
    path = os.path.expanduser(str(path))
    kind = os.path.splitext(path)[1].lower()
    if kind in PACKED and not os.path.isdir(path):
        return _open_packed(kind, [one for part in _braces(path) for one in glob.glob(part)], path)
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"data_path {path!r} does not exist. Expected a folder, a .rec, .tfrecord, .tar, .parquet, or a list: .csv, .lst, .txt, "
            ".npz."
        )
    if os.path.isdir(path):
        return _open_folder(path, rule)
    if kind == ".rec":
        return RecordSource(path)
    if kind == ".npz":
        return _open_npz(path)
    if kind in lists.LISTS:
        return ListSource(*lists.read_list(path))
    raise ValueError(
        f"data_path {path!r}: expected a folder, a .rec, .tfrecord, .tar or .parquet files, or a list: .csv, .lst, .txt, .npz "
        "(or a tf.data.Dataset object)"
    )


CELEBA = ("Anno/identity_CelebA.txt", "identity_CelebA.txt")


def _open_folder(path, rule):
    if os.path.exists(os.path.join(path, "train.rec")):
        return RecordSource(os.path.join(path, "train.rec"))
    for name in CELEBA if rule is None else ():
        if os.path.exists(os.path.join(path, name)):
            return ListSource(*lists.read_list(os.path.join(path, name)))
    for kind in PACKED:
        home = glob.escape(path)
        if shards := glob.glob(os.path.join(home, f"*{kind}")) or glob.glob(
            os.path.join(home, "data", f"train*{kind}")
        ):
            return _open_packed(kind, shards, path)
    return FolderSource(path, rule)


PACKED = {".tfrecord": "ShardSource", ".tar": "TarSource", ".parquet": "ParquetSource"}


def _open_packed(kind, files, path):
    from facetrainer.data import packed

    if not files:
        raise FileNotFoundError(f"data_path {path!r}: there is no such file.")
    return ShardSource(files) if kind == ".tfrecord" else getattr(packed, PACKED[kind])(files)


def _braces(path):
    """Patterns that WebDataset's `{000000..000146}` stands for."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", path)
    if found is None:
        return [path]
    first, last = found.groups()
    return [
        f"{path[: found.start()]}{number:0{len(first)}d}{path[found.end() :]}"
        for number in range(int(first), min(int(last), int(first) + 1_000_000) + 1)
    ]


def _open_npz(path):
    arrays = cached.read_npz(path, growth=LIST_GROWTH)
    if "data_path" in arrays:
        return _subset_of_npz(path, arrays)
    missing = {"image_names", "image_classes"} - set(arrays)
    if missing:
        raise ValueError(f"{path}: array {sorted(missing)[0]!r} is missing. Received: {sorted(arrays)}")
    names, people = arrays["image_names"], arrays["image_classes"]
    alike = names.ndim == 1 and names.shape == people.shape
    if not alike or names.dtype.kind not in "US" or people.dtype.kind not in "USiuf":
        raise ValueError(
            f"{path}: expected image_names, texts (n,), and image_classes (n,). Received: {names.dtype} {names.shape}, "
            f"{people.dtype} {people.shape}"
        )
    return ListSource(map(str, names), people, _embeddings_of_npz(path, arrays, len(names)))


def _subset_of_npz(path, arrays):
    place = arrays["data_path"]
    if place.ndim or place.dtype.kind != "U" or str(place).endswith(".npz"):
        raise ValueError(
            f"{path}: expected data_path, the name of a folder, record file or shards. Received: {place!r}"
        )
    source = open_source(str(place))
    indices = arrays.get("indices", np.arange(len(source)))
    if not _are_positions(indices, len(source)):
        raise ValueError(
            f"{path}: expected indices (n,) below {len(source)}, the images of {place}. Received: {indices!r}"
        )
    return Subset(source, indices, _embeddings_of_npz(path, arrays, len(indices)))


def _are_positions(indices, count):
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        return False
    return not len(indices) or 0 <= indices.min() <= indices.max() < count


def _embeddings_of_npz(path, arrays, count):
    found = arrays.get("embeddings")
    if found is not None and (found.ndim != 2 or len(found) != count or found.dtype.kind != "f"):
        raise ValueError(f"{path}: expected embeddings ({count}, D) of numbers. Received: {found.dtype} {found.shape}")
    return found


def write_list(path: str, source: Source, indices: ArrayLike, embeddings: np.ndarray | None = None) -> None:
    """Samples `indices` of `source`, with embeddings of theirs → npz that `open_source` opens.

    Images that are files are named as in Keras_insightface; of a record file or shards the place in them is kept.
    """
    arrays = {} if embeddings is None else {"embeddings": embeddings}
    if source.are_files:
        arrays["image_names"] = np.array([os.path.abspath(source.name(int(i))) for i in indices])
        arrays["image_classes"] = source.labels[indices]
    else:
        arrays |= {"data_path": np.array(_place(source, path)), "indices": np.asarray(indices)}
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)


def _place(source, path):
    if isinstance(source, RecordSource):
        return os.path.abspath(source.file.path)
    if (
        hasattr(source, "paths")
        and not source.are_files
        and len({os.path.dirname(shard) for shard in source.paths}) == 1
    ):
        return os.path.abspath(source.paths[0] if len(source.paths) == 1 else os.path.dirname(source.paths[0]))
    raise ValueError(
        f"{path}: expected a folder, a record file, shards or a list of files. Received: {type(source).__name__}"
    )


def natural(name: str):
    """Sort key: 2 before 10, numbers before words."""
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def number_people(people) -> tuple[list[str], np.ndarray]:
    """People of all samples, names or numbers → (distinct names in natural order, labels 0…C−1 int32)."""
    values, inverse = np.unique(np.asarray(people), return_inverse=True)
    if values.dtype.kind in "US":
        order = sorted(range(len(values)), key=lambda k: natural(str(values[k])))
        values, inverse = values[order], np.argsort(order)[inverse]
    return [str(value) for value in values], inverse.astype(np.int32)
