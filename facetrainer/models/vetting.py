"""Is a `.keras` or `.h5` file from a stranger a network and nothing else? Looked at before Keras loads it.

Keras calls what a file's configuration names, also in its safe mode. Here the configuration is read as data first: every class in it has
to stand in a list of ours or to be registered in this process, every node has to take a tensor from another, and the weights have to be
there in the number that the layers need.
"""

import contextlib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping

import h5py
import keras

from facetrainer.io import hdf5, zipped
from facetrainer.models.allowed import CLASSES, FUNCTIONS, MODELS, OF_KERAS_2, PLAIN
from facetrainer.utils import keras_compat

MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
LONGEST, MOST = 16 << 20, 300_000  # bytes of a configuration, and objects in it
SPARE = 1 << 16  # weights that need not be stored: states of random generators and metrics


def check(path: str, custom_objects: Mapping[str, object] | None = None) -> None:
    """Looks at a model file.

    Args:
        path: `.keras` or `.h5`.
        custom_objects: Classes that the caller knows, by the names that stand in the file.

    Raises:
        ValueError: The file is damaged, or holds more than a network: the message says what, where and what to do.
    """
    read = _read_keras if path.endswith(".keras") else _read_h5
    config, stored = read(path)
    try:
        _Walk(path, custom_objects or {}).object(config, "model")
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: its configuration is damaged: {type(error).__name__}: {error}") from error
    needed = _weights_of(config, custom_objects or {}, path)
    if needed > stored + SPARE:
        raise ValueError(f"{path} describes layers of {needed:,} weights and holds {stored:,}")


def check_weights(path: str) -> None:
    """Looks at the weights of a file alone.

    Args:
        path: `.keras` or `.h5`.

    Raises:
        ValueError: They are damaged, or more than numbers.
    """
    if path.endswith(".keras"):
        _read_keras(path)
    else:
        hdf5.check(path, os.path.getsize(path), path)


def _read_keras(path):
    """→ configuration, number of weights stored."""
    with zipped.open_zip(path) as archive:
        odd = set(archive.namelist()) - MEMBERS
        if odd or "config.json" not in archive.namelist():
            raise ValueError(
                f"{path}: expected {', '.join(sorted(MEMBERS))} in it. Received: {sorted(archive.namelist())[:8]}"
            )
        config = _parsed(zipped.read(archive, "config.json"), path)
        if "model.weights.h5" not in archive.namelist():
            return config, 0
        weights = zipped.read(archive, "model.weights.h5")
    return config, hdf5.check(io.BytesIO(weights), len(weights), path)


def _read_h5(path):
    stored = hdf5.check(path, os.path.getsize(path), path)
    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
    if config is None:
        raise ValueError(f"{path} holds weights alone and no model: build the model and call its load_weights.")
    return _parsed(config.encode() if isinstance(config, str) else bytes(config), path), stored


def _parsed(text, path):
    if len(text) > LONGEST or text.count(b"{") + text.count(b"[") > MOST:
        raise ValueError(
            f"{path}: a configuration of {len(text):,} bytes and {text.count(b'{'):,} objects, more than any network has"
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its configuration is no JSON: {error}") from error


class _Walk:
    """Goes through a configuration and refuses what no network needs."""

    def __init__(self, path, custom_objects):
        self.path, self.known = path, {**keras.saving.get_custom_objects(), **custom_objects}

    def refuse(self, what, place):
        raise ValueError(
            f"{self.path}: {place} is {what}, which may run code or build anything. If you trust where the file comes from, load it with "
            "trusted=True (--trusted)."
        )

    def object(self, config, place):
        """Any value of a configuration."""
        if isinstance(config, (list, tuple)):
            for number, one in enumerate(config):
                self.object(one, f"{place}[{number}]")
        elif isinstance(config, dict):
            self.named(config, place)
            for key, value in config.items():
                self.object(value, f"{place}.{key}" if len(place) < 200 else place)

    def named(self, config, place):
        """A dict that stands for an object has to be of a known class; one that is a network, joined up."""
        if "class_name" not in config:
            return
        name, module, registered = config["class_name"], config.get("module"), config.get("registered_name")
        if not all(isinstance(one, str | None) for one in (name, module, registered)):
            self.refuse("an object without a name", place)
        if not self.is_known(config, name, module, registered):
            what = f"function {config.get('config')}" if name == "function" else registered or name
            self.refuse(f"a {module}.{what}" if module else f"a {what}", place)
        if name in MODELS and registered not in self.known:
            self.network(config.get("config"), place)
        if name == "Split" and not _is_small(config["config"].get("indices_or_sections")):
            self.refuse("a Split into very many parts", place)

    def is_known(self, config, name, module, registered):
        """Whether Keras finds a class that may be.

        It looks for some names first, for functions by another key, and in files of Keras 2 by the class alone.

        Returns:
            True or False.
        """
        if name.startswith("__"):
            return name in PLAIN
        if name == "function":
            found = config.get("config")
            return isinstance(found, str) and (found in self.known or module == "builtins" and found in FUNCTIONS)
        if "module" not in config:
            return (name in self.known or name in OF_KERAS_2) and (registered is None or registered in self.known)
        return config.get("registered_name", name) in self.known or name in CLASSES.get(module, ())

    def network(self, config, place):
        """Every layer but the inputs takes a tensor of another layer, and leads to an output."""
        if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
            raise ValueError(f"{self.path}: {place} is a network without layers")
        if "output_layers" not in config:
            return
        sources = {}
        for layer in config["layers"]:
            if not isinstance(layer, dict) or not isinstance(layer.get("inbound_nodes"), list):
                raise ValueError(f"{self.path}: {place} has a layer without nodes")
            nodes = [list(_sources(node)) for node in layer["inbound_nodes"]]
            if layer.get("class_name") != "InputLayer" and not (nodes and all(nodes)):
                self.refuse(
                    f"a {layer.get('class_name')} that takes no layer's output", f"{place}, layer {layer.get('name')!r}"
                )
            sources[layer.get("name")] = {name for node in nodes for name in node}
        self.reached(sources, list(_names(config["output_layers"])), place)

    def reached(self, sources, ends, place):
        seen = set()
        while ends:
            name = ends.pop()
            if name not in sources:
                raise ValueError(f"{self.path}: {place} asks for a layer {str(name)[:80]!r} that it does not have")
            if name not in seen:
                seen.add(name)
                ends += sources[name]
        if set(sources) - seen:
            self.refuse(f"a layer that leads to no output ({sorted(map(str, set(sources) - seen))[0]})", place)


def _is_small(parts, most=64):
    """Of a Split: a number of parts, or the places between them."""
    return len(parts) <= most if isinstance(parts, list) else isinstance(parts, int) and parts <= most


def _sources(node, of_keras_2=None):
    """Names of the layers whose tensors a node takes: Keras 3 writes a dict a node, Keras 2 a list of [name, node, tensor, arguments]."""
    of_keras_2 = isinstance(node, list) if of_keras_2 is None else of_keras_2
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        yield node["config"]["keras_history"][0]
    elif of_keras_2 and isinstance(node, list) and len(node) in (3, 4) and isinstance(node[0], str):
        yield node[0]
    elif isinstance(node, (list, dict)):
        for one in node.values() if isinstance(node, dict) else node:
            yield from _sources(one, of_keras_2)


def _names(ends):
    """Of `output_layers`: one triple, or a list or dict of them."""
    if isinstance(ends, list) and ends and isinstance(ends[0], str):
        yield ends[0]
    elif isinstance(ends, (list, dict)):
        for one in ends.values() if isinstance(ends, dict) else ends:
            yield from _names(one)


def _weights_of(config, custom_objects, path):
    """How many weights the layers have, which are described and not made."""
    try:
        with keras.saving.custom_object_scope(dict(custom_objects)), keras_compat.without_values(), settings_kept(path):
            model = _described(config)
            for operation in getattr(model, "operations", ()):
                for output in keras.tree.flatten(operation.output):
                    keras_compat.refuse_wide(operation.name, output.shape)
            return sum(math.prod(weight.shape) for weight in model.weights)
    except Exception as error:  # Keras raises nearly anything for a configuration that does not fit together
        raise ValueError(f"{path}: its layers do not fit together: {error}") from error


def _described(config):
    if config["class_name"] == "Sequential":
        return keras.Sequential.from_config(config["config"])
    if config["class_name"] in ("Functional", "Model"):
        return keras.Model.from_config(config["config"])
    return keras.saving.deserialize_keras_object({**config, "compile_config": None})


@contextlib.contextmanager
def settings_kept(path: str) -> Iterator[None]:
    """Puts Keras's global settings back at the end of the block, and refuses what changed them.

    Args:
        path: What is loaded inside, for the message.

    Raises:
        ValueError: They are others than before.
    """
    before = keras_compat.settings()
    try:
        yield
    finally:
        changed = keras_compat.restore_settings(before)
    if changed:
        raise ValueError(
            f"{path} changed Keras's settings while it was loaded ({', '.join(changed)}); they are put back. Do not use it."
        )
