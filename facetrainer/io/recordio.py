"""MXNet RecordIO (`.rec` + `.idx`) as InsightFace packs faces in it, without mxnet.

A record is `magic, 3-bit part flag and 29-bit length, payload, padding to 4 bytes`; the payload of an image record is
an IRHeader (`uint32 flag, float32 label, uint64 id, uint64 id2`), `flag` further float32 labels, and the JPEG.
"""

import array
import logging
import mmap
import os
import struct
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from facetrainer.io import cached

log = logging.getLogger("facetrainer")

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
WORDS = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")
WHOLE, FIRST, MIDDLE, LAST = range(4)


class RecordFile:
    """Random access to the records of one `.rec`; safe to read from several threads.

    `keys` and `offsets` come from the `.idx` beside it, or from a scan where there is none.
    """

    def __init__(self, path: str):
        self.path = path
        with open(path, "rb") as file:
            if os.path.getsize(path) == 0:
                raise ValueError(f"{path} is empty: expected RecordIO records. Copy or pack the dataset again.")
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        index = os.path.splitext(path)[0] + ".idx"
        self.keys, self.offsets = read_index(index) if os.path.exists(index) else self._scanned(index)
        self._drop_outside()

    def __len__(self):
        return len(self.keys)

    def read(self, position: int) -> bytes:
        """Payload of the record at `position` in the index; ValueError where the file is damaged."""
        offset, parts = int(self.offsets[position]), []
        while True:
            part, start, length, offset = self._part(offset)
            parts.append(self.data[start : start + length])
            if part in (WHOLE, LAST):
                return MAGIC_BYTES.join(parts)

    def _part(self, offset):
        """→ part flag, first byte, length, offset of the next part."""
        if offset + WORDS.size > len(self.data):
            raise ValueError(f"{self.path}: record at byte {offset} lies beyond the end ({len(self.data)} bytes)")
        magic, word = WORDS.unpack_from(self.data, offset)
        start, length = offset + WORDS.size, word & 0x1FFFFFFF
        if magic != MAGIC:
            raise ValueError(f"{self.path}: no record at byte {offset}. Received: magic 0x{magic:08x}")
        if start + length > len(self.data):
            raise ValueError(f"{self.path}: record at byte {offset} is cut off at the end of the file")
        return word >> 29, start, length, start + (length + 3) // 4 * 4

    def _scanned(self, index):
        """Offsets of all records, found once and kept in the cache folder."""

        def scan():
            log.warning("%s is missing: scanning %s for its records", index, self.path)
            return {"offsets": self._scan(), "state": np.array(cached.state(self.path))[None]}

        found = cached.arrays(self.path, scan, lambda kept: kept["state"][0] == cached.state(self.path))
        return np.arange(len(found["offsets"])), found["offsets"]

    def _scan(self):
        offsets, offset, lost = array.array("q"), 0, 0
        while 0 <= offset < len(self.data):
            try:
                part, _, _, following = self._part(offset)
            except ValueError as error:
                log.warning("%s; %d whole records before it", error, len(offsets))
                following, part, lost = self._next_magic(offset), None, lost + 1
                if lost > 1000:
                    raise ValueError(f"{self.path} is damaged in more than 1000 places: copy it again.") from None
            if part in (WHOLE, FIRST):
                offsets.append(offset)
            offset = following
        return np.frombuffer(offsets, np.int64)

    def _next_magic(self, offset):
        at = self.data.find(MAGIC_BYTES, offset + 1)
        while at % 4 and at >= 0:
            at = self.data.find(MAGIC_BYTES, at + 1)
        return at

    def _drop_outside(self):
        inside = (self.offsets >= 0) & (self.offsets < len(self.data))
        if not inside.all():
            lost = int((~inside).sum())
            log.warning("%s ends early: %d of %d records are missing", self.path, lost, len(inside))
            self.keys, self.offsets = self.keys[inside], self.offsets[inside]

    def labels(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Headers alone, all at once → how many labels (n,) (0 where there is no whole header), the first two (n, 2)."""
        words = np.frombuffer(self.data, "<u4", len(self.data) // 4)
        offsets = self.offsets[positions]
        places = offsets[:, None] // 4 + np.arange(10)
        block = words[np.minimum(places, len(words) - 1)]
        flag, values = block[:, 2], np.ascontiguousarray(block[:, [3, 8, 9]]).view("<f4")
        whole = (
            (offsets % 4 == 0)
            & (block[:, 0] == MAGIC)
            & ((block[:, 1] & 0x1FFFFFFF) >= HEADER.size + 4 * np.minimum(flag, 2))
        )
        first = np.where(flag == 0, values[:, 0], values[:, 1])
        return np.where(whole, np.maximum(flag, 1), 0), np.stack([first, values[:, 2]], axis=1)


def read_index(path: str) -> tuple[np.ndarray, np.ndarray]:
    """`key<TAB>offset` lines → (keys, offsets), ordered by key."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # what numpy says of text that is no number
            keys, offsets = np.fromfile(path, np.int64, sep=" ").reshape(-1, 2).T
    except (ValueError, DeprecationWarning) as error:
        raise ValueError(
            f"{path}: expected lines 'key<TAB>offset' ({error}). Delete it: the .rec is scanned without it."
        ) from None
    if np.all(keys[1:] > keys[:-1]):
        return np.ascontiguousarray(keys), np.ascontiguousarray(offsets)
    order = np.argsort(keys, kind="stable")
    return keys[order], offsets[order]


def unpack(payload: bytes) -> tuple[np.ndarray, bytes]:
    """IRHeader payload → (labels float32 (n,), image bytes)."""
    if len(payload) < HEADER.size:
        raise ValueError(f"a record of {len(payload)} bytes is too short for its {HEADER.size}-byte header")
    flag, label, _, _ = HEADER.unpack_from(payload)
    if flag == 0:
        return np.array([label], np.float32), payload[HEADER.size :]
    if HEADER.size + 4 * flag > len(payload):
        raise ValueError(f"a record of {len(payload)} bytes claims {flag} labels")
    start = HEADER.size + 4 * flag
    return np.frombuffer(payload, np.float32, flag, HEADER.size), payload[start:]


def pack(labels: ArrayLike, image: bytes, key: int = 0, key2: int = 0) -> bytes:
    """Labels and image bytes → payload; a scalar label is written with flag 0, as `mx.recordio.pack` does."""
    if np.isscalar(labels):
        return HEADER.pack(0, labels, key, key2) + image
    array = np.asarray(labels, np.float32)
    return HEADER.pack(len(array), 0.0, key, key2) + array.tobytes() + image


class RecordWriter:
    """Payloads → `stem.rec` and `stem.idx` with keys 0, 1, 2, …; `.part` until `close`, so that half a file is never taken for one.

    With `resume` it goes on behind the last whole record of a writing that was broken off; `len` tells how many there are.
    """

    def __init__(self, stem: str, resume: bool = False):
        self.stem = stem
        offsets, end = self._whole() if resume else ([], 0)
        self.rec, self.idx = (open(self._part(kind), "r+b" if offsets else "wb") for kind in ("rec", "idx"))  # noqa: SIM115
        self.rec.truncate(end)
        self.rec.seek(end)
        self.idx.truncate(0)
        self.idx.write(b"".join(b"%d\t%d\n" % pair for pair in enumerate(offsets)))
        self.count = len(offsets)

    def __len__(self):
        return self.count

    def _part(self, kind):
        return f"{self.stem}.{kind}.part"

    def _whole(self):
        """Offsets of the records that are there to their last byte, and where they end."""
        if not all(os.path.exists(self._part(kind)) and os.path.getsize(self._part(kind)) for kind in ("rec", "idx")):
            return [], 0
        with open(self._part("idx"), "rb") as file:
            lines = file.read().split(b"\n")[:-1]
        offsets = [int(line.split(b"\t")[1]) for line in lines]
        size = os.path.getsize(self._part("rec"))
        while offsets and offsets[-1] >= size:
            offsets.pop()
        return offsets[:-1], offsets[-1] if offsets else 0  # the last one may be cut off: it is written again

    def write(self, payload: bytes) -> None:
        """Appends a record under its number."""
        self.idx.write(b"%d\t%d\n" % (self.count, self.rec.tell()))
        _write_record(self.rec, payload)
        self.count += 1

    def close(self) -> None:
        """Closes both files and gives them their names."""
        for file, kind in ((self.rec, "rec"), (self.idx, "idx")):
            file.close()
            os.replace(self._part(kind), f"{self.stem}.{kind}")


def write_records(stem: str, payloads) -> None:
    """Payloads → `stem.rec` and `stem.idx` with keys 0, 1, 2 and so on."""
    writer = RecordWriter(stem)
    for payload in payloads:
        writer.write(payload)
    writer.close()


def write_faces(stem: str, people: list[list[bytes]]) -> None:
    """Images of each person → `stem.rec` and `stem.idx` in InsightFace's layout."""
    flat = [image for images in people for image in images]
    count, payload = face_payloads([len(images) for images in people], flat.__getitem__)
    write_records(stem, map(payload, range(count)))


def face_payloads(counts: list[int], image) -> tuple[int, Callable[[int], bytes]]:
    """Images of each person, in order, and a function that gives image i → number of records, function that gives payload k.

    InsightFace's layout: record 0 holds the range of identity records, then the images, then one record per identity with the
    range of its images.

    Returns:
        Number of records, and a function that gives payload k.
    """
    ends = 1 + np.cumsum(np.asarray(counts, np.int64))
    end = int(ends[-1]) if len(ends) else 1

    def payload(k):
        if k == 0:
            return pack([end, end + len(ends)], b"", 0, 1)
        if k < end:
            return pack(float(np.searchsorted(ends, k, "right")), image(k - 1), k)
        return pack([ends[k - end] - counts[k - end], ends[k - end]], b"", k)

    return end + len(ends), payload


def _write_record(rec, payload):
    parts = _split_at_magic(payload)
    for number, part in enumerate(parts):
        flag = WHOLE if len(parts) == 1 else FIRST if number == 0 else LAST if number == len(parts) - 1 else MIDDLE
        rec.write(WORDS.pack(MAGIC, flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4))


def _split_at_magic(payload):
    """A payload must not show the magic word at a multiple of 4: it is cut there and the word left out."""
    parts, begin = [], 0
    at = payload.find(MAGIC_BYTES)
    while at >= 0:
        if at % 4 == 0:
            parts.append(payload[begin:at])
            begin = at + 4
        at = payload.find(MAGIC_BYTES, at + (4 if at % 4 == 0 else 1))
    return [*parts, payload[begin:]]


def face_index(rec: RecordFile) -> tuple[np.ndarray, np.ndarray]:
    """The image records of an InsightFace `.rec` → (positions int32, labels as written).

    With an id range in record 0 two headers an identity are read; of a plain im2rec file every header is.

    Returns:
        Positions and labels.

    Raises:
        ValueError: The file holds no whole record.
    """
    if len(rec) == 0:
        raise ValueError(
            f"{rec.path} holds no whole record: expected RecordIO, as MXNet's im2rec and InsightFace write it."
        )
    (many,), ((first, end),) = rec.labels(np.array([0]))
    images = np.arange(len(rec), dtype=np.int32)
    if many < 2 or not 0 < first <= end < 2**53:
        return _labelled(rec, images, rec.labels(images)[1][:, 0].astype(np.float64), rec.labels(images)[0] > 0)
    identities = images[(rec.keys >= first) & (rec.keys < end)]
    images = images[(rec.keys > 0) & (rec.keys < first)]
    labels = np.full(len(images), np.nan)
    _label_by_identity(rec, identities, images, labels)
    rest = np.flatnonzero(np.isnan(labels))  # a file cut off before its identity records still knows each image's label
    many, found = rec.labels(images[rest])
    labels[rest] = np.where(many > 0, found[:, 0], np.nan)
    return _labelled(rec, images, labels, np.isfinite(labels))


def _label_by_identity(rec, identities, images, labels):
    many, ranges = rec.labels(identities)
    ranges = ranges[(many == 2) & np.isfinite(ranges).all(axis=1)]
    if len(ranges) == 0 or len(images) == 0:
        return
    keys = rec.keys[images]
    low, high = (np.searchsorted(keys, ranges[:, side]) for side in (0, 1))
    low, high = low[low < high], high[low < high]
    many, values = rec.labels(images[low])
    for begin, end, value in zip(low, high, np.where(many > 0, values[:, 0], np.nan), strict=True):
        labels[begin:end] = value


def _labelled(rec, images, labels, good):
    good = good & np.isfinite(labels)
    if not good.all():
        lost = images[~good]
        log.warning(
            "%s: %d records have no header that can be read, the first with key %d",
            rec.path,
            len(lost),
            rec.keys[lost[0]],
        )
    return images[good], labels[good]
