"""Calling a model on JAX without touching its state: from any thread, while it trains, whatever its weights are spread over."""

from collections.abc import Callable

import keras
import numpy as np


def forward(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs a model as it is at each call.

    Keras's own `predict_on_batch` hands the weights over to the compiled step and takes them back, which two threads may not do at once.
    Weights that several devices hold are used on all devices of this process, with a part of the images on each.

    Args:
        model: Keras model with one output, which every device holds whole.

    Returns:
        Images `(batch, H, W, C)` → output `(batch, ...)`.
    """
    import jax

    run = jax.jit(lambda weights, others, images: model.stateless_call(weights, others, images, training=False)[0])

    def call(images):
        kinds = (model.trainable_variables, model.non_trainable_variables)
        weights = [[_here(v.value) for v in kind] for kind in kinds]
        spread = next((v.sharding for kind in weights for v in kind if len(v.sharding.device_set) > 1), None)
        if spread is None:
            return np.array(run(*weights, images))
        count = len(spread.device_set)
        filled = np.concatenate([images, np.zeros((-len(images) % count, *images.shape[1:]), images.dtype)])
        split = jax.sharding.NamedSharding(spread.mesh, jax.sharding.PartitionSpec(spread.mesh.axis_names[0]))
        return np.array(run(*weights, jax.device_put(filled, split)))[: len(images)]

    return call


def _here(value):
    """A value that every device holds, as an array of this process's devices alone."""
    import jax

    if value.is_fully_addressable:
        return value
    parts = [value.addressable_data(i) for i in range(len(value.sharding.addressable_devices))]
    mesh = jax.sharding.Mesh(np.array([part.device for part in parts]), ("local",))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.make_array_from_single_device_arrays(value.shape, whole, parts)
