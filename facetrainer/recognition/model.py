"""A model with all that makes its embeddings comparable: what it sees, mirrored or not, its thresholds, which file it is."""

import glob
import hashlib
import logging
import os
from collections.abc import Sequence

import keras
import numpy as np

from facetrainer.data.alignment import LAYOUTS, Layout
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.interface import file_of
from facetrainer.metrics import calibration
from facetrainer.metrics.verification import unit
from facetrainer.utils.files import sha256_of

log = logging.getLogger("facetrainer")
NO_MODEL = """no model is given: --model FILE or the environment variable FACE_MODEL names one, else the best one of the last run in
checkpoints/ is taken, and there is none. One command makes one:
  facetrainer convert import arcface_r50.pt               a published model: arcface_torch, MXNet, ONNX, Keras_insightface
  facetrainer train lfw_distilled                         a small one after a teacher's, from LFW (recipes: facetrainer train --help)
  facetrainer train                                       one that knows drawn faces, to try things out
A LiteRT or ONNX file is taken as it is: --model face.tflite"""


class RecognitionModel:
    """A model that tells who is on a photo.

    Args:
        model: Model file of any format, or Keras model. Defaults to what `choose` finds.
        batch_size: Crops at a time. Defaults to `32`.
        trusted: Whether a model file may run code of its own. Defaults to `False`.

    Attributes:
        name: File, or name of the Keras model.
        digest: SHA-256 of the file, or of the weights: embeddings of another one are not comparable.
        layout: Size of a crop and the five points in it.
        mirrored: What becomes of the mirror image's embedding, as in `Embedder`: as the thresholds were made, else added.
        thresholds: What `facetrainer evaluate --calibrate` wrote beside the file, or None.

    Raises:
        ValueError: There is no model, or it takes images of a shape that no layout has.
    """

    def __init__(self, model: str | keras.Model | None = None, batch_size: int = 32, trusted: bool = False):
        model = choose() if model is None else model
        self.name = model if isinstance(model, str) else model.name
        self.embedder = Embedder(model, batch_size, trusted=trusted)
        self.digest = _digest(model)
        self.layout = layout_of(self.embedder.size)
        self.thresholds = calibration.read(model) if isinstance(model, str) else None
        self.mirrored = (self.thresholds or {}).get("mirrored", "sum")

    def __call__(self, crops: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Embeds aligned crops.

        Args:
            crops: uint8 `(n, height, width, 3)` of the layout's size.

        Returns:
            Embeddings of length 1, float32 `(n, D)`, and the lengths they had `(n,)` in parts of the usual one, which the thresholds file
            tells; ones without it.
        """
        if not len(crops):
            return np.zeros((0, 0), np.float32), np.zeros(0, np.float32)
        found = self.embedder(np.stack(crops), self.mirrored)
        usual = (self.thresholds or {}).get("length")
        return unit(found), np.linalg.norm(found, axis=1) / usual if usual else np.ones(len(found), np.float32)

    def about(self) -> dict:
        """What a gallery remembers of the model that made its embeddings."""
        points = "box" if self.layout.template is None else "five points"
        crops = f"{self.layout.height}x{self.layout.width} {points}"
        return {"model": self.name, "sha256": self.digest, "mirrored": self.mirrored, "crops": crops}


def layout_of(size: tuple[int, int]) -> Layout:
    """The layout of crops of a height and width.

    Args:
        size: Height and width that a model takes.

    Returns:
        The layout.

    Raises:
        ValueError: It is the shape of none.
    """
    exact = [one for one in LAYOUTS.values() if (one.height, one.width) == tuple(size)]
    if exact:
        return exact[0]
    try:
        return LAYOUTS["arcface" if size[0] == size[1] else "sphereface"].sized(*size)
    except ValueError:
        raise ValueError(
            f"the model takes images of {size[0]}x{size[1]}: known are 112x112 and other squares, 112x96 and its multiples."
        ) from None


def choose(model: str | None = None) -> str:
    """The model file to use.

    Args:
        model: What was asked for, if anything.

    Returns:
        That; or what `FACE_MODEL` names; or the newest best basic model in `checkpoints/`, then the newest latest one.

    Raises:
        ValueError: There is none; the message says how to get one.
    """
    named = model or os.environ.get("FACE_MODEL")
    if named:
        return named
    for pattern in ("*_basic_*_epoch_*", "*_basic_model_latest"):
        found = [path for suffix in (".keras", ".h5") for path in glob.glob(f"checkpoints/{pattern}{suffix}")]
        if found:
            newest = max(found, key=os.path.getmtime)
            log.info("model: %s", newest)
            return newest
    raise ValueError(NO_MODEL)


def _digest(model):
    if isinstance(model, str):
        path = file_of(model)
        if not os.path.isdir(path):
            return sha256_of(path)
        inner = sorted(glob.glob(os.path.join(path, "**"), recursive=True))
        return _joined(sha256_of(one).encode() for one in inner if os.path.isfile(one))
    return _joined(np.ascontiguousarray(one).tobytes() for one in model.get_weights())


def _joined(parts):
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()
