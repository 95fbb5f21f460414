"""Losses over the cosines between an embedding and the centers of the classes."""

import math
import statistics

import keras
import numpy as np
from keras import ops

from facetrainer.losses.base import EPSILON, FaceLoss, cross_entropy, own, register, sparse
from facetrainer.utils.tensors import Tensor


class MarginLoss(FaceLoss):
    """Template: cut, move the memory, pull the target, push the others, cross-entropy of scale · cos θ.

    A margin says in `pull` what takes the place of the target's cosine. Cosines are cut to ±(1 − 1e-7) first, so that value
    and gradient stay finite where rounding carries a cosine past 1. `more` are the outputs in `reads` after the cosine.

    Args:
        scale: What cosines are multiplied with. Defaults to `1.0`.
        from_logits: Refused where false: the loss scales cosines itself. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0.0`.
        interclass_filtering_threshold: Other classes whose cosine is above it count 0, as they are probably the same person under another
            name; 0 filters nothing. Defaults to `0.0`.

    Reference:
        Filtering: An et al., CVPR 2022, arXiv:2203.15565, and arcface_torch's configurations.
    """

    reads: tuple[str, ...] = ("cosine",)
    head: str | None = "arcface"
    short: str = "arcface"
    main_margin: str | None = "margin"
    main_scale: str | None = "scale"
    by_image = True

    def __init__(
        self,
        scale: float = 1.0,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
        interclass_filtering_threshold: float = 0.0,
    ):
        super().__init__()
        if not from_logits:
            raise ValueError(
                f"{type(self).__name__}: from_logits=False has no meaning for a loss that scales cosines itself. Leave it out."
            )
        self.scale, self.label_smoothing = scale, label_smoothing
        self.interclass_filtering_threshold = interclass_filtering_threshold

    def pull(self, target: Tensor, *more) -> Tensor:
        """cos θ of the labelled class (B,) → what takes its place."""
        raise NotImplementedError

    def push(self, cosine: Tensor, pulled: Tensor) -> Tensor:
        """Cosines (B, C) of all classes → as they are to count against the pulled target (B,)."""
        return cosine

    def factor(self, *more) -> Tensor:
        """What cosines are multiplied with: a number or (B, 1)."""
        return self.now("scale")

    def learn(self, labels: Tensor, cosine: Tensor, target: Tensor, *more) -> None:
        """Losses with memory move it here, in training only and before it is used."""

    def penalty(self, labels: Tensor, *more) -> Tensor:
        """Added to each sample's value."""
        return 0.0

    def call(self, labels: Tensor, cosine: Tensor, *more, training: bool = False) -> Tensor:
        """A value for each sample, from the cosines with all classes."""
        labels = sparse(labels)
        cosine = ops.clip(cosine, EPSILON - 1, 1 - EPSILON)
        target = own(cosine, labels)
        if training:
            self.learn(labels, ops.stop_gradient(cosine), ops.stop_gradient(target), *more)
        pulled = self.pull(target, *more)
        is_target = labels[:, None] == ops.arange(cosine.shape[-1], dtype=labels.dtype)
        others = self.push(cosine, pulled)
        if self.interclass_filtering_threshold:
            others = ops.where(cosine > self.interclass_filtering_threshold, 0.0, others)
        scores = ops.where(is_target, pulled[:, None], others) * self.factor(*more)
        return cross_entropy(labels, scores, self.label_smoothing) + self.penalty(labels, *more)

    def untrained_scale(self, classes: int) -> float:
        """The scale that training begins with."""
        return float(ops.convert_to_numpy(self.now("scale")))

    def expected(self, classes: int, emb_shape: int) -> float | None:
        """At random weights the target's cosine is 0, and the others are those of random directions."""
        if len(self.reads) > 1:
            return None
        scale, pulled = self.untrained_scale(classes), self.pull(ops.zeros((1,)))
        others = random_cosines(classes - 1, emb_shape)
        pushed = ops.convert_to_numpy(self.push(ops.convert_to_tensor(others[None]), pulled))[0]
        total = np.logaddexp.reduce(scale * pushed) + math.log(max(classes - 1, 1) / len(others))
        return float(np.logaddexp(scale * float(pulled[0]), total) - scale * float(pulled[0]))


def random_cosines(n: int, emb_shape: int) -> np.ndarray:
    """Cosines between n random directions in D dimensions and another one: up to 10,000 quantiles of N(0, 1/D)."""
    points = min(max(n, 1), 10000)
    quantiles = statistics.NormalDist(0, emb_shape**-0.5)
    return np.clip([quantiles.inv_cdf((i + 0.5) / points) for i in range(points)], -1, 1).astype("float32")


def add_angle(cosine, margin):
    """cos θ → cos(θ + m), written as cos θ cos m − sin θ sin m; where θ + m passes π, cos θ − m sin m.

    The second branch keeps falling, as InsightFace's first code did. `margin` is a number or (B,).

    Returns:
        Tensor of the cosine's shape.
    """
    pulled = cosine * ops.cos(margin) - ops.sqrt(1.0 - ops.square(cosine)) * ops.sin(margin)
    return ops.where(cosine > -ops.cos(margin), pulled, cosine - margin * ops.sin(margin))


@register
class NormFaceLoss(MarginLoss):
    """Softmax over scaled cosines, without a margin: cos θ.

    Args:
        scale: What cosines are multiplied with. Defaults to `64.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.

    Reference:
        Wang et al., ACM MM 2017, arXiv:1704.06369, eq. 6.
    """

    config, short, main_margin = ("scale", "label_smoothing"), "normface", None

    def __init__(self, scale: float = 64.0, from_logits: bool = True, label_smoothing: float = 0):
        super().__init__(scale, from_logits, label_smoothing)

    def pull(self, target: Tensor) -> Tensor:
        return target


@register
class ArcfaceLoss(MarginLoss):
    """Combined margins: cos(m₁θ + m₂) − m₃ on the target.

    Where m₁θ + m₂ passes π the cosine would rise again: there the target becomes −2 − cos(m₁θ + m₂), which goes on
    falling, as the InsightFace code does.

    Args:
        margin1: Factor of the angle, m₁. Defaults to `1.0`.
        margin2: Added to the angle, m₂, radians. Defaults to `0.5`.
        margin3: Subtracted from the cosine, m₃. Defaults to `0.0`.
        scale: What cosines are multiplied with. Defaults to `64.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.
        interclass_filtering_threshold: Other classes whose cosine is above it count 0, as they are probably the same person under another
            name; 0 filters nothing. Defaults to `0`.

    Reference:
        Deng et al., CVPR 2019, arXiv:1801.07698, eq. 4.
    """

    config = ("margin1", "margin2", "margin3", "scale", "label_smoothing", "interclass_filtering_threshold")
    main_margin = "margin2"

    def __init__(
        self,
        margin1: float = 1.0,
        margin2: float = 0.5,
        margin3: float = 0.0,
        scale: float = 64.0,
        from_logits: bool = True,
        label_smoothing: float = 0,
        interclass_filtering_threshold: float = 0,
    ):
        super().__init__(scale, from_logits, label_smoothing, interclass_filtering_threshold)
        self.margin1, self.margin2, self.margin3 = margin1, margin2, margin3

    def pull(self, target: Tensor) -> Tensor:
        angle = ops.arccos(target) * self.margin1 + self.now("margin2")
        pulled = ops.cos(angle)
        return ops.where(angle <= np.pi, pulled, -2.0 - pulled) - self.margin3


@register
class ArcfaceLossSimple(MarginLoss):
    """Additive angular margin (ArcFace): cos(θ + m) on the target, without an arccos, see `add_angle`.

    With `easy_margin` only targets under 90° are pulled, the others stay as they are.

    Args:
        margin: Added to the angle, m, radians. Defaults to `0.5`.
        scale: What cosines are multiplied with. Defaults to `64.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.
        easy_margin: Pull only targets under 90°. Defaults to `False`.

    Reference:
        Deng et al., CVPR 2019, arXiv:1801.07698, eq. 3.
    """

    config = ("margin", "scale", "label_smoothing", "easy_margin")

    def __init__(
        self,
        margin: float = 0.5,
        scale: float = 64.0,
        from_logits: bool = True,
        label_smoothing: float = 0,
        easy_margin: bool = False,
    ):
        super().__init__(scale, from_logits, label_smoothing)
        self.margin, self.easy_margin = margin, easy_margin

    def pull(self, target: Tensor) -> Tensor:
        pulled = add_angle(target, self.now("margin"))
        return ops.where(target > 0, pulled, target) if self.easy_margin else pulled


@register
class CosFaceLoss(MarginLoss):
    """Large-margin cosine loss (CosFace): cos θ − m on the target.

    Args:
        margin: Subtracted from the target's cosine, m. Defaults to `0.35`.
        scale: What cosines are multiplied with. Defaults to `64.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.
        interclass_filtering_threshold: Other classes whose cosine is above it count 0, as they are probably the same person under another
            name; 0 filters nothing. Defaults to `0`.

    Reference:
        Wang et al., CVPR 2018, arXiv:1801.09414, eq. 4.
    """

    config, short = ("margin", "scale", "label_smoothing", "interclass_filtering_threshold"), "cosface"

    def __init__(
        self,
        margin: float = 0.35,
        scale: float = 64.0,
        from_logits: bool = True,
        label_smoothing: float = 0,
        interclass_filtering_threshold: float = 0,
    ):
        super().__init__(scale, from_logits, label_smoothing, interclass_filtering_threshold)
        self.margin = margin

    def pull(self, target: Tensor) -> Tensor:
        return target - self.now("margin")


@register
class AirFaceLoss(MarginLoss):
    """Linear angular margin: 1 − 2(θ + m)/π on the target.

    The paper writes the other classes 1 − 2θ/π as well (`linear_negatives=True`); Keras_insightface leaves their cosines.

    Args:
        margin: Added to the angle, m, radians. Defaults to `0.4`.
        scale: What cosines are multiplied with. Defaults to `64.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.
        linear_negatives: Write the other classes 1 − 2θ/π too, as the paper does. Defaults to `False`.

    Reference:
        Li et al., ICCVW 2019, arXiv:1907.12256, eq. 5.
    """

    config, short = ("margin", "scale", "label_smoothing", "linear_negatives"), "airface"

    def __init__(
        self,
        margin: float = 0.4,
        scale: float = 64.0,
        from_logits: bool = True,
        label_smoothing: float = 0,
        linear_negatives: bool = False,
    ):
        super().__init__(scale, from_logits, label_smoothing)
        self.margin, self.linear_negatives = margin, linear_negatives

    def pull(self, target: Tensor) -> Tensor:
        return 1.0 - (ops.arccos(target) + self.now("margin")) * (2 / np.pi)

    def push(self, cosine: Tensor, pulled: Tensor) -> Tensor:
        return 1.0 - ops.arccos(cosine) * (2 / np.pi) if self.linear_negatives else cosine


@register
class SphereFaceLoss(MarginLoss):
    """Multiplicative angular margin: (λ cos θ + ψ(θ)) / (1 + λ) on the target, all times ‖x‖.

    ψ(θ) = (−1)ᵏ cos(mθ) − 2k with k = ⌊mθ/π⌋ and m = 1…4; λ = max(λ_min, λ_base (1 + γ·step)^−power) falls while training.

    Args:
        margin: Whole factor of the angle, m, 1 to 4. Defaults to `4`.
        lambda_base: λ at the first step. Defaults to `1000.0`.
        lambda_min: Its least value. Defaults to `5.0`.
        gamma: How fast it falls. Defaults to `0.12`.
        power: Exponent of its fall. Defaults to `1.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.

    Reference:
        Liu et al., CVPR 2017, arXiv:1704.08063, eq. 7, and its published settings.
    """

    config = ("margin", "lambda_base", "lambda_min", "gamma", "power", "label_smoothing")
    reads, short, notes = ("cosine", "norm"), "sphereface", ("sphereface_lambda",)
    main_margin = main_scale = None

    def __init__(
        self,
        margin: int = 4,
        lambda_base: float = 1000.0,
        lambda_min: float = 5.0,
        gamma: float = 0.12,
        power: float = 1.0,
        from_logits: bool = True,
        label_smoothing: float = 0,
    ):
        super().__init__(1.0, from_logits, label_smoothing)
        if margin not in (1, 2, 3, 4):
            raise ValueError(
                f"SphereFaceLoss: margin must be 1, 2, 3 or 4. Received: {margin!r}. SphereFaceRLoss takes any number."
            )
        self.margin, self.lambda_base, self.lambda_min = margin, lambda_base, lambda_min
        self.gamma, self.power = gamma, power

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        self.step = self.memory("step", 0.0)

    def learn(self, labels: Tensor, cosine: Tensor, target: Tensor, norm: Tensor) -> None:
        self.step.assign(self.step + 1.0)

    def pull(self, target: Tensor, norm: Tensor) -> Tensor:
        lam = ops.maximum(self.lambda_base * (1.0 + self.gamma * self.step) ** -self.power, self.lambda_min)
        self.note("sphereface_lambda", lam)
        return (lam * target + self.psi(target)) / (1.0 + lam)

    def psi(self, target: Tensor) -> Tensor:
        """By Chebyshev's polynomials and the cosines of kπ/m: no arccos."""
        square = ops.square(target)
        polynomials = {
            1: target, 2: 2 * square - 1, 3: target * (4 * square - 3), 4: 8 * square * (square - 1) + 1,
        }  # fmt: skip
        passed = [ops.cast(target < math.cos(i * math.pi / self.margin), "float32") for i in range(1, self.margin)]
        k = sum(passed) if passed else ops.zeros_like(target)
        return (1.0 - 2.0 * ops.mod(k, 2.0)) * polynomials[self.margin] - 2.0 * k

    def factor(self, norm: Tensor) -> Tensor:
        return norm[:, None]


@register
class SphereFaceRLoss(MarginLoss):
    """SphereFace-R: cos(min(mθ, π)) on the target, for any m ≥ 1.

    The target gets this value with cos θ's gradient.

    Args:
        margin: Factor of the angle, m, 1 or more. Defaults to `1.5`.
        scale: What cosines are multiplied with. Defaults to `30.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.

    Reference:
        Liu et al., TPAMI 2022, arXiv:2109.05565: SphereFace-R v1 with characteristic gradient detachment.
    """

    config, short = ("margin", "scale", "label_smoothing"), "sphereface"

    def __init__(self, margin: float = 1.5, scale: float = 30.0, from_logits: bool = True, label_smoothing: float = 0):
        super().__init__(scale, from_logits, label_smoothing)
        self.margin = margin

    def pull(self, target: Tensor) -> Tensor:
        pulled = ops.cos(ops.minimum(ops.arccos(target) * self.now("margin"), np.pi))
        return target + ops.stop_gradient(pulled - target)


@register
class CurricularFaceLoss(ArcfaceLossSimple):
    """CurricularFace: ArcFace where a class nearer than the pulled target counts cos θ (t + cos θ).

    t, from `hard_scale` on, is the running mean (1 % a step) of the targets' cosines.

    Args:
        margin: Added to the angle, m, radians. Defaults to `0.5`.
        scale: What cosines are multiplied with. Defaults to `64.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.
        hard_scale: Value of t to begin with. Defaults to `0`.

    Reference:
        Huang et al., CVPR 2020, arXiv:2004.00288, eq. 5, 7 and 10.
    """

    config, short = ("margin", "scale", "label_smoothing", "hard_scale"), "curricularface"
    notes = ("curricular_t",)

    def __init__(
        self,
        margin: float = 0.5,
        scale: float = 64.0,
        from_logits: bool = True,
        label_smoothing: float = 0,
        hard_scale: float = 0,
    ):
        super().__init__(margin, scale, from_logits, label_smoothing)
        self.hard_scale = hard_scale

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        self.t = self.memory("t", self.hard_scale)

    def learn(self, labels: Tensor, cosine: Tensor, target: Tensor) -> None:
        self.t.assign(0.99 * self.t + 0.01 * ops.mean(target))

    def push(self, cosine: Tensor, pulled: Tensor) -> Tensor:
        t = self.t if self.built else self.hard_scale
        self.note("curricular_t", t)
        return ops.where(cosine > pulled[:, None], cosine * (t + cosine), cosine)


@register
class AdaCosLoss(MarginLoss):
    """AdaCos: cos θ with a scale that follows the training.

    It begins at √2 log(C − 1) (eq. 12), or at `scale`, and becomes log B / cos(min(max_median, median θ of the targets)),
    B the mean over the batch of Σ exp(scale · cos θ) over the other classes (eq. 15).

    Args:
        num_classes: How many there are; found by itself unless given. Defaults to `None`.
        scale: To begin with; 0 for √2 log(C − 1). Defaults to `0`.
        max_median: Largest angle that the median of the targets counts as, radians. Defaults to `π / 4`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.

    Reference:
        Zhang et al., CVPR 2019, arXiv:1905.00292.
    """

    config, short, notes = ("num_classes", "scale", "max_median", "label_smoothing"), "adacos", ("adacos_scale",)
    main_margin = main_scale = None

    def __init__(
        self,
        num_classes: int | None = None,
        scale: float = 0,
        max_median: float = np.pi / 4,
        from_logits: bool = True,
        label_smoothing: float = 0,
    ):
        super().__init__(scale, from_logits, label_smoothing)
        self.num_classes, self.max_median = num_classes, float(max_median)

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        if self.num_classes not in (None, classes):
            raise ValueError(
                f"AdaCosLoss: expected num_classes={classes}, as in the data. Received: {self.num_classes}. "
                "Leave it out to have it set."
            )
        self.scale_now = self.memory("scale", self.untrained_scale(classes))

    def untrained_scale(self, classes: int) -> float:
        return self.scale or math.sqrt(2) * math.log(max(classes - 1, 2))

    def learn(self, labels: Tensor, cosine: Tensor, target: Tensor) -> None:
        powers = self.scale_now * cosine
        total = ops.sum(ops.exp(powers), axis=-1) - ops.exp(self.scale_now * target)
        median = ops.arccos(ops.median(target))
        self.scale_now.assign(ops.log(ops.mean(total)) / ops.cos(ops.minimum(median, self.max_median)))

    def pull(self, target: Tensor) -> Tensor:
        return target

    def factor(self) -> Tensor:
        self.note("adacos_scale", self.scale_now)
        return self.scale_now


@register
class MagFaceLoss(MarginLoss):
    """MagFace: cos(θ + m(a)) on the target and λ(1/a + a/u²), a the feature norm cut to [l, u].

    m(a) rises in a straight line from `min_margin` to `max_margin`; with `use_cosface_margin` the target is cos θ − m(a).

    Args:
        min_feature_norm: Length of the embedding, l, at which the margin is least; shorter ones count as l. Defaults to `10.0`.
        max_feature_norm: Length, u, at which it is greatest. Defaults to `110.0`.
        min_margin: Margin at l, radians. Defaults to `0.45`.
        max_margin: Margin at u, radians. Defaults to `0.8`.
        scale: What cosines are multiplied with. Defaults to `64.0`.
        regularizer_loss_lambda: Weight of 1/a + a/u², λ. Defaults to `35.0`.
        use_cosface_margin: Subtract the margin from the cosine. Defaults to `False`.
        curricular_hard_scale: Refused unless −1; kept for its name. Defaults to `-1`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.

    Reference:
        Meng et al., CVPR 2021, arXiv:2103.06627, eq. 3 and 4.
    """

    config = (
        "min_feature_norm", "max_feature_norm", "min_margin", "max_margin", "scale", "regularizer_loss_lambda",
        "use_cosface_margin", "label_smoothing",
    )  # fmt: skip
    reads, short, main_margin, notes = ("cosine", "norm"), "magface", None, ("feature_norm",)

    def __init__(
        self,
        min_feature_norm: float = 10.0,
        max_feature_norm: float = 110.0,
        min_margin: float = 0.45,
        max_margin: float = 0.8,
        scale: float = 64.0,
        regularizer_loss_lambda: float = 35.0,
        use_cosface_margin: bool = False,
        curricular_hard_scale: float = -1,
        from_logits: bool = True,
        label_smoothing: float = 0,
    ):
        super().__init__(scale, from_logits, label_smoothing)
        if curricular_hard_scale >= 0:
            raise ValueError(
                "MagFaceLoss: curricular_hard_scale is not supported. Use CurricularFaceLoss, or leave it at -1."
            )
        self.min_feature_norm, self.max_feature_norm = min_feature_norm, max_feature_norm
        self.min_margin, self.max_margin = min_margin, max_margin
        self.regularizer_loss_lambda, self.use_cosface_margin = regularizer_loss_lambda, use_cosface_margin

    def pull(self, target: Tensor, norm: Tensor) -> Tensor:
        self.note("feature_norm", norm)
        slope = (self.max_margin - self.min_margin) / (self.max_feature_norm - self.min_feature_norm)
        margin = self.min_margin + slope * (self._cut(norm) - self.min_feature_norm)
        return target - margin if self.use_cosface_margin else add_angle(target, margin)

    def penalty(self, labels: Tensor, norm: Tensor) -> Tensor:
        a = self._cut(norm)
        return self.regularizer_loss_lambda * (1.0 / a + a / self.max_feature_norm**2)

    def _cut(self, norm):
        return ops.clip(norm, self.min_feature_norm, self.max_feature_norm)


@register
class AdaFaceLoss(MarginLoss):
    """AdaFace: cos(θ − m·q) − m(1 + q) on the target, q the feature norm's quality.

    q = (‖x‖ − μ)/σ · `margin_alpha`, cut to ±1 and without a gradient; μ and σ are running means over the batches, with the
    weight `mean_std_alpha` for each new one.

    Args:
        margin: m. Defaults to `0.4`.
        margin_alpha: Factor of the quality q; the paper's h. Defaults to `0.333`.
        mean_std_alpha: Weight of a new batch in the running means of the lengths. Defaults to `0.01`.
        scale: What cosines are multiplied with. Defaults to `64.0`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.

    Reference:
        Kim et al., CVPR 2022, arXiv:2204.00964, eq. 13–17.
    """

    config = ("margin", "margin_alpha", "mean_std_alpha", "scale", "label_smoothing")
    reads, short, notes = ("cosine", "norm"), "adaface", ("feature_norm", "adaface_mean", "adaface_std")

    def __init__(
        self,
        margin: float = 0.4,
        margin_alpha: float = 0.333,
        mean_std_alpha: float = 0.01,
        scale: float = 64.0,
        from_logits: bool = True,
        label_smoothing: float = 0,
    ):
        super().__init__(scale, from_logits, label_smoothing)
        self.margin, self.margin_alpha, self.mean_std_alpha = margin, margin_alpha, mean_std_alpha

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        self.mean, self.std = self.memory("mean", 20.0), self.memory("std", 100.0)

    def learn(self, labels: Tensor, cosine: Tensor, target: Tensor, norm: Tensor) -> None:
        norm = self._cut(norm)
        for memory, value in ((self.mean, ops.mean(norm)), (self.std, _spread(norm))):
            memory.assign((1 - self.mean_std_alpha) * memory + self.mean_std_alpha * value)

    def pull(self, target: Tensor, norm: Tensor) -> Tensor:
        for name, value in zip(self.notes, (norm, self.mean, self.std), strict=True):
            self.note(name, value)
        quality = (self._cut(norm) - self.mean) / (self.std + 1e-3) * self.margin_alpha
        shift = ops.stop_gradient(ops.clip(quality, -1.0, 1.0)) * self.now("margin")
        angle = ops.clip(ops.arccos(target) - shift, 1e-3, np.pi - 1e-3)
        return ops.cos(angle) - self.now("margin") - shift

    @staticmethod
    def _cut(norm):
        return ops.clip(ops.stop_gradient(norm), 1e-3, 100.0)


def _spread(values):
    """Standard deviation of a sample, over n − 1."""
    n = ops.cast(ops.size(values), "float32")
    return ops.std(values) * ops.sqrt(n / ops.maximum(n - 1.0, 1.0))


@register
class ElasticFaceLoss(MarginLoss):
    """ElasticFace: cos(θ + m) or cos θ − m with m drawn anew from N(margin, std) for each sample.

    Outside training every sample gets the mean margin.

    Args:
        margin: Mean of the margins. Defaults to `0.5`.
        std: Their standard deviation. Defaults to `0.05`.
        scale: What cosines are multiplied with. Defaults to `64.0`.
        use_cosface_margin: Subtract the margin from the cosine; it is added to the angle otherwise. Defaults to `False`.
        from_logits: Always true: the loss takes cosines; for notebooks that pass it. Defaults to `True`.
        label_smoothing: Part of the target that is spread evenly over all classes. Defaults to `0`.
        seed: Of the draws. Defaults to `0`.

    Reference:
        Boutros et al., CVPRW 2022, arXiv:2109.09416, eq. 5 and 6.
    """

    config = ("margin", "std", "scale", "use_cosface_margin", "label_smoothing", "seed")
    short = "elasticface"

    def __init__(
        self,
        margin: float = 0.5,
        std: float = 0.05,
        scale: float = 64.0,
        use_cosface_margin: bool = False,
        from_logits: bool = True,
        label_smoothing: float = 0,
        seed: int | None = 0,
    ):
        super().__init__(scale, from_logits, label_smoothing)
        self.margin, self.std, self.use_cosface_margin, self.seed = margin, std, use_cosface_margin, seed
        self.generator, self.drawn = keras.random.SeedGenerator(seed), margin

    def call(self, labels: Tensor, cosine: Tensor, *more: Tensor, training: bool = False) -> Tensor:
        """A value for each sample; in training the margins are drawn."""
        self.drawn = self._draw(ops.shape(labels)[:1]) if training else self.now("margin")
        return super().call(labels, cosine, *more, training=training)

    def _draw(self, shape):
        return self.now("margin") + self.std * keras.random.normal(shape, seed=self.generator)

    def pull(self, target: Tensor) -> Tensor:
        return target - self.drawn if self.use_cosface_margin else add_angle(target, self.drawn)
