"""The house: layers, documents, what stands where."""

import inspect
import os
import subprocess
import sys
import textwrap

import pytest
from helpers import ROOT

from facetrainer import Train, backbones, losses
from facetrainer.training.schedule import KEYS


def lint(folder):
    call = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_imports_keep_to_their_layers():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_an_import_that_leaves_its_layer_is_seen(tmp_path):
    """Inside a package too: the check before this one passed over those."""
    subprocess.run(
        ["cp", "-r", os.path.join(ROOT, "facetrainer"), os.path.join(ROOT, "pyproject.toml"), tmp_path], check=True
    )
    with open(tmp_path / "facetrainer" / "training" / "schedule.py", "a") as file:
        file.write(
            textwrap.dedent("""
            def late():
                from facetrainer.training import trainer
        """)
        )
    done = lint(tmp_path)
    assert done.returncode == 1 and "training.schedule -> facetrainer.training.trainer" in done.stdout


@pytest.mark.parametrize("what", ["losses", "backbones", "keys", "arguments"])
def test_the_guides_name_everything(what):
    pages = [os.path.join(ROOT, "docs", "guides", name) for name in ("training.md", "models.md", "losses.md")]
    text = "".join(open(page, encoding="utf-8").read() for page in pages)
    wanted = {
        "losses": losses.REGISTRY, "backbones": backbones.names(), "keys": KEYS,
        "arguments": [name for name in inspect.signature(Train).parameters if f"{name}:" not in Train.__doc__],
    }[what]  # fmt: skip
    assert [name for name in wanted if f"`{name}`" not in text] == []
