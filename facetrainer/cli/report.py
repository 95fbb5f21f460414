"""A study of one or several models on a page: HTML, PDF or a LaTeX table, from results of `facetrainer evaluate --json`.

facetrainer evaluate -m a.keras -t lfw.bin cfp_fp.bin --json a.json
facetrainer evaluate -m b.onnx  -t lfw.bin cfp_fp.bin --json b.json
facetrainer report a.json b.json -o study.html
"""

from __future__ import annotations

import argparse

from facetrainer.cli import run
from facetrainer.utils.lazy import later

study = later("facetrainer.reporting.study")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("report", __doc__)
    main.add_argument("results", nargs="+", help="files of facetrainer evaluate --json")
    main.add_argument("-o", "--output", required=True, help="file to write: .html, .pdf or .tex")
    return main


def main(argv: list[str] | None = None) -> int:
    """Writes the page; exit codes of `run.call`."""
    return run.call(parser(), lambda a: print(study.write(study.read(a.results), a.output)), argv)
