"""Losses over the pairs of images in a batch."""

import numpy as np
from keras import ops

from facetrainer.losses.base import FaceLoss, register, sparse
from facetrainer.losses.margin import ArcfaceLossSimple, add_angle
from facetrainer.utils.tensors import Tensor, unit

FAR = 1e9


class PairLoss(FaceLoss):
    """Template: similarity → masks → a value per anchor.

    `same` (B, B) marks other images of the anchor's person, `other` those of other people. An anchor without any positive or
    negative counts 0. `distance`: "cosine" of the embeddings, or "euclidean", minus the squared distance of the
    embeddings as they are.
    """

    needs_groups = True
    distance = "cosine"

    def masks(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Labels (B,) → same, other, both (B, B)."""
        equal = labels[:, None] == labels[None]
        return ops.logical_and(equal, ops.logical_not(ops.eye(ops.shape(labels)[0], dtype="bool"))), ops.logical_not(
            equal
        )

    def call(self, labels: Tensor, embedding: Tensor, training: bool = False) -> Tensor:
        """A value for each anchor."""
        values = self.per_anchor(similarity(embedding, self.distance), *self.masks(sparse(labels)))
        if self.notes:
            self.note(self.notes[0], values > 0)
        return values

    def per_anchor(self, close: Tensor, same: Tensor, other: Tensor) -> Tensor:
        """Similarities and masks, (B, B) each, → (B,)."""
        raise NotImplementedError


def similarity(embedding, distance: str):
    """(B, D) → (B, B), larger for nearer pairs."""
    if distance == "cosine":
        embedding = unit(embedding)
        return ops.matmul(embedding, ops.transpose(embedding))
    square = ops.sum(ops.square(embedding), axis=-1)
    return 2 * ops.matmul(embedding, ops.transpose(embedding)) - square[:, None] - square[None]


def hardest(close, same, other):
    """Farthest of the same, nearest of the others, and whether the anchor has both: three of (B,)."""
    positive = ops.min(ops.where(same, close, FAR), axis=-1)
    negative = ops.max(ops.where(other, close, -FAR), axis=-1)
    both = ops.logical_and(ops.any(same, axis=-1), ops.any(other, axis=-1))
    return ops.where(both, positive, 0.0), ops.where(both, negative, 0.0), both


def mean_where(values, mask, axis=-1):
    """Mean over the marked values, 0 where none is."""
    mask = ops.cast(mask, values.dtype)
    return ops.sum(values * mask, axis=axis) / ops.maximum(ops.sum(mask, axis=axis), 1.0)


# ------------------------------------------------------------------------------------------------------------- triplets


class TripletLoss(PairLoss):
    """A pair loss with a margin.

    Args:
        alpha: Margin α. Defaults to `0.35`.
        distance: `"cosine"` or `"euclidean"`; None for that of the class. Defaults to `None`.
    """

    config: tuple[str, ...] = ("alpha", "distance")
    notes: tuple[str, ...] = ("active_triplets",)
    main_margin: str | None = "alpha"
    short = "triplet"

    def __init__(self, alpha: float = 0.35, distance: str | None = None):
        super().__init__()
        self.alpha, self.distance = alpha, distance or type(self).distance
        if self.distance not in ("cosine", "euclidean"):
            raise ValueError(
                f"{type(self).__name__}: expected distance 'cosine' or 'euclidean'. Received: {distance!r}"
            )


@register
class BatchHardTripletLoss(TripletLoss):
    """Triplet loss with the hardest pairs of a batch: max(0, s(a, hardest n) − s(a, hardest p) + α).

    Args:
        alpha: Margin α. Defaults to `0.35`.
        distance: `"cosine"` or `"euclidean"`; None for that of the class. Defaults to `None`.

    Reference:
        Hermans et al., arXiv:1703.07737, eq. 5.
    """

    def per_anchor(self, close: Tensor, same: Tensor, other: Tensor) -> Tensor:
        positive, negative, both = hardest(close, same, other)
        return ops.where(both, ops.relu(negative - self.pull(positive) + self.slack(negative)), 0.0)

    def pull(self, positive: Tensor) -> Tensor:
        """What the similarity of the hardest positive counts."""
        return positive

    def slack(self, negative: Tensor) -> Tensor:
        """How much nearer a positive must be than a negative."""
        return self.now("alpha")


@register
class BatchHardTripletLossEuclidean(BatchHardTripletLoss):
    """`BatchHardTripletLoss` over squared Euclidean distances.

    Args:
        alpha: Margin α. Defaults to `0.35`.
        distance: `"cosine"` or `"euclidean"`; None for that of the class. Defaults to `None`.
    """

    distance = "euclidean"


@register
class BatchHardTripletLossEuclideanAutoAlpha(BatchHardTripletLossEuclidean):
    """Euclidean batch-hard where the margin follows the data: `alpha` times the mean distance of the hardest negatives of the step before.

    A name of Keras_insightface's, where it cannot be made.

    Args:
        alpha: Part of the mean distance of the hardest negatives. Defaults to `0.1`.
        init_auto_alpha: Margin of the first step. Defaults to `1.0`.
        distance: `"cosine"` or `"euclidean"`; None for that of the class. Defaults to `None`.
    """

    config, notes = ("alpha", "init_auto_alpha", "distance"), ("active_triplets", "auto_alpha")
    main_margin = None

    def __init__(self, alpha: float = 0.1, init_auto_alpha: float = 1.0, distance: str | None = None):
        super().__init__(alpha, distance)
        self.init_auto_alpha = init_auto_alpha

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        self.auto_alpha = self.memory("auto_alpha", self.init_auto_alpha)

    def call(self, labels: Tensor, embedding: Tensor, training: bool = False) -> Tensor:
        """A value for each anchor; in training the margin moves."""
        self.learns = training
        return super().call(labels, embedding, training)

    def slack(self, negative: Tensor) -> Tensor:
        current = ops.convert_to_tensor(self.auto_alpha)
        self.note("auto_alpha", current)
        if self.learns:
            self.auto_alpha.assign(self.alpha * ops.mean(-ops.stop_gradient(negative)))
        return current


@register
class ArcBatchHardTripletLoss(BatchHardTripletLoss):
    """Hardest triplets with an angle as margin: max(0, cos(a, hardest n) − cos(θ(a, hardest p) + α)).

    Args:
        alpha: Margin α, an angle, radians. Defaults to `0.35`.
    """

    config = ("alpha",)

    def __init__(self, alpha: float = 0.35):
        super().__init__(alpha)

    def pull(self, positive: Tensor) -> Tensor:
        return add_angle(ops.clip(positive, 1e-7 - 1, 1 - 1e-7), self.now("alpha"))

    def slack(self, negative: Tensor) -> Tensor:
        return 0.0


@register
class BatchAllTripletLoss(TripletLoss):
    """All triplets of a batch: max(0, s(a, n) − s(a, p) + α), mean over the anchor's triplets above 0.

    Args:
        alpha: Margin α. Defaults to `0.35`.
        distance: `"cosine"` or `"euclidean"`; None for that of the class. Defaults to `None`.

    Reference:
        Hermans et al., arXiv:1703.07737, eq. 6.
    """

    def per_anchor(self, close: Tensor, same: Tensor, other: Tensor) -> Tensor:
        valid = ops.logical_and(same[:, :, None], other[:, None, :])
        values = ops.where(valid, ops.relu(close[:, None, :] - close[:, :, None] + self.now("alpha")), 0.0)
        return mean_where(values, values > 0, axis=(1, 2))


@register
class SemiHardTripletLoss(TripletLoss):
    """Semi-hard triplets: max(0, s(a, n) − s(a, p) + α), mean over the anchor's positives, n the nearest negative behind p.

    Where none stands behind p, n is the farthest of all.

    Args:
        alpha: Margin α. Defaults to `0.35`.
        distance: `"cosine"` or `"euclidean"`; None for that of the class. Defaults to `None`.

    Reference:
        Schroff et al., CVPR 2015, arXiv:1503.03832, section 3.2.
    """

    def per_anchor(self, close: Tensor, same: Tensor, other: Tensor) -> Tensor:
        behind = ops.logical_and(other[:, None, :], close[:, None, :] < close[:, :, None])
        nearest = ops.max(ops.where(behind, close[:, None, :], -FAR), axis=-1)
        farthest = ops.min(ops.where(other, close, FAR), axis=-1)[:, None]
        negative = ops.where(ops.any(behind, axis=-1), nearest, farthest)
        pairs = ops.logical_and(same, ops.any(other, axis=-1)[:, None])
        return mean_where(ops.where(pairs, ops.relu(negative - close + self.now("alpha")), 0.0), pairs)


@register
class SoftMarginTripletLoss(TripletLoss):
    """Soft margin over the hardest pairs: log(1 + e^{k (s(a, hardest n) − s(a, hardest p))}) / k.

    Args:
        scale: k. Defaults to `10.0`.
        distance: `"cosine"` or `"euclidean"`; None for that of the class. Defaults to `None`.

    Reference:
        Hermans et al., arXiv:1703.07737, section 2 ("soft margin"), with k = 1 and Euclidean distances there.
    """

    config, main_margin, notes = ("scale", "distance"), None, ()

    def __init__(self, scale: float = 10.0, distance: str | None = None):
        super().__init__(0.0, distance)
        self.scale = scale

    def per_anchor(self, close: Tensor, same: Tensor, other: Tensor) -> Tensor:
        positive, negative, both = hardest(close, same, other)
        return ops.where(both, ops.softplus(self.scale * (negative - positive)) / self.scale, 0.0)


class InOrder:
    """Mixed into a batch-hard loss: rows are anchor, positive, negative, anchor, …, as offline mining lays them.

    Each row of a triplet gets its triplet's value, so that the mean is the mean over triplets.
    """

    needs_groups = False

    def masks(self, labels):
        """One positive and one negative for each anchor: a batch is anchor, positive, negative, and so on."""
        row = np.arange(labels.shape[0])
        if len(row) % 3:
            raise ValueError(f"{type(self).__name__}: a batch is anchor, positive, negative, …: expected a multiple of 3 rows. "
                             f"Received: {len(row)}")  # fmt: skip
        first = row - row % 3
        same, other = np.zeros((2, len(row), len(row)), bool)
        same[first, first + 1], other[first, first + 2] = True, True
        return ops.convert_to_tensor(same), ops.convert_to_tensor(other)

    def per_anchor(self, close, same, other):
        """The anchor's value, for all three rows of its triplet."""
        return ops.repeat(super().per_anchor(close, same, other)[::3], 3)


@register
class OfflineTripletLoss(InOrder, BatchHardTripletLoss):
    """`BatchHardTripletLoss` over triplets that the data bring in order.

    Args:
        alpha: Margin α. Defaults to `0.35`.
        distance: `"cosine"` or `"euclidean"`; None for that of the class. Defaults to `None`.
    """


@register
class OfflineArcTripletLoss(InOrder, ArcBatchHardTripletLoss):
    """`ArcBatchHardTripletLoss` over triplets that the data bring in order.

    Args:
        alpha: Margin α, an angle, radians. Defaults to `0.35`.
    """


# ---------------------------------------------------------------------------------------------------------- all pairs


@register
class CircleLoss(PairLoss):
    """log(1 + Σₙ e^{γ αₙ (sₙ − m)} Σₚ e^{−γ αₚ (sₚ − 1 + m)}), α = the distance from the optimum, without a gradient.

    αₙ = [sₙ + m]₊, αₚ = [1 + m − sₚ]₊. (B,), (B, D) → (B,)

    Args:
        margin: m. Defaults to `0.25`.
        gamma: Scale γ. Defaults to `256.0`.

    Reference:
        Sun et al., CVPR 2020, arXiv:2002.10857, eq. 6–8.
    """

    config, short = ("margin", "gamma"), "circle"

    def __init__(self, margin: float = 0.25, gamma: float = 256.0):
        super().__init__()
        self.margin, self.gamma = margin, gamma

    def per_anchor(self, close: Tensor, same: Tensor, other: Tensor) -> Tensor:
        m, held = self.margin, ops.stop_gradient(close)
        negative = self.gamma * ops.relu(held + m) * (close - m)
        positive = -self.gamma * ops.relu(1 + m - held) * (close - 1 + m)
        both = ops.logical_and(ops.any(same, axis=-1), ops.any(other, axis=-1))
        total = log_sum(negative, other) + log_sum(positive, same)
        return ops.where(both, ops.softplus(ops.where(both, total, 0.0)), 0.0) / self.gamma


def log_sum(values, mask):
    """log Σ e^v over the marked values of each row: (B, B), (B, B) → (B,)."""
    return ops.logsumexp(ops.where(mask, values, -FAR), axis=-1)


@register
class MultiSimilarityLoss(PairLoss):
    """Multi-similarity loss: 1/α log(1 + Σₚ e^{−α(s − λ)}) + 1/β log(1 + Σₙ e^{β(s − λ)}) over mined pairs.

    Kept: negatives nearer than the farthest positive + ε, positives farther than the nearest negative − ε.

    Args:
        alpha: Scale of the positives, α. Defaults to `2.0`.
        beta: Scale of the negatives, β. Defaults to `50.0`.
        base: λ, the cosine about which both are weighed. Defaults to `0.5`.
        epsilon: How far mining reaches, ε. Defaults to `0.1`.

    Reference:
        Wang et al., CVPR 2019, arXiv:1904.06627, eq. 7, 8 and 10.
    """

    config, short = ("alpha", "beta", "base", "epsilon"), "multi_similarity"

    def __init__(self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, epsilon: float = 0.1):
        super().__init__()
        self.alpha, self.beta, self.base, self.epsilon = alpha, beta, base, epsilon

    def per_anchor(self, close: Tensor, same: Tensor, other: Tensor) -> Tensor:
        held = ops.stop_gradient(close)
        positive, negative, both = hardest(held, same, other)
        same = ops.logical_and(same, ops.logical_and(held - self.epsilon < negative[:, None], both[:, None]))
        other = ops.logical_and(other, ops.logical_and(held + self.epsilon > positive[:, None], both[:, None]))
        pulls = ops.softplus(log_sum(-self.alpha * (close - self.base), same)) / self.alpha
        return pulls + ops.softplus(log_sum(self.beta * (close - self.base), other)) / self.beta


@register
class SupConLoss(PairLoss):
    """Supervised contrastive loss: −mean over positives of log(e^{s_p/τ} / Σ e^{s/τ}), the sum over all others.

    Args:
        temperature: τ. Defaults to `0.1`.

    Reference:
        Khosla et al., NeurIPS 2020, arXiv:2004.11362, eq. 2.
    """

    config, short = ("temperature",), "supcon"

    def __init__(self, temperature: float = 0.1):
        super().__init__()
        self.temperature = temperature

    def per_anchor(self, close: Tensor, same: Tensor, other: Tensor) -> Tensor:
        scores = close / self.temperature
        return mean_where(log_sum(scores, ops.logical_or(same, other))[:, None] - scores, same)


# -------------------------------------------------------------------------------------------------------------- joint


@register
class AcrTripLoss(ArcfaceLossSimple):
    """`ArcfaceLossSimple` and `BatchHardTripletLoss(alpha)` in one.

    Args:
        margin: Of ArcFace, radians. Defaults to `0.5`.
        scale: What cosines are multiplied with. Defaults to `64.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.
        alpha: Margin of the triplets. Defaults to `0.35`.
    """

    config, reads, short = ("margin", "scale", "label_smoothing", "alpha"), ("cosine", "embedding"), "acrtrip"
    needs_groups, by_image = True, False

    def __init__(
        self,
        margin: float = 0.5,
        scale: float = 64.0,
        from_logits: bool = True,
        label_smoothing: float = 0,
        alpha: float = 0.35,
    ):
        super().__init__(margin, scale, from_logits, label_smoothing)
        self.alpha, self.triplet = alpha, BatchHardTripletLoss(alpha)

    def pull(self, target: Tensor, *embedding: Tensor) -> Tensor:
        return super().pull(target)

    def penalty(self, labels: Tensor, embedding: Tensor) -> Tensor:
        return self.triplet(labels, embedding)
