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

COUNTS = {"rec": 10_000, "idx": 8_000, "bin": 25_000, "params": 10_000, "pt": 8_000, "onnx": 4_000, "tfrecord": 8_000, "image": 20_000,
          "npz": 8_000, "state": 6_000, "text": 8_000, "keras": 3_000, "h5": 2_000, "names": 500}  # fmt: skip
SECONDS = 10


def worker(name, begin, count, seed, home):
    """Inputs `begin` … of one target in this process; a line of JSON each thousand, and at every fault."""
    import hostile
    import numpy as np
    from targets import TARGETS, Corpus, mutate
    from watching import Watch, attempt, late

    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, late)
    corpus, watch, found = Corpus.of(home), Watch(home), collections.Counter()
    seeds, outside = corpus.seeds[name], set(os.listdir(os.path.dirname(home)))
    for number in range(begin, begin + count):
        rng = np.random.default_rng((seed, list(TARGETS).index(name), number))
        whole = seeds[number % len(seeds)]
        data = whole if number < len(seeds) else mutate(name, whole, rng)
        print(json.dumps({"at": number}), flush=True) if number % 50 == 0 else None
        outcome = attempt(TARGETS[name], data, home, watch)
        found[outcome if outcome in ("read", "refused") else "fault"] += 1
        if outcome not in ("read", "refused"):
            print(json.dumps({"number": number, "fault": outcome[-600:]}), flush=True)
    extra = set(os.listdir(os.path.dirname(home))) - outside
    if extra or os.path.exists(os.environ[hostile.FLAG]):
        print(json.dumps({"number": -1, "fault": f"files outside: {sorted(extra)}"}), flush=True)
    print(json.dumps({"done": dict(found)}), flush=True)


def fuzz(name, count, seed):
    """One target in processes of its own → read, refused, [(input, fault)]; a death is a crash, and the rest goes on behind it."""
    total, faults, begin = collections.Counter(), [], 0
    while begin < count:
        with tempfile.TemporaryDirectory() as outer:
            home = os.path.join(outer, "home")
            os.makedirs(home)
            call = [sys.executable, __file__, "--worker", name, str(begin), str(count - begin), str(seed), home]
            done = subprocess.run(call, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        faults += [(one["number"], one["fault"]) for one in lines if "fault" in one]
        finished = [one["done"] for one in lines if "done" in one]
        if finished:
            total.update(finished[0])
            break
        at = max((one["at"] for one in lines if "at" in one), default=begin)
        faults.append(
            (at, f"the process died with {done.returncode} among the fifty inputs from here: {done.stderr[-300:]}")
        )
        total["fault"] += 1
        begin = at + 50
    return total, faults


def guided(name, seconds):
    """The same target under atheris, for so many seconds."""
    import atheris
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

        atheris.instrument_all()
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
    for name in a.targets:
        count = a.count or COUNTS[name]
        total, faults = fuzz(name, count, a.seed)
        print(
            f"{name:>9}  {total['read']:>6} read {total['refused']:>6} refused {total['fault']:>4} faults", flush=True
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
