"""Two photos: one person or two?"""

import dataclasses

import numpy as np

from facetrainer.metrics import evidence
from facetrainer.recognition.model import RecognitionModel
from facetrainer.recognition.reader import Face, FaceReader
from facetrainer.recognition.threshold import Threshold, of_pair


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a model says about two faces.

    Attributes:
        cosine: Of their embeddings.
        same: Whether it reaches the threshold; None without one.
        threshold: The threshold, how often two different people reach it, and what tells that.
        probability: That they are one person, where both answers were alike likely beforehand; None without a thresholds file.
        interval: Of the probability, 95 %.
        faces: The two.
    """

    cosine: float
    same: bool | None
    threshold: Threshold
    probability: float | None
    interval: tuple[float, float] | None
    faces: tuple[Face, Face]


def verify(
    a: object, b: object, model: object = None, find: str = "mtcnn", far: float | None = None, threshold: float | None = None, **options,
) -> Verdict:  # fmt: skip
    """Compares the faces on two photos.

    Args:
        a: Path, encoded bytes, or RGB uint8 array.
        b: The same.
        model: Model file, Keras model, or a `FaceReader` to use again and again. Defaults to what `choose` finds.
        find: The detector, see `FaceReader`. Defaults to `"mtcnn"`.
        far: False-accept rate to take the threshold at. Defaults to `0.001`.
        threshold: Takes the place of that of the model's thresholds file.
        **options: Further arguments of `FaceReader`.

    Returns:
        What the model says about the two.

    Raises:
        ValueError: A photo cannot be read, or shows nobody or several people of one size; the thresholds file cannot tell `far`.
    """
    reader = model if isinstance(model, FaceReader) else FaceReader(RecognitionModel(model), find, **options)
    photos = reader.read([(one if isinstance(one, str) else f"photo {n}", one) for n, one in enumerate((a, b), 1)])
    faces = tuple(photo.one() for photo in photos)
    return judge(faces, reader.model, far, threshold)


def judge(
    faces: tuple[Face, Face], model: RecognitionModel, far: float | None = None, threshold: float | None = None
) -> Verdict:
    """What a model's thresholds say about two faces; arguments and exceptions as of `verify`."""
    cosine = float(np.dot(faces[0].embedding, faces[1].embedding))
    limit = of_pair(model, far) if threshold is None else Threshold(threshold, None, "as given")
    fitted = (model.thresholds or {}).get("probability")
    chance, *interval = evidence.probability(fitted, cosine) if fitted else (None,)
    same = None if limit.value is None else cosine >= limit.value
    return Verdict(cosine, same, limit, chance, tuple(interval) or None, faces)
