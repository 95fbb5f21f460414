"""Where a gallery's people are kept: in files, or in an engine of its own. A store keeps and finds vectors; it knows no model."""

import contextlib
import dataclasses
import os
from typing import Any, Protocol

import numpy as np


@dataclasses.dataclass(frozen=True)
class Entry:
    """One photo of a person.

    Attributes:
        person: Name.
        vector: Embedding of length 1 `(D,)`.
        quality: In [0, 1]: its weight among the person's photos.
        photo: Name of the photo.
        digest: Of the photo's bytes, hexadecimal: a photo is enrolled once for a person.
    """

    person: str
    vector: np.ndarray
    quality: float
    photo: str
    digest: str


class Store(Protocol):
    """What a gallery needs of the place where it is kept."""

    header: dict
    path: str | None

    def moved(self, path: str) -> "Store":
        """The same people in another folder."""

    def __len__(self) -> int:
        """How many people."""

    def people(self) -> dict[str, int]:
        """Photos of each person."""

    def photos_of(self, person: str) -> list[Entry]:
        """A person's photos; none where nobody has the name."""

    def holds(self, person: str, digest: str) -> bool:
        """Whether a photo is enrolled for a person."""

    def add(self, entries: list[Entry]) -> None:
        """Puts in photos; their people are found by `search` from then on."""

    def remove(self, person: str) -> None:
        """Forgets a person."""

    def search(self, probes: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
        """The `k` nearest people of each probe `(p, D)`, with cosines."""

    def sample(self, count: int) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
        """Some photos and some people: names and vectors of both, for the scores of different people."""

    def save(self) -> None:
        """Makes what was put in last."""

    def save_now_and_then(self) -> None:
        """The same in the middle of a long work, no oftener than is cheap."""

    def refresh(self) -> None:
        """Takes over what other processes changed."""

    def changing(self) -> contextlib.AbstractContextManager:
        """Keeps other processes from changing the gallery; saves at the end, whatever happens."""


QDRANT = "qdrant:"


def header_of(path: str) -> dict:
    """What the gallery at `path` says of itself; nothing where there is none."""
    if path.startswith(QDRANT):
        store: Any = open_store(path)
        store.client.close()
        return store.header
    from facetrainer.recognition.stores.local import HEADER, read_header

    place = os.path.join(path, HEADER)
    return read_header(place) if os.path.exists(place) else {}


def open_store(path: str | None) -> Store:
    """The store of a gallery, new or old.

    Args:
        path: Folder; "qdrant:FOLDER" for Qdrant inside this process, "qdrant:http://host:6333/name" for a server; None for memory alone.

    Returns:
        The store.

    Raises:
        ValueError: The folder holds other things, or a damaged gallery.
        ImportError: Qdrant's client is missing.
    """
    if path and path.startswith(QDRANT):
        from facetrainer.recognition.stores.qdrant import QdrantStore

        return QdrantStore(path.removeprefix(QDRANT))
    from facetrainer.recognition.stores.local import LocalStore

    return LocalStore(path)


def pooled(vectors: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    """One vector of length 1 for several photos of a person, each by its quality.

    Args:
        vectors: `(n, D)`.
        qualities: `(n,)`, 0 or more.

    Returns:
        float32 `(D,)`.
    """
    whole = np.maximum(qualities, 1e-3) @ vectors
    return (whole / max(np.linalg.norm(whole), 1e-12)).astype(np.float32)
