"""Faces of one frame after the other → tracks, each one person for as long as it is seen."""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from facetrainer.recognition.gallery import Gallery
from facetrainer.recognition.reader import Face
from facetrainer.recognition.stores import pooled

REMEMBERED = 30  # faces of a track, the best ones, that tell who it is


@dataclasses.dataclass
class Track:
    """One face over frames.

    Attributes:
        number: From 1.
        first: Frame in which it was first seen.
        last: Frame in which it was last seen.
        box: Where that was.
        person: Name, or None as long as nobody is near enough.
        cosine: Of the nearest person.
        nearest: Their name.
        faces: The best faces of the track: vector and quality.
    """

    number: int
    first: int
    last: int
    box: np.ndarray
    person: str | None = None
    cosine: float = float("nan")
    nearest: str = ""
    faces: list[tuple[np.ndarray, float]] = dataclasses.field(default_factory=list)

    @property
    def vector(self) -> np.ndarray:
        """Of all its faces together `(D,)`."""
        return pooled(np.stack([vector for vector, _ in self.faces]), np.array([quality for _, quality in self.faces]))


class Tracker:
    """Follows faces, and names them by all that was seen of each.

    A face belongs to the track whose last box it overlaps, or whose person it is. A name is told by the pooled embedding of a track's best
    faces, so that a blurred frame does not change it.

    Args:
        gallery: Who is known.
        patience: Frames for which a face may be out of sight. Defaults to `15`.
        overlap: Least part that two boxes share of their union. Defaults to `0.3`.

    Attributes:
        tracks: Those that go on.
        ended: Those that are over.
    """

    def __init__(self, gallery: Gallery, patience: int = 15, overlap: float = 0.3):
        self.gallery, self.patience, self.overlap = gallery, patience, overlap
        self.tracks: list[Track] = []
        self.ended: list[Track] = []

    def see(self, frame: int, faces: list[Face]) -> list[Track]:
        """Takes in the faces of a frame.

        Args:
            frame: Its number; they rise.
            faces: What was found on it.

        Returns:
            The track of each face.
        """
        self.ended += [one for one in self.tracks if frame - one.last > self.patience]
        self.tracks = [one for one in self.tracks if frame - one.last <= self.patience]
        found = self._matched(faces)
        for k, face in enumerate(faces):
            if found[k] is None:
                found[k] = Track(len(self.tracks) + len(self.ended) + 1, frame, frame, face.box)
                self.tracks.append(found[k])
            self._follow(found[k], frame, face)
        return found

    def all(self) -> list[Track]:
        """Every track, in the order in which they began."""
        return sorted([*self.ended, *self.tracks], key=lambda one: one.number)

    def _matched(self, faces):
        found: list[Track | None] = [None] * len(faces)
        if faces and self.tracks:
            alike = np.array([[_alike(face, track, self._limit()) for track in self.tracks] for face in faces])
            for k, j in zip(*linear_sum_assignment(-alike), strict=True):
                if alike[k, j] >= self.overlap:
                    found[k] = self.tracks[j]
        return found

    def _limit(self):
        value = self.gallery.threshold().value
        return 0.5 if value is None else value

    def _follow(self, track, frame, face):
        track.last, track.box = frame, face.box
        track.faces.append((face.embedding, face.quality.value))
        track.faces = sorted(track.faces, key=lambda one: -one[1])[:REMEMBERED]
        nearest = self.gallery.nearest(track.vector[None], 1)[0]
        limit = self.gallery.threshold().value
        if nearest:
            track.nearest, track.cosine = nearest[0]
            if limit is not None and track.cosine >= limit:
                track.person = track.nearest


def _alike(face, track, limit):
    """Overlap of the boxes; 1 and more where the face is the track's person, whatever moved."""
    low, high = np.maximum(face.box[:2], track.box[:2]), np.minimum(face.box[2:], track.box[2:])
    shared = np.prod(np.maximum(high - low, 0))
    union = np.prod(face.box[2:] - face.box[:2]) + np.prod(track.box[2:] - track.box[:2]) - shared
    cosine = float(track.vector @ face.embedding)
    overlap = float(shared / max(union, 1e-6))
    if cosine >= limit:
        return 1 + overlap
    clear = face.quality.value >= max(quality for _, quality in track.faces) / 2
    return (
        0.0 if clear and cosine < limit / 3 else overlap
    )  # a cut to another person in the same place begins a new track
