"""From which cosine on two faces are one person, or somebody in a gallery is named."""

import dataclasses

import numpy as np

from facetrainer.metrics.calibration import path_of
from facetrainer.metrics.impostors import Impostors, rate_of_one
from facetrainer.recognition.model import RecognitionModel
from facetrainer.recognition.stores import Store

LEAST_PEOPLE = 10  # in a gallery, to tell by its own people what strangers score
SAMPLED = 2000  # photos and people, to tell it


@dataclasses.dataclass(frozen=True)
class Threshold:
    """From which cosine on somebody is named.

    Attributes:
        value: The cosine; None where nothing tells it.
        far: How often a stranger is taken for the person, or named in a search among everybody; None with a threshold that was given.
        basis: What it rests on, for people.
    """

    value: float | None
    far: float | None
    basis: str

    def __str__(self):
        if self.value is None or self.far is None:
            return self.basis if self.value is None else f"threshold {self.value:.3f} {self.basis}"
        return f"threshold {self.value:.3f} at a false-accept rate of {self.far:g}, by {self.basis}"


def of_pair(model: RecognitionModel, far: float | None = None) -> Threshold:
    """For two photos.

    Args:
        model: Whose thresholds file tells it.
        far: False-accept rate. Defaults to `0.001`.

    Returns:
        Without a value where the model has no thresholds file; `basis` says what to do.

    Raises:
        ValueError: `far` was asked for, and the file cannot tell it.
    """
    wanted = 1e-3 if far is None else far
    if not model.thresholds:
        return Threshold(None, None, how_to_calibrate(model))
    points = {float(rate): one["threshold"] for rate, one in model.thresholds["thresholds"].items()}
    known = next((points[rate] for rate in points if np.isclose(rate, wanted)), None)
    pairs = f"{model.thresholds.get('negative pairs', 0):,} pairs of different people ({path_of(model.name)})"
    if known is not None:
        return Threshold(known, wanted, pairs)
    if model.thresholds.get("impostors") and 0 < wanted < 1:
        return _of_rate(Impostors(**model.thresholds["impostors"]), wanted, wanted, pairs)
    if far is None and points:
        return Threshold(points[min(points)], min(points), pairs)
    if far is None:
        return Threshold(
            None, None, f"no threshold is known: {pairs} are too few. Calibrate with more, or give --threshold"
        )
    raise ValueError(
        f"{path_of(model.name)} tells no false-accept rate of {wanted:g}: {', '.join(map(str, points)) or 'none'} it has."
    )


def of_search(model: RecognitionModel, store: Store, far: float, people: int) -> Threshold:
    """For a search among as many as `people`: by the model's thresholds file, else by the gallery's own people.

    Args:
        model: Whose thresholds file tells it.
        store: The gallery's people.
        far: How often a stranger may be named.
        people: How many there are.

    Returns:
        Without a value where neither tells it.
    """
    strangers = (model.thresholds or {}).get("impostors")
    if strangers:
        return _of_rate(
            Impostors(**strangers), rate_of_one(far, people), far, f"{path_of(model.name)} for {people} people"
        )
    if len(store) >= LEAST_PEOPLE:
        found = Impostors.of(_of_strangers(store))
        return _of_rate(found, rate_of_one(far, people), far, f"the gallery's own people, for {people} of them")
    few = f"and the {len(store)} people of the gallery are too few to tell it ({LEAST_PEOPLE} are needed)"
    return Threshold(None, None, f"{how_to_calibrate(model)} ({few})")


def _of_rate(strangers, rate, far, basis):
    drawn = "" if strangers.resolves(rate) else f", continued beyond its {strangers.count:,} comparisons"
    return Threshold(min(strangers.threshold(rate), 1.0), far, basis + drawn)


def _of_strangers(store):
    """Cosines of photos and other people than theirs."""
    persons, photos, people, vectors = store.sample(SAMPLED)
    return (photos @ vectors.T)[np.array(persons)[:, None] != np.array(people)[None]]


def how_to_calibrate(model: RecognitionModel) -> str:
    """What to do about a model without thresholds."""
    return (
        f"no threshold is known, since {path_of(model.name)} is missing. One command makes it, from pairs of people that the model never "
        f"saw: facetrainer evaluate -m {model.name} -t PAIRS.bin --calibrate; or give --threshold"
    )
