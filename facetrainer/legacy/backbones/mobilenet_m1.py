"""`from backbones import mobilenet_m1`: `MobileNet(include_top=False)`."""

from facetrainer.legacy.backbones import made, without_top


def MobileNet(  # noqa: N802
    input_shape=(112, 112, 3), alpha=1.0, include_top=False, weights=None, activation="relu6", name="mobilenet_m1"
):
    """`models.buildin_models("mobilenet_m1")`'s network, as a feature map; there are no `weights` but those of a run."""
    without_top("MobileNet", include_top)
    return made("mobilenet_m1", name, input_shape, alpha=alpha, activation=activation, weights=weights)
