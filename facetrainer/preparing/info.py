"""What is in a set of faces: counts, a histogram, a sheet of pictures."""

import collections

import numpy as np

from facetrainer.data import sources
from facetrainer.data.images import decode, encode, sheet
from facetrainer.preparing.report import Report

EDGES = (1, 2, 3, 5, 10, 20, 50, 100, 500, 1000)


def info(
    source: sources.Source, about: str = "", picture: str | None = None, look_at: int = 200, seed: int = 0
) -> Report:
    """Counts of `source`; sizes of `look_at` images drawn at random; `picture`: a sheet of 64 of them as JPEG."""
    report, counts = Report("info", about), np.bincount(source.labels)
    report.counts = {
        "images": len(source), "people": len(counts), "images a person, least": int(counts.min()),
        "median": float(np.median(counts)), "mean": round(float(counts.mean()), 2), "most": int(counts.max()),
        "people with two or more": int(np.sum(counts >= 2)),
    }  # fmt: skip
    images = []
    for i in np.random.default_rng(seed).permutation(len(source))[:look_at]:
        try:
            images.append(decode(source.read(int(i))))
        except (ValueError, OSError) as error:
            report.skip(source.name(int(i)), error)
    report.about["sizes"] = {
        f"{h}×{w}": n for (h, w), n in collections.Counter(i.shape[:2] for i in images).most_common(5)
    }
    report.about["histogram"] = {label: int(np.sum((counts >= low) & (counts < high))) for label, low, high in _bins()}
    if picture and images:
        with open(picture, "wb") as file:
            file.write(encode(sheet(images[:64], 8)))
    return report


def _bins():
    for low, high in zip(EDGES, (*EDGES[1:], np.inf), strict=True):
        last = "" if high == low + 1 else "+" if np.isinf(high) else f"–{high - 1}"
        yield f"{low}{last}", low, high


def text(report: Report) -> str:
    """The report as lines, with bars."""
    lines = [f"{name:>24}  {count:,}" for name, count in report.counts.items()]
    lines += [f"{'size':>24}  {size} ({n} of those looked at)" for size, n in report.about["sizes"].items()]
    most = max(report.about["histogram"].values())
    lines += [
        f"{label + ' images':>24}  {'█' * round(40 * n / most)} {n:,}"
        for label, n in report.about["histogram"].items()
        if n
    ]
    return "\n".join(lines + [f"{'unreadable':>24}  {row['file']}: {row['reason']}" for row in report.rows])
