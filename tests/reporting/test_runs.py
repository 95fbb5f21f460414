"""Runs beside each other."""

import json
import shutil

import pytest
from helpers import make, sgd

from facetrainer import losses
from facetrainer.cli import compare
from facetrainer.reporting import runs


@pytest.fixture(scope="module")
def two(record, bin_file, tmp_path_factory):
    """Two runs that differ in margin and length."""
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for name, margin, epochs in (("a", 0.3, 2), ("b", 0.5, 1)):
            stage = {"loss": losses.ArcfaceLoss(scale=16, margin2=margin), "epoch": epochs, "optimizer": sgd()}
            more = [{"loss": "triplet", "epoch": 1}] if name == "a" else []
            make(record, f"{name}.keras", eval_paths=[bin_file]).train([stage, *more])
    return home


def test_what_differs_and_what_came_of_it(two, monkeypatch):
    monkeypatch.chdir(two)
    found = runs.named([runs.read("checkpoints/a"), runs.read("checkpoints/b_hist.json")])
    assert [one.name for one in found] == ["a", "b"] and found[0].sets == ["drawn"]
    table = runs.differences(found).set_index("setting")
    assert list(table.loc["sch[0] losses arcface class margin2"]) == ["0.3", "0.5"]
    assert list(table.loc["sch[0] epochs"]) == ["2", "1"] and table.loc["sch[1]", "b"] == "not there"
    assert "model" not in table.index and "batch_size" not in table.index
    numbers = runs.results(found).set_index("run")
    assert list(numbers["epochs"]) == [3, 1] and "(epoch 1)" in numbers.loc["b", "drawn, best"]
    assert [len(axes.lines) for axes in runs.curves(found).axes] == [2, 2, 2]


def test_the_command(two, bin_file, monkeypatch, capsys):
    monkeypatch.chdir(two)
    assert compare.main(["checkpoints/a", "checkpoints/b", "-t", bin_file, "-o", "c.html", "--json", "c.json"]) == 0
    told, page = capsys.readouterr().out, (two / "c.html").read_text(encoding="utf-8")
    assert "McNemar p" in told and "margin2" in told and "The same pairs" in page and "<img" in page
    assert json.load(open("c.json"))["paired"][0]["run"] == "b"
    shutil.copytree("checkpoints", "again/checkpoints", dirs_exist_ok=True)
    assert compare.main(["checkpoints/a", "again/checkpoints/a"]) == 0
    assert "nothing was asked differently" in capsys.readouterr().out
    for call, message in (
        (["checkpoints/a"], "two runs or more"),
        (["checkpoints", "checkpoints/a"], "holds several runs: give one of"),
        (["nowhere", "checkpoints/a"], "expected a run of Train"),
        (["checkpoints/a", "checkpoints/b", "-o", "x.pdf"], "ending in .html"),
    ):
        assert compare.main(call) == 1 and message in capsys.readouterr().err
