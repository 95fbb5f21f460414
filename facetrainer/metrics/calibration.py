"""Thresholds for use: what cosine means "the same person" for this model, and how sure that is."""

import dataclasses
import json
import os
from collections.abc import Sequence

import numpy as np

from facetrainer.metrics import evidence
from facetrainer.metrics.impostors import LEAST, Impostors
from facetrainer.metrics.intervals import rate_interval
from facetrainer.metrics.roc import Roc
from facetrainer.metrics.verification import FARS
from facetrainer.utils.files import read_bytes, write_json


def calibrate(
    scores: np.ndarray, same: np.ndarray, fars: Sequence[float] = FARS, people: np.ndarray | None = None, **about
) -> dict:
    """Thresholds at false-accept rates, with what they rest on.

    Args:
        scores: Cosines `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.
        fars: The rates. One for which the negative pairs are too few (LEAST / rate) stands under "refused" with the number needed.
        people: Persons of both images of each pair, integers `(2, n)`: the intervals take into account that pairs share them. Every
            pair has its own unless given.
        **about: Put in front of the result.

    Returns:
        Thresholds by rate ("same" where cosine ≥ threshold), FAR and TAR there with 95 % intervals, numbers of pairs and people;
        "probability" of one person by cosine (see `evidence.fit`), and the "impostors" in short (see `Impostors`), for searches.

    Raises:
        ValueError: There are pairs of one kind only.
    """
    same = np.asarray(same, bool)
    people = np.tile(np.arange(len(same)), (2, 1)) if people is None else people
    curve = Roc(scores, same)
    if not curve.both:
        raise ValueError(
            f"calibration needs pairs of both kinds. Received: {len(curve.positives)} same, {len(curve.negatives)} different"
        )
    negatives = len(curve.negatives)
    found = {far: _point(curve, far, scores, same, people) for far in fars if far * negatives >= LEAST}
    refused = {
        f"{far:g}": f"{negatives} negative pairs, {round(LEAST / far)} are needed"
        for far in fars
        if far * negatives < LEAST
    }
    return {**about, "rule": "same where cosine >= threshold", "people": len(np.unique(people)),
            "positive pairs": len(curve.positives), "negative pairs": negatives,
            "thresholds": {f"{far:g}": point for far, point in found.items()}, "refused": refused,
            "probability": evidence.fit(scores, same, people),
            "impostors": dataclasses.asdict(Impostors.of(curve.negatives)) if negatives >= 2 * LEAST else None}  # fmt: skip


def _point(curve, far, scores, same, people):
    threshold = curve.threshold(far)
    found, tar = (float(rate[0]) for rate in curve.rates(np.array([threshold])))
    said = np.asarray(scores) >= threshold
    return {"threshold": threshold, "FAR": found, "FAR 95%": rate_interval(said[~same], *people[:, ~same]),
            "TAR": tar, "TAR 95%": rate_interval(said[same], *people[:, same])}  # fmt: skip


def path_of(model: str) -> str:
    """Where the thresholds of a model file lie: `{stem}_thresholds.json` beside it."""
    return os.path.splitext(os.path.normpath(model))[0] + "_thresholds.json"


def write(path: str, calibration: dict) -> str:
    """Writes the thresholds of the model file `path` beside it, see `path_of`."""
    write_json(path_of(path), calibration, indent=1)
    return path_of(path)


def read(model: str) -> dict | None:
    """The thresholds of a model file; None where it has none.

    Args:
        model: The model file.

    Returns:
        What `write` wrote, or None.

    Raises:
        ValueError: The file is no thresholds file.
    """
    path = path_of(model)
    return read_file(path) if os.path.exists(path) else None


def read_file(path: str) -> dict:
    """A thresholds file.

    Args:
        path: The file.

    Returns:
        What `write` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        found = json.loads(read_bytes(path))
        for point in found["thresholds"].values():
            float(point["threshold"])
        if found.get("impostors"):
            Impostors(**found["impostors"]).threshold(1e-9)
        float(found.get("length") or 0)
        if found.get("probability"):
            evidence.probability(found["probability"], 0.0)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no thresholds file ({type(error).__name__}: {error}): facetrainer evaluate -m MODEL -t SET --calibrate writes one."
        ) from None
    return found


def threshold_at(calibration: dict, far: float) -> float:
    """The threshold for `far`; ValueError where the pairs could not support it."""
    key = f"{far:g}"
    if key in calibration["thresholds"]:
        return calibration["thresholds"][key]["threshold"]
    why = calibration.get("refused", {}).get(key, f"calibrated are {', '.join(calibration['thresholds'])}")
    raise ValueError(f"no threshold for FAR {key}: {why}. Calibrate with more pairs of different people.")
