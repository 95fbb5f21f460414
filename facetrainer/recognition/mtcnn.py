"""MTCNN of the package `mtcnn` (Zhang et al., 2016, arXiv:1604.02878)."""

import importlib
from collections.abc import Sequence

import keras
import numpy as np

from facetrainer.recognition.detect import Detected, Detector
from facetrainer.utils.optional import need

POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
AT_ONCE = 4_000_000  # pixels of the photos that go through the networks together


class Mtcnn(Detector):
    """With a pyramid that stops at 12 pixels: the package's own goes below where `min_face` is over 20, and then loses every face.

    Args:
        min_face: Pixels; smaller faces are not looked for.
    """

    def __init__(self, min_face: int = 40):
        package = need("mtcnn", "mtcnn", "the detector 'mtcnn'")
        self.net, self.min_face = package.MTCNN(stages=_stages(min_face)), min_face
        if keras.backend.backend() != "tensorflow":
            for stage in self.net.stages:
                stage._model = _to_tensorflow(stage._model)

    def batch(self, images):
        """Photos of one size go together, two to three times as fast as one after the other."""
        found = [Detected.of([], [], [])] * len(images)
        for rows in _alike([image.shape for image in images]):
            if min(images[rows[0]].shape[:2]) >= self.min_face:
                for row, faces in zip(rows, self._found([images[row] for row in rows]), strict=True):
                    found[row] = faces
        return found

    def _found(self, images):
        lists = self.net.detect_faces(images if len(images) > 1 else images[0], box_format="xyxy")
        for faces in lists if len(images) > 1 else [lists]:
            points = [[face["keypoints"][name] for name in POINTS] for face in faces]
            yield Detected.of([face["box"] for face in faces], [face["confidence"] for face in faces], points)


def _to_tensorflow(network):
    """The package goes on with TensorFlow's tensors, whatever Keras computes with."""
    tensor = importlib.import_module("tensorflow").convert_to_tensor
    return lambda images: [tensor(np.asarray(one)) for one in network(np.asarray(images))]


def _alike(shapes: Sequence[tuple]) -> list[list[int]]:
    """Rows of photos of one size, no more together than `AT_ONCE` pixels."""
    groups: dict[tuple, list[list[int]]] = {}
    for row, shape in enumerate(shapes):
        pieces = groups.setdefault(shape, [[]])
        if pieces[-1] and (len(pieces[-1]) + 1) * shape[0] * shape[1] > AT_ONCE:
            pieces.append([])
        pieces[-1].append(row)
    return [piece for pieces in groups.values() for piece in pieces]


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
