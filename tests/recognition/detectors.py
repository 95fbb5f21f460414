"""ONNX files of every family of detectors that find one face, whatever the photo."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FACE = np.array([100.0, 120, 180, 220])  # in a photo of 640 × 640
POINTS = np.array([[120, 150], [160, 150], [140, 180], [125, 200], [155, 200]], float)
CELL = np.array([8, 10])  # on stride 16


def scrfd():
    shapes = [(640 // s) ** 2 * 2 for s in (8, 16, 32)]
    outputs = [np.zeros((n, width), np.float32) for width in (1, 4, 10) for n in shapes]
    corner, row = CELL * 16, 2 * (CELL[1] * 40 + CELL[0])
    for k in (row, row + 1):  # two anchors say the same: one face
        outputs[1][k], outputs[4][k] = 0.9, np.concatenate([corner - FACE[:2], FACE[2:] - corner]) / 16
        outputs[7][k] = ((POINTS - corner) / 16).ravel()
    return outputs


def retinaface():
    n = sum((640 // s) ** 2 * 2 for s in (8, 16, 32))
    boxes, scores, points = (np.zeros((1, n, width), np.float32) for width in (4, 2, 10))
    row = 2 * 80 * 80 + 2 * (CELL[1] * 40 + CELL[0])  # 64 pixels on stride 16
    middle = (CELL + 0.5) * 16
    boxes[0, row, :2] = ((FACE[:2] + FACE[2:]) / 2 - middle) / 64 / 0.1
    boxes[0, row, 2:] = np.log((FACE[2:] - FACE[:2]) / 64) / 0.2
    points[0, row], scores[0, row, 1] = ((POINTS - middle) / 64 / 0.1).ravel(), 0.9
    return [boxes, scores, points]


def box_row():
    return np.concatenate([(FACE[:2] + FACE[2:]) / 2, FACE[2:] - FACE[:2]])


def yolov5():
    rows = np.zeros((1, 25200, 16), np.float32)
    rows[0, 7] = np.concatenate([box_row(), [0.95], POINTS.ravel(), [0.95]])
    rows[0, 8] = np.concatenate([box_row() + 300, [0.95], POINTS.ravel(), [0.1]])  # an object, but no face
    return [rows]


def yolov8():
    rows = np.zeros((1, 20, 8400), np.float32)
    rows[0, :, 7] = np.concatenate([box_row(), [0.9], np.hstack([POINTS, np.ones((5, 1))]).ravel()])
    return [rows]


def yolov8_heads():
    heads = [np.full((1, 80, 640 // s, 640 // s), -9, np.float32) for s in (8, 16, 32)]
    cell = heads[1][0, :, CELL[1], CELL[0]]
    sides = np.concatenate([(CELL + 0.5) * 16 - FACE[:2], FACE[2:] - (CELL + 0.5) * 16]) / 16
    for k, side in enumerate(sides):  # two neighbouring bins share the weight
        low = int(side)
        cell[16 * k : 16 * k + 16] = -60
        cell[16 * k + low], cell[16 * k + low + 1] = np.log(1 - side + low + 1e-9), np.log(side - low + 1e-9)
    cell[64] = 3
    cell[65:] = np.hstack([(POINTS / 16 - CELL) / 2, np.ones((5, 1))]).ravel()
    return heads


def yunet():
    outputs = {}
    for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        outputs |= {f"{name}_{s}": np.zeros((1, (640 // s) ** 2, width), np.float32) for s in (8, 16, 32)}
    row = CELL[1] * 40 + CELL[0]
    outputs["cls_16"][0, row] = outputs["obj_16"][0, row] = 0.9
    middle, sides = (FACE[:2] + FACE[2:]) / 2, FACE[2:] - FACE[:2]
    outputs["bbox_16"][0, row] = np.concatenate([middle / 16 - CELL, np.log(sides / 16)])
    outputs["kps_16"][0, row] = (POINTS / 16 - CELL).ravel()
    return outputs


FAMILIES = {one.__name__: one for one in (scrfd, retinaface, yolov5, yolov8, yolov8_heads, yunet)}


def write(path, outputs, size=640):
    """A network with these outputs; the photo's mean is added zero times, so that it is a network of the photo."""
    outputs = outputs if isinstance(outputs, dict) else {f"out{k}": array for k, array in enumerate(outputs)}
    nodes = [
        helper.make_node("GlobalAveragePool", ["photo"], ["mean"]),
        helper.make_node("ReduceSum", ["mean"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "zero"], ["nothing"]),
        *(helper.make_node("Add", [f"of_{name}", "nothing"], [name]) for name in outputs),
    ]
    tables = {"zero": np.float32(0), **{f"of_{name}": array for name, array in outputs.items()}}
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in outputs.items()],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in tables.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return str(path)
