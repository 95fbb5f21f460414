"""Sharpness-aware minimization."""

from collections.abc import Callable
from typing import Any

import keras


def sharpness_aware_step(model: keras.Model, rho: float, step: Callable, data: Any) -> dict:
    """A training step with the gradient taken at w + ρ g/‖g‖, g the gradient at w.

    The first gradient leaves the losses' memory alone; batch normalisation sees the batch twice. For TensorFlow, on one device;
    `models.stateless` has JAX's.

    Args:
        model: Compiled.
        rho: Radius ρ.
        step: Function of `data` that makes a training step.
        data: A batch.

    Returns:
        The step's logs.

    Raises:
        ValueError: The backend is none of TensorFlow and JAX.

    Reference:
        Foret et al., ICLR 2021, arXiv:2010.01412, algorithm 1.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError("sam_rho needs the TensorFlow or the JAX backend. Leave it at 0.")
    shifts = _climb(model, rho, *keras.utils.unpack_x_y_sample_weight(data)[:2])
    logs = step(data)
    for v, shift in zip(model.trainable_variables, shifts, strict=True):
        v.assign_sub(shift)
    return logs


def _climb(model, rho, images, targets):
    """Move the weights by ρ g/‖g‖ → the moves."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        total, *_ = model.objective(targets, model(images, training=True), training=False)
    variables = model.trainable_variables
    gradients = tape.gradient(total, [v.value for v in variables], unconnected_gradients="zero")
    scale = rho / (tf.linalg.global_norm(gradients) + 1e-12)
    shifts = [tf.convert_to_tensor(g) * tf.cast(scale, g.dtype) for g in gradients]
    for v, shift in zip(variables, shifts, strict=True):
        v.assign_add(shift)
    return shifts
