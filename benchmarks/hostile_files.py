"""What other programs do with the hostile files of `tests/fuzz/hostile`, beside this one.

python -m benchmarks.hostile_files                 every program that this Python has: facetrainer, keras, numpy, torch, picklescan
python -m benchmarks.hostile_files --make FOLDER   write the files alone, for another Python: --files FOLDER

Each file is opened in a process of its own with 12 GB of address space and 90 seconds: refused (an error), OPENED (as if it were
good), CODE (it ran what the file brings), SETTINGS (it changed Keras's), MEMORY (more than twice the file and 64 MB; of images
150 MB more), DIED, LATE. picklescan says what it finds: "dangerous", "suspicious" or "clean".
"""

import argparse
import contextlib
import importlib.util
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLAG = os.path.join(tempfile.gettempdir(), "hostile_flag")  # what the files' code would write
sys.path[:0] = [HERE, os.path.join(HERE, "tests", "fuzz")]
KINDS = {
    "facetrainer": (),
    "keras": (".keras", ".h5"),
    "numpy": (".npz", ".bin"),
    "torch": (".pt", ".bin"),
    "pickle": (".bin",),
    "picklescan": (".bin", ".pt", ".npz"),
}


def open_with(program, path):
    """Opens one file as that program's users would, in its safest way; pickle.load is what mxnet's and InsightFace's scripts do."""
    if program == "facetrainer":
        import openers

        openers.open_file(path)
    elif program == "keras":
        import keras

        keras.models.load_model(path, compile=False, safe_mode=True)
        if keras.config.dtype_policy().name != "float32":
            print("SETTINGS")
    elif program == "numpy":
        import numpy as np

        found = np.load(path, allow_pickle=False)
        print([found[name].nbytes for name in found.files])
    elif program == "torch":
        import torch

        torch.load(path, weights_only=True, map_location="cpu")
    elif program == "pickle":
        with open(path, "rb") as file:
            list(pickle.load(file, encoding="bytes")[1])
    else:
        from picklescan.scanner import SafetyLevel, scan_file_path

        found = scan_file_path(path)
        levels = {one.safety for one in found.globals}
        print(
            "dangerous"
            if SafetyLevel.Dangerous in levels or found.scan_err
            else "suspicious"
            if SafetyLevel.Suspicious in levels
            else "clean"
        )


def one(program, path):
    """The process that opens one file."""
    if program in ("keras", "facetrainer"):
        import keras
        import openers  # noqa: F401

        keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    if program == "torch":
        import torch  # noqa: F401
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.time()
    try:
        open_with(program, path)
        print("OPENED")
    except Exception as error:
        print("refused", type(error).__name__)
    print("took", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10, time.time() - begin)


def outcome(program, path):
    """One word for what came of it."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(FLAG)
    call, quiet = (
        [sys.executable, os.path.abspath(__file__), "--one", program, path],
        {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=90, env=quiet, check=False)
    except subprocess.TimeoutExpired:
        return "LATE"
    if os.path.exists(FLAG):
        return "CODE"
    words = done.stdout.split()
    if "took" not in words:
        return f"DIED ({done.returncode})"
    if program == "picklescan":
        return words[0]
    taken, pixels = (
        int(words[words.index("took") + 1]),
        150 * (os.path.splitext(path)[1] not in (".bin", ".pt", ".keras", ".h5", ".npz", ".onnx", ".params")),
    )
    memory = taken > 64 + pixels + 2 * os.path.getsize(path) / 1e6
    return next((word for word in ("SETTINGS", "OPENED") if word in words), "refused") + (
        f" MEMORY {taken} MB" if memory else ""
    )


def make(folder):
    import hostile

    os.environ[hostile.FLAG] = FLAG
    os.makedirs(folder, exist_ok=True)
    for name, (function, _) in hostile.FILES.items():
        function(os.path.join(folder, name))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files")
    parser.add_argument("--make")
    parser.add_argument(
        "--programs", nargs="+", default=[name for name in KINDS if importlib.util.find_spec(name)], choices=KINDS
    )
    parser.add_argument("--one", nargs=2)
    a = parser.parse_args()
    if a.one:
        return one(*a.one)
    if a.make:
        return make(a.make)
    with tempfile.TemporaryDirectory() as home:
        folder = a.files or home
        if not a.files:
            make(folder)
        print(f"{'file':24}", *(f"{name:22}" for name in a.programs))
        for name in sorted(os.listdir(folder), key=lambda name: name.rpartition(".")[::-1]):
            suffix = os.path.splitext(name)[1]
            row = [
                outcome(p, os.path.join(folder, name)) if not KINDS[p] or suffix in KINDS[p] else "" for p in a.programs
            ]
            print(f"{name:24}", *(f"{found:22}" for found in row), flush=True)


if __name__ == "__main__":
    main()
