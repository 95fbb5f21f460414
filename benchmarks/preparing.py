"""`prepare_data.py` on real data: a record file into folders beside a bare loop that does nothing else, and alignment of photos.

python -m benchmarks.preparing --data /data/lfw --photos /data/photos
"""

import argparse
import os
import statistics
import struct
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def bare(data, dest):
    """Read every record by its .idx, write every image: no check, no resuming, no bar."""
    made = set()
    with open(f"{data}/train.rec", "rb") as rec, open(f"{data}/train.idx") as idx:
        for line in idx:
            key, offset = line.split("\t")
            rec.seek(int(offset))
            _, word = struct.unpack("<II", rec.read(8))
            payload = rec.read(word & 0x1FFFFFFF)
            flag, label = struct.unpack_from("<If", payload)
            if flag:
                continue
            folder = f"{dest}/{int(label)}"
            if folder not in made:
                os.makedirs(folder)
                made.add(folder)
            with open(f"{folder}/{key}.jpg", "wb") as file:
                file.write(payload[24:])


def timed(work):
    """→ wall seconds, CPU-seconds."""
    before, begin = os.times(), time.perf_counter()
    work()
    after = os.times()
    return time.perf_counter() - begin, after.user + after.system - before.user - before.system


def folders(data, rounds):
    from facetrainer.data import sources
    from facetrainer.preparing.convert import convert

    ways = {
        "bare loop": lambda dest: bare(data, dest),
        "convert": lambda dest: convert(sources.open_source(data), dest, "folder"),
        "convert, one thread": lambda dest: convert(sources.open_source(data), dest, "folder", workers=1),
    }
    found, count = {name: [] for name in ways}, len(sources.open_source(data))
    for _ in range(rounds):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as home:
                found[name].append(timed(lambda way=way, home=home: way(os.path.join(home, "faces"))))
    for name, times in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:>20}  {count / wall:8,.0f} images/s  {count / cpu:8,.0f} images/CPU-s", flush=True)


def photos(path, workers):
    import numpy as np

    from facetrainer.data.alignment import LAYOUTS
    from facetrainer.preparing.align import align
    from facetrainer.recognition.detect import read_landmarks

    known = read_landmarks(os.path.join(path, "landmarks.csv"))
    with tempfile.TemporaryDirectory() as home:
        dest = os.path.join(home, "aligned")
        wall, _ = timed(lambda: align(path, dest, LAYOUTS["arcface"], which="central", workers=workers))
        with open(os.path.join(dest, "landmarks.csv"), encoding="utf-8") as file:
            rows = [line.rstrip("\n").split(",") for line in file][1:]
    distance = []
    for _, photo, _, *points in rows:
        truth = known[os.path.relpath(photo, path)]
        off = np.linalg.norm(np.array(points, float).reshape(5, 2) - truth, axis=1).mean()
        distance.append(off / np.linalg.norm(truth[1] - truth[0]))
    print(
        f"{len(rows)} of {len(known)} photos, {len(rows) / wall:.1f} a second, {workers} processes, their start included; distance to the "
        f"landmarks given: mean {np.mean(distance):.2%} of the eyes' distance, worst {np.max(distance):.2%}"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "preparing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder with train.rec")
    parser.add_argument("--photos", help="folder of people with landmarks.csv")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    a = parser.parse_args(argv)
    sys.path.insert(0, ROOT)
    if a.data:
        folders(a.data, a.rounds)
    if a.photos:
        photos(a.photos, a.workers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
