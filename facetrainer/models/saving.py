"""Model files of Keras: written whole, read with everything of ours known."""

import contextlib
import os

import keras
from keras import layers

from facetrainer import distributed, losses, optimizers  # noqa: F401  registers them, so that saved models are found
from facetrainer.heads import Head, NormDense
from facetrainer.models import vetting
from facetrainer.models.face_model import FaceModel
from facetrainer.utils.files import replacing
from facetrainer.utils.finite import NotFiniteError


def load(path: str, custom_objects: dict | None = None, compile: bool = True, trusted: bool = False) -> keras.Model:
    """Opens a model file.

    Every registered loss, head and model of ours is known here, and `.h5` files of Keras 2 are read.

    Args:
        path: `.keras` or `.h5`.
        custom_objects: Further classes, by the names that stand in the file.
        compile: Whether to compile the model as it was compiled when it was saved. Defaults to `True`.
        trusted: Leaves out the look at the file (see `models.vetting`) and lets Keras run what the file brings along, as Lambda layers. For
            files of your own. Defaults to `False`.

    Returns:
        The model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or holds more than a network.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"model file {path!r} does not exist. Expected a .keras or .h5 file.")
    if not path.endswith((".keras", ".h5", ".hdf5")):
        raise ValueError(
            f"model file {path!r}: expected .keras or .h5. Files of other programs: models.import_weights."
        )
    known = {**(KERAS_2 if path.endswith(".h5") else {}), **(custom_objects or {})}
    if trusted:
        return keras.models.load_model(path, custom_objects=known, compile=compile, safe_mode=False)
    vetting.check(path, known)
    with vetting.settings_kept(path):
        try:
            return keras.models.load_model(path, custom_objects=known, compile=compile, safe_mode=True)
        except Exception as error:  # Keras raises nearly anything for weights that do not fit
            raise ValueError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error


def load_weights(model: keras.Model, path: str) -> None:
    """Puts the weights of a file into a model.

    Args:
        model: Any model.
        path: `.weights.h5`, `.h5` or `.keras` of a model of the same layers.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, holds more than numbers, or has other layers.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"weights file {path!r} does not exist.")
    vetting.check_weights(path)
    try:
        model.load_weights(path)
    except Exception as error:  # Keras raises nearly anything for weights that do not fit
        raise ValueError(f"{path}: its weights do not fit the model: {error}") from error


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
    """Writes a model so that a crash leaves the old file whole.

    HDF5 holds functional models only: a `FaceModel` is written there as image → scores, without the losses' memory.

    Args:
        model: Any model.
        path: Name ending in `.keras` or `.h5`.

    Raises:
        NotFiniteError: A weight is NaN or infinite; the file is left as it was.
        ValueError: The name ends otherwise.
    """
    suffix = os.path.splitext(path)[1]
    if suffix not in (".keras", ".h5"):
        raise ValueError(f"expected a name ending in .keras or .h5. Received: {path!r}")
    bad = next((v.path for v in model.weights if not distributed.is_finite(v)), None)
    if bad:
        raise NotFiniteError(f"{path}: {bad} is not finite; the file is left as it was")
    if suffix == ".h5" and isinstance(model, FaceModel):
        model = _functional(model)
    with replacing(path) as part, _whole_optimizer(model):
        model.save(part)


@contextlib.contextmanager
def _whole_optimizer(model):
    """The optimizer of a stage with frozen layers knows the others alone; a file has one for all that the model trains."""
    kept = getattr(model, "optimizer", None)
    covered = {id(v) for v in getattr(optimizers.inner_of(kept), "_trainable_variables", ())}
    if not isinstance(model, FaceModel) or kept is None or covered == {id(v) for v in model.trainable_variables}:
        yield
        return
    scales = isinstance(kept, keras.optimizers.LossScaleOptimizer)
    object.__setattr__(model, "optimizer", optimizers.successor(kept, model.trainable_variables, kept, scales)[0])
    try:
        yield
    finally:
        object.__setattr__(model, "optimizer", kept)


def _functional(model):
    embedder = model.embedder
    if model.head is None:
        return embedder
    return keras.Model(embedder.inputs[0], model.head(embedder.outputs[0]))


def split(model: keras.Model, layer: int | None = None) -> tuple[keras.Model, Head | None]:
    """Takes a full model apart.

    Args:
        model: Any saved or built model.
        layer: Index of the layer that gives the embedding; the one called "embedding" among the last five unless given. Defaults to
            `None`.

    Returns:
        Basic model, and head or None.

    Raises:
        ValueError: No such layer is there.
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
