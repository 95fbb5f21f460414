"""Fine-tuning on 100 people with two photos each, who were never trained on: they, everybody else, and the old people, before and after.

FACE_DATA=/data python -m benchmarks.finetuning --model checkpoints/lfw_distilled_basic_model_latest.keras

The people are drawn from `lfw/lfw_dev.bin`; its pairs of other people are the set that neither training saw. `facetrainer finetune` is
called as a user would, with LFW's training people as the old data.
"""

import argparse
import os

import cv2
import numpy as np

from facetrainer.cli import finetune
from facetrainer.data.images import decode, encode, grey
from facetrainer.evaluation import read_pairs
from facetrainer.io import evalbin


def poor(data, pixels):
    """A photo as a poor camera gives it."""
    image = decode(data)
    small = cv2.resize(image, (pixels, pixels), interpolation=cv2.INTER_AREA)
    return encode(np.repeat(grey(cv2.resize(small, image.shape[1::-1])), 3, axis=2), quality=70)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--pixels", type=int, default=0, help="as from a poor camera: grey, shrunk to so many pixels and back"
    )
    parser.add_argument("--no-old", action="store_true", help="without old data")
    a = parser.parse_args()
    home = os.path.join(os.environ["FACE_DATA"], "lfw")
    pairs = read_pairs(os.path.join(home, "lfw_dev.bin"))
    people, rng = pairs.people, np.random.default_rng(a.seed)
    rows = np.flatnonzero(pairs.same)
    _, first = np.unique(people[0, rows], return_index=True)
    chosen = rng.choice(rows[first], a.people, replace=False)
    for row in chosen:
        folder = os.path.join("people", f"person{people[0, row]:04d}")
        os.makedirs(folder, exist_ok=True)
        for k in (0, 1):
            with open(os.path.join(folder, f"{k}.jpg"), "wb") as file:
                file.write(poor(pairs.images[2 * row + k], a.pixels) if a.pixels else pairs.images[2 * row + k])
    rest = np.flatnonzero(~np.isin(people, people[:, chosen]).any(axis=0))
    evalbin.write_bin(
        "strangers.bin", [pairs.images[2 * row + k] for row in rest for k in (0, 1)], pairs.same[rest].tolist()
    )
    print(f"{a.people} people with two photos; {len(rest)} pairs of others in strangers.bin")
    old = [] if a.no_old else ["--old", home]
    arguments = [
        "people",
        "--from",
        a.model,
        "--detector",
        "aligned",
        *old,
        "--old-eval",
        "strangers.bin",
        "--seed",
        str(a.seed),
    ]
    raise SystemExit(finetune.main(arguments))


if __name__ == "__main__":
    main()
