"""Backbone + tail = basic model, image → embedding: a plain functional Keras model whose last layer is named "embedding"."""

import keras
from keras import layers, ops

from facetrainer import backbones
from facetrainer.backbones import parts, surgery, table


def print_buildin_models() -> None:
    """Print every name that `buildin_models` knows, with parameters and multiply-additions as in `backbones.table`."""
    print(">>>> buildin_models, 112×112×3 → 512, output_layer; million parameters, million multiply-additions")
    for name in backbones.names():
        tail, parameters, macs = table.TABLE[name]
        print(f"{name:22} {tail:5} {parameters / 1e6:8.2f} {macs / 1e6:10.1f}")


def buildin_models(
    stem_model: keras.Model | str,
    dropout: float = 1,
    emb_shape: int = 512,
    input_shape: tuple[int | None, ...] = (112, 112, 3),
    output_layer: str = "GDC",
    bn_momentum: float = 0.99,
    bn_epsilon: float = 0.001,
    add_pointwise_conv: bool = False,
    pointwise_conv_act: str = "relu",
    use_bias: bool = False,
    scale: bool = True,
    weights: str | None = None,
    **kwargs,
) -> keras.Model:
    """Makes a basic model: backbone and tail.

    Args:
        stem_model: Name of a backbone, or a model from image to feature map.
        dropout: Part that is left out before the embedding; 0 or 1 is none. Defaults to `1`.
        emb_shape: Width of the embedding. Defaults to `512`.
        input_shape: `(height, width, channels)`. Defaults to `(112, 112, 3)`.
        output_layer: `"E"` BN, dropout, flatten, dense, BN (InsightFace); `"F"` the same without the first BN; `"GAP"` mean over the map;
            `"GDC"` depthwise convolution over the whole map (MobileFaceNet); `"GNAP"` mean over the map, every place as strong as the
            others (InsightFace; its mean length is the image's here, not the batch's, so that an embedding does not depend on its
            neighbours); and with no batch norm at the end `"G"`, BN and dense, and `"H"`, dense alone. Defaults to `"GDC"`.
        bn_momentum: Of every batch norm, where it differs from the default. Defaults to `0.99`.
        bn_epsilon: Likewise. Defaults to `0.001`.
        add_pointwise_conv: Add a 1×1 convolution before the tail, 512 channels; -1 for half of the map's. Defaults to `False`.
        pointwise_conv_act: Its activation. Defaults to `"relu"`.
        use_bias: Of the embedding's layer. Defaults to `False`.
        scale: Whether the last batch norm has one. Defaults to `True`.
        weights: `"imagenet"` downloads them. Defaults to `None`.
        **kwargs: Options of the backbone.

    Returns:
        Basic model, normalised images `(B, H, W, C)` → embeddings `(B, emb_shape)`.

    Raises:
        ValueError: A name or option is unknown; the message has the nearest known one.
    """
    if output_layer not in TAILS:
        raise ValueError(f"output_layer: expected one of {', '.join(TAILS)}. Received: {output_layer!r}")
    if isinstance(stem_model, str):
        stem_model = backbones.build(stem_model, input_shape, weights, **kwargs)
    if (bn_momentum, bn_epsilon) != (0.99, 0.001):
        stem_model = surgery.change_batch_norm(stem_model, bn_momentum, bn_epsilon)
    bn = {"momentum": bn_momentum, "epsilon": bn_epsilon}
    x = stem_model.outputs[0]
    if add_pointwise_conv:
        x = _pointwise(x, x.shape[-1] // 2 if add_pointwise_conv == -1 else 512, pointwise_conv_act, bn)
    x = TAILS[output_layer](x, emb_shape, dropout if 0 < dropout < 1 else 0, use_bias, bn)
    if output_layer not in BARE:
        x = layers.BatchNormalization(scale=scale, name="pre_embedding", **bn)(x)
    x = layers.Activation("linear", dtype="float32", name="embedding")(x)
    return keras.Model(stem_model.inputs[0], x, name=stem_model.name)


def _pointwise(x, filters, activation, bn, name="pw"):
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv")(x)
    return parts.activate(layers.BatchNormalization(name=f"{name}_bn", **bn)(x), activation, f"{name}_act")


def _dropout(x, rate, name):
    return layers.Dropout(rate, name=name)(x) if rate else x


def _dense(x, units, use_bias, name):
    return layers.Dense(units, use_bias=use_bias, kernel_initializer="glorot_normal", name=name)(x)


def _tail_e(x, units, dropout, use_bias, bn):
    x = layers.BatchNormalization(name="E_batchnorm", **bn)(x)
    x = layers.Flatten(name="E_flatten")(_dropout(x, dropout, "E_dropout"))
    return _dense(x, units, use_bias, "E_dense")


def _tail_f(x, units, dropout, use_bias, bn):
    x = layers.Flatten(name="F_flatten")(_dropout(x, dropout, "F_dropout"))
    return _dense(x, units, use_bias, "F_dense")


def _tail_gap(x, units, dropout, use_bias, bn):
    x = layers.BatchNormalization(name="GAP_batchnorm", **bn)(x)
    x = layers.GlobalAveragePooling2D(name="GAP_pool")(x)
    return _dense(_dropout(x, dropout, "GAP_dropout"), units, use_bias, "GAP_dense")


def _tail_g(x, units, dropout, use_bias, bn):
    x = layers.Flatten(name="G_flatten")(layers.BatchNormalization(name="G_batchnorm", **bn)(x))
    return _dense(_dropout(x, dropout, "G_dropout"), units, use_bias, "G_dense")


def _tail_h(x, units, dropout, use_bias, bn):
    return _dense(_dropout(layers.Flatten(name="H_flatten")(x), dropout, "H_dropout"), units, use_bias, "H_dense")


def _tail_gnap(x, units, dropout, use_bias, bn):
    if units > x.shape[-1]:
        x = _pointwise(x, units, "relu", bn, "GNAP")
    x = layers.BatchNormalization(scale=False, name="GNAP_batchnorm", **bn)(x)
    length = ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)
    x = x * (ops.mean(length, axis=(1, 2), keepdims=True) / length)
    x = _dropout(layers.GlobalAveragePooling2D(name="GNAP_pool")(x), dropout, "GNAP_dropout")
    if units == x.shape[-1]:
        return x
    x = layers.BatchNormalization(scale=False, name="GNAP_pool_batchnorm", **bn)(x)
    return _dense(x, units, use_bias, "GNAP_dense")


def _tail_gdc(x, units, dropout, use_bias, bn):
    if x.shape[1] is None or x.shape[2] is None:
        raise ValueError(
            f"output_layer 'GDC' needs a fixed input size. Received: feature map {tuple(x.shape)}. Give input_shape, or use 'GAP'."
        )
    x = layers.DepthwiseConv2D(tuple(x.shape[1:3]), use_bias=False, name="GDC_dw")(x)
    x = _dropout(layers.BatchNormalization(name="GDC_batchnorm", **bn)(x), dropout, "GDC_dropout")
    x = layers.Conv2D(units, 1, use_bias=use_bias, kernel_initializer="glorot_normal", name="GDC_conv")(x)
    return layers.Flatten(name="GDC_flatten")(x)


TAILS = {
    "E": _tail_e, "F": _tail_f, "GAP": _tail_gap, "GDC": _tail_gdc, "GNAP": _tail_gnap, "G": _tail_g, "H": _tail_h,
}  # fmt: skip
BARE = ("G", "H")  # the embedding is what the dense layer gives, without a batch norm
