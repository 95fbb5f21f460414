"""MXNet RecordIO (`.rec` + `.idx`) as InsightFace packs faces in it, without mxnet.

A record is `magic, 3-bit part flag and 29-bit length, payload, padding to 4 bytes`; the payload of an image record is
an IRHeader (`uint32 flag, float32 label, uint64 id, uint64 id2`), `flag` further float32 labels, and the JPEG.
"""

import logging
import mmap
import os
import struct

import numpy as np

log = logging.getLogger("face")

MAGIC = 0xCED7230A
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
        self.keys, self.offsets = read_index(index) if os.path.exists(index) else self._scan(index)
        self._drop_beyond_end()

    def __len__(self):
        return len(self.keys)

    def read(self, position: int) -> bytes:
        """Payload of the record at `position` in the index; ValueError where the file is damaged."""
        offset, parts = int(self.offsets[position]), []
        while True:
            part, payload, offset = self._part(offset)
            parts.append(payload)
            if part in (WHOLE, LAST):
                return struct.pack("<I", MAGIC).join(parts)

    def _part(self, offset):
        if offset + WORDS.size > len(self.data):
            raise ValueError(f"{self.path}: record at byte {offset} lies beyond the end ({len(self.data)} bytes)")
        magic, word = WORDS.unpack_from(self.data, offset)
        start, length = offset + WORDS.size, word & 0x1FFFFFFF
        if magic != MAGIC:
            raise ValueError(f"{self.path}: no record at byte {offset}. Received: magic 0x{magic:08x}")
        if start + length > len(self.data):
            raise ValueError(f"{self.path}: record at byte {offset} is cut off at the end of the file")
        return word >> 29, self.data[start : start + length], start + (length + 3) // 4 * 4

    def _scan(self, index):
        log.warning("%s is missing: scanning %s for its records", index, self.path)
        offsets, offset = [], 0
        while offset < len(self.data):
            try:
                part, _, following = self._part(offset)
            except ValueError as error:
                log.warning("%s; reading the %d whole records before it", error, len(offsets))
                break
            if part in (WHOLE, FIRST):
                offsets.append(offset)
            offset = following
        return np.arange(len(offsets)), np.array(offsets, np.int64)

    def _drop_beyond_end(self):
        inside = self.offsets < len(self.data)
        if not inside.all():
            lost = int((~inside).sum())
            log.warning("%s ends early: %d of %d records are missing", self.path, lost, len(inside))
            self.keys, self.offsets = self.keys[inside], self.offsets[inside]


def read_index(path: str) -> tuple[np.ndarray, np.ndarray]:
    """`key<TAB>offset` lines → (keys, offsets), ordered by key."""
    try:
        table = np.loadtxt(path, dtype=np.int64, ndmin=2)
        keys, offsets = table[:, 0], table[:, 1]
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{path}: expected lines 'key<TAB>offset' ({error}). Delete it: the .rec is scanned without it."
        ) from None
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


def pack(labels: float | list[float], image: bytes, key: int = 0) -> bytes:
    """Labels and image bytes → payload; a scalar label is written with flag 0, as `mx.recordio.pack` does."""
    if np.isscalar(labels):
        return HEADER.pack(0, labels, key, 0) + image
    array = np.asarray(labels, np.float32)
    return HEADER.pack(len(array), 0.0, key, 0) + array.tobytes() + image


def write_faces(stem: str, people: list[list[bytes]]) -> None:
    """Write `stem.rec` and `stem.idx` in InsightFace's layout: id range, images, then one record per identity."""
    flat = [(label, image) for label, images in enumerate(people) for image in images]
    end = len(flat) + 1
    records = [pack([end, end + len(people)], b"")]
    records += [pack(float(label), image, key) for key, (label, image) in enumerate(flat, 1)]
    first = 1
    for images in people:
        records.append(pack([first, first + len(images)], b"", len(records)))
        first += len(images)
    write_records(stem, records)


def write_records(stem: str, payloads: list[bytes]) -> None:
    """Payloads → `stem.rec` and `stem.idx` with keys 0, 1, 2, …"""
    with open(stem + ".rec", "wb") as rec, open(stem + ".idx", "w", newline="\n") as idx:
        for key, payload in enumerate(payloads):
            idx.write(f"{key}\t{rec.tell()}\n")
            _write_record(rec, payload)


def _write_record(rec, payload):
    parts = _split_at_magic(payload)
    for number, part in enumerate(parts):
        flag = WHOLE if len(parts) == 1 else FIRST if number == 0 else LAST if part is parts[-1] else MIDDLE
        rec.write(WORDS.pack(MAGIC, flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4))


def _split_at_magic(payload):
    """A payload must not show the magic word at a multiple of 4: it is cut there and the word left out."""
    magic, parts, begin = struct.pack("<I", MAGIC), [], 0
    at = payload.find(magic)
    while at >= 0:
        if at % 4 == 0:
            parts.append(payload[begin:at])
            begin = at + 4
        at = payload.find(magic, at + (4 if at % 4 == 0 else 1))
    return [*parts, payload[begin:]]


def face_index(rec: RecordFile) -> tuple[np.ndarray, np.ndarray]:
    """The image records of an InsightFace `.rec` → (positions, labels as written).

    With an id range in record 0 one record per identity is read; a plain im2rec file has every header read.
    """
    if len(rec) == 0:
        raise ValueError(f"{rec.path} holds no whole record")
    head, _ = unpack(rec.read(0))
    if len(head) < 2:
        return np.arange(len(rec)), np.array([unpack(rec.read(i))[0][0] for i in range(len(rec))])
    first_identity, end = int(head[0]), int(head[1])
    images = np.flatnonzero((rec.keys > 0) & (rec.keys < first_identity))
    labels = np.full(len(images), np.nan)
    for position in np.flatnonzero((rec.keys >= first_identity) & (rec.keys < end)):
        start, stop = unpack(rec.read(int(position)))[0][:2].astype(np.int64)
        low, high = np.searchsorted(rec.keys[images], (start, stop))
        if low < high:
            labels[low:high] = unpack(rec.read(int(images[low])))[0][0]
    _label_the_rest(rec, images, labels)
    return images, labels


def _label_the_rest(rec, images, labels):
    """A file cut off before its identity records still knows each image's own label."""
    for i in np.flatnonzero(np.isnan(labels)):
        labels[i] = unpack(rec.read(int(images[i])))[0][0]
