"""Error rates of one-to-many search in the words of ISO/IEC 19795-1 and of NIST's FRTE, with intervals over people.

FPIR is the part of the searches for people who are not enrolled that return somebody; FNIR the part of those for enrolled people that do
not return the right one first at or above the threshold. Intervals are over the people searched for; the gallery is as it is.
"""

from collections.abc import Iterable

import numpy as np
from scipy.special import expit, logit, ndtri

from facetrainer.metrics.identification import Search
from facetrainer.metrics.intervals import rate_interval, wilson

FPIRS, RANKS = (1e-3, 1e-2, 1e-1), (1, 5, 10)
FEWEST = 5  # false positives at a rate, for an interval


def rates(
    found: Search, people: np.ndarray, fpirs: Iterable[float] = FPIRS, ranks: Iterable[int] = RANKS, draws: int = 200
) -> dict[str, dict]:
    """FNIR at each FPIR that the searches resolve, and the part found among the first N.

    Args:
        found: Searches.
        people: Who is searched for in each, integers `(P,)`.
        fpirs: False positive identification rates. Defaults to `(0.001, 0.01, 0.1)`.
        ranks: Defaults to `(1, 5, 10)`.
        draws: Of half of the people, for the interval of FNIR. Defaults to `200`; 0 leaves it out.

    Returns:
        `{"FNIR@FPIR=0.01": {"rate": ..., "95%": (low, high), "threshold": ...}, ..., "rank-1": {"rate": ..., "95%": ...}}`.

    Reference:
        Grother, Ngan, Hanaoka, NIST IR 8271, section 3.
    """
    shown, mated = {}, found.mated
    if not mated.any():
        return shown
    for fpir in (one for one in fpirs if found.resolves(one)):
        identified, threshold = found.dir_at_far(fpir)
        ends = {"95%": fnir_interval(found, people, fpir, draws)} if draws else {}
        shown[f"FNIR@FPIR={fpir:g}"] = {"rate": 1 - identified, **ends, "threshold": threshold}
    for rank in ranks:
        right, who = found.rank[mated] < rank, people[mated]
        shown[f"rank-{rank}"] = {"rate": float(right.mean()), "95%": rate_interval(right, who, who)}
    return shown


def fnir_interval(
    found: Search, people: np.ndarray, fpir: float, draws: int = 200, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Interval of FNIR at the threshold for an FPIR, which the people not enrolled tell as uncertainly as the others the rate.

    The variance is that of draws of half of the people, normal on the scale of log-odds; without an error, or where no draw differs, the
    interval is no narrower than Wilson's over the people enrolled.

    Args:
        found: Searches.
        people: Who is searched for in each, integers `(P,)`.
        fpir: False positive identification rate.
        draws: How many. Defaults to `200`.
        level: How often the interval is to hold the true rate. Defaults to `0.95`.
        seed: Of the draws. Defaults to `0`.

    Returns:
        Lower and upper end; nan where fewer than five searches may be false positives: the threshold is then hardly told (in simulations
        such an interval held the true rate 89 % of the time, others 92 to 99 %).
    """
    if fpir * np.sum(~found.mated) < FEWEST:
        return float("nan"), float("nan")
    rate, rng = 1 - found.dir_at_far(fpir)[0], np.random.default_rng(seed)
    persons = np.unique(people, return_inverse=True)[1]
    several, least = [], 0.5 / max(np.sum(found.mated), 1)
    for _ in range(draws):
        kept = (rng.random(persons.max() + 1) < 0.5)[persons]
        half = Search(found.best[kept], found.rank[kept])
        if half.mated.any() and not half.mated.all():
            several.append(1 - half.dir_at(half.threshold(fpir)))
    spread = ndtri((1 + level) / 2) * np.std(logit(np.clip(several, least, 1 - least))) if several else 0.0
    middle = logit(np.clip(rate, least, 1 - least))
    low, high = float(min(expit(middle - spread), rate)), float(max(expit(middle + spread), rate))
    if spread > 1e-9 and 0 < rate < 1:
        return low, high
    ends = wilson(rate, len(np.unique(persons[found.mated])), level)  # no error tells no variance
    return max(min(low, ends[0]), 0.0), min(max(high, ends[1]), 1.0)
