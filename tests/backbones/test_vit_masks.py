"""Patches of a ViT that are hidden in training."""

import keras
import numpy as np

from facetrainer import models

SMALL = {"input_shape": (54, 54, 3), "emb_shape": 8, "output_layer": "F", "depth": 2, "width": 32, "dropout": 0}


def test_a_hidden_patch_is_not_looked_at(tmp_path):
    model = models.buildin_models("vit_t", mask_ratio=0.5, **SMALL)
    plain = models.buildin_models("vit_t", **SMALL)
    known = {weight.path: weight for weight in model.weights}
    for weight in plain.weights:
        weight.assign(known[weight.path])
    x = np.random.default_rng(0).normal(size=(2, 54, 54, 3)).astype("float32")
    np.testing.assert_allclose(model(x), plain(x), atol=1e-5)  # nothing is hidden outside training
    names = ("mask_hidden", "mask_add")
    parts, luck = (
        keras.Model(model.input, [model.get_layer(name).output for name in names]),
        model.get_layer("mask_drop").seed_generator.state,
    )
    begin = keras.ops.convert_to_numpy(luck).copy()

    def run(images):
        luck.assign(begin)
        return [keras.ops.convert_to_numpy(v) for v in parts(images, training=True)]

    hidden, tokens = run(x)
    hidden = hidden[..., 0].astype(bool)
    assert 0.2 < hidden.mean() < 0.8
    token = keras.ops.convert_to_numpy(model.get_layer("mask_token").kernel)[0]
    np.testing.assert_allclose(tokens[hidden], np.broadcast_to(token, tokens[hidden].shape), atol=1e-6)
    changed = x.reshape(2, 6, 9, 6, 9, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 36, 9, 9, 3).copy()
    changed[hidden] += 5  # what lies in hidden patches makes no difference to the others
    changed = changed.reshape(2, 6, 6, 9, 9, 3).transpose(0, 1, 3, 2, 4, 5).reshape(x.shape)
    again = run(changed)
    np.testing.assert_array_equal(again[0][..., 0].astype(bool), hidden)
    np.testing.assert_allclose(again[1], tokens, atol=1e-5)
    model.save(tmp_path / "vit.keras")
    np.testing.assert_allclose(models.load(str(tmp_path / "vit.keras"))(x), model(x), atol=1e-6)
