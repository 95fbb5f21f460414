"""How processes meet, and what they refuse; without a second one."""

import os

import keras
import numpy as np
import pytest

import facetrainer
from facetrainer import distributed
from facetrainer.distributed import processes


@pytest.mark.parametrize(
    ("machines", "machine"),
    [
        ("host:1", None),
        (None, "0/2"),
        ("host", "0/2"),
        ("host:x", "0/2"),
        ("host:1", "2/2"),
        ("host:1", "a/2"),
        (":1", "0/2"),
    ],
)
def test_addresses_that_are_none(machines, machine):
    with pytest.raises(ValueError, match="expected machines HOST:PORT"):
        processes.join(machines, machine)


def test_where_processes_meet(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    assert processes._where(None, None) is None and distributed.process() == (0, 1)
    found = processes._where("10.0.0.1:1234", "1/4")
    assert found == {"coordinator_address": "10.0.0.1:1234", "num_processes": 4, "process_id": 1}
    for name in processes.SLURM:
        monkeypatch.setenv(name, "1")
    assert processes._where(None, None) is None  # a task alone
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert processes._where(None, None) == {}  # jax reads the rest


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([[16, 1, 5], [8, 2, 5]], r"read \[16, 8\] images of a batch"),
        ([[16, 1, 5], [16, 1, 5]], "read the same images"),
        ([[16, 1, 5], [16, 2, 6]], "different orders"),
    ],
)
def test_parts_that_do_not_make_a_batch(monkeypatch, parts, text):
    monkeypatch.setattr(processes, "process", lambda: (0, 2))
    monkeypatch.setattr(processes, "gathered", lambda value: np.array(parts, np.uint32))
    with pytest.raises(ValueError, match=text):
        processes.check_parts(np.arange(3), np.zeros((16, 2, 2, 3), np.uint8))
    monkeypatch.setattr(processes, "gathered", lambda value: np.array([[16, 1, 5], [16, 2, 5]], np.uint32))
    processes.check_parts(np.arange(3), np.zeros((16, 2, 2, 3), np.uint8))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="says what TensorFlow cannot")
def test_tensorflow_has_its_own_way():
    with pytest.raises(ValueError, match="MirroredStrategy"), facetrainer.devices():
        pass
    with pytest.raises(ValueError, match="KERAS_BACKEND=jax"):
        processes.join("host:1", "0/2")
