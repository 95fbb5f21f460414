"""Faces in: from records, folders, lists and photos to what `train.py` and `evals.py` read.

  python prepare_data.py info    /datasets/faces_emore --picture sheet.jpg
  python prepare_data.py convert /datasets/faces_emore faces --to folder
  python prepare_data.py align   photos aligned --workers 4
  python prepare_data.py check   aligned --eval lfw.bin --json report.json
  python prepare_data.py split   aligned sets --people 100
  python prepare_data.py pairs   sets/held_out own.bin --disjoint-from sets/train
  python prepare_data.py lfw     lfw

as in Keras_insightface:

  python prepare_data.py -D /datasets/faces_emore -T lfw.bin cfp_fp.bin agedb_30.bin

A source is a folder of people, an InsightFace directory or .rec, TFRecord shards, or a list (.csv, .lst, .txt, .npz).
A target is there when it is whole: broken off, the same command goes on. What was left out is named with its reason in
NAME_skipped.csv.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from facetrainer.cli import engine, run
from facetrainer.utils.lazy import later
from facetrainer.utils.system import cores

align, check = later("facetrainer.preparing.align"), later("facetrainer.preparing.check")
convert, info = later("facetrainer.preparing.convert"), later("facetrainer.preparing.info")
insightface, lfw = later("facetrainer.preparing.insightface"), later("facetrainer.preparing.lfw")
pairs, split = later("facetrainer.preparing.pairs"), later("facetrainer.preparing.split")
alignment, lists, sources = (
    later("facetrainer.data.alignment"),
    later("facetrainer.io.lists"),
    later("facetrainer.data.sources"),
)
detect, embedding = later("facetrainer.recognition.detect"), later("facetrainer.evaluation.embedder")
people, report = later("facetrainer.preparing.people"), later("facetrainer.preparing.report")
shards, distill = later("facetrainer.preparing.shards"), later("facetrainer.preparing.distill")

KINDS = ("folder", "rec", "tfrecord", "csv")
LAYOUTS = ("arcface", "sphereface", "facenet")


def run_convert(a):
    """Does `prepare convert`."""
    source = sources.open_source(a.source)
    if a.names:
        names = lists.read_names(a.names)
        source.class_names = [names.get(name, name) for name in source.class_names]
    kind = a.to or ("csv" if a.target.endswith(".csv") else None)
    if kind is None:
        raise ValueError(f"what is {a.target} to be? Give --to {', '.join(KINDS)}.")
    source = insightface.Resized(source, tuple(a.size)) if a.size else source
    given = (source, a.target, kind, a.workers, a.shards, f"{a.source} {a.size or ''}".strip())
    return shards.convert_part(a.shard, *given) if a.shard else convert.convert(*given)


def run_align(a):
    """Does `prepare align`."""
    size = (a.size or [None]) * (2 if len(a.size or [0]) == 1 else 1)
    if len(size) != 2:
        raise ValueError(f"--size: expected height and width, or one number. Received: {size}")
    layout = alignment.LAYOUTS[a.layout].sized(*size, a.margin)
    given = (a.source, a.target, layout, a.detector, a.faces, a.min_face, a.max_side, a.workers or cores())
    return shards.align_part(a.shard, *given) if a.shard else align.align(*given)


def run_embed(a):
    """Does `prepare embed`."""
    if a.shard:
        return shards.embed_part(a.shard, a.source, a.model, a.target, a.batch_size, a.half, a.trusted)
    distill.Data_distiller(
        a.source, a.model, a.target, batch_size=a.batch_size, use_fp16=a.half, recover=True, trusted=a.trusted
    )
    return report.Report("embed", a.source, a.target)


def run_merge(a):
    """Does `prepare merge`."""
    return shards.merge(a.target, a.workers)


def run_pairs(a):
    """Does `prepare pairs`."""
    if a.pairs:
        return pairs.listed(a.source, a.pairs, a.target)
    train = sources.open_source(a.disjoint_from) if a.disjoint_from else None
    return pairs.drawn(sources.open_source(a.source), a.target, a.folds, a.per_fold, a.seed, train, a.source)


def run_split(a):
    """Does `prepare split`."""
    return split.split(
        sources.open_source(a.source), a.target, a.share, a.people, a.least, a.to, a.seed, a.workers, a.source
    )


def run_check(a):
    """Does `prepare check`."""
    source = sources.open_source(a.source)
    if a.shard:
        return shards.check_part(a.shard, source, a.source, a.into, a.size, a.least, a.eval, a.workers)
    report = check.check(source, a.source, a.size and tuple(a.size), a.least, a.eval, a.workers)
    if a.detector:
        check.check_alignment(source, detect.detector(a.detector), report, a.sample)
    if a.model:
        people.check_people(source, embedding.Embedder(a.model, 256, trusted=a.trusted), report, a.eval, a.threshold)
    if a.keep:
        _keep(source, report, a.keep)
    return report.finish(os.path.splitext(a.keep)[0] if a.keep else os.path.basename(os.path.normpath(a.source)))


def _keep(source, report, dest):
    """npz of the images without a row of their own in the report."""
    named = {row["file"] for row in report.rows if row["file"]}
    kept = [i for i in range(len(source)) if source.name(i) not in named]
    sources.write_list(dest, source, kept)
    report.counts["kept"] = len(kept)


def run_info(a):
    """Does `prepare info`."""
    report = info.info(sources.open_source(a.source), a.source, a.picture)
    print(info.text(report))
    return report


def run_lfw(a):
    """Does `prepare lfw`."""
    return lfw.lfw(a.target, a.data_home, a.detector, a.workers or cores())


SOURCE = ("source", {"help": "folder, InsightFace directory, .rec, .tfrecord, .csv, .lst, .txt, .npz"})
TARGET = ("target", {"help": "where to write"})
SEED = ("--seed", {"type": int, "default": 0})
SIZE = {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH")}
COMMANDS: dict[str, tuple[Callable, str, list]] = {
    "convert": (run_convert, "records, folders, shards and lists into one another; images keep their bytes", [
        SOURCE, TARGET,
        ("--to", {"choices": KINDS, "help": "csv where the target's name says so"}),
        ("--names", {"metavar": "FILE", "help": "label<TAB>name lines: names of people"}),
        ("--shards", {"type": int, "default": 1, "help": "files of a tfrecord"}),
        ("--size", {**SIZE, "help": "scale images, which encodes them anew"}),
    ]),
    "align": (run_align, "photos of any size into crops", [
        SOURCE, TARGET,
        ("--layout", {"choices": LAYOUTS, "default": "arcface", "help": "112×112 or 112×96 by five points, 160×160 by the box"}),
        ("--size", {"type": int, "nargs": "+", "metavar": "PIXELS", "help": "of the crops: height and width, or one number for a square"}),
        ("--margin", {"type": int, "help": "pixels around the detector's box, for facenet (32)"}),
        ("--detector", {"default": "mtcnn", "help": "mtcnn, an .onnx of YuNet, SCRFD, RetinaFace or YOLO-face, a .csv of landmarks"}),
        ("--faces", {"choices": ("largest", "central", "all"), "default": "largest"}),
        ("--min-face", {"type": int, "default": 40, "help": "pixels"}),
        ("--max-side", {"type": int, "default": 1024, "help": "larger photos are shrunk before detection"}),
    ]),
    "pairs": (run_pairs, "a verification set: pairs drawn from the source, or listed", [
        SOURCE, ("target", {"help": "the .bin to write"}),
        ("--pairs", {"metavar": "FILE", "help": "LFW's pairs.txt, or lines 'first second 0|1' of paths below the source"}),
        ("--folds", {"type": int, "default": 10}),
        ("--per-fold", {"type": int, "default": 600, "help": "pairs of a fold, half of them of one person"}),
        ("--disjoint-from", {"metavar": "TRAIN", "help": "leave out people of this training set"}),
        SEED,
    ]),
    "split": (run_split, "train and held_out, nobody in both", [
        SOURCE, ("target", {"help": "folder for train and held_out"}),
        ("--share", {"type": float, "default": 0.1, "help": "of the people to hold out"}),
        ("--people", {"type": int, "default": 0, "help": "how many to hold out, instead of a share"}),
        ("--least", {"type": int, "default": 2, "help": "images of a person held out"}),
        ("--to", {"choices": KINDS, "default": "folder"}),
        SEED,
    ]),
    "check": (run_check, "corrupt files, sizes, duplicates, small classes, overlap, misaligned faces, wrong names", [
        SOURCE,
        ("--size", {**SIZE, "help": "expected; else the commonest"}),
        ("--least", {"type": int, "default": 2, "help": "images of a person"}),
        ("--eval", {"nargs": "*", "default": [], "metavar": "BIN", "help": "evaluation sets that must not share images or people"}),
        ("--detector", {"help": "look at alignment with this detector, see align"}),
        ("--sample", {"type": int, "default": 500, "help": "images looked at for alignment"}),
        ("--model", {"help": "find wrong names with this model"}),
        ("--threshold", {"type": float, "help": "cosine from which two names are one person"}),
        ("--keep", {"metavar": "NPZ", "help": "write a list of the images without a fault"}),
        ("--into", {"metavar": "DIR", "help": "with --shard: where the parts meet"}),
    ]),
    "info": (run_info, "counts, histogram, sizes, a sheet of pictures", [
        SOURCE, ("--picture", {"metavar": "JPG", "help": "sheet of 64 images"}),
    ]),
    "embed": (run_embed, "embeddings of a model, with the images (.tfrecord) or their names (.npz)", [
        SOURCE, ("target", {"help": ".npz or .tfrecord"}),
        ("--model", {"required": True, "help": "model file"}),
        ("--batch-size", {"type": int, "default": 256}),
        ("--half", {"action": "store_true", "help": "in 16 bits"}),
    ]),
    "merge": (run_merge, "finishes a task whose parts (--shard) are all done", [TARGET]),
    "lfw": (run_lfw, "Labeled Faces in the Wild, from scikit-learn or its cache", [
        TARGET,
        ("--data-home", {"help": "scikit-learn's data folder"}),
        ("--detector", {"default": "mtcnn", "help": "see align"}),
    ]),
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The arguments of all tasks."""
    main = run.describe("prepare", __doc__)
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (work, text, arguments) in COMMANDS.items():
        one = commands.add_parser(name, help=text, description=text)
        for flag, options in arguments:
            one.add_argument(flag, **options)
        one.add_argument("--workers", type=int, default=0, help="as many as cores unless given")
        run.add_json(one, "report: counts, and every file left out with its reason")
        if name in ("check", "embed"):
            run.add_trusted(one)
        if name in ("convert", "align", "check", "embed"):
            one.add_argument("--shard", metavar="K/N", help="one of N parts, from 0; `merge` finishes them")
            one.add_argument("--engine", choices=("ray",), help="runs --parts parts by Ray, and merges them")
            one.add_argument(
                "--parts", type=int, default=0, metavar="N", help="of --engine; as many as processors unless given"
            )
        one.set_defaults(work=work)
    return main


def old_parser() -> argparse.ArgumentParser:
    """The arguments of Keras_insightface's prepare_data.py."""
    main = run.describe("prepare", __doc__)
    main.add_argument("-D", "--dataset_dir", required=True, help="InsightFace directory")
    main.add_argument("-T", "--test_bins", nargs="*", default=[], help="names of .bin files in it, to make readable")
    main.add_argument("-S", "--save_dir", help="default: {dataset_dir}_112x112_folders")
    return main


def run_old(a) -> None:
    """Does what Keras_insightface's prepare_data.py did."""
    insightface.mxnet_record_to_folder(a.dataset_dir, a.save_dir)
    for name in a.test_bins:
        insightface.mxnet_bin_to_readable(os.path.join(a.dataset_dir, name))


def run_command(a, argv) -> None:
    """Does the task that was named."""
    a.shard = shards.Shard.parse(a.shard) if getattr(a, "shard", None) else None
    if a.command == "check" and bool(a.shard or a.engine) != bool(a.into):
        raise ValueError(
            "check: --into, where the parts meet, goes with --shard or --engine; `merge` of it makes the report."
        )
    alone = [
        f"--{name}" for name in ("detector", "model", "keep") if a.command == "check" and a.into and getattr(a, name)
    ]
    if alone:
        raise ValueError(
            f"check: {', '.join(alone)} needs the whole set at once. Leave out --shard, --engine and --into."
        )
    if getattr(a, "engine", None):
        rest = engine.without(argv, "--engine", "--parts", "--workers", "--json")
        done = engine.run(getattr(a, "target", None) or a.into, rest, a.parts, a.workers or 1)
    else:
        done = a.work(a)
    return done.as_dict()


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; exit codes of `run.call`."""
    argv = sys.argv[1:] if argv is None else argv
    is_old = bool(argv) and argv[0].startswith("-") and argv[0] not in ("-h", "--help")
    return run.call(old_parser(), run_old, argv) if is_old else run.call(parser(), lambda a: run_command(a, argv), argv)
