"""Every family: counts, non-square images, one channel, files, surgery."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import ON_TENSORFLOW

from facetrainer import backbones, models
from facetrainer.backbones import applications, count, grouped, surgery
from facetrainer.backbones.table import TABLE

SLIM = {
    "se_r18": {"widths": (16, 16, 16, 32)}, "r_tiny": {}, "se_mobilefacenet": {"num_blocks": (2, 1, 2, 1, 1)},
    "mbf": {"blocks": (1, 1, 1, 1)}, "mobilenet_m1": {"alpha": 0.25}, "ghostnet": {"width": 0.5},
    "vargface": {"num_blocks": (1, 1, 1)}, "resnest50": {"depths": (1, 1, 1, 1)}, "se_resnext50": {"depths": (1, 1, 1, 1)},
    "vit_t": {"depth": 2, "width": 64}, "inception_resnet_v1": {"repeats": (1, 1, 2)}, "sphereface4": {}, "mobilenet_sphereface": {},
}  # fmt: skip
PEERS = {
    "r18": 24025600,
    "r34": 34139328,
    "r50": 43590848,
    "r100": 65156160,
    "r200": 118833920,
    "mbf": 2059520,
    "mbf_large": 6314880,
}
PEERS_WITHOUT_TAIL = {
    "resnest50": 25434240,
    "inception_resnet_v1": 22564096,
    "mobilenet_m1": 3206976,
}  # timm, facenet-pytorch


def faces(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def stem(name, shape, **kwargs):
    keras.utils.set_random_seed(0)
    return backbones.build(name, shape, **kwargs)


@pytest.mark.parametrize("name", SLIM)
def test_non_square_gray_images_and_plain_files(name, tmp_path):
    shape = (96, 80, 1)
    model = stem(name, shape, **SLIM[name])
    assert len(model.output_shape) == 4 and model.output_shape[1] >= model.output_shape[2]
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    x = faces(1, *shape)
    np.testing.assert_allclose(again(x), model(x), rtol=1e-5, atol=1e-5)
    assert all(layer.__class__.__module__.startswith("keras.") for layer in again.layers)


@pytest.mark.parametrize(
    "name", ["r18", "mobilefacenet", "mbf", "mobilenet_m1", "ghostnet", "resnest50", "vit_t", "inception_resnet_v1", "sphereface20"]
)  # fmt: skip
def test_the_table_is_what_is_built(name):
    bare = backbones.build(name, (112, 112, 3))
    tail = backbones.TAILS.get(name, "GDC")
    model = models.buildin_models(bare, 0, 512, (112, 112, 3), tail, use_bias=tail in ("E", "H"))
    assert (tail, count.parameters(model)) == TABLE[name][:2]
    assert count.macs(model) == pytest.approx(TABLE[name][2], abs=1e5)


@pytest.mark.parametrize("name", PEERS_WITHOUT_TAIL)
def test_without_a_tail_the_peers_counts(name):
    assert count.parameters(backbones.build(name, (112, 112, 3))) == PEERS_WITHOUT_TAIL[name]


def test_the_table_has_every_name_and_the_peers_counts(capsys):
    assert set(TABLE) == set(backbones.names())
    assert {name: TABLE[name][1] for name in PEERS} == PEERS
    models.print_buildin_models()
    assert "r100                   E        65.16" in capsys.readouterr().out


def test_published_options():
    """timm's ghostnet_100 without its classifier and last convolution; VarGFaceNet's widths."""
    assert count.parameters(stem("ghostnet", (112, 112, 3), width=1.0, last=960)) == 2671428
    assert stem("ghostnet", (64, 64, 3), strides=1).output_shape[1] == 2 * stem("ghostnet", (64, 64, 3)).output_shape[1]
    assert stem("vargface", (64, 64, 3), channel_expand=1.25, se_ratio=0.25, activation="prelu").output_shape[1:3] == (
        1,
        1,
    )
    with pytest.raises(ValueError, match="at least 75×75. Received"):
        stem("inception_resnet_v1", (64, 64, 3))


def test_images_come_normalised_to_every_network():
    """Keras's EfficientNet begins with a rescaling and a normalisation: they are gone, all weights are kept."""
    keras.utils.set_random_seed(0)
    whole = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    model = applications.without_preprocessing(whole)
    kinds = {type(layer).__name__ for layer in model._flatten_layers()}
    assert "Rescaling" not in kinds and "Normalization" not in kinds
    x = faces(1, 64, 64, 3)
    for layer in whole.layers[1:4]:
        if isinstance(layer, keras.layers.Normalization | keras.layers.Rescaling):
            layer.call = lambda inputs: inputs
    np.testing.assert_allclose(model(x), keras.Model(whole.input, whole.output)(x), rtol=1e-4, atol=1e-5)


def test_weights_that_cannot_be_downloaded(monkeypatch):
    def builder(input_shape, include_top, weights):
        raise Exception("URL fetch failure on https://…")

    with pytest.raises(ValueError, match="could not be downloaded .* Use weights=None, or give the path"):
        applications.build(builder, (32, 32, 3), "imagenet")


SURGERY = {
    "mobilenet_m1": {"alpha": 0.25}, "vit_t": SLIM["vit_t"], "mobilenetv2": {"alpha": 0.35},
}  # fmt: skip


@pytest.mark.parametrize("name", SURGERY)
def test_surgery_keeps_the_weights(name):
    model = models.buildin_models(stem(name, (32, 32, 3), **SURGERY[name]), 0, 16, output_layer="F")
    for norm in (layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)):
        norm.moving_mean.assign(np.random.default_rng(1).normal(0, 0.1, norm.moving_mean.shape))
    frozen = next(layer for layer in model.layers if layer.weights)
    frozen.trainable = False
    x = faces(2, 32, 32, 3)
    y = np.asarray(model(x))
    dropped = models.replace_add_with_stochastic_depth(model, (1, 0.5))
    for changed in (
        dropped, models.replace_stochastic_depth_with_add(dropped), models.add_l2_regularizer_2_model(model, 1e-3),
        models.convert_mixed_float16_to_float32(models.convert_to_mixed_float16(model)), models.convert_to_batch_renorm(model),
    ):  # fmt: skip
        np.testing.assert_allclose(changed(x), y, rtol=1e-4, atol=1e-5)
        assert not changed.get_layer(frozen.name).trainable
    drops = [layer for layer in dropped.layers if layer.name.endswith("_drop_path")]
    assert bool(drops) == (name != "mobilenet_m1") and (not drops or max(d.rate for d in drops) == 0.5)
    half = models.convert_to_mixed_float16(model)
    assert half.layers[-1].compute_dtype == "float32" and "mixed_float16" in {
        layer.dtype_policy.name for layer in half.layers
    }
    assert np.abs(np.asarray(half(x)) - y).max() <= 0.03 * np.abs(y).max()


def test_batch_norm_is_changed_in_a_copy():
    model = stem("r_tiny", (32, 32, 3), widths=(8,))
    changed = surgery.change_batch_norm(model, 0.5, 1e-2)
    norms = [
        [layer.momentum for layer in m.layers if isinstance(layer, keras.layers.BatchNormalization)]
        for m in (model, changed)
    ]
    assert set(norms[0]) == {0.9} and set(norms[1]) == {0.5}
    for old, new in zip(model.get_weights(), changed.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_dropped_branches_are_the_deep_ones_and_leave_a_mean():
    """With every branch gone what is left is the shortcut; on average over draws nothing changes."""
    inputs = keras.layers.Input((4, 4, 3))
    y = keras.layers.Conv2D(3, 1, kernel_initializer="ones", name="deep")(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="join")([y, inputs]))
    dropped = models.replace_add_with_stochastic_depth(model, 0.5)
    x = np.ones((4000, 4, 4, 3), "float32")
    drawn = np.asarray(dropped(x, training=True))[:, 0, 0, 0]
    assert set(np.unique(drawn)) == {1.0, 7.0} and drawn.mean() == pytest.approx(4.0, abs=0.2)
    with pytest.raises(ValueError, match=r"one for each of 1 additions, in \(0, 1\]. Received: \(0, 0\)"):
        models.replace_add_with_stochastic_depth(model, 0)


def test_acon_is_relu_like_at_first_and_saves(tmp_path):
    keras.utils.set_random_seed(0)
    model = models.replace_ReLU_with_PReLU(stem("r_tiny", (32, 32, 3), widths=(8,), activation="relu"), "aconC")
    layer = next(layer for layer in model.layers if isinstance(layer, models.AconC))
    x = faces(5, 8)
    np.testing.assert_allclose(models.AconC()(x), x / (1 + np.exp(-x)), rtol=1e-4, atol=1e-6)
    layer.p2.assign(np.full(layer.p2.shape, 0.3))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again(faces(1, 32, 32, 3)), model(faces(1, 32, 32, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("tail", "units"), [("GNAP", 8), ("GNAP", 24), ("GNAP", 16), ("G", 8), ("H", 8)])
def test_insightface_tails(tail, units):
    model = models.buildin_models(stem("r_tiny", (48, 32, 3), widths=(8, 16)), 0, units, output_layer=tail)
    names = [layer.name for layer in model.layers]
    assert model.output_shape == (None, units) and ("pre_embedding" in names) == (tail == "GNAP")


def test_gnap_makes_places_equally_strong():
    """A place ten times as bright counts as much as the others, and an embedding does not depend on its neighbours."""
    inputs = keras.layers.Input((2, 1, 4))
    model = models.buildin_models(
        keras.Model(inputs, keras.layers.Activation("linear")(inputs)), 0, 4, output_layer="GNAP"
    )
    x = np.array([[[[1, 2, 3, 4]], [[4, 3, 2, 1]]]], "float32")
    bright = x * np.array([1, 10], "float32")[None, :, None, None]
    one, other = (np.asarray(model(value))[0] for value in (x, bright))
    np.testing.assert_allclose(one / np.linalg.norm(one), other / np.linalg.norm(other), rtol=1e-3)
    np.testing.assert_allclose(model(np.concatenate([x, bright]))[0], one, rtol=1e-5)


@ON_TENSORFLOW
@pytest.mark.parametrize("filters, groups, kernel, strides", [(12, 4, 3, 1), (64, 32, 3, 2), (16, 2, 1, 1)])
def test_groups_in_bundles_are_the_same_convolution(filters, groups, kernel, strides):
    """And it has a gradient without XLA: one layer of 64 groups took three minutes a step."""
    images = np.random.default_rng(0).normal(size=(2, 7, 7, 4 * groups)).astype("float32")
    model = keras.Sequential([keras.layers.Conv2D(filters, kernel, strides, "same", groups=groups)])
    plain = model(images).numpy()
    grouped.set_bundled(model, True)
    with tf.GradientTape() as tape:
        found = model(images)
        loss = tf.reduce_sum(found**2)
    np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-5)
    assert np.abs(tape.gradient(loss, model.trainable_variables)[0]).min() > 0
    assert "XlaMustCompile" not in str(tf.function(model).get_concrete_function(images).graph.as_graph_def())
    grouped.set_bundled(model, False)
    assert "convolution_op" not in model.layers[0].__dict__
