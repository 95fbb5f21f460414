"""A gallery in Qdrant: inside this process, or on servers when it outgrows one machine.

Three collections: photos and people, each a vector with its names, and what the gallery says of itself.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np

from facetrainer.recognition.stores import Entry, pooled
from facetrainer.utils.optional import need

PAGE = 1000
SPACE = uuid.UUID("6f1b6a0e-6d0c-4c53-9a0e-3d6f5f9b7d11")  # of the identities of people and photos


class QdrantStore:
    """People and photos in Qdrant.

    Args:
        place: Folder for Qdrant inside this process, ":memory:", or address and name of the gallery on a server, "http://host:6333/people";
            its key is the environment variable `QDRANT_API_KEY`.

    Attributes:
        header: What the gallery says of itself; written with the first photos.
        path: The place.

    Raises:
        ImportError: Qdrant's client is missing.
        ValueError: The folder is in use by another process.
    """

    def __init__(self, place: str):
        package = need("qdrant_client", '"face-trainer[qdrant]"', f"qdrant:{place}")
        self.models, self.path = package.models, f"qdrant:{place}"
        address = urlsplit(place)
        server = address.scheme in ("http", "https")
        name = address.path.strip("/") if server else "gallery"
        if server and not name:
            raise ValueError(f"qdrant:{place}: expected a name behind the address, http://host:6333/people.")
        try:
            if server:
                key = os.environ.get("QDRANT_API_KEY")
                self.client = package.QdrantClient(url=f"{address.scheme}://{address.netloc}", api_key=key)
            else:
                self.client = (
                    package.QdrantClient(":memory:") if place == ":memory:" else package.QdrantClient(path=place)
                )
        except RuntimeError as error:
            raise ValueError(f"qdrant:{place} is in use by another process: {error}") from None
        self.photos, self.persons, self.about = (f"{name}_{part}" for part in ("photos", "people", "about"))
        self.header = self._read_header()

    def _read_header(self):
        if not self.client.collection_exists(self.about):
            return {}
        return dict(self.client.scroll(self.about, limit=1)[0][0].payload)

    def __len__(self):
        return self.client.count(self.persons, exact=True).count if self.client.collection_exists(self.persons) else 0

    def people(self) -> dict[str, int]:
        """Photos of each person."""
        return {point.payload["person"]: point.payload["photos"] for point in self._all(self.persons)}

    def photos_of(self, person: str) -> list[Entry]:
        """A person's photos, in the order of their names."""
        found = self._all(self.photos, self._of(person), vectors=True)
        return sorted((_entry(point) for point in found), key=lambda one: one.photo)

    def holds(self, person: str, digest: str) -> bool:
        """Whether a photo is enrolled for a person."""
        return self.client.collection_exists(self.photos) and bool(
            self.client.retrieve(self.photos, [_identity(person, digest)])
        )

    def add(self, entries: list[Entry]) -> None:
        """Puts in photos."""
        self._make(len(entries[0].vector))
        point = self.models.PointStruct
        rows = [
            point(
                id=_identity(one.person, one.digest), vector=one.vector.tolist(),
                payload={"person": one.person, "quality": one.quality, "photo": one.photo, "digest": one.digest},
            )
            for one in entries
        ]  # fmt: skip
        self.client.upsert(self.photos, rows, wait=True)
        for person in dict.fromkeys(one.person for one in entries):
            mine = self.photos_of(person)
            vector = pooled(np.stack([one.vector for one in mine]), np.array([one.quality for one in mine]))
            payload = {"person": person, "photos": len(mine)}
            self.client.upsert(
                self.persons, [point(id=_identity(person), vector=vector.tolist(), payload=payload)], wait=True
            )

    def _make(self, width):
        if self.client.collection_exists(self.about):
            return
        vectors = self.models.VectorParams(size=width, distance=self.models.Distance.COSINE)
        self.client.create_collection(self.photos, vectors_config=vectors)
        self.client.create_collection(self.persons, vectors_config=vectors)
        with contextlib.suppress(Exception):  # an index for speed; Qdrant inside a process has none and warns
            if self.path.startswith("qdrant:http"):
                self.client.create_payload_index(self.photos, "person", self.models.PayloadSchemaType.KEYWORD)
        one = self.models.VectorParams(size=1, distance=self.models.Distance.DOT)
        self.client.create_collection(self.about, vectors_config=one)
        self.client.upsert(self.about, [self.models.PointStruct(id=1, vector=[1.0], payload=self.header)], wait=True)

    def remove(self, person: str) -> None:
        """Forgets a person."""
        self.client.delete(self.photos, self.models.FilterSelector(filter=self._of(person)), wait=True)
        self.client.delete(self.persons, [_identity(person)], wait=True)

    def search(self, probes: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
        """The `k` nearest people of each probe."""
        if not len(probes) or not self.client.collection_exists(self.persons):
            return [[] for _ in probes]
        asked = [self.models.QueryRequest(query=one.tolist(), limit=k, with_payload=True) for one in probes]
        found = self.client.query_batch_points(self.persons, asked)
        return [[(point.payload["person"], float(point.score)) for point in one.points] for one in found]

    def sample(self, count: int) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
        """Some photos and some people, the first ones by their identities, which are as good as drawn."""
        parts = []
        for collection in (self.photos, self.persons):
            points = self.client.scroll(collection, limit=count, with_vectors=True)[0] if len(self) else []
            parts += [[one.payload["person"] for one in points], np.array([one.vector for one in points], np.float32)]
        return tuple(parts)

    def save(self) -> None:
        """Qdrant has it already."""

    def save_now_and_then(self) -> None:
        """Likewise."""

    def refresh(self) -> None:
        """Likewise."""

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Qdrant keeps changes apart; each photo is one."""
        yield

    def moved(self, path: str) -> "QdrantStore":
        """Refused: Qdrant's own snapshots copy a collection."""
        raise ValueError(f"{self.path} keeps its people itself: copy it with Qdrant's snapshots. Received: {path!r}")

    def _of(self, person):
        match = self.models.MatchValue(value=person)
        return self.models.Filter(must=[self.models.FieldCondition(key="person", match=match)])

    def _all(self, collection, chosen=None, vectors=False):
        if not self.client.collection_exists(collection):
            return
        offset = None
        while True:
            points, offset = self.client.scroll(collection, chosen, limit=PAGE, offset=offset, with_vectors=vectors)
            yield from points
            if offset is None:
                return


def _identity(*parts):
    return str(uuid.uuid5(SPACE, "\0".join(parts)))


def _entry(point):
    about = point.payload
    return Entry(about["person"], np.array(point.vector, np.float32), about["quality"], about["photo"], about["digest"])
