"""Optimizers step as the papers and libraries they are named for."""

import keras
import numpy as np
import pytest
from helpers import tiny_model

from facetrainer import models, optimizers


def test_sgdw_is_tensorflow_addons_sgdw():
    w = keras.Variable(np.array([1.0, -2.0], "float32"))
    optimizer = optimizers.SGDW(weight_decay=0.01, learning_rate=0.1, momentum=0.9)
    optimizer.build([w])
    expected, moment = np.array([1.0, -2.0]), np.zeros(2)
    for rate in (0.1, 0.1, 0.02):
        optimizer.learning_rate = rate
        optimizer.apply([np.array([0.5, 0.5], "float32")], [w])
        moment = 0.9 * moment - rate * 0.5
        expected = expected - 0.01 * (rate / 0.1) * expected + moment
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-5)
    again = optimizers.SGDW.from_config(optimizer.get_config())
    assert again.get_config() == optimizers.SGDW(0.01, 0.1, momentum=0.9).get_config()


@pytest.mark.parametrize(("decay_on", "bias"), [("all", 0.99), ("weights", 1.0)])
def test_decay_of_all_or_of_weights(decay_on, bias):
    layer = keras.layers.Dense(2)
    layer.build((None, 2))
    for v in layer.weights:
        v.assign(np.ones(v.shape))
    optimizer = optimizers.AdamW(0.01, 0.1, decay_on=decay_on)
    optimizer.build(layer.weights)
    optimizer.apply([np.zeros(v.shape, "float32") for v in layer.weights])
    np.testing.assert_allclose(layer.kernel, 0.99, rtol=1e-6)
    np.testing.assert_allclose(layer.bias, bias, rtol=1e-6)
    assert optimizers.AdamW.from_config(optimizer.get_config()).decay_on == decay_on


def muon(**kwargs):
    return optimizers.Muon(0.1, **{"weight_decay": 0, "rms_rate": None, "momentum": 0.0, "nesterov": False, **kwargs})


def step(optimizer, start, gradient, name="kernel"):
    w = keras.Variable(start, name=name)
    optimizer.build([w])
    optimizer.apply([gradient], [w])
    return keras.ops.convert_to_numpy(w)


def directions(shape, largest=100.0):
    """A gradient with singular values from 1 to `largest`, and the same with all of them 1."""
    rows = int(np.prod(shape[:-1]))
    u, s, v = np.linalg.svd(np.random.default_rng(0).normal(size=(rows, shape[-1])), full_matrices=False)
    values = np.geomspace(1, largest, len(s))
    return (u * values @ v).reshape(shape).astype("float32"), (u @ v).reshape(shape)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (3, 3, 4, 8), (1, 1, 4, 8)])
def test_muon_steps_along_all_directions_alike(shape):
    gradient, orthogonal = directions(shape)
    moved = -step(muon(), np.zeros(shape, "float32"), gradient) / 0.1
    rows = moved.reshape(-1, shape[-1])
    values = np.linalg.svd(rows, compute_uv=False)
    assert values.min() > 0.65 and values.max() < 1.25
    cosine = np.sum(moved * orthogonal) / np.linalg.norm(moved) / np.linalg.norm(orthogonal)
    assert cosine > 0.97


def test_muon_of_a_matrix_is_keras_muon():
    rng = np.random.default_rng(0)
    ours, theirs = keras.Variable(np.ones((5, 7), "float32")), keras.Variable(np.ones((5, 7), "float32"))
    one = optimizers.Muon(0.02, weight_decay=0.1)
    other = keras.optimizers.Muon(0.02, weight_decay=0.1)
    for optimizer, w in ((one, ours), (other, theirs)):
        optimizer.build([w])
    for _ in range(5):
        gradient = rng.normal(size=(5, 7)).astype("float32")
        one.apply([gradient], [ours])
        other.apply([gradient], [theirs])
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert abs(keras.ops.convert_to_numpy(ours) - 1).max() > 0.01


@pytest.mark.parametrize(
    ("shape", "name"), [((8,), "gamma"), ((3, 3, 8, 1), "kernel"), ((8, 40), "arcface"), ((2, 3, 4), "kernel")]
)
def test_muon_leaves_the_rest_to_adam(shape, name):
    gradient = np.random.default_rng(0).normal(size=shape).astype("float32")
    moved = step(optimizers.Muon(0.1), np.zeros(shape, "float32"), gradient, name)
    np.testing.assert_allclose(moved, -0.03 * np.sign(gradient), rtol=1e-3)


def test_muon_is_saved_with_its_settings():
    kept = optimizers.Muon(0.02, weight_decay=0.05, exclude_layers=("logits",), ns_steps=4)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(kept))
    assert type(again) is optimizers.Muon and again.get_config() == kept.get_config()
    assert again.exclude_layers == ["logits"] and again.ns_steps == 4


@pytest.mark.parametrize(("kind", "decay", "told"), [("Muon", 5e-4, True), ("Muon", 0, False), ("AdamW", 5e-4, False)])
def test_a_penalty_that_muon_cannot_keep_is_told(caplog, kind, decay, told):
    model = models.add_l2_regularizer_2_model(tiny_model(), decay)
    optimizers.warn_of_penalty(getattr(optimizers, kind)(), model)
    assert ("Leave it out and use Muon(weight_decay=0.1)" in caplog.text) == told
