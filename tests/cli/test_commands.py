"""The front door, and the notebook, run as a user runs them."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT

from facetrainer import training as train
from facetrainer.cli import recipe
from facetrainer.cli import train as command

RECIPE = """
from facetrainer import losses
import keras
from helpers import small_model
keras.utils.set_random_seed(0)
data_path = {data!r}
eval_paths = [{bin!r}]
save_path = "small.keras"
basic_model = small_model()
batch_size = 16
verbose = 0
sch = [{{"loss": losses.ArcfaceLoss(scale=16), "epoch": 1, "optimizer": "adam"}}]
"""


@pytest.fixture
def small_recipe(workdir, record, bin_file):
    path = workdir / "small.py"
    path.write_text(RECIPE.format(data=record, bin=bin_file))
    return str(path)


def test_a_recipe_ends_with_tables_and_pictures(small_recipe, capsys):
    assert command.main([small_recipe, "--set", "batch_size=8", "seed=3"]) == 0
    printed = capsys.readouterr().out
    assert "untrained" in printed and "10-fold" in printed and "small_embeddings.png" in printed
    for name in ("small.keras", "small_history.png", "small_roc.png", "small_embeddings.png", "small_report.html"):
        assert os.path.getsize(os.path.join("checkpoints", name)) > 5000
    page = open(os.path.join("checkpoints", "small_report.html"), encoding="utf-8").read()
    assert page.count("<img ") == 1 + 3 + 4 and "src='data:image/" in page
    assert "http" not in page and "One person, least alike" in page and "10-fold accuracy" in page


def test_dry_run_trains_nothing(small_recipe, capsys):
    assert command.main([small_recipe, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "ArcfaceLoss×1" in printed and "8 classes" in printed and "MiB" in printed
    assert not os.path.exists("checkpoints")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "does not exist"),
        (["small.py", "--set", "batchsize=8"], "Did you mean 'batch_size'?"),
        (["empty.py"], "'data_path' is missing"),
    ],
)
def test_what_fails_is_said_in_a_line(small_recipe, capsys, arguments, message):
    open("empty.py", "w").close()
    assert command.main(arguments) == 1
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1


def test_wrong_calls_end_with_2(capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--sett", "x"])
    assert ended.value.code == 2 and "usage: " in capsys.readouterr().err


def test_recipe_keywords_are_those_of_train():
    assert {"data_path", "lr_base", "augmentations"} <= set(recipe.keywords())


@pytest.mark.parametrize("name", ["drawn_faces", "lfw_small"])
def test_shipped_recipes_are_readable(name, tmp_path, monkeypatch):
    monkeypatch.setattr("facetrainer.data.synthetic.dataset", lambda **_: (str(tmp_path), str(tmp_path)))
    keywords, sch = recipe.load(name, {})
    assert train.parse_schedule(sch) and keywords["basic_model"].count_params() < 5_000_000


@pytest.mark.parametrize(
    ("command", "example"),
    [
        ("train.py", "python train.py recipes/lfw_small.py --dry-run"),
        ("prepare_data.py", "python prepare_data.py align "),
    ],
)
def test_help_has_an_example(command, example):
    done = subprocess.run(
        [sys.executable, os.path.join(ROOT, command), "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and example in done.stdout
