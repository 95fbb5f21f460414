"""Part of the people kept for evaluation: nobody on both sides."""

import os

import numpy as np

from facetrainer.data import sources
from facetrainer.preparing import target
from facetrainer.preparing.convert import convert
from facetrainer.preparing.report import Report


def split(
    source: sources.Source, dest: str, share: float = 0.1, people: int = 0, least: int = 2, kind: str = "folder", seed: int = 0,
    workers: int = 0, about: str = "",
) -> Report:  # fmt: skip
    """`dest`/train and `dest`/held_out: `people` of them, or a `share`, drawn from those with `least` images or more."""
    counts = np.bincount(source.labels)
    enough = np.flatnonzero(counts >= least)
    wanted = people or max(round(share * len(counts)), 1)
    if wanted > len(enough) or wanted >= len(counts):
        raise ValueError(
            f"{wanted} people are to be held out; {len(enough)} of {len(counts)} have {least} images or more."
        )
    target.refuse_existing(dest)
    if isinstance(source, sources.FolderSource):
        target.refuse_inside(dest, source.root)
    os.makedirs(dest, exist_ok=True)
    held = np.isin(source.labels, np.random.default_rng(seed).choice(enough, wanted, replace=False))
    report = Report("split", about, dest)
    for name, mask in (("train", ~held), ("held_out", held)):
        part = sources.Subset(source, np.flatnonzero(mask))
        path = os.path.join(dest, name + ".csv" if kind == "csv" else name)
        one = convert(part, path, kind, workers, about=f"{about}, {name}, seed {seed}")
        report.rows += one.rows
        report.counts |= {f"{name} {what}": count for what, count in one.counts.items()}
    return report
