"""Teachers, distillation files and cleaning, as commands and as functions."""

import argparse
import errno
import os
import shutil
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest
from helpers import make, sgd, small_model

from facetrainer import data, losses, models
from facetrainer.cli import clean as clean_command
from facetrainer.cli import distill as distill_command
from facetrainer.cli import evaluate as evaluate_command
from facetrainer.cli import run
from facetrainer.data import sources
from facetrainer.evaluation.interface import interface
from facetrainer.io import tfrecord
from facetrainer.preparing import clean as data_drop_top_k
from facetrainer.preparing import distill as data_distiller


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(7)
    return small_model(emb_shape=24)


def expected(teacher, source, rows):
    images = np.stack([data.decode(source.read(i), (32, 32)) for i in rows])
    return teacher.predict_on_batch((images.astype("float32") - 127.5) / 128)


@pytest.mark.parametrize("kind", ["record", "folder"])
@pytest.mark.parametrize("ending", ["npz", "tfrecord"])
def test_distilled_data_bring_the_teachers_embeddings(request, workdir, teacher, kind, ending):
    path = request.getfixturevalue(kind)
    dest = data_distiller.Data_distiller(path, teacher, f"t.{ending}", batch_size=10, shape=(32, 32))
    source, made = data.open_source(path), data.open_source(dest)
    assert len(made) == len(source) == 48 and not os.path.exists(dest + ".rows")
    np.testing.assert_array_equal(made.labels, source.labels)
    rows = [0, 17, 47]
    assert [made.read(i) for i in rows] == [source.read(i) for i in rows]
    np.testing.assert_allclose(made.embeddings[np.array(rows)], expected(teacher, source, rows), rtol=1e-4, atol=1e-5)
    trainer = make(dest, f"{ending}.keras")
    trainer.train({"loss": losses.ArcfaceLoss(), "distill": 7, "epoch": 2, "optimizer": sgd()})
    history = trainer.my_history.history["distill_loss"]
    assert history[1] < history[0] and trainer.model.terms[1].map.shape == (16, 24)  # 16 values learn from 24


def test_a_distiller_that_was_broken_off_goes_on(record, workdir, teacher):
    def tired(images):
        tired.calls += 1
        if tired.calls == 3:
            raise KeyboardInterrupt
        return teacher.predict_on_batch(images)

    tired.calls = 0
    options = {"dest_file": "t.npz", "batch_size": 10, "shape": (32, 32), "use_fp16": True}
    with pytest.raises(KeyboardInterrupt):
        data_distiller.Data_distiller(record, tired, **options)
    with open("t.npz.rows", "ab") as file:
        file.write(b"half a row")
    tired.calls = 10
    data_distiller.Data_distiller(record, tired, **options, recover=True)
    assert tired.calls == 10 + 3
    whole = data_distiller.Data_distiller(record, teacher, "whole.npz", batch_size=10, shape=(32, 32), use_fp16=True)
    found = [data.open_source(path).embeddings for path in ("t.npz", whole)]
    assert found[0].dtype == np.float16
    np.testing.assert_array_equal(*found)


def test_images_that_cannot_be_read_are_named_and_left_out(folder, workdir, teacher, caplog):
    shutil.copytree(folder, "faces")
    with open("faces/deep/p1/3.jpg", "wb") as file:
        file.write(b"no image")
    dest = data_distiller.Data_distiller("faces", teacher, shape=(32, 32), save_npz=True)
    assert dest == "faces_distill.npz" and len(data.open_source(dest)) == 47
    assert "skipped faces/deep/p1/3.jpg" in caplog.text
    assert (
        len(data.open_source(data_distiller.Data_distiller("faces", teacher, shape=(32, 32), limit=5, use_fp16=True)))
        == 4
    )


def test_shards_cut_off_and_foreign(record, workdir, teacher, caplog):
    path = data_distiller.Data_distiller(record, teacher, "t.tfrecord", shape=(32, 32))
    whole = tfrecord.index(path)
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 5)
    assert len(tfrecord.index(path)) == len(whole) - 1 and "47 whole records" in caplog.text
    sources.write_shard("b.tfrecord", [(b"x", 3, None)])
    assert data.open_source("b.tfrecord").embeddings is None
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        data.open_source("none*.tfrecord")


def test_teachers_of_every_kind(workdir, teacher):
    images = np.random.default_rng(0).normal(size=(5, 32, 32, 3)).astype("float32")
    truth = teacher.predict_on_batch(images)
    full = models.FaceModel(teacher, models.NormDense(4))
    models.save(teacher, "t.keras")
    models.save(full, "full.h5")
    teacher.export("saved", format="tf_saved_model", verbose=False)
    for each in (teacher, full, "t.keras", "full.h5", "saved"):
        found = interface(each, trusted=each == "saved")(images)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, truth, rtol=1e-3, atol=1e-4)
    with pytest.raises(FileNotFoundError, match="'none.onnx' does not exist"):
        interface("none.onnx")
    with pytest.raises(ValueError, match="expected .keras, .h5, .onnx"):
        interface(__file__)


@pytest.mark.real
def test_the_real_teacher(real, workdir):
    pytest.importorskip("ai_edge_litert")
    embed = interface(f"{real}/teacher/mobilefacenet_192.tflite")
    found = embed(np.zeros((3, 112, 112, 3), np.float32))
    assert found.shape == (3, 192)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-4)


# ----------------------------------------------------------------------------------------------------------- cleaning


def test_angles_to_the_main_sub_center():
    centers = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 0, 0]]], float)
    embeddings = np.array([[5, 0, 0], [0, 0.1, 0], [0, 1, 1e-3], [0, 0, 2], [np.nan, 0, 0]])
    labels = np.array([0, 0, 0, 1, 1])
    np.testing.assert_allclose(
        data_drop_top_k.angles_to_main(embeddings, labels, centers), [90, 0, 0, 0, 180], atol=0.1
    )


@pytest.mark.parametrize("kind", ["record", "folder"])
def test_wrong_images_are_left_out(request, workdir, monkeypatch, kind):
    """A model that knows the people: centers are the mean embeddings, and three images carry another's label."""
    path = request.getfixturevalue(kind)
    source, model = data.open_source(path), small_model(emb_shape=8)
    vectors = np.eye(8)[source.labels] + np.random.default_rng(0).normal(0, 0.05, (48, 8))
    wrong = [4, 20, 40]
    vectors[wrong] = np.roll(vectors[wrong], 1, axis=1)
    head = models.NormDense(8, loss_top_k=2)
    full = models.FaceModel(model, head)
    centers = np.stack(
        [np.eye(8), np.roll(np.eye(8), 1, axis=1)], axis=1
    )  # second sub-center: where the wrong ones lie
    head.kernel.assign(centers.reshape(16, 8).T)
    monkeypatch.setattr(data_drop_top_k.Embedder, "of_source", lambda *_: [vectors[:30], vectors[30:]])
    dest = data_drop_top_k.data_drop_top_k(full, path)
    kept = data.open_source(dest)
    assert len(kept) == 45 and len(kept.class_names) == 8
    dropped = pd.read_csv(dest.replace(".npz", "_dropped.csv"))
    assert list(dropped["image"]) == [source.name(i) for i in wrong] and (dropped["degrees"] > 75).all()
    make(dest, "clean.keras").train({"loss": "arcface", "epoch": 1, "optimizer": sgd()})


def test_cleaning_from_a_file_and_its_errors(record, workdir, tmp_path):
    trainer = make(record)
    trainer.train({"loss": "arcface", "epoch": 1, "optimizer": sgd(), "lossTopK": 2})
    assert (
        clean_command.main(["-M", "checkpoints/run.keras", "-D", record, "-t", "180", "-d", "all.npz", "-L", "3"]) == 0
    )
    assert len(data.open_source("all.npz")) == 18
    with pytest.raises(ValueError, match="the model has no cosine head"):
        data_drop_top_k.data_drop_top_k(trainer.basic_model, record)
    with pytest.raises(ValueError, match="the model has 8 people, the data 3"):
        data_drop_top_k.data_drop_top_k(trainer.model, "all.npz")


def test_the_commands_say_in_a_line_what_failed(record, capsys):
    assert distill_command.main(["-D", record, "-M", "none.onnx"]) == 1
    printed = capsys.readouterr().err
    assert "'none.onnx' does not exist" in printed and printed.count("\n") == 1
    assert distill_command.main(["-D", record]) == 1 and "no teacher given" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no teacher given"):
        distill_command.main(["-D", record, "--debug"])


def test_two_teachers_are_not_mixed(workdir, record, monkeypatch):
    """-R goes on with the same teacher, type and data alone."""

    def broken_off(self, rows):
        once(self, rows)
        raise KeyboardInterrupt

    once = data_distiller.Rows.append
    embed = lambda images: images.mean(axis=(1, 2))  # noqa: E731
    other = lambda images: images.max(axis=(1, 2))  # noqa: E731
    other.__qualname__ = "other"
    monkeypatch.setattr(data_distiller.Rows, "append", broken_off)
    with pytest.raises(KeyboardInterrupt):
        data_distiller.Data_distiller(record, embed, "d.npz", batch_size=16)
    monkeypatch.setattr(data_distiller.Rows, "append", once)
    for changed, message in (
        ({"model_file": other}, "teacher was function"),
        ({"use_fp16": True}, "dtype was float32, is float16"),
        ({"data_path": f"{record}/train.rec"}, "data was"),
    ):
        options = {"data_path": record, "model_file": embed, **changed}
        with pytest.raises(ValueError, match=message):
            data_distiller.Data_distiller(dest_file="d.npz", recover=True, batch_size=16, **options)
    data_distiller.Data_distiller(record, embed, "d.npz", recover=True, batch_size=16)
    assert len(np.load("d.npz")["embeddings"]) == 48 and sorted(os.listdir()) == ["d.npz"]


def test_programs_run_with_trust_alone(workdir, tmp_path, capsys):
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]).export(
        "saved", verbose=False
    )
    with zipfile.ZipFile("jit.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"jit/{name}", "")
    for path, kind in (("saved", "a SavedModel folder"), ("jit.pt", "a torch-jit file")):
        with pytest.raises(ValueError, match=f"{path} is {kind}: a program"):
            interface(path)
    assert interface("saved", trusted=True)(np.zeros((1, 8, 8, 3), np.float32)).shape == (1, 2)
    os.makedirs("empty")
    with pytest.raises(ValueError, match="a folder without saved_model.pb"):
        interface("empty", trusted=True)


@pytest.mark.parametrize("suffix", [".pt", ".onnx", ".h5", ".keras", ".tflite", ".params", ".json", "", ".bin"])
def test_junk_is_told_in_a_line(workdir, bin_file, suffix, capsys):
    """Whatever a runtime raises for a damaged file, the command names the file."""
    if suffix:
        open("junk" + suffix, "wb").write(np.random.default_rng(0).bytes(3000))
    else:
        os.makedirs("junk")
    call = ["-m", "junk" + suffix, "-t", bin_file] if suffix != ".bin" else ["-m", "junk.pt", "-t", "junk.bin"]
    assert evaluate_command.main([*call, "--trusted"]) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("facetrainer evaluate: ") and "junk" in line and "Traceback" not in line


def test_a_full_disk_is_told_in_a_line(capsys):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert run.call(argparse.ArgumentParser("facetrainer prepare"), full, []) == 1
    told = "facetrainer prepare: OSError: [Errno 28] No space left on device. Make room; the same command goes on."
    assert capsys.readouterr().err.strip() == told
