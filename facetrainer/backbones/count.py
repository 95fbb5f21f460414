"""How large a model is and how much it computes, read off its layers."""

import keras
import numpy as np


def parameters(model: keras.Model) -> int:
    """Trainable weights, which is what torch counts."""
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def macs(model: keras.Model) -> int:
    """Multiply-additions an image in convolutions, dense layers and attention: what face recognition papers call FLOPs."""
    return sum(
        macs(op) if isinstance(op, keras.Model) else _of_one(op) for op in getattr(model, "operations", model.layers)
    )


def _of_one(op):
    if isinstance(op, keras.layers.Layer):
        kernels = [w for w in op.weights if "kernel" in w.path.split("/")[-1]]
        return sum(int(np.prod(op.output.shape[1:-1]) * np.prod(w.shape)) for w in kernels)
    if type(op).__name__ == "Matmul":
        return int(np.prod(op.output.shape[1:]) * op.input[0].shape[-1])
    return 0
