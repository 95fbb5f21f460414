"""Thresholds for use: what cosine means "the same person" for this model, and how sure that is."""

import os

import numpy as np

from facetrainer.metrics.roc import Roc
from facetrainer.metrics.verification import FARS, wilson
from facetrainer.utils.files import write_json

LEAST = 10  # negative pairs beyond the threshold, on average: fewer, and it rests on single pairs


def calibrate(scores: np.ndarray, same: np.ndarray, fars=FARS, **about) -> dict:
    """Cosines (n,) and same (n,) → thresholds at false-accept rates, with what they rest on.

    A rate for which the negative pairs are too few (LEAST / rate) is refused: it stands under "refused" with the number needed.
    """
    curve = Roc(scores, same)
    if not curve.both:
        raise ValueError(
            f"calibration needs pairs of both kinds. Received: {len(curve.positives)} same, {len(curve.negatives)} different"
        )
    negatives = len(curve.negatives)
    found = {far: _point(curve, far) for far in fars if far * negatives >= LEAST}
    refused = {
        f"{far:g}": f"{negatives} negative pairs, {round(LEAST / far)} are needed"
        for far in fars
        if far * negatives < LEAST
    }
    return {**about, "positive pairs": len(curve.positives), "negative pairs": negatives,
            "thresholds": {f"{far:g}": point for far, point in found.items()}, "refused": refused}  # fmt: skip


def _point(curve, far):
    threshold = curve.threshold(far)
    found, tar = (float(rate[0]) for rate in curve.rates(np.array([threshold])))
    return {"threshold": threshold, "FAR": found, "FAR 95%": wilson(found, len(curve.negatives)),
            "TAR": tar, "TAR 95%": wilson(tar, len(curve.positives))}  # fmt: skip


def write(path: str, calibration: dict) -> str:
    """Beside the model `path`: `{stem}_thresholds.json`."""
    dest = os.path.splitext(path)[0] + "_thresholds.json"
    write_json(dest, calibration, indent=1)
    return dest


def threshold_at(calibration: dict, far: float) -> float:
    """The threshold for `far`; ValueError where the pairs could not support it."""
    key = f"{far:g}"
    if key in calibration["thresholds"]:
        return calibration["thresholds"][key]["threshold"]
    why = calibration["refused"].get(key, f"calibrated are {', '.join(calibration['thresholds'])}")
    raise ValueError(f"no threshold for FAR {key}: {why}. Calibrate with more pairs of different people.")
