"""What is asked of a set of pairs besides its accuracy: rates at carried thresholds, quality, groups, evidence.

Each function takes a `Measured` and returns plain numbers by name, as they stand in a report.
"""

import dataclasses
import functools

import numpy as np
import pandas as pd

from facetrainer.evaluation.pairs import Pairs
from facetrainer.evaluation.verification import curve_intervals
from facetrainer.io import attributes
from facetrainer.metrics import calibration, difference, evidence, fairness, matching, open_set, quality
from facetrainer.metrics.identification import Search
from facetrainer.metrics.roc import Roc
from facetrainer.metrics.verification import FARS, fold_correct, mcnemar

BEGIN = 0.05  # false non-match rate from which pairs are discarded, where no threshold is given


@dataclasses.dataclass(frozen=True)
class TemplatePairs:
    """A set of pairs of templates, such as IJB-C's: `same` `(n,)`, `people` `(2, n)` as in `Pairs`."""

    name: str
    same: np.ndarray
    people: np.ndarray


@dataclasses.dataclass(frozen=True)
class Measured:
    """A set of pairs and what a model makes of it.

    Attributes:
        pairs: The set.
        scores: Of each pair `(n,)`.
        embeddings: Of each image, as long as the model makes them, `(2n, D)`; None for pairs of templates.
    """

    pairs: "Pairs | TemplatePairs"
    scores: np.ndarray
    embeddings: np.ndarray | None = None

    @property
    def given(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores, same, people: what the metrics take."""
        return self.scores, self.pairs.same, self.pairs.people

    @functools.cached_property
    def curve(self) -> Roc:
        return Roc(self.scores, self.pairs.same)

    def table(self, path: str) -> pd.DataFrame:
        """Attributes of each image `(2n rows)` from a csv."""
        names = self.pairs.names
        return attributes.of_images(
            attributes.read(path), self.pairs.paths, None if names is None else list(names), path
        )


def rates(measured: Measured, ends: dict[str, tuple] | None = None) -> dict[str, dict]:
    """EER, FNMR at each FMR that the pairs resolve, and ZeroFMR, all of them at thresholds of this very set.

    Args:
        measured: The set.
        ends: Intervals by name, see `verification.intervals`. Defaults to none.

    Returns:
        By name a dict with "rate" and, where there is an interval, "95%".
    """
    curve, ends = measured.curve, ends or {}
    fmrs = [fmr for fmr in FARS if fmr * len(curve.negatives) >= 1]
    found = {"EER": {"rate": curve.eer, **_interval(ends.get("EER"))}}
    for fmr in fmrs:
        low, high = ends.get(f"TAR@FAR={fmr:g}", (None, None))
        found[f"FNMR@FMR={fmr:g}"] = {
            "rate": 1 - curve.tar(fmr),
            **_interval(None if low is None else (1 - high, 1 - low)),
        }
    return {**found, "ZeroFMR": {"rate": matching.zero_fmr(curve)}}


def _interval(ends):
    return {} if ends is None else {"95%": ends}


def templates(measured: Measured, draws: int = 200) -> dict:
    """Area and rates of a long list of pairs of templates, with intervals over people.

    Args:
        measured: The pairs.
        draws: Of half of the people. Defaults to `200`; 0 leaves the intervals out.

    Returns:
        Counts by name, "AUC", and "rates" as the function `rates` gives them.
    """
    scores, same, people = measured.given
    ends = curve_intervals(scores, same, people, draws) if draws and measured.curve.both else {}
    counts = {"pairs": len(same), "genuine": int(np.sum(same)), "people": int(np.sum(np.bincount(people.ravel()) > 0))}
    area = {"rate": measured.curve.auc, **_interval(ends.get("AUC"))}
    return {"templates": counts, "AUC": area, "rates": rates(measured, ends)}


def searched(found: Search, people: np.ndarray, enrolled: int, draws: int = 200) -> dict:
    """Counts of a one-to-many search, and its rates as `metrics.open_set.rates` gives them.

    Args:
        found: The searches.
        people: Who is searched for in each, integers `(P,)`.
        enrolled: Entries of the gallery.
        draws: See `open_set.rates`.

    Returns:
        Counts and rates by name.
    """
    mated = found.mated
    counts = {"enrolled": enrolled, "mated searches": int(mated.sum()), "non-mated searches": int(np.sum(~mated)),
              "people": len(np.unique(people))}  # fmt: skip
    return {**counts, "rates": open_set.rates(found, people, draws=draws)}


def curve(measured: Measured, points: int = 200) -> dict[str, list]:
    """FNMR at FMR on a logarithmic grid, for pictures, and the EER."""
    found = measured.curve
    far, tar, _ = found.points()
    grid = np.geomspace(1 / len(found.negatives), 1, points)
    return {"FMR": grid.tolist(), "FNMR": (1 - tar[np.searchsorted(far, grid, "right") - 1]).tolist(), "EER": found.eer}


def carried(measured: Measured, thresholds: dict) -> dict[str, dict]:
    """FMR and FNMR at thresholds that were set on other pairs.

    Args:
        measured: The set.
        thresholds: A calibration, see `metrics.calibration`.

    Returns:
        By the FMR that the threshold was set for.
    """
    points = {far: one["threshold"] for far, one in thresholds["thresholds"].items()}
    return {far: dataclasses.asdict(matching.AtThreshold.of(value, *measured.given)) for far, value in points.items()}


def threshold_of(measured: Measured, fmr: float, thresholds: dict | None) -> tuple[float, str]:
    """The threshold for an FMR, carried where a calibration is given, else this set's own; and which it is."""
    if thresholds is not None:
        return calibration.threshold_at(thresholds, fmr), "carried"
    return measured.curve.threshold(fmr), "of this very set"


def discarded(
    measured: Measured, path: str | None = None, threshold: float | None = None, most: float = 0.2
) -> dict[str, dict]:
    """Error-versus-discard curves of the length of the embedding, and of each column of numbers in a table of qualities.

    Args:
        measured: The set.
        path: csv of images and qualities, see `io.attributes`; OFIQ's output is one.
        threshold: Pairs of one person below it are missed. That at which one in twenty is missed unless given.
        most: Part of the pairs up to which areas are taken. Defaults to `0.2`.

    Returns:
        By quality: parts discarded, false non-match rates, "area", and "area of perfect", of a quality that knows the errors.
    """
    same = measured.pairs.same
    own = np.sort(measured.scores[same])
    threshold = own[int(BEGIN * len(own))] if threshold is None else threshold
    missed = measured.scores[same] < threshold
    found = {}
    for name, values in _qualities(measured, path).items():
        worse = np.minimum(values[::2], values[1::2])[same]
        gone, left = quality.error_versus_discard(missed[np.isfinite(worse)], worse[np.isfinite(worse)])
        found[name] = {
            "threshold": float(threshold), "pairs": int(np.isfinite(worse).sum()), "discarded": gone.tolist(), "FNMR": left.tolist(),
            "area": quality.partial_area(gone, left, most), "area of perfect": quality.perfect_area(left[0], most),
            "area of none": left[0] * most,
        }  # fmt: skip
    return found


def _qualities(measured, path):
    found = {"length of the embedding": np.linalg.norm(measured.embeddings, axis=1)}
    if path:
        table = measured.table(path).apply(pd.to_numeric, errors="coerce")
        found |= {str(name): table[name].to_numpy(float) for name in table if table[name].notna().any()}
    return found


def groups(measured: Measured, path: str | None, threshold: float) -> dict[str, dict]:
    """FMR and FNMR of groups of people at one threshold, and the measures of fairness, for each column of a table of attributes.

    Args:
        measured: The set.
        path: csv of images or people and attributes, see `io.attributes`; None for the groups that the list of the pairs names.
        threshold: One for all.

    Returns:
        By column "threshold", "groups" and "measures".

    Raises:
        ValueError: No column makes two groups with pairs of both kinds.
    """
    table = measured.table(path) if path else pd.DataFrame(measured.pairs.groups)
    found, why = {}, ""
    for column in table:
        values = table[column].fillna("").astype(str).to_numpy()
        try:
            one = fairness.by_group(*measured.given, values.reshape(-1, 2).T, threshold)
        except ValueError as error:
            why = f"{path or measured.pairs.name}, {column}: {error}"
            continue
        measures = {name: {"value": value, "95%": ends} for name, (value, ends) in one.measures.items()}
        rows = {name: dataclasses.asdict(row) for name, row in one.groups.items()}
        found[str(column)] = {"threshold": threshold, "groups": rows, "measures": measures}
    if not found:
        raise ValueError(why)
    return found


def worth(measured: Measured, points: int = 200) -> dict:
    """What the scores are worth as evidence.

    Likelihood ratios of each fold are by the fit of the others. "Cllr" is their cost in bits, "Cllr min" that of the best calibration
    there is; with the points of a Tippett plot.

    Returns:
        "Cllr", "Cllr min", and the plot's "log10 LR", "one person" and "two people".
    """
    scores, same, people = measured.given
    ratios = evidence.folded_ratios(scores, same, people)
    lines = [one[:: max(len(one) // points, 1)].tolist() for one in evidence.tippett(ratios, same)]
    return {"Cllr": evidence.cllr(ratios, same), "Cllr min": evidence.cllr_min(scores, same),
            **dict(zip(("log10 LR", "one person", "two people"), lines, strict=True))}  # fmt: skip


def compared(pairs: Pairs, scores: np.ndarray, other: np.ndarray) -> dict:
    """One model against another on the same pairs.

    Args:
        pairs: The set.
        scores: Of the model `(n,)`.
        other: Of the other model `(n,)`.

    Returns:
        Differences of 10-fold accuracy and of AUC, this model minus the other, with 95 % intervals over people; McNemar's test of the
        pairs that one of them says rightly, and DeLong's of the areas, both of which take all pairs as independent.
    """
    same, people = pairs.same, pairs.people
    right, wrong = fold_correct(scores, same), fold_correct(other, same)
    here, there, p = mcnemar(right, wrong)
    kinds = (
        ("10-fold accuracy", difference.paired(right, wrong, people)),
        ("AUC", difference.areas(scores, other, same, people)),
    )
    told = {name: {"difference": value, "95%": ends} for name, (value, ends) in kinds}
    tests = {"McNemar p": p, "DeLong p": difference.delong(scores, other, same)[2]}
    return {**told, "right here only": here, "right there only": there, **tests}
