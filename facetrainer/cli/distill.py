"""A teacher's embeddings of a whole dataset, once: what `distill` trains on.

python data_distiller.py -D /datasets/faces_casia -M r100.onnx --use_fp16
train.Train("faces_casia_distill_fp16.tfrecord", …)
python data_distiller.py -D /datasets/faces_casia -M r100.onnx --views 8     more to learn from than there are faces
python data_distiller.py -D x.npz                                            x.npz with embeddings → x.tfrecord
"""

from __future__ import annotations

import argparse

from facetrainer.cli import run
from facetrainer.utils.lazy import later

distilling, sources = later("facetrainer.preparing.distill"), later("facetrainer.data.sources")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("distill", __doc__)
    main.add_argument("-D", "--data_path", required=True, help="folder, InsightFace directory, .rec or .npz")
    main.add_argument(
        "-M", "--model_file", help=".keras, .h5, .onnx, torch-jit .pt or .pth, .tflite, SavedModel folder"
    )
    main.add_argument("-d", "--dest_file", help="default: name of the data + _distill.tfrecord")
    main.add_argument("-b", "--batch_size", type=int, default=256)
    main.add_argument("-L", "--limit", type=int, default=-1, help="first so many images only")
    main.add_argument("--use_fp16", action="store_true", help="embeddings as float16")
    main.add_argument("--save_npz", action="store_true", help="npz with the images' names, no TFRecord")
    main.add_argument("--views", type=int, default=1, help="each image as it is and so many times, less one, changed")
    main.add_argument("--blend", type=float, default=0.5, help="part of the changed images laid over another one")
    main.add_argument("--seed", type=int, default=0, help="of the changes")
    main.add_argument("-R", "--recover", action="store_true", help="go on with a run that was broken off")
    run.add_json(main, "file, images, width")
    run.add_trusted(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; exit codes of `run.call`."""
    return run.call(parser(), _work, argv)


def _work(a):
    path = distilling.Data_distiller(**{name: value for name, value in vars(a).items() if name != "json"})
    print(path)
    if not a.json:  # all of a file of images is read to count them
        return None
    found = sources.open_source(path)
    return {
        "file": path,
        "images": len(found),
        "people": len(found.class_names),
        "width": found.embeddings[[0]].shape[1],
    }
