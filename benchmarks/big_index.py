"""What millions of samples cost before the first batch: seconds and bytes a sample, on an index without images.

    python -m benchmarks.big_index --images 5800000 --people 85000

A `.rec` of the size of MS1MV2 is written with holes instead of JPEGs (headers and identity records are real, as is the `.idx`), and
the kept index of a folder of as many files. Each is opened in a process of its own, and one epoch's order is drawn.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMAGE = 6000  # bytes from record to record

PROBE = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
from facetrainer import data
import numpy as np, pandas
from facetrainer.data import sources
def held():  # without pages of files, which the system takes back when it needs them
    with open("/proc/self/status") as f: return next(int(line.split()[1]) * 1024 for line in f if line.startswith("RssAnon"))
before, begin = held(), time.perf_counter()
source = sources.open_source(sys.argv[2])
opened, index = time.perf_counter() - begin, held() - before
begin = time.perf_counter()
order = data.Shuffled(source.labels, 512)(0, 0)
shuffled = time.perf_counter() - begin
print(json.dumps({"images": len(source), "people": len(source.class_names), "open, s": round(opened, 2), "index, bytes a sample":
    round(index / len(source), 1), "an epoch's order, s": round(shuffled, 2), "and order": round((held() - before) / len(source), 1)}))
"""


def write_record(stem, images, people):
    """`stem.rec` with holes and `stem.idx`."""
    import numpy as np

    from facetrainer.io import recordio

    counts = np.full(people, images // people)
    counts[: images - counts.sum()] += 1
    records, payload = recordio.face_payloads(counts.tolist(), lambda i: b"")
    first = 1 + np.cumsum(counts) - counts
    with open(stem + ".rec", "wb") as rec, open(stem + ".idx", "w") as idx:
        for k in (0, *first.tolist(), *range(images + 1, records)):
            rec.seek(k * IMAGE)
            recordio._write_record(rec, payload(k))
        rec.truncate(records * IMAGE)
        for begin in range(0, records, 1 << 20):
            idx.write("".join(f"{k}\t{k * IMAGE}\n" for k in range(begin, min(begin + (1 << 20), records))))


def write_folder(root, images, people):
    """Empty folders, and the index that a walk over them with their images would have kept."""
    import numpy as np

    from facetrainer.data import sources
    from facetrainer.io import cached

    for k in range(people):
        os.makedirs(os.path.join(root, str(k)))
    found = sources._walk(root)
    per = images // people
    names = np.frombuffer(b"".join(b"%08d.jpg" % i for i in range(per * people)), np.uint8)
    counts = np.where(np.arange(len(found["counts"])) == 0, 0, per)
    found.update(counts=counts, names=names, name_ends=np.arange(per * people + 1, dtype=np.uint32) * 12)
    cached.arrays(os.path.join(root, ""), lambda: found, lambda kept: False)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "big_index", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5_800_000)
    parser.add_argument("--people", type=int, default=85_000)
    a = parser.parse_args(argv)
    sys.path.insert(0, ROOT)
    with tempfile.TemporaryDirectory() as home:
        os.environ["FACE_CACHE"] = os.path.join(home, "cache")
        os.makedirs(os.path.join(home, "rec"))
        write_record(os.path.join(home, "rec", "train"), a.images, a.people)
        write_folder(os.path.join(home, "folder"), a.images, a.people)
        for kind in ("rec", "folder"):
            call = [sys.executable, "-c", PROBE, ROOT, os.path.join(home, kind)]
            print(kind, json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
