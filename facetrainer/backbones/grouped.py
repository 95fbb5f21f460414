"""Convolutions in groups on a CPU, inside plain Keras layers.

TensorFlow has no gradient of a grouped convolution there, so Keras has XLA compile each, anew for every layer: one layer of 64 groups
(arcface_torch's `mbf`) takes a hundred times as long as the rest of the network. `set_bundled` gives such layers another way to
compute the same thing: a few groups together are one dense convolution whose kernel is zero between them. Class, configuration and
weights stay `keras.layers.Conv2D`: saved files know nothing of it.
"""

import types

import keras
import numpy as np
from keras import ops

CHANNELS = 16  # of a bundle; 8 times the arithmetic at most, and the fastest of 16, 32, 64, 128 on every shape tried


def set_bundled(model: keras.Model, bundled: bool) -> None:
    """Switches every grouped convolution of `model`, nested ones included, to bundles of groups or back.

    Args:
        model: Any model; its grouped convolutions of `channels_first` images are left as they are.
        bundled: Whether groups are computed in bundles.
    """
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.Conv2D and layer.groups > 1 and layer.data_format == "channels_last":
            layer.__dict__.pop("convolution_op", None)
            if bundled:
                object.__setattr__(layer, "convolution_op", types.MethodType(_in_bundles, layer))


def _in_bundles(self, inputs, kernel):
    size = _bundle(self.groups, max(inputs.shape[-1], self.filters) // self.groups)
    mask = np.kron(np.eye(size), np.ones((kernel.shape[2], self.filters // self.groups)))
    images, kernels = (ops.split(one, self.groups // size, axis=-1) for one in (inputs, kernel))
    options = {"strides": self.strides, "padding": self.padding, "dilation_rate": self.dilation_rate}
    dense = (ops.tile(one, (1, 1, size, 1)) * ops.cast(mask, one.dtype) for one in kernels)
    return ops.concatenate([ops.conv(x, one, **options) for x, one in zip(images, dense, strict=True)], axis=-1)


def _bundle(groups, width):
    """The most groups of `width` channels that divide `groups` and have `CHANNELS` together."""
    return max(n for n in range(1, groups + 1) if groups % n == 0 and (n * width <= CHANNELS or n == 1))
