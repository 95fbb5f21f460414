"""Verification sets: pairs drawn from folders of people, or listed by someone, as an InsightFace `.bin`."""

import hashlib
import os

import numpy as np

from facetrainer.data import sources
from facetrainer.io import evalbin, pair_lists
from facetrainer.preparing.report import Report
from facetrainer.utils.files import read_bytes


def listed(path: str, pairs_file: str, dest: str) -> Report:
    """The pairs of LFW's pairs.txt or a csv, of images below `path` → `.bin`; FileNotFoundError names what is missing."""
    report = Report("pairs", pairs_file, dest)
    listed = pair_lists.read(pairs_file)
    names = [os.path.join(path, name) for pair in zip(listed.first, listed.second, strict=True) for name in pair]
    missing = [name for name in names if not os.path.exists(name)]
    if missing:
        raise FileNotFoundError(
            f"{pairs_file} names {len(missing)} images that are not below {path}, the first: {missing[0]}"
        )
    images = [read_bytes(name) for name in names]
    return _written(report, dest, images, listed.same)


def drawn(
    source: sources.Source, dest: str, folds: int = 10, per_fold: int = 600, seed: int = 0, train: sources.Source | None = None,
    about: str = "",
) -> Report:  # fmt: skip
    """Pairs drawn from `source`, `per_fold` in each fold, half of them same, nobody in two folds, no pair twice → `.bin`.

    People whom `train` holds, by name or by an identical image, are left out. ValueError says how many pairs there can be.

    Returns:
        Counts of pairs and people.
    """
    report, rng = Report("pairs", about, dest), np.random.default_rng(seed)
    members = np.split(np.argsort(source.labels, kind="stable"), np.cumsum(np.bincount(source.labels))[:-1])
    strangers = [k for k in range(len(members)) if k not in _known(source, train)]
    report.counts = {"people": len(strangers), "people of the training set left out": len(members) - len(strangers)}
    chosen, same = [], []
    for fold in range(folds):
        people = [members[k] for k in _groups(strangers, members, folds, seed)[fold]]
        chosen += _same(people, per_fold // 2, rng, fold) + _different(people, per_fold - per_fold // 2, rng, fold)
        same += [True] * (per_fold // 2) + [False] * (per_fold - per_fold // 2)
    return _written(report, dest, [source.read(int(i)) for pair in chosen for i in pair], same)


def _groups(people, members, folds, seed):
    """People into folds, those with several images spread evenly."""
    order = np.random.default_rng((seed, 1)).permutation(people).tolist()
    order.sort(key=lambda k: len(members[k]) < 2)
    return [order[fold::folds] for fold in range(folds)]


def _same(people, count, rng, fold):
    possible = [(images, n) for images in people if (n := len(images) * (len(images) - 1) // 2)]
    total = sum(n for _, n in possible)
    if total < count:
        fewer = (
            f"ask for fewer (--per-fold {2 * total}), or for fewer folds"
            if total
            else "it takes people with two images or more"
        )
        raise ValueError(
            f"fold {fold}: {total} pairs of one person can be made of its {len(people)} people, {count} are asked for: {fewer}."
        )
    return _distinct(count, lambda: rng.choice(possible[rng.integers(len(possible))][0], 2, replace=False),
                     lambda: [(a, b) for images, _ in possible for k, a in enumerate(images) for b in images[:k]], rng)  # fmt: skip


def _different(people, count, rng, fold):
    if len(people) < 2:
        raise ValueError(f"fold {fold} has {len(people)} people, two are needed: ask for fewer folds.")

    def one():
        p, q = rng.choice(len(people), 2, replace=False)
        return rng.choice(people[p]), rng.choice(people[q])

    def every():
        return [(a, b) for k, p in enumerate(people) for q in people[:k] for a in p for b in q]

    return _distinct(count, one, every, rng)


def _distinct(count, one, every, rng):
    """`count` different pairs by drawing; where most have been drawn, by listing those that are left."""
    found: dict[tuple, None] = {}
    for _ in range(20 * count):
        if len(found) == count:
            return list(found)
        found[tuple(sorted(map(int, one())))] = None
    rest = [pair for pair in {tuple(sorted(map(int, pair))) for pair in every()} if pair not in found]
    if len(found) + len(rest) < count:
        raise ValueError(
            f"{len(found) + len(rest)} different pairs can be made, {count} are asked for: ask for fewer (--per-fold)."
        )
    return [*found, *(rest[k] for k in rng.permutation(len(rest))[: count - len(found)])]


def _known(source, train):
    """Labels of people whom `train` holds: the same name, or the same image to the byte."""
    if train is None:
        return set()
    names, images = set(train.class_names), {digest(train, i) for i in range(len(train))}
    same_name = {k for k, name in enumerate(source.class_names) if name in names and not name.isdecimal()}
    return same_name | {int(source.labels[i]) for i in range(len(source)) if digest(source, i) in images}


def digest(source: sources.Source, i: int) -> bytes:
    """16 bytes that stand for image `i`; of an image that cannot be read, for its name."""
    try:
        return hashlib.blake2b(source.read(i), digest_size=16).digest()
    except (ValueError, OSError):
        return source.name(i).encode()


def _written(report, dest, images, same):
    if not dest.endswith(".bin"):
        raise ValueError(f"the pairs' file: expected a name ending in .bin. Received: {dest!r}")
    evalbin.write_bin(dest, images, same)
    report.counts |= {"pairs": len(same), "same": int(np.sum(same))}
    return report.finish(dest)
