"""Builders by their class-like names of old; `models.buildin_models("r50")` is the way to them now."""

from facetrainer import backbones


def made(key: str, name: str, input_shape, **options):
    """Image → feature map, without a classifier.

    Args:
        key: Name in the registry.
        name: Of the model.
        input_shape: (H, W, C).
        **options: Of the builder.

    Returns:
        Functional model.
    """
    model = backbones.build(key, tuple(input_shape), **options)
    model.name = name
    return model


def without_top(name: str, include_top: bool) -> None:
    """Raises ValueError where a classifier is asked for."""
    if include_top:
        raise ValueError(
            f"{name}: include_top=True is not kept. Give include_top=False; models.buildin_models adds the embedding, Train the head."
        )
