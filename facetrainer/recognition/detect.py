"""Photo → faces: boxes, scores, five landmarks."""

import csv
import dataclasses
import importlib
import os
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike


@dataclasses.dataclass(frozen=True)
class Detected:
    """n faces of a photo.

    Attributes:
        boxes: `(n, 4)` x1 y1 x2 y2, pixels.
        scores: `(n,)`.
        landmarks: `(n, 5, 2)` eyes, nose, corners of the mouth, the left ones (as seen) first; pixels.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    @classmethod
    def of(cls, boxes: ArrayLike, scores: ArrayLike, landmarks: ArrayLike) -> "Detected":
        """From lists of any length, none included."""
        return cls(
            np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(scores, np.float32).reshape(-1),
            np.asarray(landmarks, np.float32).reshape(-1, 5, 2),
        )  # fmt: skip

    def __len__(self):
        return len(self.scores)

    def __getitem__(self, rows) -> "Detected":
        return Detected(self.boxes[rows], self.scores[rows], self.landmarks[rows])

    def scaled(self, factor: float) -> "Detected":
        """The same faces in a photo `factor` times as large."""
        return Detected(self.boxes * factor, self.scores, self.landmarks * factor)

    def by_size(self) -> "Detected":
        """The largest box first."""
        return self[np.argsort(-np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1), kind="stable")]

    def largest(self) -> "Detected":
        """The face of the largest box."""
        return self.by_size()[:1]

    def central(self, shape: tuple[int, int]) -> "Detected":
        """The face nearest to the middle of an image of `shape` (height, width)."""
        away = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2 - np.array(shape[1::-1]) / 2
        return self[np.argsort(np.linalg.norm(away, axis=1), kind="stable")[:1]]


class Detector:
    """Finds faces in RGB uint8 photos `(height, width, 3)`; a kind of detector writes `batch`."""

    def __call__(self, image: np.ndarray) -> Detected:
        """The faces of one photo."""
        return self.batch([image])[0]

    def batch(self, images: Sequence[np.ndarray]) -> list[Detected]:
        """The faces of several photos, of any sizes."""
        raise NotImplementedError


def together(
    photos: Iterable[tuple[object, np.ndarray]], count: int = 16, pixels: int = 16_000_000
) -> Iterator[list[tuple[object, np.ndarray]]]:
    """Consecutive photos to look through at once.

    Args:
        photos: Pairs of anything and an image.
        count: Photos together at most.
        pixels: Of all of them together; a larger one goes alone.

    Yields:
        Lists of such pairs, none empty.
    """
    held, size = [], 0
    for one in photos:
        area = one[1].shape[0] * one[1].shape[1]
        if held and (len(held) == count or size + area > pixels):
            yield held
            held, size = [], 0
        held, size = [*held, one], size + area
    if held:
        yield held


class Within(Detector):
    """A detector that sees photos shrunk to `max_side` pixels on their longer side."""

    def __init__(self, found: Detector, max_side: int):
        self.found, self.max_side = found, max_side

    def batch(self, images):
        scales = [min(self.max_side / max(image.shape[:2]), 1) for image in images]
        small = [
            image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            for image, scale in zip(images, scales, strict=True)
        ]
        return [
            faces if scale == 1 else faces.scaled(1 / scale)
            for faces, scale in zip(self.found.batch(small), scales, strict=True)
        ]


def detector(name: str = "mtcnn", min_face: int = 40, max_side: int = 1024) -> Detector:
    """Opens a detector.

    Args:
        name: "mtcnn" (of PyPI), or an ONNX file of YuNet, SCRFD, RetinaFace, YOLOv5-face or YOLOv8-face.
        min_face: Pixels; smaller faces, after shrinking, are not looked for ("mtcnn") or left out.
        max_side: Photos whose longer side is over this many pixels are shrunk before. Their faces come in the photo's own pixels.

    Returns:
        It finds `Detected` faces on a photo.

    Raises:
        ValueError: The name is none of these.
        FileNotFoundError: There is no such file.
        ImportError: The detector's library is missing.
    """
    if name != "mtcnn" and not name.endswith(".onnx"):
        raise ValueError(
            f"detector {name!r}: expected 'mtcnn', or an .onnx file of YuNet, SCRFD, RetinaFace or YOLO-face."
        )
    if name != "mtcnn" and not os.path.exists(name):
        raise FileNotFoundError(f"detector file {name!r} does not exist.")
    kind, opener = ("mtcnn", "Mtcnn") if name == "mtcnn" else ("onnx_detectors", "open_file")
    begin = getattr(importlib.import_module(f"facetrainer.recognition.{kind}"), opener)
    return Within(begin(min_face) if name == "mtcnn" else begin(name, min_face), max_side)


def read_landmarks(path: str) -> dict[str, np.ndarray]:
    """csv with `file` and ten columns x, y of eyes, nose and corners of the mouth → {file: (5, 2)}."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    found = {}
    for number, row in enumerate(rows[1:], 2):
        try:
            found[os.path.normpath(row[0])] = np.array(row[1:11], np.float32).reshape(5, 2)
        except (ValueError, IndexError):
            raise ValueError(f"{path}, line {number}: expected a file and ten numbers. Received: {row}") from None
    return found
