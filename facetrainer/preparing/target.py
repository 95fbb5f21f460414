"""Where a task writes: a target is there when it is whole, and a task that was broken off goes on."""

import contextlib
import json
import os
import re
from collections.abc import Iterator

import filelock

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
    part = _begin(dest, task)
    yield part
    complete(part, dest, keep_stamp)


def _begin(dest, task):
    """`dest.part` with the task's stamp."""
    dest = os.path.normpath(dest)
    refuse_existing(dest)
    part = dest + ".part"
    os.makedirs(part, exist_ok=True)
    mine, begun = json.loads(json.dumps(task)), task_in(part)
    if begun not in (None, mine):
        raise ValueError(f"{part} was begun with other settings ({begun}): remove it, or finish it with those.")
    if begun is None and set(os.listdir(part)) - {STAMP, PART_OF_STAMP}:
        raise ValueError(f"{part} is in the way: it was not begun by this program. Move it.")
    if begun is None:
        write_json(os.path.join(part, STAMP), mine)
    return part


def complete(part: str, dest: str, keep_stamp: bool = False) -> None:
    """Gives a finished target its name.

    Args:
        part: `dest.part`.
        dest: The target.
        keep_stamp: As of `folder`.
    """
    for name in os.listdir(part):
        if name.startswith(".done-") or (name == STAMP and not keep_stamp):
            os.remove(os.path.join(part, name))
    os.rename(part, os.path.normpath(dest))


@contextlib.contextmanager
def shared(dest: str, **task) -> Iterator[str]:
    """As `folder`, for one of several processes that work on the same target; none of them completes it.

    Args:
        dest: The folder to make.
        **task: What is done, the same in all.

    Yields:
        The folder to write to.
    """
    with filelock.FileLock(f"{os.path.normpath(dest)}.lock"):
        part = _begin(dest, task)
    yield part


def task_in(part: str) -> dict | None:
    """The task that a target was begun with."""
    return _read(os.path.join(part, STAMP))


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
    """Refuses a target in the folder that it is made from, or around it: what is written would be read.

    Args:
        dest: The target.
        source: The folder, or a file.

    Raises:
        ValueError: They lie in one another.
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
