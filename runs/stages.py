"""A schedule, read whole → stages. What a `sch` may say, and what it says when it is wrong."""

import dataclasses
import difflib
import fnmatch

import keras
import numpy as np

import losses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training: what is optimised, for how long, how, with what frozen."""

    loss: losses.FaceLoss
    epoch: int
    optimizer: object = None  # None: go on with the one in use
    weight: float = 1.0
    extras: tuple[tuple[losses.FaceLoss, float], ...] = ()
    bottleneck_only: bool = False
    sub_centers: int = 1
    freeze: tuple[str, ...] = ()
    ramps: tuple[tuple[str, float, float], ...] = ()  # (argument of the loss, first value, last value)
    ema: float = 0.0
    sam_rho: float | None = None  # None: Train's
    mixup: float | None = None
    balanced: float = 0.0
    accumulate: int = 1
    clip: float = 0.0

    @property
    def terms(self) -> list[losses.FaceLoss]:
        return [self.loss, *(extra for extra, _ in self.extras)]

    @property
    def weights(self) -> list[float]:
        return [self.weight, *(weight for _, weight in self.extras)]

    @property
    def head(self) -> str | None:
        return next((term.head for term in self.terms if term.head), None)

    @property
    def needs_groups(self) -> bool:
        return any(term.needs_groups for term in self.terms)

    @property
    def distills(self) -> bool:
        return any("teacher" in term.reads for term in self.terms)

    def describe(self) -> str:
        parts = [
            f"{type(term).__name__}{term.get_config()} × {w:g}"
            for term, w in zip(self.terms, self.weights, strict=True)
        ]
        return " + ".join(parts)

    def options(self) -> dict:
        """What else is set: the keys of this page that differ from their defaults."""
        names = ("bottleneck_only", "freeze", "ramps", "ema", "sam_rho", "mixup", "balanced", "accumulate", "clip")
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: getattr(self, name) for name in names if getattr(self, name) != defaults[name]}

    def frozen(self, names: list[str]) -> set[str]:
        """Names of the layers that `freeze` names; ValueError where a pattern fits none."""
        found = set()
        for pattern in self.freeze:
            fits = fnmatch.filter(names, pattern)
            if not fits:
                near = difflib.get_close_matches(pattern, names, 3, 0.3)
                raise ValueError(
                    f"'freeze': no layer of the basic model is named {pattern!r}. Near: {', '.join(near)}."
                )
            found.update(fits)
        return found


KEYS = {
    "loss": None, "epoch": None, "optimizer": None, "bottleneckOnly": False, "lossTopK": 1, "lossWeight": 1, "type": None,
    "embLossTypes": None, "embLossWeights": 1, "tripletAlpha": 0.35, "alpha": None,
    "centerloss": 0, "triplet": 0, "distill": 0,
    "freeze": None, "scale": None, "margin": None, "ema": 0, "sam_rho": None, "mixup": None, "balanced": 0, "accumulate": 1,
    "clip": 0,
}  # fmt: skip


def read_plan(train_schedule: dict | list[dict]) -> list[Stage]:
    """A schedule, read whole and copied → stages; ValueError names the entry, the key and the remedy."""
    schedule = [train_schedule] if isinstance(train_schedule, dict) else list(train_schedule)
    if not schedule:
        raise ValueError("sch is empty. A stage is at least {'loss': ..., 'epoch': ...}.")
    return [_read_stage(entry, f"sch[{i}]") for i, entry in enumerate(schedule)]


def _read_stage(entry, where):
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected a dict. Received: {entry!r}")
    try:
        _check_keys(entry)
        loss = losses.get(entry["loss"])
        extras = tuple(_extras(entry))
        stage = Stage(
            loss=_typed(loss, entry.get("type")),
            epoch=_number(entry, "epoch", int),
            optimizer=_optimizer(entry.get("optimizer")),
            weight=_number(entry, "lossWeight"),
            extras=extras,
            bottleneck_only=bool(entry.get("bottleneckOnly", False)),
            sub_centers=_number(entry, "lossTopK", int, 1),
            freeze=_names(entry.get("freeze")),
            ramps=tuple(_ramps(entry, loss)),
            ema=_number(entry, "ema", most=1),
            sam_rho=_number(entry, "sam_rho"),
            mixup=_number(entry, "mixup"),
            balanced=float(entry["balanced"]) if entry.get("balanced") is True else _number(entry, "balanced", most=1),
            accumulate=_number(entry, "accumulate", int, 1),
            clip=_number(entry, "clip"),
        )
        _check_stage(stage)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    return stage


def _check_keys(entry):
    for key in entry:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1, 0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(KEYS)}."
            raise ValueError(f"unknown key {key!r}. {hint}")
    for key in ("loss", "epoch"):
        if key not in entry:
            raise ValueError(
                f"{key!r} is missing. A stage is at least {{'loss': ..., 'epoch': ...}}. Received: {list(entry)}"
            )


def _check_stage(stage):
    """What does not go together."""
    heads = {term.head for term in stage.terms if term.head}
    if len(heads) > 1:
        raise ValueError(f"one head a stage: {' and '.join(sorted(heads))} losses do not go together")
    if stage.sub_centers > 1 and stage.head != "arcface":
        raise ValueError(
            f"'lossTopK' needs a loss over cosines, such as losses.ArcfaceLoss(). Received: {type(stage.loss).__name__}"
        )
    if stage.balanced and stage.needs_groups:
        raise ValueError("'balanced' draws people evenly, as the P×K batches of a pair loss do already. Leave it out.")
    if stage.mixup and not all(term.head for term in stage.terms):
        name = next(type(term).__name__ for term in stage.terms if not term.head)
        raise ValueError(f"'mixup' gives an image two people: {name} needs images of one. Leave one of them out.")
    if stage.mixup and (stage.distills or stage.needs_groups):
        raise ValueError("'mixup' goes with softmax and margin losses alone. Leave it out.")
    if stage.ema == 1:
        raise ValueError("'ema' 1 never moves. Use 0.999 or so.")


def _number(entry, key, kind=float, least=0, most=None):
    value = entry.get(key, KEYS[key])
    if value is None and KEYS[key] is None:
        return None
    whole = isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and value == kind(value)
    if not whole or value < least or (most is not None and value > most):
        name = "a whole number" if kind is int else "a number"
        bound = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{key!r} must be {name} {bound}. Received: {value!r}")
    return kind(value)


def _optimizer(value):
    try:
        return None if value is None else keras.optimizers.get(value)
    except ValueError as error:
        raise ValueError(f"'optimizer': {error}") from error


def _names(value):
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"'freeze' must be names of layers, or patterns such as 'stack1_*'. Received: {value!r}")
    return tuple(names)


def _ramps(entry, loss):
    """`scale` and `margin`, each (first value, last value) over the stage → (argument of the loss, first, last)."""
    for key, argument in (("scale", loss.main_scale), ("margin", loss.main_margin)):
        pair = entry.get(key)
        if pair is None:
            continue
        if argument is None:
            raise ValueError(f"{key!r}: {type(loss).__name__} has no {key} that could change. Leave it out.")
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(v, (int, float)) for v in pair):
            raise ValueError(f"{key!r} must be two numbers, at the stage's beginning and end. Received: {pair!r}")
        yield argument, float(pair[0]), float(pair[1])


def _extras(entry):
    """Short forms and `embLossTypes` → (loss, weight); a weight of 0 attaches nothing."""
    alpha = entry.get("alpha")
    alpha = entry.get("tripletAlpha", KEYS["tripletAlpha"]) if alpha is None else alpha
    named = [(name, entry.get(name, 0)) for name in ("centerloss", "triplet", "distill")]
    types = entry.get("embLossTypes") or []
    types = types if isinstance(types, (list, tuple)) else [types]
    weights = entry.get("embLossWeights", 1)
    weights = weights if isinstance(weights, (list, tuple)) else [weights] * len(types)
    if len(weights) != len(types):
        raise ValueError(f"'embLossWeights' has {len(weights)} values, 'embLossTypes' {len(types)}: give one each.")
    for name, weight in [*named, *zip(types, weights, strict=True)]:
        if weight:
            loss = losses.get(name)
            takes_alpha = isinstance(name, str) and isinstance(loss, losses.TripletLoss) and "alpha" in loss.config
            yield type(loss)(alpha) if takes_alpha else loss, float(weight)


def _typed(loss, kind):
    """`type` chooses the head of a foreign loss; for ours it can only repeat what the loss says itself."""
    if kind is None:
        return loss
    if isinstance(loss, losses.KerasLoss) and kind == "arcface":
        loss.head, loss.reads = "arcface", ("cosine",)
    elif kind not in (loss.head, loss.short):
        raise ValueError(
            f"'type' {kind!r} does not fit {type(loss).__name__}, which is {loss.head or loss.short!r}. Leave it out."
        )
    return loss
