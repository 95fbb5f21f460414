"""What a stage can ask for besides a loss, each against what it should do to the weights."""

import logging
import os

import keras
import numpy as np
import pytest
from helpers import Watch, arrays, make, sgd, tiny_model

from facetrainer import data, losses, models
from facetrainer import training as train
from facetrainer.training import callbacks
from facetrainer.training.callbacks.doctor import Expected
from facetrainer.training.state import Progress

STAGE = {"loss": losses.ArcfaceLoss(scale=16), "epoch": 1}


def run(record, name="run.keras", callback=None, stage=None, **kwargs):
    trainer = make(record, name, **kwargs)
    trainer.custom_callbacks = [callback] if callback else []
    trainer.train({**STAGE, "optimizer": sgd(), **(stage or {})})
    return trainer


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"scale": 16}, "'scale' must be two numbers, at the stage's beginning and end. Received: 16"),
        ({"loss": "adacos", "scale": (8, 16)}, "'scale': AdaCosLoss has no scale that could change"),
        ({"loss": "softmax", "margin": (0, 1)}, "'margin': SoftmaxLoss has no margin"),
        ({"ema": 1.5}, "'ema' must be a number from 0 to 1"),
        ({"accumulate": 0}, "'accumulate' must be a whole number of at least 1"),
        ({"freeze": [3]}, "'freeze' must be names of layers"),
        ({"mixup": 0.2, "centerloss": 1}, "'mixup' gives an image two people: CenterLoss needs images of one"),
        ({"balanced": True, "triplet": 1}, "'balanced' draws people evenly"),
        (
            {"loss": "softmax", "embLossTypes": "arcface"},
            "one head a stage: arcface and softmax losses do not go together",
        ),
    ],
)
def test_errors(stage, message):
    with pytest.raises(ValueError) as error:
        train.parse_schedule({**STAGE, **stage})
    assert str(error.value).startswith("sch[0]: ") and message in str(error.value)


def test_scale_and_margin_move_in_a_straight_line(record, workdir):
    watch = Watch(lambda model: [float(model.terms[0].ramps[name]) for name in ("scale", "margin2")])
    trainer = run(record, callback=watch, stage={"epoch": 2, "scale": (16, 64), "margin": (0, 0.5)})
    steps = 2 * trainer.steps_per_epoch
    np.testing.assert_allclose(watch.seen, [(16 + 48 * i / steps, 0.5 * i / steps) for i in range(steps)], rtol=1e-5)


def test_running_means_of_the_weights(record, workdir):
    watch = Watch(lambda model: arrays(model.embedder.weights))
    begin = arrays(tiny_model().weights)
    trainer = run(record, callback=watch, stage={"ema": 0.8})
    keras.utils.set_random_seed(0)
    begin = arrays(tiny_model().weights)
    for i, start in enumerate(begin):
        mean = start.astype(np.float64)
        for seen in watch.seen:
            mean = 0.8 * mean + 0.2 * seen[i]
        np.testing.assert_allclose(trainer.basic_model.weights[i], mean, rtol=1e-4, atol=1e-6)
    saved = models.load("checkpoints/run_basic_model_latest.keras")
    np.testing.assert_array_equal(saved.weights[0], trainer.basic_model.weights[0])


@pytest.mark.parametrize("partial", [1.0, 0.6])
def test_centers_at_the_means_of_the_embeddings(record, workdir, partial):
    trainer = make(record, partial_fc_sample_rate=partial)
    trainer.train({**STAGE, "epoch": 0, "init_head": "mean", "optimizer": sgd()})
    source = trainer.faces.source
    images = np.stack([data.images.decode(source.read(i), (32, 32)) for i in range(len(source))])
    found = keras.ops.convert_to_numpy(trainer.basic_model((images.astype("float32") - 127.5) / 128))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    centers = keras.ops.convert_to_numpy(trainer.model.head.centers())[:, 0]
    for person in range(8):
        mean = found[source.labels == person].sum(0)
        np.testing.assert_allclose(centers[person], 0.04 * mean / np.linalg.norm(mean), atol=1e-4)
    for wrong in (
        {"init_head": "median"},
        {"init_head": "mean", "loss": "softmax"},
        {"init_head": "mean", "lossTopK": 2},
    ):
        with pytest.raises(ValueError, match="'init_head'"):
            train.parse_schedule({**STAGE, **wrong})


def test_the_gallery_network_follows(record, workdir):
    watch = Watch(lambda model: [arrays(part.weights) for part in (model.embedder, model.gallery)])
    stage = {"loss": losses.SemiSiameseLoss(size=32, momentum=0.8), "epoch": 2}
    trainer = run(record, callback=watch, stage=stage, image_per_class=2)
    keras.utils.set_random_seed(0)
    means = arrays(tiny_model().weights)
    for network, gallery in watch.seen:
        means = [0.8 * mean + 0.2 * weight for mean, weight in zip(means, network, strict=True)]
        for mean, weight in zip(means, gallery, strict=True):
            np.testing.assert_allclose(weight, mean, rtol=1e-4, atol=1e-6)
    assert {v.path for v in trainer.model.trainable_variables} == {
        v.path for v in trainer.basic_model.trainable_variables
    }
    with pytest.raises(ValueError, match="'sam_rho' and SemiSiameseLoss do not go together"):
        train.parse_schedule({**STAGE, **stage, "sam_rho": 0.05})


def test_mean_of_the_last_epochs(record, workdir):
    watch = Watch(lambda model: arrays(model.embedder.weights))
    trainer = run(record, callback=watch, stage={"epoch": 3, "swa": 2})
    steps = trainer.steps_per_epoch
    assert len(watch.seen) == 3 * steps
    for i, weight in enumerate(trainer.basic_model.weights):
        expected = np.mean([seen[i] for seen in watch.seen[steps:]], axis=0)
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="'ema' and 'swa' are two means"):
        train.parse_schedule({**STAGE, "ema": 0.9, "swa": 1})


def test_sharpness_aware_step():
    """One step by hand: gradient, climb, gradient there, step from where it began."""
    rho, rng = 0.1, np.random.default_rng(0)
    images, targets = rng.normal(size=(8, 32, 32, 3)).astype("float32"), {"labels": np.arange(8, dtype="int32") % 4}

    def model():
        keras.utils.set_random_seed(1)
        made = models.FaceModel(tiny_model(), models.NormDense(4, seed=1), [losses.CosFaceLoss(scale=8)])
        made.compile(keras.optimizers.SGD(0.5))
        return made

    def slopes(m):
        """By a step of plain descent."""
        before = arrays(m.trainable_variables)
        m.optimizer.learning_rate = 1.0
        m.train_on_batch(images, targets)
        found = [b - a for a, b in zip(arrays(m.trainable_variables), before, strict=True)]
        for v, b in zip(m.trainable_variables, before, strict=True):
            v.assign(b)
        return found

    slow, fast = model(), model()
    fast.sam_rho = rho
    begin = arrays(slow.trainable_variables)
    first = slopes(slow)
    size = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in first))
    for v, b, g in zip(slow.trainable_variables, begin, first, strict=True):
        v.assign(b + rho * g / size)
    expected = [b - 0.5 * g for b, g in zip(begin, slopes(slow), strict=True)]
    fast.train_on_batch(images, targets)
    for v, e in zip(fast.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(v, e, rtol=1e-3, atol=2e-5)
    assert np.abs(expected[0] - begin[0] + 0.5 * first[0]).max() > 1e-4  # the climb made a difference


def test_accumulation_moves_every_second_batch_and_clipping_bounds_the_step(record, workdir):
    watch = Watch(lambda model: arrays(model.trainable_variables))
    run(
        record,
        callback=watch,
        lr_base=0.05,
        stage={"accumulate": 2, "clip": 0.01, "optimizer": keras.optimizers.SGD(0.05)},
    )
    moved = [
        np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(*pair, strict=True)))
        for pair in zip(watch.seen, watch.seen[1:])
    ]
    assert moved[1] == 0 and 0 < moved[0] <= 0.05 * 0.01 * 1.001


def test_the_embedders_gradient_is_clipped_alone(record, workdir):
    watch = Watch(lambda model: [arrays(model.embedder.trainable_variables), arrays(model.head.trainable_variables)])
    stage = {"accumulate": 2, "clip_embedder": 0.01, "optimizer": keras.optimizers.SGD(0.05)}
    run(record, callback=watch, lr_base=0.05, stage=stage)
    moved = [[np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(*part, strict=True))) for part in zip(first, second, strict=True)]
             for first, second in zip(watch.seen, watch.seen[1:])]  # fmt: skip
    assert moved[0][0] == pytest.approx(0.05 * 0.01, rel=1e-3) and moved[0][1] > 0.05 * 0.01 * 3 and moved[1] == [0, 0]
    with pytest.raises(ValueError, match="'clip' is for the whole gradient"):
        train.parse_schedule({**STAGE, "clip": 1, "clip_embedder": 1})


def test_the_rate_follows_the_batch_where_it_is_asked_to(record, workdir):
    trainer = run(record, batch_size=6, lr_base=0.1, lr_min=0.01, lr_batch=12, lr_decay="linear", lr_decay_steps=4)
    assert trainer.config.lr["lr_base"] == pytest.approx(0.05) and trainer.config.lr["lr_min"] == pytest.approx(0.005)
    with pytest.raises(ValueError, match="lr_batch scales lr_base"):
        make(record, "x.keras", lr_batch=12, lr_schedule_file="rates.txt")
    assert trainer.my_history.history["lr"][0] == pytest.approx(0.05 - 0.045 / 4 * (1 - 1 / 8), rel=1e-3)


def test_stage_options_end_with_their_stage(record, workdir):
    trainer = make(record)
    trainer.train([{**STAGE, "optimizer": sgd(), "clip": 1.0, "ema": 0.9, "sam_rho": 0.05}, STAGE])
    assert trainer.optimizer.global_clipnorm is None and trainer.model.averages is None and trainer.model.sam_rho == 0


def test_mixup_carries_a_second_label_and_a_share(record, workdir):
    faces = data.open_faces(record, 16, (32, 32, 3), mixup=0.4)
    plain = data.open_faces(record, 16, (32, 32, 3))
    images, named = next(iter(faces.batches()))
    pure, labels = next(iter(plain.batches()))
    np.testing.assert_array_equal(named["labels"], labels["labels"])
    first, mix = pure.astype(float), named["mix"]
    rest = (images - mix[:, None, None, None] * first) / (1 - mix[:, None, None, None])
    row = int(np.argmin(mix))
    near = np.abs(first - rest[row]).mean(axis=(1, 2, 3))
    assert near.min() < 2 and labels["labels"][int(near.argmin())] == named["labels2"][row]
    trainer = run(record, mixup_alpha=0.4)
    assert np.isfinite(trainer.my_history.history["loss"]).all() and trainer.faces.mixup == 0.4


def test_mixed_loss_is_the_shares_of_both_labels():
    rng = np.random.default_rng(0)
    images, mix = rng.normal(size=(8, 32, 32, 3)).astype("float32"), rng.uniform(size=8).astype("float32")
    first, second = (rng.integers(0, 4, 8).astype("int32") for _ in range(2))
    model = models.FaceModel(tiny_model(), models.NormDense(4), [losses.ArcfaceLoss()])
    embedding = model(images)
    each = [
        keras.ops.convert_to_numpy(model.objective({"labels": y}, embedding, False)[1]["arcface"])
        for y in (first, second)
    ]
    found = model.objective({"labels": first, "labels2": second, "mix": mix}, embedding, False)[1]["arcface"]
    np.testing.assert_allclose(found, mix * each[0] + (1 - mix) * each[1], rtol=1e-5)


def test_images_grow_from_stage_to_stage(record, workdir):
    model = models.buildin_models(
        "r_tiny", emb_shape=8, output_layer="GAP", input_shape=(None, None, 3), widths=(8, 16)
    )
    trainer, sizes = make(record, basic_model=model), []
    for stage in ({"image_size": 24}, {"image_size": 40}, {}):
        trainer.train([{**STAGE, "optimizer": sgd(), **stage}])
        sizes.append(next(iter(trainer.faces.batches()))[0].shape[1:])
    assert sizes == [(24, 24, 3), (40, 40, 3), (112, 112, 3)] and np.isfinite(trainer.my_history.history["loss"]).all()
    with pytest.raises(ValueError, match=r"sch\[0\]: 'image_size' 24: the model takes images of 32×32 alone"):
        make(record, "fixed.keras").train([{**STAGE, "optimizer": sgd(), "image_size": 24}])


def test_repeated_order():
    labels = np.arange(40) % 5
    order = data.sampling.order(labels, 12, 0, 0.0, repeats=3)
    first, second = order(0, 0), order(0, 1)
    assert first.shape == (order.steps, 12) == (3, 12)
    np.testing.assert_array_equal(first[:, 0::3], first[:, 2::3])
    seen = np.concatenate([order(0, epoch)[:, 0::3].ravel() for epoch in range(3)])
    assert len(set(seen[:36])) == 36  # epochs go on where the last one ended
    np.testing.assert_array_equal(second, order(0, 1))
    with pytest.raises(ValueError, match="batch_size 12 is no multiple of 'repeats' 5"):
        data.sampling.order(labels, 12, 0, 0.0, repeats=5)


def test_repeated_images_are_augmented_anew(record, workdir):
    trainer = run(record, stage={"repeats": 3}, batch_size=12, augmentations=[data.augment.Colour()])
    images, targets = next(iter(trainer.faces.batches()))
    assert (targets["labels"][0] == targets["labels"][:3]).all() and np.abs(images[0].astype(int) - images[1]).max() > 3
    with pytest.raises(ValueError, match="'repeats' shows an image several times"):
        train.parse_schedule({**STAGE, "triplet": 1, "repeats": 2})


def test_balanced_order():
    labels = np.repeat([0, 1, 2], [80, 15, 5])
    order = data.Balanced(labels, 50, 1.0)
    drawn = np.concatenate([labels[order(0, epoch)].ravel() for epoch in range(60)])
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), [1 / 3] * 3, atol=0.03)
    np.testing.assert_array_equal(order(0, 3), order(0, 3))
    half = np.concatenate([labels[data.Balanced(labels, 50, 0.5)(0, e)].ravel() for e in range(60)])
    expected = np.sqrt([80, 15, 5]) / np.sqrt([80, 15, 5]).sum()
    np.testing.assert_allclose(np.bincount(half) / len(half), expected, atol=0.03)


def test_freezing_by_name(record, workdir):
    keras.utils.set_random_seed(0)
    model = tiny_model()
    model.get_layer("stack1_1_bn").trainable = False
    before = {w.path: keras.ops.convert_to_numpy(w).copy() for w in model.weights}
    trainer = run(record, basic_model=model, stage={"freeze": ["stem_*", "stack1_1_conv"]})
    still = {path for path, value in before.items() if np.array_equal(value, _named(trainer.basic_model, path))}
    frozen = {w.path for layer in model.layers if layer.name.startswith("stem_") for w in layer.weights}
    frozen |= {w.path for name in ("stack1_1_conv", "stack1_1_bn") for w in model.get_layer(name).weights}
    assert still == frozen
    assert [layer.name for layer in model.layers if not layer.trainable] == ["stack1_1_bn"]
    with pytest.raises(ValueError, match="unknown layer of the basic model 'sten_conv'. Did you mean 'stem_conv'"):
        run(record, "b.keras", stage={"freeze": "sten_conv"})


def _named(model, path):
    return next(keras.ops.convert_to_numpy(w) for w in model.weights if w.path == path)


@pytest.mark.parametrize("kwargs", [{"partial_fc_sample_rate": 0.5}, {"vpl_start_iters": 1}, {"sam_rho": 0.05}])
def test_heads_and_sam_by_arguments(record, workdir, kwargs):
    trainer = run(record, stage={"epoch": 4}, **kwargs)
    history = trainer.my_history.history
    assert history["loss"][-1] < history["loss"][0] and "accuracy" in history and "target_cosine" in history


def test_arguments_that_do_not_go_together(record, workdir):
    trainer = make(record, vpl_start_iters=1)
    for stage, message in (
        ({"lossTopK": 2}, "VPL remembers one center"),
        ({"mixup": 0.2}, "VPL remembers images of one"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer.plan({**STAGE, **stage})


def test_the_optimizer_of_a_loaded_model_goes_on(record, workdir):
    first = run(record)
    loaded = make(record, "b.keras", model="checkpoints/run.keras")
    kept = arrays(loaded.default_optimizer.variables)
    loaded.train({**STAGE, "epoch": 0})
    assert len(kept) == len(loaded.optimizer.variables) == len(first.optimizer.variables)
    for a, b in zip(kept[2:], loaded.optimizer.variables[2:], strict=True):
        np.testing.assert_array_equal(a, b)
    assert max(np.abs(v).max() for v in kept[2:]) > 0


def test_what_crosses_a_stage_is_said_in_one_line(record, workdir, caplog):
    with caplog.at_level(logging.INFO, "facetrainer"):
        trainer = make(record, partial_fc_sample_rate=0.5)
        trainer.train([{**STAGE, "centerloss": 1, "optimizer": sgd()}, {**STAGE, "loss": "cosface", "centerloss": 1}])
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("sch[")]
    assert "CenterLoss new" in lines[0] and "head arcface new" in lines[0] and "SGD new" in lines[0]
    assert all(part in lines[1] for part in (" s: steps ", "input ", "evaluation ", "checkpoint ", "compile "))
    second = ("CenterLoss carried over", "head arcface 1 of 1 weights carried over", "slots carried over")
    assert all(part in lines[2] for part in second)


# ---------------------------------------------------------------------------------------------------------------- NaN


class Poison(keras.callbacks.Callback):
    """Breaks a weight before the given batches, counted over the whole run."""

    def __init__(self, *batches):
        super().__init__()
        self.batches, self.count, self.rates = batches, 0, []

    def on_train_batch_begin(self, batch, logs=None):
        if self.count in self.batches:
            weight = self.model.embedder.trainable_weights[0]
            weight.assign(weight * np.nan)
        self.count += 1

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


def test_a_loss_that_is_not_finite_sends_the_run_back_once(record, workdir, caplog):
    poison = Poison(4)
    with caplog.at_level(logging.WARNING, "facetrainer"):
        trainer = run(record, callback=poison, stage={"epoch": 2}, lr_decay_steps=[10])
    assert (
        "sch[0], epoch 2, batch 2: " in caplog.text
        and "Back to epoch 2, batch 0, with half the learning rate" in caplog.text
    )
    assert np.isfinite(trainer.my_history.history["loss"]).all() and len(trainer.my_history.history["loss"]) == 2
    assert set(poison.rates) == {np.float32(0.05), np.float32(0.025)} and trainer.lr_scheduler.factor == 0.5


def test_the_second_time_it_stops_with_the_state_saved(record, workdir):
    with pytest.raises(callbacks.NanError, match=r"sch\[0\], epoch 2, batch 3: .*loss.* is not finite.*lower lr_base"):
        run(record, callback=Poison(1, 7), stage={"epoch": 3})
    assert os.path.exists("checkpoints/run.state.npz")
    again = run(record, stage={"epoch": 3})
    assert again.lr_scheduler.factor == 0.5 and np.isfinite(again.my_history.history["loss"]).all()


# ------------------------------------------------------------------------------------------------------------- doctor


def examined(logs, expected=None, alpha=None, optimizer=None, steps=200):
    """What is said of a run with these logs; losses are those of each batch."""
    clock = Progress()
    doctor = callbacks.Doctor(Expected(expected, expected or 0, alpha), clock, 0, steps)
    doctor.set_model(type("Model", (), {"optimizer": optimizer or keras.optimizers.SGD(0.1)})())
    doctor.on_epoch_begin(0)
    for batch in range(100):
        clock.step = batch + 1
        seen = {name: np.mean(values[: batch + 1]) if np.ndim(values) else values for name, values in logs.items()}
        doctor.on_train_batch_end(batch, seen)
    return doctor.findings


def test_the_doctor_is_silent_about_a_healthy_run():
    falling = np.linspace(12, 9, 100)
    assert (
        examined({"loss": falling, "embedding_spread": 0.8, "active_triplets": 0.6, "triplet_loss": 0.3}, 12, 0.35)
        == []
    )


def test_a_trained_model_in_a_new_stage_is_no_case_for_the_doctor(record, workdir):
    """A triplet loss is added: the loss is level, and far below that of an untrained model."""
    assert examined({"loss": np.full(100, 3.4), "active_triplets": 0.6, "triplet_loss": 0.3}, 12, 0.35) == []
    trainer = make(record)
    trainer.train({**STAGE, "optimizer": sgd(), "triplet": 1})
    found = trainer.trainer.stage.expected()
    assert (
        found.loss is None
        and found.alpha == 0.35
        and found.least == pytest.approx(losses.ArcfaceLoss(scale=16).expected(8, 16))
    )


@pytest.mark.parametrize(
    ("logs", "options", "text"),
    [
        ({"loss": np.linspace(40, 30, 100)}, {"expected": 12}, "the first loss is 40.0, an untrained model has about 12.0"),
        ({"loss": np.full(100, 12.0)}, {"expected": 12}, "the loss has not begun to fall in 100 batches: 12.00, then 12.00"),
        ({"loss": np.linspace(9, 7, 100), "embedding_spread": 0.001}, {}, "all faces fall on nearly one point"),
        ({"loss": np.linspace(9, 7, 100), "active_triplets": 1.0, "triplet_loss": 0.35}, {"alpha": 0.35}, "equals its margin 0.35"),
        ({"loss": np.full(100, 1.35), "regular_loss": 1.0, "active_triplets": 1.0}, {"alpha": 0.35}, "equals its margin 0.35"),
        ({"loss": np.linspace(9, 7, 100), "active_triplets": 0.001}, {"alpha": 0.35}, "only 0.1 % of the triplets are active"),
        ({"loss": np.linspace(9, 7, 100)}, {"optimizer": keras.optimizers.AdamW(0.1)}, "learning rate 0.1 is high for Adam"),
    ],
)  # fmt: skip
def test_the_doctor_says_what_is_off(logs, options, text):
    findings = examined(logs, **options)
    assert len(findings) == 1 and text in findings[0]


def test_the_doctor_looks_at_a_real_run(record, workdir, caplog):
    with caplog.at_level(logging.WARNING, "facetrainer"):
        run(record, stage={"optimizer": keras.optimizers.Adam(0.5)}, lr_base=0.5)
    assert "sch[0]: learning rate 0.5 is high for Adam" in caplog.text


def test_layers_learn_at_rates_of_their_own(folder, workdir):
    """SGD without momentum: what a layer moves by is in proportion to its factor; the head moves as ever."""
    moved = {}
    for factor in (1.0, 0.25, 0.0):
        keras.utils.set_random_seed(0)
        model = tiny_model()
        first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
        before = first.get_weights()[0]
        rates = {"layer_rates": {first.name: factor}} if factor < 1 else {}
        tt = make(folder, basic_model=model, save_path=f"r{factor}.keras", epoch_size=1, lr_base=0.01)
        tt.train({"loss": losses.SoftmaxLoss(), "epoch": 1, "optimizer": keras.optimizers.SGD(0.01), **rates})
        moved[factor] = np.abs(first.get_weights()[0] - before).sum()
    assert moved[0.0] == 0 and moved[0.25] == pytest.approx(moved[1.0] / 4, rel=1e-3)


def test_wrong_layer_rates_are_told(folder):
    tt = make(folder)
    with pytest.raises(ValueError, match="'layer_rates' must be factors"):
        tt.plan({"loss": "softmax", "epoch": 1, "layer_rates": {"stem": "slow"}})
    with pytest.raises(ValueError, match="'layer_rates': unknown layer of the basic model 'nolayer_"):
        tt.train({"loss": "softmax", "epoch": 1, "layer_rates": {"nolayer_*": 0.1}, "optimizer": "sgd"})
