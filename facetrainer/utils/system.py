"""What the machine has: cores, memory, disk, graphics cards."""

import contextlib
import os
import shutil
import subprocess

GIB = 2**30
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def cores() -> int:
    """That this process may use: of its affinity, and of a container's quota."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        found = min(found, max(int(quota) // int(period), 1))
    return found


def free_memory() -> int | None:
    """Bytes that are free, no more than a container leaves; None where the system does not tell."""
    found = []
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        found += [int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable")]
    limit, used = (_first_number(paths) for paths in (LIMITS, USED))
    if limit is not None and used is not None:
        found.append(max(limit - used, 0))
    return min(found, default=None)


def _first_number(paths):
    for path in paths:
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            return int(file.read())
    return None


def free_disk(path: str) -> int:
    """Bytes that are free where a file or folder lies, or would lie."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


def nvidia_cards() -> list[str]:
    """Names and memory of NVIDIA's cards that their driver tells of."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        call = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        done = subprocess.run(call, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []
