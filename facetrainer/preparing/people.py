"""Names against faces, given a model: one person under two names, two under one, people of the evaluation sets in training."""

from collections.abc import Sequence

import numpy as np

from facetrainer.data import sources
from facetrainer.evaluation.embedder import Embedder
from facetrainer.io import evalbin
from facetrainer.metrics.verification import sum_by_person, unit
from facetrainer.preparing.report import Report

BLOCK, DRAWS = 2**26, 20_000  # cosines at a time; strangers' cosines


def check_people(
    source: sources.Source, embed: Embedder, report: Report, eval_bins: Sequence[str] = (), threshold: float | None = None
) -> None:  # fmt: skip
    """Reports people and images that look out of place.

    Rows are for names whose mean embeddings are as near as one person's, for images unlike the others of their name, and for images of
    `eval_bins` near a trained person.

    `threshold`: cosine from which two means, or an image and a mean, are one person; else both are read off the set: nine in ten
    people with four images or more have halves that are nearer, nine in ten images the mean of their name's others.
    """
    embeddings = unit(np.concatenate(list(embed.of_source(source))))
    embeddings, labels = np.nan_to_num(embeddings), source.labels
    counts, sums = np.bincount(labels), sum_by_person(embeddings, labels, len(source.class_names))
    means = unit(sums)
    own, strange = _to_mean(embeddings, labels, sums)
    near = threshold if threshold is not None else np.quantile(own[counts[labels] > 2], 0.1)
    threshold = threshold if threshold is not None else _threshold(embeddings, labels, counts)
    report.counts |= {
        "one person from a cosine of": round(float(threshold), 3),
        "an image of theirs from": round(float(near), 3),
    }
    _two_names(source, means, threshold, report)
    _two_people(source, own, strange, counts, report)
    for bin_file in eval_bins:
        _evaluated(source, means, bin_file, embed, near, report)


def _threshold(embeddings, labels, counts):
    many = np.flatnonzero(counts >= 4)
    if len(many) < 10:
        raise ValueError(
            f"{len(many)} people have four images or more: too few to read a threshold off them. Give --threshold."
        )
    place = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels), np.int64)
    rank[place] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    halves = [
        unit(sum_by_person(embeddings[rank % 2 == side], labels[rank % 2 == side], len(counts)))[many]
        for side in (0, 1)
    ]
    return np.quantile(np.sum(halves[0] * halves[1], axis=1), 0.1)


def _two_names(source, means, threshold, report):
    for rows in _blocks(len(means)):
        cosine = means[rows] @ means[rows.start :].T
        for a, b in np.argwhere(np.triu(cosine, 1) > threshold):
            other = source.class_names[rows.start + b]
            report.skip("", f"one person under two names? cosine {cosine[a, b]:.2f} to {other}",
                        person=source.class_names[rows.start + a])  # fmt: skip


def _blocks(people):
    """Slices of the people, each compared with itself and those behind it, that hold no more than BLOCK cosines."""
    step = max(BLOCK // max(people, 1), 1)
    return [slice(begin, begin + step) for begin in range(0, people, step)]


def _to_mean(embeddings, labels, sums):
    """Cosine of each image to the mean of its name's others; cosines of images to the means of strangers, about DRAWS of them."""
    own = np.sum(unit(sums[labels] - embeddings) * embeddings, axis=1)
    means, rng, drawn = unit(sums), np.random.default_rng(0), []
    for _ in range(min(-(-DRAWS // len(labels)), len(sums) - 1)):
        others = (labels + rng.integers(1, len(sums), len(labels))) % len(sums)  # anybody but the image's own name
        drawn.append(np.sum(embeddings * means[others], axis=1))
    return own, np.concatenate(drawn) if drawn else np.full(1, -1.0)


def _two_people(source, own, strange, counts, report):
    """Images no nearer to the mean of their name's others than the nearest thousandth is to a stranger's."""
    for i in np.flatnonzero((own < highest(strange)) & (counts[source.labels] > 2)):
        report.skip(source.name(int(i)), f"two people under one name? cosine {own[i]:.2f} to the others",
                    person=source.class_names[source.labels[i]])  # fmt: skip


def highest(strange: np.ndarray) -> float:
    """Where a normal distribution with the median and the median deviation of `strange` has its 99.9 %.

    A quantile of the values themselves would be one person's cosine as soon as one image in a hundred stands under a wrong name.

    Returns:
        A cosine.
    """
    middle = np.median(strange)
    return float(middle + 3.09 * 1.4826 * np.median(np.abs(strange - middle)))


def _evaluated(source, means, bin_file, embed, threshold, report):
    cosine = unit(embed.of_encoded(evalbin.read_bin(bin_file)[0])) @ means.T
    for k in np.flatnonzero(cosine.max(axis=1) > threshold):
        person = source.class_names[cosine[k].argmax()]
        report.skip(f"{bin_file} image {k}", f"trained on? cosine {cosine[k].max():.2f}", person=person)
