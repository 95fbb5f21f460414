"""Published recipes: every step's rate is the source's, and each can be planned on data of the right counts."""

import bisect
import functools
import math
import os

import keras
import numpy as np
import pytest
from helpers import ROOT

from facetrainer import models
from facetrainer.cli import main, recipe, recipes
from facetrainer.data import sources
from facetrainer.reporting import dry_run
from facetrainer.training import Train
from facetrainer.training.callbacks import read_schedule

NAMES = recipe.names(recipe.PUBLISHED)


def linear(base, epochs, warmup=0):
    """arcface_torch, lr_scheduler.py, in closed form: steps of the warmup, then a straight line to 0 at the last step."""

    def rate(step, steps):
        w, t = warmup * steps, epochs * steps
        return base * step / w if step < w else base * (1 - (step - w) / (t - w))

    return rate


def stepped(base, *milestones):
    """torch's MultiStepLR with factor 0.1, by epochs."""
    return lambda step, steps: base * 0.1 ** bisect.bisect_right(milestones, step // steps)


def cosine(base, first, half, least):
    """Keras_insightface's: half a cosine to `least`, an epoch there, and again from `half` of it over twice the length."""

    def rate(step, steps):
        since, length, top = step / steps, first, base
        while since >= length + 1:
            since, length, top = since - length - 1, 2 * length, top * half
        return least if since >= length else least + (top - least) * (1 + math.cos(math.pi * since / length)) / 2

    return rate


SOURCES = {
    "casia_mobilenet_distill_kif": (50, stepped(0.1, 20, 30)), "casia_mobilenet_subcenter_kif": (50, stepped(0.1, 20, 30)),
    "casia_inception_triplet_facenet": (500, stepped(0.01)), "casia_sphereface20": (28, stepped(0.1, 16, 24)),
    "casia_r18_adaface": (26, stepped(0.1, 12, 20, 24)), "casia_r34_kif": (41, stepped(0.1, 20, 30)),
    "casia_r50_adaface": (26, stepped(0.1, 12, 20, 24)), "casia_r50_unitsface": (28, stepped(0.1, 16, 24)),
    "emore_mobilenet_kif": (50, cosine(0.1, 16, 0.5, 1e-5)), "ms1mv2_r100_adaface": (26, stepped(0.1, 12, 20, 24)),
    "ms1mv2_r100_curricularface": (24, stepped(0.1, 10, 18, 22)), "ms1mv2_r100_elasticface": (26, stepped(0.1, 8, 14, 20, 25)),
    "ms1mv2_r100_magface": (25, stepped(0.1, 10, 18, 22)), "ms1mv3_ghostfacenet_v1": (51, cosine(0.1, 45, 0.5, 1e-5)),
    "ms1mv2_mbf": (40, linear(0.1, 40)), "ms1mv3_mbf": (40, linear(0.1, 40)), "ms1mv3_r50_onegpu": (20, linear(0.02, 20)),
    "wf42m_pfc02_16gpus_mbf_bs8k": (20, linear(0.4, 20, 2)), "wf42m_pfc02_16gpus_r100": (20, linear(0.3, 20, 1)),
    "wf42m_pfc02_r100": (20, linear(0.1, 20)),
    **dict.fromkeys(["ms1mv2_r50", "ms1mv2_r100", "ms1mv3_r50", "ms1mv3_r100",
                     "glint360k_mbf", "glint360k_r50", "glint360k_r100", "wf4m_mbf",
                     "wf4m_r50", "wf4m_r100", "wf12m_mbf", "wf12m_r50", "wf12m_r100", "wf12m_pfc02_r100"], (20, linear(0.1, 20))),
    **dict.fromkeys([f"wf12m_{one}" for one in ("conflict_r50", "conflict_r50_pfc03_filter04", "flip_pfc01_filter04_r50", "flip_r50")],
                    (20, linear(0.1, 20, 2))),
    **dict.fromkeys([f"wf42m_pfc03_32gpu_{net}" for net in ("r18", "r50", "r100", "r200")], (20, linear(0.4, 20, 2))),
    **dict.fromkeys([f"wf42m_pfc03_40epoch_64gpu_vit_{size}" for size in "tsbl"], (40, linear(0.001, 40, 4))),
    **dict.fromkeys([f"wf42m_pfc03_40epoch_8gpu_vit_{size}" for size in "tb"], (40, linear(0.001, 40, 4))),
}  # fmt: skip


def least_network(name, emb_shape=512, input_shape=(112, 112, 3), **options):
    """In the place of the network: what a plan says does not depend on it."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Dense(emb_shape)(keras.layers.GlobalAveragePooling2D()(inputs))
    return keras.Model(inputs, keras.layers.Activation("linear", name="embedding")(x), name="least")


@functools.cache
def made_up(images, people):
    """So many images of so many people, which take no memory; and the source of them."""
    found = np.broadcast_to(np.zeros((), np.uint8), (images, 112, 112, 3)), np.arange(images, dtype=np.int32) % people
    return found, sources.open_source(found)


@pytest.mark.parametrize("name", NAMES)
def test_rates_and_plan(name, workdir, monkeypatch):
    monkeypatch.setattr(models, "buildin_models", least_network)
    facts = recipes.read(recipe.find(name))[1]
    images, people = facts["images"], facts["identities"]
    made, source = made_up(images, people)
    keywords, sch = recipe.load(name, {"data_path": made})
    if "distill" in name:
        keywords["teacher_model_interf"] = lambda batch: np.zeros((len(batch), 512), "float32")
    trainer = Train(**keywords)
    trainer.trainer.data.source = source
    plan = dry_run.describe(dry_run.plan(trainer, sch))
    steps = keywords.get("epoch_size") or images // facts["batch"]
    assert f"{people:,} classes, batch {facts['batch']}" in plan
    epochs, expected = SOURCES[name]
    assert sum(stage["epoch"] for stage in sch) == epochs
    found = read_schedule(**trainer.config.lr, steps_per_epoch=steps)
    numbers = (
        np.arange(epochs * steps)
        if epochs * steps < 50_000
        else np.unique(np.linspace(0, epochs * steps - 1, 20_000).astype(int))
    )
    wrong = [k for k in numbers if not math.isclose(found(k / steps), expected(k, steps), rel_tol=1e-6, abs_tol=1e-12)]
    assert not wrong, wrong[:5]


def test_the_published_recipes_are_told(capsys):
    assert set(SOURCES) == set(NAMES)
    assert main.main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in [*NAMES, "lfw_small"]) and "LFW 99.53, MR-All 50.25" in listed
    assert main.main(["recipes", "ms1mv3_r50"]) == 0
    told = capsys.readouterr().out
    assert "identities: 93,431" in told and "batch: 1,024" in told and "arcface_torch, configs/ms1mv3_r50.py" in told
    assert f"data: {os.path.join('FACE_DATA', 'ms1m-retinaface-t1')}\n" in told
    assert main.main(["recipes", "nothing"]) == 1
    page = os.path.join(recipe.PUBLISHED, "README.md")
    assert recipes.markdown() in open(page, encoding="utf-8").read(), "facetrainer recipes --markdown"
    assert f"{len(NAMES)} published ones" in open(os.path.join(ROOT, "README.md"), encoding="utf-8").read()


def test_a_recipe_as_it_is(workdir, monkeypatch):
    """What arcface_torch's have in common, with the network itself."""
    monkeypatch.setenv("FACE_DATA", "somewhere")
    made = np.zeros((64, 112, 112, 3), np.uint8), np.arange(64, dtype=np.int32) % 8
    keywords, sch = recipe.load("ms1mv3_mbf", {"data_path": made, "batch_size": 16})
    network = keywords["basic_model"]
    assert network.count_params() == 2_083_328 and sch[0]["clip_embedder"] == 5 and keywords["eval_paths"] == []
    decays = [layer for layer in network._flatten_layers() if getattr(layer, "gamma_regularizer", None) is not None]
    assert decays and float(decays[0].gamma_regularizer.l2) == pytest.approx(0.5e-4)
    trainer = Train(**keywords)
    assert trainer.config.lr["lr_base"] == pytest.approx(0.1 * 16 / 1024)
    hidden = recipe.load("wf42m_pfc03_40epoch_64gpu_vit_t", {"data_path": made})[0]["basic_model"]
    assert hidden.get_layer("unit12_drop1").rate == pytest.approx(0.05) and "mask_token" not in [
        one.name for one in hidden.layers
    ]
