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

import argparse
import logging
import os
import shutil
import sys

from faces.align import LAYOUTS
from formats import evalbin, lists, sources
from formats.images import decode, encode
from prepare import align, check, convert, info, pairs, split
from prepare.report import Report
from runs import cli

log = logging.getLogger("face")


# ----------------------------------------------------------------------------------------------------------- the seed's


def mxnet_record_to_folder(dataset_dir: str, save_dir: str | None = None) -> str:
    """InsightFace directory → folder of people, `{dataset_dir}_112x112_folders` unless given."""
    dest = save_dir or os.path.normpath(dataset_dir) + "_112x112_folders"
    if os.path.exists(dest):
        log.info("%s is there already, whole.", dest)
    else:
        convert.convert(sources.open_source(dataset_dir), dest, "folder", about=dataset_dir)
    return dest


def mxnet_bin_to_readable(path: str) -> str:
    """`.bin` in any form → one of encoded images, in place; the file as it was is kept as `.bak`."""
    images, same = evalbin.read_bin(path)
    backup = path + ".bak"
    if not os.path.exists(backup):
        shutil.copy2(path, backup)
    evalbin.write_bin(path, [image if isinstance(image, bytes) else encode(image, ".png") for image in images], same)
    log.info("%s: %d pairs; the file as it was is %s", path, len(same), backup)
    return path


def resize_dataset(data_path: str, dest: str, size: tuple[int, int] = (112, 112), workers: int = 0) -> str:
    """Every image of a source scaled to `size` (height, width) → folder of people."""
    convert.convert(
        Resized(sources.open_source(data_path), size), dest, "folder", workers, about=f"{data_path} at {size}"
    )
    return dest


class Resized(sources.Subset):
    """A source whose images are scaled and encoded anew."""

    def __init__(self, source, size):
        super().__init__(source, range(len(source)), source.embeddings)
        self.size, self.are_files = size, False

    def read(self, i):
        return encode(decode(self.source.read(i), self.size))


# ------------------------------------------------------------------------------------------------------------- commands


def run_convert(a) -> Report:
    source = sources.open_source(a.source)
    if a.names:
        names = lists.read_names(a.names)
        source.class_names = [names.get(name, name) for name in source.class_names]
    kind = a.to or ("csv" if a.target.endswith(".csv") else None)
    if kind is None:
        raise ValueError(f"what is {a.target} to be? Give --to {', '.join(convert.KINDS)}.")
    source = Resized(source, tuple(a.size)) if a.size else source
    return convert.convert(source, a.target, kind, a.workers, a.shards, f"{a.source} {a.size or ''}".strip())


def run_align(a) -> Report:
    layout = LAYOUTS[a.layout]
    return align.align(
        a.source, a.target, layout, a.detector, a.faces, a.min_face, a.max_side, a.workers or os.cpu_count()
    )


def run_pairs(a) -> Report:
    if a.pairs:
        return pairs.listed(a.source, a.pairs, a.target)
    train = sources.open_source(a.disjoint_from) if a.disjoint_from else None
    return pairs.drawn(sources.open_source(a.source), a.target, a.folds, a.per_fold, a.seed, train, a.source)


def run_split(a) -> Report:
    return split.split(
        sources.open_source(a.source), a.target, a.share, a.people, a.least, a.to, a.seed, a.workers, a.source
    )


def run_check(a) -> Report:
    source = sources.open_source(a.source)
    report = check.check(source, a.source, a.size and tuple(a.size), a.least, a.eval, a.workers)
    if a.detector:
        from faces.detect import detector

        check.check_alignment(source, detector(a.detector), report, a.sample)
    if a.model:
        from faces.interface import interface  # TensorFlow, only where a model is asked for
        from prepare.people import check_people

        check_people(source, interface(a.model), report, a.eval, a.threshold)
    if a.keep:
        _keep(source, report, a.keep)
    return report.finish(os.path.splitext(a.keep)[0] if a.keep else os.path.basename(os.path.normpath(a.source)))


def _keep(source, report, dest):
    """npz of the images without a row of their own in the report."""
    named = {row["file"] for row in report.rows if row["file"]}
    kept = [i for i in range(len(source)) if source.name(i) not in named]
    sources.write_list(dest, source, kept)
    report.counts["kept"] = len(kept)


def run_info(a) -> Report:
    report = info.info(sources.open_source(a.source), a.source, a.picture)
    print(info.text(report))
    return report


def run_lfw(a) -> Report:
    from prepare import lfw

    return lfw.lfw(a.target, a.data_home, a.detector, a.workers or os.cpu_count())


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        "prepare_data.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, run, text, target="where to write"):
        one = commands.add_parser(name, help=text, description=text)
        if name != "lfw":
            one.add_argument("source", help="folder, InsightFace directory, .rec, .tfrecord, .csv, .lst, .txt, .npz")
        if target:
            one.add_argument("target", help=target)
        one.add_argument("--workers", type=int, default=0, help="as many as cores unless given")
        one.add_argument("--json", metavar="FILE", help="report: counts, and every file left out with its reason")
        one.set_defaults(run=run)
        return one

    one = command(
        "convert", run_convert, "records, folders, shards and lists into one another; images keep their bytes"
    )
    one.add_argument("--to", choices=convert.KINDS, help="csv where the target's name says so")
    one.add_argument("--names", metavar="FILE", help="label<TAB>name lines: names of people")
    one.add_argument("--shards", type=int, default=1, help="files of a tfrecord")
    one.add_argument(
        "--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="scale images, which encodes them anew"
    )

    one = command("align", run_align, "photos of any size into crops")
    one.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="arcface",
        help="112×112 by five points, 112×96 by five points, 160×160 by the box",
    )
    one.add_argument(
        "--detector",
        default="mtcnn",
        help="mtcnn (pip install mtcnn), an .onnx of SCRFD or RetinaFace, a .csv of landmarks",
    )
    one.add_argument("--faces", choices=("largest", "central", "all"), default="largest")
    one.add_argument("--min-face", type=int, default=40, help="pixels")
    one.add_argument("--max-side", type=int, default=1024, help="larger photos are shrunk before detection")

    one = command("pairs", run_pairs, "a verification set", "the .bin to write")
    one.add_argument(
        "--pairs",
        metavar="FILE",
        help="LFW's pairs.txt, or lines 'first second 0|1' of paths below the source; else pairs are drawn",
    )
    one.add_argument("--folds", type=int, default=10)
    one.add_argument("--per-fold", type=int, default=600, help="pairs of a fold, half of them of one person")
    one.add_argument("--disjoint-from", metavar="TRAIN", help="leave out people of this training set")
    one.add_argument("--seed", type=int, default=0)

    one = command("split", run_split, "train and held_out, nobody in both", "folder for train and held_out")
    one.add_argument("--share", type=float, default=0.1, help="of the people to hold out")
    one.add_argument("--people", type=int, default=0, help="how many to hold out, instead of a share")
    one.add_argument("--least", type=int, default=2, help="images of a person held out")
    one.add_argument("--to", choices=convert.KINDS, default="folder")
    one.add_argument("--seed", type=int, default=0)

    one = command(
        "check",
        run_check,
        "corrupt files, sizes, duplicates, small classes, overlap, misaligned faces, wrong names",
        None,
    )
    one.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="expected; else the commonest")
    one.add_argument("--least", type=int, default=2, help="images of a person")
    one.add_argument(
        "--eval", nargs="*", default=[], metavar="BIN", help="evaluation sets that must not share images or people"
    )
    one.add_argument("--detector", help="look at alignment with this detector, see align")
    one.add_argument("--sample", type=int, default=500, help="images looked at for alignment")
    one.add_argument("--model", help="find wrong names with this model")
    one.add_argument("--threshold", type=float, help="cosine from which two names are one person")
    one.add_argument("--keep", metavar="NPZ", help="write a list of the images without a fault")

    one = command("info", run_info, "counts, histogram, sizes, a sheet of pictures", None)
    one.add_argument("--picture", metavar="JPG", help="sheet of 64 images")

    one = command("lfw", run_lfw, "Labeled Faces in the Wild, from scikit-learn or its cache")
    one.add_argument("--data-home", help="scikit-learn's data folder")
    one.add_argument("--detector", default="mtcnn", help="see align")
    return main


def seeds_parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        "prepare_data.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    main.add_argument("-D", "--dataset_dir", required=True, help="InsightFace directory")
    main.add_argument("-T", "--test_bins", nargs="*", default=[], help="names of .bin files in it, to make readable")
    main.add_argument("-S", "--save_dir", help="default: {dataset_dir}_112x112_folders")
    return main


def run_seeds(a) -> None:
    mxnet_record_to_folder(a.dataset_dir, a.save_dir)
    for name in a.test_bins:
        mxnet_bin_to_readable(os.path.join(a.dataset_dir, name))


def run_command(a) -> None:
    report = a.run(a)
    if a.json:
        report.write(a.json)


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the work is done, 2 for a wrong call."""
    argv = sys.argv[1:] if argv is None else argv
    of_seed = bool(argv) and argv[0].startswith("-") and argv[0] not in ("-h", "--help")
    return cli.call(seeds_parser(), run_seeds, argv) if of_seed else cli.call(parser(), run_command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
