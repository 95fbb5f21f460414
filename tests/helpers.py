"""What several tests use: a small model, a trainer on drawn people, a process that dies."""

import os

import keras
import numpy as np
import pytest

from facetrainer import Train, models
from facetrainer.metrics import verification

ON_TENSORFLOW = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own way")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def small_model(emb_shape=16, **kwargs):
    """A basic model that trains in a second."""
    options = {"input_shape": (32, 32, 3), "widths": (8, 16), "output_layer": "E", "bn_momentum": 0.9, **kwargs}
    return models.buildin_models("r_tiny", emb_shape=emb_shape, **options)


def tiny_model(emb_shape=16, bn_momentum=0.9, dropout=0.0):
    """The least that has all that a trainer meets: convolutions, batch normalisation, PReLU, dropout. Compiles in a third of the time."""
    inputs = x = keras.Input((32, 32, 3))
    for name, filters in (("stem", 8), ("stack1_1", 16)):
        x = keras.layers.Conv2D(filters, 3, 4, "same", use_bias=False, name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(momentum=bn_momentum, name=f"{name}_bn")(x)
        x = keras.layers.PReLU(shared_axes=(1, 2), name=f"{name}_act")(x)
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    x = keras.layers.Dense(emb_shape, name="E_dense")(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="embedding")(x), name="tiny")


def make(data_path, save_path="run.keras", seed=0, **kwargs):
    """A `Train` in the working folder."""
    keras.utils.set_random_seed(seed)
    model = {} if "model" in kwargs or "basic_model" in kwargs else {"basic_model": tiny_model()}
    options = {"batch_size": 16, "lr_base": 0.05, "random_status": 0, "verbose": 0, "report": False}
    return Train(data_path, save_path, **{**options, **model, **kwargs})


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.9)


def weights_of(trainer):
    return arrays([*trainer.model.weights, *trainer.model.optimizer.variables])


def assert_equal_runs(first, second):
    """Weights, optimizer and history to the last bit."""
    for a, b in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.my_history.history == second.my_history.history


class Kill(keras.callbacks.Callback):
    """Dies like a process, at batch `after` of the run."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def on_train_batch_end(self, batch, logs=None):
        self.after -= 1
        if self.after < 0:
            raise KeyboardInterrupt


class Watch(keras.callbacks.Callback):
    """Copies of something after each batch."""

    def __init__(self, look):
        super().__init__()
        self.look, self.seen = look, []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.look(self.model))


def arrays(weights):
    return [keras.ops.convert_to_numpy(w).copy() for w in weights]


def gradients(function, *values):
    """Gradients of a number made of arrays, on the backend in use."""
    if keras.backend.backend() == "jax":
        import jax

        found = jax.grad(function, argnums=tuple(range(len(values))))(*map(keras.ops.convert_to_tensor, values))
    else:
        import tensorflow as tf

        variables = [tf.Variable(value) for value in values]
        with tf.GradientTape() as tape:
            total = function(*variables)
        found = tape.gradient(total, variables)
    return [keras.ops.convert_to_numpy(one) for one in found]


def looks(batch):
    """uint8 (B, 112, 112, 3) → its colours in 7×7 places."""
    assert batch.dtype == np.uint8 and batch.shape[1:] == (112, 112, 3)
    small = batch.reshape(len(batch), 7, 16, 7, 16, 3).mean((2, 4)).reshape(len(batch), -1)
    return (small - small.mean(axis=1, keepdims=True)).astype(np.float32)


def looks_of_floats(batch):
    return looks(np.rint(batch * 128 + 127.5).astype(np.uint8))


def random_pairs(seed, pairs=120, size=16, decimals=None):
    """Embeddings (2n, D) of length 1 and same (n,)."""
    rng = np.random.default_rng(seed)
    same = rng.permutation(np.arange(pairs) % 2 == 0)
    first, second = rng.normal(size=(2, pairs, size))
    second[same] = first[same] + rng.normal(size=(same.sum(), size)) * rng.uniform(0.3, 2)
    found = np.empty((2 * pairs, size))
    found[::2], found[1::2] = first, second
    found = verification.unit(found)
    return (np.round(found, decimals) if decimals else found), same


def contents(source):
    """(person, bytes) of every sample, in order of people."""
    order = np.argsort(source.labels, kind="stable")
    return [(source.class_names[source.labels[i]], source.read(int(i))) for i in order]
