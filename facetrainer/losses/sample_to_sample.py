"""Losses between an image and the last one seen of each person."""

import keras
from keras import ops

from facetrainer import distributed
from facetrainer.losses.base import FaceLoss, own, register, sparse
from facetrainer.utils.tensors import Tensor, last_rows, unit


@register
class USSLoss(FaceLoss):
    """Unified threshold integrated sample-to-sample loss: one threshold b that every pair of the same person has to pass, and no other.

    softplus(b − s (cos⁺ − m)) + Σ softplus(s cos⁻ − b), cosines to the last embedding seen of each person, both exponents cut to
    ± s. b is trained, and begins where the first step's negatives are: at the mean of their log Σ exp(s cos⁻). People not seen
    yet do not count. Stands beside a margin loss as a rule:
    `{"loss": losses.CosFaceLoss(0.4), "embLossTypes": [losses.USSLoss()]}` is UniTSFace.

    Args:
        margin: m. Defaults to `0.1`.
        scale: s. Defaults to `64.0`.

    Call arguments:
        labels: Integer tensor of shape `(batch,)`.
        embedding: Float tensor of shape `(batch, D)`.

    Returns:
        Float tensor of shape `(batch,)`.

    Reference:
        Li et al., NeurIPS 2023, arXiv:2311.02523, eq. 8, with b's beginning as in their code.
    """

    config, short, notes = ("margin", "scale"), "uss", ("uss_threshold",)

    def __init__(self, margin: float = 0.1, scale: float = 64.0):
        super().__init__()
        self.margin, self.scale = margin, scale

    class_axes = {"latest": 0, "seen": 0}

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        options = {"trainable": False, "aggregation": "only_first_replica"}
        self.classes = classes
        self.latest = distributed.add_table(self, (classes, emb_shape), 0, "zeros", name="latest", **options)
        self.seen = distributed.add_table(self, (classes,), 0, "zeros", name="seen", **options)
        self.begin = self.add_weight((), "zeros", name="begin", **options)
        self.moved = self.add_weight((), keras.initializers.Zeros(), name="moved")

    def call(self, labels: Tensor, embedding: Tensor, training: bool = False) -> Tensor:
        """A value for each sample."""
        labels, direction = sparse(labels), unit(embedding)
        cosine = self.scale * self._real(ops.matmul(direction, ops.transpose(self.latest)))
        seen = self._real(ops.convert_to_tensor(self.seen)[None])
        is_own = labels[:, None] == ops.arange(self.classes, dtype=labels.dtype)
        others = ops.where(is_own, 0.0, seen)
        threshold = self._begin(ops.stop_gradient(cosine), others, training) + self.moved
        self.note("uss_threshold", threshold / self.scale)
        near = own(ops.broadcast_to(seen, ops.shape(cosine)), labels) * self._softplus(
            threshold - own(cosine, labels) + self.scale * self.margin
        )
        far = ops.sum(others * self._softplus(cosine - threshold), axis=-1)
        if training:
            self._remember(ops.stop_gradient(direction), labels)
        return near + far

    def _softplus(self, x):
        return ops.softplus(ops.clip(x, -self.scale, self.scale))

    def _begin(self, cosine, others, training):
        """Where the threshold begins: 0 is none yet."""
        first = ops.mean(ops.logsumexp(ops.where(others > 0, cosine, -1e9), axis=-1))
        begin = ops.convert_to_tensor(self.begin)
        found = ops.where((begin == 0) & (ops.sum(others) > 0), first, begin)
        if training:
            self.begin.assign(found)
        return found

    def _real(self, rows):
        """Of rows that are filled up to the number of devices, those of people."""
        return distributed.by_class(rows)[:, : self.classes] if distributed.sharding() else rows

    def _remember(self, direction, labels):
        rows = ops.take(direction, last_rows(labels), axis=0)
        self.latest.assign(ops.scatter_update(self.latest, labels[:, None], rows))
        self.seen.assign(ops.scatter_update(self.seen, labels[:, None], ops.ones(labels.shape)))
