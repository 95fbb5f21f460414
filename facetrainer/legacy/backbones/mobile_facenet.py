"""`from backbones import mobile_facenet`: `mobile_facenet(256)`, with its embedding."""

from facetrainer.backbones.mobile_facenet import build
from facetrainer.legacy.backbones import without_top
from facetrainer.models import buildin_models, saving


def MobileFaceNet(  # noqa: N802
    num_blocks=(5, 1, 6, 1, 2), out_channels=(64, 128, 128, 128, 128), strides=(2, 2, 1, 2, 1),
    expand_ratios=(2, 4, 2, 4, 2), use_se=False, emb_shape=256, input_shape=(112, 112, 3), dropout=0, pretrained=None,
    include_top=False, name="mobile_facenet",
):  # fmt: skip
    """MobileFaceNet and its embedding by a global depthwise convolution.

    Args:
        num_blocks: Units of each stack.
        out_channels: Their widths.
        strides: Of their first units.
        expand_ratios: How far they widen inside.
        use_se: Squeeze-and-excite in each unit. Defaults to `False`.
        emb_shape: Width of the embedding; 0 gives the feature map. Defaults to `256`.
        input_shape: (H, W, C). Defaults to `(112, 112, 3)`.
        dropout: Before the embedding. Defaults to `0`.
        pretrained: Weights file of this model.
        include_top: Has to be `False`.
        name: Of the model.

    Returns:
        Functional model.

    Raises:
        ValueError: `include_top` is asked for.
    """
    without_top("MobileFaceNet", include_top)
    stem = build(name, tuple(input_shape), use_se, num_blocks, out_channels, strides, expand_ratios)
    model = buildin_models(stem, dropout, emb_shape, tuple(input_shape), "GDC") if emb_shape else stem
    if pretrained:
        saving.load_weights(model, pretrained)
    model.name = name
    return model


def mobile_facenet(emb_shape=256, dropout=0, name="mobile_facenet", use_se=False, **kwargs):
    """`MobileFaceNet`, by the width of its embedding."""
    return MobileFaceNet(emb_shape=emb_shape, dropout=dropout, name=name, use_se=use_se, **kwargs)
