"""Bottleneck networks of ImageNet: SE-ResNeXt (Hu et al., CVPR 2018, arXiv:1709.01507) and ResNeSt (Zhang et al., arXiv:2004.08955)."""

import keras
from keras import layers, ops

from facetrainer.backbones import parts, register

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
WIDTHS = (64, 128, 256, 512)


def bottlenecks(name, inputs, x, depths, block):
    """Four stacks of `block(x, width, stride, name)` after a 3×3 max pooling."""
    x = parts.max_pool(x, "stem_pool")
    for stack, (depth, width) in enumerate(zip(depths, WIDTHS, strict=True), 1):
        for unit in range(depth):
            x = block(x, width, 2 if stack > 1 and unit == 0 else 1, f"stack{stack}_block{unit + 1}")
    return keras.Model(inputs, x, name=name)


def joined(short, y, name):
    """Shortcut and unit added, then ReLU."""
    return parts.activate(layers.Add(name=f"{name}_add")([short, y]), "relu", f"{name}_out")


@register("se_resnext50", "se_resnext101")
def build_se_resnext(name, input_shape, groups=32, group_width=4, depths=None):
    """Image (H, W, C) → feature map (H/32, W/32, 2048); 32×4d as published."""
    inputs = layers.Input(input_shape)

    def block(x, width, stride, name):
        short, inner, out = x, groups * group_width * width // 64, 4 * width
        if stride > 1 or x.shape[-1] != out:
            short = parts.conv_norm(x, out, 1, stride, None, f"{name}_short")
        y = parts.conv_norm(x, inner, 1, 1, "relu", f"{name}_1")
        y = parts.conv_norm(y, inner, 3, stride, "relu", f"{name}_2", groups=groups)
        y = parts.conv_norm(y, out, 1, 1, None, f"{name}_3")
        return joined(short, parts.squeeze_excite(y, out // 16, "relu", f"{name}_se"), name)

    x = parts.conv_norm(inputs, 64, 7, 2, "relu", "stem")
    return bottlenecks(name, inputs, x, depths or DEPTHS[int(name[10:])], block)


@register("resnest50", stem=32)
@register("resnest101", stem=64)
def build_resnest(name, input_shape, stem, radix=2, depths=None):
    """Image (H, W, C) → feature map (H/32, W/32, 2048); one group of `radix` splits as published."""
    inputs = layers.Input(input_shape)
    x = parts.conv_norm(inputs, stem, 3, 2, "relu", "stem_1")
    x = parts.conv_norm(x, stem, 3, 1, "relu", "stem_2")
    x = parts.conv_norm(x, 2 * stem, 3, 1, "relu", "stem_3")

    def block(x, width, stride, name):
        y = parts.conv_norm(x, width, 1, 1, "relu", f"{name}_1")
        y = split_attention(y, width, radix, f"{name}_2")
        if stride > 1:
            y = layers.ZeroPadding2D(1, name=f"{name}_down_pad")(y)
            y = layers.AveragePooling2D(3, stride, name=f"{name}_down")(y)
        y = parts.conv_norm(y, 4 * width, 1, 1, None, f"{name}_3")
        return joined(_pooled_shortcut(x, 4 * width, stride, name), y, name)

    return bottlenecks(name, inputs, x, depths or DEPTHS[int(name[7:])], block)


def split_attention(x, width, radix, name):
    """`radix` convolutions, weighed channel by channel against each other by a softmax (the paper's eq. 2 and 3)."""
    y = parts.conv_norm(x, width * radix, 3, 1, "relu", name, groups=radix)
    splits = ops.split(y, radix, axis=-1)
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(layers.Add(name=f"{name}_sum")(splits))
    mean = parts.conv_norm(mean, max(width * radix // 4, 32), 1, 1, "relu", f"{name}_reduce", use_bias=True)
    scores = layers.Conv2D(width * radix, 1, name=f"{name}_expand")(mean)
    weights = layers.Softmax(axis=1, name=f"{name}_softmax")(layers.Reshape((radix, width))(scores))
    weights = [layers.Reshape((1, 1, width))(one) for one in ops.split(weights, radix, axis=1)]
    return layers.Add(name=f"{name}_join")([a * b for a, b in zip(splits, weights, strict=True)])


def _pooled_shortcut(x, filters, stride, name):
    if stride == 1 and x.shape[-1] == filters:
        return x
    x = layers.AveragePooling2D(stride, stride, "same", name=f"{name}_short_pool")(x) if stride > 1 else x
    return parts.conv_norm(x, filters, 1, 1, None, f"{name}_short")
