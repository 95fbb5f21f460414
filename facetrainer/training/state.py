"""What a run is at a moment: everything that survives a kill, each thing with the same two methods."""

import dataclasses
from typing import Any, Protocol

import keras
import numpy as np

from facetrainer import distributed, optimizers
from facetrainer.heads import NormDense
from facetrainer.training import growing
from facetrainer.utils.finite import NotFiniteError


class Stateful(Protocol):
    """Something whose state is written with the run's and put back from it."""

    def state_dict(self) -> dict:
        """Nested dicts and lists of numbers, texts and arrays."""

    def load_state_dict(self, state: dict) -> None:
        """The way back."""


@dataclasses.dataclass
class Progress:
    """The one clock of a run, read by every callback: `step` batches of `epoch` of `stage` are done, or a callback `ended` it."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    ended: bool = False

    def state_dict(self) -> dict:
        """Stage, epoch and step."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what `state_dict` gave."""
        self.stage, self.epoch, self.step = (int(state[name]) for name in ("stage", "epoch", "step"))
        self.ended = bool(state.get("ended", False))  # states of 0.12 have none


def variables(model: keras.Model) -> dict[str, list]:
    """Everything that a training step changes, by kind, in an order that the same construction repeats.

    Args:
        model: Compiled `FaceModel`.

    Returns:
        Lists of Keras variables by kind.
    """
    metrics = [v for metric in model.metrics for v in metric.variables]
    return {
        "weights": [v for v in model.variables if all(v is not m for m in metrics)],
        "optimizer": list(model.optimizer.variables),
        "averages": model.averages.state if model.averages else [],
        "metrics": metrics,
    }


class ModelState:
    """Weights, optimizer, running means and metrics of the model of a stage.

    Args:
        model: Compiled `FaceModel`.
    """

    def __init__(self, model: keras.Model):
        self.model = model

    def state_dict(self) -> dict:
        """The state of the training.

        Returns:
            NumPy arrays by kind.

        Raises:
            NotFiniteError: A weight, a running mean or an optimizer's memory holds NaN or infinity: such a state is not written.
        """
        kinds = variables(self.model)
        seen = (v for kind in kinds if kind != "metrics" for v in kinds[kind])
        if bad := next((v.path for v in seen if not distributed.is_finite(v)), None):
            raise NotFiniteError(f"{bad} is not finite")
        return {kind: [distributed.kept(v) for v in kinds[kind]] for kind in kinds}

    def load_state_dict(self, state: dict) -> None:
        """Puts the arrays back.

        Raises:
            ValueError: An array has another shape than its variable.
        """
        for kind, found in variables(self.model).items():
            if len(found) != len(state[kind]):
                raise ValueError(f"{kind} of the run: expected {len(found)} arrays. Received: {len(state[kind])}")
            for v, value in zip(found, state[kind], strict=True):
                if distributed.shape_of(v) != tuple(value.shape):
                    raise ValueError(f"expected {v.path} {distributed.shape_of(v)}. Received: {tuple(value.shape)}")
                distributed.assign(v, value)


class Carried:
    """Weights of heads and losses, by slot, from the last stage that had them; the next stage with the slot takes over what fits.

    Every stage is built from this and never from the layers of the stage before, so that a resumed run and one that was never
    stopped do the same. The optimizer in use is handed on beside, but for its memory of variables named like `forget`.
    """

    def __init__(self):
        self.kept, self.optimizer, self.forget = {}, None, None

    def remember(self, slot: str, layer: keras.layers.Layer, people: list[str] | None = None) -> None:
        """Keeps the weights of a head (slot "head") or loss.

        Args:
            slot: Its name.
            layer: The head or loss.
            people: Names of the classes, where the data have any.
        """
        rows = {"rows": layer.rows, "sub_centers": layer.loss_top_k} if isinstance(layer, NormDense) else {}
        weights = [[w.name, distributed.kept(w)] for w in layer.weights]
        named = {"people": growing.packed(people)} if people and layer.class_axes else {}
        self.kept[slot] = {"kind": type(layer).__name__, **rows, **named, "weights": weights}

    def give(self, slot: str, layer: keras.layers.Layer, people: list[str] | None = None) -> tuple[int, str]:
        """Copies what fits into a new layer.

        Within a kind weights of one name and shape fit; a head also takes those of a head of another kind with the same shapes in
        order (softmax → cosine), and a table of centers the transposed one. Where the data have other people, rows go by name.

        Args:
            slot: Its name.
            layer: The new head or loss.
            people: Names of the classes, where the data have any.

        Returns:
            How many weights were copied, and what became of the people where they are others.
        """
        kept = self.kept.get(slot)
        if kept is None or (slot != "head" and kept["kind"] != type(layer).__name__):
            return 0, ""
        pairs, news = self._by_name(kept, layer, people, _pairs(kept, layer))
        pairs = [(old, new) for old, new in pairs if tuple(old.shape) == distributed.shape_of(new)]
        for old, new in pairs:
            distributed.assign(new, old)
        return len(pairs), news

    @staticmethod
    def _by_name(kept, layer, people, pairs):
        if "people" not in kept or not people or np.array_equal(kept["people"], growing.packed(people)):
            return pairs, ""
        before = growing.unpacked(kept["people"])
        places = growing.places(before, people)
        pairs = [
            (
                growing.moved(_array(old), distributed.value_of(new), layer.class_axes[new.name], places, len(before)),
                new,
            )
            if new.name in layer.class_axes
            else (old, new)
            for old, new in pairs
        ]
        return pairs, growing.told(places, len(before))

    def state_dict(self) -> dict:
        """Arrays that later stages take up."""
        return self.kept

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what `state_dict` gave."""
        self.kept = dict(state)


class Origin:
    """What another run needs to go on from this one's model file: who its classes are, and its optimizer's kind and settings.

    Args:
        people: Names of the classes, or None.
        optimizer: The one in use.
    """

    def __init__(self, people: list[str] | None, optimizer: keras.optimizers.Optimizer):
        self.people, self.optimizer = people, optimizer

    def state_dict(self) -> dict:
        """What the state came of, as JSON takes it."""
        inner = optimizers.inner_of(self.optimizer)
        about = {"class": type(inner).__name__, "config": _plain_settings(inner)}
        return {"optimizer": about, **({"people": growing.packed(self.people)} if self.people else {})}

    def load_state_dict(self, state: dict) -> None:
        """Nothing: a run that goes on has both."""

    @classmethod
    def from_state(cls, state: dict) -> "Origin":
        """From the "origin" of a state file.

        Returns:
            The origin.

        Raises:
            ValueError: The optimizer is none of Keras's or ours.
        """
        about, people = state["optimizer"], state.get("people")
        kind: Any = next(
            (found for home in (optimizers, keras.optimizers) if (found := getattr(home, about["class"], None))), None
        )
        if not (isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)):
            raise ValueError(f"the run's optimizer {about['class']!r} is not known. Give the stage an 'optimizer'.")
        return cls(None if people is None else growing.unpacked(people), kind.from_config(about["config"]))  # type: ignore[attr-defined]


def _plain_settings(optimizer):
    """Numbers and texts of an optimizer's settings; the rate may be a schedule, which Train replaces."""
    return {k: v for k, v in optimizer.get_config().items() if isinstance(v, (int, float, str, bool, type(None)))}


def _array(kept):
    return distributed.value_of(kept) if isinstance(kept, distributed.Table) else kept


def _pairs(kept, layer):
    weights = dict(kept["weights"])
    if "rows" in kept and isinstance(layer, NormDense) and kept["rows"] != layer.rows:
        table = _array(kept["weights"][0][1])
        return [(table.T, layer.kernel)] if kept["sub_centers"] == layer.loss_top_k else []
    if kept["kind"] == type(layer).__name__:
        return [(weights[w.name], w) for w in layer.weights if w.name in weights]
    return list(zip(weights.values(), layer.weights, strict=False))


class Named:
    """Several stateful things as one, by name; a name that the state lacks begins anew.

    Args:
        things: `{name: thing}`.
    """

    def __init__(self, things: dict[str, Stateful]):
        self.things = things

    def state_dict(self) -> dict:
        """Arrays by name."""
        return {name: thing.state_dict() for name, thing in self.things.items()}

    def load_state_dict(self, state: dict | list) -> None:
        """A list is by position, as version 0.5 wrote it."""
        state = dict(zip(self.things, state, strict=False)) if isinstance(state, list) else state
        for name, thing in self.things.items():
            if name in state:
                thing.load_state_dict(state[name])
