"""Detectors in ONNX files, told apart by their outputs: SCRFD, RetinaFace, YOLOv5-face, YOLOv8-face; YuNet by OpenCV."""

import dataclasses
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from facetrainer.recognition.detect import Detected, Detector
from facetrainer.utils.optional import need

STRIDES = (8, 16, 32)
Decoded = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (n, 4), scores (n,), landmarks (n, 5, 2)


@dataclasses.dataclass(frozen=True)
class Format:
    """How a family of files takes its photos, and what it answers.

    Attributes:
        fits: Whether a file with outputs of these shapes is of the family.
        prepared: RGB float32 photos `(size, size, 3)` → the network's input, channels last.
        decoded: Outputs of one photo and `size` → boxes, scores, landmarks in pixels of the `(size, size)` photo.
    """

    fits: Callable[[list[list]], bool]
    prepared: Callable[[np.ndarray], np.ndarray]
    decoded: Callable[[list[np.ndarray], int], Decoded]


def open_file(path: str, min_face: int = 0) -> Detector:
    """The detector of an ONNX file.

    Args:
        path: The file.
        min_face: Pixels; smaller faces are left out.

    Returns:
        The detector.

    Raises:
        ValueError: Its outputs are those of no family that is known, or it cannot be opened.
    """
    runtime = need("onnxruntime", "onnxruntime", path)
    try:
        session = runtime.InferenceSession(path, providers=runtime.get_available_providers())
    except Exception as error:  # the runtime has exceptions of its own for a damaged file
        raise ValueError(f"{path} cannot be opened: {type(error).__name__}: {error}") from error
    outputs = session.get_outputs()
    if {"cls_8", "obj_8", "bbox_8", "kps_8"} <= {output.name for output in outputs}:
        return YuNet(path, min_face)
    shapes = [list(output.shape) for output in outputs]
    known = next((one for one in FORMATS if one.fits(shapes)), None)
    if known is None:
        raise ValueError(
            f"{path}: expected YuNet (12 outputs), SCRFD (9), RetinaFace (3), YOLOv5-face (one of 16 columns) or YOLOv8-face (one of 20 "
            f"rows, or three of 80 channels), with five landmarks a face. Received: {len(shapes)} outputs of shapes {shapes}"
        )
    return OnnxDetector(session, known, min_face)


class OnnxDetector(Detector):
    """A network that sees square photos, by ONNX Runtime.

    Args:
        session: The open file.
        format: Its family.
        min_face: Pixels; smaller faces are left out.
        size: Side of the photos that it sees, where the file leaves it free. Defaults to `640`.
        threshold: Least score. Defaults to `0.5`.
        overlap: Of two boxes that share more than this part of their union, the better one stays. Defaults to `0.4`.
    """

    def __init__(
        self, session: Any, format: Format, min_face: int = 0, size: int = 640, threshold: float = 0.5, overlap: float = 0.4
    ):  # fmt: skip
        self.session, self.format, self.min_face = session, format, min_face
        self.threshold, self.overlap = threshold, overlap
        (wanted, *_) = session.get_inputs()
        self.input, fixed = wanted.name, wanted.shape[2]  # channels first
        self.fixed = isinstance(fixed, int)
        self.size = fixed if self.fixed else size

    def batch(self, images):
        return [self._found(image) for image in images]

    def _found(self, image):
        canvas, scale = squared(image, self.size)
        outputs = self.session.run(None, {self.input: self.format.prepared(canvas).transpose(2, 0, 1)[None]})
        boxes, scores, points = self.format.decoded(outputs, self.size)
        good = np.flatnonzero(scores > self.threshold)
        found = Detected.of(boxes[good], scores[good], points[good])
        found = found[suppressed(found.boxes, found.scores, self.overlap)].scaled(1 / scale)
        return large(found, self.min_face)


class YuNet(Detector):
    """OpenCV's YuNet (Wu et al., 2023).

    Args:
        path: `face_detection_yunet_*.onnx`.
        min_face: Pixels; smaller faces are left out.
        threshold: Least score. Defaults to `0.7`.
    """

    def __init__(self, path: str, min_face: int = 0, threshold: float = 0.7):
        self.net, self.min_face = cv2.FaceDetectorYN.create(path, "", (320, 320), threshold), min_face

    def batch(self, images):
        return [self._found(image) for image in images]

    def _found(self, image):
        self.net.setInputSize(image.shape[1::-1])
        rows = self.net.detect(np.ascontiguousarray(image[..., ::-1]))[1]
        rows = np.zeros((0, 15), np.float32) if rows is None else rows
        boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        return large(Detected.of(boxes, rows[:, 14], rows[:, 4:14]), self.min_face)


def squared(image: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """A photo in the upper left of a black square, float32 `(size, size, 3)`; by how much it was scaled."""
    scale = size / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale)[:size, :size]
    canvas = np.zeros((size, size, 3), np.float32)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas, scale


def large(found: Detected, min_face: int) -> Detected:
    """Faces whose box is `min_face` pixels or more on its shorter side."""
    return found[(found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1, initial=np.inf) >= min_face]


def suppressed(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Rows that stay when every box goes that overlaps a better one by more than `overlap` of their union."""
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return np.array(cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), 0.0, overlap), np.int64).reshape(-1)


def cells(size: int, stride: int) -> np.ndarray:
    """Column and row of each cell of a feature map, `(n, 2)`, row by row."""
    count = -(-size // stride)
    return np.stack(np.meshgrid(np.arange(count), np.arange(count)), -1).reshape(-1, 2)


def scrfd(outputs: list[np.ndarray], size: int) -> Decoded:
    """Scores, boxes, points of strides 8, 16, 32 (lists of three each).

    Distances from each cell's corner in strides; two anchors a cell. Guo et al., 2021, arXiv:2105.04714.

    Returns:
        Boxes `(n, 4)`, scores `(n,)` and points `(n, 5, 2)`, in pixels.
    """
    levels = []
    for level, stride in enumerate(STRIDES):
        score, box, point = (outputs[level + 3 * kind].reshape(-1, n) for kind, n in ((0, 1), (1, 4), (2, 10)))
        corners = cells(size, stride) * stride
        corners = np.repeat(corners, len(score) // len(corners), axis=0)
        boxes = np.hstack([corners - box[:, :2] * stride, corners + box[:, 2:] * stride])
        levels.append((boxes, score[:, 0], corners[:, None] + point.reshape(-1, 5, 2) * stride))
    return tuple(map(np.concatenate, zip(*levels, strict=True)))


def retinaface(outputs: list[np.ndarray], size: int) -> Decoded:
    """Boxes (1, n, 4), scores (1, n, 2), points (1, n, 10) relative to anchors.

    Anchors of 16 … 512 pixels on strides 8, 16, 32; variances 0.1 and 0.2. Deng et al., CVPR 2020, arXiv:1905.00641.

    Returns:
        Boxes `(n, 4)`, scores `(n,)` and points `(n, 5, 2)`, in pixels.
    """
    by_width = {output.shape[-1]: output[0] for output in outputs}
    middle, side = _anchors(size)
    box, point = by_width[4], by_width[10].reshape(-1, 5, 2)
    centre, half = middle + box[:, :2] * 0.1 * side, side * np.exp(box[:, 2:] * 0.2) / 2
    return np.hstack([centre - half, centre + half]), by_width[2][:, 1], middle[:, None] + point * 0.1 * side[:, None]


def _anchors(size):
    middles, sides = [], []
    for stride, lengths in zip(STRIDES, ((16, 32), (64, 128), (256, 512)), strict=True):
        grid = (cells(size, stride) + 0.5) * stride
        middles.append(np.repeat(grid, 2, axis=0))
        sides.append(np.tile(lengths, len(grid))[:, None])
    return np.concatenate(middles), np.concatenate(sides)


def yolov5(outputs: list[np.ndarray], size: int) -> Decoded:
    """One output (1, n, 16): middle, width and height, objectness, ten coordinates, face. Qi et al., 2021, arXiv:2105.12931."""
    rows = outputs[0][0]
    return _corners(rows[:, :4]), rows[:, 4] * rows[:, 15], rows[:, 5:15].reshape(-1, 5, 2)


def yolov8(outputs: list[np.ndarray], size: int) -> Decoded:
    """One output (1, 20, n), as Ultralytics exports: middle, width and height, score, five of x, y and visibility."""
    rows = outputs[0][0].T
    return _corners(rows[:, :4]), rows[:, 4], rows[:, 5:20].reshape(-1, 5, 3)[..., :2]


def yolov8_heads(outputs: list[np.ndarray], size: int) -> Decoded:
    """Three outputs (1, 80, h, w), not decoded: 4 sides as distributions over 16 bins, a score, five of x, y and visibility."""
    levels = []
    for output in sorted(outputs, key=lambda one: -one.shape[-1]):
        rows, stride = output[0].reshape(80, -1).T, size // output.shape[-1]
        corners = cells(size, stride)
        weight = np.exp(rows[:, :64].reshape(-1, 4, 16) - rows[:, :64].reshape(-1, 4, 16).max(axis=2, keepdims=True))
        sides = weight @ np.arange(16) / weight.sum(axis=2)
        boxes = np.hstack([corners + 0.5 - sides[:, :2], corners + 0.5 + sides[:, 2:]]) * stride
        points = (rows[:, 65:].reshape(-1, 5, 3)[..., :2] * 2 + corners[:, None]) * stride
        levels.append((boxes, 1 / (1 + np.exp(-rows[:, 64])), points))
    return tuple(map(np.concatenate, zip(*levels, strict=True)))


def _corners(rows):
    """Middle, width and height → x1 y1 x2 y2."""
    return np.hstack([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2])


def _last(shapes, *widths):
    return sorted(shape[-1] for shape in shapes) == sorted(widths)


FORMATS = (
    Format(lambda shapes: len(shapes) == 9, lambda image: (image - 127.5) / np.float32(128), scrfd),
    Format(
        lambda shapes: len(shapes) == 3 and _last(shapes, 2, 4, 10),
        lambda image: image[..., ::-1] - np.float32([104, 117, 123]),
        retinaface,
    ),
    Format(lambda shapes: len(shapes) == 1 and shapes[0][-1] == 16, lambda image: image / np.float32(255), yolov5),
    Format(lambda shapes: len(shapes) == 1 and shapes[0][1:2] == [20], lambda image: image / np.float32(255), yolov8),
    Format(
        lambda shapes: len(shapes) == 3 and all(len(one) == 4 and one[1] == 80 for one in shapes),
        lambda image: image / np.float32(255),
        yolov8_heads,
    ),
)
