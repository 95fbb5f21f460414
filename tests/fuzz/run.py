"""Damaged and hostile inputs by the thousand: none may crash, hang, take memory for the asking, write elsewhere or run anything.

python tests/fuzz/run.py                                     the numbers of COUNTS, in all more than 100,000
python tests/fuzz/run.py --targets bin image --count 500
python tests/fuzz/run.py --targets bin --atheris 600         guided by coverage, for so many seconds (pip install atheris)

An input is refused with ValueError, FileNotFoundError or OSError, or read as far as it goes. Told apart: crashes (another exception, or the
death of the process), hangs (more than 10 seconds), memory (more than twice the file and 64 MB; of an image, of its pixels too), files
outside the folder, functions called (processes, sockets, files opened for writing elsewhere, by Python's audit events).
"""

import argparse
import collections
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(os.path.dirname(HERE))]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

COUNTS = {"rec": 10_000, "idx": 8_000, "bin": 25_000, "params": 10_000, "json": 2_000, "pt": 8_000, "onnx": 4_000, "tfrecord": 8_000,
          "image": 20_000,
          "npz": 8_000, "state": 6_000, "text": 8_000, "keras": 3_000, "h5": 2_000, "names": 500,
          "header": 4_000, "photos": 4_000, "thresholds": 4_000, "pairs": 8_000, "facescrub": 8_000}  # fmt: skip
SECONDS = 10


def worker(names, begin, count, seed, home):
    """Inputs `begin` ... of the first target and all of the others in this process; lines of JSON for what comes of them."""
    import hostile
    from targets import Corpus
    from watching import Watch, late

    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, late)
    corpus, watch = Corpus.of(home), Watch(home)
    outside = set(os.listdir(os.path.dirname(home)))
    for name in names.split(","):
        one_target(name, range(begin, count), seed, corpus.seeds[name], watch)
        extra = set(os.listdir(os.path.dirname(home))) - outside
        if extra or os.path.exists(os.environ[hostile.FLAG]):
            print(json.dumps({"target": name, "number": -1, "fault": f"files outside: {sorted(extra)}"}), flush=True)
        begin = 0


def one_target(name, numbers, seed, seeds, watch):
    import numpy as np
    from targets import TARGETS, mutate
    from watching import attempt

    found = collections.Counter()
    for number in numbers:
        rng = np.random.default_rng((seed, list(TARGETS).index(name), number))
        whole = seeds[number % len(seeds)]
        if number % 50 == 0:
            print(json.dumps({"target": name, "at": number}), flush=True)
        outcome = attempt(TARGETS[name], whole if number < len(seeds) else mutate(name, whole, rng), watch.home, watch)
        found[outcome if outcome in ("read", "refused") else "fault"] += 1
        if outcome not in ("read", "refused"):
            print(json.dumps({"target": name, "number": number, "fault": outcome[-600:]}), flush=True)
    print(json.dumps({"target": name, "done": dict(found)}), flush=True)


def fuzz(names, count, seed):
    """Targets in processes of their own, one after another; a death is a crash, and the rest goes on behind it.

    Yields (target, how many were read, refused and faults, [(input, fault)]).
    """
    names, begin, faults, total = list(names), 0, [], collections.Counter()
    while names:
        for line in _lines(",".join(names), begin, count, seed):
            if "fault" in line:
                faults.append((line["number"], line["fault"]))
            if "at" in line:
                begin = line["at"]
            if "done" in line:
                total.update(line["done"])
                yield names.pop(0), total, faults
                begin, faults, total = 0, [], collections.Counter()
        if names:
            faults.append((begin, "the process died among the fifty inputs from here"))
            total["fault"] += 1
            begin += 50


def _lines(names, begin, count, seed):
    """What a worker prints, as it comes."""
    with tempfile.TemporaryDirectory() as outer:
        home = os.path.join(outer, "home")
        os.makedirs(home)
        call = [sys.executable, __file__, "--worker", names, str(begin), str(count), str(seed), home]
        with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            yield from (json.loads(line) for line in process.stdout if line.startswith("{"))


def guided(name, seconds):
    """The same target under atheris, for so many seconds."""
    import atheris

    with atheris.instrument_imports(include=["facetrainer"]):
        from targets import REFUSALS, TARGETS, Corpus

    with tempfile.TemporaryDirectory() as home:
        corpus = Corpus.of(home)
        folder = os.path.join(home, "corpus")
        os.makedirs(folder)
        for number, data in enumerate(corpus.seeds[name]):
            with open(os.path.join(folder, str(number)), "wb") as file:
                file.write(data)

        def one(data):
            with contextlib.suppress(REFUSALS):
                TARGETS[name](data, home)

        logging.disable(logging.CRITICAL)
        atheris.Setup(
            [sys.argv[0], folder, f"-max_total_time={seconds}", f"-timeout={SECONDS}", "-rss_limit_mb=6000"], one
        )
        atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=list(COUNTS), choices=COUNTS)
    parser.add_argument("--count", type=int, help="inputs of each target; those of COUNTS unless given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", type=int, metavar="SECONDS")
    a = parser.parse_args()
    if a.atheris:
        return guided(a.targets[0], a.atheris)
    tried = bad = 0
    groups = [(a.targets, a.count)] if a.count else [([name], COUNTS[name]) for name in a.targets]
    for names, count in groups:
        for name, total, faults in fuzz(names, count, a.seed):
            print(
                f"{name:>9}  {total['read']:>6} read {total['refused']:>6} refused {total['fault']:>4} faults",
                flush=True,
            )
            for number, fault in faults[:20]:
                print(f"           input {number}: {fault}", flush=True)
            tried, bad = tried + count, bad + len(faults)
    print(f"{tried} inputs, {bad} faults")
    return bool(bad)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6])
    else:
        raise SystemExit(main())
