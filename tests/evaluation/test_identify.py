"""Search with a gallery and distractors, in the layouts of TinyFace and MegaFace."""

import json
import os

import numpy as np
import pytest
from helpers import looks_of_floats

from facetrainer.cli import identify as command
from facetrainer.data import synthetic as draw
from facetrainer.evaluation import identify
from facetrainer.metrics.roc import Roc
from facetrainer.metrics.verification import unit


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def embedded(rng, people, spread=0.6):
    centers = np.random.default_rng(1).normal(size=(50, 16))
    return identify.Embedded(
        unit(centers[people] + spread * rng.normal(size=(len(people), 16))).astype(np.float32),
        np.array([f"p{k}" for k in people]),
    )


def test_one_at_a_time_is_the_slow_way(monkeypatch):
    rng = np.random.default_rng(0)
    probes, others = embedded(rng, np.repeat(np.arange(5), 4)), embedded(rng, np.arange(5, 45))
    monkeypatch.setattr(identify, "AT_ONCE", 100)  # a few probes at a time
    found = identify.one_at_a_time(probes, others)
    ranks, mated, people = [], [], np.repeat(np.arange(5), 4)
    strange = probes.embeddings @ others.embeddings.T
    for probe in range(20):
        for mate in np.flatnonzero(people == people[probe]):
            if mate != probe:
                mated.append(probes.embeddings[probe] @ probes.embeddings[mate])
                ranks.append(np.sum(strange[probe] >= mated[-1]))
    assert found["mated searches"] == 60 and found["people"] == 5 and found["enrolled"] == 41
    for k in (1, 5, 10):
        assert found["rates"][f"rank-{k}"]["rate"] == np.mean(np.array(ranks) < k)
    assert 0 < found["rates"]["rank-1"]["rate"] < 1
    curve = Roc(np.concatenate([mated, strange.ravel()]), np.repeat([True, False], [60, 800]))
    assert "TAR@FAR=0.001" not in found["rates"]  # 800 pairs
    assert found["rates"].keys() == {"rank-1", "rank-5", "rank-10"} and curve.auc > 0.9
    with pytest.raises(ValueError, match="two images or more"):
        identify.one_at_a_time(embedded(rng, np.arange(5)), others)


def test_distractors_are_nobody():
    rng = np.random.default_rng(0)
    probes, gallery = embedded(rng, np.repeat(np.arange(10), 3)), embedded(rng, np.arange(5))
    alone = identify.closed(probes, gallery, None, draws=20)
    assert alone["mated searches"] == 15 and alone["non-mated searches"] == 15 and "FNIR@FPIR=0.1" in alone["rates"]
    more = identify.closed(
        probes, gallery, embedded(rng, np.arange(10)), draws=0
    )  # among them the probes' own, called like them
    assert more["mated searches"] == 15 and more["enrolled"] == 15
    assert more["rates"]["rank-1"]["rate"] < alone["rates"]["rank-1"]["rate"]


def test_tinyface_and_megaface(workdir, monkeypatch, capsys):
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _, **__: looks_of_floats)
    listed = {"path": [], "id": []}
    for person, faces in enumerate(draw.people(8, 3, seed=4), 1):
        for i, face in enumerate(faces):
            if person < 6:
                write(f"tinyface/Testing_Set/{'Probe' if i else 'Gallery_Match'}/{person}_{i}.jpg", face)
                write(f"scrub/p{person}/{i}.jpg", face)
                listed["path"].append(f"p{person}/{i}.jpg")
                listed["id"].append(f"p{person}")
            else:
                write(f"tinyface/Testing_Set/Gallery_Distractor/{person}_{i}.jpg", face)
                write(f"mega/{person}/{i}.jpg", face)
    json.dump(listed, open("facescrub_features_list.json", "w"))
    json.dump(
        {"path": [f"{k}/{i}.jpg" for k in (6, 7, 8) for i in range(3)]}, open("megaface_features_list.json_9_1", "w")
    )
    assert command.main(["-m", "any", "--tinyface", "tinyface", "--json", "t.json", "--page", "t.html"]) == 0
    (found,) = json.load(open("t.json"))
    assert found["search"]["gallery"]["enrolled"] == 5 + 9 and found["search"]["gallery"]["mated searches"] == 10
    assert found["search"]["gallery"]["people"] == 5 and "rank-1" in capsys.readouterr().out
    call = ["-m", "any", "--probes", "facescrub_features_list.json", "scrub"]
    others = ["--distractors", "megaface_features_list.json_9_1", "mega"]
    assert command.main([*call, *others, "--one-at-a-time", "--json", "m.json"]) == 0
    assert json.load(open("m.json"))[0]["search"]["gallery"]["mated searches"] == 5 * 3 * 2
    open("other.json", "w").write("[1]")
    for wrong, message in (
        (call, "give --tinyface, or --probes and --gallery"),
        ([*call, "--tinyface", "tinyface"], "brings its own sets"),
        ([*call, "--gallery", "scrub", *others, "--one-at-a-time"], "makes the gallery of the probes"),
        ([*call, "--gallery", "other.json"], "expected a list of MegaFace"),
        ([*call, "--gallery", "a", "b", "c"], "a set is one path"),
    ):
        assert command.main(wrong) == 1 and message in capsys.readouterr().err
