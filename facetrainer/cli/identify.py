"""One-to-many search: probes in a gallery, with distractors; TinyFace, MegaFace, or your own.

  facetrainer identify -m r50.keras --tinyface tinyface                             rank-1, 5, 10 among 157,871 faces
  facetrainer identify -m r50.keras --probes faces/probes --gallery faces/enrolled  FNIR at FPIR, rank-N
  facetrainer identify -m r50.keras --probes facescrub_features_list.json facescrub --one-at-a-time
                       --distractors megaface_features_list.json_1000000_1 megaface

A set is a folder of people, .rec, list or shards, or a list of MegaFace's and the folder of its images. Faces are aligned before, as in
training. Probes of people who are not in the gallery are non-mated searches, without which there is no FPIR. Intervals are over the people
searched for.
"""

from __future__ import annotations

import argparse
import os

from facetrainer.cli import run, studied
from facetrainer.utils.lazy import later

searching, evals = later("facetrainer.evaluation.identify"), later("facetrainer.evaluation")
pages = later("facetrainer.reporting.study")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("identify", __doc__)
    main.add_argument("-m", "--model", required=True, help="model file of any kind that evaluate takes")
    main.add_argument("-b", "--batch_size", type=int, default=128)
    main.add_argument("--tinyface", metavar="FOLDER", help="TinyFace, its Testing_Set in it")
    for name, text in (
        ("probes", "who is searched for"),
        ("gallery", "who is enrolled"),
        ("distractors", "faces of nobody"),
    ):
        main.add_argument(f"--{name}", nargs="+", metavar=("SET", "IMAGES"), help=text)
    main.add_argument(
        "--one-at-a-time", action="store_true", help="MegaFace: each image of a probe's person in turn is the gallery"
    )
    main.add_argument("-F", "--no_flip", action="store_true", help="the image alone, without its mirror image")
    run.add_json(main, "every number, with its protocol")
    run.add_study(main)
    run.add_trusted(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Prints the results; exit codes of `run.call`."""
    return run.call(parser(), run.with_command("identify", _run, argv), argv)


def _run(a):
    _check(a)
    name, sets = _sets(a)
    embed, flip = evals.Embedder(a.model, a.batch_size, trusted=a.trusted), "" if a.no_flip else "sum"
    probes, gallery, distractors = (one and searching.Embedded.of(one, embed, flip) for one in sets)
    found = (
        searching.one_at_a_time(probes, distractors)
        if a.one_at_a_time
        else searching.closed(probes, gallery, distractors, a.bootstrap)
    )
    counts = ", ".join(f"{value:,} {key}" for key, value in found.items() if key != "rates")
    print(f"{name}: {counts}\n  {studied.rates(found['rates'])}")
    protocol = {"set": name, "score": "cosine", "mirrored": "embedding added" if flip else "no",
                "gallery": "one image at a time" if a.one_at_a_time else "all of it, the nearest of a person's counts"}  # fmt: skip
    return studied.told(a, [studied.result(a, a.model, name, {"search": {"gallery": found}}, protocol)])


def _check(a):
    """Tells what is wrong before the work is done."""
    needed = ("probes", "distractors") if a.one_at_a_time else ("probes", "gallery")
    given = [name for name in ("probes", "gallery", "distractors") if getattr(a, name)]
    if a.tinyface and given:
        raise ValueError(f"--tinyface brings its own sets: leave out --{', --'.join(given)}.")
    if not a.tinyface and any(name not in given for name in needed):
        raise ValueError(f"give --tinyface, or --{' and --'.join(needed)}.")
    if a.one_at_a_time and (a.gallery or a.tinyface):
        raise ValueError("--one-at-a-time makes the gallery of the probes: leave out --gallery and --tinyface.")
    if any(len(getattr(a, name)) > 2 for name in given):
        raise ValueError("a set is one path, or a list and the folder of its images.")
    if a.page:
        pages.writer_of(a.page)


def _sets(a):
    if a.tinyface:
        return "tinyface", searching.tinyface(a.tinyface)
    opened = [searching.open_set(*one) if one else None for one in (a.probes, a.gallery, a.distractors)]
    return os.path.basename(os.path.normpath(a.probes[0])), opened
