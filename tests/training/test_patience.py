"""A stage ends when the accuracy of the last evaluation set does not rise; what follows keeps its place."""

import keras
import pytest
from helpers import make, sgd

from facetrainer import losses
from facetrainer.training import callbacks

STAGE = {"loss": losses.ArcfaceLoss(scale=16), "epoch": 6}
RISES = [0.5, 0.7, 0.6, 0.7, 0.9, 0.9]


@pytest.fixture
def made(record, bin_file, monkeypatch):
    def make_one(values, **kwargs):
        trainer = make(record, eval_paths=[bin_file], lr_decay_steps=[7], lr_decay=0.1, **kwargs)
        scripted = iter(values)
        (one,) = trainer.my_evals
        monkeypatch.setattr(one, "on_epoch_end", lambda epoch, logs: logs.update(drawn=next(scripted)))
        return trainer

    return make_one


def test_the_stage_ends_and_the_next_begins_where_it_was_planned(workdir, made):
    trainer = made([*RISES[:4], 0.5, 0.6])
    epoch = trainer.train([{**STAGE, "optimizer": sgd(), "stop_after": 2}, {**STAGE, "epoch": 2}])
    history = trainer.my_history.history
    assert history["drawn"] == [0.5, 0.7, 0.6, 0.7, 0.5, 0.6] and epoch == 8
    assert history["lr"][-2:] == pytest.approx([0.05, 0.005])  # epochs 7 and 8


def test_it_is_the_default_of_all_stages(workdir, made):
    trainer = made([0.5, 0.4, 0.4, 0.6, 0.5, 0.5], stop_after=2)
    trainer.train([{**STAGE, "optimizer": sgd()}, {**STAGE, "epoch": 4}])
    assert len(trainer.my_history.history["drawn"]) == 6


def test_a_run_that_ended_early_stays_ended(workdir, made):
    sch = [{**STAGE, "optimizer": sgd(), "stop_after": 2}]
    made(RISES[:4]).train(sch)
    again = made([1.0])
    again.train(sch)
    assert len(again.my_history.history["drawn"]) == 4


def test_waiting_goes_on_after_a_kill(workdir, made):
    sch = [{**STAGE, "optimizer": sgd(), "stop_after": 2}]
    with pytest.raises(StopIteration):  # the third epoch's end is not reached
        made(RISES[:3]).train(sch)
    again = made(RISES[3:])
    again.train(sch)
    assert again.my_history.history["drawn"] == RISES[:4]


def test_it_needs_something_to_look_at(workdir, record):
    with pytest.raises(
        ValueError, match=r"sch\[0\]: 'stop_after' looks at the last evaluation set. Give Train eval_paths"
    ):
        make(record).train([{**STAGE, "optimizer": sgd(), "stop_after": 2}])


def early_stopping():
    return keras.callbacks.EarlyStopping("drawn", patience=1, mode="max")


def test_early_stopping_ends_the_stage_and_not_the_run(workdir, made, caplog):
    sch = [{**STAGE, "optimizer": sgd()}, {**STAGE, "epoch": 2}]
    trainer = made([0.5, 0.7, 0.6, 0.6, 0.5])
    trainer.custom_callbacks.append(early_stopping())
    with caplog.at_level("WARNING", "facetrainer"):
        assert trainer.train(sch) == 8
    assert trainer.my_history.history["drawn"] == [0.5, 0.7, 0.6, 0.6, 0.5]
    assert "EarlyStopping ends sch[0] after epoch 3" in caplog.text
    again = made([1.0])
    again.custom_callbacks.append(early_stopping())
    again.train(sch)
    assert len(again.my_history.history["drawn"]) == 5  # done already


def test_an_early_end_is_remembered_over_a_kill(workdir, made):
    sch = [{**STAGE, "optimizer": sgd()}, {**STAGE, "epoch": 2}]
    trainer = made([0.5, 0.4])  # nothing is there for the second stage
    trainer.custom_callbacks.append(early_stopping())
    with pytest.raises(StopIteration):
        trainer.train(sch)
    again = made([0.9, 0.8])
    again.train(sch)
    assert again.my_history.history["drawn"] == [0.5, 0.4, 0.9, 0.8]


def test_whoever_asks_to_stop_ends_the_run(workdir, made):
    trainer = made([0.5, 0.7])
    own = callbacks.Gently_stop_callback(time_out=0, stop_file="end")
    trainer.custom_callbacks.append(own)
    open("end", "w").close()
    assert trainer.train([{**STAGE, "optimizer": sgd()}, {**STAGE, "epoch": 2}]) == 1
    assert trainer.my_history.history["drawn"] == [0.5]
