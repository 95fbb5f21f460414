"""Names of Keras_insightface do what they did."""

import glob
import json
import os

import cv2
import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from helpers import make, sgd, tiny_model

import augment
import data
import data_distiller
import evals
import IJB_evals
import losses
import models
import myCallbacks
import plot
from backbones import efficientnet, ghost_model, mobile_facenet, mobilenet_m1, resnet, vargface
from facetrainer.data.images import decode


@pytest.fixture
def face(people):
    return decode(people[0][0], (112, 112))


# ------------------------------------------------------------------------------------------------------------- data


def test_folders_as_lists(workdir, people):
    for k in (2, 10, 1):
        os.makedirs(f"faces/{k}")
        for i in range(3):
            open(f"faces/{k}/{i}.jpg", "wb").write(people[k % 8][i])
    rule = data.ImageClassesRule_map("faces", excludes=["10"])
    assert rule.classes == {"1": 0, "2": 1} and rule("faces/2/0.jpg") == 1
    names, classes, embeddings, count, npz = data.pre_process_folder("faces")
    assert (len(names), count, npz, len(embeddings)) == (9, 3, "faces_shuffle.npz", 0)
    assert all(["1", "2", "10"][c] == os.path.basename(os.path.dirname(n)) for n, c in zip(names, classes))
    made = make(npz, batch_size=4)
    made.train([{"loss": losses.scale_softmax, "epoch": 1, "optimizer": sgd()}])
    assert made.classes == 3
    some = data.pre_process_folder("faces", "*/0.jpg")[0]
    assert sorted(os.path.relpath(n, "faces") for n in some) == ["1/0.jpg", "10/0.jpg", "2/0.jpg"]
    with pytest.raises(ValueError, match="fits none of the 9 images"):
        data.pre_process_folder("faces", "*.png")


def test_datasets(record, people):
    ds, steps = data.prepare_dataset(record, batch_size=8)
    x, y = next(iter(ds))
    assert steps == 6 and x.dtype == tf.float32 and y.dtype == tf.int32
    assert -1.0 <= float(tf.reduce_min(x)) < -0.5 and 0.5 < float(tf.reduce_max(x)) <= 1.0
    _, mixed = next(iter(data.prepare_dataset(record, batch_size=8, mixup_alpha=0.4)[0]))
    np.testing.assert_allclose(mixed.numpy().sum(axis=1), 1, rtol=1e-5)
    assert mixed.shape == (8, 8)
    ordered, steps = data.prepare_dataset(record, batch_size=20, is_train=False)
    labels = np.concatenate([y for _, y in ordered])
    assert steps == 3 and labels.tolist() == np.repeat(np.arange(8), 6).tolist()
    with pytest.raises(ValueError, match="partial_fc_sample_rate"):
        data.prepare_dataset(record, partial_fc_split=2)
    with pytest.raises(ValueError, match="has no embeddings: data_distiller.py"):
        data.prepare_distill_dataset_tfrecord(record)


def test_triplets_and_pictures(record, tmp_path):
    made = data.Triplet_dataset(record, batch_size=17, image_per_class=4)
    x, y = next(iter(made.ds))
    assert x.shape[0] == 16 and len(set(y.numpy())) == 4 and (made.total, made.classes) == (48, 8)
    figure = data.show_batch_sample(made.ds, rows=4, basic_size=0.5, path=str(tmp_path / "a.png"))
    assert figure.get_size_inches().tolist() == [2.0, 2.0] and cv2.imread(str(tmp_path / "a.png")).std() > 20


def test_images(tmp_path, people, face):
    (tmp_path / "a.jpg").write_bytes(people[0][0])
    image = data.tf_imread(str(tmp_path / "a.jpg"))
    assert image.dtype == tf.float32 and 100 < float(tf.reduce_max(image)) <= 255
    process = data.RandomProcessImage((64, 48), random_status=2).process
    (mapped,) = tf.data.Dataset.from_tensors(image).map(process)
    assert mapped.shape == (64, 48, 3) and mapped.dtype == tf.float32
    masked = next(
        m for _ in range(50) if ((m := data.random_cutout_or_cutout_mask(face, (112, 112), 0.5)) != face).any()
    )
    squared = data.random_cutout_or_cutout_mask(face, (112, 112), 0, random_cutout=1, replace=7)
    assert (masked[:40] == face[:40]).all() and (squared == 7).sum() > 300
    assert data.sample_beta_distribution(5).shape == (5,)
    images, labels = data.mixup(np.eye(4)[:, :, None, None], np.eye(4), 1.0)
    np.testing.assert_allclose(images[:, :, 0, 0], labels)
    assert data.pick_by_image_per_class([0, 0, 1, 2, 2, 2], 2).tolist() == [True, True, False, True, True, True]


# ------------------------------------------------------------------------------------------------ augment and losses


def test_image_operations(face):
    for operation in (augment.autocontrast, augment.equalize, augment.invert):
        assert operation(face).shape == face.shape
    np.testing.assert_array_equal(augment.invert(face), 255 - face)
    np.testing.assert_array_equal(augment.posterize(face, 3), face & 0b11100000)
    np.testing.assert_array_equal(augment.solarize(face, 100), np.where(face < 100, face, 255 - face))
    added = np.where(face < 128, np.minimum(face.astype(int) + 20, 255), face)
    np.testing.assert_array_equal(augment.solarize_add(face, 20), added)
    np.testing.assert_array_equal(augment.translate_x(face, 5)[:, 5:], face[:, :-5])
    assert (augment.translate_y(face, 5, (1, 2, 3))[:5] == (1, 2, 3)).all()
    for operation in (augment.color, augment.contrast, augment.brightness, augment.sharpness):
        assert np.abs(operation(face, 1.0).astype(int) - face)[1:-1, 1:-1].max() <= 1
        assert (operation(face, 0.1) != face).mean() > 0.3
    for operation, value in ((augment.rotate, 20), (augment.shear_x, 0.2), (augment.shear_y, 0.2)):
        assert (operation(face, value) != face).any()
    np.testing.assert_array_equal(augment.blend(face, 255 - face, 0.0), face)
    assert (augment.cutout(face, 10, 9) == 9).sum() > 100


def test_auto_augment(face):
    policies = augment.AutoAugment()
    assert len(policies.policies) == 25 and policies.policies[23] == [("Solarize", 0.6, 8.0), ("Equalize", 0.6, 1.0)]
    changed = [policies.distort(face, np.random.default_rng(seed)) for seed in range(20)]
    assert sum((one != face).any() for one in changed) > 15 and all(one.dtype == np.uint8 for one in changed)
    only = augment.AutoAugment(policies=[[("Invert", 1.0, 0)]])
    np.testing.assert_array_equal(only(face, np.random.default_rng(0)), 255 - face)
    with pytest.raises(ValueError, match="expected 'v0'"):
        augment.AutoAugment("v9")


def test_a_tensor_is_saved_every_epoch(workdir):
    model = tiny_model(4)
    saver = losses.Save_Numpy_Callback("kernel", model.layers[1].kernel)
    saver.on_epoch_end(0)
    np.testing.assert_array_equal(np.load("kernel.npy"), model.layers[1].kernel)


# --------------------------------------------------------------------------------------------------------- callbacks


def test_schedules_can_be_drawn_without_a_model():
    cosine = myCallbacks.CosineLrScheduler(0.001, first_restart_step=100, lr_min=1e-6, warmup_iters=0, m_mul=1e-3)
    rates = [float(cosine.on_epoch_begin(epoch)) for epoch in (0, 50, 100, 120)]
    assert rates == pytest.approx([1e-3, 5.005e-4, 1e-6, 1e-6])
    assert cosine.on_epoch_begin(120).numpy() == pytest.approx(1e-6)
    batches = myCallbacks.CosineLrScheduler(0.001, first_restart_step=21000, lr_min=1e-7, warmup_iters=4000, m_mul=0.5)
    assert batches.on_train_batch_begin(2000).numpy() == pytest.approx(5e-4, rel=1e-3)
    assert batches.on_train_batch_begin(4000).numpy() == pytest.approx(1e-3)
    steps = myCallbacks.ConstantDecayScheduler(0.001, lr_decay_steps=[10, 20], decay_rate=0.1)
    assert [float(steps.on_epoch_begin(epoch)) for epoch in (9, 10, 25)] == pytest.approx([1e-3, 1e-4, 1e-5])
    epochs = myCallbacks.CosineLrSchedulerEpoch(0.1, 4)
    assert float(epochs.on_epoch_begin(2)) == pytest.approx(0.05, rel=1e-3) and epochs.on_train_batch_begin(1) is None


@pytest.mark.parametrize("length", [4, 600])
def test_a_schedule_in_fit(length):
    """The rate of a cosine over epochs fell within the first epoch, by a batch as by an epoch."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    scheduler = myCallbacks.CosineLrScheduler(0.1, length, lr_min=0.0)
    rates = []
    seen = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    model.fit(np.zeros((10, 2)), np.zeros((10, 1)), batch_size=1, epochs=2, verbose=0, callbacks=[scheduler, seen])
    places = np.arange(20) / (10 if length == 4 else 1)
    np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * places / length)), rtol=1e-4)


def test_basic_callbacks(workdir, bin_file):
    model = tiny_model(8)
    full = keras.Model(model.input, keras.layers.Dense(3, activation="softmax")(model.output))
    full.compile("sgd", "sparse_categorical_crossentropy")
    found = myCallbacks.basic_callbacks("a.keras", [evals.eval_callback(model, bin_file)], lr=0.02, lr_decay=0.1)
    full.fit(np.zeros((4, 32, 32, 3)), np.zeros(4), epochs=2, verbose=0, callbacks=found)
    history = json.load(open("checkpoints/a_hist.json"))
    assert len(history["drawn"]) == 2 and history["lr"] == pytest.approx([0.02, 0.02 * np.exp(-0.1)])
    assert keras.models.load_model("checkpoints/a.keras").count_params() == full.count_params()


# ---------------------------------------------------------------------------------------------- pictures and networks


def test_plot_helpers():
    with plt.rc_context():
        assert plot.set_colors(12)[10] == plot.set_colors(2)[0] and len(plot.set_colors(3, "viridis")) == 3
        assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == plot.set_colors(3, "viridis")
        plot.set_scale(2)
        assert plt.rcParams["font.size"] == 20
    axes = plt.Figure().subplots()
    plot.arrays_plot(axes, [[1, 2], [3]], label="x", init_epoch=4, pre_value=0.5)
    assert axes.lines[0].get_xdata().tolist() == [4, 5, 6, 7] and axes.lines[0].get_ydata().tolist() == [0.5, 1, 2, 3]
    plot.peak_scatter(axes, [[1, 5, 2], [4, 3]], np.argmax)
    assert [text.get_text() for text in axes.texts] == ["5.0000", "4.0000"] and axes.texts[1].xy[0] == 4


def test_networks():
    shape = (32, 32, 3)
    assert resnet.ResNet18(shape).output_shape == (None, 2, 2, 512)
    assert resnet.ResNet18(shape, use_se=True, model_name="x").name == "x"
    small = mobile_facenet.mobile_facenet(32, dropout=0, name="m", use_se=True, input_shape=shape, num_blocks=[1] * 5)
    assert small.output_shape == (None, 32) and small.name == "m"
    assert ghost_model.GhostNet(shape).output_shape[-1] > 500 and mobilenet_m1.MobileNet(shape).output_shape[-1] == 1024
    assert vargface.VargFace([1, 1, 1], input_shape=shape).output_shape == (None, 1, 1, 1024)
    assert efficientnet.EfficientNetB0(input_shape=shape).layers[1].name == "stem_conv_pad"
    with pytest.raises(ValueError, match="models.buildin_models adds the embedding"):
        efficientnet.EfficientNetB0(include_top=True)
    assert models.buildin_models("se_resnext", input_shape=shape, depths=(1, 1, 1, 1)).name == "se_resnext50"
    with pytest.raises(ValueError, match="use_max_pool"):
        resnet.ResNet18(shape, use_max_pool=True)


def test_search_in_a_gallery():
    rng = np.random.default_rng(0)
    people = rng.normal(size=(40, 16))
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    ids = np.arange(40)
    found = IJB_evals.evaluation_1N(people, people[:20], ids, ids[:20])
    assert found["top1"] == found["top10"] == 1.0 and found["DIR@FAR=0.1"] == 1.0 and np.isnan(found["DIR@FAR=0.01"])


# --------------------------------------------------------------------------------------------------- the README's words


def test_the_older_name_of_a_keyword(workdir, record):
    assert make(record, output_wd_multiply=3).output_weight_decay == 3


def test_centers_for_more_people_than_there_are(workdir, record, caplog):
    """The README writes CenterLoss(num_classes=85742) beside any data."""
    trainer = make(record)
    trainer.train([{"loss": losses.CenterLoss(num_classes=85742, emb_shape=16), "epoch": 1, "optimizer": sgd()}])
    assert (
        trainer.model.terms[0].centers.shape == (8, 16) and "num_classes is 8, as in the data, not 85742" in caplog.text
    )
    with pytest.raises(ValueError, match="num_classes=8, emb_shape=16. Received: 4, 16"):
        make(record, "b.keras").train([{"loss": losses.CenterLoss(4, 16), "epoch": 1, "optimizer": sgd()}])


def test_embeddings_of_an_npz_as_shards_without_a_teacher(workdir, folder, record):

    with pytest.raises(ValueError, match="no teacher given, and the data hold no embeddings"):
        data_distiller.Data_distiller(folder)
    teacher = data_distiller.teacher_model_interf_wrapper(tiny_model(8))
    npz = data_distiller.Data_distiller(folder, teacher, save_npz=True, shape=(32, 32))
    shards = data_distiller.Data_distiller(npz)
    assert shards == os.path.splitext(npz)[0] + ".tfrecord"
    one, two = (data.open_source(path) for path in (npz, shards))
    np.testing.assert_array_equal(one.embeddings[[3, 40]], two.embeddings[[3, 40]])
    ds, _ = data.prepare_distill_dataset_tfrecord(shards, batch_size=8)
    assert [tuple(part.shape) for part in next(iter(ds))[1]] == [(8, 8), (8,)]


def test_stopping_by_n_and_enter(workdir, record, monkeypatch):
    """Gently stop reads what was typed, where there is a terminal."""
    leader, follower = os.openpty()
    terminal = os.fdopen(follower)
    monkeypatch.setattr("sys.stdin", terminal)
    trainer = make(record)
    typed = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: os.write(leader, [b"y\n", b"n\n"][epoch]))
    trainer.custom_callbacks.append(typed)
    trainer.train([{"loss": losses.ArcfaceLoss(scale=16), "epoch": 5, "optimizer": sgd()}])
    assert len(trainer.my_history.history["loss"]) == 2
    terminal.close()


def test_report_of_a_run(workdir, record, bin_file):
    trainer = make(record, eval_paths=[bin_file], report=True)
    trainer.train([{"loss": losses.ArcfaceLoss(scale=16), "epoch": 1, "optimizer": sgd()}])
    assert glob.glob("checkpoints/*_report.html") == ["checkpoints/run_report.html"]
    assert "drawn" in open("checkpoints/run_report.html").read()
