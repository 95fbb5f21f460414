"""How each kind of file is opened, by its suffix: everything that a command would read of it."""

import os

from facetrainer import models
from facetrainer.data import sources
from facetrainer.data.images import IMAGE_TYPES, decode
from facetrainer.evaluation.interface import interface
from facetrainer.io import evalbin
from facetrainer.weights.importers import import_weights


def open_bin(path):
    for image in evalbin.read_bin(path)[0]:
        decode(image, (112, 112))


def open_image(path):
    with open(path, "rb") as file:
        decode(file.read(), (112, 112))


def open_source(path):
    source = sources.open_source(path)
    for i in range(len(source)):
        source.name(i)
        decode(source.read(i), (112, 112))


def open_params(path):
    from facetrainer.io.mxnetfile import read_params

    read_params(path)


def open_symbol(path):
    """Beside good parameters."""
    import shutil
    import tempfile

    import numpy as np
    from targets import params_of

    with tempfile.TemporaryDirectory() as home:
        shutil.copy(path, os.path.join(home, "n-symbol.json"))
        with open(os.path.join(home, "n-0000.params"), "wb") as file:
            file.write(params_of({"arg:w": np.ones((4, 3, 3, 3), np.float32)}))
        import_weights(os.path.join(home, "n-symbol.json"))


OPENERS = {
    ".bin": open_bin, ".pt": import_weights, ".onnx": import_weights, ".params": open_params, ".json": open_symbol,
    ".keras": interface, ".h5": models.load, **dict.fromkeys((*IMAGE_TYPES, ".gif"), open_image),
    **dict.fromkeys((".npz", ".rec", ".idx", ".tfrecord"), open_source),
}  # fmt: skip


def open_file(path):
    """Opens any file; ValueError or OSError where it cannot be."""
    OPENERS[os.path.splitext(path)[1]](path)
