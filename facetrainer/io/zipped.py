"""Zip files from strangers: how much they unpack to is read from their directory before anything is unpacked."""

import os
import zipfile

FREE = 64 << 20  # bytes that any file may unpack to


def open_zip(path: str, growth: float = 2.0) -> zipfile.ZipFile:
    """Opens a zip that does not unpack to more than its bytes justify.

    Args:
        path: The file.
        growth: Bytes that it may unpack to for each of its own, beyond the first 64 MB.

    Returns:
        The open archive.

    Raises:
        ValueError: It is no zip, or unpacks to more.
        FileNotFoundError: There is no such file.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged directory can raise nearly anything
        raise ValueError(f"{path} is no zip file that can be read ({error}). Was all of it copied?") from error
    size, unpacked = os.path.getsize(path), sum(member.file_size for member in archive.infolist())
    if unpacked > FREE + growth * size:
        archive.close()
        raise ValueError(
            f"{path} has {size:,} bytes and claims to unpack to {unpacked:,}: refused, as a zip bomb would be."
        )
    return archive


def read(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's content.

    Args:
        archive: From `open_zip`.
        name: The member.

    Returns:
        Its bytes.

    Raises:
        ValueError: It is missing or damaged.
    """
    try:
        return archive.read(name)
    except Exception as error:  # a damaged member can raise nearly anything
        raise ValueError(f"{archive.filename}: {name} cannot be read: {type(error).__name__}: {error}") from error
