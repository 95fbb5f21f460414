"""Batch normalisation over each device's own images, inside plain Keras layers.

On JAX a batch that is spread over devices is still one batch: means and variances are of all of it. `set_local` gives the layers of a model
the other way, as arcface_torch and other programs with one process a device have it. Class, configuration and weights stay
`keras.layers.BatchNormalization`.
"""

import types

import keras
from keras import ops


def set_local(model: keras.Model, devices: int) -> None:
    """Switches every BatchNormalization of a model, nested ones included.

    Args:
        model: Any model.
        devices: Over how many parts of the batch to normalise apart; 1 for the whole batch.
    """
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.BatchNormalization and keras.backend.backend() == "jax":
            layer.__dict__.pop("call", None)
            if devices > 1 and not layer.renorm:
                object.__setattr__(layer, "call", types.MethodType(_call_of(devices), layer))


def _call_of(devices):
    def call(self, inputs, training=None, mask=None):
        if mask is not None or not (training and self.trainable):
            return type(self).call(self, inputs, training=training, mask=mask)
        parts = ops.cast(ops.reshape(inputs, (devices, -1, *inputs.shape[1:])), "float32")
        channels = self.axis % len(inputs.shape) + 1
        mean, variance = ops.moments(parts, [i for i in range(1, len(parts.shape)) if i != channels], keepdims=True)
        normal = ops.reshape((parts - mean) * ops.rsqrt(variance + self.epsilon), inputs.shape)
        _remember(self, mean, variance)
        return ops.cast(_scaled(self, normal, channels - 1), self.compute_dtype)

    return call


def _scaled(layer, normal, axis):
    shape = [-1 if i == axis else 1 for i in range(len(normal.shape))]
    normal = normal * ops.reshape(layer.gamma, shape) if layer.scale else normal
    return normal + ops.reshape(layer.beta, shape) if layer.center else normal


def _remember(layer, mean, variance):
    """What is kept for use is the mean over the devices."""
    for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        fresh = ops.mean(ops.reshape(new, (new.shape[0], -1)), axis=0)
        moving.assign(moving * layer.momentum + fresh * (1.0 - layer.momentum))
