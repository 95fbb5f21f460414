"""Every registered loss with some configurations, its values and gradients on either backend.

KERAS_BACKEND=jax python tests/losses/loss_cases.py OUT.npz      what TensorFlow's are compared with
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import keras
import numpy as np

from facetrainer import losses

C, D = 7, 8
RNG = np.random.default_rng(0)
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4], "int32")  # the last person stands alone
B = len(LABELS)
OUTPUTS = {
    "cosine": RNG.uniform(-0.9, 0.9, (B, C)).astype("float32"),
    "logits": RNG.normal(size=(B, C)).astype("float32"),
    "embedding": RNG.normal(size=(B, D)).astype("float32"),
    "teacher": RNG.normal(size=(B, D)).astype("float32"),
    "norm": RNG.uniform(5, 60, B).astype("float32"),
    "gallery": RNG.normal(size=(B, D)).astype("float32"),
}
CENTERS = np.random.default_rng(1).normal(size=(C, D)).astype("float32")
VARIANTS = {
    "ArcfaceLoss": [{"margin1": 0.9, "margin2": 0.4, "margin3": 0.15}, {"scale": 16.0, "label_smoothing": 0.1}],
    "ArcfaceLossSimple": [{"margin": 0.3}, {"easy_margin": True}],
    "CosFaceLoss": [{"label_smoothing": 0.2}],
    "AirFaceLoss": [{"linear_negatives": True}],
    "SphereFaceLoss": [{"margin": m, "lambda_base": 4.0, "lambda_min": 0.0} for m in (1, 2, 3)],
    "SphereFaceRLoss": [{"margin": 2.3}],
    "CurricularFaceLoss": [{"hard_scale": 0.3}],
    "AdaCosLoss": [{"scale": 10}],
    "MagFaceLoss": [{"use_cosface_margin": True}],
    "AdaFaceLoss": [{"margin_alpha": 3.0, "scale": 32.0}],
    "ElasticFaceLoss": [{"use_cosface_margin": True}],
    "SoftmaxLoss": [{"label_smoothing": 0.1}],
    "MarginSoftmax": [{"power": 3, "scale": 0.2}, {"from_logits": True, "scale_all": 8.0, "label_smoothing": 0.1}],
    "BatchHardTripletLoss": [{"alpha": 0.1}, {"distance": "euclidean"}],
    "BatchAllTripletLoss": [{"distance": "euclidean"}],
    "SemiHardTripletLoss": [{"alpha": 0.1}],
    "SoftMarginTripletLoss": [{"scale": 1.0, "distance": "euclidean"}],
    "CircleLoss": [{"gamma": 32.0}],
    "SemiSiameseLoss": [{"margin": 0.1, "scale": 8.0, "size": 20}],
    "USSLoss": [{"margin": 0.3, "scale": 8.0}],
    "AdaDistillLoss": [{"margin": 0.2, "scale": 16.0}],
    "DistillKLDivergenceLoss": [{"scale": 3.0}],
}
NEEDED = {
    "KerasLoss": [{"loss": keras.losses.CategoricalFocalCrossentropy()}],
    "CrossBatchMemory": [{"loss": losses.SupConLoss(), "size": 16}],
}
CASES = [
    (name, config)
    for name in sorted(losses.REGISTRY)
    for config in NEEDED.get(name, [{}, *VARIANTS.get(name, [])])
]  # fmt: skip


def make(name, config, teacher=0):
    loss = losses.REGISTRY[name](**config)
    loss.attach(C, D, teacher)
    if hasattr(loss, "centers"):
        loss.centers.assign(CENTERS)
    if hasattr(loss, "latest"):
        loss.latest.assign(CENTERS / np.linalg.norm(CENTERS, axis=1, keepdims=True))
        loss.seen.assign(np.ones(C))
    return loss


def values_and_gradients(loss, outputs):
    """→ (B,) and the gradient of the sum with respect to each output but the teacher's."""
    free = [i for i, name in enumerate(loss.reads) if name != "teacher"]
    if keras.backend.backend() == "jax":
        import jax

        def total(*varied):
            given = dict(zip(free, varied, strict=True))
            value = loss(LABELS, *[given.get(i, x) for i, x in enumerate(outputs)])
            return value.sum(), value

        both = jax.jit(jax.value_and_grad(total, argnums=tuple(range(len(free))), has_aux=True))
        (_, value), found = both(*[jax.numpy.asarray(outputs[i]) for i in free])
        return np.asarray(value), [np.asarray(g) for g in found]
    import tensorflow as tf

    tensors = [tf.constant(x) for x in outputs]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = loss(LABELS, *tensors)
    found = tape.gradient(value, [tensors[i] for i in free], unconnected_gradients="zero")
    return value.numpy(), [g.numpy() for g in found]


def compute():
    arrays = {}
    for number, (name, config) in enumerate(CASES):
        loss = make(name, config)
        value, gradients = values_and_gradients(loss, [OUTPUTS[key] for key in loss.reads])
        arrays[f"{number}"] = value
        arrays.update({f"{number}/{i}": g for i, g in enumerate(gradients)})
    return arrays


if __name__ == "__main__":
    np.savez(sys.argv[1], **compute())
