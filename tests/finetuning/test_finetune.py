"""Fine-tuning on drawn people, from a model of random weights and from one that cannot be bettered."""

import json
import os

import keras
import numpy as np
import pytest
from helpers import tiny_model

from facetrainer import finetuning, models
from facetrainer.cli import finetune
from facetrainer.data import synthetic
from facetrainer.finetuning import held_out, plan, tune
from facetrainer.metrics import calibration


def album(root, people, images, seed=0):
    for number, faces in enumerate(synthetic.people(people, images, seed)):
        os.makedirs(f"{root}/person{number}", exist_ok=True)
        for k, face in enumerate(faces):
            with open(f"{root}/person{number}/{k}.jpg", "wb") as file:
                file.write(face)


def start(path="start.keras", seed=0):
    keras.utils.set_random_seed(seed)
    models.save(tiny_model(32), path)
    return path


def test_it_helps_and_says_so(workdir, capsys):
    album("photos", 30, 4)
    album("old", 60, 3, seed=5)
    arguments = [
        "photos",
        "--from",
        start(),
        "--detector",
        "aligned",
        "--old",
        "old",
        "--epochs",
        "4",
        "--export",
        "onnx",
    ]
    assert finetune.main(arguments) == 0
    out = capsys.readouterr().out
    told = json.load(open("photos_finetuned/result.json"))
    assert told["better"] and told["AUC gain"][0] > 0 and "fine-tuning helps" in out
    assert told["held out"] == "40 images of people held out" and set(told["results"]) == {"new people", "old people"}
    assert {"model.keras", "model.onnx", "model_thresholds.json", "report.html", "result.json", "work"} == set(
        os.listdir("photos_finetuned")
    )
    thresholds = calibration.read("photos_finetuned/model.keras")
    assert thresholds["mirrored"] == "sum" and thresholds["length"] > 0 and thresholds["probability"]
    page = open("photos_finetuned/report.html").read()
    assert page.count("data:image/png") == 2 and "centers from class means" in page
    rows = open("photos_finetuned/work/train.csv").read()
    assert "old person" in rows and rows.count("\n") > 80


def test_it_never_ends_with_a_worse_model(workdir, monkeypatch, capsys):
    album("photos", 24, 3)
    spoilt = plan.Plan.stage

    def stage(self, model):
        return {**spoilt(self, model), "optimizer": keras.optimizers.SGD(0.01), "layer_rates": None}

    monkeypatch.setattr(plan.Plan, "stage", stage)
    monkeypatch.setattr(tune, "_trained", lambda plan, listed, start, work, seed: tiny_model(32))  # another random one
    monkeypatch.setattr(held_out, "gain", lambda before, after: (-0.01, -0.02, 0.0))
    assert finetune.main(["photos", "--from", start(), "--detector", "aligned"]) == 0
    assert "does not help" in capsys.readouterr().out
    kept = models.load("photos_finetuned/model.keras", compile=False).get_weights()
    for one, other in zip(kept, models.load("start.keras", compile=False).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_gain_that_costs_old_people_is_none():
    rng, same = np.random.default_rng(0), np.arange(400) % 2 == 0
    people = np.tile(np.arange(400), (2, 1))

    def pairs(apart):
        return held_out.Pairs(rng.normal(same * apart, 1), same, people, 1.0)

    good, poor = pairs(3), pairs(1)
    better, why = tune._decision((0.1, 0.05, 0.2), {"old people": good}, {"old people": poor}, {})
    assert not better and "lost on old people" in why
    better, why = tune._decision((0.1, 0.05, 0.2), {}, {}, {"lfw.bin": (0.99, 0.98)})
    assert not better and "0.0100 lost on lfw.bin" in why
    assert tune._decision((0.1, -0.05, 0.2), {}, {}, {})[1].endswith(
        "which chance could give as well. The new model is kept."
    )
    assert held_out.gain(poor, good)[1] > 0


def test_centers_are_the_means_of_their_people(workdir):
    album("photos", 4, 3)
    from facetrainer.data import sources

    source = sources.open_source("photos")
    head, people = tune._centers(start(), source)
    assert people == source.class_names
    embedder = tune.Embedder("start.keras")
    mine = embedder.of_encoded([source.read(i) for i in np.flatnonzero(source.labels == 2)])
    mean = (mine / np.linalg.norm(mine, axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(head.get_weights()[0][:, 2], mean / np.linalg.norm(mean), atol=1e-4)


def test_who_is_held_out():
    labels = np.repeat(np.arange(50), 3)
    by_people = held_out.divide(labels)
    assert (
        by_people.by == "people"
        and not set(labels[by_people.held]) & set(labels[by_people.train])
        and len(by_people.held) == 30
    )
    few = held_out.divide(np.repeat(np.arange(5), [1, 2, 3, 4, 1]))
    assert few.by == "images" and len(few.held) == 3 and len(few.train) == 8 and "too few people" in few.told()
    with pytest.raises(ValueError, match="0 of 6 people have two images"):
        held_out.divide(np.arange(6))


def test_the_recipe_goes_by_counts():
    single, pair, many = (finetuning.make_plan(np.full(n, k)) for n, k in ((4000, 1), (100, 2), (5000, 40)))
    assert single.margin == 0.1 and pair.margin == many.margin == 0.3
    assert pair.slowest == 0.01 < many.slowest and pair.keep > many.keep and pair.epochs > many.epochs
    with pytest.raises(ValueError, match="two people or more"):
        finetuning.make_plan(np.array([3]))


def test_stage_freezes_norms_and_slows_deep_layers():
    model = tiny_model(32)
    stage = finetuning.make_plan(np.full(100, 2)).stage(model)
    assert stage["freeze"] == ["stem_bn", "stack1_1_bn"]
    rates = list(stage["layer_rates"].items())
    assert rates[0] == ("stem_conv", pytest.approx(0.01)) and rates[-1] == ("E_dense", 1.0)
    assert [value for _, value in rates] == sorted(value for _, value in rates)


def test_bad_calls(workdir, capsys):
    album("photos", 3, 1)
    assert finetune.main(["photos", "--from", start(), "--detector", "aligned"]) == 1
    assert "nothing could tell whether fine-tuning helps" in capsys.readouterr().err
    assert finetune.main(["photos", "--from", "face.tflite"]) == 1
    assert "train a student of it" in capsys.readouterr().err
    assert finetune.main(["photos", "--from", "start.keras", "--old-share", "1"]) == 1
    assert "expected a part from 0 to below 1" in capsys.readouterr().err


def test_an_export_that_the_backend_cannot_write_is_refused_before_the_work(workdir, monkeypatch, capsys):
    album("photos", 3, 1)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert finetune.main(["photos", "--from", "start.keras", "--detector", "aligned", "--export", "onnx"]) == 1
    assert "run the export with KERAS_BACKEND=tensorflow" in capsys.readouterr().err
    assert not os.path.exists("photos_finetuned")
