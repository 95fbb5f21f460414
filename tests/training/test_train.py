"""The trainer as a notebook uses it, on 8 drawn people and a model of 32×32 pixels."""

import copy
import json
import logging
import os
import signal

import keras
import numpy as np
import pytest
from helpers import ON_TENSORFLOW, arrays, make, sgd, small_model, tiny_model, weights_of

from facetrainer import losses, models
from facetrainer import training as train
from facetrainer.training import callbacks

THREE = [
    {
        "loss": keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        "centerloss": 0.01,
        "optimizer": sgd(),
        "epoch": 1,
    },
    {"loss": losses.ArcfaceLoss(scale=16), "epoch": 1, "lossTopK": 2},
    {"loss": losses.ArcfaceLoss(scale=16), "epoch": 1, "triplet": 1, "alpha": 0.3},
]


# ----------------------------------------------------------------------------------------------------------- schedule


@pytest.mark.parametrize(
    ("sch", "message"),
    [
        ([], "sch is empty"),
        ([{"loss": "softmax", "epochs": 2}], "sch[0]: unknown key 'epochs'. Did you mean 'epoch'?"),
        (
            [{"loss": "softmax", "epoch": 1}, {"loss": "softmax"}],
            "sch[1]: 'epoch' is missing. A stage is at least {'loss': ..., 'epoch': ...}. Received: ['loss']",
        ),
        ([{"epoch": 1}], "sch[0]: 'loss' is missing."),
        ([{"loss": "softmax", "epoch": 1.5}], "sch[0]: 'epoch' must be a whole number of at least 0. Received: 1.5"),
        ([{"loss": "softmax", "epoch": True}], "sch[0]: 'epoch' must be a whole number"),
        ([{"loss": "arcfase", "epoch": 1}], "sch[0]: unknown loss 'arcfase'. Did you mean 'arcface'?"),
        ([{"loss": "softmax", "epoch": 1, "optimizer": "adaam"}], "sch[0]: 'optimizer':"),
        ([{"loss": losses.ArcfaceLoss(), "type": "softmax", "epoch": 1}], "'type' 'softmax' does not fit ArcfaceLoss"),
        ([{"loss": "softmax", "epoch": 1, "embLossTypes": ["center", "triplet"], "embLossWeights": [1]}], "'embLossWeights' has 1 values"),
        (["softmax"], "sch[0]: expected a dict. Received: 'softmax'"),
    ],
)  # fmt: skip
def test_schedule_errors_word_for_word(sch, message):
    with pytest.raises(ValueError) as error:
        train.parse_schedule(sch)
    assert message in str(error.value)


def test_short_and_long_forms_mean_the_same():
    short = train.parse_schedule({"loss": "arcface", "epoch": 1, "centerloss": True, "triplet": 64, "alpha": 0.3})[0]
    long = {
        "loss": "arcface",
        "epoch": 1,
        "embLossTypes": ["center", "triplet"],
        "embLossWeights": [1, 64],
        "tripletAlpha": 0.3,
    }
    assert short.describe() == train.parse_schedule(long)[0].describe()
    assert train.parse_schedule({"loss": "arcface", "epoch": 1, "centerloss": 0})[0].losses[1:] == ()


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ({"partial_fc_split": 2}, "partial_fc_sample_rate=0.1"),
        ({"samples_per_mining": 4}, "BatchHard"),
        ({"partial_fc_sample_rate": 0}, "must be above 0 and at most 1"),
    ],
)
def test_arguments_that_are_gone_say_what_replaces_them(record, workdir, argument, text):
    with pytest.raises(ValueError, match=text):
        make(record, **argument)


# ------------------------------------------------------------------------------------------------------------- stages


def test_three_stages(record, bin_file, workdir):
    sch = THREE
    before = copy.deepcopy([{k: v for k, v in stage.items() if k != "optimizer"} for stage in sch])
    optimizer = copy.deepcopy(sch[0]["optimizer"].get_config())
    trainer = make(record, eval_paths=[bin_file])
    assert trainer.train(sch, 0) == 3
    for old, new in zip(before, sch, strict=True):
        assert {k: str(v) for k, v in old.items() if k != "loss"} == {
            k: str(v) for k, v in new.items() if k not in ("optimizer", "loss")
        }
    assert sch[0]["optimizer"].get_config() == optimizer and sch[0]["optimizer"].built is False
    files = set(os.listdir("checkpoints"))
    assert {"run.keras", "run.state.npz", "run_hist.json", "run_basic_model_latest.keras"} <= files
    assert sum(f.startswith("run_basic_drawn_epoch_") and f.endswith(".keras") for f in files) == 1
    history = json.load(open("checkpoints/run_hist.json"))
    assert {len(v) for k, v in history.items() if k in ("loss", "lr", "drawn", "drawn_10fold")} == {3}
    assert history["triplet_loss"][:2] == [None, None] and history["center_loss"][0] > 0
    assert trainer.classes == 8 and trainer.is_triplet_dataset and trainer.cur_loss.scale == 16
    loaded = models.load("checkpoints/run.keras")
    assert isinstance(loaded, models.FaceModel) and int(loaded.optimizer.iterations.value) > 0


def test_losses_fall(record, workdir):
    trainer = make(record, augmentations=[], basic_model=small_model())
    trainer.train([{"loss": losses.ArcfaceLoss(scale=16, margin2=0.2), "epoch": 12, "optimizer": sgd()}])
    values = trainer.my_history.history
    assert values["loss"][-1] < 0.5 * values["loss"][0] and values["accuracy"][-1] > 0.8


def test_weights_cross_a_head_change(record, workdir):
    trainer = make(record)
    trainer.train({"loss": "softmax", "epoch": 1, "optimizer": sgd()})
    kernel, moments = arrays([trainer.head.kernel, trainer.optimizer.variables[3]])
    trainer.train({"loss": "arcface", "epoch": 0}, 1)
    np.testing.assert_array_equal(trainer.head.kernel, kernel)
    np.testing.assert_array_equal(trainer.optimizer.variables[3], moments)
    assert np.abs(moments).sum() > 0


def test_bottleneck_only_restores_exactly_the_flags(record, workdir):
    trainer = make(record)
    trainer.basic_model.layers[3].trainable = False
    flags = [layer.trainable for layer in trainer.basic_model.layers]
    before = trainer.basic_model.get_weights()
    trainer.train({"loss": "arcface", "epoch": 1, "bottleneckOnly": True, "optimizer": sgd()})
    assert [layer.trainable for layer in trainer.basic_model.layers] == flags
    for old, new in zip(before, trainer.basic_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "stage",
    [
        {"loss": losses.BatchAllTripletLoss(0.3)},
        {"loss": losses.BatchHardTripletLoss(0.25), "centerloss": 0.01},
        {"loss": losses.CenterLoss(num_classes=8, emb_shape=16), "triplet": 10, "alpha": 0.25},
        {"loss": losses.ArcfaceLoss(), "centerloss": 1, "triplet": 32, "alpha": 0.2},
        {"loss": losses.CosFaceLoss(label_smoothing=0.1)},
        {"loss": keras.losses.CategoricalFocalCrossentropy()},
        {"loss": keras.losses.CategoricalFocalCrossentropy(), "type": "arcface"},
    ],
)
def test_combinations_of_the_seed(record, workdir, stage):
    trainer = make(record)
    trainer.train({**stage, "epoch": 1, "optimizer": "adam"})
    assert np.isfinite(trainer.my_history.history["loss"]).all()


def test_online_teacher_and_npz_embeddings(folder, workdir):
    teacher = tiny_model()
    trainer = make(folder, teacher_model_interf=lambda x: np.asarray(teacher(x)))
    trainer.train({"loss": losses.ArcfaceLoss(), "epoch": 1, "optimizer": sgd(), "distill": 64})
    assert 0 < trainer.my_history.history["distill_loss"][0] < 2 and trainer.is_distill_ds
    source = trainer.source
    names = [source.name(i) for i in range(len(source))]
    rng = np.random.default_rng(0)
    np.savez("list.npz", image_names=names, image_classes=source.labels, embeddings=rng.normal(size=(len(names), 16)))
    trainer = make("list.npz", "b.keras")
    trainer.train({"loss": losses.distiller_loss_cosine, "epoch": 1, "optimizer": sgd()})
    assert trainer.my_history.history["loss"][0] == pytest.approx(1, abs=0.3)
    with pytest.raises(ValueError, match="bring no embeddings"):
        make(folder, "c.keras").train({"loss": "arcface", "distill": 7, "epoch": 1})


def test_every_way_to_begin(record, workdir):
    first = make(record)
    first.train({"loss": "arcface", "epoch": 1, "optimizer": sgd()})
    weights = first.basic_model.get_weights()
    ways = {
        "basic file": {"basic_model": "checkpoints/run_basic_model_latest.keras"},
        "full file": {"model": "checkpoints/run.keras"},
        "layer index": {"basic_model": -1, "model": first.basic_model},
        "full model": {"model": first.model},
        "nothing": {},
    }
    for name, how in ways.items():
        save_path = "run.keras" if name == "nothing" else "other.keras"
        keras_free = train.Train(record, save_path, batch_size=16, verbose=0, **how)
        for old, new in zip(weights, keras_free.basic_model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new, err_msg=name)
    with pytest.raises(FileNotFoundError, match="neither basic_model nor model"):
        train.Train(record, "nowhere.keras")


def test_h5_run(record, bin_file, workdir):
    make(record, "x.h5", eval_paths=[bin_file]).train({"loss": "arcface", "epoch": 1, "optimizer": sgd()})
    best = [f for f in os.listdir("checkpoints") if f.startswith("x_basic_drawn") and f.endswith(".h5")]
    assert len(best) == 1 and best[0].endswith(".h5")
    keras.models.load_model(os.path.join("checkpoints", best[0]), compile=False)
    make(record, "y.h5", model="checkpoints/x.h5").train({"loss": "arcface", "epoch": 1, "optimizer": sgd()})


# ------------------------------------------------------------------------------------------------------------- resume


def test_finished_and_longer_runs(record, workdir, caplog):
    stage = {"loss": "arcface", "optimizer": sgd()}
    make(record).train({**stage, "epoch": 2})
    with caplog.at_level(logging.INFO, "facetrainer"):
        done = make(record)
        assert done.train({**stage, "epoch": 2}) == 2
    assert "done already" in caplog.text
    longer = make(record)
    longer.train({**stage, "epoch": 4})
    whole = make(record, "whole.keras")
    whole.train({**stage, "epoch": 4})
    for a, b in zip(weights_of(whole), weights_of(longer), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(longer.my_history.history["loss"]) == 4


def test_another_run_of_the_same_name_starts_anew(record, workdir, caplog):
    make(record).train({"loss": "arcface", "epoch": 1, "optimizer": sgd()})
    other = make(record)
    other.train({"loss": "cosface", "epoch": 1, "optimizer": sgd()})
    assert "starting anew" in caplog.text and "CosFaceLoss" in caplog.text
    assert len(other.my_history.history["loss"]) == 1 and os.path.exists("checkpoints/run.state.npz.old")


def test_nan_names_stage_epoch_batch_and_term(record, workdir):
    trainer = make(record, lr_base=1e30)
    with pytest.raises(callbacks.NanError, match=r"sch\[0\], epoch 1, batch \d: .*loss"):
        trainer.train({"loss": "softmax", "epoch": 3, "optimizer": keras.optimizers.SGD()})


def test_stop_file_and_signal(record, workdir):
    trainer = make(record)
    os.makedirs("checkpoints", exist_ok=True)
    open("checkpoints/run.stop", "w").close()
    assert trainer.train({"loss": "arcface", "epoch": 3, "optimizer": sgd()}) == 1

    class Ask(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 0:
                signal.raise_signal(signal.SIGTERM)

    again = make(record)
    again.custom_callbacks = [Ask()]
    assert again.train({"loss": "arcface", "epoch": 3, "optimizer": sgd()}) == 2
    assert make(record).train({"loss": "arcface", "epoch": 3, "optimizer": sgd()}) == 3


@ON_TENSORFLOW
def test_train_outside_the_scope_uses_the_strategy_it_was_made_in(record, workdir):
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        trainer = make(record)
    assert trainer.train({"loss": "arcface", "epoch": 1, "optimizer": "adam"}) == 1
