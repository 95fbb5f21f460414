"""LeNets++, for digits on a plane (Wen et al., ECCV 2016, table 1): three pairs of 5×5 convolutions with PReLU, no batch norm."""

import keras
from keras import layers

from facetrainer.backbones import parts, register


@register("lenets", tail="H")
def build(name, input_shape, widths=(32, 64, 128), activation="prelu"):
    """Image (H, W, C) → feature map (H/8, W/8, `widths[-1]`).  With `output_layer="H"` and two units it is the paper's."""
    x = inputs = layers.Input(input_shape)
    for stage, width in enumerate(widths, 1):
        for number in (1, 2):
            x = parts.conv(x, width, 5, 1, f"stage{stage}_{number}_conv", use_bias=True, initializer="glorot_uniform")
            x = parts.activate(x, activation, f"stage{stage}_{number}_act")
        x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
    return keras.Model(inputs, x, name=name)
