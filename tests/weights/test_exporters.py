"""Models as files for use: folded, written, run again."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers import ROOT, small_model

from facetrainer import evaluation as evals
from facetrainer import models
from facetrainer.cli import convert
from facetrainer.evaluation import comparison as compare
from facetrainer.evaluation.interface import interface
from facetrainer.weights import exporters as write
from facetrainer.weights import fold


def shaken(model, seed=0):
    """Every norm with statistics of its own: untrained ones would be folded by doing nothing."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                low, high = (0.5, 1.5) if weight.name in ("gamma", "moving_variance") else (-0.3, 0.3)
                weight.assign(rng.uniform(low, high, weight.shape))
    return model


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return shaken(small_model(16, widths=(32, 48)))


@pytest.fixture(scope="module")
def images():
    return compare.sample(None, 24, (32, 32))


def norms(model):
    return sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)


@pytest.mark.parametrize(
    ("stem", "tail", "left"),
    [({"widths": (8,)}, "E", 0), ({"widths": (8,)}, "F", 0), ({"widths": (8,)}, "GAP", 0), ({"widths": (8,)}, "GDC", 0),
     ({"widths": (8,)}, "G", 0), ({"stem_model": "r18", "widths": (4, 4, 8, 8)}, "E", 8),
     ({"stem_model": "mobilefacenet", "num_blocks": (1, 1, 1, 1, 1)}, "GDC", 0)],
)  # fmt: skip
def test_folded_is_the_same_function(stem, tail, left):
    """What is left of the IR network's norms are those before padded convolutions, one a unit."""
    options = {
        "stem_model": "r_tiny",
        "dropout": 0.4,
        "emb_shape": 16,
        "input_shape": (32, 32, 3),
        "output_layer": tail,
        **stem,
    }
    keras.utils.set_random_seed(4)  # of others one in fifteen rounds worse than 1e-4
    model = shaken(models.buildin_models(**options))
    folded = fold.fold_batch_norm(model)
    x = np.random.default_rng(1).normal(size=(3, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-4, atol=1e-4)
    assert norms(folded) == left < norms(model)


def test_a_norm_of_an_output_that_is_read_twice_stays():
    inputs = keras.layers.Input((8, 8, 3))
    y = keras.layers.Conv2D(4, 1)(inputs)
    joined = keras.layers.Add()([keras.layers.BatchNormalization()(y), y])
    active = keras.layers.Conv2D(4, 1, activation="relu")(joined)
    model = shaken(keras.Model(inputs, keras.layers.BatchNormalization()(active)))
    folded = fold.fold_batch_norm(model)
    x = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-5, atol=1e-5)
    assert norms(folded) == 2


@pytest.mark.parametrize(
    ("to", "quantize", "limit"),
    [("keras", None, 1e-5), ("savedmodel", None, 1e-5), ("litert", None, 1e-5), ("litert", "fp16", 5e-3), ("litert", "dynamic", 0.1),
     ("litert", "int8", 0.1), ("onnx", None, 1e-5), ("onnx", "fp16", 5e-3), ("onnx", "dynamic", 0.1), ("onnx", "int8", 0.1)],
)  # fmt: skip
def test_every_form_gives_the_models_embeddings(model, images, tmp_path, to, quantize, limit):
    """uint8 images in, float32 of unit length out; a file of 8 or 16 bits is smaller than the whole one."""
    path = str(tmp_path / f"m{write.SUFFIXES[to]}")
    write.write(model, path, to, quantize, images, unit_length=True)
    embed = interface(path, trusted=to == "savedmodel")
    largest, _ = compare.difference(interface(model), embed, images)
    assert largest < limit and embed.image_size == (32, 32)
    found = embed((images.astype(np.float32) - 127.5) / 128)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=0.05 if quantize == "int8" else 1e-2)
    if quantize and to == "litert":
        assert os.path.getsize(path) < 0.7 * model.count_params() * 4
    assert os.listdir(tmp_path) == [os.path.basename(path)]


def test_normalised_input_and_batches(model, images, tmp_path):
    path = str(tmp_path / "m.tflite")
    write.write(model, path, "litert", raw=False, batch=5)
    assert compare.difference(interface(model), interface(path, threads=1, delegate=False), images)[0] < 1e-5


def test_gray_images_in_batches_of_8_bits(images, tmp_path):
    model, path = shaken(small_model(16, widths=(8,), input_shape=(32, 32, 1))), str(tmp_path / "m.tflite")
    write.write(model, path, "litert", "int8", images, raw=False, batch=5)
    assert compare.difference(interface(model), interface(path), images)[0] < 0.1


def test_a_model_with_pixels_inside_is_evaluated_as_what_it_is(model, bin_file, tmp_path):
    path = str(tmp_path / "m.keras")
    write.write(model, path, "keras")
    whole = keras.models.load_model(path)
    (before,), (after,) = (evals.evaluate_model(one, [bin_file]) for one in (model, whole))
    assert (after.accuracy, after.auc) == pytest.approx((before.accuracy, before.auc))
    assert whole.input.dtype == "uint8" and whole.layers[-1].name == "embedding"


def run(*argv):
    return convert.main([str(one) for one in argv])


def test_export_command(model, folder, bin_file, tmp_path, capsys):
    models.save(model, str(tmp_path / "m.keras"))
    assert run("export", tmp_path / "m.keras", "--to", "litert", "-q", "dynamic", "--bin", bin_file) == 0
    printed = capsys.readouterr().out
    assert "largest difference" in printed and "before drawn: 10-fold accuracy" in printed and "after  drawn" in printed
    about = json.loads((tmp_path / "m_dynamic.tflite.json").read_text())
    assert (
        about["input"] == "32×32×3 RGB, uint8 0…255"
        and set(about["accuracy"]) == {"before", "after"}
        and len(about["sha256"]) == 64
    )
    assert run("info", tmp_path / "m_dynamic.tflite") == 0
    assert "uint8 (1, 32, 32, 3)\nembedding      float32 (1, 16)\npreprocessing  inside" in capsys.readouterr().out
    assert run("export", tmp_path / "m.keras", "--to", "onnx", "--normalised-input", "-o", tmp_path / "m.onnx") == 0
    assert run("info", tmp_path / "m.onnx") == 0
    assert "preprocessing  outside" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--to", "litert", "-q", "int8"], "int8 needs images"), (["--to", "keras", "-q", "fp16"], "'fp16' is for litert and onnx"),
     (["--to", "litert", "-q", "int8", "--data", "FOLDER"], "expected 128 images. Received: 48")],
)  # fmt: skip
def test_export_refuses(model, folder, tmp_path, capsys, arguments, message):
    models.save(model, str(tmp_path / "m.keras"))
    assert run("export", tmp_path / "m.keras", *[folder if one == "FOLDER" else one for one in arguments]) == 1
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["m.keras"]


def test_what_is_for_use_is_not_exported_again(model, tmp_path):
    write.write(model, str(tmp_path / "use.keras"), "keras")
    with pytest.raises(ValueError, match="takes uint8 and is for use already"):
        write.write(keras.models.load_model(tmp_path / "use.keras"), str(tmp_path / "again.keras"), "keras")


def test_folders_of_others_stay(model, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="is a folder that holds no SavedModel"):
        write.write(model, str(tmp_path / "photos"), "savedmodel")
    for _ in range(2):
        write.write(model, str(tmp_path / "saved"), "savedmodel")
    assert sorted(os.listdir(tmp_path)) == ["photos", "saved"] and os.listdir(tmp_path / "photos") == ["a.jpg"]


def test_import_leaves_a_full_model_as_it_was(workdir):
    """The basic model stands in the working folder, not beside its source."""
    full = models.FaceModel(small_model(16), models.NormDense(5))
    os.mkdir("models")
    models.save(full, "models/full.keras")
    assert run("import", "models/full.keras") == 0
    assert sorted(os.listdir(".")) == ["full_basic.keras", "models"] and os.listdir("models") == ["full.keras"]


def test_info_names_the_head(tmp_path, capsys):
    full = models.FaceModel(small_model(16), models.NormDense(5))
    models.save(full, str(tmp_path / "full.keras"))
    assert run("info", tmp_path / "full.keras") == 0
    printed = capsys.readouterr().out
    assert (
        "embedding      16" in printed and "NormDense, 5 people" in printed and "outside: (x - 127.5) / 128" in printed
    )


def test_bench_command(model, tmp_path, capsys):
    models.save(model, str(tmp_path / "m.keras"))
    table = tmp_path / "t.csv"
    assert (
        run("bench", tmp_path / "m.keras", "--forms", "litert", "onnx", "--threads", 1, "--no-xnnpack", "--csv", table)
        == 0
    )
    rows = table.read_text().splitlines()
    assert rows[0] == "model,form,size (MB),threads=1 (ms)" and [row.split(",")[1] for row in rows[1:]] == [
        "litert", "litert (no XNNPACK)", "onnx"
    ]  # fmt: skip


@pytest.mark.real
def test_import_command_runs_the_source_beside(real, tmp_path, capsys):
    assert run("import", f"{real}/weights/arcface_torch_mbf_128.onnx", "-o", tmp_path / "m.keras") == 0
    printed = capsys.readouterr().out
    assert "1,850,752 trainable" in printed
    assert float(printed.split("drawn faces: ")[1].split()[0]) < 1e-5
    assert run("import", f"{real}/weights/arcface_torch_mbf_128.pt", "-o", tmp_path / "n.keras") == 0
    assert "not compared: the source is weights without a program" in capsys.readouterr().out


def test_saved_models_load_in_a_fresh_process(tmp_path):
    """Basic models with plain Keras and nothing of ours, full ones after `import models`."""
    basic = small_model(16)
    models.save(basic, str(tmp_path / "basic.keras"))
    models.save(models.FaceModel(basic, models.NormDense(5)), str(tmp_path / "full.keras"))
    script = (
        "import sys, keras; keras.models.load_model('basic.keras'); assert 'facetrainer' not in sys.modules\n"
        f"sys.path.insert(0, {ROOT!r}); import facetrainer.models\n"
        "print(type(keras.models.load_model('full.keras')).__name__)"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.split()[-1] == "FaceModel"


@pytest.mark.real
def test_prefix_and_epoch_are_a_model_too(real):
    with np.load(f"{real}/weights/mxnet_y1_128.npz") as file:
        images, expected = file["images"], evals.unit(file["embedding"])
    found = evals.unit(interface(f"{real}/weights/mxnet_y1_128,0")((images.astype(np.float32) - 127.5) / 128))
    assert np.abs(found - expected).max() < 2e-6


def test_an_export_that_does_not_do_what_the_model_does_is_not_written(model, images, tmp_path, monkeypatch):
    """Nor is a file that stood there touched."""
    path = tmp_path / "m.onnx"
    path.write_text("the old one")
    broken = shaken(small_model(16, input_shape=(32, 32, 3)), seed=5)
    whole = write.inference_model
    monkeypatch.setattr(write, "inference_model", lambda *a, **k: whole(broken, *a[1:], **k))
    with pytest.raises(ValueError, match=r"gives other embeddings than the model, lowest cosine .* Nothing is written"):
        compare.export(model, str(path), "onnx")
    assert path.read_text() == "the old one" and os.listdir(tmp_path) == ["m.onnx"]


def test_onnx_names_its_ends(model, tmp_path):
    onnx = pytest.importorskip("onnx")
    for batch, wanted in ((None, "batch"), (3, 3)):
        compare.export(model, str(tmp_path / "m.onnx"), "onnx", batch=batch)
        graph = onnx.load(tmp_path / "m.onnx").graph
        for end, name in ((graph.input[0], "image"), (graph.output[0], "embedding")):
            first = end.type.tensor_type.shape.dim[0]
            assert end.name == name and (first.dim_param or first.dim_value) == wanted


@pytest.mark.parametrize("to", ["onnx", "litert"])
def test_grouped_convolutions_are_exported(tmp_path, to):
    """Keras wraps them in a function of XLA's on CPUs, which no ONNX file can hold: vargface, mbf_large, se_resnext, resnest."""
    inputs = keras.Input((16, 16, 8))
    x = keras.layers.Conv2D(16, 3, 2, "same", groups=4)(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(16, 3, dilation_rate=2, groups=2)(x))
    model = shaken(keras.Model(inputs, keras.layers.Dense(4, name="embedding")(keras.layers.Flatten()(x))))
    path = str(tmp_path / f"m{write.SUFFIXES[to]}")
    write.write(model, path, to, raw=False)
    images = np.random.default_rng(0).normal(size=(1, 16, 16, 8)).astype(np.float32)
    if to == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(path)
        found = session.run(["embedding"], {"image": images})[0]
    else:
        interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(path)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, model(images), rtol=1e-4, atol=1e-5)


def test_gelu_to_onnx(tmp_path):
    """TensorFlow makes it of erfc, which ONNX lacks: the ConvNeXt networks could not be exported."""
    pytest.importorskip("onnxruntime")
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, activation="gelu")(inputs)
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, 4, activation="gelu")(x))
    network = keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="embedding")(x))
    largest, cosine = compare.export(network, str(tmp_path / "m.onnx"), "onnx")
    assert largest < 1e-5 and cosine > 0.99999
