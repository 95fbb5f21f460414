import os
import subprocess
import sys

import keras
import loss_cases
import numpy as np
import pytest
import reference
from keras import ops
from loss_cases import CASES, CENTERS, LABELS, OUTPUTS, B, C, D, make

from facetrainer import losses

MARGINS = [name for name, cls in losses.REGISTRY.items() if issubclass(cls, losses.MarginLoss)]


def truth(name, config, outputs, held=None):
    """`held`: the point at which parts without a gradient stay while `outputs` move."""
    if name.startswith("Center"):
        return getattr(reference, name)(LABELS, outputs[0], CENTERS)
    if name in ("USSLoss", "AdaDistillLoss"):
        cosine = truth_cosine(outputs[0])
        if name == "AdaDistillLoss":
            return reference.ArcfaceLoss(
                LABELS, cosine, margin2=config.get("margin", 0.45), scale=config.get("scale", 64.0)
            )
        begin = None if held is None else reference.uss_begin(LABELS, truth_cosine(held[0]), config.get("scale", 64.0))
        return reference.USSLoss(LABELS, cosine, **config, begin=begin)
    if name == "CrossBatchMemory":
        return reference.SupConLoss(LABELS, *outputs, held=held)
    if name == "KerasLoss":
        p = np.exp(outputs[0].astype(np.float64))
        p = (p / p.sum(1, keepdims=True))[np.arange(B), LABELS]
        return -0.25 * (1 - p) ** 2 * np.log(p)
    return getattr(reference, name)(LABELS, *outputs, **config, held=held)


def truth_cosine(embedding):
    """To CENTERS."""
    parts = [x.astype(np.float64) for x in (embedding, CENTERS)]
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in parts)
    return first @ second.T


def worst(found, expected):
    """Largest difference, in parts of the largest value."""
    return np.max(np.abs(found - expected)) / max(np.max(np.abs(expected)), 1e-6)


def slopes(name, config, outputs, which, places, step=1e-6):
    """Central differences of the float64 truth at some places of one output."""
    for place in places:
        sums = []
        for sign in (1, -1):
            moved = [x.astype(np.float64) for x in outputs]
            moved[which][place] += sign * step
            sums.append(truth(name, config, moved, outputs).sum())
        yield (sums[0] - sums[1]) / (2 * step)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_value_and_gradient_against_the_paper(name, config):
    loss = make(name, config)
    outputs = [OUTPUTS[key] for key in loss.reads]
    value, gradients = loss_cases.values_and_gradients(loss, outputs)
    assert worst(value, truth(name, config, outputs)) < 1e-6
    free = [i for i, key in enumerate(loss.reads) if key != "teacher"]
    for which, gradient in zip(free, gradients, strict=True):
        places = [(0, int(LABELS[0])), (3, 2), (7, 5), (10, 1)] if outputs[which].ndim == 2 else [(0,), (5,)]
        found = [gradient[place] for place in places]
        expected = np.array(list(slopes(name, config, outputs, which, places)))
        assert np.max(np.abs(found - expected)) <= 1e-4 * max(np.max(np.abs(gradient)), 1e-3)


def test_jax_agrees_with_tensorflow(tmp_path):
    pytest.importorskip("jax")
    path = str(tmp_path / "jax.npz")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, loss_cases.__file__, path], check=True, env=environment)
    ours, theirs = loss_cases.compute(), np.load(path)
    assert set(ours) == set(theirs.files)
    for key in ours:
        assert worst(theirs[key], ours[key]) < 1e-5, CASES[int(key.split("/")[0])]


@pytest.mark.parametrize("name", MARGINS)
def test_finite_at_and_beyond_one(name):
    loss = make(name, {})
    for edge in (1.0, -1.0, 1 + 1e-6, -1 - 1e-6):
        outputs = [np.full((B, C), edge, "float32"), *[OUTPUTS[key] for key in loss.reads[1:]]]
        value, gradients = loss_cases.values_and_gradients(loss, outputs)
        assert np.isfinite(value).all() and all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_configuration_and_memory_survive(name, config):
    loss = make(name, config)
    outputs = [OUTPUTS[key] for key in loss.reads]
    loss(LABELS, *outputs, training=True)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    for old, new in zip(loss.weights, again.weights, strict=True):
        new.assign(old)
    np.testing.assert_array_equal(loss(LABELS, *outputs), again(LABELS, *outputs))


# ------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("name", ["CenterLoss", "CenterLossCosine"])
def test_centers_move_in_training_only(name):
    loss = make(name, {"alpha": 0.5})
    before = ops.convert_to_numpy(loss.centers).copy()
    loss(LABELS, OUTPUTS["embedding"], training=False)
    np.testing.assert_array_equal(loss.centers, before)
    loss(LABELS, OUTPUTS["embedding"], training=True)
    expected = reference.moved_centers(LABELS, OUTPUTS["embedding"], before, 0.5)
    np.testing.assert_allclose(loss.centers, expected, rtol=1e-5, atol=1e-6)


def test_curricular_t_follows_the_targets():
    loss, cosine = make("CurricularFaceLoss", {}), OUTPUTS["cosine"]
    target = cosine[np.arange(B), LABELS].mean()
    value = loss(LABELS, cosine, training=True)
    assert float(loss.t) == pytest.approx(0.01 * target, rel=1e-5)
    assert worst(value, reference.CurricularFaceLoss(LABELS, cosine, hard_scale=0.01 * target)) < 1e-6
    loss(LABELS, cosine, training=True)
    assert float(loss.t) == pytest.approx(0.01 * target * 1.99, rel=1e-5)


def test_adacos_scale_follows_the_angles():
    loss, cosine, scale = make("AdaCosLoss", {}), OUTPUTS["cosine"], np.sqrt(2) * np.log(C - 1)
    for _ in range(3):
        scale = reference.adacos_scale(LABELS, cosine, scale)
        value = loss(LABELS, cosine, training=True)
        assert float(loss.scale_now) == pytest.approx(scale, rel=1e-5)
    assert worst(value, reference.AdaCosLoss(LABELS, cosine, scale)) < 1e-6
    with pytest.raises(ValueError, match="expected num_classes=7, as in the data. Received: 1000"):
        make("AdaCosLoss", {"num_classes": 1000})


def test_adaface_keeps_mean_and_deviation_of_the_norms():
    loss, cosine, norm = make("AdaFaceLoss", {}), OUTPUTS["cosine"], OUTPUTS["norm"]
    value = loss(LABELS, cosine, norm, training=True)
    mean, std = 0.99 * 20 + 0.01 * norm.mean(), 0.99 * 100 + 0.01 * norm.std(ddof=1)
    assert (float(loss.mean), float(loss.std)) == pytest.approx((mean, std), rel=1e-5)
    assert worst(value, reference.AdaFaceLoss(LABELS, cosine, norm, mean=mean, std=std)) < 1e-6


def test_sphereface_anneals():
    loss, cosine, norm = make("SphereFaceLoss", {}), OUTPUTS["cosine"], OUTPUTS["norm"]
    for _ in range(4):
        value = loss(LABELS, cosine, norm, training=True)
    assert worst(value, reference.SphereFaceLoss(LABELS, cosine, norm, step=4)) < 1e-6
    with pytest.raises(ValueError, match="margin must be 1, 2, 3 or 4. Received: 5"):
        losses.SphereFaceLoss(margin=5)


def test_uss_remembers_the_last_image_and_begins_at_the_negatives():
    loss, x = losses.USSLoss(), OUTPUTS["embedding"]
    loss.attach(C, D)
    assert (
        np.all(ops.convert_to_numpy(loss(LABELS, x, training=True)) == 0) and float(loss.begin) == 0
    )  # nobody is known yet
    directions = x / np.linalg.norm(x, axis=1, keepdims=True)
    last = [np.flatnonzero(k == LABELS)[-1] for k in range(5)]
    np.testing.assert_allclose(ops.convert_to_numpy(loss.latest)[:5], directions[last], atol=1e-6)
    np.testing.assert_array_equal(loss.seen, [1, 1, 1, 1, 1, 0, 0])
    cosine = (directions @ directions[last].T).astype(np.float64)
    value = loss(LABELS, x, training=True)
    assert float(loss.begin) == pytest.approx(reference.uss_begin(LABELS, cosine, 64.0), rel=1e-5)
    assert worst(value, reference.USSLoss(LABELS, cosine)) < 1e-5
    begin = float(loss.begin)
    loss(LABELS, -x, training=True)
    assert float(loss.begin) == begin and loss.moved.trainable


@pytest.mark.parametrize("cls", [losses.SupConLoss, losses.MultiSimilarityLoss, losses.CircleLoss, losses.BatchHardTripletLoss,
                                 losses.SemiHardTripletLoss, losses.ArcBatchHardTripletLoss, losses.SoftMarginTripletLoss])  # fmt: skip
def test_a_memory_of_earlier_batches_counts_as_a_larger_batch(cls):
    rng, loss = np.random.default_rng(5), losses.CrossBatchMemory(cls(), size=2 * B)
    loss.attach(C, D)
    first, second, third = rng.normal(size=(3, B, D)).astype("float32")
    np.testing.assert_allclose(loss(LABELS, first, training=True), cls()(LABELS, first), rtol=1e-5, atol=1e-6)
    for before, now in ((first, second), (np.concatenate([first, second]), third)):
        everything = np.concatenate([now, before])
        expected = cls()(np.resize(LABELS, len(everything)), everything)[:B]
        np.testing.assert_allclose(loss(LABELS, now, training=True), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        loss.embeddings, (x := np.concatenate([second, third])) / np.linalg.norm(x, axis=1, keepdims=True), atol=1e-6
    )
    for wrong in (
        losses.BatchAllTripletLoss(),
        losses.OfflineTripletLoss(),
        losses.BatchHardTripletLossEuclidean(),
        losses.CenterLoss(),
    ):
        with pytest.raises(ValueError, match="expected a pair loss over cosines"):
            losses.CrossBatchMemory(wrong)


def test_semi_siamese_prototypes_wait_in_a_queue():
    loss, (x, gallery) = losses.SemiSiameseLoss(size=2 * B), (OUTPUTS["embedding"], OUTPUTS["gallery"])
    loss.attach(C, D)
    loss(LABELS, x, gallery, training=True)
    rows = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    expected = reference.SemiSiameseLoss(LABELS, -x, gallery, queue=list(zip(LABELS, rows, strict=True)))
    assert worst(loss(LABELS, -x, gallery), expected) < 1e-5
    np.testing.assert_array_equal(ops.convert_to_numpy(loss.people), [-1] * B + LABELS.tolist())


def test_adadistill_centers_follow_the_teacher():
    loss, x, teacher = make("AdaDistillLoss", {}), OUTPUTS["embedding"], OUTPUTS["teacher"]
    loss(LABELS, x, teacher)
    np.testing.assert_array_equal(loss.centers, CENTERS)
    loss(LABELS, x, teacher, training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(loss.centers)[5:], CENTERS[5:])
    directions = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, teacher, CENTERS)]
    for k in range(5):
        last = np.flatnonzero(k == LABELS)[-1]
        alpha = np.clip(
            directions[0][last] @ directions[1][last] * np.clip(directions[2][k] @ directions[1][last], 1e-6, 1),
            1e-6,
            1,
        )
        expected = alpha * CENTERS[k] + (1 - alpha) * directions[1][last]
        np.testing.assert_allclose(ops.convert_to_numpy(loss.centers)[k], expected, rtol=1e-4, atol=1e-6)


def test_auto_alpha_follows_the_hardest_negatives():
    loss, x = make("BatchHardTripletLossEuclideanAutoAlpha", {}), OUTPUTS["embedding"]
    loss(LABELS, x, training=True)
    squares = ((x[:, None] - x[None]) ** 2).sum(-1)
    hardest = [squares[a][y != LABELS].min() if (y == LABELS).sum() > 1 else 0 for a, y in enumerate(LABELS)]
    assert float(loss.auto_alpha) == pytest.approx(0.1 * np.mean(hardest), rel=1e-5)


def test_elastic_margins_are_drawn_in_training():
    loss, cosine = make("ElasticFaceLoss", {"std": 0.1}), OUTPUTS["cosine"]
    first, second = (ops.convert_to_numpy(loss(LABELS, cosine, training=True)) for _ in range(2))
    assert np.any(first != second)
    many = [ops.convert_to_numpy(loss(LABELS, cosine, training=True)).copy() for _ in range(2)]
    assert np.isfinite(many).all()
    drawn = ops.convert_to_numpy(loss._draw((20000,)))
    assert (drawn.mean(), drawn.std()) == pytest.approx((0.5, 0.1), abs=3e-3)


def test_a_ramp_reads_the_margin_from_a_weight():
    loss = losses.ArcfaceLoss(scale=64)
    loss.attach(C, D, ramps=("scale", "margin2"))
    loss.ramps["scale"].assign(16.0)
    loss.ramps["margin2"].assign(0.2)
    value = ops.convert_to_numpy(loss(LABELS, OUTPUTS["cosine"]))
    assert worst(value, reference.ArcfaceLoss(LABELS, OUTPUTS["cosine"], margin2=0.2, scale=16)) < 1e-6
    assert loss.get_config()["scale"] == 64


@pytest.mark.parametrize("cls", [losses.ArcfaceLoss, losses.CosFaceLoss])
def test_other_classes_that_are_too_near_are_filtered(cls):
    """arcface_torch: a mask of cosines above the threshold, the label's place aside, sets them to 0 before margin and scale."""
    loss, cosine = cls(scale=16, interclass_filtering_threshold=0.3), OUTPUTS["cosine"].copy()
    dirty = cosine > 0.3
    dirty[np.arange(B), LABELS] = False
    assert dirty.any() and cosine[np.arange(B), LABELS].max() > 0.3
    expected = cls(scale=16)(LABELS, np.where(dirty, 0.0, cosine).astype("float32"))
    np.testing.assert_allclose(loss(LABELS, cosine), expected, rtol=1e-6)
    assert cls.from_config(loss.get_config()).interclass_filtering_threshold == 0.3


def test_notes_for_the_logs():
    for name, cls in losses.REGISTRY.items():
        loss = make(name, dict(CASES)[name])
        loss(LABELS, *[OUTPUTS[key] for key in loss.reads], training=True)
        assert set(loss.noted) == set(cls.notes), name


# ------------------------------------------------------------------------------------------------------- distillation


def test_a_map_stands_between_different_widths():
    teacher = np.random.default_rng(3).normal(size=(B, 5)).astype("float32")
    for name in ("DistillCosineLoss", "DistillEuclideanLoss"):
        loss = make(name, {}, teacher=5)
        found = ops.convert_to_numpy(loss(LABELS, OUTPUTS["embedding"], teacher))
        matrix = ops.convert_to_numpy(loss.map).astype(np.float64)
        assert worst(found, getattr(reference, name)(LABELS, OUTPUTS["embedding"], teacher, matrix)) < 1e-6
    with pytest.raises(ValueError, match="the teacher's embeddings have 5 values, the model's 8"):
        make("DistillCosineLoss", {})(LABELS, OUTPUTS["embedding"], teacher)


def test_divergence_over_the_classes():
    loss = make("DistillKLDivergenceLoss", {"over": "classes", "scale": 4.0})
    assert (loss.head, loss.reads) == ("arcface", ("cosine", "teacher"))
    teacher = OUTPUTS["cosine"][::-1].copy()
    expected = reference.DistillKLDivergenceLoss(LABELS, OUTPUTS["cosine"], teacher, 4.0, "classes")
    assert worst(ops.convert_to_numpy(loss(LABELS, OUTPUTS["cosine"], teacher)), expected) < 1e-6
    with pytest.raises(ValueError, match="the teacher gives 8 values, the data have 7 classes. Use over='batch'"):
        loss(LABELS, OUTPUTS["cosine"], OUTPUTS["teacher"])


# ------------------------------------------------------------------------------------------------------------- lookup


@pytest.mark.parametrize(("classes", "width"), [(50, 512), (2000, 64), (2000, 16)])
def test_untrained_value_is_foretold(classes, width):
    rng, told = np.random.default_rng(0), 0
    cosine = np.clip(rng.normal(0, width**-0.5, (400, classes)), -0.9, 0.9).astype("float32")
    labels = rng.integers(0, classes, 400)
    for name in MARGINS:
        loss = losses.REGISTRY[name]()
        loss.attach(classes, width)
        if loss.expected(classes, width) is not None:
            told += 1
            assert float(ops.mean(loss(labels, cosine))) == pytest.approx(loss.expected(classes, width), rel=0.12), name
    assert told == 9
    assert losses.SoftmaxLoss().expected(C, D) == pytest.approx(np.log(C))


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("softmax", "SoftmaxLoss"), ("categorical_crossentropy", "SoftmaxLoss"), ("arcface", "ArcfaceLoss"),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), "SoftmaxLoss"), (losses.CosFaceLoss, "CosFaceLoss"),
        (losses.distiller_loss_cosine, "DistillCosineLoss"), (keras.losses.CategoricalFocalCrossentropy(), "KerasLoss"),
        (keras.losses.categorical_hinge, "KerasLoss"), (losses.distiller_loss_euclidean, "DistillEuclideanLoss"),
        ("adaface", "AdaFaceLoss"), ("circle", "CircleLoss"), ("SupConLoss", "SupConLoss"),
    ],
)  # fmt: skip
def test_get(given, kind):
    assert type(losses.get(given)).__name__ == kind


def test_label_smoothing_of_keras_is_kept():
    assert losses.get(keras.losses.CategoricalCrossentropy(label_smoothing=0.1)).label_smoothing == 0.1


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: losses.get("ArcFaceLoss"), r"unknown loss 'ArcFaceLoss'. Did you mean 'ArcfaceLoss'\?"),
        (lambda: losses.MagFaceLoss(curricular_hard_scale=0.1), "Use CurricularFaceLoss"),
        (lambda: losses.MarginSoftmax(scale_all=8), "scale_all cancels out"),
        (lambda: losses.BatchHardTripletLoss(distance="l1"), "expected distance 'cosine' or 'euclidean'"),
        (lambda: losses.AirFaceLoss(from_logits=False), "from_logits=False has no meaning"),
        (lambda: losses.DistillKLDivergenceLoss(over="all"), "expected over='batch' or 'classes'"),
        (lambda: losses.OfflineTripletLoss()(LABELS[:4], OUTPUTS["embedding"][:4]), "multiple of 3 rows. Received: 4"),
    ],
)  # fmt: skip
def test_errors(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


KIF = {
    "AdaFaceLoss() first call": losses.AdaFaceLoss,
    "AirFaceLoss()": losses.AirFaceLoss,
    "ArcBatchHardTripletLoss(0.35)": losses.ArcBatchHardTripletLoss,
    "ArcfaceLoss(label_smoothing=0.1)": lambda: losses.ArcfaceLoss(label_smoothing=0.1),
    "ArcfaceLoss(margin1=0.9,margin2=0.4,margin3=0.15,scale=64)": lambda: losses.ArcfaceLoss(0.9, 0.4, 0.15),
    "ArcfaceLoss(margin2=0.5,scale=64)": losses.ArcfaceLoss,
    "ArcfaceLoss(scale=16)": lambda: losses.ArcfaceLoss(scale=16),
    "ArcfaceLossSimple()": losses.ArcfaceLossSimple,
    "BatchHardTripletLoss(0.35)": losses.BatchHardTripletLoss,
    "BatchHardTripletLossEuclidean(0.35)": losses.BatchHardTripletLossEuclidean,
    "CosFaceLoss()": losses.CosFaceLoss,
    "CurricularFaceLoss() first call": losses.CurricularFaceLoss,
    "MagFaceLoss()": losses.MagFaceLoss,
    "MarginSoftmax() on softmax(8 cos)": losses.MarginSoftmax,
    "distiller_loss_cosine": losses.DistillCosineLoss,
    "distiller_loss_euclidean": losses.DistillEuclideanLoss,
}


@pytest.mark.real
@pytest.mark.parametrize("name", KIF)
def test_parity_with_keras_insightface(real, name):
    """Values and gradients of KIF on TF 2.15. Not compared: BatchAll, which is averaged over the anchor's triplets here and over
    all of them there; the gradient of MarginSoftmax, taken there with respect to probabilities."""
    stored = dict(np.load(f"{real}/parity/losses.npz"))
    stored["logits"], i = 8 * stored["cosine"], list(stored["names"]).index(name)
    loss = KIF[name]()
    loss.attach(40, 32, 32)
    outputs = [stored[key] for key in loss.reads]
    before, loss_cases.LABELS = loss_cases.LABELS, stored["labels"]
    try:
        _, gradients = loss_cases.values_and_gradients(loss, outputs)
    finally:
        loss_cases.LABELS = before
    if "first call" in name:
        loss = KIF[name]()
        loss.attach(40, 32)
    value = ops.convert_to_numpy(loss(stored["labels"], *outputs, training=True))
    assert worst(value, stored[f"value_{i}"]) < 1e-5
    if not name.startswith("MarginSoftmax") and "first call" not in name:
        found = np.concatenate([gradients[0], *[-g[:, None] for g in gradients[1:]]], axis=1)
        assert worst(found, stored[f"grad_{i}"]) < 1e-4
