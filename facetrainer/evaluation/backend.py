"""A metric learnt on the embeddings of the training people, in the place of the plain cosine: PLDA, LDA, or a teacher's."""

import dataclasses
import json

import keras
import numpy as np
from scipy.linalg import eigh
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeCV

from facetrainer.data.sources import Source
from facetrainer.io import cached
from facetrainer.metrics.verification import pair_scores, sum_by_person, unit
from facetrainer.utils.files import replacing

WEIGHTS = np.logspace(-4, 2, 13)  # of the ridge, where a row of embeddings has length 1
KINDS = ("plda", "lda", "teacher")


@dataclasses.dataclass(frozen=True)
class Backend:
    """Scores of pairs of embeddings.

    Attributes:
        kind: `"plda"`, the log-likelihood ratio of one person against two, `"lda"`, the cosine after discriminant analysis, or
            `"teacher"`, the cosine of what a linear map makes of the embedding for a teacher's.
        mean: Of the training embeddings at length 1, `(D,)`.
        matrix: `(D, W)`; for PLDA the variance within people is 1 in every direction behind it.
        between: For PLDA, the variance between people behind it, `(W,)`.
        about: What it was learnt on.
    """

    kind: str
    mean: np.ndarray
    matrix: np.ndarray
    between: np.ndarray
    about: dict = dataclasses.field(default_factory=dict)

    def project(self, embeddings: np.ndarray) -> np.ndarray:
        """`(n, D)` → `(n, W)`, from embeddings at length 1."""
        return (unit(embeddings) - self.mean) @ self.matrix

    def scores(self, embeddings: np.ndarray) -> np.ndarray:
        """`(2n, D)`, pairs in turn → `(n,)`, larger for the same person."""
        points = self.project(embeddings)
        if self.kind != "plda":
            return pair_scores(points)
        first, second = points[0::2], points[1::2]
        total = self.between + 1
        joint = total**2 - self.between**2
        squares = (first**2 + second**2) @ (0.5 / total - 0.5 * total / joint)
        return squares + (first * second) @ (self.between / joint) - 0.5 * np.log(joint / total**2).sum()

    def behind(self, model: keras.Model) -> keras.Model:
        """The model with the metric as its last layers, whose embeddings the plain cosine compares: for galleries and exports.

        Of LDA and of a teacher's map it is the same score. PLDA's adds terms of each image alone to the product of the two, which no
        cosine can: the layer weighs the directions as PLDA weighs their product, and the terms are left out.

        Args:
            model: Basic model.

        Returns:
            A basic model of width W.
        """
        weights = np.sqrt(self.between / (2 * self.between + 1)) if self.kind == "plda" else 1.0
        matrix = self.matrix * weights
        inputs = keras.Input(model.input_shape[1:])
        x = keras.layers.UnitNormalization(name="own_unit", dtype="float32")(model(inputs))
        dense = keras.layers.Dense(matrix.shape[1], name="metric", dtype="float32", trainable=False)
        x = keras.layers.Activation("linear", dtype="float32", name="embedding")(dense(x))
        dense.set_weights([matrix, -self.mean @ matrix])
        return keras.Model(inputs, x, name=f"{model.name}_{self.kind}")

    def save(self, path: str) -> None:
        """Writes an `.npz`."""
        with replacing(path) as part, open(part, "wb") as file:
            np.savez(
                file,
                kind=self.kind,
                mean=self.mean,
                matrix=self.matrix,
                between=self.between,
                about=json.dumps(self.about),
            )

    @classmethod
    def load(cls, path: str) -> "Backend":
        """What `save` wrote.

        Returns:
            The metric.

        Raises:
            ValueError: The file is something else.
        """
        arrays = cached.read_npz(path)
        names = ("kind", "mean", "matrix", "between", "about")
        if not all(name in arrays for name in names) or str(arrays["kind"]) not in KINDS:
            raise ValueError(
                f"{path}: expected a metric of `facetrainer evaluate --backend --learn-from`. It holds: {sorted(arrays)}"
            )
        return cls(
            str(arrays["kind"]), arrays["mean"], arrays["matrix"], arrays["between"], json.loads(str(arrays["about"]))
        )


def teacher_of(source: Source) -> np.ndarray | None:
    """A teacher's embeddings of all images of a source, for `fit`; None where it brings none."""
    return None if source.embeddings is None else np.asarray(source.embeddings[np.arange(len(source))])


def fit(
    embeddings: np.ndarray, people: np.ndarray, kind: str = "plda", shrink: float = 0.3, width: int = 64,
    teacher: np.ndarray | None = None, **about,
) -> Backend:  # fmt: skip
    """Learns a metric.

    PLDA is the two-covariance model: a person's embeddings are normal about their own middle, all with one covariance, and the
    middles are normal. Both covariances are estimated by moments; `shrink` times its mean variance is added to the one within
    people in every direction, which few images see too narrow. LDA is scikit-learn's with that shrinkage and keeps `width` directions.
    A teacher's map is scikit-learn's ridge regression from embeddings to the teacher's, all at length 1, whose weight generalised
    cross-validation chooses: it needs no two images of a person.

    Args:
        embeddings: Of training images `(n, D)`; rows that are not finite are left out.
        people: Person of each, integers `(n,)`.
        kind: `"plda"`, `"lda"` or `"teacher"`. Defaults to `"plda"`.
        shrink: Of the covariance within people. Defaults to `0.3`.
        width: Directions that LDA keeps. Defaults to `64`.
        teacher: For `"teacher"`, its embeddings of the same images `(n, T)`. Defaults to `None`.
        **about: Kept with it.

    Returns:
        The metric.

    Raises:
        ValueError: The kind is something else, fewer than ten people have two images, or there is no teacher.

    Reference:
        Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006; Brümmer and de Villiers, "The speaker partitioning problem",
        Odyssey 2010, section 3.
    """
    if kind not in KINDS:
        raise ValueError(f"backend: expected one of {', '.join(KINDS)}. Received: {kind!r}")
    good = np.isfinite(embeddings).all(axis=1)
    if kind == "teacher":
        return _to_teacher(embeddings, people, teacher, good, about)
    x = unit(np.asarray(embeddings, np.float64)[good])
    _, people = np.unique(np.asarray(people)[good], return_inverse=True)
    counts = np.bincount(people)
    if np.sum(counts > 1) < 10:
        raise ValueError(
            f"backend: {np.sum(counts > 1)} people have two images or more, at least 10 are needed to learn from."
        )
    mean, about = x.mean(axis=0), {"images": len(x), "people": len(counts), **about}
    if kind == "lda":
        found = LinearDiscriminantAnalysis(solver="eigen", shrinkage=min(shrink, 1.0)).fit(x, people)
        return Backend(kind, mean, found.scalings_[:, :width], np.zeros(0), about)
    within, between = _covariances(x - mean, people, counts, shrink)
    values, vectors = eigh(between, within)
    kept = values > 1e-4
    return Backend(kind, mean, vectors[:, kept], values[kept], about)


def _to_teacher(embeddings, people, teacher, good, about):
    if teacher is None:
        raise ValueError(
            "backend 'teacher': the data bring no teacher's embeddings. facetrainer distill makes some that do."
        )
    good &= np.isfinite(teacher).all(axis=1)
    x, target = (unit(np.asarray(one, np.float64)[good]) for one in (embeddings, teacher))
    found = RidgeCV(WEIGHTS, fit_intercept=False).fit(x, target)
    about = {
        "images": len(x),
        "people": len(np.unique(np.asarray(people)[good])),
        "weight": float(found.alpha_),
        **about,
    }
    return Backend("teacher", np.zeros(x.shape[1]), found.coef_.T, np.zeros(0), about)


def _covariances(x, people, counts, shrink):
    """Within people, shrunk, and between them."""
    middles = sum_by_person(x, people, len(counts)) / counts[:, None]
    away = (x - middles[people])[counts[people] > 1]
    within = away.T @ away / (counts - 1).sum()
    within += shrink * np.trace(within) / len(within) * np.eye(len(within))
    return within, np.cov(middles.T) - within * np.mean(1 / counts)
