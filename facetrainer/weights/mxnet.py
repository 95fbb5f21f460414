"""An MXNet symbol and its parameters → Keras layers, node by node."""

import ast
import json

import keras
import numpy as np
from keras import layers

from facetrainer.weights import assemble


def build(symbol_file: str, params: dict[str, np.ndarray], input_shape=(112, 112, 3)) -> keras.Model:
    """`model-symbol.json` and parameters → functional model of images (x − 127.5) / 128, layer "embedding" last.

    The symbol works on 0 … 255: where it begins with InsightFace's normalisation, that is left out, else the input is scaled back.

    Returns:
        Functional model.

    Raises:
        ValueError: An operation is not known.
    """
    with open(symbol_file, encoding="utf-8") as file:
        nodes = json.load(file)["nodes"]
    inputs = layers.Input(input_shape)
    values, skipped = {}, _normalisation(nodes)
    for number, node in enumerate(nodes):
        if node["op"] == "null":
            values[number] = (
                params.get(node["name"]) if node["name"] != "data" else assemble.Tensor(_input(inputs, skipped))
            )
        elif number in skipped:
            values[number] = values[node["inputs"][0][0]]
        elif node["op"] in OPERATIONS:
            given = [values[place[0]] for place in node["inputs"]]
            values[number] = OPERATIONS[node["op"]](node["name"], _attributes(node), *given)
        else:
            raise ValueError(
                f"{symbol_file}: node {node['name']} is a {node['op']}. Known are {', '.join(OPERATIONS)}."
            )
    outputs = layers.Activation("linear", dtype="float32", name="embedding")(values[number].x)
    return keras.Model(inputs, outputs, name="mxnet")


def _attributes(node):
    return {key: _literal(value) for key, value in (node.get("attrs") or node.get("param") or {}).items()}


def _literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _normalisation(nodes):
    """Numbers of the nodes that do (x − 127.5) · 0.0078125, if the symbol begins with them."""
    scalars = [
        (k, n["op"], float(_attributes(n)["scalar"]))
        for k, n in enumerate(nodes)
        if n["op"] in ("_minus_scalar", "_mul_scalar")
    ]
    return (
        {k for k, *_ in scalars[:2]}
        if [s[1:] for s in scalars[:2]] == [("_minus_scalar", 127.5), ("_mul_scalar", 0.0078125)]
        else set()
    )


def _input(inputs, skipped):
    return inputs if skipped else layers.Rescaling(128.0, 127.5, name="to_255")(inputs)


def _scaled(scale, offset):
    return lambda name, a, x: assemble.Tensor(
        layers.Rescaling(scale(float(a["scalar"])), offset(float(a["scalar"])), name=name)(x.x), x.flat
    )


def _join(layer):
    return lambda name, a, *tensors: assemble.Tensor(layer(name=name)([t.x for t in tensors]), tensors[0].flat)


OPERATIONS = {
    "Convolution": assemble.convolution,
    "BatchNorm": assemble.batch_norm,
    "LeakyReLU": assemble.leaky,
    "Activation": lambda name, a, x: assemble.Tensor(layers.Activation(a["act_type"], name=name)(x.x), x.flat),
    "FullyConnected": assemble.dense,
    "Flatten": assemble.flatten,
    "Pooling": assemble.pooling,
    "Dropout": lambda name, a, x: x,
    "identity": lambda name, a, x: x,
    "_copy": lambda name, a, x: x,
    "L2Normalization": lambda name, a, x: assemble.Tensor(layers.UnitNormalization(name=name)(x.x), x.flat),
    **dict.fromkeys(("elemwise_add", "_plus", "_Plus", "broadcast_add"), _join(layers.Add)),
    **dict.fromkeys(("elemwise_mul", "_mul", "broadcast_mul"), _join(layers.Multiply)),
    "_minus_scalar": _scaled(lambda s: 1.0, lambda s: -s),
    "_plus_scalar": _scaled(lambda s: 1.0, lambda s: s),
    "_mul_scalar": _scaled(lambda s: s, lambda s: 0.0),
    "_div_scalar": _scaled(lambda s: 1 / s, lambda s: 0.0),
}
