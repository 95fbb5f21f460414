"""Photo → faces: found, cropped, measured, embedded."""

import dataclasses
import os
from collections.abc import Iterable, Iterator

import numpy as np

from facetrainer.data.images import IMAGE_TYPES, decode
from facetrainer.recognition.detect import Detected, Detector, detector, together
from facetrainer.recognition.model import RecognitionModel
from facetrainer.recognition.quality import Quality, measure
from facetrainer.utils.files import read_bytes

WHOLE = "aligned"  # in place of a detector: the photo is the crop


@dataclasses.dataclass(frozen=True)
class Face:
    """One face of a photo.

    Attributes:
        box: x1 y1 x2 y2 in pixels `(4,)`.
        landmarks: `(5, 2)`; nan where nobody looked for them.
        quality: See `Quality`.
        crop: What the model saw, RGB uint8.
        embedding: Of length 1, float32 `(D,)`.
    """

    box: np.ndarray
    landmarks: np.ndarray
    quality: Quality
    crop: np.ndarray
    embedding: np.ndarray


@dataclasses.dataclass(frozen=True)
class Photo:
    """What was found on a photo.

    Attributes:
        name: Of the photo.
        shape: Height and width in pixels; (0, 0) where it cannot be read.
        faces: The largest first.
        error: Why it cannot be read; empty where it can.
    """

    name: str
    shape: tuple[int, int]
    faces: list[Face]
    error: str = ""

    def one(self) -> Face:
        """The one face that is meant: large and near the middle, if no other is nearly as much so.

        Returns:
            The face.

        Raises:
            ValueError: The photo cannot be read, shows nobody, or several people alike.
        """
        if self.error:
            raise ValueError(f"{self.name}: {self.error}")
        if not self.faces:
            raise ValueError(
                f"{self.name}: no face found. Expected a face of 40 pixels or more; smaller ones: --min-face 20; crops as they are: "
                "--detector aligned."
            )
        meant = sorted(self.faces, key=self.prominence, reverse=True)
        if len(meant) > 1 and self.prominence(meant[1]) > self.prominence(meant[0]) / 2:
            raise ValueError(f"{self.name}: {len(self.faces)} faces, none the only one that can be meant: cut it out.")
        return meant[0]

    def prominence(self, face: Face) -> float:
        """Area of the box, less towards the edge of the photo, where it is 0."""
        middle = np.array(self.shape[::-1]) / 2
        away = np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - middle) / np.linalg.norm(middle)
        return float(np.prod(face.box[2:] - face.box[:2])) * max(1 - away, 0) ** 2


class FaceReader:
    """Reads who can be seen on photos.

    Args:
        model: See `RecognitionModel`.
        find: Name or file of a detector, see `detector`; "aligned" where photos are crops already. Defaults to `"mtcnn"`.
        min_face: Pixels of the smallest faces to look for. Defaults to `40`.
        max_side: Photos are shrunk to this many pixels before faces are looked for. Defaults to `1024`.
    """

    def __init__(self, model: RecognitionModel, find: str = "mtcnn", min_face: int = 40, max_side: int = 1024):
        self.model, self.find = model, find
        whole = Whole(model.layout.height, model.layout.width) if find == WHOLE else None
        self.detector = whole or detector(find, min_face, max_side)

    def read(self, photos: Iterable[tuple[str, object]]) -> Iterator[Photo]:
        """Looks through photos, several at once.

        Args:
            photos: Names and images: encoded bytes, RGB uint8 arrays, or a path where a str is given.

        Yields:
            A `Photo` for each, in order; one that cannot be read has an error and no face.
        """
        for several in together(_decoded(photos)):
            names, images = zip(*several, strict=True)
            good = [image for (_, error), image in several if not error]
            found = iter(self.detector.batch(good) if good else [])
            yield from self._embedded(
                [(name, error, image, None if error else next(found)) for (name, error), image in zip(names, images, strict=True)]
            )  # fmt: skip

    def one(self, photo: object, name: str = "photo") -> Photo:
        """Looks through a single photo: path, encoded bytes or array."""
        return next(self.read([(photo if isinstance(photo, str) else name, photo)]))

    def _embedded(self, several):
        crops = [self._crops(image, found) for _, _, image, found in several]
        embeddings, lengths = self.model([crop for one in crops for crop in one])
        at = 0
        for (name, error, image, found), mine in zip(several, crops, strict=True):
            rows = slice(at, at + len(mine))
            at += len(mine)
            faces = _faces(found.by_size() if mine else None, mine, embeddings[rows], lengths[rows])
            yield Photo(name, (0, 0) if error else image.shape[:2], faces, error)

    def _crops(self, image, found):
        if found is None or not len(found):
            return []
        found = found.by_size()
        if self.find == WHOLE:
            return [decode(image, (self.model.layout.height, self.model.layout.width))]
        marks = found.landmarks.astype(np.float64)
        return [self.model.layout.crop(image, mark, box) for mark, box in zip(marks, found.boxes, strict=True)]


class Whole(Detector):
    """Takes the whole photo for one face of which no landmark is known."""

    def __init__(self, height: int, width: int):
        self.shape = (height, width)

    def batch(self, images):
        nowhere = np.full((1, 5, 2), np.nan)
        return [Detected.of([[0, 0, image.shape[1], image.shape[0]]], [1], nowhere) for image in images]


def _faces(found, crops, embeddings, lengths):
    faces = []
    for k, crop in enumerate(crops):
        quality = dataclasses.replace(measure(crop, found.landmarks[k], found.scores[k]), length=float(lengths[k]))
        faces.append(Face(found.boxes[k], found.landmarks[k], quality, crop, embeddings[k]))
    return faces


def _decoded(photos):
    """((name, error), image); an image that cannot be read is a black pixel."""
    for name, photo in photos:
        try:
            yield (name, ""), decode(read_bytes(photo) if isinstance(photo, str) else photo)
        except (ValueError, OSError) as error:
            yield (name, _reason(error)), np.zeros((1, 1, 3), np.uint8)


def _reason(error):
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def photos_in(path: str) -> list[str]:
    """A photo, or all photos of a folder, its folders included, in order.

    Args:
        path: File or folder.

    Returns:
        Their paths.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: The folder holds no photo.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path!r} does not exist. Expected a photo or a folder of photos.")
    if not os.path.isdir(path):
        return [path]
    found = sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(IMAGE_TYPES)
    )
    if not found:
        raise ValueError(f"{path} holds no photo ({' '.join(IMAGE_TYPES)}).")
    return found
