"""Any model file, model or function → one callable: normalised images (B, H, W, 3) float32 RGB → embeddings (B, D) float32."""

import os
import zipfile
from collections.abc import Callable

import keras
import numpy as np

from facetrainer.data.images import grey, pixels
from facetrainer.io import zipped
from facetrainer.models import FaceModel, saving
from facetrainer.models.forward import forward
from facetrainer.utils.optional import need
from facetrainer.utils.quiet import held_back
from facetrainer.weights.importers import import_weights

Interface = Callable[[np.ndarray], np.ndarray]


def interface(
    model: str | keras.Model | Callable, threads: int | None = None, delegate: bool = True, trusted: bool = False
) -> Interface:
    """One callable for any model: of normalised images, (x − 127.5) / 128.

    A file that takes uint8 gets the pixels back as they were. A full model gives the embedding under its head. `image_size` tells the
    height and width that the result takes.

    Args:
        model: Keras model or file (.keras, .h5, SavedModel folder), ONNX, torch-jit or state dict (.pt, .pth), LiteRT (.tflite), MXNet
            (-symbol.json, .params or "prefix,epoch"), or a callable, which is returned as it is.
        threads: Of LiteRT and ONNX. Defaults to as many as the library likes.
        delegate: Whether LiteRT uses XNNPACK. Defaults to `True`.
        trusted: Whether SavedModel folders, torch-jit files and code in Keras files, which are programs, may run. Defaults to `False`.

    Returns:
        Function of images `(B, H, W, 3)` float32 that returns embeddings `(B, D)` float32.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: A library is missing; the message names the extra.
        ValueError: The file cannot be opened, or is a program that is not trusted.
    """
    if isinstance(model, str):
        return _open(model, threads, delegate, trusted)
    if isinstance(model, keras.Model):
        return _keras(model)
    if callable(model):
        return model
    raise ValueError(f"expected a model, a model file or a callable. Received: {model!r}")


def image_size(embed: Interface, default: tuple[int, int] = (112, 112)) -> tuple[int, int]:
    """Height and width of the images that an interface takes, `default` where its model does not say."""
    return getattr(embed, "image_size", default)


def _sized(embed, shape):
    """Notes the size of the images in an interface, and gives it gray ones where it has a single channel; `shape` (H, W, C)."""

    def fitted(images):
        return embed(_with_channels(images, shape[2]))

    if all(isinstance(side, int | np.integer) and side > 0 for side in shape[:2]):
        fitted.image_size = (int(shape[0]), int(shape[1]))
    return fitted


def _with_channels(images, channels):
    if channels == 1 < images.shape[-1]:
        return grey(images)
    return np.repeat(images, 3, axis=-1) if channels == 3 > images.shape[-1] else images


def _open(path, threads, delegate, trusted):
    path = file_of(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"model file {path!r} does not exist.")
    suffix = os.path.splitext(path)[1]
    if suffix not in OPENERS and not os.path.isdir(path):
        raise ValueError(f"model file {path!r}: expected {', '.join(OPENERS)} or a SavedModel folder.")
    opener = _saved_model if os.path.isdir(path) else OPENERS[suffix]
    try:
        return opener(path, threads=threads, delegate=delegate, trusted=trusted)
    except Exception as error:  # each runtime has exceptions of its own for a damaged file
        if isinstance(error, ValueError | OSError | ImportError) and path in str(error):
            raise
        raise ValueError(f"{path} cannot be opened: {type(error).__name__}: {error}") from error


def file_of(model: str) -> str:
    """The file that a name stands for: of MXNet's "prefix,epoch" the parameters, else the name."""
    prefix, _, epoch = model.rpartition(",")
    return f"{prefix}-{int(epoch):04d}.params" if prefix and epoch.isdecimal() else model


def _keras(model):
    names = [layer.name for layer in model.layers[-5:]]
    if isinstance(model, FaceModel) or "embedding" in names:
        model, _ = saving.split(model)
    fit = pixels if model.inputs[0].dtype == "uint8" else np.float32
    run = forward(model) if keras.backend.backend() == "jax" else model.predict_on_batch
    return _sized(lambda images: np.asarray(run(np.asarray(fit(images))), np.float32), model.input_shape[1:])


def _refuse_program(path, kind):
    raise ValueError(
        f"{path} is {kind}: a program, which can read and write files when it runs. If you trust where it comes from, open it with "
        "trusted=True (--trusted)."
    )


def _saved_model(path, threads, delegate, trusted):
    if not os.path.exists(os.path.join(path, "saved_model.pb")):
        raise ValueError(f"{path} is a folder without saved_model.pb: expected a SavedModel folder or a model file.")
    if not trusted:
        _refuse_program(path, "a SavedModel folder")
    layer = keras.layers.TFSMLayer(path, call_endpoint="serving_default")
    (wanted,) = layer.call_endpoint_fn.structured_input_signature[1].values()
    fit = pixels if wanted.dtype.name == "uint8" else np.float32

    def embed(images):
        found = layer(fit(images))
        return np.asarray(next(iter(found.values())) if isinstance(found, dict) else found, np.float32)

    return _sized(embed, wanted.shape[1:])


def _onnx(path, threads, delegate, trusted):
    runtime = need("onnxruntime", "onnxruntime", path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = runtime.InferenceSession(path, options, providers=runtime.get_available_providers())
    wanted = session.get_inputs()[0]
    channels_first = wanted.shape[1] in (1, 3)
    fit = pixels if wanted.type == "tensor(uint8)" else np.float32

    def embed(images):
        images = np.asarray(fit(images))
        images = images.transpose(0, 3, 1, 2) if channels_first else images
        return session.run(None, {wanted.name: np.ascontiguousarray(images)})[0]

    embed = _in_pieces(embed, wanted.shape[0]) if isinstance(wanted.shape[0], int) else embed
    return _sized(embed, [*wanted.shape[2:], wanted.shape[1]] if channels_first else wanted.shape[1:])


def _torch(path, threads, delegate, trusted):
    """A state dict holds no program and is imported; what torch.jit saved holds one."""
    if not _is_program(path):
        return _keras(import_weights(path))
    if not trusted:
        _refuse_program(path, "a torch-jit file")
    torch = need("torch", "torch", path)
    module = torch.jit.load(path, map_location="cpu").eval()

    def embed(images):
        with torch.no_grad():
            return module(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32))).numpy()

    return embed


def _is_program(path):
    if not zipfile.is_zipfile(path):
        return False
    with zipped.open_zip(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def _litert(path, threads, delegate, trusted):
    litert = need("ai_edge_litert.interpreter", "ai-edge-litert", path)
    kind = litert.OpResolverType.BUILTIN if delegate else litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with held_back():
        interpreter = litert.Interpreter(path, num_threads=threads, experimental_op_resolver_type=kind)
        interpreter.allocate_tensors()
    (wanted,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = wanted["quantization"]
    raw = wanted["dtype"] == np.uint8

    def embed(images):
        images = pixels(images) if raw else images
        images = np.rint(images / scale + zero) if raw and scale else images
        interpreter.set_tensor(wanted["index"], images.astype(wanted["dtype"]))
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return _sized(_in_pieces(embed, int(wanted["shape"][0])), wanted["shape"][1:])


def _in_pieces(embed, size):
    """For a file with a fixed batch: so many images at a time, the last ones filled up."""

    def piece(images):
        filled = np.zeros((size, *images.shape[1:]), np.float32)
        filled[: len(images)] = images
        return embed(filled)[: len(images)].copy()

    return lambda images: np.concatenate([piece(images[i : i + size]) for i in range(0, len(images), size)])


def _imported(path, threads, delegate, trusted):
    return _keras(import_weights(path))


def _opened(path, threads, delegate, trusted):
    return _keras(saving.load(path, compile=False, trusted=trusted))


OPENERS = {
    ".keras": _opened,
    ".h5": _opened,
    ".onnx": _onnx,
    ".pt": _torch,
    ".pth": _torch,
    ".tflite": _litert,
    ".params": _imported,
    ".json": _imported,
}
