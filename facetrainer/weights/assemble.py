"""Keras layers made of channels-first weights; attributes are named as in MXNet."""

import numpy as np
from keras import layers

from facetrainer.utils import keras_compat


class Tensor:
    """A Keras tensor, and the (height, width, channels) that it was flattened from, if it was."""

    def __init__(self, x, flat=None):
        self.x, self.flat = x, flat


def convolution(name, a, x, weight, bias=None):
    """Of any stride, padding, dilation and groups; depthwise where every channel is a group of its own."""
    kernel, stride, pad = a["kernel"], a.get("stride", (1, 1)), a.get("pad", (0, 0))
    groups, filters, channels = a.get("num_group", 1), a["num_filter"], x.x.shape[-1]
    dilate = a.get("dilate", (1, 1))
    same = stride == dilate == (1, 1) and all(2 * p + 1 == k for p, k in zip(pad, kernel, strict=True))
    y = x.x if same or not any(pad) else layers.ZeroPadding2D(pad, name=f"{name}_pad")(x.x)
    options = {
        "strides": stride,
        "padding": "same" if same else "valid",
        "use_bias": bias is not None,
        "dilation_rate": dilate,
    }
    if groups == channels == filters > 1:
        layer, table = layers.DepthwiseConv2D(kernel, name=name, **options), weight.transpose(2, 3, 0, 1)
    else:
        layer, table = layers.Conv2D(filters, kernel, groups=groups, name=name, **options), weight.transpose(2, 3, 1, 0)
    return _with(layer, y, table, *([] if bias is None else [bias]))


def _with(layer, x, *weights, flat=None):
    """Layer called and given its weights, which have to be those it needs before it is built."""
    if any(weight is None for weight in weights):
        raise ValueError(f"node {layer.name}: a weight is missing")
    needed, given = shapes_of(layer, x), [np.shape(weight) for weight in weights]
    if needed != given:
        raise ValueError(f"node {layer.name} needs weights of shapes {needed}. Received: {given}")
    y = layer(x)
    layer.set_weights([np.asarray(w, np.float32) for w in weights])
    return Tensor(y, flat)


def shapes_of(layer, x):
    """Shapes of the weights of a layer on a tensor, without making them."""
    with keras_compat.without_values():
        twin = type(layer).from_config(layer.get_config())
        keras_compat.refuse_wide(f"node {layer.name}", twin(x).shape)
    return [tuple(weight.shape) for weight in twin.weights]


def batch_norm(name, a, x, gamma, beta, mean, variance):
    """A batch norm of given arrays."""
    gamma = np.ones_like(beta) if a.get("fix_gamma", True) else gamma
    layer = layers.BatchNormalization(momentum=a.get("momentum", 0.9), epsilon=a.get("eps", 1e-3), name=name)
    return _with(layer, x.x, gamma, beta, mean, variance, flat=x.flat)


def leaky(name, a, x, slopes=None):
    """A leaky ReLU, or a PReLU of given slopes."""
    kind = a.get("act_type", "leaky")
    if kind == "leaky":
        return Tensor(layers.LeakyReLU(a.get("slope", 0.25), name=name)(x.x), x.flat)
    if kind != "prelu":
        raise ValueError(f"node {name}: LeakyReLU of kind {kind!r}. Known are 'prelu' and 'leaky'.")
    return _with(layers.PReLU(shared_axes=[1, 2], name=name), x.x, np.broadcast_to(slopes, x.x.shape[-1:])[None, None])


def flatten(name, a, x):
    """Flattening in the order of channels first, as the other program has it."""
    return Tensor(layers.Flatten(name=name)(x.x), tuple(x.x.shape[1:])) if len(x.x.shape) == 4 else x


def dense(name, a, x, weight, bias=None):
    """MXNet flattens channels first, Keras last: the columns are put into Keras's order."""
    x = flatten(f"{name}flatten", a, x)
    if x.flat:
        height, width, channels = x.flat
        weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    layer = layers.Dense(a["num_hidden"], use_bias=bias is not None, name=name)
    return _with(layer, x.x, weight.T, *([] if bias is None else [bias]))


def pooling(name, a, x):
    """A pooling layer, padded as the other program does."""
    kind = a.get("pool_type", "max")
    if a.get("global_pool"):
        layer = (layers.GlobalAveragePooling2D if kind == "avg" else layers.GlobalMaxPooling2D)(
            keepdims=True, name=name
        )
        return Tensor(layer(x.x))
    pad = a.get("pad", (0, 0))
    y = layers.ZeroPadding2D(pad, name=f"{name}_pad")(x.x) if any(pad) else x.x
    layer = (layers.AveragePooling2D if kind == "avg" else layers.MaxPooling2D)(
        a["kernel"], a.get("stride", (1, 1)), name=name
    )
    return Tensor(layer(y))
