"""SphereFace's residual networks (Liu et al., CVPR 2017, arXiv:1704.08063, table 2; 112×96 there): PReLU, no batch norm.

And the network of mobile-sphereface, the same with depthwise convolutions and batch norm.
"""

import keras
from keras import layers

from facetrainer.backbones import parts, register
from facetrainer.backbones.mobilenet import separable

UNITS = {
    "sphereface4": (0, 0, 0, 0), "sphereface20": (1, 2, 4, 1), "sphereface36": (2, 4, 8, 2), "sphereface64": (3, 8, 16, 3),
}  # fmt: skip
WIDTHS = (64, 128, 256, 512)


def stages(name, input_shape, units, begin, inner):
    """Four times `begin(x, width, name)`, which halves the map, and residual units of two `inner(x, width, name)`."""
    x = inputs = layers.Input(input_shape)
    for stack, (count, width) in enumerate(zip(units, WIDTHS, strict=True), 1):
        x = begin(x, width, f"stack{stack}")
        for unit in range(1, count + 1):
            place = f"stack{stack}_unit{unit}"
            y = inner(inner(x, width, f"{place}_1"), width, f"{place}_2")
            x = layers.Add(name=f"{place}_add")([x, y])
    return keras.Model(inputs, x, name=name)


@register(*UNITS, tail="H")
def build(name, input_shape, activation="prelu"):
    """Image (H, W, C) → feature map (H/16, W/16, 512).  With `output_layer="H"` the whole model is as published."""
    small = keras.initializers.RandomNormal(stddev=0.01)

    def begin(x, width, name):
        x = parts.conv(x, width, 3, 2, f"{name}_conv", use_bias=True, initializer="glorot_uniform")
        return parts.activate(x, activation, f"{name}_act")

    def inner(x, width, name):
        return parts.activate(parts.conv(x, width, 3, 1, f"{name}_conv", initializer=small), activation, f"{name}_act")

    return stages(name, input_shape, UNITS[name], begin, inner)


@register("mobilenet_sphereface", tail="H")
def build_mobile(name, input_shape, units=(0, 1, 2, 0), activation="prelu"):
    """Image (H, W, C) → feature map (H/16, W/16, 512)."""

    def begin(x, width, name):
        if width == WIDTHS[0]:
            return parts.conv_norm(x, width, 3, 2, activation, name)
        return separable(x, width, 2, activation, name)

    def inner(x, width, name):
        return separable(x, width, 1, activation, name)

    return stages(name, input_shape, units, begin, inner)
