"""The state of a run in one file, written atomically: weights, optimizer, losses' memory, RNG, metrics, position, history.

A run is a journal of stages entered, each with a fingerprint of what it does. Running the same calls again in a new
process walks the journal: finished stages are passed over, the unfinished one goes on where its last checkpoint stands.
"""

import dataclasses
import json
import logging
import os

import keras
import numpy as np

log = logging.getLogger("face")


@dataclasses.dataclass(frozen=True)
class Position:
    """`step` batches of `epoch` are done."""

    epoch: int
    step: int = 0


def variables(model) -> dict[str, list]:
    """Everything that a training step changes, in an order that the same construction repeats."""
    return {
        "weight": [v for v in model.variables if all(v is not m for metric in model.metrics for m in metric.variables)],
        "optimizer": list(model.optimizer.variables),
        "average": model.averages.means if model.averages else [],
        "metric": [v for metric in model.metrics for v in metric.variables],
    }


class Checkpoint:
    """State file of one run."""

    def __init__(self, path: str, resume: bool = True):
        self.path, self.journal, self.entered = path, [], 0
        self.stored = self._read() if resume and os.path.exists(path) else None

    def _read(self):
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return json.loads(str(file["about"]))
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"{self.path} is not a readable run state ({error}). Move it away to start this run anew."
            ) from error

    def enter(self, fingerprint: dict, first_epoch: int) -> tuple[Position, bool] | None:
        """Next stage of this process → (where to begin, whether to restore), or None where it is behind the state."""
        number, self.entered = self.entered, self.entered + 1
        fingerprint = json.loads(json.dumps(fingerprint))
        if self.stored and number < len(self.stored["journal"]):
            self._compare(number, fingerprint)
        self.journal.append(fingerprint)
        if not self.stored or number >= len(self.stored["journal"]):
            return Position(first_epoch), False
        if number < len(self.stored["journal"]) - 1:
            return None
        return Position(self.stored["epoch"], self.stored["step"]), True

    def _compare(self, number, fingerprint):
        before = self.stored["journal"][number]
        changed = sorted(k for k in {*before, *fingerprint} if before.get(k) != fingerprint.get(k))
        if not changed:
            return
        what = ", ".join(f"{k} {before.get(k)} → {fingerprint.get(k)}" for k in changed)
        if number:
            raise ValueError(
                f"{self.path} holds a run that began the same, but stage {number} differs: {what}. "
                "Use another save_path, or resume=False to start anew."
            )
        os.replace(self.path, self.path + ".old")
        log.warning("starting anew: %s is of another run (%s); kept as %s.old", self.path, what, self.path)
        self.stored = None

    def save(self, model: keras.Model, position: Position, about: dict) -> None:
        """Write the state; a crash leaves the previous one whole."""
        arrays = {
            f"{kind}{i}": keras.ops.convert_to_numpy(v)
            for kind, found in variables(model).items()
            for i, v in enumerate(found)
        }
        about = {**about, **dataclasses.asdict(position), "journal": self.journal}
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        with open(self.path + ".part", "wb") as file:
            np.savez(file, about=json.dumps(about), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.path + ".part", self.path)

    def restore(self, model: keras.Model) -> "KeepMetrics":
        """Put the values of the last state into `model` → callback that puts back the running metrics of a begun epoch."""
        self.stored = self._read()
        with np.load(self.path, allow_pickle=False) as file:
            for kind, found in variables(model).items():
                for i, v in enumerate(found):
                    value = file[f"{kind}{i}"]
                    if tuple(v.shape) != value.shape:
                        raise ValueError(f"{self.path}: expected {v.path} {tuple(v.shape)}. Received: {value.shape}")
                    v.assign(value)
        metrics = [keras.ops.convert_to_numpy(v) for v in variables(model)["metric"]]
        return KeepMetrics(metrics if self.stored["step"] else None)


class KeepMetrics(keras.callbacks.Callback):
    """`fit` clears the metrics as it begins; an epoch that goes on in the middle needs them back."""

    def __init__(self, values=None):
        super().__init__()
        self.values = values

    def on_epoch_begin(self, epoch, logs=None):
        if self.values is not None:
            for v, value in zip(variables(self.model)["metric"], self.values, strict=True):
                v.assign(value)
            self.values = None
