"""A published model for your own people: align, check, split, train, compare, thresholds, export.

  facetrainer finetune photos --from r50.pt
  facetrainer finetune photos --from r50.pt --old /data/ms1mv3 --old-eval lfw.bin --export litert

photos holds one folder a person. A fifth of the people is held out (of fewer than twenty, one image of each); the new model is kept only if
it is better on what was held out and no worse than half a point on old people. All is written to photos_finetuned: model.keras with its
thresholds, report.html, result.json.
"""

from __future__ import annotations

import argparse
import os

from facetrainer.cli import run
from facetrainer.utils.lazy import later
from facetrainer.utils.system import cores

finetuning, page = later("facetrainer.finetuning"), later("facetrainer.finetuning.page")
tune = later("facetrainer.finetuning.tune")
recognition = later("facetrainer.recognition")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("finetune", __doc__)
    main.add_argument("photos", help="folder with one folder a person")
    main.add_argument(
        "--from", dest="model", metavar="MODEL", help="model file: .keras, .h5, .pt, .onnx, MXNet's (FACE_MODEL)"
    )
    main.add_argument("-o", "--output", metavar="FOLDER", help="photos_finetuned unless given")
    main.add_argument(
        "--detector", default="mtcnn", help="mtcnn, an .onnx file, or aligned where photos are crops already"
    )
    main.add_argument(
        "--old", metavar="DATA", help="data like those that the model was trained on, so that it does not forget"
    )
    main.add_argument("--old-share", type=float, default=0.5, help="part of the images that are old ones (0.5)")
    main.add_argument("--old-eval", nargs="+", default=[], metavar="SET", help=".bin files on which not to lose")
    main.add_argument("--epochs", type=int, help="in place of the recipe's")
    main.add_argument("--export", nargs="+", default=[], choices=("litert", "onnx"), help="also write it for use")
    main.add_argument("--seed", type=int, default=0)
    run.add_json(main, "the same as result.json of the output")
    run.add_trusted(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; exit codes of `run.call`."""
    return run.call(parser(), _run, argv)


def _run(a):
    if not 0 <= a.old_share < 1:
        raise ValueError(f"--old-share: expected a part from 0 to below 1. Received: {a.old_share:g}")
    output = a.output or os.path.normpath(a.photos) + "_finetuned"
    result = finetuning.finetune(
        a.photos, recognition.choose(a.model), output, a.detector, a.old, a.old_share, a.old_eval, a.epochs, a.export, a.seed,
        cores(), a.trusted,
    )  # fmt: skip
    result.files.append(page.write(os.path.join(output, "report.html"), result))
    for name, before in result.before.items():
        after = result.after[name].numbers
        for what, (value, low, high) in before.numbers.items():
            told = "{:.4f} ({:.4f}–{:.4f})".format
            print(f"{name:>12}  {what:>14}  {told(value, low, high)} -> {told(*after[what])}")
    for name, (before, after) in result.old_sets.items():
        print(f"{os.path.basename(name):>12}  10-fold accuracy  {before:.4f} -> {after:.4f}")
    print(result.why)
    print("written:", *result.files, sep="\n  ")
    return tune.as_dict(result)
