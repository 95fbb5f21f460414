"""A run that was broken off ends as one that was left alone."""

import os

import keras
import numpy as np
import pytest
from helpers import Kill, assert_equal_runs, make, sgd, tiny_model

from facetrainer import losses, models, optimizers

ARC = {"loss": losses.ArcfaceLoss(scale=16), "epoch": 1}
MUON = {**ARC, "epoch": 2, "optimizer": optimizers.Muon(0.02)}
CENTERS = [
    {"loss": "softmax", "centerloss": 0.01, "epoch": 1, "optimizer": sgd()},
    ARC,
    {**ARC, "triplet": 1, "centerloss": 0.01},
]
NO_HEAD_BETWEEN = [{**ARC, "optimizer": sgd()}, {"loss": losses.BatchHardTripletLoss(0.3), "epoch": 1}, ARC]
EVERYTHING = [
    {"loss": "softmax", "mixup": 0.3, "ema": 0.9, "epoch": 1, "optimizer": "adam"},
    {**ARC, "freeze": "stem_*", "accumulate": 2, "scale": (8, 16)},
    {"loss": "curricularface", "epoch": 1, "balanced": 0.5, "clip": 1.0, "swa": 1},
]
TWO_OF_A_KIND = [
    {
        **ARC,
        "epoch": 2,
        "optimizer": sgd(),
        "embLossTypes": ["center", losses.CenterLoss(alpha=0.1)],
        "embLossWeights": 0.1,
    }
]


def interrupted(record, sch, after, **kwargs):
    """The run `whole`, and one that is killed at batch `after` and run again."""

    def start(name):
        keras.utils.set_random_seed(0)
        return make(record, name, checkpoint_freq=2, basic_model=tiny_model(dropout=0.2), **kwargs)

    whole = start("whole.keras")
    whole.train(sch)
    killed = start("killed.keras")
    killed.custom_callbacks.append(Kill(after))
    with pytest.raises(KeyboardInterrupt):
        killed.train(sch)
    again = start("killed.keras")
    again.train(sch)
    return whole, again


ALL_OPTIONS = [
    {
        "loss": "curricularface",
        "epoch": 2,
        "optimizer": sgd(),
        "ema": 0.9,
        "accumulate": 2,
        "scale": (8, 32),
        "balanced": True,
    }
]
RUNS = {
    "centers": (CENTERS, 4, {}),
    "no head between": (NO_HEAD_BETWEEN, 4, {}),
    "everything": (EVERYTHING, 7, {}),
    "two of a kind": (TWO_OF_A_KIND, 4, {}),
    "lengths in batches": ([{**ARC, "optimizer": sgd()}, {**ARC, "triplet": 1}], 5, {"lr_decay_steps": 500}),
    "VPL": (ALL_OPTIONS, 4, {"vpl_start_iters": 1}),
    "Muon": ([{**MUON, "clip": 5}, {**ARC, "triplet": 1}], 4, {}),
    "sampled head, Muon": ([MUON], 4, {"partial_fc_sample_rate": 0.5}),
    "sampled head": (ALL_OPTIONS, 4, {"partial_fc_sample_rate": 0.5, "mixup_alpha": 0.3}),
}


@pytest.mark.parametrize("name", RUNS)
def test_what_a_stage_does_not_use_is_kept_as_well(record, workdir, name):
    sch, after, kwargs = RUNS[name]
    assert_equal_runs(*interrupted(record, sch, after, **kwargs))


def test_float16_scales_its_loss_and_resumes(record, workdir):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        whole, again = interrupted(record, [{**ARC, "epoch": 2, "optimizer": sgd()}], 4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(whole.optimizer, keras.optimizers.LossScaleOptimizer)
    assert_equal_runs(whole, again)
    converted = make(record, "b.keras", basic_model=models.convert_to_mixed_float16(tiny_model()))
    converted.train([{**ARC, "optimizer": sgd(), "epoch": 3}, {**ARC, "accumulate": 2}])
    assert isinstance(converted.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(converted.my_history.history["loss"]).all()
    moved = [
        np.abs(a - b).max()
        for a, b in zip(converted.basic_model.get_weights(), tiny_model().get_weights(), strict=True)
    ]
    assert max(moved) > 0


def test_batches_of_evaluation_and_names_stay_after_a_resume(record, bin_file, workdir):
    class Names(keras.callbacks.Callback):
        def __init__(self, seen):
            super().__init__()
            self.seen = seen

        def on_train_batch_end(self, batch, logs=None):
            evaluation = self.trainer.my_evals[0]
            if evaluation.result is not self.last:
                self.last = evaluation.result
                self.seen.append(self.trainer.trainer.progress.step)

    def start(name, seen, after=None):
        trainer = make(record, name, eval_paths=[bin_file], eval_freq=2, checkpoint_freq=1, batch_size=6)
        watch = Names(seen)
        watch.trainer, watch.last = trainer, None
        trainer.custom_callbacks += [watch, *([Kill(after)] if after else [])]
        return trainer

    stage = {**ARC, "optimizer": sgd()}
    whole, pieces = [], []
    start("whole.keras", whole).train(stage)
    with pytest.raises(KeyboardInterrupt):
        start("killed.keras", pieces, 4).train(stage)
    start("killed.keras", pieces).train(stage)
    assert whole == pieces == [2, 4, 6, 8]


def test_evaluation_sets_are_known_by_name(record, bin_file, workdir, caplog):
    other = str(workdir / "other.bin")
    with open(bin_file, "rb") as source, open(other, "wb") as file:
        file.write(source.read())
    first = make(record, eval_paths=[bin_file])
    first.train({**ARC, "optimizer": sgd()})
    best = first.my_evals[0].saved
    assert os.path.exists(best)
    second = make(record, eval_paths=[other])
    second.train({**ARC, "epoch": 2, "optimizer": sgd()})
    assert "evaluation set" in caplog.text and os.path.exists(best)
    assert second.my_evals[0].saved and "other" in second.my_evals[0].saved


def test_steps_per_execution_neither_adds_nor_shifts_steps(record, workdir):
    def start(name, execution, **kwargs):
        return make(record, name, batch_size=6, steps_per_execution=execution, **kwargs)

    stage = {**ARC, "epoch": 3, "optimizer": sgd()}
    plain, three = start("one.keras", 1), start("three.keras", 3)
    for one in (plain, three):
        one.train(stage)
    assert plain.steps_per_epoch == 8 and int(three.optimizer.iterations) == int(plain.optimizer.iterations) == 24
    np.testing.assert_allclose(three.my_history.history["loss"], plain.my_history.history["loss"], rtol=1e-5)
    killed = start("killed.keras", 3, checkpoint_freq=4)
    killed.custom_callbacks.append(Kill(4))
    with pytest.raises(KeyboardInterrupt):
        killed.train(stage)
    again = start("killed.keras", 3, checkpoint_freq=4)
    assert again.train(stage) == 3
    assert_equal_runs(three, again)


def test_a_stage_that_was_stopped_is_passed_over_when_another_followed(record, workdir):
    """As a notebook does: the first call ends early, the second one is something else; and both again in a new process."""

    def script(name, stops):
        trainer = make(record, name)
        stop = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: setattr(trainer.model, "stop_training", stops)
        )
        trainer.custom_callbacks.append(stop)
        assert trainer.train({**ARC, "epoch": 3, "optimizer": sgd()}) == (1 if stops else 3)
        trainer.custom_callbacks.clear()
        trainer.train({"loss": "cosface", "epoch": 1}, 1)
        return trainer

    first = script("run.keras", True)
    again = make(record)
    again.train({**ARC, "epoch": 3, "optimizer": sgd()})
    again.train({"loss": "cosface", "epoch": 1}, 1)
    assert_equal_runs(first, again)


def test_the_same_call_goes_on_after_a_stop(record, workdir):
    trainer = make(record)
    trainer.custom_callbacks.append(
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: setattr(trainer.model, "stop_training", epoch == 0)
        )
    )
    stage = {**ARC, "epoch": 3, "optimizer": sgd()}
    assert trainer.train(stage) == 1 and trainer.train(stage) == 3
    whole = make(record, "whole.keras")
    whole.train(stage)
    assert_equal_runs(trainer, whole)
