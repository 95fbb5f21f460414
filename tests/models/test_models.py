import h5py
import keras
import numpy as np
import pytest
from helpers import ON_TENSORFLOW, small_model

from facetrainer import backbones, heads, losses, models, optimizers
from facetrainer.models import saving, vetting
from facetrainer.utils import keras_compat

FACES = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")


@pytest.mark.real
def test_mobilefacenet_has_the_weights_of_keras_insightface(real):
    model = models.buildin_models("mobilefacenet", emb_shape=128, output_layer="GDC")
    shapes = []
    with h5py.File(f"{real}/weights/kif_mobilefacenet_GDC128.h5") as file:
        file["model_weights"].visititems(
            lambda _, item: shapes.append(item.shape) if isinstance(item, h5py.Dataset) else None
        )

    def sizes(found):
        return sorted(int(np.prod(s)) for s in found)

    assert sizes(shapes) == sizes(w.shape for w in model.weights)


@pytest.mark.parametrize("tail", list(models.builder.TAILS))
@pytest.mark.parametrize("pointwise", [False, True])
def test_tails(tail, pointwise, tmp_path):
    model = small_model(8, output_layer=tail, add_pointwise_conv=pointwise, dropout=0.2, input_shape=(48, 32, 3))
    assert model.output_shape == (None, 8) and model.layers[-1].name == "embedding"
    model.save(tmp_path / "m.keras")
    faces = np.zeros((2, 48, 32, 3), "float32")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras")(faces), model(faces), rtol=1e-5, atol=1e-6)


def test_keras_applications_and_bn_options():
    model = models.buildin_models(
        "MobileNet", emb_shape=8, input_shape=(32, 32, 3), alpha=0.25, bn_momentum=0.9, bn_epsilon=2e-5
    )
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) > 20 and {(n.momentum, n.epsilon) for n in norms} == {(0.9, 2e-5)}


def test_errors():
    with pytest.raises(ValueError, match=r"unknown backbone 'r5O'. Did you mean 'r50'\?"):
        models.buildin_models("r5O")
    with pytest.raises(ValueError, match="output_layer: expected one of E, F, GAP, GDC, GNAP, G, H. Received: 'X'"):
        models.buildin_models("r18", output_layer="X")
    with pytest.raises(ValueError, match="no 'imagenet' weights"):
        models.buildin_models("r18", weights="imagenet")
    with pytest.raises(FileNotFoundError, match="nowhere.keras"):
        models.load("nowhere.keras")
    with pytest.raises(ValueError, match=r"expected .keras or .h5. Files of other programs: models.import_weights"):
        models.load(__file__)


def test_l2_keeps_weights_and_gives_half():
    model = small_model()
    kernels = [w for w in model.trainable_weights if w.path.split("/")[-1] == "kernel"]
    regular = models.add_l2_regularizer_2_model(model, 1e-2)
    np.testing.assert_allclose(regular(FACES), model(FACES), rtol=1e-5, atol=1e-6)
    expected = sum(0.005 * np.square(w.numpy()).sum() for w in kernels)
    assert float(sum(regular.losses)) == pytest.approx(float(expected), rel=1e-4)
    assert model.losses == [] and [w.path for w in regular.weights] == [w.path for w in model.weights]
    everything = models.add_l2_regularizer_2_model(model, 1e-2, apply_to_batch_normal=True)
    assert len(everything.losses) > len(regular.losses)


def test_prelu_keeps_the_other_weights_and_frozen_flags():
    model = small_model()
    model.layers[2].trainable = False
    changed = models.replace_ReLU_with_PReLU(model)
    slopes = [layer for layer in changed.layers if isinstance(layer, keras.layers.PReLU)]
    assert len(slopes) == 5 and changed.layers[2].trainable is False
    for layer in slopes:
        layer.alpha.assign(np.zeros(layer.alpha.shape))
    np.testing.assert_allclose(changed(FACES), model(FACES), rtol=1e-5, atol=1e-6)
    assert models.replace_ReLU_with_PReLU(model, "swish").count_params() == model.count_params()


def test_norm_dense_and_sub_centers():
    head = models.NormDense(5, loss_top_k=3)
    head.build((None, 8))
    x = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    w = head.kernel.numpy().astype(np.float64)
    w, u = w / np.linalg.norm(w, axis=0), x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(head(x), (u @ w).reshape(4, 5, 3).max(-1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="partial_fc_split is not supported"):
        models.NormDense(5, partial_fc_split=2)


def fit(model, steps=3):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 32, 32, 3)).astype("uint8")
    return model.fit(
        images, {"labels": np.arange(8, dtype="int32") % 4}, batch_size=8, epochs=steps, verbose=0, shuffle=False
    )


def face_model(terms=None, **kwargs):
    terms = terms or [losses.ArcfaceLoss(scale=16), losses.CenterLoss(), losses.BatchHardTripletLoss()]
    model = models.FaceModel(
        small_model(**kwargs), models.NormDense(4, loss_top_k=2), terms, [1, 0.01, 0.5][: len(terms)]
    )
    model.compile(optimizers.SGDW(5e-4, 0.05, momentum=0.9))
    return model


def test_face_model_saves_memory_and_optimizer(tmp_path):
    model = face_model()
    logs = fit(model).history
    assert {
        "loss", "arcface_loss", "center_loss", "triplet_loss", "accuracy", "target_cosine", "active_triplets", "embedding_spread",
    } == set(logs)  # fmt: skip
    assert np.abs(model.terms[1].centers.numpy()).sum() > 0
    models.save(model, str(tmp_path / "m.keras"))
    again = models.load(str(tmp_path / "m.keras"))
    for old, new in zip(
        [*model.variables, *model.optimizer.variables], [*again.variables, *again.optimizer.variables], strict=True
    ):
        if "metric" not in old.path and "seed" not in old.path:
            np.testing.assert_array_equal(old, new, err_msg=old.path)
    assert fit(model, 1).history["loss"] == pytest.approx(fit(again, 1).history["loss"], rel=1e-5)


def test_h5_holds_the_functional_model(tmp_path):
    model = face_model()
    models.save(model, str(tmp_path / "m.h5"))
    loaded = models.load(str(tmp_path / "m.h5"), compile=False)
    basic, head = models.split(loaded)
    np.testing.assert_allclose(basic(FACES), model(FACES), rtol=1e-5, atol=1e-6)
    assert loaded.output_shape == (None, 4) and head.loss_top_k == 2


@ON_TENSORFLOW
def test_fused_norm_is_the_same_norm(tmp_path):
    plain, fused = keras.layers.BatchNormalization(), keras.layers.BatchNormalization()
    x = np.random.default_rng(0).normal(2, 3, (8, 6, 6, 5)).astype("float32")
    models_ = [keras.Sequential([keras.layers.Input((6, 6, 5)), layer]) for layer in (plain, fused)]
    backbones.fused_norm.set_fused(models_[1], True)
    assert "call" in fused.__dict__
    for training in (True, True, False):
        np.testing.assert_allclose(*(m(x, training=training) for m in models_), rtol=2e-4, atol=2e-5)
    for a, b in zip(plain.weights, fused.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    models_[1].save(tmp_path / "m.keras")
    assert "call" not in keras.models.load_model(tmp_path / "m.keras").layers[0].__dict__
    backbones.fused_norm.set_fused(models_[1], False)
    assert "call" not in fused.__dict__


@ON_TENSORFLOW
def test_fused_prelu_is_the_same_prelu(tmp_path):
    import tensorflow as tf

    slopes = keras.initializers.RandomUniform(-0.5, 0.5, seed=1)
    model = keras.Sequential([keras.Input((6, 6, 5)), keras.layers.PReLU(slopes, shared_axes=[1, 2])])
    x = tf.constant(np.random.default_rng(0).normal(size=(8, 6, 6, 5)).astype("float32"))

    def passed(trains):
        with tf.GradientTape() as tape, backbones.fused_prelu.while_training(trains):
            tape.watch(x)
            y = model(x)
        return y, *tape.gradient(y, [x, model.trainable_weights[0].value], output_gradients=tf.sin(x))

    plain = passed(True)
    backbones.fused_prelu.set_fused(model, True)
    operations = tf.function(lambda: passed(True)).get_concrete_function().graph.get_operations()
    assert any("PartitionedCall" in one.type for one in operations)
    for expected, found, outside in zip(plain, passed(True), passed(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(outside, expected)  # evaluation and exports keep Keras's
    model.save(tmp_path / "m.keras")
    assert "call" not in keras.models.load_model(tmp_path / "m.keras").layers[0].__dict__


@pytest.mark.parametrize("decay_on", ["all", "weights"])
def test_penalty_of_all_or_of_weights(decay_on):
    model = models.add_l2_regularizer_2_model(small_model(activation="prelu"), 1e-3, on=decay_on)
    has = {name: getattr(model.get_layer(layer), f"{name}_regularizer") is not None
           for layer, name in (("stem_conv", "kernel"), ("stem_bn", "gamma"), ("stem_act", "alpha"))}  # fmt: skip
    assert has == {"kernel": True, "gamma": decay_on == "all", "alpha": decay_on == "all"}


def test_mixed_precision_trains():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = face_model()
        assert np.isfinite(fit(model).history["loss"]).all()
        assert model.head.compute_dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_every_head_and_loss_passes_the_look_at_its_file(workdir):
    """What we write we read, with every loss and optimizer of ours; the settings of Keras stay."""
    inputs = keras.Input((4, 4, 3))
    embedder = keras.Model(inputs, keras.layers.Dense(8, name="embedding")(keras.layers.Flatten()(inputs)))
    for name, kind in losses.REGISTRY.items():
        try:
            term = kind()
        except TypeError:
            continue  # those that wrap another
        model = models.FaceModel(embedder, models.NormDense(4), [term])
        model.compile(optimizers.SGDW(1e-4, 0.1, momentum=0.9))
        models.save(model, "m.keras")
        assert type(models.load("m.keras").terms[0]) is kind, name
    for head in (heads.SoftmaxHead(4), heads.PartialNormDense(4, sample_rate=0.5), heads.NormDenseVPL(units=4)):
        models.save(models.FaceModel(embedder, head), "m.keras")
        assert type(models.load("m.keras").head) is type(head)
    for optimizer in (optimizers.AdamW(1e-4, 0.1), optimizers.Muon()):
        model = models.FaceModel(embedder, models.NormDense(4), [losses.ArcfaceLoss()])
        model.compile(optimizer)
        models.save(model, "m.keras")
        assert type(models.load("m.keras").optimizer) is type(optimizer)


def test_centers_are_not_read_from_the_file_that_a_model_names(workdir):
    """`initial_file` is the trainer's; in a stranger's file it would be any path of the reader's."""
    config = losses.CenterLoss(4, 16).get_config() | {"initial_file": "/etc/hostname"}
    assert losses.CenterLoss.from_config(config).initial_file is None


def test_settings_that_change_are_put_back():
    message = r"changed Keras's settings while it was loaded \(dtype_policy, floatx\)"
    with pytest.raises(ValueError, match=message), vetting.settings_kept("a.keras"):
        keras.config.set_dtype_policy("mixed_float16")
        keras.config.set_floatx("float64")
    assert keras.config.dtype_policy().name == keras.config.floatx() == "float32"


def test_weights_are_looked_at_too(workdir):
    model = small_model()
    model.save_weights("a.weights.h5")
    saving.load_weights(model, "a.weights.h5")
    with h5py.File("b.weights.h5", "w") as file:
        file["x"] = h5py.ExternalLink("a.weights.h5", "/")
    with pytest.raises(ValueError, match="b.weights.h5: .* is a link"):
        saving.load_weights(model, "b.weights.h5")
    small_model(emb_shape=8).save_weights("c.weights.h5")
    with pytest.raises(ValueError, match="c.weights.h5: its weights do not fit the model"):
        saving.load_weights(model, "c.weights.h5")
    with pytest.raises(FileNotFoundError, match="'d.weights.h5' does not exist"):
        saving.load_weights(model, "d.weights.h5")


def test_variables_without_values_leave_nothing_behind():
    with keras_compat.without_values():
        layer = keras.layers.Dense(1_000_000_000)
        layer.build((None, 1000))
        assert layer.kernel.shape == (1000, 1_000_000_000)
    after = keras.layers.Dense(2)
    after.build((None, 3))
    assert np.isfinite(after.get_weights()[0]).all()


def test_scores_in_blocks_only_where_a_step_comes_out_the_same(monkeypatch):
    model = models.FaceModel(small_model(), models.NormDense(4), [losses.ArcfaceLoss()])
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(ValueError, match="logit_blocks=2 needs the JAX backend"):
        model.split_logits(2)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    model.split_logits(2)
    for head, loss in (
        (models.NormDense(4), losses.CurricularFaceLoss()),  # remembers
        (models.NormDense(4), losses.ElasticFaceLoss()),  # draws
        (models.NormDense(4), losses.AcrTripLoss()),  # compares images
        (models.NormDenseVPL(units=4), losses.ArcfaceLoss()),
    ):
        model = models.FaceModel(small_model(), head, [loss])
        with pytest.raises(ValueError, match="needs the scores of all images of a step together"):
            model.split_logits(2)
        model.split_logits(1)
