"""Every network of `keras.applications`, without the rescaling and normalisation that some of them begin with."""

import inspect
import itertools
from collections.abc import Callable

import keras
from keras import layers

from facetrainer.backbones import surgery
from facetrainer.utils import keras_compat

ALIASES = {"mobilenetv3_small": "mobilenetv3small", "mobilenetv3_large": "mobilenetv3large"}

PREPROCESSING = (layers.Rescaling, layers.Normalization)


def known() -> dict[str, Callable]:
    """Lower-case name → builder."""
    found = {name.lower(): builder for name, builder in inspect.getmembers(keras.applications, inspect.isfunction)}
    return {**found, "efficientnetl2": efficientnet_l2, **{alias: found[name] for alias, name in ALIASES.items()}}


def efficientnet_l2(weights=None, **kwargs) -> keras.Model:
    """EfficientNet-L2, 4.3 times as wide and 5.3 times as deep as B0 (Xie et al., CVPR 2020, arXiv:1911.04252)."""
    if weights is not None:
        raise ValueError(f"efficientnetl2: there are no {weights!r} weights. Use weights=None.")
    return keras_compat.efficientnet(4.3, 5.3, name="efficientnetl2", dropout_rate=0.5, weights=None, **kwargs)


def build(builder: Callable, input_shape: tuple[int, int, int], weights: str | None = None, **kwargs) -> keras.Model:
    """Image (H, W, C) → feature map.  ValueError where `weights` cannot be downloaded."""
    if "include_preprocessing" in inspect.signature(builder).parameters:
        kwargs = {"include_preprocessing": False, **kwargs}
    try:
        return without_preprocessing(
            builder(input_shape=tuple(input_shape), include_top=False, weights=weights, **kwargs)
        )
    except Exception as error:
        if weights is None or not any(word in str(error) for word in ("fetch", "URL", "url", "resolve")):
            raise
        raise ValueError(
            f"{builder.__name__}: weights={weights!r} could not be downloaded ({error}). "
            "Use weights=None, or give the path of a weights file that you have."
        ) from error


def without_preprocessing(model: keras.Model) -> keras.Model:
    """The model from its first convolution on: images come as (x − 127.5) / 128 already, as to every other network here."""
    leading = itertools.takewhile(lambda layer: isinstance(layer, PREPROCESSING), model.layers[1:])
    skipped = {layer.name for layer in leading}
    if not skipped:
        return model
    return surgery.rebuild(
        model, call=lambda layer, x, *rest, **kw: x if layer.name in skipped else layer(x, *rest, **kw)
    )
