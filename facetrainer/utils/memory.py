"""How the process keeps its memory."""

import ctypes
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory() -> bool:
    """Let the C library keep freed blocks for the next step instead of giving them back → whether it could.

    TensorFlow on CPU allocates each activation anew. With glibc's defaults the pages of large blocks go back to the system
    and are faulted in again at every step, which can cost as much as the arithmetic of a small network: one heap, no
    mapped blocks, no trimming. Only glibc has these switches.

    Returns:
        Whether the C library took the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    settings = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, ARENA_MAX: 1, TOP_PAD: 2**28}
    return mallopt is not None and all(mallopt(name, value) for name, value in settings.items())
