"""`from backbones import resnet`: `ResNet50(input_shape)`."""

from facetrainer.legacy.backbones import made


def _resnet(key, title):
    def build(
        input_shape, classes=1000, activation="relu", use_se=False, use_max_pool=False, model_name=title, **kwargs
    ):
        if use_max_pool:
            raise ValueError(f"{title}: use_max_pool=True is not kept: IR networks have none.")
        return made(f"se_{key}" if use_se else key, model_name, input_shape, activation=activation, **kwargs)

    build.__name__ = build.__qualname__ = title
    build.__doc__ = (
        f"`models.buildin_models({key!r})`'s network, as a feature map; `classes` is not used without a classifier."
    )
    return build


ResNet18, ResNet34, ResNet50, ResNet100, ResNet101 = (
    _resnet(f"r{depth}", f"ResNet{depth}") for depth in (18, 34, 50, 100, 101)
)
