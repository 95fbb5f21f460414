"""GhostNet (Han et al., CVPR 2020, arXiv:1911.11907): half of each layer's maps are made of the other half by cheap filters."""

import keras
from keras import layers

from facetrainer.backbones import parts, register

# kernel, widened, filters, squeeze-and-excite, stride: the paper's table 1, but for the last
UNITS = [
    (3, 16, 16, 0, 1), (3, 48, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2), (5, 120, 40, 1, 1), (3, 240, 80, 0, 2), (3, 200, 80, 0, 1),
    (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 1, 1), (3, 672, 112, 1, 1), (5, 672, 160, 1, 2), (5, 960, 160, 0, 1),
    (5, 960, 160, 1, 1), (5, 960, 160, 0, 1),
]  # fmt: skip


@register("ghostnet")
def build(name, input_shape, width=1.3, strides=2, last=512):
    """Image (H, W, C) → feature map (H/32, W/32, `last` · width); `strides` are those of the first convolution.

    `last` is how far the last unit widens and what comes out: 960 in the paper, 512 in Keras_insightface.

    Returns:
        Functional model without a head.
    """
    inputs = layers.Input(input_shape)
    x = parts.conv_norm(inputs, rounded(16 * width), 3, strides, "relu", "stem")
    for number, (kernel, wide, filters, use_se, stride) in enumerate([*UNITS, (5, last, 160, 1, 1)], 1):
        x = unit(x, kernel, rounded(wide * width), rounded(filters * width), use_se, stride, f"unit{number}")
    return keras.Model(inputs, parts.conv_norm(x, rounded(last * width), 1, 1, "relu", "last"), name=name)


def rounded(width, step=4):
    """To a multiple of `step`, but not down by more than a tenth."""
    near = max(step, int(width + step / 2) // step * step)
    return near + step if near < 0.9 * width else near


def ghost(x, filters, activation, name):
    """1×1 convolution to half the filters; 3×3 depthwise ones of it are the other half."""
    first = parts.conv_norm(x, filters // 2, 1, 1, activation, f"{name}_first")
    cheap = parts.norm(parts.depthwise(first, 3, 1, f"{name}_cheap_dw"), f"{name}_cheap_bn")
    cheap = parts.activate(cheap, activation, f"{name}_cheap_act") if activation else cheap
    return layers.Concatenate(name=f"{name}_concat")([first, cheap])


def unit(x, kernel, wide, filters, use_se, stride, name):
    """Two ghost modules with a depthwise convolution and squeeze-and-excite between, and a shortcut."""
    y = ghost(x, wide, "relu", f"{name}_ghost1")
    if stride > 1:
        y = parts.norm(parts.depthwise(y, kernel, stride, f"{name}_dw"), f"{name}_dw_bn")
    if use_se:
        y = parts.squeeze_excite(y, rounded(wide / 4), "relu", f"{name}_se", gate="hard_sigmoid")
    y = ghost(y, filters, None, f"{name}_ghost2")
    if stride > 1 or x.shape[-1] != filters:
        x = parts.norm(parts.depthwise(x, kernel, stride, f"{name}_short_dw"), f"{name}_short_dw_bn")
        x = parts.conv_norm(x, filters, 1, 1, None, f"{name}_short")
    return layers.Add(name=f"{name}_add")([x, y])
