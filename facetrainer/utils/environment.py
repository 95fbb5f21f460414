"""What a result was made with: versions, machine, day."""

import datetime
import importlib.metadata
import os
import platform

NAMES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy")


def of_run() -> dict[str, str]:
    """Versions of this program and of what it computes with, the machine, and the time (UTC)."""
    from facetrainer import __version__

    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    found = ((name, _version(name)) for name in NAMES)
    programs = ", ".join(f"{name} {version}" for name, version in found if version)
    return {
        "facetrainer": __version__,
        "with": f"Python {platform.python_version()}, {programs}",
        "machine": machine(),
        "made": now,
    }


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"
