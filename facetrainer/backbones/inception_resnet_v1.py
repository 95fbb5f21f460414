"""FaceNet's Inception-ResNet v1 (Szegedy et al., AAAI 2017, arXiv:1602.07261, figures 10 to 13 and 15), 160×160 in facenet."""

import keras
from keras import layers

from facetrainer.backbones import register
from facetrainer.backbones.parts import norm

SMALLEST = 75


@register("inception_resnet_v1", tail="GAP")
def build(name, input_shape, repeats=(5, 10, 6)):
    """Image (H, W, C) of at least 75×75 → feature map (about H/32, W/32, 1792).  ValueError on smaller ones."""
    if min(input_shape[:2]) < SMALLEST:
        raise ValueError(f"{name}: expected images of at least {SMALLEST}×{SMALLEST}. Received: {tuple(input_shape)}")
    inputs = layers.Input(input_shape)
    x = _stem(inputs)
    for number in range(repeats[0]):
        x = _residual(x, 0.17, f"a{number + 1}", [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (32, 3), (32, 3)]])
    x = _reduce(x, "reduce_a", [[(384, 3)], [(192, 1), (192, 3), (256, 3)]])
    for number in range(repeats[1]):
        x = _residual(x, 0.1, f"b{number + 1}", [[(128, 1)], [(128, 1), (128, (1, 7)), (128, (7, 1))]])
    x = _reduce(x, "reduce_b", [[(256, 1), (384, 3)], [(256, 1), (256, 3)], [(256, 1), (256, 3), (256, 3)]])
    for number in range(repeats[2]):
        branches = [[(192, 1)], [(192, 1), (192, (1, 3)), (192, (3, 1))]]
        last = number + 1 == repeats[2]
        x = _residual(x, 1.0 if last else 0.2, f"c{number + 1}", branches, active=not last)
    return keras.Model(inputs, x, name=name)


def _conv(x, filters, kernel, name, stride=1, padding="same"):
    x = layers.Conv2D(filters, kernel, stride, padding, use_bias=False, name=f"{name}_conv")(x)
    return layers.Activation("relu", name=f"{name}_act")(norm(x, f"{name}_bn", momentum=0.995, epsilon=1e-3))


def _stem(x):
    x = _conv(x, 32, 3, "stem_1", 2, "valid")
    x = _conv(_conv(x, 32, 3, "stem_2", padding="valid"), 64, 3, "stem_3")
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    x = _conv(_conv(x, 80, 1, "stem_4"), 192, 3, "stem_5", padding="valid")
    return _conv(x, 256, 3, "stem_6", 2, "valid")


def _branches(x, name, branches, last=None):
    """Lists of (filters, kernel), one after another; `last` are other options of each branch's last one."""
    ends = []
    for number, branch in enumerate(branches, 1):
        y = x
        for place, (filters, kernel) in enumerate(branch, 1):
            options = last if last and place == len(branch) else {}
            y = _conv(y, filters, kernel, f"{name}_branch{number}_{place}", **options)
        ends.append(y)
    return ends


def _residual(x, scale, name, branches, active=True):
    """x + scale · 1×1 convolution of the branches."""
    y = layers.Concatenate(name=f"{name}_concat")(_branches(x, name, branches))
    y = layers.Rescaling(scale, name=f"{name}_scale")(layers.Conv2D(x.shape[-1], 1, name=f"{name}_up")(y))
    x = layers.Add(name=f"{name}_add")([x, y])
    return layers.Activation("relu", name=f"{name}_act")(x) if active else x


def _reduce(x, name, branches):
    """Halved: the branches' last convolutions and a pooling have stride 2."""
    ends = _branches(x, name, branches, last={"stride": 2, "padding": "valid"})
    return layers.Concatenate(name=f"{name}_concat")([*ends, layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)])
