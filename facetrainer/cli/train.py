"""Train a face-recognition model by a recipe.

Examples:
  facetrainer train                                      the main job, on faces that it draws
  facetrainer train lfw_small --dry-run                  what a recipe would do
  facetrainer train my_recipe.py --set batch_size=256    a recipe with another batch size
  facetrainer train my_recipe.py --shard-classes         on all devices of this machine, the classes split over them
  facetrainer train my_recipe.py --machines 10.0.0.1:1234 --machine 0/2     the first of two machines (Slurm needs no flags)

From a checkout `python train.py` does the same: python train.py recipes/lfw_small.py --dry-run
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time

from facetrainer.cli import devices, recipe, run
from facetrainer.utils.lazy import later

dry_run, page = later("facetrainer.reporting.dry_run"), later("facetrainer.reporting.page")
legacy, tables = later("facetrainer.training.legacy"), later("facetrainer.reporting.tables")
rate_finder, plots = later("facetrainer.training.rate_finder"), later("facetrainer.reporting.plots")
schedule, verification = later("facetrainer.training.schedule"), later("facetrainer.evaluation.verification")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("train", __doc__)
    main.add_argument(
        "recipe",
        nargs="?",
        default="drawn_faces",
        help="Python file with Train's keywords and sch, or a shipped recipe",
    )
    main.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="keywords of Train, over the recipe's",
    )
    main.add_argument("--dry-run", action="store_true", help="print stages, steps, learning rate and memory, and stop")
    main.add_argument(
        "--find-rate",
        metavar="PNG",
        help="train the first stage on some batches while the rate grows, draw the loss, and stop",
    )
    run.add_json(main, "results, history and files; of --dry-run the stages, of --find-rate the curve")
    devices.add(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Runs a recipe; exit codes of `run.call`."""
    return run.call(parser(), _work, argv)


def _work(a):
    with devices.used(a):
        return _run(a)


def _run(a):
    keywords, sch = recipe.load(a.recipe, recipe.read_settings(a.settings))
    schedule.parse_schedule(sch)
    if a.find_rate:
        found = rate_finder.find_rate(keywords, sch[0])
        plots.growing_rate(found.rates, found.losses, found.best, a.find_rate)
        print(f"{a.find_rate}: a rate to begin with is {found.best:.2g}")
        return {"rate": found.best, "rates": list(map(float, found.rates)), "losses": list(map(float, found.losses))}
    trainer = legacy.Train(**keywords)
    if a.dry_run:
        plan = dry_run.plan(trainer, sch)
        print(dry_run.describe(plan))
        return plan
    return train(trainer, sch)


def train(trainer, sch: list[dict]) -> dict:
    """Trains, then prints tables and writes pictures.

    Args:
        trainer: `Train`.
        sch: The schedule.

    Returns:
        Seconds, history, results before and after with their protocols, and the files that were written.
    """
    begin = time.time()
    untrained = {one.test_names: (tables.scores(one), one.pairs.same) for one in trainer.my_evals}
    trainer.train(sch)
    print("\n" + tables.history_table(trainer.my_history.history) + "\n")
    rows = [("untrained", verification.verify(*curve, name)) for name, curve in untrained.items()]
    rows += [("trained", one.evaluate()) for one in trainer.my_evals]
    if rows:
        print(tables.accuracy_table(rows) + "\n")
    pages = [page.path_of(trainer)] if trainer.report else []
    files = [trainer.stem + trainer.suffix, *tables.pictures(trainer, untrained), *pages]
    seconds, files = time.time() - begin, list(filter(os.path.exists, files))
    print(f"{seconds:.0f} s. Written:", *files, sep="\n  ")
    results = [{"model": what, **dataclasses.asdict(one), **one.protocol()} for what, one in rows]
    return {"seconds": round(seconds, 1), "history": trainer.my_history.history, "results": results, "files": files}
