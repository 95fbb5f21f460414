"""People, or images where people are too few, that training never sees; and how well a model knows them."""

import dataclasses
import functools

import numpy as np

from facetrainer.data import sources
from facetrainer.data.images import decode
from facetrainer.evaluation.embedder import Embedder
from facetrainer.metrics.intervals import curve_intervals, double_or_nothing
from facetrainer.metrics.roc import Roc
from facetrainer.metrics.verification import unit

LEAST = 20  # people with two images, to hold people out and not images
SHARE, MOST = 0.2, 500  # of the people; people at most
IMAGES = 10  # of a person that count
FARS = (1e-2, 1e-3)
STRANGERS = 300_000  # pairs of different people that count


@dataclasses.dataclass(frozen=True)
class Division:
    """Which images train and which tell how good it is.

    Attributes:
        train: Rows of the source.
        held: Rows that are kept out.
        by: "people" that training never sees, or "images" of people that it does.
    """

    train: np.ndarray
    held: np.ndarray
    by: str

    def told(self) -> str:
        """For people."""
        if self.by == "people":
            return f"{len(self.held)} images of people held out"
        return f"{len(self.held)} images held out, of people that were trained on: there are too few people to hold some out"


def divide(labels: np.ndarray, seed: int = 0) -> Division:
    """Holds out a fifth of the people; where fewer than 20 have two images, one image of each person that has two.

    Args:
        labels: Person of each image `(n,)`.
        seed: Of the draw.

    Returns:
        Rows of both parts.

    Raises:
        ValueError: Nobody, or one person alone, has two images: nothing could tell whether training helped.
    """
    rng, counts = np.random.default_rng(seed), np.bincount(labels)
    several = np.flatnonzero(counts > 1)
    if len(several) >= LEAST:
        wanted = min(max(round(SHARE * np.sum(counts > 0)), LEAST // 2), len(several) // 2, MOST)
        held = np.flatnonzero(np.isin(labels, rng.choice(several, wanted, replace=False)))
        return Division(np.setdiff1d(np.arange(len(labels)), held), _at_most(labels, held, rng), "people")
    if len(several) < 2:
        raise ValueError(
            f"{len(several)} of {np.sum(counts > 0)} people have two images: nothing could tell whether fine-tuning helps. Give two images "
            "or more of at least two people; of twenty, to test on people that are not trained on."
        )
    held = np.array([rng.choice(np.flatnonzero(labels == person)) for person in several])
    return Division(np.setdiff1d(np.arange(len(labels)), held), np.sort(held), "images")


def _at_most(labels, rows, rng):
    kept = [rng.permutation(rows[labels[rows] == person])[:IMAGES] for person in np.unique(labels[rows])]
    return np.sort(np.concatenate(kept))


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Scores of all pairs that were held out.

    Attributes:
        scores: Cosines `(n,)`.
        same: Whether each pair is of one person `(n,)`.
        people: Persons of both images of each pair `(2, n)`.
        length: Usual length of an embedding.
    """

    scores: np.ndarray
    same: np.ndarray
    people: np.ndarray
    length: float

    @functools.cached_property
    def numbers(self) -> dict[str, tuple[float, float, float]]:
        """Area under the curve and true-accept rates by name: the number, and the ends of its 95 % interval over people."""
        curve, fars = Roc(self.scores, self.same), self.fars()
        values = [curve.auc, *curve.tar_between(fars)]
        lows, highs = curve_intervals(self.scores, self.same, self.people, fars, 300)
        names = ["AUC", *(f"TAR@FAR={far:g}" for far in fars)]
        return {name: tuple(map(float, one)) for name, *one in zip(names, values, lows, highs, strict=True)}

    def fars(self) -> np.ndarray:
        """Rates that the pairs resolve."""
        return np.array([far for far in FARS if far * np.sum(~self.same) >= 1])


def pairs_of(embedder: Embedder, source: sources.Source, division: Division) -> Pairs:
    """Embeds what is held out, and compares: held-out people among themselves, held-out images with those that were trained on.

    Args:
        embedder: Of the model.
        source: Where the images are.
        division: Which are held out.

    Returns:
        Scores of both kinds of pairs.
    """
    whole = division.by == "people"
    rows = division.held if whole else np.concatenate([division.held, division.train])
    found = embedder(np.stack([decode(source.read(int(i)), embedder.size) for i in rows]))
    vectors, labels, held = unit(found), source.labels[rows], len(division.held)
    first, second = np.triu_indices(len(rows), 1) if whole else np.indices((held, len(rows) - held)).reshape(2, -1)
    second = second if whole else second + held
    kept = _fewer(labels[first] == labels[second])
    first, second = first[kept], second[kept]
    people = np.stack([labels[first], labels[second]])
    scores = np.einsum("nd,nd->n", vectors[first], vectors[second])
    return Pairs(
        scores.astype(np.float64), people[0] == people[1], people, float(np.median(np.linalg.norm(found, axis=1)))
    )


def _fewer(same):
    """All pairs of one person, and no more than `STRANGERS` others."""
    others = np.flatnonzero(~same)
    if len(others) > STRANGERS:
        others = np.random.default_rng(0).choice(others, STRANGERS, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(same), others]))


def gain(before: Pairs, after: Pairs, draws: int = 500) -> tuple[float, float, float]:
    """By how much the area under the curve grew on the same pairs, and its 95 % interval over people.

    Args:
        before: Scores of the old model.
        after: Of the new one, in the same order.
        draws: Of half of the people.

    Returns:
        The difference and the ends of its interval, normal with the spread of the draws.
    """
    difference = Roc(after.scores, after.same).auc - Roc(before.scores, before.same).auc
    drawn = [
        double_or_nothing(one.scores, one.same, one.people, lambda curve: curve.auc, draws) for one in (before, after)
    ]
    if min(map(len, drawn)) < 2:
        return float(difference), float("-inf"), float("inf")
    half = 1.96 * float(np.std(drawn[1] - drawn[0]))
    return float(difference), float(difference - half), float(difference + half)
