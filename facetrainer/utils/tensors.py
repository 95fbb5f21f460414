"""Lengths of vectors, with gradients on every backend; rows of one person."""

from typing import Any

from keras import ops

Tensor = Any  # of TensorFlow, JAX or torch


def unit(x, axis: int = -1):
    """Vectors of length 1. One of zeros stays one and has a gradient, which `keras.ops.normalize` has not on JAX.

    Args:
        x: Tensor.
        axis: Along which its vectors lie. Defaults to `-1`.

    Returns:
        Tensor of the same shape.
    """
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), 1e-14))


def length(x):
    """Euclidean norm, `(batch, D)` → `(batch,)`, whose gradient is 0 and not NaN for a vector of zeros."""
    return ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=-1), 1e-24))


def last_rows(labels):
    """For each image of a batch the number of the last one of its person: writing that one's row for all, their order does not matter.

    Args:
        labels: `(batch,)`.

    Returns:
        Integer tensor `(batch,)`.
    """
    rows = ops.arange(labels.shape[0])
    return ops.max(ops.where(labels[:, None] == labels[None], rows[None], -1), axis=1)
