"""The command `facetrainer`."""

import os
import resource
import subprocess
import sys

import pytest
from helpers import ROOT

from facetrainer.cli import convert, main, prepare

SCRIPTS = {"train": "train.py", "prepare": "prepare_data.py", "evaluate": "evals.py", "ijb": "IJB_evals.py", "folder": "eval_folder.py",
           "distill": "data_distiller.py", "clean": "data_drop_top_k.py", "convert": "convert.py", "recognize": "recognize.py"}  # fmt: skip


def call(*arguments, **environment):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": ROOT, **environment}, capture_output=True, timeout=120
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("command", main.COMMANDS)
def test_help_comes_at_once_by_both_ways(command):
    plain = call(sys.executable, "-c", "pass")[1]
    ways = [[sys.executable, "-m", "facetrainer", command], [sys.executable, SCRIPTS.get(command)]]
    for way in ways if command in SCRIPTS else ways[:1]:
        done, seconds = call(*way, "--help")
        assert done.returncode == 0 and b"usage: " in done.stdout
        assert seconds - plain < 1.0, "something heavy is imported before the arguments are read"


def test_nothing_heavy_is_imported_for_help():
    names = ", ".join(main.COMMANDS)
    code = (
        f"import sys; from facetrainer.cli import {names}\n"
        f"for one in ({names}): one.parser()\n"
        "assert not {'numpy', 'keras', 'tensorflow', 'cv2', 'pandas'} & set(sys.modules)"
    )
    done, _ = call(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


def test_scripts_can_be_started_as_they_are():
    done, _ = call(
        "./prepare_data.py", "--help", PATH=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    )
    assert done.returncode == 0 and b"prepare_data.py" in done.stdout


def test_unknown_commands_and_versions(capsys):
    assert main.main(["evalate"]) == 2 and "Did you mean 'evaluate'?" in capsys.readouterr().err
    assert main.main(["--version"]) == 0 and capsys.readouterr().out.startswith("facetrainer 0.")
    assert main.main([]) == 2


def test_choices_are_those_of_the_modules_behind():
    from facetrainer.data.alignment import LAYOUTS
    from facetrainer.evaluation.timing import FORMS
    from facetrainer.preparing.convert import KINDS
    from facetrainer.weights.exporters import QUANTIZE, SUFFIXES

    assert (KINDS, tuple(LAYOUTS)) == (prepare.KINDS, prepare.LAYOUTS)
    assert (convert.FORMS, convert.QUANTIZE, convert.SUFFIXES) == (FORMS, QUANTIZE, SUFFIXES)


def test_a_console_without_arrows_shows_others(record):
    """cp1252 knows no arrow: it is written "->", and the command does not fail."""
    code = (
        "from facetrainer.cli.run import call, describe; call(describe('x', 'a → b'), lambda a: print('c → d × α'), [])"
    )
    done, _ = call(sys.executable, "-c", code, PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert done.returncode == 0 and done.stdout.decode("cp1252").split("\n")[0] == "c -> d × alpha"
    done, _ = call(sys.executable, "-m", "facetrainer", "train", "--help", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0 and done.stdout.isascii()


def test_whoever_reads_no_further_is_no_error():
    line = f"{sys.executable} -m facetrainer recipes | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == 0 and done.stderr == b"" and done.stdout


def test_an_interrupt_is_a_line(capsys):
    from facetrainer.cli import run

    def stopped(a):
        raise KeyboardInterrupt

    assert run.call(run.describe("x", None), stopped, []) == 130
    assert capsys.readouterr().err.endswith(": interrupted\n")
