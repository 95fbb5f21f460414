"""Files that are whole or not there."""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator

_kept = True


def keep_nothing() -> None:
    """From now on what this process writes with `replacing` is dropped: another one writes the same."""
    global _kept
    _kept = False


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yields a name beside `path` to write to; it takes the place of `path` once the block ends without an exception.

    Args:
        path: File to write; its folder is made where it is missing. The name keeps the suffix.

    Yields:
        Path of the file to write, `stem.part.suffix`.
    """
    if not _kept:
        with tempfile.TemporaryDirectory() as home:
            yield os.path.join(home, os.path.basename(path))
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    stem, suffix = os.path.splitext(path)
    part = f"{stem}.part{suffix}"
    yield part
    os.replace(part, path)


def write_json(path: str, value: object, indent: int | None = None) -> None:
    """Writes `value` as JSON; a crash leaves the old file whole."""
    with replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=indent)


# a pipe must not wait for somebody to write into it
READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_bytes(path: str) -> bytes:
    """Content of a file.

    Args:
        path: The file, perhaps named by a list from elsewhere.

    Returns:
        Its bytes.

    Raises:
        ValueError: It is a folder or a device: one would have no end.
        OSError: It cannot be read.
    """
    file = os.open(path, READ)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is no file")
        data = os.read(file, status.st_size)
        while len(data) < status.st_size and (more := os.read(file, status.st_size - len(data))):
            data += more
        return data
    finally:
        os.close(file)


def sha256_of(path: str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    return hashlib.sha256(read_bytes(path)).hexdigest()
