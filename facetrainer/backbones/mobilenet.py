"""MobileNet (Howard et al., arXiv:1704.04861) with a first convolution of stride 1, as InsightFace trains it on 112 pixels."""

import keras
from keras import layers

from facetrainer.backbones import parts, register

#          filters, stride of each depthwise pair
PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]


@register("mobilenet_m1")
def build(name, input_shape, alpha=1.0, activation="relu6"):
    """Image (H, W, C) → feature map (H/16, W/16, 1024 · alpha)."""
    inputs = layers.Input(input_shape)
    x = parts.conv_norm(inputs, int(32 * alpha), 3, 1, activation, "stem")
    for number, (filters, stride) in enumerate(PAIRS, 1):
        x = separable(x, int(filters * alpha), stride, activation, f"pair{number}")
    return keras.Model(inputs, x, name=name)


def separable(x, filters, stride, activation, name):
    """3×3 depthwise and 1×1 convolution, each with batch norm and activation."""
    x = parts.norm(parts.depthwise(x, 3, stride, f"{name}_dw"), f"{name}_dw_bn")
    return parts.conv_norm(parts.activate(x, activation, f"{name}_dw_act"), filters, 1, 1, activation, f"{name}_pw")
