"""Image → feature map: the registry of backbones, one family a file.

`build("r50", (112, 112, 3))` finds our own families first, then every class of `keras.applications`.
"""

import difflib
import inspect
from collections.abc import Callable

import keras

REGISTRY: dict[str, Callable] = {}


def register(*names: str, **options):
    """Decorator: `build(name)` calls the builder with `input_shape` and these options."""

    def keep(builder):
        for name in names:
            REGISTRY[name] = lambda input_shape, _name=name, **kw: builder(_name, input_shape, **{**options, **kw})
        return builder

    return keep


def applications() -> dict[str, Callable]:
    """Lower-case name → builder, of every model in `keras.applications`."""
    found = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name.lower(): builder for name, builder in found}


def names() -> list[str]:
    """All names that `build` knows."""
    return [*REGISTRY, *sorted(applications())]


def build(name: str, input_shape: tuple[int, int, int], weights: str | None = None, **kwargs) -> keras.Model:
    """Name → model from image (H, W, C) to feature map (h, w, c).

    `weights="imagenet"` downloads them where `keras.applications` has them; ours are trained from scratch.
    ValueError on an unknown name, with the nearest known one.
    """
    key = name.lower()
    if key in REGISTRY:
        if weights is not None:
            raise ValueError(
                f"{name}: there are no {weights!r} weights. Use weights=None, or load your own file with pretrained=."
            )
        return REGISTRY[key](tuple(input_shape), **kwargs)
    if key not in applications():
        near = difflib.get_close_matches(key, names(), 1)
        raise ValueError(
            f"unknown backbone {name!r}." + (f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(names())}")
        )
    return _application(applications()[key], input_shape, weights, kwargs)


def _application(builder, input_shape, weights, kwargs):
    if "include_preprocessing" in inspect.signature(builder).parameters:
        kwargs = {"include_preprocessing": False, **kwargs}
    try:
        return builder(input_shape=tuple(input_shape), include_top=False, weights=weights, **kwargs)
    except Exception as error:
        if weights is None or not any(word in str(error) for word in ("fetch", "URL", "url", "resolve")):
            raise
        raise ValueError(
            f"{builder.__name__}: weights={weights!r} could not be downloaded ({error}). "
            "Use weights=None, or give the path of a weights file that you have."
        ) from error


from backbones import mobile_facenet, resnet  # noqa: E402, F401  registers the families
