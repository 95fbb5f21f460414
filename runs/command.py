"""`python train.py [RECIPE.py]`: run a recipe, or show what it would do."""

import argparse
import os
import time

import train
from runs import cli, plan, recipe, report
from runs import html as page

EXAMPLE = """examples:
  python train.py                                      the main job, on faces that it draws
  python train.py recipes/lfw_small.py --dry-run       what a recipe would do
  python train.py my_recipe.py --set batch_size=256    a recipe with another batch size
"""
DEFAULT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "recipes", "drawn_faces.py")


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the run is done, 2 for a wrong call."""
    parser = argparse.ArgumentParser(
        "train.py", description="Train a face-recognition model.", epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("recipe", nargs="?", default=DEFAULT, help="Python file with Train's keywords and sch")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="keywords of Train, over the recipe's",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print stages, steps, learning rate and memory, and stop"
    )
    return cli.call(parser, _begin, argv)


def _begin(arguments):
    keywords, sch = recipe.load(arguments.recipe, recipe.read_settings(arguments.settings))
    train.read_plan(sch)
    trainer = train.Train(**keywords)
    trainer.plan(sch)
    return lambda: print(plan.describe(trainer, sch)) if arguments.dry_run else run(trainer, sch)


def run(trainer: train.Train, sch: list[dict]) -> None:
    """Train, then print tables and write pictures."""
    begin = time.time()
    untrained = {e.test_names: (report.scores(e), e.pairs.same) for e in trainer.my_evals}
    trainer.train(sch)
    print("\n" + report.history_table(trainer.my_history.history) + "\n")
    rows = [("untrained", train.evals.verify(*curve, name)) for name, curve in untrained.items()]
    rows += [("trained", e.evaluate()) for e in trainer.my_evals]
    if rows:
        print(report.accuracy_table(rows) + "\n")
    files = [trainer.stem + trainer.suffix, *report.pictures(trainer, untrained), page.write(trainer)]
    print(f"{time.time() - begin:.0f} s. Written:", *files, sep="\n  ")
