"""Which of its backends Keras runs on."""

import importlib.util
import json
import os
import sys

LINES = {"cpu": "TensorFlow, for CPUs", "gpu": "TensorFlow with CUDA", "jax": "JAX, one device or many"}


def choose() -> None:
    """Lets Keras run on the backend that is installed, where the one it would take is not.

    What is asked for by `KERAS_BACKEND` or by an import of Keras stays. Call it before Keras is imported.

    Raises:
        ImportError: Neither TensorFlow, JAX nor PyTorch is installed; the message has the lines that install one.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or _is_there(_configured()):
        return
    for name in ("tensorflow", "jax", "torch"):
        if _is_there(name):
            os.environ["KERAS_BACKEND"] = name
            return
    lines = "\n".join(f'  pip install "face-trainer[{extra}]"  # {what}' for extra, what in LINES.items())
    raise ImportError(f"Keras needs a backend, and neither TensorFlow, JAX nor PyTorch is installed. One of:\n{lines}")


def _is_there(name):
    return importlib.util.find_spec(name) is not None


def _configured():
    """What Keras's own file says."""
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    try:
        with open(os.path.join(home, "keras.json"), encoding="utf-8") as file:
            return str(json.load(file).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"
