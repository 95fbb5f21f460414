"""Parts of a task, for many processes or machines: each works on its share of the images in one target, and `merge` finishes it.

    facetrainer prepare align photos aligned --shard 3/64
    facetrainer prepare merge aligned

A part that was broken off goes on with the same command. Parts know nothing of one another: a Slurm array, `xargs` or Ray may run them.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator

import numpy as np

from facetrainer.data import sources
from facetrainer.preparing import align, check, convert, distill, target
from facetrainer.preparing.report import Report
from facetrainer.utils.files import replacing, write_json


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part `number` of `count`: images number, number + count and so on."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From `"k/n"`, k from 0 on.

        Returns:
            The shard.

        Raises:
            ValueError: It is something else.
        """
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and int(number) < int(count)):
            raise ValueError(f"--shard: expected K/N, from 0/N to N-1/N. Received: {text!r}")
        return cls(int(number), int(count))

    def of(self, images: int) -> range:
        """Numbers of its images."""
        return range(self.number, images, self.count)

    def __str__(self):
        return f"{self.number:05d}-of-{self.count:05d}"


@contextlib.contextmanager
def part(dest: str, shard: Shard, report: Report, **task) -> Iterator[str | None]:
    """Yields the folder that all parts of a task write to, None where this one is done; notes the report once the block ends.

    Args:
        dest: Target of the task.
        shard: This part.
        report: Filled inside the block.
        **task: What is done, the same for all parts.
    """
    with target.shared(dest, parts=shard.count, **task) as folder:
        note = os.path.join(folder, f".done-{shard}.json")
        if os.path.exists(note):
            yield None
            return
        yield folder
        write_json(note, {"counts": report.counts, "rows": report.rows})


def align_part(shard: Shard, path: str, dest: str, layout, find, which, min_face, max_side, workers) -> Report:
    """One part of `align.align`; arguments as there."""
    source, report = align.begun(path, dest, find, which, min_face, max_side)
    task = align.task_of(path, source, layout, find, which, min_face, max_side)
    with part(dest, shard, report, **task) as folder:
        if folder:
            journal = os.path.join(folder, f".aligned-{shard}.jsonl")
            done = align.crops(
                source, path, folder, journal, shard.of(len(source)), layout, find, which, min_face, max_side, workers
            )
            report.counts = {"photos": len(done)}
    return report.finish()


def convert_part(
    shard: Shard, source: sources.Source, dest: str, kind: str, workers: int, shards: int, about: str
) -> Report:
    """One part of `convert.convert`, to a folder or to TFRecord shards; arguments as there."""
    if kind not in ("folder", "tfrecord"):
        raise ValueError(f"--shard: a {kind} is one file. Convert to folder or tfrecord, in parts.")
    report, shards = Report("convert", about, dest), max(shards, shard.count)
    task = {"convert": about, "to": kind, "images": len(source), "shards": shards}
    with part(dest, shard, report, **task) as folder:
        if folder:
            writer: Callable = convert.WRITERS[kind]
            writer(source, folder, report, workers, shards, shard)
    return report.finish()


def embed_part(shard: Shard, path: str, model: str, dest: str, batch_size: int, half: bool, trusted: bool) -> Report:
    """Embeddings of one part of a dataset; `merge` makes an `.npz` or `.tfrecord` of all."""
    source, report = sources.open_source(path), Report("embed", path, distill.checked(dest))
    task = {"embed": os.path.abspath(path), "teacher": distill.named(model), "images": len(source), "half": half}
    with part(dest, shard, report, **task) as folder:
        if folder:
            embedder, rows = distill.Embedder(model, batch_size, trusted=trusted), np.array(shard.of(len(source)))
            found = np.concatenate(list(embedder.of_source(source, rows)) or [np.zeros((0, 0))])
            with replacing(os.path.join(folder, f"embeddings-{shard}.npy")) as path_of_part:
                np.save(path_of_part, found.astype(np.float16 if half else np.float32))
            report.counts = {"images": len(rows), "unreadable": int(np.isnan(found).any(axis=1).sum())}
    return report.finish()


def check_part(shard: Shard, source: sources.Source, about: str, dest: str, size, least, eval_bins, workers) -> Report:
    """What one part of the images look like; `merge` compares them all. Arguments as of `check.check`."""
    report = Report("check", about, dest)
    task = {
        "check": os.path.abspath(about),
        "images": len(source),
        "size": size,
        "least": least,
        "eval": list(eval_bins),
    }
    with part(dest, shard, report, **task) as folder:
        if folder:
            looks = check.looks_of(source, shard.of(len(source)), workers)
            with replacing(os.path.join(folder, f"looks-{shard}.npz")) as path_of_part:
                looks.save(path_of_part)
            report.counts = {"images": len(looks.sizes), "faults": len(looks.faults)}
    return report.finish()


# --------------------------------------------------------------------------------------------------------------- merge


def merge(dest: str, workers: int = 0) -> Report:
    """Finishes a task whose parts are all done.

    Args:
        dest: Its target.
        workers: Threads. Defaults to `0`, as many as cores.

    Returns:
        The report of the whole.

    Raises:
        FileNotFoundError: No part was begun.
        ValueError: Some parts are not done; the message names them.
    """
    dest = os.path.normpath(dest)
    folder = dest + ".part"
    task = target.task_in(folder)
    if task is None or "parts" not in task:
        raise FileNotFoundError(
            f"{folder} holds no parts of a task. Run `prepare align`, convert, check or embed with --shard K/N first."
        )
    shards = [Shard(k, task["parts"]) for k in range(task["parts"])]
    kind = next(name for name in FINISH if name in task)
    report = Report(kind, task[kind], dest)
    for note in _notes(folder, shards):
        report.rows += note["rows"]
        for name, count in note["counts"].items():
            report.counts[name] = report.counts.get(name, 0) + count
    return FINISH[report.about["task"]](folder, dest, task, shards, report, workers).finish(dest)


def _notes(folder, shards):
    paths = [os.path.join(folder, f".done-{shard}.json") for shard in shards]
    missing = [
        f"{shard.number}/{shard.count}" for shard, path in zip(shards, paths, strict=True) if not os.path.exists(path)
    ]
    if missing:
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        raise ValueError(f"{folder}: parts {', '.join(missing[:8])}{more} are not done. Run them, then merge again.")
    for path in paths:
        with open(path, encoding="utf-8") as file:
            yield json.load(file)


def _finish_folder(folder, dest, task, shards, report, workers):
    """What the parts wrote is the target."""
    if "people" in report.counts:
        report.counts["people"] //= len(shards)
    target.complete(folder, dest)
    return report


def _finish_align(folder, dest, task, shards, report, workers):
    rows = {}
    for shard in shards:
        rows |= align.rows_of(os.path.join(folder, f".aligned-{shard}.jsonl"))
    report.rows = []
    align.summary([rows[i] for i in sorted(rows)], folder, report)
    for shard in shards:
        os.remove(os.path.join(folder, f".aligned-{shard}.jsonl"))
    return _finish_folder(folder, dest, task, shards, report, workers)


def _finish_embed(folder, dest, task, shards, report, workers):
    source = sources.open_source(task["embed"])
    parts = [np.load(os.path.join(folder, f"embeddings-{shard}.npy"), mmap_mode="r") for shard in shards]
    width = max(one.shape[1] for one in parts)
    whole = np.empty((len(source), width), parts[0].dtype)
    for shard, found in zip(shards, parts, strict=True):
        if len(found):
            whole[shard.of(len(source))] = found
    distill.write(dest, source, whole)
    shutil.rmtree(folder)
    return report


def _finish_check(folder, dest, task, shards, report, workers):
    source = sources.open_source(task["check"])
    looks = check.Looks(task["images"])
    for shard in shards:
        looks.put(shard.of(task["images"]), check.Looks.load(os.path.join(folder, f"looks-{shard}.npz")))
    found = check.check(
        source, task["check"], task["size"] and tuple(task["size"]), task["least"], task["eval"], workers, looks
    )
    shutil.rmtree(folder)
    return found


FINISH = {"align": _finish_align, "convert": _finish_folder, "embed": _finish_embed, "check": _finish_check}
