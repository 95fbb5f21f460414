"""Losses over the softmax head's logits."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from facetrainer.losses.base import FaceLoss, cross_entropy, own, register, sparse
from facetrainer.utils.tensors import Tensor


@register
class SoftmaxLoss(FaceLoss):
    """Softmax cross-entropy.

    Args:
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0.0`.
    """

    reads, config, head, short = ("logits",), ("label_smoothing",), "softmax", "softmax"
    by_image = True

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

    def call(self, labels: Tensor, logits: Tensor, training: bool = False) -> Tensor:
        """A value for each sample."""
        return cross_entropy(sparse(labels), logits, self.label_smoothing)

    def expected(self, classes: int, emb_shape: int) -> float | None:
        return float(np.log(classes))


@register
class MarginSoftmax(FaceLoss):
    """Cross-entropy after the true class's probability p shrank to (pᵃ + b·p) / 2.

    A loss of Keras_insightface's. The probabilities are brought back to a sum of 1, in logarithms; with `from_logits` they, times
    `scale_all`, are taken as logits instead.

    Args:
        power: a. Defaults to `2`.
        scale: b. Defaults to `0.4`.
        scale_all: Factor of the probabilities where these are taken as logits. Defaults to `1.0`.
        from_logits: Take the probabilities as logits. Defaults to `False`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.
    """

    config = ("power", "scale", "scale_all", "from_logits", "label_smoothing")
    reads, head, short, by_image = ("logits",), "softmax", "softmax", True

    def __init__(
        self,
        power: float = 2,
        scale: float = 0.4,
        scale_all: float = 1.0,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ):
        super().__init__()
        self.power, self.scale, self.scale_all = power, scale, scale_all
        self.from_logits, self.label_smoothing = from_logits, label_smoothing
        if scale_all != 1.0 and not from_logits:
            raise ValueError("MarginSoftmax: scale_all cancels out unless from_logits=True. Leave it at 1.")

    def call(self, labels: Tensor, logits: Tensor, training: bool = False) -> Tensor:
        """A value for each sample."""
        labels, log_p = sparse(labels), ops.log_softmax(logits)
        target = own(log_p, labels)
        shrunk = target + ops.log((ops.exp(target * (self.power - 1)) + self.scale) / 2)
        is_target = labels[:, None] == ops.arange(logits.shape[-1], dtype=labels.dtype)
        log_p = ops.where(is_target, shrunk[:, None], log_p)
        scores = ops.exp(log_p) * self.scale_all if self.from_logits else log_p
        return cross_entropy(labels, scores, self.label_smoothing)


@register
class KerasLoss(FaceLoss):
    """Any Keras loss, or function of two arguments, over one-hot labels and the scores of a head.

    Args:
        loss: Keras loss or function, or how a file tells it.
        over: `"logits"` gives it the softmax of the logits, or the logits themselves where it has `from_logits=True`.
            `"cosine"` gives it the cosines to the class centers as they are, as Keras_insightface does with `type="arcface"`; a Keras
            loss with `from_logits=False` gets the softmax of them. Defaults to `"logits"`.

    Call arguments:
        labels: Integer tensor of shape `(batch,)`.
        scores: Float tensor of shape `(batch, classes)`.

    Returns:
        Float tensor of shape `(batch,)`.
    """

    short = "softmax"

    def __init__(self, loss: keras.losses.Loss | Callable | dict, over: str = "logits"):
        super().__init__()
        if over not in ("logits", "cosine"):
            raise ValueError(f"KerasLoss: expected over='logits' or 'cosine'. Received: {over!r}")
        self.loss = keras.saving.deserialize_keras_object(loss) if isinstance(loss, dict) else loss
        self.over, self.reads, self.head = over, (over,), "softmax" if over == "logits" else "arcface"

    def get_config(self) -> dict[str, Any]:
        over = {"over": self.over} if self.over != "logits" else {}
        return {"loss": keras.saving.serialize_keras_object(self.loss), **over}

    def fresh(self) -> "KerasLoss":
        return type(self)(self.loss, self.over)

    def describe(self) -> str:
        return f"KerasLoss({getattr(self.loss, '__name__', type(self.loss).__name__)}, over={self.over!r})"

    def call(self, labels: Tensor, scores: Tensor, training: bool = False) -> Tensor:
        """A value for each sample."""
        call = self.loss.call if isinstance(self.loss, keras.losses.Loss) else self.loss
        one_hot = ops.one_hot(sparse(labels), scores.shape[-1])
        values = call(one_hot, scores if self._takes_scores() else ops.softmax(scores))
        return ops.broadcast_to(values, ops.shape(labels)[:1])

    def _takes_scores(self):
        of_function = self.over == "cosine" and not hasattr(self.loss, "from_logits")
        return of_function or getattr(self.loss, "from_logits", False)
