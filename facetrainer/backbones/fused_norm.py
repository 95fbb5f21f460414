"""TensorFlow's fused batch normalisation inside plain Keras layers.

Keras 3 writes BatchNormalization out in single operations, which XLA joins again; where XLA is off (CPU, MirroredStrategy)
that costs half as much again per training image. `set_fused` gives the layers of a model another way to compute the same
thing. Class, configuration and weights stay `keras.layers.BatchNormalization`: saved files know nothing of it.
"""

import types

import keras

LEAST_EPSILON = 1.001e-5  # cuDNN refuses less


def set_fused(model: keras.Model, fused: bool) -> None:
    """Switch every BatchNormalization of `model`, nested ones included, to the fused operation or back."""
    if keras.backend.backend() != "tensorflow":
        return
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.BatchNormalization:
            layer.__dict__.pop("call", None)
            if fused and not (layer.synchronized or layer.renorm):
                object.__setattr__(layer, "call", types.MethodType(_call, layer))


def _call(self, inputs, training=None, mask=None):
    """The same as `BatchNormalization.call` for (B, H, W, C) inputs without a mask; others go to the plain one."""
    if mask is not None or len(inputs.shape) != 4 or self.axis not in (-1, 3):
        return type(self).call(self, inputs, training=training, mask=mask)
    import tensorflow as tf

    channels, learns = inputs.shape[-1], bool(training) and self.trainable
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.cast(self.gamma, tf.float32) if self.scale else tf.ones(channels),
        offset=tf.cast(self.beta, tf.float32) if self.center else tf.zeros(channels),
        mean=tf.zeros(0) if learns else tf.cast(self.moving_mean, tf.float32),
        variance=tf.zeros(0) if learns else tf.cast(self.moving_variance, tf.float32),
        epsilon=max(self.epsilon, LEAST_EPSILON),
        is_training=learns,
    )
    if learns:
        _remember(self, mean, _biased(variance, inputs))
    return y


def _biased(variance, inputs):
    """The operation gives Σ(x − μ)² / (n − 1); Keras keeps Σ(x − μ)² / n."""
    import tensorflow as tf

    n = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    return variance * (n - 1.0) / n


def _remember(layer, mean, variance):
    for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + new * (1.0 - layer.momentum))
