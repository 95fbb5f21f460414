"""Two or more runs beside each other: results, curves, what was asked differently, and a paired test of their models.

  facetrainer compare checkpoints/a checkpoints/b
  facetrainer compare runs/a runs/b runs/c -t lfw.bin cfp_fp.bin -o compared.html

A run is `checkpoints/x`, one of its files, or a folder with one run. With -t the best basic model of each run is measured on the same
pairs: differences to the first run's with intervals over people, McNemar's and DeLong's tests.
"""

from __future__ import annotations

import argparse

from facetrainer.cli import run
from facetrainer.utils.lazy import later

runs, study = later("facetrainer.reporting.runs"), later("facetrainer.evaluation.study")
evals, pd = later("facetrainer.evaluation"), later("pandas")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("compare", __doc__)
    main.add_argument("runs", nargs="+", metavar="RUN", help="two or more")
    main.add_argument(
        "-t", "--test_bin_files", nargs="+", default=[], metavar="SET", help="measure the models on these pairs"
    )
    main.add_argument("-b", "--batch_size", type=int, default=128)
    main.add_argument("-o", "--output", metavar="HTML", help="a page with curves")
    run.add_json(main, "the tables")
    run.add_trusted(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; exit codes of `run.call`."""
    return run.call(parser(), _run, argv)


def _run(a):
    if len(a.runs) < 2:
        raise ValueError("expected two runs or more. Received: one")
    if a.output and not a.output.endswith(".html"):
        raise ValueError(f"--output: expected a name ending in .html. Received: {a.output}")
    found = runs.named([runs.read(path) for path in a.runs])
    print(runs.results(found).to_string(index=False))
    apart = runs.differences(found)
    print(
        "\n"
        + (apart.to_string(index=False) if len(apart) else "nothing was asked differently, as far as the states tell")
    )
    paired = _paired(a, found) if a.test_bin_files else None
    if paired is not None:
        print("\n" + paired.to_string(index=False))
    if a.output:
        print("\n" + runs.write(found, a.output, paired))
    tables = {"results": runs.results(found), "asked differently": apart, "paired": paired}
    return {name: one.to_dict("records") for name, one in tables.items() if one is not None}


def _paired(a, found):
    """A row a set and run against the first."""
    models = [one.best_model() for one in found]
    if None in models:
        raise ValueError(f"{found[models.index(None)].stem}: no basic model is beside it, to measure.")
    embedders, rows = [evals.Embedder(model, a.batch_size, trusted=a.trusted) for model in models], []
    for pairs in map(evals.read_pairs, a.test_bin_files):
        scores = [evals.pair_scores(embed.of_encoded(pairs.images, True)) for embed in embedders]
        for one, other in zip(found[1:], scores[1:], strict=True):
            rows.append({"set": pairs.name, "run": one.name, **_row(study.compared(pairs, other, scores[0]))})
    return pd.DataFrame(rows)


def _row(found):
    names = ("10-fold accuracy", "AUC")
    shown = {
        name: "{:+.4f} ({:+.4f} to {:+.4f})".format(found[name]["difference"], *found[name]["95%"]) for name in names
    }
    return {**shown, **{f"{test} p": f"{found[f'{test} p']:.3g}" for test in ("McNemar", "DeLong")}}
