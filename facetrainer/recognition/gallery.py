"""People by their photos, and who is on another one."""

import dataclasses
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from facetrainer.preparing.report import Report
from facetrainer.recognition.model import RecognitionModel
from facetrainer.recognition.reader import Face, FaceReader, Photo, photos_in
from facetrainer.recognition.stores import Entry, Store, header_of, open_store
from facetrainer.recognition.threshold import LEAST_PEOPLE, Threshold, of_search
from facetrainer.utils.files import read_bytes
from facetrainer.utils.text import unknown

log = logging.getLogger("facetrainer")


@dataclasses.dataclass(frozen=True)
class Match:
    """Who a face is.

    Attributes:
        face: The face.
        person: Name; None for somebody who is not in the gallery, and where no threshold is known.
        nearest: The nearest people and cosines, the nearest first.
        threshold: That the first one had to reach.
    """

    face: Face
    person: str | None
    nearest: list[tuple[str, float]]
    threshold: Threshold

    def __str__(self):
        first, cosine = self.nearest[0] if self.nearest else ("nobody", float("nan"))
        if self.person:
            return f"{self.person} (cosine {cosine:.3f})"
        if self.threshold.value is None:
            return f"not told, the nearest is {first} (cosine {cosine:.3f})"
        return f"unknown (the nearest is {first}, cosine {cosine:.3f})"


class Gallery:
    """People by name, found by their faces.

    Args:
        reader: `FaceReader`, or a model for one: model file, Keras model, None for what `choose` finds.
        path: Folder to keep it in, made by `save`, or a Qdrant, see `open_store`; a gallery that is there is opened. Defaults to memory.
        far: How often a stranger may be named, in a search among everybody. Defaults to `0.01`.
        threshold: Least cosine to name somebody, in place of `far`.
        store: Where the people are kept. Defaults to `open_store(path)`.

    Raises:
        ValueError: The gallery is another model's, or damaged.
    """

    def __init__(
        self, reader: object = None, path: str | None = None, far: float = 0.01, threshold: float | None = None,
        store: Store | None = None,
    ):  # fmt: skip
        self.reader = reader if isinstance(reader, FaceReader) else FaceReader(RecognitionModel(reader))
        self.far, self.given = far, threshold
        self.store = open_store(path) if store is None else store
        self._known: tuple[Any, Any] = (None, None)
        about = self.reader.model.about()
        if not self.store.header:
            self.store.header |= about
        _refuse_other(self.store.header, about, path)

    @staticmethod
    def header_of(path: str) -> dict:
        """What a gallery says of itself: model, SHA-256, crops.

        Args:
            path: See the class.

        Returns:
            The header by key.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It is damaged.
        """
        header = header_of(path)
        if not header:
            raise FileNotFoundError(
                f"{path!r} is no gallery. One command makes it: facetrainer recognize enrol {path} PHOTOS, with one folder a person."
            )
        return header

    @classmethod
    def load(cls, path: str, reader: object = None, **options) -> "Gallery":
        """Opens a gallery that is there; arguments as of the class, exceptions of `header_of` besides."""
        cls.header_of(path)
        return cls(reader, path, **options)

    def save(self, path: str | None = None) -> None:
        """Writes the gallery.

        Args:
            path: Folder; where it was opened unless given.

        Raises:
            ValueError: It has no place.
        """
        if path is not None and path != self.store.path:
            self.store = self.store.moved(path)
        if self.store.path is None:
            raise ValueError("the gallery lives in memory: give save a folder.")
        self.store.save()

    def name_of(self, nearest: list[tuple[str, float]]) -> str | None:
        """The nearest person, if near enough.

        Args:
            nearest: People and cosines, as `nearest` gives them for an embedding.

        Returns:
            The name, or None.
        """
        return _name(nearest, self.threshold())

    def people(self) -> dict[str, int]:
        """Names, and how many photos each is known by."""
        return self.store.people()

    def __len__(self):
        return len(self.store)

    def enrol(
        self, photos: str | Iterable[tuple[str, object]], name: str | None = None, least_quality: float = 0.1, force: bool = False
    ) -> Report:  # fmt: skip
        """Puts in people by their photos; those of a person who is there already are added.

        Saved now and then where the gallery has a place: broken off, the same call goes on, since a photo is enrolled once for a person.

        Args:
            photos: Folder with one folder a person; folder or photo of one person, with `name`; or pairs of a name and a path, encoded
                bytes or array.
            name: Of the person on all photos.
            least_quality: Photos of a lower quality (see `Quality.value`) are left out. Defaults to `0.1`.
            force: Also enrols a photo that looks like somebody else than the person's other photos. Defaults to `False`.

        Returns:
            How many photos and people were enrolled, and which photos were left out, why.

        Raises:
            ValueError: Two folders have one name, or another process changes the gallery.
        """
        pairs = _named(photos, name) if isinstance(photos, str) else list(photos)
        report = Report("enrol", photos if isinstance(photos, str) else "photos", self.store.path or "")
        before = len(self)
        with self.store.changing():
            for person, photo, digest in self._read(pairs, report):
                self._enrol(person, photo, digest, least_quality, force, report)
                self.store.save_now_and_then()
        report.counts |= {
            "photos": report.counts.pop("enrolled", 0),
            "new people": len(self) - before,
            "people": len(self),
        }
        return report.finish(self.store.path)

    def _read(self, pairs, report):
        """Photos that are not enrolled yet, read, with a progress bar."""
        fresh, waiting = [], {}
        for person, source in pairs:
            try:
                digest = digest_of(source)
            except (OSError, ValueError) as error:
                report.skip(str(source), error)
                continue
            if self.store.holds(person, digest):
                report.counts["already there"] = report.counts.get("already there", 0) + 1
            elif (person, digest) not in waiting:
                waiting[person, digest] = None
                fresh.append((source if isinstance(source, str) else f"{person} {len(fresh)}", source))
        with tqdm(total=len(fresh), desc="photos", disable=None) as bar:
            for (person, digest), photo in zip(waiting, self.reader.read(fresh), strict=True):
                bar.update()
                yield person, photo, digest

    def _enrol(self, person, photo, digest, least_quality, force, report):
        try:
            self.add_face(person, photo.one(), photo.name, digest, least_quality, force)
            report.counts["enrolled"] = report.counts.get("enrolled", 0) + 1
        except ValueError as error:
            report.skip(photo.name, str(error).removeprefix(f"{photo.name}: "), person=person)

    def add_face(
        self, person: str, face: Face, name: str, digest: str, least_quality: float = 0.1, force: bool = False
    ) -> None:
        """Enrols a face that was read already.

        Args:
            person: Name.
            face: The face.
            name: Of its photo.
            digest: Of the photo's bytes, hexadecimal.
            least_quality: From 0 to 1; a face below it is refused. Defaults to `0.1`.
            force: Whether to take it in spite of its quality or likeness. Defaults to `False`.

        Raises:
            ValueError: Its quality is too low, or it looks like somebody else than the person's other photos.
        """
        if face.quality.value < least_quality:
            raise ValueError(f"{name}: {face.quality.told()}, less than {least_quality:g}")
        if not force:
            self._refuse_stranger(person, name, face)
        self._warn_of_twin(person, face)
        self.store.add([Entry(person, face.embedding, face.quality.value, name, digest)])

    def _refuse_stranger(self, person, name, face):
        """A photo less like the person's others than nine of ten strangers are."""
        points = (self.reader.model.thresholds or {}).get("thresholds", {})
        mine = self.store.photos_of(person)
        if not points or not mine:
            return
        low = points[max(points, key=float)]["threshold"]
        best = max(float(one.vector @ face.embedding) for one in mine)
        if best < low:
            raise ValueError(
                f"{name}: does not look like the {person} of {mine[0].photo} (cosine {best:.3f}, strangers reach {low:.3f}): somebody else "
                "of that name? Enrol under another name, or with --force"
            )

    def _warn_of_twin(self, person, face):
        limit = self.threshold().value
        others = [one for one in self.nearest(face.embedding[None], 2)[0] if one[0] != person]
        if limit is not None and others and others[0][1] >= limit and not self.store.photos_of(person):
            log.warning("%s looks like %s, who is in the gallery already (cosine %.3f)", person, *others[0])

    def remove(self, person: str) -> int:
        """Forgets a person.

        Args:
            person: Name.

        Returns:
            How many photos went.

        Raises:
            ValueError: Nobody has the name.
        """
        with self.store.changing():
            count = len(self.store.photos_of(person))
            if not count:
                raise ValueError(unknown("person", person, self.people()))
            self.store.remove(person)
        return count

    def rename(self, person: str, name: str) -> None:
        """Gives a person another name; where somebody has it, the two become one.

        Args:
            person: Name until now.
            name: From now on.

        Raises:
            ValueError: Nobody has the name `person`.
        """
        with self.store.changing():
            mine = self.store.photos_of(person)
            if not mine:
                raise ValueError(unknown("person", person, self.people()))
            fresh = [dataclasses.replace(one, person=name) for one in mine if not self.store.holds(name, one.digest)]
            if name != person:
                if fresh:
                    self.store.add(fresh)
                self.store.remove(person)

    def identify(self, photos: object, nearest: int = 3) -> Iterator[tuple[Photo, list[Match]]]:
        """Tells who is on photos.

        Args:
            photos: Path of a photo or folder, encoded bytes, array, or pairs of a name and any of these.
            nearest: How many people to name for each face, the threshold aside.

        Yields:
            Each photo, and a match for each of its faces; of a photo that cannot be read, its `error`.

        Raises:
            ValueError: The gallery is empty.
        """
        self.store.refresh()
        if not len(self):
            raise ValueError("the gallery is empty: enrol somebody first.")
        if isinstance(photos, str):
            photos = [(path, path) for path in photos_in(photos)]
        elif isinstance(photos, bytes | np.ndarray):
            photos = [("photo", photos)]
        for photo in self.reader.read(photos):
            yield photo, self.matches(photo.faces, nearest)

    def matches(self, faces: list[Face], nearest: int = 3) -> list[Match]:
        """Who faces are that were read already."""
        if not faces:
            return []
        limit = self.threshold()
        found = self.nearest(np.stack([face.embedding for face in faces]), nearest)
        return [Match(face, _name(mine, limit), mine, limit) for face, mine in zip(faces, found, strict=True)]

    def nearest(self, embeddings: np.ndarray, count: int = 3) -> list[list[tuple[str, float]]]:
        """The people nearest to embeddings of length 1 `(n, D)`, with cosines; nobody where the gallery is empty."""
        return self.store.search(embeddings, count)

    def templates(self, most: int) -> tuple[list[str], np.ndarray]:
        """Some people and their vectors of length 1, `(n, D)`; no more than `most`, drawn at random."""
        _, _, people, vectors = self.store.sample(most)
        return people, vectors

    def threshold(self) -> Threshold:
        """From which cosine on somebody is named, among as many people as there are."""
        if self.given is not None:
            return Threshold(self.given, None, "as given")
        people = len(self)
        size = 1 << people.bit_length()  # as many people as there are or up to twice as many: it stays as people come
        if self._known[0] != (size, people < LEAST_PEOPLE):
            self._known = ((size, people < LEAST_PEOPLE), of_search(self.reader.model, self.store, self.far, size))
        return self._known[1]


def _name(nearest, threshold):
    if threshold.value is None or not nearest or nearest[0][1] < threshold.value:
        return None
    return nearest[0][0]


def _refuse_other(header, about, path):
    other = [key for key, value in about.items() if key != "model" and header.get(key) != value]
    differs = [f"{key} {header.get(key)!r} there, {about[key]!r} here" for key in other]
    if differs:
        raise ValueError(
            f"{path or 'the gallery'} is of another model, {header.get('model')}: its embeddings are not comparable with those of "
            f"{about['model']} ({'; '.join(differs)}). Give --model {header.get('model')}, or enrol the photos anew."
        )


def digest_of(source: object) -> str:
    """What tells one photo from another: path, encoded bytes or array → 32 hexadecimal digits."""
    if isinstance(source, np.ndarray):
        source = source.tobytes()
    return hashlib.blake2b(read_bytes(source) if isinstance(source, str) else source, digest_size=16).hexdigest()


def _named(path, name):
    """Photos of a folder with their persons: the folder that holds them, or `name`."""
    found = photos_in(path)
    if name:
        return [(name, photo) for photo in found]
    if not os.path.isdir(path):
        raise ValueError(f"{path}: whose photo is it? Give --name, or a folder with one folder a person.")
    loose = [photo for photo in found if os.path.dirname(os.path.abspath(photo)) == os.path.abspath(path)]
    if loose:
        raise ValueError(f"{loose[0]}: whose photo is it? Expected one folder a person, or --name for all of them.")
    places: dict[str, str] = {}
    for photo in found:
        folder = os.path.dirname(photo)
        if places.setdefault(os.path.basename(folder), folder) != folder:
            other = places[os.path.basename(folder)]
            raise ValueError(
                f"two people of one name: {other} and {folder}. Rename a folder, or enrol it alone with --name."
            )
    return [(os.path.basename(os.path.dirname(photo)), photo) for photo in found]
