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


def register(*names: str, tail: str = "GDC", **options) -> Callable:
    """Adds a backbone to the table.

    Args:
        *names: What it is called in `build`.
        tail: The `output_layer` it was published with. Defaults to `"GDC"`.
        **options: Given to the builder besides `input_shape`.

    Returns:
        A decorator for the builder, which it leaves as it is.
    """

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


def build(name: str, input_shape: tuple[int | None, ...], weights: str | None = None, **kwargs) -> keras.Model:
    """Makes a backbone.

    Args:
        name: Of the table, or of `keras.applications`.
        input_shape: `(height, width, channels)`.
        weights: `"imagenet"` downloads them where `keras.applications` has them; ours are trained from scratch. Defaults to `None`.
        **kwargs: Options of the family, such as `width`.

    Returns:
        Model from images to a feature map `(h, w, c)`.

    Raises:
        ValueError: The name is unknown; the message has the nearest known one.
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
