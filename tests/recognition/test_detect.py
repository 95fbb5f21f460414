import numpy as np
import pytest
from recognition import detectors
from recognition.detectors import FACE, POINTS

from facetrainer.legacy import face_detector
from facetrainer.recognition import detect, mtcnn


def test_which_face():
    boxes = np.array([[0, 0, 50, 50], [90, 90, 110, 110], [100, 0, 130, 30]], float)
    found = detect.Detected(boxes, np.ones(3), np.zeros((3, 5, 2)))
    assert found.largest().boxes.tolist() == [boxes[0].tolist()]
    assert found.central((200, 200)).boxes.tolist() == [boxes[1].tolist()]
    assert found.scaled(2).boxes[0].tolist() == [0, 0, 100, 100]


@pytest.mark.parametrize("min_face", [20, 40, 100])
@pytest.mark.parametrize("side", [100, 250, 1000])
def test_pyramid_stops_at_12_pixels(side, min_face):
    scales = mtcnn.pyramid(side, min_face)
    assert scales[0] == 12 / min_face and side * scales[-1] >= 12 - 1e-6 and side * scales[-1] * 0.709 < 12


@pytest.mark.parametrize("family", detectors.FAMILIES)
def test_every_family_of_onnx_files(workdir, family):
    path = detectors.write("d.onnx", detectors.FAMILIES[family]())
    found = detect.detector(path, max_side=5000)(np.zeros((640, 640, 3), np.uint8))
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], FACE, rtol=1e-4)
    np.testing.assert_allclose(found.landmarks[0], POINTS, rtol=1e-4)
    assert len(detect.detector(path, min_face=81)(np.zeros((640, 640, 3), np.uint8))) == 0


def test_faces_come_in_the_photos_own_pixels(workdir):
    path = detectors.write("d.onnx", detectors.scrfd())
    for max_side in (5000, 320):
        found = detect.detector(path, 0, max_side)(np.zeros((1280, 640, 3), np.uint8))
        np.testing.assert_allclose(found.boxes[0], FACE * 2, rtol=1e-4)
        np.testing.assert_allclose(found.landmarks[0], POINTS * 2, rtol=1e-4)


def test_photos_of_one_size_go_together():
    shapes = [(3000, 1000, 3), (10, 10, 3), (3000, 1000, 3), (10, 10, 3)]
    assert mtcnn._alike(shapes) == [[0], [2], [1, 3]]  # no more than four million pixels at once


def test_errors_of_detectors(workdir):
    with pytest.raises(ValueError, match="expected 'mtcnn', or an .onnx file"):
        detect.detector("yolo")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        detect.detector("d.onnx")
    with pytest.raises(ValueError, match="Received: 1 outputs of shapes .*5, 8400"):
        detect.detector(detectors.write("boxes.onnx", [np.zeros((1, 5, 8400))]))
    open("d.onnx", "w").write("no network")
    with pytest.raises(ValueError, match="d.onnx cannot be opened"):
        detect.detector("d.onnx")
    open("l.csv", "w").write("file,x\na.jpg,1,2\n")
    with pytest.raises(ValueError, match="line 2: expected a file and ten numbers"):
        detect.read_landmarks("l.csv")


def test_doors_of_keras_insightface(workdir):
    detectors.write("yolov5s-face.onnx", detectors.yolov5())
    *found, crops = face_detector.YoloV5FaceDetector().detect_in_image(np.zeros((640, 640, 3), np.uint8))
    np.testing.assert_allclose(found[0][0], FACE, rtol=1e-4)
    assert crops.shape == (1, 112, 112, 3)
    with pytest.raises(ValueError, match="anchors and strides are part of the ONNX file"):
        face_detector.YoloV5FaceDetector(strides=[8, 16, 32])


@pytest.mark.real
def test_several_photos_give_what_each_gives(real):
    from facetrainer.data.images import decode

    folder = f"{real}/photos"
    names = list(detect.read_landmarks(f"{folder}/landmarks.csv"))[:6]
    photos = [decode(open(f"{folder}/{name}", "rb").read()) for name in names]
    photos[3] = photos[3][:200]
    find = detect.detector("mtcnn")
    for one, together in zip(map(find, photos), find.batch(photos), strict=True):
        np.testing.assert_allclose(together.boxes, one.boxes, atol=0.5)
        np.testing.assert_allclose(together.landmarks, one.landmarks, atol=0.5)
