"""`from backbones import efficientnet`: `EfficientNetB0(include_top=False)`, without rescaling and normalisation."""

from facetrainer.legacy.backbones import made, without_top


def _efficientnet(letter):
    title = f"EfficientNet{letter}"
    key = title.lower()

    def build(input_shape=(112, 112, 3), include_top=False, weights=None, name=key, **kwargs):
        without_top(title, include_top)
        return made(key, name, input_shape, weights=weights, **kwargs)

    build.__name__ = build.__qualname__ = title
    build.__doc__ = f"`models.buildin_models({key!r})`'s network, as a feature map."
    return build


(
    EfficientNetB0,
    EfficientNetB1,
    EfficientNetB2,
    EfficientNetB3,
    EfficientNetB4,
    EfficientNetB5,
    EfficientNetB6,
    EfficientNetB7,
) = (_efficientnet(f"B{k}") for k in range(8))
EfficientNetL2 = _efficientnet("L2")
