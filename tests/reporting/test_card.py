"""The sidecar of an exported file, and its page."""

import json
import os

import pytest
from helpers import make, sgd

from facetrainer import losses
from facetrainer.cli import convert
from facetrainer.metrics import calibration


def test_what_an_export_says_of_itself(record, bin_file, workdir, capsys):
    trainer = make(record, "run.keras", eval_paths=[bin_file])
    trainer.train([{"loss": losses.ArcfaceLoss(scale=16), "epoch": 1, "optimizer": sgd()}])
    best = trainer.my_evals[0].saved
    point = {"threshold": 0.31, "FAR": 0.01, "FAR 95%": [0.002, 0.03], "TAR": 0.9, "TAR 95%": [0.8, 0.95]}
    calibration.write(best, {**calibration.read(best), "thresholds": {"0.01": point}})
    assert convert.main(["export", best, "--to", "onnx", "-o", "face.onnx", "--licence", "for tests | alone"]) == 0
    about = json.load(open("face.onnx.json"))
    height, width = about["preprocessing"]["size"]
    assert about["preprocessing"]["landmarks"]["left eye"][0] == pytest.approx(38.2946 * width / 112, abs=1e-3)
    assert "ArcfaceLoss" in about["trained"].values() and about["trained"]["sch[0] data people"]
    assert (
        about["thresholds"]["thresholds"]
        and about["made by"]["facetrainer"]
        and "uint8" in about["preprocessing"]["values"]
    )
    assert convert.main(["card", "face.onnx"]) == 0
    page = open("face.onnx.md", encoding="utf-8").read()
    assert (
        "for tests \\| alone" in page
        and "| FMR 0.01 (0.002–0.03) | 0.3100 |" in page
        and "not who somebody is" in page
        and "ArcfaceLoss" in page
    )
    json.dump({"input": "<script>"}, open("face.onnx.json", "w"))
    os.remove("face.onnx.md")
    assert convert.main(["card", "face.onnx"]) == 1 and "export the file anew" in capsys.readouterr().err
    assert not os.path.exists("face.onnx.md")
