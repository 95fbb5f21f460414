"""What the process does while one input is read: how it ends, how long and how much memory it takes, what it calls and writes."""

import os
import signal
import sys
import traceback

from targets import REFUSALS, TARGETS

from facetrainer.data.images import max_pixels

SECONDS, FREE = 10, 64 << 20
FORBIDDEN = (
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "socket.bind",
    "ctypes.dlopen",
)


class Watch:
    """What the process does while an input is read, by its audit events."""

    def __init__(self, home):
        self.home, self.on, self.seen = os.path.realpath(home), False, []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if not self.on:
            return
        if event in FORBIDDEN:
            self.seen.append(f"{event}{arguments[:1]}")
        if (
            event == "open"
            and self.writes(*arguments)
            and not os.path.realpath(arguments[0]).startswith((self.home, "/dev/"))
        ):
            self.seen.append(f"writes {arguments[0]}")

    @staticmethod
    def writes(path, mode, flags):
        return isinstance(path, str) and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)


def peak(reset=False):
    """Highest resident memory of the process, since the last reset."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


def late(*_):
    raise TimeoutError


def attempt(target, data, home, watch):
    """→ "read", "refused", or what went wrong."""
    before = peak(reset=True)
    watch.seen, watch.on = [], True
    signal.alarm(SECONDS)
    try:
        target(data, home)
        outcome = "read"
    except TimeoutError:
        outcome = "hang"
    except REFUSALS:
        outcome = "refused"
    except Exception:
        outcome = f"crash: {traceback.format_exc(limit=-1).strip()}"
    finally:
        signal.alarm(0)
        watch.on = False
    if watch.seen:
        return f"called: {watch.seen[:3]}"
    allowed = FREE + 2 * len(data) + (max_pixels() * 3 if target is TARGETS["image"] else 0)
    taken = peak() - before
    return (
        f"memory: {taken >> 20} MB for {len(data)} bytes"
        if taken > allowed and outcome in ("read", "refused")
        else outcome
    )
