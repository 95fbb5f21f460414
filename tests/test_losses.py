import keras
import numpy as np
import pytest
import reference
from keras import ops

import losses

B, C, D = 12, 7, 8
RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 3).astype("int32")
OUTPUTS = {
    "cosine": RNG.uniform(-0.9, 0.9, (B, C)).astype("float32"),
    "logits": RNG.normal(size=(B, C)).astype("float32"),
    "embedding": RNG.normal(size=(B, D)).astype("float32"),
    "teacher": RNG.normal(size=(B, D)).astype("float32"),
}
VARIANTS = {
    "ArcfaceLoss": [{}, {"margin1": 0.9, "margin2": 0.4, "margin3": 0.15}, {"scale": 16.0, "label_smoothing": 0.1}],
    "ArcfaceLossSimple": [{}, {"margin": 0.3}],
    "CosFaceLoss": [{}, {"label_smoothing": 0.2}],
    "SoftmaxLoss": [{}, {"label_smoothing": 0.1}],
    "BatchHardTripletLoss": [{}, {"alpha": 0.1}],
    "BatchAllTripletLoss": [{}],
    "DistillCosineLoss": [{}],
    "CenterLoss": [{}],
    "KerasLoss": [{"loss": keras.losses.CategoricalFocalCrossentropy()}],
}
CASES = [(name, config) for name in sorted(losses.REGISTRY) for config in VARIANTS[name]]


def make(name, config):
    loss = losses.REGISTRY[name](**config)
    loss.attach(C, D)
    if name == "CenterLoss":
        loss.centers.assign(np.random.default_rng(1).normal(size=(C, D)))
    return loss


def truth(name, config, outputs):
    if name == "CenterLoss":
        return reference.CenterLoss(LABELS, outputs[0], np.random.default_rng(1).normal(size=(C, D)).astype("float32"))
    if name == "KerasLoss":
        p = np.exp(outputs[0].astype(np.float64))
        p = (p / p.sum(1, keepdims=True))[np.arange(B), LABELS]
        return -0.25 * (1 - p) ** 2 * np.log(p)
    return getattr(reference, name)(LABELS, *outputs, **config)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_value_against_the_paper(name, config):
    loss = make(name, config)
    outputs = [OUTPUTS[key] for key in loss.reads]
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss(LABELS, *outputs)), truth(name, config, outputs), rtol=2e-5, atol=2e-5
    )


def gradient(loss, outputs):
    """Hold the input as a weight, take one step of SGD(1): the step is the gradient."""

    class Held(keras.Model):
        def __init__(self):
            super().__init__()
            self.held = self.add_weight(outputs[0].shape, "zeros")
            self.held.assign(outputs[0])

        def call(self, x):
            return self.held + 0 * x[0, 0]

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.sum(loss(LABELS, y_pred, *outputs[1:]))

    model = Held()
    model.compile(keras.optimizers.SGD(1.0), jit_compile=False)
    model.fit(np.zeros((B, 1)), np.zeros(B), batch_size=B, verbose=0)
    return outputs[0] - ops.convert_to_numpy(model.held)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_gradient_against_central_differences(name, config):
    loss = make(name, config)
    outputs = [OUTPUTS[key] for key in loss.reads]
    found, step = gradient(loss, outputs), 1e-5
    for i, j in [(0, int(LABELS[0])), (3, 2), (7, 5)]:
        up, down = ([o.astype(np.float64) for o in outputs] for _ in range(2))
        up[0][i, j] += step
        down[0][i, j] -= step
        slope = (truth(name, config, up).sum() - truth(name, config, down).sum()) / (2 * step)
        assert found[i, j] == pytest.approx(slope, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("name", [n for n in losses.REGISTRY if issubclass(losses.REGISTRY[n], losses.MarginLoss)])
def test_finite_at_and_beyond_one(name):
    loss = losses.REGISTRY[name]()
    for edge in (1.0, -1.0, 1 + 1e-6, -1 - 1e-6):
        cosine = np.full((B, C), edge, "float32")
        assert np.isfinite(ops.convert_to_numpy(loss(LABELS, cosine))).all()
        assert np.isfinite(gradient(loss, [cosine])).all()


@pytest.mark.parametrize(("name", "config"), CASES)
def test_configuration_survives(name, config):
    loss = make(name, config)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    outputs = [OUTPUTS[key] for key in loss.reads]
    for old, new in zip(loss.weights, again.weights, strict=True):
        new.assign(old)
    np.testing.assert_array_equal(loss(LABELS, *outputs), again(LABELS, *outputs))


def test_centers_move_in_training_only():
    loss = make("CenterLoss", {"alpha": 0.5})
    before = ops.convert_to_numpy(loss.centers).copy()
    loss(LABELS, OUTPUTS["embedding"], training=False)
    np.testing.assert_array_equal(loss.centers, before)
    loss(LABELS, OUTPUTS["embedding"], training=True)
    expected = reference.moved_centers(LABELS, OUTPUTS["embedding"], before, 0.5)
    np.testing.assert_allclose(loss.centers, expected, rtol=1e-5, atol=1e-6)


def test_untrained_value_is_foretold():
    cosine = np.zeros((B, C), "float32")
    for loss in (losses.ArcfaceLoss(), losses.CosFaceLoss(scale=16), losses.ArcfaceLossSimple()):
        assert float(ops.mean(loss(LABELS, cosine))) == pytest.approx(loss.expected(C), rel=1e-4)
    assert losses.SoftmaxLoss().expected(C) == pytest.approx(np.log(C))


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("softmax", "SoftmaxLoss"), ("categorical_crossentropy", "SoftmaxLoss"), ("arcface", "ArcfaceLoss"),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), "SoftmaxLoss"), (losses.CosFaceLoss, "CosFaceLoss"),
        (losses.distiller_loss_cosine, "DistillCosineLoss"), (keras.losses.CategoricalFocalCrossentropy(), "KerasLoss"),
        (keras.losses.categorical_hinge, "KerasLoss"),
    ],
)  # fmt: skip
def test_get(given, kind):
    assert type(losses.get(given)).__name__ == kind


def test_label_smoothing_of_keras_is_kept():
    assert losses.get(keras.losses.CategoricalCrossentropy(label_smoothing=0.1)).label_smoothing == 0.1


def test_unknown_name_offers_the_right_one():
    with pytest.raises(ValueError, match=r"unknown loss 'ArcFaceLoss'. Did you mean 'ArcfaceLoss'\?"):
        losses.get("ArcFaceLoss")


@pytest.mark.real
def test_parity_with_keras_insightface(real):
    """Values and gradients of KIF on TF 2.15. BatchAll is averaged over the anchor's triplets here, over all there."""
    stored = np.load(f"{real}/parity/losses.npz")
    ours = {
        "ArcfaceLoss(label_smoothing=0.1)": losses.ArcfaceLoss(label_smoothing=0.1),
        "ArcfaceLoss(margin1=0.9,margin2=0.4,margin3=0.15,scale=64)": losses.ArcfaceLoss(0.9, 0.4, 0.15, 64),
        "ArcfaceLoss(margin2=0.5,scale=64)": losses.ArcfaceLoss(),
        "ArcfaceLoss(scale=16)": losses.ArcfaceLoss(scale=16),
        "ArcfaceLossSimple()": losses.ArcfaceLossSimple(),
        "CosFaceLoss()": losses.CosFaceLoss(),
        "BatchHardTripletLoss(0.35)": losses.BatchHardTripletLoss(0.35),
        "distiller_loss_cosine": losses.DistillCosineLoss(),
    }
    for i, name in enumerate(stored["names"]):
        if name in ours:
            outputs = [stored[key] for key in ours[name].reads]
            values = ops.convert_to_numpy(ours[name](stored["labels"], *outputs))
            np.testing.assert_allclose(values, stored[f"value_{i}"], rtol=1e-4, atol=1e-4, err_msg=name)
