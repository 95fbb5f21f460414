"""MobileFaceNet: inverted residuals with PReLU.  Chen et al., arXiv:1804.07573, table 1 without its last 1×1 layer.

The tail (global depthwise convolution and embedding) is `models.buildin_models`' work.
"""

import keras
from keras import layers

from facetrainer.backbones import parts, register


def norm(x, name):
    """Batch norm with the momentum and epsilon of Keras_insightface."""
    return parts.norm(x, f"{name}_bn", momentum=0.99, epsilon=1e-3)


def prelu(x, name):
    """PReLU with one slope a channel."""
    return parts.activate(x, "prelu", f"{name}_prelu")


def bottleneck(x, filters, stride, expand, use_se, name):
    """1×1 widen, 3×3 depthwise, 1×1 narrow; a shortcut where shapes agree and `name` is no first block."""
    y = layers.Conv2D(x.shape[-1] * expand, 1, use_bias=False, name=f"{name}_1_conv")(x)
    y = prelu(norm(y, f"{name}_1"), f"{name}_1")
    y = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_2_depthwise")(y)
    y = prelu(norm(y, f"{name}_2"), f"{name}_2")
    y = norm(layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_3_conv")(y), f"{name}_3")
    return parts.squeeze_excite(y, filters // 16, "prelu", f"{name}_3_se") if use_se else y


@register("mobilefacenet")
@register("se_mobilefacenet", use_se=True)
def build(
    name="mobilefacenet", input_shape=(112, 112, 3), use_se=False, num_blocks=(5, 1, 6, 1, 2),
    out_channels=(64, 128, 128, 128, 128), strides=(2, 2, 1, 2, 1), expand_ratios=(2, 4, 2, 4, 2),
):  # fmt: skip
    """Image (H, W, C) → feature map (H/16, W/16, 128)."""
    inputs = layers.Input(input_shape)
    x = layers.Conv2D(64, 3, 2, "same", use_bias=False, name="stem_1_conv")(inputs)
    x = prelu(norm(x, "stem_1"), "stem_1")
    x = layers.SeparableConv2D(64, 3, 1, "same", use_bias=False, name="stem_2_separable")(x)
    x = prelu(norm(x, "stem_2"), "stem_2")
    table = zip(num_blocks, out_channels, strides, expand_ratios, strict=True)
    for stack, (blocks, channels, stride, expand) in enumerate(table, 1):
        for unit in range(1, blocks + 1):
            y = bottleneck(x, channels, stride if unit == 1 else 1, expand, use_se, f"stack{stack}_block{unit}")
            x = layers.Add(name=f"stack{stack}_block{unit}_add")([x, y]) if unit > 1 else y
    return keras.Model(inputs, x, name=name)


def conv_block(x, filters, kernel, stride, name, groups=1, active=True):
    """Convolution, batch norm, PReLU."""
    if groups == x.shape[-1] == filters:
        x = parts.depthwise(x, kernel, stride, f"{name}_dw")
    else:
        x = parts.conv(x, filters, kernel, stride, f"{name}_conv", groups)
    x = parts.norm(x, f"{name}_bn")
    return prelu(x, name) if active else x


def depthwise_unit(x, filters, stride, wide, name):
    """1×1 widen to `wide`, 3×3 depthwise, 1×1 narrow; a shortcut where the stride is 1."""
    y = conv_block(x, wide, 1, 1, f"{name}_1")
    y = conv_block(y, wide, 3, stride, f"{name}_2", groups=wide)
    y = conv_block(y, filters, 1, 1, f"{name}_3", active=False)
    return y if stride > 1 else layers.Add(name=f"{name}_add")([x, y])


@register("mbf")
@register("mbf_large", blocks=(2, 8, 12, 4), scale=4)
def build_mbf(name, input_shape, blocks=(1, 4, 6, 2), scale=2):
    """arcface_torch's wider MobileFaceNet: image (H, W, C) → feature map (H/16, W/16, 512). Weights of either fit (tail "GDC").

    Its second convolution has 64 groups whatever its width; where `blocks` begins with 2, units stand in its place.

    Returns:
        Functional model without a head.
    """
    narrow, middle = 64 * scale, 128 * scale
    inputs = layers.Input(input_shape)
    x = conv_block(inputs, narrow, 3, 2, "stem_1")
    if blocks[0] == 1:
        x = conv_block(x, narrow, 3, 1, "stem_2", groups=64)
    table = [(blocks[0] if blocks[0] > 1 else 0, narrow, 0, 128), (blocks[1], narrow, 128, 128), (blocks[2], middle, 256, 256),
             (blocks[3], middle, 512, 256)]  # fmt: skip
    for stack, (units, filters, first, wide) in enumerate(table):
        x = depthwise_unit(x, filters, 2, first, f"stack{stack}_down") if first else x
        for unit in range(1, units + 1):
            x = depthwise_unit(x, filters, 1, wide, f"stack{stack}_unit{unit}")
    return keras.Model(inputs, conv_block(x, 512, 1, 1, "last"), name=name)
