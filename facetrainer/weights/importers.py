"""File of another program → basic model."""

import contextlib
import os
import re
import tempfile

import keras
import numpy as np

from facetrainer.backbones import resnet
from facetrainer.io import mxnetfile, onnxfile, torchfile
from facetrainer.models.builder import buildin_models
from facetrainer.models.saving import load, split
from facetrainer.utils import keras_compat
from facetrainer.weights import mxnet, onnx, saved_model, torch_state


def import_weights(path: str, input_shape: tuple[int, int, int] = (112, 112, 3), trusted: bool = False) -> keras.Model:
    """Makes a basic model of another program's file; none of torch, onnx and mxnet is needed.

    Args:
        path: arcface_torch's `.pt` / `.pth` state dicts (r18 … r200, mbf, mbf_large, vit_*) and `.onnx` exports of its networks, MXNet's
            `model-symbol.json` or `model-0000.params` (both in one folder), Keras_insightface's `.h5`, SavedModel folders of Keras 2.
        input_shape: `(height, width, channels)`, for files that do not tell. Defaults to `(112, 112, 3)`.
        trusted: See `models.load`, for `.h5` and `.keras`. Defaults to `False`.

    Returns:
        Basic model of images `(x − 127.5) / 128`.

    Raises:
        ValueError: The file is damaged or of a kind that is not known.
    """
    with _told(path):
        return _imported(path, input_shape, trusted)


@contextlib.contextmanager
def _told(path):
    """Whatever a damaged file makes go wrong is one line about the file."""
    try:
        yield
    except (ValueError, OSError, ImportError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _imported(path, input_shape, trusted):
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
        return split(load(path, compile=False, trusted=trusted))[0]
    if os.path.isdir(path):
        with tempfile.TemporaryDirectory() as home:
            saved_model.write_h5(path, os.path.join(home, "model.h5"))
            return split(load(os.path.join(home, "model.h5"), compile=False))[0]
    if path.endswith(".tflite"):
        raise ValueError(
            f"{path}: a LiteRT file runs as it is in evaluate, recognize and as a teacher, and cannot be trained: train a student of it, "
            f"facetrainer distill -D DATA -M {path}. A file that can be imported: .keras, .h5, .pt, .onnx, MXNet's."
        )
    raise ValueError(f"{path}: expected .pt, .pth, .onnx, -symbol.json, .params, .h5, .keras or a SavedModel folder.")


def _from_state(state, input_shape, path):
    described = torch_state.describe(state, resnet.DEPTHS, path)
    _check_size(described, state, input_shape, path)
    model = buildin_models(**described, input_shape=input_shape)
    for name, arrays in torch_state.weights(state, model).items():
        model.get_layer(name).set_weights(arrays)
    return _scaled_stem(model)


def _check_size(described, state, input_shape, path):
    """Names alone make no network: as many weights have to be there as it needs."""
    with keras_compat.without_values():
        needed = buildin_models(**described, input_shape=input_shape).count_params()
    given = sum(array.size for array in state.values())
    if needed > given:
        raise ValueError(f"{path}: a {described['stem_model']} needs {needed:,} weights. Received: {given:,}")


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
