"""A gallery in a folder: `gallery.json` says what it is, and names the npz with its photos."""

import contextlib
import json
import os
import time
from collections.abc import Iterator

import filelock
import numpy as np

from facetrainer.io import cached
from facetrainer.recognition.index import Index
from facetrainer.recognition.stores import Entry, pooled
from facetrainer.utils.files import read_bytes, replacing, write_json

HEADER, LOCK = "gallery.json", ".lock"
SPARE = 64  # places of removed people, before all are placed anew
SLOW = (
    20.0  # seconds between two savings in the middle of a long work; ten times as long as one takes, if that is longer
)


class LocalStore:
    """People and photos in memory, and in a folder.

    Args:
        path: The folder; None for memory alone. One that is a gallery is read.
        header: What a new gallery says of itself.

    Attributes:
        header: What the gallery says of itself, as JSON takes it.

    Raises:
        ValueError: The folder holds other things, or a damaged gallery.
    """

    def __init__(self, path: str | None = None, header: dict | None = None):
        self.path, self.header = path, dict(header or {})
        self.entries: list[Entry] = []
        self.rows: dict[str, list[int]] = {}  # of entries, by person
        self.places: dict[str, int] = {}  # in the index, by person
        self.names: list[str] = []  # by place; empty where the person was removed
        self.index: Index | None = None
        self.version, self.changed, self.saved, self.took = 0, False, time.monotonic(), 0.0
        if path and os.path.exists(os.path.join(path, HEADER)):
            self._load()
        elif path and os.path.isdir(path) and set(os.listdir(path)) - {LOCK}:
            raise ValueError(f"{path} is a folder with other things in it: expected a gallery, or a new name.")

    def __len__(self):
        return len(self.rows)

    def people(self) -> dict[str, int]:
        """Photos of each person."""
        return {person: len(rows) for person, rows in self.rows.items()}

    def photos_of(self, person: str) -> list[Entry]:
        """A person's photos."""
        return [self.entries[row] for row in self.rows.get(person, ())]

    def holds(self, person: str, digest: str) -> bool:
        """Whether a photo is enrolled for a person."""
        return any(self.entries[row].digest == digest for row in self.rows.get(person, ()))

    def add(self, entries: list[Entry]) -> None:
        """Puts in photos."""
        for entry in entries:
            self.rows.setdefault(entry.person, []).append(len(self.entries))
            self.entries.append(entry)
        for person in dict.fromkeys(entry.person for entry in entries):
            self._place(person)
        self.changed = True

    def _place(self, person):
        mine = self.photos_of(person)
        vector = pooled(np.stack([one.vector for one in mine]), np.array([one.quality for one in mine]))
        self.index = self.index or Index(len(vector))
        if person not in self.places:
            self.places[person] = len(self.names)
            self.names.append(person)
        self.index.put(self.places[person], vector)

    def remove(self, person: str) -> None:
        """Forgets a person."""
        gone = set(self.rows.pop(person))
        if len(self.names) - len(self.rows) > SPARE:
            self._refill([one for row, one in enumerate(self.entries) if row not in gone])
            return
        kept = [row for row in range(len(self.entries)) if row not in gone]
        moved = {row: new for new, row in enumerate(kept)}
        self.entries = [self.entries[row] for row in kept]
        self.rows = {name: [moved[row] for row in rows] for name, rows in self.rows.items()}
        place = self.places.pop(person)
        self.names[place] = ""
        self.index.put(place, np.zeros_like(self.index.vectors[place]))
        self.changed = True

    def _refill(self, entries):
        self.entries, self.rows, self.places, self.names, self.index = [], {}, {}, [], None
        self.add(entries)

    def search(self, probes: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
        """The `k` nearest people of each probe."""
        if not self.rows or not len(probes):
            return [[] for _ in probes]
        scores, rows = self.index.search(probes, k + len(self.names) - len(self.rows))
        found = [
            [(self.names[row], float(score)) for score, row in zip(*one, strict=True)]
            for one in zip(scores, rows, strict=True)
        ]
        return [[one for one in mine if one[0]][:k] for mine in found]

    def sample(self, count: int) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
        """Some photos and some people."""
        rng = np.random.default_rng(0)
        people = list(self.places)
        if not people:
            return [], np.zeros((0, 0)), [], np.zeros((0, 0))
        photos, some = (np.sort(rng.permutation(n)[:count]) for n in (len(self.entries), len(people)))
        return (
            [self.entries[row].person for row in photos], np.stack([self.entries[row].vector for row in photos]),
            [people[k] for k in some], self.index.vectors[[self.places[people[k]] for k in some]],
        )  # fmt: skip

    def save(self) -> None:
        """Writes the gallery; a crash leaves the old one whole."""
        if not self.path:
            return
        begin = time.monotonic()
        os.makedirs(self.path, exist_ok=True)
        old, name = self.header.get("photos"), f"photos-{self.version + 1}.npz"
        with replacing(os.path.join(self.path, name)) as part:
            np.savez(part, **self._arrays())
        self.version += 1
        self.header |= {"version": self.version, "photos": name, "people": len(self.rows)}
        write_json(os.path.join(self.path, HEADER), self.header, indent=1)
        if old and old != name:
            with contextlib.suppress(OSError):
                os.remove(os.path.join(self.path, old))
        self.changed, self.saved, self.took = False, time.monotonic(), time.monotonic() - begin

    def moved(self, path: str) -> "LocalStore":
        """The same people in another folder, which is new or empty.

        Args:
            path: The folder.

        Returns:
            The store there.

        Raises:
            ValueError: There are other things in it.
        """
        other = LocalStore(path, self.header)
        if other.version:
            raise ValueError(f"{path} is a gallery already: give a new name.")
        other.add(self.entries)
        return other

    def save_now_and_then(self) -> None:
        """Saves where the last time is long ago, in the middle of a long work."""
        if time.monotonic() - self.saved > max(SLOW, 10 * self.took):
            self.save()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Holds the folder for this process, reads what others wrote, and saves at the end, also after an exception.

        Raises:
            ValueError: Another process changes the gallery.
        """
        if not self.path:
            yield
            return
        os.makedirs(self.path, exist_ok=True)
        try:
            with filelock.FileLock(os.path.join(self.path, LOCK), timeout=5):
                self.refresh()
                try:
                    yield
                finally:
                    if self.changed:
                        self.save()
        except filelock.Timeout:
            raise ValueError(f"{self.path} is being changed by another process: try again when it is done.") from None

    def refresh(self) -> None:
        """Reads the folder again where another process has written it since."""
        path = os.path.join(self.path or "", HEADER)
        if self.path and os.path.exists(path) and read_header(path).get("version") != self.version:
            self._load()

    def _arrays(self):
        people, person = np.unique([one.person for one in self.entries] or [""], return_inverse=True)
        texts = {"people": people.tolist(), "photos": [one.photo for one in self.entries]}
        return {
            "vectors": np.array([one.vector for one in self.entries], np.float32),
            "quality": np.array([one.quality for one in self.entries], np.float32),
            "digests": np.array([list(bytes.fromhex(one.digest)) for one in self.entries], np.uint8),
            "person": person[: len(self.entries)].astype(np.int32),
            "texts": np.frombuffer(json.dumps(texts).encode(), np.uint8),
        }

    def _load(self):
        path = os.path.join(self.path, HEADER)
        header = read_header(path)
        arrays = cached.read_npz(os.path.join(self.path, header["photos"]))
        try:
            entries = list(_entries(arrays))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise ValueError(f"{self.path} is a damaged gallery: {type(error).__name__}: {error}") from None
        self._refill(entries)
        self.header, self.version, self.changed = header, int(header["version"]), False


def read_header(path: str) -> dict:
    """What a gallery says of itself.

    Args:
        path: Its `gallery.json`.

    Returns:
        The header by key.

    Raises:
        ValueError: It is damaged.
    """
    try:
        header = json.loads(read_bytes(path))
        int(header["version"])
        if os.path.basename(header["photos"]) != header["photos"] or not isinstance(header["model"], str):
            raise ValueError(f"expected a model's name, and photos beside it: {header['photos']!r}")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is a damaged gallery: {type(error).__name__}: {error}") from None
    return header


def _entries(arrays):
    texts = json.loads(arrays["texts"].tobytes())
    vectors, person = arrays["vectors"].astype(np.float32), arrays["person"]
    if len(vectors) and (vectors.ndim != 2 or not np.isfinite(vectors).all()):
        raise ValueError(f"vectors of shape {vectors.shape}, all finite, were expected")
    count = len(vectors)
    if not np.isfinite(arrays["quality"]).all():
        raise ValueError("a quality is no number")
    if any(len(one) != count for one in (arrays["quality"], arrays["digests"], person, texts["photos"])):
        raise ValueError("its tables are of different lengths")
    for row in range(count):
        if person[row] < 0:
            raise ValueError(f"photo {row} is of person {person[row]}")
        quality = float(np.clip(arrays["quality"][row], 0, 1))
        digest = bytes(arrays["digests"][row]).hex()
        yield Entry(str(texts["people"][person[row]]), vectors[row], quality, str(texts["photos"][row]), digest)
