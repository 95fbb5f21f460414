"""ONNX files → nodes and weights, without the onnx package.

ModelProto: graph (7) → nodes (1), weights (5), inputs (11), outputs (12). NodeProto: inputs (1), outputs (2), name (3),
operation (4), attributes (5). AttributeProto: name (1), float (2), integer (3), text (4), tensor (5), integers (8).
TensorProto: dimensions (1), type (2), floats (4), integers (7), name (8), bytes (9).
"""

import dataclasses
import struct

import numpy as np

from facetrainer.io.protobuf import array_of_integers, fields, integers, parts
from facetrainer.utils.files import read_bytes

TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}


@dataclasses.dataclass(frozen=True)
class Node:
    """An operation of a graph: names of its inputs and outputs, and its attributes."""

    operation: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict


@dataclasses.dataclass(frozen=True)
class Graph:
    """What an ONNX file holds: operations in order, weights by name, inputs and outputs."""

    nodes: list[Node]
    weights: dict[str, np.ndarray]
    inputs: list[str]
    outputs: list[str]

    def products(self) -> list[str]:
        """Names of the weights of matrix products, in order."""
        given = [name for node in self.nodes if node.operation == "MatMul" for name in node.inputs]
        return [name for name in given if name in self.weights]


def read_graph(path: str) -> Graph:
    """Reads the graph of an ONNX file.

    Args:
        path: The file; its weights are inside.

    Returns:
        Nodes, weights by name, names of inputs and outputs.

    Raises:
        ValueError: It is none, or its weights lie in other files.
    """
    data = memoryview(read_bytes(path))
    try:
        (graph,) = parts(data, 7)
        weights = dict(_tensor(tensor) for tensor in parts(graph, 5))
        named = [[_text(parts(value, 1)) for value in parts(graph, number)] for number in (11, 12)]
        return Graph(
            [_node(node) for node in parts(graph, 1)], weights, [n for n in named[0] if n not in weights], named[1]
        )
    except (IndexError, ValueError, KeyError, struct.error, TypeError) as error:
        raise ValueError(f"{path} is not an ONNX file that can be read: {error}") from error


def _text(values):
    return bytes(values[0]).decode() if values else ""


def _node(data):
    names = [[bytes(value).decode() for value in parts(data, number)] for number in (1, 2)]
    return Node(_text(parts(data, 4)), _text(parts(data, 3)), *names, dict(_attribute(one) for one in parts(data, 5)))


def _attribute(data):
    name = _text(parts(data, 1))
    for number, value in fields(data):
        if number == 2:
            return name, struct.unpack("<f", value)[0]
        if number == 3:
            return name, value
        if number == 4:
            return name, bytes(value).decode()
        if number == 5:
            return name, _tensor(value)[1]
    return name, integers(data, 8)


def _tensor(data):
    """→ name, array."""
    shape, (number, *_), raw, floats = integers(data, 1), integers(data, 2), parts(data, 9), parts(data, 4)
    if number not in TYPES:
        raise ValueError(f"a tensor of type {number}")
    if raw:
        array = np.frombuffer(raw[-1], TYPES[number])
    elif floats:
        array = np.frombuffer(b"".join(bytes(part) for part in floats), "<f4")
    else:
        array = array_of_integers(data, 7, TYPES[number])
    return _text(parts(data, 8)), array.reshape(shape)
