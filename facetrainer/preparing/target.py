"""Where a task writes: a target is there when it is whole, and a task that was broken off goes on."""

import contextlib
import json
import os
import re
from collections.abc import Iterator

from facetrainer.utils.files import write_json

STAMP, PART_OF_STAMP = ".task.json", ".task.part.json"
LONGEST = 200  # bytes of a folder's name; file systems allow 255, and a file's name has to fit too


@contextlib.contextmanager
def folder(dest: str, keep_stamp: bool = False, **task) -> Iterator[str]:
    """Yields `dest.part` to write into; it becomes `dest` at the end. What an earlier run of the same task left there stays.

    Args:
        dest: The folder to make.
        keep_stamp: Leave the note of the task in it, for `is_whole`, until `forget`. Defaults to `False`.
        **task: What is done, as JSON takes it.

    Raises:
        ValueError: `dest` exists, or `dest.part` is another task's.
    """
    dest = os.path.normpath(dest)
    refuse_existing(dest)
    part = dest + ".part"
    os.makedirs(part, exist_ok=True)
    stamp, mine = os.path.join(part, STAMP), json.loads(json.dumps(task))
    begun = _read(stamp)
    if begun not in (None, mine):
        raise ValueError(f"{part} was begun with other settings ({begun}): remove it, or finish it with those.")
    if begun is None and set(os.listdir(part)) - {STAMP, PART_OF_STAMP}:
        raise ValueError(f"{part} is in the way: it was not begun by this program. Move it.")
    if begun is None:
        write_json(stamp, mine)
    yield part
    if not keep_stamp:
        os.remove(stamp)
    os.rename(part, dest)


def is_whole(dest: str, **task) -> bool:
    """Whether `dest` was made by this task, with `keep_stamp`, and not yet forgotten."""
    return _read(os.path.join(dest, STAMP)) == json.loads(json.dumps(task))


def forget(dest: str) -> None:
    """Removes the note of the task from a folder made with `keep_stamp`."""
    os.remove(os.path.join(dest, STAMP))


def refuse_existing(dest: str) -> None:
    """ValueError where `dest` exists and is no empty folder."""
    if os.path.isdir(dest) and not os.listdir(dest):
        os.rmdir(dest)
    elif os.path.exists(dest):
        raise ValueError(f"{dest} exists already: give another name, or remove it.")


def _read(path):
    """What was begun; None where nothing was, or where it could not be written down."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, FileNotFoundError, NotADirectoryError):
        return None


def refuse_inside(dest: str, source: str) -> None:
    """ValueError where a target lies in the folder that it is made from, or around it: what is written would be read.

    Args:
        dest: The target.
        source: The folder, or a file.
    """
    inner, outer = os.path.realpath(dest), os.path.realpath(source)
    if os.path.isdir(outer) and os.path.commonpath([inner, outer]) in (inner, outer):
        raise ValueError(f"{dest} and {source} lie in one another: give a target beside the source.")


def is_new(part: str) -> bool:
    """Whether nothing but the stamp is in a target yet."""
    return os.listdir(part) == [STAMP]


def write_file(path: str, data: bytes, new: bool = False) -> None:
    """Write `data` unless as much is there already; `new` spares the look where nothing can be."""
    try:
        if not new and os.path.getsize(path) == len(data):
            return
    except OSError:
        pass
    with open(path, "wb", buffering=0) as file:
        while data:
            data = data[file.write(data) :]


def safe_names(names: list[str]) -> list[str]:
    """Names of people → folders that lie below the target, each another: no "..", no drive, no character a file system forbids."""
    taken, safe = set(), []
    for number, name in enumerate(names):
        parts = [re.sub(r'[\x00-\x1f<>:"|?*]', "_", part).strip(" .") for part in re.split(r"[/\\]+", name)]
        fits = parts and all(parts) and max(len(part.encode()) for part in parts) <= LONGEST
        folder = os.path.join(*parts) if fits else f"person_{number}"
        while folder.lower() in taken:
            folder = f"{folder}_{number}"
        taken.add(folder.lower())
        safe.append(folder)
    return safe
