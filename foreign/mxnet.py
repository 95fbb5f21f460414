"""An MXNet symbol and its parameters → Keras layers, node by node."""

import ast
import json

import keras
import numpy as np
from keras import layers


def build(symbol_file: str, params: dict[str, np.ndarray], input_shape=(112, 112, 3)) -> keras.Model:
    """`model-symbol.json` and parameters → functional model of images (x − 127.5) / 128, layer "embedding" last.

    The symbol works on 0 … 255: where it begins with InsightFace's normalisation, that is left out, else the input is scaled back.
    ValueError names an operation that is not known.
    """
    with open(symbol_file, encoding="utf-8") as file:
        nodes = json.load(file)["nodes"]
    inputs = layers.Input(input_shape)
    values, skipped = {}, _normalisation(nodes)
    for number, node in enumerate(nodes):
        if node["op"] == "null":
            values[number] = params.get(node["name"]) if node["name"] != "data" else _Tensor(_input(inputs, skipped))
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


class _Tensor:
    """A Keras tensor, and the (height, width, channels) that it was flattened from, if it was."""

    def __init__(self, x, flat=None):
        self.x, self.flat = x, flat


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


def _convolution(name, a, x, weight, bias=None):
    kernel, stride, pad = a["kernel"], a.get("stride", (1, 1)), a.get("pad", (0, 0))
    groups, filters, channels = a.get("num_group", 1), a["num_filter"], x.x.shape[-1]
    same = stride == (1, 1) and all(2 * p + 1 == k for p, k in zip(pad, kernel, strict=True))
    y = x.x if same or not any(pad) else layers.ZeroPadding2D(pad, name=f"{name}_pad")(x.x)
    options = {
        "strides": stride,
        "padding": "same" if same else "valid",
        "use_bias": bias is not None,
        "dilation_rate": a.get("dilate", (1, 1)),
    }
    if groups == channels == filters > 1:
        layer, table = layers.DepthwiseConv2D(kernel, name=name, **options), weight.transpose(2, 3, 0, 1)
    else:
        layer, table = layers.Conv2D(filters, kernel, groups=groups, name=name, **options), weight.transpose(2, 3, 1, 0)
    return _with(layer, y, table, *([] if bias is None else [bias]))


def _with(layer, x, *weights, flat=None):
    """Layer called and given its weights."""
    y = layer(x)
    layer.set_weights([np.asarray(w, np.float32) for w in weights])
    return _Tensor(y, flat)


def _batch_norm(name, a, x, gamma, beta, mean, variance):
    gamma = np.ones_like(beta) if a.get("fix_gamma", True) else gamma
    layer = layers.BatchNormalization(momentum=a.get("momentum", 0.9), epsilon=a.get("eps", 1e-3), name=name)
    return _with(layer, x.x, gamma, beta, mean, variance, flat=x.flat)


def _leaky(name, a, x, slopes=None):
    kind = a.get("act_type", "leaky")
    if kind == "leaky":
        return _Tensor(layers.LeakyReLU(a.get("slope", 0.25), name=name)(x.x), x.flat)
    if kind != "prelu":
        raise ValueError(f"node {name}: LeakyReLU of kind {kind!r}. Known are 'prelu' and 'leaky'.")
    return _with(layers.PReLU(shared_axes=[1, 2], name=name), x.x, np.broadcast_to(slopes, x.x.shape[-1:])[None, None])


def _flatten(name, a, x):
    return _Tensor(layers.Flatten(name=name)(x.x), tuple(x.x.shape[1:])) if len(x.x.shape) == 4 else x


def _dense(name, a, x, weight, bias=None):
    """MXNet flattens channels first, Keras last: the columns are put into Keras's order."""
    x = _flatten(f"{name}_flatten", a, x)
    if x.flat:
        height, width, channels = x.flat
        weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    layer = layers.Dense(a["num_hidden"], use_bias=bias is not None, name=name)
    return _with(layer, x.x, weight.T, *([] if bias is None else [bias]))


def _pooling(name, a, x):
    kind = a.get("pool_type", "max")
    if a.get("global_pool"):
        layer = (layers.GlobalAveragePooling2D if kind == "avg" else layers.GlobalMaxPooling2D)(
            keepdims=True, name=name
        )
        return _Tensor(layer(x.x))
    pad = a.get("pad", (0, 0))
    y = layers.ZeroPadding2D(pad, name=f"{name}_pad")(x.x) if any(pad) else x.x
    layer = (layers.AveragePooling2D if kind == "avg" else layers.MaxPooling2D)(
        a["kernel"], a.get("stride", (1, 1)), name=name
    )
    return _Tensor(layer(y))


def _scaled(scale, offset):
    return lambda name, a, x: _Tensor(
        layers.Rescaling(scale(float(a["scalar"])), offset(float(a["scalar"])), name=name)(x.x), x.flat
    )


def _join(layer):
    return lambda name, a, *tensors: _Tensor(layer(name=name)([t.x for t in tensors]), tensors[0].flat)


OPERATIONS = {
    "Convolution": _convolution,
    "BatchNorm": _batch_norm,
    "LeakyReLU": _leaky,
    "Activation": lambda name, a, x: _Tensor(layers.Activation(a["act_type"], name=name)(x.x), x.flat),
    "FullyConnected": _dense,
    "Flatten": _flatten,
    "Pooling": _pooling,
    "Dropout": lambda name, a, x: x,
    "identity": lambda name, a, x: x,
    "_copy": lambda name, a, x: x,
    "L2Normalization": lambda name, a, x: _Tensor(layers.UnitNormalization(name=name)(x.x), x.flat),
    **dict.fromkeys(("elemwise_add", "_plus", "_Plus", "broadcast_add"), _join(layers.Add)),
    **dict.fromkeys(("elemwise_mul", "_mul", "broadcast_mul"), _join(layers.Multiply)),
    "_minus_scalar": _scaled(lambda s: 1.0, lambda s: -s),
    "_plus_scalar": _scaled(lambda s: 1.0, lambda s: s),
    "_mul_scalar": _scaled(lambda s: s, lambda s: 0.0),
    "_div_scalar": _scaled(lambda s: 1 / s, lambda s: 0.0),
}
