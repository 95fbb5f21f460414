"""PReLU in one pass over memory on TensorFlow's CPUs, while a model trains.

TensorFlow computes a PReLU and its gradient in a dozen operations, each of which reads and writes the whole map: a third of the
time of a training step of MobileFaceNet. XLA joins them; convolutions, which it computes slowly on a CPU, stay where they are. Only
training takes this way: class, configuration, files and exports are those of `keras.layers.PReLU`.
"""

import contextlib
import contextvars
import functools
import types

import keras

_trains = contextvars.ContextVar("trains", default=False)


@contextlib.contextmanager
def while_training(trains: bool):
    """Inside, layers of `set_fused` take the joined operation if `trains`."""
    token = _trains.set(bool(trains))
    try:
        yield
    finally:
        _trains.reset(token)


def set_fused(model: keras.Model, fused: bool) -> None:
    """Switch every PReLU of `model` with a slope a channel to the joined operation or back; several replicas keep Keras's."""
    if keras.backend.backend() != "tensorflow":
        return
    fused = fused and model.distribute_strategy.num_replicas_in_sync == 1 and _compiles()
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.PReLU:
            layer.__dict__.pop("call", None)
            if fused and layer.shared_axes == [1, 2]:
                object.__setattr__(layer, "call", types.MethodType(_call, layer))


@functools.cache
def _compiles():
    """Whether this TensorFlow has XLA, and the door to its tape; builds for some systems have no XLA."""
    import tensorflow as tf

    try:
        from tensorflow.python.eager import record

        tf.function(lambda x: x + 1.0, jit_compile=True)(tf.zeros(1))
    except (ImportError, tf.errors.OpError):
        return False
    return hasattr(record, "record_operation") and hasattr(record, "stop_recording")


def _call(self, inputs):
    if not _trains.get() or len(inputs.shape) != 4:
        return type(self).call(self, inputs)
    import tensorflow as tf

    return _prelu(inputs, tf.cast(self.alpha, inputs.dtype))


def _prelu(x, slope):
    """Told to the tape by hand: `tf.custom_gradient` keeps every graph that it was ever traced in."""
    from tensorflow.python.eager import record

    forward, backward = _joined()
    with record.stop_recording():
        y = forward(x, slope)
    record.record_operation("PReLU", [y], [x, slope], lambda gradient: backward(x, slope, gradient))
    return y


@functools.cache
def _joined():
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def forward(x, slope):
        return tf.where(x > 0, x, slope * x)

    @tf.function(jit_compile=True)
    def backward(x, slope, gradient):
        below = tf.where(x > 0, tf.zeros_like(x), gradient * x)
        slopes = tf.reduce_sum(tf.cast(below, tf.float32), axis=[0, 1, 2], keepdims=True)[0]
        return tf.where(x > 0, gradient, slope * gradient), tf.cast(slopes, slope.dtype)

    return forward, backward
