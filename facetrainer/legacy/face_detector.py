"""`import face_detector`: faces found, aligned and drawn."""

import os

import cv2
import numpy as np

from facetrainer.data.alignment import LAYOUTS
from facetrainer.preparing.align import align
from facetrainer.recognition.onnx_detectors import open_file


class FaceDetector:
    """Faces by an ONNX file of any detector that `recognition.detect.detector` knows.

    Args:
        model_path: The file; there is no download.

    Raises:
        FileNotFoundError: There is no such file.
    """

    def __init__(self, model_path):
        if not os.path.exists(model_path):
            raise FileNotFoundError(f"detector file {model_path!r} does not exist: give model_path= an ONNX file.")
        self.model_path, self.net = model_path, open_file(model_path)

    def __call__(self, image, max_output_size=15, iou_threshold=0.45, score_threshold=0.25, image_format="RGB"):
        """Finds faces.

        Args:
            image: uint8 (H, W, 3).
            max_output_size: Faces at most, the best ones. Defaults to `15`.
            iou_threshold: Overlap above which the worse of two boxes goes. Defaults to `0.45`.
            score_threshold: Least score. Defaults to `0.25`.
            image_format: "RGB" or "BGR". Defaults to `"RGB"`.

        Returns:
            Boxes x1 y1 x2 y2 (n, 4), landmarks (n, 5, 2), scores (n,), in pixels.
        """
        self.net.overlap, self.net.threshold = iou_threshold, score_threshold
        found = self.net(_rgb(image, image_format))
        found = found[np.argsort(-found.scores, kind="stable")[:max_output_size]]
        return found.boxes, found.landmarks, found.scores

    def detect_in_image(self, image, max_output_size=15, iou_threshold=0.45, score_threshold=0.25, image_format="RGB"):
        """The same of an image or its path, and the aligned faces, RGB uint8 (n, 112, 112, 3), behind."""
        if isinstance(image, str):
            image, image_format = cv2.imread(image), "BGR"
        boxes, points, scores = self(image, max_output_size, iou_threshold, score_threshold, image_format)
        rgb = _rgb(image, image_format)
        crops = [LAYOUTS["arcface"].crop(rgb, one) for one in points]
        return boxes, points, scores, np.array(crops, np.uint8).reshape(-1, 112, 112, 3)

    def detect_in_folder(self, data_path):
        """Aligns the largest face of every photo below a folder → the new folder, `{data_path}_aligned_112_112`."""
        dest = os.path.abspath(data_path) + "_aligned_112_112"
        align(data_path, dest, LAYOUTS["arcface"], self.model_path)
        return dest

    def show_result(self, image, bbs, pps=(), ccs=()):
        """The image with boxes, points and scores drawn → RGB uint8, a copy."""
        image = np.array(image)
        for box in np.asarray(bbs, int):
            cv2.rectangle(image, tuple(map(int, box[:2])), tuple(map(int, box[2:])), (0, 200, 0), 2)
        for x, y in np.asarray(pps, int).reshape(-1, 2):
            cv2.circle(image, (int(x), int(y)), 2, (255, 60, 0), -1)
        for box, score in zip(np.asarray(bbs, int), ccs, strict=False):
            cv2.putText(image, f"{score:.2f}", (int(box[0]), int(box[1]) - 4), 0, 0.5, (0, 200, 0), 1)
        return image


class SCRFD(FaceDetector):
    """Faces by SCRFD or RetinaFace.

    Args:
        det_shape: Pixels of the square that photos are brought to, where the file leaves it open. Defaults to `640`.
        model_path: ONNX file. Defaults to `"scrfd_10g_bnkps.onnx"`.
    """

    def __init__(self, det_shape=640, model_path="scrfd_10g_bnkps.onnx"):
        super().__init__(model_path)
        self.net.size = self.net.size if self.net.fixed else det_shape


class YoloV5FaceDetector(FaceDetector):
    """Faces by YOLOv5-face.

    Args:
        model_path: ONNX file, whose outputs are decoded already: Keras_insightface's `.h5` is not read. Defaults to `"yolov5s-face.onnx"`.
        anchors: In the file; given here they are refused.
        strides: Likewise.

    Raises:
        ValueError: Anchors or strides are given.
    """

    def __init__(self, model_path="yolov5s-face.onnx", anchors=None, strides=None):
        if anchors is not None or strides is not None:
            raise ValueError("anchors and strides are part of the ONNX file: leave them out.")
        super().__init__(model_path)


def _rgb(image, image_format):
    return image if image_format == "RGB" else np.ascontiguousarray(image[..., ::-1])
