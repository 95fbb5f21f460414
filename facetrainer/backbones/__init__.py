"""Image → feature map: the registry of backbones, one family a file.

`build("r50", (112, 112, 3))` finds our own families first, then every class of `keras.applications`.
"""

from collections.abc import Callable

import keras

from facetrainer.backbones import applications
from facetrainer.utils import registry
from facetrainer.utils.text import unknown

REGISTRY: dict[str, Callable] = {}
BUILDERS: dict[str, Callable] = {}  # as they were registered
TAILS: dict[str, str] = {}
ALIASES = {"se_resnext": "se_resnext50"}  # names of Keras_insightface


def register(*names: str, tail: str = "GDC", **options):
    """Decorator: `build(name)` calls the builder with `input_shape` and these options. `tail`: the `output_layer` it was published with."""

    def keep(builder):
        TAILS.update(dict.fromkeys(names, tail))
        for name in names:
            registry.add(BUILDERS, name, builder, "backbone")
            REGISTRY[name] = lambda input_shape, _name=name, **kw: builder(_name, input_shape, **{**options, **kw})
        return builder

    return keep


def names() -> list[str]:
    """All names that `build` knows."""
    return [*REGISTRY, *sorted(applications.known())]


def build(name: str, input_shape: tuple[int, int, int], weights: str | None = None, **kwargs) -> keras.Model:
    """Name → model from image (H, W, C) to feature map (h, w, c).

    `weights="imagenet"` downloads them where `keras.applications` has them; ours are trained from scratch.
    ValueError on an unknown name, with the nearest known one.
    """
    key = ALIASES.get(name.lower(), name.lower())
    if key in REGISTRY:
        if weights is not None:
            raise ValueError(
                f"{name}: there are no {weights!r} weights. Use weights=None, or load your own file with pretrained=."
            )
        return REGISTRY[key](tuple(input_shape), **kwargs)
    if key not in applications.known():
        raise ValueError(unknown("backbone", name, names()))
    return applications.build(applications.known()[key], input_shape, weights, **kwargs)


from facetrainer.backbones import (  # noqa: E402, F401  registers the families
    ghostnet,
    inception_resnet_v1,
    lenets,
    mobile_facenet,
    mobilenet,
    resnet,
    resnext,
    sphereface,
    vargface,
    vit,
)
