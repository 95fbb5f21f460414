"""ONNX graphs, MXNet's symbols and parameters."""

import json
import struct

import numpy as np

from .files import hostile, put


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, value):
    """Of bytes or text, else of an integer."""
    value = value.encode() if isinstance(value, str) else value
    return (
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
    )


def onnx_tensor(name, array):
    shape = b"".join(field(1, n) for n in array.shape)
    return shape + field(2, 1) + field(8, name) + field(9, array.astype("<f4").tobytes())


def onnx_node(kind, inputs, outputs, attributes=b""):
    return (
        b"".join(field(1, one) for one in inputs)
        + b"".join(field(2, one) for one in outputs)
        + field(3, outputs[0])
        + field(4, kind)
        + attributes
    )


def onnx_file(path, nodes, tensors=(), inputs=("x",), outputs=("y",)):
    graph = b"".join(field(1, one) for one in nodes) + b"".join(field(5, one) for one in tensors)
    graph += b"".join(field(11, field(1, one)) for one in inputs) + b"".join(
        field(12, field(1, one)) for one in outputs
    )
    put(path, field(1, 8) + field(7, graph))


KERNEL = onnx_tensor("w", np.ones((4, 3, 3, 3), np.float32))


@hostile("cycle.onnx", "truth")
def cycle_onnx(path):
    onnx_file(
        path,
        [onnx_node("Conv", ["x", "w"], ["a"]), onnx_node("Add", ["a", "y"], ["b"]), onnx_node("Relu", ["b"], ["y"])],
        [KERNEL],
    )


@hostile("incomplete.onnx", "truth")
def incomplete_onnx(path):
    """Of a batch normalisation without its statistics."""
    gamma = onnx_tensor("g", np.ones(4, np.float32))
    onnx_file(
        path,
        [onnx_node("Conv", ["x", "w"], ["a"]), onnx_node("BatchNormalization", ["a", "g", "m", "v", "s"], ["y"])],
        [KERNEL, gamma],
    )


@hostile("no_output.onnx", "error")
def no_output_onnx(path):
    onnx_file(path, [onnx_node("Conv", ["x", "w"], ["a"])], [KERNEL])


@hostile("junk.onnx", "error")
def junk_onnx(path):
    put(path, b"\x08\x07" + bytes(range(200)))


@hostile("empty.onnx", "error")
def empty_onnx(path):
    put(path, b"")


SYMBOL = {"nodes": [
    {"op": "null", "name": "data", "inputs": []}, {"op": "null", "name": "w", "inputs": []},
    {"op": "Convolution", "name": "conv", "attrs": {"kernel": "(3, 3)", "num_filter": "4", "no_bias": "True"},
     "inputs": [[0, 0, 0], [1, 0, 0]]},
    {"op": "Flatten", "name": "flat", "inputs": [[2, 0, 0]]},
]}  # fmt: skip


def symbol(path, **attrs):
    nodes = json.loads(json.dumps(SYMBOL))
    nodes["nodes"][2]["attrs"] |= attrs
    put(path, json.dumps(nodes).encode())


@hostile("filters.json", "memory")
def filters_json(path):
    symbol(path, num_filter="200000000")


@hostile("kernel.json", "memory")
def kernel_json(path):
    symbol(path, kernel="(50000, 50000)", pad="(50000, 50000)")


@hostile("overflow.params", "error")
def overflow_params(path):
    shape = struct.pack("<qq", 1 << 40, 1 << 40)
    array = struct.pack("<IiI", 0xF993FAC9, 0, 2) + shape + struct.pack("<iii", 1, 0, 0)
    put(path, struct.pack("<QQQ", 0x112, 0, 1) + array)


@hostile("count.params", "memory")
def count_params(path):
    put(path, struct.pack("<QQQ", 0x112, 0, 1 << 60) + bytes(64))
