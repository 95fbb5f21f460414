"""Where a task writes: a target is there when it is whole, and a task that was broken off goes on."""

import contextlib
import json
import os
import re
from collections.abc import Iterator

STAMP = ".task.json"


@contextlib.contextmanager
def folder(dest: str, **task) -> Iterator[str]:
    """Yields `dest.part` to write into; it becomes `dest` at the end. What an earlier run of the same `task` left there stays.

    ValueError where `dest` exists, or `dest.part` is another task's.
    """
    dest = os.path.normpath(dest)
    refuse_existing(dest)
    part = dest + ".part"
    os.makedirs(part, exist_ok=True)
    stamp, mine = os.path.join(part, STAMP), json.loads(json.dumps(task))
    if os.path.exists(stamp) and _read(stamp) != mine:
        raise ValueError(f"{part} was begun with other settings ({_read(stamp)}): remove it, or finish it with those.")
    if not os.path.exists(stamp) and os.listdir(part):
        raise ValueError(f"{part} is in the way: it was not begun by this program. Move it.")
    with open(stamp, "w", encoding="utf-8") as file:
        json.dump(mine, file)
    yield part
    os.remove(stamp)
    os.rename(part, dest)


def refuse_existing(dest: str) -> None:
    """ValueError where `dest` exists and is no empty folder."""
    if os.path.isdir(dest) and not os.listdir(dest):
        os.rmdir(dest)
    elif os.path.exists(dest):
        raise ValueError(f"{dest} exists already: give another name, or remove it.")


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError:  # cut off while it was written: nothing was begun
        return None


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
        folder = os.path.join(*parts) if parts and all(parts) and max(map(len, parts)) < 200 else f"person_{number}"
        folder = folder if folder.lower() not in taken else f"{folder}_{number}"
        taken.add(folder.lower())
        safe.append(folder)
    return safe
