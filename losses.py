"""Named outputs and labels → one value per sample: every loss, and its memory.

A loss is a small Keras layer: `reads` names the outputs it wants ("embedding", "logits", "cosine", "teacher"), `config`
names its arguments, `call(labels, *outputs, training)` returns (B,) in float32. As a layer its state moves with the
model, saves with it, and is equal on every replica. Labels are integers 0…C−1.
"""

import difflib

import keras
import numpy as np
from keras import ops

REGISTRY: dict[str, type["FaceLoss"]] = {}
EPSILON = 1e-7


def register(cls):
    """Class decorator: saved models and `get` find the loss by its name."""
    REGISTRY[cls.__name__] = keras.saving.register_keras_serializable("face")(cls)
    return cls


class FaceLoss(keras.layers.Layer):
    """Template of all losses.

    `head` is the head that makes what the loss reads: "softmax", "arcface", or None for losses of the embedding alone.
    `short` is its name in logs and in `sch` strings.
    """

    reads: tuple[str, ...] = ("embedding",)
    config: tuple[str, ...] = ()
    head: str | None = None
    short: str = "loss"
    needs_groups = False

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", name=self.short, **kwargs)

    def get_config(self):
        return {name: getattr(self, name) for name in self.config}

    def build_from_config(self, config):
        """Memory depends on sizes, not on input shapes: `attach` makes it."""
        if config:
            self.attach(**config)

    def get_build_config(self):
        return getattr(self, "sizes", None)

    def fresh(self) -> "FaceLoss":
        """A copy without memory: the object in the caller's schedule stays as it is."""
        return type(self).from_config(self.get_config())

    def attach(self, classes: int, emb_shape: int) -> None:
        """Called once before training with the number of classes and the embedding size."""
        if not self.built:
            self.sizes = {"classes": int(classes), "emb_shape": int(emb_shape)}
            self.remember(**self.sizes)
            self.built = True

    def remember(self, classes: int, emb_shape: int) -> None:
        """Losses with memory make their weights here."""

    def expected(self, classes: int) -> float | None:
        """Value of an untrained model, where a formula tells it."""
        return None


def sparse(labels):
    """Labels (B,) as they are, one-hot (B, C) as integers."""
    return ops.argmax(labels, -1) if len(labels.shape) == 2 and labels.shape[-1] != 1 else ops.reshape(labels, (-1,))


def cross_entropy(labels, logits, smoothing: float = 0.0):
    """Softmax cross-entropy with integer labels.  (B,), (B, C) → (B,)

    With smoothing ε the target is 1 − ε + ε/C on the label and ε/C elsewhere (Szegedy et al., arXiv:1512.00567).
    """
    total = ops.logsumexp(logits, axis=-1)
    own = ops.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    if not smoothing:
        return total - own
    return total - (1 - smoothing) * own - smoothing * ops.mean(logits, axis=-1)


# ------------------------------------------------------------------------------------------------ softmax and margins


@register
class SoftmaxLoss(FaceLoss):
    """Softmax cross-entropy.  (B,), (B, C) → (B,)"""

    reads, config, head, short = ("logits",), ("label_smoothing",), "softmax", "softmax"

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

    def call(self, labels, logits, training=False):
        return cross_entropy(sparse(labels), logits, self.label_smoothing)

    def expected(self, classes):
        return float(np.log(classes))


@register
class KerasLoss(FaceLoss):
    """Any Keras loss or function of (one-hot labels, probabilities), over the softmax head.  (B,), (B, C) → (B,)"""

    reads, head, short = ("logits",), "softmax", "softmax"

    def __init__(self, loss):
        super().__init__()
        self.loss = keras.saving.deserialize_keras_object(loss) if isinstance(loss, dict) else loss

    def get_config(self):
        return {"loss": keras.saving.serialize_keras_object(self.loss)}

    def call(self, labels, logits, training=False):
        call = self.loss.call if isinstance(self.loss, keras.losses.Loss) else self.loss
        one_hot = ops.one_hot(sparse(labels), logits.shape[-1])
        values = call(one_hot, logits if getattr(self.loss, "from_logits", False) else ops.softmax(logits))
        return ops.broadcast_to(values, ops.shape(labels)[:1])


class MarginLoss(FaceLoss):
    """Template of the losses over cosines: cut, pull, cross-entropy of scale · cos θ.

    A margin says in `pull` how the target's cosine is lowered. Cosines are cut to ±(1 − 1e-7) first, so that value and
    gradient stay finite where rounding carries a cosine past 1.
    """

    reads, head, short = ("cosine",), "arcface", "arcface"

    def __init__(self, scale: float, from_logits: bool, label_smoothing: float):
        super().__init__()
        if not from_logits:
            raise ValueError(
                f"{type(self).__name__}: from_logits=False has no meaning for a loss that scales cosines itself. Leave it out."
            )
        self.scale, self.label_smoothing = scale, label_smoothing

    def pull(self, target):
        """cos θ of the labelled class (B,) → what takes its place."""
        raise NotImplementedError

    def call(self, labels, cosine, training=False):
        labels = sparse(labels)
        cosine = ops.clip(cosine, EPSILON - 1, 1 - EPSILON)
        target = ops.take_along_axis(cosine, labels[:, None], axis=1)
        change = self.pull(target[:, 0])[:, None] - target
        is_target = labels[:, None] == ops.arange(cosine.shape[-1], dtype=labels.dtype)
        return cross_entropy(labels, (cosine + ops.where(is_target, change, 0.0)) * self.scale, self.label_smoothing)

    def expected(self, classes):
        """At random weights every cosine is about 0: log(e^{s·pull(0)} + C − 1) − s·pull(0)."""
        pulled = self.scale * float(self.pull(ops.zeros((1,)))[0])
        return float(np.logaddexp(pulled, np.log(max(classes - 1, 1))) - pulled)


@register
class ArcfaceLoss(MarginLoss):
    """cos(m₁θ + m₂) − m₃ on the target.  (B,), (B, C) → (B,)   Deng et al., CVPR 2019, arXiv:1801.07698, eq. 4.

    Where m₁θ + m₂ passes π the cosine would rise again: there the target becomes −2 − cos(m₁θ + m₂), which goes on
    falling, as the InsightFace code does.
    """

    config = ("margin1", "margin2", "margin3", "scale", "label_smoothing")

    def __init__(self, margin1=1.0, margin2=0.5, margin3=0.0, scale=64.0, from_logits=True, label_smoothing=0):
        super().__init__(scale, from_logits, label_smoothing)
        self.margin1, self.margin2, self.margin3 = margin1, margin2, margin3

    def pull(self, target):
        angle = ops.arccos(target) * self.margin1 + self.margin2
        pulled = ops.cos(angle)
        return ops.where(angle <= np.pi, pulled, -2.0 - pulled) - self.margin3


@register
class ArcfaceLossSimple(MarginLoss):
    """cos(θ + m) on the target, without an arccos.  (B,), (B, C) → (B,)   arXiv:1801.07698, eq. 3.

    cos θ cos m − sin θ sin m; where θ + m passes π, cos θ − m sin m, as InsightFace's first code did.
    """

    config = ("margin", "scale", "label_smoothing")

    def __init__(self, margin=0.5, scale=64.0, from_logits=True, label_smoothing=0):
        super().__init__(scale, from_logits, label_smoothing)
        self.margin = margin

    def pull(self, target):
        sine = ops.sqrt(1.0 - ops.square(target))
        pulled = target * np.cos(self.margin) - sine * np.sin(self.margin)
        beyond = target - np.sin(np.pi - self.margin) * self.margin
        return ops.where(target > np.cos(np.pi - self.margin), pulled, beyond)


@register
class CosFaceLoss(MarginLoss):
    """cos θ − m on the target.  (B,), (B, C) → (B,)   Wang et al., CVPR 2018, arXiv:1801.09414, eq. 4."""

    config, short = ("margin", "scale", "label_smoothing"), "cosface"

    def __init__(self, margin=0.35, scale=64.0, from_logits=True, label_smoothing=0):
        super().__init__(scale, from_logits, label_smoothing)
        self.margin = margin

    def pull(self, target):
        return target - self.margin


# ------------------------------------------------------------------------------------------------------------ centers


@register
class CenterLoss(FaceLoss):
    """½‖x − c‖² to the moving center of the sample's class.  (B,), (B, D) → (B,)   Wen et al., ECCV 2016, eq. 2–4.

    In training each center of the batch moves by α · Σ(c − x) / (1 + n). `num_classes` and `emb_shape` may be left to
    the trainer.
    """

    config, short = ("num_classes", "emb_shape", "alpha"), "center"

    def __init__(self, num_classes=None, emb_shape=None, alpha=0.5, initial_file=None):
        super().__init__()
        self.num_classes, self.emb_shape, self.alpha = num_classes, emb_shape, alpha
        self.initial_file = initial_file

    def fresh(self):
        copy = super().fresh()
        copy.initial_file = self.initial_file
        return copy

    def remember(self, classes, emb_shape):
        initial = "zeros"
        if self.initial_file:
            stored = np.load(self.initial_file)
            if stored.shape != (classes, emb_shape):
                raise ValueError(
                    f"{self.initial_file}: expected centers {(classes, emb_shape)}. Received: {stored.shape}"
                )
            initial = keras.initializers.Constant(stored)
        self.centers = self.add_weight(
            (classes, emb_shape), initial, trainable=False, name="centers", aggregation="mean"
        )

    def attach(self, classes, emb_shape):
        for name, given, found in (
            ("num_classes", self.num_classes, classes),
            ("emb_shape", self.emb_shape, emb_shape),
        ):
            if given not in (None, found):
                raise ValueError(
                    f"CenterLoss: expected {name}={found}, as in the data and the model. Received: {given}. Leave it out to have it set."
                )
        super().attach(classes, emb_shape)

    def call(self, labels, embedding, training=False):
        labels = sparse(labels)
        away = embedding - ops.take(self.centers, labels, axis=0)
        if training:
            self._move(labels, ops.stop_gradient(away))
        return 0.5 * ops.sum(ops.square(away), axis=-1)

    def _move(self, labels, away):
        """Samples of one class all write the same row, so that the order of writing does not matter."""
        same = ops.cast(labels[:, None] == labels[None], "float32")
        step = self.alpha * ops.matmul(same, away) / (1.0 + ops.sum(same, axis=1, keepdims=True))
        rows = ops.take(self.centers, labels, axis=0) + step
        self.centers.assign(ops.scatter_update(self.centers, labels[:, None], rows))


# -------------------------------------------------------------------------------------------------------------- pairs


class PairLoss(FaceLoss):
    """Template of the losses over pairs of the batch: similarity → masks → a value per anchor.

    Embeddings are normalised; `same` (B, B) marks other images of the anchor's person, `other` those of other people.
    An anchor without any positive or negative counts 0.
    """

    needs_groups = True

    def call(self, labels, embedding, training=False):
        labels = sparse(labels)
        unit = ops.normalize(embedding, axis=-1)
        equal = labels[:, None] == labels[None]
        same = ops.logical_and(equal, ops.logical_not(ops.eye(ops.shape(labels)[0], dtype="bool")))
        return self.per_anchor(ops.matmul(unit, ops.transpose(unit)), same, ops.logical_not(equal))

    def per_anchor(self, cosine, same, other):
        """(B, B) cosines and masks → (B,)"""
        raise NotImplementedError


def hardest(cosine, same, other):
    """Lowest cosine among the same, highest among the others, and whether the anchor has both.  → three of (B,)"""
    positive = ops.min(ops.where(same, cosine, 1.0), axis=-1)
    negative = ops.max(ops.where(other, cosine, -1.0), axis=-1)
    both = ops.logical_and(ops.any(same, axis=-1), ops.any(other, axis=-1))
    return positive, negative, both


class TripletLoss(PairLoss):
    """A pair loss with the margin `alpha`."""

    config, short = ("alpha",), "triplet"

    def __init__(self, alpha: float = 0.35):
        super().__init__()
        self.alpha = alpha


@register
class BatchHardTripletLoss(TripletLoss):
    """max(0, cos(a, hardest n) − cos(a, hardest p) + α).  (B,), (B, D) → (B,)   Hermans et al., arXiv:1703.07737, eq. 5."""

    def per_anchor(self, cosine, same, other):
        positive, negative, both = hardest(cosine, same, other)
        return ops.where(both, ops.relu(negative - positive + self.alpha), 0.0)


@register
class BatchAllTripletLoss(TripletLoss):
    """max(0, cos(a, n) − cos(a, p) + α), mean over the anchor's triplets above 0.   arXiv:1703.07737, eq. 6.

    (B,), (B, D) → (B,)
    """

    def per_anchor(self, cosine, same, other):
        valid = ops.logical_and(same[:, :, None], other[:, None, :])
        values = ops.where(valid, ops.relu(cosine[:, None, :] - cosine[:, :, None] + self.alpha), 0.0)
        active = ops.sum(ops.cast(values > 0, "float32"), axis=(1, 2))
        return ops.sum(values, axis=(1, 2)) / ops.maximum(active, 1.0)


# ------------------------------------------------------------------------------------------------------- distillation


def distiller_loss_cosine(true_emb, pred_emb):
    """1 − cos(teacher, student).  (B, D), (B, D) → (B,); teacher values that are not finite count as 0."""
    true_emb = ops.where(ops.isfinite(true_emb), true_emb, 0.0)
    return 1.0 - ops.sum(ops.normalize(true_emb, axis=-1) * ops.normalize(pred_emb, axis=-1), axis=-1)


@register
class DistillCosineLoss(FaceLoss):
    """`distiller_loss_cosine` as a loss of a stage.  (B,), (B, D), (B, D) → (B,)"""

    reads, short = ("embedding", "teacher"), "distill"

    def call(self, labels, embedding, teacher, training=False):
        if embedding.shape[-1] != teacher.shape[-1]:
            raise ValueError(
                f"distill: the teacher's embeddings have {teacher.shape[-1]} values, the model's {embedding.shape[-1]}. "
                f"Build the model with emb_shape={teacher.shape[-1]}."
            )
        return distiller_loss_cosine(teacher, embedding)


# ------------------------------------------------------------------------------------------------------------- lookup

STRINGS = {
    "softmax": SoftmaxLoss,
    "categorical_crossentropy": SoftmaxLoss,
    "sparse_categorical_crossentropy": SoftmaxLoss,
    "arcface": ArcfaceLoss,
    "cosface": CosFaceLoss,
    "center": CenterLoss,
    "centerloss": CenterLoss,
    "triplet": BatchHardTripletLoss,
    "distill": DistillCosineLoss,
}


def get(loss) -> FaceLoss:
    """What stands under "loss" in a schedule → a FaceLoss.

    A FaceLoss or its class, the name of one, a Keras loss, or a function of (one-hot labels, probabilities).
    """
    if isinstance(loss, str):
        return _by_name(loss)
    if loss is distiller_loss_cosine:
        return DistillCosineLoss()
    if isinstance(loss, type) and issubclass(loss, (FaceLoss, keras.losses.Loss)):
        return get(loss())
    if isinstance(loss, (keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy)):
        return SoftmaxLoss(loss.get_config().get("label_smoothing", 0))
    if isinstance(loss, FaceLoss):
        return loss.fresh()
    if callable(loss):
        return KerasLoss(loss)
    raise ValueError(f"expected a loss object, its class or its name. Received: {loss!r}")


def _by_name(name):
    known = {**REGISTRY, **STRINGS}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known))}."
        raise ValueError(f"unknown loss {name!r}. {hint}")
    return known[name]()
