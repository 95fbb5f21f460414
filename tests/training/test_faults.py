"""What went wrong in version 0.5, each thing as it was seen."""

import gc
import json
import logging
import os
import runpy
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers import ROOT, Kill, Watch, arrays, assert_equal_runs, gradients, make, sgd, tiny_model

from facetrainer import losses, models
from facetrainer.training import callbacks, parse_schedule

STAGE = {"loss": losses.ArcfaceLoss(scale=16), "epoch": 1, "optimizer": "sgd"}
STATE = "checkpoints/run.state.npz"


def run(record, *stages, **kwargs):
    trainer = make(record, **kwargs)
    trainer.train([{**STAGE, **stage} for stage in stages] or STAGE)
    return trainer


# ---------------------------------------------------------------------------------------------------- changed settings


class TestChangedSettings:
    @pytest.mark.parametrize(
        ("change", "text"),
        [({"lr_base": 0.5}, "learning rate lr_base 0.05 -> 0.5"), ({"random_status": 2}, "augmentations")],
    )
    def test_of_a_finished_run_are_refused(self, record, workdir, change, text):
        run(record)
        before = open(STATE, "rb").read()
        with pytest.raises(ValueError, match="holds a finished run, but .*Nothing was trained") as error:
            run(record, **change)
        assert text in str(error.value) and open(STATE, "rb").read() == before

    def test_of_a_run_in_work_are_said(self, record, workdir, caplog):
        run(record)
        trainer = make(record, lr_base=0.5)
        trainer.train({**STAGE, "epoch": 2})
        assert "goes on from epoch 2 with another setting: learning rate lr_base 0.05 -> 0.5" in caplog.text
        assert trainer.my_history.history["lr"][1] > 0.3

    def test_of_the_model_start_anew(self, record, workdir, caplog):
        run(record)
        run(record, basic_model=tiny_model(bn_momentum=0.8))
        assert "starting anew" in caplog.text and "BatchNormalization momentum 0.9 -> 0.8" in caplog.text
        assert os.path.exists(STATE + ".old")

    @pytest.mark.filterwarnings("ignore:.*includes a `lambda`")
    def test_of_a_function_count_by_what_it_does(self, record, workdir, caplog):
        one = "loss = lambda y, p: keras.ops.sum((y - p) ** 2, axis=-1)"
        same = f"# a comment above\n\n\n{one}  # and behind"
        for number, (source, anew) in enumerate([(one, False), (same, False), (one.replace("2", "4"), True)]):
            caplog.clear()
            (workdir / f"mine{number}.py").write_text(f"import keras\n{source}\n")
            run(record, {"loss": runpy.run_path(f"mine{number}.py")["loss"]})
            assert ("starting anew" in caplog.text) == anew

    def test_an_earlier_stage_cannot_be_made_longer(self, record, workdir):
        run(record, {}, {"loss": "cosface"})
        with pytest.raises(ValueError, match=r"sch\[0\]: 'epoch' was 1 and is 2 now.*only its last stage"):
            run(record, {"epoch": 2}, {"loss": "cosface"})

    def test_a_later_stage_is_refused(self, record, workdir):
        run(record, {}, {"loss": "cosface"})
        with pytest.raises(ValueError, match=r"sch\[1\] differs: losses cosface.*Use another save_path"):
            run(record, {}, {"loss": "curricularface"})


# -------------------------------------------------------------------------------------------------------- state files


class TestStateFiles:
    @pytest.mark.parametrize("damage", ["cut", "empty", "flip"])
    def test_the_state_before_takes_the_place_of_a_damaged_one(self, record, workdir, caplog, damage):
        run(record, {"epoch": 2})
        whole = open(STATE, "rb").read()
        at = len(whole) // 2
        pieces = {"cut": whole[:at], "empty": b"", "flip": whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]}
        open(STATE, "wb").write(pieces[damage])
        again = run(record, {"epoch": 2})
        assert "going on from the state before" in caplog.text and os.path.exists(STATE + ".damaged")
        assert len(again.my_history.history["loss"]) == 2
        os.remove("checkpoints/run.state.previous.npz")
        open(STATE, "wb").write(pieces[damage])
        with pytest.raises(ValueError, match="run.state.npz .*Move the run's state away"):
            make(record)

    def test_a_second_process_is_refused_until_the_first_is_dead(self, record, workdir):
        hold = f"""
import sys; sys.path.insert(0, {ROOT!r})
from facetrainer.training.store import RunStore
with RunStore("checkpoints/run.state.npz").locked():
    print("held", flush=True); sys.stdin.read()
"""
        other = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process is training .*run"):
            run(record)
        other.send_signal(signal.SIGKILL)
        other.communicate()
        run(record)

    def test_states_of_version_0_5_go_on(self, record, workdir, caplog):
        """The file as 0.5 wrote it: arrays by number, no names."""
        trainer = run(record, {}, {"loss": "cosface"})
        state = trainer.trainer.states()["model"].state_dict()
        names = {"weights": "weight", "optimizer": "optimizer", "averages": "average", "metrics": "metric"}
        old = {f"{names[kind]}{i}": a for kind, found in state.items() for i, a in enumerate(found)}
        about = {"history": trainer.my_history.history, "evals": [], "lr_factor": 1.0, "epoch": 2, "step": 0,
                 "journal": [{"first epoch": 0}, {"first epoch": 1}]}  # fmt: skip
        np.savez(STATE, about=json.dumps(about), **old)
        again = make(record)
        with caplog.at_level(logging.INFO, "facetrainer"):
            again.train([STAGE, {**STAGE, "loss": "cosface", "epoch": 2}])
        assert "is of version 0.5" in caplog.text and len(again.my_history.history["loss"]) == 3


# ---------------------------------------------------------------------------------------------------------------- NaN


class HidesNaN(keras.layers.Layer):
    """A ReLU as oneDNN has it on some CPUs."""

    def call(self, x):
        return keras.ops.where(keras.ops.isfinite(x), keras.ops.relu(x), 0.0)


def hiding_model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, name="stem")(inputs)
    x = HidesNaN()(keras.layers.BatchNormalization(momentum=0.5, name="norm")(x))
    x = keras.layers.Dense(16)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Activation("linear", name="embedding")(x))


class Poison(keras.callbacks.Callback):
    """Puts NaN into a weight once, after batch `after`."""

    def __init__(self, after, layer="stem", index=0, times=1):
        super().__init__()
        self.after, self.layer, self.index, self.times, self.count = after, layer, index, times, 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        if self.count >= self.after and self.times:
            self.times -= 1
            weight = self.model.embedder.get_layer(self.layer).weights[self.index]
            weight.assign(weight * np.nan)


class TestNaN:
    @pytest.mark.parametrize(("layer", "index"), [("stem", 0), ("norm", 2)])
    @pytest.mark.parametrize("after", [1, 3])
    def test_a_weight_behind_a_finite_loss_is_found(self, record, workdir, caplog, layer, index, after):
        """In the middle of an epoch, and after its last batch."""
        poison = Poison(after, layer, index)
        trainer = make(record, basic_model=hiding_model())
        trainer.custom_callbacks.append(poison)
        trainer.train({**STAGE, "epoch": 2})
        assert "with half the learning rate" in caplog.text
        assert ("epoch 1, batch 2: loss is not finite" in caplog.text) == (after == 1)
        for file in ("run.keras", "run_basic_model_latest.keras"):
            saved = keras.models.load_model(f"checkpoints/{file}", custom_objects={"HidesNaN": HidesNaN}, compile=False)
            assert all(np.isfinite(w).all() for w in saved.get_weights())

    def test_the_same_object_goes_on_from_good_weights(self, record, workdir):
        trainer = make(record, basic_model=hiding_model())
        trainer.custom_callbacks.append(Poison(2, times=2))
        with pytest.raises(callbacks.NanError):
            trainer.train({**STAGE, "epoch": 2})
        assert all(np.isfinite(w).all() for w in trainer.basic_model.get_weights())
        assert trainer.train({**STAGE, "epoch": 2}) == 2

    def test_a_poisoned_model_is_never_written_over_a_good_one(self, workdir):
        model = hiding_model()
        models.save(model, "m.keras")
        good = open("m.keras", "rb").read()
        weight = model.get_layer("stem").weights[0]
        weight.assign(weight * np.inf)
        with pytest.raises(ArithmeticError, match=r"m.keras: stem/kernel is not finite"):
            models.save(model, "m.keras")
        assert open("m.keras", "rb").read() == good and os.listdir(".") == ["m.keras"]

    def test_an_embedding_of_zeros_has_a_gradient(self):
        model = models.FaceModel(tiny_model(), models.NormDense(4), [losses.SphereFaceLoss()])
        labels = {"labels": keras.ops.arange(8, dtype="int32") % 4}
        (found,) = gradients(lambda embedding: model.objective(labels, embedding)[0], np.zeros((8, 16), "float32"))
        assert np.isfinite(found).all()


# --------------------------------------------------------------------------------- exceptions, freezing, averages


class TestContexts:
    def test_an_exception_leaves_everything_as_it_was(self, record, workdir):
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        trainer = make(record)
        trainer.basic_model.get_layer("stack1_1_conv").trainable = False
        flags = [layer.trainable for layer in trainer.basic_model._flatten_layers()]
        watch = Watch(lambda model: arrays(model.embedder.weights))
        trainer.custom_callbacks += [watch, Kill(1)]
        with pytest.raises(KeyboardInterrupt):
            trainer.train({**STAGE, "freeze": "stem_*", "ema": 0.9})
        assert [layer.trainable for layer in trainer.basic_model._flatten_layers()] == flags
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        for a, b in zip(watch.seen[-1], arrays(trainer.basic_model.weights), strict=True):
            np.testing.assert_array_equal(a, b)
        trainer.custom_callbacks.clear()
        assert trainer.train({**STAGE, "freeze": "stem_*", "ema": 0.9}) == 1

    @pytest.mark.parametrize("option", [{"bottleneckOnly": True}, {"freeze": ["stem_*", "stack*"]}])
    def test_a_model_of_a_frozen_stage_loads_trainable(self, record, workdir, option):
        trainer = run(record, {**option, "optimizer": sgd()})
        count = len(trainer.basic_model.trainable_variables)
        for file in ("run.keras", "run_basic_model_latest.keras"):
            loaded = models.load(f"checkpoints/{file}")
            assert len(models.split(loaded)[0].trainable_variables) == count > 0
        full = models.load("checkpoints/run.keras")
        before = arrays(full.trainable_variables)
        images = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
        full.train_on_batch(images, {"labels": np.arange(8, dtype="int32")})
        assert all(
            np.abs(a - b).max() > 0
            for a, b in zip(before, arrays(full.trainable_variables), strict=True)
            if a.ndim == 4
        )

    def test_batches_and_epochs_measure_the_same_weights(self, record, bin_file, workdir):
        trainer = make(record, eval_paths=[bin_file], eval_freq=3)
        seen, evaluation = [], trainer.my_evals[0]
        plain = evaluation.embed.__call__

        class Seeing:
            def __call__(self, *arguments):
                seen.append(trainer.basic_model.get_weights()[0].copy())
                return plain(*arguments)

        evaluation.embed = Seeing()
        trainer.train({**STAGE, "ema": 0.5, "optimizer": sgd()})
        assert trainer.steps_per_epoch == 3 and len(seen) == 2
        np.testing.assert_array_equal(*seen)


# ------------------------------------------------------------------------------------------------------ losses, names


class TestLosses:
    def test_two_of_a_class_are_two(self, record, workdir):
        stage = {
            "embLossTypes": ["center", losses.CenterLoss(alpha=0.1), losses.BatchHardTripletLoss(0.2)],
            "embLossWeights": 0.1,
        }
        trainer = run(record, {**stage, "triplet": 0.1})
        slots = [one.slot for one in trainer.trainer.stage.spec.losses]
        assert slots == ["arcface", "triplet", "center", "center_2", "triplet_2"]
        assert {"center_loss", "center_2_loss", "triplet_2_loss", "active_triplets_2"} <= set(
            trainer.my_history.history
        )
        first, second = trainer.model.terms[2:4]
        assert first.centers is not second.centers and not np.allclose(first.centers, second.centers)

    def test_type_arcface_gives_cosines(self):
        class Mine(keras.losses.CategoricalCrossentropy):
            def call(self, y_true, y_pred):
                return 7 * super().call(y_true, y_pred)

        cosine, labels = np.array([[0.9, -0.2, 0.1]], "float32"), np.array([0])
        found = {}
        for name, loss in (("keras", keras.losses.CategoricalCrossentropy()), ("mine", Mine()), ("logits", Mine(from_logits=True)),
                           ("function", lambda y, c: keras.ops.sum(c, axis=-1))):  # fmt: skip
            (spec,) = parse_schedule({"loss": loss, "type": "arcface", "epoch": 1})
            assert spec.head == "arcface"
            spec.loss.attach(3, 4)
            found[name] = float(spec.loss(labels, cosine)[0])
        plain = -np.log(np.exp(0.9) / np.exp(cosine).sum())
        assert found == pytest.approx(
            {"keras": plain, "mine": 7 * plain, "logits": 7 * plain, "function": 0.8}, rel=1e-5
        )
        assert parse_schedule({"loss": Mine(), "epoch": 1})[0].loss.loss.__class__ is Mine

    def test_a_learning_rate_schedule_is_refused(self):
        rate = keras.optimizers.schedules.CosineDecay(0.1, 100)
        with pytest.raises(ValueError, match=r"sch\[0\]: 'optimizer': .*CosineDecay.*lr_base"):
            parse_schedule({**STAGE, "optimizer": keras.optimizers.SGD(rate)})

    def test_names_are_not_taken_silently(self):
        def ArcfaceLoss():
            """Not a loss, but of this name."""

        with pytest.raises(ValueError, match="loss 'ArcfaceLoss' is there already, facetrainer.losses.margin"):
            losses.register(ArcfaceLoss)


# --------------------------------------------------------------------------------------------------------- notebooks


class TestNotebooks:
    def test_attributes_can_be_read_at_any_time(self, record, workdir):
        trainer = make(record)
        names = [name for name in vars(type(trainer)) if isinstance(vars(type(trainer))[name], property)]
        assert {
            "model",
            "basic_model",
            "callbacks",
            "my_evals",
            "my_history",
            "gently_stop",
            "train_ds",
            "classes",
        } < set(names)
        before = {name: getattr(trainer, name) for name in names}
        assert before["callbacks"] == [] and before["classes"] == 0
        seen = []
        trainer.callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch)))
        trainer.train({**STAGE, "epoch": 2})
        listed = list(trainer.callbacks)
        assert seen == [0, 1] and trainer.callbacks is before["callbacks"] and list(trainer.callbacks) == listed
        assert all(getattr(trainer, name) is not None for name in names)
        trainer.gently_stop = None
        trainer.train({**STAGE, "loss": "cosface"}, 2)
        assert seen == [0, 1, 2]

    def test_a_resumed_run_says_so(self, record, workdir):
        code = f"""
import sys; sys.path[:0] = [{ROOT!r}, {ROOT!r} + "/tests"]
from helpers import make, sgd
make({record!r}).train({{"loss": "arcface", "epoch": 2, "optimizer": sgd()}})
"""
        run(record, {"loss": "arcface", "optimizer": sgd()})
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "resumed from checkpoints/run.state.npz: sch[0], epoch 2, 0 batches done" in done.stdout

    def test_a_dataset_whose_last_batch_is_smaller(self, workdir):
        import tensorflow as tf

        images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype("uint8")
        dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(20) % 4)).batch(8)
        for argument in ({"partial_fc_sample_rate": 0.5}, {"vpl_start_iters": 1}):
            with pytest.raises(ValueError, match="batches of one size.*drop_remainder=True"):
                run(dataset, **argument)
        assert run(dataset, {"optimizer": sgd()}).steps_per_epoch == 3

    def test_the_look_at_the_first_batches_counts_steps_of_an_execution(self, record, workdir, caplog):
        with caplog.at_level(logging.WARNING, "facetrainer"):
            run(record, steps_per_execution=3)
        assert "first loss" not in caplog.text

    def test_compiled_steps_of_earlier_stages_are_let_go(self, record, workdir):
        def graphs():
            gc.collect()
            return sum(type(one).__name__ == "FuncGraph" for one in gc.get_objects())

        trainer, counts = make(record), []
        for epoch in range(4):
            trainer.train({**STAGE, "loss": ("arcface", "cosface")[epoch % 2]}, epoch)
            counts.append(graphs())
        assert counts[3] <= counts[1]

    def test_another_order_of_labels_is_another_dataset(self):
        from facetrainer.data.pipeline import Faces
        from facetrainer.data.sampling import Shuffled

        prints = []
        for labels in (np.repeat(np.arange(4), 2), np.array([0, 0, 1, 1, 2, 2, 2, 3])):
            source = type("Source", (), {"labels": labels, "class_names": list("abcd"), "__len__": lambda self: 8})()
            prints.append(Faces(source, Shuffled(labels, 4)).fingerprint)
        assert prints[0] != prints[1]


def test_grey_is_one_function(record, workdir):
    from facetrainer import data
    from facetrainer.data.images import grey, normalised
    from facetrainer.evaluation import Embedder

    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert grey(red).max() == grey(red).min() == 76
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Flatten(name="embedding")(inputs))
    np.testing.assert_allclose(Embedder(model)(red, flip=False), normalised(np.full((1, 64), 76)), atol=0.3 / 128)
    faces, colour = (data.open_faces(record, 16, (32, 32, channels)) for channels in (1, 3))
    one, three = (next(iter(faces_.batches()))[0] for faces_ in (faces, colour))
    np.testing.assert_array_equal(one, grey(three))


def test_runs_are_equal_to_themselves(record, workdir):
    """The check that resumption rests on can fail: another seed gives other weights."""
    first, second = run(record, save_path="a.keras"), run(record, save_path="b.keras")
    assert_equal_runs(first, second)
    with pytest.raises(AssertionError):
        assert_equal_runs(first, run(record, save_path="c.keras", seed=1))
