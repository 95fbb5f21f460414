"""VarGFaceNet (Yan et al., ICCVW 2019, arXiv:1910.04985): convolutions in groups of a fixed number of channels."""

import keras
from keras import layers

from facetrainer.backbones import parts, register

GROUP = 8  # channels


@register("vargface", tail="F")
def build(
    name, input_shape, num_blocks=(3, 7, 4), out_channels=(64, 128, 256), channel_expand=1, hidden_ratio=2, stem_width=32,
    stem_strides=1, se_ratio=0, activation="relu", output_num_features=1024,
):  # fmt: skip
    """Image (H, W, C) → (1, 1, `output_num_features`).  The paper's widths are those of `channel_expand=1.25`, its activation "prelu"."""
    inputs, stem = layers.Input(input_shape), int(stem_width * channel_expand)
    x = parts.conv_norm(inputs, stem, 3, stem_strides, activation, "stem")
    x = unit(x, stem, "stem_unit", 1, activation, stride=2, paths=1, se_ratio=se_ratio)
    for stack, (blocks, filters) in enumerate(zip(num_blocks, out_channels, strict=True), 1):
        for number in range(blocks):
            kind = {"se_ratio": se_ratio} if number else {"stride": 2, "paths": 2}
            x = unit(
                x, int(filters * channel_expand), f"stack{stack}_unit{number + 1}", hidden_ratio, activation, **kind
            )
    x = parts.conv_norm(x, output_num_features, 1, 1, activation, "last")
    whole = {"kernel_size": x.shape[1:3], "groups": output_num_features // GROUP, "use_bias": False}
    x = layers.Conv2D(output_num_features, **whole, name="map_conv")(x)
    return keras.Model(inputs, parts.norm(x, "map_bn"), name=name)


def varied(x, filters, stride, hidden_ratio, activation, name):
    """3×3 convolution in groups, then 1×1."""
    hidden = int(x.shape[-1] * hidden_ratio)
    x = parts.conv_norm(x, hidden, 3, stride, activation, f"{name}_1", groups=x.shape[-1] // GROUP)
    return parts.conv_norm(x, filters, 1, 1, None, f"{name}_2")


def unit(x, filters, name, hidden_ratio, activation, stride=1, paths=0, se_ratio=0):
    """Residual unit of two varied convolutions; with `paths` the shortcut is one too, and the first is the sum of so many."""
    options = (filters, stride, hidden_ratio, activation)
    short = varied(x, *options, f"{name}_short") if paths else x
    first = [varied(x, *options, f"{name}_path{number + 1}") for number in range(max(paths, 1))]
    y = layers.Add(name=f"{name}_merge")(first) if len(first) > 1 else first[0]
    y = parts.activate(y, activation, f"{name}_mid_act")
    y = varied(y, filters, 1, hidden_ratio, activation, f"{name}_second")
    if se_ratio:
        y = parts.squeeze_excite(y, int(filters * se_ratio), activation, f"{name}_se")
    return parts.activate(layers.Add(name=f"{name}_add")([short, y]), activation, f"{name}_act")
