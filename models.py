"""Backbone + tail = basic model (image → embedding); basic model + head + losses = `FaceModel`, which trains.

A basic model is a plain functional Keras model whose last layer is named "embedding"; it loads without any code of ours.
"""

import logging
import os
import re
import tempfile

import keras
import numpy as np
from keras import layers, ops

import backbones
import losses  # noqa: F401  registers the losses, so that saved models are found
import optimizers
from backbones import fused_norm, parts, resnet, surgery, table
from backbones.surgery import (  # noqa: F401  as models.add_l2_regularizer_2_model
    AconC,
    add_l2_regularizer_2_model,
    convert_mixed_float16_to_float32,
    convert_to_batch_renorm,
    convert_to_mixed_float16,
    replace_add_with_stochastic_depth,
    replace_ReLU_with_PReLU,
    replace_stochastic_depth_with_add,
)
from criteria.heads import Head, NormDense, NormDenseVPL, PartialNormDense, SoftmaxHead  # noqa: F401  as models.NormDense
from foreign import mxnet, onnx, saved_model, torch_state
from formats import mxnetfile, onnxfile, torchfile

log = logging.getLogger("face")


# ------------------------------------------------------------------------------------------------------- basic models


def print_buildin_models() -> None:
    """Print every name that `buildin_models` knows, with parameters and multiply-additions as in `backbones.table`."""
    print(">>>> buildin_models, 112×112×3 → 512, output_layer; million parameters, million multiply-additions")
    for name in backbones.names():
        tail, parameters, macs = table.TABLE[name]
        print(f"{name:22} {tail:5} {parameters / 1e6:8.2f} {macs / 1e6:10.1f}")


def buildin_models(
    stem_model, dropout=1, emb_shape=512, input_shape=(112, 112, 3), output_layer="GDC", bn_momentum=0.99, bn_epsilon=0.001,
    add_pointwise_conv=False, pointwise_conv_act="relu", use_bias=False, scale=True, weights=None, **kwargs,
) -> keras.Model:  # fmt: skip
    """Backbone name or model → basic model, (B, H, W, C) normalised images → (B, emb_shape).

    `output_layer`: "E" BN, dropout, flatten, dense (InsightFace); "F" the same without the BN; "GAP" mean over the map;
    "GDC" depthwise convolution over the whole map (MobileFaceNet); "GNAP" mean over the map, every place as strong as the
    others (InsightFace; its mean length is the image's here, not the batch's, so that an embedding does not depend on its
    neighbours); and with no batch norm at the end "G", BN and dense, and "H", dense alone. `dropout` 0 or 1 is none. `bn_momentum` and
    `bn_epsilon` go to every BatchNormalization when they differ from the defaults. `weights="imagenet"` downloads.
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


# ---------------------------------------------------------------------------------------------------------- FaceModel


@keras.saving.register_keras_serializable("face")
class Mean(keras.losses.Loss):
    """Mean of values that are losses already: Keras's own way to divide by the global batch on several replicas."""

    def call(self, y_true, y_pred):
        return y_pred


@keras.saving.register_keras_serializable("face")
class FaceModel(keras.Model):
    """Embedder + head + the losses ("terms") of one stage.  (B, H, W, C) images → embedding (B, D).

    uint8 images are normalised here, (x − 127.5) / 128; floating-point ones are taken as they are. Logs: loss, accuracy
    (without a margin), target_cosine, each term by its name when there are several, what the losses note, embedding_spread
    (1 − ‖mean of the unit embeddings‖², 0 when all faces fall on one point), regular_loss when there is one.
    """

    def __init__(self, embedder, head=None, terms=(), term_weights=None, name="face_model"):
        super().__init__(name=name)
        self.embedder, self.head, self.terms = embedder, head, list(terms)
        self.term_weights = [float(w) for w in term_weights or [1.0] * len(self.terms)]
        if head is not None and not head.built:
            head.build((None, embedder.output_shape[-1]))
            head.built = True
        for term in (term for term in self.terms if not term.built):
            term.attach(head.units if head else getattr(term, "num_classes", 0) or 0, embedder.output_shape[-1])
        self.mean, self.sam_rho = Mean(), 0.0
        self.average(0.0)
        self.trackers = [keras.metrics.Mean(name=name) for name in self._tracker_names()]
        self.built = True

    def _tracker_names(self):
        names = [f"{term.short}_loss" for term in self.terms] if len(self.terms) > 1 else []
        names += ["accuracy"] if self.head is not None else []
        names += ["target_cosine"] if self.head is not None and self.head.gives == "cosine" else []
        names += dict.fromkeys(note for term in self.terms for note in term.notes)
        regular = self.losses or getattr(self.head, "kernel_regularizer", None)
        return names + ["embedding_spread"] + (["regular_loss"] if regular else [])

    def get_config(self):
        return {
            "embedder": keras.saving.serialize_keras_object(self.embedder),
            "head": keras.saving.serialize_keras_object(self.head),
            "terms": [keras.saving.serialize_keras_object(term) for term in self.terms],
            "term_weights": self.term_weights,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("embedder", "head", "terms")}
        return cls(**{**config, **parts})

    def compile(self, *args, **kwargs):
        """As Keras's; where XLA will not run, batch normalisation is switched to the fused operation."""
        super().compile(*args, **kwargs)
        fused_norm.set_fused(self, not self.jit_compile)

    def get_compile_config(self):
        return {"optimizer": keras.optimizers.serialize(self.optimizer)} if self.compiled else None

    def compile_from_config(self, config):
        self.compile(keras.optimizers.deserialize(config["optimizer"]))
        self.optimizer.build(self.trainable_variables)

    def call(self, images, training=False):
        if keras.backend.is_int_dtype(images.dtype):
            images = (ops.cast(images, "float32") - 127.5) / 128.0
        return self.embedder(images, training=training)

    def named_outputs(self, embedding, targets: dict, training: bool = False) -> dict:
        """Everything that a loss may read, by name; "columns" are the labels as columns of the head's scores."""
        embedding = ops.cast(embedding, "float32")
        outputs = {**targets, "embedding": embedding}
        if any("norm" in term.reads for term in self.terms):
            outputs["norm"] = ops.norm(embedding, axis=-1)
        if self.head is not None:
            labels = ops.concatenate([targets[name] for name in ("labels", "labels2") if name in targets])
            outputs[self.head.gives], columns = self.head(embedding, labels, training=training)
            size = targets["labels"].shape[0] or ops.shape(targets["labels"])[0]
            outputs["columns"], outputs["columns2"] = columns[:size], columns[size:]
        return outputs

    def objective(self, targets: dict, embedding, training: bool = True):
        """→ weighted sum of the terms and the regularisation, values of each term, outputs, regularisation or None."""
        outputs = self.named_outputs(embedding, targets, training)
        values = [self._value(term, outputs, training) for term in self.terms]
        total = sum(weight * self.mean(value, value) for weight, value in zip(self.term_weights, values, strict=True))
        regular = sum(self.losses) if self.losses else None
        total = total if regular is None else total + self.mean(*[ops.reshape(regular, (1,))] * 2)
        return total, values, outputs, regular

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """`objective`, reduced over the global batch, and the numbers for the logs."""
        total, *seen = self.objective(y, y_pred, training)
        self._track(*seen)
        return total

    def _value(self, term, outputs, training):
        """(B,); of mixed images both labels count, by their shares, and memory moves for the first alone."""
        reads, labels = [outputs[name] for name in term.reads], "columns" if term.head else "labels"
        value = term(outputs[labels], *reads, training=training)
        if "mix" not in outputs:
            return value
        return outputs["mix"] * value + (1 - outputs["mix"]) * term(outputs[f"{labels}2"], *reads)

    def _track(self, values, outputs, regular):
        found = {f"{term.short}_loss": value for term, value in zip(self.terms, values, strict=True)}
        found.update({name: value for term in self.terms for name, value in term.noted.items()})
        found["regular_loss"] = 0.0 if regular is None else regular
        middle = ops.mean(ops.normalize(outputs["embedding"], axis=-1), axis=0)
        found["embedding_spread"] = 1.0 - ops.sum(ops.square(middle))
        if self.head is not None:
            scores, columns = outputs[self.head.gives], outputs["columns"]
            found["accuracy"] = ops.cast(ops.equal(ops.argmax(scores, -1), ops.cast(columns, "int32")), "float32")
            found["target_cosine"] = ops.take_along_axis(scores, columns[:, None], axis=1)
        for tracker in self.trackers:
            tracker.update_state(found[tracker.name])

    def train_step(self, *args):
        """As Keras's; with `sam_rho` the gradient is taken at the worst point near by; running means follow."""
        plain = super().train_step
        logs = optimizers.sharpness_aware_step(self, self.sam_rho, plain, *args) if self.sam_rho else plain(*args)
        if self.averages:
            self.averages.update()
        return logs

    def average(self, momentum: float) -> None:
        """From now on keep running means of all weights of embedder and head; 0: keep none."""
        if momentum and keras.backend.backend() != "tensorflow":
            raise ValueError("'ema' needs the TensorFlow backend. Set KERAS_BACKEND=tensorflow, or leave it out.")
        weights = [*self.embedder.weights, *(self.head.weights if self.head else [])] if momentum else []
        averages = optimizers.Averages(weights, momentum) if momentum else None
        object.__setattr__(self, "averages", averages)  # no weights of the model: they are not saved with it

    def swap_average(self) -> None:
        """Exchange weights and running means."""
        if self.averages:
            self.averages.swap()

    def leave_average(self) -> None:
        """Keep the running means as weights from here on."""
        self.swap_average()
        self.average(0.0)


# -------------------------------------------------------------------------------------------------------- save and load


def load(path: str, custom_objects: dict | None = None, compile: bool = True) -> keras.Model:
    """`.keras` or `.h5` → model; every registered loss, head and model of ours is known here, and `.h5` files of Keras 2 are read."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"model file {path!r} does not exist. Expected a .keras or .h5 file.")
    if not path.endswith((".keras", ".h5", ".hdf5")):
        raise ValueError(
            f"model file {path!r}: expected .keras or .h5. Files of other programs: models.import_weights."
        )
    known = {**(KERAS_2 if path.endswith(".h5") else {}), **(custom_objects or {})}
    return keras.models.load_model(path, custom_objects=known, compile=compile)


def import_weights(path: str, input_shape: tuple[int, int, int] = (112, 112, 3)) -> keras.Model:
    """File of another program → basic model of images (x − 127.5) / 128.

    arcface_torch's `.pt` / `.pth` state dicts (r18 … r200, mbf, mbf_large, vit_*) and `.onnx` exports of its networks, MXNet's
    `model-symbol.json` or `model-0000.params` (both in one folder), Keras_insightface's `.h5`, SavedModel folders of
    Keras 2. None of torch, onnx and mxnet is needed.
    ValueError says what is not known.
    """
    if path.endswith((".pt", ".pth")):
        return _from_state(torchfile.read_state(path), input_shape, path)
    if path.endswith((".json", ".params")):
        symbol, params = _mxnet_pair(path)
        return mxnet.build(symbol, mxnetfile.read_params(params), input_shape)
    if path.endswith(".onnx"):
        graph = onnxfile.read_graph(path)
        if "pos_embed" in graph.weights:
            return _from_state(torch_state.from_graph(graph.weights, graph.products()), input_shape, path)
        model = onnx.build(graph, input_shape, path)
        return model if onnx.takes_pixels(graph) else _scaled_stem(model)
    if path.endswith((".h5", ".keras")):
        return split(load(path, compile=False))[0]
    if os.path.isdir(path):
        with tempfile.TemporaryDirectory() as home:
            saved_model.write_h5(path, os.path.join(home, "model.h5"))
            return split(load(os.path.join(home, "model.h5"), compile=False))[0]
    raise ValueError(f"{path}: expected .pt, .pth, .onnx, -symbol.json, .params, .h5, .keras or a SavedModel folder.")


def _from_state(state, input_shape, path):
    model = buildin_models(**torch_state.describe(state, resnet.DEPTHS, path), input_shape=input_shape)
    for name, arrays in torch_state.weights(state, model).items():
        model.get_layer(name).set_weights(arrays)
    return _scaled_stem(model)


def _scaled_stem(model):
    """The first convolution takes (x − 127.5) / 128 instead of arcface_torch's (x − 127.5) / 127.5."""
    stem = next(layer for layer in model.layers if layer.weights)
    kernel, *rest = stem.get_weights()
    stem.set_weights([kernel * np.float32(128 / 127.5), *rest])
    return model


def _mxnet_pair(path):
    """`prefix-symbol.json` or `prefix-0000.params` → both."""
    prefix = re.sub(r"-(symbol\.json|\d+\.params)$", "", path)
    symbol, params = f"{prefix}-symbol.json", path if path.endswith(".params") else f"{prefix}-0000.params"
    for one in (symbol, params):
        if not os.path.exists(one):
            raise FileNotFoundError(
                f"{one} does not exist: an MXNet model is prefix-symbol.json and prefix-0000.params."
            )
    return symbol, params


def _without(kind, *names):
    """What Keras 2 wrote for a layer → the layer; arguments that Keras 3 does not have any more are left out."""

    def from_config(config):
        return kind.from_config({key: value for key, value in config.items() if key not in names})

    return type(kind.__name__, (), {"from_config": staticmethod(from_config)})


def _norm_dense(config):
    config = {
        key: value for key, value in config.items() if key in ("units", "name", "kernel_regularizer", "loss_top_k")
    }
    return NormDense.from_config(config)


KERAS_2 = {
    "SeparableConv2D": _without(
        layers.SeparableConv2D, "groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"
    ),
    "DepthwiseConv2D": _without(
        layers.DepthwiseConv2D, "groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"
    ),
    **dict.fromkeys(
        ("keras_insightface>NormDense", "NormDense"), type("NormDense", (), {"from_config": staticmethod(_norm_dense)})
    ),
}


def save(model: keras.Model, path: str) -> None:
    """Write `.keras` or `.h5` so that a crash leaves the old file whole.

    HDF5 holds functional models only: a FaceModel is written there as image → scores, without the losses' memory.
    """
    stem, suffix = os.path.splitext(path)
    if suffix not in (".keras", ".h5"):
        raise ValueError(f"expected a name ending in .keras or .h5. Received: {path!r}")
    if suffix == ".h5" and isinstance(model, FaceModel):
        model = _functional(model)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    model.save(f"{stem}.part{suffix}")
    os.replace(f"{stem}.part{suffix}", path)


def _functional(model):
    embedder = model.embedder
    if model.head is None:
        return embedder
    return keras.Model(embedder.inputs[0], model.head(embedder.outputs[0]))


def split(model: keras.Model, layer: int | None = None) -> tuple[keras.Model, Head | None]:
    """Any saved or built model → (basic model, head or None).

    The embedding is the output of layer `layer`, or of the layer named "embedding" among the last five.
    """
    if isinstance(model, FaceModel):
        return model.embedder, model.head
    if layer is None:
        named = [
            i for i, found in enumerate(model.layers[-5:], len(model.layers[-5:]) * -1) if found.name == "embedding"
        ]
        if not named:
            names = ", ".join(found.name for found in model.layers[-5:])
            raise ValueError(
                f"no layer named 'embedding' among the last five ({names}): give its index as basic_model."
            )
        layer = named[-1]
    heads = [found for found in model.layers if isinstance(found, Head)]
    return keras.Model(model.inputs[0], model.layers[layer].output), heads[-1] if heads else None
