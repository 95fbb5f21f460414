"""A schedule, `sch`, read whole → stages as plain data. No Keras model is made or changed here."""

import dataclasses
import fnmatch

import keras
import numpy as np

from facetrainer import losses
from facetrainer.losses.base import FaceLoss
from facetrainer.utils.text import unknown


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossSpec:
    """A loss of a stage.

    Attributes:
        slot: Its name in logs and states, see `losses.slots`.
        loss: The loss, without weights.
        weight: What its value is multiplied with.
    """

    slot: str
    loss: losses.FaceLoss
    weight: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageOptions:
    """How a stage trains, besides its losses; `Train`'s arguments are the defaults of all stages.

    Attributes:
        bottleneck_only: Train the head alone.
        sub_centers: Centers a class.
        freeze: Names or patterns of layers that stay as they are.
        layer_rates: `(name or pattern of layers, factor of the learning rate)`; the first that fits counts, the others learn at 1.
        ramps: `(argument of the main loss, first value, last value)`, changed in a straight line.
        ema: Momentum of the running means of all weights; 0 keeps none.
        init_head: `"mean"` begins with each class's center at the mean of its images' embeddings; empty leaves them as they are.
        swa: Last epochs whose steps' weights are averaged; 0 averages none.
        sam_rho: Radius of sharpness-aware minimisation; 0 is off.
        mixup: Parameter of the Beta distribution by which images are mixed; 0 is off.
        balanced: Exponent by which identities are drawn evenly, 0 to 1.
        image_size: Side of the images, for models that take any; 0 for what the model takes, or 112.
        repeats: How often an image stands in its batch, each time augmented anew.
        accumulate: Batches whose gradients make one step.
        clip: Largest norm of the whole gradient; 0 is off.
        clip_embedder: Largest norm of the basic model's gradient, the head's is left as it is; 0 is off.
        image_per_class: Images of an identity in a batch; 0 draws images one by one.
        sample_rate: Part of the classes that a step trains on.
        stop_after: Epochs without a better accuracy on the last evaluation set after which the stage ends; 0 is off.
        vpl: Arguments of `NormDenseVPL`, or None.
    """

    bottleneck_only: bool = False
    sub_centers: int = 1
    freeze: tuple[str, ...] = ()
    layer_rates: tuple[tuple[str, float], ...] = ()
    ramps: tuple[tuple[str, float, float], ...] = ()
    ema: float = 0.0
    init_head: str = ""
    swa: int = 0
    sam_rho: float = 0.0
    mixup: float = 0.0
    balanced: float = 0.0
    image_size: int = 0
    repeats: int = 1
    accumulate: int = 1
    clip: float = 0.0
    clip_embedder: float = 0.0
    image_per_class: int = 0
    sample_rate: float = 1.0
    stop_after: int = 0
    vpl: dict | None = None

    def changed(self) -> dict:
        """What differs from the defaults, by name."""
        pairs = ((field.name, getattr(self, field.name), field.default) for field in dataclasses.fields(self))
        return {name: value for name, value, default in pairs if value != default}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One stretch of training: what is optimised, for how long, how.

    Attributes:
        index: Place in the schedule.
        losses: The main loss and those beside it.
        epochs: How many.
        optimizer: A Keras optimizer to begin with, or None to go on with the one in use.
        options: Everything else.
    """

    index: int
    losses: tuple[LossSpec, ...]
    epochs: int
    optimizer: keras.optimizers.Optimizer | None = None
    options: StageOptions = StageOptions()

    @property
    def loss(self) -> FaceLoss:
        """The main loss."""
        return self.losses[0].loss

    @property
    def head(self) -> str | None:
        """Kind of head that the losses read: "softmax", "arcface", or None."""
        return next((one.loss.head for one in self.losses if one.loss.head), None)

    @property
    def needs_groups(self) -> bool:
        """Whether batches must hold several images of each identity."""
        return any(one.loss.needs_groups for one in self.losses)

    @property
    def distills(self) -> bool:
        """Whether a loss reads a teacher's embedding."""
        return any("teacher" in one.loss.reads for one in self.losses)

    def describe(self) -> str:
        """The losses in a line."""
        return " + ".join(f"{one.loss.describe()} * {one.weight:g}" for one in self.losses)

    def with_loss(self, loss: FaceLoss, weight: float) -> "StageSpec":
        """The same stage with one more loss."""
        pairs = [(one.loss, one.weight) for one in self.losses]
        return dataclasses.replace(self, losses=_specs([*pairs, (loss, weight)]))

    def frozen(self, names: list[str]) -> set[str]:
        """Names of the layers that `freeze` asks for.

        Args:
            names: Names of all layers of the basic model.

        Returns:
            The names.

        Raises:
            ValueError: A pattern fits none of them.
        """
        return {name for pattern in self.options.freeze for name in self._layers("freeze", pattern, names)}

    def layer_factors(self, names: list[str]) -> list[float]:
        """Factor of the learning rate of each layer.

        Args:
            names: Names of all layers of the basic model.

        Returns:
            A factor for each name.

        Raises:
            ValueError: A pattern of `layer_rates` fits none of them.
        """
        factors: dict[str, float] = {}
        for pattern, factor in self.options.layer_rates:
            for name in self._layers("layer_rates", pattern, names):
                factors.setdefault(name, factor)
        return [factors.get(name, 1.0) for name in names]

    def _layers(self, key, pattern, names):
        fits = fnmatch.filter(names, pattern)
        if not fits:
            raise ValueError(f"sch[{self.index}]: {key!r}: {unknown('layer of the basic model', pattern, names)}")
        return fits


def _specs(pairs):
    slots = losses.slots([loss for loss, _ in pairs])
    return tuple(LossSpec(slot=slot, loss=loss, weight=float(w)) for slot, (loss, w) in zip(slots, pairs, strict=True))


KEYS = {
    "loss": None, "epoch": None, "optimizer": None, "bottleneckOnly": False, "lossTopK": 1, "lossWeight": 1, "type": None,
    "embLossTypes": None, "embLossWeights": 1, "tripletAlpha": 0.35, "alpha": None,
    "centerloss": 0, "triplet": 0, "distill": 0,
    "freeze": None, "layer_rates": None,
    "scale": None, "margin": None, "ema": 0, "swa": 0, "init_head": "", "sam_rho": None, "mixup": None, "balanced": 0,
    "image_size": 0, "repeats": 1, "accumulate": 1, "clip": 0, "clip_embedder": 0, "stop_after": None, "prelogits_norm_loss_factor": 0,
}  # fmt: skip


def parse_schedule(
    schedule: dict | list[dict], defaults: StageOptions = StageOptions(), replicas: int = 1
) -> list[StageSpec]:
    """Reads a schedule whole; nothing in it is changed.

    Args:
        schedule: A stage or a list of stages, each a dict with the keys of `KEYS`.
        defaults: Options of every stage that does not set its own.
        replicas: Devices that train; some options work on one alone.

    Returns:
        The stages.

    Raises:
        ValueError: Names the entry, the key and the remedy.
    """
    schedule = [schedule] if isinstance(schedule, dict) else list(schedule)
    if not schedule:
        raise ValueError("sch is empty. A stage is at least {'loss': ..., 'epoch': ...}.")
    return [_read_stage(entry, i, defaults, replicas) for i, entry in enumerate(schedule)]


def _read_stage(entry, index, defaults, replicas):
    where = f"sch[{index}]"
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected a dict. Received: {entry!r}")
    try:
        _check_keys(entry)
        stage = StageSpec(
            index=index,
            losses=_specs([(_main_loss(entry), _number(entry, "lossWeight")), *_extras(entry)]),
            epochs=_number(entry, "epoch", int),
            optimizer=_optimizer(entry.get("optimizer")),
        )
        stage = dataclasses.replace(stage, options=_options(entry, stage, defaults))
        _check_stage(stage)
        _check_vpl(stage)
        _check_devices(stage.options, replicas)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    return stage


def _options(entry, stage, defaults):
    """What the entry sets, over the defaults that this stage can take."""
    mixes = all(one.loss.head for one in stage.losses) and not stage.needs_groups
    given = {
        "bottleneck_only": bool(entry.get("bottleneckOnly", False)),
        "sub_centers": _number(entry, "lossTopK", int, 1),
        "freeze": _names(entry.get("freeze")),
        "layer_rates": _layer_rates(entry.get("layer_rates")),
        "ramps": tuple(_ramps(entry, stage.loss)),
        "ema": _number(entry, "ema", most=1),
        "swa": _number(entry, "swa", int),
        "init_head": entry.get("init_head") or "",
        "sam_rho": _number(entry, "sam_rho"),
        "mixup": _number(entry, "mixup"),
        "balanced": float(entry["balanced"]) if entry.get("balanced") is True else _number(entry, "balanced", most=1),
        "image_size": _number(entry, "image_size", int),
        "repeats": _number(entry, "repeats", int, 1),
        "accumulate": _number(entry, "accumulate", int, 1),
        "clip": _number(entry, "clip"),
        "clip_embedder": _number(entry, "clip_embedder"),
        "stop_after": _number(entry, "stop_after", int),
    }
    given = {name: value for name, value in given.items() if value is not None}
    groups = defaults.image_per_class or (4 if stage.needs_groups else 0)
    return dataclasses.replace(defaults, **{"mixup": defaults.mixup * mixes, "image_per_class": groups, **given})


def _check_keys(entry):
    for key in entry:
        if key not in KEYS:
            raise ValueError(unknown("key", key, KEYS))
    for key in ("loss", "epoch"):
        if key not in entry:
            raise ValueError(
                f"{key!r} is missing. A stage is at least {{'loss': ..., 'epoch': ...}}. Received: {list(entry)}"
            )


def _check_stage(stage):
    """What does not go together."""
    options, heads = stage.options, {one.loss.head for one in stage.losses if one.loss.head}
    if len(heads) > 1:
        raise ValueError(f"one head a stage: {' and '.join(sorted(heads))} losses do not go together")
    if options.sub_centers > 1 and stage.head != "arcface":
        raise ValueError(
            f"'lossTopK' needs a loss over cosines, such as losses.ArcfaceLoss(). Received: {type(stage.loss).__name__}"
        )
    if options.balanced and stage.needs_groups:
        raise ValueError("'balanced' draws people evenly, as the P*K batches of a pair loss do already. Leave it out.")
    if options.mixup and not all(one.loss.head for one in stage.losses):
        name = next(type(one.loss).__name__ for one in stage.losses if not one.loss.head)
        raise ValueError(f"'mixup' gives an image two people: {name} needs images of one. Leave one of them out.")
    if options.mixup and (stage.distills or stage.needs_groups):
        raise ValueError("'mixup' goes with softmax and margin losses alone. Leave it out.")
    if options.clip and options.clip_embedder:
        raise ValueError(
            "'clip' is for the whole gradient, 'clip_embedder' for the basic model's. Leave one of them out."
        )
    if options.init_head not in ("", "mean"):
        raise ValueError(f"'init_head' must be 'mean', or left out. Received: {options.init_head!r}")
    if options.init_head and (stage.head != "arcface" or options.sub_centers > 1):
        raise ValueError("'init_head' needs a loss over cosines and one center a class. Leave it out.")
    if options.sam_rho and any("gallery" in one.loss.reads for one in stage.losses):
        raise ValueError("'sam_rho' and SemiSiameseLoss do not go together. Leave one of them out.")
    if options.repeats > 1 and options.image_per_class:
        raise ValueError(
            "'repeats' shows an image several times in a batch, P*K batches a person. Leave one of them out."
        )
    if options.swa and options.ema:
        raise ValueError("'ema' and 'swa' are two means of the same weights. Leave one of them out.")
    if options.ema == 1:
        raise ValueError("'ema' 1 never moves. Use 0.999 or so.")


def _check_vpl(stage):
    options = stage.options
    if options.vpl and options.mixup:
        raise ValueError("'mixup' gives an image two people, VPL remembers images of one. Leave one of them out.")
    if options.vpl and (options.sub_centers > 1 or options.sample_rate < 1):
        raise ValueError("VPL remembers one center a class: leave lossTopK and partial_fc_sample_rate at 1.")


ONE_DEVICE = {
    "sam_rho": ("'sam_rho' works on one device", "Leave it out, or train on one device"),
    "accumulate": ("'accumulate' works on one device", "Use a larger batch_size for each device"),
    "sample_rate": ("partial_fc_sample_rate below 1 works on one device", "Leave it at 1: the whole head is on every device"),
}  # fmt: skip


def _check_devices(options, replicas):
    """What one device alone can do."""
    for name in ONE_DEVICE if replicas > 1 else ():
        if name in options.changed():
            what, instead = ONE_DEVICE[name]
            raise ValueError(f"{what}. Received: {replicas} devices. {instead}.")


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
    if isinstance(value, str) and value.lower() in ("mom", "momentum"):
        value = keras.optimizers.SGD(momentum=0.9, nesterov=True)  # facenet's
    try:
        found = None if value is None else keras.optimizers.get(value)
    except ValueError as error:
        raise ValueError(f"'optimizer': {error}") from error
    inner = getattr(found, "inner_optimizer", found)
    if isinstance(getattr(inner, "_learning_rate", None), keras.optimizers.schedules.LearningRateSchedule):
        raise ValueError(
            f"'optimizer': the learning rate of {type(inner).__name__} is a {type(inner._learning_rate).__name__}, and Train sets the "
            "rate itself. Give the optimizer a number, and Train lr_base, lr_decay, lr_decay_steps, lr_min and lr_warmup_steps."
        )
    return found


def _names(value):
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"'freeze' must be names of layers, or patterns such as 'stack1_*'. Received: {value!r}")
    return tuple(names)


def _layer_rates(value):
    if value is None:
        return ()
    good = isinstance(value, dict) and all(isinstance(name, str) for name in value)
    if not good or not all(isinstance(factor, (int, float)) and factor >= 0 for factor in value.values()):
        raise ValueError(
            f"'layer_rates' must be factors by name or pattern of layers, {{'stack1_*': 0.1}}. Received: {value!r}"
        )
    return tuple((name, float(factor)) for name, factor in value.items())


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
    named.append(("prelogits_norm", entry.get("prelogits_norm_loss_factor", 0)))
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


def _main_loss(entry):
    """`type` chooses the head of a loss of Keras; for ours it can only repeat what the loss says itself."""
    kind = entry.get("type")
    loss = losses.over_cosines(entry["loss"]) if kind == "arcface" else losses.get(entry["loss"])
    if kind not in (None, loss.head, loss.short):
        raise ValueError(
            f"'type' {kind!r} does not fit {type(loss).__name__}, which is {loss.head or loss.short!r}. Leave it out."
        )
    return loss
