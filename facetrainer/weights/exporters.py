"""Basic model → file of LiteRT, ONNX, SavedModel or Keras."""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from facetrainer.backbones import surgery
from facetrainer.data.images import grey, normalised
from facetrainer.models import saving
from facetrainer.utils.optional import need
from facetrainer.weights.fold import fold_batch_norm

SUFFIXES = {"litert": ".tflite", "onnx": ".onnx", "savedmodel": "", "keras": ".keras"}
QUANTIZE = ("fp16", "int8", "dynamic")


def inference_model(
    model: keras.Model, raw: bool = True, unit_length: bool = False, batch: int | None = None
) -> keras.Model:
    """Basic model → the same for use alone: batch norms folded, last layer "embedding".

    `raw`: images come as uint8 (B, H, W, C) and are normalised inside, (x − 127.5) / 128; otherwise normalised, float32.
    `unit_length`: embeddings are divided by their length.

    Returns:
        The model.
    """
    inputs = layers.Input(model.input_shape[1:], batch, "uint8" if raw else "float32", name="image")
    x = layers.Rescaling(1 / 128, -127.5 / 128, name="normalise")(inputs) if raw else inputs
    x = fold_batch_norm(model)(x)
    x = layers.UnitNormalization(name="unit_length")(x) if unit_length else x
    return keras.Model(inputs, layers.Activation("linear", dtype="float32", name="embedding")(x), name=model.name)


def check_backend(to: str) -> None:
    """Whether the backend in use can write a form; before the work that the form is of.

    Args:
        to: As in `write`.

    Raises:
        ValueError: It cannot.
    """
    if to != "keras" and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{to!r} is written by TensorFlow's converter. Model files are the same on every backend: run the export with "
            'KERAS_BACKEND=tensorflow, where "face-trainer[cpu,export]" is installed.'
        )


def write(
    model: keras.Model, path: str, to: str, quantize: str | None = None, images: np.ndarray | None = None, raw: bool = True,
    unit_length: bool = False, batch: int | None = None, check: Callable[[str], None] = lambda part: None,
) -> None:  # fmt: skip
    """Writes a basic model for use alone.

    Args:
        model: The basic model.
        path: File to write, a folder for "savedmodel". What stands there stays unless all goes well.
        to: "litert", "onnx", "savedmodel" or "keras".
        quantize: "fp16", "int8", "dynamic" (weights in 8 bits), or None.
        images: uint8 `(n, H, W, C)`, what "int8" is calibrated on.
        raw: Whether images come as uint8 and are normalised inside. Defaults to `True`.
        unit_length: Whether embeddings are divided by their length. Defaults to `False`.
        batch: Images at a time; any number unless given, of LiteRT one.
        check: Called with the file before it gets its name; what it raises leaves no file. See `evaluation.comparison.export`.

    Raises:
        ValueError: `quantize` is not to be had, or the program cannot hold the model.
    """
    if quantize == "int8" and images is None:
        raise ValueError("int8 needs images to be calibrated on, a hundred or more as in training: give --data.")
    check_backend(to)
    if quantize and to not in ("litert", "onnx"):
        raise ValueError(f"quantize: {quantize!r} is for litert and onnx. Received: {to!r}")
    if model.inputs[0].dtype == "uint8":
        raise ValueError(f"{model.name} takes uint8 and is for use already: give the model that it was made of.")
    if images is not None and model.input_shape[-1] == 1 < images.shape[-1]:
        images = grey(images)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    options = {"raw": raw, "unit_length": unit_length, "batch": batch}
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(path))) as home:
        part = os.path.join(home, f"part{SUFFIXES[to]}")
        with _quiet():
            WRITERS[to](model, part, quantize, images, options)
        check(part)
        _make_room(path)
        os.replace(part, path)


@contextlib.contextmanager
def _quiet():
    """The converters tell every step of theirs; what goes wrong they raise."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _make_room(path):
    """A SavedModel folder goes, as a file would; no other folder does."""
    if os.path.exists(os.path.join(path, "saved_model.pb")):
        shutil.rmtree(path)
    elif os.path.isdir(path):
        raise ValueError(f"{path} is a folder that holds no SavedModel: give another name.")


def _litert(model, path, quantize, images, options):
    raw, batch = options["raw"], options["batch"] or 1
    whole = inference_model(model, **{**options, "batch": batch})
    whole = _float_input(whole) if quantize == "int8" and raw else whole
    whole.export(path, format="litert", verbose=False, **_converter(quantize, images, raw, batch))


def _converter(quantize, images, raw, batch):
    """What TensorFlow's converter is to do."""
    from tensorflow import float16, float32, lite, uint8

    target, options = {"supported_ops": [lite.OpsSet.TFLITE_BUILTINS]}, {}
    if quantize:
        options["optimizations"] = [lite.Optimize.DEFAULT]
    if quantize == "fp16":
        target["supported_types"] = [float16]
    if quantize == "int8":
        seen = images.astype(np.float32) if raw else normalised(images)
        options["representative_dataset"] = lambda: ([np.repeat(image[None], batch, axis=0)] for image in seen)
        options["inference_input_type"] = uint8 if raw else float32
    return {"target_spec": target, **options}


def _float_input(model):
    """Of raw values: the converter makes it uint8 itself, and quantises from there."""
    inputs = layers.Input(batch_shape=model.input.shape, dtype="float32", name="image")
    x = inputs
    for layer in model.layers[1:]:
        x = layer(x)
    return keras.Model(inputs, x, name=model.name)


def _onnx(model, path, quantize, images, options):
    for module in ("onnx", "tf2onnx", "onnxruntime"):
        need(module, "onnx tf2onnx onnxruntime", "an ONNX export")
    plain = path if not quantize else f"{path}.plain.onnx"
    whole = inference_model(surgery.rebuild(model, _plain_groups), **options)
    image = keras.InputSpec(whole.input.dtype, whole.input.shape, name="image")
    whole.export(plain, format="onnx", verbose=False, input_signature=[image])
    _name_ends(plain)
    if quantize:
        ONNX_QUANTIZE[quantize](plain, path, images, options["raw"])


class _GroupedConv2D(layers.Conv2D):
    """Keras wraps a grouped convolution in a function of its own for CPUs, which ONNX cannot hold."""

    def convolution_op(self, inputs, kernel):
        from tensorflow import nn

        return nn.convolution(
            inputs, kernel, list(self.strides), self.padding.upper(), dilations=list(self.dilation_rate)
        )


def _plain_groups(layer):
    if type(layer) is layers.Conv2D and layer.groups > 1:
        return _GroupedConv2D.from_config(layer.get_config())
    return None


def _without_erfc(graph):
    """TensorFlow's GELU is made of erfc, which ONNX lacks: erfc(x) = 1 − erf(x)."""
    from onnx import helper, numpy_helper

    nodes = list(graph.node)
    if not any(node.op_type == "Erfc" for node in nodes):
        return
    graph.initializer.append(numpy_helper.from_array(np.float32(1), "erfc_one"))
    del graph.node[:]
    for node in nodes:
        if node.op_type == "Erfc":
            erf = f"{node.output[0]}_erf"
            graph.node.append(helper.make_node("Erf", node.input, [erf]))
            node = helper.make_node("Sub", ["erfc_one", erf], node.output)
        graph.node.append(node)


def _name_ends(path):
    """The converter's own names change from file to file; the ends are "image", "embedding", and "batch" of them."""
    import onnx

    whole = onnx.load(path)
    (output,), old = whole.graph.output, whole.graph.output[0].name
    for node in whole.graph.node:
        node.input[:] = ["embedding" if name == old else name for name in node.input]
        node.output[:] = ["embedding" if name == old else name for name in node.output]
    output.name = "embedding"
    for end in (*whole.graph.input, output):
        if not end.type.tensor_type.shape.dim[0].HasField("dim_value"):
            end.type.tensor_type.shape.dim[0].dim_param = "batch"
    _without_erfc(whole.graph)
    strange = sorted({node.op_type for node in whole.graph.node if node.op_type == "StatefulPartitionedCall"})
    if strange:
        raise ValueError(f"ONNX has no operation for {strange[0]}, which this model needs: export it to litert.")
    onnx.save(whole, path)


def _onnx_fp16(plain, path, images, raw):
    onnx = need("onnx", "onnx", "an ONNX export")
    float16 = need("onnxruntime.transformers.float16", "onnxruntime", "fp16 in ONNX")
    onnx.save(float16.convert_float_to_float16(onnx.load(plain), keep_io_types=True), path)


def _onnx_dynamic(plain, path, images, raw):
    quantization = need("onnxruntime.quantization", "onnxruntime", "quantisation in ONNX")
    quantization.quantize_dynamic(plain, path, weight_type=quantization.QuantType.QUInt8)


def _onnx_int8(plain, path, images, raw):
    quantization = need("onnxruntime.quantization", "onnxruntime", "quantisation in ONNX")
    images = images if raw else normalised(images)
    batches = iter([{"image": image[None]} for image in images])
    reader = type("Reader", (quantization.CalibrationDataReader,), {"get_next": lambda self: next(batches, None)})()
    quantization.quantize_static(plain, path, reader, per_channel=True)


ONNX_QUANTIZE = {"fp16": _onnx_fp16, "dynamic": _onnx_dynamic, "int8": _onnx_int8}


def _savedmodel(model, path, quantize, images, options):
    inference_model(model, **options).export(path, format="tf_saved_model", verbose=False)


def _keras(model, path, quantize, images, options):
    saving.save(inference_model(model, **options), path)


WRITERS = {"litert": _litert, "onnx": _onnx, "savedmodel": _savedmodel, "keras": _keras}
