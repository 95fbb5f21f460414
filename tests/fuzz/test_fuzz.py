import os
import re
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.mark.parametrize(
    ("targets", "count"),
    [
        (["rec", "idx", "bin", "params", "pt", "tfrecord", "image", "npz", "state", "text"], 120),
        (["names"], 40),
        (["onnx", "keras", "h5"], 60),
    ],
)
def test_damaged_inputs(targets, count):
    """In processes of their own; `python tests/fuzz/run.py` tries more than 100,000."""
    call = [sys.executable, os.path.join(HERE, "run.py"), "--count", str(count), "--seed", "1", "--targets", *targets]
    done = subprocess.run(call, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0 and f"{count * len(targets)} inputs, 0 faults" in done.stdout, done.stdout + done.stderr
    for name in targets:
        assert re.search(rf" {name} +\d+ read +\d+ refused +0 faults$", done.stdout, re.MULTILINE), done.stdout
