import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def test_damaged_inputs():
    """In a process of its own, with its own limit of memory; `python tests/io/fuzz.py` does 20,000."""
    call = [sys.executable, os.path.join(HERE, "old_fuzz.py"), "--count", "600", "--seed", "1"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"600 inputs, 0 crashes and hangs", done.stdout)
    for kind in ("rec", "idx", "bin", "evil_bin", "jpeg", "shard", "npz", "text", "names"):
        assert re.search(rf" {kind} +\d+ read +\d+ refused$", done.stdout, re.MULTILINE), done.stdout
