"""A folder of people, and the command that measures pairs."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from helpers import looks_of_floats

from facetrainer.cli import evaluate as evaluate_command
from facetrainer.cli import folder as folder_command
from facetrainer.cli import report as report_command
from facetrainer.data import synthetic as draw
from facetrainer.data.images import decode
from facetrainer.io import evalbin
from facetrainer.metrics import verification
from facetrainer.metrics.roc import Roc
from facetrainer.reporting import folder as eval_folder


@pytest.fixture
def faces(workdir):
    for k, faces in enumerate(draw.people(6, 5, seed=9)):
        os.makedirs(f"faces/p{k}")
        for i, face in enumerate(faces):
            open(f"faces/p{k}/{i}.jpg", "wb").write(face)
    return "faces"


def test_folder_against_the_slow_way(faces):
    folder = eval_folder.Eval_folder(looks_of_floats, faces)
    own, strange, who = folder.leave_one_out()
    for k, (vector, label) in enumerate(zip(folder.embeddings, folder.labels, strict=True)):
        others = (folder.labels == label) & (np.arange(30) != k)
        means = [
            verification.unit(folder.embeddings[others if p == label else folder.labels == p].sum(0)[None])[0]
            for p in range(6)
        ]
        cosine = np.array(means) @ vector
        assert own[k] == pytest.approx(cosine[label], abs=1e-5)
        cosine[label] = -np.inf
        assert strange[k] == pytest.approx(cosine.max(), abs=1e-5) and who[k] == cosine.argmax()
    accuracy, score, label = folder.do_evaluation()
    lines = [
        len(eval_folder.plot_tpr_far(score, label, new, name).axes[0].lines)
        for new, name in ((True, "a"), (False, "b"), (True, "c"))
    ]
    assert lines == [1, 2, 1]
    assert accuracy == np.mean(own > strange) and len(score) == 60 and label.sum() == 30
    upper = np.triu_indices(30, 1)
    cosine, same = (folder.embeddings @ folder.embeddings.T)[upper], (folder.labels[:, None] == folder.labels)[upper]
    pairs, exact = folder.all_pairs(), Roc(cosine, same)
    assert pairs.counts.sum(axis=1).tolist() == [np.sum(~same), np.sum(same)]
    assert pairs.auc == pytest.approx(exact.auc, abs=1e-4) and pairs.tar(0.1) == pytest.approx(exact.tar(0.1), abs=0.03)
    likest = folder.worst(3)
    assert likest[0][2] == pytest.approx(cosine[~same].max(), abs=1e-6) and likest[3][2] == pytest.approx(
        cosine[same].min(), abs=1e-6
    )


def test_folder_command(faces, capsys, monkeypatch):
    pd.DataFrame({"person": [f"p{k}" for k in range(6)], "hat": ["yes", "no"] * 3}).to_csv("a.csv", index=False)
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _, **__: looks_of_floats)
    call = [
        "-d",
        faces,
        "-m",
        "any",
        "-S",
        "e.npz",
        "--report",
        "r.json",
        "--worst",
        "w.jpg",
        "--slices",
        "a.csv",
        "--roc",
        "roc.svg",
        "--page",
        "search.html",
    ]
    assert folder_command.main(call) == 0
    printed = capsys.readouterr().out
    assert "leave-one-out top-1" in printed and "open set DIR@FAR=0.1" in printed
    assert [line.split()[:2] for line in printed.splitlines() if line.strip().startswith("hat")] == [
        ["hat", "no"],
        ["hat", "yes"],
        ["hat", "gap"],
    ]
    report = json.load(open("r.json"))
    assert report["images"] == 30 and report["same pairs"] == 60 and report["different pairs"] == 375
    assert "FNIR@FPIR=0.1" in printed and report["search"]["half of the people"]["enrolled"] == 3
    assert (
        report_command.main(["r.json", "-o", "again.html"]) == 0 and "half of the people" in open("search.html").read()
    )
    height, width = decode(open("w.jpg", "rb").read()).shape[:2]
    assert height > 12 * 112 and width > 4 * 112
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _, **__: pytest.fail("embeddings are kept"))
    assert folder_command.main(["-d", faces, "-S", "e.npz"]) == 0
    assert folder_command.main(["-d", faces]) == 1
    assert "give a model with -m" in capsys.readouterr().err


def test_a_folder_with_one_image_a_person(faces, capsys, monkeypatch):
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _, **__: looks_of_floats)
    for k in range(6):
        for i in range(1, 5):
            os.remove(f"{faces}/p{k}/{i}.jpg")
    assert folder_command.main(["-d", faces, "-m", "any", "--report", "r.json"]) == 0
    assert json.load(open("r.json"))["search"] == {} and "open set" not in capsys.readouterr().out


def test_folder_makes_a_verification_set(faces, caplog):
    folder = eval_folder.Eval_folder(looks_of_floats, faces)
    folder.generate_eval_pair_bin("own.bin", 20, 30, nfold=5)
    found, same = evalbin.read_bin("own.bin")
    who = {folder.source.read(i): folder.source.labels[i] for i in range(30)}
    people = [who[image] for image in found]
    assert same.tolist() == [a == b for a, b in zip(people[::2], people[1::2], strict=True)]
    assert same.tolist() == ([True] * 4 + [False] * 6) * 5
    folder.generate_eval_pair_bin("own.bin", 1000, 30)  # a small folder has fewer pairs
    found, same = evalbin.read_bin("own.bin")
    assert 40 < same.sum() < 1000 and (~same).sum() == 30
    assert f"{same.sum()} pairs of one person found, 1000 were asked for" in caplog.text
    with pytest.raises(ValueError, match="fewer than one for each of 100 folds"):
        folder.generate_eval_pair_bin("own.bin", 1000, 30, nfold=100)


def test_evals_command(workdir, bin_file, capsys, monkeypatch):
    monkeypatch.setattr("facetrainer.evaluation.embedder.interface", lambda _, **__: looks_of_floats)
    call = [
        "-m",
        "m.keras",
        "-t",
        bin_file,
        "-p",
        "4",
        "--folds",
        "--bootstrap",
        "50",
        "--compare",
        "o.keras",
        "--calibrate",
        "--json",
        "r.json",
    ]
    assert evaluate_command.main(call) == 0
    printed = capsys.readouterr().out
    for text in (
        "10-fold accuracy",
        "VAL@FAR=1e-3",
        "fold 10",
        "4 principal components",
        "95 % intervals",
        "p = 1",
        "m_thresholds.json",
    ):
        assert text in printed
    (report,) = json.load(open("r.json"))
    for way in (["-F"], ["--flip", "concat"], ["--centre"]):
        assert evaluate_command.main(["-m", "m.keras", "-t", bin_file, "--json", "w.json", *way]) == 0
        assert json.load(open("w.json"))[0]["auc"] != report["auc"]
    assert (
        report["protocol"]["sha256"] and report["compared"]["right here only"] == 0 and "10-fold" in report["protocol"]
    )
    assert evaluate_command.main(["-m", "m.keras", "-t", "none.bin"]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_people_count_alike(workdir):
    """One person of forty images has nearly all pairs of all people, and one vote beside."""
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(6), [40, 2, 3, 2, 2, 3])
    spread = np.where(labels == 0, 0.1, 0.6)[:, None]
    embeddings = np.eye(6)[labels] + spread * rng.normal(size=(52, 6))
    people = eval_folder.People(
        (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32), labels
    )
    pairs, alike = people.all_pairs(), people.all_people()
    cosine, one = people.embeddings @ people.embeddings.T, labels[:, None] == labels
    upper = np.triu(np.ones_like(one), 1).astype(bool)
    threshold = alike.threshold(0.05)
    by_person = [np.mean(cosine[upper & one & (labels == k)] >= threshold) for k in range(6)]
    cells = [np.mean(cosine[np.ix_(labels == a, labels == b)] >= threshold) for a in range(6) for b in range(a)]
    far, tar = alike.rates(threshold)
    assert tar == pytest.approx(np.mean(by_person), abs=1e-9) and far == pytest.approx(np.mean(cells), abs=1e-9)
    assert alike.tar(0.05) < pairs.tar(0.05)
    fars, tars, _ = pairs.points()
    assert fars[0] == tars[0] == 0 and fars[-1] == tars[-1] == 1 and np.all(np.diff(fars) >= 0)
    assert pairs.auc == pytest.approx(Roc(cosine[upper], one[upper]).auc, abs=1e-3)
