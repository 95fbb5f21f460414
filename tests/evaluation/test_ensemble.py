"""Several models on parts of an image as one."""

import os
import re

import numpy as np
import pytest

from facetrainer.cli import evaluate
from facetrainer.evaluation.ensemble import Ensemble


def mean_of(images):
    return np.stack([images.mean(axis=(1, 2, 3)), np.ones(len(images))], axis=1)


def test_embeddings_of_parts_stand_behind_one_another():
    images = np.zeros((2, 112, 112, 3), np.float32)
    images[0, :56] = 3.0
    found = Ensemble([(mean_of, None), (mean_of, (0, 0, 56, 112)), (mean_of, (56, 0, 56, 112))])(images)
    wanted = [value / np.linalg.norm(value) for value in ([1.5, 1], [3, 1], [0, 1])]
    np.testing.assert_allclose(found[0], np.concatenate(wanted), atol=1e-5)
    assert found.shape == (2, 6)
    with pytest.raises(ValueError, match="expected top, left, height, width inside 112x112"):
        Ensemble([(mean_of, (100, 0, 56, 112))])(images)
    with pytest.raises(ValueError, match="expected one model or more"):
        Ensemble([])


def test_patches_on_the_command_line(workdir, bin_file, monkeypatch, capsys):
    seen = []

    def opened(model, **kwargs):
        seen.append(model)
        return mean_of if isinstance(model, str) else model

    monkeypatch.setattr("facetrainer.evaluation.ensemble.interface", opened)
    arguments = [
        "-m",
        "whole.keras",
        "-t",
        bin_file,
        "--bootstrap",
        "0",
        "--patch",
        "eyes.keras",
        "20",
        "0",
        "50",
        "112",
    ]
    assert evaluate.main(arguments) == 0 and seen == ["whole.keras", "eyes.keras"]
    assert "10-fold accuracy" in capsys.readouterr().out


def test_facenets_lines_for_a_folder_with_its_pairs(workdir, people, monkeypatch, capsys):
    for k in range(4):
        os.makedirs(f"lfw_160/p{k}")
        for i in range(1, 5):
            open(f"lfw_160/p{k}/p{k}_{i:04d}.jpg", "wb").write(people[k][i])
    same = "".join(f"p{k}\t{a}\t{b}\n" for k in range(4) for a, b in ((1, 2), (3, 4), (1, 3), (2, 4), (1, 4)))
    other = "".join(f"p{k}\t{a}\tp{(k + 1) % 4}\t{a}\n" for k in range(4) for a in range(1, 5)) + "p0\t1\tp2\t1\n" * 4
    open("lfw_160/pairs.txt", "w").write("10\t2\n" + same + other)
    monkeypatch.setattr(
        "facetrainer.evaluation.embedder.interface", lambda *_, **__: lambda x: x[:, ::16, ::16].reshape(len(x), -1)
    )
    assert evaluate.main(["-m", "m.keras", "-t", "lfw_160", "--bootstrap", "0"]) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"Accuracy: 0\.\d{5}\+-0\.\d{5}\nValidation rate: \S+ @ FAR=0\.\d{5}\n"
        r"Area Under Curve \(AUC\): [01]\.\d{3}\nEqual Error Rate \(EER\): 0\.\d{3}\n",
        printed,
    )
