"""InsightFace's IR networks: improved residual units, stride in the second convolution, no pooling.

Deng et al., CVPR 2019, arXiv:1801.07698, section 3.1.
"""

import keras
from keras import layers

from facetrainer.backbones import register
from facetrainer.backbones.parts import activate, conv, norm, squeeze_excite

DEPTHS = {
    "r18": (2, 2, 2, 2),
    "r34": (3, 4, 6, 3),
    "r50": (3, 4, 14, 3),
    "r100": (3, 13, 30, 3),
    "r101": (3, 4, 23, 3),
    "r200": (6, 26, 60, 6),
}
WIDTHS = (64, 128, 256, 512)


def block(x, filters, stride, activation, use_se, name):
    """A residual unit of two 3×3 convolutions, the second with the stride."""
    short = x
    if stride != 1 or x.shape[-1] != filters:
        short = norm(conv(x, filters, 1, stride, f"{name}_short_conv"), f"{name}_short_bn")
    y = conv(norm(x, f"{name}_1_bn"), filters, 3, 1, f"{name}_1_conv")
    y = activate(norm(y, f"{name}_2_bn"), activation, f"{name}_act")
    y = norm(conv(y, filters, 3, stride, f"{name}_2_conv"), f"{name}_3_bn")
    y = squeeze_excite(y, filters // 16, activation, f"{name}_se") if use_se else y
    return layers.Add(name=f"{name}_add")([short, y])


def ir_net(input_shape, depths, widths=WIDTHS, activation="prelu", use_se=False, name="ir"):
    """Image (H, W, C) → feature map (H/16, W/16, widths[-1])."""
    inputs = layers.Input(input_shape)
    x = conv(inputs, widths[0], 3, 1, "stem_conv")
    x = activate(norm(x, "stem_bn"), activation, "stem_act")
    for stack, (depth, filters) in enumerate(zip(depths, widths, strict=True), 1):
        for unit in range(depth):
            x = block(x, filters, 1 if unit else 2, activation, use_se, f"stack{stack}_block{unit + 1}")
    return keras.Model(inputs, x, name=name)


@register(*DEPTHS, tail="E")
@register(*(f"se_{name}" for name in DEPTHS), tail="E", use_se=True)
def build(name, input_shape, use_se=False, **kwargs):
    """Image (H, W, C) → feature map (H/16, W/16, last width) of an improved residual network."""
    return ir_net(input_shape, DEPTHS[name.removeprefix("se_")], use_se=use_se, name=name, **kwargs)


def plain_block(x, filters, activation, name):
    """Residual unit of He et al. (arXiv:1512.03385) that halves the map: half the batch norms of an IR unit."""
    short = norm(conv(x, filters, 1, 2, f"{name}_short_conv"), f"{name}_short_bn")
    y = activate(norm(conv(x, filters, 3, 2, f"{name}_1_conv"), f"{name}_1_bn"), activation, f"{name}_1_act")
    y = norm(conv(y, filters, 3, 1, f"{name}_2_conv"), f"{name}_2_bn")
    return activate(layers.Add(name=f"{name}_add")([short, y]), activation, f"{name}_2_act")


@register("r_tiny", tail="E")
def build_tiny(name, input_shape, widths=(64, 128, 256), activation="relu", crop=0):
    """A residual network for small sets and CPUs: a 5×5 stem of stride 4, then one unit a width.

    `crop` pixels of each border are not looked at.

    Returns:
        Functional model without a head.
    """
    inputs = layers.Input(input_shape)
    x = layers.Cropping2D(crop, name="crop")(inputs) if crop else inputs
    x = activate(norm(conv(x, widths[0], 5, 4, "stem_conv"), "stem_bn"), activation, "stem_act")
    for stack, filters in enumerate(widths, 1):
        x = plain_block(x, filters, activation, f"stack{stack}")
    return keras.Model(inputs, x, name=name)
