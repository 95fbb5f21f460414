import json
import math
import os

import keras
import numpy as np
import pytest
from helpers import tiny_model

from facetrainer import losses
from facetrainer.training import callbacks as cb
from facetrainer.training.state import Progress


def test_exponential_and_steps():
    assert cb.exp_scheduler(10, 0.1, 0.05) == pytest.approx(0.1 * math.exp(-0.5))
    assert cb.exp_scheduler(500, 0.1, 0.05, lr_min=1e-3) == 1e-3
    rates = [cb.constant_scheduler(e, 0.1, [3, 5]) for e in (0, 2, 3, 4, 5, 9)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_cosine_without_restart_although_the_product_is_not_equal_to_the_last_bit():
    schedule = cb.read_schedule(0.001, 1e-4, 24, 1e-7)
    assert 0.001 * 1e-4 != 1e-7
    assert schedule(0) == pytest.approx(0.001) and schedule(12) == pytest.approx(0.5 * (0.001 + 1e-7))
    assert {schedule(e) for e in (24, 25, 30, 500)} == {1e-7}


def test_cosine_restarts_with_cooldown_and_goes_on_for_ever():
    schedule = cb.read_schedule(0.001, 0.5, 24, 1e-7)
    assert schedule(24.5) == 1e-7
    assert schedule(25) == pytest.approx(0.0005)
    assert schedule(25 + 48 + 1) == pytest.approx(0.00025)
    starts = [25, 74, 171, 364, 749, 1518]
    assert [schedule(s) / 0.001 for s in starts] == pytest.approx([0.5**k for k in range(1, 7)])


def test_lengths_in_batches_and_warmup():
    by_batch = cb.read_schedule(0.1, 0.5, 1000, 1e-5, 200, steps_per_epoch=100)
    assert by_batch == cb.Cosine(0.1, 10, 0.5, 1e-5, 2)
    assert by_batch(1) == pytest.approx((0.1 + 1e-5) / 2) and by_batch(2) == pytest.approx(0.1)
    assert cb.read_schedule(0.1, 0.1, [2, 4], 0, 1)(0.5) == pytest.approx(0.05)


@pytest.mark.parametrize(("epochs", "warmup"), [(20, 0), (20, 2), (7, 1)])
def test_linear_is_arcface_torchs_polynomial_of_power_1(epochs, warmup):
    """Its closed form: lr · k / w up to step w, then lr · (1 − (k − w) / (t − w)), t the last step."""
    steps, base = 13, 0.1
    schedule, w, t = cb.read_schedule(base, "linear", epochs - warmup, 0, warmup), warmup * steps, epochs * steps
    for k in range(t + 5):
        expected = base * k / w if k < w else base * (1 - (min(k, t) - w) / (t - w))
        assert schedule(k / steps) == pytest.approx(expected, abs=1e-12), k
    assert cb.read_schedule(base, "linear", 1000, 0, 0, steps_per_epoch=50) == cb.Linear(base, 20)
    for decay, length in (("lin", 20), ("linear", 1), ("linear", [2, 4])):
        with pytest.raises(ValueError, match="lr_decay"):
            cb.read_schedule(0.1, decay, length)


def test_rate_follows_the_epoch_when_steps_change():
    """Half an epoch is half an epoch, with 4 steps or with 8."""

    class Optimizer:
        learning_rate = 0.0

    class Model:
        optimizer = Optimizer()

    for steps in (4, 8):
        callback = cb.LearningRate(cb.Cosine(0.1, 2), steps)
        callback.set_model(Model())
        callback.on_epoch_begin(1)
        callback.on_train_batch_begin(steps // 2)
        assert Model.optimizer.learning_rate == pytest.approx(cb.Cosine(0.1, 2)(1.5))


def test_history_pads_and_truncates(tmp_path):
    path = str(tmp_path / "h.json")
    history = cb.My_history(path)
    history.on_epoch_end(0, {"loss": 3.0, "regular_loss": 1.0})
    history.on_epoch_end(1, {"loss": 2.0, "triplet_loss": 0.5})
    assert json.load(open(path)) == {"loss": [2.0, 2.0], "regular_loss": [1.0], "triplet_loss": [None, 0.5]}
    assert cb.My_history(path).history == {}
    assert cb.My_history(path, initial_epoch=1).history["loss"] == [2.0]


def test_checkpoints_in_time_never_stand_behind_the_last_batch():
    """Killed between the last batch and the end of the epoch, a run must find a batch to go on with."""
    done = []
    progress = Progress(0, 4, 0)
    clock, callback = cb.Clock(progress, 6), cb.Every(lambda: done.append(progress.step), progress, 6, batches=3)
    clock.on_epoch_begin(4)
    for batch in range(6):
        callback.on_train_batch_begin(batch)
        clock.on_train_batch_end(batch)
        callback.on_train_batch_end(batch)
    assert done == [3]
    callback.on_epoch_end(4)
    assert done == [3, 6]


def test_a_log_keeps_columns_of_all_stages(tmp_path):
    for kind in ("csv", "jsonl"):
        path = str(tmp_path / f"run.{kind}")
        log = cb.EpochLog(path)
        log.on_epoch_end(0, {"loss": 3.0})
        log.on_epoch_end(1, {"loss": 2.0, "triplet_loss": 0.1})
        again = cb.EpochLog(path)  # a new process trains the second epoch again
        again.on_epoch_end(1, {"loss": 2.5, "triplet_loss": 0.2})
        again.on_epoch_end(2, {"lr": 0.1})
        text = open(path).read()
        if kind == "csv":
            assert text.splitlines() == ["epoch,loss,triplet_loss,lr", "1,3.0,,", "2,2.5,0.2,", "3,,,0.1"]
        else:
            assert [json.loads(line) for line in text.splitlines()][1] == {"epoch": 2, "loss": 2.5, "triplet_loss": 0.2}
    with pytest.raises(ValueError, match="ending in .csv or .jsonl"):
        cb.EpochLog("run.txt")


def test_a_rate_is_found(record, workdir):
    from facetrainer.training.rate_finder import find_rate

    net = tiny_model()
    before = net.get_weights()
    keywords = {"data_path": record, "save_path": "x.keras", "basic_model": net, "batch_size": 8}
    stage = {"loss": losses.ArcfaceLoss(scale=16), "epoch": 1, "optimizer": keras.optimizers.SGD(0.1)}
    found = find_rate(keywords, stage, steps=40)
    assert 1e-5 < found.best < 1 and len(found.rates) == len(found.losses) > 10
    assert found.rates[-1] > 10 * found.rates[0] and not os.path.exists("checkpoints")
    np.testing.assert_array_equal(net.get_weights()[0], before[0])
