import os
import re
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.mark.long
def test_damaged_inputs():
    """In a process of their own; `python tests/fuzz/run.py` tries more than 100,000."""
    call = [sys.executable, os.path.join(HERE, "run.py"), "--count", "50", "--seed", "1"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0 and "1000 inputs, 0 faults" in done.stdout, done.stdout + done.stderr
    for name in "rec idx bin params json pt onnx tfrecord image npz state text keras h5 names".split():  # noqa: SIM905
        assert re.search(rf" {name} +\d+ read +\d+ refused +0 faults$", done.stdout, re.MULTILINE), done.stdout
