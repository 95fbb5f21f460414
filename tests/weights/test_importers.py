import io
import json
import pickle
import struct
import zipfile

import keras
import numpy as np
import pytest

from facetrainer import models
from facetrainer.io import mxnetfile, torchfile
from facetrainer.weights import mxnet, torch_state

FILES = {
    "mxnet_y1_128-symbol.json": "mxnet_y1_128",
    "arcface_torch_mbf_128.pt": "arcface_torch_mbf_128", "arcface_torch_r18_64.pt": "arcface_torch_r18_64",
    "kif_mobilefacenet_GDC128.h5": "kif_mobilefacenet_GDC128", "kif_mobilefacenet_GDC128_full.h5": "kif_mobilefacenet_GDC128_full",
}  # fmt: skip


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.real
@pytest.mark.parametrize("name", FILES)
def test_embeddings_are_those_of_the_program_that_wrote_the_file(real, name):
    expected = FILES[name]
    with np.load(f"{real}/weights/{expected}.npz") as file:
        images, wanted = file["images"], file["embedding"]
    found = models.import_weights(f"{real}/weights/{name}").predict(
        (images.astype(np.float32) - 127.5) / 128, verbose=0
    )
    assert np.abs(unit(found) - unit(wanted)).max() < 2e-6


@pytest.mark.real
def test_head_of_keras_insightface(real):
    with np.load(f"{real}/weights/kif_mobilefacenet_GDC128_full.npz") as file:
        images, wanted = file["images"], file["cosine"]
    model = models.load(f"{real}/weights/kif_mobilefacenet_GDC128_full.h5", compile=False)
    np.testing.assert_allclose(model.predict((images.astype(np.float32) - 127.5) / 128, verbose=0), wanted, atol=1e-6)
    assert type(models.split(model)[1]).__name__ == "NormDense"


@pytest.mark.real
def test_an_imported_model_is_plain_keras(real, tmp_path):
    model = models.import_weights(f"{real}/weights/kif_mobilefacenet_GDC128.h5")
    models.save(model, str(tmp_path / "m.keras"))
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        modules = {layer["module"] for layer in json.loads(archive.read("config.json"))["config"]["layers"]}
    assert modules == {"keras.layers"}


def text(words):
    return b"X" + struct.pack("<I", len(words)) + words.encode()


def torch_zip(path, tensors, extra=b""):
    """As torch.save writes it; `tensors`: {name: array}."""
    pieces, storages = [b"\x80\x02}("], []
    for name, array in tensors.items():
        key = str(len(storages))
        storages.append((key, array.tobytes()))
        pieces += [
            text(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            b"(",
            text("storage"),
            b"ctorch\nFloatStorage\n",
            text(key),
            text("cpu"),
        ]
        pieces += [b"J" + struct.pack("<i", array.size) + b"tQK\x00("]
        pieces += [b"J" + struct.pack("<i", n) for n in array.shape]
        pieces += [b"t("] + [b"J" + struct.pack("<i", step // 4) for step in array.strides]
        pieces += [b"t\x89ccollections\nOrderedDict\n)RtR"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"".join([*pieces, extra, b"u."]))
        for key, data in storages:
            archive.writestr(f"x/data/{key}", data)


def test_state_dicts_without_torch(tmp_path):
    given = {"a.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "module.b": np.ones((2,), np.float32)}
    torch_zip(tmp_path / "a.pt", given)
    found = torchfile.read_state(str(tmp_path / "a.pt"))
    assert list(found) == ["a.weight", "b"]
    np.testing.assert_array_equal(found["a.weight"], given["a.weight"])


def test_a_state_dict_that_would_run_code_is_refused(tmp_path, capsys):
    torch_zip(tmp_path / "evil.pt", {}, b"X\x01\x00\x00\x00acbuiltins\nprint\n(X\x03\x00\x00\x00rantR")
    with pytest.raises(ValueError, match=r"asks for 'builtins\.print'"):
        torchfile.read_state(str(tmp_path / "evil.pt"))
    assert capsys.readouterr().out == ""
    (tmp_path / "b.pt").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match="torch 1.6 or later"):
        torchfile.read_state(str(tmp_path / "b.pt"))


def test_tensors_beyond_their_storage_are_refused(tmp_path):
    array = np.lib.stride_tricks.as_strided(np.ones(4, np.float32), (3, 4), (0, 4))
    torch_zip(tmp_path / "a.pt", {"a": array})
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        pickled = archive.read("x/data.pkl")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/data/0", bytes(8))
    with pytest.raises(ValueError, match="beyond the 2 elements"):
        torchfile.read_state(str(tmp_path / "b.pt"))


def test_unknown_networks_are_named(tmp_path):
    torch_zip(tmp_path / "a.pt", {"conv.weight": np.ones((2, 3), np.float32)})
    with pytest.raises(ValueError, match=r"r18 … r200, mbf, mbf_large, vit_\*.*conv.weight"):
        models.import_weights(str(tmp_path / "a.pt"))
    with pytest.raises(ValueError, match="expected .pt"):
        models.import_weights("model.caffemodel")
    with pytest.raises(FileNotFoundError, match="prefix-symbol.json"):
        models.import_weights(str(tmp_path / "none-0003.params"))


def params_file(arrays):
    """As mx.nd.save writes it."""
    out = io.BytesIO()
    out.write(struct.pack("<QQQ", 0x112, 0, len(arrays)))
    for array in arrays.values():
        out.write(
            struct.pack("<IiI", 0xF993FAC9, 0, array.ndim)
            + struct.pack(f"<{array.ndim}q", *array.shape)
            + struct.pack("<iii", 1, 0, 0)
        )
        out.write(array.astype("<f4").tobytes())
    out.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
        out.write(struct.pack("<Q", len(name)) + name.encode())
    return out.getvalue()


def test_a_symbol_node_by_node(tmp_path):
    """Scaled input, padded and strided convolution with bias, relu, average pooling, squeeze-and-excite, channels-first flatten."""
    rng = np.random.default_rng(0)
    shapes = {"c_weight": (4, 3, 3, 3), "c_bias": (4,), "s_weight": (4, 4, 1, 1), "f_weight": (5, 16), "f_bias": (5,)}
    arrays = {f"arg:{name}": rng.normal(size=shape) for name, shape in shapes.items()}
    nodes = []

    def node(op, name, inputs=(), **attrs):
        nodes.append(
            {
                "op": op,
                "name": name,
                "inputs": [[k, 0, 0] for k in inputs],
                "attrs": {k: str(v) for k, v in attrs.items()},
            }
        )
        return len(nodes) - 1

    scaled = node("_div_scalar", "div", [node("null", "data")], scalar=10)
    conv = node("Convolution", "c", [scaled, node("null", "c_weight"), node("null", "c_bias")],
                kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=4)  # fmt: skip
    relu = node("Activation", "r", [conv], act_type="relu")
    mean = node("Pooling", "g", [relu], global_pool=True, pool_type="avg", kernel=(1, 1))
    gate = node("Activation", "h", [node("Convolution", "s", [mean, node("null", "s_weight")], kernel=(1, 1), num_filter=4, no_bias=True)],
                act_type="sigmoid")  # fmt: skip
    pooled = node(
        "Pooling", "p", [node("broadcast_mul", "m", [relu, gate])], pool_type="avg", kernel=(2, 2), stride=(2, 2)
    )
    node(
        "FullyConnected",
        "f",
        [node("Flatten", "flat", [pooled]), node("null", "f_weight"), node("null", "f_bias")],
        num_hidden=5,
    )
    (tmp_path / "m-symbol.json").write_text(json.dumps({"nodes": nodes}))
    (tmp_path / "m-0000.params").write_bytes(params_file(arrays))
    model = models.import_weights(str(tmp_path / "m-0000.params"), (8, 8, 3))
    image = rng.integers(0, 256, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(
        model((image - 127.5) / 128), slow(image, {k[4:]: v for k, v in arrays.items()}), rtol=1e-3, atol=1e-3
    )
    nodes[-1]["op"] = "Deconvolution"
    (tmp_path / "m-symbol.json").write_text(json.dumps({"nodes": nodes}))
    with pytest.raises(ValueError, match="node f is a Deconvolution. Known are Convolution"):
        mxnet.build(str(tmp_path / "m-symbol.json"), mxnetfile.read_params(str(tmp_path / "m-0000.params")), (8, 8, 3))
    keras.backend.clear_session()


def slow(image, w, pooled=True):
    x = np.pad(image.transpose(0, 3, 1, 2) / 10, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((len(x), 4, 4, 4))
    for i in range(4):
        for j in range(4):
            y[:, :, i, j] = (
                np.einsum("bchw,fchw->bf", x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3], w["c_weight"]) + w["c_bias"]
            )
    y = np.maximum(y, 0)
    gate = 1 / (1 + np.exp(-y.mean((2, 3)) @ w["s_weight"][:, :, 0, 0].T))
    y = y * gate[:, :, None, None]
    y = y.reshape(len(x), 4, 2, 2, 2, 2).mean((3, 5)) if pooled else y
    return y.reshape(len(x), -1) @ w["f_weight"].T + w["f_bias"]


def field(number, data):
    return protobuf_key(number, 2) + varint(len(data)) + data


def protobuf_key(number, kind):
    return varint(number << 3 | kind)


def varint(value):
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


def onnx_file(nodes, weights):
    """`nodes`: (operation, inputs, output, {attribute: integer or integers})."""
    graph = b""
    for number, (operation, inputs, output, attributes) in enumerate(nodes):
        node = (
            b"".join(field(1, name.encode()) for name in inputs) + field(2, output.encode()) + field(3, b"n%d" % number)
        )
        node += field(4, operation.encode())
        for name, value in attributes.items():
            body = (
                field(8, b"".join(map(varint, value)))
                if isinstance(value, list)
                else protobuf_key(3, 0) + varint(value)
            )
            node += field(5, field(1, name.encode()) + body)
        graph += field(1, node)
    for name, array in weights.items():
        dims = b"".join(protobuf_key(1, 0) + varint(n) for n in array.shape)
        kind = protobuf_key(2, 0) + varint(1)
        graph += field(5, dims + kind + field(8, name.encode()) + field(9, array.astype("<f4").tobytes()))
    return field(7, graph + field(11, field(1, b"data")) + field(12, field(1, nodes[-1][2].encode())))


def test_an_onnx_graph_node_by_node(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {
        "c_weight": (4, 3, 3, 3),
        "c_bias": (4,),
        "s_weight": (4, 4, 1, 1),
        "f_weight": (5, 64),
        "f_bias": (5,),
        "ten": (),
    }
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()} | {"ten": np.array(10.0)}
    nodes = [
        ("Div", ["data", "ten"], "x", {}),
        ("Identity", ["c_bias"], "same_bias", {}),
        (
            "Conv",
            ["x", "c_weight", "same_bias"],
            "c",
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        ),
        ("Relu", ["c"], "r", {}),
        ("GlobalAveragePool", ["r"], "g", {}),
        ("Conv", ["g", "s_weight"], "s", {"kernel_shape": [1, 1]}),
        ("Sigmoid", ["s"], "h", {}),
        ("Mul", ["r", "h"], "m", {}),
        ("Shape", ["m"], "shape", {}),
        ("Reshape", ["m", "shape"], "flat", {}),
        ("Cast", ["flat"], "cast", {"to": 1}),
        ("Gemm", ["cast", "f_weight", "f_bias"], "f", {"transB": 1}),
    ]
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx_file(nodes, weights))
    model = models.import_weights(str(path), (8, 8, 3))  # begins with arithmetic: takes pixels
    image = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(model((image - 127.5) / 128), slow(image, weights, pooled=False), rtol=1e-4, atol=1e-4)
    for wrong, message in ((("Softmax", ["m"], "f", {}), "node n11 is a Softmax. Known are Conv"),
                           (("Conv", ["m", "s_weight"], "f", {"pads": [0, 0, 1, 1]}), "differs from side to side")):  # fmt: skip
        path.write_bytes(onnx_file([*nodes[:-1], wrong], weights))
        with pytest.raises(ValueError, match=message):
            models.import_weights(str(path), (8, 8, 3))
    path.write_bytes(onnx_file(nodes, weights)[:900])
    with pytest.raises(ValueError, match="is not an ONNX file that can be read"):
        models.import_weights(str(path))


def test_damaged_parameters(tmp_path):
    whole = params_file({"arg:a": np.ones((2, 3))})
    (tmp_path / "a.params").write_bytes(whole)
    np.testing.assert_array_equal(mxnetfile.read_params(str(tmp_path / "a.params"))["a"], np.ones((2, 3)))
    for cut in (0, 10, 40, len(whole) - 1):
        (tmp_path / "a.params").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="not an MXNet parameter file"):
            mxnetfile.read_params(str(tmp_path / "a.params"))


def vit_state(width=256, depth=12, embedding=8):
    """As arcface_torch names them."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)  # noqa: E731
    state = {"pos_embed": draw(1, 144, width), "mask_token": draw(1, 1, width)}
    state |= {"patch_embed.proj.weight": draw(width, 3, 9, 9), "patch_embed.proj.bias": draw(width)}
    for unit in range(depth):
        for name, shape in {"norm1.weight": (width,), "norm1.bias": (width,), "attn.qkv.weight": (3 * width, width),
                            "attn.proj.weight": (width, width), "attn.proj.bias": (width,), "norm2.weight": (width,),
                            "norm2.bias": (width,),
                            "mlp.fc1.weight": (4 * width, width), "mlp.fc1.bias": (4 * width,), "mlp.fc2.weight": (width, 4 * width),
                            "mlp.fc2.bias": (width,)}.items():  # fmt: skip
            state[f"blocks.{unit}.{name}"] = draw(*shape)
    state |= {"norm.weight": draw(width), "norm.bias": draw(width), "feature.0.weight": draw(width, 144 * width)}
    state |= {"feature.2.weight": draw(embedding, width)}
    for name, size in (("feature.1", width), ("feature.3", embedding)):
        state |= {f"{name}.weight": 1 + draw(size), f"{name}.bias": draw(size), f"{name}.running_mean": draw(size)}
        state |= {f"{name}.running_var": 1 + np.abs(draw(size)), f"{name}.num_batches_tracked": np.array(3)}
    return state


def slow_vit(images, state, heads=8):
    """Images normalised as arcface_torch does it (n, 112, 112, 3) → embeddings, in float64."""
    w = {name: value.astype(np.float64) for name, value in state.items()}
    n, width = len(images), w["pos_embed"].shape[-1]
    x = images[:, :108, :108].reshape(n, 12, 9, 12, 9, 3).transpose(0, 1, 3, 5, 2, 4).reshape(n, 144, -1)
    x = x @ w["patch_embed.proj.weight"].reshape(width, -1).T + w["patch_embed.proj.bias"] + w["pos_embed"]

    def layer_norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def batch_norm(x, name):
        x = (x - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 2e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    for unit in range(len([name for name in w if name.endswith("qkv.weight")])):
        b = f"blocks.{unit}."
        qkv = layer_norm(x, f"{b}norm1") @ w[f"{b}attn.qkv.weight"].T
        q, k, v = qkv.reshape(n, 144, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        scores = np.exp(q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // heads))
        y = (scores / scores.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(n, 144, width)
        x = x + y @ w[f"{b}attn.proj.weight"].T + w[f"{b}attn.proj.bias"]
        y = np.clip(layer_norm(x, f"{b}norm2") @ w[f"{b}mlp.fc1.weight"].T + w[f"{b}mlp.fc1.bias"], 0, 6)
        x = x + y @ w[f"{b}mlp.fc2.weight"].T + w[f"{b}mlp.fc2.bias"]
    x = batch_norm(layer_norm(x, "norm").reshape(n, -1) @ w["feature.0.weight"].T, "feature.1")
    return batch_norm(x @ w["feature.2.weight"].T, "feature.3")


def test_transformers_of_arcface_torch(tmp_path):
    """Against a float64 twin; and what an exporter makes of the same weights gives the same state."""
    state = vit_state()
    torch_zip(tmp_path / "vit.pt", state)
    model = models.import_weights(str(tmp_path / "vit.pt"))
    pixels = np.random.default_rng(1).integers(0, 256, (2, 112, 112, 3)).astype(np.float32)
    wanted = slow_vit((pixels - 127.5) / 127.5, state)
    assert np.abs(unit(model.predict((pixels - 127.5) / 128, verbose=0)) - unit(wanted)).max() < 1e-5
    products = [name for name, value in state.items() if value.ndim == 2]
    exported = {
        name if value.ndim != 2 else f"m{name}": value.T if value.ndim == 2 else value for name, value in state.items()
    }
    for name in ("feature.1", "feature.3"):
        for kind in ("weight", "bias", "running_mean", "running_var"):
            exported.pop(f"{name}.{kind}")
    exported |= {"feature.0.weight_bias": np.ones(256), "feature.2.weight_bias": np.ones(8)}
    again = torch_state.from_graph(exported, [f"m{name}" for name in products])
    for name in products:
        np.testing.assert_array_equal(again[name], state[name])
    np.testing.assert_allclose(again["feature.1.weight"] / np.sqrt(again["feature.1.running_var"] + 2e-5), 1)
    del state["norm.bias"]
    torch_zip(tmp_path / "vit.pt", state)
    with pytest.raises(ValueError, match="'bias' is missing"):
        models.import_weights(str(tmp_path / "vit.pt"))


def test_a_state_dict_with_attributes(tmp_path):
    """torch.save(module.state_dict(), …) keeps `_metadata` on the dictionary."""
    torch_zip(tmp_path / "a.pt", {"a": np.ones((2, 2), np.float32)})
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        pickled, data = archive.read("x/data.pkl"), archive.read("x/data/0")
    begun = pickled.replace(b"\x80\x02}(", b"\x80\x02ccollections\nOrderedDict\n)R(")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        archive.writestr("x/data.pkl", begun[:-1] + b"}" + text("_metadata") + b"}sb.")
        archive.writestr("x/data/0", data)
    np.testing.assert_array_equal(torchfile.read_state(str(tmp_path / "b.pt"))["a"], np.ones((2, 2)))


def saved_model_folder(root, config, weights):
    """As model.save of Keras 2 writes its description and its checkpoint: `weights` {layer: {kind: array}}."""
    import tensorflow as tf

    root.mkdir()
    places = {f"layer_with_weights-{i}": layer for i, layer in enumerate(weights)}
    about = {"root": {"class_name": "Functional", "config": config, "keras_version": "2.15.0"}}
    about |= {f"root.{place}": {"name": layer} for place, layer in places.items()}
    nodes = [
        field(1, field(3, place.encode()) + field(4, b"kind") + field(5, json.dumps(node).encode()))
        for place, node in about.items()
    ]
    (root / "keras_metadata.pb").write_bytes(b"".join(nodes))
    tree = {
        place: tf.train.Checkpoint(**{kind: tf.Variable(value) for kind, value in weights[layer].items()})
        for place, layer in places.items()
    }
    tf.train.Checkpoint(**tree).write(str(root / "variables" / "variables"))


def test_saved_models_of_keras_2(tmp_path):
    layer = lambda kind, name, inbound, **config: {  # noqa: E731
        "class_name": kind, "name": name, "config": {"name": name, "trainable": True, "dtype": "float32", **config},
        "inbound_nodes": [[[inbound, 0, 0, {}]]] if inbound else [],
    }  # fmt: skip
    layers = [
        layer("InputLayer", "in", None, batch_input_shape=[None, 4, 4, 3]),
        layer("Flatten", "flat", "in"),
        layer("Dense", "dense", "flat", units=5, activation="linear", use_bias=True),
        layer("BatchNormalization", "embedding", "dense", axis=[1], epsilon=1e-3, momentum=0.9),
    ]
    config = {"name": "m", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [["embedding", 0, 0]]}
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.uniform(0.5, 1.5, shape).astype(np.float32)  # noqa: E731
    norm = {"gamma": draw(5), "beta": draw(5), "moving_mean": draw(5), "moving_variance": draw(5)}
    saved_model_folder(tmp_path / "m", config, {"dense": {"kernel": draw(48, 5), "bias": draw(5)}, "embedding": norm})
    rng = np.random.default_rng(0)
    norm = {"gamma": draw(5), "beta": draw(5), "moving_mean": draw(5), "moving_variance": draw(5)}
    kernel, bias, x = draw(48, 5), draw(5), np.ones((2, 4, 4, 3), np.float32)
    wanted = (x.reshape(2, -1) @ kernel + bias - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3)
    model = models.import_weights(str(tmp_path / "m"))
    np.testing.assert_allclose(model(x), wanted * norm["gamma"] + norm["beta"], rtol=1e-4)
    (tmp_path / "m" / "keras_metadata.pb").unlink()
    with pytest.raises(ValueError, match="graph can be run .* but not be made into layers"):
        models.import_weights(str(tmp_path / "m"))


def test_litert_is_told_how_to_be_used(tmp_path):
    """The hint was a circle: "expected .keras or .h5, other files: models.import_weights"."""
    with pytest.raises(ValueError, match="train a student of it, facetrainer distill"):
        models.import_weights("m.tflite")
