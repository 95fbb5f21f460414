"""What a task did and what it left out, for people (a csv) and programs (`--json`)."""

import csv
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm import tqdm

from facetrainer.utils.system import cores

log = logging.getLogger("facetrainer")


class Report:
    """Counts by name, and a row for every file left out or found fault with."""

    def __init__(self, task: str, source: str, target: str = ""):
        self.about: dict[str, Any] = {"task": task, "source": str(source), "target": str(target)}
        self.counts: dict[str, float] = {}
        self.rows: list[dict] = []

    def skip(self, name: str, reason: object, **more) -> None:
        """Notes an image that was left out, and why."""
        self.rows.append({"file": name, "reason": str(reason), **more})

    def as_dict(self) -> dict:
        """Counts and rows, as JSON takes them."""
        return {**self.about, **self.counts, "skipped": self.rows}

    def write(self, path: str) -> None:
        """`.json` everything, `.csv` the rows."""
        with open(path, "w", encoding="utf-8", newline="") as file:
            if path.endswith(".json"):
                json.dump(self.as_dict(), file, indent=1, ensure_ascii=False)
            else:
                columns = list(dict.fromkeys(key for row in self.rows for key in row))
                writer = csv.DictWriter(file, columns or ["file", "reason"], lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)

    def finish(self, beside: str | None = None) -> "Report":
        """Log the counts; name the rows in `{beside}_skipped.csv` when there are any."""
        log.info("%s", ", ".join(f"{count:,} {name}" for name, count in self.counts.items()))
        if self.rows and beside:
            path = os.path.normpath(beside) + "_skipped.csv"
            self.write(path)
            log.warning("%d left out, each with its reason in %s; the first: %s", len(self.rows), path,
                        ": ".join(list(map(str, self.rows[0].values()))[:2]))  # fmt: skip
        return self


def each(
    work: Callable[[int], object], indices: Iterable[int], what: str, workers: int = 0, piece: int = 2048
) -> Iterator:
    """`work` of every index in threads, in order, with a progress bar; a bounded number is under way at once."""
    indices = list(indices) if not hasattr(indices, "__len__") else indices
    with (
        ThreadPoolExecutor(workers or cores()) as pool,
        tqdm(total=len(indices), desc=what, disable=None) as bar,
    ):
        for begin in range(0, len(indices), piece):
            for result in pool.map(work, indices[begin : begin + piece]):
                bar.update()
                yield result
