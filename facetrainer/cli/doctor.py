"""Is all well? Versions, devices, memory, disk; what a data or model file is; how fast images are read and a step is done.

  facetrainer doctor
  facetrainer doctor /datasets/faces_emore lfw.bin r50.onnx
  facetrainer doctor --no-speed --json doctor.json

The last lines say what to do. The exit code is 1 where something keeps a model from being trained, or a path is not recognised.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import time

from facetrainer.cli import run
from facetrainer.utils import environment, system
from facetrainer.utils.lazy import later

keras, np = later("keras"), later("numpy")
sources, pairs = later("facetrainer.data.sources"), later("facetrainer.evaluation.pairs")
pair_lists, cached = later("facetrainer.io.pair_lists"), later("facetrainer.io.cached")
models, losses, drawn = later("facetrainer.models"), later("facetrainer.losses"), later("facetrainer.data.synthetic")
interfaces, augment = later("facetrainer.evaluation.interface"), later("facetrainer.data.augment")
images = later("facetrainer.data.images")

MODELS = (".keras", ".h5", ".onnx", ".tflite", ".pt", ".pth", ".params")
LEAST_MEMORY, LEAST_DISK = 2 * system.GIB, 2 * system.GIB


@dataclasses.dataclass
class Finding:
    """A line of the report; `advice` says what to do where something is not well, `grave` that nothing can be trained."""

    what: str
    value: str
    advice: str = ""
    grave: bool = False


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("doctor", __doc__)
    main.add_argument("paths", nargs="*", metavar="PATH", help="datasets, evaluation sets, model files to look at")
    main.add_argument("--no-speed", action="store_true", help="time nothing")
    run.add_json(main, "the findings")
    run.add_trusted(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Prints the findings; exit codes of `run.call`, 1 also where something is grave."""
    grave = []

    def work(a):
        found = examine(a)
        show(found)
        grave.extend(one for one in found if one.grave)
        return [dataclasses.asdict(one) for one in found]

    return run.call(parser(), work, argv) or int(bool(grave))


def examine(a) -> list[Finding]:
    """All findings, in order."""
    found = [*_programs(), *_machine(), *_devices(), *(_path(path, a.trusted) for path in a.paths)]
    if not a.no_speed and not any(one.grave for one in found):
        found += _speed()
    return found


def show(found: list[Finding]) -> None:
    """Prints a line a finding, then what to do."""
    wide = max(len(one.what) for one in found)
    for one in found:
        print(f"{'!' if one.advice else ' '} {one.what:<{wide}}  {one.value}")
    todo = [one.advice for one in found if one.advice]
    print("\nTo do:" if todo else "\nAll is well.")
    for line in todo:
        print(f"  {line}")


def _programs():
    about = environment.of_run()
    yield Finding("facetrainer", about["facetrainer"])
    yield Finding("with", about["with"])
    yield Finding("backend", keras.backend.backend())


def _machine():
    yield Finding("machine", f"{environment.machine()}; {system.cores()} to use")
    memory = system.free_memory()
    if memory is not None:
        advice = (
            ""
            if memory >= LEAST_MEMORY
            else "Little memory is free: end other programs, or train with a smaller batch_size."
        )
        yield Finding("memory free", f"{memory / system.GIB:.1f} GiB", advice)
    for what, path in (("disk free here", "."), ("disk free for indexes", cached.folder())):
        free = system.free_disk(path)
        advice = (
            ""
            if free >= LEAST_DISK
            else f"Little disk is free at {os.path.abspath(path)}: a run writes its state twice."
        )
        yield Finding(what, f"{free / system.GIB:.1f} GiB ({os.path.abspath(path)})", advice)
    advice = (
        ""
        if os.access(".", os.W_OK)
        else "This folder cannot be written to: checkpoints have no place. Change to another."
    )
    yield Finding("writable here", "no" if advice else "yes", advice, bool(advice))


def _devices():
    cards, backend = system.nvidia_cards(), keras.backend.backend()
    yield Finding("graphics cards", "; ".join(cards) or "none that a driver tells of")
    seen = keras.distribution.list_devices() if backend == "jax" else _devices_of(backend)
    advice = (
        _unused(cards, backend)
        if cards and not any("gpu" in one.lower() or "cuda" in one.lower() for one in seen)
        else ""
    )
    yield Finding(f"{backend} sees", ", ".join(seen) or "the processor alone", advice)


def _devices_of(backend):
    """Devices by Keras's names; a backend without GPUs sees none."""
    if backend == "tensorflow":
        return keras.distribution.list_devices("gpu") or keras.distribution.list_devices("cpu")
    cuda = backend == "torch" and importlib.import_module("torch").cuda.is_available()
    return ["cuda"] if cuda else []


def _unused(cards, backend):
    lines = {
        "tensorflow": 'pip uninstall -y tensorflow-cpu && pip install "face-trainer[gpu]"',
        "jax": 'pip install "jax[cuda13]"',
    }
    about = "which is built without CUDA, or whose CUDA does not fit the driver"
    return (
        f"{cards[0].split(',')[0]} is not used by {backend}, {about}: {lines.get(backend, 'install PyTorch with CUDA')}"
    )


def _path(path, trusted):
    """What a file or folder is, or why it is nothing that is known."""
    try:
        return Finding(path, _recognised(path, trusted))
    except (ValueError, OSError, ImportError) as error:
        return Finding(path, "not recognised", f"{path}: {error}", True)


def _recognised(path, trusted):
    kind = os.path.splitext(path)[1].lower()
    if kind in MODELS or os.path.exists(os.path.join(path, "saved_model.pb")):
        return _model(path, trusted)
    if kind == ".bin" or _has_pairs(path):
        found = pairs.read_pairs(path)
        return f"evaluation set, {len(found.same):,} pairs, {int(found.same.sum()):,} of one person"
    source = sources.open_source(path)
    shape = images.decode(source.read(0)).shape
    return f"faces, {len(source):,} images of {len(source.class_names):,} people, the first {shape[0]}×{shape[1]}"


def _has_pairs(path):
    try:
        return os.path.isdir(path) and bool(pair_lists.find(path))
    except FileNotFoundError:
        return False


def _model(path, trusted):
    embed = interfaces.interface(path, trusted=trusted)
    height, width = interfaces.image_size(embed)
    found = np.asarray(embed(np.zeros((1, height, width, 3), np.float32)))
    return f"model, {os.path.getsize(path) / 1e6 if os.path.isfile(path) else 0:.1f} MB, {height}×{width} → {found.shape[-1]}"


def _speed():
    """Images a second: decoded and mirrored by one thread, and through a step of a small network."""
    encoded = [face for person in drawn.people(16, 4, seed=0) for face in person]
    rng, begin, count = np.random.default_rng(0), time.perf_counter(), 0
    while time.perf_counter() - begin < 1:
        augment.flip(images.decode(encoded[count % 64]), rng)
        count += 1
    read = count / (time.perf_counter() - begin)
    yield Finding("reading", f"{read:,.0f} images/s, 112×112 JPEG, one thread of {system.cores()}")
    step = _step(np.stack([images.decode(one) for one in encoded]))
    slow = "Reading takes longer than training: use more cores."
    slow = slow if read * system.cores() < step else ""
    yield Finding("training", f"{step:,.0f} images/s, MobileFaceNet, batch 64, ArcFace", slow)


def _step(batch):
    embedder = models.buildin_models("mobilefacenet", emb_shape=128)
    trained = models.FaceModel(embedder, models.NormDense(16), [losses.ArcfaceLoss()])
    trained.compile(keras.optimizers.SGD(0.01))
    labels = {"labels": np.repeat(np.arange(16, dtype=np.int32), 4)}
    trained.train_on_batch(batch, labels)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < 2:
        trained.train_on_batch(batch, labels)
        count += 1
    return count * len(batch) / (time.perf_counter() - begin)
