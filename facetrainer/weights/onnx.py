"""An ONNX graph of a convolutional network → Keras layers, node by node."""

import re
from typing import Any

import keras
import numpy as np
from keras import layers

from facetrainer.io.onnxfile import Graph
from facetrainer.weights import assemble
from facetrainer.weights.assemble import Tensor

ABOUT_SHAPES = ("Shape", "Gather", "Unsqueeze", "Concat", "Constant", "Slice")  # how exporters write a flatten


def build(graph: Graph, input_shape=(112, 112, 3), path: str = "") -> keras.Model:
    """Graph of one image input, channels first → functional model of the same images, layer "embedding" last.

    Its images are (x − 127.5) / 128 also where the graph takes pixels and normalises them itself.

    Returns:
        Functional model.

    Raises:
        ValueError: An operation is not known.
    """
    if len(graph.inputs) != 1:
        raise ValueError(f"{path}: expected one input, the image. Received: {graph.inputs}")
    inputs = layers.Input(input_shape)
    pixels = layers.Rescaling(128.0, 127.5, name="pixels")(inputs) if takes_pixels(graph) else inputs
    values: dict[str, Any] = {**graph.weights, graph.inputs[0]: Tensor(pixels)}
    for number, node in enumerate(graph.nodes):
        _check_node(node, values, path)
        given = [values.get(name) for name in node.inputs]
        if node.operation in ("Identity", "Cast"):  # of weights too: exporters keep equal ones once
            values[node.outputs[0]] = given[0]
        elif node.operation in OPERATIONS and any(isinstance(one, Tensor) for one in given):
            name = f"{re.sub('[^A-Za-z0-9]+', '_', node.name).strip('_') or node.operation}_{number}"
            values[node.outputs[0]] = OPERATIONS[node.operation](name, node.attributes, *given)
        elif node.operation in ABOUT_SHAPES:
            values[node.outputs[0]] = node.attributes.get("value")
        else:
            raise ValueError(f"{path}: node {node.name} is a {node.operation}. Known are {', '.join(OPERATIONS)}.")
    if len(graph.outputs) != 1 or not isinstance(values.get(graph.outputs[0]), Tensor):
        raise ValueError(f"{path}: expected one output that a node gives, the embedding. Received: {graph.outputs}")
    outputs = layers.Activation("linear", dtype="float32", name="embedding")(values[graph.outputs[0]].x)
    return keras.Model(inputs, outputs, name="onnx")


def _check_node(node, values, path):
    """Nodes stand in an order in which each finds its inputs: where one is missing, the graph has a circle or is not whole."""
    absent = [name for name in node.inputs if name and name not in values]
    if absent:
        raise ValueError(
            f"{path}: node {node.name or node.operation} takes {absent[0]!r}, which no node before it gives: the graph is not whole, or "
            "goes in a circle."
        )
    if not node.outputs:
        raise ValueError(f"{path}: node {node.name or node.operation} gives nothing")


def takes_pixels(graph: Graph) -> bool:
    """Whether the graph begins with arithmetic on its input, as InsightFace's from MXNet do: then it normalises by itself."""
    first = {node.operation for node in graph.nodes if graph.inputs[0] in node.inputs}
    return bool(first) and first <= {"Sub", "Mul", "Div", "Add"}


def _conv(name, a, x, weight, bias=None):
    pads = a.get("pads", [0] * 4)
    if pads[:2] != pads[2:] or a.get("auto_pad", "NOTSET") != "NOTSET":
        raise ValueError(f"node {name}: padding {pads} differs from side to side, which is not known here.")
    wanted = {
        "kernel": tuple(weight.shape[2:]),
        "num_filter": len(weight),
        "num_group": a.get("group", 1),
        "pad": tuple(pads[:2]),
    }
    wanted |= {"stride": tuple(a.get("strides", (1, 1))), "dilate": tuple(a.get("dilations", (1, 1)))}
    return assemble.convolution(name, wanted, x, weight, bias)


def _reshape(name, a, x, shape=None):
    """A flatten; its shape may have been computed, as exporters do it."""
    if shape is not None and len(shape) != 2:
        raise ValueError(f"node {name}: a Reshape to {list(shape)} is not known here, only a flatten is.")
    return assemble.flatten(name, a, x)


def _gemm(name, a, x, weight, bias=None):
    weight = weight if a.get("transB", 0) else weight.T
    return assemble.dense(name, {"num_hidden": len(weight)}, x, weight * a.get("alpha", 1.0), bias)


def _arithmetic(layer, scale):
    """Of two tensors, or of a tensor and a number or one number a channel."""

    def join(name, a, first, second):
        if isinstance(first, Tensor) and isinstance(second, Tensor):
            return Tensor(layer(name=name)([first.x, second.x]), first.flat)
        x, constant = (first, second) if isinstance(first, Tensor) else (second, first)
        constant = np.asarray(constant, np.float32)
        if constant.size != 1 or not isinstance(first, Tensor) and scale in ("divide", "minus"):
            raise ValueError(f"node {name}: arithmetic with {constant.shape} is not known here.")
        value = float(constant.reshape(()))
        factor, offset = {
            "add": (1.0, value),
            "minus": (1.0, -value),
            "times": (value, 0.0),
            "divide": (1 / value, 0.0),
        }[scale]
        return Tensor(layers.Rescaling(factor, offset, name=name)(x.x), x.flat)

    return join


def _activation(kind):
    return lambda name, a, x: Tensor(layers.Activation(kind, name=name)(x.x), x.flat)


OPERATIONS = {
    "Conv": _conv,
    "BatchNormalization": lambda name, a, x, *four: assemble.batch_norm(
        name, {"fix_gamma": False, "eps": a.get("epsilon", 1e-5), "momentum": a.get("momentum", 0.9)}, x, *four
    ),
    "PRelu": lambda name, a, x, slope: assemble.leaky(name, {"act_type": "prelu"}, x, slope.reshape(-1)),
    "Relu": _activation("relu"),
    "Sigmoid": _activation("sigmoid"),
    "Add": _arithmetic(layers.Add, "add"),
    "Sub": _arithmetic(layers.Subtract, "minus"),
    "Mul": _arithmetic(layers.Multiply, "times"),
    "Div": _arithmetic(None, "divide"),
    "Gemm": _gemm,
    "MatMul": _gemm,
    "Flatten": assemble.flatten,
    "Reshape": _reshape,
    "GlobalAveragePool": lambda name, a, x: assemble.pooling(name, {"global_pool": True, "pool_type": "avg"}, x),
    "Dropout": lambda name, a, x, *_: x,
    **{about: lambda name, a, *_: None for about in ABOUT_SHAPES},
}
