"""Local binary patterns against a slow twin, and behind a network's own embedding."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers import ROOT, tiny_model

from facetrainer import models
from facetrainer.backbones import patterns
from facetrainer.cli import main

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 3)).astype("uint8")
SCALES = ((1, 1, 1, 6), (1, 1, 2, 7), (3, 4, 1, 5), (1, 2, 1, 4))


def normal(images):
    return (images.astype("float32") - 127.5) / 128


def assert_equal_but_for_ties(found, expected):
    """Pixels that differ by a rounding error alone may count for either pattern."""
    assert found.shape == expected.shape and np.mean(np.abs(found - expected) > 1e-4) < 2e-3


def slowly(image, scales, margin):
    """Pixel by pixel."""
    grey = (normal(image) * np.float32([0.299, 0.587, 0.114])).sum(-1)[margin:-margin, margin:-margin]
    found = []
    for up, down, r, cell in scales:
        small = np.kron(grey, np.ones((up, up), np.float32))
        height, width = (side // down for side in small.shape)
        small = small[: height * down, : width * down].reshape(height, down, width, down).mean((1, 3))
        codes = np.zeros((height - 2 * r, width - 2 * r), int)
        d = round(r * 2**-0.5)
        around = [(-r, 0), (-d, d), (0, r), (d, d), (r, 0), (d, -d), (0, -r), (-d, -d)]
        for y in range(r, height - r):
            for x in range(r, width - r):
                bits = [small[y + dy, x + dx] >= small[y, x] - 1e-5 for dy, dx in around]
                codes[y - r, x - r] = sum(bit << k for k, bit in enumerate(map(int, bits)))
        for top in range(0, codes.shape[0] - cell + 1, cell):
            for left in range(0, codes.shape[1] - cell + 1, cell):
                inside = patterns.uniform_patterns()[codes[top : top + cell, left : left + cell]]
                found.append(np.sqrt(np.bincount(inside.ravel(), minlength=59)))
    return np.concatenate(found)


def test_uniform_patterns():
    found = patterns.uniform_patterns()
    assert sorted(set(found.tolist())) == list(range(59)) and np.sum(found < 58) == 58
    assert found[0b00011100] < 58 and found[0b01010000] == 58


def test_against_the_slow_twin(tmp_path):
    layer = patterns.LocalBinaryPatterns(scales=SCALES, margin=3)
    found = keras.ops.convert_to_numpy(layer(normal(IMAGES)))
    assert_equal_but_for_ties(found, np.array([slowly(one, SCALES, 3) for one in IMAGES]))
    again = patterns.LocalBinaryPatterns.from_config(layer.get_config())
    np.testing.assert_array_equal(again(normal(IMAGES)), found)
    brighter = np.clip(IMAGES.astype(float) * 0.5 + 30, 0, 255)  # an even change of light makes no difference
    assert_equal_but_for_ties(keras.ops.convert_to_numpy(layer(normal(brighter))), found)


def test_images_too_small_for_a_scale():
    with pytest.raises(ValueError, match="images of 32×32 have 8 pixels and no cell of 9"):
        models.with_patterns(tiny_model(), np.zeros((4, 32, 32, 3), np.uint8))


def test_jax_gives_the_same(tmp_path):
    pytest.importorskip("jax")
    code = f"""
import sys; sys.path[:0] = [{ROOT!r}]
import numpy as np
from facetrainer.backbones import patterns
images = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 3)).astype("uint8")
layer = patterns.LocalBinaryPatterns(scales={SCALES!r}, margin=3)
np.save({str(tmp_path / "x.npy")!r}, layer((images.astype("float32") - 127.5) / 128))
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    layer = patterns.LocalBinaryPatterns(scales=SCALES, margin=3)
    assert_equal_but_for_ties(np.load(tmp_path / "x.npy"), keras.ops.convert_to_numpy(layer(normal(IMAGES))))


def test_behind_the_networks_own_embedding(workdir):
    network = tiny_model()
    images = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    model = models.with_patterns(network, images, width=10, share=1.5, scales=SCALES)
    found = keras.ops.convert_to_numpy(model(normal(images)))
    own = keras.ops.convert_to_numpy(network(normal(images)))
    np.testing.assert_allclose(found[:, :16], own / np.linalg.norm(own, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found[:, 16:], axis=1), 1.5, rtol=1e-5)
    inner = keras.Model(model.input, model.get_layer("patterns_pca").output)
    parts = keras.ops.convert_to_numpy(inner(normal(images)))
    np.testing.assert_allclose(parts.mean(0), 0, atol=1e-3)  # principal components: no mean, and no correlation
    correlation = np.corrcoef(parts.T) - np.eye(10)
    assert np.abs(correlation).max() < 0.05
    assert {v.path for v in model.trainable_variables} == {v.path for v in network.trainable_variables}
    models.save(model, "both.keras")
    np.testing.assert_allclose(models.load("both.keras")(normal(images)), found, atol=1e-6)


def test_behind_a_network_for_images_of_any_size():
    shape = (None, None, 3)
    network = models.buildin_models("r_tiny", emb_shape=16, output_layer="GAP", widths=(8, 16), input_shape=shape)
    images = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    model = models.with_patterns(network, images, width=10, scales=SCALES)
    assert model.input_shape == (None, 32, 32, 3) and model.output_shape == (None, 26)


def test_the_command(record, bin_file, workdir, capsys):
    models.save(models.buildin_models("r_tiny", emb_shape=16, output_layer="E", widths=(8, 16)), "m.keras")
    assert main.main(["patterns", "-m", "m.keras", "-D", record, "-o", "p.keras", "--width", "20"]) == 0
    assert "embedding of 16 + 20, components of 48 images" in capsys.readouterr().out
    assert main.main(["evaluate", "-m", "p.keras", "-t", bin_file, "--bootstrap", "0"]) == 0
    assert main.main(["patterns", "-m", "m.keras", "-D", record, "-o", "p.keras"]) == 1
    assert "48 images give no 350 components" in capsys.readouterr().err
