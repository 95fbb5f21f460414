"""`from backbones import ghost_model`: `GhostNet(include_top=False)`."""

from facetrainer.legacy.backbones import made, without_top


def GhostNet(input_shape=(224, 224, 3), include_top=True, classes=0, width=1.3, strides=2, name="GhostNet"):  # noqa: N802
    """`models.buildin_models("ghostnet")`'s network, as a feature map; a classifier is refused unless `classes` is 0."""
    without_top("GhostNet", include_top and classes > 0)
    return made("ghostnet", name, input_shape, width=width, strides=strides)
