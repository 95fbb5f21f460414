"""What reaches standard error."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT

from facetrainer.utils import quiet

WORK = "import facetrainer; from facetrainer import models; import keras; print(keras.ops.sum(keras.ops.ones((2, 3))))"


@pytest.mark.parametrize("level", [None, "0"])
def test_tensorflows_lines_about_itself(level):
    """None by default; all of them for whoever asks."""
    environment = {key: value for key, value in os.environ.items() if key != quiet.LEVEL}
    environment |= {"PYTHONPATH": ROOT, "KERAS_BACKEND": "tensorflow", **({quiet.LEVEL: level} if level else {})}
    done = subprocess.run([sys.executable, "-c", WORK], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "6.0" in done.stdout
    assert ("rebuild TensorFlow" in done.stderr) == (level == "0") and (level or done.stderr == "")


def test_what_is_no_noise_comes_afterwards(capfd):
    with quiet.held_back():
        os.write(2, b"I0000 oneDNN custom operations are on. You may see\nimportant\n")
    assert capfd.readouterr().err == "important\n"
    with pytest.raises(ZeroDivisionError), quiet.held_back():
        os.write(2, b"before the fault\n")
        1 / 0  # noqa: B018
    assert capfd.readouterr().err == "before the fault\n"
