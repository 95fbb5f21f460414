"""Cleaning by sub-centers: images that do not lie near their person's main center are left out.

tt.train([{"loss": losses.ArcfaceLoss(scale=16), "epoch": 5, "lossTopK": 3}])
clean = data_drop_top_k.data_drop_top_k(tt.model, tt.data_path)
python data_drop_top_k.py -M checkpoints/run.keras -D /datasets/faces_casia
"""

from __future__ import annotations

import argparse

from facetrainer.cli import run
from facetrainer.utils.lazy import later

cleaning, sources = later("facetrainer.preparing.clean"), later("facetrainer.data.sources")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("clean", __doc__)
    main.add_argument("-M", "--model_file", required=True, help="full model, trained with lossTopK > 1")
    main.add_argument("-D", "--data_path", required=True, help="the data it was trained on")
    main.add_argument("-d", "--dest_file", help="npz to write; default: name of the data + _topk_75.npz")
    main.add_argument("-t", "--deg_thresh", type=float, default=75, help="largest angle to the main sub-center")
    main.add_argument("-L", "--limit", type=int, default=0, help="first so many people only")
    run.add_json(main, "file, images that are kept, images of the data")
    run.add_trusted(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; exit codes of `run.call`."""
    return run.call(parser(), _work, argv)


def _work(a):
    path = cleaning.data_drop_top_k(a.model_file, a.data_path, a.dest_file, a.deg_thresh, a.limit, trusted=a.trusted)
    print(path)
    if not a.json:
        return None
    kept, all_of_it = (len(sources.open_source(one)) for one in (path, a.data_path))
    return {"file": path, "kept": kept, "images": all_of_it, "angle": a.deg_thresh}
