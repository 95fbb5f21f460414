"""A gallery of real photos: who is found, who is told as unknown, how fast; the index against exact search.

FACE_DATA=/data python -m benchmarks.recognition photos --model teacher.tflite
python -m benchmarks.recognition search --width 512 --people 1e3 1e5 1e6

photos: one photo of each person with two or more is enrolled (the first in order), their other photos and those of everybody else are
probes; the largest and most central face of each. search: random vectors; probes are at a cosine of 0.5 to somebody, or to nobody.
"""

import argparse
import os
import resource
import time

import numpy as np

from facetrainer.data.images import decode
from facetrainer.metrics import identification
from facetrainer.metrics.intervals import rate_interval
from facetrainer.recognition import FaceReader, Gallery, RecognitionModel
from facetrainer.recognition.index import Index
from facetrainer.recognition.reader import photos_in
from facetrainer.utils.files import read_bytes


def split(root):
    """Photos to enrol and probes, as (person, path)."""
    people: dict[str, list[str]] = {}
    for path in photos_in(root):
        people.setdefault(os.path.basename(os.path.dirname(path)), []).append(path)
    enrolled = [(name, mine[0]) for name, mine in people.items() if len(mine) > 1]
    probes = [(name, path) for name, mine in people.items() for path in mine[1 if len(mine) > 1 else 0 :]]
    return enrolled, probes


def photos(a):
    """Figures 1 and 2 (end to end)."""
    enrolled, probes = split(os.path.join(os.environ["FACE_DATA"], "photos"))
    reader = FaceReader(RecognitionModel(a.model), a.detector)
    gallery = Gallery(reader, far=a.far)
    report = gallery.enrol(enrolled)
    print(f"enrolled {len(gallery)} of {len(enrolled)}; left out: {[row['file'] for row in report.rows]}")
    begin = time.time()
    read = list(reader.read([(path, path) for _, path in probes]))
    whole, faces = time.time() - begin, sum(len(one.faces) for one in read)
    pictures = [decode(read_bytes(path)) for _, path in probes]
    begin = time.time()
    for k in range(0, len(pictures), 16):
        reader.detector.batch(pictures[k : k + 16])
    detecting = time.time() - begin
    speed = f"{faces / whole:.1f} faces a second, {detecting / whole:.0%} of it detection"
    print(f"{len(read)} photos, {faces} faces in {whole:.1f} s: {speed}")
    known, names, rows = gallery.people(), [], []
    for (name, _), photo in zip(probes, read, strict=True):
        if photo.faces:
            rows.append(max(photo.faces, key=photo.prominence).embedding)
            names.append(name)
    print(f"no face on {len(read) - len(rows)} probes")
    limit = gallery.threshold()
    found = [one[0] for one in gallery.nearest(np.stack(rows), 1)]
    mated = np.array([name in known for name in names])
    right = np.array([name == person for name, (person, _) in zip(names, found, strict=True)])
    named = np.array([cosine >= limit.value for _, cosine in found])
    people = np.unique(names, return_inverse=True)[1]

    def told(what, hits, of):
        low, high = rate_interval(hits[of], people[of], people[of])
        print(
            f"{what}: {hits[of].mean():.4f} ({low:.4f}–{high:.4f}), {of.sum()} probes of {len(np.unique(people[of]))} people"
        )

    print(limit)
    told("rank-1", right, mated)
    told("named rightly", right & named, mated)
    told("named wrongly, enrolled", ~right & named, mated)
    told("unknown told as unknown", ~named, ~mated)
    vectors, gallery_names = gallery.store.index.vectors, gallery.store.names
    ids = {name: k for k, name in enumerate(sorted({*names, *gallery_names}))}
    search = identification.search(
        np.stack(rows), vectors, np.array([ids[n] for n in names]), np.array([ids[n] for n in gallery_names])
    )
    for far in (0.1, 0.01):
        rate, threshold = search.dir_at_far(far)
        print(f"DIR at FAR {far:g}: {rate:.4f}, at a threshold of {threshold:.3f} set on these probes")


def search(a):
    """Figure 2: milliseconds and recall."""
    rng = np.random.default_rng(0)
    for count in (int(float(one)) for one in a.people):
        blocks = [_unit(rng, min(50_000, count - k), a.width) for k in range(0, count, 50_000)]
        rows = rng.integers(0, count, 300)
        index = Index(a.width, exact=True)
        index.held, index.count = np.concatenate(blocks), count
        probes = 0.5 * index.held[rows] + np.sqrt(0.75) * _unit(rng, 300, a.width)
        probes = np.concatenate([probes / np.linalg.norm(probes, axis=1, keepdims=True), _unit(rng, 300, a.width)])
        exact = index.search(probes)[1][:, 0]
        print(
            f"{count:,} people, {a.width} numbers: exact {_milliseconds(index, probes[:20]):.2f} ms a probe", flush=True
        )
        if count > 2000:
            index.exact = False
            begin = time.time()
            found = index.search(probes)[1][:, 0]
            built = time.time() - begin
            mated, other = (np.mean(found[part] == exact[part]) for part in (slice(0, 300), slice(300, None)))
            recall = f"recall of people {mated:.4f}, of the nearest stranger {other:.4f}"
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            took = _milliseconds(index, probes[:100])
            print(f"  indexed {took:.2f} ms, built in {built:.0f} s, {recall}, memory {memory:.1f} GB", flush=True)


def _unit(rng, count, width):
    rows = rng.standard_normal((count, width), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _milliseconds(index, probes):
    times = []
    for probe in probes:
        begin = time.perf_counter()
        index.search(probe[None])
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("photos")
    one.add_argument("--model", required=True)
    one.add_argument("--detector", default="mtcnn")
    one.add_argument("--far", type=float, default=0.01)
    one.set_defaults(work=photos)
    one = commands.add_parser("search")
    one.add_argument("--width", type=int, default=512)
    one.add_argument("--people", nargs="+", default=["1e3", "1e5", "1e6"])
    one.set_defaults(work=search)
    a = parser.parse_args()
    a.work(a)


if __name__ == "__main__":
    main()
