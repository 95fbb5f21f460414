"""What a run and a stage were asked to do, as plain values that a later run can be compared with."""

import dataclasses
import hashlib
import json
import types

import keras
import numpy as np


def of_run(embedder: keras.Model, config, evaluations: dict) -> dict:
    """Settings of a whole run.

    Args:
        embedder: Basic model.
        config: `TrainConfig`.
        evaluations: `{name: callback}` of the evaluation sets.

    Returns:
        Nested dicts of numbers and texts.
    """
    return {
        "model": _plain(_architecture(embedder)),
        "batch_size": config.batch_size,
        "seed": config.seed,
        "output_weight_decay": config.output_weight_decay,
        "teacher": None if config.teacher is None else value_of(config.teacher_given),
        "learning rate": _plain(config.lr),
        "augmentations": {str(i): value_of(one) for i, one in enumerate(config.augmentations)},
        "evaluation sets": {
            name: getattr(getattr(one, "pairs", None), "sha256", None) for name, one in evaluations.items()
        },
    }


def of_stage(spec, faces, first_epoch: int) -> dict:
    """Settings of a stage.

    Args:
        spec: `StageSpec`.
        faces: The opened data.
        first_epoch: Number of its first epoch.

    Returns:
        Nested dicts of numbers and texts.
    """
    return {
        "losses": {one.slot: {"class": value_of(one.loss), "weight": one.weight} for one in spec.losses},
        "options": _plain(spec.options.changed()),
        "optimizer": None if spec.optimizer is None else _optimizer(spec.optimizer),
        "data": faces.fingerprint,
        "epochs": spec.epochs,
        "first epoch": first_epoch,
    }


def _optimizer(optimizer):
    """Kind and settings; not the name, which counts up in a notebook, nor the rate, which Train sets."""
    config = {key: value for key, value in optimizer.get_config().items() if key not in ("name", "learning_rate")}
    return {"class": type(optimizer).__name__, **_plain(config)}


def _architecture(model):
    """Layers in order with their settings; names that Keras counts up are replaced by the layer's place."""
    places = {layer.name: f"layer {i}" for i, layer in enumerate(model._flatten_layers())}

    def renamed(value):
        if isinstance(value, dict):
            return {key: renamed(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [renamed(one) for one in value]
        return places.get(value, value) if isinstance(value, str) else value

    layers = {}
    for i, layer in enumerate(model._flatten_layers(include_self=False)):
        config = {} if isinstance(layer, keras.Model) else renamed(_config(layer))
        config.pop("trainable", None)
        layers[f"{i} {type(layer).__name__}"] = config | {"weights": [list(w.shape) for w in layer.weights]}
    return layers


def _config(layer):
    try:
        return layer.get_config()
    except NotImplementedError:  # a layer of the user's that cannot say
        return {}


def _plain(value):
    return json.loads(json.dumps(value, default=value_of))


def value_of(thing: object, depth: int = 8) -> object:
    """A thing by what it does: numbers and texts as they are, objects by class and settings, functions by their code.

    Comments, line numbers and addresses do not count; the body of a function and what it closes over do.

    Args:
        thing: Anything.
        depth: How deep to look into objects; below that the class alone counts.

    Returns:
        Nested dicts and lists of numbers and texts.
    """
    if isinstance(thing, (str, int, float, bool, type(None))):
        return thing
    if depth == 0:
        return type(thing).__name__
    if isinstance(thing, np.generic | np.ndarray):
        return thing.tolist() if thing.size <= 64 else f"array {thing.shape} {_digest(thing.tobytes())}"
    if isinstance(thing, dict):
        return {str(key): value_of(one, depth - 1) for key, one in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [value_of(one, depth - 1) for one in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted((value_of(one, depth - 1) for one in thing), key=repr)
    if isinstance(thing, types.FunctionType):
        return f"{thing.__qualname__} {_digest(_code(thing))}"
    if isinstance(thing, types.MethodType):
        return {"method": value_of(thing.__func__), "of": type(thing.__self__).__name__}
    if isinstance(thing, type):
        return f"{thing.__qualname__} {_digest(_class_code(thing))}".strip()
    return {"class": value_of(type(thing)), **_settings(thing, depth - 1)}


def _settings(thing, depth):
    if isinstance(thing, keras.Model):
        return {"weights": len(thing.weights)}
    inner = getattr(thing, "loss", None)
    if callable(inner) and hasattr(thing, "reads"):  # KerasLoss: what it wraps
        return {"loss": value_of(inner, depth), "over": getattr(thing, "over", None)}
    if dataclasses.is_dataclass(thing):
        return {field.name: value_of(getattr(thing, field.name), depth) for field in dataclasses.fields(thing)}
    if hasattr(thing, "get_config"):
        return {str(key): value_of(one, depth) for key, one in thing.get_config().items() if key != "name"}
    return {key: value_of(one, depth) for key, one in vars(thing).items()} if hasattr(thing, "__dict__") else {}


def _digest(parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12] if parts else ""


def _code(function, seen=()):
    """What a function does: instructions, constants, names, defaults, and values that it closes over."""
    if function in seen:
        return ()
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    outside = [
        _code(one, (*seen, function)) if isinstance(one, types.FunctionType) else repr(_shallow(one)) for one in cells
    ]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return _instructions(function.__code__), repr(_shallow(defaults)), tuple(outside)


def _shallow(value):
    """Numbers and texts, also in lists and tuples; of anything else the class, never an address."""
    if isinstance(value, (list, tuple)):
        return [_shallow(one) for one in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__


def _instructions(code):
    constants = [_constant(one) for one in code.co_consts]
    return code.co_code, tuple(constants), code.co_names, code.co_varnames


def _constant(one):
    if isinstance(one, types.CodeType):
        return _instructions(one)
    return repr(sorted(one, key=repr) if isinstance(one, frozenset) else one)


def _class_code(cls):
    """Methods of a class that is neither ours nor Keras's."""
    if cls.__module__.split(".")[0] in ("facetrainer", "keras", "builtins", "numpy", "tensorflow"):
        return ()
    methods = {name: _code(one) for name, one in sorted(vars(cls).items()) if isinstance(one, types.FunctionType)}
    return tuple(methods.items()), *(_class_code(base) for base in cls.__bases__)


def differences(before: object, now: object, name: str = "") -> list[str]:
    """What differs between two nested values.

    Args:
        before: Value of the stored run.
        now: Value of this run.
        name: What it is, put before the names inside.

    Returns:
        Texts such as "learning rate lr_base 0.1 -> 1.0".
    """
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        return [text for key in keys for text in differences(before.get(key), now.get(key), f"{name} {key}".strip())]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [text for a, b in zip(before, now, strict=True) for text in differences(a, b, name)]
    return [] if before == now else [f"{name} {_short(before)} -> {_short(now)}"]


def _short(value):
    text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
