"""TensorFlow SavedModel folders that Keras 2 wrote → the `.h5` that it would have written, which Keras 3 reads.

Beside the graph stand the layers' configurations (`keras_metadata.pb`: nodes (1) of path (3), kind (4) and JSON (5)) and a
checkpoint of the weights, named by their places in the model.
"""

import json
import os

import h5py

from facetrainer.io.protobuf import parts

ORDER = (
    "depthwise_kernel", "pointwise_kernel", "kernel", "w", "bias", "alpha", "gamma", "beta", "moving_mean", "moving_variance",
)  # fmt: skip
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def write_h5(folder: str, path: str) -> None:
    """Folder → `.h5` file of a functional model; ValueError where the folder does not say what its layers are."""
    about = _nodes(folder)
    root = about["root"]
    if root.get("class_name") not in ("Functional", "Model"):
        raise ValueError(f"{folder}: expected a functional model. Received: {root.get('class_name')}")
    weights = _weights(folder)
    with h5py.File(path, "w") as file:
        config = {"class_name": "Functional", "config": root["config"]}
        file.attrs["model_config"], group = json.dumps(config), file.create_group("model_weights")
        group.attrs["keras_version"], group.attrs["backend"] = root.get("keras_version", "2.4.0"), "tensorflow"
        group.attrs["layer_names"] = [layer["name"] for layer in root["config"]["layers"]]
        for layer in group.attrs["layer_names"]:
            _write_layer(group.create_group(layer), weights.get(_place(about, layer), {}))


def _nodes(folder):
    path = os.path.join(folder, "keras_metadata.pb")
    if not os.path.exists(path):
        raise ValueError(
            f"{folder} has no keras_metadata.pb: its graph can be run (as a teacher, in evals.py) but not be made into layers. "
            "Expected a folder written by model.save of Keras 2."
        )
    with open(path, "rb") as file:
        nodes = [
            [bytes(parts(node, field)[0]).decode() for field in (3, 5)] for node in parts(memoryview(file.read()), 1)
        ]
    return {place: json.loads(about) for place, about in nodes}


def _place(about, layer):
    found = [
        place for place, node in about.items() if place.startswith("root.layer_with_weights-") and node["name"] == layer
    ]
    return next((place.removeprefix("root.") for place in found if place.count(".") == 1), None)


def _weights(folder):
    """{layer's place: {kind: array}}."""
    from tensorflow import train

    reader, found = train.load_checkpoint(os.path.join(folder, "variables", "variables")), {}
    for name in reader.get_variable_to_shape_map():
        place, *kind = name.removesuffix(VALUE).split("/")
        if name.endswith(VALUE) and len(kind) == 1 and kind[0] in ORDER:
            found.setdefault(place, {})[kind[0]] = reader.get_tensor(name)
    return found


def _write_layer(group, weights):
    names = [kind for kind in ORDER if kind in weights]
    group.attrs["weight_names"] = [f"{kind}:0" for kind in names]
    for kind in names:
        group.create_dataset(f"{kind}:0", data=weights[kind])
