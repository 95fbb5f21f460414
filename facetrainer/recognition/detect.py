"""Photo → faces: boxes, scores, five landmarks. A detector is any function RGB uint8 (H, W, 3) → `Detected`."""

import csv
import dataclasses
import os
from collections.abc import Callable

import cv2
import numpy as np

from facetrainer.utils.optional import need


@dataclasses.dataclass(frozen=True)
class Detected:
    """n faces: `boxes` (n, 4) x1 y1 x2 y2, `scores` (n,), `landmarks` (n, 5, 2): eyes, nose, corners of the mouth; pixels."""

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def __len__(self):
        return len(self.scores)

    def __getitem__(self, rows) -> "Detected":
        return Detected(self.boxes[rows], self.scores[rows], self.landmarks[rows])

    def scaled(self, factor: float) -> "Detected":
        return Detected(self.boxes * factor, self.scores, self.landmarks * factor)

    def largest(self) -> "Detected":
        """The face of the largest box."""
        return self[np.argsort(-np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1), kind="stable")[:1]]

    def central(self, shape: tuple[int, int]) -> "Detected":
        """The face nearest to the middle of an image of `shape` (height, width)."""
        away = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2 - np.array(shape[1::-1]) / 2
        return self[np.argsort(np.linalg.norm(away, axis=1), kind="stable")[:1]]


Detector = Callable[[np.ndarray], Detected]


def detector(name: str, min_face: int = 40, max_side: int = 1024) -> Detector:
    """Name "mtcnn" (from PyPI), or an ONNX file of SCRFD or RetinaFace → Detector.

    Photos whose longer side is over `max_side` pixels are shrunk before; faces under `min_face` pixels, after that, are not looked for.
    """
    if name == "mtcnn":
        found = Mtcnn(min_face)
    elif name.endswith(".onnx"):
        found = OnnxDetector(name)
    else:
        raise ValueError(
            f"detector {name!r}: expected 'mtcnn', an .onnx file of SCRFD or RetinaFace, or a .csv of landmarks."
        )
    return lambda image: _within(found, image, max_side)


def _within(found, image, max_side):
    scale = max_side / max(image.shape[:2])
    if scale >= 1:
        return found(image)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return found(small).scaled(1 / scale)


class Mtcnn:
    """MTCNN of the package `mtcnn` (Zhang et al., 2016, arXiv:1604.02878), with a pyramid that stops at 12 pixels.

    The package's own goes below that when `min_face` is larger than 20, and then loses every face.
    """

    def __init__(self, min_face: int = 40):
        package = need("mtcnn", "mtcnn", "the detector 'mtcnn'")
        self.net, self.min_face = package.MTCNN(stages=_stages(min_face)), min_face

    def __call__(self, image):
        if min(image.shape[:2]) * 12 / self.min_face < 12:
            return _detected([], [], [])
        faces = self.net.detect_faces(image, box_format="xyxy")
        points = [
            [face["keypoints"][name] for name in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")]
            for face in faces
        ]
        return _detected([face["box"] for face in faces], [face["confidence"] for face in faces], points)


def _stages(min_face):
    stages, images, boxes = (
        need(f"mtcnn.{name}", "mtcnn", "the detector 'mtcnn'") for name in ("stages", "utils.images", "utils.bboxes")
    )

    class Proposals(stages.StagePNet):
        def __call__(
            self, images_normalized, images_oshapes, threshold_pnet=0.6, nms_pnet1=0.5, nms_pnet2=0.7, **kwargs
        ):
            scales = pyramid(min(images_normalized.shape[1:3]), min_face)
            found = []
            for scale in scales:
                offsets, scores = self._model(images.scale_images(images_normalized, scale))
                level = boxes.generate_bounding_box(offsets, scores, threshold_pnet)
                level = boxes.upscale_bboxes(level, np.full(len(images_normalized), scale))
                found.append(
                    boxes.smart_nms_from_bboxes(level, threshold=nms_pnet1, method="union", initial_sort=False)
                )
            found = boxes.smart_nms_from_bboxes(
                np.concatenate(found), threshold=nms_pnet2, method="union", initial_sort=True
            )
            return boxes.resize_to_square(found)

    return [Proposals, stages.StageRNet, stages.StageONet]


def pyramid(side: int, min_face: int, factor: float = 0.709) -> np.ndarray:
    """Scales at which a face of `min_face` pixels and more is 12 pixels, none of which shrinks `side` below 12."""
    first = 12 / min_face
    levels = int(np.floor(np.log(12 / (side * first)) / np.log(factor) + 1e-9)) + 1
    return first * factor ** np.arange(max(levels, 0))


def _detected(boxes, scores, points):
    return Detected(
        np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(scores, np.float32).reshape(-1),
        np.asarray(points, np.float32).reshape(-1, 5, 2),
    )  # fmt: skip


class OnnxDetector:
    """SCRFD (nine outputs, InsightFace) or RetinaFace (three, Pytorch_Retinaface) by ONNX Runtime."""

    def __init__(self, path: str, size: int = 640, threshold: float = 0.5, overlap: float = 0.4):
        if not os.path.exists(path):
            raise FileNotFoundError(f"detector file {path!r} does not exist.")
        runtime = need("onnxruntime", "onnxruntime", path)
        self.session = runtime.InferenceSession(path, providers=runtime.get_available_providers())
        outputs = len(self.session.get_outputs())
        if outputs not in (3, 9):
            raise ValueError(
                f"{path}: expected SCRFD with nine outputs or RetinaFace with three. Received: {outputs} outputs"
            )
        self.decode, self.scrfd = (scrfd, True) if outputs == 9 else (retinaface, False)
        wanted = self.session.get_inputs()[0]
        self.input, fixed = wanted.name, wanted.shape[2]
        self.size, self.threshold, self.overlap = fixed if isinstance(fixed, int) else size, threshold, overlap

    def __call__(self, image):
        scale = self.size / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale)[: self.size, : self.size]
        canvas = np.zeros((self.size, self.size, 3), np.float32)
        canvas[: small.shape[0], : small.shape[1]] = small
        inputs = (canvas - 127.5) / 128 if self.scrfd else canvas[..., ::-1] - (104, 117, 123)
        outputs = self.session.run(None, {self.input: inputs.transpose(2, 0, 1)[None].astype(np.float32)})
        boxes, scores, points = self.decode(outputs, self.size)
        good = np.flatnonzero(scores > self.threshold)
        found = _detected(boxes[good], scores[good], points[good])
        return found[suppressed(found.boxes, found.scores, self.overlap)].scaled(1 / scale)


def suppressed(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Rows that stay when every box goes that overlaps a better one by more than `overlap` of their union."""
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return np.array(cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), 0.0, overlap), np.int64).reshape(-1)


def scrfd(outputs: list[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, boxes, points of strides 8, 16, 32 (lists of three each) → boxes (n, 4), scores (n,), points (n, 5, 2).

    Distances from each cell's corner in strides; two anchors a cell. Guo et al., 2021, arXiv:2105.04714.
    """
    boxes, scores, points = [], [], []
    for level, stride in enumerate((8, 16, 32)):
        score, box, point = (outputs[level + 3 * kind].reshape(-1, n) for kind, n in ((0, 1), (1, 4), (2, 10)))
        cells = size // stride
        corners = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1).reshape(-1, 2) * stride
        corners = np.repeat(corners, len(score) // cells**2, axis=0)
        boxes.append(np.hstack([corners - box[:, :2] * stride, corners + box[:, 2:] * stride]))
        points.append(corners[:, None] + point.reshape(-1, 5, 2) * stride)
        scores.append(score[:, 0])
    return np.concatenate(boxes), np.concatenate(scores), np.concatenate(points)


def retinaface(outputs: list[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (1, n, 4), scores (1, n, 2), points (1, n, 10) relative to anchors → boxes, scores, points as `scrfd` gives them.

    Anchors of 16 … 512 pixels on strides 8, 16, 32; variances 0.1 and 0.2. Deng et al., CVPR 2020, arXiv:1905.00641.
    """
    by_width = {output.shape[-1]: output[0] for output in outputs}
    middle, side = _anchors(size)
    box, point = by_width[4], by_width[10].reshape(-1, 5, 2)
    centre, half = middle + box[:, :2] * 0.1 * side, side * np.exp(box[:, 2:] * 0.2) / 2
    return np.hstack([centre - half, centre + half]), by_width[2][:, 1], middle[:, None] + point * 0.1 * side[:, None]


def _anchors(size):
    middles, sides = [], []
    for stride, lengths in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        cells = -(-size // stride)
        grid = (np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1).reshape(-1, 2) + 0.5) * stride
        middles.append(np.repeat(grid, 2, axis=0))
        sides.append(np.tile(lengths, len(grid))[:, None])
    return np.concatenate(middles), np.concatenate(sides)


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
