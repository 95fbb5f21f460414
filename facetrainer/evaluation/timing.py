"""Milliseconds a face: backbones × forms × threads."""

import os
import tempfile
import time

import keras
import numpy as np
import pandas as pd

from facetrainer.data.images import normalised
from facetrainer.evaluation import comparison as compare
from facetrainer.evaluation.interface import interface
from facetrainer.weights.exporters import SUFFIXES, write

FORMS = (
    "keras", "litert", "litert-dynamic", "litert-fp16", "litert-int8", "onnx", "onnx-dynamic", "onnx-fp16", "onnx-int8",
)  # fmt: skip


def table(
    models: dict[str, keras.Model], forms: list[str], threads: list[int], plain: bool = False, rounds: int = 20
) -> pd.DataFrame:
    """Basic models and forms → a row each: size in MB, median milliseconds of one image at every number of threads.

    `plain` times LiteRT without XNNPACK too. Keras takes the threads that TensorFlow has, whatever is asked for.

    Returns:
        The rows.
    """
    rows = []
    for name, model in models.items():
        images = compare.sample(None, 64, model.input_shape[1:3])
        for form in forms:
            with tempfile.TemporaryDirectory() as home:
                to, _, quantize = form.partition("-")
                path = os.path.join(home, f"model{SUFFIXES[to]}")
                write(model, path, to, quantize or None, images)
                rows += [row for row in _rows(name, form, path, images, threads, rounds, plain and to == "litert")]
    return pd.DataFrame(rows)


def _rows(name, form, path, images, threads, rounds, plain):
    for delegate in (True, False) if plain else (True,):
        label = form if delegate else f"{form} (no XNNPACK)"
        times = {f"threads={n} (ms)": median(interface(path, n, delegate), images, rounds) for n in threads}
        yield {"model": name, "form": label, "size (MB)": os.path.getsize(path) / 1e6, **times}


def median(embed, images, rounds):
    """Median milliseconds of one image, after two that do not count."""
    images, spent = normalised(images), []
    for round_ in range(rounds + 2):
        begin = time.perf_counter()
        embed(images[round_ % len(images)][None])
        spent.append(time.perf_counter() - begin)
    return 1000 * float(np.median(spent[2:]))
