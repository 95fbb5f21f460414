"""Calls as people make them: wrong ones, results as JSON, and what a shell completes."""

import argparse
import importlib
import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
from helpers import ROOT

from facetrainer.cli import main as commands

WRONG = {
    "train": ["nope", "nothing.py", "unknown.py", "broken.py", "drawn_faces --set batch_sise=3", "drawn_faces --set batch_size=x",
              "text.txt", "empty", "--dryrun"],
    "recipes": ["ms1mv3_r5", "broken.py", "--all", "empty", "a b"],
    "prepare": ["convret", "convert nope out", "convert empty out", "convert bad.rec out", "align empty out", "pairs photos x.bin",
                "info bad.npz", "split photos"],
    "evaluate": ["-m bad.keras -t bad.bin", "-m bad.keras -t nope.bin", "-t bad.bin", "-m bad.keras -t bad.bin --json no/x.json",
                 "-m bad.keras -t empty"],
    "report": ["nope.json", "bad.json -o x.html", "text.txt -o x.html", "bad.json -o x.doc", ""],
    "compare": ["a", "a b", "empty photos", "text.txt bad.json", ""],
    "ijb": ["-m bad.keras -d empty", "-m bad.keras -d nope", "-d empty", "-m nope.keras -d empty -s IJBX", "--plot_only nope*",
            "--plot_only *.npz --json x.json"],
    "identify": ["-m bad.keras --probes photos --gallery photos", "-m nope.keras", "", "-m bad.keras --tinyface empty",
                 "-m bad.keras --probes nope --gallery photos"],
    "folder": ["-d photos", "-d nope -m bad.keras", "-d photos -m bad.keras", "-d empty -m bad.keras", "-m bad.keras"],
    "distill": ["-D photos", "-D nope -M bad.keras", "-D photos -M bad.keras", "-D photos -M bad.onnx -d x.txt", "-M bad.keras"],
    "clean": ["-M bad.keras -D photos", "-M nope.keras -D photos", "-D photos", "-M bad.keras -D nope", "-M x -D photos -t x"],
    "finetune": ["photos", "nope --from bad.keras", "photos --from bad.keras", "photos --from nope.pt",
                 "photos --from bad.keras --old-share 2"],
    "recognize": ["who", "verify text.txt", "verify text.txt text.txt -m bad.keras", "identify nope photos", "list nope",
                  "enrol g nope -m bad.keras", "remove nope x"],
    "serve": ["nope", "--gallery nope", "--gallery empty", "--gallery nope --port x", ""],
    "doctor": ["--data nope", "nope", "--json no/x.json", "--modle", "text.txt nope.keras"],
    "patterns": ["-m bad.keras -D photos -o x.keras", "-m bad.keras -D photos -o x.h5", "-m nope.keras -D photos -o x.keras", "-D photos",
                 "-m bad.keras -D nope -o x.keras"],
    "convert": ["info bad.keras", "info nope.onnx", "info bad.tflite", "export bad.keras --to onnxx", "import bad.pt", "card text.txt",
                "bench nope", "impotr"],
    "completion": ["fish", "", "bash zsh", "--shell bash", "BASH"],
}  # fmt: skip


@pytest.fixture
def clutter(tmp_path, monkeypatch):
    """Files that are nothing, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACE_MODEL", raising=False)
    for name in ("empty", "photos/a", "photos/b"):
        os.makedirs(name)
    noise = np.random.default_rng(0).bytes(2000)
    for name in ("bad.keras", "bad.onnx", "bad.tflite", "bad.pt", "bad.bin", "bad.rec", "bad.npz", "photos/a/x.jpg"):
        pathlib.Path(name).write_bytes(noise)
    pathlib.Path("bad.json").write_text("{\n")
    pathlib.Path("text.txt").write_text("hi\n")
    pathlib.Path("nothing.py").write_text("x = 1\n")
    pathlib.Path("broken.py").write_text("def (\n")
    pathlib.Path("unknown.py").write_text(
        'sch = [{"loss": "arcfaec", "epoch": 1}]\ndata_path, save_path = "photos", "x.keras"\n'
    )


def test_five_wrong_calls_of_every_command_are_named():
    assert set(WRONG) == set(commands.COMMANDS) and all(len(calls) >= 5 for calls in WRONG.values())


@pytest.mark.parametrize("command, call", [(command, call) for command, calls in WRONG.items() for call in calls])
def test_a_wrong_call_ends_in_a_line_that_helps(command, call, clutter, capsys):
    try:
        code = commands.main([command, *call.split()])
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr()
    assert code in (1, 2), told.out
    if command != "doctor" or code == 2:
        line = told.err.strip().splitlines()[-1]
        assert "Traceback" not in told.err and len(line) > 25 and (code == 1 or "error:" in line)


def test_the_page_of_commands_has_them_all():
    with open(os.path.join(ROOT, "docs", "reference", "commands.md"), encoding="utf-8") as file:
        page = file.read()
    rows = [f"| `facetrainer {name}` | {text} |" for name, text in commands.COMMANDS.items()]
    assert "\n".join(rows) in page


@pytest.mark.parametrize("call", ["", "tran", "--verison", "Train"])
def test_a_wrong_command(call, capsys):
    assert commands.main(call.split()) == 2
    told = capsys.readouterr()
    assert "usage" in told.out or "Did you mean" in told.err


def leaves(parser):
    """A parser without subcommands, or its subcommands' parsers, by name."""
    inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return inner[0].choices if inner else {"": parser}


def test_every_command_has_json_but_those_that_have_nothing_to_tell():
    without = set()
    for command in commands.COMMANDS:
        whole = importlib.import_module(f"facetrainer.cli.{command}").parser()
        flags = {
            name: {flag for one in part._actions for flag in one.option_strings} for name, part in leaves(whole).items()
        }
        without |= {f"{command} {name}".strip() for name, found in flags.items() if "--json" not in found}
    assert without == {"report", "serve", "completion", "recognize watch"}


def told(*call):
    """What a command writes as JSON."""
    assert commands.main([*call, "--json", "told.json"]) == 0
    return json.loads(pathlib.Path("told.json").read_text())


def test_recipes_as_json(workdir):
    found = told("recipes")
    assert {one["name"] for one in found["shipped"]} >= {"drawn_faces", "lfw_small"} and len(found["published"]) > 40
    one = told("recipes", "ms1mv3_r50")
    assert one["images"] == 5_179_510 and one["results"] and one["file"].endswith("ms1mv3_r50.py")


@pytest.mark.parametrize("text", ["(" * 5000, "x = Published(source=open('y'))", "\0", "[" * 300 + "]" * 300])
def test_a_strange_recipe_is_told_or_refused_in_a_line(text, workdir, capsys):
    pathlib.Path("strange.py").write_text(text)
    code = commands.main(["recipes", "strange.py"])
    assert code == 0 or "strange.py is no recipe that can be read" in capsys.readouterr().err


def test_a_plan_and_a_run_as_json(workdir, folder, monkeypatch):
    plan = told("train", "drawn_faces", "--dry-run")
    assert plan["stages"][0]["steps"] > 0 and plan["embedding"] > 0 and plan["classes"] > 0
    monkeypatch.setenv("DRAWN", folder)
    pathlib.Path("small.py").write_text(
        "import os\nfrom facetrainer import losses, models\n"
        "data_path, save_path, batch_size, report = os.environ['DRAWN'], 'small.keras', 8, False\n"
        "basic_model = models.buildin_models('r_tiny', emb_shape=8)\n"
        "sch = [{'loss': losses.ArcfaceLoss(scale=16), 'epoch': 1}]\n"
    )
    found = told("train", "small.py")
    assert len(found["history"]["loss"]) == 1 and found["results"] == [] and found["files"]


def test_distillation_cleaning_and_patterns_as_json(folder, workdir):
    from facetrainer import models
    from facetrainer.training.legacy import Train

    models.save(models.buildin_models("r_tiny", emb_shape=8), "face.keras")
    found = told("distill", "-D", folder, "-M", "face.keras", "-d", "t.tfrecord", "-L", "20")
    assert found == {"file": "t.tfrecord", "images": 20, "people": 4, "width": 8}
    found = told("patterns", "-m", "face.keras", "-D", folder, "-o", "patterns.keras", "--width", "20")
    assert found == {"file": "patterns.keras", "network": 8, "patterns": 20, "images": 48}
    trainer = Train(folder, "run.keras", basic_model="face.keras", batch_size=8, report=False, verbose=0)
    trainer.train([{"loss": "arcface", "epoch": 1, "lossTopK": 2}])
    found = told("clean", "-M", "checkpoints/run.keras", "-D", folder, "-d", "clean.npz")
    assert found["images"] == 48 and 0 < found["kept"] <= 48 and found["angle"] == 75
    found = told("convert", "info", "face.keras")
    assert found["embedding"] == 8 and found["head"] == "none"


def test_a_result_that_could_not_be_written_is_refused_before_the_work(workdir, capsys):
    assert commands.main(["recipes", "--json", "nowhere/x.json"]) == 1
    told = capsys.readouterr()
    assert told.out == "" and "nowhere/x.json: its folder does not exist" in told.err


@pytest.mark.parametrize(
    "words, expected", [(["con"], "convert"), (["evaluate", "--ba"], "--backend"), (["prepare", "al"], "align")]
)
def test_bash_completes(words, expected, workdir, capsys):
    pytest.importorskip("shtab")
    assert commands.main(["completion", "bash"]) == 0
    pathlib.Path("completion.sh").write_text(capsys.readouterr().out)
    line = f"COMP_WORDS=(facetrainer {' '.join(words)}); COMP_CWORD={len(words)}; _shtab_facetrainer; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f"source completion.sh; {line}"], capture_output=True, text=True, timeout=60)
    assert expected in done.stdout.split()
