"""Losses that draw a student's embeddings to a teacher's."""

import keras
from keras import ops

from facetrainer import distributed
from facetrainer.losses.base import FaceLoss, register, sparse
from facetrainer.losses.margin import ArcfaceLoss
from facetrainer.utils.tensors import Tensor, last_rows, unit


def distiller_loss_cosine(true_emb: Tensor, pred_emb: Tensor) -> Tensor:
    """1 − cos(teacher, student).

    Args:
        true_emb: The teacher's, `(B, D)`; values that are not finite count as 0.
        pred_emb: The student's, `(B, D)`.

    Returns:
        Values `(B,)`.
    """
    true_emb = ops.where(ops.isfinite(true_emb), true_emb, 0.0)
    return 1.0 - ops.sum(unit(true_emb) * unit(pred_emb), axis=-1)


def distiller_loss_euclidean(true_emb: Tensor, pred_emb: Tensor) -> Tensor:
    """‖teacher − student‖².

    Args:
        true_emb: The teacher's, `(B, D)`; values that are not finite count as 0.
        pred_emb: The student's, `(B, D)`.

    Returns:
        Values `(B,)`.
    """
    true_emb = ops.where(ops.isfinite(true_emb), true_emb, 0.0)
    return ops.sum(ops.square(pred_emb - true_emb), axis=-1)


class DistillLoss(FaceLoss):
    """Template: a distance between the teacher's embedding and the student's.

    Where the widths differ, a trained map D → T stands between, as Keras_insightface's `distill_emb_map_layer` did; it
    belongs to the loss and is no part of the basic model.
    """

    reads, short = ("embedding", "teacher"), "distill"

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        if teacher_shape not in (0, emb_shape):
            self.map = self.add_weight((emb_shape, teacher_shape), "glorot_uniform", name="distill_emb_map")

    def call(self, labels: Tensor, embedding: Tensor, teacher: Tensor, training: bool = False) -> Tensor:
        """A value for each sample."""
        return self.distance(teacher, self.mapped(embedding, teacher))

    def mapped(self, embedding: Tensor, teacher: Tensor) -> Tensor:
        """The student's embedding, as wide as the teacher's."""
        if embedding.shape[-1] != teacher.shape[-1]:
            if not hasattr(self, "map"):
                raise ValueError(
                    f"{type(self).__name__}: the teacher's embeddings have {teacher.shape[-1]} values, the model's "
                    f"{embedding.shape[-1]}. Call attach(classes, {embedding.shape[-1]}, {teacher.shape[-1]}) first."
                )
            embedding = ops.matmul(embedding, self.map)
        return embedding

    def distance(self, teacher: Tensor, embedding: Tensor) -> Tensor:
        """Embeddings of teacher and student, (B, T) each, → (B,)."""
        raise NotImplementedError


@register
class DistillCosineLoss(DistillLoss):
    """`distiller_loss_cosine` as a loss of a stage."""

    def distance(self, teacher: Tensor, embedding: Tensor) -> Tensor:
        return distiller_loss_cosine(teacher, embedding)


@register
class DistillEuclideanLoss(DistillLoss):
    """`distiller_loss_euclidean` as a loss of a stage."""

    def distance(self, teacher: Tensor, embedding: Tensor) -> Tensor:
        return distiller_loss_euclidean(teacher, embedding)


@register
class AdaDistillLoss(DistillLoss):
    """ArcFace among class centers that follow the teacher's embeddings; no head is trained.

    In training the center of each image's person becomes α · center + (1 − α) · teacher, α = cos(student, teacher) ·
    cos(center, teacher), both cut to (0, 1]: as long as the student is far from the teacher its center is the teacher's
    embedding of this very image, later a mean over many. Then cos(θ + m) as in `ArcfaceLoss`.

    Args:
        margin: m. Defaults to `0.45`.
        scale: Of the cosines. Defaults to `64.0`.

    Call arguments:
        labels: Integer tensor of shape `(batch,)`.
        embedding: Float tensor of shape `(batch, D)`.
        teacher: Float tensor of shape `(batch, T)`.

    Returns:
        Float tensor of shape `(batch,)`.

    Reference:
        Boutros et al., ECCV 2024, arXiv:2407.01332, eq. 7 and 8.
    """

    config, short, class_axes = ("margin", "scale"), "adadistill", {"centers": 0}

    def __init__(self, margin: float = 0.45, scale: float = 64.0):
        super().__init__()
        self.margin, self.scale = margin, scale

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        super().remember(classes, emb_shape, teacher_shape)
        self.classes = classes
        self.centers = distributed.add_table(
            self, (classes, teacher_shape or emb_shape), 0, keras.initializers.RandomNormal(stddev=0.01, seed=0), trainable=False,
            name="centers", aggregation="only_first_replica",
        )  # fmt: skip

    def call(self, labels: Tensor, embedding: Tensor, teacher: Tensor, training: bool = False) -> Tensor:
        """A value for each sample; in training the centers move."""
        labels, student = sparse(labels), unit(self.mapped(embedding, teacher))
        if training:
            self._move(labels, ops.stop_gradient(student), unit(teacher))
        cosine = ops.matmul(student, ops.transpose(unit(self.centers)))
        cosine = distributed.by_class(cosine)[:, : self.classes] if distributed.sharding() else cosine
        return ArcfaceLoss(margin2=self.margin, scale=self.scale).call(labels, cosine)

    def _move(self, labels, student, teacher):
        centers = ops.take(self.centers, labels, axis=0)
        likeness = ops.sum(student * teacher, axis=-1, keepdims=True) * ops.clip(
            ops.sum(unit(centers) * teacher, axis=-1, keepdims=True), 1e-6, 1.0
        )
        alpha = ops.clip(likeness, 1e-6, 1.0)
        rows = ops.take(alpha * centers + (1 - alpha) * teacher, last_rows(labels), axis=0)
        self.centers.assign(ops.scatter_update(self.centers, labels[:, None], rows))


@register
class DistillKLDivergenceLoss(FaceLoss):
    """KL(softmax(k · teacher's cosines) ‖ softmax(k · student's)).

    Args:
        scale: k, the inverse of the temperature. Defaults to `10.0`.
        over: `"batch"`: cosines between the images of a batch, of whatever widths the two embeddings are; each anchor's distribution over
            the other images, (B,), (B, D), (B, T) → (B,). `"classes"`: the student's cosines to the class centers, and a teacher that
            gives cosines to the same C classes, (B,), (B, C), (B, C) → (B,). Defaults to `"batch"`.

    Reference:
        Hinton et al., arXiv:1503.02531, eq. 1.
    """

    config, short = ("scale", "over"), "distill"

    def __init__(self, scale: float = 10.0, over: str = "batch"):
        super().__init__()
        if over not in ("batch", "classes"):
            raise ValueError(f"DistillKLDivergenceLoss: expected over='batch' or 'classes'. Received: {over!r}")
        self.scale, self.over = scale, over
        self.reads = ("embedding" if over == "batch" else "cosine", "teacher")
        self.head = None if over == "batch" else "arcface"

    def call(self, labels: Tensor, student: Tensor, teacher: Tensor, training: bool = False) -> Tensor:
        """A value for each sample."""
        if self.over == "batch":
            return self.divergence(*(_among(x) for x in (teacher, student)))
        if teacher.shape[-1] != student.shape[-1]:
            raise ValueError(
                f"DistillKLDivergenceLoss(over='classes'): the teacher gives {teacher.shape[-1]} values, the data have "
                f"{student.shape[-1]} classes. Use over='batch' for a teacher that gives embeddings."
            )
        return self.divergence(teacher, student)

    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Scores of teacher and student, (B, N) each, → (B,)."""
        p, q = (ops.log_softmax(self.scale * x, axis=-1) for x in (teacher, student))
        return ops.sum(ops.exp(p) * (p - q), axis=-1)


def _among(embedding):
    """Cosines to the other images of the batch; the image itself is put out of play."""
    direction = unit(embedding)
    cosine = ops.matmul(direction, ops.transpose(direction))
    return ops.where(ops.eye(ops.shape(embedding)[0], dtype="bool"), -1e4, cosine)
