"""Any folder of people: who is whom, who is nobody, and which pairs go wrong.

  python eval_folder.py -d faces -m model.keras
  python eval_folder.py -d faces -m r50.onnx --json faces.json --worst worst.jpg --slices attributes.csv
  python eval_folder.py -d photos -D -m model.keras                    photos are aligned first (needs mtcnn)
  python eval_folder.py -d faces -m model.keras -B pairs.bin           a verification set of hard pairs

Leave-one-out: an image is compared with everybody's mean, its own person's mean without itself. Open set: half of the people are enrolled
with one image each, their other images and everybody else's are probes; FNIR at FPIR, in NIST's words, with intervals over people. TAR@FAR
is over all pairs of images, in which people with many images weigh most; "people alike" gives each person, and each two people, one vote.
"""

from __future__ import annotations

import argparse
import os

from facetrainer.cli import run, studied
from facetrainer.utils.lazy import later
from facetrainer.utils.system import cores
from facetrainer.utils.text import shown

plots = later("facetrainer.reporting.plots")
aligning, reporting = later("facetrainer.preparing.align"), later("facetrainer.reporting.folder")
alignment, pages = later("facetrainer.data.alignment"), later("facetrainer.reporting.study")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("folder", __doc__)
    main.add_argument("-d", "--data_path", required=True, help="folder of people, .rec, list, shards")
    main.add_argument("-m", "--model_file", help="not needed where --save_embeddings is there")
    main.add_argument("-b", "--batch_size", type=int, default=64)
    main.add_argument(
        "-D", "--detection", action="store_true", help="align photos first, into {data_path}_aligned_112_112"
    )
    main.add_argument("-S", "--save_embeddings", metavar="NPZ", help="keep embeddings, or read them")
    main.add_argument("-B", "--save_bins", metavar="BIN", help="write a verification set")
    main.add_argument("--json", "--report", metavar="FILE", help="every number")
    run.add_study(main)
    main.add_argument(
        "--worst", metavar="JPG", help="picture of the worst pairs: different people left, one person right"
    )
    main.add_argument("--slices", metavar="CSV", help="image or person, and attributes: metrics of each group")
    run.add_trusted(main)
    main.add_argument("--roc", metavar="PNG", help="ROC of all pairs of images, and with all people alike")
    return main


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; exit codes of `run.call`."""
    return run.call(parser(), run.with_command("folder", _run, argv), argv)


def _run(a):
    if a.page:
        pages.writer_of(a.page)
    path = _aligned(a.data_path) if a.detection else a.data_path
    if not a.model_file and not (a.save_embeddings and os.path.exists(a.save_embeddings)):
        raise ValueError("give a model with -m, or embeddings kept before with -S.")
    folder = reporting.Eval_folder(a.model_file, path, a.batch_size, a.save_embeddings, a.trusted)
    found = folder.report()
    for name, value in found.items():
        print(f"{name:>28}  {value:,}" if isinstance(value, int) else f"{name:>28}  {shown(value)}")
    searched = folder.searched(a.bootstrap)
    if searched:
        print(f"{'open set':>28}  {studied.rates(searched['rates'])}")
    if a.slices:
        print(folder.slices(a.slices).to_string(index=False, float_format=lambda value: f"{value:.4f}"))
    if a.worst:
        folder.worst_sheet(a.worst)
    if a.roc:
        name = os.path.basename(os.path.normpath(a.data_path))
        curves = {f"{name}, all pairs": folder.all_pairs(), f"{name}, people alike": folder.all_people()}
        plots.roc(curves, a.roc)
    if a.save_bins:
        folder.generate_eval_pair_bin(a.save_bins)
    found["search"] = {"half of the people": searched} if searched else {}
    protocol = {
        "gallery": "half of the people with two images or more, one image each",
        "score": "cosine",
        "mirrored": "no",
    }
    name = os.path.basename(os.path.normpath(a.data_path))
    return studied.told(a, [studied.result(a, a.model_file, name, found, protocol)])[0]


def _aligned(path):
    dest = os.path.normpath(path) + "_aligned_112_112"
    if not os.path.exists(dest):
        aligning.align(path, dest, alignment.LAYOUTS["arcface"], workers=cores())
    return dest
