"""How the process keeps its memory."""

import ctypes
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1


def keep_freed_memory() -> bool:
    """Let the C library keep large freed blocks for the next step instead of giving them back → whether it could.

    TensorFlow on CPU allocates each activation anew; returning the pages and faulting them in again costs a tenth of a
    training step. Only glibc has the switch.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(MMAP_THRESHOLD, 2**30) and mallopt(TRIM_THRESHOLD, 2**31 - 1))
