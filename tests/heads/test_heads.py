"""Heads against the same thing in numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import ON_TENSORFLOW
from keras import ops

from facetrainer import losses, models
from facetrainer.training.state import Carried

B, C, D = 6, 40, 8
X = np.random.default_rng(0).normal(size=(B, D)).astype("float32")
LABELS = np.array([3, 3, 17, 39, 0, 17], "int32")


def unit(x, axis=-1):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def built(head, seed=1):
    head.build((None, D))
    head.built = True
    head.kernel.assign(np.random.default_rng(seed).normal(size=head.kernel.shape))
    return head


def table(head):
    """Normalised sub-centers (C, K, D)."""
    return unit(ops.convert_to_numpy(head.centers()))


@pytest.mark.parametrize("cls", [models.NormDense, models.PartialNormDense])
@pytest.mark.parametrize("k", [1, 3])
def test_cosine_of_the_nearest_center(cls, k):
    head = built(cls(C, loss_top_k=k))
    expected = np.einsum("bd,ckd->bck", unit(X), table(head)).max(axis=2)
    np.testing.assert_allclose(head(X), expected, atol=1e-6)
    again = cls.from_config(head.get_config())
    assert again.get_config() == head.get_config()


def test_a_huge_or_empty_center_stays_finite():
    head = built(models.NormDense(C))
    kernel = ops.convert_to_numpy(head.kernel).copy()
    kernel[:, 0], kernel[:, 1] = 0, kernel[:, 1] * 1e8
    head.kernel.assign(kernel)
    cosine = ops.convert_to_numpy(head(X))
    assert np.isfinite(cosine).all() and np.abs(cosine).max() <= 1 + 1e-6 and np.all(cosine[:, 0] == 0)


@pytest.mark.parametrize("k", [1, 2])
def test_sampled_head_sees_its_labels_among_classes_drawn_anew(k):
    head = built(models.PartialNormDense(C, loss_top_k=k, sample_rate=0.25))
    full, seen = ops.convert_to_numpy(head(X)), []
    for _ in range(120):
        luck = head.generator.state.numpy().copy()
        drawn = ops.convert_to_numpy(head.draw(tf.constant(LABELS)))
        head.generator.state.assign(luck)
        cosine, columns = (ops.convert_to_numpy(v) for v in head(X, tf.constant(LABELS), training=True))
        assert cosine.shape == (B, 10) and len(set(drawn)) == 10 and set(LABELS) <= set(drawn)
        np.testing.assert_array_equal(drawn[columns], LABELS)
        np.testing.assert_allclose(cosine, full[:, drawn], atol=1e-6)
        seen += sorted(set(drawn) - set(LABELS))
    counts = np.bincount(seen, minlength=C)[[c for c in range(C) if c not in LABELS]]
    assert np.mean((counts - 20) ** 2) < 1.6 * 20 * 30 / 36  # 120 draws of 6 from 36: 20 each


def test_sampled_at_one_is_the_full_head():
    head = built(models.PartialNormDense(C, sample_rate=1.0))
    cosine, columns = head(X, tf.constant(LABELS), training=True)
    np.testing.assert_array_equal(columns, LABELS)
    np.testing.assert_allclose(cosine, head(X), atol=1e-6)
    with pytest.raises(ValueError, match="sample_rate must be above 0"):
        models.PartialNormDense(C, sample_rate=0)


@ON_TENSORFLOW
def test_gradient_of_the_sampled_head_is_rows_and_regularisation_touches_them_alone():
    head = built(models.PartialNormDense(C, sample_rate=0.25, kernel_regularizer=keras.regularizers.L2(0.1)))
    with tf.GradientTape() as tape:
        cosine, columns = head(X, tf.constant(LABELS), training=True)
        loss = tf.reduce_sum(losses.CosFaceLoss()(columns, cosine)) + sum(head.penalties)
    gradient = tape.gradient(loss, head.kernel.value)
    assert isinstance(gradient, tf.IndexedSlices) and gradient.values.shape == (10, D)
    before = ops.convert_to_numpy(head.kernel).copy()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.apply([gradient], [head.kernel])
    moved = np.flatnonzero(np.abs(ops.convert_to_numpy(head.kernel) - before).max(axis=1))
    assert set(moved) == set(gradient.indices.numpy())


def test_vpl_mixes_recent_embeddings_into_the_centers():
    head = models.NormDenseVPL(None, C, vpl_lambda=0.2, start_iters=1, allowed_delta=2)
    built(head)
    centers = table(head)[:, 0]
    labels = tf.constant(LABELS)
    np.testing.assert_allclose(head(X, labels, training=True)[0], unit(X) @ centers.T, atol=1e-6)  # before the start
    queue = ops.convert_to_numpy(head.queue)
    np.testing.assert_allclose(queue[[3, 17]], unit(X)[[1, 5]], atol=1e-6)  # of several images the last
    mixed = centers.copy()
    mixed[LABELS] = 0.8 * centers[LABELS] + 0.2 * queue[LABELS]
    other = tf.constant(np.array([5, 6, 7, 8, 9, 10], "int32"))
    for _ in range(2):
        found = ops.convert_to_numpy(head(X, other, training=True)[0])
        np.testing.assert_allclose(found[:, LABELS], unit(X) @ unit(mixed)[LABELS].T, atol=1e-6)
    found = ops.convert_to_numpy(head(X, other, training=True)[0])  # three steps old: forgotten
    np.testing.assert_allclose(found[:, LABELS], unit(X) @ centers[LABELS].T, atol=1e-6)
    np.testing.assert_allclose(head(X), unit(X) @ centers.T, atol=1e-6)
    assert models.NormDenseVPL.from_config(head.get_config()).get_config() == head.get_config()


def crosses(old, new, slot="head"):
    """How many weights of one a new stage takes over in another."""
    carried = Carried()
    carried.remember(slot, old)
    return carried.give(slot, new)[0]


def test_centers_cross_from_columns_to_rows_and_back():
    full, sampled = built(models.NormDense(C, loss_top_k=2)), models.PartialNormDense(C, loss_top_k=2)
    built(sampled, seed=2)
    assert crosses(full, sampled) == 1
    np.testing.assert_allclose(table(full), table(sampled), atol=1e-6)
    np.testing.assert_allclose(full(X), sampled(X), atol=1e-6)
    assert crosses(sampled, built(models.NormDense(C), seed=3)) == 0


def test_memory_crosses_by_name_although_a_ramp_stands_before_it():
    old, new = losses.CurricularFaceLoss(), losses.CurricularFaceLoss()
    old.attach(C, D, ramps=("scale",))
    new.attach(C, D)
    old.t.assign(0.3)
    assert crosses(old, new, "curricularface") == 1 and float(new.t) == pytest.approx(0.3)
    again = losses.CurricularFaceLoss()
    again.attach(C, D, ramps=("scale", "margin"))
    assert crosses(new, again, "curricularface") == 1 and float(again.t) == pytest.approx(0.3)
    assert crosses(built(models.SoftmaxHead(C)), built(models.NormDense(C), seed=3)) == 1
    other = losses.CenterLossCosine()
    other.attach(C, D)
    assert crosses(new, other, "center") == 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_every_loss(policy):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(12, 16, 16, 3)).astype("float32"), np.repeat(np.arange(4), 3).astype("int32")
    targets = {"labels": labels, "teacher": rng.normal(size=(12, D)).astype("float32")}
    keras.config.set_dtype_policy(policy)
    try:
        for name in (n for n in losses.REGISTRY if n != "KerasLoss"):
            needed = {"CrossBatchMemory": {"loss": losses.SupConLoss()}}
            model = mixed_model(losses.REGISTRY[name](**needed.get(name, {})))
            before = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
            assert moves(model, images, targets, before), name
            assert {v.dtype for v in model.trainable_variables} == {"float32"}
    finally:
        keras.config.set_dtype_policy("float32")


def moves(model, images, targets, before, most=20):
    """Whether the weights move, all finite; float16 passes over steps until its loss scale fits."""
    for _ in range(most):
        assert np.isfinite(model.train_on_batch(images, targets, return_dict=True)["loss"])
        after = [ops.convert_to_numpy(v) for v in model.trainable_variables]
        assert all(np.isfinite(v).all() for v in after)
        if any(np.any(a != b) for a, b in zip(before, after, strict=True)):
            return True
    return False


def mixed_model(loss):
    inputs = keras.layers.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(inputs)
    x = keras.layers.Dense(D)(keras.layers.Flatten()(keras.layers.ReLU()(keras.layers.BatchNormalization()(x))))
    embedder = keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="embedding")(x))
    head = {None: None, "softmax": models.SoftmaxHead(4), "arcface": models.NormDense(4)}[loss.head]
    loss.attach(4, D, D)
    model = models.FaceModel(embedder, head, [loss])
    model.compile(keras.optimizers.SGD(1e-3), run_eagerly=True)
    assert embedder.layers[1].compute_dtype != "float32" and (head is None or head.compute_dtype == "float32")
    return model
