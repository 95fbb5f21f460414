"""Damaged inputs by the thousand: none may crash, hang, take memory for the asking, write outside its target or run code.

    python tests/io/fuzz.py --count 20000

An input is refused with ValueError, FileNotFoundError or OSError, or read as far as it goes; anything else is a crash, more than
10 seconds a hang. Memory is limited to 6 GB.
"""

import argparse
import collections
import io
import logging
import os
import pickle
import resource
import signal
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import numpy as np

from facetrainer.data import sources
from facetrainer.data import synthetic as draw
from facetrainer.data.images import decode
from facetrainer.io import evalbin, lists, recordio
from facetrainer.preparing.convert import convert

REFUSALS = (ValueError, FileNotFoundError, OSError)
SECONDS = 10


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three of: cut off, bits flipped, zeros, a huge length, a wrong beginning, a piece doubled or taken out."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(max(len(data), 1)))
        match rng.integers(8):
            case 0:
                del data[at:]
            case 1:
                for place in rng.integers(max(len(data), 1), size=rng.integers(1, 20)):
                    if data:
                        data[place] ^= 1 << int(rng.integers(8))
            case 2:
                data[at : at + 64] = bytes(len(data[at : at + 64]))
            case 3:
                data[at : at + 4] = rng.choice(
                    [b"\xff\xff\xff\xff", b"\x00\x00\x00\x40", b"\xff\xff\xff\x7f", b"\x00\xca\x9a\x3b"]
                )
            case 4:
                data[:4] = rng.bytes(4)
            case 5:
                data[at:at] = data[at : at + int(rng.integers(1, 200))]
            case 6:
                del data[at : at + int(rng.integers(1, 200))]
            case 7:
                data[: min(at, 64)] = rng.bytes(min(at, 64))
    return bytes(data)


class Evil:
    """A pickle that runs code when it is opened the ordinary way."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return (open, (self.flag, "w"))


NAMES = [
    "../out",
    "..",
    "/etc/x",
    "a/../../b",
    "C:\\x",
    "..\\..\\x",
    "a\0b",
    "",
    ".",
    "con",
    "x" * 5000,
    "a:b",
    "ü" * 300,
    "~/x",
    "\n",
]


class Inputs:
    """Whole files of every kind, and how each is read."""

    def __init__(self, home: str):
        self.home, self.people = home, draw.people(3, 3, seed=0)
        os.environ["FACE_CACHE"] = os.path.join(home, "cache")
        recordio.write_faces(os.path.join(home, "train"), self.people)
        flat = [image for images in self.people for image in images]
        sources.write_shard(
            os.path.join(home, "s.tfrecord"), [(i, k % 3, np.ones(4, np.float32), "p") for k, i in enumerate(flat)]
        )
        with open(os.path.join(home, "names.txt"), "w") as file:
            file.write("0\tann\t3\n1\tbob\t3\n2\tcid\t3\n")
        self.bins = [pickle.dumps((flat[:4], [True, False]), protocol) for protocol in (2, 3, 4, 5)]
        self.bins += [
            pickle.dumps(([np.frombuffer(i, np.uint8) for i in flat[:4]], np.array([True, False])), p)
            for p in (2, 4, 5)
        ]
        array = io.BytesIO()
        np.savez(array, image_names=np.array(["a", "b"]), image_classes=np.array([0, 1]))
        self.npz, self.jpeg = array.getvalue(), flat[0]
        self.rec, self.idx, self.shard = (self.bytes(name) for name in ("train.rec", "train.idx", "s.tfrecord"))
        self.kinds = [name[4:] for name in dir(self) if name.startswith("try_")]

    def bytes(self, name):
        with open(os.path.join(self.home, name), "rb") as file:
            return file.read()

    def put(self, name, data):
        path = os.path.join(self.home, "bad", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def walk(self, source):
        """Everything a run would read."""
        for i in range(len(source)):
            try:
                source.name(i)
                decode(source.read(i), (112, 112))
            except REFUSALS:
                pass

    def try_rec(self, rng):
        self.put("train.idx", self.idx)
        self.walk(sources.open_source(self.put("train.rec", damage(self.rec, rng))))

    def try_rec_without_idx(self, rng):
        path = self.put("alone.rec", damage(self.rec, rng))
        self.walk(sources.open_source(path))

    def try_idx(self, rng):
        self.put("other.rec", self.rec)
        self.put("other.idx", damage(self.idx, rng))
        self.walk(sources.open_source(os.path.join(self.home, "bad", "other.rec")))

    def try_bin(self, rng):
        images, _ = evalbin.read_bin(self.put("a.bin", damage(self.bins[rng.integers(len(self.bins))], rng)))
        for image in images:
            decode(image, (112, 112))

    def try_evil_bin(self, rng):
        flag = os.path.join(self.home, "ran")
        images = [Evil(flag), *self.people[0][:1]]
        evil = pickle.dumps((images, [Evil(flag)] if rng.random() < 0.5 else [True]), int(rng.integers(2, 6)))
        try:
            evalbin.read_bin(self.put("e.bin", evil if rng.random() < 0.5 else damage(evil, rng)))
        finally:
            assert not os.path.exists(flag), "the pickle ran its code"

    def try_jpeg(self, rng):
        decode(damage(self.jpeg, rng), (112, 112))

    def try_shard(self, rng):
        self.walk(sources.open_source(self.put("s.tfrecord", damage(self.shard, rng))))

    def try_npz(self, rng):
        self.walk(sources.open_source(self.put("l.npz", damage(self.npz, rng))))

    def try_text(self, rng):
        text = [
            b"image,person\na.jpg,ann\nb.jpg,bob\n",
            b"0\t1.0\ta.jpg\n1\t2.0\tb.jpg\n",
            b"1 2\nann 1 2\nann 1 bob 2\n",
            b"3,112,112",
        ]
        path = self.put("l.csv", damage(text[rng.integers(4)], rng))
        (lists.read_list, lists.read_pairs, lists.read_property, lists.read_names)[rng.integers(4)](path)

    def try_names(self, rng):
        """Names that lead elsewhere: all files must lie below the target."""
        with tempfile.TemporaryDirectory(dir=self.home) as inner:
            source = sources.open_source(os.path.join(self.home, "train.rec"))
            source.class_names = [str(name) for name in rng.choice(NAMES, 3)]
            dest = os.path.join(inner, "deep", "dest")
            os.makedirs(os.path.dirname(dest))
            convert(source, dest, "folder", workers=1)
            inside = sum(len(files) for _, _, files in os.walk(dest))
            everywhere = sum(len(files) for _, _, files in os.walk(inner))
            assert inside == everywhere == len(source), f"{everywhere - inside} files outside, {inside} inside"


def late(*_):
    raise TimeoutError(f"more than {SECONDS} seconds")


def fuzz(count: int, seed: int = 0) -> dict[str, collections.Counter]:
    """`count` inputs → outcomes by kind: "read", "refused", and what crashed with its last line."""
    logging.getLogger("facetrainer").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGALRM, late)
    outcomes = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as home:
        inputs = Inputs(home)
        for number in range(count):
            kind = inputs.kinds[number % len(inputs.kinds)]
            outcomes[kind][_one(getattr(inputs, f"try_{kind}"), np.random.default_rng((seed, number)), number)] += 1
    return dict(outcomes)


def _one(attempt, rng, number):
    signal.alarm(SECONDS)
    try:
        attempt(rng)
        return "read"
    except TimeoutError as error:
        return f"hang in input {number}: {error}"
    except REFUSALS:
        return "refused"
    except Exception:
        return f"crash in input {number}: {traceback.format_exc(limit=-1).strip()}"
    finally:
        signal.alarm(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    outcomes = fuzz(arguments.count, arguments.seed)
    for kind, found in outcomes.items():
        print(
            f"{kind:>16}  {found['read']:>6} read {found['refused']:>6} refused",
            *(k for k in found if k not in ("read", "refused")),
        )
    bad = sum(n for found in outcomes.values() for outcome, n in found.items() if outcome not in ("read", "refused"))
    print(
        f"{arguments.count} inputs, {bad} crashes and hangs, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB at most"
    )
    return bool(bad)


if __name__ == "__main__":
    raise SystemExit(main())
