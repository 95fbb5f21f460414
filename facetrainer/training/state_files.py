"""A run's state on disk: as one file, or as a directory that several devices and processes write together."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable

import numpy as np

from facetrainer import distributed
from facetrainer.io import cached
from facetrainer.utils.files import replacing, write_json
from facetrainer.utils.optional import need

FORMAT = 2


class OneFile:
    """`x.state.npz`, and the version before, `x.state.previous.npz`. Tables of classes are gathered.

    Args:
        stem: Path of the run without a suffix.
    """

    def __init__(self, stem: str):
        self.path, self.previous = f"{stem}.state.npz", f"{stem}.state.previous.npz"
        self.paths = (self.path, self.previous)

    def write(self, journal: dict, states: dict) -> None:
        """Writes a state; a crash leaves the one before whole."""
        arrays = {}
        about = {"format": FORMAT, "journal": journal, "states": _take_arrays(states, arrays, _gather)}
        with replacing(self.path) as part:
            with open(part, "wb") as file:
                np.savez(file, about=json.dumps(about), **arrays)
                file.flush()
                os.fsync(file.fileno())
            if os.path.exists(self.path):
                os.replace(self.path, self.previous)

    def set_aside(self) -> None:
        """Both versions are kept under other names."""
        _set_aside(*self.paths)


class Directory:
    """`x.state.json` and the Orbax directory `x.state/N` that it names; `x.state.previous.json` and its own. Renaming the JSON comes last.

    Each device writes its part of a table, and on any other number of devices or processes each reads its part.

    Args:
        stem: Path of the run without a suffix.
    """

    def __init__(self, stem: str):
        self.path, self.previous, self.home = f"{stem}.state.json", f"{stem}.state.previous.json", f"{stem}.state"
        self.paths, self.number = (self.path, self.previous), None

    def write(self, journal: dict, states: dict) -> None:
        """Writes a state, all processes together; a crash leaves the one before whole."""
        number, arrays = self._next(), {}
        about = {"format": FORMAT, "journal": journal, "folder": number, "states": _take_arrays(states, arrays, _split)}
        with _orbax() as checkpointer:
            checkpointer.save(self._folder(number), args=_arguments("PyTreeSave", arrays), force=True)
        if distributed.is_first():
            if os.path.exists(self.path):
                os.replace(self.path, self.previous)
            write_json(self.path, about)
            self._tidy(number)
        distributed.wait_for_all()

    def _folder(self, number):
        return os.path.abspath(os.path.join(self.home, str(number)))

    def _next(self):
        """Of the next directory: the same in all processes, which begin to count together."""
        if self.number is None:
            distributed.wait_for_all()
            there = os.listdir(self.home) if os.path.isdir(self.home) else []
            self.number = max((int(name) for name in there if name.isdecimal()), default=-1)
            distributed.wait_for_all()
        self.number += 1
        return self.number

    def _tidy(self, number):
        for name in os.listdir(self.home):
            if not name.isdecimal() or int(name) < number - 1:
                shutil.rmtree(os.path.join(self.home, name), ignore_errors=True)

    def set_aside(self) -> None:
        """Both versions are kept under other names."""
        _set_aside(*self.paths, self.home)


def _set_aside(*paths):
    for path in paths if distributed.is_first() else ():
        if os.path.isdir(path + ".old"):
            shutil.rmtree(path + ".old")
        if os.path.exists(path):
            os.replace(path, path + ".old")


def _orbax():
    ocp = need("orbax.checkpoint", "orbax-checkpoint", "the state of a run on several devices")
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())


def _arguments(kind, *args, **kwargs):
    import orbax.checkpoint

    return getattr(orbax.checkpoint.args, kind)(*args, **kwargs)


def _gather(value):
    return (distributed.value_of(value) if isinstance(value, distributed.Table) else value), {}


def _split(value):
    if not isinstance(value, distributed.Table):
        return value, {}
    rows = value.rows
    return value.value, {"shape": list(rows.shape), "axis": rows.axis, "each": rows.each}


def _take_arrays(content, arrays: dict, form: Callable):
    """Nested state → the same with each array replaced by its name in `arrays`, where `form(array)` stands."""
    if isinstance(content, dict):
        return {str(key): _take_arrays(value, arrays, form) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_take_arrays(value, arrays, form) for value in content]
    if isinstance(content, (np.ndarray, distributed.Table)):
        name = f"array_{len(arrays)}"
        arrays[name], about = form(content)
        return {"array": name, **about}
    return content.item() if isinstance(content, np.generic) else content


def _put_arrays(content, arrays):
    if isinstance(content, dict) and isinstance(content.get("array"), str):
        return arrays[content["array"]]
    if isinstance(content, dict):
        return {key: _put_arrays(value, arrays) for key, value in content.items()}
    return [_put_arrays(value, arrays) for value in content] if isinstance(content, list) else content


def _named(content) -> dict[str, dict]:
    """What a state says of its arrays, by name."""
    if isinstance(content, dict) and isinstance(content.get("array"), str):
        return {content["array"]: content}
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return {name: about for one in inner for name, about in _named(one).items()}


def read_state(path: str) -> dict:
    """A state, of this version or of 0.5.

    Args:
        path: The `.npz` file, or the `.json` beside the directory.

    Returns:
        `{"journal": {"run": ..., "stages": [...]}, "states": {name: state}}`.

    Raises:
        ValueError: It is cut off, empty or damaged; the zip's checksums tell.
    """
    try:
        return _read_directory(path) if path.endswith(".json") else _read_file(path)
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    except (TypeError, AttributeError, RuntimeError, MemoryError) as error:  # a flipped bit in a header
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _read_file(path):
    arrays = cached.read_npz(path)
    about = json.loads(str(arrays.pop("about")))
    if "format" not in about:
        return _of_version_0_5(about, arrays)
    return {"journal": about["journal"], "states": _put_arrays(about["states"], arrays)}


def _read_directory(path):
    with open(path, encoding="utf-8") as file:
        about = json.load(file)
    stem = path.removesuffix(".json").removesuffix(".previous")
    folder, named = os.path.abspath(os.path.join(stem, str(int(about["folder"])))), _named(about["states"])
    with _orbax() as checkpointer:
        restore = {name: _restore(one) for name, one in named.items()}
        arrays = checkpointer.restore(folder, args=_arguments("PyTreeRestore", restore_args=restore)) if named else {}
    arrays = {name: _restored(arrays[name], one) for name, one in named.items()}
    return {"journal": about["journal"], "states": _put_arrays(about["states"], arrays)}


def _rows(about):
    return distributed.Rows(tuple(about["shape"]), about["axis"], about["each"])


def _restore(about):
    """How Orbax is to read an array: each device its part of a table where classes are split, else all of it."""
    import orbax.checkpoint as ocp

    devices = distributed.sharding()
    if devices is None or "shape" not in about:
        return ocp.RestoreArgs(restore_type=np.ndarray)
    rows = _rows(about)
    layout = rows.layout(devices).backend_layout
    return ocp.ArrayRestoreArgs(sharding=layout, global_shape=rows.filled(devices.count), strict=False)


def _restored(value, about):
    if "shape" not in about:
        return value
    return _rows(about).trim(value) if isinstance(value, np.ndarray) else distributed.Table(value, _rows(about))


def _of_version_0_5(about, arrays):
    kinds = {"weights": "weight", "optimizer": "optimizer", "averages": "average", "metrics": "metric"}
    model = {
        kind: [arrays[f"{old}{i}"] for i in range(sum(_is(name, old) for name in arrays))]
        for kind, old in kinds.items()
    }
    stages = [{"version": "0.5", "first epoch": one["first epoch"]} for one in about["journal"]]
    progress = {"stage": len(stages) - 1, "epoch": about["epoch"], "step": about["step"]}
    states = {"model": model, "progress": progress, "history": {"history": about["history"]}, "evaluations": about["evals"],
              "learning rate": {"factor": about.get("lr_factor", 1.0)}}  # fmt: skip
    return {"journal": {"run": {}, "stages": stages}, "states": states}


def _is(name, kind):
    return name.startswith(kind) and name[len(kind) :].isdigit()
