"""Datasets as others pack them, read in place: WebDataset's tar files and Hugging Face's Parquet files."""

import functools
import json
import logging
import os
import tarfile
import threading

import numpy as np

from facetrainer.data.images import IMAGE_TYPES
from facetrainer.data.sources import Source, Strings, mapped, natural
from facetrainer.io import cached
from facetrainer.utils.optional import need

log = logging.getLogger("facetrainer")

LABELS = ("label", "cls", "class", "id", "identity", "person", "name")
GROUPS = 64  # row groups of Parquet files that are kept in memory


def _numbered(parts: list[tuple[list[str], np.ndarray]]) -> tuple[list[str], np.ndarray]:
    """(distinct names, codes) of each file → all distinct names in natural order, labels of all samples."""
    names = sorted({name for names, _ in parts for name in names}, key=natural)
    number = {name: k for k, name in enumerate(names)}
    labels = [np.array([number[name] for name in names], np.int32)[codes] for names, codes in parts]
    return names, np.concatenate(labels) if labels else np.zeros(0, np.int32)


def _coded(texts: list[str]) -> dict[str, np.ndarray]:
    """Names of a file's samples → the distinct ones and a code for each sample, as an index keeps them."""
    names = sorted(set(texts))
    number, strings = {name: k for k, name in enumerate(names)}, Strings.of(names)
    return {"names": strings.block, "ends": strings.ends, "codes": np.array([number[one] for one in texts], np.int32)}


def _decoded(index):
    strings = Strings(index["names"], index["ends"])
    return [strings[i] for i in range(len(strings))], index["codes"]


class TarSource(Source):
    """WebDataset: files of one sample lie behind one another in a tar and share their name up to its first dot.

    `x.jpg` (or another image type) is the image, `x.cls` or `x.txt` the person, or `x.json` with one of LABELS; without these the folder in
    the name is. Tars that are compressed cannot be read in place and are refused.

    Args:
        paths: The tar files.
    """

    def __init__(self, paths: list[str]):
        self.paths = sorted(paths, key=natural)
        self.files = [mapped(path) for path in self.paths]
        index = [self._index(path) for path in self.paths]
        self.shard = np.repeat(np.arange(len(index), dtype=np.int32), [len(one["codes"]) for one in index])
        self.places = np.concatenate([one["places"] for one in index])
        self.class_names, self.labels = _numbered([_decoded(one) for one in index])
        if len(self.places) == 0:
            raise ValueError(
                f"{self.paths[0]} holds no image. Expected a tar of images and labels, as WebDataset writes it."
            )

    @staticmethod
    def _index(path):
        def build():
            places, people = _members(path)
            found = {"places": np.array(places, np.int64).reshape(-1, 2), **_coded(people)}
            return {**found, "state": np.array([cached.state(path)])}

        return cached.arrays(path, build, lambda kept: kept["state"][0] == cached.state(path))

    def read(self, i):
        first, length = self.places[i].tolist()
        return self.files[self.shard[i]][first : first + length]

    def name(self, i):
        return f"{self.paths[self.shard[i]]} image at byte {self.places[i][0]}"


def _members(path):
    """Places of the images of a tar, and their people; what follows a damaged place is left out with a warning."""
    places, people, size = [], [], os.path.getsize(path)
    try:
        with tarfile.open(path, "r:") as archive, open(path, "rb") as file:
            for key, sample in _samples(archive, size):
                image = next((place for name, place in sample if name.endswith(IMAGE_TYPES)), None)
                if image is not None:
                    places.append(image)
                    people.append(_person(file, key, sample))
    except (tarfile.TarError, EOFError, OSError) as error:
        if not places:
            raise ValueError(f"{path}: {error}. Expected a tar file that is not compressed.") from error
        log.warning("%s is damaged behind image %d: %s", path, len(places), error)
    return places, people


def _samples(archive, size):
    """(key, [(name, (first byte, length))]) of each sample."""
    key, sample = None, []
    for member in archive:
        archive.members = []  # or they would all be kept
        if not member.isreg() or member.issparse() or member.offset_data + member.size > size:
            continue
        folder, name = os.path.split(member.name)
        now = os.path.join(folder, name.partition(".")[0])
        if now != key and sample:
            yield key, sample
            sample = []
        key = now
        sample.append((name.lower(), (member.offset_data, member.size)))
    if sample:
        yield key, sample


def _person(file, key, sample):
    for name, (first, length) in sample:
        if name.endswith((".cls", ".txt", ".json")):
            file.seek(first)
            found = _label(file.read(length), name)
            if found is not None:
                return found
    return os.path.dirname(key) or key


def _label(data, name):
    """The person that a small file names, or None."""
    try:
        if not name.endswith(".json"):
            return data.decode().strip()
        about = json.loads(data)
        return next((str(about[key]) for key in LABELS if key in about), None)
    except (ValueError, TypeError, RecursionError):
        return None


class ParquetSource(Source):
    """Hugging Face's image datasets: a column "image" of `{"bytes", "path"}`, and a column of labels, one of LABELS.

    An image is read with its row group; the last ones stay in memory. Needs the extra `parquet`.

    Args:
        paths: The Parquet files.
    """

    def __init__(self, paths: list[str]):
        self.parquet = need("pyarrow.parquet", "pyarrow", paths[0])
        self.paths, self.local = sorted(paths, key=natural), threading.local()
        parts, groups = [], []
        for k in range(len(self.paths)):
            file = self._file(k)
            parts.append(self._people(file, self.paths[k]))
            groups += [(k, g, file.metadata.row_group(g).num_rows) for g in range(file.num_row_groups)]
        self.groups = np.array([group[:2] for group in groups], np.int32).reshape(-1, 2)
        self.starts = np.cumsum([0, *(rows for *_, rows in groups)])
        self.class_names, self.labels = _numbered(parts)
        if len(self.labels) == 0:
            raise ValueError(f"{self.paths[0]} holds no row.")
        self._group = functools.lru_cache(GROUPS)(self._read_group)

    def _file(self, k):
        """A file, opened by each thread for itself."""
        files = self.local.__dict__.setdefault("files", {})
        if k not in files:
            try:
                files[k] = self.parquet.ParquetFile(self.paths[k], memory_map=True)
            except (OSError, ValueError) as error:
                raise ValueError(f"{self.paths[k]} cannot be read: {error}") from error
        return files[k]

    def _people(self, file, path):
        names = file.schema_arrow.names
        label = next((name for name in LABELS if name in names), None)
        if "image" not in names or label is None:
            raise ValueError(f"{path}: expected columns 'image' and one of {', '.join(LABELS)}. Received: {names}")
        values = file.read(columns=[label]).column(0).to_numpy()
        known = _class_names(file.schema_arrow.metadata, label)
        distinct, codes = np.unique(values.astype(str) if values.dtype == object else values, return_inverse=True)
        return [_name_of(value, known) for value in distinct], codes.astype(np.int32)

    def _read_group(self, number):
        k, group = self.groups[number].tolist()
        about, file = self._file(k).metadata.row_group(group), self._file(k)
        if about.total_byte_size > 20 * os.path.getsize(self.paths[k]):
            raise ValueError(
                f"row group {group} of {self.paths[k]} claims {about.total_byte_size:,} bytes, which its file cannot hold"
            )
        column = file.read_row_group(group, columns=["image"]).column(0).combine_chunks()
        return column.field("bytes") if hasattr(column, "field") else column

    def read(self, i):
        number = int(np.searchsorted(self.starts, i, "right")) - 1
        data = self._group(number)[int(i - self.starts[number])].as_py()
        if not isinstance(data, bytes):
            raise ValueError("expected the bytes of an image; the dataset names files that lie elsewhere")
        return data

    def name(self, i):
        number = int(np.searchsorted(self.starts, i, "right")) - 1
        return f"{self.paths[self.groups[number][0]]} row group {self.groups[number][1]}, row {i - self.starts[number]}"


def _class_names(metadata, label):
    """Names that Hugging Face's `datasets` keeps for a column of numbers."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, ValueError, TypeError, RecursionError):
        return []


def _name_of(value, known):
    is_number = isinstance(value, np.integer)
    return known[value] if is_number and 0 <= value < len(known) else str(value)
