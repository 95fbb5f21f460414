"""What is wrong with a set of faces: files, sizes, duplicates, small classes, overlap with evaluation sets, misaligned faces."""

import collections
import hashlib
import json
from collections.abc import Sequence

import cv2
import numpy as np

from facetrainer.data import sources
from facetrainer.data.alignment import misalignment
from facetrainer.data.images import decode, grey
from facetrainer.io import cached, evalbin
from facetrainer.preparing.report import Report, each
from facetrainer.recognition.detect import Detector

BANDS, BITS = 8, 12  # near duplicates: equal in one of 8 parts of the hash, and in all but 12 of its 256 bits


class Looks:
    """What n images look like: hash of the bytes (n, 16), of the picture (n, 32), height and width (n, 2); or why one has a fault."""

    def __init__(self, count: int):
        self.bytes, self.pictures = np.zeros((count, 16), np.uint8), np.zeros((count, 32), np.uint8)
        self.sizes, self.faults = np.zeros((count, 2), np.int32), {}

    def fill(self, begin: int, found) -> None:
        """Rows from `begin` on, as `look_at` gives them; a text is a fault."""
        for row, one in enumerate(found, begin):
            if isinstance(one, str):
                self.faults[row] = f"corrupt: {one}"
                continue
            self.bytes[row], self.pictures[row], self.sizes[row], blank = one
            if blank:
                self.faults[row] = "blank: all of one colour"

    def put(self, rows: range, part: "Looks") -> None:
        """Sets these rows to those of another."""
        self.bytes[rows], self.pictures[rows], self.sizes[rows] = part.bytes, part.pictures, part.sizes
        self.faults |= {rows[k]: fault for k, fault in part.faults.items()}

    def save(self, path: str) -> None:
        """Writes an `.npz`."""
        np.savez(path, bytes=self.bytes, pictures=self.pictures, sizes=self.sizes, faults=json.dumps(self.faults))

    @classmethod
    def load(cls, path: str) -> "Looks":
        """What `save` wrote."""
        arrays = cached.read_npz(path)
        found = cls(0)
        found.bytes, found.pictures, found.sizes = (arrays[name] for name in ("bytes", "pictures", "sizes"))
        found.faults = {int(k): fault for k, fault in json.loads(str(arrays["faults"])).items()}
        return found

    def good(self) -> np.ndarray:
        """Rows without a fault."""
        return np.setdiff1d(np.arange(len(self.sizes)), list(self.faults)).astype(np.int64)


def check(
    source: sources.Source, about: str = "", size: tuple[int, int] | None = None, least: int = 2, eval_bins: Sequence[str] = (),
    workers: int = 0, seen: Looks | None = None,
) -> Report:  # fmt: skip
    """Every image of `source` is read, decoded and compared → Report; a row has file, reason and person.

    `size`: (height, width) that images should have, the commonest one unless given. `eval_bins`: sets that must not share an image
    with this one. `seen`: what the images look like, where that is known.

    Returns:
        Counts, and a row for each image that is odd.
    """
    report = Report("check", about)
    others = [(bin_file, k, image) for bin_file in eval_bins for k, image in enumerate(evalbin.read_bin(bin_file)[0])]
    looks = Looks(len(source) + len(others))
    looks.put(range(len(source)), looks_of(source, range(len(source)), workers) if seen is None else seen)
    _faults(source, looks, size, report)
    _small(source, least, report)
    looks.fill(len(source), each(lambda k: look_at(others[k][2]), range(len(others)), "evaluation sets", workers))
    _duplicates(source, looks, others, report)
    kinds = collections.Counter(row["reason"].split(":")[0] for row in report.rows)
    report.counts = {"images": len(source), "people": len(source.class_names), **dict(sorted(kinds.items()))}
    return report


def looks_of(source: sources.Source, images: range, workers: int = 0) -> Looks:
    """What some images look like."""
    looks = Looks(len(images))
    looks.fill(0, each(lambda k: look(source, images[k]), range(len(images)), "looking", workers))
    return looks


def look(source: sources.Source, i: int) -> tuple | str:
    """`look_at` of sample `i`, or why it cannot be read."""
    try:
        if isinstance(source, sources.ShardSource) and not source.is_whole(i):
            return "the record's checksum does not agree"
        return look_at(source.read(i))
    except (ValueError, OSError) as error:
        return str(error)


def look_at(data: bytes | np.ndarray) -> tuple | str:
    """Encoded image or array → hash of the bytes (16,), of the picture (32,), size, whether it is blank; or why it cannot be read."""
    try:
        image = decode(data)
    except ValueError as error:
        return str(error)
    data = data if isinstance(data, bytes) else data.tobytes()
    shade = grey(image)[..., 0]
    digest = np.frombuffer(hashlib.blake2b(data, digest_size=16).digest(), np.uint8)
    return digest, picture_hash(shade), image.shape[:2], shade.std() < 2


def picture_hash(shade: np.ndarray) -> np.ndarray:
    """256 bits (32,) uint8: whether each of 16×16 places is lighter than its right neighbour."""
    small = cv2.resize(shade, (17, 16), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, :-1] > small[:, 1:])


def _faults(source, looks, size, report):
    good = looks.good()
    good = good[good < len(source)]
    for i, fault in sorted(looks.faults.items()):
        _row(report, source, i, fault)
    sizes, counts = np.unique(looks.sizes[good], axis=0, return_counts=True)
    height, width = size or (sizes[counts.argmax()] if len(counts) else (0, 0))
    for i in good[np.any(looks.sizes[good] != (height, width), axis=1)]:
        _row(report, source, int(i), f"size: {looks.sizes[i][0]}×{looks.sizes[i][1]}, not {height}×{width}")


def _small(source, least, report):
    counts = np.bincount(source.labels)
    for person in np.flatnonzero(counts < least):
        report.skip("", f"few images: {counts[person]}, fewer than {least}", person=source.class_names[person])


def _row(report, source, i, reason):
    report.skip(source.name(i), reason, person=source.class_names[source.labels[i]])


def _duplicates(source, looks, others, report):
    """Pairs of equal or nearly equal pictures: within a person, of two people, with an evaluation set."""
    good = looks.good()
    if len(good) < 2:
        return
    _, first, inverse = np.unique(looks.bytes[good].view("V16").ravel(), return_index=True, return_inverse=True)
    for k in np.flatnonzero(first[inverse] != np.arange(len(good))):
        _pair(source, others, good[first[inverse[k]]], good[k], "the same file", report)
    unique = good[np.sort(first)]
    for a, b in near_pairs(looks.pictures[unique]):
        a, b = unique[a], unique[b]
        if alike(_image(source, others, a), _image(source, others, b)):
            _pair(source, others, a, b, "nearly the same picture", report)


def _image(source, others, k):
    return decode(source.read(int(k)) if k < len(source) else others[k - len(source)][2])


def _pair(source, others, a, b, how, report):
    if a >= len(source):
        return  # both from evaluation sets: pairs share images there
    if b >= len(source):
        bin_file, number, _ = others[b - len(source)]
        _row(report, source, int(a), f"evaluated on: {how} as image {number} of {bin_file}")
        return
    kind = "duplicate" if source.labels[a] == source.labels[b] else "two names"
    person = source.class_names[source.labels[a]]
    _row(
        report,
        source,
        int(b),
        f"{kind}: {how} as {source.name(int(a))}" + ("" if kind == "duplicate" else f", {person}"),
    )


def near_pairs(hashes: np.ndarray) -> list[tuple[int, int]]:
    """(n, 32) uint8 → pairs of rows, at most BITS bits apart and equal in one of BANDS parts; found by sorting, not by comparing all."""
    found, parts = set(), np.ascontiguousarray(hashes).view(f"u{hashes.shape[1] // BANDS}")
    for band in range(BANDS):
        order = np.argsort(parts[:, band], kind="stable")
        values = parts[order, band]
        for step in range(1, 50):  # neighbours among those with an equal part
            equal = np.flatnonzero(values[step:] == values[:-step])
            if len(equal) == 0:
                break
            a, b = order[equal], order[equal + step]
            near = np.unpackbits(hashes[a] ^ hashes[b], axis=1).sum(axis=1) <= BITS
            found |= {(min(p, q), max(p, q)) for p, q in zip(a[near].tolist(), b[near].tolist(), strict=True)}
    return sorted(found)


def alike(first: np.ndarray, second: np.ndarray, most: float = 8.0) -> bool:
    """Whether two pictures differ by no more than `most` grey levels on average, seen at 32×32."""
    small = [cv2.resize(grey(i)[..., 0], (32, 32), interpolation=cv2.INTER_AREA).astype(int) for i in (first, second)]
    return float(np.abs(small[0] - small[1]).mean()) <= most


def check_alignment(
    source: sources.Source, detect: Detector, report: Report, sample: int = 500, most: float = 0.15
) -> None:
    """Faces of `sample` images drawn at random are detected; rows for those that are not where ArcFace's template has them.

    `most`: mean distance of the five points, in parts of the eyes' distance.
    """
    chosen = np.random.default_rng(0).permutation(len(source))[:sample]
    distances = list(each(lambda k: _misaligned(source, detect, int(chosen[k])), range(len(chosen)), "alignment", 1))
    for i, distance in zip(chosen, distances, strict=True):
        if distance is None:
            _row(report, source, int(i), "unaligned: no face found")
        elif distance > most:
            _row(report, source, int(i), f"unaligned: {distance:.2f} of the eyes' distance from the template")
    found = [d for d in distances if d is not None]
    report.counts |= {
        "looked at for alignment": len(chosen),
        "unaligned": len(chosen) - int(np.sum(np.array(found) <= most)),
    }


def _misaligned(source, detect, i):
    """Distance from the template; None without a face, NaN (no row) where the image is corrupt, which has its row."""
    try:
        image = decode(source.read(i))
    except (ValueError, OSError):
        return np.nan
    height, width = image.shape[:2]
    framed = cv2.copyMakeBorder(image, height // 2, height // 2, width // 2, width // 2, cv2.BORDER_CONSTANT)
    found = detect(framed).central(framed.shape[:2])
    return misalignment(found.landmarks[0] - [width // 2, height // 2], (height, width)) if len(found) else None
